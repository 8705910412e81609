//! A zero-padded image of packed elements.

use super::super::Convolution;
use super::super::packing::Packing;
use crate::simd::{Float, Simd};

/// Strides of a padded image, in packed elements.
#[derive(Clone, Copy)]
pub(super) struct PaddedLayout {
    /// A pixel, and a row of pixels.
    pixel: usize,
    line: usize,
    /// From a window to the next, down and across.
    down: usize,
    pub(super) across: usize,
    /// Length of a contiguous run of a window, and number of runs per row of the kernel.
    pub(super) run: usize,
    pub(super) runs: usize,
    /// From a run to the next within a row of the kernel, and from a row to the next.
    next: usize,
    below: usize,
}

impl PaddedLayout {
    /// The padded image of a convolution over packed elements.
    pub(super) fn new(c: &Convolution) -> Self {
        let (down, across, pixel) = (c.geometry.down, c.geometry.across, c.geometry.channels);
        let line = (across.len + 2 * across.padding) * pixel;
        let runs = if across.dilation == 1 { 1 } else { across.kernel };
        Self {
            pixel,
            line,
            down: down.stride.saturating_mul(line),
            across: across.stride.saturating_mul(pixel),
            run: across.kernel / runs * pixel,
            runs,
            next: across.dilation * pixel,
            below: down.dilation * line,
        }
    }

    /// Offset of a window.
    #[inline(always)]
    pub(super) fn window(self, o: usize, ow: usize) -> usize {
        o * self.down + ow * self.across
    }

    /// Offset of run number `run`, from the start of its window.
    #[inline(always)]
    pub(super) fn run(self, run: usize) -> usize {
        run / self.runs * self.below + run % self.runs * self.next
    }

    /// Copies an image of `c`, packing neighbouring channels. The padding is +0.
    #[inline(always)]
    pub(super) fn fill_channels<S: Simd, K: Packing>(
        self,
        s: S,
        c: &Convolution,
        x: &[K::Acc],
        image: usize,
        padded: &mut [K::Acc],
    ) {
        let (channels, across) = (c.geometry.channels, c.geometry.across);
        for (to, from) in self.lines(c, x, image, padded) {
            let to = &mut to[across.padding * self.pixel..][..across.len * self.pixel];
            if channels.is_multiple_of(K::K_PER_ELEMENT) {
                K::pack_neighbours(s, from, to);
                continue;
            }
            for (to, from) in to.chunks_exact_mut(self.pixel).zip(from.chunks_exact(channels)) {
                K::pack_neighbours(s, from, to);
            }
        }
    }

    /// Copies an image of `c`, packing the same element of neighbouring windows. The padding is +0.
    #[inline(always)]
    pub(super) fn fill_windows<S: Simd, K: Packing>(
        self,
        s: S,
        c: &Convolution,
        x: &[K::Acc],
        image: usize,
        padded: &mut [K::Acc],
    ) {
        let (channels, across) = (c.geometry.channels, c.geometry.across);
        let (at, apart) = (across.padding * channels, across.stride.saturating_mul(channels));
        for (to, from) in self.lines(c, x, image, padded) {
            let (first, behind) = from.split_at(apart.min(from.len()));
            K::pack_rows(s, from, behind, &mut to[at..][..from.len()]);
            if K::K_PER_ELEMENT > 1 {
                // Pairs whose first element is in the padding.
                let (before, end) = first.split_at(apart.saturating_sub(at).min(first.len()));
                let start = (at + before.len()).saturating_sub(apart);
                K::pack_rows(s, &[], end, &mut to[start..][..end.len()]);
            }
        }
    }

    /// Zeroes the padded image; returns its rows, each with the image row to copy there.
    #[inline(always)]
    fn lines<'a, T: Float>(
        self,
        c: &Convolution,
        x: &'a [T],
        image: usize,
        padded: &'a mut [T],
    ) -> impl Iterator<Item = (&'a mut [T], &'a [T])> {
        let (down, line) = (c.geometry.down, c.geometry.across.len * c.geometry.channels);
        padded.fill(T::ZERO);
        let lines = padded.chunks_exact_mut(self.line).skip(down.padding);
        lines.zip(x[image * down.len * line..].chunks_exact(line)).take(down.len)
    }
}
