#![expect(clippy::disallowed_methods, reason = "std's powers are the reference here")]

use half::bf16;

use crate::testing::{bits, same_on_every_cpu, sample, share, takes};
use kernels::optimizer::*;
use kernels::random::Stream;
use kernels::{Cpu, Element, Error, Float};

fn draw<T: Float>(stream: u64, n: usize) -> Vec<T> {
    (0..n as u64).map(|i| T::from_f64(Stream::new(22, stream).uniform_f64(i) - 0.5)).collect()
}

/// `base^exponent` by repeated squaring, low bits first: the order that bias corrections are
/// defined by.
fn power(mut base: f64, exponent: u64) -> f64 {
    let mut result = 1.0;
    for bit in 0..u64::BITS - exponent.leading_zeros() {
        if exponent >> bit & 1 == 1 {
            result *= base;
        }
        base *= base;
    }
    result
}

/// Every optimizer, and every kind of pass that it has.
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

/// Parameters and moments of a run, with gradients drawn anew at each step.
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
        let step = Step { scale: 0.7, rounding: Stream::new(9, 9), ..Step::new(t, 0.01) };
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

/// What one optimizer does to one parameter, as documented, in plain f64.
type Scalar = fn(t: i32, p: &mut f64, g: f64, s: &mut [f64; 3]);

/// The regularised gradient of the test below, and the parameter after decoupled decay.
fn regularised(p: f64, g: f64) -> f64 {
    0.7 * g + 1e-2 * p + 1e-3 * if p > 0.0 { 1.0 } else { -1.0 }
}

const LR: f64 = 0.01;

/// The documented algorithms, as PyTorch writes them, of those of `documented`.
fn scalars() -> Vec<(AnyOptimizer, Scalar)> {
    let decay = Decay { l1: 1e-3, l2: 1e-2, decoupled: 0.1 };
    let rmsprop = RmsProp { momentum: 0.8, centred: true, decay, ..RmsProp::default() };
    vec![
        (Sgd { decay, ..Sgd::default() }.into(), |_, p, g, _| *p -= LR * g),
        (Sgd { momentum: 0.9, nesterov: true, decay }.into(), |_, p, g, [b, ..]| {
            *b = 0.9 * *b + g;
            *p -= LR * (g + 0.9 * *b);
        }),
        (AdaGrad { lr_decay: 0.1, epsilon: 1e-10, decay }.into(), |t, p, g, [sum, ..]| {
            *sum += g * g;
            *p -= LR / (1.0 + f64::from(t - 1) * 0.1) * g / (sum.sqrt() + 1e-10);
        }),
        (rmsprop.into(), |_, p, g, [v, b, mean]| {
            *v = 0.99 * *v + (1.0 - 0.99) * g * g;
            *mean = 0.99 * *mean + (1.0 - 0.99) * g;
            *b = 0.8 * *b + g / ((*v - *mean * *mean).sqrt() + 1e-8);
            *p -= LR * *b;
        }),
        (AdaDelta { rho: 0.9, epsilon: 1e-6, decay }.into(), |_, p, g, [v, u, _]| {
            *v = *v * 0.9 + g * g * (1.0 - 0.9);
            let delta = (*u + 1e-6).sqrt() / (*v + 1e-6).sqrt() * g;
            *u = *u * 0.9 + delta * delta * (1.0 - 0.9);
            *p -= LR * delta;
        }),
        (Adam { decay, ..Adam::default() }.into(), |t, p, g, [m, v, _]| {
            *m = 0.9 * *m + (1.0 - 0.9) * g;
            *v = 0.999 * *v + (1.0 - 0.999) * g * g;
            let (m_hat, v_hat) = (*m / (1.0 - 0.9_f64.powi(t)), *v / (1.0 - 0.999_f64.powi(t)));
            *p -= LR * m_hat / (v_hat.sqrt() + 1e-8);
        }),
        (
            Adam { amsgrad: true, beta2: 0.9, decay, ..Adam::default() }.into(),
            |t, p, g, [m, v, w]| {
                *m = 0.9 * *m + (1.0 - 0.9) * g;
                *v = 0.9 * *v + (1.0 - 0.9) * g * g;
                *w = w.max(*v);
                let (m_hat, v_hat) = (*m / (1.0 - 0.9_f64.powi(t)), *w / (1.0 - 0.9_f64.powi(t)));
                *p -= LR * m_hat / (v_hat.sqrt() + 1e-8);
            },
        ),
        (NAdam { decay, ..NAdam::default() }.into(), |t, p, g, [m, v, product]| {
            let mu = |t: i32| 0.9 * (1.0 - 0.5 * 0.96_f64.powf(f64::from(t) * 4e-3));
            *product = if t == 1 { mu(1) } else { *product * mu(t) };
            *m = 0.9 * *m + (1.0 - 0.9) * g;
            *v = 0.999 * *v + (1.0 - 0.999) * g * g;
            let m_hat = mu(t + 1) * *m / (1.0 - *product * mu(t + 1))
                + (1.0 - mu(t)) * g / (1.0 - *product);
            *p -= LR * m_hat / ((*v / (1.0 - 0.999_f64.powi(t))).sqrt() + 1e-8);
        }),
        (RAdam { decay, ..RAdam::default() }.into(), |t, p, g, [m, v, _]| {
            *m = 0.9 * *m + (1.0 - 0.9) * g;
            *v = 0.999 * *v + (1.0 - 0.999) * g * g;
            let m_hat = *m / (1.0 - 0.9_f64.powi(t));
            let limit = 2.0 / (1.0 - 0.999) - 1.0;
            let power = 0.999_f64.powi(t);
            let length = limit - 2.0 * f64::from(t) * power / (1.0 - power);
            *p -= LR * m_hat;
            if length > 5.0 {
                let l = (1.0 - power).sqrt() / (v.sqrt() + 1e-8);
                let r = ((length - 4.0) * (length - 2.0) * limit)
                    / ((limit - 4.0) * (limit - 2.0) * length);
                *p += LR * m_hat * (1.0 - r.sqrt() * l);
            }
        }),
        (AdaMax { decay, ..AdaMax::default() }.into(), |t, p, g, [m, u, _]| {
            *m = 0.9 * *m + (1.0 - 0.9) * g;
            *u = (0.999 * *u).max(g.abs() + 1e-8);
            *p -= LR / (1.0 - 0.9_f64.powi(t)) * *m / *u;
        }),
        (Lion { decay, ..Lion::default() }.into(), |_, p, g, [m, ..]| {
            *p -= LR * (0.9 * *m + (1.0 - 0.9) * g).signum();
            *m = 0.99 * *m + (1.0 - 0.99) * g;
        }),
    ]
}

