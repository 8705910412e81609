//! Derivatives by finite differences, and the error of an analytic gradient relative to them.

/// The derivative of `f` in each coordinate of `at`, by fourth-order central differences with step
/// `h`. Exactly 0 where `f` does not change.
///
/// `f' = (8 (f(x + h) - f(x - h)) - (f(x + 2h) - f(x - 2h))) / 12h`, with an error of order h^4
/// (Fornberg 1988, "Generation of finite difference formulas on arbitrarily spaced grids", table
/// 1).
pub fn gradient(at: &[f64], h: f64, mut f: impl FnMut(&[f64]) -> f64) -> Vec<f64> {
    let mut x = at.to_vec();
    let mut derivative = |i: usize| {
        let mut shifted = |steps: f64| {
            x[i] = at[i] + steps * h;
            let y = f(&x);
            x[i] = at[i];
            y
        };
        (8.0 * (shifted(1.0) - shifted(-1.0)) - (shifted(2.0) - shifted(-2.0))) / (12.0 * h)
    };
    (0..at.len()).map(&mut derivative).collect()
}

/// The largest error of an element of an analytic gradient: |a - n| / max(|a|, |n|, 1e-3 of the
/// largest |a| of the tensor). A NaN on either side is an infinite error. 0 if all elements of both
/// are 0.
pub fn worst_error(analytic: &[f64], numeric: &[f64]) -> f64 {
    assert_eq!(analytic.len(), numeric.len());
    let largest = analytic.iter().fold(0.0_f64, |largest, a| largest.max(a.abs()));
    let error = |(a, n): (&f64, &f64)| {
        let size = a.abs().max(n.abs()).max(1e-3 * largest);
        let error = (a - n).abs() / size;
        match (a == n, error.is_nan()) {
            (true, _) => 0.0,
            (false, true) => f64::INFINITY,
            (false, false) => error,
        }
    };
    analytic.iter().zip(numeric).map(error).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quartic_is_differentiated_exactly() {
        let slopes =
            gradient(&[0.5, -2.0], 1e-2, |x| x[0] * x[0] * x[0] * x[0] + 3.0 * x[1] * x[1] * x[0]);
        assert!(worst_error(&[4.0 * 0.125 + 12.0, -6.0], &slopes) < 1e-12);
    }

    #[test]
    fn a_wrong_or_missing_number_is_an_error() {
        assert!(worst_error(&[1.0, 2.0], &[1.0, 2.001]) > 4e-4);
        assert_eq!(worst_error(&[1.0, f64::NAN], &[1.0, 1.0]), f64::INFINITY);
        assert_eq!(worst_error(&[1.0], &[f64::INFINITY]), f64::INFINITY);
        assert_eq!(worst_error(&[0.0], &[0.0]), 0.0);
        assert_eq!(worst_error(&[0.0], &[1e-30]), 1.0);
    }
}
