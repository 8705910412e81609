//! The transforms of filters, pixels, results and their gradients: sums of a few registers each, whose lanes are channels.
//!
//! ```text
//! p = 5/8   q = 3/2   a = p p   b = q q      n0 = 1 / (a b)   np = 1 / (2 a (a - b))   nq = 1 / (2 b (b - a))
//!
//!       | a b   0   -a-b  0    1  0 |         | n0     0     0    |         | 1   0    0    0   |
//!       | 0   -p b   -b   p    1  0 |         | np    np p  np a  |         | 1   p    a   p a  |
//! B^T = | 0    p b   -b  -p    1  0 |     G = | np   -np p  np a  |     A = | 1  -p    a  -p a  |
//!       | 0   -q a   -a   q    1  0 |         | nq    nq q  nq b  |         | 1   q    b   q b  |
//!       | 0    q a   -a  -q    1  0 |         | nq   -nq q  nq b  |         | 1  -q    b  -q b  |
//!       | 0    a b   0   -a-b  0  1 |         | 0      0     1    |         | 0   0    0    1   |
//! ```
//!
//! The product of two polynomials, of three and of four coefficients, is told by its values at 0, p, -p, q and -q, and by its last
//! coefficient. Points near 1 in size keep rounding errors small: these leave half the error of the usual 1 and 2.
//!
//! What a tile reaches outside the image is +0, and what it would write there is dropped.
//!
//! Called by `winograd`.

use core::ops::Range;

use pulp::bytemuck::Pod;

use super::super::greatest::{POOL, of_greatest};
use super::super::{Convolution, Epilogue, OutputGradient};
use super::places::{Places, Planes, Windows};
use super::{OUT, SIDE, Tiles};
use crate::channels::Channels;
use crate::simd::{Float, MOST_LANES, Simd, WithSimd, prefetch};

const P: f64 = 5.0 / 8.0;
const Q: f64 = 3.0 / 2.0;
const A: f64 = P * P;
const B: f64 = Q * Q;
const N0: f64 = 1.0 / (A * B);
const NP: f64 = 1.0 / (2.0 * A * (A - B));
const NQ: f64 = 1.0 / (2.0 * B * (B - A));

/// A constant in all lanes, rounded once if it must be.
#[inline(always)]
fn all<S: Simd, T: Float>(s: S, x: f64) -> T::V<S> {
    T::splat(s, T::from_f64(x))
}

/// factor * x.
#[inline(always)]
fn times<S: Simd, T: Float>(s: S, factor: f64, x: T::V<S>) -> T::V<S> {
    T::mul(s, all::<S, T>(s, factor), x)
}

/// factor * x + to, rounded once.
#[inline(always)]
fn plus<S: Simd, T: Float>(s: S, factor: f64, x: T::V<S>, to: T::V<S>) -> T::V<S> {
    T::mul_add(s, all::<S, T>(s, factor), x, to)
}

/// factor * x, of two.
#[inline(always)]
fn twice<S: Simd, T: Float>(s: S, factor: f64, [first, second]: [T::V<S>; 2]) -> [T::V<S>; 2] {
    [times::<S, T>(s, factor, first), times::<S, T>(s, factor, second)]
}

/// even + point * odd, and even - point * odd.
#[inline(always)]
fn pair<S: Simd, T: Float>(s: S, point: f64, even: T::V<S>, odd: T::V<S>) -> [T::V<S>; 2] {
    [plus::<S, T>(s, point, odd, even), plus::<S, T>(s, -point, odd, even)]
}

/// `u = G w G^T`, of each pair of a channel and a filter.
pub(super) struct Filters<'a, T> {
    pub(super) channels: usize,
    pub(super) filters: usize,
    pub(super) w: &'a [T],
    pub(super) u: &'a mut [T],
}

