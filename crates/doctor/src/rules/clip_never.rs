//! Clipping whose limit is above every spike.

use alloc::format;
use alloc::vec::Vec;

use crate::cure::Cure;
use crate::finding::{Finding, Severity};
use crate::rule::{Context, Rule, Threshold};
use crate::statistics::median;

pub(super) static RULE: Rule = Rule {
    id: "clip-never",
    title: "Gradient clipping never acts in spite of large gradients",
    meaning: "The gradient has spikes far above its usual norm, and the limit of clipping is above \
              them all. Clipping then does nothing. This is a fact; it need not be the fault.",
    formula: "Clipping is set, its scale is 1 at every recorded step, and the largest gradient \
              norm is at least `spike` times the median, while the training does not go well.",
    origin: "Norms of a healthy training vary by a factor of three or so from batch to batch.",
    references: "Pascanu, Mikolov, Bengio, ICML 2013.",
    thresholds: &[Threshold {
        key: "spike",
        default: 10.0,
        meaning: "largest gradient norm over the median, from which it is a spike",
    }],
    cures: &[Cure::ClipNorm],
    causes: &[],
    check: |context| find(context).into_iter().collect(),
};

fn find(context: &Context<'_>) -> Option<Finding> {
    let record = context.record;
    let clip = record.model.clip.as_ref().filter(|_| !context.progress.is_well())?;
    let scales: Vec<f64> = record.steps.iter().filter_map(|step| step.clip_scale).collect();
    if scales.is_empty() || scales.iter().any(|&scale| scale != 1.0) {
        return None;
    }
    let norms = || record.steps.iter().filter_map(|step| step.grad_norm).filter(|n| n.is_finite());
    let (usual, largest) = (median(norms())?, norms().reduce(f64::max)?);
    let threshold = context.threshold("spike");
    if usual <= 0.0 || largest < threshold * usual {
        return None;
    }
    let limit = clip.limit.map_or("of clipping".into(), |limit| format!("{limit}"));
    let message = format!(
        "The gradient's norm reaches {largest:.2e}, {:.0} times the median, and the limit {limit} \
         clips none of it.",
        largest / usual
    );
    let finding = Finding::new(RULE.id, Severity::Info, message).cured_by(RULE.cures).with(
        "largest gradient norm over the median",
        largest / usual,
        threshold,
    );
    Some(finding.with_confidence(0.2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Clip;
    use crate::rules::fixtures::{healthy, make_slow};
    use crate::rules::testing::check_rule;

    #[test]
    fn spikes_below_the_limit_are_a_fact() {
        let mut record = healthy(&[784, 64, 10], "relu");
        make_slow(&mut record);
        record.model.clip = Some(Clip { kind: "global_norm".into(), limit: Some(1e3) });
        assert_eq!(check_rule(&RULE, &record), None);
        record.steps[9].grad_norm = Some(50.0);
        let finding = check_rule(&RULE, &record).expect("a spike");
        assert_eq!((finding.severity, finding.evidence[0].value), (Severity::Info, 50.0));
        record.steps[9].clip_scale = Some(0.5);
        assert_eq!(check_rule(&RULE, &record), None);
        record.steps[9].clip_scale = Some(1.0);
        record.model.clip = None;
        assert_eq!(check_rule(&RULE, &record), None);
    }
}
