//! Layers that compute nothing: the same numbers seen as another shape.

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

    /// Calls `each` with an element's place here and in PyTorch's order, for all of a row.
    fn places(&self, mut each: impl FnMut(usize, usize)) {
        let channels = match self.input {
            Shape::Image { channels, .. } => channels,
            _ => 1,
        };
        let places = self.input.elements() / channels.max(1);
        for place in 0..places {
            for channel in 0..channels {
                each(place * channels + channel, channel * places + place);
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
            self.places(|here, there| y[there] = x[here]);
        }
        Ok(())
    }

    fn backward(&self, pass: Backward<'_, T>) -> Result<(), Error> {
        let Some(dx) = pass.dx else { return Ok(()) };
        let width = self.input.elements();
        for (dx, dy) in dx.chunks_exact_mut(width).zip(pass.dy.chunks_exact(width)) {
            self.places(|here, there| dx[here] = dy[there]);
        }
        Ok(())
    }
}

/// The places of an image as the steps of a sequence, row by row of the image; or each row of a picture as one step.
#[derive(Debug)]
pub(crate) struct Steps {
    output: Shape,
}

impl Steps {
    /// One step for each place: its channels are its features.
    pub(crate) fn places(input: Shape) -> Self {
        Self { output: Shape::Steps { steps: input.places(), features: input.features() } }
    }

    /// One step for each row of the image.
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
