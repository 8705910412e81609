//! Every way a command can end other than well, and the exit code of each.
//!
//! A message says what was expected, what came and where; the command line prints it after `error:`.

use std::path::{Path, PathBuf};

use crate::data::DataError;
use crate::machine::escape;
use crate::machine::signal::Signal;
use crate::machine::thread_pool::ThreadPoolError;
use crate::run::divergence::Divergence;

/// Why a command did not end with exit code 0.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Arguments or configuration that cannot be used: a sentence that names the key, its value and what is allowed.
    #[error("{0}")]
    Usage(String),
    /// A configuration file that cannot be read as one: the parser's message has line and key.
    #[error("{}: {message}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// Data that is absent or not what it should be, or a machine that refuses to read or write a file.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A file of a run folder that is damaged, or belongs to something else.
    #[error("{}: expected {expected}, found {found}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The network refused its layers or its arguments.
    #[error("network: {0}")]
    Network(#[from] nn::Error),
    /// The threads cannot be had.
    #[error(transparent)]
    ThreadThreadPool(#[from] ThreadPoolError),
    /// The test accuracy is below what `--min-accuracy` asks for.
    #[error("test accuracy {accuracy} is below --min-accuracy {least}")]
    Gate {
        /// The test accuracy, 0 to 1.
        accuracy: f64,
        /// What was asked for.
        least: f64,
    },
    /// What was to be proven is not so.
    #[error("{failed} of {of} {what} are not what they must be")]
    Unproven {
        /// What was checked.
        what: &'static str,
        /// How many failed.
        failed: usize,
        /// Of how many.
        of: usize,
    },
    /// One batch was not learned by heart.
    #[error(
        "{steps} steps on one batch brought the loss from {first_loss:.4} to {last_loss:.4}{}. Look at rate, initialisers and losses \
         before training on more, or give it more --max-steps",
        match accuracy {
            Some(share) => format!(
                ", and {:.2} % of its {noun} right; expected a tenth of the loss and all {noun}", 100.0 * share
            ),
            None => "; expected a tenth of it".into(),
        }
    )]
    Unlearned {
        /// What examples are called.
        noun: &'static str,
        /// Steps that were taken.
        steps: u64,
        /// The loss before them.
        first_loss: f64,
        /// The loss after them.
        last_loss: f64,
        /// The share of examples answered rightly after them; none where they have values.
        accuracy: Option<f64>,
    },
    /// Loss or gradient is no longer finite.
    #[error("diverged: {divergence}. What the run was is in {}; try {}", folder.display(), divergence.remedy())]
    Diverged {
        /// What happened, and where.
        divergence: Divergence,
        /// The run folder.
        folder: PathBuf,
    },
    /// Outputs of the network are NaN or infinite: these rows have no prediction.
    #[error(
        "expected finite outputs, got NaN or infinite ones for {count} of {of} {noun}: {rows}. They have no prediction, and count \
         as wrong. Look for values far from those that the run was trained on"
    )]
    Unpredicted {
        /// Number of rows without a prediction.
        count: usize,
        /// Number of all rows.
        of: usize,
        /// Unit name of a row, such as `images`.
        noun: &'static str,
        /// Names of the first few.
        rows: String,
    },
    /// A signal came; the state was saved first.
    #[error("stopped by {signal}; go on with: evenkeel train --resume {}", folder.display())]
    Interrupted {
        /// Which one.
        signal: Signal,
        /// The run folder.
        folder: PathBuf,
    },
    /// Standard output cannot be written to, or signals cannot be caught.
    #[error("cannot {action}: {cause}")]
    System {
        /// What was tried: a verb and its object.
        action: &'static str,
        /// The operating system's answer.
        cause: std::io::Error,
    },
}

impl Error {
    /// The exit code: 1 failed, 2 usage or configuration, 3 data, 4 a gate was missed, 5 diverged
    /// or outputs that are NaN or infinite, 130 SIGINT,
    /// 143 SIGTERM.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Data(DataError::Io { .. }) | Self::System { .. } => 1,
            Self::Usage(_) | Self::Config { .. } | Self::Network(_) | Self::ThreadThreadPool(_) => {
                2
            }
            Self::Data(_) | Self::Malformed { .. } => 3,
            Self::Gate { .. } | Self::Unproven { .. } | Self::Unlearned { .. } => 4,
            Self::Diverged { .. } | Self::Unpredicted { .. } => 5,
            Self::Interrupted { signal, .. } => signal.exit_code(),
        }
    }

    /// The file at `path` is damaged, or belongs to something else. Control characters of the texts are escaped.
    pub(crate) fn malformed(path: &Path, expected: impl ToString, found: impl ToString) -> Self {
        let line = |text: &str| escape::name(text).into_owned();
        let [expected, found] = [expected.to_string(), found.to_string()];
        Self::Malformed { path: path.into(), expected: line(&expected), found: line(&found) }
    }
}
