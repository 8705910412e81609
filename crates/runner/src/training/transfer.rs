//! Transfer learning: initial weights from a file.
//!
//! ```text
//! for each tensor of the network
//!     named by `reinit`             stays as initialised
//!     in the file, same shape       loaded, converted to the type of the run
//!     in the file, another shape    an error, which names `reinit`
//!     not in the file               stays as initialised
//! ```
//!
//! Names and shapes are PyTorch's: a state dict saved by `safetensors.torch.save_file` can be
//! loaded like a `model.safetensors`. `train` prints the [`Outcome`];
//! [`initial`](crate::training::initial) uses the values.

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
use crate::run::weights::ModelWeights;

/// Names of the tensors that were loaded, and of those that were not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    path: PathBuf,
    /// Tensors loaded from the file.
    pub loaded: Vec<String>,
    /// Tensors named by `reinit`.
    pub reinitialised: Vec<String>,
    /// Tensors of the network that the file lacks; they are initialised.
    pub missing: Vec<String>,
    /// Tensors of the file that the network lacks; they are ignored.
    pub unexpected: Vec<String>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, loaded, reinitialised, missing, unexpected } = self;
        write!(f, "from {}: {} tensors loaded", path.display(), loaded.len())?;
        let others = [
            ("reinitialised", reinitialised),
            ("missing and initialised", missing),
            ("unexpected and ignored", unexpected),
        ];
        for (status, names) in others.into_iter().filter(|(_, names)| !names.is_empty()) {
            write!(f, "; {} {status} ({})", names.len(), names.join(", "))?;
        }
        Ok(())
    }
}

/// Loads the file of `init_from`, if the run `setup` has one, into the initialised `weights`.
///
/// # Errors
/// - [`DataError::Io`] if the file cannot be read.
/// - [`Error::Malformed`] if its SHA-256 is not that of the configuration, if it is damaged, or if
///   it has a tensor of another shape, of integers, or with a value that is non-finite in the type
///   of the run.
/// - [`Error::Usage`] if it has no tensor of the network, or a pattern of `reinit` matches none.
pub fn load<T: Element>(
    setup: &Setup,
    weights: &mut ModelWeights<T>,
) -> Result<Option<Outcome>, Error> {
    let Some(InitFrom { path, sha256: expected, reinit }) = &setup.config.init_from else {
        return Ok(None);
    };
    let bytes = fs::read(path).map_err(DataError::io("read", path))?;
    let found = sha256(&bytes);
    if let Some(expected) = expected.as_ref().filter(|expected| **expected != found) {
        let expected = format!("the initial weights of the run, with SHA-256 {expected}");
        return Err(Error::malformed(path, expected, format!("a file with SHA-256 {found}")));
    }
    let file = tensors::decode(&bytes, path)?;

    let (params, buffers) = (setup.network.layout().tensors(), setup.network.buffers().tensors());
    let mut names = params.iter().chain(buffers).map(|tensor| &tensor.name[..]);
    for pattern in reinit {
        let group = Group { tensors: vec![pattern.clone()], ..Group::default() };
        if !names.clone().any(|name| group.names(name)) {
            let first = names.next().unwrap_or("none");
            return Err(Error::Usage(format!(
                "reinit: expected the name of a tensor of the network, such as {first}, or a \
                 pattern with * for any characters, got {pattern}"
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
                convert(&view, path, tensor, &mut values[tensor.range.clone()])?;
                outcome.loaded.push(name);
            } else {
                outcome.missing.push(name);
            }
        }
    }
    let is_known = |name: &str| {
        let tensors =
            setup.network.layout().tensors().iter().chain(setup.network.buffers().tensors());
        tensors.map(|tensor| &tensor.name[..]).any(|own| own == name || without_prefix(own) == name)
    };
    outcome.unexpected =
        file.names().into_iter().filter(|name| !is_known(name)).map(str::to_owned).collect();
    outcome.unexpected.sort_unstable();
    if outcome.loaded.is_empty() && outcome.reinitialised.is_empty() {
        let first = |names: &[String]| names.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
        return Err(Error::Usage(format!(
            "init-from: expected a file with tensors of the network ({}, ...), got {}, which has \
             none of them ({}, ...)",
            first(&outcome.missing),
            path.display(),
            first(&outcome.unexpected)
        )));
    }
    Ok(Some(outcome))
}

/// Name of a tensor in a PyTorch model that is a plain `Sequential`, without the prefix `layers.`.
fn without_prefix(name: &str) -> &str {
    name.strip_prefix("layers.").unwrap_or(name)
}

/// Returns the tensor `name` of `file`, with or without the prefix.
fn view<'a>(file: &'a SafeTensors<'_>, name: &str) -> Option<TensorView<'a>> {
    file.tensor(name).or_else(|_| file.tensor(without_prefix(name))).ok()
}

/// Converts `view` from PyTorch's layout to that of `tensor`, widened or rounded to `T`.
///
/// # Errors
/// [`Error::Malformed`] for another shape or type, or a value that is non-finite in `T`.
fn convert<T: Element>(
    view: &TensorView<'_>,
    path: &Path,
    tensor: &Tensor,
    values: &mut [T],
) -> Result<(), Error> {
    let (name, shape) = (&tensor.name, tensor.torch_shape());
    if view.shape() != shape {
        let expected =
            format!("`{name}` with shape {shape:?} (or --reinit {name}, which initialises it)");
        return Err(Error::malformed(path, expected, format!("shape {:?}", view.shape())));
    }
    let stored = floats(view, tensor.order == Order::Count).ok_or_else(|| {
        let expected = format!(
            "`{name}` with type F64, F32, F16 or BF16 (or --reinit {name}, which initialises it)"
        );
        Error::malformed(path, expected, format!("type {}", view.dtype()))
    })?;
    for (i, value) in values.iter_mut().enumerate() {
        let exact = stored[tensor.torch_index(i)];
        *value = T::from_f64(exact);
        if !value.to_f64().is_finite() {
            let dtype = if size_of::<T>() == size_of::<f32>() { "f32" } else { "f64" };
            let expected = format!(
                "`{name}` with finite values of {dtype} (or --reinit {name}, which initialises it)"
            );
            return Err(Error::malformed(
                path,
                expected,
                format!("{exact:e} at index {}", tensor.torch_index(i)),
            ));
        }
    }
    Ok(())
}

/// Returns the exact values of `view`; counts may be integers. `None` for any other type.
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
