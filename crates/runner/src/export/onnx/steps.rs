//! Layers over the steps of a sequence, `[n, steps, features]`, and those that turn an image into
//! one.
//!
//! The order of gates differs:
//!
//! | cell | PyTorch | ONNX |
//! |---|---|---|
//! | LSTM | input, forget, cell, output | input, output, forget, cell |
//! | GRU | reset, update, new | update, reset, new |

use nn::{Activation, Cell, Recurrent, RnnActivation};

use crate::export::onnx::{Attribute, BatchLayout, FLOAT, Graph};
use crate::run::protobuf::Message;

/// ONNX's codes for 64-bit integers and for booleans.
const INT: i64 = 7;
const BOOL: i64 = 9;

/// Bytes of an f32.
const WIDTH: usize = 4;

impl Graph<'_> {
    /// Appends the layer `places`: the pixels of an image as steps.
    pub(super) fn places(&mut self, x: &str) -> String {
        let flat = self.reshape(x, &[0, 0, -1]);
        self.transpose(&flat, &[0, 2, 1])
    }

    /// Appends the layer `rows`: the rows of an image as steps, with the channels of a pixel
    /// adjacent.
    pub(super) fn rows(&mut self, x: &str) -> String {
        let last = self.transpose(x, &[0, 2, 3, 1]);
        self.reshape(&last, &[0, 0, -1])
    }

    /// Appends `x W^T + b` at each step, with the tensors of these names.
    pub(super) fn dense_at_each_step(&mut self, x: &str, weight: &str, bias: &str) -> String {
        let (weight, bias) = (self.tensor(weight, None), self.tensor(bias, None));
        let weight = self.transpose(&weight, &[1, 0]);
        let product = self.op("MatMul", &[x, &weight], []);
        if bias.is_empty() { product } else { self.op("Add", &[&product, &bias], []) }
    }

    /// Appends an embedding: a vector for each element that is an index, NaN for others.
    pub(super) fn embedding(
        &mut self,
        path: &str,
        x: &str,
        layout: BatchLayout,
        count: usize,
    ) -> String {
        // In memory order, the channels of a pixel are adjacent.
        let x =
            if layout == BatchLayout::Image { self.transpose(x, &[0, 2, 3, 1]) } else { x.into() };
        let x = self.op("Flatten", &[&x], []);
        let clipped = self.clip(&x, 0.0, count as f64 - 1.0);
        let floor = self.op("Floor", &[&clipped], []);
        let is_index = self.op("Equal", &[&floor, &x], []);
        // Runtimes differ in the integer that they convert NaN to.
        let first = self.number(0.0);
        let index = self.op("Where", &[&is_index, &floor, &first], []);
        let index = self.op("Cast", &[&index], [Attribute::Int("to", INT)]);
        let weight = self.tensor(&format!("{path}.weight"), None);
        let vectors = self.op("Gather", &[&weight, &index], [Attribute::Int("axis", 0)]);
        let (features, nan) = (self.integers(&[1], &[2]), self.number(f64::NAN));
        let is_index = self.op("Unsqueeze", &[&is_index, &features], []);
        self.op("Where", &[&is_index, &vectors, &nan], [])
    }

    /// Appends multi-head self-attention.
    pub(super) fn attention(&mut self, path: &str, x: &str, heads: usize, causal: bool) -> String {
        let name = |name: &str| format!("{path}.{name}");
        let features =
            self.shapes.get(&name("out_proj.bias")).and_then(|shape| shape.first()).copied();
        let width = features.unwrap_or_default() / heads.max(1);
        let qkv = self.dense_at_each_step(x, &name("in_proj_weight"), &name("in_proj_bias"));
        let qkv = self.reshape(&qkv, &[0, 0, 3, heads as i64, width as i64]);
        let qkv = self.transpose(&qkv, &[2, 0, 3, 1, 4]);
        let [q, k, v] = [0, 1, 2].map(|which| {
            let which = self.integers(&[], &[which]);
            self.op("Gather", &[&qkv, &which], [Attribute::Int("axis", 0)])
        });
        let (k, scale) =
            (self.transpose(&k, &[0, 1, 3, 2]), self.number(1.0 / (width as f64).sqrt()));
        let scores = self.op("MatMul", &[&q, &k], []);
        let mut scores = self.op("Mul", &[&scores, &scale], []);
        if causal {
            scores = self.causal_mask(&scores);
        }
        let weights = self.op("Softmax", &[&scores], [Attribute::Int("axis", -1)]);
        let mixed = self.op("MatMul", &[&weights, &v], []);
        let mixed = self.transpose(&mixed, &[0, 2, 1, 3]);
        let mixed = self.reshape(&mixed, &[0, 0, -1]);
        self.dense_at_each_step(&mixed, &name("out_proj.weight"), &name("out_proj.bias"))
    }

    /// Appends the causal mask: scores of later steps become minus infinity.
    fn causal_mask(&mut self, scores: &str) -> String {
        let shape = self.op("Shape", &[scores], []);
        let (zeros, one) = (self.op("ConstantOfShape", &[&shape], []), self.number(1.0));
        let ones = self.op("Add", &[&zeros, &one], []);
        let lower = self.op("Trilu", &[&ones], [Attribute::Int("upper", 0)]);
        let lower = self.op("Cast", &[&lower], [Attribute::Int("to", BOOL)]);
        let masked = self.number(f64::NEG_INFINITY);
        self.op("Where", &[&lower, scores, &masked], [])
    }

    /// Appends a pre-norm transformer block.
    pub(super) fn transformer(
        &mut self,
        path: &str,
        x: &str,
        heads: usize,
        causal: bool,
    ) -> String {
        let norm = self.layer_norm(&format!("{path}.norm1"), x, BatchLayout::Steps, 1e-5);
        let branch = self.attention(&format!("{path}.self_attn"), &norm, heads, causal);
        let x = self.op("Add", &[x, &branch], []);
        let norm = self.layer_norm(&format!("{path}.norm2"), &x, BatchLayout::Steps, 1e-5);
        let name = |name: &str| format!("{path}.{name}");
        let hidden = self.dense_at_each_step(&norm, &name("linear1.weight"), &name("linear1.bias"));
        let hidden = self.activation(Activation::Gelu, &hidden);
        let branch =
            self.dense_at_each_step(&hidden, &name("linear2.weight"), &name("linear2.bias"));
        self.op("Add", &[&x, &branch], [])
    }

    /// Appends a recurrent layer, whose output are all steps or the last one.
    pub(super) fn recurrent(&mut self, path: &str, x: &str, spec: &Recurrent) -> String {
        let (kind, order): (_, &[usize]) = match spec.cell {
            Cell::Rnn { .. } => ("RNN", &[0]),
            Cell::Lstm => ("LSTM", &[0, 3, 1, 2]),
            Cell::Gru => ("GRU", &[1, 0, 2]),
        };
        let first = self.transpose(x, &[1, 0, 2]);
        let weight = self.gates(path, &["weight_ih_l0"], order);
        let recurrent = self.gates(path, &["weight_hh_l0"], order);
        let bias = self.gates(path, &["bias_ih_l0", "bias_hh_l0"], order);
        let inputs = [&first[..], &weight, &recurrent, &bias];
        let size = Attribute::Int("hidden_size", spec.units as i64);
        self.values += 1;
        let [all, last] =
            ["all", "last"].map(|name| format!("{}_{}_{name}", kind.to_lowercase(), self.values));
        let outputs = [&all[..], &last];
        match spec.cell {
            Cell::Rnn { activation } => {
                let name = match activation {
                    RnnActivation::Relu => "Relu",
                    RnnActivation::Tanh => "Tanh",
                };
                self.node(
                    kind,
                    &inputs,
                    &outputs,
                    [size, Attribute::Texts("activations", vec![name])],
                );
            }
            Cell::Lstm => self.node(kind, &inputs, &outputs, [size]),
            // PyTorch applies the reset gate to the product, not to the state.
            Cell::Gru => {
                self.node(
                    kind,
                    &inputs,
                    &outputs,
                    [size, Attribute::Int("linear_before_reset", 1)],
                );
            }
        }
        // ONNX has a dimension for directions; there is one.
        if spec.last {
            let direction = self.integers(&[1], &[0]);
            return self.op("Squeeze", &[&last, &direction], []);
        }
        let direction = self.integers(&[1], &[1]);
        let all = self.op("Squeeze", &[&all, &direction], []);
        self.transpose(&all, &[1, 0, 2])
    }

    /// Adds the concatenation of the tensors `names`, each with its gates in this order, for one
    /// direction.
    fn gates(&mut self, path: &str, names: &[&str], order: &[usize]) -> String {
        let (mut bytes, mut tail) = (Vec::new(), Vec::new());
        for name in names.iter().map(|name| format!("{path}.{name}")) {
            let (Some(array), Some(shape)) = (self.arrays.get(&name), self.shapes.get(&name))
            else {
                continue;
            };
            let gate = array.bytes().len() / order.len();
            bytes.extend(order.iter().flat_map(|&i| &array.bytes()[i * gate..][..gate]));
            tail = shape[1..].to_vec();
        }
        let rows = bytes.len() / WIDTH / tail.iter().product::<usize>().max(1);
        let dims = [vec![1, rows], tail].concat();
        self.constant(&dims, FLOAT, &bytes)
    }

    /// Appends a reshape.
    pub(super) fn reshape(&mut self, x: &str, shape: &[i64]) -> String {
        let shape = self.integers(&[shape.len()], shape);
        self.op("Reshape", &[x, &shape], [])
    }

    /// Appends a transpose.
    pub(super) fn transpose(&mut self, x: &str, order: &[i64]) -> String {
        self.op("Transpose", &[x], [Attribute::Ints("perm", order.to_vec())])
    }

    /// Adds integers to the model, and returns their name.
    fn integers(&mut self, dims: &[usize], values: &[i64]) -> String {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(dims, INT, &bytes)
    }

    /// Adds an array to the model, and returns its name.
    pub(super) fn constant(&mut self, dims: &[usize], kind: i64, bytes: &[u8]) -> String {
        self.values += 1;
        let name = format!("constant_{}", self.values);
        let tensor = dims.iter().fold(Message::new(), |tensor, &dim| tensor.int(1, dim as i64));
        let tensor = tensor.int(2, kind).text(8, &name).blob(9, bytes);
        self.message = std::mem::take(&mut self.message).message(5, tensor);
        name
    }
}
