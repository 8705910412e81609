//! Layer-sequential unit variance: weights scaled by what they do to a batch of data (Mishkin, Matas, ICLR 2016).
//!
//! ```text
//! for each layer of weights, from the input up:
//!     up to `attempts` times, until the variance of its outputs over the batch is within `tolerance` of 1:
//!         weights /= sqrt(variance)
//! ```

use kernels::statistics::statistics;
use kernels::{Cpu, math, vector};

use crate::error::{check_length, check_parameter};
use crate::workspace::Workspace;
use crate::{Error, Float, LayerSpec, Network, Registry, Shape};

/// How close to 1, and how often it is tried.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Lsuv {
    /// How far the variance of a layer's outputs may be from 1: above 0.
    pub tolerance: f64,
    /// How often a layer is scaled at most: at least 1.
    pub attempts: u32,
}

impl Default for Lsuv {
    /// The paper's: 0.1, ten times.
    fn default() -> Self {
        Self { tolerance: 0.1, attempts: 10 }
    }
}

impl Lsuv {
    /// Whether its numbers are in range.
    ///
    /// # Errors
    /// [`kernels::Error::Parameter`] for the first that is not.
    pub fn check(&self) -> Result<(), Error> {
        let tolerance = self.tolerance;
        check_parameter(
            "tolerance",
            "finite and above 0",
            tolerance,
            tolerance > 0.0 && tolerance.is_finite(),
        )?;
        check_parameter("attempts", "at least 1", f64::from(self.attempts), self.attempts >= 1)
    }

    /// Scales the weights in `params`, drawn before (the paper draws them [`Orthogonal`](crate::Init::Orthogonal)), of the network of
    /// `layers` over rows of shape `input`, by what they make of the batch `inputs`. Dense layers and convolutions of the outermost
    /// sequence are scaled, before their activation; blocks are left as they are. Batch norms use the statistics of the batch; `buffers`,
    /// the network's, are read for what has been fitted. Outputs that are all alike are left too.
    ///
    /// # Errors
    /// What [`check`](Self::check) says, or the network; [`Error::Length`] if a buffer does not fit it.
    #[expect(clippy::too_many_arguments, reason = "the network, its numbers and the batch")]
    pub fn scale<T: Float>(
        &self,
        cpu: Cpu<'_>,
        input: Shape,
        layers: &[LayerSpec],
        registry: &Registry,
        params: &mut [T],
        buffers: &[T],
        inputs: &[T],
    ) -> Result<(), Error> {
        self.check()?;
        let whole = Network::with_registry(input, layers, registry)?;
        check_length("params", whole.layout().len(), params.len())?;
        check_length("buffers", whole.buffers().len(), buffers.len())?;
        for (i, layer) in layers.iter().enumerate() {
            if !matches!(layer, LayerSpec::Dense { .. } | LayerSpec::Convolution(_)) {
                continue;
            }
            // The network up to this layer: its parameters are the first of all.
            let network = Network::with_registry(input, &layers[..=i], registry)?;
            let rows = inputs.len() / network.inputs();
            let mut workspace = Workspace::inference(&network, cpu, rows)?;
            let mut buffers = buffers[..network.buffers().len()].to_vec();
            let own = network.layout().tensors().iter().find(|tensor| tensor.layer == i);
            let Some(own) = own.map(|tensor| tensor.range.clone()) else { continue };
            for _ in 0..self.attempts {
                let weights =
                    crate::Weights { params: &params[..network.layout().len()], buffers: &mut buffers };
                let outputs = network.forward_in(cpu, crate::Mode::Probe, weights, inputs, &mut workspace)?;
                let variance = statistics(cpu, outputs).variance();
                if !(variance > 0.0 && variance.is_finite()) || (variance - 1.0).abs() <= self.tolerance {
                    break;
                }
                vector::scale(cpu, T::from_f64(1.0 / math::sqrt(cpu, variance)), &mut params[own.clone()]);
            }
        }
        Ok(())
    }
}
