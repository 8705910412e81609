//! What is multiplied: a factor of a product, as the caller has it, and how words are read from it.
//!
//! Both factors are seen as k x w matrices, where w is the direction along C's rows or columns: B is one, and so is
//! the transpose of A. The tile multiplies **words**: an f32 or f64 each, or a pair of bf16 that are neighbours in k. A factor
//! that is not stored as words becomes words while it is packed.

use half::bf16;
use pulp::bytemuck;

use super::packed::Panels;
use super::terms::{pair, settled};
use crate::Float;
use crate::MatRef;
use crate::bf16::narrowed;
use crate::matrix::Shape;
use crate::simd::{Lanes, Simd};

/// One factor of a matrix product.
///
/// ```
/// use kernels::gemm::Operand;
/// use kernels::MatRef;
/// // Two rows of three pixels, 0 to 255, as numbers from 0 to 1.
/// let pixels = Operand::bytes(MatRef::row_major(&[0, 51, 255, 255, 102, 0], 2, 3)?, 1.0_f32 / 255.0);
/// # let _ = pixels;
/// # Ok::<(), kernels::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Operand<'a, T>(pub(super) Elements<'a, T>);

impl<'a, T> Operand<'a, T> {
    /// Bytes as numbers: `scale` times each, rounded once. The product has the bits that it has for the converted
    /// matrix, which is never stored.
    pub const fn bytes(matrix: MatRef<'a, u8>, scale: T) -> Self {
        Self(Elements::Bytes(matrix, scale))
    }

    /// Numbers of which most are 0, in runs of rows or columns, as those of images are: some of them are left out of the sums, in
    /// f32 where there is scratch, which takes about the share of the time that is left. The product is that of the same matrix
    /// as it is, to the bit, but for two things that it makes independent of what is left out: NaN and infinities of the other factor
    /// count as 0 beside zeros, or not; and a sum of one summation block that would be -0 is +0.
    pub const fn sparse(matrix: MatRef<'a, T>) -> Self {
        Self(Elements::Words(matrix, Zeros::Many))
    }
}

/// One factor of a product of bf16: a matrix of them, one that is rounded to them, or one that is packed.
#[derive(Clone, Copy, Debug)]
pub struct Bf16Operand<'a>(pub(super) Elements<'a, f32>);

impl<'a> Bf16Operand<'a> {
    /// Numbers of f32, each rounded to bf16: to nearest, ties to even, a subnormal one to a zero of its sign. The product has the bits
    /// that it has for the rounded matrix, which is never stored.
    pub const fn rounded(matrix: MatRef<'a, f32>) -> Self {
        Self(Elements::Rounded(matrix, Zeros::Few))
    }

    /// [`rounded`](Self::rounded) numbers of which most are 0, as [`Operand::sparse`] has them: pairs of zeros are left out.
    pub const fn sparse(matrix: MatRef<'a, f32>) -> Self {
        Self(Elements::Rounded(matrix, Zeros::Many))
    }
}

impl<'a> From<MatRef<'a, bf16>> for Bf16Operand<'a> {
    fn from(matrix: MatRef<'a, bf16>) -> Self {
        Self(Elements::Pairs(matrix))
    }
}

impl<'a, T> From<MatRef<'a, T>> for Operand<'a, T> {
    fn from(matrix: MatRef<'a, T>) -> Self {
        Self(Elements::words(matrix))
    }
}

/// How many elements of a factor are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Zeros {
    Few,
    /// So many that it is worth the time to look for them.
    Many,
}

