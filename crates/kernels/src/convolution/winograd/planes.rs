//! Layout of the transformed tiles: one plane per element of a tile, `[tiles, channels]`, in whole
//! registers.
//!
//! Called by `filters`, `input` and `output`.

use super::super::Convolution;
use super::super::max_pool::POOL;
use super::{OUT, SIDE, Tiles};
use crate::simd::{Float, Simd};

/// The windows of a row of tiles.
#[derive(Clone, Copy)]
pub(super) struct Windows {
    /// Index of the first window, and windows per row.
    pub(super) first: usize,
    pub(super) width: usize,
    /// Rows of windows inside the image: at least one.
    rows: usize,
}

impl Windows {
    #[inline(always)]
    pub(super) fn new(c: &Convolution, tiles: Tiles, row: usize) -> Self {
        let (width, top) = (c.geometry.across.out, OUT * (row % tiles.down));
        let first = (row / tiles.down * c.geometry.down.out + top) * width;
        Self { first, width, rows: OUT.min(c.geometry.down.out - top) }
    }

    /// Index of window (a, b) of a tile, if it is inside the output.
    #[inline(always)]
    pub(super) fn get(self, tile: usize, a: usize, b: usize) -> Option<usize> {
        let across = OUT * tile + b;
        (a < self.rows && across < self.width).then(|| self.first + a * self.width + across)
    }

    /// Index of pool (a, b) of a tile, if it is inside the output. All pools are whole.
    #[inline(always)]
    pub(super) fn pool(self, tile: usize, a: usize, b: usize) -> Option<usize> {
        self.get(tile, 2 * a, 2 * b)
            .map(|_| self.first / POOL + a * (self.width / 2) + 2 * tile + b)
    }
}

/// PlanesMut for writing.
pub(super) struct PlanesMut<'a, S: Simd, T: Float> {
    registers: &'a mut [T::V<S>],
    /// Registers of a row, and of a plane.
    row: usize,
    plane: usize,
}

impl<'a, S: Simd, T: Float> PlanesMut<'a, S, T> {
    /// PlanesMut of shape `[rows, channels]`.
    #[inline(always)]
    pub(super) fn new(x: &'a mut [T], rows: usize, channels: usize) -> Self {
        let row = channels / T::lanes::<S>();
        Self { registers: T::split_mut::<S>(x).0, row, plane: rows * row }
    }

    #[inline(always)]
    pub(super) fn put(&mut self, row: usize, register: usize, elements: [[T::V<S>; SIDE]; SIDE]) {
        let mut at = row * self.row + register;
        for row in &elements {
            for element in row {
                self.registers[at] = *element;
                at += self.plane;
            }
        }
    }
}

/// PlanesMut for reading.
pub(super) struct Planes<'a, S: Simd, T: Float> {
    registers: &'a [T::V<S>],
    row: usize,
    plane: usize,
}

impl<'a, S: Simd, T: Float> Planes<'a, S, T> {
    #[inline(always)]
    pub(super) fn new(x: &'a [T], rows: usize, channels: usize) -> Self {
        let row = channels / T::lanes::<S>();
        Self { registers: T::split::<S>(x).0, row, plane: rows * row }
    }

    #[inline(always)]
    pub(super) fn get(&self, s: S, row: usize, register: usize) -> [[T::V<S>; SIDE]; SIDE] {
        let mut elements = [[T::splat(s, T::ZERO); SIDE]; SIDE];
        let mut at = row * self.row + register;
        for row in &mut elements {
            for element in row {
                *element = self.registers[at];
                at += self.plane;
            }
        }
        elements
    }
}
