//! Trend of the recorded losses.

use alloc::vec::Vec;

use crate::progress::Progress;
use crate::record::Record;
use crate::statistics::{Line, fit_line, median};

/// Finite losses with their steps.
pub(crate) fn losses(record: &Record) -> Vec<(u64, f64)> {
    let finite = |loss: &f64| loss.is_finite();
    let of_step = |step: &crate::record::Step| Some((step.step, step.loss.filter(finite)?));
    record.steps.iter().filter_map(of_step).collect()
}

/// Highest loss over the first one, and its step. A loss counts if the next one is as high, or if
/// there is no next one, so that one odd batch is no jump. The first loss counts as at least that
/// of a constant prediction.
pub(crate) fn jump(record: &Record, progress: &Progress) -> Option<(f64, u64)> {
    let start = progress.first_loss?.max(progress.chance_loss.unwrap_or(0.0));
    let losses = losses(record);
    let next = losses.iter().skip(1).map(|&(_, loss)| loss).chain([f64::INFINITY]);
    let lasting = losses.iter().zip(next).map(|(&(step, loss), next)| (loss.min(next), step));
    let (highest, step) = lasting.reduce(|a, b| if b.0 > a.0 { b } else { a })?;
    (start > 0.0).then_some((highest / start, step))
}

/// Trend of the losses in the second half of the recorded steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Trend {
    /// Change over that half, relative to the median loss; negative if the loss falls.
    pub(crate) change: f64,
    /// Standard error of the change.
    pub(crate) error: f64,
}

impl Trend {
    /// `true` if the loss falls by more than two standard errors.
    pub(crate) fn is_falling(&self) -> bool {
        self.change < -2.0 * self.error
    }
}

/// Trend of `record`; `None` for fewer than six losses.
pub(crate) fn trend(record: &Record) -> Option<Trend> {
    let losses = losses(record);
    let half = losses.get(losses.len() / 2..)?;
    if losses.len() < 6 {
        return None;
    }
    let level = median(half.iter().map(|&(_, loss)| loss)).filter(|&level| level > 0.0)?;
    let span = half.last()?.0 as f64 - half.first()?.0 as f64;
    let Line { slope, error, .. } = fit_line(half.iter().map(|&(s, loss)| (s as f64, loss)))?;
    Some(Trend { change: slope * span / level, error: error * span / level })
}

/// Median cosine of the angle between successive gradients.
pub(crate) fn cosine(record: &Record) -> Option<f64> {
    median(record.steps.iter().filter_map(|step| step.cosine))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Step;

    fn record_of(losses: &[f64]) -> Record {
        let mut record = Record::default();
        for (step, &loss) in (1..).zip(losses) {
            record.steps.push(Step { step, loss: Some(loss), ..Step::default() });
        }
        record
    }

    fn jump_of(losses: &[f64]) -> Option<(f64, u64)> {
        let record = record_of(losses);
        jump(&record, &Progress::new(&record))
    }

    #[test]
    fn a_jump_lasts_or_is_the_end() {
        assert_eq!(jump_of(&[1.0, 9.0, 1.0, 1.0]), Some((1.0, 1)));
        assert_eq!(jump_of(&[1.0, 9.0, 5.0, 1.0]), Some((5.0, 2)));
        assert_eq!(jump_of(&[1.0, 1.0, 7.0]), Some((7.0, 3)));
        assert_eq!(jump_of(&[f64::NAN]), None);
    }

    #[test]
    fn a_trend_is_relative_and_has_an_error() {
        let falling: Vec<f64> = (0..21).map(|step| 3.0 - 0.1 * f64::from(step)).collect();
        let trend_of_falling = trend(&record_of(&falling)).expect("21 losses");
        assert!(
            (trend_of_falling.change + 1.0 / 1.5).abs() < 1e-9 && trend_of_falling.is_falling()
        );
        let noise: Vec<f64> = (0..40).map(|step| 1.0 + f64::from(step * 7 % 5) / 10.0).collect();
        assert!(!trend(&record_of(&noise)).expect("40 losses").is_falling());
        assert_eq!(trend(&record_of(&[1.0, 0.5])), None);
    }
}
