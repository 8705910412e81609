//! Probe of a network: its data, and some hundred steps of its training, as the doctor's
//! [`Record`].
//!
//! ```text
//! inspection of the data
//! preflight of the initial network
//! STEPS steps by the training loop, recorded; the validation set is scored
//! the same for a linear model on standardised inputs: the reference
//! unless it goes well: as many steps again, up to MAX_STEPS. Fewer for large networks
//! ```
//!
//! A quarter of the first steps is enough for a first verdict.
//!
//! Writes nothing. A function of configuration and data: the same on every machine.

use doctor::progress::Progress;
use doctor::record::{Epoch, Record, Reference};
use doctor::{Finding, Severity, Verdict};
use kernels::Cpu;
use nn::{Optimizer, Schedule};

use crate::Error;
use crate::data::Targets;
use crate::data::element::Element;
use crate::diagnosis::recorder::Recorder;
use crate::diagnosis::{inspection, preflight, run_record};
use crate::evaluation::predictions::Predictions;
use crate::evaluation::scorer::Scorer;
use crate::run::config::{Config, Dtype};
use crate::run::preset::Preset;
use crate::run::setup::Setup;
use crate::run::state::State;
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
const SCORED: std::ops::RangeInclusive<f64> = 512.0..=2048.0;

/// Operations of scoring them.
const SCORE_OPERATIONS: f64 = 1e10;

/// Part of a probe that has been done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The data were inspected.
    Data,
    /// The initial network was measured, as far as no step is needed.
    Preflight,
    /// Enough steps for a first verdict.
    FirstSteps,
}

/// Findings of `verdict` that the first steps are enough for: severe ones that are not about the
/// course of the training.
pub fn first_findings(verdict: &Verdict) -> impl Iterator<Item = &Finding> {
    let is_certain =
        |finding: &&Finding| finding.severity > Severity::Info && !finding.is_of_the_course();
    verdict.findings.iter().filter(is_certain)
}

/// Probes the run `setup`. `observe` gets the record after each stage but the last.
///
/// # Errors
/// [`Error::Network`] if there is not enough memory, or the configuration does not fit.
pub fn probe(
    setup: &Setup,
    cpu: Cpu<'_>,
    observe: &mut dyn FnMut(Stage, &Record),
) -> Result<Record, Error> {
    match setup.config.dtype {
        Dtype::F32 | Dtype::Bf16 => probe_in::<f32>(setup, cpu, observe),
        Dtype::F64 => probe_in::<f64>(setup, cpu, observe),
    }
}

fn probe_in<T: Element>(
    setup: &Setup,
    cpu: Cpu<'_>,
    observe: &mut dyn FnMut(Stage, &Record),
) -> Result<Record, Error> {
    let mut data = inspection::inspect(setup, cpu)?;
    let scored = scored(setup);
    data.validation = scored.len() as u64;
    if let Targets::Classes(labels) = setup.dataset.train.targets() {
        let scored = scored.iter().map(|&index| labels[index as usize]);
        data.validation_class_counts = inspection::counts(scored, setup.dataset.classes);
    }
    let mut recorder = Recorder::<T>::new(setup, Some(data), SAMPLE_EVERY)?;
    observe(Stage::Data, &recorder.record);
    let mut state = initial::state::<T>(setup, cpu)?;
    recorder.record.initial = Some(preflight::measure(setup, cpu, &state.weights)?);
    observe(Stage::Preflight, &recorder.record);
    let mut reference = LinearModel::new(setup, cpu)?;
    let first = first_steps(setup);
    let max_steps = MAX_STEPS / STEPS * first;
    let mut limit = first / 4;
    loop {
        let end = train(setup, cpu, &mut state, limit, &mut recorder)?;
        let record = &mut recorder.record;
        record.epochs = state.position.history.iter().map(run_record::entry).collect();
        record.epochs.push(score(setup, cpu, &mut state)?);
        record.reference = Some(reference.advance(setup, cpu, steps(setup, &state))?);
        if limit < first {
            observe(Stage::FirstSteps, record);
            if end == End::Stopped {
                limit = first;
                continue;
            }
        }
        let goes_on = end == End::Stopped && limit < max_steps;
        let progress = Progress::new(record);
        // A short run is probed to its end if it is not as good as the neighbours yet.
        let trails = record.model.planned_steps <= max_steps && progress.trails_neighbours(record);
        if !goes_on || progress.is_well() && !trails {
            return Ok(recorder.record);
        }
        limit = (2 * limit).min(max_steps);
    }
}

