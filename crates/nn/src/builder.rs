//! Builds layers and sequences of them from their specifications, for a known input shape.

use alloc::boxed::Box;
use alloc::format;
use core::fmt;

use kernels::Window;

use crate::layer::attention::Attention;
use crate::layer::batch_norm::BatchNorm;
use crate::layer::convolution::Convolution as ConvolutionLayer;
use crate::layer::dense::Dense;
use crate::layer::dropout::Dropout;
use crate::layer::elementwise::Elementwise;
use crate::layer::embedding::Embedding;
use crate::layer::group_norm::GroupNorm;
use crate::layer::layer_norm::{LayerNorm, RmsNorm};
use crate::layer::pooling::Pooling;
use crate::layer::position::Position;
use crate::layer::prelu::Prelu;
use crate::layer::recurrent::Recurrent as RecurrentLayer;
use crate::layer::reshape::{Flatten, Steps};
use crate::layer::residual::Residual;
use crate::layer::standardise::{Standardise, Unstandardise};
use crate::layer::transformer::{self, Transformer};
use crate::layer::{AnyLayer, Describe};
use crate::registry::BuildContext;
use crate::sequence::Sequence;
use crate::spec::{Convolution, LayerSpec, Recurrent};
use crate::{Error, Shape};

impl LayerSpec {
    /// Builds the layer for rows of shape `input`.
    pub(crate) fn build(
        &self,
        input: Shape,
        context: &BuildContext<'_>,
    ) -> Result<Box<dyn AnyLayer>, Error> {
        let mismatch = |expected: &str, got: &dyn fmt::Display| {
            Err(context.mismatch(self.kind(), expected, got))
        };
        let unfit_window =
            |error: Error| context.mismatch(self.kind(), "a window that fits its input", error);
        let positive = |epsilon: f64| epsilon.is_finite() && epsilon > 0.0;
        let image = || match input {
            Shape::Image { height, width, channels } => Ok([height, width, channels]),
            _ => Err(context.mismatch(self.kind(), "an image", input)),
        };
        let sequence = || match input {
            Shape::Steps { steps, features } => Ok((steps, features)),
            _ => Err(context.mismatch(
                self.kind(),
                "a sequence (`rows` and `places` make one of an image)",
                input,
            )),
        };
        let divides = |parts: usize, whole: usize| parts > 0 && whole.is_multiple_of(parts);
        Ok(match self {
            Self::Dense { units: 0, .. } => return mismatch("at least one unit", &0),
            &Self::Dense { units, init, bias } => {
                Box::new(Dense::new(input, units, init, bias, context.compute))
            }
            &Self::Activation(activation) => Box::new(Elementwise::new(input, activation)),
            &Self::Prelu { start } if !start.is_finite() => {
                return mismatch("a finite `start`", &start);
            }
            &Self::Prelu { start } => Box::new(Prelu::new(input, start)),
            Self::Convolution(Convolution { filters: 0, .. }) => {
                return mismatch("at least one filter", &0);
            }
            &Self::Convolution(spec) => {
                let precision = context.compute.precision;
                Box::new(ConvolutionLayer::new(image()?, spec, precision).map_err(unfit_window)?)
            }
            &Self::Pooling { pool, kernel, stride, padding } => {
                let window = Window::new(kernel).stride(stride).padding(padding);
                Box::new(Pooling::new(image()?, pool, window).map_err(unfit_window)?)
            }
            Self::GlobalPooling => Box::new(Pooling::global(input).map_err(unfit_window)?),
            Self::Flatten => Box::new(Flatten::new(input)),
            Self::Places => {
                image()?;
                Box::new(Steps::positions(input))
            }
            Self::Rows => {
                let [height, width, channels] = image()?;
                Box::new(Steps::rows(height, width, channels))
            }
            &Self::Dropout { p } if !(0.0..1.0).contains(&p) => {
                return mismatch("`p` in [0, 1)", &p);
            }
            &Self::Dropout { p } => Box::new(Dropout::new(input, p, context.layer_id())),
            &Self::BatchNorm { epsilon, momentum } => {
                if !positive(epsilon) || !(0.0..=1.0).contains(&momentum) {
                    return mismatch(
                        "`epsilon` above 0 and `momentum` in [0, 1]",
                        &format!("{epsilon}, {momentum}"),
                    );
                }
                Box::new(BatchNorm::new(input, epsilon, momentum))
            }
            &(Self::LayerNorm { epsilon }
            | Self::RmsNorm { epsilon }
            | Self::GroupNorm { epsilon, .. })
                if !positive(epsilon) =>
            {
                return mismatch("`epsilon` above 0", &epsilon);
            }
            &Self::LayerNorm { epsilon } => Box::new(LayerNorm::new(input, epsilon)),
            &Self::RmsNorm { epsilon } => Box::new(RmsNorm::new(input, epsilon)),
            &Self::GroupNorm { groups, .. } if !divides(groups, input.features()) => {
                return mismatch(
                    &format!("a divisor of its {} channels as `groups`", input.features()),
                    &groups,
                );
            }
            &Self::GroupNorm { groups, epsilon } => {
                Box::new(GroupNorm::new(input, groups, epsilon))
            }
            Self::Residual { body, shortcut, scale } => {
                let body = Sequence::new(input, body, &context.child("body"))?;
                let shortcut = match &shortcut[..] {
                    [] => None,
                    shortcut => Some(Sequence::new(input, shortcut, &context.child("shortcut"))?),
                };
                let expected_output = shortcut.as_ref().map_or(input, Describe::output);
                if body.output() != expected_output {
                    let expected =
                        format!("a body whose output is that of its shortcut, {expected_output}");
                    return mismatch(&expected, &body.output());
                }
                Box::new(Residual::new(body, shortcut, *scale))
            }
            Self::Embedding { count: 0, .. } | Self::Embedding { features: 0, .. } => {
                return mismatch("at least one vector of at least one element", &0);
            }
            &Self::Embedding { count, features, init } => {
                Box::new(Embedding::new(input.elements(), count, features, init))
            }
            &Self::Position { init } => {
                sequence()?;
                Box::new(Position::new(input, init))
            }
            &(Self::Attention { heads, .. } | Self::Transformer { heads, .. })
                if !divides(heads, input.features()) =>
            {
                return mismatch(
                    &format!("a divisor of its {} features as `heads`", input.features()),
                    &heads,
                );
            }
            &Self::Attention { heads, causal, init } => {
                let (steps, features) = sequence()?;
                Box::new(Attention::new(
                    steps,
                    features,
                    heads,
                    causal,
                    init,
                    context.compute.precision,
                ))
            }
            &Self::Transformer { heads, hidden, dropout, causal } => {
                let (_, features) = sequence()?;
                let layers = transformer::layers(features, heads, hidden, dropout, causal);
                Box::new(Transformer::new(Sequence::new(input, &layers, context)?))
            }
            Self::Recurrent(Recurrent { units: 0, .. }) => {
                return mismatch("at least one unit", &0);
            }
            Self::Recurrent(Recurrent { truncate: Some(0), .. }) => {
                return mismatch("at least one step as `truncate`", &0);
            }
            &Self::Recurrent(spec) => {
                let (steps, features) = sequence()?;
                Box::new(RecurrentLayer::new(steps, features, spec, context.compute.precision))
            }
            Self::Standardise => Box::new(Standardise::new(input)),
            Self::Unstandardise => Box::new(Unstandardise::new(input)),
            Self::Custom { name, options } => {
                return context.registry.build(name, input, options, context);
            }
        })
    }
}

