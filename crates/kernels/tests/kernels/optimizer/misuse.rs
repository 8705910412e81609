//! Errors of every optimizer, found before the first write.

use super::all;
use kernels::optimizer::*;
use kernels::{Cpu, Error};

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
        // A step returns the error as well.
        let mut moments = [[1.0_f32; 2]; MOST_MOMENTS];
        let mut moments = moments.each_mut().map(|moment| &mut moment[..]);
        let moments = &mut moments[..optimizer.moments().len()];
        let result =
            optimizer.step(Cpu::detect(), Step::new(1, 0.1), &mut [1.0], &[1.0_f32], moments);
        assert!(matches!(result, Err(Error::Parameter { .. })));
    }
    assert!(all().iter().all(|optimizer| optimizer.check().is_ok()));
}
