//! The doctor's suite: networks and data sets with known faults, and healthy ones, by which it is
//! scored.
//!
//! ```text
//! NAME.toml      family, kind of fault, rules that name it, layers; configuration; mutation of the
//!                data; changes that repair it
//! NAME.json      measured harm: accuracy of the faulty and of the repaired training, three seeds
//! ```
//!
//! | score | cases | counted if |
//! |---|---|---|
//! | detected | faulty | a finding is a warning or critical |
//! | named | faulty | the first finding is one of the rules that name the fault |
//! | located | those with layers | the first finding is in one of them |
//! | repaired | those that a configuration repairs | within 2 points of the repaired quality |
//! | at random | the same | the same, by a random search in the time of the cure |
//! | false alarm | healthy | a finding is a warning or critical |
//!
//! Families are halved by their names: thresholds are set on the first half, and the figures are of
//! the other.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use doctor::{Record, Settings, Severity, Verdict, judge};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::data::DataError;
use crate::diagnosis::mutation::Mutation;
use crate::diagnosis::probe::{Stage, first_findings};
use crate::diagnosis::treatment::treat;
use crate::diagnosis::{probe, random_search, record_file, trial};
use crate::run::config::Config;
use crate::run::setup;
use crate::run::setup::Setup;

/// Families whose cases set the thresholds; the figures are of the others.
const CALIBRATION: [&str; 4] = ["mlp", "deep-mlp", "linear-table", "cnn"];

/// Difference of qualities up to which a cured network is as good as the repaired one.
const REPAIRED: f64 = 0.02;

/// A case of the suite: a file `NAME.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Name of the file, without its extension.
    #[serde(skip)]
    pub name: String,
    /// Family of the architecture.
    pub family: String,
    /// Kind of the fault; `healthy` or `odd` if there is none.
    pub kind: String,
    /// Names of the rules that name the fault.
    #[serde(default)]
    pub names: Vec<String>,
    /// Layers or tensors that have the fault; none if it is in none of them, or in all.
    #[serde(default)]
    pub layers: Vec<String>,
    /// Fault of the data.
    pub mutation: Option<Mutation>,
    /// Keys of the configuration that repair it; none if the data are at fault.
    #[serde(default)]
    pub repair: toml::Table,
    /// The configuration.
    pub config: toml::Table,
}

/// Measured harm of a case: a file `NAME.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Harm {
    /// Quality of the faulty training, by seed.
    #[serde(with = "crate::run::json::list")]
    pub faulty: Vec<f64>,
    /// Quality of the repaired training, by seed.
    #[serde(with = "crate::run::json::list")]
    pub repaired: Vec<f64>,
}

/// Score of a case.
#[derive(Clone, Debug, Serialize)]
pub struct Score {
    /// Name of the case.
    pub name: String,
    /// Family of the architecture.
    pub family: String,
    /// Kind of the fault.
    pub kind: String,
    /// `true` if it has a fault.
    pub faulty: bool,
    /// `true` if the thresholds were set on its family.
    pub calibration: bool,
    /// Names of the findings that are warnings or critical, in order.
    pub findings: Vec<String>,
    /// `true` if there are any.
    pub detected: bool,
    /// `true` if the first verdict, after a quarter of the first steps, has any.
    pub detected_first: bool,
    /// Names of its findings that are warnings or critical, in order.
    pub findings_first: Vec<String>,
    /// Time to the first verdict, in seconds.
    pub first_seconds: f64,
    /// `true` if the first names the fault.
    pub named: bool,
    /// `true` if the first is in the layer of the fault; `None` if the fault is in none.
    pub located: Option<bool>,
    /// `true` if the cured network is as good as the repaired one; `None` if no configuration
    /// repairs it, or cures were not tried.
    pub repaired: Option<bool>,
    /// Same for the best of the configurations that a random search tried in the time of the cure.
    pub repaired_at_random: Option<bool>,
    /// Trials of the random search.
    pub random_trials: u64,
    /// Changes of the cures.
    pub cures: Vec<String>,
    /// Time to the verdict, in seconds.
    pub verdict_seconds: f64,
    /// Time to the cure, in seconds.
    pub cure_seconds: Option<f64>,
}

