//! Layers of `nn`, forward and backward: gradients compared with finite differences, alone and
//! nested, in every mode.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use kernels::random::Stream;
use kernels::{Cpu, Isa};
use nn::{
    Activation, Attention, Batch, BatchNorm, BranchScale, Cell, Convolution, Dense, Dropout,
    Embedding, Flatten, GlobalPooling, GroupNorm, Init, LayerNorm, LayerSpec, Loss, Mode, Network,
    Places, Pool, Pooling, Position, Prelu, Recurrent, Residual, RmsNorm, RnnActivation, Rows,
    Shape, Softmax, Standardise, Targets, Transformer, Weights, Workspace, gradcheck,
};
use runner::machine::thread_pool::ThreadPool;

const TRAIN: Mode = Mode::Train { seed: 3, step: 1 };
const IMAGE: Shape = Shape::Image { height: 5, width: 6, channels: 2 };
const STEPS: Shape = Shape::Steps { steps: 4, features: 6 };

fn uniform(stream: u64, len: usize) -> Vec<f64> {
    (0..len as u64).map(|i| 2.0 * Stream::new(7, stream).uniform_f64(i) - 1.0).collect()
}

fn dense(units: usize) -> LayerSpec {
    LayerSpec::dense(units, Init::LecunNormal)
}

/// Dense layer without a bias, for use before a batch norm, which cancels any bias: the gradient
/// would be 0, and the differences rounding errors.
fn bare(units: usize) -> LayerSpec {
    let (init, bias_init) = (Init::LecunNormal, Init::Zeros);
    LayerSpec::Dense(Dense { units, init, bias: false, bias_init })
}

fn act(activation: Activation) -> LayerSpec {
    LayerSpec::Activation(activation)
}

/// Checks the gradients of these layers, in these modes, with labels as targets.
fn check(input: impl Into<Shape>, layers: &[LayerSpec], modes: &[Mode]) {
    check_rows(3, input, layers, modes);
}

/// Does so with a batch of `rows`.
fn check_rows(rows: u64, input: impl Into<Shape>, layers: &[LayerSpec], modes: &[Mode]) {
    let network = Network::new(input, layers).unwrap();
    let classes = network.outputs() as u32;
    let labels: Vec<u32> = (0..rows).map(|i| Stream::new(7, 9).below(i, classes)).collect();
    check_against(&network, rows as usize, Targets::Labels(&labels), modes);
}

fn check_against(network: &Network, rows: usize, targets: Targets<'_, f64>, modes: &[Mode]) {
    let params = uniform(1, network.layout().len());
    let mut buffers = vec![0.0; network.buffers().len()];
    network.init_buffers(Cpu::detect(), &mut buffers).unwrap();
    for buffer in &mut buffers {
        *buffer += 0.25;
    }
    let inputs = uniform(2, rows * network.inputs());
    for &mode in modes {
        for isa in [Isa::detect(), Isa::available().next().unwrap()] {
            let batch = Batch { inputs: &inputs, targets };
            let weights = Weights { params: &params, buffers: &mut buffers };
            let checks = gradcheck(Cpu::serial(isa), network, mode, weights, batch).unwrap();
            assert_eq!(checks.len(), network.layout().tensors().len() + 1);
            let (mut elements, mut kinks) = (0, 0);
            for check in checks {
                assert!(check.max_rel_error < 1e-7, "{mode:?} on {isa}: {check:?} of {network:?}");
                elements += check.elements;
                kinks += check.kinks;
            }
            assert!(
                kinks * 20 <= elements,
                "{mode:?}: {kinks} kinks, {elements} elements of {network:?}"
            );
        }
    }
}

#[test]
fn dense_layers_take_every_activation_in() {
    for activation in [
        Activation::Relu,
        Activation::CappedRelu { cap: 0.5 },
        Activation::LeakyRelu { slope: 0.1 },
        Activation::Elu { alpha: 0.7 },
        Activation::Selu,
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::Silu,
        Activation::Mish,
        Activation::Sigmoid,
        Activation::HardSigmoid,
        Activation::Tanh,
        Activation::HardTanh,
        Activation::Softplus,
        Activation::Softsign,
        Activation::Exponential,
    ] {
        check(5, &[dense(4), act(activation), dense(3)], &[Mode::Eval]);
        check(5, &[act(activation), dense(3), act(activation)], &[Mode::Eval]);
    }
    check(5, &[LayerSpec::Prelu(Prelu { start: 0.2 }), dense(3)], &[Mode::Eval]);
    check(5, &[bare(4), act(Activation::Tanh), dense(3)], &[Mode::Eval]);
    check(STEPS, &[dense(5), act(Activation::Silu), Flatten {}.into(), dense(3)], &[Mode::Eval]);
    check(IMAGE, &[dense(5), act(Activation::Tanh), dense(3)], &[Mode::Eval]);
}

