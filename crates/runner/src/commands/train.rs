//! `evenkeel train`: creates or resumes a run folder, trains in it, and prints the result.
//!
//! ```text
//! setup -> run folder with config.toml -> state: initial, or from the checkpoint
//! epochs::run    after each epoch: journal, a line on stderr
//!                at its cadence, and at the end: checkpoint.safetensors
//! model.safetensors -> test set, once -> report.html, summary.json -> a line on stdout
//! ```
//!
//! `summary.json` is written last: a run whose summary says `done` is complete.

use std::path::PathBuf;
use std::sync::mpsc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use doctor::Finding;
use kernels::{Cpu, Executor, Isa};
use nn::{Score, Shape};

use crate::commands::output::print;
use crate::commands::{diagnose, dry_run};
use crate::data::centre::are_centred;
use crate::data::element::Element;
use crate::data::{Origin, Targets, noun};
use crate::diagnosis::watch::Watch;
use crate::evaluation::interval::Interval;
use crate::evaluation::predictions::{Predictions, require_predictions};
use crate::evaluation::regression::RegressionPredictions;
use crate::evaluation::{interval, regression};
use crate::machine::memory::peak_rss_bytes;
use crate::machine::signal::{Signal, Signals};
use crate::machine::terminal;
use crate::machine::thread_pool::ThreadPool;
use crate::run::checkpoint::{Checkpoint, Identity};
use crate::run::config::{Config, Dtype};
use crate::run::divergence::Divergence;
use crate::run::folder::RunFolder;
use crate::run::health::Health;
use crate::run::journal::Journal;
use crate::run::setup::Setup;
use crate::run::state::{Position, State};
use crate::run::summary::{Status, Summary, Task};
use crate::run::weights::ModelWeights;
use crate::run::{checkpoint, constant_inputs, epoch, folder, health, setup, sizes, weights};
use crate::training::activity::ActivityProbe;
use crate::training::cadence::Cadence;
use crate::training::epochs::{Callback, End};
use crate::training::extension::Changes;
use crate::training::non_finite::Action;
use crate::training::observer::Unobserved;
use crate::training::progress::TrainingProgress;
use crate::training::{epochs, extension, initial, transfer};
use crate::{Error, report};

/// Options of `train`.
#[derive(Clone, Debug)]
pub struct Request {
    /// The run to start or resume.
    pub run: Run,
    /// Limits at which the run stops early, to be resumed.
    pub limits: Limits,
    /// Minimum test accuracy, 0 to 1.
    pub min_accuracy: Option<f64>,
    /// Watch the training by the doctor's rules.
    pub watch: bool,
    /// Names of rules, or severities, whose findings end a watched run.
    pub fail_on: Vec<String>,
    /// Print the summary as JSON on stdout, instead of one line.
    pub json: bool,
    /// Print nothing on stderr but errors and the source of the data.
    pub quiet: bool,
}

impl Request {
    /// Checks that the data set `name` has an accuracy to compare with `--min-accuracy`.
    ///
    /// # Errors
    /// [`Error::Usage`] if its targets are values: a regression has no accuracy.
    pub(crate) fn check_gate(&self, name: &str, has_values: bool) -> Result<(), Error> {
        match self.min_accuracy {
            Some(minimum) if has_values => Err(Error::Usage(format!(
                "min-accuracy: expected data with classes, got {minimum} for {name}, whose targets \
                 are values; leave out --min-accuracy"
            ))),
            _ => Ok(()),
        }
    }
}

/// Limits at which a run stops early.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// Number of steps of the run.
    pub steps: Option<u64>,
    /// Seconds since the process began.
    pub seconds: Option<f64>,
}

/// Run to start or resume.
#[derive(Clone, Debug)]
pub enum Run {
    /// Start a run.
    New {
        /// Configuration of the run.
        config: Box<Config>,
        /// The run folder; `None` for the next free one.
        out: Option<PathBuf>,
        /// Replace a run in `out`.
        force: bool,
    },
    /// Resume a run.
    Resume {
        /// The run folder.
        folder: PathBuf,
        /// Changes to its configuration.
        changes: Changes,
    },
}

/// Summary of a run, and the error with which it ended.
pub(crate) type Outcome = (Summary, Result<(), Error>);

