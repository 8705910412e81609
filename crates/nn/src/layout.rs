//! Offset of each tensor in the flat buffers, and its layout in PyTorch.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use kernels::norm::Units;

use crate::parameter::{Order, Parameter, Start};

/// The tensors of a network, in order and without gaps: the layout of parameters, gradients and
/// each moment.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Layout {
    tensors: Vec<Tensor>,
}

/// A tensor in the flat buffers.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// PyTorch's name: `layers.{i}.weight`, `layers.{i}.bias`, where `i` counts every layer from 0.
    pub name: String,
    /// Range of its elements in the flat buffer, row-major.
    pub range: Range<usize>,
    /// Dimensions in memory.
    pub shape: Vec<usize>,
    /// Relation to the memory layout of the same tensor in PyTorch.
    pub order: Order,
    /// Initial value.
    pub start: Start,
    /// Index of its layer in the outermost sequence.
    pub layer: usize,
}

impl Tensor {
    /// Rows and columns of the tensor as a matrix: inputs (times taps, for filters) and outputs.
    /// `None` for vectors and embedding tables.
    pub fn matrix(&self) -> Option<[usize; 2]> {
        match (self.order, &self.shape[..]) {
            (Order::Transposed | Order::TransposedImage { .. } | Order::Filter, &[.., outputs]) => {
                Some([self.range.len() / outputs.max(1), outputs])
            }
            _ => None,
        }
    }

    /// Output units of the tensor, for per-unit clipping and constraints: columns of a matrix, rows
    /// of an embedding table.
    pub fn units(&self) -> Units {
        match (self.matrix(), &self.shape[..]) {
            (Some([_, outputs]), _) => Units::Columns(outputs),
            (None, &[_, width]) => Units::Rows(width),
            _ => Units::Whole,
        }
    }

    /// Dimensions of the tensor in PyTorch.
    pub fn torch_shape(&self) -> Vec<usize> {
        match (self.order, &self.shape[..]) {
            (Order::Transposed | Order::TransposedImage { .. }, &[rows, cols]) => vec![cols, rows],
            (Order::Filter, &[height, width, inputs, outputs]) => {
                vec![outputs, inputs, height, width]
            }
            (Order::Count, _) => Vec::new(),
            _ => self.shape.clone(),
        }
    }

    /// Index in PyTorch's layout of element `i` of the tensor.
    pub fn torch_index(&self, i: usize) -> usize {
        match (self.order, &self.shape[..]) {
            (Order::Transposed, &[rows, cols]) => i % cols * rows + i / cols,
            (Order::TransposedImage { positions, channels }, &[rows, cols]) => {
                let (position, channel) = (i / cols / channels, i / cols % channels);
                i % cols * rows + channel * positions + position
            }
            (Order::Image { positions, channels }, _) => i % channels * positions + i / channels,
            (Order::Filter, &[height, width, inputs, outputs]) => {
                let (position, input, output) =
                    (i / outputs / inputs, i / outputs % inputs, i % outputs);
                (output * inputs + input) * height * width + position
            }
            _ => i,
        }
    }
}

impl Layout {
    /// Number of elements of all tensors.
    pub fn len(&self) -> usize {
        self.tensors.last().map_or(0, |tensor| tensor.range.end)
    }

    /// `true` if there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tensors in the order of the buffers.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// Tensor that element `index` of the buffers belongs to.
    pub fn owner(&self, index: usize) -> Option<&Tensor> {
        self.tensors.iter().find(|tensor| tensor.range.contains(&index))
    }

    /// Appends the tensors of layer `layer`. Returns `None` if the buffer would be too long to
    /// address.
    pub(crate) fn push(&mut self, layer: usize, parameters: Vec<Parameter>) -> Option<()> {
        for Parameter { name, shape, order, start } in parameters {
            let first = self.len();
            let len = shape.iter().try_fold(1_usize, |len, &dim| len.checked_mul(dim))?;
            // A slice has at most isize::MAX bytes, an element at most eight.
            let end = first.checked_add(len).filter(|&end| end <= isize::MAX as usize / 8)?;
            let name = format!("layers.{layer}.{name}");
            self.tensors.push(Tensor { name, range: first..end, shape, order, start, layer });
        }
        Some(())
    }
}
