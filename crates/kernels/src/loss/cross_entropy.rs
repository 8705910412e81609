//! Softmax cross-entropy from logits, with its gradient.
//!
//! ```text
//! for each block of rows                               in parallel
//!     for each tile of rows
//!         each row of a label:  gap = q * (max - z[label]);  exclude the label
//!                  otherwise:   gap = sum of q * (max - z);  exclude the first maximum
//!         all rows:             z = e^(z - max), but 0 where excluded;  rest = sum of z
//!         each row:             dz = z * share - scale * q      share = scale * weight / total
//!         all rows:             loss = gap + weight * ln(1 + excess)        total = 1 + excess
//! ```
//!
//! Excluding one exponential from the sum keeps what a confident network still has to learn. With p
//! near 1, both `-ln p` and `p - 1` come from `rest` and keep all their digits, where `ln(total)`
//! and `p - 1` would have rounded to 0. With a label alone, the label's exponential is excluded.
//! Otherwise it is the maximum's, which is 1; the gradient there subtracts the sum of the other `q`
//! in place of its own.
//!
//! Sums along a row have the order of `row`: eight virtual lanes.

use super::check_labels;
use crate::elementwise::{Elementwise, along};
use crate::error::check_parameter;
use crate::math::ln::ln_1p;
use crate::row::{self, Exponentials, LANES, PIECE, TILE, block, fold, gather, tile_rows, within};
use crate::simd::{Float, Simd, WithSimd};
use crate::{Cpu, Error, error::check_length};

/// Cross-entropy of the softmax of each row of logits and its target (PyTorch's
/// `CrossEntropyLoss`).
///
/// ```text
/// q[i, j]       = weights[j] * ((1 - smoothing) * target[i, j] + smoothing / classes)
/// losses[i]     = sum over j of q[i, j] * (ln(sum over k of e^logits[i, k]) - logits[i, j])
/// dlogits[i, j] = scale * (softmax(logits[i])[j] * (sum over k of q[i, k]) - q[i, j])
/// ```
///
/// `target[i]` is the row's distribution, or 1 at its label and 0 elsewhere. Losses are in nats,
/// and never negative where `weights` and targets are not.
///
/// No finite logits overflow, and a loss near 0 is as accurate as a large one. A row with NaN or
/// +Inf, or with -Inf alone, has the loss NaN and a gradient of NaN. -Inf elsewhere is a
/// probability of 0, and a loss of +Inf if its `q` is not 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CrossEntropy<'a, T> {
    /// Label smoothing: the part of each target that is uniform over all classes, in `[0, 1]`
    /// (Szegedy et al., CVPR 2016).
    pub smoothing: f64,
    /// Weight per class, `[classes]`; 1 for each if `None`.
    pub weights: Option<&'a [T]>,
    /// Label of rows to ignore: their loss and their gradient are +0, whatever their logits.
    /// PyTorch's `ignore_index`.
    pub ignore: Option<u32>,
}

impl<T> Default for CrossEntropy<'_, T> {
    /// No smoothing, no weights, no ignored rows.
    fn default() -> Self {
        Self { smoothing: 0.0, weights: None, ignore: None }
    }
}

