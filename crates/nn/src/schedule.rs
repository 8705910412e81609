//! Schedules: the learning rate as a pure function of how far a run is, so that a resumed run goes on with the same rate.
//!
//! [`Plateau`], the one that looks at the results, is a pure function of their history.

use alloc::boxed::Box;

use kernels::{Cpu, math};

use crate::Error;
use crate::error::check_parameter;

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Steps taken before this one.
    pub step: u64,
    /// Steps of the whole run.
    pub steps: u64,
    /// Steps of an epoch.
    pub steps_per_epoch: u64,
}

impl Progress {
    /// Epochs, and parts of one, before this step.
    pub fn epochs(&self) -> f64 {
        self.step as f64 / self.steps_per_epoch.max(1) as f64
    }

    /// 0 at the first step, 1 at the last and past it.
    pub(crate) fn share(&self) -> f64 {
        if self.steps <= 1 { 0.0 } else { self.step.min(self.steps - 1) as f64 / (self.steps - 1) as f64 }
    }
}

/// How the learning rate changes over a run: each gives a factor on the rate, 1 for all of it.
///
/// In a configuration file a table such as `{ kind = "warmup", epochs = 1.0, then = { kind = "cosine", end = 0.0 } }`.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)
)]
#[non_exhaustive]
pub enum Schedule {
    /// The same rate throughout.
    #[default]
    Constant,
    /// `factor^(whole epochs / every)`, rounded down. PyTorch: `StepLR`.
    Step {
        /// Epochs from one step to the next: at least 1.
        every: u64,
        /// What each step multiplies by.
        factor: f64,
    },
    /// `factor^epochs`, at every step. PyTorch: `ExponentialLR`.
    Exponential {
        /// What an epoch multiplies by.
        factor: f64,
    },
    /// From the full rate down to `end` times it as `(1 - t)^power`, with t from 0 to 1 over the run.
    Polynomial {
        /// 1 for a straight line, more to fall earlier.
        power: f64,
        /// The last step's share of the rate, 0 to 1.
        #[cfg_attr(feature = "serde", serde(default))]
        end: f64,
    },
    /// From the full rate down to `end` times it along half a cosine (Loshchilov, Hutter, ICLR 2017, "SGDR", equation 5,
    /// without restarts).
    Cosine {
        /// The last step's share of the rate, 0 to 1.
        #[cfg_attr(feature = "serde", serde(default))]
        end: f64,
    },
    /// Half a cosine again and again, each `growth` times as long as the one before (the same, with restarts). PyTorch:
    /// `CosineAnnealingWarmRestarts`.
    CosineRestarts {
        /// Epochs of the first: above 0.
        epochs: f64,
        /// At least 1.
        #[cfg_attr(feature = "serde", serde(default = "one"))]
        growth: f64,
        /// The lowest share of the rate, 0 to 1.
        #[cfg_attr(feature = "serde", serde(default))]
        end: f64,
    },
    /// From the full rate down to `end` times it along a straight line.
    Linear {
        /// The last step's share of the rate, 0 to 1.
        #[cfg_attr(feature = "serde", serde(default))]
        end: f64,
    },
    /// Up from `start` to the full rate over the first share `rise` of the run, then down to `end`, both along half cosines
    /// (Smith, Topin 2018, "Super-convergence"). PyTorch: `OneCycleLR`, whose defaults are 0.3, 1/25 and 1/250,000.
    OneCycle {
        /// The share of the run that rises, 0 to 1.
        #[cfg_attr(feature = "serde", serde(default = "rise"))]
        rise: f64,
        /// The first step's share of the rate, 0 to 1.
        #[cfg_attr(feature = "serde", serde(default = "start"))]
        start: f64,
        /// The last step's share of the rate, 0 to 1.
        #[cfg_attr(feature = "serde", serde(default = "end"))]
        end: f64,
    },
    /// Up along a straight line for `epochs`, then down as `1 / sqrt(step)` (Vaswani et al., NeurIPS 2017, section 5.3).
    InverseSquareRoot {
        /// Epochs of the rise: above 0.
        epochs: f64,
    },
    /// Up from `start` along a straight line for `epochs`; the rest of the run belongs to another schedule, which begins there.
    Warmup {
        /// Epochs of the rise: above 0.
        epochs: f64,
        /// The first step's share of the rate, 0 to 1.
        #[cfg_attr(feature = "serde", serde(default))]
        start: f64,
        /// What follows.
        #[cfg_attr(feature = "serde", serde(default))]
        then: Box<Schedule>,
    },
    /// One schedule for `epochs`, which for it are the whole run, then another.
    Sequence {
        /// Epochs of the first: above 0.
        epochs: f64,
        /// The first.
        first: Box<Schedule>,
        /// What follows.
        then: Box<Schedule>,
    },
}

