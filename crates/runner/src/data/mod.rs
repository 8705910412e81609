//! Data sets: found, downloaded or generated, checked, split, and handed out in batches.
//!
//! ```text
//! Request -> load -> Dataset { train, test }      MNIST, a folder of its form, generated digits,
//!                                                 tables (CSV), arrays (NumPy), generated tables
//! Split::stratified(train)                        a validation set, by seed
//! gather(indices, train)                          bytes become numbers on the way into a batch
//! ```
//!
//! The command line fills a [`Request`] from its arguments and the environment; the training loop does the rest.
//! Images in bytes stay bytes in memory. The test set takes no part in any choice: a run scores it once, at its end.

pub mod arrays;
mod batch;
mod classes;
pub mod command;
pub mod digits;
mod download;
mod error;
pub mod folder;
pub mod generated;
pub mod idx;
mod labelled;
mod mnist;
pub mod npy;
mod progress;
pub(crate) mod replace;
mod request;
mod rounding;
mod split;
pub mod synthetic;
pub mod table;

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

pub use batch::{GatherError, gather, scale};
pub use download::{Attempt, Mirrors, Published, Reason};
pub use error::{DataError, Fault};
pub use labelled::{Goals, Inputs, Labelled, Uneven, noun};
pub use progress::Terminal;
pub use request::{Choice, Generate, Request};
pub use rounding::Rounding;
pub use split::{Split, TooManyHeldOut};

/// A data set in memory.
#[derive(Debug)]
pub struct Dataset {
    /// What it is called: `mnist`, `digits`, or the name of the folder it was asked for by.
    pub name: String,
    /// Where it came from.
    pub origin: Origin,
    /// Number of classes; every label is below it. 0 where examples have values for goals.
    pub classes: usize,
    /// What the columns and the classes of a table are called; nothing of images.
    pub names: Names,
    /// The training set, from which a validation set is split.
    pub train: Labelled,
    /// The test set; its images have the size of those of `train`.
    pub test: Labelled,
    /// Whether the test set was a part of the data, held out by the seed.
    pub test_is_held_out: bool,
}

/// What the parts of a table are called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// The columns that a network is shown.
    pub columns: Vec<String>,
    /// The classes.
    pub classes: Vec<String>,
}

/// Where a data set came from. Displays as a phrase for the summary and the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The files of this folder.
    Folder(PathBuf),
    /// This file.
    File(PathBuf),
    /// This mirror.
    Downloaded {
        /// Its address.
        from: String,
        /// The folder where it stays, or `None` if it is kept for this run alone.
        into: Option<PathBuf>,
    },
    /// Generated.
    Generated {
        /// Why that had to be, in plain words; `None` if it was asked for.
        instead_of: Option<String>,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "folder {}", folder.display()),
            Self::File(file) => write!(f, "file {}", file.display()),
            Self::Downloaded { from, into: Some(folder) } => {
                write!(f, "downloaded from {from} into {}", folder.display())
            }
            Self::Downloaded { from, into: None } => {
                write!(f, "downloaded from {from} for this run alone")
            }
            Self::Generated { instead_of: None } => write!(f, "generated"),
            Self::Generated { instead_of: Some(reason) } => write!(f, "generated, since {reason}"),
        }
    }
}

