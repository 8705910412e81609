//! NumPy's `.npy` format: a magic number, a header that is a Python literal, and the elements.
//!
//! ```text
//! \x93NUMPY major minor
//! length of the header: u16, or u32 from version 2 on
//! {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }
//! elements
//! ```
//!
//! Source: NumPy's `numpy.lib.format`. Called by [`arrays`](super::arrays).

use std::io::Read;
use std::path::Path;

use crate::data::error::{DataError, Fault};
use crate::data::rounding::Rounding;
use crate::machine::memory::reserve;

/// NumPy array, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Npy {
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Elements, the last dimension fastest.
    pub elements: Elements,
    /// Precision lost by rounding [`Elements::Floats`] to f32.
    pub rounding: Rounding,
}

/// Elements of an array by kind, independent of their width in the file.
#[derive(Clone, Debug, PartialEq)]
pub enum Elements {
    /// Unsigned bytes.
    Bytes(Vec<u8>),
    /// Other integers; booleans as 0 and 1.
    Integers(Vec<i64>),
    /// Finite numbers, rounded to f32.
    Floats(Vec<f32>),
}

/// Largest length of a header; those of plain arrays have some 100 bytes.
const MAX_HEADER: usize = 1 << 16;

/// Reads the array in `input`; errors name it `path`.
///
/// # Errors
/// [`DataError::Malformed`] if it is no such file, has an unsupported element type, is
/// column-major, has more or fewer elements than its header says, or has non-finite elements;
/// [`DataError::Io`] if it cannot be read.
pub fn parse(mut input: impl Read, path: &Path) -> Result<Npy, DataError> {
    let malformed =
        |fault, expected: &str, found: String| DataError::malformed(path, fault, expected, found);
    let mut take = |len: usize| {
        let mut bytes = Vec::new();
        input
            .by_ref()
            .take(len as u64)
            .read_to_end(&mut bytes)
            .map_err(DataError::io("read", path))?;
        Ok::<_, DataError>(bytes)
    };
    let start = take(8)?;
    let Some(&[major, _]) = start.strip_prefix(b"\x93NUMPY") else {
        return Err(malformed(
            Fault::Npy,
            "a file that begins with \\x93NUMPY",
            format!("{start:02x?}"),
        ));
    };
    let width = if major == 1 { 2 } else { 4 };
    let len = take(width)?.iter().rev().fold(0, |len, &byte| len << 8 | usize::from(byte));
    if len > MAX_HEADER {
        return Err(malformed(Fault::Npy, "a header of at most 65536 bytes", len.to_string()));
    }
    let header = take(len)?;
    let header = String::from_utf8_lossy(&header);
    let Header { kind, width, big_endian, shape } =
        Header::parse(&header).map_err(|HeaderError { fault, expected }| {
            malformed(fault, expected, header.trim().to_owned())
        })?;

    let too_large = || {
        let found = format!("the shape {shape:?}, with {width} bytes per element");
        malformed(Fault::Length, "an array that fits into memory", found)
    };
    let count = shape.iter().try_fold(1_usize, |product, &dim| product.checked_mul(dim));
    let len = count.and_then(|count| count.checked_mul(width)).ok_or_else(too_large)?;
    // Checked before reading, since an array may be a thousand times as large as its archive.
    drop(reserve::<u8>(len).map_err(|_| too_large())?);
    let mut bytes = take(len)?;
    let rest = take(1)?.len();
    if bytes.len() + rest != len {
        let found = if rest > 0 { "more".into() } else { bytes.len().to_string() };
        return Err(DataError::malformed(
            path,
            Fault::Length,
            format!("{len} bytes of elements"),
            found,
        ));
    }
    if big_endian {
        bytes.chunks_exact_mut(width).for_each(<[u8]>::reverse);
    }
    let mut rounding = Rounding::default();
    let elements = match (kind, width) {
        ('u', 1) => Elements::Bytes(bytes),
        ('f', 8) => {
            let exact = bytes.as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes));
            let rounded = |(at, exact): (usize, f64)| {
                rounding.float(exact, exact as f32, || position(&shape, at));
                exact as f32
            };
            Elements::Floats(finite(exact.enumerate().map(rounded).collect(), path)?)
        }
        ('f', _) => {
            let numbers = bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes));
            Elements::Floats(finite(numbers.collect(), path)?)
        }
        _ => {
            let mut integers = reserve(bytes.len() / width).map_err(|_| too_large())?;
            integers.extend(bytes.chunks_exact(width).map(|bytes| integer(bytes, kind == 'i')));
            Elements::Integers(integers)
        }
    };
    Ok(Npy { shape, elements, rounding })
}