/// Targets of the rows of logits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Targets<'a, T> {
    /// One class per row, `[rows]`.
    Labels(&'a [u32]),
    /// One distribution per row, `[rows, classes]`. It need not sum to 1.
    Distributions(&'a [T]),
}

impl<T: Float> CrossEntropy<'_, T> {
    /// The losses of `logits`, `[rows, classes]`, for `targets`; `losses` is `[rows]`.
    ///
    /// # Errors
    /// [`Error::Parameter`] if `smoothing` is out of range; [`Error::Length`] if `weights` is not
    /// `[classes]`, if `targets` or `logits` do not match `losses` and `classes`, or if there are
    /// rows but no classes; [`Error::Label`] for the first label that is neither below `classes`
    /// nor ignored. Nothing is written then.
    #[inline(never)]
    pub fn losses(
        &self,
        cpu: Cpu<'_>,
        logits: &[T],
        classes: usize,
        targets: Targets<'_, T>,
        losses: &mut [T],
    ) -> Result<(), Error> {
        self.check_operands(classes, targets, losses.len(), logits.len())?;
        let (rows, block) = block(classes);
        let blocks =
            logits.chunks(block).zip(targets.blocks(rows, block)).zip(losses.chunks_mut(rows));
        cpu.for_each_item(blocks, |((logits, targets), losses)| {
            cpu.isa.run(Losses { of: self, logits, classes, targets, losses });
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
    pub fn gradient(
        &self,
        cpu: Cpu<'_>,
        logits: &[T],
        classes: usize,
        targets: Targets<'_, T>,
        scale: T,
        losses: &mut [T],
        dlogits: &mut [T],
    ) -> Result<(), Error> {
        self.check_operands(classes, targets, losses.len(), logits.len())?;
        check_length("dlogits", logits.len(), dlogits.len())?;
        let (rows, block) = block(classes);
        let blocks = (logits.chunks(block).zip(targets.blocks(rows, block)))
            .zip(losses.chunks_mut(rows).zip(dlogits.chunks_mut(block)));
        cpu.for_each_item(blocks, |((logits, targets), (losses, z))| {
            cpu.isa.run(Gradient {
                of: self,
                logits: Some(logits),
                z,
                classes,
                targets,
                scale,
                losses,
            });
        });
        Ok(())
    }

    /// [`gradient`](Self::gradient) in place of the logits: the same bits, half the memory.
    ///
    /// # Errors
    /// As [`losses`](Self::losses).
    #[inline(never)]
    pub fn gradient_in_place(
        &self,
        cpu: Cpu<'_>,
        logits: &mut [T],
        classes: usize,
        targets: Targets<'_, T>,
        scale: T,
        losses: &mut [T],
    ) -> Result<(), Error> {
        self.check_operands(classes, targets, losses.len(), logits.len())?;
        let (rows, block) = block(classes);
        let blocks =
            logits.chunks_mut(block).zip(targets.blocks(rows, block)).zip(losses.chunks_mut(rows));
        cpu.for_each_item(blocks, |((z, targets), losses)| {
            cpu.isa.run(Gradient { of: self, logits: None, z, classes, targets, scale, losses });
        });
        Ok(())
    }

    /// The divisor of PyTorch's `reduction='mean'`, whose inverse is `scale`: the sum of the
    /// labels' weights without ignored rows, or the number of distributions. Added in ascending
    /// order, in f64.
    ///
    /// # Errors
    /// [`Error::Length`] if `weights` is not `[classes]`, or if `targets` is not a whole number of
    /// rows; [`Error::Label`] as for [`losses`](Self::losses).
    pub fn total_weight(&self, classes: usize, targets: Targets<'_, T>) -> Result<f64, Error> {
        self.check_weights(classes)?;
        match targets {
            Targets::Labels(labels) => {
                check_labels(labels, classes, self.ignore)?;
                let counted = labels.iter().filter(|label| Some(**label) != self.ignore);
                Ok(counted.fold(0.0, |total, &label| total + self.weight(label as usize).to_f64()))
            }
            Targets::Distributions(targets) => {
                check_length("targets", targets.len() / classes.max(1) * classes, targets.len())?;
                Ok(targets.len().checked_div(classes).unwrap_or(0) as f64)
            }
        }
    }

    /// Checks that `smoothing` is in range.
    ///
    /// # Errors
    /// [`Error::Parameter`] if it is not.
    pub fn check(&self) -> Result<(), Error> {
        check_parameter("smoothing", self.smoothing, "in [0, 1]", |x| (0.0..=1.0).contains(&x))
    }

    /// Checks the operands that all forms of the loss share.
    fn check_operands(
        &self,
        classes: usize,
        targets: Targets<'_, T>,
        rows: usize,
        logits: usize,
    ) -> Result<(), Error> {
        self.check()?;
        self.check_weights(classes)?;
        if let Targets::Labels(labels) = targets {
            check_length("losses", labels.len(), rows)?;
            check_labels(labels, classes, self.ignore)?;
        }
        if classes == 0 && rows > 0 {
            return Err(Error::Length { operand: "classes", expected: 1, got: 0 });
        }
        let elements = rows.saturating_mul(classes);
        check_length("logits", elements, logits)?;
        if let Targets::Distributions(targets) = targets {
            check_length("targets", elements, targets.len())?;
        }
        Ok(())
    }

    fn check_weights(&self, classes: usize) -> Result<(), Error> {
        self.weights.map_or(Ok(()), |weights| check_length("weights", classes, weights.len()))
    }

    /// The weight of a class.
    #[inline(always)]
    fn weight(&self, class: usize) -> T {
        self.weights.map_or(T::ONE, |weights| weights[class])
    }
}

impl<'a, T: Float> Targets<'a, T> {
    /// Splits the targets into blocks of `rows` rows, `block` logits each.
    fn blocks(self, rows: usize, block: usize) -> impl Iterator<Item = Targets<'a, T>> {
        let (labels, distributions): (&[u32], &[T]) = match self {
            Self::Labels(labels) => (labels, &[]),
            Self::Distributions(targets) => (&[], targets),
        };
        let labels = labels.chunks(rows).map(Targets::Labels);
        labels.chain(distributions.chunks(block).map(Targets::Distributions))
    }

    /// The targets of `rows` rows from `start` on.
    #[inline(always)]
    fn rows(self, start: usize, rows: usize, classes: usize) -> Self {
        match self {
            Self::Labels(labels) => Self::Labels(&labels[start..][..rows]),
            Self::Distributions(targets) => {
                Self::Distributions(&targets[start * classes..][..rows * classes])
            }
        }
    }
}

/// The losses of a block of rows.
struct Losses<'a, T> {
    of: &'a CrossEntropy<'a, T>,
    logits: &'a [T],
    classes: usize,
    targets: Targets<'a, T>,
    losses: &'a mut [T],
}

impl<T: Float> WithSimd for Losses<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { of, logits, classes, targets, losses } = self;
        let rows = tile_rows(classes);
        for (tile, losses) in losses.chunks_mut(rows).enumerate() {
            let start = tile * rows;
            let logits = &logits[start * classes..][..losses.len() * classes];
            let tile = Tile { of, classes, targets: targets.rows(start, losses.len(), classes) };
            let (mut exps, mut sums) = ([Exponentials::default(); TILE], TargetSums::default());
            tile.read(s, logits, &mut exps, &mut sums);
            row::sum_exp(s, logits, classes, &mut exps);
            tile.put_losses(s, &exps, &sums, losses);
        }
    }
}

