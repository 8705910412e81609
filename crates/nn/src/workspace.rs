//! Buffers of a step besides parameters and gradients: activations, their gradients, losses and
//! scratch, in one arena.

use alloc::vec::Vec;

use kernels::Cpu;

use crate::layer::{Describe, Layer};
use crate::{Error, Float, Network, Shape};

/// The buffers of training or inference, allocated once: a step of up to `capacity` rows allocates
/// nothing more.
#[derive(Clone, Debug)]
pub struct Workspace<T> {
    pub(crate) capacity: usize,
    /// `true` if the arena has gradients: the workspace can be trained with.
    pub(crate) trains: bool,
    /// ```text
    /// saved for backward
    /// outputs
    /// their gradients
    /// losses
    /// scratch of the loss
    /// scratch
    /// ```
    arena: Vec<T>,
    /// Lengths of all parts but the last.
    lengths: [usize; 5],
    /// Statistics that layers save for backward, in f64.
    statistics: Vec<f64>,
    /// Predicted classes, one per row.
    predictions: Vec<u32>,
}

/// Size of a workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkspaceSize {
    /// Largest batch, in rows.
    pub rows: usize,
    /// Number of threads.
    pub threads: usize,
    /// `true` for training, `false` for inference.
    pub trains: bool,
}

/// Parts of the arena.
pub(crate) struct Parts<'a, T> {
    pub(crate) saved: &'a mut [T],
    pub(crate) outputs: &'a mut [T],
    pub(crate) doutputs: &'a mut [T],
    pub(crate) losses: &'a mut [T],
    /// One-hot targets, or standardised outputs and targets.
    pub(crate) loss_scratch: &'a mut [T],
    pub(crate) scratch: &'a mut [T],
    pub(crate) statistics: &'a mut [f64],
    pub(crate) predictions: &'a mut [u32],
}

/// A vector of `len` zeros.
///
/// # Errors
/// [`Error::Memory`] if the allocation fails.
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
    /// [`Error::Memory`] if the allocation fails.
    pub fn new(network: &Network, cpu: Cpu<'_>, capacity: usize) -> Result<Self, Error> {
        Self::allocate(network, cpu, capacity, true)
    }

    /// Buffers for inference with `network`: without gradients, and with less memory.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn inference(network: &Network, cpu: Cpu<'_>, capacity: usize) -> Result<Self, Error> {
        Self::allocate(network, cpu, capacity, false)
    }

    fn allocate(
        network: &Network,
        cpu: Cpu<'_>,
        capacity: usize,
        trains: bool,
    ) -> Result<Self, Error> {
        let size = WorkspaceSize { rows: capacity, threads: cpu.executor.threads(), trains };
        let (lengths, scratch) = Self::plan(network, size);
        let len = lengths.iter().fold(scratch, |sum, len| sum.saturating_add(*len));
        let statistics = zeros(network.sequence().statistics(capacity))?;
        let predictions = predictions(capacity)?;
        Ok(Self { capacity, trains, arena: zeros(len)?, lengths, statistics, predictions })
    }

    /// Bytes of a workspace of this size for `network`, without allocating it.
    pub fn bytes(network: &Network, size: WorkspaceSize) -> usize {
        let (lengths, scratch) = Self::plan(network, size);
        let len = lengths.iter().fold(scratch, |sum: usize, len| sum.saturating_add(*len));
        let statistics = network.sequence().statistics(size.rows);
        len.saturating_mul(size_of::<T>())
            .saturating_add(statistics.saturating_mul(size_of::<f64>()))
            .saturating_add(size.rows.saturating_mul(size_of::<u32>()))
    }

    /// Lengths of all parts but the last, and of the scratch.
    fn plan(network: &Network, size: WorkspaceSize) -> ([usize; 5], usize) {
        let WorkspaceSize { rows, threads, trains } = size;
        let sequence = network.sequence();
        let saved = if trains { sequence.saved(rows) } else { sequence.inference_len(rows) };
        let outputs = rows.saturating_mul(network.output().elements());
        let (losses, loss_scratch) = (network.losses(rows), network.loss_scratch(rows));
        let lengths = [saved, outputs, if trains { outputs } else { 0 }, losses, loss_scratch];
        (lengths, Layer::<T>::scratch(sequence, rows, threads))
    }

    /// Largest batch, in rows.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Outputs of the last pass of `rows` rows through `network`: `[rows, outputs]`.
    pub fn outputs(&self, network: &Network, rows: usize) -> &[T] {
        let [saved, outputs, ..] = self.lengths;
        &self.arena[saved..][..outputs.min(rows.saturating_mul(network.outputs()))]
    }

    /// Outputs of each layer in the last [`Network::gradient`] with `rows` rows: index of the layer
    /// in the sequence, shape of a row, and `[rows, shape]`. Layers fused into the one before count
    /// as one with it, under the index of the last. Empty for a workspace for inference.
    pub fn layer_outputs<'a>(
        &'a self,
        network: &'a Network,
        rows: usize,
    ) -> impl Iterator<Item = (usize, Shape, &'a [T])> {
        let rows = if self.trains { rows.min(self.capacity) } else { 0 };
        let last = network.sequence().shapes().len().saturating_sub(1);
        let output = (last, network.output(), self.outputs(network, rows));
        let outputs = network.sequence().saved_outputs(rows, &self.arena[..self.lengths[0]]);
        outputs.chain([output]).filter(move |_| rows > 0)
    }

    pub(crate) fn parts(&mut self) -> Parts<'_, T> {
        let [saved, outputs, doutputs, losses, loss_scratch] = self.lengths;
        let (saved, rest) = self.arena.split_at_mut(saved);
        let (outputs, rest) = rest.split_at_mut(outputs);
        let (doutputs, rest) = rest.split_at_mut(doutputs);
        let (losses, rest) = rest.split_at_mut(losses);
        let (loss_scratch, scratch) = rest.split_at_mut(loss_scratch);
        let (statistics, predictions) = (&mut self.statistics[..], &mut self.predictions[..]);
        Parts { saved, outputs, doutputs, losses, loss_scratch, scratch, statistics, predictions }
    }

    /// `true` if every part is large enough for a pass of `network` on `threads` threads.
    pub(crate) fn fits(&self, network: &Network, threads: usize) -> bool {
        let size = WorkspaceSize { rows: self.capacity, threads, trains: self.trains };
        let (lengths, scratch) = Self::plan(network, size);
        let available = self.arena.len() - self.lengths.iter().sum::<usize>();
        lengths == self.lengths
            && scratch <= available
            && network.sequence().statistics(self.capacity) == self.statistics.len()
    }
}

/// Buffer for one class per row.
fn predictions(capacity: usize) -> Result<Vec<u32>, Error> {
    let mut predictions = Vec::new();
    let bytes = capacity.saturating_mul(size_of::<u32>());
    predictions.try_reserve_exact(capacity).map_err(|_| Error::Memory { bytes })?;
    predictions.resize(capacity, 0);
    Ok(predictions)
}