/// The elements of a factor.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Elements<'a, T> {
    /// Each is a word.
    Words(MatRef<'a, T>, Zeros),
    /// Each is a word once it is converted and scaled.
    Bytes(MatRef<'a, u8>, T),
    /// Two neighbours in k are a word; at the end of an odd k the second is +0.
    Pairs(MatRef<'a, bf16>),
    /// The same, each element rounded first.
    Rounded(MatRef<'a, f32>, Zeros),
    /// Words, packed beforehand.
    Panels(Panels<'a, T>),
}

impl<'a, T> Elements<'a, T> {
    /// Those of a matrix of words.
    pub(super) const fn words(matrix: MatRef<'a, T>) -> Self {
        Self::Words(matrix, Zeros::Few)
    }
}

impl<'a, T: Float> Elements<'a, T> {
    pub(super) fn transpose(self) -> Self {
        match self {
            Self::Words(matrix, zeros) => Self::Words(matrix.transpose(), zeros),
            Self::Bytes(matrix, scale) => Self::Bytes(matrix.transpose(), scale),
            Self::Pairs(matrix) => Self::Pairs(matrix.transpose()),
            Self::Rounded(matrix, zeros) => Self::Rounded(matrix.transpose(), zeros),
            Self::Panels(panels) => Self::Panels(panels.transpose()),
        }
    }

    pub(super) fn shape(&self) -> Shape {
        match self {
            Self::Words(matrix, _) => matrix.shape(),
            Self::Bytes(matrix, _) => matrix.shape(),
            Self::Pairs(matrix) => matrix.shape(),
            Self::Rounded(matrix, _) => matrix.shape(),
            Self::Panels(panels) => panels.shape(),
        }
    }

    /// Whether many are 0.
    pub(super) fn is_sparse(&self) -> bool {
        matches!(self, Self::Words(_, Zeros::Many) | Self::Rounded(_, Zeros::Many))
    }

    /// Words along k.
    pub(super) fn depth(&self) -> usize {
        match self {
            Self::Words(..) | Self::Bytes(..) => self.shape().rows,
            Self::Pairs(_) | Self::Rounded(..) => self.shape().rows.div_ceil(2),
            Self::Panels(panels) => panels.depth(),
        }
    }

    /// The panels, if it is packed.
    pub(super) fn panels(&self) -> Option<Panels<'a, T>> {
        match self {
            Self::Panels(panels) => Some(*panels),
            _ => None,
        }
    }

    /// Whether neighbours across are neighbours in memory.
    pub(super) fn runs_across(&self) -> bool {
        self.shape().col_stride == 1
    }

    /// Whether neighbours along k are neighbours in memory.
    pub(super) fn runs_along(&self) -> bool {
        self.shape().row_stride == 1
    }

    /// The words where they stand, if they stand anywhere.
    pub(super) fn in_place(&self) -> Option<Source<T>> {
        match self {
            Self::Words(matrix, _) => Some(Source::new(*matrix)),
            Self::Bytes(..) | Self::Pairs(_) | Self::Rounded(..) | Self::Panels(_) => None,
        }
    }

    /// Whether memory goes on for `count` elements from those of word `(p, j)` on, whatever they are.
    #[inline(always)]
    fn has_behind(&self, p: usize, j: usize, count: usize) -> bool {
        match self {
            Self::Words(matrix, _) => matrix.has_behind(p, j, count),
            Self::Bytes(matrix, _) => matrix.has_behind(p, j, count),
            Self::Pairs(matrix) => matrix.has_behind(2 * p + 1, j, count),
            Self::Rounded(matrix, _) => matrix.has_behind(2 * p + 1, j, count),
            Self::Panels(_) => false,
        }
    }

    /// Word `(p, j)`.
    ///
    /// # Safety
    /// It lies inside the factor.
    #[inline(always)]
    #[expect(
        clippy::multiple_unsafe_ops_per_block,
        reason = "one condition covers all of these words"
    )]
    pub(super) unsafe fn word(&self, p: usize, j: usize) -> T {
        // SAFETY: the caller vouches for the place; the second half of a pair is read if k reaches that far.
        unsafe {
            match self {
                Self::Words(matrix, _) => Source::new(*matrix).get(p, j),
                Self::Bytes(matrix, scale) => byte(Source::new(*matrix).get(p, j), *scale),
                Self::Pairs(matrix) => {
                    let elements = Source::new(*matrix);
                    let even = elements.get(2 * p, j).to_bits();
                    let odd = if 2 * p + 1 < matrix.rows() {
                        elements.get(2 * p + 1, j).to_bits()
                    } else {
                        0
                    };
                    T::from_word(pair(even, odd))
                }
                Self::Rounded(matrix, _) => {
                    let elements = Source::new(*matrix);
                    let odd =
                        if 2 * p + 1 < matrix.rows() { elements.get(2 * p + 1, j) } else { 0.0 };
                    T::from_word(rounded(elements.get(2 * p, j), odd))
                }
                Self::Panels(panels) => panels.word(p, j),
            }
        }
    }

    /// Words `(p, j)`, `(p, j + 1)`, ... `count` of them, at most a register; the other lanes may hold
    /// anything.
    ///
    /// # Safety
    /// They lie inside the factor.
    #[inline(always)]
    #[expect(
        clippy::multiple_unsafe_ops_per_block,
        reason = "one condition covers all of these words"
    )]
    pub(super) unsafe fn across<S: Simd>(&self, s: S, p: usize, j: usize, count: usize) -> T::V<S> {
        let lanes = T::lanes::<S>();
        // SAFETY: the caller vouches for all of these places.
        unsafe {
            if let (Self::Words(matrix, _), true) = (self, self.runs_across()) {
                return words_across(s, *matrix, p, j, count);
            }
            if self.runs_across() && (count == lanes || count > 0 && self.has_behind(p, j, lanes)) {
                match self {
                    Self::Bytes(matrix, scale) => {
                        return convert::<S, T>(
                            s,
                            Source::new(*matrix).neighbours(p, j, lanes),
                            *scale,
                        );
                    }
                    Self::Pairs(matrix) if 2 * p + 1 < matrix.rows() => {
                        let elements = Source::new(*matrix);
                        let even = elements.neighbours(2 * p, j, lanes);
                        let odd = elements.neighbours(2 * p + 1, j, lanes);
                        return join::<S, T, _>(s, even.iter().zip(odd), |(x, y)| {
                            pair(x.to_bits(), y.to_bits())
                        });
                    }
                    Self::Rounded(matrix, _) if 2 * p + 1 < matrix.rows() => {
                        let elements = Source::new(*matrix);
                        if S::HAS_PAIRS {
                            let (even, odd) =
                                (elements.whole::<S>(2 * p, j), elements.whole::<S>(2 * p + 1, j));
                            return words::<S, T>(s.round_pairs(even, odd));
                        }
                        let even = elements.neighbours(2 * p, j, lanes);
                        let odd = elements.neighbours(2 * p + 1, j, lanes);
                        return join::<S, T, _>(s, even.iter().zip(odd), |(&x, &y)| rounded(x, y));
                    }
                    Self::Words(..) | Self::Pairs(_) | Self::Rounded(..) | Self::Panels(_) => {}
                }
            }
            fill::<S, T>(s, count, |l| self.word(p, j + l))
        }
    }

    /// Words `(p, j)`, `(p + 1, j)`, ... `count` of them, at most a register; the other lanes may hold
    /// anything.
    ///
    /// # Safety
    /// They lie inside the factor.
    #[inline(always)]
    #[expect(
        clippy::multiple_unsafe_ops_per_block,
        reason = "one condition covers all of these words"
    )]
    pub(super) unsafe fn along<S: Simd>(&self, s: S, p: usize, j: usize, count: usize) -> T::V<S> {
        let lanes = T::lanes::<S>();
        // SAFETY: the caller vouches for all of these places.
        unsafe {
            if self.runs_along() && count == lanes {
                match self {
                    Self::Words(matrix, _) => {
                        return Source::new(matrix.transpose()).whole::<S>(j, p);
                    }
                    Self::Bytes(matrix, scale) => {
                        let bytes = Source::new(matrix.transpose()).neighbours(j, p, lanes);
                        return convert::<S, T>(s, bytes, *scale);
                    }
                    Self::Pairs(matrix)
                        if 2 * (p + lanes) <= matrix.rows() && cfg!(target_endian = "little") =>
                    {
                        let first = Source::new(*matrix).place(2 * p, j);
                        return settle::<S, T>(first.cast::<T::V<S>>().read_unaligned());
                    }
                    Self::Rounded(matrix, _) if 2 * (p + lanes) <= matrix.rows() => {
                        if S::HAS_PAIRS {
                            let elements = Source::new(matrix.transpose());
                            let (low, high) = (
                                elements.whole::<S>(j, 2 * p),
                                elements.whole::<S>(j, 2 * p + lanes),
                            );
                            return words::<S, T>(s.round_neighbours(low, high));
                        }
                        let elements =
                            Source::new(matrix.transpose()).neighbours(j, 2 * p, 2 * lanes);
                        return join::<S, T, _>(s, elements.as_chunks().0, |&[x, y]: &[f32; 2]| {
                            rounded(x, y)
                        });
                    }
                    Self::Pairs(_) | Self::Rounded(..) | Self::Panels(_) => {}
                }
            }
            if let (Self::Words(matrix, _), true) = (self, self.runs_along()) {
                if matrix.has_behind(p, j, lanes) {
                    return Source::new(matrix.transpose()).whole::<S>(j, p);
                }
                return T::load(s, Source::new(matrix.transpose()).neighbours(j, p, count));
            }
            fill::<S, T>(s, count, |l| self.word(p + l, j))
        }
    }
}

