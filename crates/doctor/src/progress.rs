//! How well a training goes: the harm that a fault must have done to be one.
//!
//! ```text
//! diverging    a loss or gradient is not finite, or the loss ends above its start
//! stuck        no better than a constant prediction
//! slow         better than that, worse than the reference
//! well         at least as good as the reference, or, without one, half of the loss is gone
//! ```
//!
//! A training that is recorded before its end is slow only if its loss, continued as a power of the
//! step, would not get there by the planned end either.
//!
//! The reference is a linear model that saw the same examples. A network that is no better has not
//! used its hidden layers yet. One that was trained to its end is also compared with the vote of
//! the nearest neighbours.

use alloc::vec::Vec;
use core::fmt;

use crate::curve;
use crate::finding::Severity;
use crate::record::{Record, Task};
use crate::scores::ABOVE_CHANCE;
use crate::statistics::{fit_line, fraction_margin, median};

/// State of a training. Displays as the end of a sentence: `goes well`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
pub enum State {
    /// Not enough is known: no step was recorded.
    Unknown,
    /// It learns as well as the reference.
    Well,
    /// It learns less well than the reference.
    Slow,
    /// It does not learn.
    Stuck,
    /// The loss grows or is not finite.
    Diverging,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "has no reference to be judged by",
            Self::Well => "goes well",
            Self::Slow => "is slow",
            Self::Stuck => "learns nothing",
            Self::Diverging => "diverges",
        })
    }
}

/// How well a training goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// State.
    pub state: State,
    /// Loss of a constant prediction, in the unit of the loss.
    pub chance_loss: Option<f64>,
    /// Median loss of the first recorded steps.
    pub first_loss: Option<f64>,
    /// Median loss of the last recorded steps.
    pub last_loss: Option<f64>,
    /// Accuracy of the most frequent class.
    pub chance_accuracy: Option<f64>,
    /// Best accuracy on the validation set, or else on the last recorded steps.
    pub accuracy: Option<f64>,
    /// Accuracy of the reference.
    pub reference_accuracy: Option<f64>,
}

/// Standard deviations by which an accuracy must differ.
const DEVIATIONS: f64 = 3.0;

/// Difference of accuracies that does no harm worth a finding.
const HARMLESS: f64 = 0.02;

/// Fraction of what the reference learnt that a training must learn to go well.
const LEARNT: f64 = 0.97;

/// `true` if a loss that fell from `start` to `loss` fell about as far as one that ended at `end`.
fn learnt(start: f64, loss: f64, end: f64) -> bool {
    start - loss >= LEARNT * (start - end)
}

/// Fraction of the chance loss above which the loss of a reference says nothing.
const UNINFORMATIVE: f64 = 0.75;

/// Loss over that of the reference that is far higher.
const FAR: f64 = 2.0;

/// Fraction of the loss above which nothing was learnt.
const STUCK: f64 = 0.97;

/// Fraction of the chance loss below which a training without a reference goes well.
const WELL: f64 = 0.5;

/// Growth of the loss above which a training diverges.
const DIVERGING: f64 = 1.5;

impl Progress {
    /// Progress of `record`.
    pub fn new(record: &Record) -> Self {
        let losses = || record.steps.iter().filter_map(|step| step.loss);
        let count = losses().count();
        let few = (count / 10).clamp(1, 20);
        let first_loss = record.initial.as_ref().and_then(|initial| initial.loss);
        let first_loss = first_loss.or_else(|| median(losses().take(few)));
        let last_loss = median(losses().skip(count.saturating_sub(few)));
        let mut progress = Self {
            state: State::Unknown,
            chance_loss: chance_loss(record),
            first_loss,
            last_loss,
            chance_accuracy: chance_accuracy(record),
            accuracy: accuracy(record, few),
            reference_accuracy: record.reference.as_ref().and_then(|r| r.val_accuracy),
        };
        progress.state = progress.state_of(record);
        progress
    }

