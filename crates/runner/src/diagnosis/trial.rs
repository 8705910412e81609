//! Trials of cures: short trainings from the same seed on the same examples, which differ by the
//! cure alone.
//!
//! ```text
//! contestants   the unchanged configuration, and one per form of the findings' cures
//! round         all train until they have seen as many examples; the better half goes on to
//!               twice as many, and the unchanged one always does
//! confirmation  the winner and the unchanged one, from other seeds
//! ```
//!
//! Successive halving (Jamieson, Talwalkar, AISTATS 2016). The judge is the validation set after
//! equally many examples, so that the verdict is the same on every machine; seconds only bound the
//! search. The test set takes no part.

use std::time::Instant;

use doctor::{Cure, Finding, Record, Severity};
use kernels::Cpu;
use serde::Serialize;

use crate::Error;
use crate::data::element::Element;
use crate::diagnosis::cure::{self, Form};
use crate::diagnosis::probe;
use crate::evaluation::regression::{RegressionMetrics, RegressionPredictions};
use crate::evaluation::scorer::Scorer;
use crate::run::config::{Config, Dtype};
use crate::run::setup::Setup;
use crate::run::sizes;
use crate::run::state::State;
use crate::training::epochs::End;
use crate::training::initial;
use crate::training::observer::Unobserved;

/// Maximum number of contestants of a search.
const MAX_FORMS: usize = 24;

/// Rounds of a search, each with twice the examples of the one before.
const ROUNDS: u32 = 3;

/// Seeds of the confirmation, besides that of the search.
const SEEDS: u64 = 2;

/// Validation examples that are scored.
const SCORED: usize = 4096;

/// Result of one training.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trial {
    /// The cure; `None` for the unchanged configuration.
    pub cure: Option<Cure>,
    /// The change in words.
    pub change: String,
    /// Seed.
    pub seed: u64,
    /// Training examples that it saw.
    pub examples: u64,
    /// Accuracy on the validation set, or the fraction of the targets' variance that is explained.
    /// NaN if the training diverged.
    #[serde(with = "crate::run::json")]
    pub quality: f64,
}

/// Result of a search.
#[derive(Clone, Debug, PartialEq)]
pub struct Search {
    /// All trials, in order; a contestant has one per round that it reached.
    pub trials: Vec<Trial>,
    /// The form that is better than the unchanged configuration with every seed, of at least one
    /// besides that of the search; `None` if no form is.
    pub winner: Option<Form>,
    /// `true` if there was no time for all forms, rounds or seeds.
    pub out_of_time: bool,
}

/// A training that can go on.
trait Contestant {
    /// Trains until `examples` have been seen in all, and returns the quality.
    fn advance(&mut self, cpu: Cpu<'_>, examples: u64) -> Result<f64, Error>;
}

struct Training<T> {
    setup: Setup,
    state: State<T>,
    has_diverged: bool,
}

impl<T: Element> Contestant for Training<T> {
    fn advance(&mut self, cpu: Cpu<'_>, examples: u64) -> Result<f64, Error> {
        let Self { setup, state, has_diverged } = self;
        if !*has_diverged {
            let steps = examples.div_ceil(setup.config.images_per_step());
            let end = probe::train(setup, cpu, state, steps, &mut Unobserved)?;
            *has_diverged = matches!(end, End::Diverged(_));
        }
        if *has_diverged { Ok(f64::NAN) } else { quality(setup, cpu, state) }
    }
}

/// Accuracy on the first validation examples, or the explained fraction of their variance.
fn quality<T: Element>(setup: &Setup, cpu: Cpu<'_>, state: &mut State<T>) -> Result<f64, Error> {
    let Setup { dataset, split, network, .. } = setup;
    let examples = &split.validation[..split.validation.len().min(SCORED)];
    let (weights, set) = (state.scored(), &dataset.train);
    if dataset.has_values() {
        let predictions = RegressionPredictions::new(network, cpu, weights, set, examples)?;
        return Ok(RegressionMetrics::new(&predictions).r_squared.unwrap_or(f64::NAN));
    }
    Ok(Scorer::new(network, cpu)?.score(network, cpu, weights, set, examples)?.accuracy())
}

/// Contestant on the data of `setup` with another configuration.
fn contestant(setup: &Setup, config: &Config, cpu: Cpu<'_>) -> Result<Box<dyn Contestant>, Error> {
    fn of<T: Element + 'static>(setup: Setup, cpu: Cpu<'_>) -> Result<Box<dyn Contestant>, Error> {
        let state = initial::state::<T>(&setup, cpu)?;
        Ok(Box::new(Training { setup, state, has_diverged: false }))
    }
    let setup = setup.with_config(config.clone())?;
    sizes::check_batches(&setup)?;
    match config.dtype {
        Dtype::F32 | Dtype::Bf16 => of::<f32>(setup, cpu),
        Dtype::F64 => of::<f64>(setup, cpu),
    }
}

