//! Groups that are constant, non-finite or empty, and operands at any address.

use super::*;

#[test]
fn a_constant_group_becomes_beta_exactly() {
    for constant in [0.1_f32, -3e6, 1e-40, 0.0] {
        let groups = Groups { batch: 2, positions: 7, channels: 20, groups: 2 };
        for norm in
            [Batch { rows: 150, channels: 20 }, Layer { rows: 3, channels: 20 }, Group(groups)]
        {
            let x = vec![constant; norm.len()];
            let (gamma, beta) = (draw::<f32>(18, 20), draw::<f32>(19, 20));
            let (mean, rstd, y) = norm.forward(Cpu::detect(), &x, Affine::new(&gamma, &beta));
            assert!(mean.iter().all(|&mean| mean == f64::from(constant)));
            assert!(rstd.iter().all(|&rstd| rstd == 1.0 / EPSILON.sqrt()));
            assert!(
                y.iter().enumerate().all(|(i, &y)| y == beta[i % 20]),
                "{norm:?} of {constant}"
            );
        }
    }
}

#[test]
fn non_finite_elements_stay_in_their_group() {
    let groups = Groups { batch: 2, positions: 70, channels: 20, groups: 4 };
    for norm in [
        Batch { rows: 150, channels: 20 },
        Layer { rows: 6, channels: 20 },
        Rms { rows: 6, channels: 20 },
        Group(groups),
    ] {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            // In the gradient.
            let (x, mut dy) = (draw::<f32>(20, norm.len()), draw::<f32>(21, norm.len()));
            let (mean, rstd, _) = norm.forward(Cpu::detect(), &x, Affine::NONE);
            dy[norm.len() / 2 + 3] = bad;
            let (dx, ..) = norm.backward(Cpu::detect(), &x, None, (&mean, &rstd), &dy);
            let spoilt = norm.group_of(norm.len() / 2 + 3);
            let is_right = |(i, dx): (usize, &f32)| dx.is_finite() == (norm.group_of(i) != spoilt);
            assert!(dx.iter().enumerate().all(is_right), "{norm:?}, {bad} in dy");

            // In the input.
            let clean = draw::<f32>(20, norm.len());
            let mut x = clean.clone();
            let at = norm.len() / 2 + 3;
            x[at] = bad;
            let dy = draw::<f32>(21, norm.len());
            let all = |x: &[f32]| {
                let (mean, rstd, y) = norm.forward(Cpu::detect(), x, Affine::NONE);
                let (dx, ..) = norm.backward(Cpu::detect(), x, None, (&mean, &rstd), &dy);
                (y, dx)
            };
            let ((y, dx), (clean_y, clean_dx)) = (all(&x), all(&clean));
            for i in 0..x.len() {
                if norm.group_of(i) != norm.group_of(at) {
                    assert_eq!(
                        (y[i], dx[i]),
                        (clean_y[i], clean_dx[i]),
                        "{norm:?}, {bad}, element {i}"
                    );
                } else if matches!(norm, Rms { .. }) && !bad.is_nan() && i != at {
                    assert_eq!(y[i], 0.0);
                } else {
                    assert!(
                        y[i].is_nan() && dx[i].is_nan(),
                        "{norm:?}, {bad}, element {i}: {} {}",
                        y[i],
                        dx[i]
                    );
                }
            }
        }
    }
}

