//! Optimizer steps: the bits on every instruction set, number of threads and length. The modules
//! test formulas, ranges, moments in bf16, errors, and Muon.

#![expect(clippy::disallowed_methods, reason = "std's powers are the reference here")]

mod algorithms;
mod bf16_moments;
mod misuse;
mod muon;
mod range;

use half::bf16;

use crate::testing::{bits, same_on_every_cpu, sample};
use kernels::optimizer::*;
use kernels::random::Stream;
use kernels::{Cpu, Element, Float};

/// Learning rate of the tests.
const LR: f64 = 0.01;

/// `n` numbers in [-1/2, 1/2).
fn draw<T: Float>(stream: u64, n: usize) -> Vec<T> {
    (0..n as u64).map(|i| T::from_f64(Stream::new(22, stream).uniform_f64(i) - 0.5)).collect()
}

/// Every optimizer, in every variant that has a pass of its own.
fn all() -> Vec<AnyOptimizer> {
    let every = Decay { l1: 1e-3, l2: 1e-2, decoupled: 0.1 };
    let momentum = Sgd { momentum: 0.9, ..Sgd::default() };
    let rmsprop = RmsProp { alpha: 0.9, decay: every, ..RmsProp::default() };
    let adam = Adam { beta1: 0.8, beta2: 0.9, decay: every, ..Adam::default() };
    vec![
        Sgd::default().into(),
        Sgd { decay: every, ..momentum }.into(),
        Sgd { nesterov: true, decay: every, ..momentum }.into(),
        AdaGrad { lr_decay: 0.1, decay: every, ..AdaGrad::default() }.into(),
        rmsprop.into(),
        RmsProp { centred: true, ..rmsprop }.into(),
        RmsProp { momentum: 0.8, ..rmsprop }.into(),
        RmsProp { momentum: 0.8, centred: true, ..rmsprop }.into(),
        AdaDelta { decay: every, ..AdaDelta::default() }.into(),
        Adam::default().into(),
        Adam::decoupled().into(),
        adam.into(),
        Adam { amsgrad: true, ..adam }.into(),
        NAdam { momentum_decay: 0.1, decay: every, ..NAdam::default() }.into(),
        RAdam { beta2: 0.9, decay: every, ..RAdam::default() }.into(),
        RAdam::default().into(),
        AdaMax { beta2: 0.9, decay: every, ..AdaMax::default() }.into(),
        Lion { decay: every, ..Lion::default() }.into(),
        Lars { sgd: Sgd { decay: every, ..momentum }, coefficient: 0.1, ..Lars::default() }.into(),
        Lars { sgd: Sgd { nesterov: true, ..momentum }, ..Lars::default() }.into(),
        Lamb { decay: every, ..Lamb::default() }.into(),
    ]
}

/// Parameters and moments after `steps` steps, each with other gradients.
fn run<T: Float, G: Element<Float = T>, M: Moment<Float = T>>(
    cpu: Cpu<'_>,
    optimizer: AnyOptimizer,
    n: usize,
    steps: u64,
) -> (Vec<T>, Vec<Vec<T>>) {
    let mut params = draw::<T>(0, n);
    let mut moments = vec![vec![M::default(); n]; optimizer.moments().len()];
    for t in 1..=steps {
        let grads: Vec<G> = draw::<T>(t, n).into_iter().map(G::from_float).collect();
        let step = Step { scale: 0.7, rounding: Stream::new(9, 9), ..Step::new(t, LR) };
        let mut lent: Vec<&mut [M]> = moments.iter_mut().map(|moment| &mut moment[..]).collect();
        optimizer.step(cpu, step, &mut params, &grads, &mut lent).unwrap();
    }
    let moments = moments.into_iter().map(|moment| moment.into_iter().map(M::to_float).collect());
    (params, moments.collect())
}

fn same_bits<T: Float, G: Element<Float = T>, M: Moment<Float = T>>(n: usize, steps: u64) {
    for optimizer in sample(all()) {
        same_on_every_cpu(|cpu| {
            let (params, moments) = run::<T, G, M>(cpu, optimizer, n, steps);
            (bits(&params), moments.iter().map(|moment| bits(moment)).collect::<Vec<_>>())
        });
    }
}

#[test]
fn steps_have_the_same_bits_on_every_cpu() {
    // More than two chunks, and a rest.
    let n = 2 * 16_384 + 70 + 3;
    same_bits::<f32, f32, f32>(n, 3);
    same_bits::<f64, f64, f64>(n, 3);
    same_bits::<f32, bf16, bf16>(n, 3);
}

#[test]
fn every_length_gives_the_bits_of_the_elements_alone() {
    for optimizer in all() {
        let by_tensor = matches!(optimizer, AnyOptimizer::Lars(_) | AnyOptimizer::Lamb(_));
        let (long, _) = run::<f32, f32, f32>(Cpu::detect(), optimizer, 300, 2);
        for n in [0, 1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 127, 128, 129] {
            let (short, moments) =
                same_on_every_cpu(|cpu| run::<f32, f32, f32>(cpu, optimizer, n, 2));
            assert!(moments.iter().all(|moment| moment.len() == n));
            assert!(by_tensor || bits(&short) == bits(&long[..n]), "{optimizer:?}, {n} elements");
            assert!(short.iter().all(|x| x.is_finite()));
            let with_bf16 = same_on_every_cpu(|cpu| run::<f32, bf16, bf16>(cpu, optimizer, n, 2));
            assert!(with_bf16.0.iter().all(|x| x.is_finite()));
        }
    }
}
