//! What a network answers to a set of examples: a class each, and how probable it holds every class.
//!
//! `eval`, `predict` and the [report](crate::report) begin here.

use kernels::Cpu;
use kernels::argmax::argmax;
use kernels::softmax::softmax_in_place;
use nn::metrics::{Confusion, is_prediction};
use nn::{Network, Score};

use crate::Error;
use crate::data::Labelled;
use crate::data::element::Element;
use crate::evaluation::scorer::Scorer;
use crate::machine::memory::reserve;
use crate::run::weights::Weights;

/// Predictions to some examples of a set, in their order.
#[derive(Clone, Debug)]
pub struct Predictions {
    /// Outputs of the network: at least as many as the set has classes.
    pub classes: usize,
    /// The examples, by their place in the set.
    pub examples: Vec<u32>,
    /// Their classes.
    pub labels: Vec<u32>,
    /// The predicted classes: the first of the most probable. `None` where outputs are NaN or
    /// infinite.
    pub answers: Vec<Option<u32>>,
    /// How probable it holds each class of each example: `[examples, classes]`. NaN where there is
    /// no prediction.
    pub probabilities: Vec<f64>,
    /// Loss and hits.
    pub score: Score,
}

impl Predictions {
    /// The answers of `network` with `weights` to the examples `indices` of `set`.
    ///
    /// # Errors
    /// As for [`Scorer::score`]; [`Error::Network`] if there is no memory for the probabilities.
    pub fn new<T: Element>(
        network: &Network,
        cpu: Cpu<'_>,
        weights: &mut Weights<T>,
        set: &Labelled,
        indices: &[u32],
    ) -> Result<Self, Error> {
        let classes = network.outputs();
        let cells = indices.len().saturating_mul(classes);
        let no_memory = |_| nn::Error::Memory { bytes: cells.saturating_mul(size_of::<f64>()) };
        let mut all = Self {
            classes,
            examples: indices.into(),
            labels: Vec::with_capacity(indices.len()),
            answers: Vec::with_capacity(indices.len()),
            probabilities: reserve(cells).map_err(no_memory)?,
            score: Score::default(),
        };
        let (mut logits, mut greatest, mut refused) = (Vec::new(), Vec::new(), None);
        all.score = Scorer::new(network, cpu)?.score_each(
            network,
            cpu,
            weights,
            set,
            indices,
            |targets, outputs| {
                let nn::Targets::Labels(labels) = targets else { return };
                all.labels.extend(labels);
                logits.clear();
                logits.extend_from_slice(outputs);
                greatest.resize(labels.len(), 0);
                let answered = argmax(cpu, outputs, classes, &mut greatest)
                    .and_then(|()| softmax_in_place(cpu, &mut logits, classes));
                refused = refused.or(answered.err());
                let rows = outputs.chunks_exact(classes).zip(&greatest);
                all.answers.extend(rows.map(|(row, &class)| is_prediction(row).then_some(class)));
                all.probabilities.extend(logits.iter().map(|p| p.to_f64()));
            },
        )?;
        match refused {
            Some(error) => Err(nn::Error::from(error).into()),
            None => Ok(all),
        }
    }

    /// Number of examples.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The probabilities of the classes of example `at`.
    pub fn row(&self, at: usize) -> &[f64] {
        &self.probabilities[at * self.classes..][..self.classes]
    }

    /// Probability of the predicted class of example `at`. `None` if it has no prediction.
    pub fn confidence(&self, at: usize) -> Option<f64> {
        self.answers[at].map(|class| self.row(at)[class as usize])
    }

    /// `true` if the prediction for example `at` is right. No prediction is wrong.
    pub fn is_right(&self, at: usize) -> bool {
        self.answers[at] == Some(self.labels[at])
    }

    /// The examples without a prediction.
    pub fn unpredicted(&self) -> Vec<u32> {
        let without =
            self.examples.iter().zip(&self.answers).filter(|(_, answer)| answer.is_none());
        without.map(|(&example, _)| example).collect()
    }

    /// Which class was answered with which.
    ///
    /// # Errors
    /// None: labels and answers are classes.
    pub fn confusion(&self) -> Result<Confusion, Error> {
        Ok(Confusion::new(&self.labels, &self.answers, self.classes)?)
    }
}

/// Number of rows that the error names.
const MOST_NAMED: usize = 5;

/// Checks that no row is without a prediction. `unpredicted` holds the names of those that are,
/// `of` counts all rows, which are called `noun`.
///
/// # Errors
/// [`Error::Unpredicted`] counts them and names the first few.
pub(crate) fn require_predictions(
    unpredicted: &[String],
    of: usize,
    noun: &'static str,
) -> Result<(), Error> {
    if unpredicted.is_empty() {
        return Ok(());
    }
    let rest = unpredicted.len().saturating_sub(MOST_NAMED);
    let mut rows = unpredicted[..unpredicted.len() - rest].join(", ");
    if rest > 0 {
        rows.push_str(&format!(" and {rest} more"));
    }
    Err(Error::Unpredicted { count: unpredicted.len(), total: of, unit_name: noun, rows })
}
