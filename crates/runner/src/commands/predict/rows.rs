//! Table rows to predict: CSV files, whose columns are matched by name with those of the training
//! set, or NumPy arrays.

use std::io::BufReader;
use std::path::Path;

use crate::Error;
use crate::commands::predict::input::{Input, Source};
use crate::data::arrays::Examples;
use crate::data::{DataError, Event, Fault, Inputs, Rounding, Targets, Terminal, npy, open, table};
use crate::run::config::is_table;

/// Reads the rows in `path`, of `width` numbers each. `columns` are the names of the training set's
/// columns; empty for arrays.
///
/// # Errors
/// [`DataError::Malformed`] if the contents do not match the file's extension; [`Error::Malformed`]
/// if the file is neither table nor array, or its rows do not fit the network.
pub(super) fn read(path: &Path, width: usize, columns: &[String]) -> Result<Input, Error> {
    let mut terminal = Terminal::default();
    let mut on_event = |event: Event<'_>| terminal.on_event(event);
    let examples = if is_table(path) {
        if columns.is_empty() {
            let expected = "a NumPy array (.npy), as in the run's data";
            return Err(Error::malformed(path, expected, "a table, whose columns have names"));
        }
        let numbers = table::parse_rows(open(path)?, path, columns, &mut on_event)?;
        let (count, cols) = (numbers.len() / width, width as u32);
        let (inputs, rounding) = (Inputs::Numbers(numbers), Rounding::default());
        Examples { count, rows: None, cols, inputs, rounding }
    } else if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("npy")) {
        Examples::new(npy::parse(BufReader::new(open(path)?), path)?, path)?
    } else {
        let expected = "a table (.csv) or an array (.npy), since the network takes rows of numbers";
        return Err(Error::malformed(path, expected, "a file with another extension"));
    };
    let Examples { count, rows, cols, .. } = examples;
    if let Some(notice) = examples.rounding.notice(path) {
        on_event(Event::Notice(&notice));
    }
    if rows.is_some() || cols as usize != width {
        let found =
            rows.map_or(format!("{cols} columns"), |rows| format!("images of {rows} x {cols}"));
        let expected = format!("rows of {width} columns, the network's input");
        return Err(Error::malformed(path, expected, found));
    }
    if count == 0 {
        return Err(DataError::malformed(path, Fault::Empty, "at least one row", "none").into());
    }
    let name = path.display().to_string();
    let source = |index| Source::unprepared(name.clone(), Some(index));
    // Targets are unknown and not used.
    let set = examples.labelled(Targets::Classes(vec![0; count]), path)?;
    Ok(Input { set, sources: (0..count).map(source).collect() })
}
