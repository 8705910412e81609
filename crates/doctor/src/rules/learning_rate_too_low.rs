//! Updates too small to get anywhere.

use alloc::format;

use crate::cure::Cure;
use crate::curve;
use crate::finding::Finding;
use crate::network::total_steps;
use crate::progress::State;
use crate::rule::{Context, Rule, Threshold};
use crate::symptoms;
use crate::updates;

pub(super) static RULE: Rule = Rule {
    id: "learning-rate-too-low",
    title: "The learning rate is too low",
    meaning: "The updates are so small that the weights hardly move in the whole training. The \
              loss falls steadily and slowly, and successive gradients point the same way: the \
              network has yet to leave its start.",
    formula: "u = |update| / |weights| of the weight tensor where it is largest, mean over \
              steps. u times the steps of the training, at least 1000, bounds the relative \
              distance that weights can move. The rule fires if it is below `distance`; or below \
              `steady_distance` if the training is over, works less well than a linear model, its \
              loss still falls in the second half by more than two standard errors, and the median \
              cosine of successive gradients is above `cosine`. It does not fire if the training \
              goes well, diverges, or has no gradient.",
    origin: "Weights of wide networks move by a tenth or more of their norm until the loss is \
             small, those of narrow ones by several times. In healthy trainings u is about 1e-3.",
    references: "Bengio, Practical recommendations, 2012; Chizat, Oyallon, Bach, NeurIPS 2019; \
                 Smith, WACV 2017.",
    thresholds: &[
        Threshold {
            key: "distance",
            default: 0.1,
            meaning: "bound of the relative distance that weights move, below which the rate is \
                      too low",
        },
        Threshold {
            key: "steady_distance",
            default: 1.0,
            meaning: "same, where the loss still falls and gradients point the same way",
        },
        Threshold {
            key: "cosine",
            default: 0.5,
            meaning: "median cosine of successive gradients, above which they point the same way",
        },
    ],
    cures: &[Cure::RaiseRate, Cure::RangeTest, Cure::Adam, Cure::MoreEpochs],
    causes: &[symptoms::NOT_LEARNING, symptoms::SLOW, &["overfit-one-batch-fails"]],
    check: |context| find(context).into_iter().collect(),
};

/// Steps that a training counts as if it has fewer.
const SHORT: u64 = 1000;

fn find(context: &Context<'_>) -> Option<Finding> {
    let record = context.record;
    let state = context.progress.state;
    if matches!(state, State::Well | State::Diverging) {
        return None;
    }
    // A loss that jumped was not moved by small updates.
    if curve::rise(record, &context.progress).is_some_and(|(ratio, _)| ratio > 2.0) {
        return None;
    }
    let update = updates::largest(record)?.mean();
    // A short training moves little at any rate, which is no fault of the rate.
    let steps = total_steps(record).max(SHORT);
    let distance = update * steps as f64;
    let [least, steady] = ["distance", "steady_distance"].map(|key| context.threshold(key));
    let cosine_threshold = context.threshold("cosine");
    let cosine = curve::cosine(record);
    let points_on = cosine.is_some_and(|cosine| cosine > cosine_threshold);
    let losses = curve::losses(record);
    let trend = curve::trend(curve::tail(&losses, 0.5));
    let falls = trend.is_some_and(|trend| trend.is_falling());
    let recorded = record.steps.last().map_or(0, |step| step.step);
    let is_over = recorded as f64 >= 0.9 * total_steps(record) as f64;
    let is_steady = state == State::Slow && is_over && falls && points_on && distance < steady;
    // Updates of exactly 0 are for the rule on unchanged parameters.
    if update <= 0.0 || !(distance < least || is_steady) {
        return None;
    }
    let rate = record.model.learning_rate.map_or("".into(), |rate| format!(" ({rate:.1e})"));
    let still = if falls { ", and the loss still falls" } else { "" };
    let message = format!(
        "The learning rate is too low{rate}: updates are {update:.1e} times the weights, \
         and {steps} steps move them by {:.1} % at most{still}.",
        100.0 * distance
    );
    let threshold = if distance < least { least } else { steady };
    let mut finding = context.finding(message);
    finding = finding.with("relative distance that weights move at most", distance, threshold);
    finding = finding.with("largest relative update, mean over steps", update, None);
    if let Some(trend) = trend {
        finding = finding.with("loss at the end over that of half the steps", trend.ratio, None);
    }
    if let Some(cosine) = cosine {
        finding = finding.with("cosine of successive gradients", cosine, cosine_threshold);
    }
    let of = |sign: bool, weight: f64| if sign { weight } else { 0.0 };
    Some(finding.with_confidence(0.6 + of(falls, 0.1) + of(points_on, 0.1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Severity;
    use crate::record::Record;
    use crate::rules::fixtures::{for_tensors, healthy, make_slow, make_stuck, set_losses};
    use crate::rules::testing::check_rule;

    fn with_updates(size: f64) -> Record {
        let mut record = healthy(&[784, 64, 10], "relu");
        for_tensors(&mut record, |_, _, sample| {
            sample.update_norm = sample.param_norm.map(|norm| size * norm);
        });
        record
    }

    #[test]
    fn weights_that_cannot_move_are_found_where_it_does_harm() {
        let mut record = with_updates(1e-5);
        assert_eq!(check_rule(&RULE, &record), None);
        make_stuck(&mut record);
        let finding = check_rule(&RULE, &record).expect("1000 steps of 1e-5");
        assert_eq!(finding.severity, Severity::Critical);
        assert!((finding.evidence[0].value - 1e-2).abs() < 1e-9);
        // Steps to come count.
        record.model.planned_steps = 100_000;
        assert_eq!(check_rule(&RULE, &record), None);
        let mut record = with_updates(0.0);
        make_stuck(&mut record);
        assert_eq!(check_rule(&RULE, &record), None);
        let mut record = with_updates(1e-5);
        set_losses(&mut record, |step| if step < 20 { 2.3 } else { 50.0 });
        assert_eq!(check_rule(&RULE, &record), None);
    }

    #[test]
    fn one_tensor_that_moves_is_enough() {
        let mut record = with_updates(1e-5);
        make_stuck(&mut record);
        for_tensors(&mut record, |_, tensor, sample| {
            if tensor.layer == 2 {
                sample.update_norm = sample.param_norm.map(|norm| 1e-3 * norm);
            }
        });
        assert_eq!(check_rule(&RULE, &record), None);
    }

    #[test]
    fn a_steady_slow_loss_is_found() {
        let mut record = with_updates(5e-4);
        make_slow(&mut record);
        assert_eq!(check_rule(&RULE, &record), None);
        record.steps.iter_mut().for_each(|step| step.cosine = Some(0.9));
        assert!(check_rule(&RULE, &record).is_some());
        record.model.planned_steps = 1000;
        assert_eq!(check_rule(&RULE, &record), None);
    }
}
