//! Clipping that starves the updates.

use alloc::format;
use alloc::vec::Vec;

use crate::cure::Cure;
use crate::finding::Finding;
use crate::network::is_adaptive;
use crate::rule::{Context, Rule, Threshold};
use crate::statistics::median;
use crate::symptoms;
use crate::updates;

pub(super) static RULE: Rule = Rule {
    id: "clip-always",
    title: "Gradient clipping always acts, and starves the updates",
    meaning: "The limit of clipping is far below the usual norm of the gradient, so that clipping \
              is a smaller learning rate in disguise. An adaptive optimizer divides by the \
              gradient's size and cancels it; plain momentum does not.",
    formula: "Fraction of the recorded steps whose clipping scale is below 1, and the median \
              scale. The rule fires if the former is at least `fraction`, the latter below \
              `scale`, and the largest relative update of a weight tensor, median over steps, \
              below `update`, unless the training goes well. Adaptive optimizers are left out.",
    origin: "Clipping is meant for rare large gradients. Where it always acts by a factor of ten, \
             the learning rate is ten times smaller than it says.",
    references: "Pascanu, Mikolov, Bengio, ICML 2013; Zhang, He, Sra, Jadbabaie, ICLR 2020.",
    thresholds: &[
        Threshold {
            key: "fraction",
            default: 0.9,
            meaning: "fraction of clipped steps, from which clipping is the rule",
        },
        Threshold {
            key: "scale",
            default: 0.1,
            meaning: "median factor of the gradient, below which clipping starves",
        },
        Threshold {
            key: "update",
            default: 1e-3,
            meaning: "largest relative update, from which the training is not starved",
        },
    ],
    cures: &[Cure::RaiseClip, Cure::RaiseRate, Cure::Adam],
    causes: &[
        symptoms::NOT_LEARNING,
        symptoms::SLOW,
        &["learning-rate-too-low", "overfit-one-batch-fails"],
    ],
    check: |context| find(context).into_iter().collect(),
};

fn find(context: &Context<'_>) -> Option<Finding> {
    let record = context.record;
    if context.progress.is_well() || is_adaptive(&record.model.optimizer.kind) {
        return None;
    }
    let taken = record.steps.iter().filter(|step| !step.skipped);
    let scales: Vec<f64> = taken.filter_map(|step| step.clip_scale).collect();
    let scale = median(scales.iter().copied())?;
    let clipped = scales.iter().filter(|&&scale| scale < 1.0).count() as f64;
    let fraction = clipped / scales.len() as f64;
    let update = updates::largest(record).map(|updates| updates.median);
    let (often, small) = (context.threshold("fraction"), context.threshold("scale"));
    let most = context.threshold("update");
    if fraction < often || scale >= small || update.is_some_and(|update| update >= most) {
        return None;
    }
    let message = format!(
        "Clipping acts in {:.0} % of the steps, and leaves {scale:.1e} of the gradient.",
        100.0 * fraction
    );
    let mut finding = context.finding(message);
    finding = finding.with("fraction of clipped steps", fraction, often);
    finding = finding.with("median factor of the gradient", scale, small);
    if let Some(update) = update {
        finding = finding.with("largest relative update", update, most);
    }
    Some(finding.with_confidence(0.82))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::fixtures::{for_tensors, healthy, make_slow};
    use crate::rules::testing::check_rule;

    #[test]
    fn clipping_is_found_where_it_starves_the_updates() {
        let mut record = healthy(&[784, 64, 10], "relu");
        record.steps.iter_mut().for_each(|step| step.clip_scale = Some(0.01));
        for_tensors(&mut record, |_, _, sample| {
            sample.update_norm = sample.param_norm.map(|norm| 1e-5 * norm);
        });
        assert_eq!(check_rule(&RULE, &record), None);
        make_slow(&mut record);
        let finding = check_rule(&RULE, &record).expect("a hundredth of the gradient");
        assert_eq!((finding.evidence[0].value, finding.evidence[1].value), (1.0, 0.01));
        let mut adaptive = record.clone();
        adaptive.model.optimizer.kind = "adam".into();
        assert_eq!(check_rule(&RULE, &adaptive), None);
        let mut fast = record.clone();
        for_tensors(&mut fast, |_, _, sample| {
            sample.update_norm = sample.param_norm.map(|norm| 1e-2 * norm);
        });
        assert_eq!(check_rule(&RULE, &fast), None);
        record.steps.iter_mut().for_each(|step| step.clip_scale = Some(0.5));
        assert_eq!(check_rule(&RULE, &record), None);
    }
}
