//! Whatever the bytes: a picture is refused, or has as many pixels as were asked for; no panic, and no memory beyond its limit.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use runner::scan::{Invert, parse};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(scan) = parse(bytes, Path::new("input"), 28, 28, Invert::Auto) {
        assert_eq!(scan.pixels.len(), 28 * 28);
    }
});
