//! Export of a run's network for other programs: an ONNX model, or tensors for NumPy.
//!
//! The weights are those of `model.safetensors`, with PyTorch's names and layouts. For ONNX, f64 is
//! rounded to f32.

pub(crate) mod npz;
pub(crate) mod onnx;

use nn::{LayerSpec, Network};

use crate::Error;
use crate::data::element::Element;
use crate::run::tensors::Array;
use crate::run::weights;
use crate::run::weights::ModelWeights;

/// Encodes a network of `layers` as an ONNX model.
///
/// # Errors
/// [`Error::Usage`] names the first layer without an ONNX counterpart.
pub fn onnx(
    network: &Network,
    layers: &[LayerSpec],
    weights: &ModelWeights<f32>,
) -> Result<Vec<u8>, Error> {
    onnx::encode(network, layers, weights)
}

/// All tensors with PyTorch's names and layouts.
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
    fn presets_are_exported_and_custom_layers_refused() {
        let input = Shape::Image { height: 28, width: 28, channels: 1 };
        let encode = |layers: &[LayerSpec]| {
            let network = Network::new(input, layers).expect("layers that fit");
            let weights = ModelWeights::<f32>::initial(&network, Cpu::detect(), 1).expect("memory");
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
        // A custom layer has no counterpart.
        let network = Network::new(input, &Preset::Logistic.layers(10)).expect("layers that fit");
        let weights = ModelWeights::<f32>::initial(&network, Cpu::detect(), 1).expect("memory");
        let custom = [LayerSpec::custom("own", nn::Options::new())];
        let refused =
            onnx::encode(&network, &custom, &weights).expect_err("no counterpart").to_string();
        assert!(refused.contains("layer 0 (custom)") && refused.contains("npz"), "{refused}");
    }
}
