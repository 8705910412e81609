//! Softmax and its cross-entropy, from logits: the loss of a classifier beside its gradient, and the class it
//! answers.
//!
//! ```text
//! for each block of rows                               on any thread
//!     for each tile of TILE rows                       stays in the first-level cache
//!         each row:  z -= max z;  gap = -z[label]
//!         the tile:  z = e^z                           full registers, however short a row is
//!         each row:  rest = sum of z but for z[label]; total = rest + z[label]
//!                    dz = z * (scale / total);  dz[label] = -rest * (scale / total)
//!         the tile:  loss = gap + ln(1 + (rest - (1 - z[label])))
//! ```
//!
//! Taking the greatest logit away first keeps every power in [0, 1]: no logit is too large. Leaving the label out
//! of the sum keeps what a confident network still has to learn: with p near 1, both `-ln p` and `p - 1` come from
//! `rest` and keep all their digits, where `ln(total)` and `p - 1` would have rounded to 0.
//!
//! A row is summed in 8 virtual lanes (element `j` in lane `j % 8`), folded in halves; the label counts as +0. The
//! order depends on nothing but the number of classes.
//!
//! A row with a NaN or +Inf among its logits, or with -Inf alone, has no probabilities: its loss and its gradient
//! are NaN, those of other rows are not touched by it. Called by the loss of a network.

use crate::elementwise::{CHUNK, Elementwise, along};
use crate::math::{exp::exp, ln::ln_1p};
use crate::simd::{Float, Simd, WithSimd};
use crate::{Cpu, Error, error::check_length};

/// Virtual lanes of the sum of a row. Part of the bit contract. The powers cost far more than the sum, so that
/// eight lanes do not wait for each other, and a row of ten classes folds in few steps.
const LANES: usize = 8;

/// Rows that are worked on together: those of ten classes fill ten registers of AVX-512.
const TILE: usize = 16;

/// Elements of a row that the loss alone needs at a time: a multiple of [`LANES`], 2 KiB of f64.
const PIECE: usize = 256;

/// Cross-entropy of the softmax of each row of `logits` against its label, and the gradient.
///
/// ```text
/// losses[i]     = ln(sum over j of e^logits[i, j]) - logits[i, labels[i]]
/// dlogits[i, j] = scale * (softmax(logits[i])[j] - (1 if j == labels[i] else 0))
/// ```
///
/// `logits` and `dlogits` are `[rows, classes]`, row after row; `labels` and `losses` are `[rows]`. With
/// `scale = 1 / rows`, the gradient is that of the mean loss. Losses are in nats and never negative.
///
/// No finite logits overflow, and a loss near 0 is as accurate as a large one. A row with NaN or +Inf, or
/// with -Inf alone, has the loss NaN and a gradient of NaN; -Inf elsewhere is a probability of 0, and a loss of +Inf if
/// it is the label's.
///
/// ```
/// use kernels::{Cpu, cross_entropy::softmax_cross_entropy};
/// let (mut losses, mut dlogits) = ([0.0_f64; 1], [0.0; 2]);
/// softmax_cross_entropy(Cpu::detect(), &[3.0, 3.0], 2, &[1], 1.0, &mut losses, &mut dlogits)?;
/// assert_eq!(dlogits, [0.5, -0.5]);
/// assert!((losses[0] - core::f64::consts::LN_2).abs() < 1e-15);
/// # Ok::<(), kernels::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] if `logits`, `dlogits` or `losses` do not fit `labels` and `classes`, [`Error::Label`] for the
/// first label that is not below `classes`. Nothing has been written then.
pub fn softmax_cross_entropy<T: Float>(
    cpu: Cpu<'_>,
    logits: &[T],
    classes: usize,
    labels: &[u32],
    scale: T,
    losses: &mut [T],
    dlogits: &mut [T],
) -> Result<(), Error> {
    check(logits.len(), classes, labels, losses.len())?;
    check_length("dlogits", logits.len(), dlogits.len())?;
    let (rows, block) = block(classes);
    let blocks = (logits.chunks(block).zip(labels.chunks(rows)))
        .zip(losses.chunks_mut(rows).zip(dlogits.chunks_mut(block)));
    cpu.for_each_item(blocks, |((logits, labels), (losses, dlogits))| {
        cpu.isa.run(Backward { logits: Some(logits), z: dlogits, classes, labels, scale, losses });
    });
    Ok(())
}