#[test]
fn fifty_steps_are_those_of_the_documented_algorithms() {
    let n = 40;
    for (optimizer, scalar) in scalars() {
        let mut expected = draw::<f64>(0, n);
        let mut states = vec![[0.0; 3]; n];
        for t in 1..=50 {
            for ((p, g), state) in expected.iter_mut().zip(draw(t, n)).zip(&mut states) {
                let g = regularised(*p, g);
                *p *= 1.0 - LR * 0.1;
                scalar(t as i32, p, g, state);
            }
        }
        let (params, _) = run::<f64, f64, f64>(Cpu::detect(), optimizer, n, 50);
        for (got, expected) in params.iter().zip(expected) {
            assert!((got - expected).abs() <= 1e-12, "{optimizer:?}: {got} not {expected}");
        }
    }
}

/// Sgd and Adam by the order of operations that the module's head promises, in scalars.
macro_rules! fifty_steps {
    ($name:ident, $float:ident) => {
        #[test]
        fn $name() {
            let n = if takes(16_384) { 16_384 + 70 } else { 70 };
            let decay = Decay { l1: 1e-3, l2: 1e-2, decoupled: 0.1 };
            for decay in [Decay::NONE, Decay::l2(1e-2), Decay::decoupled(0.1), decay] {
                let sgd = Sgd { momentum: 0.9, nesterov: true, decay };
                let adam = Adam { beta1: 0.5, beta2: 0.875, decay, ..Adam::default() };
                let start = draw::<$float>(0, n);
                let (mut p, mut b) = (start.clone(), vec![0.0; n]);
                let (mut q, mut m, mut v) = (start, vec![0.0; n], vec![0.0; n]);
                let regularised = |p: $float, g: $float| {
                    let g = (decay.l2 as $float).mul_add(p, 0.7 * g);
                    (decay.l1 as $float).mul_add(if p > 0.0 { 1.0 } else { -1.0 }, g)
                };
                let keep = (1.0 - LR * decay.decoupled) as $float;
                for t in 1..=50 {
                    let unbias = (1.0 / (1.0 - power(0.875, t)).sqrt()) as $float;
                    let rate = (-LR / (1.0 - power(0.5, t))) as $float;
                    for (i, g) in draw::<$float>(t, n).into_iter().enumerate() {
                        let from_p = regularised(p[i], g);
                        b[i] = (0.9 as $float).mul_add(b[i], from_p);
                        let ahead = (0.9 as $float).mul_add(b[i], from_p);
                        p[i] = (-LR as $float).mul_add(ahead, keep * p[i]);

                        let g = regularised(q[i], g);
                        m[i] = (0.5 as $float).mul_add(g - m[i], m[i]);
                        v[i] = (0.125 * g).mul_add(g, 0.875 * v[i]);
                        let size = v[i].sqrt().mul_add(unbias, 1e-8);
                        q[i] = rate.mul_add(m[i] / size, keep * q[i]);
                    }
                }
                same_on_every_cpu(|cpu| {
                    let (params, moments) = run::<$float, $float, $float>(cpu, sgd.into(), n, 50);
                    assert!(
                        [bits(&params), bits(&moments[0])] == [bits(&p), bits(&b)],
                        "{sgd:?}, {cpu:?}"
                    );
                    let (params, moments) = run::<$float, $float, $float>(cpu, adam.into(), n, 50);
                    let got = [bits(&params), bits(&moments[0]), bits(&moments[1])];
                    assert!(got == [bits(&q), bits(&m), bits(&v)], "{adam:?}, {cpu:?}");
                });
            }
        }
    };
}
fifty_steps!(fifty_steps_have_the_bits_of_the_scalar_loop_f32, f32);
fifty_steps!(fifty_steps_have_the_bits_of_the_scalar_loop_f64, f64);

