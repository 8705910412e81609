//! The network of a run and its training, as the doctor's [`Model`].

use doctor::record::{Clip, FORMAT, Layer, Model, Optimizer, Task, Tensor};
use nn::{Dropout, LayerSpec, Residual, Shape, Transformer};
use toml::Value;

use crate::data::Targets;
use crate::run::config::{Config, Dtype};
use crate::run::setup::Setup;

/// Model of the run `setup`.
pub fn model(setup: &Setup) -> Model {
    let Setup { config, dataset, network, split } = setup;
    let settings = settings(&config.optimizer);
    let layers = layers(setup);
    let tensors = network.layout().tensors().iter();
    let frozen = |name: &str| {
        config.groups.iter().find(|group| group.names(name)).is_some_and(|group| group.frozen)
    };
    let tensors = tensors.map(|tensor| {
        let is_weight = tensor.shape.len() > 1;
        let units = tensor.shape.last().copied().unwrap_or(1).max(1);
        let fan_in = if is_weight { tensor.range.len() / units } else { 0 };
        Tensor {
            name: tensor.name.clone(),
            layer: layer_of(&layers, &tensor.name).unwrap_or(tensor.layer),
            elements: tensor.range.len() as u64,
            fan_in: fan_in as u64,
            fan_out: if is_weight { units as u64 } else { 0 },
            weight: is_weight,
            frozen: frozen(&tensor.name),
        }
    });
    Model {
        format: FORMAT,
        task: match dataset.train.targets() {
            Targets::Classes(_) => Task::Classification,
            Targets::Values(_) => Task::Regression,
            Targets::Inputs(_) => Task::Reconstruction,
        },
        classes: dataset.classes as u64,
        loss: kind(&config.loss.unwrap_or_default()),
        optimizer: Optimizer {
            kind: kind(&config.optimizer),
            momentum: number(&settings, "momentum"),
            beta1: number(&settings, "beta1"),
            beta2: number(&settings, "beta2"),
            epsilon: number(&settings, "epsilon"),
            weight_decay: decay(&settings, &["l2", "decoupled"]),
            l1: decay(&settings, &["l1"]),
        },
        learning_rate: Some(config.rate()),
        schedule: kind(&config.schedule),
        clip: config
            .clips()
            .last()
            .map(|clip| Clip { kind: kind(clip), limit: number(&self::settings(clip), "limit") }),
        batch: config.images_per_step(),
        examples: split.train.len() as u64,
        planned_steps: setup.steps_per_epoch() * u64::from(config.epochs),
        dtype: config.dtype.name().into(),
        parameter_dtype: match config.dtype {
            // Operands of products alone are rounded.
            Dtype::Bf16 => Dtype::F32.name().into(),
            dtype => dtype.name().into(),
        },
        tensors: tensors.collect(),
        layers,
    }
}

/// Settings of a part of the configuration, as in its file.
fn settings(part: &impl serde::Serialize) -> Option<Value> {
    Value::try_from(part).ok()
}

/// Kind of a part of the configuration, as in its file.
fn kind(part: &impl serde::Serialize) -> String {
    match settings(part) {
        Some(Value::String(name)) => name,
        Some(table) => table.get("kind").and_then(Value::as_str).unwrap_or_default().into(),
        None => String::new(),
    }
}

fn number(settings: &Option<Value>, key: &str) -> Option<f64> {
    let value = settings.as_ref()?.get(key)?;
    value.as_float().or_else(|| value.as_integer().map(|integer| integer as f64))
}

/// Sum of the coefficients `keys` of an optimizer's decay.
fn decay(settings: &Option<Value>, keys: &[&str]) -> Option<f64> {
    match settings.as_ref()?.get("decay")? {
        Value::Table(decay) => {
            Some(keys.iter().filter_map(|key| decay.get(*key)?.as_float()).sum())
        }
        decay => decay.as_float().filter(|_| keys.contains(&"l2")),
    }
}

/// Layers with those of their blocks, in order.
fn layers(setup: &Setup) -> Vec<Layer> {
    let Setup { config, network, .. } = setup;
    let mut all = Vec::new();
    let mut inputs = network.input().elements() as u64;
    let specs = config.layers.as_deref().unwrap_or_default();
    for ((index, spec), shape) in specs.iter().enumerate().zip(network.sequence().shapes()) {
        let name = format!("layers.{index}");
        let outputs = elements(*shape);
        all.push(layer(&name, spec, inputs, outputs, false));
        blocks(&name, spec, &mut all);
        inputs = outputs;
    }
    all
}

fn elements(shape: Shape) -> u64 {
    shape.checked_len().unwrap_or_default() as u64
}

fn layer(name: &str, spec: &LayerSpec, inputs: u64, outputs: u64, residual: bool) -> Layer {
    let dropout = match spec {
        LayerSpec::Dropout(Dropout { p }) => Some(*p),
        LayerSpec::Transformer(Transformer { dropout, .. }) => Some(*dropout),
        _ => None,
    };
    Layer { name: name.into(), kind: spec.kind().into(), inputs, outputs, dropout, residual }
}

/// Adds the layers within `spec`, a block named `name`.
fn blocks(name: &str, spec: &LayerSpec, all: &mut Vec<Layer>) {
    let LayerSpec::Residual(Residual { body, shortcut, .. }) = spec else { return };
    for (branch, layers) in [("body", body), ("shortcut", shortcut)] {
        for (index, inner) in layers.iter().enumerate() {
            let name = format!("{name}.{branch}.{index}");
            all.push(layer(&name, inner, 0, 0, true));
            blocks(&name, inner, all);
        }
    }
}

/// Index of the innermost layer that the tensor `name` belongs to.
fn layer_of(layers: &[Layer], name: &str) -> Option<usize> {
    let owns = |layer: &Layer| {
        name.strip_prefix(&layer.name[..]).is_some_and(|rest| rest.starts_with('.'))
    };
    let owners = layers.iter().enumerate().filter(|(_, layer)| owns(layer));
    owners.max_by_key(|(_, layer)| layer.name.len()).map(|(index, _)| index)
}

/// `true` if the first layers of `config` scale the inputs by themselves.
pub(crate) fn standardises(config: &Config) -> bool {
    let layers = config.layers.as_deref().unwrap_or_default();
    let passes = |layer: &&LayerSpec| {
        matches!(layer, LayerSpec::Flatten(_) | LayerSpec::Dropout(_) | LayerSpec::Rows(_))
    };
    layers.iter().find(|layer| !passes(layer)).is_some_and(|layer| {
        let kinds = ["standardise", "batch_norm", "layer_norm", "group_norm", "rms_norm"];
        kinds.contains(&layer.kind())
    })
}
