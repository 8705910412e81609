//! Records for the tests of the rules.

use alloc::format;
use alloc::vec::Vec;

use crate::finding::Finding;
use crate::progress::Progress;
use crate::record::{Data, Epoch, Layer, Record, Step, Tensor, TensorSample};
use crate::rule::{Context, Rule};
use crate::settings::Settings;

/// First finding of `rule` in `record`, whatever else is wrong with it.
pub(super) fn check_rule(rule: &Rule, record: &Record) -> Option<Finding> {
    let (progress, settings) = (Progress::new(record), &Settings::default());
    (rule.check)(&Context { record, progress, rule, settings }).into_iter().next()
}

/// A network of `depth` dense layers, whose gradient shrinks by `factor` per layer on its way to
/// the first.
pub(super) fn record_of_depth(depth: usize, factor: f64) -> Record {
    let mut record = Record::default();
    for layer in 0..depth {
        let name = format!("layers.{layer}");
        let tensor = format!("{name}.weight");
        record.model.layers.push(Layer { name, kind: "dense".into(), ..Layer::default() });
        record.model.tensors.push(Tensor {
            name: tensor,
            layer,
            weight: true,
            ..Tensor::default()
        });
    }
    for step in 1..=3 {
        let sample = |layer: usize| TensorSample {
            grad_norm: Some(libm::pow(factor, (depth - 1 - layer) as f64)),
            param_norm: Some(1.0),
            ..TensorSample::default()
        };
        let tensors: Vec<_> = (0..depth).map(sample).collect();
        record.steps.push(Step { step, tensors, ..Step::default() });
    }
    record
}

/// A record of steps 1, 2, ... with these losses.
pub(crate) fn record_of_losses(losses: impl IntoIterator<Item = f64>) -> Record {
    let mut record = Record::default();
    for (step, loss) in (1..).zip(losses) {
        record.steps.push(Step { step, loss: Some(loss), ..Step::default() });
    }
    record
}

/// A classification of `data`, with `val_accuracy` after an epoch each.
pub(super) fn record_of_data(data: Data, val_accuracy: &[f64]) -> Record {
    let mut record = Record::default();
    record.model.classes = data.class_counts.len() as u64;
    record.model.loss = "cross_entropy".into();
    record.model.examples = data.train;
    record.data = Some(data);
    for (epoch, &accuracy) in (1..).zip(val_accuracy) {
        let val_accuracy = Some(accuracy);
        record.epochs.push(Epoch { epoch, val_accuracy, ..Epoch::default() });
    }
    record
}

/// MNIST, pixels in [0, 1], 1000 neighbours sampled: a healthy data set.
pub(super) fn mnist() -> Data {
    Data {
        train: 50_000,
        validation: 10_000,
        test: 10_000,
        inputs: 784,
        constant_inputs: 67,
        class_counts: Vec::from([5000; 10]),
        validation_class_counts: Vec::from([1000; 10]),
        neighbours_sampled: 1000,
        min: Some(0.0),
        max: Some(1.0),
        mean: Some(0.1307),
        rms: Some(0.335),
        scale_ratio: Some(2.5e4),
        range_ratio: Some(255.0),
        offset_ratio: Some(1.9),
        same_label_successors: Some(0.1),
        same_label_by_chance: Some(0.1),
        neighbour_agreement: Some(0.965),
        neighbour_vote: Some(0.96),
        validation_agreement: Some(0.965),
        validation_shift: Some(0.012),
        test_shift: Some(0.02),
        ..Data::default()
    }
}
