//! A pre-norm transformer block: two residual blocks, under PyTorch's names.
//!
//! ```text
//! x = x + dropout(attention(norm1(x)))
//! x = x + dropout(linear2(dropout(gelu(linear1(norm2(x))))))
//! ```

use alloc::format;
use alloc::vec::Vec;

use kernels::activation::Activation;

use crate::layer::{Backward, Describe, Float, Forward, Layer};
use crate::parameter::Parameter;
use crate::sequence::Sequence;
use crate::spec::{BranchScale, LayerSpec};
use crate::{Error, Init, Shape};

/// A transformer block. PyTorch: `TransformerEncoderLayer` with `norm_first`, `batch_first` and
/// GELU.
#[derive(Debug)]
pub(crate) struct Transformer {
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

impl Transformer {
    /// `sequence` has the [`layers`] of the block.
    pub(crate) fn new(sequence: Sequence) -> Self {
        Self { sequence }
    }
}

/// The two residual blocks over steps of `features` elements.
pub(crate) fn layers(
    features: usize,
    heads: usize,
    hidden: usize,
    dropout: f64,
    causal: bool,
) -> [LayerSpec; 2] {
    let residual =
        |body| LayerSpec::Residual { body, shortcut: Vec::new(), scale: BranchScale::default() };
    let drop = LayerSpec::Dropout { p: dropout };
    let norm = LayerSpec::LayerNorm { epsilon: 1e-5 };
    let dense = |units| LayerSpec::dense(units, Init::GlorotUniform);
    let attention = LayerSpec::Attention { heads, causal, init: Init::GlorotUniform };
    let gelu = LayerSpec::Activation(Activation::Gelu);
    [
        residual(Vec::from([norm.clone(), attention, drop.clone()])),
        residual(Vec::from([norm, dense(hidden), gelu, drop.clone(), dense(features), drop])),
    ]
}

fn renamed(tensors: Vec<Parameter>) -> Vec<Parameter> {
    let rename = |tensor: Parameter| {
        let name = NAMES.iter().find_map(|(prefix, name)| {
            tensor.name.strip_prefix(prefix).map(|rest| format!("{name}{rest}"))
        });
        Parameter { name: name.unwrap_or_else(|| tensor.name.clone()), ..tensor }
    };
    tensors.into_iter().map(rename).collect()
}

impl Describe for Transformer {
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

impl<T: Float> Layer<T> for Transformer {
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
