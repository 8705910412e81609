//! Rows of a matrix `[rows, classes]`: their partition among threads, their maximum, and sums along
//! them.
//!
//! ```text
//! for each block of rows                    in parallel
//!     for each tile of rows                 at most 16 rows or 4096 elements: stays in L1
//!         short rows: row by row: z -= max;  the whole tile: z = e^z;  row by row: sum
//!         long rows:  row by row, piece by piece: z = e^(z - max), sum
//! ```
//!
//! A row is summed in 8 virtual lanes, which start at +0: element `j` is added to lane `j % 8`, in
//! ascending `j`; then the upper half of the lanes is added to the lower half until one is left.
//! The order depends on the number of classes alone. Called by `softmax`, `argmax` and `loss`.

use crate::elementwise::{CHUNK, Elementwise, along};
use crate::math::exp::exp_of_nonpositive;
use crate::simd::{Float, Lanes, MOST_LANES, Simd};

/// Virtual lanes of the sum of a row. Part of the bit contract. The exponentials take far longer
/// than the sum, so that eight lanes hide its latency, and a row of ten classes folds in few steps.
pub(crate) const LANES: usize = 8;

/// Maximum number of rows per tile: 16 rows of ten classes fill ten registers of AVX-512.
pub(crate) const TILE: usize = 16;

/// Length from which rows are computed one by one: few registers are partly empty.
const LONG: usize = 32;

/// Maximum number of elements of a tile of short rows: 4 KiB of f64, on the stack where there is no
/// other buffer.
const TILE_ELEMENTS: usize = TILE * LONG;

/// Maximum number of elements of a tile of several long rows: together with the logits, 32 KiB of
/// f32.
const TILE_OF_LONG: usize = 4096;

/// Elements of a long row per step: a multiple of [`LANES`], so few that their sum overlaps with
/// the next exponentials.
pub(crate) const PIECE: usize = 128;

/// Rows and elements of a block, which one task takes; both at least 1.
pub(crate) fn block(classes: usize) -> (usize, usize) {
    let rows = (CHUNK / classes.max(1)).max(1);
    (rows, rows.saturating_mul(classes).max(1))
}

/// Rows per tile.
#[inline(always)]
pub(crate) fn tile_rows(classes: usize) -> usize {
    (TILE_OF_LONG / classes.max(1)).clamp(1, TILE)
}

/// Maximum of a row of logits, and the sum of the exponentials `e^(z - max)`.
#[derive(Clone, Copy, Default)]
pub(crate) struct Exponentials<T> {
    /// Maximum of the logits.
    pub(crate) max: T,
    /// Index of the element that is excluded from the sum; past the end for none.
    pub(crate) excluded: usize,
    /// Sum of all other exponentials.
    pub(crate) rest: T,
    /// The excluded exponential; +0 for none.
    pub(crate) excluded_exp: T,
}

impl<T: Float> Exponentials<T> {
    /// Maximum of `row` (logits), with the element `at` to be excluded from the sum.
    #[inline(always)]
    pub(crate) fn excluding<S: Simd>(s: S, row: &[T], at: usize) -> Self {
        Self { max: row_max(s, row), excluded: at, ..Self::default() }
    }

    /// Maximum of `row` (logits), with its first occurrence to be excluded from the sum.
    #[inline(always)]
    pub(crate) fn excluding_max<S: Simd>(s: S, row: &[T]) -> Self {
        let max = row_max(s, row);
        Self { max, excluded: index_of(row, max), ..Self::default() }
    }

    /// Sum of all exponentials.
    #[inline(always)]
    pub(crate) fn total(&self) -> T {
        let mut total = self.rest;
        total += self.excluded_exp;
        total
    }

    /// Sum of all exponentials minus 1: `rest` itself, with all its digits, where the maximum was
    /// excluded. Never negative: elsewhere `rest` includes a 1.
    #[inline(always)]
    pub(crate) fn excess(&self) -> T {
        let mut missing = T::ONE;
        missing -= self.excluded_exp;
        let mut excess = self.rest;
        excess -= missing;
        excess
    }
}

