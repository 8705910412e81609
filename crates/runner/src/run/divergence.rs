//! Step at which a loss or a gradient of a run became NaN or infinite.
//!
//! The training loop finds it, error messages and `health.jsonl` report it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a run left the finite numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Divergence {
    /// The epoch, from 1.
    pub epoch: u32,
    /// The step within it, from 1.
    pub step: u64,
    /// The loss: of the batch, or of the validation set after the last step.
    #[serde(with = "crate::run::json")]
    pub loss: f64,
    /// Where it began, in words that name a layer.
    pub origin: Option<String>,
    /// Why the run ended although its policy is another than to stop.
    #[serde(skip)]
    pub given_up: Option<String>,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { epoch, step, loss, origin, given_up } = self;
        write!(f, "expected finite numbers, got loss {loss} in epoch {epoch}, step {step}")?;
        if let Some(origin) = origin {
            write!(f, "; it began in {origin}")?;
        }
        given_up.as_ref().map_or(Ok(()), |reason| write!(f, "; {reason}"))
    }
}

impl Divergence {
    /// What to try next.
    pub(crate) fn remedy(&self) -> &'static str {
        match self.given_up {
            None => "a lower --lr, a --clip-norm or --non-finite rollback",
            Some(_) => "a lower --lr or a --clip-norm",
        }
    }
}