/// Trains, prints the result and checks it against `--min-accuracy`. `started` is when the process
/// began.
///
/// # Errors
/// Every reason for an exit code other than 0: see [`Error`].
pub fn train(request: &Request, started: Instant, signals: &Signals) -> Result<(), Error> {
    let (summary, outcome) = run(request, started, signals)?;
    if !request.json && outcome.is_err() && summary.status != Status::Done {
        return outcome;
    }
    let gate = print_result(request, &summary);
    outcome.and(gate)
}

/// Trains, and prints nothing on stdout.
pub(crate) fn run(
    request: &Request,
    started: Instant,
    signals: &Signals,
) -> Result<Outcome, Error> {
    let (setup, folder, _lock, identity, checkpoint, resumed) = match &request.run {
        Run::New { config, out, force } => {
            setup::isa(config)?;
            let setup = Setup::new((**config).clone())?;
            request.check_gate(&setup.dataset.name, setup.dataset.has_values())?;
            let notices = [preflight(&setup)?, constant_inputs::notice(&setup)];
            if !request.quiet {
                notices.iter().flatten().for_each(|text| terminal::say(text));
            }
            let folder = match out {
                Some(out) => RunFolder::create(out, *force)?,
                None => RunFolder::next(setup.config.preset.name())?,
            };
            folder.start(&setup.config.to_toml()?)?;
            let lock = folder.lock()?;
            let identity = Identity::new(&setup)?;
            (setup, folder, lock, identity, None, false)
        }
        Run::Resume { folder, changes } => {
            let folder = RunFolder::open(folder)?;
            let stored = Config::read(&folder.file(folder::CONFIG))?;
            if let Some(finished) = finished(request, &folder, changes.extends(&stored))? {
                return Ok(finished);
            }
            let mut lock = folder.lock()?;
            // Another process may have extended or ended the run before this one took the lock.
            let stored = Config::read(&folder.file(folder::CONFIG))?;
            let epochs = changes.extends(&stored);
            if let Some(finished) = finished(request, &folder, epochs)? {
                return Ok(finished);
            }
            folder.remove_temporary_files()?;
            let config = changes.apply(stored.clone());
            setup::isa(&config)?;
            let path = config.data.clone().filter(|path| !path.exists());
            let mut setup = Setup::new(config).inspect_err(|_| {
                if let Some(path) = path {
                    let (path, run) = (path.display(), folder.path().display());
                    terminal::say(&format!(
                        "the run's data are no longer in {path}; if they have moved, resume with: \
                         evenkeel train --resume {run} --data PATH"
                    ));
                }
            })?;
            request.check_gate(&setup.dataset.name, setup.dataset.has_values())?;
            sizes::check(&setup)?;
            let mut identity = Identity::new(&setup)?;
            let path = folder.file(folder::CHECKPOINT);
            let checkpoint =
                path.is_file().then(|| Checkpoint::read(&path, &identity)).transpose()?;
            if let Some(epochs) = epochs {
                let (position, quiet) =
                    (checkpoint.as_ref().map(Checkpoint::position), request.quiet);
                lock = extension::extend(&folder, &mut setup, position, stored, epochs, quiet)?;
                identity = identity.with_config(&setup.config)?;
            }
            (setup, folder, lock, identity, checkpoint, true)
        }
    };
    let (isa, pool) = (setup::isa(&setup.config)?, setup::pool(&setup.config)?);
    let limits = request.limits;
    let session = Session {
        setup: &setup,
        folder: &folder,
        identity: &identity,
        isa,
        pool: &pool,
        started,
        signals,
        limits,
    };
    pool.enter(|| match setup.config.dtype {
        Dtype::F32 | Dtype::Bf16 => session.run::<f32>(request, resumed, checkpoint),
        Dtype::F64 => session.run::<f64>(request, resumed, checkpoint),
    })
}

/// Checks sizes, memory and initial weights of the run `setup` before its folder is created.
/// Returns the notice about weights loaded by `--init-from`.
///
/// # Errors
/// As for [`sizes::check`], [`dry_run::check_memory`] and [`transfer::load`].
pub(crate) fn preflight(setup: &Setup) -> Result<Option<String>, Error> {
    sizes::check(setup)?;
    dry_run::check_memory(setup)?;
    let loaded = match setup.config.init_from {
        Some(_) => transfer::load(setup, &mut ModelWeights::<f32>::zeros(&setup.network)?)?,
        None => None,
    };
    Ok(loaded.map(|outcome| outcome.to_string()))
}

