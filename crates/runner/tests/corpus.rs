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
fn replay(name: &str, mut read: impl FnMut(&[u8])) {
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

/// Values for a number of a record: extreme, none, and of another type.
const EXTREMES: [&str; 9] = [
    "0",
    "18446744073709551615",
    "-1",
    "1e308",
    "5e-324",
    "\"NaN\"",
    "\"-Infinity\"",
    "null",
    "[]",
];

#[test]
fn records_with_extreme_numbers() {
    let mut count = 0;
    replay("doctor_record", |bytes| {
        let Ok(text) = str::from_utf8(bytes) else { return };
        // After a colon, bracket or comma: numbers rather than digits of names.
        let starts = text.match_indices([':', '[', ',']).map(|(at, _)| at + 1);
        for start in starts {
            let end = text[start..].find([',', ']', '}']).map_or(text.len(), |at| start + at);
            if text[start..end].parse::<f64>().is_err() {
                continue;
            }
            for extreme in EXTREMES {
                let changed = [&text[..start], extreme, &text[end..]].concat();
                readers::doctor_record(changed.as_bytes());
                count += 1;
            }
        }
    });
    assert!(count > 1000, "{count} records");
}

#[test]
fn records_without_some_lines_or_with_an_end_cut_off() {
    replay("doctor_record", |bytes| {
        let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        for left_out in 0..lines.len() {
            let mut others = lines.clone();
            others.remove(left_out);
            readers::doctor_record(&others.concat());
        }
        for end in (0..bytes.len()).step_by(7) {
            readers::doctor_record(&[&bytes[..end], b"\n"].concat());
        }
    });
}
