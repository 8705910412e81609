//! Problems of all kernels but matrix products, with numbers of every kind: functions, activations,
//! losses, reductions, normalisation, convolution, optimizers.

use crate::activation::{Activation, Saved};
use crate::convolution::{Convolution, Epilogue, Filters};
use crate::dropout::Dropout;
use crate::loss::{
    BinaryCrossEntropy, Brier, CrossEntropy, Hinge, KullbackLeibler, Poisson, Regression, Targets,
};
use crate::normalisation::batch::{batch_norm, batch_norm_backward, batch_norm_scratch};
use crate::normalisation::layer::{layer_norm, layer_norm_backward, layer_norm_backward_scratch};
use crate::normalisation::{Affine, AffineGradient};
use crate::optimizer::{
    AdaDelta, AdaGrad, AdaMax, Adam, AnyOptimizer, Decay, Lamb, Lars, Lion, NAdam, Optimizer,
    RAdam, RmsProp, Sgd, Step,
};
use crate::pooling::{Count, Pooling};
use crate::random::{Stream, fill_normal, fill_uniform};
use crate::softmax::{log_softmax, softmax_backward};
use crate::statistics::statistics;
use crate::{Cpu, Error, Float, Window, math, norm, vector};

use super::Fnv;

/// Elements of a slice: some registers and a rest.
const LEN: usize = 83;

/// Numbers from small to large, and those that are special.
fn numbers<T: Float>(cpu: Cpu<'_>, stream: u64) -> Result<[T; LEN], Error> {
    let mut x = [T::ZERO; LEN];
    fill_normal(cpu, Stream::new(6, stream), T::ZERO, T::from_f64(3.0), &mut x)?;
    let specials = [
        0.0,
        -0.0,
        1e-40,
        -1e-40,
        30.0,
        -30.0,
        1e4,
        -1e4,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
    ];
    for (x, special) in x.iter_mut().zip(specials) {
        *x = T::from_f64(special);
    }
    Ok(x)
}

/// Functions along slices, and activations with their gradients.
pub(super) fn functions<T: Float>(cpu: Cpu<'_>) -> Result<u64, Error> {
    let mut hash = Fnv::new();
    let x = numbers::<T>(cpu, 0)?;
    let mut y = [T::ZERO; LEN];
    for function in [
        math::exp,
        math::exp_m1,
        math::ln,
        math::ln_1p,
        math::tanh,
        math::sigmoid,
        math::softplus,
        math::erf,
        math::rsqrt,
        math::sin_pi,
        math::cos_pi,
    ] {
        function(cpu, &x, &mut y)?;
        hash.add(&y);
    }
    math::pow(cpu, &x, &numbers(cpu, 1)?, &mut y)?;
    hash.add(&y);

    for activation in [
        Activation::Relu,
        Activation::CappedRelu { cap: 6.0 },
        Activation::LeakyRelu { slope: 0.01 },
        Activation::Elu { alpha: 0.5 },
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
    ] {
        activation.forward(cpu, &x, &mut y)?;
        let mut dy = numbers(cpu, 2)?;
        activation.backward(
            cpu,
            if activation.saved() == Saved::Input { &x } else { &y },
            &mut dy,
        )?;
        hash.add(&y);
        hash.add(&dy);
    }
    Dropout { p: 0.4, stream: Stream::new(6, 9) }.forward(cpu, 5, &x, &mut y)?;
    hash.add(&y);
    Ok(hash.0)
}

