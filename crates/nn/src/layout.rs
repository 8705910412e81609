//! Where each tensor of parameters lies in the flat buffers.

use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

/// The tensors of a network, in order, without gaps: the layout of parameters, gradients and each moment.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Layout {
    tensors: Vec<Tensor>,
}

/// One tensor of parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// PyTorch's name for it: `layers.{i}.weight`, `layers.{i}.bias`, where `i` counts every layer from 0.
    pub name: String,
    /// Its elements in the flat buffer, row after row.
    pub range: Range<usize>,
    /// Its dimensions in memory: (inputs, outputs) for the weight of a dense layer, whose [`name`](Self::name)d
    /// counterpart in PyTorch is the transpose; (outputs) for a bias.
    pub shape: Vec<usize>,
}

impl Layout {
    /// The number of elements of all tensors.
    pub fn len(&self) -> usize {
        self.tensors.last().map_or(0, |tensor| tensor.range.end)
    }

    /// Whether there are no parameters.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The tensors, in the order of the buffers.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// Appends a tensor and returns its range, or `None` if the buffer would be too long to address.
    pub(crate) fn push(&mut self, name: String, shape: &[usize]) -> Option<Range<usize>> {
        let start = self.len();
        let len = shape.iter().try_fold(1_usize, |len, &dim| len.checked_mul(dim))?;
        // A slice has at most isize::MAX bytes; an element at most eight.
        let end = start.checked_add(len).filter(|&end| end <= isize::MAX as usize / 8)?;
        self.tensors.push(Tensor { name, range: start..end, shape: shape.into() });
        Some(start..end)
    }
}
