//! Magnitude pruning: weights of small magnitude become 0 during training and stay 0; units without
//! any weights left can be removed.
//!
//! ```text
//! every `every` steps     sparsity = target * (1 - (1 - t)^3)   t: 0 at `begin`, 1 at `end`
//!                         the weights (or units) of smallest magnitude become 0
//! every step              pruned weights are reset to 0
//! ```
//!
//! No mask is saved: the zeros are the mask. [`compact`] builds the smaller network.

mod compact;

use alloc::vec::Vec;
use core::ops::Range;

pub use compact::{Compacted, compact};

use crate::error::{check_length, check_parameter};
use crate::layout::Layout;
use crate::schedule::Progress;
use crate::{Error, Float};

/// Pruning schedule and criterion (Zhu, Gupta 2017, "To prune, or not to prune", for the schedule).
///
/// The weights of dense layers, convolutions, recurrent layers and attention are pruned; biases and
/// normalisation parameters only together with their unit.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Pruning {
    /// Final sparsity, at least 0 and below 1.
    pub sparsity: f64,
    /// Granularity of the pruning.
    pub structure: Structure,
    /// Set of weights that are ranked together.
    pub scope: Scope,
    /// Start of pruning, as a fraction of the run: 0 to 1.
    pub begin: f64,
    /// End of pruning, as a fraction of the run: at least `begin`, at most 1.
    pub end: f64,
    /// Steps between two prunings, at least 1.
    pub every: u64,
}

/// Granularity of the pruning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Structure {
    /// Single weights, by magnitude.
    #[default]
    Weights,
    /// Units and channels with all their weights, by mean square. The units of the last layer, the
    /// network's outputs, are never pruned.
    Units,
}

/// Set of weights that are ranked together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Scope {
    /// The weights of each tensor: every tensor reaches the target sparsity.
    #[default]
    Tensor,
    /// All weights of the network.
    Network,
}

impl Default for Pruning {
    /// Half of the weights, over the second and third quarter of the run, every 100 steps.
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
    /// Checks that the parameters are in range.
    ///
    /// # Errors
    /// [`kernels::Error::Parameter`] for the first that is not.
    pub fn check(&self) -> Result<(), Error> {
        let &Self { sparsity, begin, end, every, .. } = self;
        check_parameter(
            "sparsity",
            "at least 0 and below 1",
            sparsity,
            (0.0..1.0).contains(&sparsity),
        )?;
        check_parameter("begin", "0 to 1", begin, (0.0..=1.0).contains(&begin))?;
        check_parameter("end", "from `begin` to 1", end, (begin..=1.0).contains(&end))?;
        check_parameter("every", "at least 1", every as f64, every >= 1)
    }

    /// Sparsity to prune to after this step; `None` at steps without pruning.
    pub fn sparsity_at(&self, progress: Progress) -> Option<f64> {
        let share = progress.share();
        if share < self.begin {
            return None;
        }
        // The first step at or after the end is the last that prunes.
        let past = |share: f64| share >= self.end;
        let last = past(share)
            && (progress.step == 0
                || !past(Progress { step: progress.step - 1, ..progress }.share()));
        if !last && (past(share) || !progress.step.is_multiple_of(self.every)) {
            return None;
        }
        let t = if last { 1.0 } else { (share - self.begin) / (self.end - self.begin) };
        let left = 1.0 - t;
        Some(self.sparsity * (1.0 - left * left * left))
    }
}

/// The pruning state of one network; its buffers are allocated once.
#[derive(Clone, Debug)]
pub struct Pruner {
    rule: Pruning,
    matrices: Vec<Matrix>,
    len: usize,
    /// `true` for each element that stays 0 in this step.
    zeros: Vec<bool>,
    /// Magnitude and index: of weights in the flat buffer, of units among all units.
    sizes: Vec<(f64, usize)>,
}

/// A pruned tensor and the vectors of its units.
#[derive(Clone, Debug)]
struct Matrix {
    range: Range<usize>,
    units: usize,
    vectors: Vec<Range<usize>>,
    /// Index of its first unit among the units of all matrices.
    first: usize,
}

