//! Examples to predict, and the files that they come from.

use serde::Serialize;

use crate::data::Labelled;
use crate::machine::escape;

/// Examples of one or several files.
pub(super) struct Input {
    pub(super) set: Labelled,
    /// Source of each example.
    pub(super) sources: Vec<Source>,
}

/// File and index of an example, and how its image was prepared.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Source {
    pub(super) file: String,
    /// Index in the file, from 0. `None` if the file holds one example.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) index: Option<usize>,
    /// Width and height of an image before it was resized.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resized_from: Option<[usize; 2]>,
    /// `true` if the image was inverted.
    pub(super) inverted: bool,
    /// `true` if the digit in the image was cropped and centred as in the training set.
    pub(super) centred: bool,
}

impl Source {
    /// An example that is used as it is in the file.
    pub(super) fn unprepared(file: String, index: Option<usize>) -> Self {
        Self { file, index, resized_from: None, inverted: false, centred: false }
    }

    /// `images[3]`, or `three.png`, safe to print.
    pub(super) fn name(&self) -> String {
        match self.index {
            Some(index) => format!("{}[{index}]", escape::name(&self.file)),
            None => escape::name(&self.file).into_owned(),
        }
    }
}
