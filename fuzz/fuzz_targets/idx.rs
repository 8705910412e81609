//! Any bytes as an IDX file, raw or gzipped: read, or refused with an error; `cargo +nightly fuzz run idx`.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use runner::data::idx::Array;

fuzz_target!(|bytes: &[u8]| {
    let path = Path::new("fuzzed");
    if let Ok(images) = Array::<3>::parse(bytes, path) {
        let elements: u64 = images.dims.iter().map(|&dim| u64::from(dim)).product();
        assert_eq!(images.data.len() as u64, elements);
    }
    if let Ok(labels) = Array::<1>::parse(bytes, path) {
        assert_eq!(labels.data.len() as u64, u64::from(labels.dims[0]));
    }
});
