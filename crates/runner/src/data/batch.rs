//! Bytes become numbers on the way into a batch: a pixel p becomes T(p) * (1 / 255), rounded twice. Numbers stay what
//! they are.
//!
//! The training loop gathers each batch with this, and evaluation too. The scale is one number so that a kernel
//! which reads bytes itself gives the same bits: it converts and multiplies as here.

use std::ops::Div;

use kernels::vector::scale_bytes;
use kernels::{Cpu, Float, Isa, prefetch_slice};

use crate::data::labelled::{Inputs, Labelled};

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
}

/// 1 / 255, correctly rounded: what converts a pixel into a number from 0 to 1.
///
/// `T` is `f32` or `f64`.
pub fn scale<T: From<u8> + Div<Output = T>>() -> T {
    T::from(1) / T::from(255)
}

/// Writes the examples `indices` of `from` into `pixels`, one after another.
///
/// `pixels` is `[indices.len(), rows * cols]`, row-major. Each byte p becomes `T::from(p) * scale()`, in `[0, 1]`: 255
/// becomes exactly 1. `T` is `f32` or `f64`.
///
/// # Errors
/// [`GatherError`] if the length does not fit or an index is too large; then nothing is written.
pub fn gather<T>(
    isa: Isa,
    indices: &[u32],
    from: &Labelled,
    pixels: &mut [T],
) -> Result<(), GatherError>
where
    T: Float + From<u8> + From<f32> + Div<Output = T>,
{
    let (count, image_len) = (indices.len(), from.image_len());
    if let Some(at) = indices.iter().position(|&index| index as usize >= from.len()) {
        return Err(GatherError::Index { at, got: indices[at], below: from.len() });
    }
    if count.checked_mul(image_len) != Some(pixels.len()) {
        return Err(GatherError::Pixels {
            expected: count.saturating_mul(image_len),
            got: pixels.len(),
        });
    }
    let (cpu, scale) = (Cpu::serial(isa), scale::<T>());
    match from.inputs() {
        Inputs::Bytes(bytes) => convert(indices, bytes, pixels, image_len, |bytes, pixels| {
            // Both are an image.
            _ = scale_bytes(cpu, scale, bytes, pixels);
        }),
        Inputs::Numbers(numbers) => {
            convert(indices, numbers, pixels, image_len, |numbers, pixels| {
                for (pixel, &number) in pixels.iter_mut().zip(numbers) {
                    *pixel = <T as From<f32>>::from(number);
                }
            });
        }
    }
    Ok(())
}

/// Examples that are converted at a time: some microseconds' worth.
const SHARE: usize = 16;

/// Examples that are asked for ahead of their use: they lie anywhere in memory.
const AHEAD: usize = 4;

/// What [`gather`] does once all fits; on all threads of the pool that it is called in, if there is one.
fn convert<S: Copy + Sync, T: Send>(
    indices: &[u32],
    from: &[S],
    pixels: &mut [T],
    image_len: usize,
    one: impl Fn(&[S], &mut [T]) + Copy + Sync,
) {
    if indices.len() > SHARE && rayon_core::current_thread_index().is_some() {
        let half = indices.len() / 2;
        let (pixels, more_pixels) = pixels.split_at_mut(half * image_len);
        rayon_core::join(
            || convert(&indices[..half], from, pixels, image_len, one),
            || convert(&indices[half..], from, more_pixels, image_len, one),
        );
        return;
    }
    let source = |index: u32| &from[index as usize * image_len..][..image_len];
    indices.iter().take(AHEAD).for_each(|&index| prefetch_slice(source(index)));
    let ahead = indices.iter().skip(AHEAD).map(Some).chain(std::iter::repeat(None));
    for ((&index, ahead), image) in
        indices.iter().zip(ahead).zip(pixels.chunks_exact_mut(image_len))
    {
        if let Some(&ahead) = ahead {
            prefetch_slice(source(ahead));
        }
        one(source(index), image);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Targets;

    fn set() -> Labelled {
        let pixels = (0..=255).collect();
        Labelled::new(pixels, (0..64).collect(), 2, 2).expect("64 images of 2 x 2")
    }

    #[test]
    fn every_byte_is_converted_then_scaled_once() {
        let order: Vec<u32> = (0..64).rev().collect();
        let (mut single, mut double) = ([9.0_f32; 256], [9.0_f64; 256]);
        gather(Isa::detect(), &order, &set(), &mut single).expect("all fits");
        gather(Isa::detect(), &order, &set(), &mut double).expect("all fits");
        for (at, (single, double)) in single.iter().zip(double).enumerate() {
            let byte = 4 * (63 - at / 4) + at % 4;
            // 0x3B808081 and 0x3F70101010101010 are the nearest numbers to 1/255 in the two formats.
            assert_eq!(single.to_bits(), (byte as f32 * f32::from_bits(0x3B80_8081)).to_bits());
            assert_eq!(
                double.to_bits(),
                (byte as f64 * f64::from_bits(0x3F70_1010_1010_1010)).to_bits()
            );
        }
        assert_eq!((single[3], double[3]), (1.0, 1.0));
    }

    #[test]
    fn what_does_not_fit_writes_nothing() {
        let cases = [
            (&[1, 64][..], 8, GatherError::Index { at: 1, got: 64, below: 64 }),
            (&[1, 2], 7, GatherError::Pixels { expected: 8, got: 7 }),
            (&[1, 2], 9, GatherError::Pixels { expected: 8, got: 9 }),
        ];
        for (indices, pixels, expected) in cases {
            let mut pixels = vec![9.0_f32; pixels];
            assert_eq!(gather(Isa::detect(), indices, &set(), &mut pixels), Err(expected));
            assert!(pixels.iter().all(|&p| p == 9.0));
        }
        assert_eq!(gather::<f32>(Isa::detect(), &[], &set(), &mut []), Ok(()));
    }

    #[test]
    fn numbers_are_taken_as_they_are() {
        let (inputs, targets) =
            (Inputs::Numbers(vec![-0.5, 300.0, 0.1, f32::MAX]), Targets::Classes(vec![0, 1]));
        let set = Labelled::table(inputs, targets, 2).expect("2 rows of 2");
        let mut double = [9.0_f64; 4];
        gather(Isa::detect(), &[1, 0], &set, &mut double).expect("all fits");
        assert_eq!(double, [0.1_f32, f32::MAX, -0.5, 300.0].map(f64::from));
    }

    #[test]
    fn threads_change_nothing() {
        let order: Vec<u32> = (0..500).map(|i| i * 7 % 64).collect();
        let gathered = || {
            let mut pixels = vec![9.0_f32; 2000];
            gather(Isa::detect(), &order, &set(), &mut pixels).expect("all fits");
            pixels
        };
        let pool = crate::machine::thread_pool::ThreadPool::new(3).expect("threads");
        assert_eq!(pool.enter(gathered), gathered());
    }
}
