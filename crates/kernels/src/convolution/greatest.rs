//! The greatest of each 2 x 2 windows, taken while they are in registers, and where its gradient goes: what `pooling` makes of the
//! results of a convolution, to the bit.
//!
//! Called by the ways that hold such windows together.

use super::Epilogue;
use crate::channels::Channels;
use crate::simd::{Float, Simd};

/// Windows of a pool: two down, two across.
pub(super) const POOL: usize = 4;

impl<T: Float> Epilogue<'_, T> {
    /// Stores the greatest of a pool's sums of these channels, and which it was: [`POOL`] if ReLU's gradient there is 0.
    #[inline(always)]
    pub(super) fn store_greatest<S: Simd>(
        &mut self,
        s: S,
        channels: Channels,
        y: &mut [T],
        pool: usize,
        sums: [T::V<S>; POOL],
    ) {
        let number = |k: usize| T::splat(s, T::from_u8(k as u8));
        let mut greatest = self.activated(s, channels, sums[0]);
        let mut which = number(0);
        for (k, sum) in sums.into_iter().enumerate().skip(1) {
            let y = self.activated(s, channels, sum);
            let (is_greater, is_number) = (T::less(s, greatest, y), T::less_or_equal(s, y, y));
            // The first NaN is the greatest.
            let of_nan = T::select(s, T::less_or_equal(s, greatest, greatest), number(k), which);
            which = T::select(s, is_number, T::select(s, is_greater, number(k), which), of_nan);
            greatest = T::select(s, is_number, T::select(s, is_greater, y, greatest), y);
        }
        if self.relu {
            let zero = T::splat(s, T::ZERO);
            which = T::select(s, T::less_or_equal(s, greatest, zero), number(POOL), which);
        }
        channels.put(s, y, pool, greatest);
        if let Some(to) = &mut self.which {
            channels.put(s, to, pool, which);
        }
    }
}

/// The gradients of a pool's windows: `dy` for the one that was the greatest, +0 for the others.
#[inline(always)]
pub(super) fn of_greatest<S: Simd, T: Float>(s: S, dy: T::V<S>, which: T::V<S>) -> [T::V<S>; POOL] {
    let zero = T::splat(s, T::ZERO);
    // A gradient of -0 is added to +0, as `pooling` has it.
    let (mut left, mut shares) = (T::add(s, zero, dy), [zero; POOL]);
    for (k, share) in shares.iter_mut().enumerate() {
        let here = T::less_or_equal(s, which, T::splat(s, T::from_u8(k as u8)));
        *share = T::select(s, here, left, zero);
        left = T::select(s, here, zero, left);
    }
    shares
}
