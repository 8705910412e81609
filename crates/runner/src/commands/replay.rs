//! `evenkeel replay`: repeats one step of a run to the bit, and prints or writes what happened in
//! it.
//!
//! ```text
//! checkpoint, if it is not past the step; else the initial weights
//! the training loop up to the step before          unobserved
//! --dtype f64: the weights of that moment, widened
//! the step                                         observed
//! ```
//!
//! | tensor of --out | shape | holds |
//! |---|---|---|
//! | `examples` | (n) | indices of the training examples of the step |
//! | `layers.I.output` | (n, ...) | outputs of a layer for its last batch, with fused ones |
//! | `param.NAME`, `grad.NAME` | PyTorch's | parameters before the step, gradient before clipping |
//!
//! Changes nothing in the run folder.

use std::path::PathBuf;

use doctor::Record;
use doctor::record::{LayerSample, Step, TensorSample};
use kernels::Cpu;
use serde::Serialize;

use crate::Error;
use crate::commands::output;
use crate::commands::output::refuse_if;
use crate::data::element::Element;
use crate::data::replace::replace_with;
use crate::diagnosis::probe;
use crate::diagnosis::recorder::Recorder;
use crate::run::checkpoint::{Checkpoint, Identity};
use crate::run::config::{Config, Dtype, require};
use crate::run::folder::RunFolder;
use crate::run::setup::Setup;
use crate::run::state::State;
use crate::run::tensors::Array;
use crate::run::weights::ModelWeights;
use crate::run::{folder, setup, tensors, weights};
use crate::training::initial;
use crate::training::locate::Location;
use crate::training::observer::{Gradient, Observer, Unobserved, Update};

/// Options of `replay`.
#[derive(Clone, Debug)]
pub struct Request {
    /// The run folder.
    pub run: PathBuf,
    /// The step, from 1.
    pub step: u64,
    /// Type of the step; `None` for that of the run.
    pub dtype: Option<Dtype>,
    /// New path of the run's data.
    pub data: Option<PathBuf>,
    /// File for the tensors of the step.
    pub out: Option<PathBuf>,
    /// Replace that file.
    pub force: bool,
    /// Print JSON.
    pub json: bool,
}

/// Output of `replay --json`: the step, with the names of its parts.
#[derive(Serialize)]
struct Output<'a> {
    dtype: &'static str,
    examples: &'a [u32],
    layers: Vec<Named<'a, LayerSample>>,
    tensors: Vec<Named<'a, TensorSample>>,
    step: Step,
}

#[derive(Serialize)]
struct Named<'a, M> {
    name: &'a str,
    #[serde(flatten)]
    measured: &'a M,
}

/// Observes the step: what is printed, and what is written.
struct Replay<T> {
    recorder: Recorder<T>,
    has_file: bool,
    examples: Vec<u32>,
    arrays: Vec<(String, Array)>,
}

impl<T: Element> Observer<T> for Replay<T> {
    fn on_gradient(&mut self, gradient: &Gradient<'_, T>) {
        self.recorder.on_gradient(gradient);
        let &Gradient { setup, indices, params, grads, workspace, rows, .. } = gradient;
        self.examples = indices.to_vec();
        if !self.has_file {
            return;
        }
        let layout = setup.network.layout();
        self.arrays = vec![("examples".into(), Array::classes(indices))];
        for (index, shape, values) in workspace.layer_outputs(&setup.network, rows) {
            let name = format!("layers.{index}.output");
            self.arrays.push((name, Array::new(&[rows, shape.elements()], values)));
        }
        self.arrays.extend(weights::arrays(layout, params, "param."));
        self.arrays.extend(weights::arrays(layout, grads, "grad."));
    }

    fn on_update(&mut self, update: &Update<'_, T>) {
        self.recorder.on_update(update);
    }

    fn on_non_finite(&mut self, location: Option<&Location>) {
        self.recorder.on_non_finite(location);
    }
}

/// Repeats the step, and prints it.
///
/// # Errors
/// Errors of the run's files; [`Error::Usage`] if the run has no such step.
pub fn replay(request: &Request) -> Result<(), Error> {
    let Request { run, step, dtype, data, out, force, .. } = request;
    if let Some(out) = out {
        refuse_if(out.exists() && !force, out)?;
    }
    let folder = RunFolder::open(run)?;
    let mut config = Config::read(&folder.file(folder::CONFIG))?;
    if data.is_some() {
        config.data.clone_from(data);
    }
    let setup = Setup::of_run(config, &folder)?;
    let last = setup.steps_per_epoch() * u64::from(setup.config.epochs);
    require("step", step, (1..=last).contains(step), &format!("1 to {last}, those of the run"))?;
    setup::on_threads(&setup.config, |cpu| match (setup.config.dtype, dtype) {
        (Dtype::F64, Some(Dtype::F32)) => of_run::<f64, f32>(request, &setup, &folder, cpu),
        (Dtype::F64, _) => of_run::<f64, f64>(request, &setup, &folder, cpu),
        (_, Some(Dtype::F64)) => of_run::<f32, f64>(request, &setup, &folder, cpu),
        _ => of_run::<f32, f32>(request, &setup, &folder, cpu),
    })
}

