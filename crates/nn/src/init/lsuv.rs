//! Layer-sequential unit variance: scales weights by the variance of their outputs on a batch
//! (Mishkin, Matas, ICLR 2016).
//!
//! ```text
//! for each weight layer, from the input up:
//!     up to `attempts` times, until the variance of its outputs is within `tolerance` of 1:
//!         weights /= sqrt(variance)
//! ```

use kernels::statistics::statistics;
use kernels::{Cpu, math, vector};

use crate::error::{check_length, check_parameter};
use crate::workspace::Workspace;
use crate::{Error, Float, LayerSpec, Network, Registry, Shape};

/// Tolerance and number of attempts.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Lsuv {
    /// Tolerated difference from 1 of the variance of a layer's outputs, above 0.
    pub tolerance: f64,
    /// Maximum number of rescalings per layer, at least 1.
    pub attempts: u32,
}

impl Default for Lsuv {
    /// The paper's values: 0.1, ten attempts.
    fn default() -> Self {
        Self { tolerance: 0.1, attempts: 10 }
    }
}

impl Lsuv {
    /// Checks that `tolerance` and `attempts` are in range.
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

    /// Scales the weights in `params` of the network of `layers` over rows of shape `input`, such
    /// that outputs on the batch `inputs` have unit variance. The weights have been drawn before;
    /// the paper draws them [`Orthogonal`](crate::Init::Orthogonal).
    ///
    /// Scales the dense layers and convolutions of the outermost sequence, by their
    /// pre-activations; blocks stay as they are. Batch norms use the statistics of the batch.
    /// `buffers`, the network's, are read for fitted statistics. Layers whose outputs are constant
    /// are skipped.
    ///
    /// # Errors
    /// Any error of [`check`](Self::check) or of the network; [`Error::Length`] if a buffer does
    /// not fit the network.
    #[expect(clippy::too_many_arguments, reason = "the network, its buffers and the batch")]
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
            if !matches!(layer, LayerSpec::Dense(_) | LayerSpec::Convolution(_)) {
                continue;
            }
            // The network up to this layer: a prefix of all parameters.
            let network = Network::with_registry(input, &layers[..=i], registry)?;
            let rows = inputs.len() / network.inputs();
            let mut workspace = Workspace::inference(&network, cpu, rows)?;
            let mut buffers = buffers[..network.buffers().len()].to_vec();
            let own = network.layout().tensors().iter().find(|tensor| tensor.layer == i);
            let Some(own) = own.map(|tensor| tensor.range.clone()) else { continue };
            for _ in 0..self.attempts {
                let weights = crate::Weights {
                    params: &params[..network.layout().len()],
                    buffers: &mut buffers,
                };
                let outputs =
                    network.forward_in(cpu, crate::Mode::Probe, weights, inputs, &mut workspace)?;
                let variance = statistics(cpu, outputs).variance();
                if !(variance > 0.0 && variance.is_finite())
                    || (variance - 1.0).abs() <= self.tolerance
                {
                    break;
                }
                vector::scale(
                    cpu,
                    T::from_f64(1.0 / math::sqrt(cpu, variance)),
                    &mut params[own.clone()],
                );
            }
        }
        Ok(())
    }
}