#[test]
fn softmax_has_the_right_gradient_over_the_features_of_each_position() {
    let softmax = || LayerSpec::from(Softmax {});
    check(5, &[dense(4), softmax(), dense(3)], &[Mode::Eval, TRAIN]);
    check(5, &[softmax(), dense(3), softmax()], &[Mode::Eval]);
    check(STEPS, &[dense(5), softmax(), Flatten {}.into(), dense(3)], &[Mode::Eval]);
    check(IMAGE, &[softmax(), Flatten {}.into(), dense(3)], &[Mode::Eval]);
    check(IMAGE, &[Flatten {}.into(), softmax(), dense(3)], &[Mode::Eval]);
}

#[test]
fn convolutions_and_pooling_have_the_right_gradient() {
    let square = Convolution::same(4, 3);
    let head = [Flatten {}.into(), dense(3)];
    for convolution in [
        square,
        Convolution { stride: [2, 1], padding: [0, 1], ..square },
        Convolution { kernel: [2, 3], groups: 2, bias: false, ..square },
        Convolution { filters: 6, groups: 2, ..square },
        Convolution { filters: 3, kernel: [1, 1], padding: [0, 0], ..square },
    ] {
        for activation in [Activation::Relu, Activation::Tanh, Activation::Gelu] {
            let layers =
                [LayerSpec::Convolution(convolution), act(activation), Flatten {}.into(), dense(3)];
            check(IMAGE, &layers, &[Mode::Eval]);
        }
    }
    for pool in [Pool::Max, Pool::Mean] {
        for (kernel, stride, padding) in [([2, 2], [2, 2], [0, 0]), ([3, 2], [1, 2], [1, 1])] {
            let pooling = LayerSpec::Pooling(Pooling { pool, kernel, stride, padding });
            let mut layers = vec![LayerSpec::Convolution(square), pooling];
            layers.extend(head.clone());
            check(IMAGE, &layers, &[Mode::Eval]);
        }
    }
    check(
        IMAGE,
        &[LayerSpec::Convolution(square), GlobalPooling {}.into(), dense(3)],
        &[Mode::Eval],
    );
    check(STEPS, &[GlobalPooling {}.into(), dense(3)], &[Mode::Eval]);
}

/// Pooling fused into the convolution has the bits of pooling that a dropout of 0 separates from
/// it, and the right gradient.
#[test]
fn maxima_have_the_same_bits_in_the_pass_of_the_convolution() {
    let image = Shape::Image { height: 6, width: 8, channels: 16 };
    let convolution = LayerSpec::Convolution(Convolution::same(16, 3));
    let maxima = LayerSpec::Pooling(Pooling {
        pool: Pool::Max,
        kernel: [2, 2],
        stride: [2, 2],
        padding: [0, 0],
    });
    let (relu, nothing) = (act(Activation::Relu), LayerSpec::Dropout(Dropout { p: 0.0 }));
    let gradient = |layers: &[LayerSpec], built: usize| {
        let network = Network::new(image, layers).unwrap();
        assert_eq!(network.sequence().layers().count(), built, "{layers:?}");
        let params = uniform(1, network.layout().len());
        let (inputs, mut grads) = (uniform(2, 3 * network.inputs()), vec![0.0; params.len()]);
        let batch = Batch { inputs: &inputs, targets: (&[0, 2, 1][..]).into() };
        let cpu = Cpu::detect();
        let mut workspace = Workspace::new(&network, cpu, 3).unwrap();
        let score =
            network.gradient(cpu, TRAIN, &params, batch, &mut workspace, &mut grads).unwrap();
        (score.loss.to_bits(), grads.iter().map(|g: &f64| g.to_bits()).collect::<Vec<_>>())
    };
    let head = [Flatten {}.into(), dense(3)];
    for activation in [vec![relu.clone()], vec![]] {
        let behind = |between: &[LayerSpec]| {
            let first =
                std::iter::once(&convolution).chain(&activation).chain(between).chain([&maxima]);
            first.chain(&head).cloned().collect::<Vec<_>>()
        };
        let (fused, apart) = (behind(&[]), behind(std::slice::from_ref(&nothing)));
        assert!(gradient(&fused, 2) == gradient(&apart, 4), "{activation:?}");
        // One image, since each of the thousands of elements takes several passes. The bits above
        // are of three.
        check_rows(1, image, &fused, &[Mode::Eval]);
    }
    // Nothing is fused after the max pooling.
    let late = [convolution.clone(), maxima.clone(), relu.clone(), Flatten {}.into(), dense(3)];
    let apart = [convolution, nothing, maxima, relu, Flatten {}.into(), dense(3)];
    assert!(gradient(&late, 3) == gradient(&apart, 5));
}

