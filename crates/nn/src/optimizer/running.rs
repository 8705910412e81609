//! A running optimizer: the parts of the flat buffers with one optimizer and rate, and the moments.
//!
//! ```text
//! for each part: a range of tensors with one optimizer and rate, or
//!                one tensor, if the optimizer takes its norm or shape
//!     step(rate * part.rate, params[part], grads[part], moments[..][part])
//! ```

use alloc::string::ToString;
use alloc::vec::Vec;
use core::ops::Range;

use kernels::clip::Clipped;
use kernels::optimizer::{AnyOptimizer, GradientBound, MOST_MOMENTS, Muon, Optimizer as _, Step};
use kernels::{Cpu, math};

use super::{Group, Optimizer};
use crate::error::{check_length, check_parameter};
use crate::layout::{Layout, Tensor};
use crate::workspace::zeros;
use crate::{Error, Float};

/// Size of an optimizer step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepSize {
    /// Learning rate, finite and at least 0.
    pub rate: f64,
    /// Multiplier of the gradient: 1, or [`Clipped::scale`].
    pub scale: f64,
}

impl StepSize {
    /// A step with learning rate `rate` along the gradient itself.
    pub const fn new(rate: f64) -> Self {
        Self { rate, scale: 1.0 }
    }
}

/// The optimizer of each tensor, and the factor of its learning rate.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    parts: Vec<Part>,
    moments: &'static [&'static str],
    /// Number of elements of all tensors, frozen ones included.
    len: usize,
}

/// A range of parameters that one call steps.
#[derive(Clone, Debug, PartialEq)]
struct Part {
    range: Range<usize>,
    /// Factor of the run's learning rate.
    rate: f64,
    rule: Rule,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Rule {
    Elementwise(AnyOptimizer),
    /// A matrix of `[inputs, outputs]` in memory.
    Matrix(Muon, [usize; 2]),
}

impl Rule {
    fn new(optimizer: Optimizer, tensor: &Tensor) -> Self {
        match (optimizer, tensor.matrix()) {
            (Optimizer::Muon(muon), Some(shape)) => Self::Matrix(muon, shape),
            _ => Self::Elementwise(optimizer.elementwise()),
        }
    }

    fn moments(&self) -> &'static [&'static str] {
        match self {
            Self::Elementwise(optimizer) => optimizer.moments(),
            Self::Matrix(..) => &["momentum_buffer"],
        }
    }

    /// `true` if adjacent tensors can be stepped as one.
    fn joins(&self) -> bool {
        !matches!(
            self,
            Self::Elementwise(AnyOptimizer::Lars(_) | AnyOptimizer::Lamb(_)) | Self::Matrix(..)
        )
    }
}

impl Plan {
    /// `optimizer` for all tensors of `layout`, except where `groups` differ.
    ///
    /// # Errors
    /// [`kernels::Error::Parameter`] for a hyper-parameter out of range; [`Error::Group`] for a
    /// pattern that matches no tensor; [`Error::Frozen`] if all tensors are frozen.
    pub fn new(layout: &Layout, optimizer: Optimizer, groups: &[Group]) -> Result<Self, Error> {
        optimizer.check()?;
        for group in groups {
            group.optimizer.map_or(Ok(()), |optimizer| optimizer.check())?;
            let rate = group.rate;
            check_parameter(
                "rate",
                "finite and at least 0",
                rate,
                rate >= 0.0 && rate.is_finite(),
            )?;
            for pattern in &group.tensors {
                if !layout
                    .tensors()
                    .iter()
                    .any(|tensor| super::group::matches(pattern, &tensor.name))
                {
                    return Err(Error::Group { pattern: pattern.to_string() });
                }
            }
        }
        let mut parts: Vec<Part> = Vec::new();
        for tensor in layout.tensors() {
            let group = groups.iter().find(|group| group.names(&tensor.name));
            if group.is_some_and(|group| group.frozen) {
                continue;
            }
            let (rate, own) = group.map_or((1.0, None), |group| (group.rate, group.optimizer));
            let rule = Rule::new(own.unwrap_or(optimizer), tensor);
            match parts.last_mut() {
                Some(last)
                    if rule.joins()
                        && (last.rate, last.rule, last.range.end)
                            == (rate, rule, tensor.range.start) =>
                {
                    last.range.end = tensor.range.end;
                }
                _ => parts.push(Part { range: tensor.range.clone(), rate, rule }),
            }
        }
        let moments = parts
            .iter()
            .map(|part| part.rule.moments())
            .reduce(|most, names| if names.len() > most.len() { names } else { most });
        let moments = moments.ok_or(Error::Frozen)?;
        Ok(Self { parts, moments, len: layout.len() })
    }

