//! An output layer that cannot reach the targets.

use alloc::format;
use alloc::string::String;

use crate::cure::Cure;
use crate::finding::{Finding, Severity};
use crate::network::tail;
use crate::record::{Data, Record, Task};
use crate::rule::{Context, Rule};
use crate::symptoms;

pub(super) static RULE: Rule = Rule {
    id: "output-layer",
    title: "The output layer cannot reach the targets",
    meaning: "Cross-entropy and hinge losses take logits of any size. An activation after the last \
              weights bounds them: the loss cannot fall below that of the largest difference, and \
              the gradient vanishes at the bounds. A ReLU there has no gradient where it is 0. \
              For values, outputs that are bounded never reach targets beyond.",
    formula: "The last activation after the last layer with weights has the range [a, b]. With \
              cross_entropy, binary_cross_entropy or hinge, any finite a or b counts. With mse, \
              mae or huber, a or b within the range of the targets counts: that of one-hot \
              targets is [0, 1], that of standardised targets is known from their minimum and \
              maximum, or else [-1, 1].",
    origin: "There is no threshold. Targets at a bound itself are reached in the limit, which is \
             no fault.",
    references: "Bishop, Neural Networks for Pattern Recognition, 1995, section 6.9; Goodfellow, \
                 Bengio, Courville, Deep Learning, 2016, section 6.2.2.",
    thresholds: &[],
    cures: &[Cure::LinearOutput],
    causes: &[
        symptoms::NOT_LEARNING,
        symptoms::SLOW,
        &[
            "overfit-one-batch-fails",
            "constant-output",
            "dead-relu",
            "saturation",
            "vanishing-gradient",
            "unchanged-parameters",
            "learning-rate-too-low",
        ],
    ],
    check: |context| find(context).into_iter().collect(),
};

/// Range of an activation with a bound; `None` for any other layer.
fn range(kind: &str) -> Option<(f64, f64)> {
    Some(match kind {
        "relu" | "softplus" | "exponential" => (0.0, f64::INFINITY),
        "capped_relu" => (0.0, 6.0),
        "sigmoid" | "hard_sigmoid" | "softmax" => (0.0, 1.0),
        "tanh" | "hard_tanh" | "softsign" => (-1.0, 1.0),
        _ => return None,
    })
}

/// Range of the values that the outputs have to reach.
fn targets(record: &Record, is_unstandardised: bool) -> Option<(f64, f64)> {
    if record.model.task == Task::Classification {
        return Some((0.0, 1.0));
    }
    let data = record.data.as_ref()?;
    if record.model.task == Task::Reconstruction {
        return data.min.zip(data.max);
    }
    let &Data { target_min, target_max, target_mean, target_std, .. } = data;
    if !data.target_standardised && !is_unstandardised {
        return target_min.zip(target_max);
    }
    let standardise = |value: f64| Some((value - target_mean?) / target_std.filter(|&s| s > 0.0)?);
    let known = target_min.and_then(standardise).zip(target_max.and_then(standardise));
    Some(known.unwrap_or((-1.0, 1.0)))
}

/// `true` if a class of the validation set is never predicted: its output is stuck at the bound.
fn loses_class(record: &Record) -> bool {
    let counts = record.data.iter().flat_map(|data| &data.validation_class_counts);
    let Some(epoch) = record.epochs.last() else { return false };
    counts
        .zip(&epoch.predicted_counts)
        .any(|(&examples, &predicted)| examples >= 20 && predicted == 0)
}

fn find(context: &Context<'_>) -> Option<Finding> {
    let record = context.record;
    let model = &record.model;
    let tail = tail(model);
    let (layer, (low, high)) =
        tail.iter().rev().find_map(|layer| Some((layer, range(&layer.kind)?)))?;
    let kind = &layer.kind;
    let harm: String = match &model.loss[..] {
        "cross_entropy" | "binary_cross_entropy" | "hinge" => {
            format!("{} takes logits of any size", model.loss)
        }
        "mse" | "mae" | "huber" => {
            let is_unstandardised = tail.iter().any(|layer| layer.kind == "unstandardise");
            let (min, max) = targets(record, is_unstandardised)?;
            // A hundredth of the range is nothing.
            let margin = 0.01 * (max - min);
            if min >= low - margin && max <= high + margin {
                return None;
            }
            format!("the targets are in {min:.3} to {max:.3}")
        }
        _ => return None,
    };
    let name = &layer.name;
    let bounds =
        if high.is_finite() { format!("in {low} to {high}") } else { format!("at least {low}") };
    let message = format!("The outputs pass through {kind} ({name}) and are {bounds}, but {harm}.");
    let mut finding = context.finding(message).at_layer(name.clone());
    if loses_class(record) {
        finding.severity = finding.severity.max(Severity::Warning);
    }
    finding = finding.with("lower bound of the outputs", low, None);
    Some(finding.with("upper bound of the outputs", high, None).with_confidence(0.87))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Layer;
    use crate::rules::fixtures::{healthy, make_slow, make_stuck};
    use crate::rules::testing::check_rule;

    fn ending_in(kind: &str, loss: &str) -> Record {
        let mut record = healthy(&[784, 64, 10], "relu");
        record.model.layers.push(Layer {
            name: "layers.3".into(),
            kind: kind.into(),
            ..Layer::default()
        });
        record.model.loss = loss.into();
        record
    }

    #[test]
    fn bounded_logits_are_found() {
        let mut record = ending_in("sigmoid", "cross_entropy");
        make_slow(&mut record);
        let finding = check_rule(&RULE, &record).expect("logits of 0 to 1");
        assert_eq!(finding.layer.as_deref(), Some("layers.3"));
        assert_eq!(finding.severity, Severity::Warning);
        make_stuck(&mut record);
        assert_eq!(check_rule(&RULE, &record).map(|f| f.severity), Some(Severity::Critical));
        // A hidden activation, one without bounds, and probabilities for a squared error.
        assert_eq!(check_rule(&RULE, &healthy(&[784, 64, 10], "relu")), None);
        assert_eq!(check_rule(&RULE, &ending_in("leaky_relu", "cross_entropy")), None);
        assert_eq!(check_rule(&RULE, &ending_in("softmax", "mse")), None);
    }

    #[test]
    fn values_beyond_the_bounds_are_found() {
        let find = |kind: &str, data: Data| {
            let mut record = ending_in(kind, "mse");
            record.model.task = Task::Regression;
            record.data = Some(data);
            check_rule(&RULE, &record)
        };
        let data = |min, max| Data {
            target_min: Some(min),
            target_max: Some(max),
            target_mean: Some(0.5 * (min + max)),
            target_std: Some(0.25 * (max - min)),
            ..Data::default()
        };
        let standardised = Data { target_standardised: true, ..data(0.0, 1.0) };
        assert!(find("sigmoid", data(0.0, 20.0)).is_some());
        assert_eq!(find("sigmoid", data(0.0, 1.0)), None);
        assert!(find("sigmoid", standardised.clone()).is_some());
        assert!(find("relu", data(-1.0, 1.0)).is_some());
        // A Poisson regression has outputs above 0.
        assert_eq!(find("exponential", data(0.0, 400.0)), None);
        assert_eq!(find("relu", data(0.0, 400.0)), None);
        assert!(find("tanh", standardised).is_some());
        assert_eq!(find("tanh", Data::default()), None);
    }
}