#[test]
fn normalisation_has_the_right_gradient_in_every_mode() {
    let epsilon = 1e-3;
    for norm in [
        LayerSpec::BatchNorm(BatchNorm { epsilon, momentum: 0.1 }),
        LayerSpec::LayerNorm(LayerNorm { epsilon }),
        LayerSpec::RmsNorm(RmsNorm { epsilon }),
        LayerSpec::GroupNorm(GroupNorm { groups: 2, epsilon }),
    ] {
        let modes = [Mode::Eval, Mode::Probe, TRAIN];
        check(4, &[norm.clone(), act(Activation::Tanh), dense(3)], &modes);
        check(Shape::Image { height: 3, width: 2, channels: 6 }, &[norm.clone(), dense(3)], &modes);
        check(
            STEPS,
            &[bare(6), norm, act(Activation::Silu), GlobalPooling {}.into(), dense(3)],
            &modes,
        );
    }
}

#[test]
fn dropout_has_the_right_gradient() {
    let dropout = LayerSpec::Dropout(Dropout { p: 0.4 });
    check(
        6,
        &[dropout.clone(), dense(8), act(Activation::Tanh), dropout, dense(3)],
        &[Mode::Eval, TRAIN],
    );
}

#[test]
fn residual_blocks_have_the_right_gradient() {
    let body = || vec![dense(6), act(Activation::Relu), dense(6)];
    for scale in [BranchScale::Fixed(1.0), BranchScale::Fixed(0.3), BranchScale::Learned(0.0)] {
        let plain = LayerSpec::Residual(Residual { body: body(), shortcut: vec![], scale });
        check(6, &[plain.clone(), act(Activation::Relu), plain, dense(3)], &[Mode::Eval]);
        let shortcut =
            vec![bare(6), LayerSpec::BatchNorm(BatchNorm { epsilon: 1e-3, momentum: 0.1 })];
        let projected = LayerSpec::Residual(Residual { body: body(), shortcut, scale });
        check(4, &[projected.clone(), dense(3)], &[Mode::Eval, Mode::Probe]);
        let nested = LayerSpec::Residual(Residual {
            body: vec![projected, dense(4)],
            shortcut: vec![],
            scale,
        });
        check(4, &[nested, dense(3)], &[Mode::Probe]);
    }
}

#[test]
fn recurrent_layers_have_the_right_gradient() {
    for cell in [
        Cell::Rnn { activation: RnnActivation::Tanh },
        Cell::Rnn { activation: RnnActivation::Relu },
        Cell::Lstm,
        Cell::Gru,
    ] {
        for last in [false, true] {
            let layer = LayerSpec::Recurrent(Recurrent { last, ..Recurrent::new(cell, 5) });
            check(STEPS, &[layer.clone(), GlobalPooling {}.into(), dense(3)], &[Mode::Eval]);
            check(IMAGE, &[Rows {}.into(), layer, Flatten {}.into(), dense(3)], &[Mode::Eval]);
        }
    }
}

