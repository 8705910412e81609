//! Learned position embedding: adds a learned vector to each step of a sequence.

use alloc::vec::Vec;

use kernels::vector::accumulate;

use crate::init::Fans;
use crate::layer::{Backward, Describe, Float, Forward, Layer};
use crate::parameter::{Order, Parameter, Start};
use crate::{Error, Init, Shape};

/// `y[step] = x[step] + weight[step]` (Gehring et al., ICML 2017).
#[derive(Debug)]
pub(crate) struct Position {
    shape: Shape,
    init: Init,
}

impl Position {
    pub(crate) fn new(shape: Shape, init: Init) -> Self {
        Self { shape, init }
    }
}

impl Describe for Position {
    fn output(&self) -> Shape {
        self.shape
    }

    fn parameters(&self) -> Vec<Parameter> {
        let (steps, features) = (self.shape.positions(), self.shape.features());
        let start = Start::Draw { init: self.init, fans: Fans::matrix(steps, features) };
        let shape = Vec::from([steps, features]);
        Vec::from([Parameter { name: "weight".into(), shape, order: Order::Same, start }])
    }
}

impl<T: Float> Layer<T> for Position {
    fn forward(&self, pass: Forward<'_, T>) -> Result<(), Error> {
        pass.y.copy_from_slice(pass.x);
        for y in pass.y.chunks_exact_mut(pass.params.len()) {
            accumulate(pass.cpu, pass.params, y)?;
        }
        Ok(())
    }

    /// Sums over the rows of the batch in ascending order.
    fn backward(&self, pass: Backward<'_, T>) -> Result<(), Error> {
        pass.grads.fill(T::ZERO);
        for dy in pass.dy.chunks_exact(pass.grads.len()) {
            accumulate(pass.cpu, dy, pass.grads)?;
        }
        if let Some(dx) = pass.dx {
            dx.copy_from_slice(pass.dy);
        }
        Ok(())
    }
}
