//! Errors of [`load`](super::load) and of the readers and generators that it calls.
//!
//! Each message is complete: it names the file, what was expected and what was found, and the
//! remedy if there is one. [`DataError::Io`] is a failure of the machine; every other variant is
//! one of the data.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fmt, io};

use crate::machine::escape;

/// Failure to read, find, download or store a data set.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file can be read, but its contents break a rule.
    #[error("{}: {fault}: expected {expected}, found {found}", path.display())]
    Malformed {
        /// Path of the file.
        path: PathBuf,
        /// Rule that it breaks.
        fault: Fault,
        /// Contents that the rule requires.
        expected: String,
        /// Contents of the file.
        found: String,
    },
    /// The folder that was named lacks some of the four files.
    #[error(
        "{}: no {} (each may also end in .gz, or be spelled like train-images.idx3-ubyte)",
        folder.display(),
        files.join(", ")
    )]
    Missing {
        /// Path of the folder.
        folder: PathBuf,
        /// Names of the missing files.
        files: Vec<&'static str>,
    },
    /// There is no such file or folder.
    #[error("{}: there is no such file or folder", path.display())]
    Absent {
        /// Path that was named.
        path: PathBuf,
    },
    /// All training examples are of one class: there is nothing to learn.
    #[error(
        "{name}: expected examples of at least two classes, found {} of class {class} alone",
        examples
    )]
    OneClass {
        /// Name of the data set.
        name: String,
        /// Number of training examples.
        examples: usize,
        /// Name of their class.
        class: String,
    },
    /// MNIST is in none of the searched folders, and no mirror delivered it.
    #[error(
        "{}. Remedy: name a folder that holds its four files with --data or MNIST_DIR, or train \
         on generated digits with --dataset digits",
        unavailable(searched, attempts)
    )]
    Unavailable {
        /// Searched folders, in order.
        searched: Vec<PathBuf>,
        /// Failure of each mirror, in order; empty if no mirror is configured.
        attempts: Vec<Attempt>,
    },
    /// The operating system refused: permissions, a full disk, no memory. The message includes the
    /// cause.
    #[error("cannot {action} {}: {cause}", path.display())]
    Io {
        /// Operation that failed: a verb.
        action: &'static str,
        /// File or folder of the operation.
        path: PathBuf,
        /// Error of the operating system.
        cause: io::Error,
    },
}

impl DataError {
    /// Returns a conversion to an [`Io`](Self::Io) error about `path`, for `map_err`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::Io { action, path: path.to_path_buf(), cause }
    }

    /// Creates a [`Malformed`](Self::Malformed) error about `path`. Its message is a single line:
    /// control characters are escaped.
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

/// Rule that a malformed file breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It is no NumPy array, or its storage order is not supported.
    #[error("not an array that can be read")]
    Npy,
    /// It is no ZIP archive, or a damaged one.
    #[error("not an archive")]
    Archive,
    /// An array is missing.
    #[error("missing array")]
    Array,
    /// A table has no column with this name, or several.
    #[error("no such column")]
    Column,
    /// A row of a table is longer or shorter than its header.
    #[error("ragged table")]
    Ragged,
    /// A field is not a finite number.
    #[error("not a number")]
    Number,
    /// A class of a table cannot be used.
    #[error("bad label")]
    Label,
    /// The magic number of IDX files is missing.
    #[error("not an IDX file")]
    Magic,
    /// Elements are not unsigned bytes.
    #[error("wrong element type")]
    ElementType,
    /// The number of dimensions is not that of images (3) or labels (1).
    #[error("wrong number of dimensions")]
    Rank,
    /// A dimension is 0.
    #[error("empty")]
    Empty,
    /// The file is shorter or longer than its header says.
    #[error("wrong length")]
    Length,
    /// The file begins with gzip's magic number but cannot be decompressed.
    #[error("damaged gzip stream")]
    Gzip,
    /// Images and labels differ in number.
    #[error("images and labels differ in number")]
    Count,
    /// Inputs and targets differ in number.
    #[error("arrays differ in length")]
    Pairs,
    /// Examples have another shape than those that a run was trained on.
    #[error("examples of another shape")]
    Width,
    /// Targets are classes where values are needed, or values where classes are needed.
    #[error("targets of another kind")]
    Targets,
    /// A label names a class that the data set does not have.
    #[error("label out of range")]
    LabelRange,
    /// Test examples have another shape or type than training examples.
    #[error("test examples differ from training examples")]
    Shape,
    /// Test images have another size than training images.
    #[error("test images differ in size from training images")]
    ImageSize,
}

/// Failed download of a file from a mirror.
#[derive(Debug, thiserror::Error)]
#[error("{url}: {reason}")]
pub struct Attempt {
    /// URL of the file.
    pub url: String,
    /// Reason of the failure.
    pub reason: Reason,
}

/// Reason why a mirror did not deliver a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// No byte arrived within this time.
    #[error("no byte within {:.1} s", .0.as_secs_f64())]
    Silent(Duration),
    /// After the first bytes, none arrived for this time.
    #[error("stalled for {:.1} s", .0.as_secs_f64())]
    Stalled(Duration),
    /// The server refused, with this HTTP status.
    #[error("HTTP status {0}")]
    Status(u16),
    /// The connection failed or broke off: unknown host, refused connection, bad TLS, a truncated
    /// body.
    #[error("{0}")]
    Broken(String),
    /// The response begins with gzip's magic number but cannot be decompressed.
    #[error("damaged gzip stream: {0}")]
    Gzip(String),
    /// The response is longer than the file.
    #[error("longer than the {expected} bytes that were expected")]
    TooLong {
        /// Published length.
        expected: u64,
    },
    /// The response is not the published file.
    #[error("SHA-256 of the uncompressed bytes: expected {expected}, found {found}")]
    Checksum {
        /// Published checksum.
        expected: &'static str,
        /// Checksum of the response.
        found: String,
    },
}

/// Returns the sentence that says why MNIST is unavailable: the searched folders, and the failure
/// of each mirror.
pub(crate) fn unavailable(searched: &[PathBuf], attempts: &[Attempt]) -> String {
    let searched: Vec<_> = searched.iter().map(|folder| folder.display().to_string()).collect();
    let attempts: Vec<_> = attempts.iter().map(Attempt::to_string).collect();
    let download =
        if attempts.is_empty() { "no mirror is configured".into() } else { attempts.join("; ") };
    format!(
        "MNIST is in none of the folders {}, and could not be downloaded ({download})",
        searched.join(", ")
    )
}