impl Sequence {
    /// Builds these layers over rows of shape `input`; `context` is the path of the sequence.
    ///
    /// # Errors
    /// [`Error::Layer`] names the first layer that does not fit its input.
    pub fn new(
        input: Shape,
        layers: &[LayerSpec],
        context: &BuildContext<'_>,
    ) -> Result<Self, Error> {
        let mut sequence = Self::with_capacity(input, layers.len());
        // Dropout keeps the input sparse.
        let mut sparse = context.compute.sparse_inputs;
        for (index, spec) in layers.iter().enumerate() {
            let mut context = context.child(index);
            context.compute.sparse_inputs = sparse;
            sparse &= matches!(spec, LayerSpec::Dropout { .. });
            let input = sequence.output();
            if input.elements() == 0 {
                return Err(context.mismatch(
                    spec.kind(),
                    "an input of at least one element per row",
                    input,
                ));
            }
            if let LayerSpec::Activation(activation) = spec {
                activation.check()?;
            }
            if sequence.fuse_next(spec) {
                continue;
            }
            if flattens_later(layers, index, input) {
                sequence.skip_next(Shape::Features(input.elements()));
                continue;
            }
            let layer = spec.build(input, &context)?;
            sequence.push(layer).ok_or_else(|| context.too_large())?;
        }
        Ok(sequence)
    }
}

/// `true` if layer `index`, over rows of shape `input`, is a flattening that the next dense layer
/// does itself. That layer reads the image in memory order, with its weights permuted, and so do
/// element-wise layers in between.
pub(crate) fn flattens_later(layers: &[LayerSpec], index: usize, input: Shape) -> bool {
    let mut rest = layers[index..].iter();
    let is_image = matches!(input, Shape::Image { .. }) && rest.next() == Some(&LayerSpec::Flatten);
    let by_element =
        |layer: &&LayerSpec| matches!(layer, LayerSpec::Activation(_) | LayerSpec::Dropout { .. });
    is_image && matches!(rest.find(|layer| !by_element(layer)), Some(LayerSpec::Dense { .. }))
}
