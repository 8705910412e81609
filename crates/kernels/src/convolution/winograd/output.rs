//! Transforms of the output and of its gradient: 4 x 4 windows of a tile.
//!
//! Called by `winograd`.

use core::ops::Range;

use super::super::max_pool::{POOL, max_backward};
use super::super::{Convolution, Epilogue, OutputGradient};
use super::planes::{Planes, PlanesMut, Windows};
use super::transform::{A, B, P, Q, both, pair, plus, prefetch_range, times};
use super::{OUT, SIDE, Tiles};
use crate::channels::Channels;
use crate::simd::{Float, Simd, WithSimd};

/// `y = A^T m A`, then the epilogue.
pub(super) struct OutputTransform<'a, T> {
    pub(super) c: &'a Convolution,
    pub(super) tiles: Tiles,
    pub(super) rows: Range<usize>,
    pub(super) m: &'a [T],
    pub(super) epilogue: Epilogue<'a, T>,
    /// The windows of these rows, or their pools.
    pub(super) y: &'a mut [T],
}

impl<T: Float> WithSimd for OutputTransform<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { c, tiles, rows, m, mut epilogue, y } = self;
        let first = tiles.windows(c, rows.clone()).start;
        let planes = Planes::<S, T>::new(m, rows.len() * tiles.across, c.out_channels);
        for (row, start) in rows.zip((0..).step_by(tiles.across)) {
            let windows = Windows::new(c, tiles, row);
            for tile in 0..tiles.across {
                for (register, filters) in Channels::of::<S, T>(c.out_channels).enumerate() {
                    let elements = planes.get(s, start + tile, register);
                    let sums = both(
                        elements,
                        #[inline(always)]
                        |m| output_transform::<S, T>(s, m),
                    );
                    if epilogue.argmax.is_some() {
                        for (a, b) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                            if let Some(pool) = windows.pool(tile, a, b) {
                                let four = four(&sums, a, b);
                                epilogue.store_max(s, filters, y, pool - first / POOL, four);
                            }
                        }
                        continue;
                    }
                    for (a, row) in sums.iter().enumerate() {
                        for (b, sum) in row.iter().enumerate() {
                            if let Some(window) = windows.get(tile, a, b) {
                                epilogue.store(s, filters, y, window - first, *sum);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The windows of pool (a, b) of a tile.
#[inline(always)]
fn four<V: Copy>(tile: &[[V; OUT]; OUT], a: usize, b: usize) -> [V; POOL] {
    let (row, col) = (2 * a, 2 * b);
    [tile[row][col], tile[row][col + 1], tile[row + 1][col], tile[row + 1][col + 1]]
}

/// `A^T x`.
#[inline(always)]
fn output_transform<S: Simd, T: Float>(s: S, m: [T::V<S>; SIDE]) -> [T::V<S>; OUT] {
    let (near, rise) = (T::add(s, m[1], m[2]), T::sub(s, m[1], m[2]));
    let (far, climb) = (T::add(s, m[3], m[4]), T::sub(s, m[3], m[4]));
    [
        T::add(s, T::add(s, m[0], near), far),
        plus::<S, T>(s, Q, climb, times::<S, T>(s, P, rise)),
        plus::<S, T>(s, B, far, times::<S, T>(s, A, near)),
        plus::<S, T>(s, Q * B, climb, plus::<S, T>(s, P * A, rise, m[5])),
    ]
}

/// `e = A dy A^T`, and the sums of `dy`.
pub(super) struct OutputGradientTransform<'a, T> {
    pub(super) c: &'a Convolution,
    pub(super) tiles: Tiles,
    pub(super) of: OutputGradient<'a, T>,
    pub(super) rows: Range<usize>,
    pub(super) e: &'a mut [T],
    /// One sum per filter, to which these rows are added tile by tile; or empty.
    pub(super) sums: &'a mut [T],
}

impl<T: Float> WithSimd for OutputGradientTransform<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { c, tiles, of: OutputGradient { dy, argmax }, rows, e, sums } = self;
        let mut planes = PlanesMut::<S, T>::new(e, rows.len() * tiles.across, c.out_channels);
        for (row, start) in rows.zip((0..).step_by(tiles.across)) {
            let windows = Windows::new(c, tiles, row);
            if argmax.is_none() {
                let line = windows.width * c.out_channels;
                prefetch_range(dy, windows.first * c.out_channels + OUT * line, OUT * line);
            }
            for tile in 0..tiles.across {
                for (register, filters) in Channels::of::<S, T>(c.out_channels).enumerate() {
                    let mut gradients = [[T::splat(s, T::ZERO); OUT]; OUT];
                    if let Some(argmax) = argmax {
                        for (a, b) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                            if let Some(pool) = windows.pool(tile, a, b) {
                                let dy = filters.get(s, dy, pool);
                                let four =
                                    max_backward::<S, T>(s, dy, filters.get(s, argmax, pool));
                                for (k, dy) in four.into_iter().enumerate() {
                                    gradients[2 * a + k / 2][2 * b + k % 2] = dy;
                                }
                            }
                        }
                    } else {
                        for (a, row) in gradients.iter_mut().enumerate() {
                            for (b, gradient) in row.iter_mut().enumerate() {
                                if let Some(window) = windows.get(tile, a, b) {
                                    *gradient = filters.get(s, dy, window);
                                }
                            }
                        }
                    }
                    if !sums.is_empty() {
                        let mut lines = [T::splat(s, T::ZERO); OUT];
                        for (total, row) in lines.iter_mut().zip(&gradients) {
                            *total = sum4::<S, T>(s, *row);
                        }
                        let sum = T::add(s, filters.get(s, sums, 0), sum4::<S, T>(s, lines));
                        filters.put(s, sums, 0, sum);
                    }
                    let elements = both(
                        gradients,
                        #[inline(always)]
                        |dy| output_gradient_transform::<S, T>(s, dy),
                    );
                    planes.put(start + tile, register, elements);
                }
            }
        }
    }
}

/// Sum of four, as a tree.
#[inline(always)]
fn sum4<S: Simd, T: Float>(s: S, x: [T::V<S>; OUT]) -> T::V<S> {
    T::add(s, T::add(s, x[0], x[1]), T::add(s, x[2], x[3]))
}

/// `A x`.
#[inline(always)]
fn output_gradient_transform<S: Simd, T: Float>(s: S, dy: [T::V<S>; OUT]) -> [T::V<S>; SIDE] {
    let near =
        pair::<S, T>(s, P, plus::<S, T>(s, A, dy[2], dy[0]), plus::<S, T>(s, A, dy[3], dy[1]));
    let far =
        pair::<S, T>(s, Q, plus::<S, T>(s, B, dy[2], dy[0]), plus::<S, T>(s, B, dy[3], dy[1]));
    [dy[0], near[0], near[1], far[0], far[1], dy[3]]
}