    fn state_of(&self, record: &Record) -> State {
        let &Self { first_loss, last_loss, chance_loss, .. } = self;
        let non_finite = |step: &crate::record::Step| {
            step.non_finite.is_some() || step.loss.is_some_and(|loss| !loss.is_finite())
        };
        if record.steps.last().is_some_and(non_finite) {
            return State::Diverging;
        }
        let mut beats_chance = false;
        if let (Some(accuracy), Some(chance)) = (self.accuracy, self.chance_accuracy) {
            let examples = validation_examples(record);
            let margin = |p| fraction_margin(p, examples, DEVIATIONS);
            if accuracy <= chance + margin(chance) + ABOVE_CHANCE * (1.0 - chance) {
                let grew = first_loss.zip(last_loss).is_some_and(|(a, b)| b > DIVERGING * a);
                return if grew { State::Diverging } else { State::Stuck };
            }
            beats_chance = true;
            if let Some(reference) = self.reference_accuracy {
                let is_close = accuracy + margin(accuracy) + HARMLESS >= reference
                    && !self.falls_short(record, accuracy, reference)
                    && !(curve::is_complete(record) && self.trails_neighbours(record));
                let is_well = is_close || self.will_be_well(record);
                return if is_well { State::Well } else { State::Slow };
            }
        }
        let (Some(first), Some(last)) = (first_loss, last_loss) else { return State::Unknown };
        let start = chance_loss.map_or(first, |chance| chance.min(first));
        let reference = record.reference.as_ref().and_then(|r| r.val_loss);
        let scored = record.epochs.iter().rev().find_map(|epoch| epoch.val_loss).unwrap_or(last);
        if last > DIVERGING * first && last > start {
            State::Diverging
        } else if last > STUCK * start && !beats_chance {
            State::Stuck
        } else if reference.map_or(last <= WELL * start, |end| learnt(start, scored, end))
            || self.will_be_well(record)
        {
            State::Well
        } else {
            State::Slow
        }
    }

    /// `true` if the accuracy is below that of the nearest neighbours, which a network that has
    /// been trained to its end reaches: a second reference, for data that are not linear.
    pub fn trails_neighbours(&self, record: &Record) -> bool {
        let Some((accuracy, data)) = self.accuracy.zip(record.data.as_ref()) else { return false };
        let Some((vote, nearest)) = data.neighbour_vote.zip(data.validation_agreement) else {
            return false;
        };
        let neighbours = vote.min(nearest);
        let of_network = fraction_margin(accuracy, validation_examples(record), DEVIATIONS);
        let of_neighbours = fraction_margin(neighbours, data.neighbours_sampled, DEVIATIONS);
        accuracy + libm::hypot(of_network, of_neighbours) + HARMLESS < neighbours
    }

    /// `true` if an accuracy below that of the reference is no chance, though few examples were
    /// scored: the loss on the same examples is far higher too.
    fn falls_short(&self, record: &Record, accuracy: f64, reference: f64) -> bool {
        let scored = record.epochs.iter().rev().find_map(|epoch| epoch.val_loss);
        let of_reference = record.reference.as_ref().and_then(|reference| reference.val_loss);
        accuracy + HARMLESS < reference
            && scored.zip(of_reference).is_some_and(|(loss, end)| loss > FAR * end)
    }

    /// `true` if the loss at the planned end will be that of the reference, or without one half of
    /// the loss will be gone.
    fn will_be_well(&self, record: &Record) -> bool {
        let reference = record.reference.as_ref().and_then(|reference| reference.val_loss);
        let start = self.chance_loss.or(self.first_loss);
        if reference.is_none() && self.reference_accuracy.is_some() {
            // Losses of two kinds, which cannot be compared.
            return false;
        }
        let Some((loss, start)) = projected_loss(record).zip(start) else { return false };
        // After a few examples, a linear model that classifies well can have the loss of chance.
        let reference = reference
            .filter(|end| self.reference_accuracy.is_none() || *end < UNINFORMATIVE * start);
        reference.map_or(loss <= WELL * start, |end| learnt(start, loss, end))
    }

