//! Averages of weights over the steps of a training, which generalise better than the last weights.

use kernels::vector::lerp;
use kernels::{Cpu, norm};

use crate::error::{check_length, check_parameter};
use crate::{Error, Float};

/// The exponential moving average of the weights (Polyak, Juditsky 1992; Tarvainen, Valpola, NeurIPS 2017): what is scored and
/// kept, while training goes on with the weights themselves.
///
/// ```text
/// keep = min(decay, (1 + t) / (10 + t))          t steps before this one: the first weights are soon forgotten
/// average = average + (1 - keep) (weights - average)
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Ema {
    /// How much of the average stays at a step: in [0, 1).
    pub decay: f64,
}

impl Ema {
    /// Whether the decay is in range.
    ///
    /// # Errors
    /// [`kernels::Error::Parameter`] if it is not.
    pub fn check(&self) -> Result<(), Error> {
        check_parameter("decay", "in [0, 1)", self.decay, (0.0..1.0).contains(&self.decay))
    }

    /// Takes in `weights`, after `steps` others.
    ///
    /// # Errors
    /// [`Error::Length`] if the two differ in length.
    pub fn step<T: Float>(
        &self,
        cpu: Cpu<'_>,
        steps: u64,
        average: &mut [T],
        weights: &[T],
    ) -> Result<(), Error> {
        self.check()?;
        let steps = steps as f64;
        let keep = self.decay.min((1.0 + steps) / (10.0 + steps));
        Ok(lerp(cpu, T::from_f64(1.0 - keep), weights, average)?)
    }
}

/// Lookahead (Zhang, Lucas, Hinton, Ba, NeurIPS 2019): after every `steps` steps, slow weights go a part of the way to the weights,
/// which begin again there.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Lookahead {
    /// Steps between: at least 1.
    pub steps: u64,
    /// The part of the way: above 0, at most 1.
    pub share: f64,
}

impl Default for Lookahead {
    /// The paper's for image classification: 5 steps, half of the way.
    fn default() -> Self {
        Self { steps: 5, share: 0.5 }
    }
}

impl Lookahead {
    /// Whether its numbers are in range.
    ///
    /// # Errors
    /// [`kernels::Error::Parameter`] for the first that is not.
    pub fn check(&self) -> Result<(), Error> {
        check_parameter("steps", "at least 1", self.steps as f64, self.steps >= 1)?;
        check_parameter("share", "above 0 and at most 1", self.share, self.share > 0.0 && self.share <= 1.0)
    }

    /// After `steps` steps in all: both become the new slow weights if it is time; else nothing is changed.
    ///
    /// # Errors
    /// [`Error::Length`] if the two differ in length.
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

/// Sharpness-aware minimisation (Foret et al., ICLR 2021): the gradient of a step is taken not where the weights are but at the
/// worst place near them, `radius` up the gradient. It costs a second gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Sam {
    /// How far: above 0. The paper's is 0.05.
    pub radius: f64,
}

impl Sam {
    /// Whether the radius is in range.
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

    /// Moves `weights` `radius` along `grads`, and keeps where they were in `origin`: after the second gradient, copy it back.
    ///
    /// # Errors
    /// [`kernels::Error::NonFinite`] for a gradient that is not finite; [`Error::Length`]. The weights have not moved then.
    pub fn climb<T: Float>(
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
