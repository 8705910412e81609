//! Labelled examples that a run has not seen: rows of a table, whose columns and classes are
//! matched by name, or NumPy arrays.

use std::io::BufReader;
use std::path::Path;

use nn::{Network, Shape};

use crate::Error;
use crate::commands::eval::split::Split;
use crate::data::arrays::Arrays;
use crate::data::table::TargetColumn;
use crate::data::{
    DataError, Event, Fault, Labelled, Names, Targets, Terminal, arrays, noun, open, table,
    with_test,
};
use crate::run::config::{Config, Source, is_table};
use crate::run::summary::Summary;

/// `true` if `path` has a format that [`read`] reads.
pub(super) fn is_supported(path: &Path) -> bool {
    is_table(path)
        || has_extension(path, "npz")
        || has_extension(path, "npy")
        || arrays::are_in(path)
}

fn has_extension(path: &Path, expected: &str) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(expected))
}

/// Reads the examples in `path` that are scored, and their split if the data have a test set.
/// `None` if they are the run's own data.
///
/// # Errors
/// [`DataError::Malformed`] names the column, line or array that differs in form from the run's
/// data; [`Error::Usage`] if the data have no such `split`.
pub(super) fn read(
    path: &Path,
    config: &Config,
    summary: &Summary,
    network: &Network,
    split: Option<Split>,
) -> Result<Option<(Labelled, Option<Split>)>, Error> {
    let mut terminal = Terminal::default();
    let mut on_event = |event: Event<'_>| terminal.on_event(event);
    let Arrays { train, test } = if is_table(path) {
        Arrays { train: read_table(path, config, summary, &mut on_event)?, test: None }
    } else if has_extension(path, "npz") {
        arrays::parse(BufReader::new(open(path)?), path, &mut on_event)?
    } else if has_extension(path, "npy") {
        let expected = "examples with their targets: an archive (.npz) with x and y, or a folder \
                        with x.npy and y.npy";
        return Err(Error::malformed(path, expected, "a single array"));
    } else {
        arrays::read_folder(path, &mut on_event)?
    };
    for set in [Some(&train), test.as_ref()].into_iter().flatten() {
        check(set, path, network)?;
    }
    let sha256 = match &test {
        Some(test) => Labelled::sha256([&train, test]),
        None => match with_test(&train, path, config.seed) {
            Ok([train, test]) => Labelled::sha256([&train, &test]),
            // Too few examples to split: not the run's data.
            Err(_) => String::new(),
        },
    };
    if sha256 == summary.data_sha256 {
        return Ok(None);
    }
    match (split, test) {
        (None | Some(Split::Test), Some(test)) => Ok(Some((test, Some(Split::Test)))),
        (Some(Split::Train), Some(_)) => Ok(Some((train, split))),
        (None, None) => Ok(Some((train, None))),
        (Some(_), test) => {
            let path = path.display();
            let expected = match test {
                Some(_) => "train or test, the sets of",
                None => "no --split with",
            };
            Err(Error::Usage(format!(
                "split: expected {expected} {path}: the run was not trained on it, and new \
                 examples are scored all together (flag --split)"
            )))
        }
    }
}

/// Reads the rows of the table in `path`, with the columns and classes of the run.
fn read_table(
    path: &Path,
    config: &Config,
    summary: &Summary,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Labelled, Error> {
    let target = match (&config.label, &config.target, config.dataset) {
        (Some(label), ..) => Some(TargetColumn::Label(label.clone())),
        (None, Some(target), _) => Some(TargetColumn::Target(target.clone())),
        // Column names that `data synth` writes.
        (.., Source::Classification) => Some(TargetColumn::Label("class".into())),
        (.., Source::Linear) => Some(TargetColumn::Target("value".into())),
        _ => None,
    };
    let (Some(target), false) = (target, summary.columns.is_empty()) else {
        let expected = "data of the form of the run's, whose columns have no names";
        return Err(Error::malformed(path, expected, "a table"));
    };
    let names = Names { columns: summary.columns.clone(), classes: summary.classes.clone() };
    Ok(table::parse_known(open(path)?, path, &target, &names, on_event)?)
}

/// Checks that `set`, read from `path`, has the shape and the targets that `network` takes.
fn check(set: &Labelled, path: &Path, network: &Network) -> Result<(), DataError> {
    let described = |shape: Shape| match shape {
        Shape::Image { height, width, .. } => format!("images of {height} x {width}"),
        other => format!("{} of {} columns", noun(other), other.elements()),
    };
    if set.shape() != network.input() {
        let expected = format!("{}, as in the run's data", described(network.input()));
        return Err(DataError::malformed(path, Fault::Width, expected, described(set.shape())));
    }
    // A network with one output predicts values: there are two classes at least.
    match (set.targets(), network.outputs()) {
        (Targets::Values(_), 1) | (Targets::Inputs(_), _) => Ok(()),
        (Targets::Classes(_), 1) => {
            let expected = "values as targets, as in the run's data (integers are classes: convert \
                            them with .astype(\"float32\"))";
            Err(DataError::malformed(path, Fault::Targets, expected, "classes"))
        }
        (Targets::Values(_), _) => {
            let expected = "classes as targets, as in the run's data (integers: convert them with \
                            .astype(\"int64\"))";
            Err(DataError::malformed(path, Fault::Targets, expected, "values"))
        }
        (Targets::Classes(labels), classes) => {
            match labels.iter().position(|&label| usize::from(label) >= classes) {
                None => Ok(()),
                Some(index) => {
                    let found = format!("{} at index {index}", labels[index]);
                    let expected =
                        format!("labels below {classes}, the number of classes of the run");
                    Err(DataError::malformed(path, Fault::LabelRange, expected, found))
                }
            }
        }
    }
}
