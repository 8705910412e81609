//! A data set in memory: training and test examples, names and origin.

use std::fmt;
use std::path::PathBuf;

use crate::data::error::DataError;
use crate::data::folder;
use crate::data::labelled::{Labelled, Targets};

/// A data set in memory.
#[derive(Debug)]
pub struct Dataset {
    /// Name of the data set: `mnist`, `digits`, or the name of its folder or file.
    pub name: String,
    /// Origin of the data.
    pub origin: Origin,
    /// Number of classes; every label is below it. 0 for other targets.
    pub classes: usize,
    /// Names of a table's columns and classes; empty for images.
    pub names: Names,
    /// Training set, from which a validation set is split.
    pub train: Labelled,
    /// Test set; its images have the size of those of `train`.
    pub test: Labelled,
    /// `true` if the test set was held out from the data by the seed.
    pub test_is_held_out: bool,
}

/// Names of a table's columns and classes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Names of the input columns.
    pub columns: Vec<String>,
    /// Names of the classes.
    pub classes: Vec<String>,
}

/// Origin of a data set. Displays as a phrase for the summary and the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Files of a folder.
    Folder(PathBuf),
    /// A file.
    File(PathBuf),
    /// A mirror.
    Downloaded {
        /// URL of the mirror.
        from: String,
        /// Folder that caches it; `None` if this run deletes it at its end.
        into: Option<PathBuf>,
    },
    /// A generator.
    Generated {
        /// Reason for generating it, as a phrase; `None` if it was requested.
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

impl Dataset {
    /// Creates the data set `contents` with its name and origin.
    pub(crate) fn new(name: String, origin: Origin, contents: folder::Contents) -> Self {
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

    /// Checks that there is anything to learn.
    ///
    /// # Errors
    /// [`DataError::OneClass`] if the whole training set is of one class.
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

    /// The same examples, with the inputs as targets.
    #[must_use]
    pub(crate) fn reconstructing(self) -> Self {
        let names = Names { classes: Vec::new(), ..self.names };
        let (train, test) = (self.train.reconstructing(), self.test.reconstructing());
        Self { names, train, test, classes: 0, ..self }
    }

    /// `true` if targets are values (regression) or the inputs (reconstruction), not classes.
    pub fn has_values(&self) -> bool {
        !matches!(self.train.targets(), Targets::Classes(_))
    }

    /// `true` if the targets are the inputs.
    pub fn is_reconstruction(&self) -> bool {
        matches!(self.train.targets(), Targets::Inputs(_))
    }

    /// Smallest number of outputs of a network: one per class, one value, or one per input.
    pub fn outputs(&self) -> usize {
        if self.is_reconstruction() { self.train.image_len() } else { self.classes.max(1) }
    }
}
