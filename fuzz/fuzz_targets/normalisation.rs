//! Each normalisation of any rows, forward and backward: an error with nothing written, or the same
//! bits everywhere, and finite for tame rows. `cargo +nightly fuzz run normalisation`.
#![no_main]

use arbitrary::Arbitrary;
use fuzz::{Length, Mismatch, Number, Parameter, Values, same_everywhere};
use kernels::normalisation::batch::{
    Running, batch_norm, batch_norm_backward, batch_norm_inference, batch_norm_inference_scratch,
    batch_norm_scratch, fold_batch_norm, scale_shift,
};
use kernels::normalisation::group::{Groups, group_norm, group_norm_backward};
use kernels::normalisation::layer::{layer_norm, layer_norm_backward, layer_norm_backward_scratch};
use kernels::normalisation::rms::{rms_norm, rms_norm_backward, rms_norm_backward_scratch};
use kernels::normalisation::{Affine, AffineGradient};
use kernels::{Error, Float};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Problem {
    double: bool,
    kind: Kind,
    rows: Length,
    channels: u8,
    epsilon: Parameter,
    gamma: bool,
    beta: bool,
    of_x: Mismatch,
    of_y: Mismatch,
    of_gamma: Mismatch,
    of_mean: Mismatch,
    of_scratch: Mismatch,
    values: Values,
}

#[derive(Debug, Arbitrary)]
enum Kind {
    Batch { running: bool, momentum: Parameter },
    Inference,
    Layer,
    Rms,
    Group { images: u8, groups: u8 },
}

fuzz_target!(|problem: Problem| {
    if problem.double { normalise::<f64>(&problem) } else { normalise::<f32>(&problem) }
});

fn normalise<T: Float + Number>(problem: &Problem) {
    let Problem { values, of_mean, of_scratch, .. } = problem;
    let (rows, channels) = (problem.rows.get() % 300, usize::from(problem.channels % 70));
    let images =
        if let Kind::Group { images, .. } = problem.kind { usize::from(images % 4) } else { 1 };
    let len = rows * channels * images;
    let x = values.take::<T>(0, problem.of_x.of(len));
    let y = vec![T::default(); problem.of_y.of(len)];
    let gamma = problem.gamma.then(|| values.take::<T>(1, problem.of_gamma.of(channels)));
    let beta = problem.beta.then(|| values.take::<T>(2, channels));
    let affine = Affine { gamma: gamma.as_deref(), beta: beta.as_deref() };
    let (gamma, epsilon) = (gamma.as_deref(), problem.epsilon.get());
    // Lengths of the saved statistics and of the scratch.
    let (saved, scratch) = match problem.kind {
        Kind::Batch { .. } => (channels, batch_norm_scratch(rows, channels)),
        Kind::Inference => (channels, batch_norm_inference_scratch(channels)),
        Kind::Layer => (rows, layer_norm_backward_scratch(rows, channels)),
        Kind::Rms => (rows, rms_norm_backward_scratch(rows, channels)),
        Kind::Group { groups, .. } => {
            (images * usize::from(groups % 9), shape(problem, rows, channels, images).scratch())
        }
    };
    let scratch = || vec![T::default(); of_scratch.of(scratch)];
    let saved = vec![0.0_f64; of_mean.of(saved)];
    // y, mean, rstd, and the running mean and variance.
    let written = (
        y.clone(),
        saved.clone(),
        saved.clone(),
        values.take::<T>(3, channels),
        values.take::<T>(4, channels),
    );
    let forward =
        same_everywhere(&written, |cpu, (y, mean, rstd, running_mean, running_var)| match problem
            .kind
        {
            Kind::Batch { running, momentum } => {
                let momentum = momentum.get();
                let running =
                    running.then_some(Running { mean: running_mean, var: running_var, momentum });
                batch_norm(cpu, &x, affine, epsilon, running, mean, rstd, y, &mut scratch())
            }
            Kind::Inference => batch_norm_inference(
                cpu,
                &x,
                running_mean,
                running_var,
                affine,
                epsilon,
                y,
                &mut scratch(),
            ),
            Kind::Layer => layer_norm(cpu, &x, channels, affine, epsilon, mean, rstd, y),
            Kind::Rms => rms_norm(cpu, &x, channels, gamma, epsilon, rstd, y),
            Kind::Group { .. } => {
                let groups = shape(problem, rows, channels, images);
                group_norm(cpu, groups, &x, affine, epsilon, mean, rstd, y, &mut scratch())
            }
        });
    let Ok(((normalised, mean, rstd, running_mean, running_var), ())) = forward else { return };
    assert!(epsilon.is_finite() && epsilon >= 0.0);
    if values.are_tame() && epsilon >= 1e-4 && !matches!(problem.kind, Kind::Inference) {
        assert!(normalised.iter().all(|y| Number::to_f64(*y).is_finite()));
    }
    if let Kind::Inference = problem.kind {
        let (scale, shift) = (vec![T::default(); channels], vec![T::default(); channels]);
        let folded = same_everywhere(&(scale, shift), |cpu, (scale, shift)| {
            fold_batch_norm(cpu, &running_mean, &running_var, affine, epsilon, scale, shift)
        });
        let ((scale, shift), ()) = folded.expect("it could be inferred");
        let shifted = same_everywhere(&x, |cpu, x| scale_shift(cpu, &scale, &shift, x));
        assert!(shifted.is_ok());
        return;
    }

    let of_channels = || vec![T::default(); problem.of_gamma.of(channels)];
    let written = (values.take::<T>(5, y.len()), of_channels(), of_channels());
    let backward = same_everywhere(&written, |cpu, (dy, dgamma, dbeta)| -> Result<(), Error> {
        let gradient = AffineGradient {
            dgamma: problem.gamma.then_some(&mut dgamma[..]),
            dbeta: problem.beta.then_some(&mut dbeta[..]),
        };
        match problem.kind {
            Kind::Batch { .. } => {
                batch_norm_backward(cpu, &x, gamma, &mean, &rstd, dy, gradient, &mut scratch())
            }
            Kind::Layer => layer_norm_backward(
                cpu,
                &x,
                channels,
                gamma,
                &mean,
                &rstd,
                dy,
                gradient,
                &mut scratch(),
            ),
            Kind::Rms => rms_norm_backward(
                cpu,
                &x,
                channels,
                gamma,
                &rstd,
                dy,
                gradient.dgamma,
                &mut scratch(),
            ),
            Kind::Group { .. } => {
                let groups = shape(problem, rows, channels, images);
                group_norm_backward(
                    cpu,
                    groups,
                    &x,
                    gamma,
                    &mean,
                    &rstd,
                    dy,
                    gradient,
                    &mut scratch(),
                )
            }
            Kind::Inference => unreachable!("it has no backward pass"),
        }
    });
    if let Ok(((dx, _, _), ())) = backward
        && values.are_tame()
        && epsilon >= 1e-4
    {
        assert!(dx.iter().all(|dx| Number::to_f64(*dx).is_finite()));
    }
}

fn shape(problem: &Problem, positions: usize, channels: usize, batch: usize) -> Groups {
    let groups =
        if let Kind::Group { groups, .. } = problem.kind { usize::from(groups % 9) } else { 1 };
    Groups { batch, positions, channels, groups }
}
