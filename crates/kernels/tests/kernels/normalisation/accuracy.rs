//! Variances of data that are far from zero.

use super::*;

/// Deviations of 1e-2 at 1e6, where the ULP of f32 is 1/16: rounding leaves little else of the
/// data.
#[test]
fn a_mean_far_greater_than_the_deviation_costs_no_digits() {
    let groups = Groups { batch: 3, positions: 150, channels: 12, groups: 3 };
    for norm in [
        Batch { rows: 1000, channels: 20 },
        Batch { rows: 30_000, channels: 1 },
        Layer { rows: 20, channels: 1000 },
        Group(groups),
    ] {
        // Between two f32, so that the deviation decides to which one a number rounds.
        let x: Vec<f32> =
            draw::<f64>(14, norm.len()).iter().map(|d| (1e6 + 0.03 + 1e-2 * d) as f32).collect();
        let (ones, zeros) = (vec![1.0; norm.channels()], vec![0.0; norm.channels()]);
        let (mean, rstd, y) = norm.forward(Cpu::detect(), &x, Affine::NONE);
        let dy = draw::<f32>(15, norm.len());
        let (dx, dgamma, _) = norm.backward(Cpu::detect(), &x, None, (&mean, &rstd), &dy);
        let x = wide(&x);
        assert!(x.iter().any(|&other| other != x[0]));
        let (mean_, rstd_, y_) = norm.oracle(&x, &ones, &zeros);
        for g in 0..mean.len() {
            // The error of the oracle's own f64 sum.
            assert!((mean[g] - mean_[g]).abs() < 1e-6, "{norm:?}: {} not {}", mean[g], mean_[g]);
            assert!(
                (rstd[g] / rstd_[g] - 1.0).abs() < 1e-6,
                "{norm:?}: {} not {}",
                rstd[g],
                rstd_[g]
            );
        }
        assert_near(&y, &y_, 1e-5, "y");
        let (dx_, dgamma_, _) = norm.backward_oracle(&x, &ones, &wide(&dy));
        assert_near(&dx, &dx_, 1e-5, "dx");
        assert_near(&dgamma, &dgamma_, 1e-5, "dgamma");
    }
    // The same for f64: an ULP of 1/8 at 10^15.
    let x: Vec<f64> = draw::<f64>(16, 3000).iter().map(|d| 1e15 + d).collect();
    let exact: Vec<f64> = x.iter().map(|x| x - 1e15).collect();
    for norm in [Batch { rows: 1000, channels: 3 }, Layer { rows: 3, channels: 1000 }] {
        let (_, rstd, _) = norm.forward(Cpu::detect(), &x, Affine::NONE);
        let (_, expected, _) = norm.oracle(&exact, &[1.0; 1000], &[0.0; 1000]);
        assert!(
            rstd.iter().zip(expected).all(|(got, expected)| (got / expected - 1.0).abs() < 1e-13)
        );
    }
}

/// The worst case for the shift: the first rows are all far from the others.
#[test]
fn the_variance_holds_its_bound_where_the_first_rows_mislead() {
    for rows in [128, 1280] {
        let x: Vec<f32> = (0..rows)
            .map(|i| draw::<f32>(17, rows)[i] + if i % 128 < 16 { 1000.0 } else { 0.0 })
            .collect();
        let (_, rstd, _) = Batch { rows, channels: 1 }.forward(Cpu::detect(), &x, Affine::NONE);
        let (_, expected, _) = Batch { rows, channels: 1 }.oracle(&wide(&x), &[1.0], &[0.0]);
        // 2^10 roundings of the variance.
        assert!((rstd[0] / expected[0] - 1.0).abs() < f64::from(512.0 * f32::EPSILON / 2.0));
    }
}
