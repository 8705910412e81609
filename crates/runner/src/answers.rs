//! What a network answers to a set of examples: a class each, and how probable it holds every class.
//!
//! `eval`, `predict` and the [report](crate::report) begin here.

use kernels::softmax::softmax_in_place;
use kernels::{Cpu, argmax::argmax};
use nn::metrics::Confusion;
use nn::{Network, Score, Targets};

use crate::Error;
use crate::data::Labelled;
use crate::element::Element;
use crate::scoring::Scorer;
use crate::weights::Weights;

/// Answers to some examples of a set, in their order.
#[derive(Clone, Debug)]
pub struct Answers {
    /// Outputs of the network: at least as many as the set has classes.
    pub classes: usize,
    /// The examples, by their place in the set.
    pub examples: Vec<u32>,
    /// Their classes.
    pub labels: Vec<u32>,
    /// The classes that the network answers with: the first of the most probable.
    pub answers: Vec<u32>,
    /// How probable it holds each class of each example: `[examples, classes]`.
    pub probabilities: Vec<f64>,
    /// Loss and hits.
    pub score: Score,
}

impl Answers {
    /// The answers of `network` with `weights` to the examples `indices` of `set`.
    ///
    /// # Errors
    /// Those of [`Scorer::score`].
    pub fn new<T: Element>(
        network: &Network,
        cpu: Cpu<'_>,
        weights: &mut Weights<T>,
        set: &Labelled,
        indices: &[u32],
    ) -> Result<Self, Error> {
        let classes = network.outputs();
        let mut all = Self {
            classes,
            examples: indices.into(),
            labels: Vec::with_capacity(indices.len()),
            answers: Vec::with_capacity(indices.len()),
            probabilities: Vec::with_capacity(indices.len() * classes),
            score: Score::default(),
        };
        let (mut logits, mut refused) = (Vec::new(), None);
        all.score = Scorer::new(network, cpu)?.score_each(
            network,
            cpu,
            weights,
            set,
            indices,
            |targets, outputs| {
                let Targets::Labels(labels) = targets else { return };
                let first = all.labels.len();
                all.labels.extend(labels);
                all.answers.resize(first + labels.len(), 0);
                logits.clear();
                logits.extend_from_slice(outputs);
                let answered = argmax(cpu, &logits, classes, &mut all.answers[first..])
                    .and_then(|()| softmax_in_place(cpu, &mut logits, classes));
                refused = refused.or(answered.err());
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

    /// How probable the network holds what it answers to example `at`.
    pub fn confidence(&self, at: usize) -> f64 {
        self.row(at)[self.answers[at] as usize]
    }

    /// Whether the answer to example `at` is right.
    pub fn is_right(&self, at: usize) -> bool {
        self.labels[at] == self.answers[at]
    }

    /// Which class was answered with which.
    ///
    /// # Errors
    /// None: labels and answers are classes.
    pub fn confusion(&self) -> Result<Confusion, Error> {
        Ok(Confusion::new(&self.labels, &self.answers, self.classes)?)
    }
}
