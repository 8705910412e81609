//! Fixup: residual networks that train without normalisation (Zhang, Dauphin, Ma, ICLR 2019).
//!
//! ```text
//! of L residual blocks, each with m weight layers in its body:
//!     the first m - 1 are He normal times L^(-1 / (2 m - 2)); the last one is 0
//!     the branch is multiplied by a learned scale that starts at 1
//! the last layer of the network is 0
//! ```

use kernels::{Cpu, math};

use super::Init;
use crate::{BranchScale, LayerSpec, Residual};

/// Returns `layers` with Fixup's initialisers. Normalisation layers stay: remove them yourself.
///
/// The scalar biases of the paper are the biases of the layers here, which start at 0 too unless
/// they have an initialiser of their own.
pub fn fixup(cpu: Cpu<'_>, layers: &[LayerSpec]) -> alloc::vec::Vec<LayerSpec> {
    let mut layers = layers.to_vec();
    let blocks =
        layers.iter().filter(|layer| matches!(layer, LayerSpec::Residual(_))).count() as f64;
    for layer in &mut layers {
        let LayerSpec::Residual(Residual { body, scale, .. }) = layer else { continue };
        let mut weights: alloc::vec::Vec<&mut Init> =
            body.iter_mut().filter_map(weights_of).collect();
        let count = weights.len();
        for (i, init) in weights.iter_mut().enumerate() {
            **init = if i + 1 == count {
                Init::Zeros
            } else {
                let exponent = -1.0 / (2.0 * count as f64 - 2.0);
                let scale =
                    math::at(cpu, |cpu, x, y| math::pow_scalar(cpu, x, exponent, y), blocks);
                Init::ScaledNormal { gain: math::sqrt(cpu, 2.0) * scale }
            };
        }
        *scale = BranchScale::Learned(1.0);
    }
    if let Some(init) = layers.iter_mut().rev().find_map(weights_of) {
        *init = Init::Zeros;
    }
    layers
}

/// Initialiser of the layer's weights, if it has weights.
fn weights_of(layer: &mut LayerSpec) -> Option<&mut Init> {
    match layer {
        LayerSpec::Dense(dense) => Some(&mut dense.init),
        LayerSpec::Convolution(convolution) => Some(&mut convolution.init),
        _ => None,
    }
}
