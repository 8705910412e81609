//! Against the definitions in f64, the promised orders in scalars, finite differences, and what the extremes must give.

extern crate std;

use std::{vec, vec::Vec};

use super::batch::*;
use super::group::*;
use super::layer::*;
use super::rms::*;
use super::*;
use crate::Cpu;
use crate::random::Stream;
use crate::testing::{bits, centred_difference, same_on_every_cpu};

fn draw<T: Float>(stream: u64, n: usize) -> Vec<T> {
    (0..n as u64).map(|i| T::from_f64(2.0 * Stream::new(51, stream).uniform_f64(i) - 1.0)).collect()
}

fn wide<T: Float>(x: &[T]) -> Vec<f64> {
    x.iter().map(|x| x.to_f64()).collect()
}

/// One of the four, with its shape.
#[derive(Clone, Copy, Debug)]
enum Norm {
    Batch { rows: usize, channels: usize },
    Layer { rows: usize, channels: usize },
    Rms { rows: usize, channels: usize },
    Group(Groups),
}
use Norm::{Batch, Group, Layer, Rms};

const EPSILON: f64 = 1e-5;

/// Mean, `rstd` and `y`.
type Forward<T> = (Vec<f64>, Vec<f64>, Vec<T>);
/// `dx`, `dgamma` and `dbeta`.
type Backward<T> = (Vec<T>, Vec<T>, Vec<T>);

impl Norm {
    fn channels(self) -> usize {
        match self {
            Batch { channels, .. } | Layer { channels, .. } | Rms { channels, .. } => channels,
            Group(groups) => groups.channels,
        }
    }

    fn len(self) -> usize {
        match self {
            Batch { rows, channels } | Layer { rows, channels } | Rms { rows, channels } => rows * channels,
            Group(groups) => groups.batch * groups.positions * groups.channels,
        }
    }

    fn statistics(self) -> usize {
        match self {
            Batch { channels, .. } => channels,
            Layer { rows, .. } | Rms { rows, .. } => rows,
            Group(groups) => groups.batch * groups.groups,
        }
    }

    /// The group that element `i` belongs to.
    fn group_of(self, i: usize) -> usize {
        match self {
            Batch { channels, .. } => i % channels,
            Layer { channels, .. } | Rms { channels, .. } => i / channels,
            Group(Groups { positions, channels, groups, .. }) => {
                i / (positions * channels) * groups + i % channels / (channels / groups)
            }
        }
    }

    fn forward<T: Float>(self, cpu: Cpu<'_>, x: &[T], affine: Affine<'_, T>) -> Forward<T> {
        let mut mean = vec![f64::NAN; self.statistics()];
        let (mut rstd, mut y) = (mean.clone(), vec![T::NAN; x.len()]);
        match self {
            Batch { rows, channels } => {
                let mut scratch = vec![T::NAN; batch_norm_scratch(rows, channels)];
                batch_norm(cpu, x, affine, EPSILON, None, &mut mean, &mut rstd, &mut y, &mut scratch)
            }
            Layer { channels, .. } => {
                layer_norm(cpu, x, channels, affine, EPSILON, &mut mean, &mut rstd, &mut y)
            }
            Rms { channels, .. } => {
                mean.fill(0.0);
                rms_norm(cpu, x, channels, affine.gamma, EPSILON, &mut rstd, &mut y)
            }
            Group(groups) => {
                let mut scratch = vec![T::NAN; groups.scratch()];
                group_norm(cpu, groups, x, affine, EPSILON, &mut mean, &mut rstd, &mut y, &mut scratch)
            }
        }
        .unwrap();
        (mean, rstd, y)
    }

