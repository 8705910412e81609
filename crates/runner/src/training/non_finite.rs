//! Recovery from a non-finite loss or gradient: the key `non_finite`.
//!
//! | policy | effect |
//! |---|---|
//! | `stop` | the run ends at that step |
//! | `skip` | the step is skipped: no parameter, moment or running statistic changes |
//! | `rollback` | the run returns to the end of the last epoch, with half the rate from there on |
//!
//! The recovery is part of the run's [`Position`], so that a run that is stopped and resumed
//! treats the same steps in the same way. Skips and rollbacks are limited: a gradient that is never
//! finite ends the run. The training loop calls [`NonFinite::apply`].

use std::fmt;

use crate::data::element::Element;
use crate::run::config::NonFinite;
use crate::run::divergence::Divergence;
use crate::run::state::{MAX_ROLLBACKS, Position, Recovery, Snapshot, State, Sums};

/// Maximum number of consecutive skipped steps. A defect of one batch ends with that batch; one
/// that lasts longer is in the weights.
const MAX_CONSECUTIVE_SKIPS: u32 = 10;

/// How a run recovered from a non-finite step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The step was skipped.
    Skipped,
    /// The run was rolled back to the end of the last epoch.
    RolledBack,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Skipped => "the step is skipped",
            Self::RolledBack => "rolled back to the end of the last epoch, with half the rate",
        })
    }
}

impl NonFinite {
    /// Applies the policy to `divergence`, the step after `state`, which has not been taken.
    ///
    /// # Errors
    /// `divergence`, if the run has to end because of it; then nothing is changed.
    pub fn apply<T: Element>(
        self,
        state: &mut State<T>,
        divergence: Divergence,
    ) -> Result<Action, Divergence> {
        let give_up =
            |divergence, reason: String| Err(Divergence { given_up: Some(reason), ..divergence });
        let Recovery { consecutive_skips, rollbacks, .. } = state.position.recovery;
        match self {
            Self::Stop => Err(divergence),
            Self::Skip if !state.weights.params.iter().all(|value| value.to_f64().is_finite()) => {
                give_up(divergence, "a skip cannot help: parameters are non-finite".into())
            }
            Self::Skip if consecutive_skips == MAX_CONSECUTIVE_SKIPS => {
                let reason =
                    format!("the {MAX_CONSECUTIVE_SKIPS} steps before it were skipped as well");
                give_up(divergence, reason)
            }
            Self::Skip => {
                let Position { step, sums, recovery, .. } = &mut state.position;
                *step += 1;
                sums.skipped += 1;
                recovery.consecutive_skips += 1;
                recovery.record(divergence);
                Ok(Action::Skipped)
            }
            Self::Rollback if rollbacks == MAX_ROLLBACKS => {
                give_up(divergence, format!("the run was rolled back {MAX_ROLLBACKS} times before"))
            }
            Self::Rollback => {
                let Some(snapshot) = &state.snapshot else { return Err(divergence) };
                let Snapshot { weights, optimizer, average, slow } = snapshot.clone();
                (state.weights, state.optimizer) = (weights, optimizer);
                (state.average, state.slow) = (average, slow);
                let Position { step, sums, health, recovery, .. } = &mut state.position;
                (*step, *sums, *health) = (0, Sums::default(), Default::default());
                recovery.rollbacks += 1;
                recovery.record(divergence);
                Ok(Action::RolledBack)
            }
        }
    }
}