impl Case {
    /// Reads all cases in `folder`, by name.
    ///
    /// # Errors
    /// [`DataError::Io`] if the folder cannot be read; [`Error::Config`] for a file that is no
    /// case, or that names an unknown rule.
    pub fn read_all(folder: &Path) -> Result<Vec<Self>, Error> {
        let entries = fs::read_dir(folder).map_err(DataError::io("read", folder))?;
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry.map_err(DataError::io("read", folder))?.path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                paths.push(path);
            }
        }
        paths.sort();
        paths.iter().map(|path| Self::read(path)).collect()
    }

    fn read(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(DataError::io("read", path))?;
        let refuse = |message: String| Error::Config { path: path.into(), message };
        let mut case: Self = toml::from_str(&text).map_err(|error| refuse(error.to_string()))?;
        case.name = path.file_stem().unwrap_or_default().to_string_lossy().into();
        let unknown = case.names.iter().find(|name| doctor::Rule::find(name).is_none());
        if let Some(name) = unknown {
            return Err(refuse(format!("names: expected names of rules, got {name}")));
        }
        Ok(case)
    }

    /// `true` if it has a fault.
    pub fn is_faulty(&self) -> bool {
        !["healthy", "odd"].contains(&&self.kind[..])
    }

    /// The configuration with `seed`; repaired if asked for.
    fn config(&self, seed: u64, is_repaired: bool) -> Result<Config, Error> {
        let mut table = self.config.clone();
        if is_repaired {
            table.extend(self.repair.clone());
        }
        table.insert("seed".into(), toml::Value::Integer(seed as i64));
        let path = PathBuf::from(format!("{}.toml", self.name));
        Config::parse(&table.to_string(), &path)
    }

    /// Setup of the case with `seed`. The repaired one has no fault of the data.
    fn setup(&self, seed: u64, is_repaired: bool) -> Result<Setup, Error> {
        let setup = Setup::new(self.config(seed, is_repaired)?)?;
        match self.mutation {
            Some(mutation) if !is_repaired || !self.repair.is_empty() => mutation.apply(setup),
            _ => Ok(setup),
        }
    }

    /// Diagnoses the case, and cures it within `budget` seconds if that is above 0. The record is
    /// written to the folder `records`, if there is one.
    ///
    /// # Errors
    /// Errors of the configuration.
    pub fn score(
        &self,
        folder: &Path,
        budget: f64,
        records: Option<&Path>,
    ) -> Result<Score, Error> {
        let settings = Settings::default();
        let setup = self.setup(0, false)?;
        let started = Instant::now();
        let mut first_verdict = None;
        let mut observe = |stage, record: &Record| {
            if stage == Stage::FirstSteps {
                let verdict = judge(record, &settings);
                let findings = first_findings(&verdict).map(|finding| finding.id.clone()).collect();
                first_verdict = Some((findings, started.elapsed().as_secs_f64()));
            }
        };
        let record =
            setup::on_threads(&setup.config, |cpu| probe::probe(&setup, cpu, &mut observe))?;
        let verdict = judge(&record, &settings);
        let verdict_seconds = started.elapsed().as_secs_f64();
        let (findings_first, first_seconds) =
            first_verdict.unwrap_or_else(|| (severe(&verdict), verdict_seconds));
        if let Some(records) = records {
            record_file::write(&records.join(format!("{}.jsonl", self.name)), &record)?;
        }
        let first = verdict.findings.iter().find(|finding| finding.severity > Severity::Info);
        let is_named = first.is_some_and(|first| self.names.contains(&first.id));
        let found = first.and_then(|first| first.layer.as_ref());
        let located = (!self.layers.is_empty()).then(|| {
            found.is_some_and(|found| self.layers.iter().any(|layer| is_within(found, layer)))
        });
        let mut score = Score {
            name: self.name.clone(),
            family: self.family.clone(),
            kind: self.kind.clone(),
            faulty: self.is_faulty(),
            calibration: CALIBRATION.contains(&&self.family[..]),
            findings: severe(&verdict),
            detected: first.is_some(),
            detected_first: !findings_first.is_empty(),
            findings_first,
            first_seconds,
            named: is_named,
            located,
            repaired: None,
            repaired_at_random: None,
            random_trials: 0,
            cures: Vec::new(),
            verdict_seconds,
            cure_seconds: None,
        };
        if budget > 0.0 && self.is_faulty() && !self.repair.is_empty() {
            let started_cure = Instant::now();
            let deadline = started_cure + Duration::from_secs_f64(budget);
            let treatment = setup::on_threads(&setup.config, |cpu| {
                treat(&setup, cpu, &record, &verdict, &settings, deadline)
            })?;
            let cure_time = started_cure.elapsed();
            score.cure_seconds = Some(started.elapsed().as_secs_f64());
            score.cures = treatment.cures.iter().map(|form| form.change.clone()).collect();
            let wanted = mean(&self.harm(folder)?.repaired);
            let is_repaired = |config: Option<Config>| -> Result<bool, Error> {
                let Some(config) = config else { return Ok(false) };
                Ok(train_fully(&setup.with_config(config)?)? >= wanted - REPAIRED)
            };
            score.repaired = Some(is_repaired(treatment.cured)?);
            // As much time as the cure took.
            let deadline = Instant::now() + cure_time;
            let (config, trials) = setup::on_threads(&setup.config, |cpu| {
                random_search::search(&setup, cpu, &record, deadline)
            })?;
            score.repaired_at_random = Some(is_repaired(config)?);
            score.random_trials = trials;
        }
        Ok(score)
    }

    /// Measured harm, from the file beside the case.
    ///
    /// # Errors
    /// [`DataError::Io`] if it cannot be read; [`Error::Malformed`] if it is none.
    pub fn harm(&self, folder: &Path) -> Result<Harm, Error> {
        let path = folder.join(format!("{}.json", self.name));
        let text = fs::read_to_string(&path).map_err(DataError::io("read", &path))?;
        serde_json::from_str(&text)
            .map_err(|error| Error::malformed(&path, "the measured harm of a case", error))
    }

    /// Measures the harm: trains the faulty and the repaired configuration, with three seeds each.
    /// A healthy case has nothing to repair.
    ///
    /// # Errors
    /// Errors of the configuration.
    pub fn measure(&self) -> Result<Harm, Error> {
        let trained = |is_repaired: bool| -> Result<Vec<f64>, Error> {
            (0..3).map(|seed| train_fully(&self.setup(seed, is_repaired)?)).collect()
        };
        let repaired = if self.is_faulty() { trained(true)? } else { Vec::new() };
        Ok(Harm { faulty: trained(false)?, repaired })
    }
}

/// Names of the findings that are warnings or critical, in order.
fn severe(verdict: &Verdict) -> Vec<String> {
    let severe = verdict.findings.iter().filter(|finding| finding.severity > Severity::Info);
    severe.map(|finding| finding.id.clone()).collect()
}

/// `true` if the layer or tensor `found` is `layer` or within it.
fn is_within(found: &str, layer: &str) -> bool {
    let within = |a: &str, b: &str| a == b || a.starts_with(&format!("{b}."));
    within(found, layer) || within(layer, found)
}

/// Trains `setup` to its end, and returns its quality on the validation set.
fn train_fully(setup: &Setup) -> Result<f64, Error> {
    setup::on_threads(&setup.config, |cpu| trial::train_fully(setup, cpu))
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