    fn backward<T: Float>(
        self,
        cpu: Cpu<'_>,
        x: &[T],
        gamma: Option<&[T]>,
        (mean, rstd): (&[f64], &[f64]),
        dy: &[T],
    ) -> Backward<T> {
        let mut dx = dy.to_vec();
        let mut dgamma = vec![T::NAN; self.channels()];
        let mut dbeta = dgamma.clone();
        let gradient = AffineGradient::new(&mut dgamma, &mut dbeta);
        match self {
            Batch { rows, channels } => {
                let mut scratch = vec![T::NAN; batch_norm_scratch(rows, channels)];
                batch_norm_backward(cpu, x, gamma, mean, rstd, &mut dx, gradient, &mut scratch)
            }
            Layer { rows, channels } => {
                let mut scratch = vec![T::NAN; layer_norm_backward_scratch(rows, channels)];
                layer_norm_backward(cpu, x, channels, gamma, mean, rstd, &mut dx, gradient, &mut scratch)
            }
            Rms { rows, channels } => {
                let AffineGradient { dgamma, dbeta } = gradient;
                dbeta.into_iter().for_each(|dbeta| dbeta.fill(T::ZERO));
                let mut scratch = vec![T::NAN; rms_norm_backward_scratch(rows, channels)];
                rms_norm_backward(cpu, x, channels, gamma, rstd, &mut dx, dgamma, &mut scratch)
            }
            Group(groups) => {
                let mut scratch = vec![T::NAN; groups.scratch()];
                group_norm_backward(cpu, groups, x, gamma, mean, rstd, &mut dx, gradient, &mut scratch)
            }
        }
        .unwrap();
        (dx, dgamma, dbeta)
    }

    /// The definition: two passes, in f64.
    fn oracle(self, x: &[f64], gamma: &[f64], beta: &[f64]) -> Forward<f64> {
        let groups = self.statistics();
        let (mut count, mut mean, mut var) = (vec![0.0; groups], vec![0.0; groups], vec![0.0; groups]);
        for (i, x) in x.iter().enumerate() {
            count[self.group_of(i)] += 1.0;
            mean[self.group_of(i)] += x;
        }
        let is_rms = matches!(self, Rms { .. });
        (0..groups).for_each(|g| mean[g] = if is_rms { 0.0 } else { mean[g] / count[g] });
        for (i, x) in x.iter().enumerate() {
            let difference = x - mean[self.group_of(i)];
            var[self.group_of(i)] += difference * difference;
        }
        let rstd: Vec<f64> = (0..groups).map(|g| 1.0 / (var[g] / count[g] + EPSILON).sqrt()).collect();
        let y = x.iter().enumerate().map(|(i, x)| {
            let (g, j) = (self.group_of(i), i % self.channels());
            (x - mean[g]) * rstd[g] * gamma[j] + if is_rms { 0.0 } else { beta[j] }
        });
        let y = y.collect();
        (mean, rstd, y)
    }

    /// The formulas of the gradients, in f64.
    fn backward_oracle(self, x: &[f64], gamma: &[f64], dy: &[f64]) -> Backward<f64> {
        let beta = vec![0.0; self.channels()];
        let (mean, rstd, _) = self.oracle(x, gamma, &beta);
        let groups = self.statistics();
        let (mut count, mut sum, mut product) = (vec![0.0; groups], vec![0.0; groups], vec![0.0; groups]);
        let (mut dgamma, mut dbeta) = (beta.clone(), beta);
        let at = |i| (self.group_of(i), i % self.channels());
        for (i, dy) in dy.iter().enumerate() {
            let (g, j) = at(i);
            let xhat = (x[i] - mean[g]) * rstd[g];
            count[g] += 1.0;
            sum[g] += dy * gamma[j];
            product[g] += dy * gamma[j] * xhat;
            dgamma[j] += dy * xhat;
            dbeta[j] += dy;
        }
        if matches!(self, Rms { .. }) {
            sum.fill(0.0);
            dbeta.fill(0.0);
        }
        let dx = dy.iter().enumerate().map(|(i, dy)| {
            let (g, j) = at(i);
            let xhat = (x[i] - mean[g]) * rstd[g];
            rstd[g] * (dy * gamma[j] - (sum[g] + xhat * product[g]) / count[g])
        });
        (dx.collect(), dgamma, dbeta)
    }
}

