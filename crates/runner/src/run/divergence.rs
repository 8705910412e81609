//! Step at which a loss or a gradient of a run became NaN or infinite.
//!
//! The training loop finds it; error messages and `health.jsonl` report it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A step with a non-finite loss or gradient.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Divergence {
    /// The epoch, from 1.
    pub epoch: u32,
    /// The step within the epoch, from 1.
    pub step: u64,
    /// Loss of the batch, or of the validation set after the last step.
    #[serde(with = "crate::run::json")]
    pub loss: f64,
    /// First non-finite tensor or layer, as text.
    pub location: Option<String>,
    /// Reason why the run ended although its policy is to continue.
    #[serde(skip)]
    pub given_up: Option<String>,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { epoch, step, loss, location, given_up } = self;
        write!(f, "expected finite numbers, got loss {loss} in epoch {epoch}, step {step}")?;
        if let Some(location) = location {
            write!(f, "; the first non-finite values are in {location}")?;
        }
        given_up.as_ref().map_or(Ok(()), |reason| write!(f, "; {reason}"))
    }
}

impl Divergence {
    /// Options to try next.
    pub(crate) fn remedy(&self) -> &'static str {
        match self.given_up {
            None => "a lower --lr, a --clip-norm or --non-finite rollback",
            Some(_) => "a lower --lr or a --clip-norm",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_divergence_names_its_location_and_why_the_run_ended() {
        let divergence = Divergence {
            epoch: 2,
            step: 7,
            loss: f64::NAN,
            location: Some("the outputs of layer 3 (dense)".into()),
            given_up: Some("because".into()),
        };
        let text = "expected finite numbers, got loss NaN in epoch 2, step 7; the first non-finite \
                    values are in the outputs of layer 3 (dense); because";
        assert_eq!(divergence.to_string(), text);
        let written = serde_json::to_string(&divergence).expect("plain");
        let read: Divergence = serde_json::from_str(&written).expect("what was written");
        assert!(
            read.loss.is_nan() && read.location == divergence.location && read.given_up.is_none()
        );
    }
}
