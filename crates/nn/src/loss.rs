//! Losses: what a network's outputs are compared with, how, and the gradient of that by the outputs.
//!
//! Losses take logits: softmax and its like live inside them, so that applying one twice cannot be written.

use kernels::argmax::argmax;
use kernels::{Cpu, loss};

use crate::Error;
use crate::error::check_length;
use crate::layer::Float;

/// What the outputs of a batch should have been.
#[derive(Clone, Copy, Debug)]
pub enum Targets<'a, T> {
    /// A class for each row.
    Labels(&'a [u32]),
    /// A number for each output of each row: probabilities, or values to be met.
    Values(&'a [T]),
}

impl<'a, T> From<&'a [u32]> for Targets<'a, T> {
    fn from(labels: &'a [u32]) -> Self {
        Self::Labels(labels)
    }
}
impl<'a, T, const N: usize> From<&'a [u32; N]> for Targets<'a, T> {
    fn from(labels: &'a [u32; N]) -> Self {
        Self::Labels(labels)
    }
}

/// How outputs and targets are compared. The loss of a batch is the mean over its rows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Loss {
    /// Softmax cross-entropy with a class a row, in nats.
    #[default]
    CrossEntropy,
}

/// Rows and what they are compared with.
pub(crate) struct Outputs<'a, T> {
    pub(crate) rows: usize,
    /// Elements of a row.
    pub(crate) width: usize,
    pub(crate) values: &'a [T],
    pub(crate) targets: Targets<'a, T>,
}

impl Loss {
    /// How many losses a row has.
    pub(crate) fn per_row(self) -> usize {
        match self {
            Self::CrossEntropy => 1,
        }
    }

    /// The losses of all rows, and the gradient of their mean by the outputs, if there is room for it.
    pub(crate) fn run<T: Float>(
        self,
        cpu: Cpu<'_>,
        outputs: &Outputs<'_, T>,
        losses: &mut [T],
        doutputs: Option<&mut [T]>,
    ) -> Result<(), Error> {
        let &Outputs { rows, width, values, targets } = outputs;
        let scale = T::from_f64(1.0 / rows as f64);
        match (self, targets) {
            (Self::CrossEntropy, Targets::Labels(labels)) => {
                check_length("labels", rows, labels.len())?;
                let (plain, labels) = (loss::CrossEntropy::default(), loss::Targets::Labels(labels));
                match doutputs {
                    Some(dvalues) => plain.gradient(cpu, values, width, labels, scale, losses, dvalues)?,
                    None => plain.losses(cpu, values, width, labels, losses)?,
                }
            }
            (Self::CrossEntropy, Targets::Values(_)) => {
                return Err(Error::Targets { expected: "a class a row", got: "values" });
            }
        }
        Ok(())
    }

    /// How many rows are answered right: whose largest output is that of their label. 0 where targets are no labels.
    pub(crate) fn correct<T: Float>(
        self,
        cpu: Cpu<'_>,
        outputs: &Outputs<'_, T>,
        answers: &mut [u32],
    ) -> Result<usize, Error> {
        let Targets::Labels(labels) = outputs.targets else { return Ok(0) };
        argmax(cpu, outputs.values, outputs.width, answers)?;
        Ok(answers.iter().zip(labels).filter(|(answer, label)| answer == label).count())
    }
}
