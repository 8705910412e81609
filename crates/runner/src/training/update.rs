//! Norms of a step's update, tensor by tensor: for those who sample steps.

use kernels::{Cpu, norm};
use nn::Network;

use crate::Error;
use crate::data::element::Element;

/// Parameters before a step, to compare with those after it.
#[derive(Clone, Debug)]
pub(crate) struct UpdateNorms<T> {
    /// Parameters before the step; afterwards, its update.
    before: Vec<T>,
}

impl<T: Element> UpdateNorms<T> {
    /// Buffer for the parameters of `network`.
    ///
    /// # Errors
    /// [`Error::Network`] if there is not enough memory.
    pub(crate) fn new(network: &Network) -> Result<Self, Error> {
        Ok(Self { before: nn::zeros(network.layout().len())? })
    }

    /// Remembers the parameters before a step.
    pub(crate) fn before_step(&mut self, params: &[T]) {
        self.before.copy_from_slice(params);
    }

    /// L2 norm of the update of each tensor of `network`, from the parameters after the step. NaN
    /// if it is not finite.
    pub(crate) fn after_step(
        &mut self,
        (cpu, network): (Cpu<'_>, &Network),
        params: &[T],
    ) -> impl Iterator<Item = f64> {
        for (before, &after) in self.before.iter_mut().zip(params) {
            let mut update = after;
            update -= *before;
            *before = update;
        }
        let tensors = network.layout().tensors().iter();
        tensors.map(move |tensor| {
            norm::norm2(cpu, &self.before[tensor.range.clone()]).unwrap_or(f64::NAN)
        })
    }
}
