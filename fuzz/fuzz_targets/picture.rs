//! Whatever the bytes: a picture is refused, or has as many pixels as were asked for; no panic, and no memory beyond its limit.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use runner::scan::{Invert, Preparation, parse};

fuzz_target!(|bytes: &[u8]| {
    let centre = bytes.len() % 2 == 0;
    let preparation = Preparation { rows: 28, cols: 28, invert: Invert::Auto, centre };
    if let Ok(scan) = parse(bytes, Path::new("input"), preparation) {
        assert_eq!(scan.pixels.len(), 28 * 28);
    }
});
