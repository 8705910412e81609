//! Rules: each finds one kind of fault in a record, and explains itself.
//!
//! [`ALL`] lists them. A rule is a file in `rules` and a line in that list.

use alloc::vec::Vec;
use core::fmt;

use crate::cure::Cure;
use crate::finding::Finding;
use crate::progress::Progress;
use crate::record::Record;
pub use crate::rules::ALL;
use crate::settings::Settings;

/// A rule: its text, its thresholds and its check.
pub struct Rule {
    /// Name: `vanishing-gradient`.
    pub id: &'static str,
    /// The fault in a few words: `The gradient vanishes towards the first layers`.
    pub title: &'static str,
    /// Definition of the fault, and its harm.
    pub meaning: &'static str,
    /// Measurement and condition, as a formula.
    pub formula: &'static str,
    /// Where the thresholds come from: theory or calibration.
    pub origin: &'static str,
    /// Publications.
    pub references: &'static str,
    /// Thresholds.
    pub thresholds: &'static [Threshold],
    /// Cures, the most promising first.
    pub cures: &'static [Cure],
    /// Names of rules whose findings this fault causes, in groups: they become its symptoms.
    pub causes: &'static [&'static [&'static str]],
    /// Finds the fault in a record; several findings if several layers have it for reasons of
    /// their own.
    pub check: fn(&Context<'_>) -> Vec<Finding>,
}

/// A threshold of a rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    /// Name within the rule: `ratio`.
    pub key: &'static str,
    /// Default.
    pub default: f64,
    /// Quantity that it bounds.
    pub meaning: &'static str,
}

/// Input of a rule's check.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The record.
    pub record: &'a Record,
    /// How well the training goes.
    pub progress: Progress,
    /// The rule itself.
    pub rule: &'a Rule,
    /// The user's settings.
    pub settings: &'a Settings,
}

impl Context<'_> {
    /// Threshold `key` of the rule: the user's, or else its default.
    ///
    /// # Panics
    /// If the rule declares no such threshold: a mistake in the rule.
    pub fn threshold(&self, key: &str) -> f64 {
        let declared = self.rule.thresholds.iter().find(|threshold| threshold.key == key);
        let default = declared.expect("a threshold that the rule declares").default;
        self.settings.threshold(self.rule.id, key).unwrap_or(default)
    }

    /// A finding of this rule with its cures, critical if the training is harmed as a whole, and a
    /// mere fact if it goes well: style is not illness.
    pub fn finding(&self, message: alloc::string::String) -> Finding {
        Finding::new(self.rule.id, self.progress.severity(), message).cured_by(self.rule.cures)
    }
}

impl Rule {
    /// Names of the rules whose findings this fault causes.
    pub fn symptoms(&self) -> impl Iterator<Item = &'static str> {
        self.causes.iter().copied().flatten().copied()
    }

    /// Rule with this name.
    pub fn find(id: &str) -> Option<&'static Self> {
        ALL.iter().copied().find(|rule| rule.id == id)
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The rule's text, in Markdown: what `explain` prints.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, title, meaning, formula, origin, references, .. } = self;
        writeln!(f, "# {id}\n\n{title}.\n\n{meaning}\n\n## Measurement\n\n{formula}\n")?;
        if !self.thresholds.is_empty() {
            writeln!(f, "## Thresholds\n\n| key | default | meaning |\n|---|---|---|")?;
            for Threshold { key, default, meaning } in self.thresholds {
                writeln!(f, "| `{key}` | {default} | {meaning} |")?;
            }
            writeln!(f)?;
        }
        writeln!(f, "{origin}\n")?;
        if !self.cures.is_empty() {
            writeln!(f, "## Cures\n")?;
            for (number, cure) in (1..).zip(self.cures) {
                writeln!(f, "{number}. {cure}")?;
            }
            writeln!(f)?;
        }
        if !self.causes.is_empty() {
            write!(f, "## Symptoms\n\nIt may cause ")?;
            for (index, id) in self.symptoms().enumerate() {
                write!(f, "{}`{id}`", if index == 0 { "" } else { ", " })?;
            }
            writeln!(f, ".\n")?;
        }
        write!(f, "## References\n\n{references}")
    }
}
