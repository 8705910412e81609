//! What can be wrong with data: every failure of [`load`](super::load) and of the parts it is made of.
//!
//! A message is complete in itself: it names the file, what was expected and what was found, and where there
//! is one, the remedy. [`DataError::Io`] is the machine's failure; every other variant is the data's.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fmt, io};

use crate::machine::escape;

/// A data set could not be read, found, downloaded or stored.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file is there and can be read, but is not what its place asks for.
    #[error("{}: {fault}: expected {expected}, found {found}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Which rule it breaks.
        fault: Fault,
        /// What the rule asks for.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// A folder that was asked for lacks some of the four files.
    #[error(
        "{}: no {} (each may also end in .gz, or be spelled like train-images.idx3-ubyte)",
        folder.display(),
        files.join(", ")
    )]
    Missing {
        /// The folder.
        folder: PathBuf,
        /// The names looked for and not found.
        files: Vec<&'static str>,
    },
    /// There is no such file or folder.
    #[error("{}: there is no such file or folder", path.display())]
    Absent {
        /// Its path.
        path: PathBuf,
    },
    /// Nothing can be learned from the training set.
    #[error(
        "{name}: expected examples of at least two classes, found {} of class {class} alone",
        examples
    )]
    OneClass {
        /// The data set.
        name: String,
        /// How many there are.
        examples: usize,
        /// Their class.
        class: String,
    },
    /// MNIST is in none of the places looked at, and no mirror delivered it.
    #[error(
        "{}. Remedy: name a folder that holds its four files with --data or MNIST_DIR, or train on generated \
         digits with --dataset digits",
        unavailable(places, attempts)
    )]
    Unavailable {
        /// The folders looked at, in order.
        places: Vec<PathBuf>,
        /// What each mirror answered, in order; empty if no mirror is configured.
        attempts: Vec<Attempt>,
    },
    /// The machine refused: permissions, a full disk, no memory. The cause is part of the message.
    #[error("cannot {action} {}: {cause}", path.display())]
    Io {
        /// What was tried: a verb.
        action: &'static str,
        /// The file or folder it was tried on.
        path: PathBuf,
        /// The operating system's answer.
        cause: io::Error,
    },
}

impl DataError {
    /// An [`Io`](Self::Io) error about `path`, for `map_err`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::Io { action, path: path.to_path_buf(), cause }
    }

    /// A [`Malformed`](Self::Malformed) error about `path`, in one line whatever the file holds.
    pub(crate) fn malformed(
        path: &Path,
        fault: Fault,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> Self {
        Self::Malformed {
            path: path.to_path_buf(),
            fault,
            expected: escape::name(&expected.to_string()).into_owned(),
            found: escape::name(&found.to_string()).into_owned(),
        }
    }
}

/// The rule that a malformed file breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It is no array of NumPy, or one that is stored in another way.
    #[error("not an array that can be read")]
    Npy,
    /// It is no ZIP archive, or a damaged one.
    #[error("not an archive")]
    Archive,
    /// An array is missing.
    #[error("missing array")]
    Array,
    /// A table has no column of this name, or several.
    #[error("no such column")]
    Column,
    /// A row of a table is longer or shorter than its header.
    #[error("ragged table")]
    Ragged,
    /// What should be a finite number is none.
    #[error("not a number")]
    Number,
    /// A class of a table cannot be used.
    #[error("bad label")]
    Label,
    /// The file does not begin as IDX files do.
    #[error("not an IDX file")]
    Magic,
    /// Its elements are not unsigned bytes.
    #[error("wrong element type")]
    ElementType,
    /// It has another number of dimensions than images (3) or labels (1).
    #[error("wrong number of dimensions")]
    Rank,
    /// One of its dimensions is 0: it holds nothing.
    #[error("empty")]
    Empty,
    /// It is shorter or longer than its header says.
    #[error("wrong length")]
    Length,
    /// It begins as gzip files do, but cannot be decompressed.
    #[error("damaged gzip stream")]
    Gzip,
    /// Images and labels differ in number.
    #[error("images and labels do not pair up")]
    Count,
    /// Two arrays have not as many entries.
    #[error("arrays do not pair up")]
    Pairs,
    /// An example has another shape than those of a run.
    #[error("examples of another shape")]
    Width,
    /// Targets are classes where values are needed, or the other way round.
    #[error("targets of another kind")]
    Targets,
    /// A label names a class that the data set does not have.
    #[error("label out of range")]
    LabelRange,
    /// Test examples have another shape or type than those trained on.
    #[error("test examples differ from training examples")]
    Shape,
    /// Test images have another size than training images.
    #[error("test images differ in size from training images")]
    ImageSize,
}

/// A mirror that did not deliver.
#[derive(Debug, thiserror::Error)]
#[error("{url}: {reason}")]
pub struct Attempt {
    /// The address that was asked for.
    pub url: String,
    /// Why it came to nothing.
    pub reason: Reason,
}

/// Why a mirror did not deliver.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Nothing came in time.
    #[error("no byte within {:.1} s", .0.as_secs_f64())]
    Silent(Duration),
    /// Something came, then nothing more.
    #[error("stalled for {:.1} s", .0.as_secs_f64())]
    Stalled(Duration),
    /// The server refused, with this HTTP status.
    #[error("HTTP status {0}")]
    Status(u16),
    /// No conversation came about, or it broke off: no such host, no connection, bad TLS, a truncated body.
    #[error("{0}")]
    Broken(String),
    /// What came begins as gzip but cannot be decompressed.
    #[error("damaged gzip stream: {0}")]
    Gzip(String),
    /// More came than the file is long.
    #[error("longer than the {expected} bytes that were expected")]
    TooLong {
        /// The published length.
        expected: u64,
    },
    /// What came is not the file.
    #[error("SHA-256 of the uncompressed bytes: expected {expected}, found {found}")]
    Checksum {
        /// The published checksum.
        expected: &'static str,
        /// That of what came.
        found: String,
    },
}

/// Why MNIST cannot be had: the folders it is in none of, and what each mirror answered.
pub(crate) fn unavailable(places: &[PathBuf], attempts: &[Attempt]) -> String {
    let places: Vec<_> = places.iter().map(|place| place.display().to_string()).collect();
    let attempts: Vec<_> = attempts.iter().map(Attempt::to_string).collect();
    let download =
        if attempts.is_empty() { "no mirror is configured".into() } else { attempts.join("; ") };
    format!(
        "MNIST is in none of the folders {}, and could not be downloaded ({download})",
        places.join(", ")
    )
}
