//! Layers without arithmetic: the same elements in another shape or order.

use crate::layer::{Backward, Describe, Float, Forward, Layer};
use crate::{Error, Shape};

/// An image as a vector, in PyTorch's order: channel by channel. PyTorch: `Flatten`.
#[derive(Debug)]
pub(crate) struct Flatten {
    input: Shape,
}

impl Flatten {
    pub(crate) fn new(input: Shape) -> Self {
        Self { input }
    }

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

impl Describe for Flatten {
    fn output(&self) -> Shape {
        Shape::Features(self.input.elements())
    }
}

impl<T: Float> Layer<T> for Flatten {
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

/// The pixels of an image as the steps of a sequence, in row-major order; or each row of the image
/// as one step.
#[derive(Debug)]
pub(crate) struct Steps {
    output: Shape,
}

impl Steps {
    /// One step per pixel, whose features are its channels.
    pub(crate) fn positions(input: Shape) -> Self {
        Self { output: Shape::Steps { steps: input.positions(), features: input.features() } }
    }

    /// One step per row of the image.
    pub(crate) fn rows(height: usize, width: usize, channels: usize) -> Self {
        Self { output: Shape::Steps { steps: height, features: width * channels } }
    }
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
