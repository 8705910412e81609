//! Types of a run's parameters: f32 and f64, with their encoding in files.

use std::ops::{Div, Mul};

use nn::Float;
use safetensors::Dtype;

/// Type of parameters: `f32` or `f64`.
pub trait Element: Float + From<u8> + From<f32> + Mul<Output = Self> + Div<Output = Self> {
    /// Type in safetensors files.
    const DTYPE: Dtype;
    /// Appends the little-endian bytes of `values` to `bytes`.
    fn write(values: &[Self], bytes: &mut Vec<u8>);
    /// Reads values from their little-endian bytes; ignores trailing bytes of an incomplete value.
    fn read(bytes: &[u8]) -> Vec<Self>;
}

macro_rules! element {
    ($float:ident, $dtype:expr) => {
        impl Element for $float {
            const DTYPE: Dtype = $dtype;

            fn write(values: &[Self], bytes: &mut Vec<u8>) {
                bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            }

            fn read(bytes: &[u8]) -> Vec<Self> {
                bytes.as_chunks().0.iter().map(|&bytes| Self::from_le_bytes(bytes)).collect()
            }
        }
    };
}
element!(f32, Dtype::F32);
element!(f64, Dtype::F64);