/// Returns summary and outcome of the run in `folder` if it is done and not extended to more
/// `epochs`. Prints that it is finished.
fn finished(
    request: &Request,
    folder: &RunFolder,
    epochs: Option<u32>,
) -> Result<Option<Outcome>, Error> {
    if epochs.is_some() || !folder.file(folder::SUMMARY).is_file() {
        return Ok(None);
    }
    let summary = folder::summary(folder)?;
    if summary.status != Status::Done {
        return Ok(None);
    }
    request.check_gate(&summary.dataset, summary.test_accuracy.is_none())?;
    let name = folder.path().display();
    if !request.quiet {
        terminal::say(&format!("{name} is finished: nothing to do, nothing was changed"));
    }
    let outcome = match summary.test_unpredicted {
        0 => Ok(()),
        count => Err(Error::Unpredicted {
            count,
            total: summary.test_examples,
            unit_name: setup::input(&summary).map_or("rows", noun),
            rows: format!("evenkeel eval {name} names them"),
        }),
    };
    Ok(Some((summary, outcome)))
}

/// Prints the result of a run, and checks it against `--min-accuracy`.
fn print_result(request: &Request, summary: &Summary) -> Result<(), Error> {
    let line = if request.json {
        summary.to_json()
    } else if summary.status != Status::Done {
        format!("stopped after {} epochs, run {}", summary.epochs, summary.run)
    } else {
        let result = match summary.test_accuracy {
            Some(accuracy) => {
                let correct = (accuracy * summary.test_examples as f64).round() as usize;
                format!("test accuracy {}", interval::percent(correct, summary.test_examples))
            }
            None => {
                let loss = summary.test_loss.unwrap_or(f64::NAN);
                format!("test loss {loss:.4}{}", regression::loss_unit_note(summary.target_std))
            }
        };
        let sha256 = summary.params_sha256.as_deref().unwrap_or("unknown");
        format!("{result}, weights sha256 {sha256}, run {}", summary.run)
    };
    print(&line)?;
    match (request.min_accuracy, summary.test_accuracy) {
        (Some(minimum), Some(accuracy)) if accuracy < minimum => {
            Err(Error::Gate { accuracy, minimum })
        }
        _ => Ok(()),
    }
}

/// Part of a run that one process trains.
struct Session<'a> {
    setup: &'a Setup,
    folder: &'a RunFolder,
    identity: &'a Identity,
    isa: Isa,
    pool: &'a ThreadPool,
    started: Instant,
    signals: &'a Signals,
    limits: Limits,
}