fn assert_near<T: Float>(got: &[T], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(got.len(), expected.len());
    let largest = expected.iter().fold(1.0_f64, |m, x| m.max(x.abs()));
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        let error = (got.to_f64() - expected).abs();
        assert!(error <= tolerance * largest, "{what}[{i}] is {got}, not {expected}: {error:e}");
    }
}

fn norms() -> Vec<Norm> {
    let mut norms = vec![];
    for channels in [1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 65, 300] {
        for rows in [2, 3, 4, 5, 19, 127, 128, 129, 300] {
            if rows * channels < 20_000 {
                norms.extend([Batch { rows, channels }, Layer { rows, channels }, Rms { rows, channels }]);
            }
        }
    }
    norms.extend([
        Layer { rows: 1, channels: 1 },
        Layer { rows: 1, channels: 5000 },
        Rms { rows: 1, channels: 40 },
    ]);
    norms.extend([Batch { rows: 9000, channels: 3 }, Layer { rows: 9000, channels: 3 }]);
    for (batch, positions, channels, groups) in [
        (1, 1, 1, 1),
        (2, 1, 6, 3),
        (3, 49, 8, 8),
        (2, 130, 12, 2),
        (1, 400, 66, 2),
        (5, 4, 64, 1),
        (2, 9, 96, 32),
    ] {
        norms.push(Group(Groups { batch, positions, channels, groups }));
    }
    norms
}

fn agrees_with_the_definition_on_every_cpu<T: Float>(tolerance: f64) {
    for norm in norms() {
        let (n, channels) = (norm.len(), norm.channels());
        let x = draw::<T>(0, n);
        let (gamma, beta, dy) = (draw::<T>(1, channels), draw::<T>(2, channels), draw::<T>(3, n));
        let (ones, zeros) = (vec![T::ONE; channels], vec![T::ZERO; channels]);
        for (affine, gamma, beta) in
            [(Affine::new(&gamma, &beta), &gamma, &beta), (Affine::NONE, &ones, &zeros)]
        {
            let run = |cpu: Cpu<'_>| {
                let (mean, rstd, y) = norm.forward(cpu, &x, affine);
                let (dx, dgamma, dbeta) = norm.backward(cpu, &x, affine.gamma, (&mean, &rstd), &dy);
                (bits(&mean), bits(&rstd), bits(&y), bits(&dx), bits(&dgamma), bits(&dbeta))
            };
            same_on_every_cpu(run);
            let cpu = Cpu::detect();
            let (mean, rstd, y) = norm.forward(cpu, &x, affine);
            let (dx, dgamma, dbeta) = norm.backward(cpu, &x, affine.gamma, (&mean, &rstd), &dy);
            let (x, dy, gamma, beta) = (wide(&x), wide(&dy), wide(gamma), wide(beta));
            let (mean_, rstd_, y_) = norm.oracle(&x, &gamma, &beta);
            assert_near(&mean, &mean_, tolerance, "mean");
            assert_near(&rstd, &rstd_, tolerance, "rstd");
            assert_near(&y, &y_, tolerance, "y");
            let (dx_, dgamma_, dbeta_) = norm.backward_oracle(&x, &gamma, &dy);
            // dx is rstd times numbers of the size of dy.
            let steepest = rstd.iter().fold(1.0_f64, |m, &rstd| m.max(rstd));
            assert_near(&dx, &dx_, tolerance * steepest, "dx");
            assert_near(&dgamma, &dgamma_, 4.0 * tolerance, "dgamma");
            assert_near(&dbeta, &dbeta_, 4.0 * tolerance, "dbeta");
        }
    }
}

#[test]
fn all_agree_with_their_definitions_on_every_cpu_f32() {
    agrees_with_the_definition_on_every_cpu::<f32>(1e-6);
}

#[test]
fn all_agree_with_their_definitions_on_every_cpu_f64() {
    agrees_with_the_definition_on_every_cpu::<f64>(1e-14);
}

