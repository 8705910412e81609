//! Every layer and every loss, compared with PyTorch's in f64 as `tests/pytorch/layers.py` recorded
//! them: outputs, loss, all gradients, and the buffers after a training pass.
//!
//! `cargo test -p tests --test parity -- --nocapture` prints the worst difference of each case.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use kernels::{Cpu, Isa};
use nn::{
    Batch, LayerSpec, Layout, Loss, Mode, Network, Order, Residual, Shape, Targets, Weights,
    Workspace,
};
use serde::Deserialize;
use tests::differences::worst_error;

/// Bound of [`worst_error`]: relative for elements above a thousandth of their tensor's largest.
const BOUND: f64 = 1e-10;

/// The file that the script writes.
#[derive(Deserialize)]
struct Recorded {
    torch: String,
    cases: Vec<Case>,
}

/// A network, a batch, and PyTorch's results. All elements are in PyTorch's order.
#[derive(Deserialize)]
struct Case {
    name: String,
    /// Shape of a row: `[features]`, `[steps, features]` or `[channels, height, width]`.
    shape: Vec<usize>,
    rows: usize,
    train: bool,
    layers: Vec<LayerSpec>,
    loss: Loss,
    inputs: Vec<f64>,
    labels: Option<Vec<u32>>,
    values: Option<Vec<f64>>,
    params: Tensors,
    buffers: Tensors,
    output_shape: Vec<usize>,
    outputs: Vec<f64>,
    mean_loss: f64,
    /// `None` where the inputs are indices.
    dinputs: Option<Vec<f64>>,
    grads: Tensors,
    buffers_after: Tensors,
}

/// Tensors by name: shape and elements.
type Tensors = BTreeMap<String, (Vec<usize>, Vec<f64>)>;

fn recorded() -> Recorded {
    serde_json::from_str(include_str!("../golden/layers.json")).unwrap()
}

fn shape(torch: &[usize]) -> Shape {
    match *torch {
        [features] => Shape::Features(features),
        [steps, features] => Shape::Steps { steps, features },
        [channels, height, width] => Shape::Image { height, width, channels },
        _ => unreachable!("a row has one to three dimensions"),
    }
}

/// Rows of this shape, from PyTorch's order to ours: images are channels-last here.
fn to_ours(shape: Shape, torch: &[f64]) -> Vec<f64> {
    let Shape::Image { channels, .. } = shape else { return torch.to_vec() };
    let row = |row: &[f64]| -> Vec<f64> {
        let positions = row.len() / channels;
        (0..row.len()).map(|i| row[i % channels * positions + i / channels]).collect()
    };
    torch.chunks(shape.elements()).flat_map(row).collect()
}

/// The flat buffer of this layout. Names and shapes of the tensors must be those of the layout.
fn laid_out(layout: &Layout, torch: &Tensors) -> Vec<f64> {
    let names: BTreeSet<&str> = layout.tensors().iter().map(|tensor| &tensor.name[..]).collect();
    assert_eq!(names, torch.keys().map(|name| &name[..]).collect());
    let mut all = vec![f64::NAN; layout.len()];
    for tensor in layout.tensors() {
        let (shape, values) = &torch[&tensor.name];
        // Statistics of an image are a flat tensor here, an image in the script.
        let flat = matches!(tensor.order, Order::Image { .. });
        assert!(flat || *shape == tensor.torch_shape(), "{}: {shape:?}", tensor.name);
        assert_eq!(values.len(), tensor.range.len(), "{}", tensor.name);
        for (i, value) in all[tensor.range.clone()].iter_mut().enumerate() {
            *value = values[tensor.torch_index(i)];
        }
    }
    all
}

/// The worst error of `got` over the tensors of this layout.
fn worst(layout: &Layout, torch: &Tensors, got: &[f64]) -> f64 {
    let expected = laid_out(layout, torch);
    let error = |tensor: &nn::Tensor| {
        worst_error(&expected[tensor.range.clone()], &got[tensor.range.clone()])
    };
    layout.tensors().iter().map(error).fold(0.0, f64::max)
}

/// Results of our network for a case.
#[derive(Debug, PartialEq)]
struct Found {
    outputs: Vec<f64>,
    mean_loss: f64,
    dinputs: Vec<f64>,
    grads: Vec<f64>,
    buffers: Vec<f64>,
}

impl Case {
    fn network(&self) -> Network {
        Network::new(shape(&self.shape), &self.layers).unwrap().with_loss(self.loss)
    }

