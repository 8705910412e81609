//! Regression targets whose scale is far from 1.

use alloc::format;
use alloc::vec::Vec;

use crate::cure::Cure;
use crate::finding::{Finding, Severity};
use crate::record::Task;
use crate::rule::{Context, Rule, Threshold};
use crate::symptoms;

pub(super) static RULE: Rule = Rule {
    id: "target-scale",
    title: "The regression targets are not scaled",
    meaning: "A fresh network's outputs are about 1 in size. Targets in the thousands give \
              gradients in the thousands, and take thousands of small steps to reach; targets near \
              0 are lost in the noise of the outputs. An offset of many standard deviations has to \
              be learnt by one bias before anything else counts.",
    formula: "sqrt(mean^2 + std^2) of the targets above `magnitude`, or below `small`; a standard \
              deviation of 0 is critical. Targets that are standardised are left out, and so are \
              losses that are not of differences, such as Poisson's.",
    origin: "A linear output layer starts with outputs of about 1, and learns targets of this \
             order within its usual steps. As with all scales, it is a fault if the training goes \
             badly.",
    references: "Bishop, Neural Networks for Pattern Recognition, 1995, section 8.2; LeCun, \
                 Bottou, Orr, Mueller, Efficient BackProp, 1998, section 4.5.",
    thresholds: &[
        Threshold { key: "magnitude", default: 10.0, meaning: "root mean square of the targets" },
        Threshold {
            key: "small",
            default: 0.03,
            meaning: "root mean square of the targets below which they are small",
        },
    ],
    cures: &[Cure::StandardiseTargets, Cure::ClipNorm, Cure::Adam],
    causes: &[
        symptoms::NOT_LEARNING,
        symptoms::SLOW,
        symptoms::ERRATIC,
        symptoms::EXTREME,
        &["non-finite", "optimizer-epsilon"],
    ],
    check,
};

/// Losses of the difference of output and target.
const DIFFERENCES: [&str; 7] = ["mse", "mae", "huber", "l1", "l2", "smooth_l1", "log_cosh"];

fn check(context: &Context<'_>) -> Vec<Finding> {
    let record = context.record;
    let Some(data) = record.data.as_ref().filter(|data| !data.target_standardised) else {
        return Vec::new();
    };
    let (Some(mean), Some(std)) = (data.target_mean, data.target_std) else { return Vec::new() };
    if record.model.task != Task::Regression {
        return Vec::new();
    }
    let loss = &record.model.loss[..];
    let is_difference = loss.is_empty() || DIFFERENCES.contains(&loss);
    let (large, small) = (context.threshold("magnitude"), context.threshold("small"));
    let magnitude = libm::sqrt(mean * mean + std * std);
    let quantity = "root mean square of the targets";
    if std == 0.0 && data.train != 1 {
        let message = format!("All targets are {mean}.");
        let finding = Finding::new(RULE.id, Severity::Critical, message)
            .cured_by([Cure::CorrectLabels])
            .with("standard deviation of the targets", std, 0.0)
            .with_confidence(0.98);
        return Vec::from([finding]);
    }
    let (threshold, confidence) = if magnitude > large {
        (large, if magnitude > 10.0 * large { 0.88 } else { 0.6 })
    } else if magnitude < small {
        (small, 0.5)
    } else {
        return Vec::new();
    };
    if !is_difference || !magnitude.is_finite() {
        return Vec::new();
    }
    let message = format!(
        "The targets are not scaled: their mean is {mean:.3e}, their standard deviation {std:.3e}."
    );
    let finding = context.finding(message).with(quantity, magnitude, threshold);
    Vec::from([finding.with_confidence(confidence)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Data;
    use crate::rules::testing::{check_rule, record_of_losses};

    #[test]
    fn prices_are_found_where_training_is_stuck_and_counts_are_not() {
        let record = |mean: f64, std: f64, loss: &str| {
            let mut record = record_of_losses([5e10; 60]);
            record.model.task = Task::Regression;
            record.model.loss = loss.into();
            let (target_mean, target_std) = (Some(mean), Some(std));
            record.data = Some(Data { train: 500, target_mean, target_std, ..Data::default() });
            record
        };
        let prices = record(2.1e5, 1.1e5, "mse");
        assert_eq!(check_rule(&RULE, &prices).expect("prices").severity, Severity::Critical);
        assert_eq!(check_rule(&RULE, &record(2.1e5, 1.1e5, "poisson")), None);
        assert_eq!(check_rule(&RULE, &record(2.0, 3.0, "mse")), None);
        assert!(check_rule(&RULE, &record(1e-4, 2e-4, "mse")).is_some());
        let constant = check_rule(&RULE, &record(1.0, 0.0, "mse")).expect("constant");
        assert!(constant.cures.iter().all(|cure| cure.is_of_data()));
        let mut standardised = prices;
        standardised.data.as_mut().expect("data").target_standardised = true;
        assert_eq!(check_rule(&RULE, &standardised), None);
    }
}