impl Session<'_> {
    /// Trains, and writes the files of the run folder.
    fn run<T: Element>(
        &self,
        request: &Request,
        resumed: bool,
        checkpoint: Option<Checkpoint>,
    ) -> Result<Outcome, Error> {
        let Self { setup, folder, .. } = self;
        let cpu = Cpu::new(self.isa, self.pool);
        let has_checkpoint = checkpoint.is_some();
        let mut state = match checkpoint {
            Some(checkpoint) => checkpoint.state::<T>(setup, cpu)?,
            None => initial::state(setup, cpu)?,
        };

        let progress = TrainingProgress::new(request.quiet, setup, &state.position);
        progress.line(&self.describe());
        if setup.config.dtype == Dtype::Bf16 && !self.isa.multiplies_bf16() {
            progress.line(&format!(
                "bf16 is emulated: {} has no instruction for it, and products take longer than in \
                 f32 (compare them with: evenkeel bench)",
                self.isa
            ));
        }
        if let Some([mean, std]) = regression::target_unit(&setup.network, &state.weights.buffers) {
            let [mean, std] = [mean, std].map(|value| regression::decimal(value, 4));
            progress.line(&format!(
                "values are standardised: losses are of (value - {mean}) / {std}; predictions and \
                 errors are in the values' own unit"
            ));
        }
        if resumed && !has_checkpoint {
            progress.line("the run has no checkpoint yet: it restarts at its first step");
        } else if resumed {
            let Position { history, step, .. } = &state.position;
            progress.line(&format!("resuming after {} epochs and {step} steps", history.len()));
        }
        let mut record =
            if has_checkpoint { health::read(&folder.file(folder::HEALTH))? } else { Vec::new() };
        record.retain(|health| health.epoch as usize <= state.position.history.len());
        let journal = Journal::new(folder, !setup.dataset.has_values())?;
        journal.rewrite(&state.position.history, &record)?;
        self.signals.defer();
        let probe = ActivityProbe::new(setup);
        let (to, findings) = mpsc::channel();
        let mut watch = request.watch.then(|| Watch::<T>::new(setup, cpu, to)).transpose()?;
        let mut recorder = Recorder {
            session: self,
            cpu,
            progress: &progress,
            probe: &probe,
            journal: &journal,
            record,
            caught: None,
            findings,
            fail_on: &request.fail_on,
            failed_on: Vec::new(),
            cadence: Cadence::new(&setup.config, Instant::now()),
            is_saved: false,
            spent: Spent::default(),
        };
        let end = match &mut watch {
            Some(watch) => epochs::run(setup, cpu, &mut state, &mut recorder, watch)?,
            None => epochs::run(setup, cpu, &mut state, &mut recorder, &mut Unobserved)?,
        };
        // Findings of a last step that was not taken.
        recorder.receive()?;
        progress.end();
        if end != End::Done {
            self.record_partial_epoch(&journal, &state, &mut recorder.record)?;
        }
        if !recorder.is_saved {
            recorder.write_checkpoint(&state)?;
        }
        let Recorder { caught, record, spent, failed_on, .. } = recorder;

        let has_values = setup.dataset.has_values();
        let test = match end {
            End::Done if !has_values => Some(self.test_predictions(cpu, &mut state.best)?),
            _ => None,
        };
        let values = match end {
            End::Done if has_values => Some(self.test_values(cpu, &mut state.best)?),
            _ => None,
        };
        let unpredicted = test.as_ref().map(|test| test.unpredicted());
        let unpredicted =
            unpredicted.or_else(|| Some(values.as_ref()?.unpredicted())).unwrap_or_default();
        let score = test.as_ref().map(|test| test.score).or_else(|| Some(values.as_ref()?.score));
        let mut summary = self.summarise(&state, &end, score, spent)?;
        summary.test_unpredicted = unpredicted.len();
        let history = &state.position.history[..];
        let input = report::ReportInput { setup, summary: &summary, history, health: &record };
        let report = report::html(input, cpu, test.as_ref().map(|test| (&mut state.best, test)))?;
        folder.write(folder::REPORT, report.as_bytes())?;
        folder.write(folder::SUMMARY, summary.to_json().as_bytes())?;
        let folder = folder.path().to_path_buf();
        let outcome = match (end, caught) {
            (End::Diverged(divergence), _) => Err(Error::Diverged { divergence, folder }),
            (End::Stopped, Some(signal)) => Err(Error::Interrupted { signal, folder }),
            (End::Stopped, None) if !failed_on.is_empty() => {
                Err(Error::Findings { names: failed_on.join(", ") })
            }
            (End::Stopped, None) => {
                let folder = folder.display();
                terminal::say(&format!(
                    "stopped at its limit; resume with: evenkeel train --resume {folder}"
                ));
                Ok(())
            }
            (End::Done, _) => {
                let names: Vec<_> = unpredicted.iter().map(|row| format!("test {row}")).collect();
                require_predictions(&names, setup.dataset.test.len(), setup.dataset.test.noun())
            }
        };
        Ok((summary, outcome))
    }

    /// Line that describes the run on stderr before it starts.
    fn describe(&self) -> String {
        let Setup { config, dataset, split, network } = self.setup;
        // A notice has given the reason for generated data already.
        let origin = match &dataset.origin {
            Origin::Generated { .. } => "generated".to_owned(),
            origin => origin.to_string(),
        };
        format!(
            "{} ({}): {} {} to train on, {} to validate, {} to test{}\n\
             {} {}, {} parameters, {}, on {} threads with {}",
            dataset.name,
            origin,
            split.train.len(),
            dataset.train.noun(),
            split.validation.len(),
            dataset.test.len(),
            if dataset.test_is_held_out { " (held out by the seed)" } else { "" },
            config.preset.name(),
            self.setup.widths(),
            network.layout().len(),
            config.dtype.name(),
            self.pool.threads(),
            self.isa,
        )
    }

    /// Writes the journal of a run that stopped within an epoch, with that epoch's health so far.
    fn record_partial_epoch<T: Element>(
        &self,
        journal: &Journal<'_>,
        state: &State<T>,
        record: &mut Vec<Health>,
    ) -> Result<(), Error> {
        let health = current_health(&state.position);
        // The record of a finished epoch stays: it holds the activity at the epoch's end as well.
        let is_finished = record
            .iter()
            .any(|recorded| recorded.epoch == health.epoch && !recorded.activity.is_empty());
        if health.epoch > 0 && !is_finished {
            record.retain(|recorded| recorded.epoch < health.epoch);
            record.push(health);
        }
        journal.rewrite(&state.position.history, record)
    }

    /// Predicts the test set's classes with the weights of the best epoch.
    fn test_predictions<T: Element>(
        &self,
        cpu: Cpu<'_>,
        best: &mut ModelWeights<T>,
    ) -> Result<Predictions, Error> {
        let Setup { dataset, network, .. } = self.setup;
        let indices: Vec<u32> = (0..dataset.test.dims()[0]).collect();
        Predictions::new(network, cpu, best, &dataset.test, &indices)
    }

    /// Predicts the test set's values with the weights of the best epoch.
    fn test_values<T: Element>(
        &self,
        cpu: Cpu<'_>,
        best: &mut ModelWeights<T>,
    ) -> Result<RegressionPredictions, Error> {
        let Setup { dataset, network, .. } = self.setup;
        let indices: Vec<u32> = (0..dataset.test.dims()[0]).collect();
        RegressionPredictions::new(network, cpu, best, &dataset.test, &indices)
    }

    /// Writes the model of the best epoch, and returns the summary of the run.
    fn summarise<T: Element>(
        &self,
        state: &State<T>,
        end: &End,
        test: Option<Score>,
        spent: Spent,
    ) -> Result<Summary, Error> {
        let Setup { config, dataset, network, .. } = self.setup;
        let history = &state.position.history;
        let best = epoch::best(history);
        let mut params_sha256 = None;
        if best.is_some() {
            let (bytes, sha256) = weights::encode(network, &state.best)?;
            self.folder.write(folder::MODEL, &bytes)?;
            params_sha256 = Some(sha256);
        }
        let classified = test.filter(|_| !dataset.has_values());
        let interval = classified.map(|test| Interval::wilson(test.correct, test.rows));
        Ok(Summary {
            format: folder::FORMAT,
            status: match end {
                End::Done => Status::Done,
                End::Stopped => Status::Interrupted,
                End::Diverged(_) => Status::Diverged,
            },
            task: match dataset.train.targets() {
                Targets::Classes(_) => Task::Classification,
                Targets::Values(_) => Task::Regression,
                Targets::Inputs(_) => Task::Reconstruction,
            },
            test_accuracy: classified.map(|test| test.accuracy()),
            test_accuracy_low: interval.map(|interval| interval.low),
            test_accuracy_high: interval.map(|interval| interval.high),
            test_loss: test.map(|test| test.mean_loss()),
            test_examples: dataset.test.len(),
            test_unpredicted: 0,
            epochs: history.len(),
            best_epoch: best.map(|epoch| epoch.epoch),
            val_accuracy: best
                .map(|epoch| epoch.val_accuracy)
                .filter(|accuracy| !accuracy.is_nan()),
            val_loss: best.map(|epoch| epoch.val_loss),
            seconds_total: self.started.elapsed().as_secs_f64(),
            seconds_to_first_step: spent.to_first_step.map(|spent| spent.as_secs_f64()),
            seconds_checkpoints: spent.checkpoints.as_secs_f64(),
            seconds_logging: spent.journal.as_secs_f64(),
            train_seconds_best_epoch: history
                .iter()
                .map(|epoch| epoch.train_seconds)
                .reduce(f64::min),
            params: network.layout().len(),
            peak_rss_bytes: peak_rss_bytes(),
            dataset: dataset.name.clone(),
            data_origin: dataset.origin.to_string(),
            data_synthetic: matches!(dataset.origin, Origin::Generated { .. }),
            data_sha256: self.identity.data_sha256.clone(),
            digits_centred: (!dataset.train.pixels().is_empty())
                .then(|| are_centred(&dataset.train)),
            target_std: regression::target_unit(network, &state.weights.buffers)
                .map(|[_, std]| std),
            input_shape: match dataset.test.shape() {
                Shape::Image { height, width, .. } => vec![height, width],
                shape => vec![shape.elements()],
            },
            columns: dataset.names.columns.clone(),
            classes: dataset.names.classes.clone(),
            preset: config.preset.name().into(),
            dtype: config.dtype.name().into(),
            seed: config.seed,
            platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            isa: self.isa.name().into(),
            threads: self.pool.threads(),
            params_sha256,
            run: self.folder.path().display().to_string(),
            version: env!("CARGO_PKG_VERSION").into(),
            command: report::command_line(),
        })
    }
}

