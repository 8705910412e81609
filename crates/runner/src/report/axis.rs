//! Axes: which numbers stand beside them, how they are spelt, and where on the paper a value lies.

/// How values are laid out along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Evenly.
    Linear,
    /// By their logarithms; values that are not above 0 have no place.
    Log,
}

/// An axis from `low` to `high`, both of which are ticks or lie beside one.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    /// Values that stand beside it.
    pub(crate) ticks: Vec<f64>,
}

impl Axis {
    /// An axis that holds `values`, of which some may not be finite, or, on a logarithmic one, not above 0. `None` if no value has
    /// a place.
    pub(crate) fn new(scale: Scale, values: impl Iterator<Item = f64>) -> Option<Self> {
        let placed = values.filter(|value| value.is_finite() && (scale == Scale::Linear || *value > 0.0));
        let (low, high) =
            placed.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
        (low <= high).then(|| match scale {
            Scale::Linear => Self::linear(low, high),
            Scale::Log => Self::decades(low, high),
        })
    }

    /// An axis of whole numbers that ends where they do.
    pub(crate) fn whole(low: f64, high: f64) -> Self {
        let step = nice_step((high - low) / 5.0).max(1.0);
        let ticks = multiples(step, low, high);
        Self { scale: Scale::Linear, low, high: high.max(low + 1.0), ticks }
    }

    fn linear(low: f64, high: f64) -> Self {
        // A constant gets some room around it.
        let span = if high > low { high - low } else { low.abs().max(1e-3) * 0.1 };
        let step = nice_step(span / 4.0);
        let (low, high) = (libm::floor(low / step) * step, libm::ceil(high / step) * step);
        let high = if high > low { high } else { low + step };
        Self { scale: Scale::Linear, low, high, ticks: multiples(step, low, high) }
    }

    fn decades(low: f64, high: f64) -> Self {
        let (first, last) = (libm::floor(libm::log10(low)), libm::ceil(libm::log10(high)));
        let last = last.max(first + 1.0);
        let step = libm::ceil((last - first) / 5.0);
        let exponents = (0..).map(|i| first + step * f64::from(i)).take_while(|exponent| *exponent <= last);
        let ticks = exponents.map(|exponent| libm::pow(10.0, exponent)).collect();
        Self { scale: Scale::Log, low: libm::pow(10.0, first), high: libm::pow(10.0, last), ticks }
    }

    /// Where `value` lies: 0 at the low end, 1 at the high one.
    pub(crate) fn place(&self, value: f64) -> Option<f64> {
        let along = |value: f64| match self.scale {
            Scale::Linear => value,
            Scale::Log => libm::log10(value),
        };
        let place = (along(value) - along(self.low)) / (along(self.high) - along(self.low));
        place.is_finite().then_some(place)
    }

    /// `value` in as many digits as tell the ticks apart.
    pub(crate) fn label(&self, value: f64) -> String {
        match (self.scale, &self.ticks[..]) {
            (Scale::Log, _) => power_of_ten(value),
            (Scale::Linear, [a, b, ..]) => decimal(value, b - a),
            (Scale::Linear, _) if value.fract() == 0.0 => format!("{value}"),
            (Scale::Linear, _) => short(value),
        }
    }
}

/// The least of 1, 2, 5, 10, 20, ... and 0.5, 0.2, 0.1, ... that is not below `step`.
fn nice_step(step: f64) -> f64 {
    let power = libm::pow(10.0, libm::floor(libm::log10(step.max(1e-300))));
    let nice = [1.0, 2.0, 5.0, 10.0].into_iter().find(|nice| nice * power >= step * (1.0 - 1e-9));
    nice.unwrap_or(10.0) * power
}

/// The multiples of `step` from `low` to `high`.
fn multiples(step: f64, low: f64, high: f64) -> Vec<f64> {
    let first = libm::ceil(low / step - 1e-9);
    let tick = |i: u32| (first + f64::from(i)) * step;
    (0..1000).map(tick).take_while(|tick| *tick <= high + step * 1e-9).collect()
}

/// `value` with the decimals that steps of `step` have.
fn decimal(value: f64, step: f64) -> String {
    if value != 0.0 && !(1e-4..1e6).contains(&value.abs()) {
        return format!("{value:.1e}");
    }
    let decimals = (-libm::floor(libm::log10(step) + 1e-9)).clamp(0.0, 8.0) as usize;
    format!("{value:.decimals$}")
}

/// `value` in three or four digits.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => format!("{value}"),
        0.0 => "0".into(),
        size if !(1e-3..1e5).contains(&size) => format!("{value:.1e}"),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// `10⁻³`.
fn power_of_ten(value: f64) -> String {
    let exponent = libm::round(libm::log10(value)) as i32;
    match exponent {
        0 => "1".into(),
        1 => "10".into(),
        _ => format!("10{}", superscript(exponent)),
    }
}

/// An exponent.
pub(crate) fn superscript(exponent: i32) -> String {
    let raised = |c: char| match c {
        '-' => '⁻',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        digit => char::from_u32('⁰' as u32 + digit as u32 - '0' as u32).unwrap_or(digit),
    };
    exponent.to_string().chars().map(raised).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<String> {
        axis.ticks.iter().map(|&tick| axis.label(tick)).collect()
    }

    #[test]
    fn ticks_are_round_and_hold_the_values() {
        let axis = Axis::new(Scale::Linear, [0.07, 0.31, f64::NAN].into_iter()).expect("values");
        assert_eq!(labels(&axis), ["0.0", "0.1", "0.2", "0.3", "0.4"]);
        assert_eq!((axis.place(0.0), axis.place(0.4)), (Some(0.0), Some(1.0)));
        let axis = Axis::new(Scale::Linear, [0.9712, 0.9837].into_iter()).expect("values");
        assert_eq!(labels(&axis), ["0.970", "0.975", "0.980", "0.985"]);
        assert_eq!(labels(&Axis::whole(1.0, 10.0)), ["2", "4", "6", "8", "10"]);
        assert_eq!(labels(&Axis::whole(1.0, 3.0)), ["1", "2", "3"]);
        assert_eq!(labels(&Axis::whole(1.0, 1.0)), ["1"]);
        let axis = Axis::new(Scale::Linear, [2.0; 3].into_iter()).expect("values");
        assert!(axis.place(2.0).is_some_and(|place| (0.0..=1.0).contains(&place)), "{axis:?}");
    }

    #[test]
    fn decades_leave_out_what_has_no_logarithm() {
        let axis = Axis::new(Scale::Log, [0.004, 2.0, 0.0, -1.0].into_iter()).expect("values");
        assert_eq!(labels(&axis), ["10⁻³", "10⁻²", "10⁻¹", "1", "10"]);
        assert_eq!(axis.place(0.0), None);
        assert!((axis.place(0.1).expect("above 0") - 0.5).abs() < 1e-12);
        let wide = Axis::new(Scale::Log, [1e-30, 1.0].into_iter()).expect("values");
        assert!(wide.ticks.len() <= 6, "{wide:?}");
        assert!(Axis::new(Scale::Log, [0.0, f64::INFINITY].into_iter()).is_none());
        assert!(Axis::new(Scale::Linear, [].into_iter()).is_none());
    }

    #[test]
    fn numbers_are_short() {
        let all = [0.0, 1.0, 12.345, 407_050.0, 0.0123, 1.5e-7, f64::NAN].map(short);
        assert_eq!(all, ["0", "1.00", "12.35", "4.1e5", "0.0123", "1.5e-7", "NaN"]);
        assert_eq!(superscript(-120), "⁻¹²⁰");
    }
}
