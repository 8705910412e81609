//! Dropout that leaves too little of a layer.

use alloc::format;
use alloc::string::String;

use crate::cure::Cure;
use crate::finding::Finding;
use crate::network::weight_layers;
use crate::progress::State;
use crate::rule::{Context, Rule, Threshold};
use crate::symptoms;

pub(super) static RULE: Rule = Rule {
    id: "dropout-too-strong",
    title: "Dropout is too strong",
    meaning: "Dropout sets a fraction of a layer's outputs to 0 at each training step. If too few \
              are left, examples of one class have too little in common, and the network \
              underfits. Dropout of the outputs themselves sets logits to 0, those of the right \
              class too.",
    formula: "The rule fires for a dropout probability p of at least `probability`; for dropout \
              after the last layer with weights; if all units of a layer are dropped together \
              more often than `empty`, p to the power of the units; or if the training works less \
              well than a linear model, p is at least 0.4, and the training loss of the last \
              epoch is more than `gap` times the validation loss. It fires only if the training \
              does not go well.",
    origin: "Dropout of 0.5 is best for wide hidden layers, and 0.8 drops too much of them. \
             Dropout of 0.5 raises the training loss of a well-trained network by some ten percent \
             over the validation loss.",
    references: "Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, JMLR 15, 2014, sections \
                 7.3 and A.",
    thresholds: &[
        Threshold {
            key: "probability",
            default: 0.7,
            meaning: "probability from which dropout is too strong",
        },
        Threshold {
            key: "empty",
            default: 0.01,
            meaning: "probability that all units of a layer are dropped, above which it is narrow",
        },
        Threshold {
            key: "gap",
            default: 1.3,
            meaning: "training loss over validation loss, above which dropout costs too much",
        },
    ],
    cures: &[Cure::LessDropout, Cure::MoreWidth],
    causes: &[
        symptoms::NOT_LEARNING,
        symptoms::SLOW,
        symptoms::ERRATIC,
        &["overfit-one-batch-fails", "learning-rate-too-low", "bottleneck"],
    ],
    check: |context| find(context).into_iter().collect(),
};

fn find(context: &Context<'_>) -> Option<Finding> {
    let record = context.record;
    let layers = &record.model.layers;
    if context.progress.is_well() {
        return None;
    }
    let (strong, empty) = (context.threshold("probability"), context.threshold("empty"));
    let gap_threshold = context.threshold("gap");
    let last = weight_layers(&record.model).last().copied();
    let gap = record.epochs.last().and_then(|epoch| {
        let ratio = epoch.train_loss? / epoch.val_loss.filter(|&loss| loss > 0.0)?;
        ratio.is_finite().then_some(ratio)
    });
    let is_costly = context.progress.state == State::Slow && gap.is_some_and(|g| g > gap_threshold);
    let fault = |index: usize| -> Option<(f64, String, f64)> {
        let layer = layers.get(index)?;
        let p = layer.dropout.filter(|&p| p > 0.0)?;
        let units = layer.inputs.max(layer.outputs);
        let none_left = if units > 0 { libm::pow(p, units as f64) } else { 0.0 };
        let percent = 100.0 * p;
        let name = &layer.name;
        Some(if p >= strong {
            // 0.7 may be right for a very wide layer; 0.9 hardly ever is.
            let confidence = 0.65 + (p - strong).clamp(0.0, 0.25);
            (p, format!("{name} drops {percent:.0} % of its inputs."), confidence)
        } else if last.is_some_and(|last| index > last) {
            (p, format!("{name} drops {percent:.0} % of the network's outputs."), 0.85)
        } else if none_left > empty {
            let of = 100.0 * none_left;
            (p, format!("{name} drops all of its {units} inputs for {of:.0} % of examples."), 0.75)
        } else if is_costly && p >= 0.4 {
            let gap = gap.unwrap_or(1.0);
            let message = format!(
                "{name} drops {percent:.0} % of its inputs, and the training loss is {gap:.2} \
                 times the validation loss."
            );
            (p, message, 0.65)
        } else {
            return None;
        })
    };
    let faults = (0..layers.len()).filter_map(|index| Some((index, fault(index)?)));
    let (index, (p, message, confidence)) =
        faults.reduce(|a, b| if b.1.2 > a.1.2 { b } else { a })?;
    let name = layers.get(index)?.name.clone();
    let mut finding = context.finding(message).at_layer(name).with("probability", p, strong);
    if let Some(gap) = gap {
        finding = finding.with("training loss over validation loss", gap, gap_threshold);
    }
    Some(finding.with_confidence(confidence))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Layer, Record};
    use crate::rules::fixtures::{healthy, make_slow};
    use crate::rules::testing::check_rule;

    fn with_dropout(index: usize, dropout: f64, units: u64) -> Record {
        let mut record = healthy(&[784, units, 10], "relu");
        let layer = Layer {
            name: "drop".into(),
            kind: "dropout".into(),
            inputs: units,
            outputs: units,
            dropout: Some(dropout),
            ..Layer::default()
        };
        record.model.layers.insert(index, layer);
        for tensor in &mut record.model.tensors {
            tensor.layer += usize::from(tensor.layer >= index);
        }
        record
    }

    #[test]
    fn strong_dropout_is_found_unless_the_training_goes_well() {
        let find = |index, dropout, units| {
            let mut record = with_dropout(index, dropout, units);
            assert_eq!(check_rule(&RULE, &record), None);
            make_slow(&mut record);
            check_rule(&RULE, &record)
        };
        assert_eq!(find(2, 0.9, 64).expect("0.9").layer.as_deref(), Some("drop"));
        assert_eq!(find(2, 0.5, 64), None);
        // Dropout of the logits, and of a narrow layer.
        assert!(find(3, 0.5, 64).is_some());
        assert!(find(2, 0.5, 4).is_some());
    }

    #[test]
    fn usual_dropout_is_found_by_what_it_costs() {
        let mut record = with_dropout(2, 0.5, 64);
        make_slow(&mut record);
        let epoch = record.epochs.last_mut().expect("an epoch");
        (epoch.train_loss, epoch.val_loss) = (Some(1.1), Some(1.0));
        assert_eq!(check_rule(&RULE, &record), None);
        record.epochs.last_mut().expect("an epoch").train_loss = Some(1.5);
        assert!(check_rule(&RULE, &record).is_some());
        record.model.layers[2].dropout = Some(0.2);
        assert_eq!(check_rule(&RULE, &record), None);
    }
}