/// Health of the current epoch; before its first step, of the one before.
fn current_health(Position { health, recovery, .. }: &Position) -> Health {
    let in_epoch = recovery.non_finite.iter().filter(|step| step.epoch == health.epoch);
    Health { non_finite: in_epoch.cloned().collect(), ..health.clone() }
}

/// Time that a process spent on anything but steps and scores.
#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    to_first_step: Option<Duration>,
    checkpoints: Duration,
    journal: Duration,
}

/// Records each epoch, writes checkpoints at their cadence, and stops the run at a signal or limit.
struct Recorder<'a> {
    session: &'a Session<'a>,
    cpu: Cpu<'a>,
    progress: &'a TrainingProgress,
    probe: &'a ActivityProbe,
    journal: &'a Journal<'a>,
    record: Vec<Health>,
    caught: Option<Signal>,
    /// Findings of the watch, as they come.
    findings: Receiver<Finding>,
    fail_on: &'a [String],
    /// Names of the findings that end the run.
    failed_on: Vec<String>,
    cadence: Cadence,
    /// `true` if the checkpoint holds the current state.
    is_saved: bool,
    spent: Spent,
}

impl Recorder<'_> {
    /// Prints and writes the findings of the watch that have come since the last call.
    fn receive(&mut self) -> Result<(), Error> {
        for finding in self.findings.try_iter() {
            let Finding { id, severity, message, .. } = &finding;
            self.progress.line(&format!("{severity}: {id}: {message}"));
            let line = serde_json::to_string(&finding)
                .map_err(|error| Error::Usage(format!("finding: {error}")))?;
            self.session.folder.append(folder::FINDINGS, (line + "\n").as_bytes())?;
            if diagnose::is_named(self.fail_on, &finding) {
                self.failed_on.push(id.clone());
            }
        }
        Ok(())
    }

    fn write_checkpoint<T: Element>(&mut self, state: &State<T>) -> Result<(), Error> {
        let start = Instant::now();
        self.journal.sync()?;
        let bytes = checkpoint::encode(self.session.identity, state)?;
        self.session.folder.write(folder::CHECKPOINT, &bytes)?;
        self.is_saved = true;
        self.spent.checkpoints += start.elapsed();
        self.cadence.record(Instant::now(), start.elapsed());
        Ok(())
    }
}

