//! Learning rate schedules: pure functions of a run's progress, so that a resumed run continues
//! with the same rate.
//!
//! [`Plateau`] alone depends on results: a pure function of their history.

use alloc::boxed::Box;

use kernels::{Cpu, math};

use crate::Error;
use crate::error::check_parameter;

/// Progress of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Steps taken before this one.
    pub step: u64,
    /// Total steps of the run.
    pub steps: u64,
    /// Steps per epoch.
    pub steps_per_epoch: u64,
}

impl Progress {
    /// Epochs before this step, with their fraction.
    pub fn epochs(&self) -> f64 {
        self.step as f64 / self.steps_per_epoch.max(1) as f64
    }

    /// Fraction of the run: 0 at the first step, 1 from the last one on.
    pub(crate) fn share(&self) -> f64 {
        if self.steps <= 1 {
            0.0
        } else {
            self.step.min(self.steps - 1) as f64 / (self.steps - 1) as f64
        }
    }
}

/// Length of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunLength {
    /// Total steps of the run.
    pub steps: u64,
    /// Steps per epoch.
    pub steps_per_epoch: u64,
}

/// Learning rate schedule: a factor of the rate as a function of [`Progress`], 1 for the full rate.
///
/// In a configuration file a table such as `{ kind = "warmup", epochs = 1.0, then = { kind =
/// "cosine", end = 0.0 } }`.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)
)]
#[non_exhaustive]
pub enum Schedule {
    /// A factor of 1.
    #[default]
    Constant,
    /// `factor^floor(epochs / every)`. PyTorch: `StepLR`.
    Step {
        /// Epochs between two decays, at least 1.
        every: u64,
        /// Factor of each decay.
        factor: f64,
    },
    /// `factor^epochs`, updated at every step. PyTorch: `ExponentialLR`.
    Exponential {
        /// Factor per epoch.
        factor: f64,
    },
    /// From 1 to `end` as `(1 - t)^power`, with t from 0 to 1 over the run.
    Polynomial {
        /// Exponent: 1 is linear, larger values fall earlier.
        power: f64,
        /// Factor at the last step, 0 to 1.
        #[cfg_attr(feature = "serde", serde(default))]
        end: f64,
    },
    /// From 1 to `end` along half a cosine (Loshchilov, Hutter, ICLR 2017, "SGDR", equation 5,
    /// without restarts).
    Cosine {
        /// Factor at the last step, 0 to 1.
        #[cfg_attr(feature = "serde", serde(default))]
        end: f64,
    },
    /// Cosine with warm restarts, each cycle `growth` times as long as the one before (SGDR, with
    /// restarts). PyTorch: `CosineAnnealingWarmRestarts`.
    CosineRestarts {
        /// Epochs of the first cycle, above 0.
        epochs: f64,
        /// Ratio of the lengths of two cycles, at least 1. PyTorch: `T_mult`.
        #[cfg_attr(feature = "serde", serde(default = "one"))]
        growth: f64,
        /// Minimum factor, 0 to 1.
        #[cfg_attr(feature = "serde", serde(default))]
        end: f64,
    },
    /// From 1 to `end`, linearly.
    Linear {
        /// Factor at the last step, 0 to 1.
        #[cfg_attr(feature = "serde", serde(default))]
        end: f64,
    },
    /// Up from `start` to 1 over the first fraction `rise` of the run, then down to `end`, both
    /// along half cosines (Smith, Topin 2018, "Super-convergence"). PyTorch: `OneCycleLR`, whose
    /// defaults are 0.3, 1/25 and 1/250,000.
    ///
    /// The peak is at `rise (steps - 1)`, counted from 0, which need not be a whole step; that of
    /// `OneCycleLR` is at `pct_start steps - 1`, up to one step earlier.
    OneCycle {
        /// Fraction of the run that rises, 0 to 1. PyTorch: `pct_start`.
        #[cfg_attr(feature = "serde", serde(default = "rise"))]
        rise: f64,
        /// Factor at the first step, 0 to 1.
        #[cfg_attr(feature = "serde", serde(default = "start"))]
        start: f64,
        /// Factor at the last step, 0 to 1.
        #[cfg_attr(feature = "serde", serde(default = "end"))]
        end: f64,
    },
    /// Linear warmup for `epochs`, then decay as `1 / sqrt(step)` (Vaswani et al., NeurIPS 2017,
    /// section 5.3).
    InverseSquareRoot {
        /// Epochs of the warmup, above 0.
        epochs: f64,
    },
    /// Linear warmup from `start` to 1 for `epochs`, followed by another schedule over the rest of
    /// the run.
    Warmup {
        /// Epochs of the warmup, above 0.
        epochs: f64,
        /// Factor at the first step, 0 to 1.
        #[cfg_attr(feature = "serde", serde(default))]
        start: f64,
        /// Schedule after the warmup.
        #[cfg_attr(feature = "serde", serde(default))]
        then: Box<Schedule>,
    },
    /// One schedule for `epochs`, as if they were the whole run, then another.
    Sequence {
        /// Epochs of the first schedule, above 0.
        epochs: f64,
        /// First schedule.
        first: Box<Schedule>,
        /// Schedule that follows.
        then: Box<Schedule>,
    },
}

