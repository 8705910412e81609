//! Scores on the validation set: shared by the rules on labels and classes.

use alloc::vec::Vec;

use crate::record::Record;
use crate::statistics::fraction_margin;

/// Recall of a class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Recall {
    /// Class.
    pub(crate) class: usize,
    /// Validation examples of the class.
    pub(crate) examples: u64,
    /// Number of them that are classified correctly.
    pub(crate) correct: u64,
}

impl Recall {
    /// Fraction of the class's examples that are classified correctly.
    pub(crate) fn recall(&self) -> f64 {
        self.correct as f64 / self.examples.max(1) as f64
    }
}

/// Recalls of the classes with validation examples, by the last epoch that counted them.
pub(crate) fn recalls(record: &Record) -> Vec<Recall> {
    let counted = |epoch: &&crate::record::Epoch| !epoch.correct_counts.is_empty();
    let Some(epoch) = record.epochs.iter().rev().find(counted) else { return Vec::new() };
    let examples = record.data.as_ref().map(|data| &data.validation_class_counts[..]);
    let counts = examples.unwrap_or_default().iter().zip(&epoch.correct_counts);
    let recalls = counts.enumerate().map(|(class, (&examples, &correct))| Recall {
        class,
        examples,
        correct: correct.min(examples),
    });
    recalls.filter(|recall| recall.examples > 0).collect()
}

/// Recall of several classes as one; `None` if they have no examples.
pub(crate) fn pooled(recalls: impl IntoIterator<Item = Recall>) -> Option<Recall> {
    recalls.into_iter().reduce(|a, b| Recall {
        class: a.class,
        examples: a.examples.saturating_add(b.examples),
        correct: a.correct.saturating_add(b.correct),
    })
}

/// Number of validation examples; 0 if unknown.
pub(crate) fn validation_examples(record: &Record) -> u64 {
    let count = |counts: &[u64]| counts.iter().fold(0, |sum: u64, &n| sum.saturating_add(n));
    let data = record.data.as_ref();
    let candidates = [
        data.map_or(0, |data| data.validation),
        data.map_or(0, |data| count(&data.validation_class_counts)),
        record.epochs.last().map_or(0, |epoch| count(&epoch.predicted_counts)),
    ];
    candidates.into_iter().find(|&count| count > 0).unwrap_or(0)
}

/// Half width of the interval of the validation accuracy `p` at `z` standard deviations. An unknown
/// number of examples counts as 100.
pub(crate) fn validation_margin(record: &Record, p: f64, z: f64) -> f64 {
    let examples = validation_examples(record);
    fraction_margin(p, if examples > 0 { examples } else { 100 }, z)
}

/// Fraction of what is left above chance by which an accuracy must beat it. Groups of examples that
/// look alike get one prediction: their accuracies scatter more than those of single examples.
pub(crate) const ABOVE_CHANCE: f64 = 0.05;

/// `true` if the network or the reference once beat `chance` on the validation set, by four
/// standard deviations: its labels have to do with the inputs.
pub(crate) fn beats_chance(record: &Record, chance: f64) -> bool {
    let epochs = record.epochs.iter().filter_map(|epoch| epoch.val_accuracy);
    let reference = record.reference.as_ref().and_then(|reference| reference.val_accuracy);
    let best = epochs.chain(reference).fold(f64::NEG_INFINITY, f64::max);
    best > chance + validation_margin(record, chance, 4.0) + ABOVE_CHANCE * (1.0 - chance)
}

/// `true` if a layer of the network is of a kind that contains `name`.
pub(crate) fn has_layer(record: &Record, name: &str) -> bool {
    record.model.layers.iter().any(|layer| layer.kind.contains(name))
}