/// One tensor in plain f64: what the elements share.
#[test]
fn lars_and_lamb_are_the_documented_algorithms() {
    let n = 40;
    let decay = Decay { l1: 1e-3, l2: 1e-2, decoupled: 0.1 };
    let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
    let start = draw::<f64>(0, n);
    let (mut p, mut b) = (start.clone(), vec![0.0; n]);
    for t in 1..=50 {
        let g = draw::<f64>(t, n);
        let trust = 0.1 * norm(&p) / (0.7 * norm(&g) + 1e-2 * norm(&p) + 1e-8);
        for ((p, g), b) in p.iter_mut().zip(g).zip(&mut b) {
            *b = 0.9 * *b + trust * regularised(*p, g);
            *p = *p * (1.0 - LR * 0.1) - LR * *b;
        }
    }
    let sgd = Sgd { momentum: 0.9, nesterov: false, decay };
    let lars = Lars { sgd, coefficient: 0.1, epsilon: 1e-8 };
    let (got, _) = run::<f64, f64, f64>(Cpu::detect(), lars.into(), n, 50);
    assert!(got.iter().zip(&p).all(|(got, p)| (got - p).abs() <= 1e-12));

    let (mut p, mut m, mut v) = (start, vec![0.0; n], vec![0.0; n]);
    for t in 1..=50_i32 {
        let g = draw::<f64>(t as u64, n);
        let mut u = vec![0.0; n];
        for i in 0..n {
            let g = regularised(p[i], g[i]);
            m[i] = 0.9 * m[i] + (1.0 - 0.9) * g;
            v[i] = 0.999 * v[i] + (1.0 - 0.999) * g * g;
            let (m_hat, v_hat) = (m[i] / (1.0 - 0.9_f64.powi(t)), v[i] / (1.0 - 0.999_f64.powi(t)));
            u[i] = m_hat / (v_hat.sqrt() + 1e-6) + 0.1 * p[i];
        }
        let ratio = norm(&p) / norm(&u);
        p.iter_mut().zip(u).for_each(|(p, u)| *p -= LR * ratio * u);
    }
    let (got, _) =
        run::<f64, f64, f64>(Cpu::detect(), Lamb { decay, ..Lamb::default() }.into(), n, 50);
    assert!(got.iter().zip(&p).all(|(got, p)| (got - p).abs() <= 1e-12));
}

#[test]
fn a_tensor_of_zeros_or_without_a_gradient_has_a_ratio_of_one() {
    let sgd = Sgd::default();
    let lars = Lars { sgd, ..Lars::default() };
    let none: &mut [&mut [f64]] = &mut [];
    let mut p = [0.0; 3];
    lars.step(Cpu::detect(), Step::new(1, 0.5), &mut p, &[2.0, 4.0, -6.0], none).unwrap();
    assert_eq!(p, [-1.0, -2.0, 3.0]);
    let mut p = [1.0, 2.0];
    lars.step(Cpu::detect(), Step::new(1, 0.5), &mut p, &[0.0; 2], none).unwrap();
    assert_eq!(p, [1.0, 2.0]);
    let (mut m, mut v) = ([0.0; 2], [0.0; 2]);
    let lamb = Lamb { decay: Decay::decoupled(0.5), ..Lamb::default() };
    lamb.step(Cpu::detect(), Step::new(1, 0.5), &mut p, &[0.0; 2], &mut [&mut m, &mut v]).unwrap();
    // u is half of p, and as long as p when it has been stretched.
    assert_eq!(p, [0.5, 1.0]);
}

#[test]
fn l1_pulls_towards_zero_and_leaves_zero_alone() {
    let none: &mut [&mut [f32]] = &mut [];
    let sgd = Sgd { decay: Decay::l1(0.5), ..Sgd::default() };
    let mut p = [2.0_f32, -2.0, 0.0, -0.0, f32::NAN];
    sgd.step(Cpu::detect(), Step::new(1, 1.0), &mut p, &[0.0_f32; 5], none).unwrap();
    assert_eq!(bits(&p), bits(&[1.5, -1.5, 0.0, -0.0, f32::NAN]));
}

#[test]
fn what_is_not_a_number_stays_with_its_element() {
    for optimizer in all() {
        if matches!(optimizer, AnyOptimizer::Lars(_) | AnyOptimizer::Lamb(_)) {
            continue;
        }
        let params = same_on_every_cpu(|cpu| {
            let mut params = [1.0_f32; 40];
            let mut moments = vec![vec![bf16::ZERO; 40]; optimizer.moments().len()];
            for t in 1..=3 {
                let mut grads = [bf16::from_f32(0.5); 40];
                if t == 1 {
                    (grads[3], grads[35]) = (bf16::NAN, bf16::INFINITY);
                }
                let mut lent: Vec<&mut [bf16]> = moments.iter_mut().map(|m| &mut m[..]).collect();
                optimizer.step(cpu, Step::new(t, 0.01), &mut params, &grads, &mut lent).unwrap();
            }
            bits(&params)
        });
        assert_eq!(params[3], u64::MAX, "{optimizer:?} loses a NaN");
        let others = |i: &usize| *i != 3 && *i != 35;
        assert!(
            (0..40).filter(others).all(|i| f64::from_bits(params[i]).is_finite()),
            "{optimizer:?}"
        );
    }
}

/// Without a gradient, moments fade; none of them may linger among the subnormal numbers.
#[test]
fn fading_moments_come_to_rest_at_zero() {
    let (mut p, mut m, mut v) = ([1.0_f32; 40], [1e-3_f32; 40], [1e-20; 40]);
    let adam = Adam { beta2: 0.99, ..Adam::default() };
    for t in 1..=40_000 {
        let moments = &mut [&mut m[..], &mut v[..]];
        adam.step(Cpu::detect(), Step::new(t, 1e-3), &mut p, &[0.0_f32; 40], moments).unwrap();
        assert!(m.iter().chain(&v).all(|x| *x == 0.0 || x.is_normal()));
    }
    assert_eq!((m, v), ([0.0; 40], [0.0; 40]));
}

