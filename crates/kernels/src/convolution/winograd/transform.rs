//! The transforms of filters, pixels, results and their gradients: sums of a few registers each, whose lanes are channels.
//!
//! A transformed operand is sixteen planes, one for each place, of rows of channels, which are whole registers.
//! What a tile reaches outside the image is +0, and what it would write there is dropped.
//!
//! Called by `winograd`.

use core::ops::Range;

use pulp::bytemuck::Pod;

use super::super::{Convolution, Epilogue};
use super::Tiles;
use crate::channels::Channels;
use crate::simd::{Float, Simd, WithSimd, prefetch};

/// The place whose gradient is the sum of a tile's.
pub(super) const TOTAL: usize = 5;

/// `u = G w G^T`, of each pair of a channel and a filter.
pub(super) struct Filters<'a, T> {
    pub(super) c: &'a Convolution,
    pub(super) w: &'a [T],
    pub(super) u: &'a mut [T],
}

impl<T: Float> WithSimd for Filters<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { c, w, u } = self;
        let mut planes = Planes::<S, T>::new(u, c.sweep.channels, c.out_channels);
        for i in 0..c.sweep.channels {
            for (register, filters) in Channels::of::<S, T>(c.out_channels).enumerate() {
                let mut taps = [[T::splat(s, T::ZERO); 3]; 3];
                for (kh, row) in taps.iter_mut().enumerate() {
                    for (kw, tap) in row.iter_mut().enumerate() {
                        *tap = filters.get(s, w, (3 * kh + kw) * c.sweep.channels + i);
                    }
                }
                planes.put(
                    i,
                    register,
                    both(
                        taps,
                        #[inline(always)]
                        |w| of_filters::<S, T>(s, w),
                    ),
                );
            }
        }
    }
}

/// `G` times three.
#[inline(always)]
fn of_filters<S: Simd, T: Float>(s: S, [first, second, third]: [T::V<S>; 3]) -> [T::V<S>; 4] {
    let half = T::splat(s, T::from_f64(0.5));
    let ends = T::add(s, first, third);
    [first, T::mul(s, T::add(s, ends, second), half), T::mul(s, T::sub(s, ends, second), half), third]
}

/// `dw = G^T du G`.
pub(super) struct FilterGradient<'a, T> {
    pub(super) c: &'a Convolution,
    pub(super) du: &'a [T],
    pub(super) dw: &'a mut [T],
}

impl<T: Float> WithSimd for FilterGradient<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { c, du, dw } = self;
        let planes = Places::<S, T>::new(du, c.sweep.channels, c.out_channels);
        for i in 0..c.sweep.channels {
            for (register, filters) in Channels::of::<S, T>(c.out_channels).enumerate() {
                let taps = both(
                    planes.get(s, i, register),
                    #[inline(always)]
                    |du| of_filter_gradients::<S, T>(s, du),
                );
                for (kh, row) in taps.iter().enumerate() {
                    for (kw, tap) in row.iter().enumerate() {
                        filters.put(s, dw, (3 * kh + kw) * c.sweep.channels + i, *tap);
                    }
                }
            }
        }
    }
}

/// `G^T` times four.
#[inline(always)]
fn of_filter_gradients<S: Simd, T: Float>(s: S, [first, plus, minus, third]: [T::V<S>; 4]) -> [T::V<S>; 3] {
    let half = T::splat(s, T::from_f64(0.5));
    let sum = T::mul(s, T::add(s, plus, minus), half);
    let difference = T::mul(s, T::sub(s, plus, minus), half);
    [T::add(s, first, sum), difference, T::add(s, sum, third)]
}

/// `v = B^T x B`, of each tile in some rows and each channel.
pub(super) struct Pixels<'a, T> {
    pub(super) c: &'a Convolution,
    pub(super) tiles: Tiles,
    pub(super) x: &'a [T],
    pub(super) rows: Range<usize>,
    /// [`lines_len`] elements.
    pub(super) lines: &'a mut [T],
    pub(super) v: &'a mut [T],
}

/// Elements of the lines of pixels that a row of tiles covers, with their padding: four, and one of zeros.
pub(super) const fn lines_len(c: &Convolution, tiles: Tiles) -> usize {
    5 * (2 * tiles.across + 2) * c.sweep.channels
}

