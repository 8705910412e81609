//! Pruning: weights that matter least become 0 while a network is trained, and stay 0; units that are left without any can be
//! taken out.
//!
//! ```text
//! every so many steps     sparsity = target * (1 - (1 - t)^3)     t from 0 to 1 between `begin` and `end`
//!                         the weights (or units) of least size become 0
//! every step              what was 0 before it is 0 after it
//! ```
//!
//! There is no mask to be saved: the zeros are the mask. [`compact`] makes the smaller network.

mod compact;

use alloc::vec::Vec;
use core::ops::Range;

pub use compact::{Compacted, compact};

use crate::error::{check_length, check_parameter};
use crate::layout::Layout;
use crate::schedule::Progress;
use crate::{Error, Float};

/// How a network is pruned while it is trained (Zhu, Gupta 2017, "To prune, or not to prune", for the schedule).
///
/// The weights of dense layers, convolutions, recurrent layers and attention are pruned; biases and normalisation only with the unit
/// that they belong to.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Pruning {
    /// The share that is 0 at the end: at least 0, below 1.
    pub sparsity: f64,
    /// What becomes 0.
    pub structure: Structure,
    /// What is compared with what.
    pub scope: Scope,
    /// Where in the run pruning begins: 0 to 1.
    pub begin: f64,
    /// Where it ends: not before it begins, at most 1.
    pub end: f64,
    /// Steps from one pruning to the next: at least 1.
    pub every: u64,
}

/// What becomes 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Structure {
    /// Single weights, by their size.
    #[default]
    Weights,
    /// Units and channels with all their weights, by the mean square of these, but for those of the last layer, which are the
    /// network's outputs.
    Units,
}

/// What is compared with what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Scope {
    /// The weights of each tensor with each other: the share is that of each.
    #[default]
    Tensor,
    /// All weights with each other.
    Network,
}

impl Default for Pruning {
    /// Half of the weights, over the second quarter to the third of the run, every hundred steps.
    fn default() -> Self {
        Self {
            sparsity: 0.5,
            structure: Structure::Weights,
            scope: Scope::Tensor,
            begin: 0.25,
            end: 0.75,
            every: 100,
        }
    }
}

impl Pruning {
    /// Whether its numbers are in range.
    ///
    /// # Errors
    /// [`kernels::Error::Parameter`] for the first that is not.
    pub fn check(&self) -> Result<(), Error> {
        let &Self { sparsity, begin, end, every, .. } = self;
        check_parameter("sparsity", "at least 0 and below 1", sparsity, (0.0..1.0).contains(&sparsity))?;
        check_parameter("begin", "0 to 1", begin, (0.0..=1.0).contains(&begin))?;
        check_parameter("end", "from `begin` to 1", end, (begin..=1.0).contains(&end))?;
        check_parameter("every", "at least 1", every as f64, every >= 1)
    }

    /// The share that is to be 0 after this step; `None` where nothing is pruned at it.
    pub fn sparsity_at(&self, progress: Progress) -> Option<f64> {
        let share = progress.share();
        if share < self.begin {
            return None;
        }
        // The first step at the end or past it is the last one that prunes.
        let past = |share: f64| share >= self.end;
        let last = past(share)
            && (progress.step == 0 || !past(Progress { step: progress.step - 1, ..progress }.share()));
        if !last && (past(share) || !progress.step.is_multiple_of(self.every)) {
            return None;
        }
        let t = if last { 1.0 } else { (share - self.begin) / (self.end - self.begin) };
        let left = 1.0 - t;
        Some(self.sparsity * (1.0 - left * left * left))
    }
}

/// Pruning at work on one network; its buffers are made once.
#[derive(Clone, Debug)]
pub struct Pruner {
    rule: Pruning,
    matrices: Vec<Matrix>,
    len: usize,
    /// What stays 0 in this step.
    zeros: Vec<bool>,
    /// Sizes and where they are: of weights in the flat buffer, of units in `units`.
    sizes: Vec<(f64, usize)>,
}

/// A tensor that is pruned, with the vectors that belong to its units.
#[derive(Clone, Debug)]
struct Matrix {
    range: Range<usize>,
    units: usize,
    vectors: Vec<Range<usize>>,
    /// The number of its first unit among those of all matrices.
    first: usize,
}

impl Matrix {
    /// The places of unit `unit` in the flat buffer: its weights.
    fn weights(&self, unit: usize) -> impl Iterator<Item = usize> + use<> {
        (self.range.start + unit..self.range.end).step_by(self.units)
    }

    /// Likewise, and its elements of the vectors.
    fn places(&self, unit: usize) -> impl Iterator<Item = usize> + '_ {
        self.weights(unit).chain(self.vectors.iter().map(move |vector| vector.start + unit))
    }
}

