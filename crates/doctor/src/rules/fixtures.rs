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
pub(crate) fn healthy(widths: &[u64], activation: &str) -> Record {
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
    use crate::judge::judge;
    use crate::rule::ALL;
    use crate::rules::testing::check_rule;
    use crate::settings::Settings;

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

    /// Bad labels, say, keep any network from learning: that is no fault of the network.
    #[test]
    fn a_healthy_network_that_learns_nothing_has_no_finding() {
        let rules = [
            &super::super::vanishing_gradient::RULE,
            &super::super::exploding_gradient::RULE,
            &super::super::zero_initialisation::RULE,
            &super::super::symmetric_units::RULE,
            &super::super::large_biases::RULE,
            &super::super::initialisation_too_small::RULE,
            &super::super::initialisation_too_large::RULE,
            &super::super::initial_loss::RULE,
            &super::super::dead_relu::RULE,
            &super::super::saturation::RULE,
            &super::super::learning_rate_too_high::RULE,
            &super::super::learning_rate_too_low::RULE,
            &super::super::optimizer_epsilon::RULE,
            &super::super::optimizer_momentum::RULE,
            &super::super::output_layer::RULE,
            &super::super::bottleneck::RULE,
            &super::super::precision_too_low::RULE,
            &super::super::unchanged_parameters::RULE,
            &super::super::frozen_layer::RULE,
            &super::super::exploding_updates::RULE,
            &super::super::constant_output::RULE,
            &super::super::regularisation_too_strong::RULE,
            &super::super::clip_always::RULE,
        ];
        for mut record in healthy_records() {
            for make_ill in [make_stuck, make_slow] {
                make_ill(&mut record);
                for rule in rules {
                    assert_eq!(check_rule(rule, &record), None, "{:?}", record.model.optimizer);
                }
            }
        }
    }

    /// First finding of all rules, and its symptoms.
    fn first(record: &Record) -> (alloc::string::String, Vec<alloc::string::String>) {
        let finding = judge(record, &Settings::default()).findings.into_iter().next();
        let finding = finding.expect("a finding");
        (finding.id, finding.symptoms)
    }

    #[test]
    fn weights_of_0_come_before_all_that_they_cause() {
        let mut record = healthy(&[784, 64, 32, 10], "relu");
        make_stuck(&mut record);
        for_tensors(&mut record, |_, tensor, sample| {
            (sample.grad_norm, sample.update_norm) = (Some(0.0), Some(0.0));
            if tensor.weight {
                sample.param_norm = Some(0.0);
                sample.equal_units = tensor.fan_out;
            }
        });
        for_layers(&mut record, |_, _, sample| {
            sample.dead = sample.units;
            (sample.std, sample.std_over_batch) = (Some(0.0), Some(0.0));
        });
        record.initial.as_mut().expect("initial").overfit_ratio = Some(0.99);
        let (id, symptoms) = first(&record);
        assert_eq!(id, "zero-initialisation");
        for symptom in ["dead-relu", "unchanged-parameters", "overfit-one-batch-fails"] {
            assert!(symptoms.iter().any(|id| id == symptom), "{symptoms:?}");
        }
    }

    #[test]
    fn a_high_learning_rate_comes_before_the_units_that_it_kills() {
        let mut record = healthy(&[784, 64, 10], "relu");
        make_stuck(&mut record);
        set_losses(&mut record, |step| if step == 1 { 2.4 } else { 30.0 });
        for_tensors(&mut record, |step, tensor, sample| {
            let is_first = step <= 1;
            sample.update_norm =
                sample.param_norm.map(|norm| if is_first { 3.0 * norm } else { 0.0 });
            if !is_first && tensor.weight {
                sample.grad_norm = Some(0.0);
            }
        });
        for_layers(&mut record, |step, layer, sample| {
            if step > 1 {
                sample.dead = if layer.kind == "relu" { sample.units } else { 0 };
                sample.std_over_batch = Some(0.0);
            }
        });
        for step in record.steps.iter_mut().skip(1) {
            step.grad_norm = Some(1e3);
        }
        let (id, symptoms) = first(&record);
        assert_eq!(id, "learning-rate-too-high");
        assert!(symptoms.iter().any(|id| id == "dead-relu"), "{symptoms:?}");
        let steps = record.steps.iter_mut().skip(5);
        steps.for_each(|step| step.loss = Some(f64::NAN));
        let (id, symptoms) = first(&record);
        assert_eq!(id, "learning-rate-too-high");
        assert!(symptoms.iter().any(|id| id == "non-finite"), "{symptoms:?}");
    }

    #[test]
    fn large_weights_come_before_saturation_and_a_large_loss() {
        let mut record = healthy(&[784, 64, 64, 10], "tanh");
        make_stuck(&mut record);
        for_layers(&mut record, |_, layer, sample| {
            let is_dense = layer.kind == "dense";
            sample.std = Some(if is_dense { 20.0 } else { 0.99 });
            sample.saturated_fraction = Some(if is_dense { 0.0 } else { 0.9 });
        });
        for_tensors(&mut record, |_, tensor, sample| {
            sample.param_norm = Some(libm::sqrt(tensor.elements as f64));
            sample.grad_norm = Some(if tensor.layer == 0 { 1e-4 } else { 1.0 });
            sample.update_norm = Some(1e-6);
        });
        record.initial.as_mut().expect("initial").loss = Some(25.0);
        let (id, symptoms) = first(&record);
        assert_eq!(id, "initialisation-too-large");
        for symptom in ["saturation", "initial-loss", "learning-rate-too-low"] {
            assert!(symptoms.iter().any(|id| id == symptom), "{symptoms:?}");
        }
    }

    #[test]
    fn weight_decay_comes_before_the_signal_that_it_takes_away() {
        let mut record = healthy(&[784, 64, 10], "relu");
        record.model.optimizer.weight_decay = Some(5.0);
        make_stuck(&mut record);
        for_tensors(&mut record, |step, _, sample| {
            let left = libm::exp(-(step as f64) / 20.0);
            sample.param_norm = sample.param_norm.map(|norm| norm * left);
            sample.update_norm = sample.param_norm.map(|norm| 0.05 * norm);
            sample.grad_norm = Some(1e-3 * left);
        });
        for_layers(&mut record, |step, _, sample| {
            if step > 0 {
                sample.std_over_batch = Some(1e-9);
            }
        });
        let (id, symptoms) = first(&record);
        assert_eq!(id, "regularisation-too-strong");
        assert!(symptoms.iter().any(|id| id == "constant-output"), "{symptoms:?}");
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
