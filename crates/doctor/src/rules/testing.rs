//! Records for the tests of the rules.

use alloc::format;
use alloc::vec::Vec;

use crate::finding::Finding;
use crate::progress::Progress;
use crate::record::{Layer, Record, Step, Tensor, TensorSample};
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
