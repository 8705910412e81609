//! Hinge losses of several classes, from logits: linear support vector machines.
//!
//! ```text
//! for each row:  v = max(0, margin + z - z[label]), but 0 at the label        one against the rest:
//!                                                                             max(0, margin + z), max(0, margin - z[label])
//!                loss = sum of v^p                                            eight lanes, in the order of `row`
//!                dz = slope of v^p;  dz[label] = -sum of dz
//! ```
//!
//! Called by the loss of a network.

use super::check_labels;
use crate::argmax::first_greatest;
use crate::error::check_parameter;
use crate::row::{self, LANES, PIECE, block, fold, gather, within};
use crate::simd::{Float, Simd, WithSimd};
use crate::{Cpu, Error, error::check_length};

/// Hinge loss of each row of logits `z` against its label `y`: 0 as soon as the label's logit is ahead by `margin`.
///
/// With p = 1, or 2 if `squared`, and `v[j] = max(0, margin + z[j] - z[y])`, the loss of a row is what [`HingeForm`] says.
/// Where a `max` has its kink, the slope 0 is taken. NaN flows: a NaN among the logits gives the loss NaN; an infinite
/// logit is compared like any other, and the difference of two is NaN.
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
    /// Which violations of the margin count.
    pub form: HingeForm,
    /// How far the label's logit shall be ahead: finite.
    pub margin: f64,
    /// Whether violations are squared.
    pub squared: bool,
    /// The label of rows that do not count: their loss and their gradient are +0, whatever their logits.
    pub ignore: Option<u32>,
}

impl Default for Hinge {
    /// PyTorch's `MultiMarginLoss`: the sum over all classes, margin 1, not squared; every row counts.
    fn default() -> Self {
        Self { form: HingeForm::All, margin: 1.0, squared: false, ignore: None }
    }
}

/// Which violations of the margin a [`Hinge`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HingeForm {
    /// Those of all other classes: `(sum over j != y of v[j]^p) / classes` (Weston and Watkins, 1999). PyTorch's
    /// `MultiMarginLoss`.
    All,
    /// The greatest: `max over j != y of v[j]^p`, the first of equals (Crammer and Singer, JMLR 2001).
    Greatest,
    /// Those of one classifier a class, the label's against all others': `max(0, margin - z[y])^p + sum over j != y of
    /// max(0, margin + z[j])^p`. Squared, it is the loss of scikit-learn's `LinearSVC`.
    OneAgainstRest,
}

impl Hinge {
    /// The losses of `logits`, `[rows, classes]`, against `labels`; both `labels` and `losses` are `[rows]`.
    ///
    /// # Errors
    /// [`Error::Parameter`] if `margin` is not finite; [`Error::Length`] if `losses` or `logits` do not fit `labels` and
    /// `classes`, or if there are rows but no classes; [`Error::Label`] for the first label that is neither below `classes` nor
    /// ignored. Nothing has been written then.
    #[inline(never)]
    pub fn losses<T: Float>(
        &self,
        cpu: Cpu<'_>,
        logits: &[T],
        classes: usize,
        labels: &[u32],
        losses: &mut [T],
    ) -> Result<(), Error> {
        self.check(classes, labels, losses.len(), logits.len())?;
        let (rows, block) = block(classes);
        let blocks = logits.chunks(block).zip(labels.chunks(rows)).zip(losses.chunks_mut(rows));
        cpu.for_each_item(blocks, |((logits, labels), losses)| {
            cpu.isa.run(Losses { of: self, logits, classes, labels, losses });
        });
        Ok(())
    }

