//! Networks: error messages, the layout of parameters, and their initial values.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use kernels::random::Stream;
use kernels::{Cpu, Isa};
use nn::{Activation, Batch, Error, Init, LayerNorm, LayerSpec, Mode, Network, RmsNorm, Workspace};

const RELU: LayerSpec = LayerSpec::Activation(Activation::Relu);

fn dense(units: usize) -> LayerSpec {
    LayerSpec::dense(units, Init::HeNormal)
}

#[test]
fn a_layer_that_does_not_fit_its_input_is_named() {
    let error = |inputs, layers: &[LayerSpec]| Network::new(inputs, layers).unwrap_err();
    assert_eq!(
        error(784, &[dense(5), RELU, dense(0)]).to_string(),
        "layer 2 (dense) needs at least one unit, got 0"
    );
    assert_eq!(
        error(0, &[RELU, dense(5)]).to_string(),
        "layer 0 (relu) needs an input of at least one element per row, got 0 features"
    );
    assert_eq!(error(3, &[]), Error::NoLayers);
    assert_eq!(error(3, &[RELU]), Error::NoLayers);
    assert_eq!(error(3, &[dense(1), dense(usize::MAX)]), Error::TooLarge { path: "1".into() });
    assert_eq!(error(usize::MAX, &[dense(2)]), Error::TooLarge { path: "0".into() });
}

#[test]
fn tensors_have_pytorchs_names_and_leave_no_gaps() {
    let network = Network::new(4, &[RELU, dense(3), RELU, dense(2)]).unwrap();
    let tensors: Vec<_> = network
        .layout()
        .tensors()
        .iter()
        .map(|tensor| (tensor.name.as_str(), tensor.range.clone(), &tensor.shape[..]))
        .collect();
    assert_eq!(
        tensors,
        [
            ("layers.1.weight", 0..12, &[4, 3][..]),
            ("layers.1.bias", 12..15, &[3]),
            ("layers.3.weight", 15..21, &[3, 2]),
            ("layers.3.bias", 21..23, &[2]),
        ]
    );
    assert_eq!((network.inputs(), network.outputs(), network.layout().len()), (4, 2, 23));
}

#[test]
fn errors_of_buffers_batches_and_labels_leave_the_gradient_unchanged() {
    let cpu = Cpu::detect();
    let network = Network::new(3, &[dense(4), RELU, dense(2)]).unwrap();
    let params = vec![0.1_f32; network.layout().len()];
    let mut workspace = Workspace::new(&network, cpu, 2).unwrap();
    let mut call = |params: &[f32], input: &[f32], labels: &[u32], grads: usize| {
        let mut grads = vec![7.0; grads];
        let batch = Batch { inputs: input, targets: labels.into() };
        let error = network
            .gradient(cpu, Mode::Eval, params, batch, &mut workspace, &mut grads)
            .unwrap_err();
        assert!(grads.iter().all(|g| *g == 7.0), "{error}");
        error
    };
    let n = params.len();
    let length = |operand, expected, got| Error::Length { operand, expected, got };
    assert_eq!(call(&params[1..], &[0.0; 6], &[0, 1], n), length("params", n, n - 1));
    assert_eq!(call(&params, &[0.0; 5], &[0], n), length("inputs", 3, 5));
    assert_eq!(call(&params, &[0.0; 6], &[0], n), length("labels", 2, 1));
    assert_eq!(call(&params, &[0.0; 6], &[0, 1], n + 1), length("grads", n, n + 1));
    assert_eq!(call(&params, &[0.0; 9], &[0, 1, 0], n), Error::Batch { capacity: 2, got: 3 });
    assert_eq!(call(&params, &[], &[], n), Error::Batch { capacity: 2, got: 0 });
    assert_eq!(
        call(&params, &[0.0; 6], &[0, 2], n).to_string(),
        "row 1 has label 2, expected one below 2"
    );
}

/// A batch gives the same bits in a workspace of its size and in a larger one.
#[test]
fn outputs_do_not_depend_on_the_workspace_capacity() {
    let cpu = Cpu::detect();
    let network = Network::new(5, &[dense(7), RELU, dense(3)]).unwrap();
    let mut params = vec![0.0_f64; network.layout().len()];
    network.init(cpu, 3, &mut params).unwrap();
    let input: Vec<f64> = (0..10).map(|i| Stream::new(1, 1).uniform_f64(i)).collect();
    let gradient = |capacity| {
        let mut grads = vec![0.0; params.len()];
        let mut workspace = Workspace::new(&network, cpu, capacity).unwrap();
        let batch = Batch { inputs: &input, targets: (&[2, 0]).into() };
        let score =
            network.gradient(cpu, Mode::Eval, &params, batch, &mut workspace, &mut grads).unwrap();
        (score, grads)
    };
    assert_eq!(gradient(2), gradient(9));
}

/// Even if both networks save the same number of elements.
#[test]
fn a_workspace_of_another_network_is_an_error() {
    let cpu = Cpu::detect();
    let norms = [
        LayerSpec::LayerNorm(LayerNorm { epsilon: 1e-5 }),
        LayerSpec::RmsNorm(RmsNorm { epsilon: 1e-5 }),
    ];
    let layered = |norm: &LayerSpec| Network::new(6, &[norm.clone(), dense(3)]).unwrap();
    let widths = |first, second| Network::new(6, &[dense(first), dense(second), dense(3)]).unwrap();
    for (this, other) in
        [(layered(&norms[0]), layered(&norms[1])), (widths(2, 400), widths(201, 201))]
    {
        let mut workspace = Workspace::new(&other, cpu, 2).unwrap();
        let params = vec![0.1_f32; this.layout().len()];
        let mut grads = params.clone();
        let batch = Batch { inputs: &[0.5; 12], targets: (&[0, 1]).into() };
        let result = this.gradient(cpu, Mode::Eval, &params, batch, &mut workspace, &mut grads);
        assert_eq!(result, Err(Error::Workspace));
    }
}

