//! Findings: what a rule says of a record.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::cure::Cure;
use crate::symptoms;

/// Severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Severity {
    /// A fact that explains others, or a risk. The training may be healthy.
    Info,
    /// The training works less well than it could.
    Warning,
    /// The training fails, or its result is worthless.
    Critical,
}

impl Severity {
    /// Name, as configuration files spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A measured number, and the threshold that it crossed.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Evidence {
    /// Name of the quantity: `gradient norm of the first layer over that of the last`.
    pub quantity: String,
    /// Measured value.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub value: f64,
    /// Threshold of the rule, if the number has one.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none", with = "crate::number::option")
    )]
    pub threshold: Option<f64>,
}

/// A fault that a rule found.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Finding {
    /// Name of the rule: `vanishing-gradient`.
    pub id: String,
    /// Severity.
    pub severity: Severity,
    /// Layer or tensor where the fault is, if it is in one.
    pub layer: Option<String>,
    /// First step that shows it, if steps do.
    pub step: Option<u64>,
    /// Measured numbers.
    pub evidence: Vec<Evidence>,
    /// One sentence: the fault, where it is, and by how much.
    pub message: String,
    /// Cures, the most promising first.
    pub cures: Vec<Cure>,
    /// Names of other rules whose findings are symptoms of this one.
    #[cfg_attr(feature = "serde", serde(default))]
    pub symptoms: Vec<String>,
    /// Rank among findings of one severity: the probability, 0 to 1, that the fault is the cause
    /// of what is wrong.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub confidence: f64,
}

impl Finding {
    /// `true` if the finding is about the course of the training, which the first few steps do not
    /// show: that it learns too little, too slowly, or unsteadily.
    pub fn is_of_the_course(&self) -> bool {
        let groups = [symptoms::NOT_LEARNING, symptoms::SLOW, symptoms::ERRATIC];
        groups.concat().contains(&&self.id[..])
    }

    /// A finding with this name, severity and message, and nothing else yet.
    pub fn new(id: &str, severity: Severity, message: String) -> Self {
        Self {
            id: id.into(),
            severity,
            layer: None,
            step: None,
            evidence: Vec::new(),
            message,
            cures: Vec::new(),
            symptoms: Vec::new(),
            confidence: 0.5,
        }
    }

    /// Sets the layer.
    #[must_use]
    pub fn at_layer(mut self, layer: impl Into<String>) -> Self {
        self.layer = Some(layer.into());
        self
    }

    /// Sets the step.
    #[must_use]
    pub fn at_step(mut self, step: u64) -> Self {
        self.step = Some(step);
        self
    }

    /// Adds a measured number with its threshold.
    #[must_use]
    pub fn with(mut self, quantity: &str, value: f64, threshold: impl Into<Option<f64>>) -> Self {
        let threshold = threshold.into();
        self.evidence.push(Evidence { quantity: quantity.into(), value, threshold });
        self
    }

    /// Sets the cures.
    #[must_use]
    pub fn cured_by(mut self, cures: impl Into<Vec<Cure>>) -> Self {
        self.cures = cures.into();
        self
    }

    /// Sets the confidence, 0 to 1.
    #[must_use]
    pub fn with_confidence(mut self, confidence: f64) -> Self {
        self.confidence = confidence.clamp(0.0, 1.0);
        self
    }
}