    /// The same losses, and in `dlogits`, `[rows, classes]`, the gradient of their sum times `scale`.
    ///
    /// # Errors
    /// As [`losses`](Self::losses); and [`Error::Length`] if `dlogits` differs from `logits` in length.
    #[expect(clippy::too_many_arguments, reason = "four operands and what is known only at the step")]
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
        self.check(classes, labels, losses.len(), logits.len())?;
        check_length("dlogits", logits.len(), dlogits.len())?;
        let (rows, block) = block(classes);
        let blocks = (logits.chunks(block).zip(labels.chunks(rows)))
            .zip(losses.chunks_mut(rows).zip(dlogits.chunks_mut(block)));
        cpu.for_each_item(blocks, |((logits, labels), (losses, dlogits))| {
            cpu.isa.run(Gradient { of: self, logits, classes, labels, scale, losses, dlogits });
        });
        Ok(())
    }

    /// What both forms of the loss ask of their operands.
    fn check(&self, classes: usize, labels: &[u32], losses: usize, logits: usize) -> Result<(), Error> {
        check_parameter("margin", self.margin, "finite", |_| true)?;
        check_length("losses", labels.len(), losses)?;
        check_labels(labels, classes, self.ignore)?;
        if classes == 0 && !labels.is_empty() {
            return Err(Error::Length { operand: "classes", expected: 1, got: 0 });
        }
        check_length("logits", labels.len().saturating_mul(classes), logits)
    }

    /// What a loss is divided by.
    #[inline(always)]
    fn divisor<T: Float>(&self, classes: usize) -> T {
        T::from_f64(if self.form == HingeForm::All { classes as f64 } else { 1.0 })
    }

    /// The violations of the classes from `start` on: `row` is all logits, `v` is to be filled.
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
                HingeForm::All | HingeForm::Greatest => T::ZERO,
            };
        }
    }

    /// `v`, squared if need be.
    #[inline(always)]
    fn powered<T: Float>(&self, mut v: T) -> T {
        if self.squared {
            v *= v;
        }
        v
    }

    /// The slope of [`powered`](Self::powered).
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

/// `x + y`, or 0 where that is less.
#[inline(always)]
fn not_below_zero<T: Float>(x: T, y: T) -> T {
    let mut sum = x;
    sum += y;
    if sum <= T::ZERO { T::ZERO } else { sum }
}

/// What the violations of a row come to.
struct Tally<T> {
    /// The sum of their powers.
    lanes: [T; LANES],
    /// The greatest, or the first NaN.
    greatest: T,
    /// Its class; the label if nothing is violated.
    at: usize,
}

impl<T: Float> Tally<T> {
    #[inline(always)]
    fn new(label: usize) -> Self {
        Self { lanes: [T::ZERO; LANES], greatest: T::ZERO, at: label }
    }

    /// Counts the violations `v` of the classes from `start` on.
    #[inline(always)]
    fn add(&mut self, of: &Hinge, start: usize, v: &[T]) {
        if of.form != HingeForm::Greatest {
            return gather(&mut self.lanes, v, |lane, v| *lane += of.powered(v));
        }
        let at = first_greatest(v) as usize;
        let is_nan = |x: T| x.partial_cmp(&x).is_none();
        if !is_nan(self.greatest) && (is_nan(v[at]) || self.greatest < v[at]) {
            (self.greatest, self.at) = (v[at], start + at);
        }
    }

    #[inline(always)]
    fn loss(self, of: &Hinge, classes: usize) -> T {
        let mut loss = match of.form {
            HingeForm::Greatest => of.powered(self.greatest),
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
            let (mut tally, mut v) = (Tally::new(label), [T::ZERO; PIECE]);
            for (start, piece) in (0..).step_by(PIECE).zip(row.chunks(PIECE)) {
                let v = &mut v[..piece.len()];
                of.violations(row, label, start, v);
                tally.add(of, start, v);
            }
            *loss = tally.loss(of, classes);
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
            let mut tally = Tally::new(label);
            for (start, v) in (0..).step_by(PIECE).zip(dz.chunks_mut(PIECE)) {
                of.violations(row, label, start, v);
                tally.add(of, start, v);
            }
            if of.form == HingeForm::Greatest {
                let mut slope = of.slope(tally.greatest);
                slope *= share;
                dz.fill(T::ZERO);
                dz[label] = -slope;
                dz[tally.at] = slope;
            } else {
                for dz in &mut *dz {
                    *dz = of.slope(*dz);
                    *dz *= share;
                }
                let pull = if of.form == HingeForm::All { row::sum(dz) } else { dz[label] };
                dz[label] = T::ZERO;
                dz[label] -= pull;
            }
            *loss = tally.loss(of, classes);
        }
    }
}
