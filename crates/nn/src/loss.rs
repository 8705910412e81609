//! Losses: what a network's outputs are compared with, how, and the gradient of that by the outputs.
//!
//! Losses take logits: softmax and its like live inside them, so that applying one twice cannot be written.

use alloc::vec::Vec;

use kernels::Cpu;
use kernels::argmax::argmax;
use kernels::loss::{self as kernel, BinaryCrossEntropy, CrossEntropy, Hinge, HingeForm, Regression};

use crate::Error;
use crate::error::{check_length, check_parameter};
use crate::layer::Float;
use crate::metrics::is_prediction;

/// What the outputs of a batch should have been.
#[derive(Clone, Copy, Debug)]
pub enum Targets<'a, T> {
    /// A class for each row. Losses that compare values take 1 for the class's output and 0 for the others.
    Labels(&'a [u32]),
    /// A number for each output of each row: probabilities, or values to be met.
    Values(&'a [T]),
}

impl<'a, T: Float> Targets<'a, T> {
    /// Itself, if labels are as many as there are rows.
    pub(crate) fn fitting(self, rows: usize) -> Result<Self, Error> {
        if let Self::Labels(labels) = self {
            check_length("labels", rows, labels.len())?;
        }
        Ok(self)
    }

    /// Number of rows whose largest output is that of their label. 0 where targets are no labels.
    ///
    /// A row whose largest output is NaN or infinite has no prediction and is not counted.
    pub(crate) fn correct(
        self,
        cpu: Cpu<'_>,
        outputs: &[T],
        width: usize,
        answers: &mut [u32],
    ) -> Result<usize, Error> {
        let Self::Labels(labels) = self else { return Ok(0) };
        argmax(cpu, outputs, width, answers)?;
        let rows = outputs.chunks_exact(width.max(1)).zip(answers.iter().zip(labels));
        Ok(rows.filter(|(row, (answer, label))| answer == label && is_prediction(row)).count())
    }

    /// What `loss` compares outputs of `width` with: labels become ones and zeros in `room`, if values are compared.
    pub(crate) fn spread(self, loss: Loss, width: usize, room: &'a mut [T]) -> Result<Self, Error> {
        let Self::Labels(labels) = self else { return Ok(self) };
        if !loss.compares_values() {
            return Ok(self);
        }
        let room = &mut room[..labels.len() * width];
        room.fill(T::ZERO);
        for (row, (values, &label)) in room.chunks_exact_mut(width).zip(labels).enumerate() {
            let value = values.get_mut(label as usize);
            *value.ok_or(kernels::Error::Label { row, classes: width, got: label as usize })? = T::ONE;
        }
        Ok(Self::Values(room))
    }
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

/// How outputs and targets are compared. The loss of a batch is the mean over its rows; that of a row with several numbers to meet is
/// the mean over these.
///
/// In a configuration file, `"cross_entropy"`, or `{ kind = "huber", delta = 1.0 }`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)
)]
#[non_exhaustive]
pub enum Loss {
    /// Softmax cross-entropy, in nats, with a class or a distribution a row. PyTorch: `CrossEntropyLoss`.
    CrossEntropy {
        /// How much of each target is spread over all classes: 0 to 1 (Szegedy et al., CVPR 2016).
        #[cfg_attr(feature = "serde", serde(default))]
        smoothing: f64,
    },
    /// Binary cross-entropy of each output's sigmoid. PyTorch: `BCEWithLogitsLoss`.
    BinaryCrossEntropy {
        /// How much more a positive target counts.
        #[cfg_attr(feature = "serde", serde(default = "one"))]
        positive_weight: f64,
    },
    /// The hinge of a linear support vector machine, with a class a row: the mean of `max(0, margin - z[y] + z[j])` over all classes
    /// but the label. PyTorch: `MultiMarginLoss`.
    Hinge {
        /// How far the label's output shall be ahead.
        #[cfg_attr(feature = "serde", serde(default = "one"))]
        margin: f64,
        /// Whether violations are squared.
        #[cfg_attr(feature = "serde", serde(default))]
        squared: bool,
    },
    /// The mean of squared differences. PyTorch: `MSELoss`.
    Mse,
    /// The mean of absolute differences. PyTorch: `L1Loss`.
    Mae,
    /// Squared near 0, absolute from `delta` on. PyTorch: `HuberLoss`.
    Huber {
        /// Where the one becomes the other.
        #[cfg_attr(feature = "serde", serde(default = "one"))]
        delta: f64,
    },
}

#[cfg(feature = "serde")]
fn one() -> f64 {
    1.0
}

impl Default for Loss {
    fn default() -> Self {
        Self::CrossEntropy { smoothing: 0.0 }
    }
}

/// One factor a class on the cross-entropy of its rows, in each type that a network computes in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ClassWeights {
    pub(crate) narrow: Vec<f32>,
    pub(crate) wide: Vec<f64>,
}

impl ClassWeights {
    /// # Errors
    /// [`Error::ClassWeights`] unless `loss` is the cross-entropy; [`Error::Length`] unless there
    /// is a weight for each of `width` outputs; [`kernels::Error::Parameter`] unless each is finite
    /// and above 0, as an f32 too.
    pub(crate) fn new(loss: Loss, width: usize, weights: &[f64]) -> Result<Self, Error> {
        if !matches!(loss, Loss::CrossEntropy { .. }) {
            return Err(Error::ClassWeights);
        }
        check_length("class_weights", width, weights.len())?;
        let narrow: Vec<f32> = weights.iter().map(|&weight| weight as f32).collect();
        for (&weight, &rounded) in weights.iter().zip(&narrow) {
            let allowed = weight.is_finite() && rounded > 0.0 && rounded.is_finite();
            check_parameter("class_weights", "finite numbers above 0, as f32 too", weight, allowed)?;
        }
        Ok(Self { narrow, wide: weights.into() })
    }
}

