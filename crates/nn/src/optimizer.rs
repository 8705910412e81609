//! Optimizers: hyper-parameters as data, and the moments of a run.

use alloc::vec;
use alloc::vec::Vec;

use kernels::optimizer::{Adam, AnyOptimizer, Decay, MOST_MOMENTS, Optimizer as _, Sgd, Step};
use kernels::{Cpu, Float};

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
    pub fn moment_names(&self) -> &'static [&'static str] {
        self.kernel().moments()
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

impl Optimizer {
    /// What the kernels take.
    fn kernel(&self) -> AnyOptimizer {
        match *self {
            Self::Sgd { momentum, nesterov, weight_decay } => {
                Sgd { momentum, nesterov, decay: Decay::l2(weight_decay) }.into()
            }
            Self::Adam { beta1, beta2, epsilon, weight_decay } => {
                let decay = Decay::decoupled(weight_decay);
                Adam { beta1, beta2, epsilon, decay, ..Adam::default() }.into()
            }
        }
    }

    /// Whether all hyper-parameters are in range.
    ///
    /// # Errors
    /// [`kernels::Error::Parameter`] for the first that is not.
    pub fn check(&self) -> Result<(), Error> {
        Ok(self.kernel().check()?)
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
        let count = self.moments.len();
        let mut moments: [&mut [T]; MOST_MOMENTS] = Default::default();
        for (lent, moment) in moments.iter_mut().zip(&mut self.moments) {
            *lent = moment;
        }
        let moments = &mut moments[..count];
        let step = Step { scale, ..Step::new(self.steps + 1, rate) };
        self.optimizer.kernel().step(cpu, step, params, grads, moments)?;
        self.steps += 1;
        Ok(())
    }
}