/// Enough rows and units for one block per thread, the last block shorter than the others.
#[test]
fn recurrent_layers_have_the_same_bits_on_any_number_of_threads() {
    let (rows, units) = (70, 64);
    for cell in [Cell::Rnn { activation: RnnActivation::Tanh }, Cell::Lstm, Cell::Gru] {
        let layer = |last, truncate| {
            LayerSpec::Recurrent(Recurrent { last, truncate, ..Recurrent::new(cell, units) })
        };
        let layers = [layer(false, Some(2)), layer(false, None), layer(true, None), dense(3)];
        let network = Network::new(STEPS, &layers).unwrap();
        let params: Vec<f64> = uniform(1, network.layout().len()).iter().map(|p| 0.2 * p).collect();
        let inputs = uniform(2, rows * network.inputs());
        let labels: Vec<u32> = (0..rows as u32).map(|row| row % 3).collect();
        let batch = Batch { inputs: &inputs, targets: (&labels[..]).into() };
        let gradients = |cpu: Cpu<'_>| {
            let mut workspace = Workspace::new(&network, cpu, rows).unwrap();
            let (mut grads, mut dinputs) = (vec![0.0; params.len()], vec![0.0; inputs.len()]);
            let dx = Some(&mut dinputs[..]);
            let score = network
                .gradients(cpu, Mode::Eval, &params, batch, &mut workspace, &mut grads, dx)
                .unwrap();
            assert!(
                grads.iter().chain(&dinputs).all(|g| g.is_finite())
                    && grads.iter().any(|g| *g != 0.0)
            );
            let all = grads.into_iter().chain(dinputs).chain([score.mean_loss()]);
            all.map(f64::to_bits).collect::<Vec<_>>()
        };
        let alone = gradients(Cpu::detect());
        for threads in [2, 3, 8] {
            let pool = ThreadPool::new(threads).unwrap();
            assert!(
                gradients(Cpu::new(Isa::detect(), &pool)) == alone,
                "{cell:?} on {threads} threads"
            );
        }
    }
}

/// Truncated after every step, the gradient treats the previous state as a constant: the last step
/// alone contributes.
#[test]
fn truncated_gradients_stop_at_the_boundary() {
    let spec = |truncate| Recurrent { last: true, truncate, ..Recurrent::new(Cell::Lstm, 5) };
    let gradient = |truncate| {
        let network =
            Network::new(STEPS, &[LayerSpec::Recurrent(spec(truncate)), dense(3)]).unwrap();
        let params = uniform(1, network.layout().len());
        let inputs = uniform(2, 2 * network.inputs());
        let mut workspace = Workspace::new(&network, Cpu::detect(), 2).unwrap();
        let (mut grads, mut dinputs) = (vec![0.0; params.len()], vec![0.0; inputs.len()]);
        let batch = Batch { inputs: &inputs, targets: (&[0, 2]).into() };
        let cpu = Cpu::detect();
        network
            .gradients(
                cpu,
                Mode::Eval,
                &params,
                batch,
                &mut workspace,
                &mut grads,
                Some(&mut dinputs),
            )
            .unwrap();
        (grads, dinputs)
    };
    let (whole, cut, never) = (gradient(None), gradient(Some(1)), gradient(Some(4)));
    // A chunk as long as the sequence truncates nothing.
    assert_eq!(whole, never);
    assert_ne!(whole.0, cut.0);
    for row in cut.1.chunks(24) {
        let (early, last) = row.split_at(18);
        assert!(early.iter().all(|d| *d == 0.0) && last.iter().any(|d| *d != 0.0));
    }
    assert!(whole.1[..18].iter().any(|d| *d != 0.0));
}

#[test]
fn attention_and_transformers_have_the_right_gradient() {
    for causal in [false, true] {
        for heads in [1, 2, 3] {
            let attention =
                LayerSpec::Attention(Attention { heads, causal, init: Init::GlorotUniform });
            let position = LayerSpec::Position(Position { init: Init::HeNormal });
            check(STEPS, &[position, attention, GlobalPooling {}.into(), dense(3)], &[Mode::Eval]);
        }
        let block =
            LayerSpec::Transformer(Transformer { heads: 2, hidden: 8, dropout: 0.2, causal });
        check(STEPS, &[block, GlobalPooling {}.into(), dense(3)], &[Mode::Eval, TRAIN]);
    }
    check(IMAGE, &[Places {}.into(), dense(6), Flatten {}.into(), dense(3)], &[Mode::Eval]);
}

#[test]
fn standardised_inputs_have_the_right_gradient() {
    check(5, &[Standardise {}.into(), dense(3)], &[Mode::Eval]);
}

