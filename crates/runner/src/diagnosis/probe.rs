//! Probe of a network: its data, and some hundred steps of its training, as the doctor's
//! [`Record`].
//!
//! ```text
//! inspection of the data
//! STEPS steps by the training loop, recorded; the validation set is scored
//! the same for a linear model on standardised inputs: the reference
//! unless it goes well: as many steps again, up to MAX_STEPS. Fewer for large networks
//! ```
//!
//! Writes nothing. A function of configuration and data: the same on every machine.

use doctor::progress::Progress;
use doctor::record::{Epoch, Record, Reference};
use kernels::Cpu;
use kernels::argmax::argmax;
use nn::metrics::is_prediction;
use nn::{Optimizer, Schedule};

use crate::Error;
use crate::data::Targets;
use crate::data::element::Element;
use crate::diagnosis::recorder::Recorder;
use crate::diagnosis::{inspection, model, run_record};
use crate::evaluation::scorer::Scorer;
use crate::run::config::{Config, Dtype};
use crate::run::preset::Preset;
use crate::run::setup;
use crate::run::setup::Setup;
use crate::run::state::State;
use crate::run::weights::ModelWeights;
use crate::training::epochs::{Callback, End};
use crate::training::observer::{Observer, Unobserved};
use crate::training::{epochs, initial};

/// Steps of the first part of a probe.
pub const STEPS: u64 = 150;

/// Fewest steps of the first part of a probe.
pub const LEAST_STEPS: u64 = 50;

/// Operations of the first part of a probe: two seconds of two processors.
const OPERATIONS: f64 = 1.5e11;

/// Steps of a whole probe.
pub const MAX_STEPS: u64 = 600;

/// One step in so many is measured tensor by tensor.
const SAMPLE_EVERY: u64 = 10;

/// Validation examples that are scored.
const SCORED: usize = 2048;

/// Probes the run `setup`.
///
/// # Errors
/// [`Error::Network`] if there is not enough memory, or the configuration does not fit.
pub fn probe(setup: &Setup, cpu: Cpu<'_>) -> Result<Record, Error> {
    match setup.config.dtype {
        Dtype::F32 | Dtype::Bf16 => probe_in::<f32>(setup, cpu),
        Dtype::F64 => probe_in::<f64>(setup, cpu),
    }
}

fn probe_in<T: Element>(setup: &Setup, cpu: Cpu<'_>) -> Result<Record, Error> {
    let mut data = inspection::inspect(setup, cpu)?;
    let scored = &setup.split.validation[..setup.split.validation.len().min(SCORED)];
    data.validation = scored.len() as u64;
    if let Targets::Classes(labels) = setup.dataset.train.targets() {
        let scored = scored.iter().map(|&index| labels[index as usize]);
        data.validation_class_counts = inspection::counts(scored, setup.dataset.classes);
    }
    let mut record = Record { model: model::model(setup), data: Some(data), ..Record::default() };
    let mut state = initial::state::<T>(setup, cpu)?;
    let mut recorder = Recorder::<T>::new(&setup.network, SAMPLE_EVERY)?;
    let mut limit = first_steps(setup);
    let max_steps = MAX_STEPS / STEPS * limit;
    loop {
        let end = train(setup, cpu, &mut state, limit, &mut recorder)?;
        record.initial = recorder.initial.clone();
        record.steps = recorder.steps.clone();
        record.epochs = state.position.history.iter().map(run_record::entry).collect();
        record.epochs.push(score(setup, cpu, &mut state)?);
        record.reference = Some(reference(setup, cpu, steps(setup, &state))?);
        let goes_on = matches!(end, End::Stopped) && limit < max_steps;
        if !goes_on || Progress::new(&record).is_well() {
            return Ok(record);
        }
        limit = (2 * limit).min(max_steps);
    }
}

/// Steps of the first part of the probe of `setup`: [`STEPS`], or fewer for a network whose steps
/// take long. Counted in operations rather than in seconds, so that the verdict is the same on
/// every machine.
pub(crate) fn first_steps(setup: &Setup) -> u64 {
    let network = &setup.network;
    let positions =
        |layer: usize| network.sequence().shapes().get(layer).map_or(1, |shape| shape.positions());
    let weights = network.layout().tensors().iter().filter(|tensor| tensor.shape.len() > 1);
    let products: f64 =
        weights.map(|tensor| (tensor.range.len() * positions(tensor.layer)) as f64).sum();
    // A product forward, and one each for the gradients of inputs and weights.
    let operations = 6.0 * products * setup.config.images_per_step() as f64;
    ((OPERATIONS / operations) as u64).clamp(LEAST_STEPS, STEPS)
}

/// Steps of the run that `state` has taken.
fn steps<T>(setup: &Setup, state: &State<T>) -> u64 {
    state.position.global_step(setup.steps_per_epoch())
}

