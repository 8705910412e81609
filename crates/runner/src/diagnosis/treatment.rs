//! Treatment of a network: searches for a cure, and for a second and third one on top, until the
//! doctor finds nothing more.

use std::collections::BTreeSet;
use std::time::Instant;

use doctor::{Finding, Record, Settings, Verdict, judge};
use kernels::Cpu;
use toml::Value;

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

/// Lines of the configuration that differ: `- key = old`, `+ key = new`. Of a list, such as the
/// layers, those elements from the first to the last that differ: `- layers[3] = old`.
///
/// # Errors
/// [`Error::Usage`] if a value cannot be written in TOML.
pub fn difference(before: &Config, after: &Config) -> Result<Vec<String>, Error> {
    let table = |config: &Config| {
        toml::Table::try_from(config)
            .map_err(|error| Error::Usage(format!("the configuration cannot be written: {error}")))
    };
    let (before, after) = (table(before)?, table(after)?);
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let mut difference = Vec::new();
    for key in keys {
        let (old, new) = (before.get(key), after.get(key));
        if old == new {
            continue;
        }
        if let (Some(Value::Array(old)), Some(Value::Array(new))) = (old, new) {
            let shorter = old.len().min(new.len());
            let same = old.iter().zip(new).take_while(|(a, b)| a == b).count();
            let back = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
            let back = back.min(shorter - same);
            let mut add = |sign: char, list: &[Value]| {
                for (index, value) in list.iter().enumerate().take(list.len() - back).skip(same) {
                    difference.push(format!("{sign} {key}[{index}] = {value}"));
                }
            };
            add('-', old);
            add('+', new);
            continue;
        }
        difference.extend(old.map(|old| format!("- {key} = {old}")));
        difference.extend(new.map(|new| format!("+ {key} = {new}")));
    }
    Ok(difference)
}

#[cfg(test)]
mod tests {
    use nn::{Activation, Init, LayerSpec};

    use super::*;

    #[test]
    fn of_a_list_only_the_elements_that_differ_are_lines() {
        let with = |lr: Option<f64>, layers: &[LayerSpec]| Config {
            lr,
            layers: Some(layers.to_vec()),
            ..Config::default()
        };
        let (first, last) = (LayerSpec::dense(8, Init::HeNormal), LayerSpec::dense(2, Init::Zeros));
        let before = with(None, &[first.clone(), Activation::Tanh.into(), last.clone()]);
        let relu: LayerSpec = Activation::Relu.into();
        let after = with(Some(0.5), &[first.clone(), relu.clone(), relu.clone(), last.clone()]);
        let lines = difference(&before, &after).expect("lines");
        let expected = [
            "- layers[1] = { kind = \"tanh\" }",
            "+ layers[1] = { kind = \"relu\" }",
            "+ layers[2] = { kind = \"relu\" }",
            "+ lr = 0.5",
        ];
        assert_eq!(lines, expected);
        let twice = with(None, &[first.clone(), relu.clone(), relu.clone(), last.clone()]);
        let once = with(None, &[first, relu, last]);
        assert_eq!(
            difference(&twice, &once).expect("lines"),
            ["- layers[2] = { kind = \"relu\" }"]
        );
        assert!(difference(&once, &once).expect("no lines").is_empty());
    }
}
