//! `evenkeel diagnose --suite`: the doctor's score on a folder of cases.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;

use crate::Error;
use crate::commands::output;
use crate::data::replace::replace_with;
use crate::diagnosis::suite::{Case, Score};
use crate::machine::terminal;

/// Work on the cases.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Work {
    /// Diagnose each, and cure it within so many seconds if that is above 0.
    Score(f64),
    /// Measure the harm of the cases that have no file of it yet.
    Measure,
}

/// Fractions of one half of the cases.
#[derive(Debug, Serialize)]
struct Figures {
    /// Families of these cases.
    half: &'static str,
    faulty: usize,
    /// Kinds of faults among them.
    kinds: usize,
    detected: usize,
    named: usize,
    /// Cases with a layer, and those of them that are located.
    with_layer: usize,
    located: usize,
    /// Cases that were treated, and those of them that are repaired.
    treated: usize,
    repaired: usize,
    repaired_at_random: usize,
    healthy: usize,
    false_alarms: usize,
    /// Faulty and healthy cases with findings at the first verdict.
    detected_first: usize,
    false_alarms_first: usize,
    /// Medians, in seconds.
    first_seconds: f64,
    verdict_seconds: f64,
    cure_seconds: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Outcome<'a> {
    figures: Vec<Figures>,
    cases: &'a [Score],
}

/// Runs the cases in `folder`, those whose name has `only` in it. Their records are written to the
/// folder `records`, if there is one.
///
/// # Errors
/// Errors of a case.
pub fn suite(
    folder: &Path,
    only: &str,
    work: Work,
    records: Option<&Path>,
    json: bool,
) -> Result<(), Error> {
    let mut cases = Case::read_all(folder)?;
    cases.retain(|case| case.name.contains(only));
    let mut scores = Vec::new();
    for (number, case) in (1..).zip(&cases) {
        match work {
            Work::Score(budget) => {
                let score = case.score(folder, budget, records)?;
                terminal::say(&format!("{number}/{}: {}", cases.len(), line(&score)));
                scores.push(score);
            }
            Work::Measure => {
                let path = folder.join(format!("{}.json", case.name));
                if !path.exists() {
                    let harm = case.measure()?;
                    let text = serde_json::to_string(&harm)
                        .map_err(|error| Error::Usage(format!("harm: {error}")))?;
                    replace_with(&path, (text.clone() + "\n").as_bytes())?;
                    terminal::say(&format!("{number}/{}: {} {text}", cases.len(), case.name));
                }
            }
        }
    }
    if work == Work::Measure {
        return Ok(());
    }
    let figures: Vec<_> =
        [("calibration", true), ("evaluation", false)].map(|half| figures(&scores, half)).into();
    if json {
        let text = serde_json::to_string_pretty(&Outcome { figures, cases: &scores });
        return output::print(&text.map_err(|error| Error::Usage(format!("suite: {error}")))?);
    }
    output::print(&table(&figures))
}

/// A case as a line of progress.
fn line(score: &Score) -> String {
    let mark = |is_right: bool| if is_right { "yes" } else { "NO" };
    let mut line = format!("{:<34} {:<26}", score.name, score.kind);
    if score.faulty {
        line += &format!(" detected {:<3} named {:<3}", mark(score.detected), mark(score.named));
        if let Some(located) = score.located {
            line += &format!(" located {:<3}", mark(located));
        }
        if let Some(repaired) = score.repaired {
            line += &format!(" repaired {:<3} ({})", mark(repaired), score.cures.join("; "));
        }
        if let Some(repaired) = score.repaired_at_random {
            line += &format!(" at random {:<3} ({})", mark(repaired), score.random_trials);
        }
    } else {
        line += if score.detected { " FALSE ALARM" } else { " silent" };
    }
    line + &format!(" {:.1} s  {}", score.verdict_seconds, score.findings.join(" "))
}

fn figures(scores: &[Score], (half, calibration): (&'static str, bool)) -> Figures {
    let of_half = || scores.iter().filter(|score| score.calibration == calibration);
    let count = |is: &dyn Fn(&Score) -> bool| of_half().filter(|score| is(score)).count();
    let median =
        |of: &dyn Fn(&Score) -> Option<f64>| doctor::statistics::median(of_half().filter_map(of));
    Figures {
        half,
        faulty: count(&|score| score.faulty),
        kinds: of_half()
            .filter(|score| score.faulty)
            .map(|score| &score.kind)
            .collect::<BTreeSet<_>>()
            .len(),
        detected: count(&|score| score.faulty && score.detected),
        named: count(&|score| score.faulty && score.named),
        with_layer: count(&|score| score.located.is_some()),
        located: count(&|score| score.located == Some(true)),
        treated: count(&|score| score.repaired.is_some()),
        repaired: count(&|score| score.repaired == Some(true)),
        repaired_at_random: count(&|score| score.repaired_at_random == Some(true)),
        detected_first: count(&|score| score.faulty && score.detected_first),
        false_alarms_first: count(&|score| !score.faulty && score.detected_first),
        healthy: count(&|score| !score.faulty),
        false_alarms: count(&|score| !score.faulty && score.detected),
        first_seconds: median(&|score| Some(score.first_seconds)).unwrap_or_default(),
        verdict_seconds: median(&|score| Some(score.verdict_seconds)).unwrap_or_default(),
        cure_seconds: median(&|score| score.cure_seconds),
    }
}

fn table(figures: &[Figures]) -> String {
    let mut lines = Vec::new();
    for half in figures {
        let seconds = |seconds: Option<f64>| seconds.map_or("-".into(), |s| format!("{s:.1} s"));
        lines.push(format!(
            "{}: {} faulty of {} kinds, {} healthy",
            half.half, half.faulty, half.kinds, half.healthy
        ));
        for (name, part, whole) in [
            ("detected", half.detected, half.faulty),
            ("named first", half.named, half.faulty),
            ("located", half.located, half.with_layer),
            ("repaired", half.repaired, half.treated),
            ("  at random", half.repaired_at_random, half.treated),
            ("false alarms", half.false_alarms, half.healthy),
            ("first verdict: detected", half.detected_first, half.faulty),
            ("  false alarms", half.false_alarms_first, half.healthy),
        ] {
            if whole > 0 {
                let percent = 100.0 * part as f64 / whole as f64;
                lines.push(format!("  {name:<24} {part:>3} of {whole:>3} {percent:>6.1} %"));
            }
        }
        lines.push(format!(
            "  medians: first verdict {}, verdict {}, cure {}",
            seconds(Some(half.first_seconds)),
            seconds(Some(half.verdict_seconds)),
            seconds(half.cure_seconds)
        ));
    }
    lines.join("\n")
}
