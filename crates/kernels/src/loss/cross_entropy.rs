//! Softmax cross-entropy from logits, with its gradient.
//!
//! ```text
//! for each block of rows                               on any thread
//!     for each tile of rows
//!         each row of labels:   gap = greatest - z[label];  leave the label out
//!                   of others:  gap = sum of stake * (greatest - z);  leave the first greatest z out
//!         all rows:             z = e^(z - greatest), but 0 where it is left out;  rest = sum of z
//!         each row:             dz = z * share - scale * stake          share = scale * weight / total
//!         all rows:             loss = gap + weight * ln(1 + excess)    total = 1 + excess
//! ```
//!
//! Leaving one power out of the sum keeps what a confident network still has to learn: with p near 1, both `-ln p` and
//! `p - 1` come from `rest` and keep all their digits, where `ln(total)` and `p - 1` would have rounded to 0. Against a
//! label alone, it is the label's; else the greatest, which is 1, and what the gradient there lacks of `-stake` is the sum of
//! the other stakes.
//!
//! Sums along a row have the order of `row`: eight virtual lanes.

use super::check_labels;
use crate::elementwise::{Elementwise, along};
use crate::error::check_parameter;
use crate::math::ln::ln_1p;
use crate::row::{self, LANES, PIECE, Powers, TILE, block, fold, gather, tile_rows, within};
use crate::simd::{Float, Simd, WithSimd};
use crate::{Cpu, Error, error::check_length};

/// Cross-entropy of the softmax of each row of logits against its target, from logits (PyTorch's `CrossEntropyLoss`).
///
/// ```text
/// q[i, j]       = weights[j] * ((1 - smoothing) * target[i, j] + smoothing / classes)
/// losses[i]     = sum over j of q[i, j] * (ln(sum over k of e^logits[i, k]) - logits[i, j])
/// dlogits[i, j] = scale * (softmax(logits[i])[j] * (sum over k of q[i, k]) - q[i, j])
/// ```
///
/// where `target[i]` is the row's distribution, or 1 at its label and 0 elsewhere. Losses are in nats, and never negative
/// where `weights` and targets are not.
///
/// No finite logits overflow, and a loss near 0 is as accurate as a large one. A row with NaN or +Inf, or
/// with -Inf alone, has the loss NaN and a gradient of NaN; -Inf elsewhere is a probability of 0, and a loss of +Inf if
/// its `q` is not 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CrossEntropy<'a, T> {
    /// How much of each target is spread over all classes: in `[0, 1]` (Szegedy et al., CVPR 2016).
    pub smoothing: f64,
    /// One factor a class; none: 1 for each.
    pub weights: Option<&'a [T]>,
    /// The label of rows that do not count: their loss and their gradient are +0, whatever their logits.
    pub ignore: Option<u32>,
}

impl<T> Default for CrossEntropy<'_, T> {
    /// No smoothing, no weights; every row counts.
    fn default() -> Self {
        Self { smoothing: 0.0, weights: None, ignore: None }
    }
}