/// The number that a byte stands for.
#[inline(always)]
fn byte<T: Float>(byte: u8, scale: T) -> T {
    let mut x = T::from_u8(byte);
    x *= scale;
    x
}

/// A register of what so many bytes stand for.
#[inline(always)]
fn convert<S: Simd, T: Float>(s: S, bytes: &[u8], scale: T) -> T::V<S> {
    let mut values = T::splat(s, T::ZERO);
    let lanes: &mut [T] =
        bytemuck::cast_slice_mut::<T::V<S>, T>(core::slice::from_mut(&mut values));
    for (lane, &x) in lanes.iter_mut().zip(bytes) {
        *lane = byte(x, scale);
    }
    values
}

/// A register of words, made of so many pairs.
#[inline(always)]
fn join<S: Simd, T: Float, P>(
    s: S,
    pairs: impl IntoIterator<Item = P>,
    word: impl Fn(P) -> u32,
) -> T::V<S> {
    let mut values = T::splat(s, T::ZERO);
    let words: &mut [u32] =
        bytemuck::cast_slice_mut::<T::V<S>, u32>(core::slice::from_mut(&mut values));
    for (to, pair) in words.iter_mut().zip(pairs) {
        *to = word(pair);
    }
    values
}

/// The word of two numbers of f32. Subnormal ones count as zeros before they are rounded, as the instruction has it.
#[inline(always)]
pub(crate) fn rounded(even: f32, odd: f32) -> u32 {
    let half = |x: f32| {
        let subnormal = x.abs() < f32::MIN_POSITIVE;
        let x = if subnormal { x.to_bits() & 0x8000_0000 } else { x.to_bits() };
        u32::from(narrowed(f32::from_bits(x)).to_bits())
    };
    half(even) | half(odd) << 16
}

