//! Max and mean pooling over windows of an image, or over all of its positions.

use kernels::Window;
use kernels::pooling::{Count, Pooling as Kernel};

use crate::layer::{Backward, Describe, Float, Forward, Layer};
use crate::spec::Pool;
use crate::{Error, Shape};

/// Max or mean of each window. PyTorch: `MaxPool2d`, `AvgPool2d`, `AdaptiveAvgPool2d(1)`.
#[derive(Debug)]
pub(crate) struct Pooling {
    input: [usize; 3],
    output: Shape,
    window: Window,
    pool: Pool,
}

impl Pooling {
    /// # Errors
    /// [`Error::Kernel`] for a window that does not fit.
    pub(crate) fn new(input: [usize; 3], pool: Pool, window: Window) -> Result<Self, Error> {
        let mut layer = Self { input, output: Shape::Features(0), window, pool };
        let [_, height, width, channels] = layer.kernel(1)?.output();
        layer.output = Shape::Image { height, width, channels };
        Ok(layer)
    }

    /// Mean over all positions of each row.
    ///
    /// # Errors
    /// [`Error::Kernel`] for an image without pixels.
    pub(crate) fn global(input: Shape) -> Result<Self, Error> {
        let positions = [input.positions(), 1];
        let layer =
            Self::new([positions[0], 1, input.features()], Pool::Mean, Window::new(positions))?;
        Ok(Self { output: Shape::Features(input.features()), ..layer })
    }

    fn kernel(&self, rows: usize) -> Result<Kernel, kernels::Error> {
        let [height, width, channels] = self.input;
        Kernel::new([rows, height, width, channels], self.window)
    }
}

impl Describe for Pooling {
    fn output(&self) -> Shape {
        self.output
    }

    fn fuses_relu_backward(&self) -> bool {
        self.pool == Pool::Max
    }
}

impl<T: Float> Layer<T> for Pooling {
    fn forward(&self, pass: Forward<'_, T>) -> Result<(), Error> {
        let kernel = self.kernel(pass.rows)?;
        match self.pool {
            Pool::Max => Ok(kernel.max(pass.cpu, pass.x, pass.y)?),
            Pool::Mean => Ok(kernel.mean(pass.cpu, Count::Window, pass.x, pass.y)?),
        }
    }

    fn backward(&self, pass: Backward<'_, T>) -> Result<(), Error> {
        let Some(dx) = pass.dx else { return Ok(()) };
        let kernel = self.kernel(pass.rows)?;
        match self.pool {
            Pool::Max if pass.apply_relu => {
                Ok(kernel.max_relu_backward(pass.cpu, pass.x, pass.dy, dx)?)
            }
            Pool::Max => Ok(kernel.max_backward(pass.cpu, pass.x, pass.dy, dx)?),
            Pool::Mean => Ok(kernel.mean_backward(pass.cpu, Count::Window, pass.dy, dx)?),
        }
    }
}
