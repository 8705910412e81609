//! What a step needs besides parameters and gradients: activations, their gradients, losses and scratch.

use alloc::vec;
use alloc::vec::Vec;

use kernels::{Cpu, Float};

use crate::Network;

/// The buffers of a training or inference step, allocated once.
///
/// Nothing is allocated after [`new`](Self::new): a step of up to `capacity` rows runs in these buffers.
#[derive(Clone, Debug)]
pub struct Workspace<T> {
    pub(crate) capacity: usize,
    /// The output of each stage, one after the other: `capacity` rows each.
    pub(crate) outputs: Vec<T>,
    /// The gradient of the stage at hand, and of the one below it.
    pub(crate) gradients: [Vec<T>; 2],
    /// One loss a row.
    pub(crate) losses: Vec<T>,
    /// One class a row.
    pub(crate) predictions: Vec<u32>,
    /// Lent to the kernels.
    pub(crate) scratch: Vec<T>,
}

impl<T: Float> Workspace<T> {
    /// Buffers for batches of up to `capacity` rows through `network` on the threads of `cpu`.
    pub fn new(network: &Network, cpu: Cpu<'_>, capacity: usize) -> Self {
        let buffer = |per_row: usize| vec![T::ZERO; per_row * capacity];
        Self {
            capacity,
            outputs: buffer(network.activations()),
            gradients: [buffer(network.widest()), buffer(network.widest())],
            losses: buffer(1),
            predictions: vec![0; capacity],
            scratch: vec![T::ZERO; network.scratch::<T>(cpu, capacity)],
        }
    }

    /// The largest batch.
    pub fn capacity(&self) -> usize {
        self.capacity
    }
}
