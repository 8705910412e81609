//! `evenkeel export`: a run's network for other programs: ONNX, or its tensors for NumPy.
//!
//! Weights are those of `model.safetensors`, in PyTorch's names and layouts; those of a run in f64 are rounded to f32 for ONNX.

mod npz;
mod onnx;

use std::path::PathBuf;

use nn::{LayerSpec, Network};

use crate::config::{Config, Dtype};
use crate::data::replace::{refuse_if, replace_with};
use crate::element::Element;
use crate::run_folder::{self, RunFolder};
use crate::tensors::Array;
use crate::weights::{self, Weights};
use crate::{Error, display, setup, train};

/// Notice for models exported from a run in bf16. The bound is that of `docs/NUMERICS.md`
/// for rounded operands; the size was measured on the presets mlp, cnn, deep-mlp and lstm-rows:
/// 0.08 to 0.4 % of the largest logit.
const BF16: &str = "the run multiplies operands rounded to bf16, and other programs do not: each sum of products differs by up to \
    0.8 % of the sum of its terms' sizes (1.01 * 2^-7, docs/NUMERICS.md). Expect outputs that differ from those of `evenkeel predict` by \
    0.1 to 0.5 % of the largest";

/// The form of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Open Neural Network Exchange.
    Onnx,
    /// Arrays of NumPy.
    Npz,
}

/// What `export` is asked to do.
#[derive(Clone, Debug)]
pub struct Request {
    /// The run folder.
    pub run: PathBuf,
    /// The form.
    pub format: Format,
    /// The file to write; `None` for `model.onnx` or `model.npz` in the run folder.
    pub out: Option<PathBuf>,
    /// Whether a file that is there is replaced.
    pub force: bool,
}

/// Does it: prints the name of the file.
///
/// # Errors
/// [`Error`], if the run cannot be read, a layer has no counterpart in ONNX, or the file is there already.
pub fn export(request: &Request) -> Result<(), Error> {
    let folder = RunFolder::open(&request.run)?;
    let [onnx, npz] = run_folder::EXPORTS;
    let name = match request.format {
        Format::Onnx => onnx,
        Format::Npz => npz,
    };
    let out = request.out.clone().unwrap_or_else(|| folder.file(name));
    refuse_if(out.exists() && !request.force, &out)?;
    let config = Config::read(&folder.file(run_folder::CONFIG))?;
    let (network, _) = setup::of_run(&folder, &config)?;
    let layers = config.layers.as_deref().unwrap_or_default();
    let bytes = match (request.format, config.dtype) {
        (Format::Onnx, Dtype::F64) => {
            onnx::encode(&network, layers, &read::<f64>(&folder, &network)?.converted())?
        }
        (Format::Onnx, _) => onnx::encode(&network, layers, &read::<f32>(&folder, &network)?)?,
        (Format::Npz, Dtype::F64) => {
            npz::encode(&arrays(&network, &read::<f64>(&folder, &network)?))
        }
        (Format::Npz, _) => npz::encode(&arrays(&network, &read::<f32>(&folder, &network)?)),
    };
    let (most, other) = match request.format {
        // Protocol Buffers count the bytes of a message in 31 bits.
        Format::Onnx => (i32::MAX as usize, "; --format npz takes up to 4 GiB"),
        // ZIP counts them in 32 bits.
        Format::Npz => (u32::MAX as usize, ""),
    };
    if bytes.len() > most {
        return Err(Error::Usage(format!(
            "export: expected a model of at most {most} bytes, as much as {name} can hold, got {}{other}",
            bytes.len()
        )));
    }
    replace_with(&out, &bytes)?;
    if config.dtype == Dtype::Bf16 {
        display::say(BF16);
    }
    train::print(&out.display().to_string())
}

/// A network of these layers as a model of ONNX.
///
/// # Errors
/// [`Error::Usage`] names the first layer that has no counterpart.
pub fn onnx(
    network: &Network,
    layers: &[LayerSpec],
    weights: &Weights<f32>,
) -> Result<Vec<u8>, Error> {
    onnx::encode(network, layers, weights)
}

fn read<T: Element>(folder: &RunFolder, network: &Network) -> Result<Weights<T>, Error> {
    Ok(weights::read::<T>(&run_folder::model(folder)?, network)?.0)
}

/// Every tensor as PyTorch has it.
fn arrays<T: Element>(network: &Network, weights: &Weights<T>) -> Vec<(String, Array)> {
    let mut all = weights::arrays(network.layout(), &weights.params, "");
    all.extend(weights::arrays(network.buffers(), &weights.buffers, ""));
    all
}

#[cfg(test)]
mod tests {
    use kernels::Cpu;
    use nn::Shape;

    use nn::LayerSpec;

    use super::*;
    use crate::preset::Preset;

    #[test]
    fn presets_are_exported_or_refused_by_name() {
        let input = Shape::Image { height: 28, width: 28, channels: 1 };
        let encode = |layers: &[LayerSpec]| {
            let network = Network::new(input, layers).expect("layers that fit");
            let weights = Weights::<f32>::initial(&network, Cpu::detect(), 1).expect("room");
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
        let weights = Weights::<f32>::initial(&network, Cpu::detect(), 1).expect("room");
        let own = [LayerSpec::custom("own", nn::Options::new())];
        let refused =
            onnx::encode(&network, &own, &weights).expect_err("no counterpart").to_string();
        assert!(refused.contains("layer 0 (custom)") && refused.contains("npz"), "{refused}");
    }
}