/// Indices have no gradient; the table has one.
#[test]
fn embeddings_have_the_right_gradient() {
    let layers = [
        LayerSpec::Embedding(Embedding { count: 7, features: 3, init: Init::HeNormal }),
        Flatten {}.into(),
        dense(2),
    ];
    let network = Network::new(4, &layers).unwrap();
    let params = uniform(1, network.layout().len());
    let inputs = [0.0, 6.0, 3.0, 3.0, 1.0, 3.0, 5.0, 0.0];
    let batch = Batch { inputs: &inputs, targets: (&[0, 1]).into() };
    let mut workspace = Workspace::new(&network, Cpu::detect(), 2).unwrap();
    let mut grads = vec![0.0; params.len()];
    network
        .gradient(Cpu::detect(), Mode::Eval, &params, batch, &mut workspace, &mut grads)
        .unwrap();
    let numeric = tests::differences::gradient(&params, 1e-3, |params| {
        network.evaluate(Cpu::detect(), params, batch, &mut workspace).unwrap().mean_loss()
    });
    assert!(tests::differences::worst_error(&grads, &numeric) < 1e-7);
    // Indices 2 and 4 do not occur.
    assert!(grads[6..9].iter().chain(&grads[12..15]).all(|g| *g == 0.0));
}

#[test]
fn every_loss_has_the_right_gradient() {
    let network = |loss| {
        Network::new(4, &[dense(5), act(Activation::Tanh), dense(3)]).unwrap().with_loss(loss)
    };
    let labels = [2, 0, 1];
    let values: Vec<f64> = uniform(5, 9).iter().map(|x| 0.5 + 0.5 * x).collect();
    for loss in [
        Loss::CrossEntropy { smoothing: 0.0 },
        Loss::CrossEntropy { smoothing: 0.1 },
        Loss::Hinge { margin: 1.0, squared: false },
        Loss::Hinge { margin: 0.5, squared: true },
        Loss::KlDivergence,
        Loss::Poisson { log_input: true },
        Loss::Brier { sigmoid: false },
        Loss::Brier { sigmoid: true },
        Loss::LogCosh,
    ] {
        check_against(&network(loss), 3, Targets::Labels(&labels), &[Mode::Eval]);
    }
    for loss in [
        Loss::CrossEntropy { smoothing: 0.0 },
        Loss::BinaryCrossEntropy { positive_weight: 2.5 },
        Loss::Mse,
        Loss::Mae,
        Loss::Huber { delta: 0.3 },
        Loss::LogCosh,
        Loss::Poisson { log_input: true },
        Loss::KlDivergence,
        Loss::Brier { sigmoid: false },
        Loss::Brier { sigmoid: true },
    ] {
        check_against(&network(loss), 3, Targets::Values(&values), &[Mode::Eval]);
    }
}

/// Outputs that are rates must be positive.
#[test]
fn the_poisson_loss_of_rates_has_the_right_gradient() {
    let layers = [dense(5), act(Activation::Tanh), dense(3), act(Activation::Softplus)];
    let network = Network::new(4, &layers).unwrap().with_loss(Loss::Poisson { log_input: false });
    let values: Vec<f64> = uniform(5, 9).iter().map(|x| 3.0 + 3.0 * x).collect();
    check_against(&network, 3, Targets::Values(&values), &[Mode::Eval]);
}

