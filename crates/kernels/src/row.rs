//! Rows of a matrix `[rows, classes]`: how they are dealt to threads, their greatest element, and sums along them.
//!
//! ```text
//! for each block of rows                    on any thread
//!     for each tile of rows                 at most 16, or 4096 elements: stays in the first-level cache
//!         short rows: the whole tile, row by row: z -= greatest;  the whole tile: z = e^z;  row by row: sum
//!         long rows:  row by row, piece by piece: z = e^(z - greatest), sum
//! ```
//!
//! A row is summed in 8 virtual lanes, which start at +0: element `j` is added to lane `j % 8`, all lanes in ascending `j`;
//! the lanes are folded in halves. The order depends on nothing but the number of classes. Called by `softmax`, `argmax` and
//! `loss`.

use crate::elementwise::{CHUNK, Elementwise, along};
use crate::math::exp::exp_of_nonpositive;
use crate::simd::{Float, Lanes, MOST_LANES, Simd};

/// Virtual lanes of the sum of a row. Part of the bit contract. The powers cost far more than the sum, so that
/// eight lanes do not wait for each other, and a row of ten classes folds in few steps.
pub(crate) const LANES: usize = 8;

/// The most rows of a tile: those of ten classes fill ten registers of AVX-512.
pub(crate) const TILE: usize = 16;

/// Rows from this length on are worked on one by one: few registers are left half empty.
const LONG: usize = 32;

/// The most elements of a tile of short rows: 4 KiB of f64, on the stack where there is no other place.
const TILE_ELEMENTS: usize = TILE * LONG;

/// The most elements of a tile of several long rows: with the logits beside them, 32 KiB of f32.
const TILE_OF_LONG: usize = 4096;

/// Elements of a long row at a time: a multiple of [`LANES`], so few that their sum goes on beside the next powers.
pub(crate) const PIECE: usize = 128;

/// Rows of a block, which one task takes, and its elements; both at least 1.
pub(crate) fn block(classes: usize) -> (usize, usize) {
    let rows = (CHUNK / classes.max(1)).max(1);
    (rows, rows.saturating_mul(classes).max(1))
}

/// Rows of a tile.
#[inline(always)]
pub(crate) fn tile_rows(classes: usize) -> usize {
    (TILE_OF_LONG / classes.max(1)).clamp(1, TILE)
}

/// What is known of a row of powers `e^(z - greatest)`.
#[derive(Clone, Copy, Default)]
pub(crate) struct Powers<T> {
    /// The greatest logit.
    pub(crate) greatest: T,
    /// Where the element stands that is left out of the sum. Past the end: none is.
    pub(crate) at: usize,
    /// The sum of all others.
    pub(crate) rest: T,
    /// The power that was left out; +0 for none.
    pub(crate) left_out: T,
}

impl<T: Float> Powers<T> {
    /// Of `row`, still logits, with the element `at` left out.
    #[inline(always)]
    pub(crate) fn without<S: Simd>(s: S, row: &[T], at: usize) -> Self {
        Self { greatest: greatest(s, row), at, ..Self::default() }
    }

    /// Of `row`, still logits, with its first greatest element left out.
    #[inline(always)]
    pub(crate) fn without_greatest<S: Simd>(s: S, row: &[T]) -> Self {
        let greatest = greatest(s, row);
        Self { greatest, at: position(row, greatest), ..Self::default() }
    }

    /// The sum of all powers.
    #[inline(always)]
    pub(crate) fn total(&self) -> T {
        let mut total = self.rest;
        total += self.left_out;
        total
    }

    /// The sum of all powers less 1: `rest` itself, with all its digits, where the greatest was left out. Never negative:
    /// elsewhere `rest` holds a 1.
    #[inline(always)]
    pub(crate) fn excess(&self) -> T {
        let mut missing = T::ONE;
        missing -= self.left_out;
        let mut excess = self.rest;
        excess -= missing;
        excess
    }
}

/// Puts the powers of a tile's rows into `z`, and sums them. The logits, whose [`Powers`] have `greatest` and `at`, are in
/// `z` already if they are not given. What is left out becomes 0.
#[inline(always)]
pub(crate) fn raise<S: Simd, T: Float>(
    s: S,
    logits: Option<&[T]>,
    z: &mut [T],
    classes: usize,
    powers: &mut [Powers<T>],
) {
    if classes >= LONG {
        for (i, (row, powers)) in z.chunks_exact_mut(classes).zip(powers).enumerate() {
            let logits = logits.map(|logits| &logits[i * classes..][..classes]);
            let mut lanes = [T::ZERO; LANES];
            for (start, piece) in (0..).step_by(PIECE).zip(row.chunks_mut(PIECE)) {
                let logits = logits.map(|logits| &logits[start..][..piece.len()]);
                raise_piece(s, logits, piece, start, powers, &mut lanes);
            }
            powers.rest = fold(lanes, T::add_assign);
        }
        return;
    }
    if let Some(logits) = logits {
        z.copy_from_slice(logits);
    }
    for (row, powers) in z.chunks_exact_mut(classes).zip(&*powers) {
        for x in row {
            *x -= powers.greatest;
        }
    }
    along(s, &Power { greatest: T::ZERO }, [], [&mut *z]);
    for (row, powers) in z.chunks_exact_mut(classes).zip(powers) {
        if let Some(power) = row.get_mut(powers.at) {
            powers.left_out = core::mem::replace(power, T::ZERO);
        }
        powers.rest = sum(row);
    }
}

