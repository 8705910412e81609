//! The activation that a dense layer or a convolution fuses.

use kernels::Cpu;
use kernels::activation::{Activation, Saved};

use crate::Error;
use crate::layer::Float;

/// An activation after a product, if any. ReLU is part of the product's epilogue; other activations
/// run right after it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fused(Option<Activation>);

impl Fused {
    /// Takes `activation` in; `false` if there is one already.
    pub(super) fn fuse(&mut self, activation: Activation) -> bool {
        let is_free = self.0.is_none();
        if is_free {
            self.0 = Some(activation);
        }
        is_free
    }

    /// `true` without an activation.
    pub(super) fn is_none(self) -> bool {
        self.0.is_none()
    }

    pub(super) fn is_relu(self) -> bool {
        self.0 == Some(Activation::Relu)
    }

    /// `true` if the gradient needs the pre-activations, which are then saved.
    pub(super) fn saves_input(self) -> bool {
        self.0.is_some_and(|activation| activation.saved() == Saved::Input)
    }

    /// Computes `y` by `product`, which applies ReLU itself, and then any other activation.
    pub(super) fn forward<T: Float>(
        self,
        cpu: Cpu<'_>,
        saved: &mut [T],
        y: &mut [T],
        product: impl FnOnce(&mut [T]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        match self.0 {
            None | Some(Activation::Relu) => product(y),
            Some(activation) if self.saves_input() => {
                let z = &mut saved[..y.len()];
                product(z)?;
                Ok(activation.forward(cpu, z, y)?)
            }
            Some(activation) => {
                product(y)?;
                Ok(activation.forward_in_place(cpu, y)?)
            }
        }
    }

    /// Multiplies `dy` by the gradient of the activation whose output is `y`.
    pub(super) fn backward<T: Float>(
        self,
        cpu: Cpu<'_>,
        saved: &[T],
        y: &[T],
        dy: &mut [T],
    ) -> Result<(), Error> {
        let Some(activation) = self.0 else { return Ok(()) };
        let saved = if self.saves_input() { &saved[..y.len()] } else { y };
        Ok(activation.backward(cpu, saved, dy)?)
    }
}