/// Defaults of configuration files, one function each, as serde wants them.
#[cfg(feature = "serde")]
mod defaults {
    pub(super) fn one() -> f64 {
        1.0
    }
    pub(super) fn rise() -> f64 {
        0.3
    }
    pub(super) fn start() -> f64 {
        0.04
    }
    pub(super) fn end() -> f64 {
        4e-6
    }
}
#[cfg(feature = "serde")]
use defaults::{end, one, rise, start};

impl Schedule {
    /// Whether its numbers are in range.
    ///
    /// # Errors
    /// [`kernels::Error::Parameter`] for the first that is not.
    pub fn check(&self) -> Result<(), Error> {
        let share = |name, x: f64| check_parameter(name, "0 to 1", x, (0.0..=1.0).contains(&x));
        let positive =
            |name, x: f64| check_parameter(name, "finite and above 0", x, x > 0.0 && x.is_finite());
        match self {
            Self::Constant => Ok(()),
            Self::Step { every, factor } => {
                check_parameter("every", "at least 1", *every as f64, *every >= 1)?;
                positive("factor", *factor)
            }
            Self::Exponential { factor } => positive("factor", *factor),
            Self::Polynomial { power, end } => {
                positive("power", *power)?;
                share("end", *end)
            }
            Self::Cosine { end } | Self::Linear { end } => share("end", *end),
            Self::CosineRestarts { epochs, growth, end } => {
                positive("epochs", *epochs)?;
                check_parameter(
                    "growth",
                    "finite and at least 1",
                    *growth,
                    *growth >= 1.0 && growth.is_finite(),
                )?;
                share("end", *end)
            }
            Self::OneCycle { rise, start, end } => {
                share("rise", *rise)?;
                share("start", *start)?;
                share("end", *end)
            }
            Self::InverseSquareRoot { epochs } => positive("epochs", *epochs),
            Self::Warmup { epochs, start, then } => {
                positive("epochs", *epochs)?;
                share("start", *start)?;
                then.check()
            }
            Self::Sequence { epochs, first, then } => {
                positive("epochs", *epochs)?;
                first.check()?;
                then.check()
            }
        }
    }

