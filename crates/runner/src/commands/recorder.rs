//! `evenkeel recorder`: a file that records a training in PyTorch or Keras, for
//! `evenkeel diagnose --record`.
//!
//! The file of a framework is its own part, then the part that all frameworks share: Python looks
//! names up when a function is called, so that the order does not matter.

use std::path::PathBuf;

use crate::Error;
use crate::commands::output;
use crate::commands::output::refuse_if;
use crate::data::replace::replace_with;

/// Framework of the training to record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Framework {
    /// PyTorch.
    Torch,
    /// Keras 3.
    Keras,
}

impl Framework {
    /// Contents of the Python file.
    pub const fn recorder(self) -> &'static str {
        match self {
            Self::Torch => concat!(
                include_str!("recorder/torch.py"),
                "\n\n",
                include_str!("recorder/common.py")
            ),
            Self::Keras => concat!(
                include_str!("recorder/keras.py"),
                "\n\n",
                include_str!("recorder/common.py")
            ),
        }
    }
}

/// Options of `recorder`.
#[derive(Clone, Debug)]
pub struct Request {
    /// The framework.
    pub framework: Framework,
    /// File to write; `None` for standard output.
    pub out: Option<PathBuf>,
    /// Replace an existing file.
    pub force: bool,
}

/// Prints the recorder, or writes it to the file and prints its name.
///
/// # Errors
/// [`Error::Usage`] if the file exists and `force` is not set;
/// [`DataError::Io`](crate::data::DataError::Io) if it cannot be written.
pub fn recorder(request: &Request) -> Result<(), Error> {
    let Request { framework, out, force } = request;
    let Some(out) = out else {
        return output::print_raw(framework.recorder().trim_end());
    };
    refuse_if(out.exists() && !force, out)?;
    replace_with(out, framework.recorder().as_bytes())?;
    output::print(&out.display().to_string())
}
