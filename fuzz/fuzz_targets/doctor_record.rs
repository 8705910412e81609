//! Any bytes as a record of another program's training: refused or judged.
//! `cargo +nightly fuzz run doctor_record`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::readers::doctor_record(bytes));