    /// Names of the moments, in memory and in a checkpoint: PyTorch's names for the optimizer that
    /// has the most moments.
    pub fn moment_names(&self) -> &'static [&'static str] {
        self.moments
    }

    /// Starts with moments of 0.
    ///
    /// # Errors
    /// [`Error::Memory`] if the moments cannot be allocated.
    pub fn start<T: Float>(self, cpu: Cpu<'_>) -> Result<Running<T>, Error> {
        let moments = self.moments.iter().map(|_| zeros(self.len)).collect::<Result<_, _>>()?;
        self.resume(cpu, 0, moments)
    }

    /// Resumes after `steps` steps with these moments, in the order of
    /// [`moment_names`](Self::moment_names).
    ///
    /// # Errors
    /// [`Error::Length`] for a wrong number of moments, or one that is not as long as the
    /// parameters; [`Error::Memory`].
    pub fn resume<T: Float>(
        self,
        cpu: Cpu<'_>,
        steps: u64,
        moments: Vec<Vec<T>>,
    ) -> Result<Running<T>, Error> {
        check_length("moments", self.moments.len(), moments.len())?;
        moments.iter().try_for_each(|moment| check_length("moment", self.len, moment.len()))?;
        let scratch = |part: &Part| match part.rule {
            Rule::Elementwise(_) => 0,
            Rule::Matrix(_, shape) => Muon::scratch::<T>(cpu.executor.threads(), shape),
        };
        let scratch = zeros(self.parts.iter().map(scratch).max().unwrap_or(0))?;
        Ok(Running { plan: self, moments, scratch, steps })
    }
}

/// A running optimizer: its moments, in the layout of the parameters, and its step count.
#[derive(Clone, Debug, PartialEq)]
pub struct Running<T> {
    plan: Plan,
    moments: Vec<Vec<T>>,
    scratch: Vec<T>,
    steps: u64,
}

impl<T: Float> Running<T> {
    /// Number of steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Names of the [`moments`](Self::moments).
    pub fn moment_names(&self) -> &'static [&'static str] {
        self.plan.moments
    }

    /// Moments in the order of [`Plan::moment_names`], each in the layout of the parameters.
    pub fn moments(&self) -> &[Vec<T>] {
        &self.moments
    }

    /// Checks that a step along `clipped.scale * grads` leaves every second moment finite, where
    /// `clipped` is what [`Clipping::clip`](crate::Clipping::clip) returned for `grads`. The
    /// gradient is read only if the scaled norm, with the decay's share, is above 2^33 (f32) or
    /// 2^481 (f64), the parameters only with an L2 decay.
    ///
    /// Call it before [`step`](Self::step): an infinite second moment freezes its element for good.
    ///
    /// # Errors
    /// [`Error::SecondMoment`] for the first element that is too large; [`Error::Length`].
    pub fn check_squares(
        &self,
        cpu: Cpu<'_>,
        clipped: Clipped,
        params: &[T],
        grads: &[T],
    ) -> Result<(), Error> {
        let Clipped { norm, scale, .. } = clipped;
        check_length("params", self.plan.len, params.len())?;
        check_length("grads", self.plan.len, grads.len())?;
        for Part { range, rule, .. } in &self.plan.parts {
            let Rule::Elementwise(optimizer) = rule else { continue };
            let Some(second) = optimizer.second_moment() else { continue };
            let (params, grads) = (&params[range.clone()], &grads[range.clone()]);
            let v = &self.moments[second.index][range.clone()];
            let bound = GradientBound { scale, largest: norm };
            second.check(cpu, bound, params, grads, v).map_err(|error| match error {
                kernels::Error::NonFinite { index } => Error::SecondMoment {
                    moment: optimizer.moments()[second.index],
                    index: range.start + index,
                },
                error => error.into(),
            })?;
        }
        Ok(())
    }

    /// Steps `params` along `size.scale * grads`.
    ///
    /// # Errors
    /// [`Error::Length`]; [`kernels::Error::Parameter`] for a rate that is negative or non-finite.
    /// Nothing is changed then.
    pub fn step(
        &mut self,
        cpu: Cpu<'_>,
        size: StepSize,
        params: &mut [T],
        grads: &[T],
    ) -> Result<(), Error> {
        let StepSize { rate, scale } = size;
        check_length("params", self.plan.len, params.len())?;
        check_length("grads", self.plan.len, grads.len())?;
        for part in &self.plan.parts {
            let range = part.range.clone();
            let step = Step { scale, ..Step::new(self.steps + 1, rate * part.rate) };
            let (params, grads) = (&mut params[range.clone()], &grads[range.clone()]);
            let mut moments: [&mut [T]; MOST_MOMENTS] = Default::default();
            for (lent, moment) in moments.iter_mut().zip(&mut self.moments) {
                *lent = &mut moment[range.clone()];
            }
            match part.rule {
                Rule::Elementwise(optimizer) => {
                    let moments = &mut moments[..optimizer.moments().len()];
                    optimizer.step(cpu, step, params, grads, moments)?;
                }
                Rule::Matrix(muon, [rows, cols]) => {
                    // Muon scales by outputs / inputs, its rows / columns; here outputs are
                    // columns.
                    let ratio = |above: usize, below: usize| {
                        math::sqrt(cpu, (above as f64 / below.max(1) as f64).max(1.0))
                    };
                    let lr = step.lr * (ratio(cols, rows) / ratio(rows, cols));
                    let decay = muon.decay * (ratio(rows, cols) / ratio(cols, rows));
                    let (muon, step) = (Muon { decay, ..muon }, Step { lr, ..step });
                    let [m, ..] = moments;
                    muon.step(cpu, step, params, grads, [rows, cols], m, &mut self.scratch)?;
                }
            }
        }
        self.steps += 1;
        Ok(())
    }
}
