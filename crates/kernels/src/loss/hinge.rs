//! Multi-class hinge losses, from logits: linear support vector machines.
//!
//! ```text
//! for each row:  v = max(0, margin + z - z[label]), but 0 at the label
//!                    one-vs-rest: max(0, margin + z), but max(0, margin - z[label]) at the label
//!                loss = sum of v^p                                lanes in the order of `row`
//!                dz = derivative of v^p;  dz[label] = -sum of dz
//! ```
//!
//! Called by the loss of a network.

use super::check_labels;
use crate::argmax::row_argmax;
use crate::error::check_parameter;
use crate::row::{self, LANES, PIECE, block, fold, gather, within};
use crate::simd::{Float, Simd, WithSimd};
use crate::{Cpu, Error, error::check_length};

/// Hinge loss of each row of logits `z` and its label `y`: 0 as soon as the label's logit exceeds
/// the others by `margin`.
///
/// With p = 1, or 2 if `squared`, and `v[j] = max(0, margin + z[j] - z[y])`, [`HingeForm`] defines
/// the loss of a row. At the kink of `max` the derivative is 0. A NaN among the logits gives the
/// loss NaN; an infinite logit is compared like any other, and the difference of two infinities is
/// NaN.
///
/// ```
/// use kernels::{Cpu, loss::Hinge};
/// let (mut losses, mut dlogits) = ([0.0_f32; 1], [0.0; 4]);
/// let logits = [0.5, 1.0, 0.0, -3.0];
/// Hinge::default().gradient(Cpu::detect(), &logits, 4, &[1], 1.0, &mut losses, &mut dlogits)?;
/// assert_eq!((losses, dlogits), ([0.125], [0.25, -0.25, 0.0, 0.0]));
/// # Ok::<(), kernels::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hinge {
    /// Margin violations that count.
    pub form: HingeForm,
    /// Required lead of the label's logit: finite.
    pub margin: f64,
    /// `true` if violations are squared.
    pub squared: bool,
    /// Label of rows to ignore: their loss and their gradient are +0, whatever their logits.
    pub ignore: Option<u32>,
}

impl Default for Hinge {
    /// PyTorch's `MultiMarginLoss`: all classes, margin 1, not squared, no ignored rows.
    fn default() -> Self {
        Self { form: HingeForm::All, margin: 1.0, squared: false, ignore: None }
    }
}

/// Margin violations that a [`Hinge`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HingeForm {
    /// All other classes: `(sum over j != y of v[j]^p) / classes` (Weston and Watkins, 1999).
    /// PyTorch's `MultiMarginLoss`.
    All,
    /// The maximum: `max over j != y of v[j]^p`, the first of equals (Crammer and Singer, JMLR
    /// 2001).
    Max,
    /// One-vs-rest, one classifier per class:
    /// `max(0, margin - z[y])^p + sum over j != y of max(0, margin + z[j])^p`. Squared, it is the
    /// loss of scikit-learn's `LinearSVC`.
    OneAgainstRest,
}

impl Hinge {
    /// The losses of `logits`, `[rows, classes]`, for `labels`; `labels` and `losses` are `[rows]`.
    ///
    /// # Errors
    /// [`Error::Parameter`] if `margin` is non-finite; [`Error::Length`] if `losses` or `logits` do
    /// not match `labels` and `classes`, or if there are rows but no classes; [`Error::Label`] for
    /// the first label that is neither below `classes` nor ignored. Nothing is written then.
    #[inline(never)]
    pub fn losses<T: Float>(
        &self,
        cpu: Cpu<'_>,
        logits: &[T],
        classes: usize,
        labels: &[u32],
        losses: &mut [T],
    ) -> Result<(), Error> {
        self.check_operands(classes, labels, losses.len(), logits.len())?;
        let (rows, block) = block(classes);
        let blocks = logits.chunks(block).zip(labels.chunks(rows)).zip(losses.chunks_mut(rows));
        cpu.for_each_item(blocks, |((logits, labels), losses)| {
            cpu.isa.run(Losses { of: self, logits, classes, labels, losses });
        });
        Ok(())
    }

