//! Inputs that fuzzing found worth keeping, read again: `fuzz/seeds/NAME`, by the fuzz target NAME.

use std::fs;
use std::path::Path;

#[path = "../../../fuzz/src/readers.rs"]
mod readers;

/// Gives `read` each seed of the target `name`.
fn replay(name: &str, read: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(name);
    let seeds = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut count = 0;
    for seed in seeds {
        let path = seed.expect("an entry of the folder").path();
        // A failure says which seed it was: output is shown of tests that fail.
        println!("{}", path.display());
        read(&fs::read(&path).expect("a file"));
        count += 1;
    }
    assert!(count > 0, "{} is empty", folder.display());
}

#[test]
fn idx() {
    replay("idx", readers::idx);
}

#[test]
fn pictures() {
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