/// Steps of one element by `grads`: its parameter and its second moment after each step.
fn path<T: Float>(optimizer: AnyOptimizer, grads: &[f64]) -> Vec<[f64; 2]> {
    let (mut p, mut moments) = ([T::ZERO], [[T::ZERO]; MOST_MOMENTS]);
    let mut steps = Vec::new();
    for (t, &g) in (1..).zip(grads) {
        let mut lent = moments.each_mut().map(|moment| &mut moment[..]);
        let lent = &mut lent[..optimizer.moments().len()];
        let g = [T::from_f64(g)];
        optimizer.step(Cpu::detect(), Step::new(t, LR), &mut p, &g, lent).unwrap();
        let v = optimizer.second_moment().map_or(1.0, |second| moments[second.index][0].to_f64());
        steps.push([p[0].to_f64(), v]);
    }
    steps
}

/// `optimizer` without regularisation, and with an epsilon far below the gradients.
fn bare(optimizer: AnyOptimizer) -> AnyOptimizer {
    let (decay, epsilon) = (Decay::NONE, 1e-20);
    match optimizer {
        AnyOptimizer::Sgd(o) => Sgd { decay, ..o }.into(),
        AnyOptimizer::AdaGrad(o) => AdaGrad { decay, epsilon, ..o }.into(),
        AnyOptimizer::RmsProp(o) => RmsProp { decay, epsilon, ..o }.into(),
        AnyOptimizer::AdaDelta(o) => AdaDelta { decay, epsilon: 1e-6, ..o }.into(),
        AnyOptimizer::Adam(o) => Adam { decay, epsilon, ..o }.into(),
        AnyOptimizer::NAdam(o) => NAdam { decay, epsilon, ..o }.into(),
        AnyOptimizer::RAdam(o) => RAdam { decay, epsilon, ..o }.into(),
        AnyOptimizer::AdaMax(o) => AdaMax { decay, epsilon, ..o }.into(),
        AnyOptimizer::Lion(o) => Lion { decay, ..o }.into(),
        AnyOptimizer::Lars(o) => Lars { sgd: Sgd { decay, ..o.sgd }, epsilon, ..o }.into(),
        AnyOptimizer::Lamb(o) => Lamb { decay, epsilon, ..o }.into(),
        other => panic!("{other:?} has no bare form in this test"),
    }
}

/// Gradients of 1e-40 to 1e38 with zeros between them: f32 steps as f64 does while the second
/// moment is a normal number, does not step where it is less, and the check finds where it is more.
#[test]
fn f32_steps_as_f64_does_wherever_the_second_moment_is_a_normal_number() {
    for optimizer in all().into_iter().map(bare) {
        let (mut agreed, mut rested, mut refused) = (0, 0, 0);
        for exponent in -40..=38 {
            let g = f64::from(10.0_f64.powi(exponent) as f32);
            let grads = [g, 0.0, 0.0, -g / 2.0, g, 0.0, g / 4.0, g, g / 2.0, 0.0];
            let (narrow, wide) = (path::<f32>(optimizer, &grads), path::<f64>(optimizer, &grads));
            let moments = wide.iter().map(|[_, v]| *v);
            let (least, most) =
                (moments.clone().fold(1e300, f64::min), moments.fold(0.0, f64::max));
            // What f64 has is the moment before each step, within the margin of the check.
            let is_refused = optimizer.second_moment().is_some_and(|second| {
                let before = core::iter::once(0.0).chain(wide.iter().map(|[_, v]| *v));
                grads.iter().zip(before).any(|(&g, v)| {
                    let [g, v] = [g, v].map(|x| [x as f32]);
                    second.check(Cpu::detect(), 1.0, g[0].abs().into(), &[0.0], &g, &v).is_err()
                })
            });
            assert_eq!(is_refused, most > f64::from(f32::MAX), "{optimizer:?}, {g:e}: {most:e}");
            if is_refused {
                refused += 1;
                continue;
            }
            let is_lion = matches!(optimizer, AnyOptimizer::Lion(_));
            // Lion's sign of a mean that has settled to 0 is 0.
            if is_lion && g < 1e-26 {
                continue;
            }
            if least >= f64::from(f32::MIN_POSITIVE) {
                agreed += 1;
                for (t, ([got, _], [expected, _])) in narrow.iter().zip(&wide).enumerate() {
                    let tolerance = 1e-5 * (LR + expected.abs());
                    let error = (got - expected).abs();
                    assert!(
                        error <= tolerance,
                        "{optimizer:?}, {g:e}, step {t}: {got} not {expected}"
                    );
                }
            } else if most < f64::from(f32::MIN_POSITIVE) {
                rested += 1;
                // RAdam's first steps divide by nothing.
                let most =
                    if matches!(optimizer, AnyOptimizer::RAdam(_)) { LR * g * 20.0 } else { 0.0 };
                assert!(
                    narrow.iter().all(|[p, v]| p.abs() <= most && *v == 0.0),
                    "{optimizer:?}, {g:e}"
                );
            } else {
                assert!(
                    narrow.iter().all(|[p, _]| p.abs() <= 1.0),
                    "{optimizer:?}, {g:e}: {narrow:?}"
                );
            }
        }
        let squares = optimizer.second_moment().is_some();
        assert_eq!(
            (rested > 15, refused > 10),
            (squares, squares),
            "{optimizer:?}: {rested}, {refused}"
        );
        assert!(agreed >= 36, "{optimizer:?}: {agreed}");
    }
}

