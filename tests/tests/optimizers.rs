//! Fifty steps of every optimizer, compared with those of PyTorch and optax that
//! `tests/pytorch/optimizers.py` recorded.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use kernels::Cpu;
use kernels::optimizer::{
    AdaDelta, AdaGrad, AdaMax, Adam, AnyOptimizer, Decay, Lamb, Lars, Lion, MOST_MOMENTS, Muon,
    NAdam, Optimizer, RAdam, RmsProp, Sgd, Step,
};

const RECORDED: &str = include_str!("../golden/optimizers.txt");

const STEPS: u64 = 50;
const SHAPE: [usize; 2] = [3, 4];
const N: usize = SHAPE[0] * SHAPE[1];

/// The numbers of the script.
fn number(i: usize, t: u64) -> f64 {
    let mixed = (i as u64 * 7919 + t * 104_729 + 12_345) * 2_654_435_761 % (1 << 32);
    mixed as f64 / (1_u64 << 32) as f64 - 0.5
}

fn start() -> [f64; N] {
    std::array::from_fn(|i| 4.0 * number(i, 0))
}

fn gradient(t: u64, p: &[f64; N]) -> [f64; N] {
    let mut g = std::array::from_fn(|i| number(i, t) / f64::from(1 << (i % 5)) + 0.25 * p[i]);
    if t <= 40 {
        g[5] = 0.0;
    }
    g
}

fn steps(optimizer: AnyOptimizer, lr: f64) -> [f64; N] {
    let (mut params, mut moments) = (start(), [[0.0_f64; N]; MOST_MOMENTS]);
    for t in 1..=STEPS {
        let grads = gradient(t, &params);
        let mut moments = moments.each_mut().map(|moment| &mut moment[..]);
        let moments = &mut moments[..optimizer.moments().len()];
        optimizer.step(Cpu::detect(), Step::new(t, lr), &mut params, &grads, moments).unwrap();
    }
    params
}

fn muon_steps(muon: Muon, lr: f64, shape: [usize; 2]) -> [f64; N] {
    let (mut params, mut m) = (start(), [0.0; N]);
    let mut scratch = vec![f64::NAN; Muon::scratch::<f64>(1, shape)];
    for t in 1..=STEPS {
        let grads = gradient(t, &params);
        let step = Step::new(t, lr);
        muon.step(Cpu::detect(), step, &mut params, &grads, shape, &mut m, &mut scratch).unwrap();
    }
    params
}

#[test]
fn fifty_steps_are_those_of_pytorch_and_optax() {
    let (l2, decoupled) = (Decay::l2, Decay::decoupled);
    let momentum = Sgd { momentum: 0.9, ..Sgd::default() };
    let centred = RmsProp { centred: true, ..RmsProp::default() };
    let (adam, lars) = (Adam::default(), Lars::default());
    let with = |optimizer: AnyOptimizer, lr| steps(optimizer, lr);
    let results = [
        ("sgd", with(Sgd::default().into(), 0.05)),
        ("sgd-l2", with(Sgd { decay: l2(0.1), ..Sgd::default() }.into(), 0.05)),
        ("momentum", with(Sgd { decay: l2(0.01), ..momentum }.into(), 0.05)),
        ("nesterov", with(Sgd { nesterov: true, ..momentum }.into(), 0.05)),
        ("adagrad", with(AdaGrad::default().into(), 0.1)),
        (
            "adagrad-decay",
            with(AdaGrad { lr_decay: 0.1, decay: l2(0.05), ..AdaGrad::default() }.into(), 0.1),
        ),
        ("rmsprop", with(RmsProp::default().into(), 0.01)),
        ("rmsprop-centred", with(RmsProp { alpha: 0.9, ..centred }.into(), 0.01)),
        (
            "rmsprop-momentum",
            with(RmsProp { momentum: 0.8, decay: l2(0.1), ..RmsProp::default() }.into(), 0.01),
        ),
        ("rmsprop-both", with(RmsProp { momentum: 0.8, ..centred }.into(), 0.01)),
        ("adadelta", with(AdaDelta::default().into(), 1.0)),
        ("adadelta-l2", with(AdaDelta { rho: 0.95, epsilon: 1e-4, decay: l2(0.1) }.into(), 0.5)),
        ("adam", with(adam.into(), 0.02)),
        ("adam-l2", with(Adam { beta1: 0.8, beta2: 0.99, decay: l2(0.1), ..adam }.into(), 0.02)),
        ("amsgrad", with(Adam { beta2: 0.8, amsgrad: true, ..adam }.into(), 0.02)),
        ("adamw", with(Adam { decay: decoupled(0.1), ..adam }.into(), 0.02)),
        ("adamw-amsgrad", with(Adam { decay: decoupled(0.1), amsgrad: true, ..adam }.into(), 0.02)),
        ("nadam", with(NAdam::default().into(), 0.02)),
        (
            "nadam-decoupled",
            with(
                NAdam { momentum_decay: 0.5, decay: decoupled(0.1), ..NAdam::default() }.into(),
                0.02,
            ),
        ),
        ("radam", with(RAdam::default().into(), 0.02)),
        ("radam-l2", with(RAdam { beta2: 0.9, decay: l2(0.1), ..RAdam::default() }.into(), 0.02)),
        ("adamax", with(AdaMax::default().into(), 0.02)),
        (
            "adamax-l2",
            with(
                AdaMax { beta1: 0.8, beta2: 0.9, decay: l2(0.1), ..AdaMax::default() }.into(),
                0.02,
            ),
        ),
        ("lion", with(Lion::default().into(), 0.01)),
        (
            "lion-decoupled",
            with(Lion { beta1: 0.95, beta2: 0.98, decay: decoupled(0.5) }.into(), 0.01),
        ),
        ("lamb", with(Lamb::default().into(), 0.02)),
        ("lamb-decoupled", with(Lamb { decay: decoupled(0.1), ..Lamb::default() }.into(), 0.02)),
        ("lars", with(lars.into(), 10.0)),
        (
            "lars-nesterov",
            with(
                Lars { sgd: Sgd { nesterov: true, decay: l2(0.1), ..lars.sgd }, ..lars }.into(),
                10.0,
            ),
        ),
        ("muon", muon_steps(Muon::default(), 0.02, SHAPE)),
        (
            "muon-tall",
            muon_steps(
                Muon { momentum: 0.9, nesterov: false, decay: 0.0, ..Muon::default() },
                0.02,
                [SHAPE[1], SHAPE[0]],
            ),
        ),
    ];

    let recorded: Vec<(&str, Vec<f64>)> = (RECORDED.lines().filter(|line| !line.starts_with('#')))
        .map(|line| {
            let (name, numbers) = line.split_once(' ').unwrap();
            (name, numbers.split(' ').map(|x| x.parse().unwrap()).collect())
        })
        .collect();
    assert_eq!(recorded.len(), results.len());
    for ((name, got), (recorded_name, expected)) in results.into_iter().zip(recorded) {
        assert_eq!((name, got.len()), (recorded_name, expected.len()));
        for (i, (got, expected)) in got.into_iter().zip(expected).enumerate() {
            let error = (got - expected).abs() / expected.abs();
            assert!(
                error <= 1e-10,
                "{name}, parameter {i}: {got} not {expected}, off by {error:e}"
            );
        }
    }
}
