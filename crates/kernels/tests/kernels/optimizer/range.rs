//! NaN, infinities, and second moments that underflow or overflow.

use half::bf16;

use super::{LR, all};
use crate::testing::{bits, same_on_every_cpu};
use kernels::optimizer::*;
use kernels::{Cpu, Error, Float};

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

/// Without a gradient, moments decay to 0 and are never subnormal.
#[test]
fn decaying_moments_become_zero() {
    let (mut p, mut m, mut v) = ([1.0_f32; 40], [1e-3_f32; 40], [1e-20; 40]);
    let adam = Adam { beta2: 0.99, ..Adam::default() };
    for t in 1..=40_000 {
        let moments = &mut [&mut m[..], &mut v[..]];
        adam.step(Cpu::detect(), Step::new(t, 1e-3), &mut p, &[0.0_f32; 40], moments).unwrap();
        assert!(m.iter().chain(&v).all(|x| *x == 0.0 || x.is_normal()));
    }
    assert_eq!((m, v), ([0.0; 40], [0.0; 40]));
}

/// Parameter and second moment of one element after each step by `grads`.
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

/// Gradients of 1e-40 to 1e38 with zeros between them. f32 steps as f64 does while the second
/// moment is a normal number, and does not step where it underflows; the check finds where it
/// overflows.
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
            // The moment in f64 before each step is within the margin of the check.
            let is_refused = optimizer.second_moment().is_some_and(|second| {
                let before = core::iter::once(0.0).chain(wide.iter().map(|[_, v]| *v));
                grads.iter().zip(before).any(|(&g, v)| {
                    let [g, v] = [g, v].map(|x| [x as f32]);
                    let bound = GradientBound { scale: 1.0, largest: g[0].abs().into() };
                    second.check(Cpu::detect(), bound, &[0.0], &g, &v).is_err()
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
                // RAdam's first steps do not divide.
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

/// Zero gradients and an epsilon of 0: no step divides 0 by 0.
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
        second.check(Cpu::detect(), GradientBound { scale, largest }, p, g, v)
    };
    assert_eq!(check(1.0, &[1.0, 1.0], &[1.0, 1.0], &[0.0, f32::MAX]), Ok(()));
    assert_eq!(
        check(1.0, &[1.0, 1.0], &[1.0, 7e20], &[0.0; 2]),
        Err(Error::NonFinite { index: 1 })
    );
    assert_eq!(check(0.1, &[1.0, 1.0], &[1.0, 7e20], &[0.0; 2]), Ok(()));
    // The decay alone overflows, and so does the moment before the step.
    assert_eq!(
        check(1.0, &[7e22, 1.0], &[1.0, 1.0], &[0.0; 2]),
        Err(Error::NonFinite { index: 0 })
    );
    assert_eq!(
        check(1.0, &[0.0, 0.0], &[2e20, 2e20], &[0.0, 3.4e38]),
        Err(Error::NonFinite { index: 1 })
    );
    let bound = GradientBound { scale: 1.0, largest: 1e200 };
    let wide = second.check(Cpu::detect(), bound, &[0.0], &[1e200_f64], &[0.0]);
    assert_eq!(wide, Err(Error::NonFinite { index: 0 }));
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
