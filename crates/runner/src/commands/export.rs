//! `evenkeel export`: writes a run's network as ONNX, or its tensors as NumPy arrays.
//!
//! The weights are those of `model.safetensors`, with PyTorch's names and layouts. ONNX files hold
//! f32: weights of a run in f64 are rounded.

use std::path::PathBuf;

use nn::Network;

use crate::Error;
use crate::commands::output;
use crate::commands::output::refuse_if;
use crate::data::element::Element;
use crate::data::replace::replace_with;
use crate::export::{arrays, npz, onnx};
use crate::machine::terminal;
use crate::run::config::{Config, Dtype};
use crate::run::folder::RunFolder;
use crate::run::weights::ModelWeights;
use crate::run::{folder, setup, weights};

/// Notice for models exported from a run in bf16. The bound is that of `docs/NUMERICS.md`
/// for rounded operands; the size was measured on the presets mlp, cnn, deep-mlp and lstm-rows:
/// 0.08 to 0.4 % of the largest logit.
const BF16: &str = "the run multiplies operands rounded to bf16, and other programs do not: each \
    sum of products differs by up to 0.8 % of the sum of its terms' magnitudes (1.01 * 2^-7, \
    docs/NUMERICS.md). Expect outputs that differ from those of `evenkeel predict` by 0.1 to 0.5 % \
    of the largest";

/// File format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Open Neural Network Exchange.
    Onnx,
    /// NumPy arrays.
    Npz,
}

/// Options of `export`.
#[derive(Clone, Debug)]
pub struct Request {
    /// The run folder.
    pub run: PathBuf,
    /// File format.
    pub format: Format,
    /// File to write; `None` for `model.onnx` or `model.npz` in the run folder.
    pub out: Option<PathBuf>,
    /// Replace an existing file.
    pub force: bool,
}

/// Writes the file, and prints its name.
///
/// # Errors
/// [`Error`], if the run cannot be read, a layer has no counterpart in ONNX, or the file exists.
pub fn export(request: &Request) -> Result<(), Error> {
    let folder = RunFolder::open(&request.run)?;
    let [onnx, npz] = folder::EXPORTS;
    let name = match request.format {
        Format::Onnx => onnx,
        Format::Npz => npz,
    };
    let out = request.out.clone().unwrap_or_else(|| folder.file(name));
    refuse_if(out.exists() && !request.force, &out)?;
    let config = Config::read(&folder.file(folder::CONFIG))?;
    let (network, _) = setup::network_of_run(&folder, &config)?;
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
    let (limit, remedy) = match request.format {
        // Protocol Buffers count the bytes of a message in 31 bits.
        Format::Onnx => (i32::MAX as usize, "; --format npz takes up to 4 GiB"),
        // ZIP counts the bytes of a file in 32 bits.
        Format::Npz => (u32::MAX as usize, ""),
    };
    if bytes.len() > limit {
        return Err(Error::Usage(format!(
            "export: expected at most {limit} bytes, the maximum for {name}, got {}{remedy}",
            bytes.len()
        )));
    }
    replace_with(&out, &bytes)?;
    if config.dtype == Dtype::Bf16 {
        terminal::say(BF16);
    }
    output::print(&out.display().to_string())
}

fn read<T: Element>(folder: &RunFolder, network: &Network) -> Result<ModelWeights<T>, Error> {
    Ok(weights::read::<T>(&folder::model(folder)?, network)?.0)
}
