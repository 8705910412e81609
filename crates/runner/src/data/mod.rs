//! Data sets: found, downloaded or generated, checked, split, and handed out in batches.
//!
//! ```text
//! Request -> load -> Dataset { train, test }      MNIST, a folder of its form, or generated digits
//! Split::stratified(train)                        a validation set, by seed
//! gather(indices, train)                          bytes become numbers on the way into a batch
//! ```
//!
//! The command line fills a [`Request`] from its arguments and the environment; the training loop does the rest.
//! Images stay bytes in memory. The test set takes no part in any choice: a run scores it once, at its end.

mod batch;
pub mod command;
pub mod digits;
mod download;
mod error;
pub mod folder;
pub mod generated;
pub mod idx;
mod labelled;
mod mnist;
mod progress;
pub(crate) mod replace;
mod request;
mod split;

use std::fmt;
use std::path::{Path, PathBuf};

pub use batch::{GatherError, gather, scale};
pub use download::{Attempt, Mirrors, Published, Reason};
pub use error::{DataError, Fault};
pub use labelled::{Labelled, Uneven};
pub use progress::Terminal;
pub use request::{Choice, Generate, Request};
pub use split::{Split, TooManyHeldOut};

/// A data set in memory.
#[derive(Debug)]
pub struct Dataset {
    /// What it is called: `mnist`, `digits`, or the name of the folder it was asked for by.
    pub name: String,
    /// Where it came from.
    pub origin: Origin,
    /// Number of classes; every label is below it.
    pub classes: usize,
    /// The training set, from which a validation set is split.
    pub train: Labelled,
    /// The test set; its images have the size of those of `train`.
    pub test: Labelled,
}

/// Where a data set came from. Displays as a phrase for the summary and the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The files of this folder.
    Folder(PathBuf),
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
            Self::Downloaded { from, into: Some(folder) } => {
                write!(f, "downloaded from {from} into {}", folder.display())
            }
            Self::Downloaded { from, into: None } => write!(f, "downloaded from {from} for this run alone"),
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
/// [`DataError::Unavailable`] if [`Choice::Mnist`] is nowhere; [`DataError::Io`] if the machine refuses.
pub fn load(request: &Request, hear: &mut dyn FnMut(Event<'_>)) -> Result<Dataset, DataError> {
    let digits = || (request.digits)(request.seed, request.cache.as_deref());
    match &request.choice {
        Choice::Folder(folder) => {
            let contents = folder::read(&folder::locate(folder)?, None)?;
            Ok(Dataset::new(name(folder), Origin::Folder(folder.clone()), contents))
        }
        Choice::Digits => digits(),
        Choice::Mnist => mnist::load(request, hear),
        Choice::Auto => match mnist::load(request, hear) {
            Err(DataError::Unavailable { places, attempts }) => {
                let reason = error::unavailable(&places, &attempts);
                hear(Event::Notice(&format!("training on generated digits, not on MNIST, since {reason}")));
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
        Self { name, origin, classes, train, test }
    }
}

/// The last part of `folder`'s full path.
fn name(folder: &Path) -> String {
    let full = folder.canonicalize();
    let full = full.as_deref().unwrap_or(folder);
    full.file_name().unwrap_or(full.as_os_str()).to_string_lossy().into_owned()
}
