//! Transforms of pixel values: brightness, contrast, noise, and random erasing.

use kernels::random::{Stream, fill_normal};
use kernels::{Cpu, math};

/// Adds `by` to each pixel.
pub(super) fn brighten(pixels: &mut [f64], by: f64) {
    pixels.iter_mut().for_each(|pixel| *pixel += by);
}

/// Multiplies differences from the mean by `factor`. The mean is summed in ascending order.
pub(super) fn contrast(pixels: &mut [f64], factor: f64) {
    let mean = pixels.iter().sum::<f64>() / pixels.len() as f64;
    // In this form, factor 1 changes no bit.
    pixels.iter_mut().for_each(|pixel| *pixel += (factor - 1.0) * (*pixel - mean));
}

/// Adds normal noise with standard deviation `std`.
pub(super) fn noise(cpu: Cpu<'_>, stream: Stream, pixels: &mut [f64], std: f64) {
    let mut noise = vec![0.0; pixels.len()];
    // Mean and deviation are in range: there is no error.
    let _ = fill_normal(cpu, stream, 0.0, std, &mut noise);
    pixels.iter_mut().zip(noise).for_each(|(pixel, noise)| *pixel += noise);
}

/// Maximum aspect ratio of an erased box: longer side by shorter side.
const MAX_ASPECT: f64 = 1.0 / 0.3;

/// Fills a box with 0. Its area is uniform up to `share` of the image, and so is the logarithm of
/// its aspect ratio. A box that is longer than the image is cropped to it.
pub(super) fn erase(cpu: Cpu<'_>, draws: Stream, pixels: &mut [f64], size: [usize; 2], share: f64) {
    let [height, width] = size;
    let area = share * draws.uniform_f64(1) * (height * width) as f64;
    let exponent = 2.0 * draws.uniform_f64(2) - 1.0;
    let ratio = math::at(cpu, |cpu, x, y| math::pow_scalar(cpu, x, exponent, y), MAX_ASPECT);
    // Rounded to whole pixels, halves up.
    let side = |square: f64, max: usize| ((math::sqrt(cpu, square) + 0.5) as usize).min(max);
    let (rows, columns) = (side(area * ratio, height), side(area / ratio, width));
    let top = draws.below(3, (height - rows + 1) as u32) as usize;
    let left = draws.below(4, (width - columns + 1) as u32) as usize;
    for row in pixels.chunks_exact_mut(width).skip(top).take(rows) {
        row[left..left + columns].fill(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brightness_and_contrast_follow_their_formulas() {
        let mut pixels = [0.1, 0.5, 0.9];
        brighten(&mut pixels, 0.25);
        assert_eq!(pixels, [0.35, 0.75, 1.15]);
        let mut pixels = [0.25, 0.75];
        contrast(&mut pixels, 0.5);
        assert_eq!(pixels, [0.375, 0.625]);
        contrast(&mut pixels, 1.0);
        assert_eq!(pixels, [0.375, 0.625]);
    }

    #[test]
    fn a_box_is_erased_and_nothing_else() {
        let mut sizes = [0_usize; 2];
        for seed in 0..200 {
            let mut pixels = vec![1.0; 12 * 20];
            erase(Cpu::detect(), Stream::new(seed, 0), &mut pixels, [12, 20], 0.3);
            let erased: Vec<usize> = (0..240).filter(|&i| pixels[i] == 0.0).collect();
            let (Some(first), Some(last)) = (erased.first(), erased.last()) else { continue };
            let (rows, columns) = (last / 20 - first / 20 + 1, last % 20 - first % 20 + 1);
            assert_eq!(erased.len(), rows * columns, "a box");
            // Each side is rounded by half a pixel at most.
            let (height, width) = (rows as f64 - 0.5, columns as f64 - 0.5);
            assert!(
                height * width <= 0.3 * 240.0
                    && height / (columns as f64 + 0.5) <= MAX_ASPECT + 1e-9
            );
            sizes = [sizes[0].max(rows), sizes[1].max(columns)];
        }
        assert!(sizes[0] > 9 && sizes[1] > 9, "{sizes:?}");
    }

    #[test]
    fn noise_has_its_deviation() {
        let mut pixels = vec![0.5; 10_000];
        noise(Cpu::detect(), Stream::new(1, 1), &mut pixels, 0.2);
        let mean = pixels.iter().sum::<f64>() / 1e4;
        let variance = pixels.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / 1e4;
        // Five standard errors each.
        assert!((mean - 0.5).abs() < 0.01 && (variance - 0.04).abs() < 0.003, "{mean} {variance}");
    }
}
