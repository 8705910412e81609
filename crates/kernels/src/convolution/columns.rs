//! im2col and col2im: images as a matrix with a row for each window, and its gradient.
//!
//! ```text
//! im2col   row (image, oh, ow), column (kh, kw, channel):  the pixel's value, +0 in the padding
//! col2im   each window is added to its pixels, the last window first:
//!          so that each pixel adds up its taps in ascending (kh, kw), from +0
//! ```
//!
//! Called by `product`, block by block, and by users.

use core::ops::Range;

use super::Convolution;
use crate::elementwise::{Elementwise, along};
use crate::simd::{Float, Simd, WithSimd};
use crate::window::Run;

/// Columns of the im2col matrix: taps `taps` of the kernel, of the channels of `group`.
pub(super) struct Columns {
    pub(super) group: usize,
    pub(super) taps: Range<usize>,
}

impl Convolution {
    /// Taps in row `kh` of the kernel that are also in `taps`.
    fn taps_in_row(&self, taps: &Range<usize>, kh: usize) -> Range<usize> {
        let across = self.geometry.across.kernel;
        let start = taps.start.saturating_sub(kh * across);
        let end = taps.end.saturating_sub(kh * across).min(across);
        start.min(end)..end
    }

    /// Writes the rows `positions` of `part` to `columns`.
    pub(super) fn fill_columns<T: Float>(
        &self,
        x: &[T],
        part: &Columns,
        positions: Range<usize>,
        columns: &mut [T],
    ) {
        let (down, across) = (self.geometry.down, self.geometry.across);
        let (channels, own) = (self.geometry.channels, self.group_channels());
        let from = part.group * own;
        let depth = part.taps.len() * own;
        if depth == 0 {
            return;
        }
        let mut rows = columns.chunks_exact_mut(depth);
        for Run { image, o, across: run } in self.geometry.runs(positions) {
            for ((ow, row), inside) in
                run.clone().zip(&mut rows).zip(run.map(|ow| across.inside(ow)))
            {
                let mut row = row;
                for kh in 0..down.kernel {
                    let taps = self.taps_in_row(&part.taps, kh);
                    let Some(part) = row.split_off_mut(..taps.len() * own) else { return };
                    let Some(ih) = down.pixel(o, kh) else {
                        part.fill(T::ZERO);
                        continue;
                    };
                    let line = (image * down.len + ih) * across.len;
                    let first = inside.start.clamp(taps.start, taps.end);
                    let end = inside.end.clamp(first, taps.end);
                    let (before, part) = part.split_at_mut((first - taps.start) * own);
                    let (part, behind) = part.split_at_mut((end - first) * own);
                    before.fill(T::ZERO);
                    behind.fill(T::ZERO);
                    if part.is_empty() {
                        continue;
                    }
                    let left = ow * across.stride + first * across.dilation - across.padding;
                    let at = (line + left) * channels + from;
                    if own == channels && across.dilation == 1 {
                        part.copy_from_slice(&x[at..][..part.len()]);
                    } else {
                        let x = x[at..].chunks(channels * across.dilation);
                        for (pixel, x) in part.chunks_exact_mut(own).zip(x) {
                            pixel.copy_from_slice(&x[..own]);
                        }
                    }
                }
            }
        }
    }
}

/// col2im of one group: adds the rows of `columns` to the rows `pixels` of some images.
pub(super) struct Col2im<'a, T> {
    pub(super) convolution: &'a Convolution,
    pub(super) group: usize,
    /// Windows of output rows `windows` of each image:
    /// `[images, windows, out width, kernel, group channels]`.
    pub(super) columns: &'a [T],
    pub(super) windows: Range<usize>,
    /// Rows `pixels` of each image.
    pub(super) dx: &'a mut [T],
    pub(super) pixels: Range<usize>,
}

/// `a + b`.
struct Add;

impl<T: Float> Elementwise<T, 1, 1> for Add {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, [a]: [T::V<S>; 1], [b]: [T::V<S>; 1]) -> [T::V<S>; 1] {
        [T::add(s, b, a)]
    }
}

impl<T: Float> WithSimd for Col2im<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { convolution, group, columns, windows, dx, pixels } = self;
        let (down, across) = (convolution.geometry.down, convolution.geometry.across);
        let (channels, own) = (convolution.geometry.channels, convolution.group_channels());
        let from = group * own;
        let line = across.len * channels;
        let row = across.kernel * own;
        let depth = down.kernel * row;
        if line == 0 || own == 0 || pixels.is_empty() || windows.is_empty() {
            return;
        }
        let images = dx.chunks_exact_mut(pixels.len() * line);
        for (dx, columns) in images.zip(columns.chunks_exact(windows.len() * across.out * depth)) {
            for (o, columns) in windows.clone().zip(columns.chunks_exact(across.out * depth)).rev()
            {
                for kh in down.inside(o) {
                    let Some(ih) = down.pixel(o, kh).filter(|ih| pixels.contains(ih)) else {
                        continue;
                    };
                    let dx = &mut dx[(ih - pixels.start) * line..][..line];
                    for ow in (0..across.out).rev() {
                        let inside = across.inside(ow);
                        if inside.is_empty() {
                            continue;
                        }
                        let columns = &columns[ow * depth + kh * row..][..row];
                        let columns = &columns[inside.start * own..inside.end * own];
                        let left =
                            ow * across.stride + inside.start * across.dilation - across.padding;
                        let dx = &mut dx[left * channels + from..];
                        if own == channels && across.dilation == 1 {
                            along(s, &Add, [columns], [dx]);
                        } else {
                            let pixels = dx.chunks_mut(channels * across.dilation);
                            for (column, dx) in columns.chunks_exact(own).zip(pixels) {
                                along(s, &Add, [column], [dx]);
                            }
                        }
                    }
                }
            }
        }
    }
}
