//! Predictions of a regression or a reconstruction and their metrics, which `eval` prints for
//! examples with values.

use std::fmt;

use kernels::{Cpu, math};
use nn::{Loss, Network, Score};
use serde::Serialize;

use crate::Error;
use crate::data::Labelled;
use crate::data::element::Element;
use crate::evaluation::scorer::Scorer;
use crate::run::weights::ModelWeights;

/// Predictions and targets of some rows, in their order.
#[derive(Clone, Debug)]
pub(crate) struct RegressionPredictions {
    /// Values per row: 1, or the inputs of a reconstruction.
    pub(crate) width: usize,
    /// Target values, `[rows, width]`.
    pub(crate) targets: Vec<f64>,
    /// Predicted values, `[rows, width]`.
    pub(crate) predicted: Vec<f64>,
    /// Loss of the run.
    pub(crate) score: Score,
    /// Standard deviation of the target values trained on, if losses are in units of it.
    pub(crate) target_std: Option<f64>,
}

impl RegressionPredictions {
    /// Predictions of `network` with `weights` for the rows `indices` of `set`. Outputs that are
    /// logarithms of rates become [rates](to_values).
    ///
    /// # Errors
    /// Errors of [`Scorer::score`].
    pub(crate) fn new<T: Element>(
        network: &Network,
        cpu: Cpu<'_>,
        weights: &mut ModelWeights<T>,
        set: &Labelled,
        indices: &[u32],
    ) -> Result<Self, Error> {
        let (mut targets, mut predicted) = (Vec::new(), Vec::new());
        let score = Scorer::new(network, cpu)?.score_each(
            network,
            cpu,
            weights,
            set,
            indices,
            |batch_targets, outputs| {
                if let nn::Targets::Values(values) = batch_targets {
                    targets.extend(values.iter().map(|value| value.to_f64()));
                }
                predicted.extend(outputs.iter().map(|value| value.to_f64()));
            },
        )?;
        let predicted = to_values(network.loss(), cpu, predicted)?;
        Ok(Self {
            width: network.outputs(),
            targets,
            predicted,
            score,
            target_std: target_unit(network, &weights.buffers).map(|[_, std]| std),
        })
    }

    /// Rows with an output that is NaN or infinite.
    pub(crate) fn unpredicted(&self) -> Vec<u32> {
        (0..)
            .zip(self.predicted.chunks_exact(self.width.max(1)))
            .filter(|(_, values)| !values.iter().all(|value| value.is_finite()))
            .map(|(row, _)| row)
            .collect()
    }
}

/// Values that the `outputs` of a network with this loss predict: e^output for the Poisson loss of
/// logarithms, the sigmoid for the binary cross-entropy, otherwise the outputs themselves.
///
/// # Errors
/// None of its own: the kernel's operands are equally long.
pub(crate) fn to_values(loss: Loss, cpu: Cpu<'_>, outputs: Vec<f64>) -> Result<Vec<f64>, Error> {
    let function = match loss {
        Loss::Poisson { log_input: true } => math::exp,
        Loss::BinaryCrossEntropy { .. } => math::sigmoid,
        _ => return Ok(outputs),
    };
    let mut values = vec![0.0; outputs.len()];
    function(cpu, &outputs, &mut values).map_err(nn::Error::from)?;
    Ok(values)
}

/// Returns mean and standard deviation of the target values that `network` was trained on, if it
/// standardises them and has one output: columns of a reconstruction have one each.
pub(crate) fn target_unit<T: Element>(network: &Network, buffers: &[T]) -> Option<[f64; 2]> {
    let (mean, std) = network.target_unit(buffers)?;
    if network.outputs() != 1 {
        return None;
    }
    Some([mean.first()?.to_f64(), std.first()?.to_f64()])
}

/// ` (values in units of 2.5000)`: the note next to a loss whose unit is this standard deviation.
/// Empty for a loss in the values' own unit.
pub(crate) fn loss_unit_note(unit: Option<f64>) -> String {
    unit.map(|std| format!(" (values in units of {})", decimal(std, 4))).unwrap_or_default()
}

/// Formats `value` with `decimals` decimals, or with an exponent if it is below 0.01 or not below
/// 10,000,000.
pub(crate) fn decimal(value: f64, decimals: usize) -> String {
    if value != 0.0 && value.is_finite() && !(1e-2..1e7).contains(&value.abs()) {
        return format!("{value:.decimals$e}");
    }
    format!("{value:.decimals$}")
}