/// What [`load`] tells while it works. [`Terminal`] shows it to a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// Something that the user ought to know, in a sentence.
    Notice(&'a str),
    /// A download of this address begins.
    Begun(&'a str),
    /// Part of it has arrived.
    Received {
        /// Bytes so far.
        bytes: u64,
        /// Bytes in all, if the server says.
        total: Option<u64>,
    },
    /// It has ended, well or badly.
    Ended,
}

/// Finds, downloads or generates the data set that `request` asks for, and reads it into memory.
///
/// MNIST is looked for in `request.mnist_dir`, `request.places` and the cache, in this order; the first folder that
/// has all four files is read. If none has, it is downloaded into the cache. [`Choice::Auto`] falls back to
/// generated digits if that fails too, says so by a [`Event::Notice`] and notes it in [`Dataset::origin`].
///
/// # Errors
/// [`DataError::Malformed`] if a file that was found is not what it should be, except in the cache, which is
/// downloaded anew; [`DataError::Missing`] if the folder of [`Choice::Folder`] lacks a file;
/// [`DataError::Absent`] if the file of a table or of arrays is not there;
/// [`DataError::Unavailable`] if [`Choice::Mnist`] is nowhere; [`DataError::Io`] if the machine refuses.
pub fn load(request: &Request, hear: &mut dyn FnMut(Event<'_>)) -> Result<Dataset, DataError> {
    let digits = || (request.digits)(request.seed, request.cache.as_deref());
    match &request.choice {
        Choice::Folder(folder) if arrays::are_in(folder) => from_arrays(
            arrays::read_folder(folder, hear)?,
            folder,
            Origin::Folder(folder.clone()),
            request.seed,
        ),
        Choice::Archive(path) => {
            let arrays = arrays::parse(BufReader::new(open(path)?), path, hear)?;
            from_arrays(arrays, path, Origin::File(path.clone()), request.seed)
        }
        Choice::Table(path, goal) => {
            let table = table::parse(open(path)?, path, goal, hear)?;
            from_table(table, name(path), Origin::File(path.clone()), path, request.seed)
        }
        Choice::Classification(settings) => {
            made("classification", settings.generate(request.seed), request)
        }
        Choice::Linear(settings) => made("linear", settings.generate(request.seed), request),
        Choice::Folder(folder) => {
            let contents = folder::read(&folder::locate(folder)?, None)?;
            Ok(Dataset::new(name(folder), Origin::Folder(folder.clone()), contents))
        }
        Choice::Digits => digits(),
        Choice::Mnist => mnist::load(request, hear),
        Choice::Auto => match mnist::load(request, hear) {
            Err(DataError::Unavailable { places, attempts }) => {
                let reason = error::unavailable(&places, &attempts);
                hear(Event::Notice(&format!(
                    "training on generated digits, not on MNIST, since {reason}"
                )));
                Ok(Dataset { origin: Origin::Generated { instead_of: Some(reason) }, ..digits()? })
            }
            found => found,
        },
    }
}

impl Dataset {
    /// The data set `contents` with its name and origin.
    fn new(name: String, origin: Origin, contents: folder::Contents) -> Self {
        let folder::Contents { classes, train, test } = contents;
        Self {
            name,
            origin,
            classes,
            names: Names::default(),
            train,
            test,
            test_is_held_out: false,
        }
    }

    /// Whether there is anything to learn.
    ///
    /// # Errors
    /// [`DataError::OneClass`] if all of the training set is of one class.
    pub fn check(&self) -> Result<(), DataError> {
        match self.train.labels() {
            [first, rest @ ..] if rest.iter().all(|label| label == first) => {
                let class = self.names.classes.get(usize::from(*first)).cloned();
                let (class, examples) = (class.unwrap_or(first.to_string()), self.train.len());
                Err(DataError::OneClass { name: self.name.clone(), examples, class })
            }
            _ => Ok(()),
        }
    }

    /// Whether examples have values for goals, not classes.
    pub fn has_values(&self) -> bool {
        matches!(self.train.goals(), Goals::Values(_))
    }

    /// Numbers that a network must answer with at least: one a class, or one value.
    pub fn outputs(&self) -> usize {
        self.classes.max(1)
    }
}

/// Of data that come without a test set, one example in so many is held out for it.
const TEST_SHARE: u32 = 5;

/// `set` without its test set, and that.
pub(crate) fn with_test(
    set: &Labelled,
    path: &Path,
    seed: u64,
) -> Result<[Labelled; 2], DataError> {
    let [count, ..] = set.dims();
    let split = Split::test(set, (count / TEST_SHARE).max(1), seed)
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

/// The generated table `table`, called `name`.
fn made(
    name: &str,
    table: Result<table::Table, Uneven>,
    request: &Request,
) -> Result<Dataset, DataError> {
    let path = Path::new("(generated)");
    let table = table.map_err(|uneven| {
        DataError::malformed(path, Fault::Length, "as many rows as asked for", uneven)
    })?;
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

/// The file `path`, to be read.
pub(crate) fn open(path: &Path) -> Result<File, DataError> {
    File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => DataError::Absent { path: path.to_path_buf() },
        _ => DataError::io("read", path)(error),
    })
}

/// The last part of `folder`'s full path.
fn name(folder: &Path) -> String {
    let full = folder.canonicalize();
    let full = full.as_deref().unwrap_or(folder);
    full.file_name().unwrap_or(full.as_os_str()).to_string_lossy().into_owned()
}
