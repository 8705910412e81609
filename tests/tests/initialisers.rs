//! Initialisers: moments, bounds and structure of their weights, the same bits everywhere, and deep
//! networks with the weight scales of `gain` and `critical`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use kernels::random::{Stream, fill_normal};
use kernels::{Cpu, Isa};
use nn::init::{Fans, Signals, critical, gain};
use nn::{
    Activation, Batch, BranchScale, Convolution, Dense, Dropout, Init, LayerSpec, Loss, Mode,
    Network, Residual, Shape, Targets, Workspace,
};
use runner::machine::thread_pool::ThreadPool;

const STREAM: Stream = Stream::new(11, 3);

fn draw(init: Init, fans: Fans) -> Vec<f64> {
    let mut weights = vec![f64::NAN; fans.elements()];
    init.fill(Cpu::detect(), STREAM, fans, &mut weights).unwrap();
    weights
}

/// A matrix, a filter, a grouped filter, the gates of a recurrent layer.
const SHAPES: [Fans; 4] = [
    Fans::matrix(200, 300),
    Fans { taps: 9, inputs: 40, parts: 1, outputs: 70 },
    Fans { taps: 25, inputs: 12, parts: 6, outputs: 20 },
    Fans { taps: 1, inputs: 90, parts: 4, outputs: 120 },
];

/// Shape of a distribution.
struct Law {
    /// Fourth moment over the square of the second.
    kurtosis: f64,
    /// Maximum magnitude, in standard deviations.
    reach: Option<f64>,
}

const NORMAL: Law = Law { kurtosis: 3.0, reach: None };
const UNIFORM: Law = Law { kurtosis: 9.0 / 5.0, reach: Some(1.732_050_807_568_877_2) };

/// Variance of a normal distribution truncated at ±2. With d its density at 2 and Z the remaining
/// probability, the second and fourth moments are `1 - 4 d / Z` and `3 - 28 d / Z`.
const TRUNCATED_VARIANCE: f64 = 1.0 - 4.0 * 0.053_990_966_513_188_06 / 0.954_499_736_103_641_6;
const TRUNCATED: Law = Law {
    kurtosis: (3.0 - 28.0 * 0.053_990_966_513_188_06 / 0.954_499_736_103_641_6)
        / (TRUNCATED_VARIANCE * TRUNCATED_VARIANCE),
    // 2 / sqrt(0.77374)
    reach: Some(2.273_692_640_302_567),
};

/// Mean 0 and the variance of the formula, each within five standard errors: sqrt(variance / n) for
/// the mean, variance sqrt((kurtosis - 1) / n) for the mean square. By chance, one draw in a
/// million is further away.
#[test]
fn random_weights_have_the_moments_of_their_formulas() {
    for fans in SHAPES {
        let (fan_in, fan_out) =
            ((fans.taps * fans.inputs) as f64, (fans.taps * fans.outputs) as f64);
        for (init, variance, law) in [
            (Init::Uniform { limit: 0.3 }, 0.03, UNIFORM),
            (Init::Normal { std: 0.2 }, 0.04, NORMAL),
            (Init::TruncatedNormal { std: 0.5 }, 0.25 * TRUNCATED_VARIANCE, TRUNCATED),
            (Init::HeNormal, 2.0 / fan_in, NORMAL),
            (Init::HeUniform, 2.0 / fan_in, UNIFORM),
            (Init::ScaledNormal { gain: 1.5 }, 2.25 / fan_in, NORMAL),
            (Init::ScaledUniform { gain: 1.5 }, 2.25 / fan_in, UNIFORM),
            (Init::GlorotNormal, 2.0 / (fan_in + fan_out), NORMAL),
            (Init::GlorotUniform, 2.0 / (fan_in + fan_out), UNIFORM),
            (Init::LecunNormal, 1.0 / fan_in, NORMAL),
            (Init::LecunUniform, 1.0 / fan_in, UNIFORM),
        ] {
            let weights = draw(init, fans);
            let n = weights.len() as f64;
            let mean = weights.iter().sum::<f64>() / n;
            let square = weights.iter().map(|w| w * w).sum::<f64>() / n;
            let (mean_error, square_error) =
                ((variance / n).sqrt(), variance * ((law.kurtosis - 1.0) / n).sqrt());
            assert!(mean.abs() <= 5.0 * mean_error, "{init:?} of {fans:?}: mean {mean}");
            let off = (square - variance).abs();
            assert!(
                off <= 5.0 * square_error,
                "{init:?} of {fans:?}: variance {square}, not {variance}"
            );
            if let Some(reach) = law.reach {
                let (limit, largest) =
                    (reach * variance.sqrt(), weights.iter().fold(0.0_f64, |m, w| m.max(w.abs())));
                assert!(
                    largest <= limit * (1.0 + 1e-12) && largest > 0.99 * limit,
                    "{init:?}: {largest} of {limit}"
                );
            }
        }
    }
    // With a deviation of 0 no sample is beyond two deviations: nothing is redrawn.
    assert!(draw(Init::TruncatedNormal { std: 0.0 }, SHAPES[0]).iter().all(|w| *w == 0.0));
    assert!(draw(Init::Zeros, SHAPES[0]).iter().all(|w| *w == 0.0));
    assert!(draw(Init::Constant { value: -0.7 }, SHAPES[0]).iter().all(|w| *w == -0.7));
}

