//! `evenkeel sweep`: search over values of configuration keys, by a grid or at random. The
//! validation set ranks the trials.
//!
//! ```text
//! sweep.toml       plan of the sweep; the same folder refuses a sweep with another plan
//! 001/ 002/ ...    run folders: finished runs stay, unfinished ones are resumed
//! sweep.json       every trial with its values and result, best first
//! ```
//!
//! Choices are `KEY=A,B,C`; random sweeps also take `KEY=log(LOW,HIGH)` and
//! `KEY=uniform(LOW,HIGH)`. A key is one of the configuration; a key in a table is `table.key`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::ValueEnum;
use kernels::random::Stream;
use kernels::{Cpu, math};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::commands::train::Limits;
use crate::commands::{output, train};
use crate::data::DataError;
use crate::data::replace::replace_with;
use crate::evaluation::classification::percent;
use crate::machine::signal::Signals;
use crate::machine::terminal::say;
use crate::run::config::Config;
use crate::run::folder::{FORMAT, Format};
use crate::run::preset::Preset;
use crate::run::summary::{Status, Summary};
use crate::run::{folder, spelling};
use crate::training::extension;

/// File of the plan.
const PLAN: &str = "sweep.toml";
/// File of the results.
const RESULTS: &str = "sweep.json";

/// Random stream of the values of random sweeps.
const STREAM: u64 = u64::from_be_bytes(*b"sweeping");

/// Maximum number of trials; a larger number is taken for a mistake.
const MAX_TRIALS: usize = 10_000;

/// Options of `sweep`.
#[derive(Clone, Debug)]
pub struct Request {
    /// Configuration that all trials share.
    pub config: Config,
    /// `true` if `config` is a preset's recipe. Then a trial with another preset takes that
    /// preset's recipe, and one with another optimizer takes the optimizer's usual learning rate.
    pub recipe: bool,
    /// Keys and their values, as on the command line.
    pub choices: Vec<String>,
    /// Number of random trials; `None` for the whole grid.
    pub random: Option<usize>,
    /// Folder of the sweep.
    pub out: PathBuf,
    /// Print JSON.
    pub json: bool,
    /// Print nothing on stderr but errors.
    pub quiet: bool,
}

/// Plan of a sweep: `sweep.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Plan {
    /// [`FORMAT`].
    format: u32,
    choices: Vec<String>,
    random: Option<usize>,
    config: toml::Table,
}

/// Values of a key.
#[derive(Clone, Debug, PartialEq)]
enum Values {
    Listed(Vec<toml::Value>),
    /// Uniform distribution between `low` and `high`, or between their logarithms.
    Range {
        low: f64,
        high: f64,
        logarithmic: bool,
    },
}

/// Trial of a sweep: each key with its value.
type Trial = Vec<(String, toml::Value)>;

/// Status of a trial in `sweep.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum TrialStatus {
    Done,
    Interrupted,
    Diverged,
    /// The configuration does not fit the data: the trial has no run.
    Refused,
}

impl From<Status> for TrialStatus {
    fn from(run: Status) -> Self {
        match run {
            Status::Done => Self::Done,
            Status::Interrupted => Self::Interrupted,
            Status::Diverged => Self::Diverged,
        }
    }
}

/// Result of a trial.
#[derive(Clone, Debug, Serialize)]
struct TrialResult {
    run: String,
    values: toml::Table,
    status: TrialStatus,
    val_accuracy: Option<f64>,
    val_loss: Option<f64>,
    test_accuracy: Option<f64>,
    test_loss: Option<f64>,
    best_epoch: Option<u32>,
    seconds: f64,
}

impl TrialResult {
    /// Result of the trial in the folder `run`.
    fn new(run: String, values: toml::Table, summary: Summary) -> Self {
        let is_done = summary.status == Status::Done;
        Self {
            run,
            values,
            status: summary.status.into(),
            val_accuracy: summary.val_accuracy.filter(|_| is_done),
            val_loss: summary.val_loss.filter(|_| is_done),
            test_accuracy: summary.test_accuracy,
            test_loss: summary.test_loss,
            best_epoch: summary.best_epoch,
            seconds: summary.seconds_total,
        }
    }

    /// Result of a trial whose configuration was refused. The folder `run` does not exist.
    fn refused(run: String, values: toml::Table) -> Self {
        Self {
            run,
            values,
            status: TrialStatus::Refused,
            val_accuracy: None,
            val_loss: None,
            test_accuracy: None,
            test_loss: None,
            best_epoch: None,
            seconds: 0.0,
        }
    }
}

