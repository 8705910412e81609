//! Factors that are packed once and multiplied often: weights at inference, or an operand that several calls share.
//!
//! ```text
//! for each KB words of k:  for each panel of two registers' columns:  kc rows of the panel, one after the other
//! ```
//!
//! The layout depends on the width of the instruction set's registers. A product on another one reads it too, slowly.

use super::operand::{Bf16Operand, Elements, Operand};
use super::pack::PackB;
use crate::Error;
use crate::error::check_length;
use crate::matrix::Shape;
use crate::simd::{Lanes, Simd, WithSimd};
use crate::{Float, Isa};

/// A packed factor of a product.
///
/// ```
/// use kernels::gemm::{Epilogue, Packed, gemm, packed_len};
/// use kernels::{Cpu, MatMut, MatRef};
///
/// let cpu = Cpu::detect();
/// let weights = [1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0]; // 3 x 2
/// let mut panels = [0.0; packed_len::<f32>(3, 2)];
/// let packed = Packed::right(cpu.isa, MatRef::row_major(&weights, 3, 2)?, &mut panels)?;
/// let (x, mut y) = ([1.0, 0.0, 1.0], [0.0; 2]);
/// gemm(
///     cpu,
///     1.0,
///     MatRef::row_major(&x, 1, 3)?,
///     packed,
///     0.0,
///     MatMut::row_major(&mut y, 1, 2)?,
///     Epilogue::NONE,
///     &mut [],
/// )?;
/// assert_eq!(y, [6.0, 8.0]);
/// # Ok::<(), kernels::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Packed<'a, T>(Panels<'a, T>);

impl<'a, T: Float> Packed<'a, T> {
    /// Packs a right factor, k x n, for products on `isa`, into the first [`packed_len`]`(k, n)` elements of `panels`.
    ///
    /// # Errors
    /// [`Error::Length`] if `panels` is shorter.
    pub fn right(
        isa: Isa,
        b: impl Into<Operand<'a, T>>,
        panels: &'a mut [T],
    ) -> Result<Self, Error> {
        Panels::new(isa, b.into().0, panels).map(Self)
    }

    /// Packs a left factor, m x k, for products on `isa`, into the first [`packed_len`]`(k, m)` elements of `panels`.
    ///
    /// # Errors
    /// [`Error::Length`] if `panels` is shorter.
    pub fn left(
        isa: Isa,
        a: impl Into<Operand<'a, T>>,
        panels: &'a mut [T],
    ) -> Result<Self, Error> {
        Panels::new(isa, a.into().0.transpose(), panels).map(|panels| Self(panels.transpose()))
    }
}

impl<'a, T> From<Packed<'a, T>> for Operand<'a, T> {
    fn from(packed: Packed<'a, T>) -> Self {
        Self(Elements::Panels(packed.0))
    }
}

/// How many elements a packed factor takes that is `k` x `width`, on any instruction set that is compiled in.
pub const fn packed_len<T: Float>(k: usize, width: usize) -> usize {
    k * width.next_multiple_of(2 * super::most_lanes::<T>())
}

/// A packed factor of a product of bf16.
#[derive(Clone, Copy, Debug)]
pub struct PackedBf16<'a>(Panels<'a, f32>);

impl<'a> PackedBf16<'a> {
    /// Packs a right factor, k x n, for products on `isa`, into the first [`packed_bf16_len`]`(k, n)` elements of `panels`.
    ///
    /// # Errors
    /// [`Error::Length`] if `panels` is shorter.
    pub fn right(
        isa: Isa,
        b: impl Into<Bf16Operand<'a>>,
        panels: &'a mut [f32],
    ) -> Result<Self, Error> {
        Panels::new(isa, b.into().0, panels).map(Self)
    }

    /// Packs a left factor, m x k, for products on `isa`, into the first [`packed_bf16_len`]`(k, m)` elements of `panels`.
    ///
    /// # Errors
    /// [`Error::Length`] if `panels` is shorter.
    pub fn left(
        isa: Isa,
        a: impl Into<Bf16Operand<'a>>,
        panels: &'a mut [f32],
    ) -> Result<Self, Error> {
        Panels::new(isa, a.into().0.transpose(), panels).map(|panels| Self(panels.transpose()))
    }
}

impl<'a> From<PackedBf16<'a>> for Bf16Operand<'a> {
    fn from(packed: PackedBf16<'a>) -> Self {
        Self(Elements::Panels(packed.0))
    }
}

/// How many elements of f32 a packed factor of bf16 takes that is `k` x `width`: half of them for its pairs of k.
pub const fn packed_bf16_len(k: usize, width: usize) -> usize {
    packed_len::<f32>(k.div_ceil(2), width)
}

/// The panels of a factor of `depth` words of k and `width`, or of its transpose.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Panels<'a, T> {
    words: &'a [T],
    depth: usize,
    /// Elements along k.
    rows: usize,
    width: usize,
    panel: usize,
    transposed: bool,
}

impl<'a, T: Float> Panels<'a, T> {
    #[inline(never)]
    fn new(isa: Isa, b: Elements<'_, T>, panels: &'a mut [T]) -> Result<Self, Error> {
        let (depth, width, rows) = (b.depth(), b.shape().cols, b.shape().rows);
        let len = depth * width.next_multiple_of(2 * super::most_lanes::<T>());
        if panels.len() < len {
            check_length("panels", len, panels.len())?;
        }
        isa.run(PackAll { b: &b, panels });
        Ok(Self {
            words: panels,
            depth,
            rows,
            width,
            panel: 2 * isa.lanes::<T>(),
            transposed: false,
        })
    }

    pub(super) fn transpose(self) -> Self {
        Self { transposed: !self.transposed, ..self }
    }

    /// In elements; no stride means anything.
    pub(super) fn shape(&self) -> Shape {
        let (rows, cols) =
            if self.transposed { (self.width, self.rows) } else { (self.rows, self.width) };
        Shape { rows, cols, row_stride: usize::MAX, col_stride: usize::MAX }
    }

    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// Columns of a panel.
    pub(super) fn panel(&self) -> usize {
        self.panel
    }

    /// Words `p..p + kc` of the panel that begins with column `j`, and of those that follow, where a summation block begins
    /// with `p`.
    #[inline(always)]
    pub(super) fn block(&self, p: usize, kc: usize, j: usize) -> &'a [T] {
        &self.words[p * self.width.next_multiple_of(self.panel) + j * kc..]
    }

    /// Word `(p, j)`.
    pub(super) fn word(&self, p: usize, j: usize) -> T {
        let start = p - p % T::KB;
        let block = self.block(start, T::KB.min(self.depth - start), j - j % self.panel);
        block[(p - start) * self.panel + j % self.panel]
    }
}

/// Packs all of `b`.
struct PackAll<'a, T> {
    b: &'a Elements<'a, T>,
    panels: &'a mut [T],
}

impl<T: Float> WithSimd for PackAll<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { b, panels } = self;
        let panel = 2 * <T as Lanes>::lanes::<S>();
        let (depth, width) = (b.depth(), b.shape().cols);
        for p in (0..depth).step_by(T::KB) {
            let kc = T::KB.min(depth - p);
            let packed = &mut panels[p * width.next_multiple_of(panel)..];
            s.vectorize(PackB { b, p, kc, j: 0, nc: width, panel, packed });
        }
    }
}