/// The losses and the gradient of a block of rows.
struct Gradient<'a, T> {
    of: &'a CrossEntropy<'a, T>,
    /// The logits, unless they are in `z` already.
    logits: Option<&'a [T]>,
    /// The logits or scratch; becomes the gradient.
    z: &'a mut [T],
    classes: usize,
    targets: Targets<'a, T>,
    scale: T,
    losses: &'a mut [T],
}

impl<T: Float> WithSimd for Gradient<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { of, logits, z, classes, targets, scale, losses } = self;
        let rows = tile_rows(classes);
        for (tile, (z, losses)) in
            z.chunks_mut(rows * classes).zip(losses.chunks_mut(rows)).enumerate()
        {
            let start = tile * rows;
            let logits = logits.map(|logits| &logits[start * classes..][..z.len()]);
            let tile = Tile { of, classes, targets: targets.rows(start, losses.len(), classes) };
            let (mut exps, mut sums) = ([Exponentials::default(); TILE], TargetSums::default());
            tile.read(s, logits.unwrap_or(z), &mut exps, &mut sums);
            row::exponentiate(s, logits, z, classes, &mut exps);
            tile.put_losses(s, &exps, &sums, losses);
            tile.put_gradient(s, &exps, &sums, scale, z);
        }
    }
}

/// Rows that are computed together.
struct Tile<'a, T> {
    of: &'a CrossEntropy<'a, T>,
    classes: usize,
    targets: Targets<'a, T>,
}

