//! Encoder of NumPy's `.npz`: an uncompressed ZIP archive of `.npy` files.
//!
//! ```text
//! npy    = \x93NUMPY 1 0 | length of header u16 | header, padded to 64 bytes | data
//! header = {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }
//! zip    = (local header | npy)* | (central header)* | end of central directory
//! ```
//!
//! Sources: NumPy's `numpy.lib.format`; PKWARE's APPNOTE 6.3, sections 4.3.7, 4.3.12 and 4.3.16.

use flate2::Crc;
use safetensors::Dtype;

use crate::run::tensors::Array;

/// Encodes `arrays` as the bytes of an archive. Offsets have 32 bits: the caller must refuse a
/// result of 4 GiB or more.
pub(crate) fn encode(arrays: &[(String, Array)]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, array) in arrays {
        let (name, data) = (format!("{name}.npy"), npy(array));
        let mut crc = Crc::new();
        crc.update(&data);
        // Version 2.0, no flags, stored; dated 1 January 1980, so that equal weights have equal
        // files.
        let mut common = Vec::new();
        common.extend([20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0]);
        common.extend(crc.sum().to_le_bytes());
        common.extend([(data.len() as u32).to_le_bytes(); 2].as_flattened());
        common.extend((name.len() as u16).to_le_bytes());
        common.extend([0, 0]);

        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&common);
        // No comment, the first disk, no attributes.
        directory.extend([0; 10]);
        directory.extend((file.len() as u32).to_le_bytes());
        directory.extend(name.as_bytes());

        file.extend(b"PK\x03\x04");
        file.extend(&common);
        file.extend(name.as_bytes());
        file.extend(data);
    }
    let (start, count) = (file.len() as u32, arrays.len() as u16);
    file.extend(&directory);
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend([count.to_le_bytes(); 2].as_flattened());
    file.extend((directory.len() as u32).to_le_bytes());
    file.extend(start.to_le_bytes());
    file.extend([0, 0]);
    file
}

/// Encodes an array as a `.npy` file.
fn npy(array: &Array) -> Vec<u8> {
    let descr = match array.dtype() {
        Dtype::F64 => "<f8",
        Dtype::I64 => "<i8",
        _ => "<f4",
    };
    let shape: String = array.shape().iter().map(|dim| format!("{dim}, ")).collect();
    let mut header = format!(
        "{{'descr': '{descr}', 'fortran_order': False, 'shape': ({}), }}",
        shape.trim_end()
    );
    // Ten bytes precede the header, and a line end follows it.
    while !(10 + header.len() + 1).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.as_bytes());
    file.extend(array.bytes());
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_has_the_bytes_of_numpy() {
        let file = npy(&Array::new(&[2, 1], &[1.0_f32, -2.0]));
        assert_eq!(file.len(), 128 + 8);
        assert!(file.starts_with(
            b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1,), }"
        ));
        assert_eq!(&file[127..], b"\n\0\0\x80\x3f\0\0\0\xc0");
        assert!(npy(&Array::count(3)).windows(13).any(|part| part == b"'shape': (), "));
    }
}