#[test]
fn alignment_changes_nothing_and_neighbours_are_untouched() {
    let groups = Groups { batch: 2, positions: 17, channels: 12, groups: 3 };
    for norm in [Batch { rows: 34, channels: 12 }, Layer { rows: 34, channels: 12 }, Group(groups)]
    {
        let n = norm.len();
        let x = draw::<f32>(22, n);
        let cpu = Cpu::detect();
        let (mean, rstd, expected) = norm.forward(cpu, &x, Affine::NONE);
        let (expected_dx, ..) = norm.backward(cpu, &x, None, (&mean, &rstd), &x);
        for offset in 1..5 {
            let mut moved = vec![7.0_f32; n + 9];
            moved[offset..][..n].copy_from_slice(&x);
            let (mut y, mut dx) = (vec![7.0_f32; n + 9], moved.clone());
            let (mut mean, mut rstd) = (mean.clone(), rstd.clone());
            let mut scratch = vec![0.0; 10_000];
            let (from, to, d) =
                (&moved[offset..][..n], &mut y[offset..][..n], &mut dx[offset..][..n]);
            let gradient = AffineGradient::NONE;
            match norm {
                Batch { .. } => {
                    batch_norm(
                        cpu,
                        from,
                        Affine::NONE,
                        EPSILON,
                        None,
                        &mut mean,
                        &mut rstd,
                        to,
                        &mut scratch,
                    )
                    .unwrap();
                    batch_norm_backward(cpu, from, None, &mean, &rstd, d, gradient, &mut scratch)
                        .unwrap();
                }
                Group(groups) => {
                    group_norm(
                        cpu,
                        groups,
                        from,
                        Affine::NONE,
                        EPSILON,
                        &mut mean,
                        &mut rstd,
                        to,
                        &mut scratch,
                    )
                    .unwrap();
                    group_norm_backward(
                        cpu,
                        groups,
                        from,
                        None,
                        &mean,
                        &rstd,
                        d,
                        gradient,
                        &mut scratch,
                    )
                    .unwrap();
                }
                _ => {
                    layer_norm(cpu, from, 12, Affine::NONE, EPSILON, &mut mean, &mut rstd, to)
                        .unwrap();
                    layer_norm_backward(
                        cpu,
                        from,
                        12,
                        None,
                        &mean,
                        &rstd,
                        d,
                        gradient,
                        &mut scratch,
                    )
                    .unwrap();
                }
            }
            for (got, expected) in [(&y, &expected), (&dx, &expected_dx)] {
                assert_eq!(bits(&got[offset..][..n]), bits(expected), "{norm:?}");
                assert!(got[..offset].iter().chain(&got[offset + n..]).all(|&x| x == 7.0));
            }
        }
    }
}

#[test]
fn without_rows_nothing_is_done() {
    let cpu = Cpu::detect();
    let (mut mean, mut rstd) = ([7.0; 3], [7.0; 3]);
    let (mut dgamma, mut dbeta) = ([7.0_f32; 3], [7.0; 3]);
    let mut scratch = [0.0_f32; 100];
    batch_norm(cpu, &[], Affine::NONE, 0.1, None, &mut mean, &mut rstd, &mut [], &mut scratch)
        .unwrap();
    assert_eq!((mean, rstd), ([7.0; 3], [7.0; 3]));
    let gradient = AffineGradient::new(&mut dgamma, &mut dbeta);
    batch_norm_backward(cpu, &[], None, &mean, &rstd, &mut [], gradient, &mut scratch).unwrap();
    assert_eq!((dgamma, dbeta), ([0.0; 3], [0.0; 3]));
    let (mut dgamma, mut dbeta) = ([7.0_f32; 3], [7.0; 3]);
    let gradient = AffineGradient::new(&mut dgamma, &mut dbeta);
    layer_norm_backward(cpu, &[], 3, None, &[], &[], &mut [], gradient, &mut []).unwrap();
    assert_eq!((dgamma, dbeta), ([0.0; 3], [0.0; 3]));
    for (batch, positions) in [(0, 4), (1, 0)] {
        let groups = Groups { batch, positions, channels: 3, groups: 3 };
        let (mut dgamma, mut dbeta) = ([7.0_f32; 3], [7.0; 3]);
        let (mut mean, mut rstd) = (mean, rstd);
        let (mean, rstd) = (&mut mean[..3 * batch], &mut rstd[..3 * batch]);
        group_norm(cpu, groups, &[], Affine::NONE, 0.1, mean, rstd, &mut [], &mut scratch).unwrap();
        let gradient = AffineGradient::new(&mut dgamma, &mut dbeta);
        group_norm_backward(cpu, groups, &[], None, mean, rstd, &mut [], gradient, &mut scratch)
            .unwrap();
        assert_eq!((dgamma, dbeta), ([0.0; 3], [0.0; 3]));
    }
    // Rows without channels have no mean.
    layer_norm::<f32>(cpu, &[], 0, Affine::NONE, 0.1, &mut mean, &mut rstd, &mut []).unwrap();
    assert_eq!((mean, rstd), ([7.0; 3], [7.0; 3]));
}