/// Trains all trials, and prints them ranked, as a table or JSON.
///
/// # Errors
/// [`Error::Usage`] if a choice cannot be parsed, or if no trial fits the data;
/// [`Error::Interrupted`] if a signal stops the sweep; errors of a trial's run. Divergence is a
/// result, no error.
pub fn sweep(request: &Request, started: Instant, signals: &Signals) -> Result<(), Error> {
    let config = table_of(&request.config)?;
    let trials = trials(request)?;
    // Checks every configuration before the first trial starts.
    let configs = trials
        .iter()
        .map(|trial| with_values(&base_config(request, &config, trial)?, trial))
        .collect::<Result<Vec<_>, _>>()?;
    let (choices, random) = (request.choices.clone(), request.random);
    let plan = Plan { format: FORMAT, choices, random, config };
    create_or_open(&request.out, &plan)?;

    let mut results = Vec::with_capacity(trials.len());
    let mut refusal = None;
    for (number, (trial, config)) in (1..).zip(trials.into_iter().zip(configs)) {
        let folder = request.out.join(format!("{number:03}"));
        if !request.quiet {
            let values: Vec<_> =
                trial.iter().map(|(key, value)| format!("{key} = {value}")).collect();
            say(&format!("trial {number}: {}", values.join(", ")));
        }
        let (run_name, values) = (folder.display().to_string(), trial.into_iter().collect());
        results.push(match run(&folder, config, started, signals) {
            Ok(summary) => TrialResult::new(run_name, values, summary),
            // Refused before the run started: other values may fit the data.
            Err(error @ (Error::Usage(_) | Error::Network(_)))
                if !folder.join(folder::CONFIG).is_file() =>
            {
                say(&format!("trial {number} is refused: {error}"));
                refusal.get_or_insert(error);
                TrialResult::refused(run_name, values)
            }
            Err(error) => return Err(error),
        });
        let text = json(&ranked(&results))?;
        replace_with(&request.out.join(RESULTS), text.as_bytes())?;
    }
    let all_refused = results.iter().all(|trial| trial.status == TrialStatus::Refused);
    if let Some(error) = refusal.filter(|_| all_refused) {
        return Err(error);
    }
    let results = ranked(&results);
    output::print(&if request.json { json(&results)? } else { table(&results) })
}

/// Sorts `results`, best first: by validation accuracy or, for a regression, validation loss. Equal
/// trials stay in their order; those without a result come last.
fn ranked(results: &[TrialResult]) -> Vec<TrialResult> {
    let mut ranked = results.to_vec();
    let score = |trial: &TrialResult| match (trial.val_accuracy, trial.val_loss) {
        (Some(accuracy), _) => accuracy,
        (None, Some(loss)) => -loss,
        (None, None) => f64::NEG_INFINITY,
    };
    ranked.sort_by(|a, b| score(b).total_cmp(&score(a)));
    ranked
}

fn json(results: &[TrialResult]) -> Result<String, Error> {
    serde_json::to_string_pretty(results).map_err(|error| Error::Usage(format!("sweep: {error}")))
}

/// Table with one line per trial, and a line that names the best run.
fn table(results: &[TrialResult]) -> String {
    let accuracy_or_loss = |accuracy: Option<f64>, loss: Option<f64>| match (accuracy, loss) {
        (None, Some(loss)) => format!("{loss:.4}"),
        (accuracy, _) => percent(accuracy),
    };
    let mut lines = vec!["validation       test  run and values".to_owned()];
    for trial in results {
        let values: Vec<_> =
            trial.values.iter().map(|(key, value)| format!("{key} = {value}")).collect();
        lines.push(format!(
            "{:>10} {:>10}  {}: {}",
            match trial.status {
                TrialStatus::Diverged => "diverged".into(),
                TrialStatus::Refused => "refused".into(),
                _ => accuracy_or_loss(trial.val_accuracy, trial.val_loss),
            },
            accuracy_or_loss(trial.test_accuracy, trial.test_loss),
            trial.run,
            values.join(", ")
        ));
    }
    if let Some(best) = results.first().filter(|best| best.val_loss.is_some()) {
        lines.push(format!("best: {}", best.run));
    }
    lines.join("\n")
}

