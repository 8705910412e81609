//! Transforms of the input and of its gradient: 6 x 6 pixels of a tile, two rows and columns of
//! which overlap each neighbour.
//!
//! Called by `winograd`.

use core::ops::Range;

use super::super::Convolution;
use super::planes::{Planes, PlanesMut};
use super::transform::{A, B, P, Q, both, pair, plus, prefetch_range, times};
use super::{OUT, SIDE, Tiles};
use crate::channels::Channels;
use crate::simd::{Float, MOST_LANES, Simd, WithSimd};

/// `v = B^T x B`, for each tile of some rows and each channel.
pub(super) struct InputTransform<'a, T> {
    pub(super) c: &'a Convolution,
    pub(super) tiles: Tiles,
    pub(super) x: &'a [T],
    pub(super) rows: Range<usize>,
    /// [`lines_len`] elements.
    pub(super) lines: &'a mut [T],
    pub(super) v: &'a mut [T],
}

/// Elements of the padded columns under a row of tiles, for one register of channels, and of a row
/// of zeros.
pub(super) const fn lines_len(c: &Convolution, tiles: Tiles) -> usize {
    SIDE * (OUT * tiles.across + 2) * MOST_LANES + c.geometry.across.len * c.geometry.channels
}

impl<T: Float> WithSimd for InputTransform<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { c, tiles, x, rows, lines, v } = self;
        let (down, across, channels) =
            (c.geometry.down, c.geometry.across, c.geometry.channels / T::lanes::<S>());
        let mut planes = PlanesMut::<S, T>::new(v, rows.len() * tiles.across, c.geometry.channels);
        let (x, _) = T::split::<S>(x);
        let line = across.len * channels;
        lines.fill(T::ZERO);
        let (lines, _) = T::split_mut::<S>(lines);
        let (columns, zeros) = lines.split_at_mut(SIDE * (OUT * tiles.across + 2));
        let zeros = &zeros[..line];
        for (row, start) in rows.zip((0..).step_by(tiles.across)) {
            let (image, top) = (row / tiles.down, OUT * (row % tiles.down));
            // The next row of tiles reads this many more rows of pixels.
            prefetch_range(
                x,
                (image * down.len + top + SIDE).saturating_sub(down.padding) * line,
                OUT * line,
            );
            let mut pixels = [zeros; SIDE];
            for (l, pixels) in pixels.iter_mut().enumerate() {
                if let Some(l) = down.pixel(0, top + l) {
                    *pixels = &x[(image * down.len + l) * line..][..line];
                }
            }
            for register in 0..channels {
                // The columns first.
                let inside = columns[SIDE * across.padding..].chunks_exact_mut(SIDE);
                for (column, at) in inside.zip((register..line).step_by(channels)) {
                    let mut d = [T::splat(s, T::ZERO); SIDE];
                    for (d, pixels) in d.iter_mut().zip(pixels) {
                        *d = pixels[at];
                    }
                    column.copy_from_slice(&input_transform::<S, T>(s, d));
                }
                // Then the rows.
                for tile in 0..tiles.across {
                    let columns = &columns[OUT * tile * SIDE..][..SIDE * SIDE];
                    let mut elements = [[T::splat(s, T::ZERO); SIDE]; SIDE];
                    for (l, elements) in elements.iter_mut().enumerate() {
                        let mut d = [T::splat(s, T::ZERO); SIDE];
                        for (column, d) in d.iter_mut().enumerate() {
                            *d = columns[column * SIDE + l];
                        }
                        *elements = input_transform::<S, T>(s, d);
                    }
                    planes.put(start + tile, register, elements);
                }
            }
        }
    }
}

/// `B^T x`.
#[inline(always)]
fn input_transform<S: Simd, T: Float>(s: S, d: [T::V<S>; SIDE]) -> [T::V<S>; SIDE] {
    let near = pair::<S, T>(s, P, plus::<S, T>(s, -B, d[2], d[4]), plus::<S, T>(s, -B, d[1], d[3]));
    let far = pair::<S, T>(s, Q, plus::<S, T>(s, -A, d[2], d[4]), plus::<S, T>(s, -A, d[1], d[3]));
    let first = plus::<S, T>(s, A * B, d[0], plus::<S, T>(s, -A - B, d[2], d[4]));
    let last = plus::<S, T>(s, A * B, d[1], plus::<S, T>(s, -A - B, d[3], d[5]));
    [first, near[0], near[1], far[0], far[1], last]
}

/// `dx = B m B^T`, added up where tiles overlap.
pub(super) struct InputGradient<'a, 'b, T> {
    pub(super) c: &'a Convolution,
    pub(super) tiles: Tiles,
    pub(super) rows: Range<usize>,
    /// `true` if `carry` holds the lines that the row of tiles above the first one len_of.
    pub(super) carried: bool,
    pub(super) m: &'a [T],
    pub(super) to: &'a mut DxTarget<'b, T>,
    /// The two lower lines of the last row of tiles, which overlap the next row: [`carry_len`]
    /// elements.
    pub(super) carry: &'a mut [T],
}

