//! A pre-norm transformer block: two residual blocks, under PyTorch's names.
//!
//! ```text
//! x = x + dropout(attention(norm1(x)))
//! x = x + dropout(linear2(dropout(gelu(linear1(norm2(x))))))
//! ```

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;

use kernels::activation::Activation;

use crate::layer::{AnyLayer, Backward, Describe, Float, Forward, Layer};
use crate::parameter::Parameter;
use crate::registry::{Build, BuildContext};
use crate::sequence::Sequence;
use crate::spec::{Attention, Dropout, LayerNorm, LayerSpec, Residual};
use crate::{BranchScale, Error, Init, Shape};

/// A pre-norm transformer block. PyTorch: `TransformerEncoderLayer` with `norm_first`,
/// `batch_first` and GELU.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
pub struct Transformer {
    /// Number of heads, a divisor of the features.
    pub heads: usize,
    /// Units between the two dense layers. PyTorch: `dim_feedforward`.
    pub hidden: usize,
    /// Dropout probability after attention and after each dense layer, in [0, 1).
    #[cfg_attr(feature = "serde", serde(default))]
    pub dropout: f64,
    /// `true` if a step attends only to itself and earlier steps.
    #[cfg_attr(feature = "serde", serde(default))]
    pub causal: bool,
}

impl Build for Transformer {
    fn build(&self, input: Shape, context: &BuildContext<'_>) -> Result<Box<dyn AnyLayer>, Error> {
        context.check_divisor(("heads", self.heads), ("features", input.features()))?;
        let (_, features) = context.steps(input)?;
        let sequence = Sequence::new(input, &self.blocks(features), context)?;
        Ok(Box::new(TransformerLayer { sequence }))
    }
}

impl Transformer {
    /// The two residual blocks over steps of `features` elements.
    fn blocks(&self, features: usize) -> [LayerSpec; 2] {
        let Self { heads, hidden, dropout, causal } = *self;
        let (norm, drop) = (LayerNorm::default(), Dropout { p: dropout });
        let init = Init::GlorotUniform;
        let dense = |units| LayerSpec::dense(units, init);
        let residual =
            |body| Residual { body, shortcut: Vec::new(), scale: BranchScale::default() }.into();
        [
            residual(Vec::from([
                norm.into(),
                Attention { heads, causal, init }.into(),
                drop.into(),
            ])),
            residual(Vec::from([
                norm.into(),
                dense(hidden),
                Activation::Gelu.into(),
                drop.into(),
                dense(features),
                drop.into(),
            ])),
        ]
    }
}

/// The layers of a [`Transformer`].
#[derive(Debug)]
struct TransformerLayer {
    sequence: Sequence,
}

/// Prefixes of the inner tensors, and PyTorch's names for them.
const NAMES: [(&str, &str); 5] = [
    ("0.body.0.", "norm1."),
    ("0.body.1.", "self_attn."),
    ("1.body.0.", "norm2."),
    ("1.body.1.", "linear1."),
    ("1.body.4.", "linear2."),
];

fn renamed(tensors: Vec<Parameter>) -> Vec<Parameter> {
    let rename = |tensor: Parameter| {
        let name = NAMES.iter().find_map(|(prefix, name)| {
            tensor.name.strip_prefix(prefix).map(|rest| format!("{name}{rest}"))
        });
        Parameter { name: name.unwrap_or_else(|| tensor.name.clone()), ..tensor }
    };
    tensors.into_iter().map(rename).collect()
}

impl Describe for TransformerLayer {
    fn output(&self) -> Shape {
        self.sequence.output()
    }

    fn parameters(&self) -> Vec<Parameter> {
        renamed(self.sequence.parameters())
    }

    fn buffers(&self) -> Vec<Parameter> {
        renamed(self.sequence.buffers())
    }

    fn saved(&self, rows: usize) -> usize {
        self.sequence.saved(rows)
    }

    fn statistics(&self, rows: usize) -> usize {
        self.sequence.statistics(rows)
    }
}

impl<T: Float> Layer<T> for TransformerLayer {
    fn scratch(&self, rows: usize, threads: usize) -> usize {
        Layer::<T>::scratch(&self.sequence, rows, threads)
    }

    fn forward(&self, pass: Forward<'_, T>) -> Result<(), Error> {
        self.sequence.forward(pass)
    }

    fn backward(&self, pass: Backward<'_, T>) -> Result<(), Error> {
        self.sequence.backward(pass)
    }
}
