//! Axes of charts: scale, range, ticks and their labels.
//!
//! An exploding loss must not flatten the rest of its curve: [`loss_range`] limits the axis.

/// Scale of an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    Linear,
    /// Logarithmic: values of 0 and below are not drawn.
    Log,
}

/// Distance of Tukey's upper fence from the third quartile, in interquartile ranges (Tukey 1977).
const FENCE: f64 = 1.5;

/// First values of curves are typical up to this multiple of the smallest of them.
const MAX_FIRST_RATIO: f64 = 100.0;

/// Values are cut off if the maximum exceeds the typical values by this factor.
const CUT_RATIO: f64 = 2.0;

/// The axis ends at this multiple of the typical values.
const HEADROOM: f64 = 1.5;

/// The axis is logarithmic if the maximum exceeds the median by this factor.
const LOG_RATIO: f64 = 50.0;

/// Range of an axis of losses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LossRange {
    pub(crate) scale: Scale,
    /// Upper end of the axis: greater values are cut off. `None` if all are shown.
    pub(crate) top: Option<f64>,
}

/// Range that shows most of `curves`, which are losses from the first step on.
///
/// Typical losses are the first values, where training starts, and all values up to Tukey's fence.
/// Values far above them are cut off. The axis is logarithmic if all values are above 0 and the
/// rest of them is steep.
pub(crate) fn loss_range<'a>(curves: impl Iterator<Item = &'a [f64]>) -> LossRange {
    let (mut all, mut firsts) = (Vec::new(), Vec::new());
    for curve in curves {
        let mut finite = curve.iter().copied().filter(|value| value.is_finite()).peekable();
        firsts.extend(finite.peek());
        all.extend(finite);
    }
    all.sort_unstable_by(f64::total_cmp);
    let (Some(&min), Some(&max)) = (all.first(), all.last()) else {
        return LossRange { scale: Scale::Linear, top: None };
    };
    let quantile = |quarters: usize| all[(all.len() - 1) * quarters / 4];
    let fence = quantile(3) + FENCE * (quantile(3) - quantile(1));
    let max_first = MAX_FIRST_RATIO * firsts.iter().copied().fold(f64::INFINITY, f64::min);
    let typical = firsts.into_iter().filter(|first| *first <= max_first).fold(fence, f64::max);
    let top = (typical > 0.0 && max > CUT_RATIO * typical).then_some(HEADROOM * typical);
    let is_steep = min > 0.0 && top.unwrap_or(max) > LOG_RATIO * quantile(2);
    LossRange { scale: if is_steep { Scale::Log } else { Scale::Linear }, top }
}

/// Axis from `low` to `high`.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    /// Labelled values.
    pub(crate) ticks: Vec<f64>,
}

impl Axis {
    /// Axis that holds all `values` that can be drawn: finite ones, and on a logarithmic scale
    /// those above 0. `None` if there are none.
    pub(crate) fn new(scale: Scale, values: impl Iterator<Item = f64>) -> Option<Self> {
        let drawn =
            values.filter(|value| value.is_finite() && (scale == Scale::Linear || *value > 0.0));
        let (low, high) = drawn
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
        (low <= high).then(|| match scale {
            Scale::Linear => Self::linear(low, high),
            Scale::Log => Self::decades(low, high),
        })
    }

    /// Axis of integers, from `low` to `high` exactly.
    pub(crate) fn integers(low: f64, high: f64) -> Self {
        let step = nice_step((high - low) / 5.0).max(1.0);
        let ticks = multiples(step, low, high);
        Self { scale: Scale::Linear, low, high: high.max(low + 1.0), ticks }
    }

    fn linear(low: f64, high: f64) -> Self {
        // A constant is drawn in the middle, 0 at the low end.
        let (low, high) = match low {
            low if high > low => (low, high),
            0.0 => (0.0, 1e-3),
            constant => (constant - constant.abs() * 0.05, constant + constant.abs() * 0.05),
        };
        let step = nice_step((high - low) / 4.0);
        let (low, high) = (libm::floor(low / step) * step, libm::ceil(high / step) * step);
        Self { scale: Scale::Linear, low, high, ticks: multiples(step, low, high) }
    }

    /// The same axis, cut off at `low` and `high`.
    pub(crate) fn within(mut self, low: f64, high: f64) -> Self {
        (self.low, self.high) = (self.low.max(low), self.high.min(high));
        self.ticks.retain(|tick| (low..=high).contains(tick));
        self
    }

    fn decades(low: f64, high: f64) -> Self {
        let (first, last) = (libm::floor(libm::log10(low)), libm::ceil(libm::log10(high)));
        // A constant power of ten is drawn in the middle.
        let (first, last) = if first < last { (first, last) } else { (first - 1.0, last + 1.0) };
        let step = libm::ceil((last - first) / 5.0);
        let exponents =
            (0..).map(|i| first + step * f64::from(i)).take_while(|exponent| *exponent <= last);
        let ticks = exponents.map(|exponent| libm::pow(10.0, exponent)).collect();
        Self { scale: Scale::Log, low: libm::pow(10.0, first), high: libm::pow(10.0, last), ticks }
    }