/// The exponential as an activation, and losses of counts, distributions and probabilities. A hash
/// of their own, so that those of [`functions`] and [`rows`] stay.
pub(super) fn likelihoods<T: Float>(cpu: Cpu<'_>) -> Result<u64, Error> {
    const ROWS: usize = 7;
    const CLASSES: usize = 19;
    const ALL: usize = ROWS * CLASSES;
    let mut hash = Fnv::new();
    let (x, mut y, mut dy) = (numbers::<T>(cpu, 0)?, [T::ZERO; LEN], numbers(cpu, 2)?);
    Activation::Exponential.forward(cpu, &x, &mut y)?;
    Activation::Exponential.backward(cpu, &y, &mut dy)?;
    hash.add(&y);
    hash.add(&dy);

    let (mut targets, scale) = ([T::ZERO; LEN], T::from_f64(0.125));
    fill_uniform(cpu, Stream::new(7, 2), T::ZERO, T::from_f64(4.0), &mut targets)?;
    for log_input in [true, false] {
        Poisson { log_input }.gradient(cpu, &x, &targets, scale, &mut y, &mut dy)?;
        hash.add(&y);
        hash.add(&dy);
    }
    Regression::LogCosh.gradient(cpu, &x, &targets, scale, &mut y, &mut dy)?;
    hash.add(&y);
    hash.add(&dy);

    let (mut logits, mut targets) = ([T::ZERO; ALL], [T::ZERO; ALL]);
    fill_normal(cpu, Stream::new(7, 3), T::ONE, T::from_f64(2.0), &mut logits)?;
    fill_uniform(cpu, Stream::new(7, 4), T::ZERO, T::ONE, &mut targets)?;
    targets[1] = T::ZERO;
    let (mut losses, mut each, mut dx) = ([T::ZERO; ROWS], [T::ZERO; ALL], [T::ZERO; ALL]);
    KullbackLeibler.gradient(cpu, &logits, CLASSES, &targets, scale, &mut losses, &mut dx)?;
    hash.add(&losses);
    hash.add(&dx);
    for brier in [Brier::Softmax, Brier::Sigmoid] {
        brier.gradient(cpu, &logits, CLASSES, &targets, scale, &mut each, &mut dx)?;
        hash.add(&each);
        hash.add(&dx);
    }
    Ok(hash.0)
}

/// Losses, reductions and normalisation.
pub(super) fn rows<T: Float>(cpu: Cpu<'_>) -> Result<u64, Error> {
    const ROWS: usize = 11;
    const CLASSES: usize = 19;
    const ALL: usize = ROWS * CLASSES;
    let mut hash = Fnv::new();
    let (mut x, mut targets) = ([T::ZERO; ALL], [T::ZERO; ALL]);
    fill_normal(cpu, Stream::new(7, 0), T::ONE, T::from_f64(2.0), &mut x)?;
    fill_uniform(cpu, Stream::new(7, 1), T::ZERO, T::ONE, &mut targets)?;
    let labels: [u32; ROWS] = core::array::from_fn(|row| row as u32 % CLASSES as u32);
    let (mut losses, mut each, mut dx) = ([T::ZERO; ROWS], [T::ZERO; ALL], [T::ZERO; ALL]);
    let scale = T::from_f64(0.125);

    let smoothed = CrossEntropy { smoothing: 0.1, ..CrossEntropy::default() };
    for targets in [Targets::Labels(&labels), Targets::Distributions(&targets)] {
        smoothed.gradient(cpu, &x, CLASSES, targets, scale, &mut losses, &mut dx)?;
        hash.add(&losses);
        hash.add(&dx);
    }
    Hinge::default().gradient(cpu, &x, CLASSES, &labels, scale, &mut losses, &mut dx)?;
    hash.add(&losses);
    hash.add(&dx);
    BinaryCrossEntropy::default().gradient(cpu, &x, &targets, scale, &mut each, &mut dx)?;
    hash.add(&each);
    hash.add(&dx);
    Regression::Huber { delta: 0.5 }.gradient(cpu, &x, &targets, scale, &mut each, &mut dx)?;
    hash.add(&each);
    hash.add(&dx);
    log_softmax(cpu, &x, CLASSES, &mut each)?;
    softmax_backward(cpu, &targets, CLASSES, &mut dx)?;
    hash.add(&each);
    hash.add(&dx);

    let found = statistics(cpu, &x);
    hash.add(&[norm::norm1(cpu, &x)?, norm::norm2(cpu, &x)?, norm::norm_max(cpu, &x)?]);
    hash.add(&[vector::dot(cpu, &x, &targets)?, vector::cosine(cpu, &x, &targets)?]);
    hash.add(&[found.mean, found.variance(), found.absolute_mean()]);

    let (mut mean, mut rstd) = ([0.0; CLASSES], [0.0; CLASSES]);
    let mut scratch = [T::ZERO; batch_norm_scratch(ROWS, CLASSES)];
    batch_norm(cpu, &x, Affine::NONE, 1e-5, None, &mut mean, &mut rstd, &mut each, &mut scratch)?;
    let mut dy = targets;
    batch_norm_backward(cpu, &x, None, &mean, &rstd, &mut dy, AffineGradient::NONE, &mut scratch)?;
    hash.add(&mean);
    hash.add(&rstd);
    hash.add(&each);
    hash.add(&dy);
    let (mut mean, mut rstd) = ([0.0; ROWS], [0.0; ROWS]);
    let (mut dgamma, mut dbeta) = ([T::ZERO; CLASSES], [T::ZERO; CLASSES]);
    let mut scratch = [T::ZERO; layer_norm_backward_scratch(ROWS, CLASSES)];
    layer_norm(cpu, &x, CLASSES, Affine::NONE, 1e-5, &mut mean, &mut rstd, &mut each)?;
    let mut dy = targets;
    let gradient = AffineGradient::new(&mut dgamma, &mut dbeta);
    layer_norm_backward(cpu, &x, CLASSES, None, &mean, &rstd, &mut dy, gradient, &mut scratch)?;
    hash.add(&each);
    hash.add(&dy);
    hash.add(&dgamma);
    hash.add(&dbeta);
    Ok(hash.0)
}

