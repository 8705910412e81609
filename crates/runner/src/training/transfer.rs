//! Weights from elsewhere to begin with: transfer learning.
//!
//! ```text
//! for each tensor of the network
//!     named by `reinit`             stays as drawn
//!     in the file, same shape       is the file's, converted
//!     in the file, another shape    an error, which names `reinit`
//!     not in the file               stays as drawn
//! ```
//!
//! Names and shapes are PyTorch's, so that a state dict saved by `safetensors.torch.save_file` fits as well as `model.safetensors` does.
//! `train` says what came of each tensor; [`initial`](crate::training::initial) takes the values.

use std::path::{Path, PathBuf};
use std::{fmt, fs};

use half::{bf16, f16};
use nn::{Group, Order, Tensor};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::Error;
use crate::data::DataError;
use crate::data::digest::sha256;
use crate::data::element::Element;
use crate::run::config::InitFrom;
use crate::run::setup::Setup;
use crate::run::tensors;
use crate::run::weights::Weights;

/// What comes of each tensor, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    path: PathBuf,
    /// Taken from the file.
    pub loaded: Vec<String>,
    /// Drawn anew, as asked.
    pub reinitialised: Vec<String>,
    /// Drawn, since the file has none of this name.
    pub absent: Vec<String>,
    /// In the file, and not in the network.
    pub left: Vec<String>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, loaded, reinitialised, absent, left } = self;
        write!(f, "from {}: {} tensors loaded", path.display(), loaded.len())?;
        let rest =
            [("drawn anew", reinitialised), ("not in it, drawn", absent), ("of it left out", left)];
        for (what, names) in rest.into_iter().filter(|(_, names)| !names.is_empty()) {
            write!(f, "; {} {what} ({})", names.len(), names.join(", "))?;
        }
        Ok(())
    }
}

/// Puts the file's values into `weights`, which are as drawn, where the run `setup` takes weights from elsewhere.
///
/// # Errors
/// [`DataError::Io`] if the file cannot be read; [`Error::Malformed`] if it is another than before, damaged, or has a tensor of another
/// shape, of integers, or with a value that is non-finite in the type of the run; [`Error::Usage`] if nothing in it has the name of a tensor, or a pattern names none.
pub fn load<T: Element>(setup: &Setup, weights: &mut Weights<T>) -> Result<Option<Outcome>, Error> {
    let Some(InitFrom { path, sha256: known, reinit }) = &setup.config.init_from else {
        return Ok(None);
    };
    let bytes = fs::read(path).map_err(DataError::io("read", path))?;
    let found = sha256(&bytes);
    if let Some(known) = known.as_ref().filter(|known| **known != found) {
        let expected = format!("the weights that the run began with, of SHA-256 {known}");
        return Err(Error::malformed(path, expected, format!("others, of {found}")));
    }
    let file = tensors::decode(&bytes, path)?;

    let (params, buffers) = (setup.network.layout().tensors(), setup.network.buffers().tensors());
    let mut names = params.iter().chain(buffers).map(|tensor| &tensor.name[..]);
    for pattern in reinit {
        let group = Group { tensors: vec![pattern.clone()], ..Group::default() };
        if !names.clone().any(|name| group.names(name)) {
            let first = names.next().unwrap_or("none");
            return Err(Error::Usage(format!(
                "reinit: expected the name of a tensor of the network, such as {first}, or a pattern with * for any characters, got \
                 {pattern}"
            )));
        }
    }
    let reinit = Group { tensors: reinit.clone(), ..Group::default() };
    let mut outcome = Outcome { path: path.clone(), ..Outcome::default() };
    for (tensors, values) in [(params, &mut weights.params), (buffers, &mut weights.buffers)] {
        for tensor in tensors {
            let name = tensor.name.clone();
            if reinit.names(&name) {
                outcome.reinitialised.push(name);
            } else if let Some(view) = view(&file, &name) {
                take(&view, path, tensor, &mut values[tensor.range.clone()])?;
                outcome.loaded.push(name);
            } else {
                outcome.absent.push(name);
            }
        }
    }
    let is_known = |name: &str| {
        let of_all =
            setup.network.layout().tensors().iter().chain(setup.network.buffers().tensors());
        of_all.map(|tensor| &tensor.name[..]).any(|known| known == name || bare(known) == name)
    };
    outcome.left =
        file.names().into_iter().filter(|name| !is_known(name)).map(str::to_owned).collect();
    outcome.left.sort_unstable();
    if outcome.loaded.is_empty() && outcome.reinitialised.is_empty() {
        let names = |names: &[String]| names.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
        return Err(Error::Usage(format!(
            "init-from: expected a file with tensors of the network ({}, ...), got {}, which has none of them ({}, ...)",
            names(&outcome.absent),
            path.display(),
            names(&outcome.left)
        )));
    }
    Ok(Some(outcome))
}

/// The name of a tensor where a sequence is the whole of a model, and no part of it called `layers`.
fn bare(name: &str) -> &str {
    name.strip_prefix("layers.").unwrap_or(name)
}

fn view<'a>(file: &'a SafeTensors<'_>, name: &str) -> Option<TensorView<'a>> {
    file.tensor(name).or_else(|_| file.tensor(bare(name))).ok()
}

/// Fills `here`, which is `tensor` in memory, with what `view` holds, widened or rounded.
fn take<T: Element>(
    view: &TensorView<'_>,
    path: &Path,
    tensor: &Tensor,
    here: &mut [T],
) -> Result<(), Error> {
    let (name, shape) = (&tensor.name, tensor.torch_shape());
    if view.shape() != shape {
        let expected =
            format!("`{name}` with shape {shape:?} (or --reinit {name}, which draws it anew)");
        return Err(Error::malformed(path, expected, format!("shape {:?}", view.shape())));
    }
    let values = floats(view, tensor.order == Order::Count).ok_or_else(|| {
        let expected = format!(
            "`{name}` with type F64, F32, F16 or BF16 (or --reinit {name}, which draws it anew)"
        );
        Error::malformed(path, expected, format!("type {}", view.dtype()))
    })?;
    for (i, value) in here.iter_mut().enumerate() {
        let read = values[tensor.torch_index(i)];
        *value = T::from_f64(read);
        if !value.to_f64().is_finite() {
            let dtype = if size_of::<T>() == size_of::<f32>() { "f32" } else { "f64" };
            let expected = format!(
                "`{name}` with finite values of {dtype} (or --reinit {name}, which draws it anew)"
            );
            return Err(Error::malformed(
                path,
                expected,
                format!("{read:e} at index {}", tensor.torch_index(i)),
            ));
        }
    }
    Ok(())
}

/// The values of `view`, exactly; counts may be integers. `None` for another type.
fn floats(view: &TensorView<'_>, is_count: bool) -> Option<Vec<f64>> {
    let data = view.data();
    let halves = || data.as_chunks().0.iter();
    Some(match view.dtype() {
        Dtype::F64 => f64::read(data),
        Dtype::F32 => f32::read(data).into_iter().map(f64::from).collect(),
        Dtype::F16 => halves().map(|&bytes| f16::from_le_bytes(bytes).to_f64()).collect(),
        Dtype::BF16 => halves().map(|&bytes| bf16::from_le_bytes(bytes).to_f64()).collect(),
        Dtype::I64 if is_count => {
            data.as_chunks().0.iter().map(|&bytes| i64::from_le_bytes(bytes) as f64).collect()
        }
        _ => return None,
    })
}
