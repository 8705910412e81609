//! Builds sequences of layers from their specifications, for a known input shape.

use crate::layer::Describe;
use crate::registry::{Build, BuildContext};
use crate::sequence::Sequence;
use crate::spec::LayerSpec;
use crate::{Error, Shape};

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
            let mut context = context.layer(index, spec.kind());
            context.compute.sparse_inputs = sparse;
            sparse &= matches!(spec, LayerSpec::Dropout(_));
            let input = sequence.output();
            if input.elements() == 0 {
                return Err(context.unfit("an input of at least one element per row", input));
            }
            if let LayerSpec::Activation(activation) = spec {
                activation.check()?;
            }
            let fused = sequence.fuse_next(|last| match spec {
                LayerSpec::Activation(activation) => last.fuse(*activation),
                LayerSpec::Pooling(pooling) => last.fuse_pooling(pooling.pool, pooling.window()),
                _ => false,
            });
            if fused {
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
    let is_image = matches!(input, Shape::Image { .. });
    let flattens = is_image && matches!(rest.next(), Some(LayerSpec::Flatten(_)));
    let by_element =
        |layer: &&LayerSpec| matches!(layer, LayerSpec::Activation(_) | LayerSpec::Dropout(_));
    flattens && matches!(rest.find(|layer| !by_element(layer)), Some(LayerSpec::Dense(_)))
}
