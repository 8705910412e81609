//! Learned position embedding: adds a learned vector to each step of a sequence.

use alloc::boxed::Box;
use alloc::vec::Vec;

use kernels::vector::accumulate;

use crate::init::Fans;
use crate::layer::{AnyLayer, Backward, Describe, Float, Forward, Layer};
use crate::parameter::{Order, Parameter, Start};
use crate::registry::{Build, BuildContext};
use crate::{Error, Init, Shape};

/// Learned position embedding: adds a learned vector to each step (Gehring et al., ICML 2017).
///
/// `y[step] = x[step] + weight[step]`
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Position {
    /// Initialiser of the vectors.
    pub init: Init,
}

impl Default for Position {
    fn default() -> Self {
        Self { init: Init::Normal { std: 0.02 } }
    }
}

impl Build for Position {
    fn build(&self, input: Shape, context: &BuildContext<'_>) -> Result<Box<dyn AnyLayer>, Error> {
        context.steps(input)?;
        Ok(Box::new(PositionLayer { shape: input, init: self.init }))
    }
}

/// [`Position`] over sequences of a known shape.
#[derive(Debug)]
struct PositionLayer {
    shape: Shape,
    init: Init,
}

impl Describe for PositionLayer {
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

impl<T: Float> Layer<T> for PositionLayer {
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
