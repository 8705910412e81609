//! Errors of the commands, and the exit code of each.
//!
//! A message names what was expected, what was found and where, and the remedy. The command line
//! prints it after `error:`.

use std::path::{Path, PathBuf};

use crate::data::DataError;
use crate::machine::escape;
use crate::machine::signal::Signal;
use crate::machine::thread_pool::ThreadPoolError;
use crate::run::divergence::Divergence;

/// Reason that a command did not end with exit code 0.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Invalid arguments or configuration: a sentence that names the key, its value and the
    /// allowed values.
    #[error("{0}")]
    Usage(String),
    /// Configuration file that does not parse: the parser's message has line and key.
    #[error("{}: {message}", path.display())]
    Config {
        /// Path of the file.
        path: PathBuf,
        /// Message of the parser.
        message: String,
    },
    /// Missing or malformed data, or a file that the system refuses to read or write.
    #[error(transparent)]
    Data(#[from] DataError),
    /// File of a run folder that is damaged, or belongs to something else.
    #[error("{}: expected {expected}, found {found}", path.display())]
    Malformed {
        /// Path of the file.
        path: PathBuf,
        /// Expected content.
        expected: String,
        /// Found content.
        found: String,
    },
    /// The network refused its layers or its arguments.
    #[error("network: {0}")]
    Network(#[from] nn::Error),
    /// The thread pool cannot be built.
    #[error(transparent)]
    ThreadPool(#[from] ThreadPoolError),
    /// The test accuracy is below `--min-accuracy`.
    #[error("test accuracy {accuracy} is below --min-accuracy {minimum}")]
    Gate {
        /// Test accuracy, 0 to 1.
        accuracy: f64,
        /// Value of `--min-accuracy`.
        minimum: f64,
    },
    /// Checks of `verify` or `gradcheck` failed.
    #[error("{failed} of {total} {checks} failed")]
    ChecksFailed {
        /// Plural of a check, such as `gradients`.
        checks: &'static str,
        /// Number of failed checks.
        failed: usize,
        /// Number of all checks.
        total: usize,
    },
    /// The diagnosis has findings of `--fail-on`.
    #[error("expected none of the findings of --fail-on, got {names}")]
    Findings {
        /// Names of the rules.
        names: String,
    },
    /// The network did not overfit a single batch.
    #[error(
        "{steps} steps on one batch took the loss from {first_loss:.4} to {last_loss:.4}{}. Check \
         learning rate, initialisers and losses before training on more data, or raise --max-steps",
        match accuracy {
            Some(accuracy) => format!(
                ", with {:.2} % of its {unit_name} right; expected a tenth of the loss, and all \
                 {unit_name} right",
                100.0 * accuracy
            ),
            None => "; expected a tenth of it".into(),
        }
    )]
    NotOverfit {
        /// Unit name of an example, such as `images`.
        unit_name: &'static str,
        /// Number of steps taken.
        steps: u64,
        /// Loss before the first step.
        first_loss: f64,
        /// Loss after the last step.
        last_loss: f64,
        /// Accuracy after the last step, 0 to 1. `None` for a regression.
        accuracy: Option<f64>,
    },
    /// Loss or gradient became non-finite.
    #[error(
        "diverged: {divergence}. The run so far is in {}; try {}",
        folder.display(),
        divergence.remedy()
    )]
    Diverged {
        /// Step and origin of the divergence.
        divergence: Divergence,
        /// The run folder.
        folder: PathBuf,
    },
    /// Outputs of the network are NaN or infinite: these rows have no prediction.
    #[error(
        "expected finite outputs, got NaN or infinite ones for {count} of {total} {unit_name}: \
         {rows}. They have no prediction, and count as wrong. Look for values far from those of \
         the training set"
    )]
    Unpredicted {
        /// Number of rows without a prediction.
        count: usize,
        /// Number of all rows.
        total: usize,
        /// Unit name of a row, such as `images`.
        unit_name: &'static str,
        /// Names of the first few rows, or how to list them.
        rows: String,
    },
    /// A signal stopped the run; the state was saved first.
    #[error("stopped by {signal}; resume with: evenkeel train --resume {}", folder.display())]
    Interrupted {
        /// The signal.
        signal: Signal,
        /// The run folder.
        folder: PathBuf,
    },
    /// Standard output cannot be written to, or signals cannot be caught.
    #[error("cannot {action}: {cause}")]
    System {
        /// Failed action: a verb and its object.
        action: &'static str,
        /// Error of the operating system.
        cause: std::io::Error,
    },
}

impl Error {
    /// Exit code: 1 failed, 2 usage or configuration, 3 data, 4 a gate was missed, 5 diverged or
    /// outputs that are NaN or infinite, 130 SIGINT, 143 SIGTERM.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Data(DataError::Io { .. }) | Self::System { .. } => 1,
            Self::Usage(_) | Self::Config { .. } | Self::Network(_) | Self::ThreadPool(_) => 2,
            Self::Data(_) | Self::Malformed { .. } => 3,
            Self::Gate { .. }
            | Self::ChecksFailed { .. }
            | Self::Findings { .. }
            | Self::NotOverfit { .. } => 4,
            Self::Diverged { .. } | Self::Unpredicted { .. } => 5,
            Self::Interrupted { signal, .. } => signal.exit_code(),
        }
    }

    /// Returns [`Error::Malformed`] for the file at `path`, with the texts' control characters
    /// escaped.
    pub(crate) fn malformed(path: &Path, expected: impl ToString, found: impl ToString) -> Self {
        let escaped = |text: &str| escape::name(text).into_owned();
        let [expected, found] = [expected.to_string(), found.to_string()];
        let (expected, found) = (escaped(&expected), escaped(&found));
        Self::Malformed { path: path.into(), expected, found }
    }
}