/// Part `part` of a tensor as a row-major matrix, `[taps * inputs, outputs]`.
fn part(weights: &[f64], fans: Fans, part: usize) -> Vec<f64> {
    let rows = weights.chunks(fans.parts * fans.outputs);
    rows.flat_map(|row| &row[part * fans.outputs..][..fans.outputs]).copied().collect()
}

/// Distance of `matrix` from one with orthonormal columns, or rows if these are fewer: the largest
/// element of W^T W - I. With `n` columns, singular values are within `n` times this distance of 1.
fn defect(matrix: &[f64], rows: usize, cols: usize) -> f64 {
    let at =
        |i: usize, j: usize| if rows >= cols { matrix[i * cols + j] } else { matrix[j * cols + i] };
    let (long, short) = (rows.max(cols), rows.min(cols));
    let mut worst = 0.0_f64;
    for i in 0..short {
        for j in 0..=i {
            let dot: f64 = (0..long).map(|k| at(k, i) * at(k, j)).sum();
            worst = worst.max((dot - f64::from(i == j)).abs());
        }
    }
    worst
}

/// Orthogonal to a few units in the last place of 1 for each of some hundred reflections.
const ORTHOGONAL_BOUND: f64 = 1e-13;

#[test]
fn orthogonal_weights_are_orthogonal() {
    for fans in [
        Fans::matrix(1, 1),
        Fans::matrix(1, 5),
        Fans::matrix(40, 40),
        Fans::matrix(50, 20),
        Fans::matrix(20, 50),
        Fans { taps: 9, inputs: 4, parts: 3, outputs: 10 },
        Fans { taps: 1, inputs: 30, parts: 4, outputs: 30 },
    ] {
        let plain = draw(Init::Orthogonal, fans);
        for p in 0..fans.parts {
            let defect = defect(&part(&plain, fans, p), fans.fan_in(), fans.outputs);
            assert!(defect <= ORTHOGONAL_BOUND, "{fans:?}: {defect:e}");
        }
        let scaled = draw(Init::ScaledOrthogonal { gain: 1.5 }, fans);
        assert!(plain.iter().zip(&scaled).all(|(plain, scaled)| *scaled == 1.5 * plain));
    }
    // Each gate is a matrix of its own.
    let gates = Fans { taps: 1, inputs: 6, parts: 2, outputs: 6 };
    let weights = draw(Init::Orthogonal, gates);
    assert_ne!(part(&weights, gates, 0), part(&weights, gates, 1));
}

