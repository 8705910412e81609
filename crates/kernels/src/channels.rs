//! The channels of a pixel, a register of them at a time: what is the same for each channel runs in lanes.
//!
//! Used by `pooling` and by the depthwise `convolution`.

use crate::simd::{Float, Simd};

/// As many channels as a register has lanes, or the last few.
#[derive(Clone, Copy)]
pub(crate) struct Channels {
    /// Channels of a pixel.
    all: usize,
    from: usize,
    count: usize,
}

impl Channels {
    /// All channels of a pixel, in turn.
    #[inline(always)]
    pub(crate) fn of<S: Simd, T: Float>(all: usize) -> impl Iterator<Item = Self> {
        (0..all).step_by(T::lanes::<S>()).filter_map(move |from| Self::from::<S, T>(all, from))
    }

    /// Those from channel `from` on, if there are any.
    #[inline(always)]
    pub(crate) fn from<S: Simd, T: Float>(all: usize, from: usize) -> Option<Self> {
        (from < all).then(|| Self { all, from, count: T::lanes::<S>().min(all - from) })
    }

    /// These channels of pixel number `pixel`; +0 in the lanes that are left.
    #[inline(always)]
    pub(crate) fn get<S: Simd, T: Float>(self, s: S, x: &[T], pixel: usize) -> T::V<S> {
        let x = &x[pixel * self.all + self.from..][..self.count];
        match T::split::<S>(x).0 {
            [whole, ..] => *whole,
            [] => T::load(s, x),
        }
    }

    /// Writes what [`get`](Self::get) reads.
    #[inline(always)]
    pub(crate) fn put<S: Simd, T: Float>(self, s: S, x: &mut [T], pixel: usize, v: T::V<S>) {
        let x = &mut x[pixel * self.all + self.from..][..self.count];
        if self.count == T::lanes::<S>() {
            T::split_mut::<S>(x).0[0] = v;
        } else {
            T::store(s, x, v);
        }
    }
}
