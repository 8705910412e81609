//! Updates that overshoot.

use alloc::format;

use crate::activity::dead_units;
use crate::cure::Cure;
use crate::curve;
use crate::finding::Finding;
use crate::progress::State;
use crate::rule::{Context, Rule, Threshold};
use crate::symptoms;
use crate::updates;

pub(super) static RULE: Rule = Rule {
    id: "learning-rate-too-high",
    title: "The learning rate is too high",
    meaning: "Updates overshoot the minimum along the steepest directions: the loss oscillates or \
              grows, successive gradients point against each other, and units of ReLU are pushed \
              to where no example activates them. The first steps may destroy the initialisation \
              for good.",
    formula: "u = |update| / max(|weights|, sqrt(elements / fan-in)) per weight tensor, median \
              over tensors. u is large if its median over steps exceeds `update`, or its maximum \
              `peak`. Signs of harm: the loss jumped to `jump` times the first one; the median \
              cosine of successive gradients is below `cosine`; a layer of ReLU died during \
              training; the loss does not fall in the second half. The rule fires for a large u \
              with a sign or a training that is stuck or diverges; and for a jump with such a \
              training if u exceeds a third of `update` once, or was not measured. It does not \
              fire if the training goes well.",
    origin: "In healthy trainings u is about 1e-3, and up to 0.05 in the first steps of Adam. \
             Small weights may well change by more than their size, hence the maximum in the \
             formula.",
    references: "LeCun, Bottou, Orr, Müller, Efficient BackProp, 1998; Bengio, Practical \
                 recommendations, 2012; Lewkowycz et al., The large learning rate phase, 2020; \
                 Cohen et al., ICLR 2021.",
    thresholds: &[
        Threshold {
            key: "update",
            default: 0.1,
            meaning: "median relative update, above which updates are large",
        },
        Threshold {
            key: "peak",
            default: 1.0,
            meaning: "largest relative update, above which it destroys what was there",
        },
        Threshold {
            key: "jump",
            default: 2.0,
            meaning: "loss over the first loss, above which it jumped",
        },
        Threshold {
            key: "cosine",
            default: -0.3,
            meaning: "median cosine of successive gradients, below which training oscillates",
        },
    ],
    cures: &[Cure::LowerRate, Cure::RangeTest, Cure::WarmUp, Cure::ClipNorm, Cure::Adam],
    causes: &[
        symptoms::NOT_LEARNING,
        symptoms::ERRATIC,
        &[
            "non-finite",
            "exploding-updates",
            "dead-relu",
            "saturation",
            "constant-output",
            "clip-always",
            "clip-never",
            "overfit-one-batch-fails",
        ],
    ],
    check: |context| find(context).into_iter().collect(),
};