impl<T: Float> WithSimd for Pixels<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { c, tiles, x, rows, lines, v } = self;
        let (down, across, channels) = (c.sweep.down, c.sweep.across, c.sweep.channels / T::lanes::<S>());
        let mut planes = Planes::<S, T>::new(v, rows.len() * tiles.across, c.sweep.channels);
        let (x, _) = T::split::<S>(x);
        let line = across.len * channels;
        lines.fill(T::ZERO);
        let (lines, _) = T::split_mut::<S>(lines);
        let all = lines.len() / 5;
        let (zeros, lines) = lines.split_at_mut(all);
        let zeros = &zeros[..line];
        for (row, start) in rows.zip((0..).step_by(tiles.across)) {
            let (image, top) = (row / tiles.down, 2 * (row % tiles.down));
            // The next row of tiles has two lines more.
            ahead(x, (image * down.len + top + 4).saturating_sub(down.padding) * line, 2 * line);
            let mut pixels = [zeros; 4];
            for (l, pixels) in pixels.iter_mut().enumerate() {
                if let Some(l) = down.pixel(0, top + l) {
                    *pixels = &x[(image * down.len + l) * line..][..line];
                }
            }
            // Down each column.
            let (upper, lower) = lines.split_at_mut(2 * all);
            let ((first, second), (third, fourth)) = (upper.split_at_mut(all), lower.split_at_mut(all));
            let mut sums =
                [first, second, third, fourth].map(|sums| &mut sums[across.padding * channels..][..line]);
            for at in 0..line {
                let column = [pixels[0][at], pixels[1][at], pixels[2][at], pixels[3][at]];
                for (sums, sum) in sums.iter_mut().zip(of_pixels::<S, T>(s, column)) {
                    sums[at] = sum;
                }
            }
            // Then across.
            for tile in 0..tiles.across {
                for register in 0..channels {
                    let mut places = [[T::splat(s, T::ZERO); 4]; 4];
                    for (sums, places) in lines.chunks_exact(all).zip(&mut places) {
                        let sums = &sums[2 * tile * channels + register..];
                        let row = [sums[0], sums[channels], sums[2 * channels], sums[3 * channels]];
                        *places = of_pixels::<S, T>(s, row);
                    }
                    planes.put(start + tile, register, places);
                }
            }
        }
    }
}

/// `B^T` times four.
#[inline(always)]
fn of_pixels<S: Simd, T: Float>(s: S, x: [T::V<S>; 4]) -> [T::V<S>; 4] {
    [T::sub(s, x[0], x[2]), T::add(s, x[1], x[2]), T::sub(s, x[2], x[1]), T::sub(s, x[1], x[3])]
}

/// `y = A^T m A`, and what becomes of it.
pub(super) struct Results<'a, T> {
    pub(super) c: &'a Convolution,
    pub(super) tiles: Tiles,
    pub(super) rows: Range<usize>,
    pub(super) m: &'a [T],
    pub(super) epilogue: Epilogue<'a, T>,
    /// The windows of these rows.
    pub(super) y: &'a mut [T],
}

impl<T: Float> WithSimd for Results<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { c, tiles, rows, m, mut epilogue, y } = self;
        let first = tiles.windows(c, rows.clone()).start;
        let planes = Places::<S, T>::new(m, rows.len() * tiles.across, c.out_channels);
        for (row, start) in rows.zip((0..).step_by(tiles.across)) {
            let windows = Windows::new(c, tiles, row);
            for (register, filters) in Channels::of::<S, T>(c.out_channels).enumerate() {
                for tile in 0..tiles.across {
                    let places = planes.get(s, start + tile, register);
                    let sums = both(
                        places,
                        #[inline(always)]
                        |m| of_results::<S, T>(s, m),
                    );
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

/// `A^T` times four.
#[inline(always)]
fn of_results<S: Simd, T: Float>(s: S, m: [T::V<S>; 4]) -> [T::V<S>; 2] {
    [T::add(s, T::add(s, m[0], m[1]), m[2]), T::sub(s, T::sub(s, m[1], m[2]), m[3])]
}

/// `e = A dy A^T`.
pub(super) struct Gradients<'a, T> {
    pub(super) c: &'a Convolution,
    pub(super) tiles: Tiles,
    pub(super) dy: &'a [T],
    pub(super) rows: Range<usize>,
    pub(super) e: &'a mut [T],
}

impl<T: Float> WithSimd for Gradients<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { c, tiles, dy, rows, e } = self;
        let mut planes = Planes::<S, T>::new(e, rows.len() * tiles.across, c.out_channels);
        for (row, start) in rows.zip((0..).step_by(tiles.across)) {
            let windows = Windows::new(c, tiles, row);
            let line = windows.width * c.out_channels;
            ahead(dy, windows.first * c.out_channels + 2 * line, 2 * line);
            for (register, filters) in Channels::of::<S, T>(c.out_channels).enumerate() {
                for tile in 0..tiles.across {
                    let mut gradients = [[T::splat(s, T::ZERO); 2]; 2];
                    for (a, row) in gradients.iter_mut().enumerate() {
                        for (b, gradient) in row.iter_mut().enumerate() {
                            if let Some(window) = windows.get(tile, a, b) {
                                *gradient = filters.get(s, dy, window);
                            }
                        }
                    }
                    let places = both(
                        gradients,
                        #[inline(always)]
                        |dy| of_gradients::<S, T>(s, dy),
                    );
                    planes.put(start + tile, register, places);
                }
            }
        }
    }
}

