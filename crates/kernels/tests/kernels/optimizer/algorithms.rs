//! Compares each optimizer with the formulas that it documents, and with scalar loops bit for bit.

use super::{LR, draw, run};
use crate::testing::{bits, same_on_every_cpu, takes};
use kernels::Cpu;
use kernels::optimizer::*;

/// `base^exponent` by repeated squaring, low bits first: the order of the bias corrections.
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

/// Step of one parameter by the documented formulas, in plain f64.
type Scalar = fn(t: i32, p: &mut f64, g: f64, s: &mut [f64; 3]);

/// Gradient of the tests below: scaled by 0.7, with L2 decay of 1e-2 and L1 decay of 1e-3.
fn regularised(p: f64, g: f64) -> f64 {
    0.7 * g + 1e-2 * p + 1e-3 * if p > 0.0 { 1.0 } else { -1.0 }
}

/// Optimizers with their documented formulas, as PyTorch writes them.
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

/// SGD and Adam in scalars, in the order of operations that `kernels::optimizer` documents.
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
                let shrink = (1.0 - LR * decay.decoupled) as $float;
                for t in 1..=50 {
                    let unbias = (1.0 / (1.0 - power(0.875, t)).sqrt()) as $float;
                    let rate = (-LR / (1.0 - power(0.5, t))) as $float;
                    for (i, g) in draw::<$float>(t, n).into_iter().enumerate() {
                        let from_p = regularised(p[i], g);
                        b[i] = (0.9 as $float).mul_add(b[i], from_p);
                        let ahead = (0.9 as $float).mul_add(b[i], from_p);
                        p[i] = (-LR as $float).mul_add(ahead, shrink * p[i]);

                        let g = regularised(q[i], g);
                        m[i] = (0.5 as $float).mul_add(g - m[i], m[i]);
                        v[i] = (0.125 * g).mul_add(g, 0.875 * v[i]);
                        let size = v[i].sqrt().mul_add(unbias, 1e-8);
                        q[i] = rate.mul_add(m[i] / size, shrink * q[i]);
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

/// One tensor in plain f64, with the norms that its elements share.
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
    // u is p / 2; scaled to the norm of p, it is p.
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