#[test]
fn gradients_are_those_of_finite_differences() {
    let groups = Groups { batch: 2, positions: 3, channels: 6, groups: 2 };
    for norm in [
        Batch { rows: 7, channels: 3 },
        Layer { rows: 5, channels: 5 },
        Rms { rows: 6, channels: 4 },
        Group(groups),
    ] {
        let (n, channels) = (norm.len(), norm.channels());
        let (x, w) = (draw::<f64>(4, n), draw::<f64>(5, n));
        let (gamma, beta) = (draw::<f64>(6, channels), draw::<f64>(7, channels));
        let cpu = Cpu::detect();
        // The loss is sum(w y).
        let loss = |x: &[f64], affine: Affine<'_, f64>| -> f64 {
            norm.forward(cpu, x, affine).2.iter().zip(&w).map(|(y, w)| y * w).sum()
        };
        let gradients = |gamma: Option<&[f64]>| {
            let (mean, rstd, _) = norm.forward(cpu, &x, Affine { gamma, beta: None });
            norm.backward(cpu, &x, gamma, (&mean, &rstd), &w)
        };
        let (dx, dgamma, dbeta) = gradients(Some(&gamma));
        centred_difference(&x, &dx, |x| loss(x, Affine::new(&gamma, &beta)));
        centred_difference(&gamma, &dgamma, |gamma| loss(&x, Affine::new(gamma, &beta)));
        if !matches!(norm, Rms { .. }) {
            centred_difference(&beta, &dbeta, |beta| loss(&x, Affine::new(&gamma, beta)));
        }
        centred_difference(&x, &gradients(None).0, |x| loss(x, Affine::NONE));
    }
}

/// Mean and `rstd` of the columns, in the promised order.
fn ordered_columns(x: &[f32], channels: usize) -> Vec<(f64, f64)> {
    let rows = x.len() / channels;
    let column = |j: usize| {
        let column: Vec<f32> = (0..rows).map(|i| x[i * channels + j]).collect();
        let (mut base, mut mean, mut squares, mut before) = (None, 0.0, 0.0, 0.0);
        for block in column.chunks(128) {
            let pilot = &block[..block.len().min(16)];
            let share = 1.0 / pilot.len() as f32;
            let shift = pilot.iter().fold(0.0, |sum, x| sum + (x - block[0])) * share + block[0];
            let d: Vec<f32> = block.iter().map(|x| x - shift).collect();
            let (mut sum, mut product) = (0.0_f32, 0.0_f32);
            let (groups, left) = d.as_chunks::<4>();
            for [a, b, c, d] in groups {
                sum += (a + b) + (c + d);
                product += b.mul_add(*b, a * a) + d.mul_add(*d, c * c);
            }
            for d in left {
                sum += d;
                product += d * d;
            }
            let rows = block.len() as f64;
            let offset = f64::from(sum) / rows;
            let here = (f64::from(product) - f64::from(sum) * offset).max(0.0);
            let base = *base.get_or_insert(f64::from(shift));
            let difference = (f64::from(shift) - base) + offset - mean;
            let total = before + rows;
            mean += difference * (rows / total);
            squares += here + difference * difference * (before * rows / total);
            before = total;
        }
        (base.unwrap_or(0.0) + mean, 1.0 / (squares / rows as f64 + EPSILON).sqrt())
    };
    (0..channels).map(column).collect()
}

#[test]
fn columns_are_summed_in_the_promised_order() {
    for (rows, channels) in [(2, 1), (3, 5), (17, 33), (131, 20), (258, 70)] {
        let x = draw::<f32>(8, rows * channels);
        let (gamma, beta) = (draw::<f32>(9, channels), draw::<f32>(10, channels));
        let (mean, rstd, y) = Batch { rows, channels }.forward(Cpu::detect(), &x, Affine::new(&gamma, &beta));
        for (j, expected) in ordered_columns(&x, channels).into_iter().enumerate() {
            assert_eq!((mean[j], rstd[j]), expected, "channel {j} of {rows} x {channels}");
            let near = mean[j] as f32;
            let scale = f64::from(gamma[j]) * rstd[j];
            let shift = (f64::from(beta[j]) - (mean[j] - f64::from(near)) * scale) as f32;
            for i in 0..rows {
                let expected = (x[i * channels + j] - near).mul_add(scale as f32, shift);
                assert_eq!(y[i * channels + j].to_bits(), expected.to_bits());
            }
        }
    }
}