/// Zero gradients and an epsilon of 0: nothing is divided by nothing.
#[test]
fn elements_without_a_gradient_stay_where_they_are() {
    for optimizer in all().into_iter().map(bare) {
        let optimizer = match optimizer {
            AnyOptimizer::AdaGrad(o) => AdaGrad { epsilon: 0.0, ..o }.into(),
            AnyOptimizer::RmsProp(o) => RmsProp { epsilon: 0.0, ..o }.into(),
            AnyOptimizer::AdaDelta(o) => AdaDelta { epsilon: 0.0, ..o }.into(),
            AnyOptimizer::Adam(o) => Adam { epsilon: 0.0, ..o }.into(),
            AnyOptimizer::NAdam(o) => NAdam { epsilon: 0.0, ..o }.into(),
            AnyOptimizer::RAdam(o) => RAdam { epsilon: 0.0, ..o }.into(),
            AnyOptimizer::AdaMax(o) => AdaMax { epsilon: 0.0, ..o }.into(),
            AnyOptimizer::Lamb(o) => Lamb { epsilon: 0.0, ..o }.into(),
            other => other,
        };
        assert!(path::<f32>(optimizer, &[0.0; 8]).iter().all(|[p, _]| *p == 0.0), "{optimizer:?}");
    }
}

#[test]
fn a_gradient_whose_square_overflows_is_found_with_its_decay() {
    let adam = Adam { decay: Decay { l2: 1e-2, l1: 1e-3, decoupled: 0.0 }, ..Adam::default() };
    let second = adam.second_moment().unwrap();
    let check = |scale, p: &[f32], g: &[f32], v: &[f32]| {
        let largest = g.iter().fold(0.0_f64, |most, &g| most.max(g.abs().into()));
        second.check(Cpu::detect(), scale, largest, p, g, v)
    };
    assert_eq!(check(1.0, &[1.0, 1.0], &[1.0, 1.0], &[0.0, f32::MAX]), Ok(()));
    assert_eq!(
        check(1.0, &[1.0, 1.0], &[1.0, 7e20], &[0.0; 2]),
        Err(Error::NonFinite { index: 1 })
    );
    assert_eq!(check(0.1, &[1.0, 1.0], &[1.0, 7e20], &[0.0; 2]), Ok(()));
    // The decay alone is enough, and so is what the moment holds.
    assert_eq!(
        check(1.0, &[7e22, 1.0], &[1.0, 1.0], &[0.0; 2]),
        Err(Error::NonFinite { index: 0 })
    );
    assert_eq!(
        check(1.0, &[0.0, 0.0], &[2e20, 2e20], &[0.0, 3.4e38]),
        Err(Error::NonFinite { index: 1 })
    );
    let wide = second.check(Cpu::detect(), 1.0, 1e200, &[0.0], &[1e200_f64], &[0.0]);
    assert_eq!(wide, Err(Error::NonFinite { index: 0 }));
}

/// The moments in bf16 of one step from zero are the exact ones, rounded by the promised bits; a mean of many is exact.
#[test]
fn moments_in_bf16_are_rounded_at_random() {
    let n = 20_000;
    let adam = Adam::default();
    let grads: Vec<bf16> = draw(1, n).into_iter().map(bf16::from_f32).collect();
    let (mut m, mut v) = (vec![0.0_f32; n], vec![0.0_f32; n]);
    adam.step(Cpu::detect(), Step::new(1, 0.0), &mut vec![0.0; n], &grads, &mut [&mut m, &mut v])
        .unwrap();
    let stored = |t: u64, rounding: Stream| {
        let (mut m, mut v) = (vec![bf16::ZERO; n], vec![bf16::ZERO; n]);
        let step = Step { rounding, ..Step::new(t, 0.0) };
        adam.step(Cpu::detect(), step, &mut vec![0.0; n], &grads, &mut [&mut m, &mut v]).unwrap();
        [m, v]
    };
    let rounding = Stream::new(5, 6);
    for t in [1, 2, 1 << 28] {
        let got = stored(t, rounding);
        for (j, (got, exact)) in got.iter().zip([&m, &v]).enumerate() {
            for (i, (got, exact)) in got.iter().zip(exact).enumerate() {
                let (tile, e) = (i / 128, i % 128);
                let block = (t % (1 << 28)) << 36 | (j as u64) << 34 | (16 * tile + e % 16) as u64;
                let noise = rounding.block(block)[e / 16 % 4] >> (16 * (e / 64)) & 0xFFFF;
                assert_eq!(
                    u32::from(got.to_bits()),
                    (exact.to_bits() + noise) >> 16,
                    "element {i} of {j}"
                );
            }
        }
    }
    // Hundreds of roundings, whose deviation is at most half of 2^-7 of a value, on average over all elements.
    let rounds = share(400) as u64;
    let mut bias = [0.0; 2];
    for stream in 0..rounds {
        for ((bias, got), exact) in
            bias.iter_mut().zip(stored(1, Stream::new(1, stream))).zip([&m, &v])
        {
            for (got, exact) in got.iter().zip(exact).filter(|(_, exact)| **exact != 0.0) {
                *bias += f64::from(got.to_f32() - exact)
                    / f64::from(*exact)
                    / (rounds * n as u64) as f64;
            }
        }
    }
    let standard_error = 0.5 * 2.0_f64.powi(-7) / ((rounds * n as u64) as f64).sqrt();
    assert!(
        bias.iter().all(|bias| bias.abs() < 4.0 * standard_error),
        "{bias:?}, {standard_error:e}"
    );
}