impl<T: Element> Callback<T> for Recorder<'_> {
    fn on_step_end(&mut self, state: &State<T>) -> Result<bool, Error> {
        let position = &state.position;
        self.is_saved = false;
        self.progress.step(position);
        self.caught = self.session.signals.caught();
        self.receive()?;
        let Session { setup, started, limits, .. } = self.session;
        let steps_per_epoch = setup.steps_per_epoch();
        let global_step = position.global_step(steps_per_epoch);
        self.spent.to_first_step.get_or_insert_with(|| started.elapsed());
        let is_last = global_step == steps_per_epoch * u64::from(setup.config.epochs);
        let at_limit = limits.steps.is_some_and(|limit| global_step >= limit)
            || limits.seconds.is_some_and(|limit| started.elapsed().as_secs_f64() >= limit);
        let continues =
            self.caught.is_none() && self.failed_on.is_empty() && (is_last || !at_limit);
        if continues && self.cadence.is_due_after_step(global_step) {
            self.write_checkpoint(state)?;
        }
        Ok(continues)
    }

    fn on_non_finite(&mut self, divergence: &Divergence, action: Action) {
        self.progress.line(&format!("{divergence}: {action}"));
    }

    fn on_epoch_end(&mut self, state: &State<T>) -> Result<(), Error> {
        if let Some(epoch) = state.position.history.last() {
            self.progress.epoch(epoch);
        }
        let start = Instant::now();
        self.is_saved = false;
        let activity = self.probe.sample(self.session.setup, self.cpu, &state.weights)?;
        self.record.push(Health { activity, ..current_health(&state.position) });
        self.journal.append(&state.position.history, &self.record)?;
        self.spent.journal += start.elapsed();
        if self.cadence.is_due_after_epoch(state.position.history.len(), Instant::now()) {
            self.write_checkpoint(state)?;
        }
        Ok(())
    }
}
