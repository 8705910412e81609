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
//! A transformed operand is planes, one for each place, of rows of channels, which are whole registers.
//! What a tile reaches outside the image is +0, and what it would write there is dropped.
//!
//! Called by `winograd`.

use core::ops::Range;

use pulp::bytemuck::Pod;

use super::super::{Convolution, Epilogue};
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
            for tile in 0..tiles.across {
                for (register, filters) in Channels::of::<S, T>(c.out_channels).enumerate() {
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
    pub(super) dy: &'a [T],
    pub(super) rows: Range<usize>,
    pub(super) e: &'a mut [T],
    /// One for each filter: what these rows are added to, tile by tile.
    pub(super) sums: &'a mut [T],
}

impl<T: Float> WithSimd for Gradients<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { c, tiles, dy, rows, e, sums } = self;
        let mut planes = Planes::<S, T>::new(e, rows.len() * tiles.across, c.out_channels);
        for (row, start) in rows.zip((0..).step_by(tiles.across)) {
            let windows = Windows::new(c, tiles, row);
            let line = windows.width * c.out_channels;
            ahead(dy, windows.first * c.out_channels + OUT * line, OUT * line);
            for tile in 0..tiles.across {
                for (register, filters) in Channels::of::<S, T>(c.out_channels).enumerate() {
                    let mut gradients = [[T::splat(s, T::ZERO); OUT]; OUT];
                    for (a, row) in gradients.iter_mut().enumerate() {
                        for (b, gradient) in row.iter_mut().enumerate() {
                            if let Some(window) = windows.get(tile, a, b) {
                                *gradient = filters.get(s, dy, window);
                            }
                        }
                    }
                    let mut lines = [T::splat(s, T::ZERO); OUT];
                    for (total, row) in lines.iter_mut().zip(&gradients) {
                        *total = halves::<S, T>(s, *row);
                    }
                    let sum = T::add(s, filters.get(s, sums, 0), halves::<S, T>(s, lines));
                    filters.put(s, sums, 0, sum);
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
    /// Rows of windows that there are: at least one.
    rows: usize,
}

impl Windows {
    #[inline(always)]
    fn new(c: &Convolution, tiles: Tiles, row: usize) -> Self {
        let (width, top) = (c.sweep.across.out, OUT * (row % tiles.down));
        let first = (row / tiles.down * c.sweep.down.out + top) * width;
        Self { first, width, rows: OUT.min(c.sweep.down.out - top) }
    }

    /// Window (a, b) of a tile, if there is one.
    #[inline(always)]
    fn get(self, tile: usize, a: usize, b: usize) -> Option<usize> {
        let across = OUT * tile + b;
        (a < self.rows && across < self.width).then(|| self.first + a * self.width + across)
    }
}

/// Planes that are written.
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
    fn put(&mut self, row: usize, register: usize, places: [[T::V<S>; SIDE]; SIDE]) {
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
    fn get(&self, s: S, row: usize, register: usize) -> [[T::V<S>; SIDE]; SIDE] {
        let mut places = [[T::splat(s, T::ZERO); SIDE]; SIDE];
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
