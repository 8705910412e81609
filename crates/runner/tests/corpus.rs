//! Replay of inputs that fuzzing found: `fuzz/seeds/NAME.txt` has those of the target NAME, one per
//! line, in base64.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

#[path = "../../../fuzz/src/readers.rs"]
#[expect(unreachable_pub, reason = "the fuzz targets call it from other crates")]
mod readers;

/// Calls `read` with each seed of the target `name`.
fn replay(name: &str, read: impl Fn(&[u8])) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../fuzz/seeds/{name}.txt"));
    let text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut count = 0;
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.starts_with('#')) {
        // If a seed fails, the output of the test ends with its line.
        println!("{}:{}", path.display(), at + 1);
        read(&STANDARD.decode(line).expect("base64"));
        count += 1;
    }
    assert!(count > 0, "{} has no seeds", path.display());
}

#[test]
fn idx() {
    replay("idx", readers::idx);
}

#[test]
fn images() {
    replay("picture", readers::picture);
}

#[test]
fn tables_and_arrays() {
    replay("table", readers::table);
}

#[test]
fn configurations() {
    replay("configuration", |bytes| {
        if let Ok(text) = str::from_utf8(bytes) {
            readers::configuration(text);
        }
    });
}

#[test]
fn checkpoints() {
    replay("checkpoint", readers::checkpoint);
}

#[test]
fn records() {
    replay("doctor_record", readers::doctor_record);
}
