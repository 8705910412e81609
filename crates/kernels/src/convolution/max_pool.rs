//! Max pooling of 2 x 2 windows, fused into the convolution's epilogue, and its gradient: the bits
//! of `pooling` on the convolution's output.
//!
//! Called by the Winograd algorithm, whose tiles hold whole pools in registers.

use super::Epilogue;
use crate::channels::Channels;
use crate::simd::{Float, Simd};

/// Windows of a pool: 2 x 2.
pub(super) const POOL: usize = 4;

impl<T: Float> Epilogue<'_, T> {
    /// Stores the maximum of a pool's sums and its index in the pool, or [`POOL`] if ReLU's
    /// derivative is 0 there.
    #[inline(always)]
    pub(super) fn store_max<S: Simd>(
        &mut self,
        s: S,
        channels: Channels,
        y: &mut [T],
        pool: usize,
        sums: [T::V<S>; POOL],
    ) {
        let number = |k: usize| T::splat(s, T::from_u8(k as u8));
        let mut max = self.activated(s, channels, sums[0]);
        let mut argmax = number(0);
        for (k, sum) in sums.into_iter().enumerate().skip(1) {
            let y = self.activated(s, channels, sum);
            let (is_greater, is_number) = (T::less(s, max, y), T::less_or_equal(s, y, y));
            // The first NaN is the maximum.
            let of_nan = T::select(s, T::less_or_equal(s, max, max), number(k), argmax);
            argmax = T::select(s, is_number, T::select(s, is_greater, number(k), argmax), of_nan);
            max = T::select(s, is_number, T::select(s, is_greater, y, max), y);
        }
        if self.relu {
            let zero = T::splat(s, T::ZERO);
            argmax = T::select(s, T::less_or_equal(s, max, zero), number(POOL), argmax);
        }
        channels.put(s, y, pool, max);
        if let Some(to) = &mut self.argmax {
            channels.put(s, to, pool, argmax);
        }
    }
}

/// Gradients of a pool's windows: `dy` for the maximum, +0 for the others.
#[inline(always)]
pub(super) fn max_backward<S: Simd, T: Float>(
    s: S,
    dy: T::V<S>,
    argmax: T::V<S>,
) -> [T::V<S>; POOL] {
    let zero = T::splat(s, T::ZERO);
    // A gradient of -0 is added to +0, as in `pooling`.
    let (mut left, mut shares) = (T::add(s, zero, dy), [zero; POOL]);
    for (k, share) in shares.iter_mut().enumerate() {
        let here = T::less_or_equal(s, argmax, T::splat(s, T::from_u8(k as u8)));
        *share = T::select(s, here, left, zero);
        left = T::select(s, here, zero, left);
    }
    shares
}