/// A register of f32, which `T` is.
#[inline(always)]
fn words<S: Simd, T: Float>(register: <f32 as Lanes>::V<S>) -> T::V<S> {
    let mut words = bytemuck::Zeroable::zeroed();
    let to: &mut [u8] = bytemuck::bytes_of_mut::<T::V<S>>(&mut words);
    to.copy_from_slice(bytemuck::bytes_of(&register));
    words
}

/// A register of pairs as they stand in memory.
#[inline(always)]
fn settle<S: Simd, T: Float>(words: T::V<S>) -> T::V<S> {
    let mut result = words;
    let from = bytemuck::cast_slice::<T::V<S>, u32>(core::slice::from_ref(&words));
    let to = bytemuck::cast_slice_mut::<T::V<S>, u32>(core::slice::from_mut(&mut result));
    for (to, &from) in to.iter_mut().zip(from) {
        *to = settled(from);
    }
    result
}

/// A register with `f(l)` in lane `l`, for the first `count` lanes; +0 in the others.
#[inline(always)]
fn fill<S: Simd, T: Float>(s: S, count: usize, f: impl Fn(usize) -> T) -> T::V<S> {
    let mut values = T::splat(s, T::ZERO);
    let lanes: &mut [T] =
        bytemuck::cast_slice_mut::<T::V<S>, T>(core::slice::from_mut(&mut values));
    for (l, lane) in lanes.iter_mut().take(count).enumerate() {
        *lane = f(l);
    }
    values
}

