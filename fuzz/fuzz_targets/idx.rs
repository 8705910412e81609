//! Any bytes as an IDX file, raw or gzipped: read, or refused.
//! `cargo +nightly fuzz run idx`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::readers::idx(bytes));