fn find(context: &Context<'_>) -> Option<Finding> {
    let record = context.record;
    let state = context.progress.state;
    if state == State::Well {
        return None;
    }
    let [update, most] = ["update", "peak"].map(|key| context.threshold(key));
    let [jump_threshold, cosine_threshold] = ["jump", "cosine"].map(|key| context.threshold(key));
    let updates = updates::typical(record);
    let peak = updates.as_ref().map(updates::Updates::peak);
    let is_large = updates.as_ref().is_some_and(|updates| updates.median > update)
        || peak.is_some_and(|(_, peak)| peak > most);
    let jump = curve::rise(record, &context.progress);
    let jumped = jump.is_some_and(|(ratio, _)| ratio > jump_threshold);
    let cosine = curve::cosine(record);
    let oscillates = cosine.is_some_and(|cosine| cosine < cosine_threshold);
    let died = dead_units(record)
        .iter()
        .any(|dead| dead.before.is_some_and(|before| before <= 0.5) && dead.after >= 0.9);
    let losses = curve::losses(record);
    let trend = curve::trend(curve::tail(&losses, 0.5));
    let is_flat = trend.is_some_and(|trend| !trend.is_falling());
    let signs = [jumped, oscillates, died, is_flat].into_iter().filter(|&sign| sign).count();
    let fails = matches!(state, State::Stuck | State::Diverging);
    // Without measured updates, a jump is all there is to see.
    let may_be_large = peak.is_none_or(|(_, peak)| peak > update / 3.0);
    if !(is_large && (signs > 0 || fails) || jumped && fails && may_be_large) {
        return None;
    }
    let mut message = alloc::string::String::from("The learning rate is too high");
    let step = match (peak, jump) {
        (Some((step, _)), _) if is_large => Some(step),
        (_, jump) => jump.map(|(_, step)| step),
    };
    let of_step = |step| record.steps.iter().find(|other| other.step == step)?.learning_rate;
    if let Some(rate) = step.and_then(of_step).or(record.model.learning_rate) {
        message += &format!(" ({rate:.1e})");
    }
    if let Some((step, peak)) = peak.filter(|_| is_large) {
        message += &format!(": at step {step}, updates are {peak:.1e} times the weights");
    }
    if let Some((ratio, step)) = jump.filter(|_| jumped) {
        let link = if is_large && peak.is_some() { ", and" } else { ":" };
        message += &format!("{link} the loss reaches {ratio:.1} times its start at step {step}");
    }
    message += ".";
    let mut finding = context.finding(message);
    finding.step = step;
    if let (Some(updates), Some((_, peak))) = (&updates, peak) {
        finding = finding.with("median relative update", updates.median, update);
        finding = finding.with("largest relative update", peak, most);
    }
    if let Some((ratio, _)) = jump {
        finding = finding.with("highest loss over the first one", ratio, jump_threshold);
    }
    if let Some(cosine) = cosine {
        finding = finding.with("cosine of successive gradients", cosine, cosine_threshold);
    }
    let confidence = if is_large { 0.65 } else { 0.5 };
    let confidence = confidence + 0.05 * signs as f64 + if fails { 0.1 } else { 0.0 };
    Some(finding.with_confidence(confidence.min(0.86)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Severity;
    use crate::record::Record;
    use crate::rules::fixtures::{for_tensors, healthy, make_slow, make_stuck, set_losses};
    use crate::rules::testing::check_rule;

    fn with_updates(size: impl Fn(u64) -> f64) -> Record {
        let mut record = healthy(&[784, 64, 10], "relu");
        for_tensors(&mut record, |step, _, sample| {
            sample.update_norm = sample.param_norm.map(|norm| size(step) * norm);
        });
        record
    }

    #[test]
    fn large_updates_are_found_where_they_do_harm() {
        let mut record = with_updates(|_| 0.5);
        assert_eq!(check_rule(&RULE, &record), None);
        make_stuck(&mut record);
        let finding = check_rule(&RULE, &record).expect("half of the weights");
        assert_eq!((finding.severity, finding.evidence[0].value), (Severity::Critical, 0.5));
        // A slow training whose loss still falls needs a sign of harm.
        make_slow(&mut record);
        assert_eq!(check_rule(&RULE, &record), None);
        record.steps.iter_mut().for_each(|step| step.cosine = Some(-0.8));
        assert!(check_rule(&RULE, &record).is_some());
        let mut record = with_updates(|_| 1e-3);
        make_stuck(&mut record);
        assert_eq!(check_rule(&RULE, &record), None);
    }

    #[test]
    fn a_first_step_that_destroys_the_network_is_found() {
        let mut record = with_updates(|step| if step <= 1 { 5.0 } else { 1e-6 });
        make_stuck(&mut record);
        let finding = check_rule(&RULE, &record).expect("five times the weights");
        assert_eq!(finding.step, Some(1));
    }

    #[test]
    fn updates_of_small_weights_are_not_large() {
        let mut record = with_updates(|_| 2.0);
        for_tensors(&mut record, |_, _, sample| {
            sample.param_norm = sample.param_norm.map(|norm| 1e-3 * norm);
            sample.update_norm = sample.update_norm.map(|norm| 1e-3 * norm);
        });
        make_stuck(&mut record);
        assert_eq!(check_rule(&RULE, &record), None);
    }

    #[test]
    fn a_loss_that_jumps_is_enough_without_measured_updates() {
        let mut record = healthy(&[784, 64, 10], "relu");
        make_stuck(&mut record);
        record.steps.iter_mut().for_each(|step| step.tensors.clear());
        assert_eq!(check_rule(&RULE, &record), None);
        set_losses(&mut record, |step| if step < 20 { 2.3 } else { 50.0 });
        let finding = check_rule(&RULE, &record).expect("a jump");
        assert_eq!((finding.step, finding.severity), (Some(21), Severity::Critical));
        // The same jump with updates of a thousandth is something else.
        let mut record = with_updates(|_| 1e-3);
        make_stuck(&mut record);
        set_losses(&mut record, |step| if step < 20 { 2.3 } else { 50.0 });
        assert_eq!(check_rule(&RULE, &record), None);
    }
}
