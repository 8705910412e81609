//! A data set in memory: training and test examples, their names and their origin.

use std::fmt;
use std::path::PathBuf;

use crate::data::error::DataError;
use crate::data::folder;
use crate::data::labelled::{Labelled, Targets};

/// A data set in memory.
#[derive(Debug)]
pub struct Dataset {
    /// What it is called: `mnist`, `digits`, or the name of the folder it was asked for by.
    pub name: String,
    /// Where it came from.
    pub origin: Origin,
    /// Number of classes; every label is below it. 0 where examples have values for targets.
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

impl Dataset {
    /// The data set `contents` with its name and origin.
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

    /// Whether examples have values for targets, not classes.
    pub fn has_values(&self) -> bool {
        matches!(self.train.targets(), Targets::Values(_))
    }

    /// Numbers that a network must answer with at least: one a class, or one value.
    pub fn outputs(&self) -> usize {
        self.classes.max(1)
    }
}
