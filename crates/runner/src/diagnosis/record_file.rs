//! Files of records: one [`Entry`] per line, in JSON, as a recorder in another program writes them.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use doctor::record::FORMAT;
use doctor::{Entry, Record};
use serde::Deserialize;

use crate::Error;
use crate::data::DataError;
use crate::data::replace::replace_with;

/// Bytes of a line at most. The model of a network with 100,000 tensors has about 15 MB.
const LINE: usize = 32 << 20;

/// Characters of a parser's message at most. It may quote what it found, however long.
const MESSAGE: usize = 200;

/// Writes `record` to the file `path`.
///
/// # Errors
/// [`DataError::Io`] if it cannot be written.
pub fn write(path: &Path, record: &Record) -> Result<(), Error> {
    let mut text = String::new();
    for entry in record.clone().entries() {
        let line = serde_json::to_string(&entry)
            .map_err(|error| Error::Usage(format!("record: {error}")))?;
        text += &line;
        text.push('\n');
    }
    Ok(replace_with(path, text.as_bytes())?)
}

/// Reads the record in the file `path`.
///
/// # Errors
/// [`DataError::Absent`] if there is no such file; those of [`parse`].
pub fn read(path: &Path) -> Result<Record, Error> {
    if !path.is_file() {
        return Err(DataError::Absent { path: path.into() }.into());
    }
    let file = File::open(path).map_err(DataError::io("read", path))?;
    parse(BufReader::new(file), path)
}

