//! Files of records: one [`Entry`] per line, in JSON, as a recorder in another program writes them.

use std::path::Path;

use doctor::record::FORMAT;
use doctor::{Entry, Record};

use crate::Error;
use crate::data::DataError;
use crate::data::replace::replace_with;
use crate::run::json;

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

/// Reads the record in the file `path`. A last line without a line end is the rest of a killed
/// process, and is ignored.
///
/// # Errors
/// [`DataError::Absent`] if there is no such file, [`DataError::Io`] if it cannot be read;
/// [`Error::Malformed`] names the first line that is no entry, and a file of another format or
/// without a model.
pub fn read(path: &Path) -> Result<Record, Error> {
    if !path.is_file() {
        return Err(DataError::Absent { path: path.into() }.into());
    }
    let entries: Vec<Entry> = json::read_lines(path, "an entry of a record, such as a step,")?;
    let (mut record, mut format, count) = (Record::default(), None, entries.len());
    for entry in entries {
        if let Entry::Model(model) = &entry {
            format = Some(model.format);
        }
        record.push(entry);
    }
    let found = match format {
        Some(FORMAT) => return Ok(record),
        Some(other) => format!("one of format {other}"),
        None => format!("{count} lines, none with `\"kind\": \"model\"`"),
    };
    let expected = format!("a record of format {FORMAT} whose first line describes the model");
    Err(Error::malformed(path, expected, found))
}