/// What the rows of logits shall become.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Targets<'a, T> {
    /// One class a row.
    Labels(&'a [u32]),
    /// One distribution a row, `[rows, classes]`. Nothing asks that it sums to 1.
    Distributions(&'a [T]),
}

impl<T: Float> CrossEntropy<'_, T> {
    /// The losses of `logits`, `[rows, classes]`, against `targets`; `losses` is `[rows]`.
    ///
    /// # Errors
    /// [`Error::Parameter`] if `smoothing` is out of range; [`Error::Length`] if `weights` is not `[classes]`, if
    /// `targets` or `logits` do not fit `losses` and `classes`, or if there are rows but no classes; [`Error::Label`] for the
    /// first label that is neither below `classes` nor ignored. Nothing has been written then.
    #[inline(never)]
    pub fn losses(
        &self,
        cpu: Cpu<'_>,
        logits: &[T],
        classes: usize,
        targets: Targets<'_, T>,
        losses: &mut [T],
    ) -> Result<(), Error> {
        self.check(classes, targets, losses.len(), logits.len())?;
        let (rows, block) = block(classes);
        let blocks = logits.chunks(block).zip(targets.blocks(rows, block)).zip(losses.chunks_mut(rows));
        cpu.for_each_item(blocks, |((logits, targets), losses)| {
            cpu.isa.run(Losses { of: self, logits, classes, targets, losses });
        });
        Ok(())
    }

    /// The same losses, and in `dlogits`, `[rows, classes]`, the gradient of their sum times `scale`.
    ///
    /// # Errors
    /// As [`losses`](Self::losses); and [`Error::Length`] if `dlogits` differs from `logits` in length.
    #[expect(clippy::too_many_arguments, reason = "four operands and what is known only at the step")]
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
        self.check(classes, targets, losses.len(), logits.len())?;
        check_length("dlogits", logits.len(), dlogits.len())?;
        let (rows, block) = block(classes);
        let blocks = (logits.chunks(block).zip(targets.blocks(rows, block)))
            .zip(losses.chunks_mut(rows).zip(dlogits.chunks_mut(block)));
        cpu.for_each_item(blocks, |((logits, targets), (losses, z))| {
            cpu.isa.run(Gradient { of: self, logits: Some(logits), z, classes, targets, scale, losses });
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
        self.check(classes, targets, losses.len(), logits.len())?;
        let (rows, block) = block(classes);
        let blocks = logits.chunks_mut(block).zip(targets.blocks(rows, block)).zip(losses.chunks_mut(rows));
        cpu.for_each_item(blocks, |((z, targets), losses)| {
            cpu.isa.run(Gradient { of: self, logits: None, z, classes, targets, scale, losses });
        });
        Ok(())
    }

    /// What PyTorch's `reduction='mean'` divides the sum of the losses by, so that `scale` is its inverse: the sum of the
    /// labels' weights, ignored rows left out, or the number of distributions. Added in ascending order, in f64.
    ///
    /// # Errors
    /// [`Error::Length`] if `weights` is not `[classes]`, or `targets` are no whole rows; [`Error::Label`] as for
    /// [`losses`](Self::losses).
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

    /// What all forms of the loss ask of their operands.
    fn check(
        &self,
        classes: usize,
        targets: Targets<'_, T>,
        rows: usize,
        logits: usize,
    ) -> Result<(), Error> {
        check_parameter("smoothing", self.smoothing, "in [0, 1]", |x| (0.0..=1.0).contains(&x))?;
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

    /// The factor of a class.
    #[inline(always)]
    fn weight(&self, class: usize) -> T {
        self.weights.map_or(T::ONE, |weights| weights[class])
    }
}

impl<'a, T: Float> Targets<'a, T> {
    /// The targets of each block of `rows` rows, `block` logits.
    fn blocks(self, rows: usize, block: usize) -> impl Iterator<Item = Targets<'a, T>> {
        let (labels, distributions): (&[u32], &[T]) = match self {
            Self::Labels(labels) => (labels, &[]),
            Self::Distributions(targets) => (&[], targets),
        };
        let labels = labels.chunks(rows).map(Targets::Labels);
        labels.chain(distributions.chunks(block).map(Targets::Distributions))
    }

    /// Those of `rows` rows from `start` on.
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
            let (mut powers, mut pulls) = ([Powers::default(); TILE], Pulls::default());
            tile.read(s, logits, &mut powers, &mut pulls);
            row::sum_powers(s, logits, classes, &mut powers);
            tile.put_losses(s, &powers, &pulls, losses);
        }
    }
}

/// The losses and the gradient of a block of rows.
struct Gradient<'a, T> {
    of: &'a CrossEntropy<'a, T>,
    /// The logits, if they are not in `z` already.
    logits: Option<&'a [T]>,
    /// Becomes the gradient.
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
        for (tile, (z, losses)) in z.chunks_mut(rows * classes).zip(losses.chunks_mut(rows)).enumerate() {
            let start = tile * rows;
            let logits = logits.map(|logits| &logits[start * classes..][..z.len()]);
            let tile = Tile { of, classes, targets: targets.rows(start, losses.len(), classes) };
            let (mut powers, mut pulls) = ([Powers::default(); TILE], Pulls::default());
            tile.read(s, logits.unwrap_or(z), &mut powers, &mut pulls);
            row::raise(s, logits, z, classes, &mut powers);
            tile.put_losses(s, &powers, &pulls, losses);
            tile.put_gradient(s, &powers, &pulls, scale, z);
        }
    }
}

