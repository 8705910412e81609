//! Treatment of a network: searches for a cure, and for a second and third one on top, until the
//! doctor finds nothing more.

use std::time::Instant;

use doctor::{Finding, Record, Settings, Verdict, judge};
use kernels::Cpu;

use crate::Error;
use crate::diagnosis::cure::Form;
use crate::diagnosis::probe;
use crate::diagnosis::trial::{self, Trial};
use crate::run::config::Config;
use crate::run::setup::Setup;

/// Maximum number of cures of a treatment.
const ROUNDS: usize = 3;

/// Result of a treatment.
#[derive(Clone, Debug, PartialEq)]
pub struct Treatment {
    /// Trials of all searches, in order.
    pub trials: Vec<Trial>,
    /// Cures that were applied, in order; empty if none is better.
    pub cures: Vec<Form>,
    /// The cured configuration, if there is one.
    pub cured: Option<Config>,
    /// The cured network, measured as the sick one was.
    pub after: Option<(Record, Verdict)>,
    /// `true` if the time was over before the search was.
    pub out_of_time: bool,
    /// `true` if the data are at fault, so that no configuration was tried.
    pub data_at_fault: bool,
}

/// `true` if the most likely cause is in the data: its cures are all changes of the data.
fn is_of_data(finding: &Finding) -> bool {
    !finding.cures.is_empty() && finding.cures.iter().all(|cure| cure.is_of_data())
}

/// Treats the run `setup`, which was measured as `record` and judged with `settings`.
///
/// # Errors
/// [`Error::Network`] if there is not enough memory.
pub fn treat(
    setup: &Setup,
    cpu: Cpu<'_>,
    record: &Record,
    verdict: &Verdict,
    settings: &Settings,
    deadline: Instant,
) -> Result<Treatment, Error> {
    let mut treatment = Treatment {
        trials: Vec::new(),
        cures: Vec::new(),
        cured: None,
        after: None,
        out_of_time: false,
        data_at_fault: false,
    };
    if verdict.is_healthy() {
        return Ok(treatment);
    }
    if verdict.findings.first().is_some_and(is_of_data) {
        treatment.data_at_fault = true;
        return Ok(treatment);
    }
    let mut current: Option<(Setup, Record, Verdict)> = None;
    for _ in 0..ROUNDS {
        let (setup, record, verdict) = match &current {
            Some((setup, record, verdict)) => (setup, record, verdict),
            None => (setup, record, verdict),
        };
        if verdict.is_healthy() {
            break;
        }
        let found = trial::search(setup, cpu, record, &verdict.findings, deadline)?;
        treatment.trials.extend(found.trials);
        treatment.out_of_time = found.out_of_time;
        let Some(form) = found.winner else { break };
        let cured = setup.with_config(form.config.clone())?;
        treatment.cured = Some(form.config.clone());
        treatment.cures.push(form);
        let record = probe::probe(&cured, cpu, &mut |_, _| {})?;
        let verdict = judge(&record, settings);
        treatment.after = Some((record.clone(), verdict.clone()));
        current = Some((cured, record, verdict));
        if treatment.out_of_time {
            break;
        }
    }
    Ok(treatment)
}

/// Lines of the configuration that differ: `- key = old`, `+ key = new`.
///
/// # Errors
/// [`Error::Usage`] if a value cannot be written in TOML.
pub fn difference(before: &Config, after: &Config) -> Result<Vec<String>, Error> {
    let lines = |config: &Config| -> Result<Vec<(String, String)>, Error> {
        let table = toml::Table::try_from(config).map_err(|error| {
            Error::Usage(format!("the configuration cannot be written: {error}"))
        })?;
        Ok(table.into_iter().map(|(key, value)| (key, value.to_string())).collect())
    };
    let (before, after) = (lines(before)?, lines(after)?);
    let mut difference = Vec::new();
    let value = |lines: &[(String, String)], key: &str| {
        lines.iter().find(|(other, _)| other == key).map(|(_, value)| value.clone())
    };
    let mut keys: Vec<&String> = before.iter().chain(&after).map(|(key, _)| key).collect();
    keys.sort();
    keys.dedup();
    for key in keys {
        let (old, new) = (value(&before, key), value(&after, key));
        if old != new {
            difference.extend(old.map(|old| format!("- {key} = {old}")));
            difference.extend(new.map(|new| format!("+ {key} = {new}")));
        }
    }
    Ok(difference)
}