/// The sums of `a` and `a b` along a row, in the promised order.
fn ordered_row(terms: impl Iterator<Item = (f32, f32)>) -> (f64, f64) {
    let (mut a_lanes, mut ab_lanes) = ([0.0_f32; 32], [0.0_f32; 32]);
    for (j, (a, b)) in terms.enumerate() {
        a_lanes[j % 32] += a;
        ab_lanes[j % 32] = a.mul_add(b, ab_lanes[j % 32]);
    }
    let fold = |mut lanes: [f32; 32]| {
        for half in [16, 8, 4, 2, 1] {
            (0..half).for_each(|l| lanes[l] += lanes[l + half]);
        }
        lanes[0]
    };
    (f64::from(fold(a_lanes)), f64::from(fold(ab_lanes)))
}

#[test]
fn rows_are_summed_in_the_promised_order() {
    for channels in [1, 2, 5, 16, 31, 32, 33, 50, 64, 100, 777] {
        let x = draw::<f32>(11, channels);
        let (gamma, beta) = (draw::<f32>(12, channels), draw::<f32>(13, channels));
        let n = channels as f64;
        let (sum, _) = ordered_row(x.iter().map(|other| (other - x[0], 0.0)));
        let (mean, rstd, y) =
            Layer { rows: 1, channels }.forward(Cpu::detect(), &x, Affine::new(&gamma, &beta));
        let shift = sum as f32 / channels as f32 + x[0];
        let (sum, squares) = ordered_row(x.iter().map(|x| (x - shift, x - shift)));
        let missed = sum / n;
        let var = (squares - sum * missed).max(0.0) / n;
        assert_eq!((mean[0], rstd[0]), (f64::from(shift) + missed, 1.0 / (var + EPSILON).sqrt()));
        let near = mean[0] as f32;
        let offset = (-(mean[0] - f64::from(near)) * rstd[0]) as f32;
        for j in 0..channels {
            let expected = (x[j] - near).mul_add(rstd[0] as f32, offset).mul_add(gamma[j], beta[j]);
            assert_eq!(y[j].to_bits(), expected.to_bits(), "element {j} of {channels}");
        }
        let (_, rstd, y) = Rms { rows: 1, channels }.forward(Cpu::detect(), &x, Affine::NONE);
        let (_, squares) = ordered_row(x.iter().map(|&x| (x, x)));
        assert_eq!(rstd[0], 1.0 / (squares / n + EPSILON).sqrt());
        assert!(y.iter().zip(&x).all(|(y, x)| *y == x * rstd[0] as f32));
    }
}

/// Deviations of 1e-2 at 1e6, where f32 has steps of 1/16: nearly all that is left of the data is the step.
#[test]
fn a_mean_far_greater_than_the_deviation_costs_no_digits() {
    let groups = Groups { batch: 3, positions: 150, channels: 12, groups: 3 };
    for norm in [
        Batch { rows: 1000, channels: 20 },
        Batch { rows: 30_000, channels: 1 },
        Layer { rows: 20, channels: 1000 },
        Group(groups),
    ] {
        // Between two steps, so that the deviation decides which of them a number goes to.
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
            // Of the f64 sum of the oracle itself.
            assert!((mean[g] - mean_[g]).abs() < 1e-6, "{norm:?}: {} not {}", mean[g], mean_[g]);
            assert!((rstd[g] / rstd_[g] - 1.0).abs() < 1e-6, "{norm:?}: {} not {}", rstd[g], rstd_[g]);
        }
        assert_near(&y, &y_, 1e-5, "y");
        let (dx_, dgamma_, _) = norm.backward_oracle(&x, &ones, &wide(&dy));
        assert_near(&dx, &dx_, 1e-5, "dx");
        assert_near(&dgamma, &dgamma_, 1e-5, "dgamma");
    }
    // The same for f64: steps of 1/8 at 10^15.
    let x: Vec<f64> = draw::<f64>(16, 3000).iter().map(|d| 1e15 + d).collect();
    let exact: Vec<f64> = x.iter().map(|x| x - 1e15).collect();
    for norm in [Batch { rows: 1000, channels: 3 }, Layer { rows: 3, channels: 1000 }] {
        let (_, rstd, _) = norm.forward(Cpu::detect(), &x, Affine::NONE);
        let (_, expected, _) = norm.oracle(&exact, &[1.0; 1000], &[0.0; 1000]);
        assert!(rstd.iter().zip(expected).all(|(got, expected)| (got / expected - 1.0).abs() < 1e-13));
    }
}

