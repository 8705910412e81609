//! Operands that are packed once and multiplied often: weights at inference, or an operand that
//! several calls share. Called by users, and by the recurrent layers of `nn`.
//!
//! The layout (`panels`) depends on the instruction set's register width. A product on another
//! instruction set reads it too, slowly.

use super::blocking::max_lanes;
use super::chain::{Exponents, MeasureExponents};
use super::operand::{Bf16Operand, Operand, OperandView};
use super::pack::PackB;
use super::panels::Panels;
use crate::error::check_length;
use crate::simd::{Lanes, Simd, WithSimd};
use crate::{Error, Float, Isa};

/// A packed operand of a product.
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
    /// Packs a right operand, `[k, n]`, for products on `isa`, into the first
    /// [`packed_len`]`(k, n)` elements of `panels`.
    ///
    /// # Errors
    /// [`Error::Length`] if `panels` is shorter.
    pub fn right(
        isa: Isa,
        b: impl Into<Operand<'a, T>>,
        panels: &'a mut [T],
    ) -> Result<Self, Error> {
        pack(isa, b.into().0, panels).map(Self)
    }

    /// Packs a left operand, `[m, k]`, for products on `isa`, into the first
    /// [`packed_len`]`(k, m)` elements of `panels`.
    ///
    /// # Errors
    /// [`Error::Length`] if `panels` is shorter.
    pub fn left(
        isa: Isa,
        a: impl Into<Operand<'a, T>>,
        panels: &'a mut [T],
    ) -> Result<Self, Error> {
        pack(isa, a.into().0.transpose(), panels).map(|panels| Self(panels.transpose()))
    }
}

impl<'a, T> From<Packed<'a, T>> for Operand<'a, T> {
    fn from(packed: Packed<'a, T>) -> Self {
        Self(OperandView::Packed(packed.0))
    }
}

/// Number of elements of a packed operand of extent `k` and `width` columns (of B) or rows (of A),
/// on any instruction set that is compiled in.
pub const fn packed_len<T: Float>(k: usize, width: usize) -> usize {
    k * width.next_multiple_of(2 * max_lanes::<T>())
}

/// A packed operand of a bf16 product.
#[derive(Clone, Copy, Debug)]
pub struct PackedBf16<'a>(Panels<'a, f32>);

impl<'a> PackedBf16<'a> {
    /// Packs a right operand, `[k, n]`, for products on `isa`, into the first
    /// [`packed_bf16_len`]`(k, n)` elements of `panels`.
    ///
    /// # Errors
    /// [`Error::Length`] if `panels` is shorter.
    pub fn right(
        isa: Isa,
        b: impl Into<Bf16Operand<'a>>,
        panels: &'a mut [f32],
    ) -> Result<Self, Error> {
        pack(isa, b.into().0, panels).map(Self)
    }

    /// Packs a left operand, `[m, k]`, for products on `isa`, into the first
    /// [`packed_bf16_len`]`(k, m)` elements of `panels`.
    ///
    /// # Errors
    /// [`Error::Length`] if `panels` is shorter.
    pub fn left(
        isa: Isa,
        a: impl Into<Bf16Operand<'a>>,
        panels: &'a mut [f32],
    ) -> Result<Self, Error> {
        pack(isa, a.into().0.transpose(), panels).map(|panels| Self(panels.transpose()))
    }
}

impl<'a> From<PackedBf16<'a>> for Bf16Operand<'a> {
    fn from(packed: PackedBf16<'a>) -> Self {
        Self(OperandView::Packed(packed.0))
    }
}

/// Number of f32 of a packed bf16 operand of extent `k` and `width` columns (of B) or rows (of A):
/// one for each pair of k.
pub const fn packed_bf16_len(k: usize, width: usize) -> usize {
    packed_len::<f32>(k.div_ceil(2), width)
}

/// Packs `b` into `panels`.
#[inline(never)]
fn pack<'a, T: Float>(
    isa: Isa,
    b: OperandView<'_, T>,
    panels: &'a mut [T],
) -> Result<Panels<'a, T>, Error> {
    let (depth, width, k) = (b.depth(), b.width(), b.shape().rows);
    let len = packed_len::<T>(depth, width);
    if panels.len() < len {
        check_length("panels", len, panels.len())?;
    }
    isa.run(PackAll { b: &b, panels });
    let panel = 2 * isa.lanes::<T>();
    let packed = &panels[..depth * width.next_multiple_of(panel)];
    // The pair instruction needs no choice of a chain.
    let exponents = if b.has_pairs() && !isa.multiplies_bf16() {
        isa.run(MeasureExponents { packed, stride: 1, used: 1 })
    } else {
        Exponents::UNKNOWN
    };
    Ok(Panels::new(panels, depth, k, width, panel, exponents))
}

/// Packs all of `b`.
struct PackAll<'a, T> {
    b: &'a OperandView<'a, T>,
    panels: &'a mut [T],
}

impl<T: Float> WithSimd for PackAll<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { b, panels } = self;
        let panel = 2 * <T as Lanes>::lanes::<S>();
        let (depth, width) = (b.depth(), b.width());
        for p in (0..depth).step_by(T::KB) {
            let kc = T::KB.min(depth - p);
            let packed = &mut panels[p * width.next_multiple_of(panel)..];
            s.vectorize(PackB::new(b, (p, kc), (0, width), panel, packed));
        }
    }
}
