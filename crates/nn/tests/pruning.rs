//! Pruning during training, and compaction of pruned networks.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use kernels::Cpu;
use kernels::random::{Stream, fill_normal};
use nn::pruning::{Pruner, Pruning, Scope, Structure, compact, sparsity};
use nn::{
    Activation, BatchNorm, Convolution, Dropout, Flatten, Init, LayerNorm, LayerSpec, Layout,
    Network, Pool, Pooling, Progress, Shape, Weights, Workspace,
};

const RELU: LayerSpec = LayerSpec::Activation(Activation::Relu);
const IMAGE: Shape = Shape::Image { height: 8, width: 8, channels: 1 };

fn normal(stream: u64, len: usize) -> Vec<f64> {
    let mut values = vec![0.0; len];
    fill_normal(Cpu::detect(), Stream::new(7, stream), 0.0, 1.0, &mut values).unwrap();
    values
}

fn layout() -> Layout {
    let layers = [LayerSpec::dense(20, Init::HeNormal), RELU, LayerSpec::dense(5, Init::HeNormal)];
    Network::new(10, &layers).unwrap().layout().clone()
}

/// Parameters after 100 steps that change every weight.
fn pruned(rule: Pruning) -> Vec<f64> {
    let layout = layout();
    let (mut pruner, mut params) = (Pruner::new(&layout, rule).unwrap(), normal(0, layout.len()));
    for step in 0..100 {
        let progress = Progress { step, steps: 100, steps_per_epoch: 10 };
        pruner.record_zeros(progress, &params).unwrap();
        params.iter_mut().zip(normal(step + 1, layout.len())).for_each(|(p, d)| *p += 0.01 * d);
        pruner.prune(progress, &mut params).unwrap();
    }
    params
}

#[test]
fn the_smallest_weights_are_zero_and_stay_zero() {
    let rule = Pruning { sparsity: 0.8, every: 7, ..Pruning::default() };
    let params = pruned(rule);
    let zeros = |params: &[f64]| params.iter().filter(|p| **p == 0.0).count();
    assert_eq!((zeros(&params[..200]), zeros(&params[220..320])), (160, 80));
    assert_eq!((zeros(&params[200..220]), zeros(&params[320..])), (0, 0));
    assert!((sparsity(&layout(), &params) - 0.8).abs() < 1e-12);
    // The remaining weights were larger than nearly all pruned ones: the random walk is short.
    let start = normal(0, 325);
    let extreme = |remaining: bool| {
        let sizes = (0..200).filter(|&i| (params[i] != 0.0) == remaining).map(|i| start[i].abs());
        sizes.fold(
            if remaining { f64::INFINITY } else { 0.0 },
            if remaining { f64::min } else { f64::max },
        )
    };
    assert!(extreme(true) + 0.5 > extreme(false), "{} {}", extreme(true), extreme(false));

    let all = pruned(Pruning { scope: Scope::Network, ..rule });
    assert_eq!(zeros(&all[..200]) + zeros(&all[220..320]), 240);
}

#[test]
fn units_are_pruned_with_their_biases() {
    let params = pruned(Pruning {
        sparsity: 0.5,
        structure: Structure::Units,
        every: 7,
        ..Pruning::default()
    });
    let dead = |unit: usize| (0..10).all(|row| params[row * 20 + unit] == 0.0);
    assert_eq!((0..20).filter(|&unit| dead(unit)).count(), 10);
    for unit in 0..20 {
        assert_eq!(params[200 + unit] == 0.0, dead(unit));
    }
    // The network's outputs are never pruned.
    assert!(params[220..].iter().all(|p| *p != 0.0));
}

