//! Loss and learning rate over the recorded steps: shared by the rules on training dynamics.

use alloc::vec::Vec;

use crate::progress::Progress;
use crate::record::Record;
use crate::statistics::{fit_line, median};

/// Blocks of steps whose medians a trend is fitted to: one outlier in a block has no weight.
const BLOCKS: usize = 16;

/// Recorded losses that a trend needs at least.
const POINTS: usize = 12;

/// Fraction of the planned steps from which a training counts as complete.
const COMPLETE: f64 = 0.95;

/// Trend of a loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Trend {
    /// Loss at the end over that at the start, on the fitted exponential.
    pub(crate) ratio: f64,
    /// Slope over its standard error: below 0 if the loss falls.
    pub(crate) z: f64,
}

impl Trend {
    /// `true` if the loss falls by more than two standard errors.
    pub(crate) fn is_falling(&self) -> bool {
        self.z < -2.0
    }
}

/// Step numbers and losses that are finite.
pub(crate) fn losses(record: &Record) -> Vec<(u64, f64)> {
    let finite = |loss: &f64| loss.is_finite();
    record.steps.iter().filter_map(|s| Some((s.step, s.loss.filter(finite)?))).collect()
}

/// `true` if no recorded loss is NaN or infinite, and no step met a non-finite number.
pub(crate) fn is_finite(record: &Record) -> bool {
    let is_bad = |loss: f64| !loss.is_finite();
    !record.steps.iter().any(|step| step.non_finite.is_some() || step.loss.is_some_and(is_bad))
}

/// Trend of `losses`: a line through the logarithms of block medians. `None` if there are too few
/// losses, or one that is not positive.
pub(crate) fn trend(losses: &[(u64, f64)]) -> Option<Trend> {
    if losses.len() < POINTS || losses.iter().any(|&(_, loss)| loss <= 0.0) {
        return None;
    }
    let size = losses.len().div_ceil(BLOCKS);
    let points: Vec<(f64, f64)> = losses
        .chunks(size)
        .filter_map(|block| {
            let step = median(block.iter().map(|&(step, _)| step as f64))?;
            Some((step, libm::log(median(block.iter().map(|&(_, loss)| loss))?)))
        })
        .collect();
    let line = fit_line(points.iter().copied())?;
    let (&(first, _), &(last, _)) = (losses.first()?, losses.last()?);
    let ratio = libm::exp(line.slope * (last as f64 - first as f64));
    let z = if line.error > 0.0 {
        line.slope / line.error
    } else if line.slope == 0.0 {
        0.0
    } else {
        line.slope.signum() * f64::INFINITY
    };
    Some(Trend { ratio, z })
}

/// Losses of the last `fraction` of the recorded steps.
pub(crate) fn tail(losses: &[(u64, f64)], fraction: f64) -> &[(u64, f64)] {
    let skipped = ((1.0 - fraction.clamp(0.0, 1.0)) * losses.len() as f64) as usize;
    losses.get(skipped..).unwrap_or_default()
}

/// Median |ln(loss) - ln(loss `lag` steps before)| over steps that follow each other; `None` if
/// there are none.
pub(crate) fn jump(losses: &[(u64, f64)], lag: usize) -> Option<f64> {
    let change = |window: &[(u64, f64)]| {
        let (&(from, before), &(to, after)) = (window.first()?, window.last()?);
        let is_apart = to.checked_sub(from) == Some(lag as u64);
        (is_apart && before > 0.0 && after > 0.0)
            .then(|| libm::fabs(libm::log(after) - libm::log(before)))
    };
    median(losses.windows(lag + 1).filter_map(change))
}

