//! Weights of a network, its parameters and buffers, and `model.safetensors`: both with PyTorch's
//! names and layouts, so that other programs can load them.

use std::fs;
use std::path::Path;

use kernels::Cpu;
use nn::{Layout, Network, Order, Tensor};
use safetensors::SafeTensors;

use crate::Error;
use crate::data::DataError;
use crate::data::element::Element;
use crate::run::tensors;
use crate::run::tensors::Array;

/// Parameters and buffers of a network, in their memory layout.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelWeights<T> {
    /// Parameters, by [`Network::layout`].
    pub params: Vec<T>,
    /// Buffers such as running statistics, by [`Network::buffers`].
    pub buffers: Vec<T>,
}

impl<T: Element> ModelWeights<T> {
    /// Weights of 0.
    ///
    /// # Errors
    /// [`Error::Network`] if there is not enough memory.
    pub fn zeros(network: &Network) -> Result<Self, Error> {
        Ok(Self {
            params: nn::zeros(network.layout().len())?,
            buffers: nn::zeros(network.buffers().len())?,
        })
    }

    /// Initial weights, drawn by `seed`.
    ///
    /// # Errors
    /// [`Error::Network`] if there is not enough memory.
    pub fn initial(network: &Network, cpu: Cpu<'_>, seed: u64) -> Result<Self, Error> {
        let mut weights = Self::zeros(network)?;
        network.init(cpu, seed, &mut weights.params)?;
        network.init_buffers(cpu, &mut weights.buffers)?;
        Ok(weights)
    }

    /// Borrows the weights for a pass of the network.
    pub fn view(&mut self) -> nn::Weights<'_, T> {
        nn::Weights { params: &self.params, buffers: &mut self.buffers }
    }

    /// The same weights in another type: widened exactly, or rounded.
    pub fn converted<U: Element>(&self) -> ModelWeights<U> {
        let convert =
            |values: &[T]| values.iter().map(|value| U::from_f64(value.to_f64())).collect();
        ModelWeights { params: convert(&self.params), buffers: convert(&self.buffers) }
    }

    /// Copies the weights `other` of the same network.
    pub fn copy_from(&mut self, other: &Self) {
        self.params.copy_from_slice(&other.params);
        self.buffers.copy_from_slice(&other.buffers);
    }
}

/// Arrays of `values` with the names and layouts of PyTorch, and with `prefix` before each name.
pub fn arrays<T: Element>(layout: &Layout, values: &[T], prefix: &str) -> Vec<(String, Array)> {
    let array = |tensor: &Tensor| {
        let values = &values[tensor.range.clone()];
        let array = if tensor.order == Order::Count {
            Array::count(values[0].to_f64() as i64)
        } else {
            let mut reordered = values.to_vec();
            for (i, &value) in values.iter().enumerate() {
                reordered[tensor.torch_index(i)] = value;
            }
            Array::new(&tensor.torch_shape(), &reordered)
        };
        (format!("{prefix}{}", tensor.name), array)
    };
    layout.tensors().iter().map(array).collect()
}

/// Encodes `weights` as the bytes of `model.safetensors`; returns also the SHA-256 over its
/// tensors.
///
/// # Errors
/// [`Error::Usage`] if they do not fit the format.
pub fn encode<T: Element>(
    network: &Network,
    weights: &ModelWeights<T>,
) -> Result<(Vec<u8>, String), Error> {
    let mut all = arrays(network.layout(), &weights.params, "");
    all.extend(arrays(network.buffers(), &weights.buffers, ""));
    let bytes = tensors::encode(&all, None)?;
    let sha256 = tensors::sha256::<T>(&tensors::decode(&bytes, Path::new("model.safetensors"))?);
    Ok((bytes, sha256))
}

/// Reads the file `path` into weights of `network`; returns also the SHA-256 over its tensors.
///
/// # Errors
/// [`DataError::Io`] if it cannot be read; [`Error::Malformed`] if its tensors are not those of
/// `network`.
pub fn read<T: Element>(
    path: &Path,
    network: &Network,
) -> Result<(ModelWeights<T>, String), Error> {
    let bytes = fs::read(path).map_err(DataError::io("read", path))?;
    let file = tensors::decode(&bytes, path)?;
    let count = network.layout().tensors().len() + network.buffers().tensors().len();
    if file.len() != count {
        return Err(Error::malformed(path, format!("{count} tensors"), file.len()));
    }
    let weights = ModelWeights {
        params: values(&file, path, network.layout())?,
        buffers: values(&file, path, network.buffers())?,
    };
    Ok((weights, tensors::sha256::<T>(&file)))
}

/// Reads the tensors of `layout` from `file` into their memory layout.
fn values<T: Element>(
    file: &SafeTensors<'_>,
    path: &Path,
    layout: &Layout,
) -> Result<Vec<T>, Error> {
    let mut all = nn::zeros(layout.len())?;
    for tensor in layout.tensors() {
        let values = &mut all[tensor.range.clone()];
        if tensor.order == Order::Count {
            values.fill(T::from_f64(tensors::count(file, path, &tensor.name)? as f64));
            continue;
        }
        let stored = tensors::values::<T>(file, path, &tensor.name, &tensor.torch_shape())?;
        for (i, value) in values.iter_mut().enumerate() {
            *value = stored[tensor.torch_index(i)];
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use nn::{Init, LayerSpec, Network};

    use super::*;

    #[test]
    fn a_weight_has_the_shape_outputs_by_inputs_in_the_file_and_is_read_back() {
        let network = Network::new(3, &[LayerSpec::dense(2, Init::Zeros)]).expect("a layer");
        // x W + b with W[input][output].
        let weights = |params: &[f32]| ModelWeights { params: params.into(), buffers: Vec::new() };
        let params = [1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, f32::NAN];
        let (bytes, sha256) = encode(&network, &weights(&params)).expect("fits");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("model.safetensors");
        fs::write(&path, &bytes).expect("written");
        let file = tensors::decode(&bytes, &path).expect("just written");
        let weight: Vec<f32> =
            tensors::values(&file, &path, "layers.0.weight", &[2, 3]).expect("PyTorch's");
        assert_eq!(weight, [1.0, 3.0, 5.0, 2.0, 4.0, 6.0]);

        let (read_back, read_sha256) = read::<f32>(&path, &network).expect("what was written");
        assert!(
            read_back.params.iter().map(|x| x.to_bits()).eq(params.iter().map(|x| x.to_bits()))
        );
        assert_eq!(sha256, read_sha256);
        // The payload of a NaN does not change the digest.
        let other = [1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, -f32::NAN];
        assert_eq!(encode(&network, &weights(&other)).expect("fits").1, sha256);
        assert_ne!(encode(&network, &weights(&[0.0; 8])).expect("fits").1, sha256);

        assert!(matches!(read::<f64>(&path, &network), Err(Error::Malformed { .. })));
        fs::write(&path, &bytes[..bytes.len() - 1]).expect("written");
        assert!(matches!(read::<f32>(&path, &network), Err(Error::Malformed { .. })));
    }
}
