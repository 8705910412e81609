//! Sets of examples that `eval` scores.

use std::borrow::Cow;

use serde::Serialize;

use crate::data::Labelled;
use crate::run::setup::Setup;

/// Set of examples, as `--split` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// The training set, without the validation set.
    Train,
    /// The validation set, which chooses the best epoch.
    Val,
    /// The test set, which takes no part in training.
    Test,
}

impl Split {
    /// Returns the data set that holds the examples, and their indices in it.
    pub(super) fn examples(self, setup: &Setup) -> (&Labelled, Cow<'_, [u32]>) {
        let Setup { dataset, split, .. } = setup;
        match self {
            Self::Train => (&dataset.train, Cow::from(&split.train)),
            Self::Val => (&dataset.train, Cow::from(&split.validation)),
            Self::Test => (&dataset.test, dataset.test.indices().collect()),
        }
    }
}
