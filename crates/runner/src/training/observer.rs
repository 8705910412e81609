//! Observers of training steps: they look at a step from inside, and change nothing.
//!
//! The training loop calls them; the doctor's recorder is one.

use kernels::Cpu;
use nn::{Score, Workspace};

use crate::run::setup::Setup;
use crate::training::locate::Location;

/// A step before its update.
#[derive(Debug)]
pub struct Gradient<'a, T> {
    /// The run.
    pub setup: &'a Setup,
    /// Instruction set and threads.
    pub cpu: Cpu<'a>,
    /// Number of the step in the run, from 1.
    pub step: u64,
    /// Learning rate.
    pub rate: f64,
    /// Indices of the training examples.
    pub indices: &'a [u32],
    /// Parameters before the step.
    pub params: &'a [T],
    /// Gradient of the mean loss, before clipping.
    pub grads: &'a [T],
    /// Workspace of the gradient, with the outputs of every layer for the last `rows` examples.
    pub workspace: &'a Workspace<T>,
    /// Number of examples of the last batch of the step.
    pub rows: usize,
    /// Loss of the examples.
    pub score: Score,
}

/// A step after its update.
#[derive(Debug)]
pub struct Update<'a, T> {
    /// The run.
    pub setup: &'a Setup,
    /// Instruction set and threads.
    pub cpu: Cpu<'a>,
    /// Parameters after the step.
    pub params: &'a [T],
    /// L2 norm of the gradient, before clipping.
    pub norm: f64,
    /// Factor by which clipping scaled the gradient, where it scales all of it by one factor.
    pub clip_scale: f64,
}

/// Observer of training steps.
pub trait Observer<T> {
    /// Called when the gradient of a step is known.
    fn on_gradient(&mut self, _gradient: &Gradient<'_, T>) {}
    /// Called when that step was taken.
    fn on_update(&mut self, _update: &Update<'_, T>) {}
    /// Called instead if it is not taken, since a number is not finite.
    fn on_non_finite(&mut self, _location: Option<&Location>) {}
}

/// Observes nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl<T> Observer<T> for Unobserved {}