/// Contestant with the configuration of `setup`.
fn unchanged(setup: &Setup, cpu: Cpu<'_>) -> Result<Box<dyn Contestant>, Error> {
    contestant(setup, &setup.config, cpu)
}

/// Trains `setup` to its planned end, and returns the quality. NaN if it diverged.
///
/// # Errors
/// [`Error::Network`] if there is not enough memory.
pub fn train_fully(setup: &Setup, cpu: Cpu<'_>) -> Result<f64, Error> {
    unchanged(setup, cpu)?.advance(cpu, planned(setup))
}

/// Forms of the cures of `findings`, each once: the first form of every cure, in the order of the
/// findings, then the second, since there may not be time for all. Findings that are mere facts
/// have no say.
fn forms(config: &Config, record: &Record, findings: &[Finding]) -> Vec<Form> {
    let severe = findings.iter().filter(|finding| finding.severity > Severity::Info);
    let cures = severe.flat_map(|finding| &finding.cures);
    let of_cures: Vec<_> = cures.map(|cure| cure::forms(*cure, config, record)).collect();
    let longest = of_cures.iter().map(Vec::len).max().unwrap_or(0);
    let in_turn = (0..longest).flat_map(|nth| of_cures.iter().filter_map(move |of| of.get(nth)));
    let mut forms: Vec<Form> = Vec::new();
    for form in in_turn {
        if forms.iter().all(|known| known.config != form.config) {
            forms.push(form.clone());
        }
    }
    forms.truncate(MAX_FORMS);
    forms
}

/// Quality of `config` on the data of `setup` after as many examples as in the last round of a
/// search. NaN if it diverged, or does not fit the data.
///
/// # Errors
/// [`Error::Network`] if there is not enough memory.
pub(crate) fn last_round(setup: &Setup, config: &Config, cpu: Cpu<'_>) -> Result<f64, Error> {
    let examples = first_round(setup) << (ROUNDS - 1);
    let Ok(mut contestant) = contestant(setup, config, cpu) else { return Ok(f64::NAN) };
    contestant.advance(cpu, examples)
}

/// Examples of the first round of a search: those of a probe's first part, but no more than let
/// the last round reach the planned end.
fn first_round(setup: &Setup) -> u64 {
    let probed = probe::first_steps(setup) * setup.config.images_per_step();
    probed.min(planned(setup) >> (ROUNDS - 1)).max(1)
}

/// Examples of the planned training.
fn planned(setup: &Setup) -> u64 {
    setup.steps_per_epoch() * u64::from(setup.config.epochs) * setup.config.images_per_step()
}

/// `a` is better than `b`: NaN is the worst.
pub(crate) fn is_better(a: f64, b: f64) -> bool {
    a > b || (b.is_nan() && !a.is_nan())
}

