//! A healthy training for the tests of the rules on the network and the optimizer, and changes that
//! make it ill.

use alloc::format;
use alloc::vec::Vec;

use crate::record::{
    Data, Epoch, Initial, Layer, LayerSample, Model, Optimizer, Record, Reference, Step, Tensor,
    TensorSample,
};

/// Steps that the record has, one in ten of the training.
pub(super) const STEPS: u64 = 60;

/// A healthy training of a network of dense layers of these `widths`, the first of which is that of
/// the inputs, with `activation` after each but the last.
pub(super) fn healthy(widths: &[u64], activation: &str) -> Record {
    let mut record = Record::default();
    let model = &mut record.model;
    *model = Model {
        classes: 10,
        loss: "cross_entropy".into(),
        optimizer: Optimizer { kind: "sgd".into(), momentum: Some(0.9), ..Optimizer::default() },
        batch: 128,
        examples: 76_800,
        planned_steps: 10 * STEPS,
        dtype: "f32".into(),
        learning_rate: Some(0.01),
        ..Model::default()
    };
    let depth = widths.len() - 1;
    for (index, (&inputs, &outputs)) in widths.iter().zip(&widths[1..]).enumerate() {
        let layer = model.layers.len();
        let name = format!("layers.{layer}");
        for part in ["weight", "bias"] {
            let weight = part == "weight";
            model.tensors.push(Tensor {
                name: format!("{name}.{part}"),
                layer,
                elements: if weight { inputs * outputs } else { outputs },
                fan_in: if weight { inputs } else { 0 },
                fan_out: if weight { outputs } else { 0 },
                weight,
                frozen: false,
            });
        }
        model.layers.push(Layer {
            name,
            kind: "dense".into(),
            inputs,
            outputs,
            ..Layer::default()
        });
        if index + 1 < depth {
            let name = format!("layers.{}", layer + 1);
            let kind = activation.into();
            let inputs = outputs;
            model.layers.push(Layer { name, kind, inputs, outputs, ..Layer::default() });
        }
    }
    record.data = Some(Data {
        train: 76_800,
        validation: 10_000,
        inputs: widths[0],
        class_counts: Vec::from([7_680; 10]),
        mean: Some(0.0),
        rms: Some(1.0),
        ..Data::default()
    });
    let layers = layer_samples(&record);
    record.initial = Some(Initial {
        layers: layers.clone(),
        tensors: tensor_samples(&record, 1),
        loss: Some(2.4),
        grad_norm: Some(1.0),
        overfit_ratio: Some(0.01),
        gradient_error: Some(1e-7),
        ..Initial::default()
    });
    for number in 1..=STEPS {
        let step = 10 * number - 9;
        record.steps.push(Step {
            step,
            layers: layers.clone(),
            tensors: tensor_samples(&record, step),
            learning_rate: Some(0.01),
            grad_norm: Some(1.0),
            clip_scale: Some(1.0),
            cosine: Some(0.1),
            ..Step::default()
        });
    }
    set_losses(&mut record, |step| 0.1 + 2.3 * libm::exp(-(step as f64) / 100.0));
    set_accuracy(&mut record, 0.95);
    record
}

fn layer_samples(record: &Record) -> Vec<LayerSample> {
    let sample = |layer: &Layer| {
        let (mean, std, zeros) = match &layer.kind[..] {
            "relu" => (0.5, 0.8, 0.5),
            "sigmoid" => (0.5, 0.2, 0.0),
            "tanh" => (0.0, 0.6, 0.0),
            _ => (0.0, 1.0, 0.0),
        };
        LayerSample {
            units: layer.outputs,
            dead: if layer.kind == "relu" { layer.outputs * 3 / 10 } else { 0 },
            mean: Some(mean),
            std: Some(std),
            std_over_batch: Some(std / 2.0),
            grad_rms: Some(1e-4),
            zero_fraction: Some(zeros),
            saturated_fraction: Some(0.1),
            ..LayerSample::default()
        }
    };
    record.model.layers.iter().map(sample).collect()
}

/// He's weights, biases that start at 0, and updates of a thousandth.
fn tensor_samples(record: &Record, step: u64) -> Vec<TensorSample> {
    let sample = |tensor: &Tensor| {
        let norm = match tensor.fan_in {
            0 => 1e-3 * (step - 1) as f64,
            fan_in => libm::sqrt(2.0 * tensor.elements as f64 / fan_in as f64),
        };
        TensorSample {
            grad_norm: Some(0.1),
            param_norm: Some(norm),
            update_norm: Some(1e-3 * norm.max(1e-3)),
            ..TensorSample::default()
        }
    };
    record.model.tensors.iter().map(sample).collect()
}

/// Sets the loss of each step.
pub(super) fn set_losses(record: &mut Record, loss: impl Fn(u64) -> f64) {
    for step in &mut record.steps {
        step.loss = Some(loss(step.step));
    }
}