    fn run(&self, network: &Network, isa: Isa) -> Found {
        let cpu = Cpu::serial(isa);
        let params = laid_out(network.layout(), &self.params);
        let mut buffers = laid_out(network.buffers(), &self.buffers);
        let inputs = to_ours(network.input(), &self.inputs);
        let values = self.values.as_ref().map(|values| to_ours(network.output(), values));
        let targets = match (&self.labels, &values) {
            (Some(labels), None) => Targets::Labels(labels),
            (None, Some(values)) => Targets::Values(values),
            _ => unreachable!("a case has targets of one kind"),
        };
        let batch = Batch { inputs: &inputs, targets };
        let mode = if self.train { Mode::Train { seed: 1, step: 1 } } else { Mode::Eval };
        let mut workspace = Workspace::new(network, cpu, self.rows).unwrap();
        let mut grads = vec![f64::NAN; params.len()];
        let mut dinputs = vec![f64::NAN; inputs.len()];
        let weights = Weights { params: &params, buffers: &mut buffers };
        let score = network
            .gradients(cpu, mode, weights, batch, &mut workspace, &mut grads, Some(&mut dinputs))
            .unwrap();
        let outputs = workspace.outputs(network, self.rows).to_vec();
        if !self.train {
            // Inference needs less memory and gives the same bits.
            let mut workspace = Workspace::inference(network, cpu, self.rows).unwrap();
            let weights = Weights { params: &params, buffers: &mut buffers };
            assert_eq!(
                network.evaluate(cpu, weights, batch, &mut workspace).unwrap().loss,
                score.loss
            );
            assert_eq!(workspace.outputs(network, self.rows), outputs);
        }
        Found { outputs, mean_loss: score.mean_loss(), dinputs, grads, buffers }
    }

    /// The worst errors of outputs, loss, dloss/dinputs, gradients and buffers.
    fn errors(&self, network: &Network, found: &Found) -> [f64; 5] {
        assert_eq!(network.output(), shape(&self.output_shape), "{}", self.name);
        [
            worst_error(&to_ours(network.output(), &self.outputs), &found.outputs),
            worst_error(&[self.mean_loss], &[found.mean_loss]),
            self.dinputs.as_ref().map_or(0.0, |dinputs| {
                worst_error(&to_ours(network.input(), dinputs), &found.dinputs)
            }),
            worst(network.layout(), &self.grads, &found.grads),
            worst(network.buffers(), &self.buffers_after, &found.buffers),
        ]
    }
}

#[test]
fn every_layer_and_every_loss_is_pytorchs() {
    let Recorded { torch, cases } = recorded();
    println!("worst relative differences from PyTorch {torch}, in f64");
    println!(
        "{:38} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "", "outputs", "loss", "dinputs", "grads", "buffers"
    );
    let mut failed = Vec::new();
    for case in &cases {
        let network = case.network();
        let found = case.run(&network, Isa::detect());
        let errors = case.errors(&network, &found);
        println!("{:38} {}", case.name, errors.map(|error| format!("{error:9.1e}")).join(" "));
        if errors.iter().any(|error| *error > BOUND) {
            failed.push(&case.name);
        }
        for isa in Isa::available() {
            assert_eq!(case.run(&network, isa), found, "{}: other bits on {isa}", case.name);
        }
    }
    assert!(failed.is_empty(), "not PyTorch's: {failed:?}");
}

/// A relative change of the weights by 1e-8 exceeds the bound.
#[test]
fn a_small_change_exceeds_the_bound() {
    for mut case in recorded().cases {
        let network = case.network();
        let (_, values) = case.params.values_mut().next().unwrap();
        for value in values {
            *value *= 1.0 + 1e-8;
        }
        let errors = case.errors(&network, &case.run(&network, Isa::detect()));
        let worst = errors.into_iter().fold(0.0, f64::max);
        assert!(worst > BOUND, "{}: {worst:e}", case.name);
    }
}

/// Kinds of layers in configuration files, from the error message for an unknown kind.
fn kinds<T: for<'a> Deserialize<'a> + std::fmt::Debug>() -> BTreeSet<String> {
    let refused = serde_json::from_str::<T>(r#"{"kind": "?"}"#).unwrap_err().to_string();
    refused.split('`').skip(3).step_by(2).map(String::from).collect()
}

/// Adds the kinds of the layers of a case and of its residual blocks.
fn visit(layers: &[LayerSpec], seen: &mut BTreeSet<String>) {
    for layer in layers {
        seen.insert(layer.kind().into());
        if let LayerSpec::Residual(Residual { body, shortcut, .. }) = layer {
            visit(body, seen);
            visit(shortcut, seen);
        }
    }
}

#[test]
fn no_layer_and_no_loss_is_left_out() {
    let mut seen = BTreeSet::from(["custom".to_string()]);
    let mut losses = BTreeSet::new();
    for case in recorded().cases {
        visit(&case.layers, &mut seen);
        let loss = serde_json::to_value(case.loss).unwrap();
        losses.insert(loss["kind"].as_str().unwrap().to_string());
    }
    assert_eq!(seen, kinds::<LayerSpec>());
    assert_eq!(losses, kinds::<Loss>());
}

/// A specification without `deny_unknown_fields` would accept a misspelt key.
#[test]
fn every_layer_refuses_an_unknown_key() {
    for kind in kinds::<LayerSpec>() {
        let layer = serde_json::json!({ "kind": kind, "?": 0 });
        let refused = serde_json::from_value::<LayerSpec>(layer).unwrap_err().to_string();
        assert!(refused.starts_with("unknown field `?`, "), "{kind}: {refused}");
    }
}
