//! Losses of a network's outputs against targets, and their gradients with respect to the outputs.
//!
//! Losses take logits: softmax and sigmoid are part of the loss, so that they cannot be applied
//! twice.

use alloc::vec::Vec;

use kernels::Cpu;
use kernels::argmax::argmax;
use kernels::loss::{
    self as kernel, BinaryCrossEntropy, CrossEntropy, Hinge, HingeForm, KullbackLeibler, Poisson,
    Regression,
};

use crate::Error;
use crate::error::{check_length, check_parameter};
use crate::layer::Float;
use crate::metrics::is_prediction;

/// Targets of a batch.
#[derive(Clone, Copy, Debug)]
pub enum Targets<'a, T> {
    /// A class per row. Losses that compare values use its one-hot encoding.
    Labels(&'a [u32]),
    /// A value per output: probabilities, or regression targets.
    Values(&'a [T]),
}

impl<'a, T: Float> Targets<'a, T> {
    /// Checks that there are as many labels as rows.
    pub(crate) fn fitting(self, rows: usize) -> Result<Self, Error> {
        if let Self::Labels(labels) = self {
            check_length("labels", rows, labels.len())?;
        }
        Ok(self)
    }

    /// Number of rows whose largest output is that of their label; 0 if the targets are not labels.
    ///
    /// A row whose largest output is NaN or infinite has no prediction and is not counted.
    pub(crate) fn correct(
        self,
        cpu: Cpu<'_>,
        outputs: &[T],
        width: usize,
        predictions: &mut [u32],
    ) -> Result<usize, Error> {
        let Self::Labels(labels) = self else { return Ok(0) };
        argmax(cpu, outputs, width, predictions)?;
        let rows = outputs.chunks_exact(width.max(1)).zip(predictions.iter().zip(labels));
        Ok(rows
            .filter(|(row, (prediction, label))| prediction == label && is_prediction(row))
            .count())
    }

    /// Converts labels to one-hot values in `one_hot`, if `loss` compares values.
    pub(crate) fn one_hot(
        self,
        loss: Loss,
        width: usize,
        one_hot: &'a mut [T],
    ) -> Result<Self, Error> {
        let Self::Labels(labels) = self else { return Ok(self) };
        if !loss.compares_values() {
            return Ok(self);
        }
        let one_hot = &mut one_hot[..labels.len() * width];
        one_hot.fill(T::ZERO);
        for (row, (values, &label)) in one_hot.chunks_exact_mut(width).zip(labels).enumerate() {
            let value = values.get_mut(label as usize);
            *value.ok_or(kernels::Error::Label { row, classes: width, got: label as usize })? =
                T::ONE;
        }
        Ok(Self::Values(one_hot))
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

/// Loss function. The loss of a batch is the mean over its rows; that of a row with several values
/// is the mean over these.
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
    /// Softmax cross-entropy, in nats, with a class or a distribution per row. PyTorch:
    /// `CrossEntropyLoss`.
    CrossEntropy {
        /// Label smoothing: the share of each target spread over all classes, 0 to 1 (Szegedy et
        /// al., CVPR 2016).
        #[cfg_attr(feature = "serde", serde(default))]
        smoothing: f64,
    },
    /// Binary cross-entropy of each output's sigmoid. PyTorch: `BCEWithLogitsLoss`.
    BinaryCrossEntropy {
        /// Weight of positive targets, finite and at least 0. PyTorch: `pos_weight`.
        #[cfg_attr(feature = "serde", serde(default = "one"))]
        positive_weight: f64,
    },
    /// Multi-class hinge loss of a linear support vector machine, with a class per row: the mean of
    /// `max(0, margin - z[y] + z[j])` over all classes but the label. PyTorch: `MultiMarginLoss`.
    Hinge {
        /// Margin between the label's output and the others.
        #[cfg_attr(feature = "serde", serde(default = "one"))]
        margin: f64,
        /// `true` if violations are squared.
        #[cfg_attr(feature = "serde", serde(default))]
        squared: bool,
    },
    /// Mean squared error. PyTorch: `MSELoss`.
    Mse,
    /// Mean absolute error. PyTorch: `L1Loss`.
    Mae,
    /// Huber loss: squared within `delta`, absolute beyond. PyTorch: `HuberLoss`.
    Huber {
        /// Difference at which the loss becomes linear.
        #[cfg_attr(feature = "serde", serde(default = "one"))]
        delta: f64,
    },
    /// Mean of `ln(cosh(output - target))`: half the square near 0, the absolute difference minus
    /// ln 2 far from it. Keras: `LogCosh`.
    LogCosh,
    /// Poisson negative log-likelihood of counts, without its constant term:
    /// `e^output - target * output`, or `output - target * ln(output + 1e-8)`. PyTorch:
    /// `PoissonNLLLoss`.
    Poisson {
        /// `true` if outputs are logarithms of rates, `false` if they are rates.
        #[cfg_attr(feature = "serde", serde(default = "crate::keys::yes"))]
        log_input: bool,
    },
    /// Kullback-Leibler divergence of the softmax of the outputs from a distribution per row, in
    /// nats: `sum of t (ln t - ln p)`. With a class per row it is the cross-entropy. PyTorch:
    /// `KLDivLoss(reduction="batchmean")` of the log-softmax.
    KlDivergence,
    /// Mean squared error of probabilities: those of the softmax of a row's outputs, or of each
    /// output's sigmoid. Brier's score of a row (Brier, 1950) divided by the number of classes.
    /// PyTorch: `MSELoss` of `softmax(outputs)` or `sigmoid(outputs)`.
    Brier {
        /// `true` for the sigmoid of each output, `false` for the softmax of each row.
        #[cfg_attr(feature = "serde", serde(default))]
        sigmoid: bool,
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

/// Weight of each class in the cross-entropy, in each type that a network computes in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ClassWeights {
    pub(crate) narrow: Vec<f32>,
    pub(crate) wide: Vec<f64>,
}

impl ClassWeights {
    /// # Errors
    /// [`Error::ClassWeights`] unless `loss` is the cross-entropy; [`Error::Length`] unless there
    /// is one weight per output, `width` in all; [`kernels::Error::Parameter`] unless each is
    /// finite and above 0, as an f32 too.
    pub(crate) fn new(loss: Loss, width: usize, weights: &[f64]) -> Result<Self, Error> {
        if !matches!(loss, Loss::CrossEntropy { .. }) {
            return Err(Error::ClassWeights);
        }
        check_length("class_weights", width, weights.len())?;
        let narrow: Vec<f32> = weights.iter().map(|&weight| weight as f32).collect();
        for (&weight, &rounded) in weights.iter().zip(&narrow) {
            let allowed = weight.is_finite() && rounded > 0.0 && rounded.is_finite();
            check_parameter(
                "class_weights",
                "finite numbers above 0, as f32 too",
                weight,
                allowed,
            )?;
        }
        Ok(Self { narrow, wide: weights.into() })
    }
}

/// Sum of the losses of a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sum {
    /// Sum of the rows' losses.
    pub(crate) loss: f64,
    /// Divisor of the mean: the number of rows, or the sum of their class weights.
    pub(crate) weight: f64,
}

/// Outputs of a batch with their targets.
pub(crate) struct Outputs<'a, T> {
    pub(crate) rows: usize,
    /// Elements per row.
    pub(crate) width: usize,
    pub(crate) values: &'a [T],
    pub(crate) targets: Targets<'a, T>,
    /// One weight per class, for the cross-entropy alone.
    pub(crate) class_weights: Option<&'a [T]>,
}

impl Loss {
    /// `true` if a row has one loss, `false` if each of its outputs has one.
    fn is_per_row(self) -> bool {
        matches!(self, Self::CrossEntropy { .. } | Self::Hinge { .. } | Self::KlDivergence)
    }

    /// Number of losses per row of `width` outputs.
    pub(crate) fn per_row(self, width: usize) -> usize {
        if self.is_per_row() { 1 } else { width }
    }

    /// `true` if outputs are compared with values, so that labels become one-hot.
    pub(crate) fn compares_values(self) -> bool {
        !self.is_per_row()
    }

    /// `true` for a loss of the difference between output and target: mse, mae, Huber and log-cosh.
    /// Their targets may be [standardised](crate::Network::standardises_targets).
    pub fn compares_differences(self) -> bool {
        self.regression().is_some()
    }

    /// The kernel of a loss of the difference between output and target.
    pub(crate) fn regression(self) -> Option<Regression> {
        match self {
            Self::Mse => Some(Regression::Squared),
            Self::Mae => Some(Regression::Absolute),
            Self::Huber { delta } => Some(Regression::Huber { delta }),
            Self::LogCosh => Some(Regression::LogCosh),
            Self::CrossEntropy { .. }
            | Self::BinaryCrossEntropy { .. }
            | Self::Hinge { .. }
            | Self::Poisson { .. }
            | Self::KlDivergence
            | Self::Brier { .. } => None,
        }
    }

    /// Checks that the parameters are in range.
    ///
    /// # Errors
    /// [`kernels::Error::Parameter`] for the first that is not.
    pub fn check(self) -> Result<(), Error> {
        Ok(match self {
            Self::CrossEntropy { smoothing } => {
                CrossEntropy::<f64> { smoothing, ..CrossEntropy::default() }.check()
            }
            Self::BinaryCrossEntropy { positive_weight } => {
                BinaryCrossEntropy { positive_weight }.check()
            }
            Self::Hinge { margin, squared } => hinge(margin, squared).check(),
            Self::Mse | Self::Mae | Self::Huber { .. } | Self::LogCosh => {
                self.regression().map_or(Ok(()), |loss| loss.check())
            }
            Self::Poisson { .. } | Self::KlDivergence | Self::Brier { .. } => Ok(()),
        }?)
    }

    /// Computes the losses, and the gradient of their mean in `doutputs`, if given. Sums the rows'
    /// losses and weights in ascending order in f64.
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
            (Self::KlDivergence, Targets::Values(targets)) => match doutputs {
                Some(dvalues) => {
                    KullbackLeibler
                        .gradient(cpu, values, width, targets, scale, losses, dvalues)?;
                }
                None => KullbackLeibler.losses(cpu, values, width, targets, losses)?,
            },
            // The entropy of a class is 0.
            (Self::CrossEntropy { .. } | Self::KlDivergence, _) => {
                let smoothing = match self {
                    Self::CrossEntropy { smoothing } => smoothing,
                    _ => 0.0,
                };
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
                    Some(dvalues) => {
                        loss.gradient(cpu, values, width, targets, scale, losses, dvalues)?;
                    }
                    None => loss.losses(cpu, values, width, targets, losses)?,
                }
            }
            (Self::Hinge { margin, squared }, Targets::Labels(labels)) => {
                let loss = hinge(margin, squared);
                match doutputs {
                    Some(dvalues) => {
                        loss.gradient(cpu, values, width, labels, scale, losses, dvalues)?;
                    }
                    None => loss.losses(cpu, values, width, labels, losses)?,
                }
            }
            (Self::Hinge { .. }, _) => {
                return Err(Error::Targets { expected: "a class a row", got: "values" });
            }
            // `Targets::one_hot` has converted them.
            (_, Targets::Labels(_)) => {
                return Err(Error::Targets {
                    expected: "a value for each output",
                    got: "a class a row",
                });
            }
            (Self::BinaryCrossEntropy { positive_weight }, Targets::Values(targets)) => {
                let (loss, scale) =
                    (BinaryCrossEntropy { positive_weight }, mean_scale(rows, width));
                match doutputs {
                    Some(dvalues) => loss.gradient(cpu, values, targets, scale, losses, dvalues)?,
                    None => loss.losses(cpu, values, targets, losses)?,
                }
            }
            (Self::Poisson { log_input }, Targets::Values(targets)) => {
                let (loss, scale) = (Poisson { log_input }, mean_scale(rows, width));
                match doutputs {
                    Some(dvalues) => loss.gradient(cpu, values, targets, scale, losses, dvalues)?,
                    None => loss.losses(cpu, values, targets, losses)?,
                }
            }
            (Self::Brier { sigmoid }, Targets::Values(targets)) => {
                let loss = if sigmoid { kernel::Brier::Sigmoid } else { kernel::Brier::Softmax };
                match doutputs {
                    Some(dvalues) => {
                        let scale = mean_scale(rows, width);
                        loss.gradient(cpu, values, width, targets, scale, losses, dvalues)?;
                    }
                    None => loss.losses(cpu, values, width, targets, losses)?,
                }
            }
            (
                Self::Mse | Self::Mae | Self::Huber { .. } | Self::LogCosh,
                Targets::Values(targets),
            ) => {
                let Some(loss) = self.regression() else { unreachable!("they are regressions") };
                match doutputs {
                    Some(dvalues) => {
                        let scale = mean_scale(rows, width);
                        loss.gradient(cpu, values, targets, scale, losses, dvalues)?;
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

const fn hinge(margin: f64, squared: bool) -> Hinge {
    Hinge { form: HingeForm::All, margin, squared, ignore: None }
}

/// Scale of each output's loss in the mean.
fn mean_scale<T: Float>(rows: usize, width: usize) -> T {
    T::from_f64(1.0 / (rows.max(1) as f64 * width as f64))
}