    /// Position of `value`: 0 at the low end, 1 at the high end. `None` if it is not drawn.
    pub(crate) fn position(&self, value: f64) -> Option<f64> {
        let scaled = |value: f64| match self.scale {
            Scale::Linear => value,
            Scale::Log => libm::log10(value),
        };
        let position = (scaled(value) - scaled(self.low)) / (scaled(self.high) - scaled(self.low));
        position.is_finite().then_some(position)
    }

    /// Label of `value`, with as many digits as distinguish the ticks.
    pub(crate) fn label(&self, value: f64) -> String {
        match (self.scale, &self.ticks[..]) {
            (Scale::Log, _) => power_of_ten(value),
            (Scale::Linear, [a, b, ..]) => decimal(value, b - a),
            (Scale::Linear, _) if value.fract() == 0.0 => format!("{value}"),
            (Scale::Linear, _) => short(value),
        }
    }
}

/// The smallest of 1, 2, 5, 10, 20, ... and 0.5, 0.2, 0.1, ... that is at least `step`.
fn nice_step(step: f64) -> f64 {
    let power = libm::pow(10.0, libm::floor(libm::log10(step.max(1e-300))));
    let nice = [1.0, 2.0, 5.0, 10.0].into_iter().find(|nice| nice * power >= step * (1.0 - 1e-9));
    nice.unwrap_or(10.0) * power
}

/// Multiples of `step` from `low` to `high`.
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

/// `value`, a power of ten, as `10⁻³`.
fn power_of_ten(value: f64) -> String {
    let exponent = libm::round(libm::log10(value)) as i32;
    match exponent {
        0 => "1".into(),
        1 => "10".into(),
        _ => format!("10{}", superscript(exponent)),
    }
}

/// `exponent` in superscript digits.
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
        assert_eq!((axis.position(0.0), axis.position(0.4)), (Some(0.0), Some(1.0)));
        let axis = Axis::new(Scale::Linear, [0.9712, 0.9837].into_iter()).expect("values");
        assert_eq!(labels(&axis), ["0.970", "0.975", "0.980", "0.985"]);
        assert_eq!(labels(&Axis::integers(1.0, 10.0)), ["2", "4", "6", "8", "10"]);
        assert_eq!(labels(&Axis::integers(1.0, 3.0)), ["1", "2", "3"]);
        assert_eq!(labels(&Axis::integers(1.0, 1.0)), ["1"]);
        let million = Axis::integers(1_000_000.0, 1_200_000.0);
        assert_eq!(labels(&million), ["1.00e6", "1.05e6", "1.10e6", "1.15e6", "1.20e6"]);
    }

    #[test]
    fn a_constant_is_drawn_in_the_middle() {
        let axis = |value: f64| Axis::new(Scale::Linear, [value; 3].into_iter()).expect("values");
        for value in [2.0, 0.71, 1e-12, -3.0, 1e300] {
            let position = axis(value).position(value).expect("finite");
            assert!((0.2..0.8).contains(&position), "{value}: {position}");
        }
        assert_eq!(axis(0.0).position(0.0), Some(0.0));
        assert_eq!(labels(&axis(100.0).within(0.0, 100.0)).last().expect("ticks"), "100");
        assert_eq!(axis(100.0).within(0.0, 100.0).position(100.0), Some(1.0));
    }

    #[test]
    fn exploding_losses_are_cut_off_and_steep_ones_are_logarithmic() {
        let range = |curves: &[&[f64]]| loss_range(curves.iter().copied());
        let linear = |top| LossRange { scale: Scale::Linear, top };
        // A range test: flat, a fall, an explosion.
        let test: Vec<f64> =
            [vec![2.3; 60], vec![1.0; 10], vec![0.3; 20], vec![3.0, 20.0, 240.0]].concat();
        let LossRange { scale, top } = range(&[&test]);
        assert!(
            scale == Scale::Linear && top.is_some_and(|top| (2.4..10.0).contains(&top)),
            "{top:?}"
        );
        // A healthy run: nothing is cut off, not even the first epoch.
        assert_eq!(range(&[&[2.3, 0.2, 0.12, 0.1, 0.09, 0.09], &[0.2, 0.15, 0.13]]), linear(None));
        // One value is far above the others.
        assert_eq!(range(&[&[1.0, 1.0, 1.0, 1.0, 1e30]]), linear(Some(1.5)));
        // One of two runs is far above the other.
        assert_eq!(range(&[&[2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0], &[1e9]]), linear(Some(3.0)));
        let steep = LossRange { scale: Scale::Log, top: None };
        assert_eq!(range(&[&[1e4, 9.0, 2.0, 1.0, 0.5]]), steep);
        for curve in [&[][..], &[f64::NAN], &[0.0, 0.0], &[2.0], &[2.0; 9], &[-1.0, -2.0]] {
            assert_eq!(range(&[curve]), linear(None), "{curve:?}");
        }
    }

    #[test]
    fn a_logarithmic_axis_leaves_out_values_without_a_logarithm() {
        let axis = Axis::new(Scale::Log, [0.004, 2.0, 0.0, -1.0].into_iter()).expect("values");
        assert_eq!(labels(&axis), ["10⁻³", "10⁻²", "10⁻¹", "1", "10"]);
        assert_eq!(axis.position(0.0), None);
        assert!((axis.position(0.1).expect("above 0") - 0.5).abs() < 1e-12);
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