/// A mean that moves by less than half a unit of bf16 a step, which rounding to nearest would freeze.
#[test]
fn slow_means_in_bf16_move() {
    let n = 1000;
    let adam = Adam { beta2: 0.999, ..Adam::default() };
    let (mut p, mut m, mut v) = (vec![0.0_f32; n], vec![bf16::ZERO; n], vec![bf16::ONE; n]);
    for t in 1..=1000 {
        adam.step(
            Cpu::detect(),
            Step::new(t, 0.0),
            &mut p,
            &vec![bf16::ZERO; n],
            &mut [&mut m, &mut v],
        )
        .unwrap();
    }
    let mean = v.iter().map(|v| f64::from(v.to_f32())).sum::<f64>() / n as f64;
    assert!((mean - 0.999_f64.powi(1000)).abs() < 0.01, "{mean}");
}

#[test]
fn late_steps_are_finite() {
    for optimizer in all() {
        for t in [1_000_000, u64::MAX] {
            let (mut params, mut moments) = ([1.0_f32; 3], [[0.5_f32; 3]; MOST_MOMENTS]);
            let mut moments = moments.each_mut().map(|moment| &mut moment[..]);
            let moments = &mut moments[..optimizer.moments().len()];
            optimizer
                .step(Cpu::detect(), Step::new(t, 1e-3), &mut params, &[0.1_f32; 3], moments)
                .unwrap();
            assert!(params.iter().all(|p| p.is_finite()), "{optimizer:?} at {t}");
        }
    }
}

#[test]
fn misuse_is_refused_before_anything_is_changed() {
    for optimizer in all() {
        let names = optimizer.moments();
        let check = |step: Step, grads: usize, lengths: &[usize], expected: Error| {
            let mut params = [1.0_f32; 3];
            let mut moments: Vec<Vec<f32>> = lengths.iter().map(|&n| vec![1.0; n]).collect();
            let mut lent: Vec<&mut [f32]> =
                moments.iter_mut().map(|moment| &mut moment[..]).collect();
            let result =
                optimizer.step(Cpu::detect(), step, &mut params, &vec![1.0_f32; grads], &mut lent);
            match (result.unwrap_err(), expected) {
                (Error::Parameter { name, .. }, Error::Parameter { name: expected, .. }) => {
                    assert_eq!(name, expected);
                }
                (error, expected) => assert_eq!(error, expected, "{optimizer:?}"),
            }
            assert!(params == [1.0; 3] && moments.iter().flatten().all(|x| *x == 1.0));
        };
        let (good, right) = (Step::new(1, 0.1), vec![3; names.len()]);
        check(good, 4, &right, Error::Length { operand: "grads", expected: 3, got: 4 });
        let more = vec![3; names.len() + 1];
        let count = Error::Length { operand: "moments", expected: names.len(), got: more.len() };
        check(good, 3, &more, count);
        for (j, operand) in names.iter().enumerate() {
            let mut lengths = right.clone();
            lengths[j] = 2;
            check(good, 3, &lengths, Error::Length { operand, expected: 3, got: 2 });
        }
        let parameter = |name| Error::Parameter { name, expected: "", got: 0.0 };
        check(Step { t: 0, ..good }, 3, &right, parameter("t"));
        for lr in [-1.0, f64::NAN, f64::INFINITY] {
            check(Step { lr, ..good }, 3, &right, parameter("lr"));
        }
        check(Step { scale: f64::INFINITY, ..good }, 3, &right, parameter("scale"));
    }
}

