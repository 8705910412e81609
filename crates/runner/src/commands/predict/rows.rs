//! Rows of a table on their way into a network: from CSV files, by the names of the columns that it was trained on, or from arrays of
//! NumPy.

use std::io::BufReader;
use std::path::Path;

use crate::Error;
use crate::commands::predict::{Part, Source};
use crate::data::arrays::Examples;
use crate::data::{DataError, Event, Fault, Inputs, Rounding, Targets, Terminal, npy, open, table};
use crate::run::config::is_table;

/// The rows of the file `path`, of `width` numbers each, which are called `columns` if they have names.
///
/// # Errors
/// [`DataError::Malformed`] if the file is not what its name says, [`Error::Malformed`] if it is neither kind, or its rows do not fit.
pub(super) fn read(path: &Path, width: usize, columns: &[String]) -> Result<Part, Error> {
    let mut terminal = Terminal::default();
    let mut on_event = |event: Event<'_>| terminal.on_event(event);
    let examples = if is_table(path) {
        if columns.is_empty() {
            let found = "a table, whose columns have names";
            return Err(Error::malformed(
                path,
                "an array of NumPy (.npy), as the network was trained on",
                found,
            ));
        }
        let numbers = table::parse_rows(open(path)?, path, columns, &mut on_event)?;
        let (count, cols) = (numbers.len() / width, width as u32);
        let (inputs, rounding) = (Inputs::Numbers(numbers), Rounding::default());
        Examples { count, rows: None, cols, inputs, rounding }
    } else if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("npy")) {
        Examples::new(npy::parse(BufReader::new(open(path)?), path)?, path)?
    } else {
        let expected = "a table (.csv) or an array (.npy), since the network takes rows of numbers";
        return Err(Error::malformed(path, expected, "a file of another name"));
    };
    let Examples { count, rows, cols, .. } = examples;
    if let Some(notice) = examples.rounding.notice(path) {
        on_event(Event::Notice(&notice));
    }
    if rows.is_some() || cols as usize != width {
        let found =
            rows.map_or(format!("{cols} columns"), |rows| format!("images of {rows} x {cols}"));
        return Err(Error::malformed(
            path,
            format!("rows of {width} columns, as the network takes them"),
            found,
        ));
    }
    if count == 0 {
        return Err(DataError::malformed(path, Fault::Empty, "at least one row", "none").into());
    }
    let name = path.display().to_string();
    let source = |at| Source {
        file: name.clone(),
        index: Some(at),
        resized_from: None,
        inverted: false,
        centred: false,
    };
    // A class is not known, and none is needed.
    let set = examples.labelled(Targets::Classes(vec![0; count]), path)?;
    Ok(Part { set, sources: (0..count).map(source).collect() })
}