/// Sums of each row over the weighted targets `q`.
#[derive(Default)]
struct TargetSums<T> {
    /// Sum of `q * (max - z)`.
    gaps: [T; TILE],
    /// Sum of `q`.
    weights: [T; TILE],
    /// Sum of `q` without the excluded class.
    others: [T; TILE],
}

impl<T: Float> Tile<'_, T> {
    /// Reads maxima and weighted targets, before any exponential.
    #[inline(always)]
    fn read<S: Simd>(
        &self,
        s: S,
        logits: &[T],
        exps: &mut [Exponentials<T>; TILE],
        sums: &mut TargetSums<T>,
    ) {
        for (i, (row, exps)) in logits.chunks_exact(self.classes).zip(exps).enumerate() {
            match self.target(i) {
                Target::Ignored => {}
                Target::Label(label) => {
                    *exps = Exponentials::excluding(s, row, label);
                    sums.weights[i] = self.of.weight(label);
                    sums.gaps[i] = term(sums.weights[i], exps.max, row[label]);
                }
                Target::Weighted(weighted) => {
                    *exps = Exponentials::excluding_max(s, row);
                    (sums.gaps[i], sums.weights[i], sums.others[i]) = weighted.sums(row, exps);
                }
            }
        }
    }

    #[inline(always)]
    fn put_losses<S: Simd>(
        &self,
        s: S,
        exps: &[Exponentials<T>; TILE],
        sums: &TargetSums<T>,
        losses: &mut [T],
    ) {
        for (loss, exps) in losses.iter_mut().zip(exps) {
            *loss = exps.excess();
        }
        along(s, &Loss, [&sums.gaps, &sums.weights], [&mut *losses]);
        if let (Some(ignored), Targets::Labels(labels)) = (self.of.ignore, self.targets) {
            for (loss, _) in losses.iter_mut().zip(labels).filter(|(_, label)| **label == ignored) {
                *loss = T::ZERO;
            }
        }
    }

    /// `z` holds the exponentials, 0 where excluded, and becomes the gradient.
    #[inline(always)]
    fn put_gradient<S: Simd>(
        &self,
        s: S,
        exps: &[Exponentials<T>; TILE],
        sums: &TargetSums<T>,
        scale: T,
        z: &mut [T],
    ) {
        for (i, (row, exps)) in z.chunks_exact_mut(self.classes).zip(exps).enumerate() {
            let mut share = scale;
            share *= sums.weights[i];
            share /= exps.total();
            match self.target(i) {
                Target::Ignored => row.fill(T::ZERO),
                Target::Label(label) => {
                    for dz in &mut *row {
                        *dz *= share;
                    }
                    // Written last: a load after an overlapping store would have to wait for it.
                    row[label] = -exps.rest;
                    row[label] *= share;
                }
                Target::Weighted(weighted) => {
                    row[exps.excluded] = -exps.rest;
                    let mut buffer = [T::ZERO; PIECE];
                    for (start, piece) in (0..).step_by(PIECE).zip(row.chunks_mut(PIECE)) {
                        let buffer = &mut buffer[..piece.len()];
                        weighted.fill(start, buffer);
                        if let Some(q) = within(buffer, start, exps.excluded) {
                            *q = -sums.others[i];
                        }
                        along(s, &LogitGradient { share, scale }, [buffer], [piece]);
                    }
                }
            }
        }
    }

    /// The target of row `i`.
    #[inline(always)]
    fn target(&self, i: usize) -> Target<'_, T> {
        let &Self { of, classes, targets } = self;
        let target = match targets {
            Targets::Labels(labels) if Some(labels[i]) == of.ignore => return Target::Ignored,
            Targets::Labels(labels) if of.smoothing == 0.0 => {
                return Target::Label(labels[i] as usize);
            }
            Targets::Labels(labels) => Err(labels[i] as usize),
            Targets::Distributions(targets) => Ok(&targets[i * classes..][..classes]),
        };
        Target::Weighted(Weighted {
            target,
            hard: T::from_f64(1.0 - of.smoothing),
            uniform: T::from_f64(of.smoothing / classes as f64),
            weights: of.weights,
        })
    }
}

