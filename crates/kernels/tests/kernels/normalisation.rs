//! Compares with the definitions in f64, the documented orders in scalars, finite differences, and
//! the limits at extreme inputs.

mod accuracy;
mod edges;
mod inference;
mod misuse;
mod order;

use crate::testing::{bits, centred_difference, same_on_every_cpu, takes};
use kernels::normalisation::batch::*;
use kernels::normalisation::group::*;
use kernels::normalisation::layer::*;
use kernels::normalisation::rms::*;
use kernels::normalisation::*;
use kernels::random::Stream;
use kernels::{Cpu, Error, Float};

fn draw<T: Float>(stream: u64, n: usize) -> Vec<T> {
    (0..n as u64).map(|i| T::from_f64(2.0 * Stream::new(51, stream).uniform_f64(i) - 1.0)).collect()
}

fn wide<T: Float>(x: &[T]) -> Vec<f64> {
    x.iter().map(|x| x.to_f64()).collect()
}

/// One of the four normalisations, with its shape.
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
            Batch { rows, channels } | Layer { rows, channels } | Rms { rows, channels } => {
                rows * channels
            }
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
                batch_norm(
                    cpu,
                    x,
                    affine,
                    EPSILON,
                    None,
                    &mut mean,
                    &mut rstd,
                    &mut y,
                    &mut scratch,
                )
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
                group_norm(
                    cpu,
                    groups,
                    x,
                    affine,
                    EPSILON,
                    &mut mean,
                    &mut rstd,
                    &mut y,
                    &mut scratch,
                )
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
                layer_norm_backward(
                    cpu,
                    x,
                    channels,
                    gamma,
                    mean,
                    rstd,
                    &mut dx,
                    gradient,
                    &mut scratch,
                )
            }
            Rms { rows, channels } => {
                let AffineGradient { dgamma, dbeta } = gradient;
                dbeta.into_iter().for_each(|dbeta| dbeta.fill(T::ZERO));
                let mut scratch = vec![T::NAN; rms_norm_backward_scratch(rows, channels)];
                rms_norm_backward(cpu, x, channels, gamma, rstd, &mut dx, dgamma, &mut scratch)
            }
            Group(groups) => {
                let mut scratch = vec![T::NAN; groups.scratch()];
                group_norm_backward(
                    cpu,
                    groups,
                    x,
                    gamma,
                    mean,
                    rstd,
                    &mut dx,
                    gradient,
                    &mut scratch,
                )
            }
        }
        .unwrap();
        (dx, dgamma, dbeta)
    }

    /// The definition: two passes, in f64.
    fn oracle(self, x: &[f64], gamma: &[f64], beta: &[f64]) -> Forward<f64> {
        let groups = self.statistics();
        let (mut count, mut mean, mut var) =
            (vec![0.0; groups], vec![0.0; groups], vec![0.0; groups]);
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
        let rstd: Vec<f64> =
            (0..groups).map(|g| 1.0 / (var[g] / count[g] + EPSILON).sqrt()).collect();
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
        let (mut count, mut sum, mut product) =
            (vec![0.0; groups], vec![0.0; groups], vec![0.0; groups]);
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
                norms.extend([
                    Batch { rows, channels },
                    Layer { rows, channels },
                    Rms { rows, channels },
                ]);
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
    for norm in norms().into_iter().filter(|norm| takes(norm.len())) {
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
            // dx is rstd times numbers of the magnitude of dy.
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
fn gradients_match_finite_differences() {
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
