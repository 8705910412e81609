//! Encoder of ONNX models, operator set 17.
//!
//! ```text
//! images [n, 1, height, width], 0 to 1  ->  nodes of each layer  ->  logits [n, classes]
//! rows [n, columns]                     ->                       ->  values [n, 1], for one output
//! ```
//!
//! Sources: `onnx.proto` for the messages, and the documentation of the operators at
//! <https://onnx.ai/onnx/operators>. Checked against ONNX Runtime.

mod norms;
mod steps;

use std::collections::HashMap;

use nn::{
    Activation, Attention, BatchNorm, BranchScale, Embedding, GroupNorm, LayerNorm, LayerSpec,
    Network, Pool, Pooling, Residual, RmsNorm, Shape, Transformer,
};

use crate::Error;
use crate::data::noun;
use crate::export::arrays;
use crate::run::protobuf::Message;
use crate::run::tensors::Array;
use crate::run::weights::ModelWeights;

/// Versions of the format and of the operator set.
const IR_VERSION: i64 = 8;
const OPERATOR_SET: i64 = 17;

/// ONNX's code for f32.
const FLOAT: i64 = 1;

/// Layout of a batch between two layers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum BatchLayout {
    /// `[n, channels, height, width]`.
    Image,
    /// `[n, features]`.
    Vector,
    /// `[n, steps, features]`.
    Steps,
}

/// A graph under construction.
struct Graph<'a> {
    message: Message,
    arrays: HashMap<String, Array>,
    shapes: &'a HashMap<String, Vec<usize>>,
    /// Number of values so far, for their names.
    values: usize,
}

/// Encodes the network of `layers` as the bytes of a model.
///
/// # Errors
/// [`Error::Usage`] names the first layer without a counterpart.
pub(crate) fn encode(
    network: &Network,
    layers: &[LayerSpec],
    weights: &ModelWeights<f32>,
) -> Result<Vec<u8>, Error> {
    let tensors = network.layout().tensors().iter().chain(network.buffers().tensors());
    let shapes = tensors.map(|tensor| (tensor.name.clone(), tensor.torch_shape())).collect();
    let arrays = arrays(network, weights).into_iter().collect();
    let mut graph = Graph { message: Message::new(), arrays, shapes: &shapes, values: 0 };
    let (layout, dims) = match network.input() {
        Shape::Image { height, width, channels } => {
            (BatchLayout::Image, vec![channels, height, width])
        }
        Shape::Steps { steps, features } => (BatchLayout::Steps, vec![steps, features]),
        Shape::Features(features) => (BatchLayout::Vector, vec![features]),
    };
    let dims: Vec<_> = dims.into_iter().map(|dim| dim as i64).collect();
    let (inputs, outputs) =
        (noun(network.input()), if network.outputs() == 1 { "values" } else { "logits" });
    let (last, layout) = graph.sequence("layers", layers, inputs.into(), layout)?;
    let last = graph.vector(last, layout);
    graph.node("Identity", &[&last], &[outputs], []);
    let graph = graph
        .message
        .text(2, "evenkeel")
        .message(11, value(inputs, &dims))
        .message(12, value(outputs, &[network.outputs() as i64]));
    let model = Message::new()
        .int(1, IR_VERSION)
        .text(2, "evenkeel")
        .text(3, env!("CARGO_PKG_VERSION"))
        .message(7, graph)
        .message(8, Message::new().text(1, "").int(2, OPERATOR_SET));
    Ok(model.into_bytes())
}

/// Input or output of the graph: `[n, dims]`.
fn value(name: &str, dims: &[i64]) -> Message {
    let batch = Message::new().message(1, Message::new().text(2, "n"));
    let shape = dims.iter().fold(batch, |shape, &dim| shape.message(1, Message::new().int(1, dim)));
    let tensor = Message::new().int(1, FLOAT).message(2, shape);
    Message::new().text(1, name).message(2, Message::new().message(1, tensor))
}

