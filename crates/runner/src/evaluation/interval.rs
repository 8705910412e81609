//! Confidence interval of an accuracy measured on a finite test set: Wilson's interval.
//!
//! Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference". It
//! stays within [0, 1] and keeps its coverage near both ends, where the usual
//! `p ± 1.96 sqrt(p (1 - p) / n)` fails.

/// 97.5 % quantile of the standard normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// An interval that holds the true accuracy with 95 % confidence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Lower end, a fraction.
    pub low: f64,
    /// Upper end, a fraction.
    pub high: f64,
}

impl Interval {
    /// Wilson's interval for `correct` of `count`; [0, 1] for a `count` of 0.
    pub fn wilson(correct: usize, count: usize) -> Self {
        if count == 0 {
            return Self { low: 0.0, high: 1.0 };
        }
        let (n, p) = (count as f64, correct as f64 / count as f64);
        let shrink = 1.0 + Z * Z / n;
        let centre = (p + Z * Z / (2.0 * n)) / shrink;
        let half = Z / shrink * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
        Self { low: (centre - half).max(0.0), high: (centre + half).min(1.0) }
    }

    /// Half the width of the interval: the number after `±`.
    pub fn half_width(self) -> f64 {
        (self.high - self.low) / 2.0
    }
}

/// Accuracy and half the width of its 95 % interval, in per cent: `98.31 % ± 0.26`.
pub fn percent(correct: usize, count: usize) -> String {
    let accuracy = correct as f64 / count as f64;
    format!(
        "{:.2} % ± {:.2}",
        100.0 * accuracy,
        100.0 * Interval::wilson(correct, count).half_width()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method
    /// 3.
    #[test]
    fn matches_published_values() {
        for (correct, count, low, high) in [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ] {
            let interval = Interval::wilson(correct, count);
            assert!((interval.low - low).abs() <= 5e-5, "{interval:?}");
            assert!((interval.high - high).abs() <= 5e-5, "{interval:?}");
        }
    }

    #[test]
    fn ends_stay_in_range() {
        assert_eq!(Interval::wilson(0, 0), Interval { low: 0.0, high: 1.0 });
        for count in 1..100 {
            assert!((0.0..1e-15).contains(&Interval::wilson(0, count).low));
            assert!((1.0 - 1e-15..=1.0).contains(&Interval::wilson(count, count).high));
        }
        assert_eq!(percent(9831, 10_000), "98.31 % ± 0.25");
    }
}
