//! A schedule that takes the learning rate away too early, or gives it too late.

use alloc::format;
use alloc::vec::Vec;

use crate::cure::Cure;
use crate::curve;
use crate::finding::Finding;
use crate::rule::{Context, Rule, Threshold};
use crate::symptoms;

pub(super) static RULE: Rule = Rule {
    id: "schedule-starves",
    title: "The schedule's learning rate is too low for most of the training",
    meaning: "A learning rate that decays long before the end of the training leaves the rest of \
              the steps without effect; one that still warms up at the end never was what it \
              should be. The steps are paid for either way.",
    formula: "Decay: from a step before `early` times the planned steps on, the learning rate is \
              below `low` times its maximum; and the loss was still falling then, by two standard \
              errors, or the training does not go well. Warm-up: past half of the planned steps, \
              the learning rate is at its maximum, and more than ten times its first.",
    origin: "A cosine falls below a hundredth of its maximum at 94 % of the training, three steps \
             by a tenth at the last of them, a linear decay at 99 %.",
    references: "Li, Yumer, Ramanan, Budgeted Training, ICLR 2020; Goyal et al., Accurate, Large \
                 Minibatch SGD, 2017 (warm-up).",
    thresholds: &[
        Threshold {
            key: "early",
            default: 0.6,
            meaning: "fraction of the planned steps before which a decay is early",
        },
        Threshold {
            key: "low",
            default: 0.01,
            meaning: "learning rate over its maximum, below which the training starves",
        },
    ],
    cures: &[Cure::CosineSchedule, Cure::ConstantSchedule, Cure::RaiseRate],
    causes: &[symptoms::NOT_LEARNING, &["unchanged-parameters", "too-few-steps", "overtraining"]],
    check,
};

/// Growth of the learning rate that makes it a warm-up.
const WARM_UP: f64 = 10.0;

fn check(context: &Context<'_>) -> Vec<Finding> {
    let record = context.record;
    let planned = record.model.planned_steps;
    let rated = record.steps.iter().filter_map(|s| Some((s.step, s.learning_rate?)));
    let rates: Vec<(u64, f64)> = rated.filter(|(_, rate)| rate.is_finite()).collect();
    let (Some(&(_, first)), Some(&(last_step, last))) = (rates.first(), rates.last()) else {
        return Vec::new();
    };
    let max = rates.iter().map(|&(_, rate)| rate).fold(0.0, f64::max);
    if planned == 0 || max <= 0.0 {
        return Vec::new();
    }
    let done = last_step as f64 / planned as f64;
    if last == max && max > WARM_UP * first && done > 0.5 {
        let message = format!(
            "The learning rate still rises at step {last_step} of {planned}, to {max:.2e} from \
             {first:.2e}."
        );
        let finding = context
            .finding(message)
            .with("fraction of the planned steps that warm up", done, 0.5)
            .with_confidence(0.7);
        return Vec::from([finding]);
    }
    let low = context.threshold("low");
    let starving = rates.iter().rev().take_while(|&&(_, rate)| rate < low * max).last();
    let Some(&(step, rate)) = starving else { return Vec::new() };
    let (fraction, threshold) = (step as f64 / planned as f64, context.threshold("early"));
    if fraction >= threshold {
        return Vec::new();
    }
    let before = curve::losses(record).into_iter().filter(|&(at, _)| at <= step);
    let before: Vec<_> = before.collect();
    let trend = curve::trend(curve::tail(&before, 0.5));
    let was_falling = trend.is_some_and(|trend| trend.is_falling() && trend.ratio < 0.98);
    if !was_falling && context.progress.is_well() {
        return Vec::new();
    }
    let message = format!(
        "The learning rate is below {:.1} % of its maximum from step {step} of {planned} on.",
        100.0 * low
    );
    let mut finding = context
        .finding(message)
        .at_step(step)
        .with("fraction of the planned steps until then", fraction, threshold)
        .with("learning rate over its maximum", rate / max, low)
        .with_confidence(if was_falling { 0.75 } else { 0.5 });
    if let Some(trend) = trend {
        let quantity = "loss at that step over that of half the steps before";
        finding = finding.with(quantity, trend.ratio, None);
    }
    Vec::from([finding])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;
    use crate::rules::testing::{check_rule, record_of_losses};

    /// 200 steps of 200, with a loss that falls as far as learning rates sum up.
    fn record(rate: impl Fn(f64) -> f64) -> Record {
        let mut sum = 0.0;
        let mut record = record_of_losses((0..200).map(|step| {
            sum += rate(f64::from(step) / 200.0);
            1.0 + libm::exp(-0.02 * sum)
        }));
        record.model.planned_steps = 200;
        for (index, step) in (0..).zip(&mut record.steps) {
            step.learning_rate = Some(rate(f64::from(index) / 200.0));
        }
        record
    }

    #[test]
    fn an_early_decay_starves_and_usual_schedules_do_not() {
        let decay = |x: f64| libm::exp(-20.0 * x);
        let finding = check_rule(&RULE, &record(decay)).expect("exp(-20 x)");
        assert_eq!(finding.step, Some(48));
        let cosine = |x: f64| 0.5 + 0.5 * libm::cos(core::f64::consts::PI * x);
        assert_eq!(check_rule(&RULE, &record(cosine)), None);
        let steps = |x: f64| {
            if x < 0.5 {
                1.0
            } else if x < 0.75 {
                0.1
            } else {
                0.001
            }
        };
        assert_eq!(check_rule(&RULE, &record(steps)), None);
        assert_eq!(check_rule(&RULE, &record(|_| 1.0)), None);
    }

    #[test]
    fn a_warm_up_may_not_last_but_a_probe_may_end_within_it() {
        let finding = check_rule(&RULE, &record(|x| x + 0.005)).expect("a warm-up of all steps");
        assert!(finding.message.contains("rises"), "{}", finding.message);
        let mut probe = record(|x| x + 0.005);
        probe.model.planned_steps = 10_000;
        assert_eq!(check_rule(&RULE, &probe), None);
        probe.model.planned_steps = 0;
        assert_eq!(check_rule(&RULE, &probe), None);
    }
}
