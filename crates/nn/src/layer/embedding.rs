//! Embedding: a row of a table per index.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::init::Fans;
use crate::layer::{AnyLayer, Backward, Describe, Float, Forward, Layer};
use crate::parameter::{Order, Parameter, Start};
use crate::registry::{Build, BuildContext};
use crate::{Error, Init, Shape};

/// An embedding vector per input index: `y[step] = weight[x[step]]`, where x holds indices as
/// floats, and `weight` is `[count, features]`. PyTorch: `Embedding`.
///
/// An input that is no index gives NaN, and no gradient. Indices have no gradient: `dx` is 0.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
pub struct Embedding {
    /// Number of indices.
    pub count: usize,
    /// Elements per vector.
    pub features: usize,
    /// Initialiser of the vectors.
    #[cfg_attr(feature = "serde", serde(default = "small_normal"))]
    pub init: Init,
}

#[cfg(feature = "serde")]
const fn small_normal() -> Init {
    Init::Normal { std: 0.02 }
}

impl Build for Embedding {
    fn build(&self, input: Shape, context: &BuildContext<'_>) -> Result<Box<dyn AnyLayer>, Error> {
        let Self { count, features, init } = *self;
        if count == 0 || features == 0 {
            return Err(context.unfit("at least one vector of at least one element", 0));
        }
        Ok(Box::new(EmbeddingLayer { steps: input.elements(), count, features, init }))
    }
}

/// [`Embedding`] of rows of `steps` indices.
#[derive(Debug)]
struct EmbeddingLayer {
    steps: usize,
    count: usize,
    features: usize,
    init: Init,
}

impl EmbeddingLayer {
    /// The index in `x`; `None` if it is not an integer below `count`.
    fn index<T: Float>(&self, x: T) -> Option<usize> {
        let x = x.to_f64();
        let index = x as usize;
        (index as f64 == x && index < self.count).then_some(index)
    }
}

impl Describe for EmbeddingLayer {
    fn output(&self) -> Shape {
        Shape::Steps { steps: self.steps, features: self.features }
    }

    fn parameters(&self) -> Vec<Parameter> {
        let start = Start::Draw { init: self.init, fans: Fans::matrix(self.count, self.features) };
        let shape = Vec::from([self.count, self.features]);
        Vec::from([Parameter { name: "weight".into(), shape, order: Order::Same, start }])
    }
}

impl<T: Float> Layer<T> for EmbeddingLayer {
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