    /// The same losses; `dlogits`, `[rows, classes]`, becomes the gradient of their sum times
    /// `scale`.
    ///
    /// # Errors
    /// As [`losses`](Self::losses); also [`Error::Length`] if `dlogits` differs from `logits` in
    /// length.
    #[expect(clippy::too_many_arguments, reason = "four operands and the scale of a step")]
    #[inline(never)]
    pub fn gradient<T: Float>(
        &self,
        cpu: Cpu<'_>,
        logits: &[T],
        classes: usize,
        labels: &[u32],
        scale: T,
        losses: &mut [T],
        dlogits: &mut [T],
    ) -> Result<(), Error> {
        self.check_operands(classes, labels, losses.len(), logits.len())?;
        check_length("dlogits", logits.len(), dlogits.len())?;
        let (rows, block) = block(classes);
        let blocks = (logits.chunks(block).zip(labels.chunks(rows)))
            .zip(losses.chunks_mut(rows).zip(dlogits.chunks_mut(block)));
        cpu.for_each_item(blocks, |((logits, labels), (losses, dlogits))| {
            cpu.isa.run(Gradient { of: self, logits, classes, labels, scale, losses, dlogits });
        });
        Ok(())
    }

    /// Checks that `margin` is finite.
    ///
    /// # Errors
    /// [`Error::Parameter`] if it is not.
    pub fn check(&self) -> Result<(), Error> {
        check_parameter("margin", self.margin, "finite", |_| true)
    }

    /// Checks the operands that both methods share.
    fn check_operands(
        &self,
        classes: usize,
        labels: &[u32],
        losses: usize,
        logits: usize,
    ) -> Result<(), Error> {
        self.check()?;
        check_length("losses", labels.len(), losses)?;
        check_labels(labels, classes, self.ignore)?;
        if classes == 0 && !labels.is_empty() {
            return Err(Error::Length { operand: "classes", expected: 1, got: 0 });
        }
        check_length("logits", labels.len().saturating_mul(classes), logits)
    }

    /// Divisor of the loss.
    #[inline(always)]
    fn divisor<T: Float>(&self, classes: usize) -> T {
        T::from_f64(if self.form == HingeForm::All { classes as f64 } else { 1.0 })
    }

    /// Computes the violations `v` of the classes from `start` on. `row` is all logits of the row.
    #[inline(always)]
    fn violations<T: Float>(&self, row: &[T], label: usize, start: usize, v: &mut [T]) {
        let mut base = T::from_f64(self.margin);
        if self.form != HingeForm::OneAgainstRest {
            base -= row[label];
        }
        for (v, &z) in v.iter_mut().zip(&row[start..]) {
            *v = not_below_zero(base, z);
        }
        if let Some(v) = within(v, start, label) {
            *v = match self.form {
                HingeForm::OneAgainstRest => not_below_zero(base, -row[label]),
                HingeForm::All | HingeForm::Max => T::ZERO,
            };
        }
    }

    /// `v^p`.
    #[inline(always)]
    fn power<T: Float>(&self, mut v: T) -> T {
        if self.squared {
            v *= v;
        }
        v
    }

    /// The derivative of `v^p`.
    #[inline(always)]
    fn slope<T: Float>(&self, mut v: T) -> T {
        if self.squared {
            v += v;
        } else if v > T::ZERO {
            v = T::ONE;
        }
        v
    }
}

/// `max(x + y, 0)`; NaN stays NaN.
#[inline(always)]
fn not_below_zero<T: Float>(x: T, y: T) -> T {
    let mut sum = x;
    sum += y;
    if sum <= T::ZERO { T::ZERO } else { sum }
}

