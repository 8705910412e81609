//! `evenkeel train`: makes or continues a run folder, trains in it, and says what came out.
//!
//! ```text
//! setup -> run folder with config.toml -> state: fresh, or the checkpoint's
//! epochs::run        after each epoch: the journal, a line on stderr; checkpoint.safetensors at its cadence, and at the end
//! model.safetensors -> the test set, once -> report.html, summary.json -> a line on stdout
//! ```
//!
//! `summary.json` comes last: a run whose summary says `done` is complete.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use kernels::{Cpu, Executor, Isa};
use nn::{Score, Shape};

use crate::commands::dry_run;
use crate::commands::output::print;
use crate::data::Origin;
use crate::data::centre::are_centred;
use crate::data::element::Element;
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
use crate::training::progress::TrainingProgress;
use crate::training::{epochs, extension, initial, transfer};
use crate::{Error, report};

/// What `train` is asked to do.
#[derive(Clone, Debug)]
pub struct Request {
    /// Which run.
    pub run: Run,
    /// When it stops before its end, to be resumed.
    pub limits: Limits,
    /// The least test accuracy that is good enough, 0 to 1.
    pub min_accuracy: Option<f64>,
    /// Print the summary on stdout, not the line.
    pub json: bool,
    /// Say nothing on stderr but errors and where the data come from.
    pub quiet: bool,
}

impl Request {
    /// Whether the data called `name` have what `--min-accuracy` asks for.
    ///
    /// # Errors
    /// [`Error::Usage`] if their examples have values, of which there is no accuracy.
    pub(crate) fn check_gate(&self, name: &str, has_values: bool) -> Result<(), Error> {
        match self.min_accuracy {
            Some(least) if has_values => Err(Error::Usage(format!(
                "min-accuracy: expected data with classes, got {least} for {name}, whose examples have values (flag --min-accuracy)"
            ))),
            _ => Ok(()),
        }
    }
}

/// When a run stops before its end.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// After so many steps of the run.
    pub steps: Option<u64>,
    /// After the step at which the process has taken so many seconds.
    pub seconds: Option<f64>,
}

/// A run to begin or to go on with.
#[derive(Clone, Debug)]
pub enum Run {
    /// A new one.
    New {
        /// What it is.
        config: Box<Config>,
        /// Its folder; `None` for the next free one.
        out: Option<PathBuf>,
        /// Whether a run in `out` is replaced.
        force: bool,
    },
    /// The one in this folder.
    Resume {
        /// The folder.
        folder: PathBuf,
        /// Changes to its configuration.
        changes: Changes,
    },
}

/// Does it. `started` is when the process began.
///
/// # Errors
/// Whatever keeps the run from ending well: see [`Error`].
pub fn train(request: &Request, started: Instant, signals: &Signals) -> Result<(), Error> {
    let (summary, end) = run(request, started, signals)?;
    if !request.json && end.is_err() && summary.status != Status::Done {
        return end;
    }
    let gate = conclude(request, &summary);
    end.and(gate)
}

