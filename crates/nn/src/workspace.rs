//! What a step needs besides parameters and gradients: activations, their gradients, losses and scratch, in one arena.

use alloc::vec::Vec;

use kernels::Cpu;

use crate::layer::{Describe, Layer};
use crate::{Error, Float, Network};

/// The buffers of training or inference, allocated once.
///
/// Nothing is allocated after it is made: a step of up to `capacity` rows runs in these buffers.
#[derive(Clone, Debug)]
pub struct Workspace<T> {
    pub(crate) capacity: usize,
    /// Whether there is room for a backward pass.
    pub(crate) trains: bool,
    /// `| what the layers keep | outputs | their gradients | losses | targets | scratch |`.
    arena: Vec<T>,
    /// The lengths of all but the last.
    lengths: [usize; 5],
    /// What the layers keep in f64.
    statistics: Vec<f64>,
    /// One class a row.
    predictions: Vec<u32>,
}

/// The parts of the arena.
pub(crate) struct Parts<'a, T> {
    pub(crate) kept: &'a mut [T],
    pub(crate) outputs: &'a mut [T],
    pub(crate) doutputs: &'a mut [T],
    pub(crate) losses: &'a mut [T],
    pub(crate) targets: &'a mut [T],
    pub(crate) scratch: &'a mut [T],
    pub(crate) statistics: &'a mut [f64],
    pub(crate) predictions: &'a mut [u32],
}

/// `len` zeros.
///
/// # Errors
/// [`Error::Memory`] if there is no room for them.
pub fn zeros<T: Float>(len: usize) -> Result<Vec<T>, Error> {
    let mut buffer = Vec::new();
    let bytes = len.saturating_mul(size_of::<T>());
    buffer.try_reserve_exact(len).map_err(|_| Error::Memory { bytes })?;
    buffer.resize(len, T::ZERO);
    Ok(buffer)
}

impl<T: Float> Workspace<T> {
    /// Buffers to train `network` on batches of up to `capacity` rows on the threads of `cpu`.
    ///
    /// # Errors
    /// [`Error::Memory`] if there is no room for them.
    pub fn new(network: &Network, cpu: Cpu<'_>, capacity: usize) -> Result<Self, Error> {
        Self::allocate(network, cpu, capacity, true)
    }

    /// Buffers to use `network` only: without gradients, and with less memory.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn inference(network: &Network, cpu: Cpu<'_>, capacity: usize) -> Result<Self, Error> {
        Self::allocate(network, cpu, capacity, false)
    }

    fn allocate(network: &Network, cpu: Cpu<'_>, capacity: usize, trains: bool) -> Result<Self, Error> {
        let (lengths, scratch) = Self::plan(network, cpu.executor.threads(), capacity, trains);
        let len = lengths.iter().fold(scratch, |sum, len| sum.saturating_add(*len));
        let statistics = zeros(network.sequence().statistics(capacity))?;
        let predictions = predictions(capacity)?;
        Ok(Self { capacity, trains, arena: zeros(len)?, lengths, statistics, predictions })
    }

    /// Bytes of such buffers, without making them.
    pub fn bytes(network: &Network, threads: usize, capacity: usize, trains: bool) -> usize {
        let (lengths, scratch) = Self::plan(network, threads, capacity, trains);
        let len = lengths.iter().fold(scratch, |sum: usize, len| sum.saturating_add(*len));
        let statistics = network.sequence().statistics(capacity);
        len.saturating_mul(size_of::<T>())
            .saturating_add(statistics.saturating_mul(size_of::<f64>()))
            .saturating_add(capacity.saturating_mul(size_of::<u32>()))
    }

    fn plan(network: &Network, threads: usize, capacity: usize, trains: bool) -> ([usize; 5], usize) {
        let sequence = network.sequence();
        let kept = if trains { sequence.kept(capacity) } else { sequence.kept_for_nothing(capacity) };
        let outputs = capacity.saturating_mul(network.output().elements());
        let (losses, targets) = (network.losses(capacity), network.spread_targets(capacity));
        let lengths = [kept, outputs, if trains { outputs } else { 0 }, losses, targets];
        (lengths, Layer::<T>::scratch(sequence, capacity, threads))
    }

    /// The largest batch.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// What the last pass of `rows` rows through `network` gave: its outputs, row after row.
    pub fn outputs(&self, network: &Network, rows: usize) -> &[T] {
        let [kept, outputs, ..] = self.lengths;
        &self.arena[kept..][..outputs.min(rows.saturating_mul(network.outputs()))]
    }

    pub(crate) fn parts(&mut self) -> Parts<'_, T> {
        let [kept, outputs, doutputs, losses, targets] = self.lengths;
        let (kept, rest) = self.arena.split_at_mut(kept);
        let (outputs, rest) = rest.split_at_mut(outputs);
        let (doutputs, rest) = rest.split_at_mut(doutputs);
        let (losses, rest) = rest.split_at_mut(losses);
        let (targets, scratch) = rest.split_at_mut(targets);
        let (statistics, predictions) = (&mut self.statistics[..], &mut self.predictions[..]);
        Parts { kept, outputs, doutputs, losses, targets, scratch, statistics, predictions }
    }

    /// Whether a pass of `network` on `threads` threads has room in every part.
    pub(crate) fn fits(&self, network: &Network, threads: usize) -> bool {
        let (lengths, scratch) = Self::plan(network, threads, self.capacity, self.trains);
        let lent = self.arena.len() - self.lengths.iter().sum::<usize>();
        lengths == self.lengths
            && scratch <= lent
            && network.sequence().statistics(self.capacity) == self.statistics.len()
    }
}

/// Room for a class a row.
fn predictions(capacity: usize) -> Result<Vec<u32>, Error> {
    let mut predictions = Vec::new();
    let bytes = capacity.saturating_mul(size_of::<u32>());
    predictions.try_reserve_exact(capacity).map_err(|_| Error::Memory { bytes })?;
    predictions.resize(capacity, 0);
    Ok(predictions)
}
