//! `evenkeel train --folds K`: cross-validation. One run per fold validates on the fold, and trains
//! on the others.
//!
//! ```text
//! config.toml         configuration with `folds` and no `fold`, for `train --resume`
//! fold-1/ fold-2/ ... run folders: finished runs stay, unfinished ones are resumed
//! folds.json          result of each fold; mean and standard deviation of each metric over folds
//! ```
//!
//! The folds are parts of the training set. The test set only scores each run at its end.

use std::fs;
use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use crate::Error;
use crate::commands::train::{Outcome, Request, Run};
use crate::commands::{output, train};
use crate::evaluation::classification::percent;
use crate::machine::signal::Signals;
use crate::machine::terminal::say;
use crate::run::config::Config;
use crate::run::folder::{FOLDS, FORMAT, RunFolder};
use crate::run::setup::Setup;
use crate::run::summary::{Status, Summary};
use crate::run::{folder, setup, sizes};
use crate::training::extension::Changes;

/// Result of a cross-validation: `folds.json`.
#[derive(Clone, Debug, Serialize)]
struct CrossValidation {
    /// [`FORMAT`].
    format: u32,
    run: String,
    /// Number of folds; until all are done, `runs` has fewer.
    folds: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    val_accuracy: Option<Spread>,
    val_loss: Option<Spread>,
    #[serde(skip_serializing_if = "Option::is_none")]
    test_accuracy: Option<Spread>,
    test_loss: Option<Spread>,
    runs: Vec<Fold>,
}

/// Result of a fold: accuracies are fractions, losses nats. A regression has no accuracies.
#[derive(Clone, Debug, Serialize)]
struct Fold {
    fold: u32,
    run: String,
    best_epoch: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    val_accuracy: Option<f64>,
    val_loss: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    test_accuracy: Option<f64>,
    test_loss: Option<f64>,
    params_sha256: Option<String>,
}

/// Mean and standard deviation of a metric over the folds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Spread {
    mean: f64,
    /// Sample standard deviation: divides by the number of folds minus 1.
    std: f64,
}

impl Spread {
    /// Spread of `values`; `None` unless every fold has one.
    fn of(values: impl Iterator<Item = Option<f64>>) -> Option<Self> {
        let values = values.collect::<Option<Vec<_>>>()?;
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
        (values.len() > 1).then(|| Self { mean, std: (squares / (count - 1.0)).sqrt() })
    }
}

/// `true` if `request` is for all folds of a configuration: a cross-validation.
///
/// # Errors
/// As for [`Config::read`].
pub(crate) fn is_requested(request: &Request) -> Result<bool, Error> {
    let has_all = |config: &Config| config.folds.is_some() && config.fold.is_none();
    match &request.run {
        Run::New { config, .. } => Ok(has_all(config)),
        Run::Resume { folder, .. } => {
            let folder = RunFolder::open(folder)?;
            Ok(has_all(&Config::read(&folder.file(folder::CONFIG))?))
        }
    }
}

/// Trains all folds, and prints a table with mean and standard deviation, or JSON.
///
/// # Errors
/// Errors of a fold's run; [`Error::Interrupted`] has the folder of the cross-validation.
/// [`Error::Gate`] if the mean test accuracy is below `--min-accuracy`.
pub(crate) fn train(request: &Request, started: Instant, signals: &Signals) -> Result<(), Error> {
    let (folder, config) = match &request.run {
        Run::New { config, out, force } => {
            setup::isa(config)?;
            // All folds share data and network: the first is checked for all, except for sizes.
            let first = Config { fold: Some(1), ..(**config).clone() };
            let first = Setup::new(first)?;
            request.check_gate(&first.dataset.name, first.dataset.has_values())?;
            // Each fold resolves balanced class weights on its own training set.
            let class_weights = config.class_weights.clone();
            let config = Config { fold: None, class_weights, ..first.config.clone() };
            train::preflight(&first)?;
            sizes::check_folds(first)?;
            let folder = match out {
                Some(out) => RunFolder::create(out, *force)?,
                None => RunFolder::next(config.preset.name())?,
            };
            clear(&folder)?;
            folder.write(folder::CONFIG, config.to_toml()?.as_bytes())?;
            (folder, config)
        }
        Run::Resume { folder, changes } => {
            let folder = RunFolder::open(folder)?;
            if let Some(epochs) = changes.epochs {
                let path = folder.path().display();
                return Err(Error::Usage(format!(
                    "epochs: expected the folder of a single run to extend, got {epochs} for the \
                     cross-validation {path}; extend its folds one by one (flag --epochs)"
                )));
            }
            let config = changes.apply(Config::read(&folder.file(folder::CONFIG))?);
            (folder, config)
        }
    };
    let count = config.folds.unwrap_or_default();
    let changes = match &request.run {
        Run::New { .. } => None,
        Run::Resume { changes, .. } => Some(changes),
    };
    let (mut runs, mut sha256, mut unpredicted) = (Vec::new(), None::<String>, None);
    for fold in 1..=count {
        if !request.quiet {
            say(&format!("fold {fold} of {count}"));
        }
        let path = folder.file(&format!("fold-{fold}"));
        let summary = match train_fold(request, changes, &path, &config, fold, started, signals)? {
            (summary, Ok(())) => summary,
            // The fold is done; the error is returned after the other folds.
            (summary, Err(error @ Error::Unpredicted { .. })) => {
                unpredicted.get_or_insert(error);
                summary
            }
            (_, Err(Error::Interrupted { signal, .. })) => {
                return Err(Error::Interrupted { signal, folder: folder.path().into() });
            }
            (_, Err(error)) => return Err(error),
        };
        if summary.status != Status::Done {
            let folder = folder.path().display();
            say(&format!("resume all folds with: evenkeel train --resume {folder}"));
            return Ok(());
        }
        let first = sha256.get_or_insert_with(|| summary.data_sha256.clone());
        if *first != summary.data_sha256 {
            let expected = format!("the data of the other folds, with SHA-256 {first}");
            let found = format!(
                "other data, with SHA-256 {}; choose the former with --data",
                summary.data_sha256
            );
            return Err(Error::malformed(&path, expected, found));
        }
        runs.push(Fold::new(fold, summary));
        folder.write(FOLDS, json(&CrossValidation::new(&folder, count, &runs))?.as_bytes())?;
    }
    let result = CrossValidation::new(&folder, count, &runs);
    output::print(&if request.json { json(&result)? } else { result.table() })?;
    if let Some(error) = unpredicted {
        return Err(error);
    }
    match (request.min_accuracy, result.test_accuracy) {
        (Some(minimum), Some(Spread { mean: accuracy, .. })) if accuracy < minimum => {
            Err(Error::Gate { accuracy, minimum })
        }
        _ => Ok(()),
    }
}