/// [`softmax_cross_entropy`] whose gradient takes the place of the logits: the same bits, half the memory.
///
/// # Errors
/// As [`softmax_cross_entropy`].
pub fn softmax_cross_entropy_in_place<T: Float>(
    cpu: Cpu<'_>,
    logits: &mut [T],
    classes: usize,
    labels: &[u32],
    scale: T,
    losses: &mut [T],
) -> Result<(), Error> {
    check(logits.len(), classes, labels, losses.len())?;
    let (rows, block) = block(classes);
    let blocks = (logits.chunks_mut(block).zip(labels.chunks(rows))).zip(losses.chunks_mut(rows));
    cpu.for_each_item(blocks, |((z, labels), losses)| {
        cpu.isa.run(Backward { logits: None, z, classes, labels, scale, losses });
    });
    Ok(())
}

/// The losses of [`softmax_cross_entropy`] alone, the same bits, without a gradient: for validation.
///
/// # Errors
/// As [`softmax_cross_entropy`].
pub fn softmax_cross_entropy_loss<T: Float>(
    cpu: Cpu<'_>,
    logits: &[T],
    classes: usize,
    labels: &[u32],
    losses: &mut [T],
) -> Result<(), Error> {
    check(logits.len(), classes, labels, losses.len())?;
    let (rows, block) = block(classes);
    let blocks = (logits.chunks(block).zip(labels.chunks(rows))).zip(losses.chunks_mut(rows));
    cpu.for_each_item(blocks, |((logits, labels), losses)| {
        cpu.isa.run(Loss { logits, classes, labels, losses });
    });
    Ok(())
}

/// `probabilities[i, j] = e^logits[i, j] / (sum over k of e^logits[i, k])`, both `[rows, classes]`.
///
/// No finite logits overflow. A row with NaN or +Inf, or with -Inf alone, becomes NaN; -Inf elsewhere gives 0.
///
/// # Errors
/// [`Error::Length`] if `logits` are no whole rows of `classes`, or `probabilities` differ in length.
pub fn softmax<T: Float>(
    cpu: Cpu<'_>,
    logits: &[T],
    classes: usize,
    probabilities: &mut [T],
) -> Result<(), Error> {
    check_length("logits", logits.len() / classes.max(1) * classes, logits.len())?;
    check_length("probabilities", logits.len(), probabilities.len())?;
    let (_, block) = block(classes);
    cpu.for_each_item(logits.chunks(block).zip(probabilities.chunks_mut(block)), |(logits, z)| {
        cpu.isa.run(Softmax { logits, z, classes });
    });
    Ok(())
}

/// `answers[i]` is the class of the greatest of `logits[i, ..]`, the first of equals; `logits` is
/// `[answers.len(), classes]`.
///
/// -0 and +0 are equal. A NaN counts as greater than every number, as in NumPy and PyTorch: the first NaN is the
/// answer.
///
/// # Errors
/// [`Error::Length`] if `logits` is not `answers.len() * classes` long, or if `classes` is 0 and there are answers
/// to give.
pub fn argmax<T: Float>(
    cpu: Cpu<'_>,
    logits: &[T],
    classes: usize,
    answers: &mut [u32],
) -> Result<(), Error> {
    if classes == 0 && !answers.is_empty() {
        return Err(Error::Length { operand: "classes", expected: 1, got: 0 });
    }
    check_length("logits", answers.len().saturating_mul(classes), logits.len())?;
    let (rows, block) = block(classes);
    let blocks = logits.chunks(block).zip(answers.chunks_mut(rows));
    cpu.for_each_item(blocks, |(logits, answers)| {
        for (row, answer) in logits.chunks_exact(classes).zip(answers) {
            *answer = first_greatest(row);
        }
    });
    Ok(())
}