/// Highest loss over the first one, and its step. A loss counts if the next one is as high, or if
/// there is no next one, so that one odd batch is no jump. The first loss counts as at least that
/// of a constant prediction.
pub(crate) fn rise(record: &Record, progress: &Progress) -> Option<(f64, u64)> {
    let start = progress.first_loss?.max(progress.chance_loss.unwrap_or(0.0));
    let losses = losses(record);
    let next = losses.iter().skip(1).map(|&(_, loss)| loss).chain([f64::INFINITY]);
    let lasting = losses.iter().zip(next).map(|(&(step, loss), next)| (loss.min(next), step));
    let (highest, step) = lasting.reduce(|a, b| if b.0 > a.0 { b } else { a })?;
    (start > 0.0).then_some((highest / start, step))
}

/// Median cosine of the angle between successive gradients.
pub(crate) fn cosine(record: &Record) -> Option<f64> {
    median(record.steps.iter().filter_map(|step| step.cosine))
}

/// Last step that is known to have been taken.
pub(crate) fn last_step(record: &Record) -> u64 {
    let step = record.steps.last().map_or(0, |step| step.step);
    step.max(record.epochs.last().map_or(0, |epoch| epoch.step))
}

/// Fraction of the planned steps that were taken; `None` if the plan or the steps are unknown.
pub(crate) fn completed(record: &Record) -> Option<f64> {
    let (planned, last) = (record.model.planned_steps, last_step(record));
    (planned > 0 && last > 0).then(|| last as f64 / planned as f64)
}

/// `true` if the record reaches the end of the planned training. A probe of its first steps must
/// not be judged by what the others would have brought.
pub(crate) fn is_complete(record: &Record) -> bool {
    completed(record).is_some_and(|fraction| fraction >= COMPLETE)
}

/// `true` if the learning rate still rises at the last recorded step.
pub(crate) fn is_warming_up(record: &Record) -> bool {
    let rates: Vec<f64> = record.steps.iter().filter_map(|step| step.learning_rate).collect();
    let (Some(&last), Some(typical)) = (rates.last(), median(rates.iter().copied())) else {
        return false;
    };
    last > 1.2 * typical && rates.iter().all(|&rate| rate <= last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::record_of_losses;

    #[test]
    fn a_trend_is_that_of_the_fitted_exponential_whatever_an_outlier_says() {
        let exponential = |spike: f64| {
            let loss = |i: i32| libm::exp(-0.01 * f64::from(i)) * if i == 48 { spike } else { 1.0 };
            losses(&record_of_losses((0..97).map(loss)))
        };
        for spike in [1.0, 1e6] {
            let trend = trend(&exponential(spike)).expect("97 losses");
            assert!((trend.ratio - libm::exp(-0.96)).abs() < 0.01, "{trend:?}");
            assert!(trend.z < -10.0, "{trend:?}");
        }
        let flat = losses(&record_of_losses((0..40).map(|_| 0.5)));
        assert_eq!(trend(&flat), Some(Trend { ratio: 1.0, z: 0.0 }));
        assert_eq!(trend(&losses(&record_of_losses((0..40).map(|i| f64::from(i - 20))))), None);
        assert_eq!(trend(&losses(&record_of_losses([1.0, 0.5]))), None);
    }

    #[test]
    fn the_plan_says_what_is_complete() {
        let mut record = record_of_losses([1.0; 100]);
        assert!(!is_complete(&record));
        record.model.planned_steps = 1000;
        assert_eq!(completed(&record), Some(0.1));
        record.model.planned_steps = 100;
        assert!(is_complete(&record));
    }

    fn rise_of(losses: &[f64]) -> Option<(f64, u64)> {
        let record = record_of_losses(losses.iter().copied());
        rise(&record, &Progress::new(&record))
    }

    #[test]
    fn a_rise_lasts_or_is_the_end() {
        assert_eq!(rise_of(&[1.0, 9.0, 1.0, 1.0]), Some((1.0, 1)));
        assert_eq!(rise_of(&[1.0, 9.0, 5.0, 1.0]), Some((5.0, 2)));
        assert_eq!(rise_of(&[1.0, 1.0, 7.0]), Some((7.0, 3)));
        assert_eq!(rise_of(&[f64::NAN]), None);
    }
}