/// The QR decomposition of a full-rank matrix is unique if R has a positive diagonal: Q is
/// orthogonal, R = Q^T A is upper triangular, and Q R = A.
#[test]
fn orthogonal_weights_are_the_q_of_a_normal_matrix() {
    for (rows, cols) in [(40, 40), (60, 25)] {
        let mut a = vec![0.0; rows * cols];
        fill_normal(Cpu::detect(), STREAM, 0.0, 1.0, &mut a).unwrap();
        let q = draw(Init::Orthogonal, Fans::matrix(rows, cols));
        assert!(defect(&q, rows, cols) <= ORTHOGONAL_BOUND);
        let r =
            |i: usize, j: usize| (0..rows).map(|k| q[k * cols + i] * a[k * cols + j]).sum::<f64>();
        for i in 0..cols {
            assert!(r(i, i) > 0.0, "diagonal element {i} is {}", r(i, i));
            for j in 0..i {
                assert!(r(i, j).abs() < 1e-12, "{} below the diagonal at {i}, {j}", r(i, j));
            }
        }
        for (i, (a, q)) in a.chunks(cols).zip(q.chunks(cols)).enumerate() {
            for (j, a) in a.iter().enumerate() {
                let product: f64 = q.iter().enumerate().map(|(k, q)| q * r(k, j)).sum();
                assert!((product - a).abs() < 1e-12, "{product} not {a} at {i}, {j}");
            }
        }
    }
}

/// The trace of a uniformly distributed orthogonal matrix has mean 0, mean square 1 and mean fourth
/// power 3 (Diaconis, Shahshahani, 1994). Within five standard errors of 400 draws: 5 / 20 and
/// 5 sqrt(2) / 20. Without Mezzadri's signs the mean is not 0.
#[test]
fn orthogonal_weights_prefer_no_direction() {
    const DRAWS: u64 = 400;
    let trace = |seed| {
        let mut weights = [0.0_f64; 36];
        Init::Orthogonal
            .fill(Cpu::detect(), Stream::new(seed, 0), Fans::matrix(6, 6), &mut weights)
            .unwrap();
        (0..6).map(|i| weights[7 * i]).sum::<f64>()
    };
    let traces: Vec<f64> = (0..DRAWS).map(trace).collect();
    let mean = traces.iter().sum::<f64>() / DRAWS as f64;
    let square = traces.iter().map(|t| t * t).sum::<f64>() / DRAWS as f64;
    assert!(mean.abs() < 0.25, "mean {mean}");
    assert!((square - 1.0).abs() < 0.36, "mean square {square}");
}

/// Each filter reads the middle pixel alone, by an orthogonal matrix: an image of as many or more
/// channels has the norm of its input.
#[test]
fn delta_orthogonal_filters_keep_lengths() {
    let fans = Fans { taps: 9, inputs: 5, parts: 1, outputs: 8 };
    let weights = draw(Init::DeltaOrthogonal { gain: 1.0 }, fans);
    for (tap, taps) in weights.chunks(fans.inputs * fans.outputs).enumerate() {
        if tap == 4 {
            let defect = defect(taps, fans.inputs, fans.outputs);
            assert!(defect <= ORTHOGONAL_BOUND, "{defect:e}");
        } else {
            assert!(taps.iter().all(|w| *w == 0.0));
        }
    }

    let convolution = Convolution {
        init: Init::DeltaOrthogonal { gain: 0.5 },
        groups: 2,
        ..Convolution::same(12, 3)
    };
    let shape = Shape::Image { height: 5, width: 4, channels: 8 };
    let network = Network::new(shape, &[LayerSpec::Convolution(convolution)]).unwrap();
    let cpu = Cpu::detect();
    let mut params = vec![0.0; network.layout().len()];
    network.init(cpu, 5, &mut params).unwrap();
    let mut inputs = vec![0.0_f64; network.inputs()];
    fill_normal(cpu, STREAM, 0.0, 1.0, &mut inputs).unwrap();
    let mut workspace = Workspace::inference(&network, cpu, 1).unwrap();
    let outputs = network.forward(cpu, &params, &inputs, &mut workspace).unwrap();
    let length = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
    let ratio = length(outputs) / length(&inputs);
    assert!((ratio - 0.5).abs() < 1e-13, "{ratio}");
}

