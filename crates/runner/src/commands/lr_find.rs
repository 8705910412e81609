//! `evenkeel lr-find`: learning-rate range test (Smith, WACV 2017).
//!
//! ```text
//! for step i of n    rate = from * (to / from)^(i / (n - 1)); one step of the run at this rate
//!                    average = exponential moving average of the losses, with a decay of 0.9
//! until the average is four times its minimum, or the loss is non-finite
//! smoothed[i] = weighted mean of the losses around i; weights fall linearly with the distance
//! ```
//!
//! The smoothed loss is a centred mean: a mean of past losses only would lag, and suggest learning
//! rates that are too large.
//!
//! The suggested rate is the one at which the smoothed loss falls most steeply over the logarithm
//! of the rate. The output also has the other rule of thumb, a tenth of the rate with the minimum
//! loss. The command writes no file but the plot of `--out`.

use std::path::PathBuf;

use kernels::{Cpu, math};
use nn::Progress;
use serde::Serialize;

use crate::Error;
use crate::commands::output::refuse_if;
use crate::commands::{dry_run, output};
use crate::data::element::Element;
use crate::data::replace::replace_with;
use crate::report::plot;
use crate::run::config::{Config, Dtype, require};
use crate::run::setup::Setup;
use crate::run::{setup, sizes};
use crate::training::initial;
use crate::training::observer::Unobserved;
use crate::training::step::{NonFiniteStep, TrainingStep};

/// Decay of the moving average of the losses.
const DECAY: f64 = 0.9;

/// The test stops when the average exceeds its minimum by this factor.
const MAX_LOSS_RATIO: f64 = 4.0;

/// The smoothed loss averages one in `WINDOW_DIVISOR` of all steps on either side.
const WINDOW_DIVISOR: usize = 20;

/// Options of `lr-find`.
#[derive(Clone, Debug)]
pub struct Request {
    /// Configuration of the run.
    pub config: Config,
    /// Learning rate of the first step.
    pub from: f64,
    /// Learning rate of the last step.
    pub to: f64,
    /// Number of steps.
    pub steps: u32,
    /// File for the plot.
    pub out: Option<PathBuf>,
    /// Replace an existing file.
    pub force: bool,
    /// Print JSON.
    pub json: bool,
}

/// Step of the test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Learning rate.
    pub rate: f64,
    /// Loss of the batch, before the step.
    pub loss: f64,
    /// Smoothed loss.
    pub smoothed: f64,
}

#[derive(Serialize)]
struct Outcome {
    /// Suggested learning rate; `None` if the loss falls at no rate.
    suggestion: Option<f64>,
    /// Rate at which the loss falls most steeply.
    steepest: Option<f64>,
    /// Rate with the minimum loss.
    least: Option<f64>,
    /// A tenth of the rate with the minimum loss.
    tenth_of_least: Option<f64>,
    /// `true` if the loss exploded before the last rate.
    diverged: bool,
    points: Vec<Point>,
}

/// Runs the test, and prints the suggestion, or all points as JSON.
///
/// # Errors
/// [`Error`], if a value is out of range or the data are unavailable.
pub fn lr_find(request: &Request) -> Result<(), Error> {
    let Request { from, to, steps, .. } = *request;
    require("from", from, from.is_finite() && from > 0.0, "a finite number above 0")?;
    require(
        "to",
        to,
        to.is_finite() && to > from,
        &format!("a finite number above --from, which is {from}"),
    )?;
    require("steps", steps, steps >= 10, "at least 10")?;
    if let Some(out) = &request.out {
        refuse_if(out.exists() && !request.force, out)?;
    }
    let setup = Setup::new(request.config.clone())?;
    sizes::check_batches(&setup)?;
    dry_run::check_memory(&setup)?;
    let points = setup::on_threads(&setup.config, |cpu| match setup.config.dtype {
        Dtype::F32 | Dtype::Bf16 => points::<f32>(&setup, cpu, request),
        Dtype::F64 => points::<f64>(&setup, cpu, request),
    })?;

    let (steepest, least) = (steepest(&points), least(&points).map(|index| points[index].rate));
    let outcome = Outcome {
        suggestion: steepest,
        steepest,
        least,
        tenth_of_least: least.map(|rate| rate / 10.0),
        diverged: points.len() < steps as usize,
        points,
    };
    if let Some(out) = &request.out {
        let mark = outcome.suggestion.map(|rate| (rate, format!("suggested: {}", short(rate))));
        let curve = |loss: fn(&Point) -> f64| {
            outcome.points.iter().map(|point| (point.rate, loss(point))).collect()
        };
        let curves =
            vec![("batch", curve(|point| point.loss)), ("smoothed", curve(|point| point.smoothed))];
        let title = format!("Learning rates for {}", setup.config.preset.name());
        replace_with(out, plot(&title, "Loss", "learning rate", curves, mark).as_bytes())?;
    }
    if request.json {
        let text = serde_json::to_string_pretty(&outcome);
        return output::print(&text.map_err(|error| Error::Usage(format!("outcome: {error}")))?);
    }
    if outcome.suggestion.is_none() {
        return output::print("no rate is suggested: the loss falls at none");
    }
    let rate = |rate: Option<f64>| rate.map_or_else(|| "none".into(), short);
    output::print(&format!(
        "suggested --lr {}\n\
         the loss falls most steeply at {}, has its minimum at {} (a tenth of that: {}), and {} {}",
        rate(outcome.suggestion),
        rate(outcome.steepest),
        rate(outcome.least),
        rate(outcome.tenth_of_least),
        if outcome.diverged { "exploded at" } else { "was still small at" },
        rate(outcome.points.last().map(|point| point.rate)),
    ))
}