    /// `true` if the training is known to go well.
    pub fn is_well(&self) -> bool {
        self.state == State::Well
    }

    /// Severity of a fault that explains the state.
    pub fn severity(&self) -> Severity {
        match self.state {
            State::Well => Severity::Info,
            State::Unknown | State::Slow => Severity::Warning,
            State::Stuck | State::Diverging => Severity::Critical,
        }
    }
}

/// Windows of the recorded steps that the loss is continued from.
const WINDOWS: usize = 8;

/// Loss at the last planned step, if its logarithm goes on to fall as a line over that of the step:
/// a power law, as learning curves have (Hestness et al., 2017). `None` if the record reaches the
/// planned end, or has too few losses.
fn projected_loss(record: &Record) -> Option<f64> {
    let (planned, last) = (record.model.planned_steps, record.steps.last()?.step);
    if planned <= last {
        return None;
    }
    let losses: Vec<(f64, f64)> =
        record.steps.iter().filter_map(|step| Some((step.step as f64, step.loss?))).collect();
    let recent = &losses[losses.len() / 3..];
    let windows = recent.chunks((recent.len() / WINDOWS).max(1)).filter_map(|window| {
        let step = median(window.iter().map(|(step, _)| *step))?;
        let loss = median(window.iter().map(|(_, loss)| *loss)).filter(|loss| *loss > 0.0)?;
        Some((libm::log(step), libm::log(loss)))
    });
    let line = fit_line(windows)?;
    let slope = line.slope.min(0.0);
    Some(libm::exp(line.intercept + slope * libm::log(planned as f64)))
}

/// Loss of a constant prediction: the entropy of the class frequencies, or the variance of the
/// targets.
fn chance_loss(record: &Record) -> Option<f64> {
    let (model, data) = (&record.model, record.data.as_ref());
    match (model.task, &model.loss[..]) {
        (Task::Classification, "cross_entropy") => {
            let counts = data.map(|data| &data.class_counts[..]).unwrap_or_default();
            let total = counts.iter().map(|&count| count as f64).sum::<f64>();
            if total > 0.0 {
                let entropy = |&count: &u64| {
                    let p = count as f64 / total;
                    if count == 0 { 0.0 } else { -p * libm::log(p) }
                };
                return Some(counts.iter().map(entropy).sum());
            }
            (model.classes > 1).then(|| libm::log(model.classes as f64))
        }
        (Task::Regression, "mse") => {
            let data = data?;
            let std = if data.target_standardised { Some(1.0) } else { data.target_std };
            std.map(|std| std * std)
        }
        _ => None,
    }
}

/// Accuracy of predicting the most frequent class.
fn chance_accuracy(record: &Record) -> Option<f64> {
    if record.model.task != Task::Classification {
        return None;
    }
    let counts = record.data.as_ref().map(|data| &data.class_counts[..]).unwrap_or_default();
    let total = counts.iter().map(|&count| count as f64).sum::<f64>();
    match counts.iter().max() {
        Some(&most) if total > 0.0 => Some(most as f64 / total),
        _ => (record.model.classes > 1).then(|| 1.0 / record.model.classes as f64),
    }
}

fn accuracy(record: &Record, few: usize) -> Option<f64> {
    let scored = record.epochs.iter().filter_map(|epoch| epoch.val_accuracy);
    scored.reduce(f64::max).or_else(|| {
        let count = record.steps.iter().filter(|step| step.accuracy.is_some()).count();
        median(record.steps.iter().filter_map(|s| s.accuracy).skip(count.saturating_sub(few)))
    })
}