/// Does it, and prints nothing on stdout: what the run came to, and whether it ended well.
pub(crate) fn run(
    request: &Request,
    started: Instant,
    signals: &Signals,
) -> Result<(Summary, Result<(), Error>), Error> {
    let (setup, folder, _lock, identity, checkpoint, resumed) = match &request.run {
        Run::New { config, out, force } => {
            setup::isa(config)?;
            let setup = Setup::new((**config).clone())?;
            request.check_gate(&setup.dataset.name, setup.dataset.has_values())?;
            let said = [preflight(&setup)?, constant_inputs::notice(&setup)];
            if !request.quiet {
                said.iter().flatten().for_each(|text| terminal::say(text));
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
            if let Some(summary) = nothing_left(request, &folder, changes.extends(&stored))? {
                return Ok((summary, Ok(())));
            }
            let mut lock = folder.lock()?;
            // Another process may have extended or ended it before this one had the lock.
            let stored = Config::read(&folder.file(folder::CONFIG))?;
            let epochs = changes.extends(&stored);
            if let Some(summary) = nothing_left(request, &folder, epochs)? {
                return Ok((summary, Ok(())));
            }
            folder.remove_temporary_files()?;
            let config = changes.apply(stored.clone());
            setup::isa(&config)?;
            let path = config.data.clone().filter(|path| !path.exists());
            let mut setup = Setup::new(config).inspect_err(|_| {
                if let Some(path) = path {
                    let (path, run) = (path.display(), folder.path().display());
                    terminal::say(&format!(
                        "the data of the run are no longer in {path}: where they have moved, go on \
                         with evenkeel train --resume {run} --data PATH"
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
        Dtype::F32 | Dtype::Bf16 => session.run::<f32>(request.quiet, resumed, checkpoint),
        Dtype::F64 => session.run::<f64>(request.quiet, resumed, checkpoint),
    })
}

/// Checks that the run `setup` can be stepped, held and loaded, before there is a folder. Returns
/// the notice about weights that it begins with, if it is told where to find some.
///
/// # Errors
/// As for [`sizes::check`], [`dry_run::room`] and [`transfer::load`].
pub(crate) fn preflight(setup: &Setup) -> Result<Option<String>, Error> {
    sizes::check(setup)?;
    dry_run::room(setup)?;
    let loaded = match setup.config.init_from {
        Some(_) => transfer::load(setup, &mut ModelWeights::<f32>::zeros(&setup.network)?)?,
        None => None,
    };
    Ok(loaded.map(|outcome| outcome.to_string()))
}

/// Returns the summary of the run in `folder`, and says that it is finished, if it is done and not
/// extended to more `epochs`.
fn nothing_left(
    request: &Request,
    folder: &RunFolder,
    epochs: Option<u32>,
) -> Result<Option<Summary>, Error> {
    let (Some(summary), None) = (finished(folder)?, epochs) else { return Ok(None) };
    request.check_gate(&summary.dataset, summary.test_accuracy.is_none())?;
    if !request.quiet {
        let name = folder.path().display();
        terminal::say(&format!("{name} is finished: nothing is left to do, nothing was changed"));
    }
    Ok(Some(summary))
}

/// The summary of a run that is done.
fn finished(folder: &RunFolder) -> Result<Option<Summary>, Error> {
    if !folder.file(folder::SUMMARY).is_file() {
        return Ok(None);
    }
    let summary = folder::summary(folder)?;
    Ok((summary.status == Status::Done).then_some(summary))
}

/// Prints what came out, and checks it against `--min-accuracy`.
fn conclude(request: &Request, summary: &Summary) -> Result<(), Error> {
    let line = if request.json {
        json(summary)?
    } else if summary.test_loss.is_none() {
        format!("stopped after {} epochs, run {}", summary.epochs, summary.run)
    } else if let (None, Some(loss)) = (summary.test_accuracy, summary.test_loss) {
        let sha256 = summary.params_sha256.as_deref().unwrap_or("unknown");
        let unit = summary
            .target_std
            .map(|std| format!(" (values in units of {})", regression::decimal(std, 4)));
        let unit = unit.unwrap_or_default();
        format!("test loss {loss:.4}{unit}, weights sha256 {sha256}, run {}", summary.run)
    } else {
        let correct = (summary.test_accuracy.unwrap_or_default() * summary.test_examples as f64)
            .round() as usize;
        format!(
            "test accuracy {}, weights sha256 {}, run {}",
            interval::percent(correct, summary.test_examples),
            summary.params_sha256.as_deref().unwrap_or("unknown"),
            summary.run
        )
    };
    print(&line)?;
    match (request.min_accuracy, summary.test_accuracy) {
        (Some(least), Some(accuracy)) if accuracy < least => Err(Error::Gate { accuracy, least }),
        _ => Ok(()),
    }
}

/// `summary` as JSON.
fn json(summary: &Summary) -> Result<String, Error> {
    summary.to_json().map_err(|error| Error::Usage(format!("summary: {error}")))
}

/// One process's part in a run.
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
    /// Trains, and writes down what came out. The second result says whether the run is done.
    fn run<T: Element>(
        &self,
        quiet: bool,
        resumed: bool,
        checkpoint: Option<Checkpoint>,
    ) -> Result<(Summary, Result<(), Error>), Error> {
        let Self { setup, folder, .. } = self;
        let cpu = Cpu::new(self.isa, self.pool);
        let has_checkpoint = checkpoint.is_some();
        let mut state = match checkpoint {
            Some(checkpoint) => checkpoint.state::<T>(setup, cpu)?,
            None => initial::state(setup, cpu)?,
        };

        let progress = TrainingProgress::new(quiet, setup, &state.position);
        progress.line(&self.describe());
        if let Some([mean, std]) = regression::target_unit(&setup.network, &state.weights.buffers) {
            let [mean, std] = [mean, std].map(|value| regression::decimal(value, 4));
            progress.line(&format!(
                "values are standardised: losses are of (value - {mean}) / {std}; predictions and errors are in their own unit"
            ));
        }
        if resumed && !has_checkpoint {
            progress.line("no checkpoint is there yet: the run begins again with its first step");
        } else if resumed {
            let Position { history, step, .. } = &state.position;
            progress.line(&format!("going on after {} epochs and {step} steps", history.len()));
        }
        let mut record =
            if has_checkpoint { health::read(&folder.file(folder::HEALTH))? } else { Vec::new() };
        record.retain(|health| health.epoch as usize <= state.position.history.len());
        let journal = Journal::new(folder, !setup.dataset.has_values())?;
        journal.rewrite(&state.position.history, &record)?;
        self.signals.defer();
        let looker = ActivityProbe::new(setup);
        let mut watch = Recorder {
            session: self,
            cpu,
            progress: &progress,
            looker: &looker,
            journal: &journal,
            record,
            caught: None,
            cadence: Cadence::new(&setup.config, Instant::now()),
            is_kept: false,
            spent: Spent::default(),
        };
        let end = epochs::run(setup, cpu, &mut state, &mut watch)?;
        progress.end();
        if end != End::Done {
            self.save(&journal, &state, &mut watch.record)?;
        }
        if !watch.is_kept {
            watch.keep(&state)?;
        }
        let Recorder { caught, record, spent, .. } = watch;

        let has_values = setup.dataset.has_values();
        let test = match end {
            End::Done if !has_values => Some(self.test(cpu, &mut state.best)?),
            _ => None,
        };
        let values = match end {
            End::Done if has_values => Some(self.values(cpu, &mut state.best)?),
            _ => None,
        };
        let unpredicted = test.as_ref().map(|test| test.unpredicted());
        let unpredicted =
            unpredicted.or_else(|| Some(values.as_ref()?.unpredicted())).unwrap_or_default();
        let score = test.as_ref().map(|test| test.score).or_else(|| Some(values.as_ref()?.score));
        let summary = self.summarise(&state, &end, score, spent)?;
        let history = &state.position.history[..];
        let material = report::Material { setup, summary: &summary, history, health: &record };
        let report =
            report::html(material, cpu, test.as_ref().map(|test| (&mut state.best, test)))?;
        folder.write(folder::REPORT, report.as_bytes())?;
        folder.write(folder::SUMMARY, json(&summary)?.as_bytes())?;
        let folder = folder.path().to_path_buf();
        let outcome = match (end, caught) {
            (End::Diverged(divergence), _) => Err(Error::Diverged { divergence, folder }),
            (End::Stopped, Some(signal)) => Err(Error::Interrupted { signal, folder }),
            (End::Stopped, None) => {
                let folder = folder.display();
                terminal::say(&format!(
                    "stopped as asked; go on with: evenkeel train --resume {folder}"
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

    /// The line at the start of a run.
    fn describe(&self) -> String {
        let Setup { config, dataset, split, network } = self.setup;
        // Why digits had to be generated has been said by then, at length.
        let origin = match &dataset.origin {
            Origin::Generated { .. } => "generated".to_owned(),
            origin => origin.to_string(),
        };
        format!(
            "{} ({}): {} {} to train on, {} to validate, {} to test{}\n{} {}, {} parameters, {}, on {} threads with {}",
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

    /// Writes down where a run stands that has not come to its end, and what was last seen of its gradients.
    fn save<T: Element>(
        &self,
        journal: &Journal<'_>,
        state: &State<T>,
        record: &mut Vec<Health>,
    ) -> Result<(), Error> {
        let health = seen(&state.position);
        // What is recorded of a finished epoch holds more: it was looked at once again at its end.
        let is_whole =
            record.iter().any(|seen| seen.epoch == health.epoch && !seen.activity.is_empty());
        if health.epoch > 0 && !is_whole {
            record.retain(|seen| seen.epoch < health.epoch);
            record.push(health);
        }
        journal.rewrite(&state.position.history, record)
    }

    /// The answers to the test set: read once, by the weights of the best epoch.
    fn test<T: Element>(
        &self,
        cpu: Cpu<'_>,
        best: &mut ModelWeights<T>,
    ) -> Result<Predictions, Error> {
        let Setup { dataset, network, .. } = self.setup;
        let indices: Vec<u32> = (0..dataset.test.dims()[0]).collect();
        Predictions::new(network, cpu, best, &dataset.test, &indices)
    }

    /// The predicted values of the test set: read once, by the weights of the best epoch.
    fn values<T: Element>(
        &self,
        cpu: Cpu<'_>,
        best: &mut ModelWeights<T>,
    ) -> Result<RegressionPredictions, Error> {
        let Setup { dataset, network, .. } = self.setup;
        let indices: Vec<u32> = (0..dataset.test.dims()[0]).collect();
        RegressionPredictions::new(network, cpu, best, &dataset.test, &indices)
    }

    /// Writes the model of the best epoch, and sums up.
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
            task: if dataset.has_values() { Task::Regression } else { Task::Classification },
            test_accuracy: classified.map(|test| test.accuracy()),
            test_accuracy_low: interval.map(|interval| interval.low),
            test_accuracy_high: interval.map(|interval| interval.high),
            test_loss: test.map(|test| test.mean_loss()),
            test_examples: dataset.test.len(),
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

/// What was seen of the epoch at hand, or before its first step of the one before.
fn seen(Position { health, recovery, .. }: &Position) -> Health {
    let in_epoch = recovery.non_finite.iter().filter(|step| step.epoch == health.epoch);
    Health { non_finite: in_epoch.cloned().collect(), ..health.clone() }
}

/// Where a process's time went besides steps and scores.
#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    to_first_step: Option<Duration>,
    checkpoints: Duration,
    journal: Duration,
}

/// Writes down each epoch and, at its cadence, the state; stops the run when a signal has come.
struct Recorder<'a> {
    session: &'a Session<'a>,
    cpu: Cpu<'a>,
    progress: &'a TrainingProgress,
    looker: &'a ActivityProbe,
    journal: &'a Journal<'a>,
    record: Vec<Health>,
    caught: Option<Signal>,
    cadence: Cadence,
    /// Whether the checkpoint is of the state as it is.
    is_kept: bool,
    spent: Spent,
}

impl Recorder<'_> {
    /// Writes the state to go on from.
    fn keep<T: Element>(&mut self, state: &State<T>) -> Result<(), Error> {
        let begun = Instant::now();
        self.journal.sync()?;
        let bytes = checkpoint::encode(self.session.identity, state)?;
        self.session.folder.write(folder::CHECKPOINT, &bytes)?;
        self.is_kept = true;
        self.spent.checkpoints += begun.elapsed();
        self.cadence.record(Instant::now(), begun.elapsed());
        Ok(())
    }
}

impl<T: Element> Callback<T> for Recorder<'_> {
    fn on_step_end(&mut self, state: &State<T>) -> Result<bool, Error> {
        let position = &state.position;
        self.is_kept = false;
        self.progress.step(position);
        self.caught = self.session.signals.caught();
        let Session { setup, started, limits, .. } = self.session;
        let steps_per_epoch = setup.steps_per_epoch();
        let global_step = position.global_step(steps_per_epoch);
        self.spent.to_first_step.get_or_insert_with(|| started.elapsed());
        let is_last = global_step == steps_per_epoch * u64::from(setup.config.epochs);
        let is_enough = limits.steps.is_some_and(|most| global_step >= most)
            || limits.seconds.is_some_and(|most| started.elapsed().as_secs_f64() >= most);
        let goes_on = self.caught.is_none() && (is_last || !is_enough);
        if goes_on && self.cadence.is_due_after_step(global_step) {
            self.keep(state)?;
        }
        Ok(goes_on)
    }

    fn on_non_finite(&mut self, found: &Divergence, action: Action) {
        self.progress.line(&format!("{found}: {action}"));
    }

    fn on_epoch_end(&mut self, state: &State<T>) -> Result<(), Error> {
        if let Some(epoch) = state.position.history.last() {
            self.progress.epoch(epoch);
        }
        let begun = Instant::now();
        self.is_kept = false;
        let activity = self.looker.sample(self.session.setup, self.cpu, &state.weights)?;
        self.record.push(Health { activity, ..seen(&state.position) });
        self.journal.append(&state.position.history, &self.record)?;
        self.spent.journal += begun.elapsed();
        if self.cadence.is_due_after_epoch(state.position.history.len(), Instant::now()) {
            self.keep(state)?;
        }
        Ok(())
    }
}