/// Rows of a block, which one task takes, and its elements; both at least 1.
fn block(classes: usize) -> (usize, usize) {
    let rows = (CHUNK / classes.max(1)).max(1);
    (rows, (rows * classes).max(1))
}

/// What all forms of the loss ask of their operands.
fn check(logits: usize, classes: usize, labels: &[u32], losses: usize) -> Result<(), Error> {
    check_length("logits", labels.len().saturating_mul(classes), logits)?;
    check_length("losses", labels.len(), losses)?;
    match labels.iter().position(|&label| label as usize >= classes) {
        Some(row) => Err(Error::Label { row, classes, got: labels[row] as usize }),
        None => Ok(()),
    }
}

/// The loss and the gradient of a block of rows.
struct Backward<'a, T> {
    /// The logits, if they are not in `z` already.
    logits: Option<&'a [T]>,
    /// Becomes the gradient.
    z: &'a mut [T],
    classes: usize,
    labels: &'a [u32],
    scale: T,
    losses: &'a mut [T],
}

impl<T: Float> WithSimd for Backward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { logits, z, classes, labels, scale, losses } = self;
        let tiles = z.chunks_mut(TILE * classes).zip(labels.chunks(TILE)).zip(losses.chunks_mut(TILE));
        for (tile, ((z, labels), losses)) in tiles.enumerate() {
            if let Some(logits) = logits {
                let start = tile * TILE * classes;
                z.copy_from_slice(&logits[start..start + z.len()]);
            }
            let mut gaps = [T::ZERO; TILE];
            for ((row, &label), gap) in z.chunks_exact_mut(classes).zip(labels).zip(&mut gaps) {
                subtract_greatest(row);
                *gap = -row[label as usize];
            }
            along(s, &Power, [], [&mut *z]);
            for ((row, &label), loss) in z.chunks_exact_mut(classes).zip(labels).zip(&mut *losses) {
                let at_label = core::mem::replace(&mut row[label as usize], T::ZERO);
                let rest = sum(row);
                *loss = excess(rest, at_label);
                let mut total = rest;
                total += at_label;
                let mut share = scale;
                share /= total;
                for dz in &mut *row {
                    *dz *= share;
                }
                let dz = &mut row[label as usize];
                *dz = -rest;
                *dz *= share;
            }
            along(s, &GapPlusLn1p, [&gaps], [losses]);
        }
    }
}

/// The loss of a block of rows.
struct Loss<'a, T> {
    logits: &'a [T],
    classes: usize,
    labels: &'a [u32],
    losses: &'a mut [T],
}

impl<T: Float> WithSimd for Loss<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { logits, classes, labels, losses } = self;
        let tiles = logits.chunks(TILE * classes).zip(labels.chunks(TILE)).zip(losses.chunks_mut(TILE));
        for ((logits, labels), losses) in tiles {
            let mut gaps = [T::ZERO; TILE];
            let rows = logits.chunks_exact(classes).zip(labels);
            for (((row, &label), gap), loss) in rows.zip(&mut gaps).zip(&mut *losses) {
                let label = label as usize;
                let greatest = greatest(row);
                *gap = greatest;
                *gap -= row[label];
                let mut lanes = [T::ZERO; LANES];
                let mut at_label = T::ZERO;
                for (start, piece) in (0..).step_by(PIECE).zip(row.chunks(PIECE)) {
                    let mut powers = [T::ZERO; PIECE];
                    let powers = &mut powers[..piece.len()];
                    for (power, &logit) in powers.iter_mut().zip(piece) {
                        *power = logit;
                        *power -= greatest;
                    }
                    along(s, &Power, [], [&mut *powers]);
                    if let Some(power) = label.checked_sub(start).and_then(|j| powers.get_mut(j)) {
                        at_label = core::mem::replace(power, T::ZERO);
                    }
                    gather(&mut lanes, powers, T::add_assign);
                }
                *loss = excess(fold(lanes, T::add_assign), at_label);
            }
            along(s, &GapPlusLn1p, [&gaps], [losses]);
        }
    }
}

