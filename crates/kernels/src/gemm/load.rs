//! Loads of an operand's elements, converted from the form in which they are in memory.
//!
//! ```text
//! Plain    as they are
//! Bytes    byte * scale
//! Bf16     two bf16, neighbours in k     -> a pair, subnormals flushed
//! Rounded  two f32, neighbours in k      -> rounded to bf16, a pair
//! Packed   from the panels, one by one
//! ```
//!
//! Called by packing, and by the microkernels that read B unpacked.

use pulp::bytemuck;

use super::operand::OperandView;
use super::pair::{flush_subnormals, join_pair, round_pair};
use super::view::Source;
use crate::simd::{Lanes, Simd};
use crate::{Float, MatRef};

impl<T: Float> OperandView<'_, T> {
    /// `true` if the slice has `count` values from those of element `(p, j)` on, inside the matrix
    /// or not.
    #[inline(always)]
    fn has_behind(&self, p: usize, j: usize, count: usize) -> bool {
        match self {
            Self::Plain(matrix, _) => matrix.has_behind(p, j, count),
            Self::Bytes(matrix, _) => matrix.has_behind(p, j, count),
            Self::Bf16(matrix) => matrix.has_behind(2 * p + 1, j, count),
            Self::Rounded(matrix, _) => matrix.has_behind(2 * p + 1, j, count),
            Self::Packed(_) => false,
        }
    }

    /// Element `(p, j)`.
    ///
    /// # Safety
    /// - `p` is below [`depth`](Self::depth), `j` below [`width`](Self::width).
    #[inline(always)]
    #[expect(
        clippy::multiple_unsafe_ops_per_block,
        reason = "one condition covers all of these values"
    )]
    pub(super) unsafe fn get(&self, p: usize, j: usize) -> T {
        debug_assert!(p < self.depth() && j < self.width());
        // SAFETY: element (p, j) is inside the matrix, by the condition on `p` and `j`. The odd
        // value of a pair is read only where `2 * p + 1` is below the number of rows.
        unsafe {
            match self {
                Self::Plain(matrix, _) => Source::new(*matrix).get(p, j),
                Self::Bytes(matrix, scale) => convert_byte(Source::new(*matrix).get(p, j), *scale),
                Self::Bf16(matrix) => {
                    let values = Source::new(*matrix);
                    let even = values.get(2 * p, j).to_bits();
                    let odd = if 2 * p + 1 < matrix.rows() {
                        values.get(2 * p + 1, j).to_bits()
                    } else {
                        0
                    };
                    T::from_low_bits(join_pair(even, odd))
                }
                Self::Rounded(matrix, _) => {
                    let values = Source::new(*matrix);
                    let odd =
                        if 2 * p + 1 < matrix.rows() { values.get(2 * p + 1, j) } else { 0.0 };
                    T::from_low_bits(round_pair(values.get(2 * p, j), odd))
                }
                Self::Packed(panels) => panels.get(p, j),
            }
        }
    }

    /// Elements `(p, j)`, `(p, j + 1)`, ...: `count` of them. The other lanes may hold anything.
    ///
    /// # Safety
    /// - `p` is below [`depth`](Self::depth), unless `count` is 0.
    /// - `j + count` is at most [`width`](Self::width).
    /// - `count` is at most the number of lanes.
    #[inline(always)]
    #[expect(
        clippy::multiple_unsafe_ops_per_block,
        reason = "one condition covers all of these elements"
    )]
    pub(super) unsafe fn load_row<S: Simd>(
        &self,
        s: S,
        p: usize,
        j: usize,
        count: usize,
    ) -> T::V<S> {
        let lanes = T::lanes::<S>();
        debug_assert!(count == 0 || p < self.depth() && j + count <= self.width());
        debug_assert!(count <= lanes);
        // SAFETY: by the conditions, the `count` elements are inside the matrix. A whole register
        // is read only where it has `count` lanes, or where `has_behind` finds it in the slice; a
        // pair's odd row only where `2 * p + 1` is below the number of rows.
        unsafe {
            if let (Self::Plain(matrix, _), true) = (self, self.has_contiguous_rows()) {
                return load_contiguous_row(s, *matrix, p, j, count);
            }
            let is_whole = count == lanes || count > 0 && self.has_behind(p, j, lanes);
            if self.has_contiguous_rows() && is_whole {
                match self {
                    Self::Bytes(matrix, scale) => {
                        let bytes = Source::new(*matrix).contiguous(p, j, lanes);
                        return convert_bytes::<S, T>(s, bytes, *scale);
                    }
                    Self::Bf16(matrix) if 2 * p + 1 < matrix.rows() => {
                        let values = Source::new(*matrix);
                        let even = values.contiguous(2 * p, j, lanes);
                        let odd = values.contiguous(2 * p + 1, j, lanes);
                        return collect_pairs::<S, T, _>(s, even.iter().zip(odd), |(x, y)| {
                            join_pair(x.to_bits(), y.to_bits())
                        });
                    }
                    Self::Rounded(matrix, _) if 2 * p + 1 < matrix.rows() => {
                        let values = Source::new(*matrix);
                        if S::ROUNDS_PAIRS {
                            let (even, odd) = (
                                values.register::<S>(2 * p, j),
                                values.register::<S>(2 * p + 1, j),
                            );
                            return as_elements::<S, T>(s.round_pairs(even, odd));
                        }
                        let even = values.contiguous(2 * p, j, lanes);
                        let odd = values.contiguous(2 * p + 1, j, lanes);
                        return collect_pairs::<S, T, _>(s, even.iter().zip(odd), |(&x, &y)| {
                            round_pair(x, y)
                        });
                    }
                    Self::Plain(..) | Self::Bf16(_) | Self::Rounded(..) | Self::Packed(_) => {}
                }
            }
            gather::<S, T>(s, count, |l| self.get(p, j + l))
        }
    }

    /// Elements `(p, j)`, `(p + 1, j)`, ...: `count` of them. The other lanes may hold anything.
    ///
    /// # Safety
    /// - `p + count` is at most [`depth`](Self::depth).
    /// - `j` is below [`width`](Self::width).
    /// - `count` is at most the number of lanes.
    #[inline(always)]
    #[expect(
        clippy::multiple_unsafe_ops_per_block,
        reason = "one condition covers all of these elements"
    )]
    pub(super) unsafe fn load_column<S: Simd>(
        &self,
        s: S,
        p: usize,
        j: usize,
        count: usize,
    ) -> T::V<S> {
        let lanes = T::lanes::<S>();
        debug_assert!(p + count <= self.depth() && j < self.width());
        debug_assert!(count <= lanes);
        // SAFETY: by the conditions, the `count` elements are inside the matrix. A whole register
        // is read only where it has `count` lanes, or where `has_behind` finds it in the slice;
        // two values per lane only where `2 * (p + lanes)` is at most the number of rows.
        unsafe {
            if self.has_contiguous_columns() && count == lanes {
                match self {
                    Self::Plain(matrix, _) => {
                        return Source::new(matrix.transpose()).register::<S>(j, p);
                    }
                    Self::Bytes(matrix, scale) => {
                        let bytes = Source::new(matrix.transpose()).contiguous(j, p, lanes);
                        return convert_bytes::<S, T>(s, bytes, *scale);
                    }
                    Self::Bf16(matrix)
                        if 2 * (p + lanes) <= matrix.rows() && cfg!(target_endian = "little") =>
                    {
                        let first = Source::new(*matrix).pointer(2 * p, j);
                        return flush_lanes::<S, T>(first.cast::<T::V<S>>().read_unaligned());
                    }
                    Self::Rounded(matrix, _) if 2 * (p + lanes) <= matrix.rows() => {
                        let columns = Source::new(matrix.transpose());
                        if S::ROUNDS_PAIRS {
                            let (low, high) = (
                                columns.register::<S>(j, 2 * p),
                                columns.register::<S>(j, 2 * p + lanes),
                            );
                            return as_elements::<S, T>(s.round_neighbours(low, high));
                        }
                        let values = columns.contiguous(j, 2 * p, 2 * lanes);
                        return collect_pairs::<S, T, _>(
                            s,
                            values.as_chunks().0,
                            |&[x, y]: &[f32; 2]| round_pair(x, y),
                        );
                    }
                    Self::Bf16(_) | Self::Rounded(..) | Self::Packed(_) => {}
                }
            }
            if let (Self::Plain(matrix, _), true) = (self, self.has_contiguous_columns()) {
                if matrix.has_behind(p, j, lanes) {
                    return Source::new(matrix.transpose()).register::<S>(j, p);
                }
                return T::load(s, Source::new(matrix.transpose()).contiguous(j, p, count));
            }
            gather::<S, T>(s, count, |l| self.get(p + l, j))
        }
    }
}