/// Target of a row.
enum Target<'a, T> {
    Ignored,
    /// The class, with its full weight.
    Label(usize),
    /// A weighted target for each class.
    Weighted(Weighted<'a, T>),
}

/// Weighted target of each class: `q = weight * (hard * target + uniform)`, each operation rounded.
struct Weighted<'a, T> {
    /// `Ok`: a distribution. `Err`: a label, where the target is 1, and 0 elsewhere.
    target: Result<&'a [T], usize>,
    /// 1 - smoothing.
    hard: T,
    /// smoothing / classes.
    uniform: T,
    weights: Option<&'a [T]>,
}

impl<T: Float> Weighted<'_, T> {
    /// Computes `q` of the classes from `start` on.
    #[inline(always)]
    fn fill(&self, start: usize, q: &mut [T]) {
        match self.target {
            Ok(target) => {
                for (q, &target) in q.iter_mut().zip(&target[start..]) {
                    *q = target;
                    *q *= self.hard;
                    *q += self.uniform;
                }
            }
            Err(label) => {
                q.fill(self.uniform);
                if let Some(q) = within(q, start, label) {
                    *q += self.hard;
                }
            }
        }
        if let Some(weights) = self.weights {
            for (q, &weight) in q.iter_mut().zip(&weights[start..]) {
                *q *= weight;
            }
        }
    }

    /// The sums of a row for [`TargetSums`]: gap, weight, and weight of the others.
    #[inline(always)]
    fn sums(&self, row: &[T], exps: &Exponentials<T>) -> (T, T, T) {
        let (mut gaps, mut others, mut excluded) = ([T::ZERO; LANES], [T::ZERO; LANES], T::ZERO);
        let (mut q, mut terms) = ([T::ZERO; PIECE], [T::ZERO; PIECE]);
        for (start, piece) in (0..).step_by(PIECE).zip(row.chunks(PIECE)) {
            let (q, terms) = (&mut q[..piece.len()], &mut terms[..piece.len()]);
            self.fill(start, q);
            for ((out, &q), &z) in terms.iter_mut().zip(&*q).zip(piece) {
                *out = term(q, exps.max, z);
            }
            gather(&mut gaps, terms, T::add_assign);
            if let Some(q) = within(q, start, exps.excluded) {
                excluded = core::mem::replace(q, T::ZERO);
            }
            gather(&mut others, q, T::add_assign);
        }
        let others = fold(others, T::add_assign);
        let mut weight = others;
        weight += excluded;
        (fold(gaps, T::add_assign), weight, others)
    }
}

/// `q * (max - z)`, or 0 where `q` is 0, even if `z` is -Inf.
#[inline(always)]
fn term<T: Float>(q: T, max: T, z: T) -> T {
    let mut term = max;
    term -= z;
    term *= q;
    if q == T::ZERO { T::ZERO } else { term }
}

/// `gap + weight * ln(1 + excess)`, in place of `excess`.
struct Loss;

impl<T: Float> Elementwise<T, 2, 1> for Loss {
    #[inline(always)]
    fn apply<S: Simd>(
        &self,
        s: S,
        [gap, weight]: [T::V<S>; 2],
        [excess]: [T::V<S>; 1],
    ) -> [T::V<S>; 1] {
        [T::mul_add(s, weight, ln_1p::<S, T>(s, excess), gap)]
    }
}

/// `exp * share - scale * q`, the first product fused with the subtraction, in place of `exp`.
struct LogitGradient<T> {
    share: T,
    scale: T,
}

impl<T: Float> Elementwise<T, 1, 1> for LogitGradient<T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, [q]: [T::V<S>; 1], [exp]: [T::V<S>; 1]) -> [T::V<S>; 1] {
        let less = T::mul(s, T::splat(s, -self.scale), q);
        [T::mul_add(s, exp, T::splat(s, self.share), less)]
    }
}
