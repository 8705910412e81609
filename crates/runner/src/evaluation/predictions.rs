//! Predictions of a classifier for a set of examples: the class of each, and the probability of
//! every class.
//!
//! Computed by `eval`, `predict`, and `train` for the [report](crate::report).

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
use crate::run::weights::ModelWeights;

/// Predictions for some examples of a set, in their order.
#[derive(Clone, Debug)]
pub struct Predictions {
    /// Number of outputs of the network: at least the number of classes of the set.
    pub classes: usize,
    /// Indices of the examples in the set.
    pub examples: Vec<u32>,
    /// Labels of the examples.
    pub labels: Vec<u32>,
    /// Predicted class of each example: the first of the most probable ones. `None` if outputs are
    /// NaN or infinite.
    pub predicted: Vec<Option<u32>>,
    /// Probability of each class: `[examples, classes]`. NaN if there is no prediction.
    pub probabilities: Vec<f64>,
    /// Loss, and number of correct predictions.
    pub score: Score,
}

impl Predictions {
    /// Predictions of `network` with `weights` for the examples `indices` of `set`.
    ///
    /// # Errors
    /// Errors of [`Scorer::score`]; [`Error::Network`] if there is not enough memory for the
    /// probabilities.
    pub fn new<T: Element>(
        network: &Network,
        cpu: Cpu<'_>,
        weights: &mut ModelWeights<T>,
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
            predicted: Vec::with_capacity(indices.len()),
            probabilities: reserve(cells).map_err(no_memory)?,
            score: Score::default(),
        };
        let (mut probabilities, mut classes_of_batch, mut failed) = (Vec::new(), Vec::new(), None);
        all.score = Scorer::new(network, cpu)?.score_each(
            network,
            cpu,
            weights,
            set,
            indices,
            |targets, outputs| {
                let nn::Targets::Labels(labels) = targets else { return };
                all.labels.extend(labels);
                probabilities.clear();
                probabilities.extend_from_slice(outputs);
                classes_of_batch.resize(labels.len(), 0);
                let computed = argmax(cpu, outputs, classes, &mut classes_of_batch)
                    .and_then(|()| softmax_in_place(cpu, &mut probabilities, classes));
                failed = failed.or(computed.err());
                let rows = outputs.chunks_exact(classes).zip(&classes_of_batch);
                all.predicted.extend(rows.map(|(row, &class)| is_prediction(row).then_some(class)));
                all.probabilities.extend(probabilities.iter().map(|p| p.to_f64()));
            },
        )?;
        match failed {
            Some(error) => Err(nn::Error::from(error).into()),
            None => Ok(all),
        }
    }

    /// Number of examples.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// `true` if there are no examples.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Probabilities of the classes of example `index`.
    pub fn row(&self, index: usize) -> &[f64] {
        &self.probabilities[index * self.classes..][..self.classes]
    }

    /// Probability of the predicted class of example `index`. `None` if it has no prediction.
    pub fn confidence(&self, index: usize) -> Option<f64> {
        self.predicted[index].map(|class| self.row(index)[class as usize])
    }

    /// `true` if the prediction for example `index` is correct; `false` if there is none.
    pub fn is_right(&self, index: usize) -> bool {
        self.predicted[index] == Some(self.labels[index])
    }

    /// Indices of the examples without a prediction.
    pub fn unpredicted(&self) -> Vec<u32> {
        let without =
            self.examples.iter().zip(&self.predicted).filter(|(_, class)| class.is_none());
        without.map(|(&example, _)| example).collect()
    }

    /// Confusion matrix.
    ///
    /// # Errors
    /// [`Error::Network`] if there is not enough memory for the matrix.
    pub fn confusion(&self) -> Result<Confusion, Error> {
        Ok(Confusion::new(&self.labels, &self.predicted, self.classes)?)
    }
}

/// Maximum number of rows that the error names.
const MAX_NAMED: usize = 5;

/// Checks that every row has a prediction. `unpredicted` has the names of those without one, `of`
/// is the number of all rows, and `noun` their unit name.
///
/// # Errors
/// [`Error::Unpredicted`] has the number of rows without a prediction, and names the first few.
pub(crate) fn require_predictions(
    unpredicted: &[String],
    of: usize,
    noun: &'static str,
) -> Result<(), Error> {
    if unpredicted.is_empty() {
        return Ok(());
    }
    let rest = unpredicted.len().saturating_sub(MAX_NAMED);
    let mut rows = unpredicted[..unpredicted.len() - rest].join(", ");
    if rest > 0 {
        rows.push_str(&format!(" and {rest} more"));
    }
    Err(Error::Unpredicted { count: unpredicted.len(), total: of, unit_name: noun, rows })
}
