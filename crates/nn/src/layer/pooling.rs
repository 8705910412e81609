//! Max and mean pooling over windows of an image, or over all of its positions.

use alloc::boxed::Box;

use kernels::Window;
use kernels::pooling::{Count, Pooling as Kernel};

use crate::layer::{AnyLayer, Backward, Describe, Float, Forward, Layer, Pool};
use crate::registry::{Build, BuildContext};
use crate::{Error, Shape};

/// Max or mean pooling over windows of an image. PyTorch: `MaxPool2d`, `AvgPool2d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pooling {
    /// Operation on each window.
    pub pool: Pool,
    /// Window size: `[height, width]`.
    pub kernel: [usize; 2],
    /// Stride: `[down, across]`, in pixels.
    pub stride: [usize; 2],
    /// Padding in pixels: `[above and below, left and right]`. Counts as 0 in a mean, and is
    /// ignored by a max.
    pub padding: [usize; 2],
}

impl Pooling {
    pub(crate) const fn window(&self) -> Window {
        Window::new(self.kernel).stride(self.stride).padding(self.padding)
    }
}

impl Build for Pooling {
    fn build(&self, input: Shape, context: &BuildContext<'_>) -> Result<Box<dyn AnyLayer>, Error> {
        let layer = PoolingLayer::new(context.image(input)?, self.pool, self.window())
            .map_err(|error| context.unfit_window(error))?;
        Ok(Box::new(layer))
    }
}

/// [`Pooling`] in a configuration file: a kind per operation.
#[cfg(feature = "serde")]
pub(crate) mod table {
    use super::{Pool, Pooling};
    use crate::keys::Pair;

    /// A pooling layer by kind.
    pub(crate) enum Table {
        MaxPooling(Windows),
        MeanPooling(Windows),
    }

    /// Keys of either kind.
    #[derive(Clone, serde::Serialize, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(crate) struct Windows {
        kernel: Pair,
        /// The kernel size by default.
        stride: Option<Pair>,
        #[serde(default = "none")]
        padding: Pair,
    }

    const fn none() -> Pair {
        Pair::Both(0)
    }

    impl From<Table> for Pooling {
        fn from(table: Table) -> Self {
            let (pool, Windows { kernel, stride, padding }) = match table {
                Table::MaxPooling(windows) => (Pool::Max, windows),
                Table::MeanPooling(windows) => (Pool::Mean, windows),
            };
            Self {
                pool,
                kernel: kernel.into(),
                stride: stride.unwrap_or(kernel).into(),
                padding: padding.into(),
            }
        }
    }

    impl From<Pooling> for Table {
        fn from(spec: Pooling) -> Self {
            let Pooling { pool, kernel, stride, padding } = spec;
            let windows = Windows {
                kernel: kernel.into(),
                stride: Some(stride.into()),
                padding: padding.into(),
            };
            match pool {
                Pool::Max => Self::MaxPooling(windows),
                Pool::Mean => Self::MeanPooling(windows),
            }
        }
    }
}

/// Mean over all positions of an image, or over all steps. PyTorch: `AdaptiveAvgPool2d(1)` and
/// `Flatten`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
pub struct GlobalPooling {}

impl Build for GlobalPooling {
    fn build(&self, input: Shape, context: &BuildContext<'_>) -> Result<Box<dyn AnyLayer>, Error> {
        let positions = [input.positions(), 1];
        let input = [positions[0], 1, input.features()];
        let layer = PoolingLayer::new(input, Pool::Mean, Window::new(positions))
            .map_err(|error| context.unfit_window(error))?;
        Ok(Box::new(PoolingLayer { output: Shape::Features(input[2]), ..layer }))
    }
}

/// Pooling of images of a known shape.
#[derive(Debug)]
struct PoolingLayer {
    input: [usize; 3],
    output: Shape,
    window: Window,
    pool: Pool,
}

impl PoolingLayer {
    /// # Errors
    /// [`Error::Kernel`] for a window that does not fit.
    fn new(input: [usize; 3], pool: Pool, window: Window) -> Result<Self, Error> {
        let mut layer = Self { input, output: Shape::Features(0), window, pool };
        let [_, height, width, channels] = layer.kernel(1)?.output();
        layer.output = Shape::Image { height, width, channels };
        Ok(layer)
    }

    fn kernel(&self, rows: usize) -> Result<Kernel, kernels::Error> {
        let [height, width, channels] = self.input;
        Kernel::new([rows, height, width, channels], self.window)
    }
}

impl Describe for PoolingLayer {
    fn output(&self) -> Shape {
        self.output
    }

    fn fuses_relu_backward(&self) -> bool {
        self.pool == Pool::Max
    }
}

impl<T: Float> Layer<T> for PoolingLayer {
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
