//! safetensors files: named arrays with their shapes, written and read by
//! [`weights`](crate::run::weights), [`checkpoint`](crate::run::checkpoint) and `dump`.
//!
//! Format: <https://huggingface.co/docs/safetensors>. The library sorts the arrays by type, then by
//! name: the "file order".

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use sha2::{Digest, Sha256};

use crate::Error;
use crate::data::digest::hex;
use crate::data::element::Element;

/// An array to be written to a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Array {
    /// Array of `shape` with `values` in row-major order.
    pub fn new<T: Element>(shape: &[usize], values: &[T]) -> Self {
        let mut bytes = Vec::with_capacity(size_of_val(values));
        T::write(values, &mut bytes);
        Self { dtype: T::DTYPE, shape: shape.into(), bytes }
    }

    /// Labels in PyTorch's type: 64-bit integers.
    pub fn classes(labels: &[u32]) -> Self {
        let bytes = labels.iter().flat_map(|&label| i64::from(label).to_le_bytes()).collect();
        Self { dtype: Dtype::I64, shape: vec![labels.len()], bytes }
    }

    /// Count in PyTorch's type: a 64-bit integer without dimensions.
    pub fn count(count: i64) -> Self {
        Self { dtype: Dtype::I64, shape: Vec::new(), bytes: count.to_le_bytes().into() }
    }

    /// Type of the elements.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Shape.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Elements, as in a file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Encodes `arrays` and `metadata` as the bytes of a file.
///
/// # Errors
/// [`Error::Usage`] if a shape does not fit its array.
pub fn encode(
    arrays: &[(String, Array)],
    metadata: Option<HashMap<String, String>>,
) -> Result<Vec<u8>, Error> {
    let unfit = |error: safetensors::SafeTensorError| Error::Usage(format!("tensors: {error}"));
    let views: Result<Vec<_>, _> = arrays
        .iter()
        .map(|(name, array)| {
            Ok((name, TensorView::new(array.dtype, array.shape.clone(), &array.bytes)?))
        })
        .collect();
    safetensors::serialize(views.map_err(unfit)?, metadata).map_err(unfit)
}

/// Decodes `bytes`, the contents of the file `path`.
///
/// # Errors
/// [`Error::Malformed`] if it is not a safetensors file, or a damaged one.
pub fn decode<'a>(bytes: &'a [u8], path: &Path) -> Result<SafeTensors<'a>, Error> {
    SafeTensors::deserialize(bytes).map_err(|error| {
        Error::malformed(path, "a valid safetensors file", format!("an invalid one: {error}"))
    })
}

/// Reads the array `name` of the file `path`.
///
/// # Errors
/// [`Error::Malformed`] if it is missing, or has another type or shape.
pub fn values<T: Element>(
    file: &SafeTensors<'_>,
    path: &Path,
    name: &str,
    shape: &[usize],
) -> Result<Vec<T>, Error> {
    let expected = || format!("`{name}` with type {} and shape {shape:?}", T::DTYPE);
    let view =
        file.tensor(name).map_err(|_| Error::malformed(path, expected(), "no such tensor"))?;
    if view.dtype() != T::DTYPE || view.shape() != shape {
        let found = format!("type {} and shape {:?}", view.dtype(), view.shape());
        return Err(Error::malformed(path, expected(), found));
    }
    Ok(T::read(view.data()))
}

/// Reads the count `name` of the file `path`.
///
/// # Errors
/// [`Error::Malformed`] if it is missing, or has another type or shape.
pub fn count(file: &SafeTensors<'_>, path: &Path, name: &str) -> Result<i64, Error> {
    let expected = || format!("`{name}` with type {} and no dimensions", Dtype::I64);
    let view =
        file.tensor(name).map_err(|_| Error::malformed(path, expected(), "no such tensor"))?;
    match (view.dtype(), view.shape(), view.data().try_into()) {
        (Dtype::I64, [], Ok(bytes)) => Ok(i64::from_le_bytes(bytes)),
        (dtype, shape, _) => {
            Err(Error::malformed(path, expected(), format!("type {dtype} and shape {shape:?}")))
        }
    }
}

/// SHA-256 over the tensors of `file`, of type `T` or counts, in file order: their little-endian
/// bytes, with each NaN replaced by the canonical one.
pub fn sha256<T: Element + PartialOrd>(file: &SafeTensors<'_>) -> String {
    let mut views: Vec<_> = file.tensors();
    views.sort_by_key(|(_, view)| view.data().as_ptr().addr());
    let mut hash = Sha256::new();
    let mut bytes = Vec::new();
    for (_, view) in views {
        if view.dtype() == Dtype::I64 {
            hash.update(view.data());
            continue;
        }
        let mut values = T::read(view.data());
        for value in &mut values {
            if value.to_f64().is_nan() {
                *value = T::from_f64(f64::NAN);
            }
        }
        bytes.clear();
        T::write(&values, &mut bytes);
        hash.update(&bytes);
    }
    hex(&hash.finalize())
}

/// SHA-256 over `text` and the named `arrays`, in any order.
pub(crate) fn digest<'a>(text: &str, arrays: impl Iterator<Item = (&'a str, &'a [u8])>) -> String {
    let mut arrays: Vec<_> = arrays.collect();
    arrays.sort_unstable();
    let mut hash = Sha256::new_with_prefix(text);
    for (name, bytes) in arrays {
        hash.update(name);
        hash.update(bytes);
    }
    hex(&hash.finalize())
}