/// A named attribute of a node.
enum Attribute<'a> {
    Int(&'a str, i64),
    Ints(&'a str, Vec<i64>),
    Float(&'a str, f64),
    Texts(&'a str, Vec<&'a str>),
}

impl Attribute<'_> {
    fn message(&self) -> Message {
        match self {
            Self::Int(name, value) => Message::new().text(1, name).int(3, *value).int(20, 2),
            Self::Ints(name, values) => {
                let named = Message::new().text(1, name);
                values.iter().fold(named, |message, &value| message.int(8, value)).int(20, 7)
            }
            Self::Float(name, value) => {
                Message::new().text(1, name).float(2, *value as f32).int(20, 1)
            }
            Self::Texts(name, values) => {
                let named = Message::new().text(1, name);
                values.iter().fold(named, |message, value| message.text(9, value)).int(20, 8)
            }
        }
    }
}

impl Graph<'_> {
    /// Appends a node.
    fn node<const N: usize>(
        &mut self,
        kind: &str,
        inputs: &[&str],
        outputs: &[&str],
        attributes: [Attribute<'_>; N],
    ) {
        let node = inputs.iter().fold(Message::new(), |node, input| node.text(1, input));
        let node = outputs.iter().fold(node, |node, output| node.text(2, output));
        let node = node.text(3, outputs[0]).text(4, kind);
        let node =
            attributes.iter().fold(node, |node, attribute| node.message(5, attribute.message()));
        self.message = std::mem::take(&mut self.message).message(1, node);
    }

    /// Appends a node with one output, and returns the output's name.
    fn op<const N: usize>(
        &mut self,
        kind: &str,
        inputs: &[&str],
        attributes: [Attribute<'_>; N],
    ) -> String {
        self.values += 1;
        let output = format!("{}_{}", kind.to_lowercase(), self.values);
        self.node(kind, inputs, &[&output], attributes);
        output
    }

    /// Adds the tensor `name` to the model, with `shape` or its own, and returns its name. If there
    /// is none, returns an empty name, which stands for an absent input.
    fn tensor(&mut self, name: &str, shape: Option<&[usize]>) -> String {
        let (Some(array), Some(own_shape)) = (self.arrays.get(name), self.shapes.get(name)) else {
            return String::new();
        };
        let dims = shape.unwrap_or(own_shape);
        let tensor = dims.iter().fold(Message::new(), |tensor, &dim| tensor.int(1, dim as i64));
        let tensor = tensor.int(2, FLOAT).text(8, name).blob(9, array.bytes());
        self.message = std::mem::take(&mut self.message).message(5, tensor);
        name.into()
    }

    /// Adds a number to the model, and returns its name.
    fn number(&mut self, value: f64) -> String {
        self.values += 1;
        let name = format!("number_{}", self.values);
        let tensor =
            Message::new().int(2, FLOAT).text(8, &name).blob(9, &(value as f32).to_le_bytes());
        self.message = std::mem::take(&mut self.message).message(5, tensor);
        name
    }

    /// Appends `layers`, whose tensors are named `path.index.name`; returns the output and its
    /// layout.
    fn sequence(
        &mut self,
        path: &str,
        layers: &[LayerSpec],
        x: String,
        layout: BatchLayout,
    ) -> Result<(String, BatchLayout), Error> {
        layers.iter().enumerate().try_fold((x, layout), |(x, layout), (index, layer)| {
            self.layer(&format!("{path}.{index}"), layer, x, layout)
        })
    }

    /// Flattens `x` to `[n, outputs]` in the memory order of elements, in which the channels of a
    /// pixel are adjacent.
    fn vector(&mut self, x: String, layout: BatchLayout) -> String {
        match layout {
            BatchLayout::Vector => x,
            BatchLayout::Steps => self.op("Flatten", &[&x], []),
            BatchLayout::Image => {
                let last = self.transpose(&x, &[0, 2, 3, 1]);
                self.op("Flatten", &[&last], [])
            }
        }
    }

    /// Appends a layer; returns the output and its layout.
    fn layer(
        &mut self,
        path: &str,
        layer: &LayerSpec,
        x: String,
        layout: BatchLayout,
    ) -> Result<(String, BatchLayout), Error> {
        let pair = |[a, b]: [usize; 2]| vec![a as i64, b as i64];
        let pads = |[a, b]: [usize; 2]| [a, b, a, b].map(|side| side as i64).to_vec();
        Ok(match layer {
            LayerSpec::Dense(_) if layout == BatchLayout::Steps => {
                let (weight, bias) = (format!("{path}.weight"), format!("{path}.bias"));
                (self.dense_at_each_step(&x, &weight, &bias), layout)
            }
            LayerSpec::Dense(_) => {
                let x =
                    if layout == BatchLayout::Image { self.op("Flatten", &[&x], []) } else { x };
                let weight = self.tensor(&format!("{path}.weight"), None);
                let bias = self.tensor(&format!("{path}.bias"), None);
                let inputs = [&x[..], &weight, &bias];
                let inputs = if bias.is_empty() { &inputs[..2] } else { &inputs[..] };
                (self.op("Gemm", inputs, [Attribute::Int("transB", 1)]), BatchLayout::Vector)
            }
            LayerSpec::Activation(activation) => (self.activation(*activation, &x), layout),
            LayerSpec::Softmax(_) => {
                // Channels are second in an image, features last elsewhere.
                let axis = if layout == BatchLayout::Image { 1 } else { -1 };
                (self.op("Softmax", &[&x], [Attribute::Int("axis", axis)]), layout)
            }
            LayerSpec::Prelu(_) => {
                let name = format!("{path}.weight");
                let channels =
                    self.shapes.get(&name).and_then(|shape| shape.first()).copied().unwrap_or(1);
                let shape = [channels, 1, 1];
                let slope = self.tensor(&name, (layout == BatchLayout::Image).then_some(&shape));
                (self.op("PRelu", &[&x, &slope], []), layout)
            }
            LayerSpec::Convolution(spec) => {
                let weight = self.tensor(&format!("{path}.weight"), None);
                let bias = self.tensor(&format!("{path}.bias"), None);
                let inputs = [&x[..], &weight, &bias];
                let inputs = if bias.is_empty() { &inputs[..2] } else { &inputs[..] };
                let attributes = [
                    Attribute::Ints("kernel_shape", pair(spec.kernel)),
                    Attribute::Ints("strides", pair(spec.stride)),
                    Attribute::Ints("pads", pads(spec.padding)),
                    Attribute::Int("group", spec.groups as i64),
                ];
                (self.op("Conv", inputs, attributes), BatchLayout::Image)
            }
            LayerSpec::Pooling(Pooling { pool, kernel, stride, padding }) => {
                let window = [
                    Attribute::Ints("kernel_shape", pair(*kernel)),
                    Attribute::Ints("strides", pair(*stride)),
                    Attribute::Ints("pads", pads(*padding)),
                ];
                let [kernel, strides, pads] = window;
                let pooled = match pool {
                    Pool::Max => self.op("MaxPool", &[&x], [kernel, strides, pads]),
                    Pool::Mean => {
                        let padding = Attribute::Int("count_include_pad", 1);
                        self.op("AveragePool", &[&x], [kernel, strides, pads, padding])
                    }
                };
                (pooled, BatchLayout::Image)
            }
            LayerSpec::GlobalPooling(_) if layout == BatchLayout::Steps => {
                let attributes = [Attribute::Ints("axes", vec![1]), Attribute::Int("keepdims", 0)];
                (self.op("ReduceMean", &[&x], attributes), BatchLayout::Vector)
            }
            LayerSpec::GlobalPooling(_) => {
                let mean = self.op("GlobalAveragePool", &[&x], []);
                (self.op("Flatten", &[&mean], []), BatchLayout::Vector)
            }
            LayerSpec::Flatten(_) => (self.op("Flatten", &[&x], []), BatchLayout::Vector),
            LayerSpec::Dropout(_) => (x, layout),
            LayerSpec::BatchNorm(BatchNorm { epsilon, .. }) => {
                (self.batch_norm(path, &x, layout, *epsilon), layout)
            }
            LayerSpec::Residual(Residual { body, shortcut, scale }) => {
                let (branch, branch_layout) =
                    self.sequence(&format!("{path}.body"), body, x.clone(), layout)?;
                let (shortcut, _) =
                    self.sequence(&format!("{path}.shortcut"), shortcut, x, layout)?;
                let scale = match scale {
                    BranchScale::Fixed(1.0) => None,
                    BranchScale::Fixed(scale) => Some(self.number(*scale)),
                    BranchScale::Learned(_) => Some(self.tensor(&format!("{path}.scale"), None)),
                };
                let branch = match scale {
                    Some(scale) => self.op("Mul", &[&branch, &scale], []),
                    None => branch,
                };
                (self.op("Add", &[&shortcut, &branch], []), branch_layout)
            }
            LayerSpec::Places(_) => (self.places(&x), BatchLayout::Steps),
            LayerSpec::Rows(_) => (self.rows(&x), BatchLayout::Steps),
            LayerSpec::Position(_) => {
                let weight = self.tensor(&format!("{path}.weight"), None);
                (self.op("Add", &[&x, &weight], []), layout)
            }
            LayerSpec::GroupNorm(GroupNorm { groups, epsilon }) => {
                (self.group_norm(path, &x, layout, *groups, *epsilon), layout)
            }
            LayerSpec::Standardise(_) => (self.standardise(path, &x, layout), layout),
            LayerSpec::Unstandardise(_) => (self.unstandardise(path, &x, layout), layout),
            LayerSpec::Embedding(Embedding { count, .. }) => {
                (self.embedding(path, &x, layout, *count), BatchLayout::Steps)
            }
            LayerSpec::LayerNorm(LayerNorm { epsilon }) => {
                (self.layer_norm(path, &x, layout, *epsilon), layout)
            }
            LayerSpec::RmsNorm(RmsNorm { epsilon }) => {
                (self.rms_norm(path, &x, layout, *epsilon), layout)
            }
            LayerSpec::Attention(Attention { heads, causal, .. }) => {
                (self.attention(path, &x, *heads, *causal), layout)
            }
            LayerSpec::Transformer(Transformer { heads, causal, .. }) => {
                (self.transformer(path, &x, *heads, *causal), layout)
            }
            LayerSpec::Recurrent(spec) => {
                let layout = if spec.last { BatchLayout::Vector } else { BatchLayout::Steps };
                (self.recurrent(path, &x, spec), layout)
            }
            other => return Err(no_counterpart(path, other)),
        })
    }

    fn activation(&mut self, activation: Activation, x: &str) -> String {
        match activation {
            Activation::Relu => self.op("Relu", &[x], []),
            Activation::CappedRelu { cap } => self.clip(x, 0.0, cap),
            Activation::LeakyRelu { slope } => {
                self.op("LeakyRelu", &[x], [Attribute::Float("alpha", slope)])
            }
            Activation::Elu { alpha } => self.op("Elu", &[x], [Attribute::Float("alpha", alpha)]),
            Activation::Selu => self.op("Selu", &[x], []),
            Activation::Sigmoid => self.op("Sigmoid", &[x], []),
            Activation::HardSigmoid => {
                let attributes =
                    [Attribute::Float("alpha", 1.0 / 6.0), Attribute::Float("beta", 0.5)];
                self.op("HardSigmoid", &[x], attributes)
            }
            Activation::Tanh => self.op("Tanh", &[x], []),
            Activation::HardTanh => self.clip(x, -1.0, 1.0),
            Activation::Softplus => self.op("Softplus", &[x], []),
            Activation::Softsign => self.op("Softsign", &[x], []),
            Activation::Exponential => self.op("Exp", &[x], []),
            Activation::Silu => {
                let gate = self.op("Sigmoid", &[x], []);
                self.op("Mul", &[x, &gate], [])
            }
            Activation::Mish => {
                let soft = self.op("Softplus", &[x], []);
                let gate = self.op("Tanh", &[&soft], []);
                self.op("Mul", &[x, &gate], [])
            }
            // x / 2 (1 + erf(x / sqrt 2))
            Activation::Gelu => {
                let root = self.number(std::f64::consts::FRAC_1_SQRT_2);
                let scaled = self.op("Mul", &[x, &root], []);
                let erf = self.op("Erf", &[&scaled], []);
                self.half_of_one_plus(x, &erf)
            }
            // x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))
            Activation::GeluTanh => {
                let square = self.op("Mul", &[x, x], []);
                let (third, one) = (self.number(0.044_715), self.number(1.0));
                let inner = self.op("Mul", &[&square, &third], []);
                let inner = self.op("Add", &[&inner, &one], []);
                let inner = self.op("Mul", &[x, &inner], []);
                let root = self.number((2.0 / std::f64::consts::PI).sqrt());
                let inner = self.op("Mul", &[&inner, &root], []);
                let tanh = self.op("Tanh", &[&inner], []);
                self.half_of_one_plus(x, &tanh)
            }
        }
    }

    /// Appends `x / 2 (1 + y)`.
    fn half_of_one_plus(&mut self, x: &str, y: &str) -> String {
        let (one, half) = (self.number(1.0), self.number(0.5));
        let sum = self.op("Add", &[y, &one], []);
        let product = self.op("Mul", &[x, &sum], []);
        self.op("Mul", &[&product, &half], [])
    }

    fn clip(&mut self, x: &str, low: f64, high: f64) -> String {
        let (low, high) = (self.number(low), self.number(high));
        self.op("Clip", &[x, &low, &high], [])
    }
}

/// Error for a layer without a counterpart.
fn no_counterpart(path: &str, layer: &LayerSpec) -> Error {
    let name = path.strip_prefix("layers.").unwrap_or(path);
    Error::Usage(format!(
        "export: expected layers with an ONNX counterpart (dense, activations, softmax, \
         convolution, pooling, flatten, dropout, batch_norm, group_norm, layer_norm, rms_norm, \
         standardise, unstandardise, residual, places, rows, embedding, position, attention, \
         transformer, recurrent), got layer {name} ({}); --format npz takes every network",
        layer.kind()
    ))
}