/// What [`raise`] finds out about the rows of a tile, the same bits, and leaves them as they are.
#[inline(always)]
pub(crate) fn sum_powers<S: Simd, T: Float>(s: S, logits: &[T], classes: usize, powers: &mut [Powers<T>]) {
    if classes < LONG {
        let mut tile = [T::ZERO; TILE_ELEMENTS];
        return raise(s, Some(logits), &mut tile[..logits.len()], classes, powers);
    }
    for (row, powers) in logits.chunks_exact(classes).zip(powers) {
        let (mut lanes, mut buffer) = ([T::ZERO; LANES], [T::ZERO; PIECE]);
        for (start, piece) in (0..).step_by(PIECE).zip(row.chunks(PIECE)) {
            raise_piece(s, Some(piece), &mut buffer[..piece.len()], start, powers, &mut lanes);
        }
        powers.rest = fold(lanes, T::add_assign);
    }
}

/// The piece of a row that begins at element `start`.
#[inline(always)]
fn raise_piece<S: Simd, T: Float>(
    s: S,
    logits: Option<&[T]>,
    piece: &mut [T],
    start: usize,
    powers: &mut Powers<T>,
    lanes: &mut [T; LANES],
) {
    let power = Power { greatest: powers.greatest };
    match logits {
        Some(logits) => along(s, &power, [logits], [&mut *piece]),
        None => along(s, &power, [], [&mut *piece]),
    }
    if let Some(power) = within(piece, start, powers.at) {
        powers.left_out = core::mem::replace(power, T::ZERO);
    }
    gather(lanes, piece, T::add_assign);
}

/// Element `at` of a row in its piece that begins at `start`, if it is there.
#[inline(always)]
pub(crate) fn within<T>(piece: &mut [T], start: usize, at: usize) -> Option<&mut T> {
    at.checked_sub(start).and_then(|j| piece.get_mut(j))
}

/// `e^(x - greatest)`.
struct Power<T> {
    greatest: T,
}

impl<T: Float> Elementwise<T, 1, 1> for Power<T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, [x]: [T::V<S>; 1], _: [T::V<S>; 1]) -> [T::V<S>; 1] {
        [exp_of_nonpositive::<S, T>(s, T::sub(s, x, T::splat(s, self.greatest)))]
    }
}

impl<T: Float> Elementwise<T, 0, 1> for Power<T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, []: [T::V<S>; 0], [x]: [T::V<S>; 1]) -> [T::V<S>; 1] {
        [exp_of_nonpositive::<S, T>(s, T::sub(s, x, T::splat(s, self.greatest)))]
    }
}

/// The greatest element that is not NaN; -Inf if there is none. Which of -0 and +0 is nobody's business: as a
/// subtrahend they are one.
#[inline(always)]
pub(crate) fn greatest<S: Simd, T: Float>(s: S, row: &[T]) -> T {
    let keep_greater = |lane: &mut T, x| {
        if *lane < x {
            *lane = x;
        }
    };
    let mut lanes = [-T::INFINITY; LANES];
    let mut rest = row;
    if row.len() >= LONG {
        // The order of comparisons decides nothing: four registers, which do not wait for each other.
        let (whole, after) = T::split::<S>(row);
        rest = after;
        let mut four = [T::splat(s, -T::INFINITY); 4];
        for registers in whole.chunks(4) {
            for (greatest, &x) in four.iter_mut().zip(registers) {
                *greatest = T::select(s, T::less(s, *greatest, x), x, *greatest);
            }
        }
        let [mut greatest, others @ ..] = four;
        for x in others {
            greatest = T::select(s, T::less(s, greatest, x), x, greatest);
        }
        let mut values = [-T::INFINITY; MOST_LANES];
        T::store(s, &mut values[..<T as Lanes>::lanes::<S>()], greatest);
        gather(&mut lanes, &values, keep_greater);
    }
    gather(&mut lanes, rest, keep_greater);
    fold(lanes, keep_greater)
}

/// Where the first element stands that equals `x`; 0 if none does.
#[inline(always)]
pub(crate) fn position<T: Float>(row: &[T], x: T) -> usize {
    for (start, piece) in (0..).step_by(PIECE).zip(row.chunks(PIECE)) {
        // Without a branch an element, so that the search is done in registers.
        if piece.iter().fold(false, |found, &y| found | (x == y)) {
            return start + piece.iter().position(|&y| x == y).unwrap_or(0);
        }
    }
    0
}

/// The sum of a row.
#[inline(always)]
pub(crate) fn sum<T: Float>(row: &[T]) -> T {
    let mut lanes = [T::ZERO; LANES];
    gather(&mut lanes, row, T::add_assign);
    fold(lanes, T::add_assign)
}

/// The sum of `x[j] * y[j]`, each product rounded.
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

/// Combines the upper half of the lanes into the lower until one is left.
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

    /// What a softmax takes for exp has its bits.
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
            .chain([0.0, -0.0, -1e-40, -1e-9, -1e4, -1e38, f64::NEG_INFINITY, f64::NAN].map(T::from_f64))
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
