//! `evenkeel lr-find`: which learning rates a network can be trained with, by a range test (Smith, WACV 2017).
//!
//! ```text
//! for step i of n    rate = from * (to / from)^(i / (n - 1)); one step of the run at this rate
//!                    recent = mean of the losses so far, each earlier one with 0.9 of the weight of the next
//! until the recent loss is four times the least one, or not finite
//! smoothed[i] = mean of the losses around i, the farther the less
//! ```
//!
//! The mean is a centred one: one over past losses alone lags behind, and would suggest rates that are too large.
//!
//! Suggested is the rate at which the smoothed loss falls most steeply by the logarithm of the rate; a tenth of the rate with the least
//! loss is the other rule of thumb, and is printed beside it. Nothing is kept but the plot that was asked for.

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
use crate::training::step::{NonFiniteStep, TrainingStep};

/// What an earlier loss counts beside the next one, while it goes on.
const RECENT: f64 = 0.9;

/// How many times the least loss is too much.
const TOO_MUCH: f64 = 4.0;

/// How far the mean reaches to either side: this part of all steps.
const REACH: usize = 20;

/// What `lr-find` is asked to do.
#[derive(Clone, Debug)]
pub struct Request {
    /// What is to be trained.
    pub config: Config,
    /// The rate of the first step.
    pub from: f64,
    /// The rate of the last step.
    pub to: f64,
    /// How many steps.
    pub steps: u32,
    /// The file for the plot.
    pub out: Option<PathBuf>,
    /// Whether it may be there already.
    pub force: bool,
    /// Print JSON.
    pub json: bool,
}

/// A step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Its rate.
    pub rate: f64,
    /// The loss of its batch, before it.
    pub loss: f64,
    /// The smoothed loss.
    pub smoothed: f64,
}

#[derive(Serialize)]
struct Outcome {
    /// None where the loss does not fall at any rate.
    suggestion: Option<f64>,
    /// The rate at which the loss falls most steeply.
    steepest: Option<f64>,
    /// The rate with the least loss.
    least: Option<f64>,
    /// A tenth of it.
    tenth_of_least: Option<f64>,
    /// Whether the loss grew too much before the last rate.
    diverged: bool,
    points: Vec<Point>,
}

/// Does it: prints the suggestion, or everything as JSON.
///
/// # Errors
/// [`Error`], if a value is out of range or the data cannot be had.
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
    dry_run::room(&setup)?;
    let pool = setup::pool(&setup.config)?;
    let cpu = Cpu::new(setup::isa(&setup.config)?, &pool);
    let points = pool.enter(|| match setup.config.dtype {
        Dtype::F32 | Dtype::Bf16 => points::<f32>(&setup, cpu, request),
        Dtype::F64 => points::<f64>(&setup, cpu, request),
    })?;

    let (steepest, least) = (steepest(&points), least(&points).map(|at| points[at].rate));
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
        let curve = |of: fn(&Point) -> f64| {
            outcome.points.iter().map(|point| (point.rate, of(point))).collect()
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
        "suggested --lr {}\nthe loss falls most steeply at {}, is least at {} (a tenth of that: {}), and {} {}",
        rate(outcome.suggestion),
        rate(outcome.steepest),
        rate(outcome.least),
        rate(outcome.tenth_of_least),
        if outcome.diverged { "grew too much at" } else { "was still small at" },
        rate(outcome.points.last().map(|point| point.rate)),
    ))
}

/// Two digits: more are not known.
fn short(rate: f64) -> String {
    let text = format!("{rate:.1e}");
    text.parse::<f64>().map_or(text, |rounded| rounded.to_string())
}

/// The steps, as far as they make sense.
fn points<T: Element>(setup: &Setup, cpu: Cpu<'_>, request: &Request) -> Result<Vec<Point>, Error> {
    let Setup { config, .. } = setup;
    let Request { from, to, steps, .. } = *request;
    let mut state = initial::state::<T>(setup, cpu)?;
    let mut training_step = TrainingStep::new(setup, cpu)?;
    let of_an_epoch = setup.steps_per_epoch();
    let (mut order, mut points) = (Vec::new(), Vec::<Point>::new());
    let (mut sum, mut weight, mut best) = (0.0, 0.0, f64::INFINITY);
    for step in 0..u64::from(steps) {
        if step.is_multiple_of(of_an_epoch) {
            order = setup.order((step / of_an_epoch) as u32);
        }
        let share = step as f64 / f64::from(steps - 1);
        let rate = from * math::at(cpu, |cpu, x, y| math::pow_scalar(cpu, x, share, y), to / from);
        let mut batches = order.chunks(config.images_per_step() as usize);
        let indices = batches.nth((step % of_an_epoch) as usize).unwrap_or_default();
        let progress = Progress { step, steps: u64::from(steps), steps_per_epoch: of_an_epoch };
        let loss = match training_step.run(setup, cpu, progress, rate, &mut state, indices)? {
            Ok(taken) => taken.score.mean_loss(),
            Err(NonFiniteStep { .. }) => break,
        };
        (sum, weight) = (RECENT * sum + loss, RECENT * weight + 1.0);
        best = best.min(sum / weight);
        points.push(Point { rate, loss, smoothed: loss });
        if sum / weight > TOO_MUCH * best {
            break;
        }
    }
    smooth(&mut points, steps as usize / REACH);
    Ok(points)
}

/// Sets each smoothed loss to the mean of those at most `reach` steps away, with weights that fall evenly with the distance.
fn smooth(points: &mut [Point], reach: usize) {
    let losses: Vec<f64> = points.iter().map(|point| point.loss).collect();
    for (at, point) in points.iter_mut().enumerate() {
        let near = at.saturating_sub(reach)..(at + reach + 1).min(losses.len());
        let weight = |other: usize| (reach + 1 - other.abs_diff(at)) as f64;
        let sum: f64 = near.clone().map(|other| weight(other) * losses[other]).sum();
        point.smoothed = sum / near.map(weight).sum::<f64>();
    }
}

/// Where the smoothed loss is least.
fn least(points: &[Point]) -> Option<usize> {
    (0..points.len()).min_by(|&a, &b| points[a].smoothed.total_cmp(&points[b].smoothed))
}

/// The rate, up to that of the least loss, at which the smoothed loss falls most from one step to the next: they are evenly spaced by
/// the logarithm. `None` if it does not fall.
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
        let point = |(at, &smoothed): (usize, &f64)| Point {
            rate: (at + 1) as f64,
            loss: smoothed,
            smoothed,
        };
        smoothed.iter().enumerate().map(point).collect()
    }

    #[test]
    fn the_steepest_fall_before_the_least_loss_is_found() {
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