#[test]
fn hyper_parameters_out_of_range_are_refused() {
    let nan = f64::NAN;
    let decay = |l1, l2, decoupled| Decay { l1, l2, decoupled };
    let table: Vec<(&str, AnyOptimizer)> = vec![
        ("momentum", Sgd { momentum: 1.0, ..Sgd::default() }.into()),
        ("momentum", Sgd { momentum: -0.1, ..Sgd::default() }.into()),
        ("momentum", Sgd { nesterov: true, ..Sgd::default() }.into()),
        ("l1", Sgd { decay: decay(-1.0, 0.0, 0.0), ..Sgd::default() }.into()),
        ("l2", Sgd { decay: decay(0.0, f64::INFINITY, 0.0), ..Sgd::default() }.into()),
        ("decoupled", Sgd { decay: decay(0.0, 0.0, nan), ..Sgd::default() }.into()),
        ("lr_decay", AdaGrad { lr_decay: -1.0, ..AdaGrad::default() }.into()),
        ("epsilon", AdaGrad { epsilon: -1.0, ..AdaGrad::default() }.into()),
        ("alpha", RmsProp { alpha: 1.0, ..RmsProp::default() }.into()),
        ("epsilon", RmsProp { epsilon: nan, ..RmsProp::default() }.into()),
        ("momentum", RmsProp { momentum: 1.0, ..RmsProp::default() }.into()),
        ("rho", AdaDelta { rho: -0.5, ..AdaDelta::default() }.into()),
        ("epsilon", AdaDelta { epsilon: -1e-9, ..AdaDelta::default() }.into()),
        ("beta1", Adam { beta1: 1.0, ..Adam::default() }.into()),
        ("beta2", Adam { beta2: -0.5, ..Adam::default() }.into()),
        ("epsilon", Adam { epsilon: nan, ..Adam::default() }.into()),
        ("l2", Adam { decay: Decay::l2(nan), ..Adam::default() }.into()),
        ("beta1", NAdam { beta1: 1.0, ..NAdam::default() }.into()),
        ("beta2", NAdam { beta2: 1.0, ..NAdam::default() }.into()),
        ("epsilon", NAdam { epsilon: -1.0, ..NAdam::default() }.into()),
        ("momentum_decay", NAdam { momentum_decay: -1.0, ..NAdam::default() }.into()),
        ("beta1", RAdam { beta1: nan, ..RAdam::default() }.into()),
        ("beta2", RAdam { beta2: 1.0, ..RAdam::default() }.into()),
        ("epsilon", RAdam { epsilon: -1.0, ..RAdam::default() }.into()),
        ("beta1", AdaMax { beta1: nan, ..AdaMax::default() }.into()),
        ("beta2", AdaMax { beta2: 1.0, ..AdaMax::default() }.into()),
        ("epsilon", AdaMax { epsilon: -1.0, ..AdaMax::default() }.into()),
        ("beta1", Lion { beta1: 1.0, ..Lion::default() }.into()),
        ("beta2", Lion { beta2: 1.0, ..Lion::default() }.into()),
        (
            "momentum",
            Lars { sgd: Sgd { momentum: 2.0, ..Sgd::default() }, ..Lars::default() }.into(),
        ),
        ("coefficient", Lars { coefficient: -1.0, ..Lars::default() }.into()),
        ("epsilon", Lars { epsilon: -1.0, ..Lars::default() }.into()),
        ("beta1", Lamb { beta1: 1.0, ..Lamb::default() }.into()),
        ("beta2", Lamb { beta2: 1.0, ..Lamb::default() }.into()),
        ("epsilon", Lamb { epsilon: -1.0, ..Lamb::default() }.into()),
    ];
    for (expected, optimizer) in table {
        let Err(Error::Parameter { name, .. }) = optimizer.check() else {
            panic!("{optimizer:?} passes")
        };
        assert_eq!(name, expected, "{optimizer:?}");
        // A step says so as well.
        let mut moments = [[1.0_f32; 2]; MOST_MOMENTS];
        let mut moments = moments.each_mut().map(|moment| &mut moment[..]);
        let moments = &mut moments[..optimizer.moments().len()];
        let result =
            optimizer.step(Cpu::detect(), Step::new(1, 0.1), &mut [1.0], &[1.0_f32], moments);
        assert!(matches!(result, Err(Error::Parameter { .. })));
    }
    assert!(all().iter().all(|optimizer| optimizer.check().is_ok()));
}

/// `x` times its transpose, or the other way around if that is smaller.
fn gram(x: &[f64], [rows, cols]: [usize; 2]) -> (Vec<f64>, usize) {
    let (short, long) = (rows.min(cols), rows.max(cols));
    let at = |i: usize, k: usize| if rows > cols { x[k * cols + i] } else { x[i * cols + k] };
    let dot = |i, j| (0..long).map(|k| at(i, k) * at(j, k)).sum();
    ((0..short * short).map(|ij| dot(ij / short, ij % short)).collect(), short)
}

#[test]
fn many_iterations_without_overshoot_are_orthogonal() {
    // 15/8, -10/8, 3/8 converge to 1.
    let iteration = NewtonSchulz {
        coefficients: [1.875, -1.25, 0.375],
        iterations: 30,
        ..NewtonSchulz::default()
    };
    for shape in [[1, 1], [1, 7], [7, 1], [5, 8], [8, 5], [20, 33]] {
        let [rows, cols] = shape;
        let x = draw::<f64>(3, rows * cols);
        let (mut y, mut scratch) =
            (x.clone(), vec![f64::NAN; orthogonalise_scratch::<f64>(1, rows, cols)]);
        orthogonalise(Cpu::detect(), iteration, &x, shape, &mut y, &mut scratch).unwrap();
        let (gram, short) = gram(&y, shape);
        for (ij, g) in gram.iter().enumerate() {
            let expected = if ij / short == ij % short { 1.0 } else { 0.0 };
            assert!((g - expected).abs() < 1e-12, "{shape:?}, {ij}: {g}");
        }
    }
}

#[test]
fn the_default_iteration_brings_singular_values_near_one() {
    let shape = [16, 48];
    let x = draw::<f64>(4, 16 * 48);
    let (mut y, mut scratch) =
        (vec![0.0; x.len()], vec![0.0; orthogonalise_scratch::<f64>(1, 16, 48)]);
    orthogonalise(Cpu::detect(), NewtonSchulz::default(), &x, shape, &mut y, &mut scratch).unwrap();
    let (gram, short) = gram(&y, shape);
    // Gershgorin's discs say little here; the trace is the sum of the squares of all 16 singular values.
    let trace: f64 = (0..short).map(|i| gram[i * short + i]).sum();
    assert!((16.0 * 0.68 * 0.68..16.0 * 1.14 * 1.14).contains(&trace), "{trace}");
}

