//! Embedding: a row of a table per index.

use alloc::vec::Vec;

use crate::init::Fans;
use crate::layer::{Backward, Describe, Float, Forward, Layer};
use crate::parameter::{Order, Parameter, Start};
use crate::{Error, Init, Shape};

/// `y[step] = weight[x[step]]`, where x holds indices as floats, and `weight` is `[count,
/// features]`. PyTorch: `Embedding`.
///
/// An input that is no index gives NaN, and no gradient. Indices have no gradient: `dx` is 0.
#[derive(Debug)]
pub(crate) struct Embedding {
    steps: usize,
    count: usize,
    features: usize,
    init: Init,
}

impl Embedding {
    pub(crate) fn new(steps: usize, count: usize, features: usize, init: Init) -> Self {
        Self { steps, count, features, init }
    }

    /// The index in `x`; `None` if it is not an integer below `count`.
    fn index<T: Float>(&self, x: T) -> Option<usize> {
        let x = x.to_f64();
        let index = x as usize;
        (index as f64 == x && index < self.count).then_some(index)
    }
}

impl Describe for Embedding {
    fn output(&self) -> Shape {
        Shape::Steps { steps: self.steps, features: self.features }
    }

    fn parameters(&self) -> Vec<Parameter> {
        let start = Start::Draw { init: self.init, fans: Fans::matrix(self.count, self.features) };
        let shape = Vec::from([self.count, self.features]);
        Vec::from([Parameter { name: "weight".into(), shape, order: Order::Same, start }])
    }
}

impl<T: Float> Layer<T> for Embedding {
    fn forward(&self, pass: Forward<'_, T>) -> Result<(), Error> {
        for (&x, y) in pass.x.iter().zip(pass.y.chunks_exact_mut(self.features)) {
            match self.index(x) {
                Some(index) => {
                    y.copy_from_slice(&pass.params[index * self.features..][..self.features]);
                }
                None => y.fill(T::NAN),
            }
        }
        Ok(())
    }

    /// Sums over the rows of the batch in ascending order.
    fn backward(&self, pass: Backward<'_, T>) -> Result<(), Error> {
        pass.grads.fill(T::ZERO);
        for (&x, dy) in pass.x.iter().zip(pass.dy.chunks_exact(self.features)) {
            let Some(index) = self.index(x) else { continue };
            let dw = &mut pass.grads[index * self.features..][..self.features];
            for (dw, &dy) in dw.iter_mut().zip(dy) {
                *dw += dy;
            }
        }
        if let Some(dx) = pass.dx {
            dx.fill(T::ZERO);
        }
        Ok(())
    }
}