#[test]
fn identities_are_diagonal() {
    // The columns of four 3 x 3 gates, one gate after another.
    let gates = Fans { taps: 1, inputs: 3, parts: 4, outputs: 3 };
    for (i, row) in draw(Init::Identity { gain: 0.5 }, gates).chunks(12).enumerate() {
        for (j, weight) in row.iter().enumerate() {
            assert_eq!(*weight, if i == j % 3 { 0.5 } else { 0.0 });
        }
    }
    // Identity filters return the image.
    let convolution = Convolution { init: Init::Identity { gain: 1.0 }, ..Convolution::same(2, 3) };
    let shape = Shape::Image { height: 3, width: 3, channels: 2 };
    let network = Network::new(shape, &[LayerSpec::Convolution(convolution)]).unwrap();
    let cpu = Cpu::detect();
    let mut params = vec![0.0; network.layout().len()];
    network.init(cpu, 5, &mut params).unwrap();
    let inputs: Vec<f64> = (1..=18).map(f64::from).collect();
    let mut workspace = Workspace::inference(&network, cpu, 1).unwrap();
    assert_eq!(network.forward(cpu, &params, &inputs, &mut workspace).unwrap(), inputs);
}

/// Every initialiser.
const KINDS: [Init; 17] = [
    Init::Zeros,
    Init::Constant { value: 0.3 },
    Init::Uniform { limit: 0.3 },
    Init::Normal { std: 0.3 },
    Init::TruncatedNormal { std: 0.3 },
    Init::HeNormal,
    Init::HeUniform,
    Init::ScaledNormal { gain: 1.1 },
    Init::ScaledUniform { gain: 1.1 },
    Init::GlorotNormal,
    Init::GlorotUniform,
    Init::LecunNormal,
    Init::LecunUniform,
    Init::Orthogonal,
    Init::ScaledOrthogonal { gain: 1.1 },
    Init::DeltaOrthogonal { gain: 1.1 },
    Init::Identity { gain: 1.1 },
];

#[test]
fn every_instruction_set_and_any_number_of_threads_draw_the_same_bits() {
    fn check<T: nn::Float>(init: Init, fans: Fans) {
        let bits = |cpu: Cpu<'_>| {
            let mut weights = vec![T::NAN; fans.elements()];
            init.fill(cpu, STREAM, fans, &mut weights).unwrap();
            weights.iter().map(|w| w.to_f64().to_bits()).collect::<Vec<_>>()
        };
        let expected = bits(Cpu::detect());
        for isa in Isa::available() {
            assert!(bits(Cpu::serial(isa)) == expected, "{init:?} on {isa}");
        }
        for threads in [2, 3, 5] {
            let pool = ThreadPool::new(threads).unwrap();
            assert!(
                bits(Cpu::new(Isa::detect(), &pool)) == expected,
                "{init:?} on {threads} threads of {fans:?}"
            );
        }
    }
    for init in KINDS {
        for fans in [Fans { taps: 9, inputs: 7, parts: 2, outputs: 11 }, Fans::matrix(60, 90)] {
            check::<f32>(init, fans);
            check::<f64>(init, fans);
        }
    }
    // Enough elements for several threads.
    for init in [Init::HeNormal, Init::GlorotUniform, Init::TruncatedNormal { std: 1.0 }] {
        check::<f32>(init, Fans::matrix(700, 900));
    }
}

/// Initial parameters of `layers` over rows of shape `input`, tensor by tensor.
fn initial(input: impl Into<Shape>, layers: &[LayerSpec]) -> Vec<Vec<f64>> {
    let network = Network::new(input, layers).unwrap();
    let mut params = vec![f64::NAN; network.layout().len()];
    network.init(Cpu::detect(), 5, &mut params).unwrap();
    network.layout().tensors().iter().map(|tensor| params[tensor.range.clone()].to_vec()).collect()
}

fn dense_with(bias_init: Init) -> LayerSpec {
    Dense { units: 64, init: Init::HeNormal, bias: true, bias_init }.into()
}