/// The worst that the first rows can do: all of them far from the others.
#[test]
fn the_variance_holds_its_bound_where_the_first_rows_mislead() {
    for rows in [128, 1280] {
        let x: Vec<f32> =
            (0..rows).map(|i| draw::<f32>(17, rows)[i] + if i % 128 < 16 { 1000.0 } else { 0.0 }).collect();
        let (_, rstd, _) = Batch { rows, channels: 1 }.forward(Cpu::detect(), &x, Affine::NONE);
        let (_, expected, _) = Batch { rows, channels: 1 }.oracle(&wide(&x), &[1.0], &[0.0]);
        // 2^10 roundings of the variance.
        assert!((rstd[0] / expected[0] - 1.0).abs() < f64::from(512.0 * f32::EPSILON / 2.0));
    }
}

#[test]
fn a_constant_group_becomes_beta_exactly() {
    for constant in [0.1_f32, -3e6, 1e-40, 0.0] {
        let groups = Groups { batch: 2, positions: 7, channels: 20, groups: 2 };
        for norm in [Batch { rows: 150, channels: 20 }, Layer { rows: 3, channels: 20 }, Group(groups)] {
            let x = vec![constant; norm.len()];
            let (gamma, beta) = (draw::<f32>(18, 20), draw::<f32>(19, 20));
            let (mean, rstd, y) = norm.forward(Cpu::detect(), &x, Affine::new(&gamma, &beta));
            assert!(mean.iter().all(|&mean| mean == f64::from(constant)));
            assert!(rstd.iter().all(|&rstd| rstd == 1.0 / EPSILON.sqrt()));
            assert!(y.iter().enumerate().all(|(i, &y)| y == beta[i % 20]), "{norm:?} of {constant}");
        }
    }
}

