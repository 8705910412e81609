//! Matrix products of bf16 operands, and of sparse inputs.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use kernels::random::{Stream, fill_normal};
use kernels::{Cpu, Isa};
use nn::{
    Activation, Batch, Cell, Compute, Convolution, Dropout, Float, GlobalPooling, Init, LayerSpec,
    Mode, Network, Precision, Recurrent, Registry, RnnActivation, Shape, Transformer, Workspace,
};

const BF16: Compute = Compute { precision: Precision::Bf16, sparse_inputs: false };

/// Networks of one kind of layer each, with their input shapes.
fn networks() -> Vec<(&'static str, Shape, Vec<LayerSpec>)> {
    let steps = Shape::Steps { steps: 5, features: 12 };
    let image = Shape::Image { height: 9, width: 8, channels: 2 };
    let filters = |count| LayerSpec::Convolution(Convolution::same(count, 3));
    let strided = Convolution { stride: [2, 2], groups: 2, ..Convolution::same(6, 3) };
    let last = |cell| LayerSpec::Recurrent(Recurrent { last: true, ..Recurrent::new(cell, 3) });
    let inner = |cell| LayerSpec::Recurrent(Recurrent::new(cell, 20));
    let relu = LayerSpec::Activation(Activation::Relu);
    let transformer =
        LayerSpec::Transformer(Transformer { heads: 2, hidden: 24, dropout: 0.0, causal: false });
    let (dense, head) = (LayerSpec::dense(16, Init::HeNormal), LayerSpec::dense(3, Init::HeNormal));
    let rnn = Cell::Rnn { activation: RnnActivation::Tanh };
    vec![
        (
            "transformer",
            steps,
            vec![dense, relu.clone(), transformer, GlobalPooling {}.into(), head],
        ),
        ("convolution", image, vec![filters(8), relu.clone(), filters(3), GlobalPooling {}.into()]),
        (
            "grouped convolution",
            image,
            vec![
                filters(8),
                LayerSpec::Convolution(strided),
                relu,
                filters(3),
                GlobalPooling {}.into(),
            ],
        ),
        ("rnn", steps, vec![inner(rnn), last(rnn)]),
        ("lstm", steps, vec![inner(Cell::Lstm), last(Cell::Lstm)]),
        ("gru", steps, vec![inner(Cell::Gru), last(Cell::Gru)]),
    ]
}

/// Loss and gradient.
fn gradient<T: Float>(
    cpu: Cpu<'_>,
    (_, input, layers): &(&str, Shape, Vec<LayerSpec>),
    compute: Compute,
) -> (f64, Vec<T>) {
    let network = Network::with_compute(*input, layers, &Registry::new(), compute).unwrap();
    let mut params = vec![T::ZERO; network.layout().len()];
    network.init(cpu, 3, &mut params).unwrap();
    let mut inputs = vec![T::ZERO; 4 * input.elements()];
    fill_normal(cpu, Stream::new(1, 1), T::ZERO, T::ONE, &mut inputs).unwrap();
    let mut grads = params.clone();
    let mut workspace = Workspace::new(&network, cpu, 4).unwrap();
    let batch = Batch { inputs: &inputs, targets: (&[0, 1, 2, 1]).into() };
    let score =
        network.gradient(cpu, Mode::Probe, &params, batch, &mut workspace, &mut grads).unwrap();
    (score.mean_loss(), grads)
}

#[test]
fn bf16_operands_change_a_gradient_by_their_rounding() {
    for network in networks() {
        let (loss, exact) = gradient::<f32>(Cpu::detect(), &network, Compute::default());
        let (rounded_loss, rounded) = gradient::<f32>(Cpu::detect(), &network, BF16);
        let name = network.0;
        assert_ne!(exact, rounded, "{name}");
        // A bf16 has 8 significant bits; a gradient passes through some ten products.
        assert!((rounded_loss / loss - 1.0).abs() < 10.0 / 256.0, "{name}: {loss} {rounded_loss}");
        let norm = |x: &[f32]| x.iter().map(|x| x * x).sum::<f32>().sqrt();
        let error: Vec<f32> = exact.iter().zip(&rounded).map(|(x, y)| x - y).collect();
        assert!(
            norm(&error) < 10.0 / 256.0 * norm(&exact),
            "{name}: {} of {}",
            norm(&error),
            norm(&exact)
        );
    }
}

#[test]
fn bf16_products_have_the_same_bits_on_every_instruction_set() {
    for network in networks() {
        let run = |isa| {
            let (loss, grads) = gradient::<f32>(Cpu::serial(isa), &network, BF16);
            (loss.to_bits(), grads.iter().map(|x| x.to_bits()).collect::<Vec<_>>())
        };
        let expected = run(Isa::detect());
        for isa in Isa::available() {
            assert!(run(isa) == expected, "{} on {isa}", network.0);
        }
    }
}

#[test]
fn f64_networks_are_not_rounded_to_bf16() {
    for network in networks() {
        let run = |compute| gradient::<f64>(Cpu::detect(), &network, compute);
        assert_eq!(run(Compute::default()), run(BF16), "{}", network.0);
    }
}

#[test]
fn sparse_inputs_change_no_bit() {
    let layers = [
        LayerSpec::Dropout(Dropout { p: 0.2 }),
        LayerSpec::dense(40, Init::HeNormal),
        LayerSpec::Activation(Activation::Relu),
        LayerSpec::dense(3, Init::HeNormal),
    ];
    let run = |isa, sparse_inputs| {
        let cpu = Cpu::serial(isa);
        let compute = Compute { sparse_inputs, ..Compute::default() };
        let network = Network::with_compute(60, &layers, &Registry::new(), compute).unwrap();
        let mut params = vec![0.0_f32; network.layout().len()];
        network.init(cpu, 3, &mut params).unwrap();
        let draw =
            |i: u64| if i % 60 / 7 % 3 == 1 { Stream::new(1, 1).uniform_f32(i) } else { 0.0 };
        let inputs: Vec<f32> = (0..33 * 60).map(draw).collect();
        let labels: Vec<u32> = (0..33).map(|i| i % 3).collect();
        let (mut grads, mut dinputs) = (params.clone(), inputs.clone());
        let mut workspace = Workspace::new(&network, cpu, 33).unwrap();
        let batch = Batch { inputs: &inputs, targets: labels[..].into() };
        let mode = Mode::Train { seed: 1, step: 1 };
        let score = network
            .gradients(cpu, mode, &params, batch, &mut workspace, &mut grads, Some(&mut dinputs))
            .unwrap();
        let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        (score.loss.to_bits(), bits(&grads), bits(&dinputs))
    };
    let expected = run(Isa::detect(), false);
    for isa in Isa::available() {
        assert!(run(isa, true) == expected, "{isa}");
    }
}