/// Searches for a cure of `findings` until `deadline`. Where time is short, fewer forms and rounds
/// are tried, so that the winner can be confirmed; what is not confirmed has not won.
///
/// # Errors
/// [`Error::Network`] if there is not enough memory.
pub fn search(
    setup: &Setup,
    cpu: Cpu<'_>,
    record: &Record,
    findings: &[Finding],
    deadline: Instant,
) -> Result<Search, Error> {
    let config = &setup.config;
    let mut search = Search { trials: Vec::new(), winner: None, out_of_time: false };
    let mut field: Vec<(Option<Form>, Box<dyn Contestant>, f64)> =
        vec![(None, unchanged(setup, cpu)?, 0.0)];
    for form in forms(config, record, findings) {
        // A form whose layers do not fit is no candidate.
        if let Ok(contestant) = contestant(setup, &form.config, cpu) {
            field.push((Some(form), contestant, f64::NAN));
        }
    }
    if field.len() == 1 {
        return Ok(search);
    }
    let mut pace = Pace::new(deadline);
    let mut examples = first_round(setup);
    let mut added = examples;
    for round in 0..ROUNDS {
        let mut tried = 0;
        for (form, contestant, quality) in &mut field {
            if tried > 1 && !pace.has_time_for(added + confirmation(examples)) {
                search.out_of_time = true;
                break;
            }
            *quality = contestant.advance(cpu, examples)?;
            pace.trained += added;
            tried += 1;
            search.trials.push(trial(form.as_ref(), config.seed, examples, *quality));
        }
        field.truncate(tried);
        // A stable sort: of equal ones the cure named first stays first.
        field[1..].sort_by(|a, b| b.2.is_finite().cmp(&a.2.is_finite()).then(b.2.total_cmp(&a.2)));
        let next = 1 + (field.len() - 1).div_ceil(2);
        let round_of_next = next as u64 * examples + confirmation(2 * examples);
        if search.out_of_time || round + 1 == ROUNDS || !pace.has_time_for(round_of_next) {
            search.out_of_time |= round + 1 < ROUNDS;
            break;
        }
        field.truncate(next);
        (added, examples) = (examples, 2 * examples);
    }
    let unchanged = field[0].2;
    let [_, best, ..] = &field[..] else { return Ok(search) };
    let (Some(form), quality) = (&best.0, best.2) else { return Ok(search) };
    if !is_better(quality, unchanged + margin(setup, unchanged)) {
        return Ok(search);
    }
    for seed in (1..=SEEDS).map(|seed| config.seed.wrapping_add(seed)) {
        if Instant::now() >= deadline {
            search.out_of_time = true;
            break;
        }
        let mut qualities = [f64::NAN; 2];
        for (quality, form) in qualities.iter_mut().zip([None, Some(form)]) {
            let config = form.map_or(config, |form| &form.config);
            let config = Config { seed, ..config.clone() };
            *quality = contestant(setup, &config, cpu)?.advance(cpu, examples)?;
            search.trials.push(trial(form, seed, examples, *quality));
        }
        let [unchanged, changed] = qualities;
        if !is_better(changed, unchanged) {
            search.winner = None;
            return Ok(search);
        }
        search.winner = Some(form.clone());
    }
    Ok(search)
}

/// Examples of the confirmation of a cure that was tried with `examples`.
fn confirmation(examples: u64) -> u64 {
    2 * SEEDS * examples
}

/// Time that trials take.
struct Pace {
    started: Instant,
    deadline: Instant,
    /// Examples trained since the start.
    trained: u64,
}

impl Pace {
    fn new(deadline: Instant) -> Self {
        Self { started: Instant::now(), deadline, trained: 0 }
    }

    /// `true` if `examples` more will be trained before the deadline.
    fn has_time_for(&self, examples: u64) -> bool {
        let ratio = examples as f64 / self.trained.max(1) as f64;
        let left = self.deadline.saturating_duration_since(Instant::now());
        self.started.elapsed().mul_f64(ratio) <= left
    }
}

fn trial(form: Option<&Form>, seed: u64, examples: u64, quality: f64) -> Trial {
    let change = form.map_or("unchanged", |form| &form.change).into();
    Trial { cure: form.map(|form| form.cure), change, seed, examples, quality }
}

/// Difference of qualities that chance explains: two standard deviations of an accuracy.
fn margin(setup: &Setup, quality: f64) -> f64 {
    let examples = setup.split.validation.len().min(SCORED) as u64;
    if setup.dataset.has_values() {
        return 0.01;
    }
    match quality {
        accuracy if accuracy.is_nan() => 0.0,
        accuracy => doctor::statistics::fraction_margin(accuracy, examples, 2.0),
    }
}