#[test]
fn what_is_not_finite_stays_in_its_group() {
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
                    assert_eq!((y[i], dx[i]), (clean_y[i], clean_dx[i]), "{norm:?}, {bad}, element {i}");
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
    for norm in [Batch { rows: 34, channels: 12 }, Layer { rows: 34, channels: 12 }, Group(groups)] {
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
            let (from, to, d) = (&moved[offset..][..n], &mut y[offset..][..n], &mut dx[offset..][..n]);
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
                    batch_norm_backward(cpu, from, None, &mean, &rstd, d, gradient, &mut scratch).unwrap();
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
                    group_norm_backward(cpu, groups, from, None, &mean, &rstd, d, gradient, &mut scratch)
                        .unwrap();
                }
                _ => {
                    layer_norm(cpu, from, 12, Affine::NONE, EPSILON, &mut mean, &mut rstd, to).unwrap();
                    layer_norm_backward(cpu, from, 12, None, &mean, &rstd, d, gradient, &mut scratch)
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
fn running_statistics_are_pytorchs() {
    // torch.nn.BatchNorm1d(1) in training on [[1], [2], [6]]: mean 3, biased variance 14/3, unbiased 7.
    let (mut mean, mut rstd, mut y) = ([0.0], [0.0], [0.0; 3]);
    let (mut running_mean, mut running_var) = ([0.0], [1.0]);
    let running = Running { mean: &mut running_mean, var: &mut running_var, momentum: 0.1 };
    let mut scratch = [0.0; batch_norm_scratch(3, 1)];
    let cpu = Cpu::detect();
    let x = [1.0_f64, 2.0, 6.0];
    batch_norm(cpu, &x, Affine::NONE, 1e-5, Some(running), &mut mean, &mut rstd, &mut y, &mut scratch)
        .unwrap();
    assert!((running_mean[0] - 0.3).abs() < 1e-15 && (running_var[0] - 1.6).abs() < 1e-15);
    assert!((y[2] - 3.0 / (14.0_f64 / 3.0 + 1e-5).sqrt()).abs() < 1e-14);
}

fn inference_and_its_folded_form_agree<T: Float>(tolerance: f64) {
    for (rows, channels) in [(0, 3), (1, 1), (5, 33), (140, 70), (3, 0)] {
        let x = draw::<T>(23, rows * channels);
        let (mean, gamma, beta) = (draw::<T>(24, channels), draw::<T>(25, channels), draw::<T>(26, channels));
        let mut var = draw::<T>(27, channels);
        var.iter_mut().for_each(|v| *v *= *v);
        let affine = Affine::new(&gamma, &beta);
        let (y, folded) = same_on_every_cpu(|cpu| {
            let mut y = vec![T::NAN; x.len()];
            let mut scratch = vec![T::NAN; batch_norm_inference_scratch(channels)];
            batch_norm_inference(cpu, &x, &mean, &var, affine, EPSILON, &mut y, &mut scratch).unwrap();
            let (mut scale, mut shift) = (vec![T::NAN; channels], vec![T::NAN; channels]);
            fold_batch_norm(cpu, &mean, &var, affine, EPSILON, &mut scale, &mut shift).unwrap();
            let mut folded = x.clone();
            scale_shift(cpu, &scale, &shift, &mut folded).unwrap();
            (y, folded)
        });
        for (i, x) in x.iter().enumerate() {
            let j = i % channels;
            let scale = gamma[j].to_f64() / (var[j].to_f64() + EPSILON).sqrt();
            let expected = (x.to_f64() - mean[j].to_f64()) * scale + beta[j].to_f64();
            let bound = tolerance * (1.0 + 2.0 * scale.abs());
            assert!((y[i].to_f64() - expected).abs() < bound, "{} not {expected}", y[i]);
            assert!((folded[i].to_f64() - expected).abs() < bound, "{} not {expected}", folded[i]);
        }
    }
}

#[test]
fn inference_is_its_definition_and_so_is_its_folded_form() {
    inference_and_its_folded_form_agree::<f32>(3e-7);
    inference_and_its_folded_form_agree::<f64>(5e-16);
}

#[test]
fn without_rows_there_is_nothing_to_do() {
    let cpu = Cpu::detect();
    let (mut mean, mut rstd) = ([7.0; 3], [7.0; 3]);
    let (mut dgamma, mut dbeta) = ([7.0_f32; 3], [7.0; 3]);
    let mut scratch = [0.0_f32; 100];
    batch_norm(cpu, &[], Affine::NONE, 0.1, None, &mut mean, &mut rstd, &mut [], &mut scratch).unwrap();
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
        group_norm_backward(cpu, groups, &[], None, mean, rstd, &mut [], gradient, &mut scratch).unwrap();
        assert_eq!((dgamma, dbeta), ([0.0; 3], [0.0; 3]));
    }
    // Rows without channels have no mean.
    layer_norm::<f32>(cpu, &[], 0, Affine::NONE, 0.1, &mut mean, &mut rstd, &mut []).unwrap();
    assert_eq!((mean, rstd), ([7.0; 3], [7.0; 3]));
}

#[test]
fn misuse_is_refused_before_anything_is_written() {
    let cpu = Cpu::detect();
    let x = [1.0_f32; 12];
    let (mut mean, mut rstd, mut y, mut scratch) = ([7.0; 3], [7.0; 3], [7.0_f32; 12], [7.0_f32; 21]);
    let length = |operand, expected, got| Err(Error::Length { operand, expected, got });
    let is_parameter = |result: Result<(), Error>, expected: &str| {
        assert!(matches!(result, Err(Error::Parameter { name, .. }) if name == expected), "{result:?}");
    };
    let both = Affine::new(&x[..3], &x[..3]);
    let mut batch = |x: &[f32], affine, epsilon, momentum: f64, channels: usize, scratch_len: usize| {
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
    assert_eq!(batch(&x, Affine { gamma: None, beta: Some(&x[..4]) }, 0.1, 0.1, 3, 21), length("beta", 3, 4));
    assert_eq!(batch(&x, both, 0.1, 0.1, 3, 20), Err(Error::Scratch { expected: 21, got: 20 }));
    is_parameter(batch(&x, both, -1.0, 0.1, 3, 21), "epsilon");
    is_parameter(batch(&x, both, f64::NAN, 0.1, 3, 21), "epsilon");
    is_parameter(batch(&x, both, 0.1, 1.1, 3, 21), "momentum");
    is_parameter(batch(&x[..3], both, 0.1, 0.1, 3, 21), "rows");
    let mut dy = [7.0; 12];
    let gradient = AffineGradient { dgamma: None, dbeta: Some(&mut y[..2]) };
    let result = batch_norm_backward(cpu, &x, None, &mean, &rstd, &mut dy, gradient, &mut scratch);
    assert_eq!(result, length("dbeta", 3, 2));
    let result =
        batch_norm_backward(cpu, &x, None, &mean, &rstd, &mut dy[..9], AffineGradient::NONE, &mut scratch);
    assert_eq!(result, length("dy", 12, 9));

    let (mean4, rstd4) = (&mut [7.0; 4], &mut [7.0; 4]);
    assert_eq!(layer_norm(cpu, &x, 4, both, 0.1, mean4, rstd4, &mut y), length("x", 16, 12));
    assert_eq!(layer_norm(cpu, &x, 3, both, 0.1, &mut mean, rstd4, &mut y), length("mean", 4, 3));
    assert_eq!(layer_norm(cpu, &x, usize::MAX, both, 0.1, mean4, rstd4, &mut y), length("x", usize::MAX, 12));
    is_parameter(rms_norm(cpu, &x, 3, None, f64::INFINITY, rstd4, &mut y), "epsilon");
    let result =
        layer_norm_backward(cpu, &x, 3, None, mean4, rstd4, &mut dy, AffineGradient::NONE, &mut scratch[..5]);
    assert_eq!(result, Err(Error::Scratch { expected: 6, got: 5 }));

    let groups = Groups { batch: 1, positions: 4, channels: 3, groups: 3 };
    let mut group = |groups, n: usize| {
        group_norm(cpu, groups, &x[..n], Affine::NONE, 0.1, &mut mean, &mut rstd, &mut y[..n], &mut scratch)
    };
    is_parameter(group(Groups { groups: 2, ..groups }, 12), "groups");
    is_parameter(group(Groups { groups: 0, ..groups }, 12), "groups");
    assert_eq!(group(Groups { batch: usize::MAX, ..groups }, 12), length("x", usize::MAX, 12));
    assert_eq!(group(groups, 9), length("x", 12, 9));

    let inference = batch_norm_inference(cpu, &x, &x[..3], &x[..3], both, 0.1, &mut y, &mut scratch[..5]);
    assert_eq!(inference, Err(Error::Scratch { expected: 6, got: 5 }));
    assert_eq!(scale_shift(cpu, &x[..3], &x[..2], &mut y), length("shift", 3, 2));
    assert_eq!(
        fold_batch_norm(cpu, &x[..3], &x[..2], both, 0.1, &mut y[..3], &mut scratch[..3]),
        length("running_var", 3, 2)
    );
    assert_eq!((mean, rstd, *mean4, *rstd4), ([7.0; 3], [7.0; 3], [7.0; 4], [7.0; 4]));
    assert_eq!((y, scratch, dy), ([7.0; 12], [7.0; 21], [7.0; 12]));
}