/// Elements `(p, j)`, `(p, j + 1)`, ...: `count` of them. The other lanes may hold anything.
///
/// # Safety
/// - The elements are inside the matrix.
/// - The column stride is 1.
/// - `count` is at most the number of lanes.
#[inline(always)]
#[expect(clippy::multiple_unsafe_ops_per_block, reason = "either reads the same elements")]
pub(super) unsafe fn load_contiguous_row<S: Simd, T: Float>(
    s: S,
    matrix: MatRef<'_, T>,
    p: usize,
    j: usize,
    count: usize,
) -> T::V<S> {
    let lanes = T::lanes::<S>();
    debug_assert!(count == 0 || p < matrix.rows() && j + count <= matrix.cols());
    debug_assert!(matrix.shape().col_stride == 1 && count <= lanes);
    let source = Source::new(matrix);
    // SAFETY: the elements are inside the matrix and contiguous, by the first two conditions. A
    // whole register is read only where `count` fills it, or where `has_behind` finds it in the
    // slice.
    unsafe {
        if count == lanes || count > 0 && matrix.has_behind(p, j, lanes) {
            source.register::<S>(p, j)
        } else {
            T::load(s, source.contiguous(p, j, count))
        }
    }
}

/// `byte * scale`.
#[inline(always)]
fn convert_byte<T: Float>(byte: u8, scale: T) -> T {
    let mut x = T::from_u8(byte);
    x *= scale;
    x
}