    /// The factor on the rate. Steps past the end have the last one's. `cpu` changes no bit of it.
    pub fn factor(&self, cpu: Cpu<'_>, progress: Progress) -> f64 {
        let share = progress.share();
        match self {
            Self::Constant => 1.0,
            &Self::Step { every, factor } => {
                power(cpu, factor, (progress.step / progress.steps_per_epoch.max(1) / every.max(1)) as f64)
            }
            &Self::Exponential { factor } => power(cpu, factor, progress.epochs()),
            &Self::Polynomial { power: exponent, end } => {
                end + (1.0 - end) * power(cpu, 1.0 - share, exponent)
            }
            &Self::Cosine { end } => between(end, 1.0, half_cosine(cpu, share)),
            &Self::CosineRestarts { epochs, growth, end } => {
                let cycle = Cycle::new(epochs * progress.steps_per_epoch as f64, growth);
                between(end, 1.0, half_cosine(cpu, cycle.share(cpu, progress.step as f64)))
            }
            &Self::Linear { end } => between(end, 1.0, 1.0 - share),
            &Self::OneCycle { rise, start, end } => {
                if share < rise {
                    between(1.0, start, half_cosine(cpu, share / rise))
                } else {
                    between(
                        end,
                        1.0,
                        half_cosine(cpu, if rise < 1.0 { (share - rise) / (1.0 - rise) } else { 0.0 }),
                    )
                }
            }
            &Self::InverseSquareRoot { epochs } => {
                let rise = epochs * progress.steps_per_epoch.max(1) as f64;
                let step = progress.step.saturating_add(1) as f64;
                f64::min(step / rise, math::sqrt(cpu, rise / step))
            }
            Self::Warmup { epochs, start, then } => match progress.after(*epochs) {
                Err(rise) => between(1.0, *start, 1.0 - progress.step as f64 / rise as f64),
                Ok(rest) => then.factor(cpu, rest),
            },
            Self::Sequence { epochs, first, then } => match progress.after(*epochs) {
                Err(steps) => first.factor(cpu, Progress { steps, ..progress }),
                Ok(rest) => then.factor(cpu, rest),
            },
        }
    }
}

impl Schedule {
    /// Upper bound of [`factor`](Self::factor) over a run of `steps` steps: 1, or what a step or an
    /// exponential schedule with a factor above 1 grows to. Infinite where that overflows.
    pub fn largest(&self, cpu: Cpu<'_>, steps: u64, steps_per_epoch: u64) -> f64 {
        let last = Progress { step: steps.saturating_sub(1), steps, steps_per_epoch };
        match self {
            Self::Step { .. } | Self::Exponential { .. } => f64::max(1.0, self.factor(cpu, last)),
            Self::Warmup { epochs, then, .. } => match last.after(*epochs) {
                Err(_) => 1.0,
                Ok(rest) => then.largest(cpu, rest.steps, steps_per_epoch),
            },
            Self::Sequence { epochs, first, then } => match last.after(*epochs) {
                Err(_) => first.largest(cpu, steps, steps_per_epoch),
                Ok(rest) => {
                    let first = first.largest(cpu, steps - rest.steps, steps_per_epoch);
                    first.max(then.largest(cpu, rest.steps, steps_per_epoch))
                }
            },
            _ => 1.0,
        }
    }

    /// Checks that each part of a schedule with parts ends within a run of `steps` steps, and that
    /// a rise does.
    ///
    /// # Errors
    /// [`kernels::Error::Parameter`] names the first number of epochs that is longer than what is
    /// left of the run.
    pub fn check_length(&self, steps: u64, steps_per_epoch: u64) -> Result<(), Error> {
        let end = Progress { step: steps, steps, steps_per_epoch };
        let rest = |epochs: f64| match end.after(epochs) {
            Ok(rest) => Ok(rest.steps),
            Err(_) => {
                check_parameter("epochs", "at most what is left of the run's epochs", epochs, false)?;
                Ok(0)
            }
        };
        match self {
            Self::InverseSquareRoot { epochs } => rest(*epochs).map(|_| ()),
            Self::Warmup { epochs, then, .. } => then.check_length(rest(*epochs)?, steps_per_epoch),
            Self::Sequence { epochs, first, then } => {
                let rest = rest(*epochs)?;
                first.check_length(steps - rest, steps_per_epoch)?;
                then.check_length(rest, steps_per_epoch)
            }
            _ => Ok(()),
        }
    }
}

impl Progress {
    /// How far what begins after `epochs` is; before that, the steps of these epochs, at least 1.
    fn after(self, epochs: f64) -> Result<Self, u64> {
        // Whole steps, to the nearest.
        let first = ((epochs * self.steps_per_epoch as f64 + 0.5) as u64).max(1);
        match self.step.checked_sub(first) {
            Some(step) => Ok(Self { step, steps: self.steps.saturating_sub(first), ..self }),
            None => Err(first),
        }
    }
}

