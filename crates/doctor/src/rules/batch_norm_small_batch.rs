//! Batch norm over too few values.

use alloc::format;

use crate::cure::Cure;
use crate::finding::{Finding, Severity};
use crate::network::layer_name;
use crate::record::{Record, Tensor};
use crate::rule::{Context, Rule, Threshold};
use crate::symptoms;

pub(super) static RULE: Rule = Rule {
    id: "batch-norm-small-batch",
    title: "Batch norm has too few values per channel",
    meaning: "Batch norm normalises each channel by the mean and the variance of the batch. Of few \
              values these are noise, which differs from the running statistics of the \
              evaluation. Of a single value the result is the shift alone, whatever the input.",
    formula: "Values per channel: examples per step times the positions of a channel, which are \
              the layer's outputs over its channels. The rule fires below `values`.",
    origin: "The relative error of the standard deviation of n values is 1 / sqrt(2 n - 2): 27 % \
             for 8. Group normalisation's authors find errors to rise below 8 examples.",
    references: "Ioffe, Szegedy, ICML 2015; Wu, He, ECCV 2018.",
    thresholds: &[Threshold {
        key: "values",
        default: 8.0,
        meaning: "values per channel and step, below which the statistics are noise",
    }],
    cures: &[Cure::LargerBatch, Cure::LayerNorm],
    causes: &[
        symptoms::NOT_LEARNING,
        symptoms::ERRATIC,
        &["constant-output", "overfit-one-batch-fails", "exploding-updates"],
    ],
    check: |context| find(context).into_iter().collect(),
};

/// Positions of a channel in the batch norm at `layer`: 1 after a dense layer. `None` if unknown.
fn positions(record: &Record, layer: usize) -> Option<u64> {
    let model = &record.model;
    let of_layer = |tensor: &&Tensor| tensor.layer == layer;
    let channels = model.tensors.iter().find(of_layer).map_or(0, |tensor| tensor.elements);
    let outputs = model.layers.get(layer)?.outputs;
    if channels > 0 && outputs > 0 {
        return Some((outputs / channels).max(1));
    }
    let is_after_dense = layer.checked_sub(1).and_then(|previous| model.layers.get(previous));
    is_after_dense.is_some_and(|layer| layer.kind == "dense").then_some(1)
}

fn find(context: &Context<'_>) -> Option<Finding> {
    let record = context.record;
    let batch = record.model.batch;
    let threshold = context.threshold("values");
    if batch == 0 {
        return None;
    }
    let layers = record.model.layers.iter().enumerate();
    let norms = layers.filter(|(_, layer)| layer.kind == "batch_norm");
    let values = |index| Some(positions(record, index)?.saturating_mul(batch));
    let values = norms.filter_map(|(index, _)| Some((values(index)?, index)));
    let (values, index) = values.min()?;
    if values as f64 >= threshold {
        return None;
    }
    let name = layer_name(&record.model, index);
    let message = format!(
        "{name} normalises each channel by the statistics of {values} values in a batch of {batch}."
    );
    let mut finding = context.finding(message).at_layer(name);
    if values == 1 && !context.progress.is_well() {
        finding.severity = Severity::Critical;
    }
    let confidence = if values == 1 { 0.95 } else { 0.75 };
    Some(finding.with("values per channel", values as f64, threshold).with_confidence(confidence))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Layer;
    use crate::rules::fixtures::{healthy, make_slow};
    use crate::rules::testing::check_rule;

    #[test]
    fn positions_of_a_channel_count_as_values() {
        let mut record = healthy(&[784, 64, 10], "relu");
        make_slow(&mut record);
        let (name, kind) = ("layers.3".into(), "batch_norm".into());
        let layer = Layer { name, kind, ..Layer::default() };
        record.model.layers.push(layer);
        record.model.tensors.push(Tensor { layer: 3, elements: 10, ..Tensor::default() });
        let mut find = |batch: u64, outputs: u64| {
            record.model.batch = batch;
            record.model.layers[3].outputs = outputs;
            check_rule(&RULE, &record)
        };
        let finding = find(4, 10).expect("4 values");
        assert_eq!((finding.severity, finding.evidence[0].value), (Severity::Warning, 4.0));
        assert_eq!(find(1, 10).map(|finding| finding.severity), Some(Severity::Critical));
        assert_eq!(find(8, 10), None);
        // An image of 7 x 7.
        assert_eq!(find(1, 490), None);
        assert_eq!(find(0, 10), None);
        record.model.layers[3].kind = "layer_norm".into();
        assert_eq!(check_rule(&RULE, &record), None);
    }
}