/// Validation examples that are scored: fewer for a network that takes long.
fn scored(setup: &Setup) -> &[u32] {
    // Forward takes a third of a step's operations.
    let count = SCORE_OPERATIONS / (preflight::operations(setup) / 3.0);
    let count = count.clamp(*SCORED.start(), *SCORED.end()) as usize;
    &setup.split.validation[..setup.split.validation.len().min(count)]
}

/// Steps of the first part of the probe of `setup`: [`STEPS`], or fewer for a network whose steps
/// take long. Counted in operations rather than in seconds, so that the verdict is the same on
/// every machine.
pub(crate) fn first_steps(setup: &Setup) -> u64 {
    let operations = preflight::operations(setup) * setup.config.images_per_step() as f64;
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

/// Trains `state` up to step `limit` of the run; nothing if it is there already.
pub(crate) fn train<T: Element>(
    setup: &Setup,
    cpu: Cpu<'_>,
    state: &mut State<T>,
    limit: u64,
    observer: &mut dyn Observer<T>,
) -> Result<End, Error> {
    let steps_per_epoch = setup.steps_per_epoch();
    if state.position.global_step(steps_per_epoch) >= limit {
        return Ok(End::Stopped);
    }
    epochs::run(setup, cpu, state, &mut Limit { steps: limit, steps_per_epoch }, observer)
}

/// Scores the current weights on the first validation examples.
fn score<T: Element>(setup: &Setup, cpu: Cpu<'_>, state: &mut State<T>) -> Result<Epoch, Error> {
    let Setup { dataset, network, .. } = setup;
    let mut epoch = Epoch {
        epoch: state.position.history.len() as u64 + 1,
        step: steps(setup, state),
        ..Epoch::default()
    };
    let (weights, set) = (state.scored(), &dataset.train);
    if dataset.has_values() {
        let mut scorer = Scorer::new(network, cpu)?;
        let score = scorer.score(network, cpu, weights, set, scored(setup))?;
        epoch.val_loss = Some(score.mean_loss());
        return Ok(epoch);
    }
    let predictions = Predictions::new(network, cpu, weights, set, scored(setup))?;
    let confusion = predictions.confusion()?;
    let classes = 0..network.outputs();
    epoch.val_loss = Some(predictions.score.mean_loss());
    epoch.val_accuracy = Some(predictions.score.accuracy());
    epoch.predicted_counts = classes.clone().map(|class| confusion.predicted(class)).collect();
    epoch.correct_counts = classes.map(|class| confusion.count(class, class)).collect();
    Ok(epoch)
}

/// The reference: a linear model of standardised inputs, trained with batches of the same size.
struct LinearModel {
    setup: Setup,
    state: State<f32>,
}

impl LinearModel {
    fn new(of: &Setup, cpu: Cpu<'_>) -> Result<Self, Error> {
        let preset = if of.dataset.has_values() { Preset::Linear } else { Preset::Logistic };
        // The keys of the data keep their values; all others have their defaults.
        let Config { seed, batch, accumulate, epochs, dataset, ref data, .. } = of.config;
        let Config { ref label, ref target, task, threads, ref isa, .. } = of.config;
        let config = Config {
            preset,
            standardise: Some(true),
            optimizer: Optimizer::adam(),
            lr: Some(REFERENCE_RATE),
            schedule: Schedule::Constant,
            seed,
            batch,
            accumulate,
            epochs,
            validation: Some(of.split.validation.len() as u32),
            dataset,
            data: data.clone(),
            label: label.clone(),
            target: target.clone(),
            task,
            threads,
            isa: isa.clone(),
            ..Config::default()
        };
        let setup = of.with_config(config)?;
        let state = initial::state(&setup, cpu)?;
        Ok(Self { setup, state })
    }

    /// Trains up to step `steps`, and scores the model beside the run `of`.
    fn advance(&mut self, of: &Setup, cpu: Cpu<'_>, steps: u64) -> Result<Reference, Error> {
        let Self { setup, state } = self;
        train(setup, cpu, state, steps, &mut Unobserved)?;
        let score = score(setup, cpu, state)?;
        Ok(Reference {
            name: setup.config.preset.name().into(),
            steps,
            val_loss: score.val_loss.filter(|_| setup.config.loss == of.config.loss),
            val_accuracy: score.val_accuracy,
        })
    }
}

/// Learning rate of the reference, with Adam.
const REFERENCE_RATE: f64 = 4e-3;
