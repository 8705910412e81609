//! Policy for a loss or a gradient that is NaN or infinite: the key `non_finite`.
//!
//! | policy | effect |
//! |---|---|
//! | `stop` | the run ends at that step |
//! | `skip` | the step is skipped: no parameter, moment or running statistic changes |
//! | `rollback` | the run returns to the end of the last epoch, with half the rate from there on |

use serde::{Deserialize, Serialize};

/// Policy for a non-finite loss or gradient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum NonFinite {
    /// End the run.
    #[default]
    Stop,
    /// Skip the step.
    Skip,
    /// Roll back to the end of the last epoch, and halve the rate from there on.
    Rollback,
}