/// A drawn bias comes after the weights of its layer, from the stream 2^32 further on. Weights
/// stay the same, and a constant is not drawn.
#[test]
fn biases_have_their_initialiser_and_leave_weights_as_they_are() {
    let cpu = Cpu::detect();
    let weights = |fans: Fans, stream| {
        let mut weights = vec![f64::NAN; fans.elements()];
        Init::HeNormal.fill(cpu, Stream::new(5, stream), fans, &mut weights).unwrap();
        weights
    };
    let fans = Fans::matrix(20, 64);
    for init in KINDS.into_iter().filter(|init| init.suits_bias()) {
        let mut bias = vec![f64::NAN; 64];
        init.fill_bias(cpu, Stream::new(5, 1 << 32), fans, &mut bias).unwrap();
        assert_eq!(initial(20, &[dense_with(init)]), [weights(fans, 0), bias], "{init:?}");
    }
    // The fans are those of the weights: PyTorch's default, uniform on ±1 / sqrt(fan_in).
    let torch = Init::ScaledUniform { gain: (1.0_f64 / 3.0).sqrt() };
    let bias = initial(20, &[dense_with(torch)]).remove(1);
    let largest = bias.iter().fold(0.0_f64, |largest, b| largest.max(b.abs()));
    let limit = 1.0 / 20.0_f64.sqrt();
    assert!(largest <= limit * (1.0 + 1e-15) && largest > 0.9 * limit, "{largest} {limit}");

    let shape = Shape::Image { height: 6, width: 5, channels: 4 };
    let filters = |bias_init| Convolution { groups: 2, bias_init, ..Convolution::same(6, 3) };
    let fans = Fans { taps: 9, inputs: 2, parts: 2, outputs: 3 };
    let mut bias = vec![f64::NAN; 6];
    Init::HeUniform.fill_bias(cpu, Stream::new(5, 1 << 32), fans, &mut bias).unwrap();
    assert_eq!(initial(shape, &[filters(Init::HeUniform).into()]), [weights(fans, 0), bias]);

    // In a block, a drawn bias takes the stream of the next drawn tensor; a constant takes none.
    let block = |bias_init| {
        let body = vec![dense_with(bias_init), dense_with(Init::Zeros)];
        Residual { body, shortcut: vec![], scale: BranchScale::default() }.into()
    };
    let second = |bias_init| initial(64, &[block(bias_init)]).remove(2);
    let fans = Fans::matrix(64, 64);
    assert_eq!(second(Init::Zeros), weights(fans, 1 << 32));
    assert_eq!(second(Init::Constant { value: 0.3 }), weights(fans, 1 << 32));
    assert_eq!(second(Init::Uniform { limit: 0.3 }), weights(fans, 2 << 32));
}

#[test]
fn initialisers_that_do_not_suit_a_bias_are_refused() {
    let refused = |layer: LayerSpec| {
        let image = Shape::Image { height: 4, width: 4, channels: 4 };
        Network::new(image, &[layer]).unwrap_err().to_string()
    };
    for init in KINDS.into_iter().filter(|init| !init.suits_bias()) {
        let filters = Convolution { bias_init: init, ..Convolution::same(4, 3) };
        for layer in [dense_with(init), filters.into()] {
            let message = refused(layer);
            assert!(message.contains("`bias_init`") && message.contains("uniform"), "{message}");
        }
        let mut bias = [7.0_f64; 3];
        let error = init.fill_bias(Cpu::detect(), STREAM, Fans::matrix(2, 3), &mut bias);
        assert_eq!((error, bias), (Err(nn::Error::BiasInit), [7.0; 3]), "{init:?}");
    }
    let bias_init = Init::Normal { std: 0.1 };
    let without = Dense { units: 3, init: Init::HeNormal, bias: false, bias_init };
    assert!(refused(without.into()).contains("no `bias_init` where `bias` is false"));
    assert!(refused(dense_with(Init::Normal { std: -0.1 })).contains("std"));
}

/// Layers without the key are read as before, and written as before.
#[test]
fn the_initialiser_of_biases_is_written_only_where_it_is_not_the_default() {
    let text = r#"{"kind":"dense","units":64,"init":"he_normal"}"#;
    let layer: LayerSpec = serde_json::from_str(text).unwrap();
    assert_eq!(layer, dense_with(Init::Zeros));
    assert_eq!(serde_json::to_string(&layer).unwrap(), text);
    let text =
        r#"{"kind":"dense","units":64,"init":"he_normal","bias_init":{"constant":{"value":0.1}}}"#;
    let layer: LayerSpec = serde_json::from_str(text).unwrap();
    assert_eq!(layer, dense_with(Init::Constant { value: 0.1 }));
    assert_eq!(serde_json::to_string(&layer).unwrap(), text);
    let filters = LayerSpec::from(Convolution::same(4, 3));
    assert!(!serde_json::to_string(&filters).unwrap().contains("bias_init"));
}

