//! Initialisers that depend on the whole network or on data: Fixup, LSUV, standardisation.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use kernels::Cpu;
use kernels::random::{Stream, fill_uniform};
use kernels::statistics::statistics;
use nn::init::{Lsuv, fixup};
use nn::{
    Activation, Batch, BranchScale, Convolution, Dense, Init, LayerSpec, Loss, Mode, Network,
    Registry, Residual, Shape, Standardise, Targets, Unstandardise, Weights, Workspace, gradcheck,
};

#[test]
fn fixup_scales_branches_by_the_number_of_blocks() {
    let dense = || LayerSpec::dense(8, Init::HeNormal);
    let body = vec![dense(), LayerSpec::Activation(Activation::Relu), dense()];
    let block =
        LayerSpec::Residual(Residual { body, shortcut: vec![], scale: BranchScale::default() });
    let mut layers = vec![dense()];
    layers.extend(vec![block; 16]);
    layers.push(dense());
    let fixed = fixup(Cpu::detect(), &layers);
    assert_eq!(fixed[0], layers[0]);
    assert_eq!(fixed[17], LayerSpec::dense(8, Init::Zeros));
    for block in &fixed[1..17] {
        let LayerSpec::Residual(Residual { body, scale, .. }) = block else { panic!("a block") };
        assert_eq!(*scale, BranchScale::Learned(1.0));
        assert_eq!(body[2], LayerSpec::dense(8, Init::Zeros));
        // Two layers: 16^(-1/2).
        let LayerSpec::Dense(Dense { init: Init::ScaledNormal { gain }, .. }) = body[0] else {
            panic!("scaled")
        };
        assert!((gain - 2.0_f64.sqrt() / 4.0).abs() < 1e-15, "{gain}");
    }
}

#[test]
fn lsuv_gives_every_layer_outputs_of_unit_variance() {
    let cpu = Cpu::detect();
    let dense = |units| LayerSpec::dense(units, Init::Normal { std: 0.3 });
    let act = LayerSpec::Activation(Activation::Tanh);
    let filters = LayerSpec::Convolution(Convolution::same(4, 3));
    let layers = [
        filters,
        act.clone(),
        dense(40),
        LayerSpec::Activation(Activation::Relu),
        dense(30),
        act,
        dense(5),
    ];
    let input = Shape::Image { height: 6, width: 6, channels: 1 };
    let network = Network::new(input, &layers).unwrap();
    let mut params = vec![0.0_f64; network.layout().len()];
    network.init(cpu, 3, &mut params).unwrap();
    let mut inputs = vec![0.0; 64 * 36];
    fill_uniform(cpu, Stream::new(9, 9), -3.0, 5.0, &mut inputs).unwrap();
    let variances = |params: &[f64]| {
        [1, 3, 5, 7].map(|end| {
            let part = Network::new(input, &layers[..end]).unwrap();
            let mut workspace = Workspace::inference(&part, cpu, 64).unwrap();
            let params = &params[..part.layout().len()];
            statistics(cpu, part.forward(cpu, params, &inputs, &mut workspace).unwrap()).variance()
        })
    };
    assert!(variances(&params).iter().any(|v| (v - 1.0).abs() > 0.5));
    let lsuv = Lsuv { tolerance: 1e-3, attempts: 20 };
    lsuv.scale(cpu, input, &layers, &Registry::new(), &mut params, &[], &inputs).unwrap();
    let found = variances(&params);
    assert!(found.iter().all(|v| (v - 1.0).abs() <= 1e-3), "{found:?}");

    let short: &mut Vec<f64> = &mut vec![0.0; 3];
    assert!(lsuv.scale(cpu, input, &layers, &Registry::new(), short, &[], &inputs).is_err());
    assert!(Lsuv { attempts: 0, ..lsuv }.check().is_err());
}

/// Means, then standard deviations, fitted to these rows.
fn fitted(rows: &[[f64; 2]]) -> Vec<f64> {
    let cpu = Cpu::detect();
    let layers = [Standardise {}.into(), LayerSpec::dense(1, Init::Constant { value: 1.0 })];
    let network = Network::new(2, &layers).unwrap();
    let mut buffers = vec![0.0; network.buffers().len()];
    network.init_buffers(cpu, &mut buffers).unwrap();
    let mut left = rows.iter();
    let mut next =
        |row: &mut [f64]| left.next().map(|values| row.copy_from_slice(values)).is_some();
    assert!(network.fit(cpu, &mut next, &mut buffers).unwrap());
    buffers
}

