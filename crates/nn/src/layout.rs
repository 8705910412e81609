//! Where each tensor lies in the flat buffers, and how PyTorch lays it out.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use kernels::norm::Units;

use crate::layer::{Parameter, Start};

/// The tensors of a network, in order, without gaps: the layout of parameters, gradients and each moment.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Layout {
    tensors: Vec<Tensor>,
}

/// One tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// PyTorch's name for it: `layers.{i}.weight`, `layers.{i}.bias`, where `i` counts every layer from 0.
    pub name: String,
    /// Its elements in the flat buffer, row after row.
    pub range: Range<usize>,
    /// Its dimensions in memory.
    pub shape: Vec<usize>,
    /// What its counterpart in PyTorch is.
    pub order: Order,
    /// What it holds at first.
    pub start: Start,
    /// The number of the layer that it belongs to, in the outermost sequence.
    pub layer: usize,
}

/// How a tensor in memory and its counterpart in PyTorch correspond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// They are the same.
    Same,
    /// (inputs, outputs) here, [outputs, inputs] there.
    Transposed,
    /// As `Transposed`, where the inputs are an image of (height, width, channels) here and of [channels, height, width] there.
    TransposedImage {
        /// Rows and columns of the image, multiplied.
        places: usize,
        /// Channels of the image.
        channels: usize,
    },
    /// An image of (height, width, channels) here, of [channels, height, width] there.
    Image {
        /// Rows and columns of the image, multiplied.
        places: usize,
        /// Channels of the image.
        channels: usize,
    },
    /// The filters of a convolution: (height, width, channels in, channels out) here, [out, in, height, width] there.
    Filter,
    /// A count, which is an integer of 64 bits there.
    Count,
}

impl Tensor {
    /// Rows and columns of the matrix that the tensor is: inputs (times taps, for filters) and outputs. `None` for vectors, and
    /// for tables of vectors.
    pub fn matrix(&self) -> Option<[usize; 2]> {
        match (self.order, &self.shape[..]) {
            (Order::Transposed | Order::TransposedImage { .. } | Order::Filter, &[.., outputs]) => {
                Some([self.range.len() / outputs.max(1), outputs])
            }
            _ => None,
        }
    }

    /// The output units of the tensor, for clips and bounds that look at each: columns of a matrix, rows of a table.
    pub fn units(&self) -> Units {
        match (self.matrix(), &self.shape[..]) {
            (Some([_, outputs]), _) => Units::Columns(outputs),
            (None, &[_, width]) => Units::Rows(width),
            _ => Units::Whole,
        }
    }

    /// Dimensions of the counterpart in PyTorch.
    pub fn torch_shape(&self) -> Vec<usize> {
        match (self.order, &self.shape[..]) {
            (Order::Transposed | Order::TransposedImage { .. }, &[rows, cols]) => vec![cols, rows],
            (Order::Filter, &[height, width, inputs, outputs]) => vec![outputs, inputs, height, width],
            (Order::Count, _) => Vec::new(),
            _ => self.shape.clone(),
        }
    }

    /// Where element `i` of the tensor stands in its counterpart.
    pub fn torch_place(&self, i: usize) -> usize {
        match (self.order, &self.shape[..]) {
            (Order::Transposed, &[rows, cols]) => i % cols * rows + i / cols,
            (Order::TransposedImage { places, channels }, &[rows, cols]) => {
                let (place, channel) = (i / cols / channels, i / cols % channels);
                i % cols * rows + channel * places + place
            }
            (Order::Image { places, channels }, _) => i % channels * places + i / channels,
            (Order::Filter, &[height, width, inputs, outputs]) => {
                let (place, input, output) = (i / outputs / inputs, i / outputs % inputs, i % outputs);
                (output * inputs + input) * height * width + place
            }
            _ => i,
        }
    }
}

impl Layout {
    /// The number of elements of all tensors.
    pub fn len(&self) -> usize {
        self.tensors.last().map_or(0, |tensor| tensor.range.end)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The tensors, in the order of the buffers.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// The tensor that element `index` of the buffers belongs to.
    pub fn owner(&self, index: usize) -> Option<&Tensor> {
        self.tensors.iter().find(|tensor| tensor.range.contains(&index))
    }

    /// Appends the tensors of layer number `layer`, or `None` if the buffer would be too long to address.
    pub(crate) fn push(&mut self, layer: usize, parameters: Vec<Parameter>) -> Option<()> {
        for Parameter { name, shape, order, start } in parameters {
            let first = self.len();
            let len = shape.iter().try_fold(1_usize, |len, &dim| len.checked_mul(dim))?;
            // A slice has at most isize::MAX bytes; an element at most eight.
            let end = first.checked_add(len).filter(|&end| end <= isize::MAX as usize / 8)?;
            let name = format!("layers.{layer}.{name}");
            self.tensors.push(Tensor { name, range: first..end, shape, order, start, layer });
        }
        Some(())
    }
}