#[test]
fn numbers_out_of_range_and_wrong_lengths_are_refused() {
    for bad in [-0.1, f64::NAN, f64::INFINITY] {
        for (init, name) in [
            (Init::Uniform { limit: bad }, "limit"),
            (Init::Normal { std: bad }, "std"),
            (Init::TruncatedNormal { std: bad }, "std"),
            (Init::ScaledNormal { gain: bad }, "gain"),
            (Init::ScaledUniform { gain: bad }, "gain"),
            (Init::ScaledOrthogonal { gain: bad }, "gain"),
            (Init::DeltaOrthogonal { gain: bad }, "gain"),
            (Init::Identity { gain: bad }, "gain"),
        ] {
            let mut weights = [7.0_f64; 6];
            let refused =
                init.fill(Cpu::detect(), STREAM, Fans::matrix(2, 3), &mut weights).unwrap_err();
            assert!(refused.to_string().contains(name), "{init:?}: {refused}");
            assert_eq!(weights, [7.0; 6], "{init:?} wrote before it refused");
        }
    }
    assert!(Init::Constant { value: -0.1 }.check().is_ok());
    assert!(Init::Constant { value: f64::NAN }.check().is_err());
    for init in KINDS {
        let refused =
            init.fill(Cpu::detect(), STREAM, Fans::matrix(2, 3), &mut [7.0_f64; 5]).unwrap_err();
        assert!(refused.to_string().contains("weights"), "{init:?}: {refused}");
    }
    for (dropout, variance) in [
        (1.0, 1.0),
        (-0.1, 1.0),
        (f64::NAN, 1.0),
        (0.0, 0.0),
        (0.0, f64::INFINITY),
        (0.0, f64::NAN),
    ] {
        let signals = Signals { variance, dropout };
        assert!(critical(Cpu::detect(), Activation::Relu, signals).is_err());
    }
}

/// The table of `torch.nn.init.calculate_gain`.
#[test]
fn gains_are_pytorchs() {
    let gain = |activation| gain(Cpu::detect(), activation);
    assert_eq!(gain(Activation::Relu), 2.0_f64.sqrt());
    assert_eq!(gain(Activation::Tanh), 5.0 / 3.0);
    assert_eq!(gain(Activation::LeakyRelu { slope: 0.2 }), (2.0 / (1.0 + 0.2 * 0.2_f64)).sqrt());
    assert_eq!(gain(Activation::Selu), 0.75);
    assert_eq!(gain(Activation::Sigmoid), 1.0);
}

const DEPTH: usize = 50;
const WIDTH: usize = 512;