/// Cycles one after the other, the first of `length` steps, each `growth` times as long as the one before.
struct Cycle {
    length: f64,
    growth: f64,
}

/// Cycles that are passed one by one, before the rest are passed at once.
const COUNTED_CYCLES: f64 = 64.0;

impl Cycle {
    /// A cycle has at least one step. A length that is whole but for rounding is whole: 0.07 epochs of 100 steps are 7.
    fn new(length: f64, growth: f64) -> Self {
        let whole = (length + 0.5) as u64 as f64;
        let length = if (length - whole).abs() <= 1e-12 * whole { whole } else { length };
        Self { length: length.max(1.0), growth }
    }

    /// The share of its cycle that has passed at step `step`: 0 up to, not including, 1.
    fn share(&self, cpu: Cpu<'_>, step: f64) -> f64 {
        let Self { mut length, growth } = *self;
        if growth <= 1.0 {
            let into = step - length * (step / length) as u64 as f64;
            return (into / length).max(0.0);
        }
        // Cycle n begins at step length (growth^n - 1) / (growth - 1).
        let mut into = step;
        let rate = math::at(cpu, math::ln_1p, growth - 1.0);
        let passed = math::at(cpu, math::ln_1p, step / length * (growth - 1.0)) / rate;
        if passed > COUNTED_CYCLES {
            let n = (passed - 1.0) as u64 as f64;
            into -= length * math::at(cpu, math::exp_m1, n * rate) / (growth - 1.0);
            length *= math::at(cpu, math::exp, n * rate);
        }
        while into >= length {
            into -= length;
            length *= growth;
        }
        (into / length).max(0.0)
    }
}

/// `low` at 0, `high` at 1.
fn between(low: f64, high: f64, share: f64) -> f64 {
    low + (high - low) * share
}

/// From 1 at 0 to 0 at 1.
fn half_cosine(cpu: Cpu<'_>, share: f64) -> f64 {
    0.5 * (1.0 + math::at(cpu, math::cos_pi, share))
}

fn power(cpu: Cpu<'_>, base: f64, exponent: f64) -> f64 {
    math::at(cpu, |cpu, x, y| math::pow_scalar(cpu, x, exponent, y), base)
}

/// A rate that falls when the results get no better. PyTorch: `ReduceLROnPlateau`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Plateau {
    /// What the rate is multiplied by each time: above 0 and below 1.
    pub factor: f64,
    /// Epochs without progress that are let pass.
    pub patience: u32,
    /// By how much a loss must be below the best one to be progress: at least 0.
    pub min_delta: f64,
    /// The least factor, 0 to 1.
    pub least: f64,
}

impl Default for Plateau {
    /// A tenth after ten epochs, as in PyTorch.
    fn default() -> Self {
        Self { factor: 0.1, patience: 10, min_delta: 0.0, least: 0.0 }
    }
}

impl Plateau {
    /// Whether its numbers are in range.
    ///
    /// # Errors
    /// [`kernels::Error::Parameter`] for the first that is not.
    pub fn check(&self) -> Result<(), Error> {
        let &Self { factor, min_delta, least, .. } = self;
        check_parameter("factor", "above 0 and below 1", factor, factor > 0.0 && factor < 1.0)?;
        check_parameter(
            "min_delta",
            "finite and at least 0",
            min_delta,
            min_delta >= 0.0 && min_delta.is_finite(),
        )?;
        check_parameter("least", "0 to 1", least, (0.0..=1.0).contains(&least))
    }

    /// The factor on the rate after these losses, one an epoch, in order.
    pub fn factor(&self, losses: impl IntoIterator<Item = f64>) -> f64 {
        let (mut best, mut idle, mut factor) = (f64::INFINITY, 0, 1.0);
        for loss in losses {
            if loss < best - self.min_delta {
                (best, idle) = (loss, 0);
            } else {
                idle += 1;
            }
            if idle > self.patience {
                (factor, idle) = (f64::max(factor * self.factor, self.least), 0);
            }
        }
        factor
    }
}