/// A convolution with its gradients, and pooling.
pub(super) fn images<T: Float>(cpu: Cpu<'_>) -> Result<u64, Error> {
    const SHAPE: [usize; 4] = [2, 7, 6, 3];
    const X: usize = 2 * 7 * 6 * 3;
    const FILTERS: usize = 5;
    const W: usize = 3 * 3 * 3 * FILTERS;
    const Y: usize = 2 * 4 * 3 * FILTERS;
    let mut hash = Fnv::new();
    let window = Window::new([3, 3]).stride([2, 2]).padding([1, 1]);
    let convolution = Convolution::new(SHAPE, window, Filters::new(FILTERS))?;
    let (mut x, mut w, mut dy, mut bias) =
        ([T::ZERO; X], [T::ZERO; W], [T::ZERO; Y], [T::ZERO; FILTERS]);
    for (stream, operand) in [&mut x[..], &mut w, &mut dy, &mut bias].into_iter().enumerate() {
        fill_uniform(cpu, Stream::new(8, stream as u64), T::from_f64(-1.0), T::ONE, operand)?;
    }
    let mut scratch = [T::ZERO; 4096];
    let needs = convolution.forward_scratch::<T>(1).max(convolution.dx_scratch::<T>(1));
    let scratch = &mut scratch[..needs.max(convolution.dw_scratch::<T>(1))];
    let (mut y, mut dx, mut dw, mut db) =
        ([T::ZERO; Y], [T::ZERO; X], [T::ZERO; W], [T::ZERO; FILTERS]);
    convolution.forward(cpu, &x, &w, Epilogue::bias(&bias).relu(), &mut y, scratch)?;
    convolution.dx(cpu, &dy, &w, &mut dx, scratch)?;
    convolution.dw(cpu, &x, &dy, &mut dw, Some(&mut db), scratch)?;
    hash.add(&y);
    hash.add(&dx);
    hash.add(&dw);
    hash.add(&db);

    const POOLED: usize = 2 * 3 * 3 * 3;
    let pooling = Pooling::new(SHAPE, Window::new([2, 2]).stride([2, 2]))?;
    let mut pooled = [T::ZERO; POOLED];
    pooling.max(cpu, &x, &mut pooled)?;
    pooling.max_backward(cpu, &x, &pooled, &mut dx)?;
    hash.add(&pooled);
    hash.add(&dx);
    pooling.mean(cpu, Count::Window, &x, &mut pooled)?;
    hash.add(&pooled);
    Ok(hash.0)
}

/// Three steps of each optimizer.
pub(super) fn optimizers<T: Float>(cpu: Cpu<'_>) -> Result<u64, Error> {
    let mut hash = Fnv::new();
    let decay = Decay::decoupled(0.01);
    let all: [AnyOptimizer; 11] = [
        Sgd { momentum: 0.9, nesterov: true, decay }.into(),
        AdaGrad::default().into(),
        RmsProp { centred: true, momentum: 0.9, ..RmsProp::default() }.into(),
        AdaDelta::default().into(),
        Adam { amsgrad: true, decay, ..Adam::default() }.into(),
        NAdam::default().into(),
        RAdam::default().into(),
        AdaMax::default().into(),
        Lion { decay, ..Lion::default() }.into(),
        Lars::default().into(),
        Lamb { decay, ..Lamb::default() }.into(),
    ];
    for optimizer in all {
        let (mut params, mut moments) = ([T::ONE; LEN], [[T::ZERO; LEN]; 3]);
        for t in 1..=3 {
            let mut grads = [T::ZERO; LEN];
            fill_normal(cpu, Stream::new(9, t), T::ZERO, T::ONE, &mut grads)?;
            let [a, b, c] = &mut moments;
            let lent = &mut [&mut a[..], b, c][..optimizer.moments().len()];
            optimizer.step(cpu, Step::new(t, 0.01), &mut params, &grads, lent)?;
        }
        hash.add(&params);
        moments.iter().for_each(|moment| hash.add(moment));
    }
    Ok(hash.0)
}