impl<T: Float> WithSimd for Filters<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { channels, filters, w, u } = self;
        let mut planes = Planes::<S, T>::new(u, channels, filters);
        for i in 0..channels {
            for (register, filters) in Channels::of::<S, T>(filters).enumerate() {
                let mut taps = [[T::splat(s, T::ZERO); 3]; 3];
                for (kh, row) in taps.iter_mut().enumerate() {
                    for (kw, tap) in row.iter_mut().enumerate() {
                        *tap = filters.get(s, w, (3 * kh + kw) * channels + i);
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
fn of_filters<S: Simd, T: Float>(s: S, [first, second, third]: [T::V<S>; 3]) -> [T::V<S>; SIDE] {
    let near = pair::<S, T>(s, P, plus::<S, T>(s, A, third, first), second);
    let far = pair::<S, T>(s, Q, plus::<S, T>(s, B, third, first), second);
    let (near, far) = (twice::<S, T>(s, NP, near), twice::<S, T>(s, NQ, far));
    [times::<S, T>(s, N0, first), near[0], near[1], far[0], far[1], third]
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

/// `G^T` times six.
#[inline(always)]
fn of_filter_gradients<S: Simd, T: Float>(s: S, u: [T::V<S>; SIDE]) -> [T::V<S>; 3] {
    let [near, rise] = twice::<S, T>(s, NP, [T::add(s, u[1], u[2]), T::sub(s, u[1], u[2])]);
    let [far, climb] = twice::<S, T>(s, NQ, [T::add(s, u[3], u[4]), T::sub(s, u[3], u[4])]);
    [
        plus::<S, T>(s, N0, u[0], T::add(s, near, far)),
        plus::<S, T>(s, Q, climb, times::<S, T>(s, P, rise)),
        plus::<S, T>(s, B, far, plus::<S, T>(s, A, near, u[5])),
    ]
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

/// Elements of the columns that a row of tiles covers, with their padding, for a register of channels; and of a line of zeros.
pub(super) const fn lines_len(c: &Convolution, tiles: Tiles) -> usize {
    SIDE * (OUT * tiles.across + 2) * MOST_LANES + c.sweep.across.len * c.sweep.channels
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
        let (columns, zeros) = lines.split_at_mut(SIDE * (OUT * tiles.across + 2));
        let zeros = &zeros[..line];
        for (row, start) in rows.zip((0..).step_by(tiles.across)) {
            let (image, top) = (row / tiles.down, OUT * (row % tiles.down));
            // The next row of tiles has so many lines more.
            ahead(x, (image * down.len + top + SIDE).saturating_sub(down.padding) * line, OUT * line);
            let mut pixels = [zeros; SIDE];
            for (l, pixels) in pixels.iter_mut().enumerate() {
                if let Some(l) = down.pixel(0, top + l) {
                    *pixels = &x[(image * down.len + l) * line..][..line];
                }
            }
            for register in 0..channels {
                // Down each column.
                let inside = columns[SIDE * across.padding..].chunks_exact_mut(SIDE);
                for (column, at) in inside.zip((register..line).step_by(channels)) {
                    let mut d = [T::splat(s, T::ZERO); SIDE];
                    for (d, pixels) in d.iter_mut().zip(pixels) {
                        *d = pixels[at];
                    }
                    column.copy_from_slice(&of_pixels::<S, T>(s, d));
                }
                // Then across.
                for tile in 0..tiles.across {
                    let columns = &columns[OUT * tile * SIDE..][..SIDE * SIDE];
                    let mut places = [[T::splat(s, T::ZERO); SIDE]; SIDE];
                    for (l, places) in places.iter_mut().enumerate() {
                        let mut d = [T::splat(s, T::ZERO); SIDE];
                        for (column, d) in d.iter_mut().enumerate() {
                            *d = columns[column * SIDE + l];
                        }
                        *places = of_pixels::<S, T>(s, d);
                    }
                    planes.put(start + tile, register, places);
                }
            }
        }
    }
}

/// `B^T` times six.
#[inline(always)]
fn of_pixels<S: Simd, T: Float>(s: S, d: [T::V<S>; SIDE]) -> [T::V<S>; SIDE] {
    let near = pair::<S, T>(s, P, plus::<S, T>(s, -B, d[2], d[4]), plus::<S, T>(s, -B, d[1], d[3]));
    let far = pair::<S, T>(s, Q, plus::<S, T>(s, -A, d[2], d[4]), plus::<S, T>(s, -A, d[1], d[3]));
    let first = plus::<S, T>(s, A * B, d[0], plus::<S, T>(s, -A - B, d[2], d[4]));
    let last = plus::<S, T>(s, A * B, d[1], plus::<S, T>(s, -A - B, d[3], d[5]));
    [first, near[0], near[1], far[0], far[1], last]
}

/// `y = A^T m A`, and what becomes of it.
pub(super) struct Results<'a, T> {
    pub(super) c: &'a Convolution,
    pub(super) tiles: Tiles,
    pub(super) rows: Range<usize>,
    pub(super) m: &'a [T],
    pub(super) epilogue: Epilogue<'a, T>,
    /// The windows of these rows, or their pools.
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
            for tile in 0..tiles.across {
                for (register, filters) in Channels::of::<S, T>(c.out_channels).enumerate() {
                    let places = planes.get(s, start + tile, register);
                    let sums = both(
                        places,
                        #[inline(always)]
                        |m| of_results::<S, T>(s, m),
                    );
                    if epilogue.which.is_some() {
                        for (a, b) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                            if let Some(pool) = windows.pool(tile, a, b) {
                                let four = four(&sums, a, b);
                                epilogue.store_greatest(s, filters, y, pool - first / POOL, four);
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

/// Those of the windows that pool (a, b) of a tile takes the greatest of.
#[inline(always)]
fn four<V: Copy>(tile: &[[V; OUT]; OUT], a: usize, b: usize) -> [V; POOL] {
    let (row, col) = (2 * a, 2 * b);
    [tile[row][col], tile[row][col + 1], tile[row + 1][col], tile[row + 1][col + 1]]
}

/// `A^T` times six.
#[inline(always)]
fn of_results<S: Simd, T: Float>(s: S, m: [T::V<S>; SIDE]) -> [T::V<S>; OUT] {
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
pub(super) struct Gradients<'a, T> {
    pub(super) c: &'a Convolution,
    pub(super) tiles: Tiles,
    pub(super) of: OutputGradient<'a, T>,
    pub(super) rows: Range<usize>,
    pub(super) e: &'a mut [T],
    /// One for each filter: what these rows are added to, tile by tile. Or none.
    pub(super) sums: &'a mut [T],
}

impl<T: Float> WithSimd for Gradients<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { c, tiles, of: OutputGradient { dy, which }, rows, e, sums } = self;
        let mut planes = Planes::<S, T>::new(e, rows.len() * tiles.across, c.out_channels);
        for (row, start) in rows.zip((0..).step_by(tiles.across)) {
            let windows = Windows::new(c, tiles, row);
            if which.is_none() {
                let line = windows.width * c.out_channels;
                ahead(dy, windows.first * c.out_channels + OUT * line, OUT * line);
            }
            for tile in 0..tiles.across {
                for (register, filters) in Channels::of::<S, T>(c.out_channels).enumerate() {
                    let mut gradients = [[T::splat(s, T::ZERO); OUT]; OUT];
                    if let Some(which) = which {
                        for (a, b) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                            if let Some(pool) = windows.pool(tile, a, b) {
                                let dy = filters.get(s, dy, pool);
                                let four = of_greatest::<S, T>(s, dy, filters.get(s, which, pool));
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
                            *total = halves::<S, T>(s, *row);
                        }
                        let sum = T::add(s, filters.get(s, sums, 0), halves::<S, T>(s, lines));
                        filters.put(s, sums, 0, sum);
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

/// The sum of four: of two halves.
#[inline(always)]
fn halves<S: Simd, T: Float>(s: S, x: [T::V<S>; OUT]) -> T::V<S> {
    T::add(s, T::add(s, x[0], x[1]), T::add(s, x[2], x[3]))
}

/// `A` times four.
#[inline(always)]
fn of_gradients<S: Simd, T: Float>(s: S, dy: [T::V<S>; OUT]) -> [T::V<S>; SIDE] {
    let near = pair::<S, T>(s, P, plus::<S, T>(s, A, dy[2], dy[0]), plus::<S, T>(s, A, dy[3], dy[1]));
    let far = pair::<S, T>(s, Q, plus::<S, T>(s, B, dy[2], dy[0]), plus::<S, T>(s, B, dy[3], dy[1]));
    [dy[0], near[0], near[1], far[0], far[1], dy[3]]
}

/// `dx = B m B^T`, added up where tiles overlap.
pub(super) struct PixelGradients<'a, 'b, T> {
    pub(super) c: &'a Convolution,
    pub(super) tiles: Tiles,
    pub(super) rows: Range<usize>,
    /// Whether the row of tiles above the first is in the carry, where it reaches into that.
    pub(super) carried: bool,
    pub(super) m: &'a [T],
    pub(super) to: &'a mut PixelTarget<'b, T>,
    /// The two lower lines of the last row of tiles, which the next row adds to: [`carry_len`] elements.
    pub(super) carry: &'a mut [T],
}

/// Pixels from number `first` on.
pub(super) struct PixelTarget<'a, T> {
    /// Where ReLU's gradient is taken: all pixels.
    pub(super) relu: Option<&'a [T]>,
    pub(super) first: usize,
    pub(super) dx: &'a mut [T],
}

impl<T: Float> PixelTarget<'_, T> {
    /// Adds these channels of a pixel to what is there, if there is anything, or stores them.
    #[inline(always)]
    fn put<S: Simd>(&mut self, s: S, channels: Channels, pixel: usize, mut dx: T::V<S>, adds: bool) {
        if let Some(x) = self.relu {
            let zero = T::splat(s, T::ZERO);
            dx = T::select(s, T::less_or_equal(s, channels.get(s, x, pixel), zero), zero, dx);
        }
        if adds {
            dx = T::add(s, dx, channels.get(s, self.dx, pixel - self.first));
        }
        channels.put(s, self.dx, pixel - self.first, dx);
    }
}

/// Elements of two lines of pixels, with their padding.
pub(super) const fn carry_len(c: &Convolution, tiles: Tiles) -> usize {
    2 * padded(tiles) * c.sweep.channels
}

/// Columns that a row of tiles covers.
const fn padded(tiles: Tiles) -> usize {
    OUT * tiles.across + 2
}

impl<T: Float> WithSimd for PixelGradients<'_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { c, tiles, rows, carried, m, to, carry } = self;
        let (down, across) = (c.sweep.down, c.sweep.across);
        let planes = Places::<S, T>::new(m, rows.len() * tiles.across, c.sweep.channels);
        let above = rows.start;
        for (row, start) in rows.zip((0..).step_by(tiles.across)) {
            let (image, of_image) = (row / tiles.down, row % tiles.down);
            let (adds, last) = (of_image > 0 && (carried || row > above), of_image + 1 == tiles.down);
            for (register, channels) in Channels::of::<S, T>(c.sweep.channels).enumerate() {
                let mut before = [[T::splat(s, T::ZERO); 2]; SIDE];
                for tile in 0..tiles.across {
                    let mut pixels = both(
                        planes.get(s, start + tile, register),
                        #[inline(always)]
                        |m| of_places::<S, T>(s, m),
                    );
                    for (line, before) in pixels.iter_mut().zip(&mut before) {
                        if tile > 0 {
                            line[0] = T::add(s, before[0], line[0]);
                            line[1] = T::add(s, before[1], line[1]);
                        }
                        *before = [line[OUT], line[OUT + 1]];
                    }
                    let columns = if tile + 1 == tiles.across { SIDE } else { OUT };
                    for (l, line) in pixels.iter().enumerate() {
                        let row = down.pixel(0, OUT * of_image + l);
                        for (b, sum) in line.iter().enumerate().take(columns) {
                            let (mut sum, column) = (*sum, OUT * tile + b);
                            if l < 2 && adds {
                                sum = T::add(s, channels.get(s, carry, l * padded(tiles) + column), sum);
                            }
                            if l >= OUT && !last {
                                channels.put(s, carry, (l - OUT) * padded(tiles) + column, sum);
                            } else if let (Some(row), Some(column)) = (row, across.pixel(0, column)) {
                                let pixel = (image * down.len + row) * across.len + column;
                                to.put::<S>(s, channels, pixel, sum, false);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// `B` times six.
#[inline(always)]
fn of_places<S: Simd, T: Float>(s: S, m: [T::V<S>; SIDE]) -> [T::V<S>; SIDE] {
    let (near, rise) = (T::add(s, m[1], m[2]), T::sub(s, m[1], m[2]));
    let (far, climb) = (T::add(s, m[3], m[4]), T::sub(s, m[3], m[4]));
    let (first, last) = (times::<S, T>(s, A * B, m[0]), times::<S, T>(s, A * B, m[5]));
    let (first_but_two, last_but_two) = (times::<S, T>(s, -A - B, m[0]), times::<S, T>(s, -A - B, m[5]));
    [
        first,
        plus::<S, T>(s, -P * B, rise, plus::<S, T>(s, -Q * A, climb, last)),
        plus::<S, T>(s, -B, near, plus::<S, T>(s, -A, far, first_but_two)),
        plus::<S, T>(s, P, rise, plus::<S, T>(s, Q, climb, last_but_two)),
        T::add(s, T::add(s, m[0], near), far),
        m[5],
    ]
}

/// Adds what a row of tiles has carried to the lines that it reaches into.
pub(super) struct Carried<'a, 'b, T> {
    pub(super) c: &'a Convolution,
    pub(super) tiles: Tiles,
    /// The row of tiles below.
    pub(super) row: usize,
    pub(super) carry: &'a [T],
    pub(super) to: &'a mut PixelTarget<'b, T>,
}

impl<T: Float> WithSimd for Carried<'_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { c, tiles, row, carry, to } = self;
        let (down, across) = (c.sweep.down, c.sweep.across);
        let (image, top) = (row / tiles.down, OUT * (row % tiles.down));
        for (l, column) in (0..2 * padded(tiles)).map(|at| (at / padded(tiles), at % padded(tiles))) {
            if let (Some(row), Some(pixel)) = (down.pixel(0, top + l), across.pixel(0, column)) {
                let pixel = (image * down.len + row) * across.len + pixel;
                for channels in Channels::of::<S, T>(c.sweep.channels) {
                    let sum = channels.get(s, carry, l * padded(tiles) + column);
                    to.put::<S>(s, channels, pixel, sum, true);
                }
            }
        }
    }
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
