//! Axes: their range and ticks, how these are spelt, and where on the paper a value lies.
//!
//! A loss that explodes must not hide the rest of its curve: [`usual`] bounds the range of an axis.

/// How values are laid out along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Evenly.
    Linear,
    /// By their logarithms; values that are not above 0 have no place.
    Log,
}

/// How far the upper fence of the usual values lies above the third quartile, in interquartile
/// ranges (Tukey 1977).
const FENCE: f64 = 1.5;

/// First values of curves count as usual up to this multiple of the least of them.
const ALIKE: f64 = 100.0;

/// Greater values are cut off above this multiple of the usual ones, at the second.
const FAR: f64 = 2.0;
const HEADROOM: f64 = 1.5;

/// A logarithmic axis serves losses whose greatest value is more than this multiple of their
/// median.
const STEEP: f64 = 50.0;

/// Where an axis of losses ends, and how they are laid out along it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Usual {
    pub(crate) scale: Scale,
    /// Greater values are cut off; `None` if all are shown.
    pub(crate) top: Option<f64>,
}

/// The range that shows most of `curves`, which are losses from the first step on.
///
/// Usual are the first values, where training starts, and all up to Tukey's fence. Values far above
/// them are cut off. The axis is logarithmic if all values are above 0 and what is left of them is
/// steep.
pub(crate) fn usual<'a>(curves: impl Iterator<Item = &'a [f64]>) -> Usual {
    let (mut all, mut firsts) = (Vec::new(), Vec::new());
    for curve in curves {
        let mut finite = curve.iter().copied().filter(|value| value.is_finite()).peekable();
        firsts.extend(finite.peek());
        all.extend(finite);
    }
    all.sort_unstable_by(f64::total_cmp);
    let (Some(&least), Some(&greatest)) = (all.first(), all.last()) else {
        return Usual { scale: Scale::Linear, top: None };
    };
    let quantile = |quarters: usize| all[(all.len() - 1) * quarters / 4];
    let fence = quantile(3) + FENCE * (quantile(3) - quantile(1));
    let alike = ALIKE * firsts.iter().copied().fold(f64::INFINITY, f64::min);
    let bound = firsts.into_iter().filter(|first| *first <= alike).fold(fence, f64::max);
    let top = (bound > 0.0 && greatest > FAR * bound).then_some(HEADROOM * bound);
    let is_steep = least > 0.0 && top.unwrap_or(greatest) > STEEP * quantile(2);
    Usual { scale: if is_steep { Scale::Log } else { Scale::Linear }, top }
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
        let placed =
            values.filter(|value| value.is_finite() && (scale == Scale::Linear || *value > 0.0));
        let (low, high) = placed
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
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
        // A constant lies in the middle; 0 at the low end.
        let (low, high) = match low {
            low if high > low => (low, high),
            0.0 => (0.0, 1e-3),
            constant => (constant - constant.abs() * 0.05, constant + constant.abs() * 0.05),
        };
        let step = nice_step((high - low) / 4.0);
        let (low, high) = (libm::floor(low / step) * step, libm::ceil(high / step) * step);
        Self { scale: Scale::Linear, low, high, ticks: multiples(step, low, high) }
    }

    /// The same axis without what lies below `low` or above `high`.
    pub(crate) fn within(mut self, low: f64, high: f64) -> Self {
        (self.low, self.high) = (self.low.max(low), self.high.min(high));
        self.ticks.retain(|tick| (low..=high).contains(tick));
        self
    }

    fn decades(low: f64, high: f64) -> Self {
        let (first, last) = (libm::floor(libm::log10(low)), libm::ceil(libm::log10(high)));
        // A constant power of ten lies in the middle.
        let (first, last) = if first < last { (first, last) } else { (first - 1.0, last + 1.0) };
        let step = libm::ceil((last - first) / 5.0);
        let exponents =
            (0..).map(|i| first + step * f64::from(i)).take_while(|exponent| *exponent <= last);
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
        let digits = libm::floor(libm::log10(value.abs())) - libm::floor(libm::log10(step) + 1e-9);
        return format!("{value:.*e}", digits.clamp(0.0, 8.0) as usize);
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
        let million = Axis::whole(1_000_000.0, 1_200_000.0);
        assert_eq!(labels(&million), ["1.00e6", "1.05e6", "1.10e6", "1.15e6", "1.20e6"]);
    }

    #[test]
    fn a_constant_lies_in_the_middle() {
        let axis = |value: f64| Axis::new(Scale::Linear, [value; 3].into_iter()).expect("values");
        for value in [2.0, 0.71, 1e-12, -3.0, 1e300] {
            let place = axis(value).place(value).expect("finite");
            assert!((0.2..0.8).contains(&place), "{value}: {place}");
        }
        assert_eq!(axis(0.0).place(0.0), Some(0.0));
        assert_eq!(labels(&axis(100.0).within(0.0, 100.0)).last().expect("ticks"), "100");
        assert_eq!(axis(100.0).within(0.0, 100.0).place(100.0), Some(1.0));
    }

    #[test]
    fn what_explodes_is_cut_off_and_what_falls_steeply_is_logarithmic() {
        let of = |curves: &[&[f64]]| usual(curves.iter().copied());
        let linear = |top| Usual { scale: Scale::Linear, top };
        // A range test: flat, a fall, an explosion.
        let test: Vec<f64> =
            [vec![2.3; 60], vec![1.0; 10], vec![0.3; 20], vec![3.0, 20.0, 240.0]].concat();
        let Usual { scale, top } = of(&[&test]);
        assert!(
            scale == Scale::Linear && top.is_some_and(|top| (2.4..10.0).contains(&top)),
            "{top:?}"
        );
        // A healthy run: nothing is cut, the first epoch least of all.
        assert_eq!(of(&[&[2.3, 0.2, 0.12, 0.1, 0.09, 0.09], &[0.2, 0.15, 0.13]]), linear(None));
        // One value is far above.
        assert_eq!(of(&[&[1.0, 1.0, 1.0, 1.0, 1e30]]), linear(Some(1.5)));
        // One of two runs is far above all the time.
        assert_eq!(of(&[&[2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0], &[1e9]]), linear(Some(3.0)));
        assert_eq!(of(&[&[1e4, 9.0, 2.0, 1.0, 0.5]]), Usual { scale: Scale::Log, top: None });
        for none in [&[][..], &[f64::NAN], &[0.0, 0.0], &[2.0], &[2.0; 9], &[-1.0, -2.0]] {
            assert_eq!(of(&[none]), linear(None), "{none:?}");
        }
    }

    #[test]
    fn decades_leave_out_what_has_no_logarithm() {
        let axis = Axis::new(Scale::Log, [0.004, 2.0, 0.0, -1.0].into_iter()).expect("values");
        assert_eq!(labels(&axis), ["10⁻³", "10⁻²", "10⁻¹", "1", "10"]);
        assert_eq!(axis.place(0.0), None);
        assert!((axis.place(0.1).expect("above 0") - 0.5).abs() < 1e-12);
        let constant = Axis::new(Scale::Log, [1e-9; 3].into_iter()).expect("values");
        assert_eq!(labels(&constant), ["10⁻¹⁰", "10⁻⁹", "10⁻⁸"]);
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