/// The divergence from a class is the cross-entropy, to the bit; its distribution is one-hot.
#[test]
fn the_divergence_from_classes_is_the_cross_entropy() {
    let network = |loss| Network::new(4, &[dense(3)]).unwrap().with_loss(loss);
    let run = |loss, targets: Targets<'_, f64>| {
        let network = network(loss);
        let (params, inputs) = (uniform(1, network.layout().len()), uniform(2, 12));
        let mut workspace = Workspace::new(&network, Cpu::detect(), 3).unwrap();
        let mut grads = vec![f64::NAN; params.len()];
        let batch = Batch { inputs: &inputs, targets };
        let cpu = Cpu::detect();
        let score =
            network.gradient(cpu, Mode::Eval, &params, batch, &mut workspace, &mut grads).unwrap();
        (score.loss, grads)
    };
    let labels = Targets::Labels(&[2, 0, 1]);
    let one_hot = Targets::Values(&[0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    let cross_entropy = run(Loss::default(), labels);
    assert_eq!(run(Loss::KlDivergence, labels), cross_entropy);
    let (loss, grads) = run(Loss::KlDivergence, one_hot);
    assert!((loss - cross_entropy.0).abs() < 1e-14, "{loss} {}", cross_entropy.0);
    assert!(grads.iter().zip(&cross_entropy.1).all(|(a, b)| (a - b).abs() < 1e-15));
}

/// PyTorch's weighted mean: the sum of weight times loss over the sum of the weights, by the
/// formula in f64.
#[test]
#[expect(clippy::disallowed_methods, reason = "std's exp and ln are the reference")]
fn class_weights_give_the_weighted_mean_and_its_gradient() {
    let layers = [dense(5), act(Activation::Tanh), dense(3)];
    let (weights, labels) = ([0.25, 4.0, 1.5], [2, 0, 1, 1]);
    let values: Vec<f64> = uniform(5, 12).iter().map(|x| 0.5 + 0.5 * x).collect();
    for smoothing in [0.0, 0.1] {
        let plain = plain_with(&layers, smoothing);
        let weighted =
            |weights: &[f64]| plain_with(&layers, smoothing).with_class_weights(weights).unwrap();
        let network = weighted(&weights);
        check_against(&network, 4, Targets::Labels(&labels), &[Mode::Eval]);
        check_against(&network, 4, Targets::Values(&values), &[Mode::Eval]);

        let (params, inputs) = (uniform(1, network.layout().len()), uniform(2, 16));
        let cpu = Cpu::detect();
        let mut workspace = Workspace::new(&network, cpu, 4).unwrap();
        let logits = network.forward(cpu, &params, &inputs, &mut workspace).unwrap().to_vec();
        let loss_of = |row: usize, target: usize| {
            let z = &logits[3 * row..][..3];
            let ln_sum = z.iter().map(|z| z.exp()).sum::<f64>().ln();
            ln_sum - z[target]
        };
        let (mut sum, mut divisor) = (0.0, 0.0);
        for (row, &label) in labels.iter().enumerate() {
            divisor += weights[label as usize];
            sum += (1.0 - smoothing) * weights[label as usize] * loss_of(row, label as usize);
            sum += (0..3).map(|k| smoothing / 3.0 * weights[k] * loss_of(row, k)).sum::<f64>();
        }
        let batch = Batch { inputs: &inputs, targets: (&labels).into() };
        let score = network.evaluate(cpu, &params, batch, &mut workspace).unwrap();
        assert_eq!((score.weight, score.rows), (divisor, 4));
        assert!(
            (score.mean_loss() - sum / divisor).abs() < 1e-14,
            "{} {}",
            score.mean_loss(),
            sum / divisor
        );
        assert_eq!(network.weight_of::<f64>(labels.into_iter()), divisor);

        // Equal weights that are powers of two change no bit.
        let halves = weighted(&[0.5; 3]);
        let [halves, plain] = [&halves, &plain].map(|network| {
            let mut grads = vec![0.0; params.len()];
            let mode = Mode::Eval;
            let score =
                network.gradient(cpu, mode, &params, batch, &mut workspace, &mut grads).unwrap();
            (score.mean_loss().to_bits(), grads.iter().map(|g| g.to_bits()).collect::<Vec<_>>())
        });
        assert_eq!(halves, plain);
    }
}

fn plain_with(layers: &[LayerSpec], smoothing: f64) -> Network {
    Network::new(4, layers).unwrap().with_loss(Loss::CrossEntropy { smoothing })
}

#[test]
fn class_weights_that_do_not_fit_are_refused() {
    let network = || plain_with(&[dense(3)], 0.0);
    assert!(matches!(network().with_class_weights(&[1.0, 2.0]), Err(nn::Error::Length { .. })));
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-50, 1e39] {
        assert!(network().with_class_weights(&[1.0, bad, 1.0]).is_err(), "{bad}");
    }
    let hinge = network().with_loss(Loss::Mse);
    assert!(matches!(hinge.with_class_weights(&[1.0; 3]), Err(nn::Error::ClassWeights)));
}

#[test]
fn networks_know_the_least_batch_that_they_learn_from() {
    let norm = LayerSpec::BatchNorm(BatchNorm { epsilon: 1e-5, momentum: 0.1 });
    let least =
        |input: Shape, layers: &[LayerSpec]| Network::new(input, layers).unwrap().min_rows();
    assert_eq!(least(Shape::Features(4), &[dense(3)]), 1);
    assert_eq!(least(Shape::Features(4), &[dense(3), norm.clone(), dense(2)]), 2);
    // Each position of an image is a value of its channel.
    assert_eq!(least(IMAGE, &[norm.clone(), dense(2)]), 1);
    assert_eq!(
        least(Shape::Image { height: 1, width: 1, channels: 3 }, &[norm.clone(), dense(2)]),
        2
    );
    let residual = LayerSpec::Residual(Residual {
        body: vec![dense(4), norm],
        shortcut: Vec::new(),
        scale: BranchScale::default(),
    });
    assert_eq!(least(Shape::Features(4), &[residual, dense(2)]), 2);
}
