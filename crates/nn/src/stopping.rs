//! Early stopping: when a training has no more to learn. A pure function of the results so far, so that a resumed run stops at the
//! same epoch.

use crate::Error;
use crate::error::check_parameter;

/// Stops when the results have not improved for so long (Prechelt 1998, "Early stopping, but when?").
///
/// It prevents overfitting; it does not cure vanishing gradients. The weights that are kept are those of the best epoch whether or not
/// a run stops early.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct EarlyStopping {
    /// What is watched.
    pub monitor: Monitor,
    /// Epochs without progress that are let pass.
    pub patience: u32,
    /// By how much a result must be better than the best one to be progress: at least 0.
    pub min_delta: f64,
    /// Not single results are compared but the means of so many, up to each: 1 compares single ones.
    pub window: u32,
}

/// A result of an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Monitor {
    /// The loss of the validation set: lower is better.
    #[default]
    ValLoss,
    /// Its accuracy: higher is better.
    ValAccuracy,
}

impl Default for EarlyStopping {
    /// The loss of single epochs, five of them.
    fn default() -> Self {
        Self { monitor: Monitor::ValLoss, patience: 5, min_delta: 0.0, window: 1 }
    }
}

impl EarlyStopping {
    /// Whether its numbers are in range.
    ///
    /// # Errors
    /// [`kernels::Error::Parameter`] for the first that is not.
    pub fn check(&self) -> Result<(), Error> {
        let delta = self.min_delta;
        check_parameter("min_delta", "finite and at least 0", delta, delta >= 0.0 && delta.is_finite())?;
        check_parameter("window", "at least 1", f64::from(self.window), self.window >= 1)
    }

    /// Whether to stop after these results of what is monitored, one an epoch, in order.
    pub fn stops(&self, results: &[f64]) -> bool {
        let (window, sign) = (
            self.window.max(1) as usize,
            match self.monitor {
                Monitor::ValLoss => 1.0,
                Monitor::ValAccuracy => -1.0,
            },
        );
        let (mut best, mut idle) = (f64::INFINITY, 0_u32);
        for results in results.windows(window) {
            let mean = sign * results.iter().sum::<f64>() / window as f64;
            if mean < best - self.min_delta {
                (best, idle) = (mean, 0);
            } else {
                idle = idle.saturating_add(1);
            }
        }
        idle > self.patience
    }
}
