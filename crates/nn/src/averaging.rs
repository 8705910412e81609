//! Weight averaging over the steps of a training: averages generalise better than the last weights.

use kernels::vector::lerp;
use kernels::{Cpu, norm};

use crate::error::{check_length, check_parameter};
use crate::{Error, Float};

/// Exponential moving average of the weights (Polyak, Juditsky 1992; Tarvainen, Valpola, NeurIPS
/// 2017). The average is evaluated and saved; training continues with the weights themselves.
///
/// ```text
/// d = min(decay, (1 + t) / (10 + t))           t previous steps: a shorter average at the start
/// average = average + (1 - d) (weights - average)
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
pub struct Ema {
    /// Decay of the average per step, in [0, 1).
    pub decay: f64,
}

impl Ema {
    /// Checks that the decay is in range.
    ///
    /// # Errors
    /// [`kernels::Error::Parameter`] if it is not.
    pub fn check(&self) -> Result<(), Error> {
        check_parameter("decay", "in [0, 1)", self.decay, (0.0..1.0).contains(&self.decay))
    }

    /// Updates `average` with `weights`, after `steps` earlier updates.
    ///
    /// # Errors
    /// [`Error::Length`] if `average` and `weights` differ in length.
    pub fn step<T: Float>(
        &self,
        cpu: Cpu<'_>,
        steps: u64,
        average: &mut [T],
        weights: &[T],
    ) -> Result<(), Error> {
        self.check()?;
        let steps = steps as f64;
        let decay = self.decay.min((1.0 + steps) / (10.0 + steps));
        Ok(lerp(cpu, T::from_f64(1.0 - decay), weights, average)?)
    }
}

/// Lookahead (Zhang, Lucas, Hinton, Ba, NeurIPS 2019): every `steps` steps the slow weights are
/// interpolated towards the weights, which are then reset to the slow ones.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Lookahead {
    /// Number of steps between two interpolations, at least 1. The paper's k.
    pub steps: u64,
    /// Interpolation coefficient, above 0 and at most 1. The paper's alpha.
    pub share: f64,
}

impl Default for Lookahead {
    /// The paper's values for image classification: 5 steps, 0.5.
    fn default() -> Self {
        Self { steps: 5, share: 0.5 }
    }
}

impl Lookahead {
    /// Checks that `steps` and `share` are in range.
    ///
    /// # Errors
    /// [`kernels::Error::Parameter`] for the first that is not.
    pub fn check(&self) -> Result<(), Error> {
        check_parameter("steps", "at least 1", self.steps as f64, self.steps >= 1)?;
        check_parameter(
            "share",
            "above 0 and at most 1",
            self.share,
            self.share > 0.0 && self.share <= 1.0,
        )
    }

    /// Call after each step, the `steps`-th of the run. Every [`Self::steps`] steps both become the
    /// new slow weights; otherwise nothing changes.
    ///
    /// # Errors
    /// [`Error::Length`] if `slow` and `weights` differ in length.
    pub fn step<T: Float>(
        &self,
        cpu: Cpu<'_>,
        steps: u64,
        slow: &mut [T],
        weights: &mut [T],
    ) -> Result<(), Error> {
        self.check()?;
        if steps.is_multiple_of(self.steps) {
            lerp(cpu, T::from_f64(self.share), weights, slow)?;
            weights.copy_from_slice(slow);
        }
        Ok(())
    }
}

/// Sharpness-aware minimisation (Foret et al., ICLR 2021): the gradient of a step is taken at the
/// perturbed weights `weights + radius * grads /
/// grads
/// `. It costs a second gradient per step.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
pub struct Sam {
    /// Radius of the perturbation, above 0. The paper's rho, 0.05.
    pub radius: f64,
}

impl Sam {
    /// Checks that the radius is in range.
    ///
    /// # Errors
    /// [`kernels::Error::Parameter`] if it is not.
    pub fn check(&self) -> Result<(), Error> {
        check_parameter(
            "radius",
            "finite and above 0",
            self.radius,
            self.radius > 0.0 && self.radius.is_finite(),
        )
    }

    /// Perturbs `weights` by `radius` along `grads`, and saves the original weights in `origin`:
    /// copy them back after the second gradient.
    ///
    /// # Errors
    /// [`kernels::Error::NonFinite`] for a non-finite gradient; [`Error::Length`]. `weights` are
    /// unchanged then.
    pub fn perturb<T: Float>(
        &self,
        cpu: Cpu<'_>,
        weights: &mut [T],
        grads: &[T],
        origin: &mut [T],
    ) -> Result<(), Error> {
        self.check()?;
        check_length("origin", weights.len(), origin.len())?;
        check_length("grads", weights.len(), grads.len())?;
        let norm = norm::norm2(cpu, grads)?;
        origin.copy_from_slice(weights);
        if norm > 0.0 {
            kernels::vector::axpy(cpu, T::from_f64(self.radius / norm), grads, weights)?;
        }
        Ok(())
    }
}
