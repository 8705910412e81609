//! Any bytes as a table, an array or an archive of arrays: refused, or they hold what they say.
//! `cargo +nightly fuzz run table`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::readers::table(bytes));
