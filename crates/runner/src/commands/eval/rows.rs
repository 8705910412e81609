//! Labelled examples that a run has not seen: the rows of a table by the names of columns and classes that it was trained on, or arrays
//! of NumPy. Where they are the run's own data, nothing new is to be scored.

use std::io::BufReader;
use std::path::Path;

use nn::{Network, Shape};

use crate::Error;
use crate::commands::eval::Part;
use crate::data::arrays::Arrays;
use crate::data::table::TargetColumn;
use crate::data::{
    DataError, Event, Fault, Labelled, Names, Targets, Terminal, arrays, noun, open, table,
    with_test,
};
use crate::run::config::{Config, Source, is_table};
use crate::run::summary::Summary;

/// Whether `path` is of a form that this module reads.
pub(super) fn are_in(path: &Path) -> bool {
    is_table(path) || is_named(path, "npz") || is_named(path, "npy") || arrays::are_in(path)
}

fn is_named(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(ending))
}

/// The examples in `path` that are scored, and which of its sets they are if it has two; `None` if they are what the run was trained on.
///
/// # Errors
/// [`DataError::Malformed`] names the column, line or array that is not such as the run was trained on; [`Error::Usage`] if `part` names a set
/// that new examples do not have.
pub(super) fn read(
    path: &Path,
    config: &Config,
    summary: &Summary,
    network: &Network,
    part: Option<Part>,
) -> Result<Option<(Labelled, Option<Part>)>, Error> {
    let mut terminal = Terminal::default();
    let mut on_event = |event: Event<'_>| terminal.on_event(event);
    let Arrays { train, test } = if is_table(path) {
        Arrays { train: table(path, config, summary, &mut on_event)?, test: None }
    } else if is_named(path, "npz") {
        arrays::parse(BufReader::new(open(path)?), path, &mut on_event)?
    } else if is_named(path, "npy") {
        let expected = "examples with their targets: an archive (.npz) with x and y, or a folder with x.npy and y.npy";
        return Err(Error::malformed(path, expected, "a single array"));
    } else {
        arrays::read_folder(path, &mut on_event)?
    };
    for set in [Some(&train), test.as_ref()].into_iter().flatten() {
        fits(set, path, network)?;
    }
    let sha256 = match &test {
        Some(test) => Labelled::sha256([&train, test]),
        None => match with_test(&train, path, config.seed) {
            Ok([train, test]) => Labelled::sha256([&train, &test]),
            // Too few to be what was trained on.
            Err(_) => String::new(),
        },
    };
    if sha256 == summary.data_sha256 {
        return Ok(None);
    }
    match (part, test) {
        (None | Some(Part::Test), Some(test)) => Ok(Some((test, Some(Part::Test)))),
        (Some(Part::Train), Some(_)) => Ok(Some((train, part))),
        (None, None) => Ok(Some((train, None))),
        (Some(_), test) => {
            let path = path.display();
            let expected = match test {
                Some(_) => "train or test, the sets of",
                None => "none with",
            };
            let why = "which the run was not trained on: new examples are scored all together";
            Err(Error::Usage(format!("split: expected {expected} {path}, {why} (flag --split)")))
        }
    }
}

/// The rows of the table in `path`, with columns and classes as the run knows them.
fn table(
    path: &Path,
    config: &Config,
    summary: &Summary,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Labelled, Error> {
    let target = match (&config.label, &config.target, config.dataset) {
        (Some(label), ..) => Some(TargetColumn::Label(label.clone())),
        (None, Some(target), _) => Some(TargetColumn::Target(target.clone())),
        // As `data synth` calls them.
        (.., Source::Classification) => Some(TargetColumn::Label("class".into())),
        (.., Source::Linear) => Some(TargetColumn::Target("value".into())),
        _ => None,
    };
    let (Some(target), false) = (target, summary.columns.is_empty()) else {
        let expected =
            "data of the form that the run was trained on, which has no names of columns";
        return Err(Error::malformed(path, expected, "a table"));
    };
    let names = Names { columns: summary.columns.clone(), classes: summary.classes.clone() };
    Ok(table::parse_known(open(path)?, path, &target, &names, on_event)?)
}

/// Checks that `set`, which came from `path`, has the shape and the targets that `network` was made for.
fn fits(set: &Labelled, path: &Path, network: &Network) -> Result<(), DataError> {
    let described = |shape: Shape| match shape {
        Shape::Image { height, width, .. } => format!("images of {height} x {width}"),
        other => format!("{} of {} columns", noun(other), other.elements()),
    };
    if set.shape() != network.input() {
        let expected = format!("{}, as the run was trained on", described(network.input()));
        return Err(DataError::malformed(path, Fault::Width, expected, described(set.shape())));
    }
    // A network of one output answers with values: of classes there are two at least.
    match (set.targets(), network.outputs()) {
        (Targets::Values(_), 1) => Ok(()),
        (Targets::Classes(_), 1) => {
            let expected = "values to be met, as the run was trained on (integers are classes: .astype(\"float32\"))";
            Err(DataError::malformed(path, Fault::Targets, expected, "classes"))
        }
        (Targets::Values(_), _) => {
            let expected = "classes, as the run was trained on (integers: .astype(\"int64\"))";
            Err(DataError::malformed(path, Fault::Targets, expected, "values"))
        }
        (Targets::Classes(labels), classes) => {
            match labels.iter().position(|&label| usize::from(label) >= classes) {
                None => Ok(()),
                Some(at) => {
                    let found = format!("{} at index {at}", labels[at]);
                    let expected =
                        format!("labels below {classes}, the number of classes of the run");
                    Err(DataError::malformed(path, Fault::LabelRange, expected, found))
                }
            }
        }
    }
}