/// Stops the training loop after a number of steps.
struct Limit {
    steps: u64,
    steps_per_epoch: u64,
}

impl<T> Callback<T> for Limit {
    fn on_step_end(&mut self, state: &State<T>) -> Result<bool, Error> {
        Ok(state.position.global_step(self.steps_per_epoch) < self.steps)
    }

    fn on_epoch_end(&mut self, _: &State<T>) -> Result<(), Error> {
        Ok(())
    }
}

/// Trains `state` up to step `limit` of the run.
pub(crate) fn train<T: Element>(
    setup: &Setup,
    cpu: Cpu<'_>,
    state: &mut State<T>,
    limit: u64,
    observer: &mut dyn Observer<T>,
) -> Result<End, Error> {
    let steps_per_epoch = setup.steps_per_epoch();
    epochs::run(setup, cpu, state, &mut Limit { steps: limit, steps_per_epoch }, observer)
}

/// Scores the current weights on the first validation examples.
pub(crate) fn score<T: Element>(
    setup: &Setup,
    cpu: Cpu<'_>,
    state: &mut State<T>,
) -> Result<Epoch, Error> {
    let Setup { dataset, split, network, .. } = setup;
    let step = steps(setup, state);
    let classes = network.outputs();
    let examples = &split.validation[..split.validation.len().min(SCORED)];
    let (mut predicted, mut correct) = (vec![0_u64; classes], vec![0_u64; classes]);
    let mut of_batch = Vec::new();
    let weights: &mut ModelWeights<T> = state.scored();
    let score = Scorer::new(network, cpu)?.score_each(
        network,
        cpu,
        weights,
        &dataset.train,
        examples,
        |targets, outputs| {
            let nn::Targets::Labels(labels) = targets else { return };
            of_batch.resize(labels.len(), 0);
            if argmax(cpu, outputs, classes, &mut of_batch).is_err() {
                return;
            }
            let rows = outputs.chunks_exact(classes).zip(labels.iter().zip(&of_batch));
            for (_, (&label, &class)) in rows.filter(|(row, _)| is_prediction(row)) {
                predicted[class as usize] += 1;
                correct[class as usize] += u64::from(class == label);
            }
        },
    )?;
    let has_classes = !dataset.has_values();
    Ok(Epoch {
        epoch: state.position.history.len() as u64 + 1,
        step,
        train_loss: None,
        train_accuracy: None,
        val_loss: Some(score.mean_loss()),
        val_accuracy: has_classes.then(|| score.accuracy()),
        predicted_counts: if has_classes { predicted } else { Vec::new() },
        correct_counts: if has_classes { correct } else { Vec::new() },
    })
}

/// A linear model of standardised inputs, trained for `steps` steps on batches of the same size.
fn reference(setup: &Setup, cpu: Cpu<'_>, steps: u64) -> Result<Reference, Error> {
    let preset = if setup.dataset.has_values() { Preset::Linear } else { Preset::Logistic };
    let of = &setup.config;
    let config = Config {
        preset,
        standardise: Some(true),
        optimizer: Optimizer::adam(),
        lr: Some(REFERENCE_RATE),
        schedule: Schedule::Constant,
        seed: of.seed,
        batch: of.batch,
        accumulate: of.accumulate,
        epochs: of.epochs,
        validation: Some(setup.split.validation.len() as u32),
        dataset: of.dataset,
        data: of.data.clone(),
        label: of.label.clone(),
        target: of.target.clone(),
        task: of.task,
        threads: of.threads,
        isa: of.isa.clone(),
        classification: of.classification,
        linear: of.linear,
        ..Config::default()
    };
    let reference = setup.with_config(config)?;
    let mut state = initial::state::<f32>(&reference, cpu)?;
    train(&reference, cpu, &mut state, steps, &mut Unobserved)?;
    let score = score(&reference, cpu, &mut state)?;
    Ok(Reference {
        name: preset.name().into(),
        steps,
        val_loss: score.val_loss.filter(|_| setup.config.loss == reference.config.loss),
        val_accuracy: score.val_accuracy,
    })
}

/// Learning rate of the reference, with Adam.
const REFERENCE_RATE: f64 = 4e-3;

/// Instruction set and threads of `setup` for `task`.
///
/// # Errors
/// [`Error::ThreadPool`] if the threads cannot be started; errors of `task`.
pub fn on_threads<R>(
    setup: &Setup,
    task: impl FnOnce(Cpu<'_>) -> Result<R, Error> + Send,
) -> Result<R, Error>
where
    R: Send,
{
    let pool = setup::pool(&setup.config)?;
    let isa = setup::isa(&setup.config)?;
    pool.enter(|| task(Cpu::new(isa, &pool)))
}
