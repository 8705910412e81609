//! Loading of the data set that a [`Request`] names.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use crate::data::dataset::{Dataset, Names, Origin};
use crate::data::error::{DataError, Fault, unavailable};
use crate::data::labelled::Labelled;
use crate::data::progress::Event;
use crate::data::request::{Choice, Request};
use crate::data::split::Split;
use crate::data::{arrays, folder, mnist, table};

/// Finds, downloads or generates the data set of `request`, and reads it into memory.
///
/// MNIST is searched for in `request.mnist_dir`, `request.search` and the cache, in this order; the
/// first folder with all four files is read. If there is none, MNIST is downloaded into the cache.
/// If the download fails, [`Choice::Auto`] falls back to generated digits, emits an
/// [`Event::Notice`] and records the reason in [`Dataset::origin`].
///
/// # Errors
/// - [`DataError::Malformed`] if a file breaks a rule; a malformed file in the cache is downloaded
///   again instead;
/// - [`DataError::Missing`] if the folder of [`Choice::Folder`] lacks a file;
/// - [`DataError::Absent`] if the file of a table or of arrays does not exist;
/// - [`DataError::Unavailable`] if [`Choice::Mnist`] is neither found nor downloaded;
/// - [`DataError::Io`] if the operating system refuses.
pub fn load(request: &Request, on_event: &mut dyn FnMut(Event<'_>)) -> Result<Dataset, DataError> {
    let digits = || (request.digits)(request.seed, request.cache.as_deref());
    let mnist = |on_event: &mut dyn FnMut(Event<'_>)| {
        let (named, cache) = (request.mnist_dir.as_deref(), request.cache.as_deref());
        mnist::load(named, &request.search, cache, &request.mirrors, on_event)
    };
    match &request.choice {
        Choice::Folder(folder) if arrays::are_in(folder) => from_arrays(
            arrays::read_folder(folder, on_event)?,
            folder,
            Origin::Folder(folder.clone()),
            request.seed,
        ),
        Choice::Archive(path) => {
            let arrays = arrays::parse(BufReader::new(open(path)?), path, on_event)?;
            from_arrays(arrays, path, Origin::File(path.clone()), request.seed)
        }
        Choice::Table(path, target) => {
            let table = table::parse(open(path)?, path, target, on_event)?;
            from_table(table, name(path), Origin::File(path.clone()), path, request.seed)
        }
        Choice::Classification(settings) => {
            from_generated("classification", settings.generate(request.seed), request)
        }
        Choice::Linear(settings) => {
            from_generated("linear", settings.generate(request.seed), request)
        }
        Choice::Folder(folder) => {
            let contents = folder::read(&folder::locate(folder)?, None)?;
            Ok(Dataset::new(name(folder), Origin::Folder(folder.clone()), contents))
        }
        Choice::Digits => Ok(digits()),
        Choice::Mnist => mnist(on_event),
        Choice::Auto => match mnist(on_event) {
            Err(DataError::Unavailable { searched, attempts }) => {
                let reason = unavailable(&searched, &attempts);
                on_event(Event::Notice(&format!(
                    "training on generated digits, not on MNIST, since {reason}"
                )));
                Ok(Dataset { origin: Origin::Generated { instead_of: Some(reason) }, ..digits() })
            }
            result => result,
        },
    }
}

/// Opens the file `path` for reading.
pub(crate) fn open(path: &Path) -> Result<File, DataError> {
    File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => DataError::Absent { path: path.to_path_buf() },
        _ => DataError::io("read", path)(error),
    })
}

/// Divisor of the number of examples: a fifth is held out as the test set of data that have none.
const TEST_DIVISOR: u32 = 5;

/// Splits `set` into a training and a test set.
pub(crate) fn with_test(
    set: &Labelled,
    path: &Path,
    seed: u64,
) -> Result<[Labelled; 2], DataError> {
    let [count, ..] = set.dims();
    let split = Split::test(set, (count / TEST_DIVISOR).max(1), seed)
        .map_err(|_| DataError::malformed(path, Fault::Empty, "at least 2 examples", count))?;
    Ok([set.subset(&split.train), set.subset(&split.validation)])
}

fn from_table(
    table: table::Table,
    name: String,
    origin: Origin,
    path: &Path,
    seed: u64,
) -> Result<Dataset, DataError> {
    let table::Table { columns, classes, rows } = table;
    let [train, test] = with_test(&rows, path, seed)?;
    let names = Names { columns, classes };
    let classes = names.classes.len();
    Ok(Dataset { name, origin, classes, names, train, test, test_is_held_out: true })
}

/// Creates the data set `name` from a generated table.
fn from_generated(
    name: &str,
    table: table::Table,
    request: &Request,
) -> Result<Dataset, DataError> {
    let path = Path::new("(generated)");
    from_table(table, name.into(), Origin::Generated { instead_of: None }, path, request.seed)
}

fn from_arrays(
    arrays: arrays::Arrays,
    path: &Path,
    origin: Origin,
    seed: u64,
) -> Result<Dataset, DataError> {
    let arrays::Arrays { train, test } = arrays;
    let largest = train.labels().iter().max().map(|&label| usize::from(label));
    let test_is_held_out = test.is_none();
    let [train, test] = match test {
        Some(test) => [train, test],
        None => with_test(&train, path, seed)?,
    };
    let classes = largest.map_or(0, |largest| largest + 1);
    let names = Names::default();
    Ok(Dataset { name: name(path), origin, classes, names, train, test, test_is_held_out })
}

/// Returns the last component of the absolute path of `path`.
fn name(path: &Path) -> String {
    let full = path.canonicalize();
    let full = full.as_deref().unwrap_or(path);
    full.file_name().unwrap_or(full.as_os_str()).to_string_lossy().into_owned()
}
