//! Where the transforms of tiles lie: planes, one for each place of a tile, of rows of channels, which are whole registers.
//!
//! Called by `filters`, `pixels` and `results`.

use super::super::Convolution;
use super::super::greatest::POOL;
use super::{OUT, SIDE, Tiles};
use crate::simd::{Float, Simd};

/// The windows of a row of tiles.
#[derive(Clone, Copy)]
pub(super) struct Windows {
    /// The first, and those of a row of windows.
    pub(super) first: usize,
    pub(super) width: usize,
    /// Rows of windows that there are: at least one.
    rows: usize,
}

impl Windows {
    #[inline(always)]
    pub(super) fn new(c: &Convolution, tiles: Tiles, row: usize) -> Self {
        let (width, top) = (c.sweep.across.out, OUT * (row % tiles.down));
        let first = (row / tiles.down * c.sweep.down.out + top) * width;
        Self { first, width, rows: OUT.min(c.sweep.down.out - top) }
    }

    /// Window (a, b) of a tile, if there is one.
    #[inline(always)]
    pub(super) fn get(self, tile: usize, a: usize, b: usize) -> Option<usize> {
        let across = OUT * tile + b;
        (a < self.rows && across < self.width).then(|| self.first + a * self.width + across)
    }

    /// The pool of window (2 a, 2 b) of a tile, if there is one: all pools are whole.
    #[inline(always)]
    pub(super) fn pool(self, tile: usize, a: usize, b: usize) -> Option<usize> {
        self.get(tile, 2 * a, 2 * b).map(|_| self.first / POOL + a * (self.width / 2) + 2 * tile + b)
    }
}

/// Planes that are written.
pub(super) struct Planes<'a, S: Simd, T: Float> {
    registers: &'a mut [T::V<S>],
    /// Registers of a row, and of a plane.
    row: usize,
    plane: usize,
}

impl<'a, S: Simd, T: Float> Planes<'a, S, T> {
    /// Of `rows` rows of `channels`.
    #[inline(always)]
    pub(super) fn new(x: &'a mut [T], rows: usize, channels: usize) -> Self {
        let row = channels / T::lanes::<S>();
        Self { registers: T::split_mut::<S>(x).0, row, plane: rows * row }
    }

    #[inline(always)]
    pub(super) fn put(&mut self, row: usize, register: usize, places: [[T::V<S>; SIDE]; SIDE]) {
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
pub(super) struct Places<'a, S: Simd, T: Float> {
    registers: &'a [T::V<S>],
    row: usize,
    plane: usize,
}

impl<'a, S: Simd, T: Float> Places<'a, S, T> {
    #[inline(always)]
    pub(super) fn new(x: &'a [T], rows: usize, channels: usize) -> Self {
        let row = channels / T::lanes::<S>();
        Self { registers: T::split::<S>(x).0, row, plane: rows * row }
    }

    #[inline(always)]
    pub(super) fn get(&self, s: S, row: usize, register: usize) -> [[T::V<S>; SIDE]; SIDE] {
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
