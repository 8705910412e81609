//! `model.safetensors`: the parameters as PyTorch names and lays them out, so that other programs load them.
//!
//! In memory the weight of a dense layer is (inputs, outputs); in the file it is [outputs, inputs].

use std::fs;
use std::path::Path;

use nn::Layout;

use crate::Error;
use crate::data::DataError;
use crate::element::Element;
use crate::tensors::{self, Array};

/// The parameters, or gradients, `values` with the names and layouts of PyTorch; `prefix` comes before each name.
pub fn arrays<T: Element>(layout: &Layout, values: &[T], prefix: &str) -> Vec<(String, Array)> {
    let array = |tensor: &nn::Tensor| {
        let values = &values[tensor.range.clone()];
        let array = match tensor.shape[..] {
            [rows, cols] => Array::new(&[cols, rows], &transposed(values, rows, cols)),
            _ => Array::new(&tensor.shape, values),
        };
        (format!("{prefix}{}", tensor.name), array)
    };
    layout.tensors().iter().map(array).collect()
}

/// The bytes of `model.safetensors` for these parameters, and the SHA-256 over its tensors.
///
/// # Errors
/// [`Error::Usage`] if the layout does not fit the format.
pub fn encode<T: Element>(layout: &Layout, params: &[T]) -> Result<(Vec<u8>, String), Error> {
    let bytes = tensors::encode(&arrays(layout, params, ""), None)?;
    let sha256 = tensors::sha256::<T>(&tensors::decode(&bytes, Path::new("model.safetensors"))?);
    Ok((bytes, sha256))
}

/// The parameters in the file `path`, laid out as in memory, and the SHA-256 over its tensors.
///
/// # Errors
/// [`DataError::Io`] if it cannot be read, [`Error::Malformed`] if it does not hold what `layout` calls for.
pub fn read<T: Element>(path: &Path, layout: &Layout) -> Result<(Vec<T>, String), Error> {
    let bytes = fs::read(path).map_err(DataError::io("read", path))?;
    let file = tensors::decode(&bytes, path)?;
    if file.len() != layout.tensors().len() {
        let expected = format!("{} tensors", layout.tensors().len());
        return Err(tensors::malformed(path, expected, file.len()));
    }
    let mut params = Vec::with_capacity(layout.len());
    for tensor in layout.tensors() {
        match tensor.shape[..] {
            [rows, cols] => {
                let values = tensors::values(&file, path, &tensor.name, &[cols, rows])?;
                params.extend(transposed::<T>(&values, cols, rows));
            }
            _ => params.extend(tensors::values::<T>(&file, path, &tensor.name, &tensor.shape)?),
        }
    }
    Ok((params, tensors::sha256::<T>(&file)))
}

/// The transpose of a rows x cols matrix.
fn transposed<T: Copy>(values: &[T], rows: usize, cols: usize) -> Vec<T> {
    (0..cols).flat_map(|col| (0..rows).map(move |row| values[row * cols + col])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nn::{Init, LayerSpec, Network};

    #[test]
    fn a_weight_is_outputs_by_inputs_in_the_file_and_comes_back() {
        let network = Network::new(3, &[LayerSpec::dense(2, Init::Zeros)]).expect("a layer");
        // x W + b with W[input][output].
        let params = [1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, f32::NAN];
        let (bytes, sha256) = encode(network.layout(), &params).expect("fits");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("model.safetensors");
        fs::write(&path, &bytes).expect("written");
        let file = tensors::decode(&bytes, &path).expect("just written");
        let weight: Vec<f32> = tensors::values(&file, &path, "layers.0.weight", &[2, 3]).expect("PyTorch's");
        assert_eq!(weight, [1.0, 3.0, 5.0, 2.0, 4.0, 6.0]);

        let (back, same) = read::<f32>(&path, network.layout()).expect("what was written");
        assert!(back.iter().map(|x| x.to_bits()).eq(params.iter().map(|x| x.to_bits())));
        assert_eq!(sha256, same);
        // By any other NaN the file is the same.
        let other = [1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, -f32::NAN];
        assert_eq!(encode(network.layout(), &other).expect("fits").1, sha256);
        assert_ne!(encode(network.layout(), &[0.0_f32; 8]).expect("fits").1, sha256);

        assert!(matches!(read::<f64>(&path, network.layout()), Err(Error::Malformed { .. })));
        fs::write(&path, &bytes[..bytes.len() - 1]).expect("written");
        assert!(matches!(read::<f32>(&path, network.layout()), Err(Error::Malformed { .. })));
    }
}