/// Rows that are worked on together.
struct Tile<'a, T> {
    of: &'a CrossEntropy<'a, T>,
    classes: usize,
    targets: Targets<'a, T>,
}

/// What the target of each row adds to its [`Powers`].
#[derive(Default)]
struct Pulls<T> {
    /// The sum of `stake * (greatest - z)`.
    gaps: [T; TILE],
    /// The sum of the stakes.
    weights: [T; TILE],
    /// That of all but the one whose power is left out.
    others: [T; TILE],
}

impl<T: Float> Tile<'_, T> {
    /// What is known before powers are taken.
    #[inline(always)]
    fn read<S: Simd>(&self, s: S, logits: &[T], powers: &mut [Powers<T>; TILE], pulls: &mut Pulls<T>) {
        for (i, (row, powers)) in logits.chunks_exact(self.classes).zip(powers).enumerate() {
            match self.target(i) {
                Target::Ignored => {}
                Target::Label(label) => {
                    *powers = Powers::without(s, row, label);
                    pulls.weights[i] = self.of.weight(label);
                    pulls.gaps[i] = term(pulls.weights[i], powers.greatest, row[label]);
                }
                Target::Stakes(stakes) => {
                    *powers = Powers::without_greatest(s, row);
                    (pulls.gaps[i], pulls.weights[i], pulls.others[i]) = stakes.pull(row, powers);
                }
            }
        }
    }

    #[inline(always)]
    fn put_losses<S: Simd>(&self, s: S, powers: &[Powers<T>; TILE], pulls: &Pulls<T>, losses: &mut [T]) {
        for (loss, powers) in losses.iter_mut().zip(powers) {
            *loss = powers.excess();
        }
        along(s, &Loss, [&pulls.gaps, &pulls.weights], [&mut *losses]);
        if let (Some(ignored), Targets::Labels(labels)) = (self.of.ignore, self.targets) {
            for (loss, _) in losses.iter_mut().zip(labels).filter(|(_, label)| **label == ignored) {
                *loss = T::ZERO;
            }
        }
    }

    /// `z` holds powers, and 0 where one is left out.
    #[inline(always)]
    fn put_gradient<S: Simd>(
        &self,
        s: S,
        powers: &[Powers<T>; TILE],
        pulls: &Pulls<T>,
        scale: T,
        z: &mut [T],
    ) {
        for (i, (row, powers)) in z.chunks_exact_mut(self.classes).zip(powers).enumerate() {
            let mut share = scale;
            share *= pulls.weights[i];
            share /= powers.total();
            match self.target(i) {
                Target::Ignored => row.fill(T::ZERO),
                Target::Label(label) => {
                    for dz in &mut *row {
                        *dz *= share;
                    }
                    // Written last: a register that is read over it would have to wait for it.
                    row[label] = -powers.rest;
                    row[label] *= share;
                }
                Target::Stakes(stakes) => {
                    row[powers.at] = -powers.rest;
                    let mut buffer = [T::ZERO; PIECE];
                    for (start, piece) in (0..).step_by(PIECE).zip(row.chunks_mut(PIECE)) {
                        let buffer = &mut buffer[..piece.len()];
                        stakes.fill(start, buffer);
                        if let Some(stake) = within(buffer, start, powers.at) {
                            *stake = -pulls.others[i];
                        }
                        along(s, &ShareLessStake { share, scale }, [buffer], [piece]);
                    }
                }
            }
        }
    }

    /// What row `i` shall become.
    #[inline(always)]
    fn target(&self, i: usize) -> Target<'_, T> {
        let &Self { of, classes, targets } = self;
        let target = match targets {
            Targets::Labels(labels) if Some(labels[i]) == of.ignore => return Target::Ignored,
            Targets::Labels(labels) if of.smoothing == 0.0 => return Target::Label(labels[i] as usize),
            Targets::Labels(labels) => Err(labels[i] as usize),
            Targets::Distributions(targets) => Ok(&targets[i * classes..][..classes]),
        };
        Target::Stakes(Stakes {
            target,
            keep: T::from_f64(1.0 - of.smoothing),
            spread: T::from_f64(of.smoothing / classes as f64),
            weights: of.weights,
        })
    }
}