/// A register of converted bytes.
#[inline(always)]
fn convert_bytes<S: Simd, T: Float>(s: S, bytes: &[u8], scale: T) -> T::V<S> {
    let mut elements = T::splat(s, T::ZERO);
    for (lane, &x) in T::slice_mut::<S>(&mut elements).iter_mut().zip(bytes) {
        *lane = convert_byte(x, scale);
    }
    elements
}

/// A register with `pair(values)` of consecutive `values` in its 32-bit lanes.
#[inline(always)]
fn collect_pairs<S: Simd, T: Float, P>(
    s: S,
    values: impl IntoIterator<Item = P>,
    pair: impl Fn(P) -> u32,
) -> T::V<S> {
    let mut elements = T::splat(s, T::ZERO);
    let lanes: &mut [u32] =
        bytemuck::cast_slice_mut::<T::V<S>, u32>(core::slice::from_mut(&mut elements));
    for (lane, values) in lanes.iter_mut().zip(values) {
        *lane = pair(values);
    }
    elements
}

/// A register of pairs, as a register of `T`, which is f32.
#[inline(always)]
fn as_elements<S: Simd, T: Float>(pairs: <f32 as Lanes>::V<S>) -> T::V<S> {
    let mut elements = bytemuck::Zeroable::zeroed();
    let to: &mut [u8] = bytemuck::bytes_of_mut::<T::V<S>>(&mut elements);
    to.copy_from_slice(bytemuck::bytes_of(&pairs));
    elements
}

/// A register of pairs from memory, with subnormals flushed.
#[inline(always)]
fn flush_lanes<S: Simd, T: Float>(pairs: T::V<S>) -> T::V<S> {
    let mut flushed = pairs;
    let from = bytemuck::cast_slice::<T::V<S>, u32>(core::slice::from_ref(&pairs));
    let to = bytemuck::cast_slice_mut::<T::V<S>, u32>(core::slice::from_mut(&mut flushed));
    for (to, &from) in to.iter_mut().zip(from) {
        *to = flush_subnormals(from);
    }
    flushed
}

/// A register with `element(l)` in lane `l`, for the first `count` lanes; +0 in the others.
#[inline(always)]
fn gather<S: Simd, T: Float>(s: S, count: usize, element: impl Fn(usize) -> T) -> T::V<S> {
    let mut elements = T::splat(s, T::ZERO);
    let lanes = T::slice_mut::<S>(&mut elements);
    for (l, lane) in lanes.iter_mut().take(count).enumerate() {
        *lane = element(l);
    }
    elements
}