/// The softmax of a block of rows.
struct Softmax<'a, T> {
    logits: &'a [T],
    z: &'a mut [T],
    classes: usize,
}

impl<T: Float> WithSimd for Softmax<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let tile = TILE * self.classes;
        for (logits, z) in self.logits.chunks(tile).zip(self.z.chunks_mut(tile)) {
            z.copy_from_slice(logits);
            z.chunks_exact_mut(self.classes).for_each(subtract_greatest);
            along(s, &Power, [], [&mut *z]);
            for row in z.chunks_exact_mut(self.classes) {
                let total = sum(row);
                for p in row {
                    *p /= total;
                }
            }
        }
    }
}

/// `e^x`, in place.
struct Power;

impl<T: Float> Elementwise<T, 0, 1> for Power {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, []: [T::V<S>; 0], [x]: [T::V<S>; 1]) -> [T::V<S>; 1] {
        [exp::<S, T>(s, x)]
    }
}

/// `gap + ln(1 + excess)`, in place of `excess`.
struct GapPlusLn1p;

impl<T: Float> Elementwise<T, 1, 1> for GapPlusLn1p {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, [gap]: [T::V<S>; 1], [excess]: [T::V<S>; 1]) -> [T::V<S>; 1] {
        [T::add(s, gap, ln_1p::<S, T>(s, excess))]
    }
}

/// `rest + at_label - 1`, which is `rest` itself where the label has the greatest logit. Never negative: where
/// the label has not, `rest` holds a 1.
#[inline(always)]
fn excess<T: Float>(mut rest: T, at_label: T) -> T {
    let mut missing = T::ONE;
    missing -= at_label;
    rest -= missing;
    rest
}

/// Takes the greatest element away from all. A NaN may or may not be taken for the greatest: the row's sum
/// is NaN in either case.
#[inline(always)]
fn subtract_greatest<T: Float>(row: &mut [T]) {
    let greatest = greatest(row);
    for x in row {
        *x -= greatest;
    }
}

/// The greatest element that is not NaN; -Inf if there is none.
#[inline(always)]
fn greatest<T: Float>(row: &[T]) -> T {
    let keep_greater = |lane: &mut T, x| {
        if *lane < x {
            *lane = x;
        }
    };
    let mut lanes = [-T::INFINITY; LANES];
    gather(&mut lanes, row, keep_greater);
    fold(lanes, keep_greater)
}

/// The sum of elements none of which is -0, in [`LANES`] lanes.
#[inline(always)]
fn sum<T: Float>(row: &[T]) -> T {
    let mut lanes = [T::ZERO; LANES];
    gather(&mut lanes, row, T::add_assign);
    fold(lanes, T::add_assign)
}

/// Combines element `j` into lane `j % LANES`.
#[inline(always)]
fn gather<T: Float>(lanes: &mut [T; LANES], x: &[T], combine: impl Fn(&mut T, T)) {
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
fn fold<T: Float>(mut lanes: [T; LANES], combine: impl Fn(&mut T, T)) -> T {
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

/// Index of the first NaN, or else of the first greatest element, of a row that is not empty.
fn first_greatest<T: Float>(row: &[T]) -> u32 {
    let is_nan = |x: T| x.partial_cmp(&x).is_none();
    let (mut greatest, mut at) = (-T::INFINITY, 0);
    for (j, &x) in (0..).zip(row) {
        if is_nan(x) {
            return j;
        }
        if greatest < x {
            (greatest, at) = (x, j);
        }
    }
    at
}

#[cfg(test)]
mod tests;