/// Losses of a batch, summed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sum {
    /// Sum of the rows' losses.
    pub(crate) loss: f64,
    /// Divisor of their mean: the rows, or the sum of their classes' weights.
    pub(crate) weight: f64,
}

/// Rows and what they are compared with.
pub(crate) struct Outputs<'a, T> {
    pub(crate) rows: usize,
    /// Elements of a row.
    pub(crate) width: usize,
    pub(crate) values: &'a [T],
    pub(crate) targets: Targets<'a, T>,
    /// One factor for each of `width` classes; of the cross-entropy alone.
    pub(crate) class_weights: Option<&'a [T]>,
}

impl Loss {
    /// How many losses a row of `width` outputs has.
    pub(crate) fn per_row(self, width: usize) -> usize {
        match self {
            Self::CrossEntropy { .. } | Self::Hinge { .. } => 1,
            _ => width,
        }
    }

    /// Whether it compares each output with a value, so that labels stand for ones and zeros.
    pub(crate) fn compares_values(self) -> bool {
        !matches!(self, Self::CrossEntropy { .. } | Self::Hinge { .. })
    }

    /// `true` if it is of the difference between an output and a value.
    pub(crate) fn is_regression(self) -> bool {
        matches!(self, Self::Mse | Self::Mae | Self::Huber { .. })
    }

    /// Whether its numbers are in range.
    ///
    /// # Errors
    /// [`kernels::Error::Parameter`] for the first that is not.
    pub fn check(self) -> Result<(), Error> {
        // What the numbers may be, the kernels say where there are no rows.
        let targets = if self.compares_values() { Targets::Values(&[]) } else { Targets::Labels(&[]) };
        let outputs = Outputs::<f32> { rows: 0, width: 1, values: &[], targets, class_weights: None };
        self.run(Cpu::detect(), &outputs, &mut [], None).map(|_| ())
    }

    /// Losses, and the gradient of their mean by the outputs if there is room for it. The sums of
    /// the rows' losses and weights are added in ascending order in f64.
    pub(crate) fn run<T: Float>(
        self,
        cpu: Cpu<'_>,
        outputs: &Outputs<'_, T>,
        losses: &mut [T],
        doutputs: Option<&mut [T]>,
    ) -> Result<Sum, Error> {
        let &Outputs { rows, width, values, targets, class_weights } = outputs;
        if let Targets::Values(values) = targets.fitting(rows)? {
            check_length("values", rows * width, values.len())?;
        }
        let (scale, mut weight) = (T::from_f64(1.0 / rows.max(1) as f64), rows as f64);
        match (self, targets) {
            (Self::CrossEntropy { smoothing }, _) => {
                let targets = match targets {
                    Targets::Labels(labels) => kernel::Targets::Labels(labels),
                    Targets::Values(values) => kernel::Targets::Distributions(values),
                };
                let loss = CrossEntropy { smoothing, weights: class_weights, ignore: None };
                let mut scale = scale;
                if class_weights.is_some() {
                    weight = loss.total_weight(width, targets)?;
                    scale = T::from_f64(1.0 / weight);
                }
                match doutputs {
                    Some(dvalues) => loss.gradient(cpu, values, width, targets, scale, losses, dvalues)?,
                    None => loss.losses(cpu, values, width, targets, losses)?,
                }
            }
            (Self::Hinge { margin, squared }, Targets::Labels(labels)) => {
                let loss = Hinge { form: HingeForm::All, margin, squared, ignore: None };
                match doutputs {
                    Some(dvalues) => loss.gradient(cpu, values, width, labels, scale, losses, dvalues)?,
                    None => loss.losses(cpu, values, width, labels, losses)?,
                }
            }
            (Self::Hinge { .. }, _) => {
                return Err(Error::Targets { expected: "a class a row", got: "values" });
            }
            // `Targets::spread` has made values of them.
            (_, Targets::Labels(_)) => {
                return Err(Error::Targets { expected: "a value for each output", got: "a class a row" });
            }
            (Self::BinaryCrossEntropy { positive_weight }, Targets::Values(targets)) => {
                let (loss, scale) = (BinaryCrossEntropy { positive_weight }, each(rows, width));
                match doutputs {
                    Some(dvalues) => loss.gradient(cpu, values, targets, scale, losses, dvalues)?,
                    None => loss.losses(cpu, values, targets, losses)?,
                }
            }
            (Self::Mse | Self::Mae | Self::Huber { .. }, Targets::Values(targets)) => {
                let loss = match self {
                    Self::Mae => Regression::Absolute,
                    Self::Huber { delta } => Regression::Huber { delta },
                    _ => Regression::Squared,
                };
                match doutputs {
                    Some(dvalues) => {
                        loss.gradient(cpu, values, targets, each(rows, width), losses, dvalues)?;
                    }
                    None => loss.losses(cpu, values, targets, losses)?,
                }
            }
        }
        let sum = losses.iter().fold(0.0, |sum, loss| sum + loss.to_f64());
        let loss = if self.per_row(width) == 1 { sum } else { sum / width as f64 };
        Ok(Sum { loss, weight })
    }
}

/// The factor of each output's share in the mean.
fn each<T: Float>(rows: usize, width: usize) -> T {
    T::from_f64(1.0 / (rows.max(1) as f64 * width as f64))
}
