//! What a run does about a loss or a gradient that is not finite: the key `non_finite`.
//!
//! | policy | does |
//! |---|---|
//! | `stop` | the run ends there |
//! | `skip` | the step is left out: no parameter, moment or running statistic changes |
//! | `rollback` | the run goes back to the end of the last epoch, with half the rate from there on |
//!
//! What was done is part of the run's [`Position`], so that a run that is stopped and resumed meets the same
//! steps in the same way. Both remedies end: a gradient that is never finite is not cured by patience. The training loop calls
//! [`NonFinite::meet`].

use std::fmt;

use crate::data::element::Element;
use crate::run::config::NonFinite;
use crate::run::divergence::Divergence;
use crate::run::state::{Anchor, MOST_ROLLBACKS, Position, Recovery, State, Sums};

/// Steps that are left out in a row, at most. Whatever is wrong with a batch of images is over with the batch; what lasts longer is wrong
/// with the weights.
const MOST_IN_A_ROW: u32 = 10;

/// What was done about a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// It was left out.
    Skipped,
    /// The run went back.
    RolledBack,
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Skipped => "the step is left out",
            Self::RolledBack => "back to the end of the epoch before, with half the rate",
        })
    }
}

impl NonFinite {
    /// Does what is to be done about `found`, the step after `state`, which has not been taken.
    ///
    /// # Errors
    /// `found`, where the run has to end for it; nothing is changed then.
    pub fn meet<T: Element>(
        self,
        state: &mut State<T>,
        found: Divergence,
    ) -> Result<Remedy, Divergence> {
        let give_up = |found, reason: String| Err(Divergence { given_up: Some(reason), ..found });
        let Recovery { in_a_row, rollbacks, .. } = state.position.recovery;
        match self {
            Self::Stop => Err(found),
            Self::Skip if !state.weights.params.iter().all(|value| value.to_f64().is_finite()) => {
                give_up(
                    found,
                    "leaving it out helps nothing where parameters are not finite".into(),
                )
            }
            Self::Skip if in_a_row == MOST_IN_A_ROW => {
                give_up(found, format!("the {MOST_IN_A_ROW} steps before it were left out as well"))
            }
            Self::Skip => {
                let Position { step, sums, recovery, .. } = &mut state.position;
                *step += 1;
                sums.skipped += 1;
                recovery.in_a_row += 1;
                recovery.note(found);
                Ok(Remedy::Skipped)
            }
            Self::Rollback if rollbacks == MOST_ROLLBACKS => {
                give_up(found, format!("the run went back {MOST_ROLLBACKS} times before"))
            }
            Self::Rollback => {
                let Some(anchor) = &state.anchor else { return Err(found) };
                let Anchor { weights, optimizer, average, slow } = anchor.clone();
                (state.weights, state.optimizer) = (weights, optimizer);
                (state.average, state.slow) = (average, slow);
                let Position { step, sums, health, recovery, .. } = &mut state.position;
                (*step, *sums, *health) = (0, Sums::default(), Default::default());
                recovery.rollbacks += 1;
                recovery.note(found);
                Ok(Remedy::RolledBack)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_halved_exactly() {
        let rate = |rollbacks| Recovery { rollbacks, ..Recovery::default() }.rate();
        assert_eq!((rate(0), rate(1), rate(MOST_ROLLBACKS)), (1.0, 0.5, 1.0 / 1024.0));
    }

    #[test]
    fn a_divergence_says_where_it_began_and_why_it_ended_the_run() {
        let found = Divergence {
            epoch: 2,
            step: 7,
            loss: f64::NAN,
            origin: Some("the outputs of layer 3 (dense)".into()),
            given_up: Some("because".into()),
        };
        let text = "expected finite numbers, got loss NaN in epoch 2, step 7; it began in the outputs of layer 3 (dense); because";
        assert_eq!(found.to_string(), text);
        let written = serde_json::to_string(&found).expect("plain");
        let read: Divergence = serde_json::from_str(&written).expect("what was written");
        assert!(read.loss.is_nan() && read.origin == found.origin && read.given_up.is_none());
    }
}
