//! IDX, the file format of MNIST and its variants: an array of bytes after a header with its shape.
//!
//! ```text
//! offset  bytes  meaning
//! 0       2      0
//! 2       1      element type; images and labels have 0x08, unsigned byte
//! 3       1      N, the number of dimensions
//! 4       4 N    the dimensions, big-endian, outermost first
//! 4 + 4N         the elements, the last dimension fastest
//! ```
//!
//! A file may be gzipped, which its first two bytes tell, not its name. Allocations are bounded by
//! the length of the file, whatever its header claims. Called by [`folder`](super::folder).
//!
//! Source: description of the format at the end of LeCun's MNIST page,
//! <http://yann.lecun.com/exdb/mnist>.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use crate::data::error::{DataError, Fault};
use crate::data::replace::replace;
use crate::machine::memory::reserve;

/// First two bytes of every gzip member (RFC 1952).
pub(crate) const GZIP_MAGIC: [u8; 2] = [0x1F, 0x8B];

/// Code of unsigned bytes in IDX.
const UNSIGNED_BYTE: u8 = 0x08;

/// Largest number of bytes that deflate decompresses from one: at best, two bits give 258 bytes
/// (zlib's manual, "Maximum compression factor").
const DEFLATE_MAX_RATIO: u64 = 1032;

/// Array of bytes with `N` dimensions above 0: images have 3 (count, rows, columns), labels 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Array<const N: usize> {
    /// Dimensions, outermost first.
    pub dims: [u32; N],
    /// Elements, the last dimension fastest; their number is the product of `dims`.
    pub data: Vec<u8>,
}

impl<const N: usize> Array<N> {
    /// Reads the file `path`, raw or gzipped.
    ///
    /// # Errors
    /// [`DataError::Malformed`] if the file breaks any rule of the format, its exact length
    /// included; [`DataError::Io`] if it cannot be read.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        let cannot_read = || DataError::io("read", path);
        let mut file = File::open(path).map_err(cannot_read())?;
        let length = file.metadata().map_err(cannot_read())?.len();
        let mut magic = Vec::with_capacity(2);
        Read::take(&mut file, 2).read_to_end(&mut magic).map_err(cannot_read())?;
        if magic == GZIP_MAGIC {
            drop(file);
            Self::parse(&fs::read(path).map_err(cannot_read())?, path)
        } else {
            Self::decode((&magic[..]).chain(file), length, path, cannot_read())
        }
    }

    /// Reads `bytes`, the contents of a file, raw or gzipped. `path` is for errors only.
    ///
    /// # Errors
    /// [`DataError::Malformed`], as [`read`](Self::read).
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self, DataError> {
        let length = bytes.len() as u64;
        if bytes.starts_with(&GZIP_MAGIC) {
            let damaged =
                |cause| DataError::malformed(path, Fault::Gzip, "a whole gzip stream", cause);
            let most = length.saturating_mul(DEFLATE_MAX_RATIO);
            Self::decode(MultiGzDecoder::new(bytes), most, path, damaged)
        } else {
            Self::decode(bytes, length, path, DataError::io("read", path))
        }
    }

    /// Reads the array from `source`, which has at most `most` bytes. `unreadable` converts a
    /// failure of `source`.
    fn decode(
        mut source: impl Read,
        most: u64,
        path: &Path,
        unreadable: impl FnOnce(io::Error) -> DataError,
    ) -> Result<Self, DataError> {
        let malformed = |fault, expected: String, found: String| {
            DataError::malformed(path, fault, expected, found)
        };
        let header_len = 4 + 4 * N as u64;
        let mut header = Vec::new();
        if let Err(cause) = source.by_ref().take(header_len).read_to_end(&mut header) {
            return Err(unreadable(cause));
        }
        if let Some([a, b]) = header.first_chunk::<2>()
            && [*a, *b] != [0, 0]
        {
            return Err(malformed(
                Fault::Magic,
                "first bytes 00 00".into(),
                format!("{a:02x} {b:02x}"),
            ));
        }
        match header.get(2) {
            Some(&UNSIGNED_BYTE) | None => {}
            Some(code) => {
                let expected = format!("{UNSIGNED_BYTE:#04x} (unsigned byte)");
                return Err(malformed(Fault::ElementType, expected, format!("{code:#04x}")));
            }
        }
        match header.get(3) {
            Some(&rank) if usize::from(rank) != N => {
                return Err(malformed(Fault::Rank, N.to_string(), rank.to_string()));
            }
            _ => {}
        }
        if (header.len() as u64) < header_len {
            let expected = format!("a header of {header_len} bytes");
            return Err(malformed(Fault::Length, expected, format!("{} bytes", header.len())));
        }

        let mut dims = [0; N];
        for (dim, bytes) in dims.iter_mut().zip(header[4..].as_chunks().0) {
            *dim = u32::from_be_bytes(*bytes);
        }
        if dims.contains(&0) {
            return Err(malformed(Fault::Empty, "dimensions above 0".into(), format!("{dims:?}")));
        }
        let claim = dims.iter().try_fold(1, |product: u64, &dim| product.checked_mul(dim.into()));
        let expected =
            || format!("{header_len} + {} bytes", dims.map(|dim| dim.to_string()).join(" * "));
        let Some(claim) = claim.filter(|claim| *claim <= most.saturating_sub(header_len)) else {
            return Err(malformed(Fault::Length, expected(), format!("{most} bytes at most")));
        };

        let len = usize::try_from(claim).unwrap_or(usize::MAX);
        let mut data = reserve(len).map_err(DataError::io("hold in memory", path))?;
        if let Err(cause) = source.by_ref().take(claim).read_to_end(&mut data) {
            return Err(unreadable(cause));
        }
        if (data.len() as u64) < claim {
            return Err(malformed(
                Fault::Length,
                expected(),
                format!("{} bytes", header_len + data.len() as u64),
            ));
        }
        // Reading to the end makes the gzip decoder check its trailer.
        match source.read(&mut [0]) {
            Ok(0) => Ok(Self { dims, data }),
            Ok(_) => Err(malformed(Fault::Length, expected(), "more".into())),
            Err(cause) => Err(unreadable(cause)),
        }
    }
}

