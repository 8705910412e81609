//! Arrays as NumPy writes them, some of them damaged, alone and in archives: read with their
//! values, or an error. `cargo +nightly fuzz run npy`.
#![no_main]

use std::io::{Cursor, Write};
use std::path::Path;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use runner::data::Inputs;
use runner::data::Labelled;
use runner::data::Targets;
use runner::data::arrays;
use runner::data::npy;
use runner::data::npy::Elements;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

#[derive(Debug, Arbitrary)]
struct Problem {
    x: Array,
    y: Array,
    test: Option<[Array; 2]>,
    compressed: bool,
    /// Position and new value of one byte of the archive.
    damage: Option<(u16, u8)>,
}

#[derive(Debug, Arbitrary)]
struct Array {
    kind: u8,
    big_endian: bool,
    columns_first: bool,
    dims: Vec<u8>,
    /// Elements, repeated; `mismatch` makes them one byte shorter or longer.
    bytes: Vec<u8>,
    mismatch: u8,
    /// Text in place of the header.
    header: Option<String>,
    version: u8,
}

const KINDS: [&str; 12] = ["u1", "i1", "b1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8", "c8"];

impl Array {
    /// Returns the bytes of the file, and `true` if the file is as NumPy writes it.
    fn file(&self, big_endian: bool) -> (Vec<u8>, bool) {
        let kind = KINDS[usize::from(self.kind) % KINDS.len()];
        let width = usize::from(kind.as_bytes()[1] - b'0');
        let dims: Vec<_> = self.dims.iter().take(5).map(|&dim| usize::from(dim % 6)).collect();
        let order = if big_endian { '>' } else { '<' };
        let shape: String = dims.iter().map(|dim| format!("{dim}, ")).collect();
        let columns_first = if self.columns_first { "True" } else { "False" };
        let header = self.header.clone().unwrap_or_else(|| {
            format!(
                "{{'descr': '{order}{kind}', 'fortran_order': {columns_first}, \
                 'shape': ({shape}), }}\n"
            )
        });
        let mut file = vec![0x93, b'N', b'U', b'M', b'P', b'Y', self.version % 3, 0];
        match self.version % 3 {
            1 => file.extend((header.len() as u16).to_le_bytes()),
            _ => file.extend((header.len() as u32).to_le_bytes()),
        }
        file.extend(header.as_bytes());
        let count = dims.iter().product::<usize>();
        let len = match self.mismatch {
            0 => count * width + 1,
            1 => (count * width).saturating_sub(1),
            _ => count * width,
        };
        let byte = |at: usize| self.bytes.get(at % self.bytes.len().max(1)).copied().unwrap_or(0);
        let mut elements: Vec<_> = (0..len).map(byte).collect();
        if big_endian {
            elements.chunks_exact_mut(width).for_each(<[u8]>::reverse);
        }
        file.extend(elements);
        let fits = self.header.is_none() && len == count * width && kind != "c8";
        (file, fits && (!self.columns_first || dims.len() < 2))
    }
}

fuzz_target!(|problem: Problem| {
    let path = Path::new("fuzzed");
    let mut arrays = vec![("x", &problem.x), ("y", &problem.y)];
    if let Some([x, y]) = &problem.test {
        arrays.extend([("x_test", x), ("y_test", y)]);
    }
    let options = SimpleFileOptions::default().compression_method(if problem.compressed {
        CompressionMethod::Deflated
    } else {
        CompressionMethod::Stored
    });
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, array) in arrays {
        let (file, is_whole) = array.file(array.big_endian);
        let read = npy::parse(&file[..], path);
        if is_whole {
            let other = npy::parse(&array.file(!array.big_endian).0[..], path);
            match (&read, other) {
                (Ok(one), Ok(other)) => assert_eq!(*one, other),
                (Err(one), Err(other)) => {
                    assert_eq!(one.to_string(), other.to_string());
                    assert!(one.to_string().contains("finite"), "{one}");
                }
                (one, other) => panic!("{one:?}, {other:?}"),
            }
        }
        if let Ok(array) = &read {
            let len = match &array.elements {
                Elements::Bytes(all) => all.len(),
                Elements::Integers(all) => all.len(),
                Elements::Floats(all) => all.len(),
            };
            assert_eq!(len, array.shape.iter().product::<usize>());
        }
        archive.start_file(format!("{name}.npy"), options).expect("a name");
        archive.write_all(&file).expect("memory");
    }
    let mut archive = archive.finish().expect("memory").into_inner();
    if let Some((at, value)) = problem.damage {
        let at = usize::from(at) % archive.len();
        archive[at] = value;
    }
    if let Ok(set) = arrays::parse(Cursor::new(archive), path, &mut |_| {}) {
        examples(&set.train);
        if let Some(test) = &set.test {
            examples(test);
            assert_eq!(test.shape(), set.train.shape());
        }
    }
});

/// Checks that `set` has inputs and a target for each of its examples.
fn examples(set: &Labelled) {
    assert!(!set.is_empty());
    let targets = match set.targets() {
        Targets::Classes(labels) => labels.len(),
        Targets::Inputs(_) => unreachable!("a file has targets"),
        Targets::Values(values) => {
            assert!(values.iter().all(|value| value.is_finite()));
            values.len()
        }
    };
    assert_eq!(targets, set.len());
    let inputs = match set.inputs() {
        Inputs::Bytes(all) => all.len(),
        Inputs::Numbers(all) => {
            assert!(all.iter().all(|x| x.is_finite()));
            all.len()
        }
    };
    assert_eq!(inputs, set.len() * set.image_len());
}
