//! The class that a row of logits answers with. Called by the evaluation of a network, and by the hinge loss.

use crate::row::block;
use crate::simd::Float;
use crate::{Cpu, Error, error::check_length};

/// `answers[i]` is the class of the greatest of `logits[i, ..]`, the first of equals; `logits` is
/// `[answers.len(), classes]`.
///
/// -0 and +0 are equal. A NaN counts as greater than every number, as in NumPy and PyTorch: the first NaN is the
/// answer.
///
/// ```
/// use kernels::{Cpu, argmax::argmax};
/// let mut answers = [0; 2];
/// argmax(Cpu::detect(), &[0.1_f32, 0.7, 0.2, 0.5, 0.5, 0.0], 3, &mut answers)?;
/// assert_eq!(answers, [1, 0]);
/// # Ok::<(), kernels::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] if `logits` is not `answers.len() * classes` long, or if `classes` is 0 and there are answers
/// to give.
#[inline(never)]
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

/// Index of the first NaN, or else of the first greatest element, of a row that is not empty.
#[inline(always)]
pub(crate) fn first_greatest<T: Float>(row: &[T]) -> u32 {
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
