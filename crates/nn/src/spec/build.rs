//! Builds layers from their specifications, for a known input shape.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
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
use crate::layer::transformer::Transformer;
use crate::layer::{AnyLayer, Describe};
use crate::sequence::Sequence;
use crate::spec::{Convolution, LayerSpec, Recurrent};
use crate::{Compute, Error, Registry, Shape};

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
                sequence()?;
                Box::new(Transformer::new(input, heads, hidden, dropout, causal, context)?)
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

/// Context in which a layer is built: its path in the network, and the options of the network.
#[derive(Debug)]
pub struct BuildContext<'a> {
    /// Path as in tensor names: `3`, or `3.body.0` in a block.
    path: String,
    registry: &'a Registry,
    /// Options of the layer's matrix products; `sparse_inputs` holds for this layer's input.
    pub(crate) compute: Compute,
    /// Next layer id.
    next_id: &'a core::cell::Cell<u32>,
}

impl<'a> BuildContext<'a> {
    pub(crate) fn new(
        registry: &'a Registry,
        compute: Compute,
        next_id: &'a core::cell::Cell<u32>,
    ) -> Self {
        Self { path: String::new(), registry, compute, next_id }
    }

    /// Context of the layer called `name` inside this one.
    pub fn child(&self, name: impl fmt::Display) -> Self {
        let path =
            if self.path.is_empty() { name.to_string() } else { format!("{}.{name}", self.path) };
        Self { path, ..*self }
    }

    /// A unique id within the network, for [`Mode::stream`](crate::Mode::stream).
    pub fn layer_id(&self) -> u32 {
        self.next_id.replace(self.next_id.get() + 1)
    }

    /// The error that this layer, of kind `kind`, needs `expected` but was given `got`.
    pub fn mismatch(&self, kind: &'static str, expected: &str, got: impl fmt::Display) -> Error {
        Error::Layer {
            path: self.path.clone(),
            kind,
            expected: expected.to_string(),
            got: got.to_string(),
        }
    }

    pub(crate) fn too_large(&self) -> Error {
        Error::TooLarge { path: self.path.clone() }
    }
}
