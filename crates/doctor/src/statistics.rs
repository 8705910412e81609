//! Robust statistics: a few NaN or outliers do not blind them.

use alloc::vec::Vec;

/// Median of the finite ones among `values`; `None` if there are none.
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    quantile(values, 0.5)
}

/// Quantile `q` in [0, 1] of the finite ones among `values`, interpolated linearly; `None` if there
/// are none.
pub fn quantile(values: impl IntoIterator<Item = f64>, q: f64) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    let position = q.clamp(0.0, 1.0) * last as f64;
    let low = position as usize;
    let high = (low + 1).min(last);
    Some(values[low] + (values[high] - values[low]) * (position - low as f64))
}

/// Median absolute deviation from the median, times 1.4826: the standard deviation of a normal
/// distribution (Hampel, 1974).
pub fn spread(values: &[f64]) -> Option<f64> {
    let centre = median(values.iter().copied())?;
    median(values.iter().map(|value| libm::fabs(value - centre))).map(|mad| 1.4826 * mad)
}

/// A line fitted by least squares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// Slope.
    pub slope: f64,
    /// Standard error of the slope; 0 for two points.
    pub error: f64,
    /// Value at 0.
    pub intercept: f64,
}

/// Fits `y = intercept + slope x` to the finite points; `None` unless two have different x.
pub fn fit_line(points: impl IntoIterator<Item = (f64, f64)>) -> Option<Line> {
    let points: Vec<(f64, f64)> =
        points.into_iter().filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
    let n = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
    let (mean_x, mean_y) = (mean(|point| point.0), mean(|point| point.1));
    let sum = |of: &dyn Fn(f64, f64) -> f64| {
        points.iter().map(|&(x, y)| of(x - mean_x, y - mean_y)).sum::<f64>()
    };
    let xx = sum(&|x, _| x * x);
    if points.len() < 2 || xx == 0.0 {
        return None;
    }
    let slope = sum(&|x, y| x * y) / xx;
    let residual = sum(&|x, y| (y - slope * x) * (y - slope * x));
    let error = if points.len() > 2 { libm::sqrt(residual / (n - 2.0) / xx) } else { 0.0 };
    Some(Line { slope, error, intercept: mean_y - slope * mean_x })
}

/// Half width of the interval of a fraction `p` of `n` trials, at `z` standard deviations; that of
/// one half if `p` is 0 or 1 and `n` is small (Agresti, Coull, 1998).
pub fn fraction_margin(p: f64, n: u64, z: f64) -> f64 {
    let n_adjusted = n as f64 + z * z;
    let p_adjusted = (p * n as f64 + z * z / 2.0) / n_adjusted;
    z * libm::sqrt(p_adjusted * (1.0 - p_adjusted) / n_adjusted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_spreads_ignore_what_is_not_finite() {
        assert_eq!(median([3.0, f64::NAN, 1.0, f64::INFINITY, 2.0]), Some(2.0));
        assert_eq!(median([1.0, 2.0]), Some(1.5));
        assert_eq!(median([f64::NAN]), None);
        assert_eq!(quantile([0.0, 10.0], 0.25), Some(2.5));
        assert_eq!(spread(&[1.0, 1.0, 2.0, 3.0, 1e9]), Some(1.4826));
    }

    #[test]
    fn a_line_is_fitted_with_the_error_of_its_slope() {
        let line = fit_line([(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]).expect("three points");
        assert_eq!((line.slope, line.error, line.intercept), (2.0, 0.0, 1.0));
        // Residuals -1/6, 1/3, -1/6: error sqrt(1/6 / 1 / 2).
        let line = fit_line([(0.0, 0.0), (1.0, 1.0), (2.0, 1.0)]).expect("three points");
        assert!((line.slope - 0.5).abs() < 1e-15);
        assert!((line.error - (1.0_f64 / 12.0).sqrt()).abs() < 1e-15);
        assert_eq!(fit_line([(1.0, 2.0), (1.0, 3.0), (f64::NAN, 1.0)]), None);
    }

    #[test]
    fn the_margin_of_a_fraction_is_that_of_a_normal_distribution() {
        let margin = fraction_margin(0.5, 10_000, 2.0);
        assert!((margin - 0.01).abs() < 1e-4, "{margin}");
        assert!(fraction_margin(0.0, 10, 2.0) > 0.0);
    }
}