/// Words that are read at any place inside a checked shape: a factor in place, or packed.
#[derive(Debug)]
pub(super) struct Source<T> {
    pub(super) ptr: *const T,
    pub(super) row_stride: usize,
    pub(super) col_stride: usize,
}

impl<T> Clone for Source<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Source<T> {}

/// Words `(p, j)`, `(p, j + 1)`, ... `count` of them, at most a register; the other lanes may hold anything.
///
/// # Safety
/// They lie inside the matrix, whose column stride is 1.
#[inline(always)]
#[expect(clippy::multiple_unsafe_ops_per_block, reason = "either reads the same words")]
pub(super) unsafe fn words_across<S: Simd, T: Float>(
    s: S,
    matrix: MatRef<'_, T>,
    p: usize,
    j: usize,
    count: usize,
) -> T::V<S> {
    let lanes = T::lanes::<S>();
    let source = Source::new(matrix);
    // SAFETY: the caller vouches for these places; whatever is behind them may be read too, if memory goes on.
    unsafe {
        if count == lanes || count > 0 && matrix.has_behind(p, j, lanes) {
            source.whole::<S>(p, j)
        } else {
            T::load(s, source.neighbours(p, j, count))
        }
    }
}

impl<T: Copy> Source<T> {
    #[inline(always)]
    pub(super) fn new(matrix: MatRef<'_, T>) -> Self {
        let Shape { row_stride, col_stride, .. } = matrix.shape();
        Self { ptr: matrix.as_ptr(), row_stride, col_stride }
    }

    /// Packed words: one row, or one column, of `stride` of them after the other.
    #[inline(always)]
    pub(super) fn packed(packed: &[T], row_stride: usize, col_stride: usize) -> Self {
        Self { ptr: packed.as_ptr(), row_stride, col_stride }
    }

    /// Rows and columns exchanged.
    #[inline(always)]
    pub(super) fn transpose(self) -> Self {
        Self { row_stride: self.col_stride, col_stride: self.row_stride, ..self }
    }

    /// The same matrix from element `(i, j)` on. No place is touched.
    #[inline(always)]
    pub(super) fn offset(self, i: usize, j: usize) -> Self {
        Self { ptr: self.place(i, j), ..self }
    }

    /// Where element `(i, j)` is, inside the matrix or not.
    #[inline(always)]
    pub(super) fn place(self, i: usize, j: usize) -> *const T {
        self.ptr.wrapping_add(
            i.wrapping_mul(self.row_stride).wrapping_add(j.wrapping_mul(self.col_stride)),
        )
    }

    /// Element `(i, j)`.
    ///
    /// # Safety
    /// `(i, j)` lies inside the view that this was made from, which is still borrowed.
    #[inline(always)]
    pub(super) unsafe fn get(self, i: usize, j: usize) -> T {
        // SAFETY: the view was checked to hold (i, j), so the place is inside its slice.
        unsafe { *self.ptr.wrapping_add(i * self.row_stride + j * self.col_stride) }
    }

    /// Elements `(i, j)`, `(i, j + 1)`, ... `count` of them.
    ///
    /// # Safety
    /// As for [`get`](Self::get), for each of them, and the column stride is 1.
    #[inline(always)]
    unsafe fn neighbours<'a>(self, i: usize, j: usize, count: usize) -> &'a [T] {
        // SAFETY: with a column stride of 1 these elements are neighbours, and all lie inside the view.
        unsafe { core::slice::from_raw_parts(self.place(i, j), count) }
    }
}

impl<T: Float> Source<T> {
    /// A whole register: elements `(i, j)`, `(i, j + 1)`, ...
    ///
    /// # Safety
    /// As for [`get`](Self::get), for each of them, and the column stride is 1 or the register has one lane.
    #[inline(always)]
    pub(super) unsafe fn whole<S: Simd>(self, i: usize, j: usize) -> T::V<S> {
        let start = if T::lanes::<S>() == 1 {
            self.place(i, j)
        } else {
            self.ptr.wrapping_add(i * self.row_stride + j)
        };
        // SAFETY: the caller vouches for the elements; a register is plain data.
        unsafe { start.cast::<T::V<S>>().read_unaligned() }
    }
}
