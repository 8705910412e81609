//! Settings of the user: rules to ignore, severities and thresholds.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;

use crate::finding::Severity;
use crate::rule::{ALL, Rule};

/// Settings of the doctor.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Settings {
    /// Names of rules that are not checked.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "BTreeSet::is_empty"))]
    pub ignore: BTreeSet<String>,
    /// Severity of a rule's findings, by its name, in place of the measured one.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "BTreeMap::is_empty"))]
    pub severity: BTreeMap<String, Severity>,
    /// Thresholds by rule and key.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "BTreeMap::is_empty"))]
    pub thresholds: BTreeMap<String, BTreeMap<String, f64>>,
}

/// A setting that names no rule or no threshold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownName {
    message: String,
}

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl core::error::Error for UnknownName {}

impl Settings {
    /// Checks that every name is that of a rule or of its threshold, and that thresholds are
    /// finite.
    ///
    /// # Errors
    /// [`UnknownName`] with the name and those that there are.
    pub fn check(&self) -> Result<(), UnknownName> {
        let rule = |id: &str| {
            Rule::find(id).ok_or_else(|| {
                let known = ALL.iter().map(|rule| rule.id).collect::<alloc::vec::Vec<_>>();
                let message =
                    format!("expected the name of a rule ({}), got {id}", known.join(", "));
                UnknownName { message }
            })
        };
        for id in self.ignore.iter().chain(self.severity.keys()) {
            rule(id)?;
        }
        for (id, thresholds) in &self.thresholds {
            let rule = rule(id)?;
            for (key, value) in thresholds {
                let keys = rule.thresholds.iter().map(|threshold| threshold.key);
                if !keys.clone().any(|known| known == key) {
                    let known = match keys.collect::<alloc::vec::Vec<_>>().join(", ") {
                        none if none.is_empty() => "it has none".to_string(),
                        known => known,
                    };
                    let message = format!("expected a threshold of {id} ({known}), got {key}");
                    return Err(UnknownName { message });
                }
                if !value.is_finite() {
                    let message = format!("expected a finite threshold {id}.{key}, got {value}");
                    return Err(UnknownName { message });
                }
            }
        }
        Ok(())
    }

    /// The user's threshold `key` of rule `id`.
    pub fn threshold(&self, id: &str, key: &str) -> Option<f64> {
        self.thresholds.get(id)?.get(key).copied()
    }
}