impl Matrix {
    /// Indices in the flat buffer of the weights of unit `unit`.
    fn weights(&self, unit: usize) -> impl Iterator<Item = usize> + use<> {
        (self.range.start + unit..self.range.end).step_by(self.units)
    }

    /// Indices in the flat buffer of all parameters of unit `unit`.
    fn indices(&self, unit: usize) -> impl Iterator<Item = usize> + '_ {
        self.weights(unit).chain(self.vectors.iter().map(move |vector| vector.start + unit))
    }
}

/// Matrices of a layout, each with the vectors of equal length that follow it before the next
/// matrix: bias and normalisation.
fn matrices(layout: &Layout) -> Vec<Matrix> {
    let mut matrices: Vec<Matrix> = Vec::new();
    for tensor in layout.tensors() {
        match (tensor.matrix(), matrices.last_mut()) {
            (Some([_, units]), last) => {
                let first = last.map_or(0, |matrix| matrix.first + matrix.units);
                matrices.push(Matrix {
                    range: tensor.range.clone(),
                    units,
                    vectors: Vec::new(),
                    first,
                });
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
    /// For the parameters of this layout.
    ///
    /// # Errors
    /// Any error of [`Pruning::check`].
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
        Ok(Self {
            rule,
            matrices,
            len: layout.len(),
            zeros: alloc::vec![false; layout.len()],
            sizes,
        })
    }

    /// Call before a step: records the elements that are 0.
    ///
    /// # Errors
    /// [`Error::Length`] if `params` is not as long as the layout.
    pub fn record_zeros<T: Float>(
        &mut self,
        progress: Progress,
        params: &[T],
    ) -> Result<(), Error> {
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
                        let dead = matrix.weights(unit).all(|i| params[i] == T::ZERO);
                        matrix.indices(unit).for_each(|i| self.zeros[i] = dead);
                    }
                }
            }
        }
        Ok(())
    }

    /// Call after a step: resets the recorded elements to 0, and prunes further at the steps of the
    /// schedule.
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
            self.prune_smallest(of_group, sparsity, params);
        }
        Ok(())
    }

    /// Sets the fraction `sparsity` of smallest magnitude among these matrices to 0. Ties are
    /// broken by index.
    fn prune_smallest<T: Float>(&mut self, of: Range<usize>, sparsity: f64, params: &mut [T]) {
        let Self { rule, matrices, sizes, .. } = self;
        sizes.clear();
        for matrix in &matrices[of.clone()] {
            match rule.structure {
                Structure::Weights => {
                    sizes.extend(matrix.range.clone().map(|i| (params[i].to_f64().abs(), i)));
                }
                Structure::Units => sizes.extend((0..matrix.units).map(|unit| {
                    let square = |i: usize| params[i].to_f64() * params[i].to_f64();
                    let sum =
                        matrix.weights(unit).map(square).fold(0.0, |sum, square| sum + square);
                    (sum * matrix.units as f64 / matrix.range.len() as f64, matrix.first + unit)
                })),
            }
        }
        let count = (sparsity * sizes.len() as f64) as usize;
        if count == 0 {
            return;
        }
        sizes.select_nth_unstable_by(count - 1, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        for &(_, index) in &sizes[..count] {
            match rule.structure {
                Structure::Weights => params[index] = T::ZERO,
                Structure::Units => {
                    let owner = matrices[of.clone()]
                        .iter()
                        .find(|m| (m.first..m.first + m.units).contains(&index));
                    for i in owner.iter().flat_map(|matrix| matrix.indices(index - matrix.first)) {
                        params[i] = T::ZERO;
                    }
                }
            }
        }
    }
}

/// Fraction of the weights of `layout` that are 0, without biases and normalisation.
pub fn sparsity<T: Float>(layout: &Layout, params: &[T]) -> f64 {
    let matrices = matrices(layout);
    let zeros =
        |matrix: &Matrix| params[matrix.range.clone()].iter().filter(|w| **w == T::ZERO).count();
    let all: usize = matrices.iter().map(|matrix| matrix.range.len()).sum();
    matrices.iter().map(zeros).sum::<usize>() as f64 / all.max(1) as f64
}