/// Creates the folder of a sweep with its plan, or checks that an existing one has this plan.
fn create_or_open(out: &Path, plan: &Plan) -> Result<(), Error> {
    let path = out.join(PLAN);
    let text = toml::to_string(plan)
        .map_err(|error| Error::Usage(format!("the plan cannot be written: {error}")))?;
    if path.is_file() {
        let stored = std::fs::read_to_string(&path).map_err(DataError::io("read", &path))?;
        let malformed = |error| Error::malformed(&path, "the plan of a sweep", error);
        toml::from_str::<Format>(&stored).map_err(malformed)?.check(&path)?;
        let stored: Plan = toml::from_str(&stored).map_err(malformed)?;
        if stored != *plan {
            return Err(Error::Usage(format!(
                "out: expected a new folder, or one with this sweep, got {}, which holds another \
                 sweep; choose another folder with --out",
                out.display()
            )));
        }
        return Ok(());
    }
    if out.is_dir() && std::fs::read_dir(out).map_err(DataError::io("read", out))?.next().is_some()
    {
        return Err(Error::Usage(format!(
            "out: expected a folder that is absent or empty, or a sweep to resume, got {}; choose \
             another folder with --out",
            out.display()
        )));
    }
    Ok(replace_with(&path, text.as_bytes())?)
}

/// Trains the trial in `folder`; a started run is resumed.
fn run(
    folder: &Path,
    config: Config,
    started: Instant,
    signals: &Signals,
) -> Result<Summary, Error> {
    let run = if folder.join(folder::CONFIG).is_file() {
        train::Run::Resume { folder: folder.into(), changes: extension::Changes::default() }
    } else {
        // `force`: replaces the remains of a process that was killed before it wrote a
        // configuration.
        train::Run::New { config: Box::new(config), out: Some(folder.into()), force: true }
    };
    let request = train::Request {
        run,
        limits: Limits::default(),
        min_accuracy: None,
        watch: false,
        fail_on: Vec::new(),
        json: false,
        quiet: true,
    };
    let (summary, end) = train::run(&request, started, signals)?;
    match end {
        Ok(()) | Err(Error::Diverged { .. } | Error::Unpredicted { .. }) => Ok(summary),
        Err(error) => Err(error),
    }
}

/// Returns the configuration that the values of `trial` are set in: `config`, the request's, or the
/// recipe of the trial's preset.
fn base_config(
    request: &Request,
    config: &toml::Table,
    trial: &Trial,
) -> Result<toml::Table, Error> {
    let value = |key: &str| trial.iter().find(|(other, _)| other == key).map(|(_, value)| value);
    let preset = value("preset").filter(|_| request.recipe).and_then(toml::Value::as_str);
    // `with_values` refuses an unknown name.
    let preset = preset.and_then(|name| Preset::from_str(name, false).ok());
    let mut table = match preset {
        Some(preset) => {
            let Config { dataset, data, seed, .. } = request.config.clone();
            table_of(&Config { dataset, data, seed, ..preset.recipe() })?
        }
        None => config.clone(),
    };
    if request.recipe && value("optimizer").is_some() {
        table.remove("lr");
    }
    Ok(table)
}

/// `config` as a TOML table.
fn table_of(config: &Config) -> Result<toml::Table, Error> {
    let text = config.to_toml()?;
    text.parse().map_err(|error| Error::Usage(format!("the configuration cannot be read: {error}")))
}

/// Returns `config` with the values of `trial`, checked.
fn with_values(config: &toml::Table, trial: &Trial) -> Result<Config, Error> {
    let mut table = config.clone();
    for (key, value) in trial {
        set(&mut table, key, value)?;
    }
    let text = toml::to_string(&table).map_err(|error| Error::Usage(format!("sweep: {error}")))?;
    let config: Config = toml::from_str(&text).map_err(|error| {
        Error::Usage(format!("sweep: {}", spelling::with_suggestion(error.to_string().trim_end())))
    })?;
    config.check()?;
    Ok(config)
}

/// Sets `key`, which may be `table.key`. An optimizer's name alone stands for its usual settings.
fn set(table: &mut toml::Table, key: &str, value: &toml::Value) -> Result<(), Error> {
    let invalid =
        |error: &dyn std::fmt::Display| Error::Usage(format!("sweep: {key} = {value}: {error}"));
    if let Some((head, rest)) = key.split_once('.') {
        let inner = table.entry(head).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        let Some(inner) = inner.as_table_mut() else {
            return Err(invalid(&format!("expected a table `{head}`, got a value")));
        };
        return set(inner, rest, value);
    }
    let named = value.as_str().filter(|_| key == "optimizer").map(nn::Optimizer::named);
    let value = match named {
        Some(Some(optimizer)) => {
            toml::Value::try_from(optimizer).map_err(|error| invalid(&error))?
        }
        Some(None) => {
            return Err(invalid(&format!("expected one of {}", nn::Optimizer::NAMES.join(", "))));
        }
        None => value.clone(),
    };
    table.insert(key.into(), value);
    Ok(())
}

