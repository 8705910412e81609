//! The verdict on a record: all rules, with the symptoms of one cause in one finding.
//!
//! ```text
//! for each rule that is not ignored     findings = rule(record)
//! for each finding                      if another's rule causes it, it becomes its symptom
//! sort                                  severity, then confidence, then the order of the rules
//! ```

use alloc::string::String;
use alloc::vec::Vec;

use crate::finding::{Finding, Severity};
use crate::progress::Progress;
use crate::record::Record;
use crate::rule::{ALL, Context, Rule};
use crate::settings::Settings;

/// Verdict on a training.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Findings, the most severe and most likely cause first.
    pub findings: Vec<Finding>,
    /// How well the training goes.
    pub progress: Progress,
}

impl Verdict {
    /// `true` if no finding is a warning or critical.
    pub fn is_healthy(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity == Severity::Info)
    }
}

/// Checks `record` by all rules.
pub fn judge(record: &Record, settings: &Settings) -> Verdict {
    let progress = Progress::new(record);
    let mut findings = Vec::new();
    for &rule in ALL {
        if settings.ignore.contains(rule.id) {
            continue;
        }
        for mut finding in (rule.check)(&Context { record, progress, rule, settings }) {
            if let Some(&severity) = settings.severity.get(rule.id) {
                finding.severity = severity;
            }
            findings.push(finding);
        }
    }
    // Stable: equal ones stay in the order of the rules.
    findings
        .sort_by(|a, b| b.severity.cmp(&a.severity).then(b.confidence.total_cmp(&a.confidence)));
    Verdict { findings: with_symptoms(findings), progress }
}

/// Makes each finding that another finding's rule causes a symptom of it, the first such in order.
/// A mere fact explains nothing that is worse.
fn with_symptoms(findings: Vec<Finding>) -> Vec<Finding> {
    let causes = |cause: &Finding, symptom: &Finding| {
        let rule = Rule::find(&cause.id);
        cause.id != symptom.id
            && cause.severity >= symptom.severity
            && rule.is_some_and(|rule| rule.symptoms().any(|id| id == symptom.id))
    };
    // The root of each finding: follow the causes, at most as many as there are findings. Two that
    // cause each other have the first of them as root.
    let parent: Vec<Option<usize>> = findings
        .iter()
        .map(|symptom| findings.iter().position(|cause| causes(cause, symptom)))
        .collect();
    let root = |start: usize| {
        let mut at = start;
        for _ in 0..findings.len() {
            let Some(next) = parent[at] else { return at };
            at = next;
        }
        // As many steps as there are findings: it is on a cycle.
        let (on_cycle, mut first) = (at, at);
        while let Some(next) = parent[at].filter(|&next| next != on_cycle) {
            at = next;
            first = first.min(at);
        }
        first
    };
    let roots: Vec<usize> = (0..findings.len()).map(root).collect();
    let symptoms_of = |index: usize| {
        let of_index = (0..findings.len()).filter(|&i| i != index && roots[i] == index);
        let mut ids: Vec<String> = of_index.map(|i| findings[i].id.clone()).collect();
        ids.dedup();
        ids
    };
    let symptoms: Vec<Vec<String>> = (0..findings.len()).map(symptoms_of).collect();
    let mut kept = Vec::new();
    for (index, (mut finding, symptoms)) in findings.into_iter().zip(symptoms).enumerate() {
        if roots[index] == index {
            finding.symptoms = symptoms;
            kept.push(finding);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roots(findings: &[(&str, f64)]) -> Vec<(String, Vec<String>)> {
        let finding = |&(id, confidence): &(&str, f64)| {
            Finding::new(id, Severity::Critical, "".into()).with_confidence(confidence)
        };
        let kept = with_symptoms(findings.iter().map(finding).collect());
        kept.into_iter().map(|finding| (finding.id, finding.symptoms)).collect()
    }

    #[test]
    fn symptoms_of_symptoms_have_one_root() {
        let found = [("random-labels", 0.9), ("label-noise", 0.7), ("plateau", 0.2)];
        let kept = roots(&found);
        assert_eq!(kept.len(), 1, "{kept:?}");
        assert_eq!(kept[0].0, "random-labels");
        assert_eq!(kept[0].1, ["label-noise", "plateau"]);
        assert_eq!(roots(&[("plateau", 0.2), ("loss-spikes", 0.1)])[0].0, "loss-spikes");
    }

    #[test]
    fn two_findings_that_cause_each_other_do_not_vanish() {
        let kept = roots(&[("shifted-labels", 0.9), ("split-shift", 0.6), ("confusion", 0.3)]);
        assert_eq!(kept.len(), 1, "{kept:?}");
        assert_eq!(kept[0].0, "shifted-labels");
        assert_eq!(kept[0].1, ["split-shift", "confusion"]);
    }
}
