//! Records for the tests of the rules.

use alloc::format;
use alloc::vec::Vec;

use crate::finding::Finding;
use crate::progress::Progress;
use crate::record::{Data, Epoch, Layer, Record, Reference, Step, Tensor, TensorSample};
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
pub(crate) fn record_of_data(data: Data, val_accuracy: &[f64]) -> Record {
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
pub(crate) fn mnist() -> Data {
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

/// A training on MNIST of 4000 steps, every tenth recorded, that reaches 97.5 %.
pub(super) fn healthy() -> Record {
    let mut record = record_of_data(mnist(), &[]);
    let model = &mut record.model;
    (model.batch, model.planned_steps, model.learning_rate) = (50, 4000, Some(0.1));
    for layer in 0..3 {
        let name = format!("layers.{layer}");
        let tensor = format!("{name}.weight");
        model.layers.push(Layer { name, kind: "dense".into(), ..Layer::default() });
        model.tensors.push(Tensor { name: tensor, layer, weight: true, ..Tensor::default() });
    }
    for index in 0..400 {
        let time = f64::from(index) / 400.0;
        let noise = 1.0 + 0.3 * libm::sin(1.7 * f64::from(index) * f64::from(index));
        let loss = (0.06 + 2.25 * libm::exp(-12.0 * time)) * noise;
        let sample = TensorSample {
            grad_norm: Some(0.2),
            param_norm: Some(10.0),
            update_norm: Some(0.02),
            signal_to_noise: Some(0.005),
            ..TensorSample::default()
        };
        record.steps.push(Step {
            step: 10 * index as u64 + 1,
            loss: Some(loss),
            accuracy: Some(1.0 - loss / 4.0),
            learning_rate: Some(0.1),
            grad_norm: Some(0.35),
            cosine: Some(0.1),
            tensors: [sample.clone(), sample.clone(), sample].into(),
            ..Step::default()
        });
    }
    let epochs =
        [(0.45, 0.86, 0.18, 0.945), (0.14, 0.96, 0.11, 0.967), (0.09, 0.974, 0.095, 0.972)];
    for (epoch, (train_loss, train_accuracy, val_loss, val_accuracy)) in (1..).zip(epochs) {
        record.epochs.push(Epoch {
            epoch,
            step: 1000 * epoch,
            predicted_counts: [1000; 10].into(),
            correct_counts: [(1000.0 * val_accuracy) as u64; 10].into(),
            train_loss: Some(train_loss),
            train_accuracy: Some(train_accuracy),
            val_loss: Some(val_loss),
            val_accuracy: Some(val_accuracy),
        });
    }
    record.reference = Some(Reference {
        name: "logistic".into(),
        steps: 4000,
        val_loss: Some(0.28),
        val_accuracy: Some(0.92),
    });
    record
}