/// Returns the trials of `request`.
fn trials(request: &Request) -> Result<Vec<Trial>, Error> {
    let choices =
        request.choices.iter().map(|choice| parse(choice)).collect::<Result<Vec<_>, _>>()?;
    if choices.is_empty() {
        return Err(Error::Usage("sweep: expected at least one KEY=VALUES, got none".into()));
    }
    if let Some((key, _)) = choices
        .iter()
        .enumerate()
        .find_map(|(at, (key, _))| choices[..at].iter().find(|(other, _)| other == key))
    {
        return Err(Error::Usage(format!("sweep: expected each key once, got {key} twice")));
    }
    let Some(count) = request.random else { return grid(&choices) };
    if !(1..=MAX_TRIALS).contains(&count) {
        return Err(Error::Usage(format!(
            "random: expected 1 to {MAX_TRIALS} trials, got {count} (flag --random)"
        )));
    }
    let stream = Stream::new(request.config.seed, STREAM);
    let cpu = Cpu::detect();
    let draw = |trial: usize| {
        let keys = choices.iter().enumerate();
        let value = keys.map(|(at, (key, values))| {
            let index = (trial * choices.len() + at) as u64;
            (key.clone(), drawn(cpu, values, stream, index))
        });
        value.collect()
    };
    Ok((0..count).map(draw).collect())
}

/// Draws value number `index` of `stream` from `values`.
fn drawn(cpu: Cpu<'_>, values: &Values, stream: Stream, index: u64) -> toml::Value {
    match values {
        Values::Listed(list) => list[stream.below(index, list.len() as u32) as usize].clone(),
        Values::Range { low, high, logarithmic } => {
            let share = stream.uniform_f64(index);
            toml::Value::Float(if *logarithmic {
                low * math::at(cpu, |cpu, x, y| math::pow_scalar(cpu, x, share, y), high / low)
            } else {
                low + (high - low) * share
            })
        }
    }
}

/// Returns every combination of the values; the last key varies fastest.
fn grid(choices: &[(String, Values)]) -> Result<Vec<Trial>, Error> {
    let mut trials: Vec<Trial> = vec![Vec::new()];
    for (key, values) in choices {
        let Values::Listed(list) = values else {
            return Err(Error::Usage(format!(
                "sweep: expected a list for {key} in a grid, got a range; draw from it with \
                 --random N"
            )));
        };
        if trials.len() * list.len() > MAX_TRIALS {
            return Err(Error::Usage(format!(
                "sweep: expected at most {MAX_TRIALS} trials, got {} or more; draw some with \
                 --random N",
                trials.len() * list.len()
            )));
        }
        let extended = trials.iter().flat_map(|trial| {
            list.iter()
                .map(|value| trial.iter().cloned().chain([(key.clone(), value.clone())]).collect())
        });
        trials = extended.collect();
    }
    Ok(trials)
}