/// Writes the exponentials of a tile's rows to `z` and sums them. The logits, whose `max` and
/// `excluded` are set, are in `z` already if `logits` is `None`. Excluded elements become 0.
#[inline(always)]
pub(crate) fn exponentiate<S: Simd, T: Float>(
    s: S,
    logits: Option<&[T]>,
    z: &mut [T],
    classes: usize,
    exps: &mut [Exponentials<T>],
) {
    if classes >= LONG {
        for (i, (row, exps)) in z.chunks_exact_mut(classes).zip(exps).enumerate() {
            let logits = logits.map(|logits| &logits[i * classes..][..classes]);
            let mut lanes = [T::ZERO; LANES];
            for (start, piece) in (0..).step_by(PIECE).zip(row.chunks_mut(PIECE)) {
                let logits = logits.map(|logits| &logits[start..][..piece.len()]);
                exponentiate_piece(s, logits, piece, start, exps, &mut lanes);
            }
            exps.rest = fold(lanes, T::add_assign);
        }
        return;
    }
    if let Some(logits) = logits {
        z.copy_from_slice(logits);
    }
    for (row, exps) in z.chunks_exact_mut(classes).zip(&*exps) {
        for x in row {
            *x -= exps.max;
        }
    }
    along(s, &ExpMinusMax { max: T::ZERO }, [], [&mut *z]);
    for (row, exps) in z.chunks_exact_mut(classes).zip(exps) {
        if let Some(exp) = row.get_mut(exps.excluded) {
            exps.excluded_exp = core::mem::replace(exp, T::ZERO);
        }
        exps.rest = sum(row);
    }
}

/// Computes the sums of [`exponentiate`], the same bits, without writing the exponentials.
#[inline(always)]
pub(crate) fn sum_exp<S: Simd, T: Float>(
    s: S,
    logits: &[T],
    classes: usize,
    exps: &mut [Exponentials<T>],
) {
    if classes < LONG {
        let mut tile = [T::ZERO; TILE_ELEMENTS];
        return exponentiate(s, Some(logits), &mut tile[..logits.len()], classes, exps);
    }
    for (row, exps) in logits.chunks_exact(classes).zip(exps) {
        let (mut lanes, mut buffer) = ([T::ZERO; LANES], [T::ZERO; PIECE]);
        for (start, piece) in (0..).step_by(PIECE).zip(row.chunks(PIECE)) {
            exponentiate_piece(s, Some(piece), &mut buffer[..piece.len()], start, exps, &mut lanes);
        }
        exps.rest = fold(lanes, T::add_assign);
    }
}

/// [`exponentiate`] for the piece of a row that begins at element `start`.
#[inline(always)]
fn exponentiate_piece<S: Simd, T: Float>(
    s: S,
    logits: Option<&[T]>,
    piece: &mut [T],
    start: usize,
    exps: &mut Exponentials<T>,
    lanes: &mut [T; LANES],
) {
    let op = ExpMinusMax { max: exps.max };
    match logits {
        Some(logits) => along(s, &op, [logits], [&mut *piece]),
        None => along(s, &op, [], [&mut *piece]),
    }
    if let Some(exp) = within(piece, start, exps.excluded) {
        exps.excluded_exp = core::mem::replace(exp, T::ZERO);
    }
    gather(lanes, piece, T::add_assign);
}

/// Element `at` of a row, if it is in the piece that begins at `start`.
#[inline(always)]
pub(crate) fn within<T>(piece: &mut [T], start: usize, at: usize) -> Option<&mut T> {
    at.checked_sub(start).and_then(|j| piece.get_mut(j))
}

/// `e^(x - max)`.
struct ExpMinusMax<T> {
    max: T,
}

impl<T: Float> Elementwise<T, 1, 1> for ExpMinusMax<T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, [x]: [T::V<S>; 1], _: [T::V<S>; 1]) -> [T::V<S>; 1] {
        [exp_of_nonpositive::<S, T>(s, T::sub(s, x, T::splat(s, self.max)))]
    }
}

impl<T: Float> Elementwise<T, 0, 1> for ExpMinusMax<T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, []: [T::V<S>; 0], [x]: [T::V<S>; 1]) -> [T::V<S>; 1] {
        [exp_of_nonpositive::<S, T>(s, T::sub(s, x, T::splat(s, self.max)))]
    }
}

/// Maximum of the elements that are not NaN; -Inf if there are none. It may be -0 or +0 where both
/// occur: as a subtrahend they are equal.
#[inline(always)]
pub(crate) fn row_max<S: Simd, T: Float>(s: S, row: &[T]) -> T {
    let keep_max = |lane: &mut T, x| {
        if *lane < x {
            *lane = x;
        }
    };
    let mut lanes = [-T::INFINITY; LANES];
    let mut rest = row;
    if row.len() >= LONG {
        // The order of comparisons does not matter: four independent registers hide their latency.
        let (whole, after) = T::split::<S>(row);
        rest = after;
        let mut four = [T::splat(s, -T::INFINITY); 4];
        for registers in whole.chunks(4) {
            for (max, &x) in four.iter_mut().zip(registers) {
                *max = T::select(s, T::less(s, *max, x), x, *max);
            }
        }
        let [mut max, others @ ..] = four;
        for x in others {
            max = T::select(s, T::less(s, max, x), x, max);
        }
        let mut values = [-T::INFINITY; MOST_LANES];
        T::store(s, &mut values[..<T as Lanes>::lanes::<S>()], max);
        gather(&mut lanes, &values, keep_max);
    }
    gather(&mut lanes, rest, keep_max);
    fold(lanes, keep_max)
}