/// Removes the runs of the cross-validation in `folder`; other files in their folders stay.
fn clear(folder: &RunFolder) -> Result<(), Error> {
    for fold in 1_u32.. {
        let path = folder.file(&format!("fold-{fold}"));
        if !path.is_dir() {
            break;
        }
        RunFolder::create(&path, true)?;
        // Fails if other files are left, which shall stay.
        let _ = fs::remove_dir(&path);
    }
    Ok(())
}

/// Trains the run of `fold` in the folder `path`; a started run is resumed with `changes`.
fn train_fold(
    request: &Request,
    changes: Option<&Changes>,
    path: &Path,
    config: &Config,
    fold: u32,
    started: Instant,
    signals: &Signals,
) -> Result<Outcome, Error> {
    let changes = changes.filter(|_| path.join(folder::CONFIG).is_file());
    let run = if let Some(changes) = changes {
        Run::Resume { folder: path.into(), changes: changes.clone() }
    } else {
        // `force`: replaces the remains of a killed process or of a replaced run.
        let config = Config { fold: Some(fold), ..config.clone() };
        Run::New { config: Box::new(config), out: Some(path.into()), force: true }
    };
    let request = Request { run, min_accuracy: None, json: false, ..request.clone() };
    train::run(&request, started, signals)
}

impl Fold {
    fn new(fold: u32, summary: Summary) -> Self {
        let Summary { run, best_epoch, val_accuracy, val_loss, test_accuracy, test_loss, .. } =
            summary;
        let params_sha256 = summary.params_sha256;
        Self {
            fold,
            run,
            best_epoch,
            val_accuracy,
            val_loss,
            test_accuracy,
            test_loss,
            params_sha256,
        }
    }
}

impl CrossValidation {
    fn new(folder: &RunFolder, folds: u32, runs: &[Fold]) -> Self {
        let spread = |metric: fn(&Fold) -> Option<f64>| Spread::of(runs.iter().map(metric));
        Self {
            format: FORMAT,
            run: folder.path().display().to_string(),
            folds,
            val_accuracy: spread(|fold| fold.val_accuracy),
            val_loss: spread(|fold| fold.val_loss),
            test_accuracy: spread(|fold| fold.test_accuracy),
            test_loss: spread(|fold| fold.test_loss),
            runs: runs.to_vec(),
        }
    }

    /// Table with one line per fold, and lines for mean and standard deviation.
    fn table(&self) -> String {
        let loss = |loss: Option<f64>| loss.map_or_else(|| "-".into(), |loss| format!("{loss:.4}"));
        let line = |fold: &str, values: [Option<f64>; 4]| {
            let [val_accuracy, val_loss, test_accuracy, test_loss] = values;
            format!(
                "{fold:<9} {:>12} {:>10} {:>12} {:>10}",
                percent(val_accuracy),
                loss(val_loss),
                percent(test_accuracy),
                loss(test_loss)
            )
        };
        let header = format!(
            "{:<9} {:>12} {:>10} {:>12} {:>10}",
            "fold", "validation", "loss", "test", "loss"
        );
        let folds = self.runs.iter().map(|run| {
            let values = [run.val_accuracy, run.val_loss, run.test_accuracy, run.test_loss];
            line(&run.fold.to_string(), values)
        });
        let spreads = [self.val_accuracy, self.val_loss, self.test_accuracy, self.test_loss];
        let last = [
            line("mean", spreads.map(|spread| spread.map(|spread| spread.mean))),
            line("std", spreads.map(|spread| spread.map(|spread| spread.std))),
            format!("run {}", self.run),
        ];
        std::iter::once(header).chain(folds).chain(last).collect::<Vec<_>>().join("\n")
    }
}

fn json(result: &CrossValidation) -> Result<String, Error> {
    serde_json::to_string_pretty(result).map_err(|error| Error::Usage(format!("folds: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_the_sample_standard_deviation() {
        let spread = Spread::of([2.0, 4.0, 4.0, 6.0].map(Some).into_iter()).expect("four values");
        assert_eq!(spread.mean, 4.0);
        assert!((spread.std * spread.std - 8.0 / 3.0).abs() < 1e-12);
        assert_eq!(Spread::of([Some(1.0), None].into_iter()), None);
        assert_eq!(Spread::of([Some(1.0)].into_iter()), None);
    }
}
