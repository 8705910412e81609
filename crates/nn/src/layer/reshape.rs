//! Layers without arithmetic: the same elements in another shape or order.

use alloc::boxed::Box;

use crate::layer::{AnyLayer, Backward, Describe, Float, Forward, Layer};
use crate::registry::{Build, BuildContext};
use crate::{Error, Shape};

/// An image as a vector, in PyTorch's order: channel by channel. PyTorch: `Flatten`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
pub struct Flatten {}

impl Build for Flatten {
    fn build(&self, input: Shape, _: &BuildContext<'_>) -> Result<Box<dyn AnyLayer>, Error> {
        Ok(Box::new(FlattenLayer { input }))
    }
}

/// [`Flatten`] of rows of a known shape.
#[derive(Debug)]
struct FlattenLayer {
    input: Shape,
}

impl FlattenLayer {
    /// Calls `each` with every element's index in memory and in PyTorch's order.
    fn for_each_index(&self, mut each: impl FnMut(usize, usize)) {
        let channels = match self.input {
            Shape::Image { channels, .. } => channels,
            _ => 1,
        };
        let positions = self.input.elements() / channels.max(1);
        for position in 0..positions {
            for channel in 0..channels {
                each(position * channels + channel, channel * positions + position);
            }
        }
    }
}

impl Describe for FlattenLayer {
    fn output(&self) -> Shape {
        Shape::Features(self.input.elements())
    }
}

impl<T: Float> Layer<T> for FlattenLayer {
    fn forward(&self, pass: Forward<'_, T>) -> Result<(), Error> {
        let width = self.input.elements();
        for (x, y) in pass.x.chunks_exact(width).zip(pass.y.chunks_exact_mut(width)) {
            self.for_each_index(|from, to| y[to] = x[from]);
        }
        Ok(())
    }

    fn backward(&self, pass: Backward<'_, T>) -> Result<(), Error> {
        let Some(dx) = pass.dx else { return Ok(()) };
        let width = self.input.elements();
        for (dx, dy) in dx.chunks_exact_mut(width).zip(pass.dy.chunks_exact(width)) {
            self.for_each_index(|from, to| dx[from] = dy[to]);
        }
        Ok(())
    }
}

/// The pixels of an image as the steps of a sequence, in row-major order. The features of a step
/// are the channels of its pixel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
pub struct Places {}

impl Build for Places {
    fn build(&self, input: Shape, context: &BuildContext<'_>) -> Result<Box<dyn AnyLayer>, Error> {
        context.image(input)?;
        let output = Shape::Steps { steps: input.positions(), features: input.features() };
        Ok(Box::new(Steps { output }))
    }
}

/// The rows of an image as the steps of a sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
pub struct Rows {}

impl Build for Rows {
    fn build(&self, input: Shape, context: &BuildContext<'_>) -> Result<Box<dyn AnyLayer>, Error> {
        let [height, width, channels] = context.image(input)?;
        let output = Shape::Steps { steps: height, features: width * channels };
        Ok(Box::new(Steps { output }))
    }
}

/// The elements of an image, in the same order, as a sequence of shape `output`.
#[derive(Debug)]
struct Steps {
    output: Shape,
}

impl Describe for Steps {
    fn output(&self) -> Shape {
        self.output
    }
}

impl<T: Float> Layer<T> for Steps {
    fn forward(&self, pass: Forward<'_, T>) -> Result<(), Error> {
        pass.y.copy_from_slice(pass.x);
        Ok(())
    }

    fn backward(&self, pass: Backward<'_, T>) -> Result<(), Error> {
        if let Some(dx) = pass.dx {
            dx.copy_from_slice(pass.dy);
        }
        Ok(())
    }
}
