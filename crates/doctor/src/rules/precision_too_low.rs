//! Arithmetic in which updates or gradients are lost.

use alloc::format;
use alloc::string::String;

use crate::cure::Cure;
use crate::finding::Finding;
use crate::network::{taken_steps, trained_weights};
use crate::record::Record;
use crate::rule::{Context, Rule, Threshold};
use crate::statistics::median;
use crate::symptoms;
use crate::updates;

pub(super) static RULE: Rule = Rule {
    id: "precision-too-low",
    title: "The arithmetic's precision is too low",
    meaning: "An update that is smaller than half the distance of neighbouring numbers is rounded \
              away: parameters that are kept in 16 bits stop moving while the gradient still has \
              a direction. Gradients below the smallest normal number lose digits, and then \
              vanish.",
    formula: "For parameters kept in bf16 or f16, the median relative update over weight tensors \
              and steps, over the unit roundoff of 2^-8 or 2^-11: the rule fires below \
              `update`. In any type, the fraction of subnormal elements among a weight tensor's \
              gradient elements that are not 0, median over steps: above `subnormal` for a \
              tensor. In f16, a root mean square gradient of a tensor below 2^-24. All of it \
              unless the training goes well.",
    origin: "With rounding to nearest, an update relative to its weight below the unit roundoff \
             changes the weight by chance only. Half of that leaves the larger updates.",
    references: "Micikevicius et al., Mixed precision training, ICLR 2018; Higham, Accuracy and \
                 Stability of Numerical Algorithms, SIAM 2002, section 2.1.",
    thresholds: &[
        Threshold {
            key: "update",
            default: 0.5,
            meaning: "relative update over the unit roundoff, below which updates are lost",
        },
        Threshold {
            key: "subnormal",
            default: 0.5,
            meaning: "fraction of subnormal gradient elements, above which gradients are lost",
        },
    ],
    cures: &[Cure::F32, Cure::F64, Cure::MatchedInitialiser],
    causes: &[
        symptoms::NOT_LEARNING,
        symptoms::SLOW,
        symptoms::ERRATIC,
        &["unchanged-parameters", "frozen-layer", "learning-rate-too-low"],
    ],
    check: |context| find(context).into_iter().collect(),
};

/// Unit roundoff of a type of 16 bits.
fn unit_roundoff(dtype: &str) -> Option<f64> {
    match dtype {
        "bf16" => Some(1.0 / 256.0),
        "f16" => Some(1.0 / 2048.0),
        _ => None,
    }
}

fn find(context: &Context<'_>) -> Option<Finding> {
    if context.progress.is_well() {
        return None;
    }
    lost_updates(context).or_else(|| lost_gradients(context))
}

fn lost_updates(context: &Context<'_>) -> Option<Finding> {
    let record = context.record;
    let dtype = &record.model.parameter_dtype;
    let roundoff = unit_roundoff(dtype)?;
    let ratio = updates::typical(record)?.median / roundoff;
    let threshold = context.threshold("update");
    (ratio < threshold).then(|| {
        let message = format!(
            "The parameters are kept in {dtype}, where updates below {roundoff:.1e} of a weight \
             are rounded away; the median update is {ratio:.2} times that."
        );
        let finding = context.finding(message).with_confidence(0.8);
        finding.with("relative update over the unit roundoff", ratio, threshold)
    })
}

/// Median over the steps of `of` for each trained weight tensor, with its name.
fn medians<'a>(
    record: &'a Record,
    of: impl Fn(&crate::record::TensorSample, u64) -> Option<f64> + 'a,
) -> impl Iterator<Item = (f64, &'a String)> {
    trained_weights(&record.model).filter_map(move |(index, tensor)| {
        let values =
            taken_steps(record).filter_map(|step| of(step.tensors.get(index)?, tensor.elements));
        Some((median(values)?, &tensor.name))
    })
}

fn lost_gradients(context: &Context<'_>) -> Option<Finding> {
    let record = context.record;
    let threshold = context.threshold("subnormal");
    let fractions = medians(record, |sample, elements| {
        let non_zero = elements.checked_sub(sample.zero).filter(|&count| count > 0)?;
        Some(sample.subnormal as f64 / non_zero as f64)
    });
    let worst = fractions.reduce(|a, b| if b.0 > a.0 { b } else { a });
    if let Some((fraction, name)) = worst.filter(|worst| worst.0 > threshold) {
        let percent = 100.0 * fraction;
        let message = format!(
            "{percent:.0} % of the gradient elements of {name} are subnormal, below 2^-126."
        );
        let finding = context.finding(message).at_layer(name.clone());
        let finding = finding.with("fraction of subnormal gradient elements", fraction, threshold);
        return Some(finding.with_confidence(0.55));
    }
    if record.model.dtype != "f16" {
        return None;
    }
    let smallest = 1.0 / 16_777_216.0;
    let roots = medians(record, |sample, elements| {
        Some(sample.grad_norm? / libm::sqrt(elements.max(1) as f64))
    });
    let (root, name) = roots.reduce(|a, b| if b.0 < a.0 { b } else { a })?;
    (root < smallest).then(|| {
        let message = format!(
            "The gradient of {name} has a root mean square of {root:.1e}, below the smallest \
             number of f16."
        );
        let finding = context.finding(message).at_layer(name.clone());
        finding.with("root mean square of the gradient", root, smallest).with_confidence(0.6)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::fixtures::{for_tensors, healthy, make_stuck};
    use crate::rules::testing::check_rule;

    #[test]
    fn updates_below_the_roundoff_are_lost_where_parameters_have_16_bits() {
        let mut record = healthy(&[784, 64, 10], "relu");
        record.model.dtype = "bf16".into();
        record.model.parameter_dtype = "bf16".into();
        assert_eq!(check_rule(&RULE, &record), None);
        make_stuck(&mut record);
        // 1e-3 over 2^-8.
        let finding = check_rule(&RULE, &record).expect("updates of a thousandth");
        assert!((finding.evidence[0].value - 0.256).abs() < 1e-3);
        record.model.parameter_dtype = "f16".into();
        assert_eq!(check_rule(&RULE, &record), None);
        record.model.parameter_dtype = "f32".into();
        assert_eq!(check_rule(&RULE, &record), None);
    }

    #[test]
    fn subnormal_gradients_are_found() {
        let mut record = healthy(&[784, 64, 10], "relu");
        make_stuck(&mut record);
        let mut find = |subnormal: u64, zero: u64| {
            for_tensors(&mut record, |_, tensor, sample| {
                let is_first = tensor.weight && tensor.layer == 0;
                (sample.subnormal, sample.zero) = if is_first { (subnormal, zero) } else { (0, 0) };
            });
            check_rule(&RULE, &record)
        };
        assert!(find(30_000, 0).is_some());
        assert!(find(3_000, 784 * 64 - 4_000).is_some());
        assert_eq!(find(3_000, 0), None);
        assert_eq!(find(0, 784 * 64), None);
    }

    #[test]
    fn gradients_below_the_smallest_number_of_f16_are_lost() {
        let mut record = healthy(&[784, 64, 10], "relu");
        make_stuck(&mut record);
        record.model.dtype = "f16".into();
        assert_eq!(check_rule(&RULE, &record), None);
        for_tensors(&mut record, |_, _, sample| sample.grad_norm = Some(1e-6));
        assert!(check_rule(&RULE, &record).is_some());
        record.model.dtype = "f32".into();
        assert_eq!(check_rule(&RULE, &record), None);
    }
}