#[test]
fn training_in_an_inference_workspace_is_an_error() {
    let cpu = Cpu::detect();
    let network = Network::new(3, &[dense(2)]).unwrap();
    let mut workspace = Workspace::inference(&network, cpu, 1).unwrap();
    let (params, mut grads) = (vec![0.1_f32; 8], vec![7.0_f32; 8]);
    let batch = Batch { inputs: &[0.5; 3], targets: (&[1]).into() };
    let result = network.gradient(cpu, Mode::Eval, &params, batch, &mut workspace, &mut grads);
    assert_eq!(result, Err(Error::InferenceWorkspace));
    assert_eq!(grads, [7.0; 8]);
    assert!(Error::InferenceWorkspace.to_string().contains("Workspace::new"));
}

#[test]
fn initial_weights_have_the_variance_of_their_paper_and_biases_are_zero() {
    let (inputs, units) = (200, 300);
    for (init, variance, uniform) in [
        (Init::HeNormal, 2.0 / 200.0, false),
        (Init::HeUniform, 2.0 / 200.0, true),
        (Init::GlorotNormal, 2.0 / 500.0, false),
        (Init::GlorotUniform, 2.0 / 500.0, true),
        (Init::Zeros, 0.0, false),
    ] {
        let network = Network::new(inputs, &[LayerSpec::dense(units, init)]).unwrap();
        let mut params = vec![f64::NAN; network.layout().len()];
        network.init(Cpu::detect(), 7, &mut params).unwrap();
        let (weights, biases) = params.split_at(inputs * units);
        assert!(biases.iter().all(|b| *b == 0.0));
        let n = weights.len() as f64;
        let mean = weights.iter().sum::<f64>() / n;
        let square = weights.iter().map(|w| w * w).sum::<f64>() / n;
        // Five standard errors: of the mean, sqrt(variance / n); of the mean square, at most
        // variance sqrt(2 / n).
        assert!(mean.abs() <= 5.0 * (variance / n).sqrt(), "{init:?}: mean {mean}");
        assert!(
            (square - variance).abs() <= 5.0 * variance * (2.0 / n).sqrt(),
            "{init:?}: variance {square}"
        );
        if uniform {
            let limit = (3.0 * variance).sqrt();
            assert!(weights.iter().all(|w| w.abs() <= limit));
            assert!(weights.iter().any(|w| w.abs() > 0.99 * limit));
        }
    }
}

#[test]
fn initial_parameters_depend_on_the_seed_but_not_on_the_instruction_set() {
    let network = Network::new(30, &[dense(20), RELU, dense(10)]).unwrap();
    let drawn = |isa, seed| {
        let mut params = vec![0.0_f32; network.layout().len()];
        network.init(Cpu::serial(isa), seed, &mut params).unwrap();
        params
    };
    let first = drawn(Isa::detect(), 1);
    for isa in Isa::available() {
        assert_eq!(drawn(isa, 1), first, "{isa}");
    }
    assert_ne!(drawn(Isa::detect(), 2), first);
    // Each layer draws from its own stream.
    assert_ne!(first[..10], first[30 * 20 + 20..][..10]);
}

#[test]
fn a_workspace_holds_the_outputs_of_every_layer_after_a_gradient() {
    let layers = [dense(5), RELU, LayerNorm::default().into(), dense(3)];
    let network = Network::new(4, &layers).expect("layers that fit");
    let cpu = Cpu::detect();
    let mut params = vec![0.0_f32; network.layout().len()];
    network.init(cpu, 1, &mut params).expect("a layout");
    let inputs: Vec<f32> = (0..8).map(|i| i as f32 / 4.0 - 1.0).collect();
    let mut workspace = Workspace::new(&network, cpu, 3).expect("memory");
    let mut grads = vec![0.0; params.len()];
    let batch = Batch { inputs: &inputs, targets: (&[0, 2]).into() };
    let mode = Mode::Train { seed: 0, step: 0 };
    network
        .gradient(cpu, mode, &params, batch, &mut workspace, &mut grads)
        .expect("a batch that fits");
    let outputs: Vec<_> = workspace.layer_outputs(&network, 2).collect();
    // The ReLU is fused into the dense layer before it.
    assert_eq!(outputs.iter().map(|(index, ..)| *index).collect::<Vec<_>>(), [1, 2, 3]);
    for (index, shape, values) in outputs {
        let prefix = Network::new(4, &layers[..=index]).expect("layers that fit");
        assert_eq!(shape, prefix.output());
        let mut workspace = Workspace::inference(&prefix, cpu, 2).expect("memory");
        let params = &params[..prefix.layout().len()];
        assert_eq!(prefix.forward(cpu, params, &inputs, &mut workspace).expect("fits"), values);
    }
    let inference = Workspace::<f32>::inference(&network, cpu, 3).expect("memory");
    assert_eq!(inference.layer_outputs(&network, 2).count(), 0);
}