/// Index of the first element equal to `x`; 0 if there is none.
#[inline(always)]
pub(crate) fn index_of<T: Float>(row: &[T], x: T) -> usize {
    for (start, piece) in (0..).step_by(PIECE).zip(row.chunks(PIECE)) {
        // No branch per element, so that the search is vectorised.
        if piece.iter().fold(false, |found, &y| found | (x == y)) {
            return start + piece.iter().position(|&y| x == y).unwrap_or(0);
        }
    }
    0
}

/// Sum of a row.
#[inline(always)]
pub(crate) fn sum<T: Float>(row: &[T]) -> T {
    let mut lanes = [T::ZERO; LANES];
    gather(&mut lanes, row, T::add_assign);
    fold(lanes, T::add_assign)
}

/// Sum of `x[j] * y[j]`, each product rounded.
#[inline(always)]
pub(crate) fn dot<T: Float>(x: &[T], y: &[T]) -> T {
    let (mut lanes, mut products) = ([T::ZERO; LANES], [T::ZERO; PIECE]);
    for (x, y) in x.chunks(PIECE).zip(y.chunks(PIECE)) {
        let products = &mut products[..x.len()];
        for ((product, &x), &y) in products.iter_mut().zip(x).zip(y) {
            *product = x;
            *product *= y;
        }
        gather(&mut lanes, products, T::add_assign);
    }
    fold(lanes, T::add_assign)
}

/// Combines element `j` into lane `j % LANES`.
#[inline(always)]
pub(crate) fn gather<T: Float>(lanes: &mut [T; LANES], x: &[T], combine: impl Fn(&mut T, T)) {
    let (whole, rest) = x.as_chunks::<LANES>();
    for x in whole {
        for (lane, &x) in lanes.iter_mut().zip(x) {
            combine(lane, x);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        combine(lane, x);
    }
}

/// Combines the upper half of the lanes into the lower half until one is left.
#[inline(always)]
pub(crate) fn fold<T: Float>(mut lanes: [T; LANES], combine: impl Fn(&mut T, T)) -> T {
    let mut half = LANES / 2;
    while half > 0 {
        for l in 0..half {
            let upper = lanes[l + half];
            combine(&mut lanes[l], upper);
        }
        half /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::{vec, vec::Vec};

    use super::*;
    use crate::elementwise::for_each_element;
    use crate::{Cpu, Isa};

    /// The exponential of softmax has the bits of `exp`.
    fn exp_of_nonpositive_is_exp<T: Float>(least: f64) {
        struct OfNonpositive;
        impl<T: Float> Elementwise<T, 1, 1> for OfNonpositive {
            #[inline(always)]
            fn apply<S: Simd>(&self, s: S, [x]: [T::V<S>; 1], _: [T::V<S>; 1]) -> [T::V<S>; 1] {
                [exp_of_nonpositive::<S, T>(s, x)]
            }
        }
        let steps = 1_000_000;
        let x: Vec<T> = (0..steps)
            .map(|i| T::from_f64(least * f64::from(i) / f64::from(steps)))
            .chain(
                [0.0, -0.0, -1e-40, -1e-9, -1e4, -1e38, f64::NEG_INFINITY, f64::NAN]
                    .map(T::from_f64),
            )
            .collect();
        let (mut expected, mut y) = (vec![T::NAN; x.len()], vec![T::NAN; x.len()]);
        crate::math::exp(Cpu::detect(), &x, &mut expected).unwrap();
        let bits = |x: T| if x.to_f64().is_nan() { u64::MAX } else { x.to_f64().to_bits() };
        for isa in Isa::available() {
            let cpu = Cpu::serial(isa);
            for_each_element(cpu, &OfNonpositive, [("x", &x[..])], [("y", &mut y[..])]).unwrap();
            assert!(y.iter().zip(&expected).all(|(&y, &e)| bits(y) == bits(e)), "{isa:?}");
        }
    }

    #[test]
    fn exp_of_nonpositive_is_exp_down_to_zero() {
        exp_of_nonpositive_is_exp::<f32>(-106.0);
        exp_of_nonpositive_is_exp::<f64>(-750.0);
    }
}