/// Repeats a step of a run in `R` with its arithmetic in `T`.
fn of_run<R: Element, T: Element>(
    request: &Request,
    setup: &Setup,
    folder: &RunFolder,
    cpu: Cpu<'_>,
) -> Result<(), Error> {
    let &Request { step, ref out, json, .. } = request;
    let state = before::<R>(setup, folder, cpu, step)?;
    let dtype = if size_of::<T>() == 8 { Dtype::F64 } else { setup.config.dtype };
    let setup = &setup.with_config(Config { dtype, ..setup.config.clone() })?;
    let mut state = converted::<R, T>(setup, cpu, state)?;
    let recorder = Recorder::<T>::new(setup, None, 1)?;
    let (has_file, examples, arrays) = (out.is_some(), Vec::new(), Vec::new());
    let mut replay = Replay { recorder, has_file, examples, arrays };
    probe::train(setup, cpu, &mut state, step, &mut replay)?;
    let Record { model, steps, .. } = replay.recorder.record;
    let Some(record) = steps.into_iter().find(|record| record.step == step) else {
        return Err(Error::Usage(format!("step: the run ended before step {step} (flag --step)")));
    };
    if let Some(out) = out {
        replace_with(out, &tensors::encode(&replay.arrays, None)?)?;
    }
    if json {
        let layers = model.layers.iter().zip(&record.layers);
        let tensors = model.tensors.iter().zip(&record.tensors);
        let output = Output {
            dtype: dtype.name(),
            examples: &replay.examples,
            layers: layers.map(|(of, measured)| Named { name: &of.name, measured }).collect(),
            tensors: tensors.map(|(of, measured)| Named { name: &of.name, measured }).collect(),
            step: Step { layers: Vec::new(), tensors: Vec::new(), ..record.clone() },
        };
        let text = serde_json::to_string_pretty(&output)
            .map_err(|error| Error::Usage(format!("step: {error}")))?;
        return output::print(&text);
    }
    output::print(&text(&model, &record))
}

/// The state `of` a run with all numbers converted: exactly to the same or a wider type.
fn converted<R: Element, T: Element>(
    setup: &Setup,
    cpu: Cpu<'_>,
    of: State<R>,
) -> Result<State<T>, Error> {
    let list = |values: &Vec<R>| -> Vec<T> {
        values.iter().map(|value| T::from_f64(value.to_f64())).collect()
    };
    let moments = of.optimizer.moments().iter().map(list).collect();
    let mut state = State {
        weights: of.weights.converted(),
        best: of.best.converted(),
        optimizer: setup.plan()?.resume(cpu, of.optimizer.steps(), moments)?,
        average: of.average.as_ref().map(ModelWeights::converted),
        slow: of.slow.as_ref().map(list),
        snapshot: None,
        position: of.position,
    };
    state.take_snapshot(setup.config.non_finite);
    Ok(state)
}

/// State of the run before step `step`.
fn before<R: Element>(
    setup: &Setup,
    folder: &RunFolder,
    cpu: Cpu<'_>,
    step: u64,
) -> Result<State<R>, Error> {
    let path = folder.file(folder::CHECKPOINT);
    let steps_per_epoch = setup.steps_per_epoch();
    let checkpoint = match path.is_file() {
        true => Some(Checkpoint::read(&path, &Identity::new(setup)?)?),
        false => None,
    };
    let is_before =
        |checkpoint: &Checkpoint| checkpoint.position().global_step(steps_per_epoch) < step;
    let mut state = match checkpoint.filter(is_before) {
        Some(checkpoint) => checkpoint.state::<R>(setup, cpu)?,
        None => initial::state::<R>(setup, cpu)?,
    };
    probe::train(setup, cpu, &mut state, step - 1, &mut Unobserved)?;
    let reached = state.position.global_step(steps_per_epoch);
    if reached + 1 != step {
        return Err(Error::Usage(format!(
            "step: expected at most {}, where the run ended, got {step} (flag --step)",
            reached + 1
        )));
    }
    Ok(state)
}

/// The step as a table for people.
fn text(model: &doctor::record::Model, record: &Step) -> String {
    let number = |number: Option<f64>| number.map_or("-".into(), |number| format!("{number:.4e}"));
    let mut lines = vec![format!(
        "step {}: loss {}, learning rate {}, gradient norm {}",
        record.step,
        number(record.loss),
        number(record.learning_rate),
        number(record.grad_norm)
    )];
    if let Some(first) = &record.non_finite {
        let element = first.element.map_or(String::new(), |element| format!(", element {element}"));
        let example =
            first.example.map_or(String::new(), |example| format!(", training example {example}"));
        lines.push(format!(
            "not taken: first non-finite value in the {} of {}{element}{example}",
            first.operation, first.name
        ));
    }
    let width = model.tensors.iter().map(|tensor| tensor.name.len()).max().unwrap_or(0).max(10);
    lines.push(format!(
        "\n{:width$}  {:>11} {:>11} {:>8} {:>8} {:>9}",
        "outputs of", "mean", "std", "dead", "at bound", "zeros"
    ));
    for (layer, sample) in model.layers.iter().zip(&record.layers) {
        if sample.std.is_some() {
            lines.push(format!(
                "{:width$}  {:>11} {:>11} {:>8} {:>8} {:>8.1}%",
                layer.name,
                number(sample.mean),
                number(sample.std),
                sample.dead,
                sample.saturated,
                100.0 * sample.zero_fraction.unwrap_or(0.0)
            ));
        }
    }
    lines.push(format!(
        "\n{:width$}  {:>11} {:>11} {:>11} {:>10} {:>9}",
        "tensor", "gradient", "parameters", "update", "non-finite", "zeros"
    ));
    for (tensor, sample) in model.tensors.iter().zip(&record.tensors) {
        lines.push(format!(
            "{:width$}  {:>11} {:>11} {:>11} {:>10} {:>9}",
            tensor.name,
            number(sample.grad_norm),
            number(sample.param_norm),
            number(sample.update_norm),
            sample.non_finite,
            sample.zero
        ));
    }
    lines.join("\n")
}
