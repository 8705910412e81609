//! Bytes become numbers on the way into a batch: a pixel p becomes T(p) * (1 / 255), rounded twice.
//!
//! The training loop gathers each batch with this, and evaluation too. The scale is one number so that a kernel
//! which reads bytes itself gives the same bits: it converts and multiplies as here.

use std::ops::{Div, Mul};

use super::labelled::Labelled;

/// What [`gather`] was given does not fit together. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GatherError {
    /// There is no image of this index.
    #[error("indices[{at}]: expected below {below}, got {got}")]
    Index {
        /// Which index it is.
        at: usize,
        /// Its value.
        got: u32,
        /// Number of images.
        below: usize,
    },
    /// `pixels` has not one image's length for each index.
    #[error("pixels: expected {expected} elements, got {got}")]
    Pixels {
        /// Number of indices x pixels of an image.
        expected: usize,
        /// The length that came.
        got: usize,
    },
    /// `labels` has not one element for each index.
    #[error("labels: expected {expected} elements, got {got}")]
    Labels {
        /// Number of indices.
        expected: usize,
        /// The length that came.
        got: usize,
    },
}

/// 1 / 255, correctly rounded: what converts a pixel into a number from 0 to 1.
///
/// `T` is `f32` or `f64`.
pub fn scale<T: From<u8> + Div<Output = T>>() -> T {
    T::from(1) / T::from(255)
}

/// Writes the images `indices` of `from` into `pixels`, one after another, and their classes into `labels`.
///
/// `pixels` is `[indices.len(), rows * cols]`, row-major; `labels` is `[indices.len()]`. Each pixel p becomes
/// `T::from(p) * scale()`, in `[0, 1]`: 255 becomes exactly 1. `T` is `f32` or `f64`.
///
/// # Errors
/// [`GatherError`] if a length does not fit or an index is too large; then nothing is written.
pub fn gather<T>(
    indices: &[u32],
    from: &Labelled,
    pixels: &mut [T],
    labels: &mut [u8],
) -> Result<(), GatherError>
where
    T: Copy + From<u8> + Mul<Output = T> + Div<Output = T> + Send,
{
    let (count, image_len) = (indices.len(), from.image_len());
    if let Some(at) = indices.iter().position(|&index| index as usize >= from.len()) {
        return Err(GatherError::Index { at, got: indices[at], below: from.len() });
    }
    if count.checked_mul(image_len) != Some(pixels.len()) {
        return Err(GatherError::Pixels { expected: count.saturating_mul(image_len), got: pixels.len() });
    }
    if labels.len() != count {
        return Err(GatherError::Labels { expected: count, got: labels.len() });
    }
    convert(indices, from, pixels, labels);
    Ok(())
}

/// Images that are converted at a time: some microseconds' worth.
const SHARE: usize = 16;

/// What [`gather`] does once all fits; on all threads of the pool that it is called in, if there is one.
fn convert<T>(indices: &[u32], from: &Labelled, pixels: &mut [T], labels: &mut [u8])
where
    T: Copy + From<u8> + Mul<Output = T> + Div<Output = T> + Send,
{
    let image_len = from.image_len();
    if indices.len() > SHARE && rayon_core::current_thread_index().is_some() {
        let half = indices.len() / 2;
        let (pixels, more_pixels) = pixels.split_at_mut(half * image_len);
        let (labels, more_labels) = labels.split_at_mut(half);
        rayon_core::join(
            || convert(&indices[..half], from, pixels, labels),
            || convert(&indices[half..], from, more_pixels, more_labels),
        );
        return;
    }
    let scale = scale::<T>();
    for ((&index, label), image) in indices.iter().zip(labels).zip(pixels.chunks_exact_mut(image_len)) {
        let index = index as usize;
        *label = from.labels()[index];
        let source = &from.pixels()[index * image_len..][..image_len];
        for (pixel, &byte) in image.iter_mut().zip(source) {
            *pixel = T::from(byte) * scale;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> Labelled {
        let pixels = (0..=255).collect();
        Labelled::new(pixels, (0..64).collect(), 2, 2).expect("64 images of 2 x 2")
    }

    #[test]
    fn every_byte_is_converted_then_scaled_once() {
        let order: Vec<u32> = (0..64).rev().collect();
        let (mut single, mut double, mut labels) = ([9.0_f32; 256], [9.0_f64; 256], [99; 64]);
        gather(&order, &set(), &mut single, &mut labels).expect("all fits");
        gather(&order, &set(), &mut double, &mut labels).expect("all fits");
        assert!(labels.iter().copied().eq((0..64).rev()));
        for (at, (single, double)) in single.iter().zip(double).enumerate() {
            let byte = 4 * (63 - at / 4) + at % 4;
            // 0x3B808081 and 0x3F70101010101010 are the nearest numbers to 1/255 in the two formats.
            assert_eq!(single.to_bits(), (byte as f32 * f32::from_bits(0x3B80_8081)).to_bits());
            assert_eq!(double.to_bits(), (byte as f64 * f64::from_bits(0x3F70_1010_1010_1010)).to_bits());
        }
        assert_eq!((single[3], double[3]), (1.0, 1.0));
    }

    #[test]
    fn what_does_not_fit_writes_nothing() {
        let cases = [
            (&[1, 64][..], 8, 2, GatherError::Index { at: 1, got: 64, below: 64 }),
            (&[1, 2], 7, 2, GatherError::Pixels { expected: 8, got: 7 }),
            (&[1, 2], 9, 2, GatherError::Pixels { expected: 8, got: 9 }),
            (&[1, 2], 8, 1, GatherError::Labels { expected: 2, got: 1 }),
            (&[1, 2], 8, 3, GatherError::Labels { expected: 2, got: 3 }),
        ];
        for (indices, pixels, labels, expected) in cases {
            let (mut pixels, mut labels) = (vec![9.0_f32; pixels], vec![99; labels]);
            assert_eq!(gather(indices, &set(), &mut pixels, &mut labels), Err(expected));
            assert!(pixels.iter().all(|&p| p == 9.0) && labels.iter().all(|&l| l == 99));
        }
        assert_eq!(gather::<f32>(&[], &set(), &mut [], &mut []), Ok(()));
    }

    #[test]
    fn threads_change_nothing() {
        let order: Vec<u32> = (0..500).map(|i| i * 7 % 64).collect();
        let gathered = || {
            let (mut pixels, mut labels) = (vec![9.0_f32; 2000], vec![99; 500]);
            gather(&order, &set(), &mut pixels, &mut labels).expect("all fits");
            (pixels, labels)
        };
        let pool = crate::pool::Pool::new(3).expect("threads");
        assert_eq!(pool.enter(gathered), gathered());
    }
}