fn orthogonalised<T: Float>(cpu: Cpu<'_>, x: &[T], shape: [usize; 2], iterations: u32) -> Vec<T> {
    let scratch = orthogonalise_scratch::<T>(3, shape[0], shape[1]);
    let (mut y, mut scratch) = (vec![T::NAN; x.len()], vec![T::NAN; scratch]);
    let iteration = NewtonSchulz { iterations, ..NewtonSchulz::default() };
    orthogonalise(cpu, iteration, x, shape, &mut y, &mut scratch).unwrap();
    y
}

#[test]
fn orthogonalising_is_the_same_on_every_cpu_for_a_transpose_and_for_any_scale() {
    for (shape, iterations) in
        [([0, 3], 5), ([3, 0], 5), ([1, 1], 4), ([33, 70], 5), ([70, 33], 2), ([9, 9], 0)]
    {
        let [rows, cols] = shape;
        let x = draw::<f32>(5, rows * cols);
        let y = same_on_every_cpu(|cpu| orthogonalised(cpu, &x, shape, iterations));
        let turned = |x: &[f32]| -> Vec<f32> {
            (0..x.len()).map(|i| x[i % rows * cols + i / rows]).collect()
        };
        let of_transpose = orthogonalised(Cpu::detect(), &turned(&x), [cols, rows], iterations);
        // The norm is summed in another order, and rounded before it divides.
        assert!(turned(&y).iter().zip(of_transpose).all(|(a, b)| (a - b).abs() < 1e-5));
        let huge: Vec<f32> = x.iter().map(|x| x * 2.0_f32.powi(100)).collect();
        assert_eq!(bits(&orthogonalised(Cpu::detect(), &huge, shape, iterations)), bits(&y));
    }
    let zeros = orthogonalised(Cpu::detect(), &[0.0_f64; 6], [2, 3], 5);
    assert_eq!(zeros, [0.0; 6]);
    for bad in [f32::NAN, f32::INFINITY] {
        let y = orthogonalised(Cpu::detect(), &[1.0, bad, 2.0, 3.0], [2, 2], 5);
        assert!(y.iter().all(|y| y.is_nan()));
    }
}

#[test]
fn muon_has_the_same_bits_on_every_cpu() {
    let shape = [40, 24];
    let n = 960;
    same_on_every_cpu(|cpu| {
        let (mut params, mut m) = (draw::<f32>(0, n), vec![0.0; n]);
        let mut scratch = vec![f32::NAN; Muon::scratch::<f32>(3, 40, 24)];
        for t in 1..=3 {
            let step = Step { scale: 0.5, ..Step::new(t, 0.02) };
            Muon::default()
                .step(cpu, step, &mut params, &draw(t, n), shape, &mut m, &mut scratch)
                .unwrap();
        }
        (bits(&params), bits(&m))
    });
}

#[test]
fn misuse_of_muon_is_refused() {
    let cpu = Cpu::detect();
    let need = Muon::scratch::<f32>(1, 2, 3);
    let run = |muon: Muon, shape, grads: usize, m: usize, scratch: usize| {
        let (mut p, mut m, mut scratch) = (vec![1.0_f32; 6], vec![1.0; m], vec![0.0; scratch]);
        let result = muon.step(
            cpu,
            Step::new(1, 0.1),
            &mut p,
            &vec![1.0; grads],
            shape,
            &mut m,
            &mut scratch,
        );
        assert!(p.iter().chain(&m).all(|x| *x == 1.0));
        result.unwrap_err()
    };
    let good = Muon::default();
    let length = |operand, expected, got| Error::Length { operand, expected, got };
    assert_eq!(run(good, [2, 4], 6, 6, need), length("params", 8, 6));
    assert_eq!(run(good, [usize::MAX, 3], 6, 6, need), length("params", usize::MAX, 6));
    assert_eq!(run(good, [2, 3], 5, 6, need), length("grads", 6, 5));
    assert_eq!(run(good, [2, 3], 6, 7, need), length("momentum_buffer", 6, 7));
    assert_eq!(run(good, [2, 3], 6, 6, need - 1), Error::Scratch { expected: need, got: need - 1 });
    let bad = |newton_schulz| Muon { newton_schulz, ..good };
    let iteration = NewtonSchulz::default();
    for (expected, muon) in [
        ("momentum", Muon { momentum: 1.0, ..good }),
        ("decoupled", Muon { decay: -1.0, ..good }),
        ("epsilon", bad(NewtonSchulz { epsilon: 0.0, ..iteration })),
        ("b", bad(NewtonSchulz { coefficients: [1.0, f64::NAN, 1.0], ..iteration })),
    ] {
        assert!(
            matches!(run(muon, [2, 3], 6, 6, need), Error::Parameter { name, .. } if name == expected)
        );
    }
    let mut y = [1.0_f32; 6];
    let mut refused = |x: usize, scratch| {
        orthogonalise(cpu, iteration, &vec![1.0; x], [2, 3], &mut y, &mut vec![0.0; scratch])
            .unwrap_err()
    };
    let need = orthogonalise_scratch::<f32>(1, 2, 3);
    assert_eq!(refused(5, need), length("x", 6, 5));
    assert_eq!(refused(6, need - 1), Error::Scratch { expected: need, got: need - 1 });
    assert_eq!(y, [1.0; 6]);
}
