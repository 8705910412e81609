//! Any text as a configuration: refused, or written and read again as the same; its network is
//! built or refused.
//! `cargo +nightly fuzz run configuration`.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| fuzz::readers::configuration(text));