/// `A` times two.
#[inline(always)]
fn of_gradients<S: Simd, T: Float>(s: S, [first, second]: [T::V<S>; 2]) -> [T::V<S>; 4] {
    let zero = T::splat(s, T::ZERO);
    [first, T::add(s, first, second), T::sub(s, first, second), T::sub(s, zero, second)]
}

/// `f` of each column, then of each row of what that gives.
#[inline(always)]
fn both<V: Pod, const M: usize, const N: usize>(x: [[V; M]; M], f: impl Fn([V; M]) -> [V; N]) -> [[V; N]; N] {
    let mut between = [[V::zeroed(); M]; N];
    for b in 0..M {
        let mut column = [V::zeroed(); M];
        for (to, row) in column.iter_mut().zip(&x) {
            *to = row[b];
        }
        for (row, element) in between.iter_mut().zip(f(column)) {
            row[b] = element;
        }
    }
    let mut y = [[V::zeroed(); N]; N];
    for (to, row) in y.iter_mut().zip(between) {
        *to = f(row);
    }
    y
}

/// Asks for `len` elements from place `start` on, whether `x` has them or not.
#[inline(always)]
fn ahead<V>(x: &[V], start: usize, len: usize) {
    let line = (64 / size_of::<V>()).max(1);
    (start..start + len).step_by(line).for_each(|at| prefetch::<_, true>(x.as_ptr().wrapping_add(at)));
}

/// The windows of a row of tiles.
#[derive(Clone, Copy)]
struct Windows {
    /// The first, and those of a row of windows.
    first: usize,
    width: usize,
    /// Rows of windows that there are: one or two.
    rows: usize,
}

impl Windows {
    #[inline(always)]
    fn new(c: &Convolution, tiles: Tiles, row: usize) -> Self {
        let (width, top) = (c.sweep.across.out, 2 * (row % tiles.down));
        let first = (row / tiles.down * c.sweep.down.out + top) * width;
        Self { first, width, rows: 2.min(c.sweep.down.out - top) }
    }

    /// Window (a, b) of a tile, if there is one.
    #[inline(always)]
    fn get(self, tile: usize, a: usize, b: usize) -> Option<usize> {
        let across = 2 * tile + b;
        (a < self.rows && across < self.width).then(|| self.first + a * self.width + across)
    }
}

/// Sixteen planes that are written.
struct Planes<'a, S: Simd, T: Float> {
    registers: &'a mut [T::V<S>],
    /// Registers of a row, and of a plane.
    row: usize,
    plane: usize,
}

impl<'a, S: Simd, T: Float> Planes<'a, S, T> {
    /// Of `rows` rows of `channels`.
    #[inline(always)]
    fn new(x: &'a mut [T], rows: usize, channels: usize) -> Self {
        let row = channels / T::lanes::<S>();
        Self { registers: T::split_mut::<S>(x).0, row, plane: rows * row }
    }

    #[inline(always)]
    fn put(&mut self, row: usize, register: usize, places: [[T::V<S>; 4]; 4]) {
        let mut at = row * self.row + register;
        for row in &places {
            for place in row {
                self.registers[at] = *place;
                at += self.plane;
            }
        }
    }
}

/// What [`Planes`] has written.
struct Places<'a, S: Simd, T: Float> {
    registers: &'a [T::V<S>],
    row: usize,
    plane: usize,
}

impl<'a, S: Simd, T: Float> Places<'a, S, T> {
    #[inline(always)]
    fn new(x: &'a [T], rows: usize, channels: usize) -> Self {
        let row = channels / T::lanes::<S>();
        Self { registers: T::split::<S>(x).0, row, plane: rows * row }
    }

    #[inline(always)]
    fn get(&self, s: S, row: usize, register: usize) -> [[T::V<S>; 4]; 4] {
        let mut places = [[T::splat(s, T::ZERO); 4]; 4];
        let mut at = row * self.row + register;
        for row in &mut places {
            for place in row {
                *place = self.registers[at];
                at += self.plane;
            }
        }
        places
    }
}