/// Examples behind [`Progress::accuracy`]: at least those of one batch.
fn validation_examples(record: &Record) -> u64 {
    let is_scored = record.epochs.iter().any(|epoch| epoch.val_accuracy.is_some());
    let validation = record.data.as_ref().map_or(0, |data| data.validation);
    if is_scored && validation > 0 { validation } else { record.model.batch.max(32) }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::record::{Data, Epoch, Reference, Step};
    use crate::rules::testing::{mnist, record_of_data, record_of_losses};

    /// A training of ten classes whose loss is `loss(step)`, scored with `accuracy` at its end.
    fn record(steps: u64, loss: impl Fn(f64) -> f64, accuracy: f64) -> Record {
        let mut record = Record::default();
        record.model.classes = 10;
        record.model.loss = "cross_entropy".into();
        for step in 1..=steps {
            record.steps.push(Step { step, loss: Some(loss(step as f64)), ..Step::default() });
        }
        record.epochs.push(Epoch { val_accuracy: Some(accuracy), ..Epoch::default() });
        record.data = Some(Data { validation: 2000, ..Data::default() });
        let (val_loss, val_accuracy) = (Some(0.35), Some(0.9));
        record.reference = Some(Reference { val_loss, val_accuracy, ..Reference::default() });
        record
    }

    #[test]
    fn a_complete_training_must_classify_as_well_as_neighbours() {
        let mut record = crate::rules::fixtures::healthy(&[784, 64, 10], "relu");
        record.model.planned_steps = record.steps.last().map_or(0, |step| step.step);
        assert_eq!(Progress::new(&record).state, State::Well);
        let data = record.data.as_mut().expect("data");
        (data.neighbour_vote, data.validation_agreement) = (Some(0.99), Some(1.0));
        data.neighbours_sampled = 10_000;
        assert_eq!(Progress::new(&record).state, State::Slow, "0.95, neighbours 0.99");
        record.model.planned_steps *= 3;
        assert_eq!(Progress::new(&record).state, State::Well, "it goes on");
        record.model.planned_steps /= 3;
        record.data.as_mut().expect("data").validation_agreement = Some(0.96);
        assert_eq!(Progress::new(&record).state, State::Well, "the lower of the two");
    }

    #[test]
    fn the_state_is_that_of_the_loss_and_of_the_reference() {
        let state = |record: &Record| Progress::new(record).state;
        assert_eq!(state(&Record::default()), State::Unknown);
        assert_eq!(state(&record(100, |step| 2.3 / step, 0.95)), State::Well);
        assert_eq!(state(&record(100, |_| 2.3, 0.11)), State::Stuck);
        assert_eq!(state(&record(100, |step| 2.3 * step, 0.1)), State::Diverging);
        assert_eq!(state(&record(100, |_| 1.0, 0.6)), State::Slow);
    }

    #[test]
    fn a_slow_start_that_gets_there_by_the_planned_end_goes_well() {
        let mut slow = record(200, |step| 2.3 * libm::pow(step, -0.2), 0.7);
        assert_eq!(Progress::new(&slow).state, State::Slow);
        slow.model.planned_steps = 20_000;
        assert_eq!(Progress::new(&slow).state, State::Well);
        slow.model.planned_steps = 300;
        assert_eq!(Progress::new(&slow).state, State::Slow);
    }

    #[test]
    fn an_accuracy_above_chance_is_not_stuck_whatever_the_loss() {
        let state = |accuracy: f64| {
            let mut record = record_of_data(mnist(), &[accuracy]);
            record.steps = record_of_losses([4.0, 3.0, 2.4, 2.3]).steps;
            Progress::new(&record).state
        };
        assert_eq!(state(0.4), State::Slow);
        assert_eq!(state(0.1), State::Stuck);
    }

    #[test]
    fn a_last_step_without_a_number_diverges() {
        let mut record = record_of_losses(Vec::from([2.0, 1.0, f64::NAN]));
        assert_eq!(Progress::new(&record).state, State::Diverging);
        record.steps.pop();
        assert_eq!(Progress::new(&record).state, State::Well);
        record.steps.clear();
        assert_eq!(Progress::new(&record).state, State::Unknown);
    }
}
