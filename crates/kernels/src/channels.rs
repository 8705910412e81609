//! Channels of a pixel, one register at a time.
//!
//! Used by `pooling` and `convolution`.

use crate::simd::{Float, Simd};

/// One register of channels of a pixel; the last one may be partial.
#[derive(Clone, Copy)]
pub(crate) struct Channels {
    /// Channels of a pixel.
    all: usize,
    from: usize,
    count: usize,
}

impl Channels {
    /// Iterates over all channels of a pixel.
    #[inline(always)]
    pub(crate) fn of<S: Simd, T: Float>(all: usize) -> impl Iterator<Item = Self> {
        (0..all).step_by(T::lanes::<S>()).filter_map(move |from| Self::from::<S, T>(all, from))
    }

    /// The channels from `from` on, if there are any.
    #[inline(always)]
    pub(crate) fn from<S: Simd, T: Float>(all: usize, from: usize) -> Option<Self> {
        (from < all).then(|| Self { all, from, count: T::lanes::<S>().min(all - from) })
    }

    /// Loads these channels of pixel number `pixel`; +0 in unused lanes.
    #[inline(always)]
    pub(crate) fn get<S: Simd, T: Float>(self, s: S, x: &[T], pixel: usize) -> T::V<S> {
        let x = &x[pixel * self.all + self.from..][..self.count];
        match T::split::<S>(x).0 {
            [whole, ..] => *whole,
            [] => T::load(s, x),
        }
    }

    /// Stores `v` where [`get`](Self::get) reads.
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