#[test]
fn sparsity_grows_as_in_the_paper() {
    let rule = Pruning { sparsity: 0.9, begin: 0.2, end: 0.6, every: 10, ..Pruning::default() };
    let at = |step| rule.sparsity_at(Progress { step, steps: 101, steps_per_epoch: 10 });
    assert_eq!([0, 10, 19, 25, 59, 61, 70, 100].map(at), [None; 8]);
    for (step, expected) in [(20, 0.0), (30, 0.9 * (1.0 - 0.421_875)), (40, 0.9 * 0.875), (60, 0.9)]
    {
        assert!((at(step).unwrap() - expected).abs() < 1e-12, "{step}");
    }
    // An end between two prunings is not skipped.
    let odd = Pruning { every: 37, ..rule };
    assert_eq!(odd.sparsity_at(Progress { step: 60, steps: 101, steps_per_epoch: 10 }), Some(0.9));
    for wrong in [
        Pruning { sparsity: 1.0, ..rule },
        Pruning { begin: 0.7, ..rule },
        Pruning { every: 0, ..rule },
        Pruning { end: f64::NAN, ..rule },
    ] {
        assert!(wrong.check().is_err(), "{wrong:?}");
    }
}

#[test]
fn a_compacted_network_is_smaller_with_the_same_outputs() {
    let cpu = Cpu::detect();
    let filters = |count| LayerSpec::Convolution(Convolution::same(count, 3));
    let norm = LayerSpec::BatchNorm(BatchNorm { epsilon: 1e-5, momentum: 0.1 });
    let pool = LayerSpec::Pooling(Pooling {
        pool: Pool::Max,
        kernel: [2, 2],
        stride: [2, 2],
        padding: [0, 0],
    });
    let dense = |units| LayerSpec::dense(units, Init::HeNormal);
    let convolutional = [
        filters(8),
        norm,
        RELU,
        filters(6),
        RELU,
        pool,
        Flatten {}.into(),
        dense(12),
        RELU,
        LayerSpec::Dropout(Dropout { p: 0.5 }),
        dense(4),
    ];
    let plain = [filters(6), RELU, dense(10), RELU, dense(3)];
    for layers in [&convolutional[..], &plain[..]] {
        let network = Network::new(IMAGE, layers).unwrap();
        let mut params = normal(1, network.layout().len());
        let mut buffers: Vec<f64> =
            normal(2, network.buffers().len()).iter().map(|x| x.abs() + 0.5).collect();
        let rule = Pruning {
            sparsity: 0.5,
            structure: Structure::Units,
            begin: 0.0,
            end: 0.0,
            ..Pruning::default()
        };
        let progress = Progress { step: 0, steps: 1, steps_per_epoch: 1 };
        Pruner::new(network.layout(), rule).unwrap().prune(progress, &mut params).unwrap();

        let inputs = normal(3, 5 * 64);
        let mut workspace = Workspace::inference(&network, cpu, 5).unwrap();
        let weights = Weights { params: &params, buffers: &mut buffers };
        let expected = network.forward(cpu, weights, &inputs, &mut workspace).unwrap().to_vec();

        let mut small = compact(cpu, IMAGE, layers, &params, &buffers).unwrap();
        let network = Network::new(IMAGE, &small.layers).unwrap();
        assert!(
            small.params.len() * 2 < params.len(),
            "{} of {}",
            small.params.len(),
            params.len()
        );
        let mut workspace = Workspace::inference(&network, cpu, 5).unwrap();
        let weights = Weights { params: &small.params, buffers: &mut small.buffers };
        let got = network.forward(cpu, weights, &inputs, &mut workspace).unwrap();
        for (got, expected) in got.iter().zip(&expected) {
            assert!(
                (got - expected).abs() < 1e-10 * (1.0 + expected.abs()),
                "{got}, not {expected}"
            );
        }
    }
}

#[test]
fn a_layer_that_couples_units_is_named() {
    let dense = |units| LayerSpec::dense(units, Init::HeNormal);
    let sigmoid = LayerSpec::Activation(Activation::Sigmoid);
    for (layers, kind) in [
        ([dense(4), sigmoid, dense(2)], "layer 1 (sigmoid)"),
        (
            [dense(4), LayerSpec::LayerNorm(LayerNorm { epsilon: 1e-5 }), dense(2)],
            "layer 1 (layer_norm)",
        ),
    ] {
        let network = Network::new(3, &layers).unwrap();
        let mut params = normal(1, network.layout().len());
        // Weights and bias of the first unit.
        for index in [0, 4, 8, 12] {
            params[index] = 0.0;
        }
        let error =
            compact(Cpu::detect(), 3.into(), &layers, &params, &[]).unwrap_err().to_string();
        assert!(error.contains(kind), "{error}");
    }
}
