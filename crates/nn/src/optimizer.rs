//! Optimizers: hyper-parameters as data, and the moments of a run.

use alloc::vec;
use alloc::vec::Vec;

use kernels::adam::Adam;
use kernels::sgd::Sgd;
use kernels::{Cpu, Decay, Float};

use crate::Error;
use crate::error::check_length;

/// An optimizer and its hyper-parameters, but for the learning rate, which comes with each step.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)
)]
#[non_exhaustive]
pub enum Optimizer {
    /// Stochastic gradient descent, with momentum (Polyak's or Nesterov's) and L2 decay; PyTorch's form.
    Sgd {
        /// How much of the last step is kept, from 0 (none) to below 1.
        #[cfg_attr(feature = "serde", serde(default))]
        momentum: f64,
        /// Nesterov's form of momentum.
        #[cfg_attr(feature = "serde", serde(default))]
        nesterov: bool,
        /// This share of each parameter is added to its gradient.
        #[cfg_attr(feature = "serde", serde(default))]
        weight_decay: f64,
    },
    /// Adam (Kingma, Ba 2015); with `weight_decay`, AdamW (Loshchilov, Hutter 2019).
    Adam {
        /// Decay of the mean of the gradient.
        #[cfg_attr(feature = "serde", serde(default = "beta1"))]
        beta1: f64,
        /// Decay of the mean of its square.
        #[cfg_attr(feature = "serde", serde(default = "beta2"))]
        beta2: f64,
        /// Added to the root of the second mean.
        #[cfg_attr(feature = "serde", serde(default = "epsilon"))]
        epsilon: f64,
        /// Decoupled: this share of each parameter, times the rate, is taken away at each step.
        #[cfg_attr(feature = "serde", serde(default))]
        weight_decay: f64,
    },
}

/// Defaults of configuration files, one function each, as serde wants them.
#[cfg(feature = "serde")]
mod defaults {
    pub(super) fn beta1() -> f64 {
        0.9
    }
    pub(super) fn beta2() -> f64 {
        0.999
    }
    pub(super) fn epsilon() -> f64 {
        1e-8
    }
}
#[cfg(feature = "serde")]
use defaults::{beta1, beta2, epsilon};

/// An optimizer at work: its moments, laid out as the parameters are, and how many steps it has taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Running<T> {
    optimizer: Optimizer,
    moments: Vec<Vec<T>>,
    steps: u64,
}

impl Optimizer {
    /// Adam with its paper's settings.
    pub const fn adam() -> Self {
        Self::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0 }
    }

    /// Plain stochastic gradient descent.
    pub const fn sgd() -> Self {
        Self::Sgd { momentum: 0.0, nesterov: false, weight_decay: 0.0 }
    }

    /// The names of its moments, which are also those in a checkpoint: PyTorch's.
    pub const fn moment_names(&self) -> &'static [&'static str] {
        match self {
            Self::Sgd { momentum, .. } if *momentum == 0.0 => &[],
            Self::Sgd { .. } => &["momentum_buffer"],
            Self::Adam { .. } => &["exp_avg", "exp_avg_sq"],
        }
    }

    /// Starts on `len` parameters, with moments of 0.
    ///
    /// # Errors
    /// A hyper-parameter outside its range.
    pub fn start<T: Float>(self, len: usize) -> Result<Running<T>, Error> {
        let moments = self.moment_names().iter().map(|_| vec![T::ZERO; len]).collect();
        self.resume(0, moments)
    }

    /// Goes on after `steps` steps with these moments, in the order of [`moment_names`](Self::moment_names).
    ///
    /// # Errors
    /// A hyper-parameter outside its range, or another number of moments.
    pub fn resume<T: Float>(self, steps: u64, moments: Vec<Vec<T>>) -> Result<Running<T>, Error> {
        self.check()?;
        check_length("moments", self.moment_names().len(), moments.len())?;
        Ok(Running { optimizer: self, moments, steps })
    }
}

/// What the kernels take: the hyper-parameters with the rate of one step.
enum Kernel {
    Sgd(Sgd),
    Adam(Adam),
}

impl Optimizer {
    fn kernel(&self, lr: f64) -> Kernel {
        match *self {
            Self::Sgd { momentum, nesterov, weight_decay } => {
                Kernel::Sgd(Sgd { lr, momentum, nesterov, decay: Decay::L2(weight_decay) })
            }
            Self::Adam { beta1, beta2, epsilon, weight_decay } => {
                Kernel::Adam(Adam { lr, beta1, beta2, epsilon, decay: Decay::Decoupled(weight_decay) })
            }
        }
    }

    /// Whether all hyper-parameters are in range.
    ///
    /// # Errors
    /// [`kernels::Error::Parameter`] for the first that is not.
    pub fn check(&self) -> Result<(), Error> {
        match self.kernel(0.0) {
            Kernel::Sgd(sgd) => sgd.check()?,
            Kernel::Adam(adam) => adam.check()?,
        }
        Ok(())
    }
}

impl<T: Float> Running<T> {
    /// How many steps have been taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The moments, in the order of [`Optimizer::moment_names`]; each as long as the parameters, in their layout.
    pub fn moments(&self) -> &[Vec<T>] {
        &self.moments
    }

    /// One step with learning rate `rate` along `scale * grads`, where `scale` is 1 or what clipping calls for.
    ///
    /// # Errors
    /// A length that is not that of the moments, or a rate that is negative or not finite. Nothing is changed then.
    pub fn step(
        &mut self,
        cpu: Cpu<'_>,
        rate: f64,
        scale: f64,
        params: &mut [T],
        grads: &[T],
    ) -> Result<(), Error> {
        match (self.optimizer.kernel(rate), &mut self.moments[..]) {
            (Kernel::Sgd(sgd), []) => sgd.step(cpu, scale, params, grads, &mut [])?,
            (Kernel::Sgd(sgd), [velocity, ..]) => sgd.step(cpu, scale, params, grads, velocity)?,
            (Kernel::Adam(adam), [m, v, ..]) => {
                adam.step(cpu, self.steps + 1, scale, params, grads, m, v)?;
            }
            (Kernel::Adam(_), moments) => check_length("moments", 2, moments.len())?,
        }
        self.steps += 1;
        Ok(())
    }
}
