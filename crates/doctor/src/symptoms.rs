//! Groups of rules whose findings have the same causes: the lists of [`Rule::causes`] name them.
//!
//! [`Rule::causes`]: crate::rule::Rule::causes

/// The training learns nothing, or too little, for whatever reason.
pub(crate) const NOT_LEARNING: &[&str] = &[
    "loss-not-decreasing",
    "accuracy-at-chance",
    "stalled-training",
    "plateau",
    "underfitting",
    "collapsed-predictions",
    "confusion",
];

/// The training would need more or larger steps.
pub(crate) const SLOW: &[&str] = &["too-few-steps", "schedule-starves", "batch-too-large"];

/// The loss jumps from step to step.
pub(crate) const ERRATIC: &[&str] =
    &["oscillation", "loss-spikes", "skipped-steps", "batch-too-small"];

/// Consequences of inputs or targets that are far from 1: of every layer and of the optimizer.
pub(crate) const EXTREME: &[&str] = &[
    "learning-rate-too-high",
    "learning-rate-too-low",
    "exploding-updates",
    "exploding-gradient",
    "initial-loss",
    "dead-relu",
    "saturation",
    "constant-output",
    "clip-always",
    "clip-never",
    "overfit-one-batch-fails",
    "frozen-layer",
    "unchanged-parameters",
    "optimizer-momentum",
];
