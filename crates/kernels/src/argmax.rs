//! Argmax of the rows of a matrix of logits. Called by the evaluation of a network, and by the
//! hinge loss.

use crate::row::block;
use crate::simd::Float;
use crate::{Cpu, Error, error::check_length};

/// Sets `predictions[i]` to the class of the maximum of `logits[i, ..]`, the first of equals;
/// `logits` is `[predictions.len(), classes]`.
///
/// -0 and +0 are equal. A NaN counts as greater than every number, as in NumPy and PyTorch: the
/// first NaN is the maximum.
///
/// ```
/// use kernels::{Cpu, argmax::argmax};
/// let mut predictions = [0; 2];
/// argmax(Cpu::detect(), &[0.1_f32, 0.7, 0.2, 0.5, 0.5, 0.0], 3, &mut predictions)?;
/// assert_eq!(predictions, [1, 0]);
/// # Ok::<(), kernels::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] if `logits` does not have `predictions.len() * classes` elements, or if
/// `classes` is 0 and there are rows.
#[inline(never)]
pub fn argmax<T: Float>(
    cpu: Cpu<'_>,
    logits: &[T],
    classes: usize,
    predictions: &mut [u32],
) -> Result<(), Error> {
    if classes == 0 && !predictions.is_empty() {
        return Err(Error::Length { operand: "classes", expected: 1, got: 0 });
    }
    check_length("logits", predictions.len().saturating_mul(classes), logits.len())?;
    let (rows, block) = block(classes);
    let blocks = logits.chunks(block).zip(predictions.chunks_mut(rows));
    cpu.for_each_item(blocks, |(logits, predictions)| {
        for (row, prediction) in logits.chunks_exact(classes).zip(predictions) {
            *prediction = row_argmax(row);
        }
    });
    Ok(())
}

/// Index of the first NaN, otherwise of the first maximum, of a non-empty row.
#[inline(always)]
pub(crate) fn row_argmax<T: Float>(row: &[T]) -> u32 {
    let is_nan = |x: T| x.partial_cmp(&x).is_none();
    let (mut max, mut at) = (-T::INFINITY, 0);
    for (j, &x) in (0..).zip(row) {
        if is_nan(x) {
            return j;
        }
        if max < x {
            (max, at) = (x, j);
        }
    }
    at
}