/// Returns `numbers`, or an error if some are non-finite.
fn finite(numbers: Vec<f32>, path: &Path) -> Result<Vec<f32>, DataError> {
    match numbers.iter().position(|number| !number.is_finite()) {
        Some(at) => {
            let found = format!("{} at index {at} of all elements", numbers[at]);
            Err(DataError::malformed(
                path,
                Fault::Number,
                "finite numbers within the range of f32",
                found,
            ))
        }
        None => Ok(numbers),
    }
}

/// Returns the position of element `at` of an array of `shape`, as in `row 3, column 0`, both
/// counted from 0.
pub(super) fn position(shape: &[usize], at: usize) -> String {
    match shape.get(1..).unwrap_or_default().iter().product::<usize>() {
        0 | 1 => format!("row {at}"),
        columns => format!("row {}, column {}", at / columns, at % columns),
    }
}

/// Reads a little-endian integer. Values above `i64::MAX` saturate.
fn integer(bytes: &[u8], signed: bool) -> i64 {
    let negative = signed && bytes.last().is_some_and(|&byte| byte > 127);
    let mut wide = if negative { [255; 8] } else { [0; 8] };
    wide[..bytes.len()].copy_from_slice(bytes);
    if signed {
        i64::from_le_bytes(wide)
    } else {
        u64::from_le_bytes(wide).try_into().unwrap_or(i64::MAX)
    }
}

/// Contents of a header.
struct Header {
    /// Kind of elements: `f`, `i`, `u` or `b`.
    kind: char,
    /// Bytes per element.
    width: usize,
    big_endian: bool,
    shape: Vec<usize>,
}

/// Rule that a header breaks.
struct HeaderError {
    fault: Fault,
    expected: &'static str,
}