/// Writes `data` to `path` as a raw IDX file of shape `dims`, atomically: readers see the old file
/// or the complete new one.
///
/// # Errors
/// [`DataError::Malformed`] if `data` has not as many elements as `dims` says, or a dimension is 0;
/// [`DataError::Io`] if the file cannot be written.
pub fn write<const N: usize>(path: &Path, dims: [u32; N], data: &[u8]) -> Result<(), DataError> {
    const { assert!(N <= u8::MAX as usize, "IDX counts its dimensions in one byte") };
    let mut header = vec![0, 0, UNSIGNED_BYTE, N as u8];
    header.extend(dims.iter().flat_map(|dim| dim.to_be_bytes()));
    let claim = dims.iter().try_fold(1, |product: u64, &dim| product.checked_mul(dim.into()));
    if dims.contains(&0) {
        return Err(DataError::malformed(
            path,
            Fault::Empty,
            "dimensions above 0",
            format!("{dims:?}"),
        ));
    }
    if claim != Some(data.len() as u64) {
        let expected = dims.map(|dim| dim.to_string()).join(" * ");
        return Err(DataError::malformed(path, Fault::Length, expected, data.len()));
    }
    replace(path, |file| {
        file.write_all(&header)
            .and_then(|()| file.write_all(data))
            .map_err(DataError::io("write", path))
    })
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::read::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packed = Vec::new();
        GzEncoder::new(bytes, Compression::fast())
            .read_to_end(&mut packed)
            .expect("memory does not fail");
        packed
    }

    /// Returns an IDX file of two images of 2 x 3.
    fn images() -> Vec<u8> {
        let mut file = vec![0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3];
        file.extend(1..=12);
        file
    }

    fn parse(bytes: &[u8]) -> Result<Array<3>, DataError> {
        Array::parse(bytes, Path::new("some/file"))
    }

    #[test]
    fn a_valid_file_is_read_raw_and_gzipped_in_one_member_or_two() {
        let expected = Array { dims: [2, 2, 3], data: (1..=12).collect() };
        let two_members = [gzip(&images()[..9]), gzip(&images()[9..])].concat();
        for file in [images(), gzip(&images()), two_members] {
            assert_eq!(parse(&file).expect("valid"), expected);
        }
    }

    /// Breaks each rule of the format, and compares the error.
    #[test]
    fn every_broken_rule_is_an_error_with_its_fault() {
        let with = |at: usize, byte| {
            let mut file = images();
            file[at] = byte;
            file
        };
        let longer = [images(), vec![0]].concat();
        let damaged = |at: usize| {
            let mut packed = gzip(&images());
            let at = packed.len() - at;
            packed[at] ^= 0x55;
            packed
        };
        let truncated = |by: usize| gzip(&images())[..gzip(&images()).len() - by].to_vec();
        let cases = [
            (with(0, 0x50), Fault::Magic, "first bytes 00 00", "50 00"),
            (with(1, 0x4B), Fault::Magic, "first bytes 00 00", "00 4b"),
            (with(2, 0x0D), Fault::ElementType, "0x08 (unsigned byte)", "0x0d"),
            (with(3, 1), Fault::Rank, "3", "1"),
            (with(7, 0), Fault::Empty, "dimensions above 0", "[0, 2, 3]"),
            (with(15, 0), Fault::Empty, "dimensions above 0", "[2, 2, 0]"),
            (vec![], Fault::Length, "a header of 16 bytes", "0 bytes"),
            (images()[..3].to_vec(), Fault::Length, "a header of 16 bytes", "3 bytes"),
            (images()[..15].to_vec(), Fault::Length, "a header of 16 bytes", "15 bytes"),
            (images()[..27].to_vec(), Fault::Length, "16 + 2 * 2 * 3 bytes", "27 bytes at most"),
            (longer.clone(), Fault::Length, "16 + 2 * 2 * 3 bytes", "more"),
            (gzip(&longer), Fault::Length, "16 + 2 * 2 * 3 bytes", "more"),
            (gzip(&images()[..27]), Fault::Length, "16 + 2 * 2 * 3 bytes", "27 bytes"),
            (gzip(&with(2, 0x0D)), Fault::ElementType, "0x08 (unsigned byte)", "0x0d"),
            // The last eight bytes of a member are its CRC-32 and length.
            (damaged(8), Fault::Gzip, "a whole gzip stream", ""),
            (damaged(4), Fault::Gzip, "a whole gzip stream", ""),
            (truncated(1), Fault::Gzip, "a whole gzip stream", ""),
            (truncated(12), Fault::Gzip, "a whole gzip stream", ""),
            ([gzip(&images()), b"tail".to_vec()].concat(), Fault::Gzip, "a whole gzip stream", ""),
            (GZIP_MAGIC.to_vec(), Fault::Gzip, "a whole gzip stream", ""),
        ];
        for (case, (file, fault, expected, found)) in cases.into_iter().enumerate() {
            let error = parse(&file).expect_err("malformed");
            let message = error.to_string();
            assert!(message.starts_with("some/file: "), "case {case}: {message}");
            let DataError::Malformed {
                path,
                fault: actual_fault,
                expected: actual,
                found: actual_found,
            } = error
            else {
                panic!("case {case}: {message}");
            };
            assert_eq!(path, Path::new("some/file"));
            assert_eq!((actual_fault, actual.as_str()), (fault, expected), "case {case}");
            if fault == Fault::Gzip {
                assert!(!actual_found.is_empty(), "case {case}");
            } else {
                assert_eq!(actual_found, found, "case {case}");
            }
        }
    }

    #[test]
    fn a_header_that_claims_more_than_the_file_can_hold_allocates_nothing() {
        let mut file = images();
        file[4..16].fill(0xFF);
        for file in [gzip(&file), file] {
            let error = parse(&file);
            assert!(matches!(error, Err(DataError::Malformed { fault: Fault::Length, .. })));
        }
    }

    #[test]
    fn a_written_file_is_read_back_and_leaves_no_temporary_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("new/array");
        let array = Array { dims: [2, 2, 3], data: (1..=12).collect() };
        write(&path, array.dims, &array.data).expect("written");
        assert_eq!(Array::read(&path).expect("valid"), array);
        assert_eq!(fs::read(&path).expect("there"), images());
        write(&path, [12], &array.data).expect("replaced");
        assert_eq!(Array::read(&path).expect("valid"), Array { dims: [12], data: array.data });
        fs::write(&path, gzip(&images())).expect("written");
        assert_eq!(Array::<3>::read(&path).expect("valid").dims, [2, 2, 3]);

        assert!(matches!(
            write(&path, [3, 5], &[0; 14]),
            Err(DataError::Malformed { fault: Fault::Length, .. })
        ));
        assert!(matches!(
            write(&path, [0, 5], &[]),
            Err(DataError::Malformed { fault: Fault::Empty, .. })
        ));
        let names: Vec<_> = fs::read_dir(folder.path().join("new")).expect("there").collect();
        assert_eq!(names.len(), 1, "{names:?}");
    }

    #[test]
    fn failures_of_the_machine_are_io_errors() {
        let folder = tempfile::tempdir().expect("a folder");
        let absent = folder.path().join("absent");
        assert!(matches!(Array::<1>::read(&absent), Err(DataError::Io { action: "read", .. })));
        assert!(matches!(
            Array::<1>::read(folder.path()),
            Err(DataError::Io { action: "read", .. })
        ));
        fs::write(&absent, []).expect("written");
        let below = write(&absent.join("file"), [1], &[0]);
        assert!(matches!(below, Err(DataError::Io { action: "create the folder", .. })));
    }

    proptest! {
        // Few cases, since each waits for the disk twice.
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn a_round_trip_keeps_shape_and_bytes(
            dims in prop::array::uniform3(1_u32..8), fill: u8, pack: bool,
        ) {
            let count = dims.iter().product::<u32>();
            let data: Vec<u8> = (0..count).map(|i| fill.wrapping_mul(i as u8)).collect();
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("array");
            write(&path, dims, &data).expect("written");
            if pack {
                fs::write(&path, gzip(&fs::read(&path).expect("there"))).expect("written");
            }
            prop_assert_eq!(Array::read(&path).expect("valid"), Array { dims, data });
        }
    }

    proptest! {
        /// Random bytes cause no panic, and allocate no more than they can hold.
        #[test]
        fn random_bytes_are_refused_or_read(
            bytes in prop::collection::vec(any::<u8>(), 0..200), header in 0_usize..6, pack: bool,
        ) {
            let mut bytes = [&images()[..header], &bytes].concat();
            if pack {
                bytes = gzip(&bytes);
            }
            if let Ok(Array { dims, data }) = parse(&bytes) {
                prop_assert_eq!(dims.iter().product::<u32>() as usize, data.len());
                prop_assert!(data.capacity() <= 200);
            }
        }

        /// Changes or truncates a valid file, raw or inside the gzip stream.
        #[test]
        fn mutations_are_refused_or_read(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            cut: prop::sample::Index, pack: bool,
        ) {
            let mut file = if pack { gzip(&images()) } else { images() };
            file.truncate(file.len() - cut.index(file.len()) / 4);
            for (at, byte) in changes {
                let at = at.index(file.len());
                file[at] = byte;
            }
            if let Ok(Array { dims, data }) = parse(&file) {
                prop_assert_eq!(dims.iter().product::<u32>() as usize, data.len());
                prop_assert!(data.len() <= 12 && data.capacity() <= 12);
            }
        }
    }
}