/// Scaling a column by a power of two scales its mean and deviation exactly, and nothing else.
#[test]
fn standardisation_does_not_depend_on_the_unit() {
    let rows: Vec<[f64; 2]> = (0..50).map(|i| [f64::from(i % 7) - 2.0, 3.0]).collect();
    let plain = fitted(&rows);
    assert!((plain[2] - 1.99).abs() < 0.05, "{plain:?}");
    for exponent in [-300_i64, -100, -30, 30, 300] {
        let unit = f64::from_bits(((1023 + exponent) as u64) << 52);
        let scaled = fitted(&rows.iter().map(|[a, b]| [a * unit, b * unit]).collect::<Vec<_>>());
        assert_eq!(scaled[0], plain[0] * unit, "{exponent}");
        assert_eq!(scaled[2], plain[2] * unit, "{exponent}");
        // The constant column.
        assert_eq!((scaled[1], scaled[3]), (plain[1] * unit, 1.0), "{exponent}");
    }
}

/// Loss, gradients and outputs of a regression on targets in this unit.
fn regression(loss: Loss, unit: f64) -> (f64, Vec<f64>, Vec<f64>) {
    let cpu = Cpu::detect();
    let layers = [
        LayerSpec::dense(3, Init::GlorotUniform),
        LayerSpec::dense(2, Init::GlorotUniform),
        Unstandardise {}.into(),
    ];
    let network = Network::new(2, &layers).unwrap().with_loss(loss);
    assert!(network.standardises_targets());
    let (mut params, mut buffers) =
        (vec![0.0; network.layout().len()], vec![0.0; network.buffers().len()]);
    network.init(cpu, 3, &mut params).unwrap();
    network.init_buffers(cpu, &mut buffers).unwrap();
    let inputs: Vec<f64> = (0..24).map(|i| f64::from(i % 5) - 2.0).collect();
    let targets: Vec<f64> = (0..24).map(|i| unit * (f64::from(i * 7 % 11) + 40.0)).collect();
    let mut left = targets.chunks_exact(2);
    let next = |row: &mut [f64]| left.next().map(|values| row.copy_from_slice(values)).is_some();
    assert!(network.fit_targets(cpu, next, &mut buffers).unwrap());
    let (mean, std) = network.target_unit(&buffers).unwrap();
    let exact = targets.iter().step_by(2).sum::<f64>() / 12.0;
    assert!((mean[0] / exact - 1.0).abs() < 1e-12 && std[0] / unit > 2.0, "{mean:?} {std:?}");

    let batch = Batch { inputs: &inputs, targets: Targets::Values(&targets) };
    let mut workspace = Workspace::new(&network, cpu, 12).unwrap();
    let mut grads = vec![0.0; params.len()];
    let weights = || Weights { params: &params, buffers: &mut *buffers.clone().leak() };
    let trained =
        network.gradient(cpu, Mode::Eval, weights(), batch, &mut workspace, &mut grads).unwrap();
    let scored = network.evaluate(cpu, weights(), batch, &mut workspace).unwrap();
    assert_eq!(trained.loss, scored.loss);
    let outputs = workspace.outputs(&network, 12).iter().map(|y| y / unit).collect();
    let checks = gradcheck(cpu, &network, Mode::Eval, weights(), batch).unwrap();
    assert!(checks.iter().all(|check| check.max_rel_error < 1e-6), "{checks:?}");
    (scored.loss, grads, outputs)
}

/// A unit that is a power of two scales the outputs, and changes no bit of loss and gradients.
#[test]
fn standardised_targets_do_not_depend_on_the_unit() {
    for loss in [Loss::Mse, Loss::Mae, Loss::Huber { delta: 0.5 }, Loss::LogCosh] {
        let plain = regression(loss, 1.0);
        // Untrained, on targets of variance 1: in units of the standard deviation.
        assert!((0.3..3.0).contains(&(plain.0 / 12.0)), "{plain:?}");
        // Outputs are in the targets' unit: around their mean of 45.
        assert!(plain.2.iter().all(|output| (20.0..70.0).contains(output)), "{plain:?}");
        for unit in [1.0 / 1_048_576.0, 1_048_576.0] {
            assert_eq!(regression(loss, unit), plain, "{loss:?} {unit}");
        }
    }
}

/// The last layer is not fitted unless the loss is a regression loss.
#[test]
fn other_losses_have_no_target_unit() {
    let layers = [LayerSpec::dense(2, Init::GlorotUniform), Unstandardise {}.into()];
    let network = Network::new(2, &layers).unwrap();
    assert!(!network.standardises_targets());
    let mut buffers = vec![0.0, 0.0, 1.0, 1.0];
    assert!(!network.fit_targets(Cpu::detect(), |_| panic!("not asked"), &mut buffers).unwrap());
    assert_eq!((network.target_unit(&buffers), &buffers[..]), (None, &[0.0, 0.0, 1.0, 1.0][..]));
}