/// Growth through [`DEPTH`] layers of [`WIDTH`] units: logarithms of the ratios by which the mean
/// square of pre-activations, which starts at `variance`, and that of the gradient change, averaged
/// over networks.
#[expect(clippy::disallowed_methods, reason = "a logarithm that no run will see")]
fn growth(
    activation: Activation,
    dropout: f64,
    [gain, bias_variance, variance]: [f64; 3],
) -> [f64; 2] {
    const ROWS: usize = 4;
    const NETWORKS: u64 = 2;
    let cpu = Cpu::detect();
    let dense = LayerSpec::dense(WIDTH, Init::ScaledNormal { gain });
    let stage = [
        dense.clone(),
        LayerSpec::Activation(activation),
        LayerSpec::Dropout(Dropout { p: dropout }),
    ];
    let mut layers: Vec<_> = stage.iter().cycle().take(3 * DEPTH).cloned().collect();
    layers.push(dense);
    let network = Network::new(WIDTH, &layers).unwrap().with_loss(Loss::Mse);
    let mut params = vec![0.0_f32; network.layout().len()];
    let mut grads = params.clone();
    let mut workspace = Workspace::new(&network, cpu, ROWS).unwrap();
    let mean_square =
        |x: &[f32]| x.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>() / x.len() as f64;

    let mut sums = [0.0; 2];
    for seed in 0..NETWORKS {
        network.init(cpu, seed, &mut params).unwrap();
        for tensor in
            network.layout().tensors().iter().filter(|tensor| tensor.name.ends_with("bias"))
        {
            let stream = Stream::new(seed, 1000 + tensor.layer as u64);
            let biases = &mut params[tensor.range.clone()];
            fill_normal(cpu, stream, 0.0, bias_variance.sqrt() as f32, biases).unwrap();
        }
        let normal = |stream, variance: f64| {
            let mut x = vec![0.0_f32; ROWS * WIDTH];
            fill_normal(cpu, Stream::new(seed, stream), 0.0, variance.sqrt() as f32, &mut x)
                .unwrap();
            x
        };
        // The first pre-activations have `variance`. Targets are so large that the gradient does
        // not depend on the outputs.
        let inputs = normal(2000, (variance - bias_variance) / (gain * gain));
        let targets = normal(2001, 1e30);
        let batch = Batch { inputs: &inputs, targets: Targets::Values(&targets) };
        let mut dinputs = inputs.clone();
        let mode = Mode::Train { seed, step: 0 };
        network
            .gradients(cpu, mode, &params, batch, &mut workspace, &mut grads, Some(&mut dinputs))
            .unwrap();
        let outputs = workspace.outputs(&network, ROWS);
        // dloss/doutputs is 2 (outputs - targets) / elements. The gradient passes one layer of
        // weights more than the signal.
        let scale = 2.0 / outputs.len() as f32;
        let doutputs: Vec<f32> =
            outputs.iter().zip(&targets).map(|(y, t)| scale * (y - t)).collect();
        sums[0] += (mean_square(outputs) / variance).ln();
        sums[1] += (mean_square(&dinputs) / mean_square(&doutputs) / (gain * gain)).ln();
    }
    sums.map(|sum| sum / NETWORKS as f64)
}

/// At the critical point, signals and gradients preserve their scale through fifty layers, with and
/// without dropout: both logarithms are within ±2.5, 5 % per layer.
///
/// Finite width alone explains a part of that. The mean square of a ReLU layer has a relative
/// variance of (6 / (1 - p) - 1) / 512. Over fifty layers with p = 1/2, the logarithm has a
/// variance of 1.1 and a mean of minus half of it; the mean over two networks has a deviation of
/// 0.7.
#[test]
#[expect(clippy::disallowed_methods, reason = "a logarithm that no run will see")]
fn critical_networks_keep_signals_and_gradients() {
    let cpu = Cpu::detect();
    for activation in [Activation::Relu, Activation::Tanh, Activation::Selu] {
        for dropout in [0.0, 0.5] {
            let point = critical(cpu, activation, Signals { variance: 1.0, dropout }).unwrap();
            let [signal, gradient] =
                growth(activation, dropout, [point.gain, point.bias_variance, 1.0]);
            println!(
                "{activation:?}, dropout {dropout}: \
                 signal {signal:.2}, gradient {gradient:.2}, {point:?}"
            );
            assert!(
                signal.abs() < 2.5 && gradient.abs() < 2.5,
                "{activation:?}: {signal}, {gradient}"
            );
        }
    }
    // He's gain is critical without dropout. With p = 1/2 its square is twice too large: growth of
    // 50 ln 2 = 34.7 (Pretorius et al., 2018).
    let relu = critical(cpu, Activation::Relu, Signals { variance: 1.0, dropout: 0.0 }).unwrap();
    assert!((relu.gain - 2.0_f64.sqrt()).abs() < 1e-12 && relu.bias_variance == 0.0);
    let [signal, gradient] = growth(Activation::Relu, 0.5, [relu.gain, 0.0, 1.0]);
    println!("He under dropout 0.5: signal {signal:.2}, gradient {gradient:.2}");
    let expected = DEPTH as f64 * 2.0_f64.ln();
    assert!(
        (signal - expected).abs() < 2.5 && (gradient - expected).abs() < 2.5,
        "{signal}, {gradient}"
    );
    // With a gain of 1, SELU's variance converges to 1 (Klambauer et al., 2017).
    let [signal, _] = growth(Activation::Selu, 0.0, [1.0, 0.0, 1.0]);
    assert!(signal.abs() < 0.5, "{signal}");
}