/// Metrics of a regression, in the unit of the target values.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RegressionMetrics {
    /// Number of rows. Errors are over all values of them.
    pub images: usize,
    /// Rows without a prediction, since the output is NaN or infinite, by index from 0.
    pub unpredicted: Vec<u32>,
    /// Mean loss.
    #[serde(with = "crate::run::json")]
    pub loss: f64,
    /// Standard deviation of the target values trained on, if the loss is in units of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_std: Option<f64>,
    /// Mean of the absolute errors.
    #[serde(with = "crate::run::json")]
    pub mean_absolute_error: f64,
    /// Square root of the mean of the squared errors.
    #[serde(with = "crate::run::json")]
    pub root_mean_squared_error: f64,
    /// Coefficient of determination: the fraction of the targets' variance that the predictions
    /// explain. 0 is that of their mean; `null` if all targets are equal.
    pub r_squared: Option<f64>,
}

impl RegressionMetrics {
    /// Metrics of `predictions`.
    pub(crate) fn new(predictions: &RegressionPredictions) -> Self {
        let RegressionPredictions { width, targets, predicted, score, target_std } = predictions;
        let count = targets.len() as f64;
        let mean = targets.iter().sum::<f64>() / count;
        let errors = || targets.iter().zip(predicted).map(|(target, value)| target - value);
        let squares: f64 = errors().map(|error| error * error).sum();
        let variance: f64 = targets.iter().map(|target| (target - mean) * (target - mean)).sum();
        Self {
            images: targets.len() / (*width).max(1),
            unpredicted: predictions.unpredicted(),
            loss: score.mean_loss(),
            target_std: *target_std,
            mean_absolute_error: errors().map(f64::abs).sum::<f64>() / count,
            root_mean_squared_error: (squares / count).sqrt(),
            r_squared: (variance > 0.0).then(|| 1.0 - squares / variance),
        }
    }
}

impl fmt::Display for RegressionMetrics {
    /// All but the loss, for a terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mean_absolute_error, root_mean_squared_error, r_squared, .. } = self;
        writeln!(f, "mean absolute error      {}", decimal(*mean_absolute_error, 4))?;
        writeln!(f, "root mean squared error  {}", decimal(*root_mean_squared_error, 4))?;
        let r_squared = r_squared.map_or_else(|| "-".into(), |value| format!("{value:.4}"));
        write!(f, "explained variance (R²)  {r_squared}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_readable_in_any_unit() {
        assert_eq!([0.0, 13.0, -0.5].map(|value| decimal(value, 2)), ["0.00", "13.00", "-0.50"]);
        assert_eq!([2.5e-7, -3e9].map(|value| decimal(value, 2)), ["2.50e-7", "-3.00e9"]);
        assert_eq!(decimal(f64::INFINITY, 2), "inf");
    }

    #[test]
    fn metrics_follow_their_formulas() {
        let score = Score { rows: 4, loss: 2.0, weight: 4.0, correct: 0 };
        let (targets, predicted) = (vec![1.0, 2.0, 3.0, 4.0], vec![1.0, 2.0, 3.0, 2.0]);
        let predictions =
            RegressionPredictions { width: 1, targets, predicted, score, target_std: None };
        let metrics = RegressionMetrics::new(&predictions);
        assert_eq!(
            (metrics.loss, metrics.mean_absolute_error, metrics.root_mean_squared_error),
            (0.5, 0.5, 1.0)
        );
        assert!((metrics.r_squared.expect("they differ") - 0.2).abs() < 1e-12);
        let same = RegressionPredictions { targets: vec![1.0; 4], ..predictions };
        assert_eq!(RegressionMetrics::new(&same).r_squared, None);
        assert!(RegressionMetrics::new(&same).unpredicted.is_empty());
        let predicted = vec![1.0, f64::NAN, 3.0, f64::INFINITY];
        assert_eq!(
            RegressionMetrics::new(&RegressionPredictions { predicted, ..same }).unpredicted,
            [1, 3]
        );
        // Two rows of two values.
        let targets = vec![1.0, 2.0, 3.0, 4.0];
        let predicted = vec![1.0, 2.0, f64::NAN, 2.0];
        let rows = RegressionPredictions { width: 2, targets, predicted, score, target_std: None };
        let metrics = RegressionMetrics::new(&rows);
        assert_eq!((metrics.images, metrics.unpredicted), (2, vec![1]));
    }
}
