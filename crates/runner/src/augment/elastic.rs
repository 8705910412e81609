//! Random displacement field of an elastic distortion.
//!
//! ```text
//! field = alpha * (weights convolved with uniform(-1, 1)), vertical and horizontal
//! weights: a Gaussian, truncated at 3 sigma, with sum 1
//! ```
//!
//! Values outside the image are 0, so that the field is weaker at the edges, as in Simard et al.
//! (ICDAR 2003).

use kernels::random::{Stream, fill_uniform};
use kernels::{Cpu, math};

/// Returns the displacements of an image of `size`, `[height, width]`, in pixels: all vertical
/// ones, then all horizontal ones.
pub(super) fn field(
    cpu: Cpu<'_>,
    stream: Stream,
    size: [usize; 2],
    alpha: f64,
    sigma: f64,
) -> Vec<f64> {
    let [height, width] = size;
    let mut field = vec![0.0; 2 * height * width];
    // The bounds are finite: there is no error.
    let _ = fill_uniform(cpu, stream, -1.0, 1.0, &mut field);
    let weights = gaussian(cpu, sigma);
    let mut smoothed = vec![0.0; field.len()];
    // Horizontally in each row, then vertically in all columns at once: the second pass takes rows
    // as elements.
    for (row, out) in field.chunks_exact(width).zip(smoothed.chunks_exact_mut(width)) {
        smooth(row, out, 1, &weights);
    }
    for (field, smoothed) in
        smoothed.chunks_exact(height * width).zip(field.chunks_exact_mut(height * width))
    {
        smoothed.fill(0.0);
        smooth(field, smoothed, width, &weights);
    }
    field.iter_mut().for_each(|displacement| *displacement *= alpha);
    field
}

/// Convolves `row`, elements of `step` numbers each, with `weights`, and adds the result to `out`.
fn smooth(row: &[f64], out: &mut [f64], step: usize, weights: &[f64]) {
    let len = row.len();
    for (distance, &weight) in weights.iter().enumerate() {
        let by = distance * step;
        if by >= len {
            break;
        }
        let mut add = |to: usize, from: usize| {
            for (out, &value) in out[to..].iter_mut().zip(&row[from..]) {
                *out += weight * value;
            }
        };
        add(0, by);
        if by > 0 {
            add(by, 0);
        }
    }
}

/// Returns the weights at distances 0, 1, ... up to 3 sigma; those on both sides sum to 1.
fn gaussian(cpu: Cpu<'_>, sigma: f64) -> Vec<f64> {
    // At most 192, since sigma is at most 64.
    let radius = (3.0 * sigma).ceil() as usize;
    let exponent = |distance: usize| -0.5 * (distance as f64 / sigma) * (distance as f64 / sigma);
    let mut weights: Vec<f64> =
        (0..=radius).map(|distance| math::at(cpu, math::exp, exponent(distance))).collect();
    let sum = weights[0] + 2.0 * weights[1..].iter().sum::<f64>();
    weights.iter_mut().for_each(|weight| *weight /= sum);
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_fall_and_sum_to_1() {
        for sigma in [0.3, 1.0, 4.0] {
            let weights = gaussian(Cpu::detect(), sigma);
            assert!((weights[0] + 2.0 * weights[1..].iter().sum::<f64>() - 1.0).abs() < 1e-12);
            assert!(weights.is_sorted_by(|a, b| a > b), "{weights:?}");
        }
    }

    #[test]
    fn a_field_is_the_weighted_sum_around_each_pixel() {
        let (size, sigma) = ([5, 4], 0.8);
        let (cpu, stream) = (Cpu::detect(), Stream::new(3, 4));
        let weights = gaussian(cpu, sigma);
        let got = field(cpu, stream, size, 7.0, sigma);
        let raw = |which: usize, y: usize, x: usize| {
            2.0 * stream.uniform_f64((which * 20 + y * 4 + x) as u64) - 1.0
        };
        for (i, got) in got.into_iter().enumerate() {
            let (which, y, x) = (i / 20, i % 20 / 4, i % 4);
            let weight = |a: usize, b: usize| weights.get(a.abs_diff(b)).copied().unwrap_or(0.0);
            let positions = (0..5).flat_map(|v| (0..4).map(move |u| (v, u)));
            let sum: f64 =
                positions.map(|(v, u)| weight(y, v) * weight(x, u) * raw(which, v, u)).sum();
            assert!((got - 7.0 * sum).abs() < 1e-12);
        }
    }
}
