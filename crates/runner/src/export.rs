//! `evenkeel export`: a run's network for other programs: ONNX, or its tensors for NumPy.
//!
//! Weights are those of `model.safetensors`, in PyTorch's names and layouts; those of a run in f64 are rounded to f32 for ONNX.

pub(crate) mod npz;
pub(crate) mod onnx;

use nn::{LayerSpec, Network};

use crate::Error;
use crate::data::element::Element;
use crate::run::tensors::Array;
use crate::run::weights;
use crate::run::weights::ModelWeights;

/// A network of these layers as a model of ONNX.
///
/// # Errors
/// [`Error::Usage`] names the first layer that has no counterpart.
pub fn onnx(
    network: &Network,
    layers: &[LayerSpec],
    weights: &ModelWeights<f32>,
) -> Result<Vec<u8>, Error> {
    onnx::encode(network, layers, weights)
}

/// Every tensor as PyTorch has it.
pub(crate) fn arrays<T: Element>(
    network: &Network,
    weights: &ModelWeights<T>,
) -> Vec<(String, Array)> {
    let mut all = weights::arrays(network.layout(), &weights.params, "");
    all.extend(weights::arrays(network.buffers(), &weights.buffers, ""));
    all
}

#[cfg(test)]
mod tests {
    use kernels::Cpu;
    use nn::{LayerSpec, Shape};

    use super::*;
    use crate::run::preset::Preset;

    #[test]
    fn presets_are_exported_or_refused_by_name() {
        let input = Shape::Image { height: 28, width: 28, channels: 1 };
        let encode = |layers: &[LayerSpec]| {
            let network = Network::new(input, layers).expect("layers that fit");
            let weights = ModelWeights::<f32>::initial(&network, Cpu::detect(), 1).expect("room");
            onnx::encode(&network, layers, &weights)
        };
        for preset in [
            Preset::Mlp,
            Preset::Logistic,
            Preset::DeepMlp,
            Preset::MlpDropout,
            Preset::Lenet,
            Preset::Cnn,
            Preset::Resnet,
            Preset::VitTiny,
            Preset::LstmRows,
        ] {
            assert!(
                encode(&preset.layers(10)).is_ok_and(|bytes| bytes.len() > 10_000),
                "{}",
                preset.name()
            );
        }
        // Whatever a layer of one's own does, it cannot be told here.
        let network = Network::new(input, &Preset::Logistic.layers(10)).expect("layers that fit");
        let weights = ModelWeights::<f32>::initial(&network, Cpu::detect(), 1).expect("room");
        let own = [LayerSpec::custom("own", nn::Options::new())];
        let refused =
            onnx::encode(&network, &own, &weights).expect_err("no counterpart").to_string();
        assert!(refused.contains("layer 0 (custom)") && refused.contains("npz"), "{refused}");
    }
}
