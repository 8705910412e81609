//! The frame: an image with its padding, in words.

use super::super::Convolution;
use super::super::words::Words;
use crate::simd::{Float, Simd};

/// Where the words of windows are in the frame.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    /// Words of a pixel, and of a row of pixels.
    pixel: usize,
    line: usize,
    /// Words from a window to the next, down and across.
    down: usize,
    pub(super) across: usize,
    /// Neighbouring words of a window, and how many such runs there are to a row of the kernel.
    pub(super) run: usize,
    pub(super) runs: usize,
    /// Words from a run to the next in a row of the kernel, and from a row to the next.
    beside: usize,
    below: usize,
}

impl Frame {
    /// That of a convolution of words.
    pub(super) fn new(c: &Convolution) -> Self {
        let (down, across, pixel) = (c.sweep.down, c.sweep.across, c.sweep.channels);
        let line = (across.len + 2 * across.padding) * pixel;
        let runs = if across.dilation == 1 { 1 } else { across.kernel };
        Self {
            pixel,
            line,
            down: down.stride.saturating_mul(line),
            across: across.stride.saturating_mul(pixel),
            run: across.kernel / runs * pixel,
            runs,
            beside: across.dilation * pixel,
            below: down.dilation * line,
        }
    }

    /// Where a window begins.
    #[inline(always)]
    pub(super) fn window(self, o: usize, ow: usize) -> usize {
        o * self.down + ow * self.across
    }

    /// Where run number `run` of a window begins, from its beginning.
    #[inline(always)]
    pub(super) fn run(self, run: usize) -> usize {
        run / self.runs * self.below + run % self.runs * self.beside
    }

    /// Copies an image of `c`, each word from channels that are neighbours; the padding around it is +0.
    #[inline(always)]
    pub(super) fn fill_channels<S: Simd, K: Words>(
        self,
        s: S,
        c: &Convolution,
        x: &[K::Sum],
        image: usize,
        frame: &mut [K::Sum],
    ) {
        let (channels, across) = (c.sweep.channels, c.sweep.across);
        for (to, from) in self.lines(c, x, image, frame) {
            let to = &mut to[across.padding * self.pixel..][..across.len * self.pixel];
            if channels.is_multiple_of(K::ELEMENTS) {
                K::of_neighbours(s, from, to);
                continue;
            }
            for (to, from) in to.chunks_exact_mut(self.pixel).zip(from.chunks_exact(channels)) {
                K::of_neighbours(s, from, to);
            }
        }
    }

    /// Copies an image of `c`, each word from the same elements of windows that are neighbours; the padding around it is +0.
    #[inline(always)]
    pub(super) fn fill_windows<S: Simd, K: Words>(
        self,
        s: S,
        c: &Convolution,
        x: &[K::Sum],
        image: usize,
        frame: &mut [K::Sum],
    ) {
        let (channels, across) = (c.sweep.channels, c.sweep.across);
        let (at, apart) = (across.padding * channels, across.stride.saturating_mul(channels));
        for (to, from) in self.lines(c, x, image, frame) {
            let (first, behind) = from.split_at(apart.min(from.len()));
            K::of_rows(s, from, behind, &mut to[at..][..from.len()]);
            if K::ELEMENTS > 1 {
                // Words whose first element is in the padding.
                let (before, end) = first.split_at(apart.saturating_sub(at).min(first.len()));
                let start = (at + before.len()).saturating_sub(apart);
                K::of_rows(s, &[], end, &mut to[start..][..end.len()]);
            }
        }
    }

    /// The lines of an image, each with the line of the frame that it belongs to. The frame is +0 by then.
    #[inline(always)]
    fn lines<'a, T: Float>(
        self,
        c: &Convolution,
        x: &'a [T],
        image: usize,
        frame: &'a mut [T],
    ) -> impl Iterator<Item = (&'a mut [T], &'a [T])> {
        let (down, line) = (c.sweep.down, c.sweep.across.len * c.sweep.channels);
        frame.fill(T::ZERO);
        let lines = frame.chunks_exact_mut(self.line).skip(down.padding);
        lines.zip(x[image * down.len * line..].chunks_exact(line)).take(down.len)
    }
}