/// Parses `KEY=VALUES`.
fn parse(choice: &str) -> Result<(String, Values), Error> {
    let refuse =
        |expected: &str| Err(Error::Usage(format!("sweep: expected {expected}, got {choice}")));
    let Some((key, values)) =
        choice.split_once('=').filter(|(key, values)| !key.is_empty() && !values.is_empty())
    else {
        return refuse("KEY=A,B,C, KEY=log(LOW,HIGH) or KEY=uniform(LOW,HIGH)");
    };
    let key = key.trim().to_owned();
    for (name, logarithmic) in [("log(", true), ("uniform(", false)] {
        let Some(inside) = values.strip_prefix(name).and_then(|rest| rest.strip_suffix(')')) else {
            continue;
        };
        let ends: Option<Vec<f64>> = inside.split(',').map(|end| end.trim().parse().ok()).collect();
        return match ends.as_deref() {
            Some(&[low, high])
                if low < high
                    && high.is_finite()
                    && low.is_finite()
                    && (low > 0.0 || !logarithmic) =>
            {
                Ok((key, Values::Range { low, high, logarithmic }))
            }
            _ if logarithmic => refuse("two numbers above 0, the lower first"),
            _ => refuse("two numbers, the lower first"),
        };
    }
    let parsed = values.split(',').map(|value| {
        let value = value.trim();
        // A value that is not TOML is a string without quotes.
        let parsed = format!("value = {value}").parse::<toml::Table>().ok();
        parsed
            .and_then(|mut table| table.remove("value"))
            .unwrap_or_else(|| toml::Value::String(value.into()))
    });
    Ok((key, Values::Listed(parsed.collect())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(choices: &[&str], random: Option<usize>) -> Request {
        let choices = choices.iter().map(ToString::to_string).collect();
        Request {
            config: Config::default(),
            recipe: true,
            choices,
            random,
            out: "out".into(),
            json: false,
            quiet: true,
        }
    }

    #[test]
    fn a_grid_has_every_combination() {
        let trials =
            trials(&request(&["lr=0.1,0.2", "preset=mlp,lenet,cnn"], None)).expect("a grid");
        assert_eq!(trials.len(), 6);
        assert_eq!(trials[4], [("lr".into(), 0.2.into()), ("preset".into(), "lenet".into())]);
    }

    #[test]
    fn random_trials_are_the_same_each_time_and_in_range() {
        let request = request(
            &["lr=log(1e-4,1e-1)", "batch=16,32", "optimizer.decay=uniform(0,0.5)"],
            Some(200),
        );
        let drawn = trials(&request).expect("trials");
        assert_eq!(drawn, trials(&request).expect("trials"));
        let rates: Vec<_> =
            drawn.iter().map(|trial| trial[0].1.as_float().expect("a number")).collect();
        assert!(rates.iter().all(|rate| (1e-4..1e-1).contains(rate)));
        // Half of the rates lie below the geometric mean.
        let low = rates.iter().filter(|rate| **rate < 3.16e-3).count();
        assert!((70..130).contains(&low), "{low}");
        assert!(
            drawn.iter().any(|trial| trial[1].1 == 16.into())
                && drawn.iter().any(|trial| trial[1].1 == 32.into())
        );
    }

    #[test]
    fn invalid_choices_are_refused() {
        let refused = |choices: &[&str], random| {
            trials(&request(choices, random)).expect_err("refused").to_string()
        };
        assert!(refused(&[], None).contains("at least one"));
        assert!(refused(&["lr"], None).contains("KEY=A,B,C"));
        assert!(refused(&["lr=log(0,1)"], Some(3)).contains("above 0"));
        assert!(refused(&["lr=uniform(2,1)"], Some(3)).contains("lower first"));
        assert!(refused(&["lr=log(1,2)"], None).contains("--random"));
        assert!(refused(&["lr=1,2", "lr=3"], None).contains("lr twice"));
        assert!(refused(&["lr=1"], Some(0)).contains("got 0"));
        let digits = "1,2,3,4,5,6,7,8,9,10";
        let keys = ["a", "b", "c", "d", "e"].map(|key| format!("{key}={digits}"));
        assert!(refused(&keys.each_ref().map(String::as_str), None).contains("at most 10000"));
    }

    #[test]
    fn values_reach_the_configuration() {
        let config: toml::Table =
            Config::default().to_toml().expect("plain").parse().expect("TOML");
        let apply =
            |key: &str, value: toml::Value| with_values(&config, &vec![(key.to_owned(), value)]);
        assert_eq!(apply("batch", 7.into()).expect("a key").batch, 7);
        assert_eq!(
            apply("optimizer", "lion".into()).expect("a name").optimizer,
            nn::Optimizer::named("lion").expect("one")
        );
        // A trial's preset brings its recipe; another optimizer drops the recipe's learning rate.
        let request = request(&["preset=cnn"], None);
        let trial = |key: &str, value: &str| vec![(key.to_owned(), toml::Value::from(value))];
        let base = |trial: &Trial| base_config(&request, &config, trial).expect("names");
        let cnn = table_of(&Preset::Cnn.recipe()).expect("plain");
        assert_eq!(base(&trial("preset", "cnn")), cnn);
        assert_eq!(base(&trial("optimizer", "lion")).get("lr"), None);
        assert!(
            apply("bacth", 7.into())
                .expect_err("no key")
                .to_string()
                .contains("did you mean `batch`?")
        );
        assert!(
            apply("batch", 0.into()).expect_err("out of range").to_string().contains("at least 1")
        );
        assert!(
            apply("optimizer", "loin".into()).expect_err("no name").to_string().contains("lion")
        );
        assert!(
            apply("batch.x", 0.into())
                .expect_err("no table")
                .to_string()
                .contains("expected a table")
        );
    }
}