/// The matrices of a layout, each with the vectors of as many elements that follow before the next: bias, normalisation.
fn matrices(layout: &Layout) -> Vec<Matrix> {
    let mut matrices: Vec<Matrix> = Vec::new();
    for tensor in layout.tensors() {
        match (tensor.matrix(), matrices.last_mut()) {
            (Some([_, units]), last) => {
                let first = last.map_or(0, |matrix| matrix.first + matrix.units);
                matrices.push(Matrix { range: tensor.range.clone(), units, vectors: Vec::new(), first });
            }
            (None, Some(matrix)) if tensor.range.len() == matrix.units => {
                matrix.vectors.push(tensor.range.clone());
            }
            _ => {}
        }
    }
    matrices
}

impl Pruner {
    /// For parameters of this layout.
    ///
    /// # Errors
    /// What [`Pruning::check`] says.
    pub fn new(layout: &Layout, rule: Pruning) -> Result<Self, Error> {
        rule.check()?;
        let mut matrices = matrices(layout);
        if rule.structure == Structure::Units {
            matrices.pop();
        }
        let sizes = matrices.iter().map(|matrix| match rule.structure {
            Structure::Weights => matrix.range.len(),
            Structure::Units => matrix.units,
        });
        let sizes = Vec::with_capacity(sizes.sum());
        Ok(Self { rule, matrices, len: layout.len(), zeros: alloc::vec![false; layout.len()], sizes })
    }

    /// Before a step: notes what is 0.
    ///
    /// # Errors
    /// [`Error::Length`] if `params` is not as long as the layout.
    pub fn note<T: Float>(&mut self, progress: Progress, params: &[T]) -> Result<(), Error> {
        check_length("params", self.len, params.len())?;
        self.zeros.fill(false);
        if progress.share() < self.rule.begin {
            return Ok(());
        }
        for matrix in &self.matrices {
            match self.rule.structure {
                Structure::Weights => {
                    let range = matrix.range.clone();
                    for (zero, weight) in self.zeros[range.clone()].iter_mut().zip(&params[range]) {
                        *zero = *weight == T::ZERO;
                    }
                }
                Structure::Units => {
                    for unit in 0..matrix.units {
                        let dead = matrix.weights(unit).all(|place| params[place] == T::ZERO);
                        matrix.places(unit).for_each(|place| self.zeros[place] = dead);
                    }
                }
            }
        }
        Ok(())
    }

    /// After a step: what was 0 is 0 again, and if it is time, more is.
    ///
    /// # Errors
    /// [`Error::Length`] if `params` is not as long as the layout.
    pub fn prune<T: Float>(&mut self, progress: Progress, params: &mut [T]) -> Result<(), Error> {
        check_length("params", self.len, params.len())?;
        for (param, &zero) in params.iter_mut().zip(&self.zeros) {
            if zero {
                *param = T::ZERO;
            }
        }
        let Some(sparsity) = self.rule.sparsity_at(progress) else { return Ok(()) };
        let groups = match self.rule.scope {
            Scope::Tensor => self.matrices.len(),
            Scope::Network => 1,
        };
        for group in 0..groups {
            let of_group = match self.rule.scope {
                Scope::Tensor => group..group + 1,
                Scope::Network => 0..self.matrices.len(),
            };
            self.least(of_group, sparsity, params);
        }
        Ok(())
    }

    /// Sets the least `sparsity` of what these matrices have to 0. Among equals the first go first.
    fn least<T: Float>(&mut self, of: Range<usize>, sparsity: f64, params: &mut [T]) {
        let Self { rule, matrices, sizes, .. } = self;
        sizes.clear();
        for matrix in &matrices[of.clone()] {
            match rule.structure {
                Structure::Weights => {
                    sizes.extend(matrix.range.clone().map(|i| (params[i].to_f64().abs(), i)));
                }
                Structure::Units => sizes.extend((0..matrix.units).map(|unit| {
                    let square = |place: usize| params[place].to_f64() * params[place].to_f64();
                    let sum = matrix.weights(unit).map(square).fold(0.0, |sum, square| sum + square);
                    (sum * matrix.units as f64 / matrix.range.len() as f64, matrix.first + unit)
                })),
            }
        }
        let count = (sparsity * sizes.len() as f64) as usize;
        if count == 0 {
            return;
        }
        sizes.select_nth_unstable_by(count - 1, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        for &(_, place) in &sizes[..count] {
            match rule.structure {
                Structure::Weights => params[place] = T::ZERO,
                Structure::Units => {
                    let owner =
                        matrices[of.clone()].iter().find(|m| (m.first..m.first + m.units).contains(&place));
                    for place in owner.iter().flat_map(|matrix| matrix.places(place - matrix.first)) {
                        params[place] = T::ZERO;
                    }
                }
            }
        }
    }
}

/// The share of the weights of `layout` that are 0, biases and the like left out.
pub fn sparsity<T: Float>(layout: &Layout, params: &[T]) -> f64 {
    let matrices = matrices(layout);
    let zeros = |matrix: &Matrix| params[matrix.range.clone()].iter().filter(|w| **w == T::ZERO).count();
    let all: usize = matrices.iter().map(|matrix| matrix.range.len()).sum();
    matrices.iter().map(zeros).sum::<usize>() as f64 / all.max(1) as f64
}