/// Reads a record from `source`; errors name `path`. Blank lines are ignored, and so is a last line
/// without a line end: the rest of a killed process.
///
/// # Errors
/// [`DataError::Io`] if it cannot be read; [`Error::Malformed`] names the first line that is no
/// entry, and a file of another format or without a model.
pub fn parse(mut source: impl BufRead, path: &Path) -> Result<Record, Error> {
    let (mut record, mut format, mut line) = (Record::default(), None, Vec::new());
    for number in 1_u64.. {
        line.clear();
        let limit = LINE as u64 + 1;
        let length = source.by_ref().take(limit).read_until(b'\n', &mut line);
        let length = length.map_err(DataError::io("read", path))?;
        if length > LINE {
            let expected = format!("at most {LINE} bytes in line {number}");
            return Err(Error::malformed(path, expected, "more"));
        }
        if line.last() != Some(&b'\n') {
            break;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let entry = parse_line(&line, number, path)?;
        if let Entry::Model(model) = &entry {
            format = Some(model.format);
        }
        record.push(entry);
    }
    match format {
        Some(FORMAT) => Ok(record),
        Some(other) => Err(other_format(path, &other.to_string())),
        None => Err(Error::malformed(
            path,
            format!("a record of format {FORMAT}, whose first line describes the model"),
            "no line with `\"kind\": \"model\"`",
        )),
    }
}

/// Kind and format of a line that may have other keys than an [`Entry`] of this format.
#[derive(Deserialize)]
struct Head {
    kind: String,
    format: serde_json::Number,
}

fn parse_line(line: &[u8], number: u64, path: &Path) -> Result<Entry, Error> {
    serde_json::from_slice(line).map_err(|error| {
        match serde_json::from_slice::<Head>(line) {
            Ok(head) if head.kind == "model" && head.format.as_u64() != Some(FORMAT.into()) => {
                return other_format(path, &head.format.to_string());
            }
            _ => {}
        }
        let expected = format!("an entry of a record, such as a step, in line {number}");
        Error::malformed(path, expected, shortened(&error.to_string()))
    })
}

fn other_format(path: &Path, found: &str) -> Error {
    let expected = format!("a record of format {FORMAT}, as `evenkeel recorder` of this version");
    Error::malformed(path, expected + " writes it", format!("one of format {}", shortened(found)))
}

/// `text` without its middle if it is long.
fn shortened(text: &str) -> String {
    let count = text.chars().count();
    if count <= MESSAGE {
        return text.into();
    }
    let start: String = text.chars().take(MESSAGE / 2).collect();
    let end: String = text.chars().skip(count - MESSAGE / 2).collect();
    format!("{start} ... {end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: &str = "{\"kind\": \"model\", \"format\": 1, \"classes\": 3}\n";

    fn read(bytes: &[u8]) -> Result<Record, String> {
        parse(bytes, Path::new("record.jsonl")).map_err(|error| error.to_string())
    }

    fn refused(bytes: &[u8]) -> String {
        let message = read(bytes).expect_err("it is no record");
        assert!(message.starts_with("record.jsonl: expected "), "{message}");
        assert!(message.len() < 600, "{message}");
        message
    }

    #[test]
    fn a_record_is_read_up_to_a_truncated_line() {
        let steps = "{\"kind\": \"step\", \"step\": 1, \"loss\": \"NaN\"}\n\n{\"kind\": \"step\", \
                     \"step\": 2, \"loss\": \"-Infinity\", \"grad_norm\": 1e3}\r\n";
        let text = format!("{MODEL}{steps}");
        let record = read(text.as_bytes()).expect("a record");
        assert_eq!((record.model.classes, record.steps.len()), (3, 2));
        assert!(record.steps[0].loss.is_some_and(f64::is_nan));
        assert_eq!(record.steps[1].loss, Some(f64::NEG_INFINITY));
        let truncated = read(&text.as_bytes()[..text.len() - 2]).expect("a record");
        assert_eq!(truncated.steps.len(), 1);
        assert_eq!(truncated.model, record.model);
    }

    #[test]
    fn other_files_are_refused_by_name() {
        for empty in ["", "\n\n", "{\"kind\": \"model\"", "{\"kind\": \"step\", \"step\": 1}\n"] {
            assert!(refused(empty.as_bytes()).contains("no line with"), "{empty}");
        }
        assert!(refused(b"{\"kind\": \"model\", \"format\": 2}\n").contains("one of format 2"));
        // A later format may have other keys.
        let later = b"{\"kind\": \"model\", \"format\": 2, \"later\": []}\n";
        assert!(refused(later).contains("one of format 2"));
        assert!(refused(b"{\"kind\": \"model\"}\n").contains("one of format 0"));
        assert!(refused(b"\x89PNG\r\n\x1a\n\0\0\xff\xfe").contains("in line 1"));
        assert!(refused(b"\xff\xfe\0\0\n").contains("in line 1"));
        for line in ["[]", "7", "{}", "{\"kind\": \"no\"}", "{\"kind\": \"step\", \"step\": -1}"] {
            assert!(refused(format!("{MODEL}{line}\n").as_bytes()).contains("in line 2"), "{line}");
        }
        let unknown = format!("{MODEL}{{\"kind\": \"step\", \"lost\": 1}}\n");
        assert!(refused(unknown.as_bytes()).contains("lost"));
        let words = format!("{MODEL}{{\"kind\": \"step\", \"loss\": \"nan\"}}\n");
        assert!(refused(words.as_bytes()).contains("Infinity"));
        let nested = [MODEL.as_bytes(), &b"[".repeat(1 << 20), b"\n"].concat();
        assert!(refused(&nested).contains("in line 2"));
    }

    #[test]
    fn a_message_does_not_repeat_a_long_line() {
        let long = format!("{MODEL}{{\"kind\": \"{}\"}}\n", "x".repeat(1 << 20));
        assert!(refused(long.as_bytes()).contains("unknown variant `xxx"));
    }

    #[test]
    fn a_line_of_100_mb_is_refused() {
        for end in ["\n", ""] {
            let line = format!("{{\"kind\": \"{}\"}}{end}", "x".repeat(100_000_000));
            assert!(refused(line.as_bytes()).contains("33554432 bytes in line 1"));
        }
    }
}
