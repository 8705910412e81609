//! Any bytes as a checkpoint: refused or read. Bytes that are a position are put into a checkpoint
//! that is whole, so that the code behind its checksum is reached as well.
//! `cargo +nightly fuzz run checkpoint`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::readers::checkpoint(bytes));