/// Sets the accuracy of the training's end, where the reference has 0.9.
pub(super) fn set_accuracy(record: &mut Record, accuracy: f64) {
    let step = 10 * STEPS;
    record.epochs =
        Vec::from([Epoch { epoch: 1, step, val_accuracy: Some(accuracy), ..Epoch::default() }]);
    record.reference =
        Some(Reference { val_accuracy: Some(0.9), steps: step, ..Reference::default() });
}

/// Makes the training learn nothing.
pub(super) fn make_stuck(record: &mut Record) {
    set_losses(record, |step| 2.3 + (step % 3) as f64 / 100.0);
    set_accuracy(record, 0.1);
}

/// Makes the training learn less than a linear model.
pub(super) fn make_slow(record: &mut Record) {
    set_losses(record, |step| 2.3 - 8e-4 * step as f64 + (step % 3) as f64 / 100.0);
    set_accuracy(record, 0.6);
}

/// Changes each tensor sample of the initial network (step 0) and of the steps.
pub(super) fn for_tensors(
    record: &mut Record,
    mut change: impl FnMut(u64, &Tensor, &mut TensorSample),
) {
    let Record { model, initial, steps, .. } = record;
    let initial = initial.iter_mut().map(|initial| (0, &mut initial.tensors));
    let steps = steps.iter_mut().map(|step| (step.step, &mut step.tensors));
    for (step, samples) in initial.chain(steps) {
        for (tensor, sample) in model.tensors.iter().zip(samples) {
            change(step, tensor, sample);
        }
    }
}

/// Changes each layer sample of the initial network (step 0) and of the steps.
pub(super) fn for_layers(
    record: &mut Record,
    mut change: impl FnMut(u64, &Layer, &mut LayerSample),
) {
    let Record { model, initial, steps, .. } = record;
    let initial = initial.iter_mut().map(|initial| (0, &mut initial.layers));
    let steps = steps.iter_mut().map(|step| (step.step, &mut step.layers));
    for (step, samples) in initial.chain(steps) {
        for (layer, sample) in model.layers.iter().zip(samples) {
            change(step, layer, sample);
        }
    }
}

mod tests {
    use super::*;
    use crate::rule::ALL;
    use crate::rules::testing::check_rule;

    /// Records that must have no finding of any rule.
    fn healthy_records() -> Vec<Record> {
        let mut records = Vec::new();
        for activation in ["relu", "tanh", "sigmoid", "exponential", "gelu"] {
            for widths in [&[784, 10][..], &[784, 64, 10], &[784, 256, 128, 64, 10]] {
                records.push(healthy(widths, activation));
                let mut record = healthy(widths, activation);
                record.model.optimizer = Optimizer {
                    kind: "adam".into(),
                    beta1: Some(0.9),
                    beta2: Some(0.999),
                    epsilon: Some(1e-8),
                    ..Optimizer::default()
                };
                // The first update of Adam is the rate for each element, then they shrink.
                for_tensors(&mut record, |step, tensor, sample| {
                    let update = libm::sqrt(tensor.elements as f64) / (step.max(1) as f64);
                    sample.update_norm = Some(1e-3 * update.max(0.1));
                    sample.grad_norm = Some(1e-3);
                });
                records.push(record);
            }
        }
        records
    }

    #[test]
    fn healthy_records_have_no_finding() {
        for record in healthy_records() {
            for rule in ALL {
                assert_eq!(check_rule(rule, &record), None, "{}", record.model.layers[0].name);
            }
        }
    }

    /// A record from elsewhere may lack any of its lists, or have shorter ones.
    #[test]
    fn no_rule_panics_on_a_record_with_parts_missing() {
        let mut records = Vec::from([Record::default()]);
        let whole = healthy(&[784, 64, 10], "relu");
        let changes: [fn(&mut Record); 10] = [
            |record| record.model.layers.clear(),
            |record| record.model.tensors.clear(),
            |record| record.model.layers.truncate(1),
            |record| record.model.tensors.truncate(1),
            |record| record.initial = None,
            |record| record.data = None,
            |record| record.steps.clear(),
            |record| record.epochs.clear(),
            |record| record.steps.iter_mut().for_each(|step| step.tensors.truncate(1)),
            |record| {
                for step in &mut record.steps {
                    step.loss = Some(f64::NAN);
                    step.layers.truncate(1);
                }
                for_tensors(record, |_, _, sample| {
                    sample.update_norm = Some(f64::INFINITY);
                    sample.param_norm = Some(0.0);
                    sample.grad_norm = Some(f64::NAN);
                });
            },
        ];
        for first in changes {
            for second in changes {
                let mut record = whole.clone();
                make_stuck(&mut record);
                first(&mut record);
                second(&mut record);
                records.push(record);
            }
        }
        for record in records {
            for rule in ALL {
                if let Some(finding) = check_rule(rule, &record) {
                    assert_eq!(finding.id, rule.id);
                }
            }
        }
    }
}
