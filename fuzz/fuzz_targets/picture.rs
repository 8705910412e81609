//! Any bytes as a PNG image: refused, or as many pixels as the network has inputs.
//! `cargo +nightly fuzz run picture`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::readers::picture(bytes));