impl Header {
    fn parse(text: &str) -> Result<Self, HeaderError> {
        let incomplete = HeaderError {
            fault: Fault::Npy,
            expected: "a header with descr, fortran_order and shape",
        };
        let value = |key: &str| {
            let (_, rest) = text.split_once(key)?;
            Some(rest.trim_start().strip_prefix(':')?.trim_start())
        };
        let (Some(descr), Some(order), Some(shape)) =
            (value("'descr'"), value("'fortran_order'"), value("'shape'"))
        else {
            return Err(incomplete);
        };
        let types = "elements of type f4, f8, u1, b1 or integers (save with .astype(\"float32\"))";
        let unsupported = HeaderError { fault: Fault::ElementType, expected: types };
        let descr = descr.strip_prefix('\'').and_then(|rest| rest.split_once('\''));
        let Some((descr, _)) = descr else { return Err(unsupported) };
        let mut characters = descr.chars();
        let (Some(byte_order), Some(kind)) = (characters.next(), characters.next()) else {
            return Err(unsupported);
        };
        let width = match (kind, characters.as_str()) {
            ('f' | 'i' | 'u', "4") => 4,
            ('f' | 'i' | 'u', "8") => 8,
            ('i' | 'u', "2") => 2,
            ('i' | 'u' | 'b', "1") => 1,
            _ => return Err(unsupported),
        };
        let dims = shape.strip_prefix('(').and_then(|rest| rest.split_once(')'));
        let dims =
            dims.map(|(dims, _)| dims.split(',').map(str::trim).filter(|dim| !dim.is_empty()));
        let shape: Option<Vec<usize>> =
            dims.and_then(|dims| dims.map(|dim| dim.parse().ok()).collect());
        let Some(shape) = shape else { return Err(incomplete) };
        if order.starts_with("True") && shape.len() > 1 {
            let expected = "row-major order (save with numpy.ascontiguousarray)";
            return Err(HeaderError { fault: Fault::Npy, expected });
        }
        Ok(Self { kind, width, big_endian: byte_order == '>', shape })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a file as `numpy.save` writes it.
    pub(crate) fn file(descr: &str, shape: &str, elements: &[u8]) -> Vec<u8> {
        let header =
            format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend((header.len() as u16).to_le_bytes());
        file.extend(header.as_bytes());
        file.extend(elements);
        file
    }

    fn parsed(file: &[u8]) -> Result<Npy, String> {
        parse(file, Path::new("a.npy")).map_err(|error| error.to_string())
    }

    #[test]
    fn every_type_is_read() {
        let elements = |descr: &str, bytes: &[u8]| {
            let width = descr[2..].parse::<usize>().expect("a width");
            let shape = format!("({},)", bytes.len() / width);
            parsed(&file(descr, &shape, bytes)).expect(descr).elements
        };
        assert_eq!(elements("|u1", &[1, 255]), Elements::Bytes(vec![1, 255]));
        assert_eq!(elements("|b1", &[1, 0]), Elements::Integers(vec![1, 0]));
        assert_eq!(elements("|i1", &[255]), Elements::Integers(vec![-1]));
        assert_eq!(elements("<i2", &[0, 128, 1, 0]), Elements::Integers(vec![-32768, 1]));
        assert_eq!(elements(">i4", &[255, 255, 255, 254]), Elements::Integers(vec![-2]));
        assert_eq!(elements("<u4", &[255; 4]), Elements::Integers(vec![i64::from(u32::MAX)]));
        assert_eq!(elements("<u8", &[255; 8]), Elements::Integers(vec![i64::MAX]));
        assert_eq!(elements("<f4", &1.5_f32.to_le_bytes()), Elements::Floats(vec![1.5]));
        assert_eq!(elements(">f8", &0.1_f64.to_be_bytes()), Elements::Floats(vec![0.1]));
    }

    #[test]
    fn the_notice_about_rounding_has_row_and_column() {
        let numbers = [0.1_f64, 1.0, 2.0, 16_777_217.0].map(f64::to_le_bytes).concat();
        let array = parsed(&file("<f8", "(2, 2)", &numbers)).expect("an array");
        let notice = array.rounding.notice(Path::new("a.npy")).expect("one of them");
        assert!(notice.contains("16777217 in row 1, column 1, which becomes 16777216"), "{notice}");
        let exact = parsed(&file("<f8", "(2, 2)", &[0; 32])).expect("an array");
        assert_eq!(exact.rounding, Rounding::default());
        assert_eq!((position(&[5], 3), position(&[5, 1], 3)), ("row 3".into(), "row 3".into()));
    }

    #[test]
    fn shapes_are_read() {
        let shape = |shape: &str, count: usize| {
            parsed(&file("|u1", shape, &vec![0; count])).expect("an array").shape
        };
        assert_eq!(shape("(2, 3)", 6), [2, 3]);
        assert_eq!(shape("(4,)", 4), [4]);
        assert_eq!(shape("()", 1), [0; 0]);
        assert_eq!(shape("(0, 3)", 0), [0, 3]);
    }

    #[test]
    fn errors_name_the_broken_rule() {
        let nan = f32::NAN.to_le_bytes();
        for (file, expected) in [
            (b"PK\x03\x04".to_vec(), "begins with"),
            (file("<f4", "(2,)", &[0; 7]), "expected 8 bytes of elements, found 7"),
            (file("<f4", "(2,)", &[0; 9]), "found more"),
            (file("<c8", "(1,)", &[0; 8]), "float32"),
            (
                file("<f4", "(1,)", &nan),
                "finite numbers within the range of f32, found NaN at index 0",
            ),
            (file("<f8", "(1,)", &1e300_f64.to_le_bytes()), "inf"),
            (file("<f4", "(-1,)", &[]), "shape"),
            (file("<f8", "(4294967296, 4294967296)", &[]), "fits into memory"),
            (file("|i1", "(1073741824, 65536)", &[]), "fits into memory"),
        ] {
            let error = parsed(&file).expect_err(expected);
            assert!(error.starts_with("a.npy: ") && error.contains(expected), "{error}");
        }
        let column_major = file("<f4", "(1, 1)", &[0; 4]);
        let column_major =
            String::from_utf8_lossy(&column_major).replace("False", " True").into_bytes();
        // The lossy conversion replaces the first byte of the magic number by three.
        let column_major = [b"\x93".as_slice(), &column_major[3..]].concat();
        assert!(parsed(&column_major).expect_err("column-major").contains("ascontiguousarray"));
    }
}
