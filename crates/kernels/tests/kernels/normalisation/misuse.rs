//! Operands that do not fit.

use super::*;

#[test]
fn misuse_is_refused_before_anything_is_written() {
    let cpu = Cpu::detect();
    let x = [1.0_f32; 12];
    let (mut mean, mut rstd, mut y, mut scratch) =
        ([7.0; 3], [7.0; 3], [7.0_f32; 12], [7.0_f32; 21]);
    let length = |operand, expected, got| Err(Error::Length { operand, expected, got });
    let is_parameter = |result: Result<(), Error>, expected: &str| {
        assert!(
            matches!(result, Err(Error::Parameter { name, .. }) if name == expected),
            "{result:?}"
        );
    };
    let both = Affine::new(&x[..3], &x[..3]);
    let mut batch =
        |x: &[f32], affine, epsilon, momentum: f64, channels: usize, scratch_len: usize| {
            let (mut running_mean, mut running_var) = ([7.0; 3], [7.0; 3]);
            let running = Running { mean: &mut running_mean, var: &mut running_var, momentum };
            let (mean, rstd) = (&mut mean[..channels], &mut rstd);
            let result = batch_norm(
                cpu,
                x,
                affine,
                epsilon,
                Some(running),
                mean,
                rstd,
                &mut y[..x.len()],
                &mut scratch[..scratch_len],
            );
            assert_eq!((running_mean, running_var), ([7.0; 3], [7.0; 3]));
            result
        };
    assert_eq!(batch(&x[..11], both, 0.1, 0.1, 3, 21), length("x", 9, 11));
    assert_eq!(batch(&x, both, 0.1, 0.1, 2, 21), length("rstd", 2, 3));
    assert_eq!(
        batch(&x, Affine { gamma: Some(&x[..2]), beta: None }, 0.1, 0.1, 3, 21),
        length("gamma", 3, 2)
    );
    assert_eq!(
        batch(&x, Affine { gamma: None, beta: Some(&x[..4]) }, 0.1, 0.1, 3, 21),
        length("beta", 3, 4)
    );
    assert_eq!(batch(&x, both, 0.1, 0.1, 3, 20), Err(Error::Scratch { expected: 21, got: 20 }));
    is_parameter(batch(&x, both, -1.0, 0.1, 3, 21), "epsilon");
    is_parameter(batch(&x, both, f64::NAN, 0.1, 3, 21), "epsilon");
    is_parameter(batch(&x, both, 0.1, 1.1, 3, 21), "momentum");
    is_parameter(batch(&x[..3], both, 0.1, 0.1, 3, 21), "rows");
    let mut dy = [7.0; 12];
    let gradient = AffineGradient { dgamma: None, dbeta: Some(&mut y[..2]) };
    let result = batch_norm_backward(cpu, &x, None, &mean, &rstd, &mut dy, gradient, &mut scratch);
    assert_eq!(result, length("dbeta", 3, 2));
    let result = batch_norm_backward(
        cpu,
        &x,
        None,
        &mean,
        &rstd,
        &mut dy[..9],
        AffineGradient::NONE,
        &mut scratch,
    );
    assert_eq!(result, length("dy", 12, 9));

    let (mean4, rstd4) = (&mut [7.0; 4], &mut [7.0; 4]);
    assert_eq!(layer_norm(cpu, &x, 4, both, 0.1, mean4, rstd4, &mut y), length("x", 16, 12));
    assert_eq!(layer_norm(cpu, &x, 3, both, 0.1, &mut mean, rstd4, &mut y), length("mean", 4, 3));
    assert_eq!(
        layer_norm(cpu, &x, usize::MAX, both, 0.1, mean4, rstd4, &mut y),
        length("x", usize::MAX, 12)
    );
    is_parameter(rms_norm(cpu, &x, 3, None, f64::INFINITY, rstd4, &mut y), "epsilon");
    let result = layer_norm_backward(
        cpu,
        &x,
        3,
        None,
        mean4,
        rstd4,
        &mut dy,
        AffineGradient::NONE,
        &mut scratch[..5],
    );
    assert_eq!(result, Err(Error::Scratch { expected: 6, got: 5 }));

    let groups = Groups { batch: 1, positions: 4, channels: 3, groups: 3 };
    let mut group = |groups, n: usize| {
        group_norm(
            cpu,
            groups,
            &x[..n],
            Affine::NONE,
            0.1,
            &mut mean,
            &mut rstd,
            &mut y[..n],
            &mut scratch,
        )
    };
    is_parameter(group(Groups { groups: 2, ..groups }, 12), "groups");
    is_parameter(group(Groups { groups: 0, ..groups }, 12), "groups");
    assert_eq!(group(Groups { batch: usize::MAX, ..groups }, 12), length("x", usize::MAX, 12));
    assert_eq!(group(groups, 9), length("x", 12, 9));

    let inference =
        batch_norm_inference(cpu, &x, &x[..3], &x[..3], both, 0.1, &mut y, &mut scratch[..5]);
    assert_eq!(inference, Err(Error::Scratch { expected: 6, got: 5 }));
    assert_eq!(scale_shift(cpu, &x[..3], &x[..2], &mut y), length("shift", 3, 2));
    assert_eq!(
        fold_batch_norm(cpu, &x[..3], &x[..2], both, 0.1, &mut y[..3], &mut scratch[..3]),
        length("running_var", 3, 2)
    );
    assert_eq!((mean, rstd, *mean4, *rstd4), ([7.0; 3], [7.0; 3], [7.0; 4], [7.0; 4]));
    assert_eq!((y, scratch, dy), ([7.0; 12], [7.0; 21], [7.0; 12]));
}