/// Default values in configuration files, as functions for serde.
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
    /// Checks that the parameters are in range.
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

    /// Factor on the learning rate. After the last step, a schedule over the share of the run keeps
    /// that step's factor, and one that counts epochs or steps continues. The bits do not depend on
    /// `cpu`.
    pub fn factor(&self, cpu: Cpu<'_>, progress: Progress) -> f64 {
        let share = progress.share();
        match self {
            Self::Constant => 1.0,
            &Self::Step { every, factor } => power(
                cpu,
                factor,
                (progress.step / progress.steps_per_epoch.max(1) / every.max(1)) as f64,
            ),
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
                        half_cosine(
                            cpu,
                            if rise < 1.0 { (share - rise) / (1.0 - rise) } else { 0.0 },
                        ),
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
    /// Upper bound of [`factor`](Self::factor) over a run: 1, or the final value of a step or
    /// exponential schedule that grows. Infinite if that overflows.
    pub fn largest(&self, cpu: Cpu<'_>, run: RunLength) -> f64 {
        let RunLength { steps, steps_per_epoch } = run;
        let last = Progress { step: steps.saturating_sub(1), steps, steps_per_epoch };
        let largest = |schedule: &Self, steps| schedule.largest(cpu, RunLength { steps, ..run });
        match self {
            Self::Step { .. } | Self::Exponential { .. } => f64::max(1.0, self.factor(cpu, last)),
            Self::Warmup { epochs, then, .. } => match last.after(*epochs) {
                Err(_) => 1.0,
                Ok(rest) => largest(then, rest.steps),
            },
            Self::Sequence { epochs, first, then } => match last.after(*epochs) {
                Err(_) => largest(first, steps),
                Ok(rest) => f64::max(largest(first, steps - rest.steps), largest(then, rest.steps)),
            },
            _ => 1.0,
        }
    }

    /// Checks that the phases of a composed schedule, and warmups, end within a run.
    ///
    /// # Errors
    /// [`kernels::Error::Parameter`] names the first number of epochs that exceeds the rest of the
    /// run.
    pub fn check_length(&self, run: RunLength) -> Result<(), Error> {
        let RunLength { steps, steps_per_epoch } = run;
        let end = Progress { step: steps, steps, steps_per_epoch };
        let rest = |epochs: f64| {
            let rest = end.after(epochs).map(|rest| rest.steps);
            let expected = "at most what is left of the run's epochs";
            check_parameter("epochs", expected, epochs, rest.is_ok())?;
            Ok::<_, Error>(rest.unwrap_or_default())
        };
        match self {
            Self::InverseSquareRoot { epochs } => rest(*epochs).map(|_| ()),
            Self::Warmup { epochs, then, .. } => {
                then.check_length(RunLength { steps: rest(*epochs)?, ..run })
            }
            Self::Sequence { epochs, first, then } => {
                let rest = rest(*epochs)?;
                first.check_length(RunLength { steps: steps - rest, ..run })?;
                then.check_length(RunLength { steps: rest, ..run })
            }
            _ => Ok(()),
        }
    }
}

impl Progress {
    /// Progress of the phase that begins after `epochs`; `Err` with the steps of these epochs, at
    /// least 1, if it has not begun.
    fn after(self, epochs: f64) -> Result<Self, u64> {
        // Rounded to whole steps.
        let first = ((epochs * self.steps_per_epoch as f64 + 0.5) as u64).max(1);
        match self.step.checked_sub(first) {
            Some(step) => Ok(Self { step, steps: self.steps.saturating_sub(first), ..self }),
            None => Err(first),
        }
    }
}

/// Consecutive cycles, the first of `length` steps, each `growth` times as long as the one before.
struct Cycle {
    length: f64,
    growth: f64,
}

/// Cycles that are walked one by one; more are skipped by the closed form.
const WALKED_CYCLES: f64 = 64.0;

impl Cycle {
    /// A cycle has at least one step. A length that is whole up to rounding is rounded: 0.07 epochs
    /// of 100 steps are 7.
    fn new(length: f64, growth: f64) -> Self {
        let whole = (length + 0.5) as u64 as f64;
        let length = if (length - whole).abs() <= 1e-12 * whole { whole } else { length };
        Self { length: length.max(1.0), growth }
    }

    /// Fraction of the current cycle at step `step`, in [0, 1).
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
        if passed > WALKED_CYCLES {
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

/// `low` at share 0, `high` at share 1.
fn between(low: f64, high: f64, share: f64) -> f64 {
    low + (high - low) * share
}

/// 1 at share 0, 0 at share 1.
fn half_cosine(cpu: Cpu<'_>, share: f64) -> f64 {
    0.5 * (1.0 + math::at(cpu, math::cos_pi, share))
}

fn power(cpu: Cpu<'_>, base: f64, exponent: f64) -> f64 {
    math::at(cpu, |cpu, x, y| math::pow_scalar(cpu, x, exponent, y), base)
}

/// Reduces the learning rate when the loss stops improving. PyTorch: `ReduceLROnPlateau`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Plateau {
    /// Factor of each reduction, above 0 and below 1.
    pub factor: f64,
    /// Number of epochs without improvement that are tolerated.
    pub patience: u32,
    /// Minimum improvement over the best loss so far, at least 0.
    pub min_delta: f64,
    /// Minimum total factor, 0 to 1.
    pub least: f64,
}

impl Default for Plateau {
    /// PyTorch's defaults: a factor of 0.1 after 10 epochs.
    fn default() -> Self {
        Self { factor: 0.1, patience: 10, min_delta: 0.0, least: 0.0 }
    }
}

impl Plateau {
    /// Checks that the parameters are in range.
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

    /// Factor on the learning rate after these losses, one per epoch, in order.
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
