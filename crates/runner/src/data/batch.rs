//! Gathering of examples into a batch. A byte p is converted to T(p) * (1 / 255), rounded twice;
//! numbers are unchanged.
//!
//! The training loop and the evaluation gather their batches with [`gather`]. The scale is a single
//! number so that a kernel that reads bytes gives the same bits: it converts and multiplies alike.

use std::ops::Div;

use kernels::vector::scale_bytes;
use kernels::{Cpu, Float, Isa, prefetch_slice};

use crate::data::labelled::{Inputs, Labelled};

/// Arguments of [`gather`] that do not match. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GatherError {
    /// An index is out of range.
    #[error("indices[{at}]: expected below {below}, got {got}")]
    Index {
        /// Position in `indices`.
        at: usize,
        /// The index.
        got: u32,
        /// Number of examples.
        below: usize,
    },
    /// The length of `pixels` is not the number of indices times the length of an example.
    #[error("pixels: expected {expected} elements, got {got}")]
    Pixels {
        /// Number of indices x length of an example.
        expected: usize,
        /// Length of `pixels`.
        got: usize,
    },
}

/// Returns the scale of a pixel, 1 / 255, correctly rounded: it maps 0..=255 to 0..=1.
///
/// `T` is `f32` or `f64`.
pub fn scale<T: From<u8> + Div<Output = T>>() -> T {
    T::from(1) / T::from(255)
}

/// Writes the examples `indices` of `from` into `pixels`.
///
/// `pixels` is `[indices.len(), rows * cols]`, row-major. Each byte p is converted to
/// `T::from(p) * scale()`, in `[0, 1]`: 255 gives exactly 1. `T` is `f32` or `f64`.
///
/// # Errors
/// [`GatherError`] if the length differs or an index is out of range; then nothing is written.
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
            // It cannot fail: both slices have the length of an example.
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

/// Examples per task: some microseconds of work.
const TASK: usize = 16;

/// Examples prefetched ahead of their use, since their addresses are random.
const AHEAD: usize = 4;

/// Converts checked examples, each with `one`; on all threads of the pool that it is called in, if
/// any.
fn convert<S: Copy + Sync, T: Send>(
    indices: &[u32],
    from: &[S],
    pixels: &mut [T],
    image_len: usize,
    one: impl Fn(&[S], &mut [T]) + Copy + Sync,
) {
    if indices.len() > TASK && rayon_core::current_thread_index().is_some() {
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
        gather(Isa::detect(), &order, &set(), &mut single).expect("valid arguments");
        gather(Isa::detect(), &order, &set(), &mut double).expect("valid arguments");
        for (at, (single, double)) in single.iter().zip(double).enumerate() {
            let byte = 4 * (63 - at / 4) + at % 4;
            // 0x3B808081 and 0x3F70101010101010 are the nearest numbers to 1/255 in the two
            // formats.
            assert_eq!(single.to_bits(), (byte as f32 * f32::from_bits(0x3B80_8081)).to_bits());
            assert_eq!(
                double.to_bits(),
                (byte as f64 * f64::from_bits(0x3F70_1010_1010_1010)).to_bits()
            );
        }
        assert_eq!((single[3], double[3]), (1.0, 1.0));
    }

    #[test]
    fn invalid_arguments_write_nothing() {
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
    fn numbers_are_copied_unchanged() {
        let (inputs, targets) =
            (Inputs::Numbers(vec![-0.5, 300.0, 0.1, f32::MAX]), Targets::Classes(vec![0, 1]));
        let set = Labelled::table(inputs, targets, 2).expect("2 rows of 2");
        let mut double = [9.0_f64; 4];
        gather(Isa::detect(), &[1, 0], &set, &mut double).expect("valid arguments");
        assert_eq!(double, [0.1_f32, f32::MAX, -0.5, 300.0].map(f64::from));
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let order: Vec<u32> = (0..500).map(|i| i * 7 % 64).collect();
        let gathered = || {
            let mut pixels = vec![9.0_f32; 2000];
            gather(Isa::detect(), &order, &set(), &mut pixels).expect("valid arguments");
            pixels
        };
        let pool = crate::machine::thread_pool::ThreadPool::new(3).expect("threads");
        assert_eq!(pool.enter(gathered), gathered());
    }
}
