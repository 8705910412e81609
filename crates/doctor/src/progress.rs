//! How well a training goes: the harm that a fault must have done to be one.
//!
//! ```text
//! diverging    a loss or gradient is not finite, or the loss ends above its start
//! stuck        no better than a constant prediction
//! slow         better than that, worse than the reference
//! well         at least as good as the reference, or, without one, half of the loss is gone
//! ```
//!
//! The reference is a linear model that saw the same examples. A network that is no better has not
//! used its hidden layers yet.

use crate::finding::Severity;
use crate::record::{Record, Task};
use crate::statistics::{fraction_margin, median};

/// State of a training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not enough is known: no step was recorded.
    Unknown,
    /// It learns as well as the reference.
    Well,
    /// It learns less well than the reference.
    Slow,
    /// It does not learn.
    Stuck,
    /// Its loss grows or is not finite.
    Diverging,
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
            if accuracy <= chance + margin(chance) {
                let grew = first_loss.zip(last_loss).is_some_and(|(a, b)| b > DIVERGING * a);
                return if grew { State::Diverging } else { State::Stuck };
            }
            beats_chance = true;
            if let Some(reference) = self.reference_accuracy {
                let is_well = accuracy + margin(accuracy) >= reference;
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
        } else if reference.map_or(last <= WELL * start, |reference| scored <= 1.1 * reference) {
            State::Well
        } else {
            State::Slow
        }
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

/// Loss of a constant prediction: the entropy of the class frequencies, or the variance of the
/// targets.
fn chance_loss(record: &Record) -> Option<f64> {
    let (model, data) = (&record.model, record.data.as_ref());
    match (model.task, &model.loss[..]) {
        (Task::Classification, "cross_entropy") => {
            let counts = data.map(|data| &data.class_counts[..]).unwrap_or_default();
            let total = counts.iter().sum::<u64>() as f64;
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
    let total = counts.iter().sum::<u64>();
    match counts.iter().max() {
        Some(&most) if total > 0 => Some(most as f64 / total as f64),
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
    use crate::rules::testing::{mnist, record_of_data, record_of_losses};

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