/// `rate` with two significant digits, its precision.
fn short(rate: f64) -> String {
    let text = format!("{rate:.1e}");
    text.parse::<f64>().map_or(text, |rounded| rounded.to_string())
}

/// Takes the steps, until the last rate or until the loss explodes.
fn points<T: Element>(setup: &Setup, cpu: Cpu<'_>, request: &Request) -> Result<Vec<Point>, Error> {
    let Setup { config, .. } = setup;
    let Request { from, to, steps, .. } = *request;
    let mut state = initial::state::<T>(setup, cpu)?;
    let mut training_step = TrainingStep::new(setup, cpu)?;
    let steps_per_epoch = setup.steps_per_epoch();
    let (mut order, mut points) = (Vec::new(), Vec::<Point>::new());
    let (mut sum, mut weight, mut minimum) = (0.0, 0.0, f64::INFINITY);
    for step in 0..u64::from(steps) {
        if step.is_multiple_of(steps_per_epoch) {
            order = setup.order((step / steps_per_epoch) as u32);
        }
        let fraction = step as f64 / f64::from(steps - 1);
        let rate =
            from * math::at(cpu, |cpu, x, y| math::pow_scalar(cpu, x, fraction, y), to / from);
        let mut batches = order.chunks(config.images_per_step() as usize);
        let indices = batches.nth((step % steps_per_epoch) as usize).unwrap_or_default();
        let progress = Progress { step, steps: u64::from(steps), steps_per_epoch };
        let loss = match training_step.run(
            setup,
            cpu,
            progress,
            rate,
            &mut state,
            indices,
            &mut Unobserved,
        )? {
            Ok(taken) => taken.score.mean_loss(),
            Err(NonFiniteStep { .. }) => break,
        };
        (sum, weight) = (DECAY * sum + loss, DECAY * weight + 1.0);
        minimum = minimum.min(sum / weight);
        points.push(Point { rate, loss, smoothed: loss });
        if sum / weight > MAX_LOSS_RATIO * minimum {
            break;
        }
    }
    smooth(&mut points, steps as usize / WINDOW_DIVISOR);
    Ok(points)
}

/// Sets each smoothed loss to the weighted mean of the losses at most `radius` steps away. Weights
/// fall linearly with the distance.
fn smooth(points: &mut [Point], radius: usize) {
    let losses: Vec<f64> = points.iter().map(|point| point.loss).collect();
    for (index, point) in points.iter_mut().enumerate() {
        let window = index.saturating_sub(radius)..(index + radius + 1).min(losses.len());
        let weight = |other: usize| (radius + 1 - other.abs_diff(index)) as f64;
        let sum: f64 = window.clone().map(|other| weight(other) * losses[other]).sum();
        point.smoothed = sum / window.map(weight).sum::<f64>();
    }
}

/// Index of the minimum smoothed loss.
fn least(points: &[Point]) -> Option<usize> {
    (0..points.len()).min_by(|&a, &b| points[a].smoothed.total_cmp(&points[b].smoothed))
}

/// Learning rate at which the smoothed loss falls most from one step to the next, up to its
/// minimum. Steps are evenly spaced over the logarithm of the rate. `None` if the loss does not
/// fall.
fn steepest(points: &[Point]) -> Option<f64> {
    let end = least(points)?;
    let falls =
        points[..=end].windows(2).map(|pair| (pair[0].smoothed - pair[1].smoothed, pair[1].rate));
    let (fall, rate) = falls.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (fall > 0.0).then_some(rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(smoothed: &[f64]) -> Vec<Point> {
        let point = |(index, &smoothed): (usize, &f64)| Point {
            rate: (index + 1) as f64,
            loss: smoothed,
            smoothed,
        };
        smoothed.iter().enumerate().map(point).collect()
    }

    #[test]
    fn the_steepest_fall_before_the_minimum_is_found() {
        let all = points(&[5.0, 5.0, 4.9, 4.0, 3.8, 3.9, 1e9, 0.5e9]);
        assert_eq!((least(&all), steepest(&all)), (Some(4), Some(4.0)));
        assert_eq!(steepest(&points(&[1.0; 20])), None);
        assert_eq!(steepest(&[]), None);
        let mut all = points(&[0.0, 4.0, 0.0, 0.0]);
        smooth(&mut all, 1);
        assert_eq!(
            all.iter().map(|point| point.smoothed).collect::<Vec<_>>(),
            [4.0 / 3.0, 2.0, 1.0, 0.0]
        );
        assert_eq!([0.003_162_2, 0.1, 1.0, 12.34].map(short), ["0.0032", "0.1", "1", "12"]);
    }
}
