//! Early stopping: ends a training that no longer improves. A pure function of the results so far,
//! so that a resumed run stops at the same epoch.

use crate::Error;
use crate::error::check_parameter;

/// Stops when the monitored result has not improved for `patience` epochs (Prechelt 1998, "Early
/// stopping, but when?").
///
/// It prevents overfitting; it does not cure vanishing gradients. A run saves the weights of its
/// best epoch, with or without early stopping.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct EarlyStopping {
    /// The monitored result.
    pub monitor: Monitor,
    /// Number of epochs without improvement that are tolerated.
    pub patience: u32,
    /// Minimum improvement over the best result so far, at least 0.
    pub min_delta: f64,
    /// Length of the moving average that is compared, in epochs, at least 1. 1 compares single
    /// epochs.
    pub window: u32,
}

/// A result of an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Monitor {
    /// Loss on the validation set: lower is better.
    #[default]
    ValLoss,
    /// Accuracy on the validation set: higher is better.
    ValAccuracy,
}

impl Default for EarlyStopping {
    /// Validation loss, a patience of 5 epochs, no averaging.
    fn default() -> Self {
        Self { monitor: Monitor::ValLoss, patience: 5, min_delta: 0.0, window: 1 }
    }
}

impl EarlyStopping {
    /// Checks that `min_delta` and `window` are in range.
    ///
    /// # Errors
    /// [`kernels::Error::Parameter`] for the first that is not.
    pub fn check(&self) -> Result<(), Error> {
        let delta = self.min_delta;
        check_parameter(
            "min_delta",
            "finite and at least 0",
            delta,
            delta >= 0.0 && delta.is_finite(),
        )?;
        check_parameter("window", "at least 1", f64::from(self.window), self.window >= 1)
    }

    /// `true` if the run stops after these values of the monitored result, one per epoch, in order.
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