/// Running sum or maximum of a row's violations.
struct RowLoss<T> {
    /// Sum of `v^p`, in lanes.
    lanes: [T; LANES],
    /// The maximum, or the first NaN.
    max: T,
    /// Class of the maximum; the label if nothing is violated.
    argmax: usize,
}

impl<T: Float> RowLoss<T> {
    #[inline(always)]
    fn new(label: usize) -> Self {
        Self { lanes: [T::ZERO; LANES], max: T::ZERO, argmax: label }
    }

    /// Adds the violations `v` of the classes from `start` on.
    #[inline(always)]
    fn add(&mut self, of: &Hinge, start: usize, v: &[T]) {
        if of.form != HingeForm::Max {
            return gather(&mut self.lanes, v, |lane, v| *lane += of.power(v));
        }
        let at = row_argmax(v) as usize;
        let is_nan = |x: T| x.partial_cmp(&x).is_none();
        if !is_nan(self.max) && (is_nan(v[at]) || self.max < v[at]) {
            (self.max, self.argmax) = (v[at], start + at);
        }
    }

    #[inline(always)]
    fn loss(self, of: &Hinge, classes: usize) -> T {
        let mut loss = match of.form {
            HingeForm::Max => of.power(self.max),
            HingeForm::All | HingeForm::OneAgainstRest => fold(self.lanes, T::add_assign),
        };
        loss /= of.divisor(classes);
        loss
    }
}

/// The losses of a block of rows.
struct Losses<'a, T> {
    of: &'a Hinge,
    logits: &'a [T],
    classes: usize,
    labels: &'a [u32],
    losses: &'a mut [T],
}

impl<T: Float> WithSimd for Losses<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { of, logits, classes, labels, losses } = self;
        for ((row, &label), loss) in logits.chunks_exact(classes).zip(labels).zip(losses) {
            if Some(label) == of.ignore {
                *loss = T::ZERO;
                continue;
            }
            let label = label as usize;
            let (mut row_loss, mut v) = (RowLoss::new(label), [T::ZERO; PIECE]);
            for (start, piece) in (0..).step_by(PIECE).zip(row.chunks(PIECE)) {
                let v = &mut v[..piece.len()];
                of.violations(row, label, start, v);
                row_loss.add(of, start, v);
            }
            *loss = row_loss.loss(of, classes);
        }
    }
}

/// The losses and the gradient of a block of rows.
struct Gradient<'a, T> {
    of: &'a Hinge,
    logits: &'a [T],
    classes: usize,
    labels: &'a [u32],
    scale: T,
    losses: &'a mut [T],
    dlogits: &'a mut [T],
}

impl<T: Float> WithSimd for Gradient<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { of, logits, classes, labels, scale, losses, dlogits } = self;
        let mut share = scale;
        share /= of.divisor(classes);
        let rows = logits.chunks_exact(classes).zip(dlogits.chunks_exact_mut(classes));
        for ((row, dz), (&label, loss)) in rows.zip(labels.iter().zip(losses)) {
            if Some(label) == of.ignore {
                *loss = T::ZERO;
                dz.fill(T::ZERO);
                continue;
            }
            let label = label as usize;
            let mut row_loss = RowLoss::new(label);
            for (start, v) in (0..).step_by(PIECE).zip(dz.chunks_mut(PIECE)) {
                of.violations(row, label, start, v);
                row_loss.add(of, start, v);
            }
            if of.form == HingeForm::Max {
                let mut slope = of.slope(row_loss.max);
                slope *= share;
                dz.fill(T::ZERO);
                dz[label] = -slope;
                dz[row_loss.argmax] = slope;
            } else {
                for dz in &mut *dz {
                    *dz = of.slope(*dz);
                    *dz *= share;
                }
                let pull = if of.form == HingeForm::All { row::sum(dz) } else { dz[label] };
                dz[label] = T::ZERO;
                dz[label] -= pull;
            }
            *loss = row_loss.loss(of, classes);
        }
    }
}