/// What a row shall become.
enum Target<'a, T> {
    Ignored,
    /// The class, all of it.
    Label(usize),
    /// Of each class a part.
    Stakes(Stakes<'a, T>),
}

/// The stake of each class in the loss of its row: `weight * (keep * target + spread)`, each operation rounded.
struct Stakes<'a, T> {
    /// A distribution; or a label, where the target is 1, and 0 elsewhere.
    target: Result<&'a [T], usize>,
    /// 1 - smoothing.
    keep: T,
    /// smoothing / classes.
    spread: T,
    weights: Option<&'a [T]>,
}

impl<T: Float> Stakes<'_, T> {
    /// Those of the classes from `start` on.
    #[inline(always)]
    fn fill(&self, start: usize, stakes: &mut [T]) {
        match self.target {
            Ok(target) => {
                for (stake, &target) in stakes.iter_mut().zip(&target[start..]) {
                    *stake = target;
                    *stake *= self.keep;
                    *stake += self.spread;
                }
            }
            Err(label) => {
                stakes.fill(self.spread);
                if let Some(stake) = within(stakes, start, label) {
                    *stake += self.keep;
                }
            }
        }
        if let Some(weights) = self.weights {
            for (stake, &weight) in stakes.iter_mut().zip(&weights[start..]) {
                *stake *= weight;
            }
        }
    }

    /// What [`Pulls`] has of a row, of which `powers` knows the greatest and where it stands.
    #[inline(always)]
    fn pull(&self, row: &[T], powers: &Powers<T>) -> (T, T, T) {
        let (mut gaps, mut others, mut at_greatest) = ([T::ZERO; LANES], [T::ZERO; LANES], T::ZERO);
        let (mut stakes, mut terms) = ([T::ZERO; PIECE], [T::ZERO; PIECE]);
        for (start, piece) in (0..).step_by(PIECE).zip(row.chunks(PIECE)) {
            let (stakes, terms) = (&mut stakes[..piece.len()], &mut terms[..piece.len()]);
            self.fill(start, stakes);
            for ((out, &stake), &z) in terms.iter_mut().zip(&*stakes).zip(piece) {
                *out = term(stake, powers.greatest, z);
            }
            gather(&mut gaps, terms, T::add_assign);
            if let Some(stake) = within(stakes, start, powers.at) {
                at_greatest = core::mem::replace(stake, T::ZERO);
            }
            gather(&mut others, stakes, T::add_assign);
        }
        let others = fold(others, T::add_assign);
        let mut weight = others;
        weight += at_greatest;
        (fold(gaps, T::add_assign), weight, others)
    }
}

/// `stake * (greatest - z)`, but 0 where there is no stake, however small `z` is.
#[inline(always)]
fn term<T: Float>(stake: T, greatest: T, z: T) -> T {
    let mut term = greatest;
    term -= z;
    term *= stake;
    if stake == T::ZERO { T::ZERO } else { term }
}

/// `gap + weight * ln(1 + excess)`, in place of `excess`.
struct Loss;

impl<T: Float> Elementwise<T, 2, 1> for Loss {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, [gap, weight]: [T::V<S>; 2], [excess]: [T::V<S>; 1]) -> [T::V<S>; 1] {
        [T::mul_add(s, weight, ln_1p::<S, T>(s, excess), gap)]
    }
}

/// `power * share - scale * stake`, the first product fused with the difference, in place of `power`.
struct ShareLessStake<T> {
    share: T,
    scale: T,
}

impl<T: Float> Elementwise<T, 1, 1> for ShareLessStake<T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, [stake]: [T::V<S>; 1], [power]: [T::V<S>; 1]) -> [T::V<S>; 1] {
        let less = T::mul(s, T::splat(s, -self.scale), stake);
        [T::mul_add(s, power, T::splat(s, self.share), less)]
    }
}