/// The pixels of `dx` from index `first` on.
pub(super) struct DxTarget<'a, T> {
    /// ReLU's output, for all pixels, if `dx` includes that ReLU's derivative.
    pub(super) relu: Option<&'a [T]>,
    pub(super) first: usize,
    pub(super) dx: &'a mut [T],
}

impl<T: Float> DxTarget<'_, T> {
    /// Stores these channels of a pixel, or adds them to the stored ones.
    #[inline(always)]
    fn put<S: Simd>(
        &mut self,
        s: S,
        channels: Channels,
        pixel: usize,
        mut dx: T::V<S>,
        adds: bool,
    ) {
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

/// Elements of two padded rows of pixels.
pub(super) const fn carry_len(c: &Convolution, tiles: Tiles) -> usize {
    2 * padded(tiles) * c.geometry.channels
}

/// Columns of pixels under a row of tiles.
const fn padded(tiles: Tiles) -> usize {
    OUT * tiles.across + 2
}

impl<T: Float> WithSimd for InputGradient<'_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { c, tiles, rows, carried, m, to, carry } = self;
        let (down, across) = (c.geometry.down, c.geometry.across);
        let planes = Planes::<S, T>::new(m, rows.len() * tiles.across, c.geometry.channels);
        let above = rows.start;
        for (row, start) in rows.zip((0..).step_by(tiles.across)) {
            let (image, of_image) = (row / tiles.down, row % tiles.down);
            let (adds, last) =
                (of_image > 0 && (carried || row > above), of_image + 1 == tiles.down);
            for (register, channels) in Channels::of::<S, T>(c.geometry.channels).enumerate() {
                let mut before = [[T::splat(s, T::ZERO); 2]; SIDE];
                for tile in 0..tiles.across {
                    let mut pixels = both(
                        planes.get(s, start + tile, register),
                        #[inline(always)]
                        |m| input_gradient_transform::<S, T>(s, m),
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
                                sum = T::add(
                                    s,
                                    channels.get(s, carry, l * padded(tiles) + column),
                                    sum,
                                );
                            }
                            if l >= OUT && !last {
                                channels.put(s, carry, (l - OUT) * padded(tiles) + column, sum);
                            } else if let (Some(row), Some(column)) = (row, across.pixel(0, column))
                            {
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

/// `B x`.
#[inline(always)]
fn input_gradient_transform<S: Simd, T: Float>(s: S, m: [T::V<S>; SIDE]) -> [T::V<S>; SIDE] {
    let (near, rise) = (T::add(s, m[1], m[2]), T::sub(s, m[1], m[2]));
    let (far, climb) = (T::add(s, m[3], m[4]), T::sub(s, m[3], m[4]));
    let (first, last) = (times::<S, T>(s, A * B, m[0]), times::<S, T>(s, A * B, m[5]));
    let (first_but_two, last_but_two) =
        (times::<S, T>(s, -A - B, m[0]), times::<S, T>(s, -A - B, m[5]));
    [
        first,
        plus::<S, T>(s, -P * B, rise, plus::<S, T>(s, -Q * A, climb, last)),
        plus::<S, T>(s, -B, near, plus::<S, T>(s, -A, far, first_but_two)),
        plus::<S, T>(s, P, rise, plus::<S, T>(s, Q, climb, last_but_two)),
        T::add(s, T::add(s, m[0], near), far),
        m[5],
    ]
}

/// Adds the carry of a row of tiles to the two lines of pixels that it overlaps.
pub(super) struct AddCarry<'a, 'b, T> {
    pub(super) c: &'a Convolution,
    pub(super) tiles: Tiles,
    /// The row of tiles below.
    pub(super) row: usize,
    pub(super) carry: &'a [T],
    pub(super) to: &'a mut DxTarget<'b, T>,
}

impl<T: Float> WithSimd for AddCarry<'_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { c, tiles, row, carry, to } = self;
        let (down, across) = (c.geometry.down, c.geometry.across);
        let (image, top) = (row / tiles.down, OUT * (row % tiles.down));
        for (l, column) in (0..2 * padded(tiles)).map(|at| (at / padded(tiles), at % padded(tiles)))
        {
            if let (Some(row), Some(pixel)) = (down.pixel(0, top + l), across.pixel(0, column)) {
                let pixel = (image * down.len + row) * across.len + pixel;
                for channels in Channels::of::<S, T>(c.geometry.channels) {
                    let sum = channels.get(s, carry, l * padded(tiles) + column);
                    to.put::<S>(s, channels, pixel, sum, true);
                }
            }
        }
    }
}
