//! The numbers of a network: what is trained and what is not, and `model.safetensors`, which holds both as PyTorch names
//! and lays them out, so that other programs load them.

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

/// The numbers of a network, in the layout of memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weights<T> {
    /// What is trained, by [`Network::layout`].
    pub params: Vec<T>,
    /// What is not, such as running statistics, by [`Network::buffers`].
    pub buffers: Vec<T>,
}

impl<T: Element> Weights<T> {
    /// Zeros.
    ///
    /// # Errors
    /// [`Error::Network`] if there is no memory for them.
    pub fn zeros(network: &Network) -> Result<Self, Error> {
        Ok(Self {
            params: nn::zeros(network.layout().len())?,
            buffers: nn::zeros(network.buffers().len())?,
        })
    }

    /// What a run with this seed begins with.
    ///
    /// # Errors
    /// [`Error::Network`] if there is no memory for them.
    pub fn initial(network: &Network, cpu: Cpu<'_>, seed: u64) -> Result<Self, Error> {
        let mut weights = Self::zeros(network)?;
        network.init(cpu, seed, &mut weights.params)?;
        network.init_buffers(cpu, &mut weights.buffers)?;
        Ok(weights)
    }

    /// For a pass of the network.
    pub fn lend(&mut self) -> nn::Weights<'_, T> {
        nn::Weights { params: &self.params, buffers: &mut self.buffers }
    }

    /// The same numbers in another type: widened exactly, or rounded.
    pub fn converted<U: Element>(&self) -> Weights<U> {
        let convert =
            |values: &[T]| values.iter().map(|value| U::from_f64(value.to_f64())).collect();
        Weights { params: convert(&self.params), buffers: convert(&self.buffers) }
    }

    /// Copies `other`, of the same network.
    pub fn copy_from(&mut self, other: &Self) {
        self.params.copy_from_slice(&other.params);
        self.buffers.copy_from_slice(&other.buffers);
    }
}

/// `values` of this layout with the names and layouts of PyTorch; `prefix` comes before each name.
pub fn arrays<T: Element>(layout: &Layout, values: &[T], prefix: &str) -> Vec<(String, Array)> {
    let array = |tensor: &Tensor| {
        let here = &values[tensor.range.clone()];
        let array = if tensor.order == Order::Count {
            Array::count(here[0].to_f64() as i64)
        } else {
            let mut there = here.to_vec();
            for (i, &value) in here.iter().enumerate() {
                there[tensor.torch_index(i)] = value;
            }
            Array::new(&tensor.torch_shape(), &there)
        };
        (format!("{prefix}{}", tensor.name), array)
    };
    layout.tensors().iter().map(array).collect()
}

/// The bytes of `model.safetensors` for these weights, and the SHA-256 over its tensors.
///
/// # Errors
/// [`Error::Usage`] if they do not fit the format.
pub fn encode<T: Element>(
    network: &Network,
    weights: &Weights<T>,
) -> Result<(Vec<u8>, String), Error> {
    let mut all = arrays(network.layout(), &weights.params, "");
    all.extend(arrays(network.buffers(), &weights.buffers, ""));
    let bytes = tensors::encode(&all, None)?;
    let sha256 = tensors::sha256::<T>(&tensors::decode(&bytes, Path::new("model.safetensors"))?);
    Ok((bytes, sha256))
}

/// The weights in the file `path`, laid out as in memory, and the SHA-256 over its tensors.
///
/// # Errors
/// [`DataError::Io`] if it cannot be read, [`Error::Malformed`] if it does not hold what `network` calls for.
pub fn read<T: Element>(path: &Path, network: &Network) -> Result<(Weights<T>, String), Error> {
    let bytes = fs::read(path).map_err(DataError::io("read", path))?;
    let file = tensors::decode(&bytes, path)?;
    let count = network.layout().tensors().len() + network.buffers().tensors().len();
    if file.len() != count {
        return Err(Error::malformed(path, format!("{count} tensors"), file.len()));
    }
    let weights = Weights {
        params: laid_out(&file, path, network.layout())?,
        buffers: laid_out(&file, path, network.buffers())?,
    };
    Ok((weights, tensors::sha256::<T>(&file)))
}

/// The tensors of `layout` in `file`, as in memory.
fn laid_out<T: Element>(
    file: &SafeTensors<'_>,
    path: &Path,
    layout: &Layout,
) -> Result<Vec<T>, Error> {
    let mut all = nn::zeros(layout.len())?;
    for tensor in layout.tensors() {
        let here = &mut all[tensor.range.clone()];
        if tensor.order == Order::Count {
            here.fill(T::from_f64(tensors::count(file, path, &tensor.name)? as f64));
            continue;
        }
        let there = tensors::values::<T>(file, path, &tensor.name, &tensor.torch_shape())?;
        for (i, value) in here.iter_mut().enumerate() {
            *value = there[tensor.torch_index(i)];
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use nn::{Init, LayerSpec, Network};

    use super::*;

    #[test]
    fn a_weight_is_outputs_by_inputs_in_the_file_and_comes_back() {
        let network = Network::new(3, &[LayerSpec::dense(2, Init::Zeros)]).expect("a layer");
        // x W + b with W[input][output].
        let weights = |params: &[f32]| Weights { params: params.into(), buffers: Vec::new() };
        let params = [1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, f32::NAN];
        let (bytes, sha256) = encode(&network, &weights(&params)).expect("fits");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("model.safetensors");
        fs::write(&path, &bytes).expect("written");
        let file = tensors::decode(&bytes, &path).expect("just written");
        let weight: Vec<f32> =
            tensors::values(&file, &path, "layers.0.weight", &[2, 3]).expect("PyTorch's");
        assert_eq!(weight, [1.0, 3.0, 5.0, 2.0, 4.0, 6.0]);

        let (back, same) = read::<f32>(&path, &network).expect("what was written");
        assert!(back.params.iter().map(|x| x.to_bits()).eq(params.iter().map(|x| x.to_bits())));
        assert_eq!(sha256, same);
        // By any other NaN the file is the same.
        let other = [1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, -f32::NAN];
        assert_eq!(encode(&network, &weights(&other)).expect("fits").1, sha256);
        assert_ne!(encode(&network, &weights(&[0.0; 8])).expect("fits").1, sha256);

        assert!(matches!(read::<f64>(&path, &network), Err(Error::Malformed { .. })));
        fs::write(&path, &bytes[..bytes.len() - 1]).expect("written");
        assert!(matches!(read::<f32>(&path, &network), Err(Error::Malformed { .. })));
    }
}
