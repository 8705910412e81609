//! How near the values that a network answers with come to those that it should: what `eval` prints where examples have values.

use std::fmt;

use kernels::Cpu;
use nn::{Network, Score};
use serde::Serialize;

use crate::Error;
use crate::data::Labelled;
use crate::data::element::Element;
use crate::evaluation::scorer::Scorer;
use crate::run::weights::Weights;

/// Predictions to some rows, in their order.
#[derive(Clone, Debug)]
pub(crate) struct Values {
    /// What should have been answered.
    pub(crate) targets: Vec<f64>,
    /// What was answered.
    pub(crate) answers: Vec<f64>,
    /// The loss.
    pub(crate) score: Score,
    /// The standard deviation of the values trained on, if the loss is of standardised ones.
    pub(crate) unit: Option<f64>,
}

impl Values {
    /// Of `network` with `weights`, which has one output, to the rows `indices` of `set`.
    ///
    /// # Errors
    /// Those of [`Scorer::score`].
    pub(crate) fn new<T: Element>(
        network: &Network,
        cpu: Cpu<'_>,
        weights: &mut Weights<T>,
        set: &Labelled,
        indices: &[u32],
    ) -> Result<Self, Error> {
        let (mut targets, mut answers) = (Vec::new(), Vec::new());
        let score = Scorer::new(network, cpu)?.score_each(
            network,
            cpu,
            weights,
            set,
            indices,
            |of_batch, outputs| {
                if let nn::Targets::Values(values) = of_batch {
                    targets.extend(values.iter().map(|value| value.to_f64()));
                }
                answers.extend(outputs.iter().map(|value| value.to_f64()));
            },
        )?;
        Ok(Self {
            targets,
            answers,
            score,
            unit: unit(network, &weights.buffers).map(|[_, std]| std),
        })
    }

    /// The rows whose output is NaN or infinite.
    pub(crate) fn unpredicted(&self) -> Vec<u32> {
        (0..)
            .zip(&self.answers)
            .filter(|(_, answer)| !answer.is_finite())
            .map(|(row, _)| row)
            .collect()
    }
}

/// Mean and standard deviation of the values that `network` was trained on, if its loss is of
/// standardised ones.
pub(crate) fn unit<T: Element>(network: &Network, buffers: &[T]) -> Option<[f64; 2]> {
    let (mean, std) = network.target_unit(buffers)?;
    Some([mean.first()?.to_f64(), std.first()?.to_f64()])
}

/// ` (values in units of 2.5000)`: the note next to a loss whose unit is this standard deviation.
/// Empty for a loss in the values' own unit.
pub(crate) fn loss_unit_note(unit: Option<f64>) -> String {
    unit.map(|std| format!(" (values in units of {})", decimal(std, 4))).unwrap_or_default()
}

/// `value` with so many decimals, or with an exponent where those would show too little or too much
/// of it.
pub(crate) fn decimal(value: f64, decimals: usize) -> String {
    if value != 0.0 && value.is_finite() && !(1e-2..1e7).contains(&value.abs()) {
        return format!("{value:.decimals$e}");
    }
    format!("{value:.decimals$}")
}

/// ClassificationMetrics of answers that are values, in the unit of these.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RegressionMetrics {
    /// Number of rows.
    pub images: usize,
    /// Rows without a prediction, since the output is NaN or infinite, by index from 0.
    pub unpredicted: Vec<u32>,
    /// The mean of the run's loss.
    #[serde(with = "crate::run::json")]
    pub loss: f64,
    /// The standard deviation of the values trained on, if the loss is of values in units of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_unit: Option<f64>,
    /// The mean of absolute differences.
    #[serde(with = "crate::run::json")]
    pub mean_absolute_error: f64,
    /// The root of the mean of squared differences.
    #[serde(with = "crate::run::json")]
    pub root_mean_squared_error: f64,
    /// The share of the values' variance that the answers explain: 1 is all of it, 0 what their mean explains. `null` where they are all the
    /// same.
    pub r_squared: Option<f64>,
}

impl RegressionMetrics {
    /// Of `values`.
    pub(crate) fn new(values: &Values) -> Self {
        let Values { targets, answers, score, unit } = values;
        let count = targets.len() as f64;
        let mean = targets.iter().sum::<f64>() / count;
        let differences = || targets.iter().zip(answers).map(|(target, answer)| target - answer);
        let squares: f64 = differences().map(|difference| difference * difference).sum();
        let variance: f64 = targets.iter().map(|target| (target - mean) * (target - mean)).sum();
        Self {
            images: targets.len(),
            unpredicted: values.unpredicted(),
            loss: score.mean_loss(),
            loss_unit: *unit,
            mean_absolute_error: differences().map(f64::abs).sum::<f64>() / count,
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
        let r_squared = r_squared.map_or_else(|| "-".into(), |share| format!("{share:.4}"));
        write!(f, "share explained (R²)     {r_squared}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_unit_makes_a_value_unreadable() {
        assert_eq!([0.0, 13.0, -0.5].map(|value| decimal(value, 2)), ["0.00", "13.00", "-0.50"]);
        assert_eq!([2.5e-7, -3e9].map(|value| decimal(value, 2)), ["2.50e-7", "-3.00e9"]);
        assert_eq!(decimal(f64::INFINITY, 2), "inf");
    }

    #[test]
    fn errors_and_explained_share_are_by_their_formulas() {
        let score = Score { rows: 4, loss: 2.0, weight: 4.0, correct: 0 };
        let (targets, answers) = (vec![1.0, 2.0, 3.0, 4.0], vec![1.0, 2.0, 3.0, 2.0]);
        let values = Values { targets, answers, score, unit: None };
        let fit = RegressionMetrics::new(&values);
        assert_eq!(
            (fit.loss, fit.mean_absolute_error, fit.root_mean_squared_error),
            (0.5, 0.5, 1.0)
        );
        assert!((fit.r_squared.expect("they differ") - 0.2).abs() < 1e-12);
        let same = Values { targets: vec![1.0; 4], ..values };
        assert_eq!(RegressionMetrics::new(&same).r_squared, None);
        assert!(RegressionMetrics::new(&same).unpredicted.is_empty());
        let answers = vec![1.0, f64::NAN, 3.0, f64::INFINITY];
        assert_eq!(RegressionMetrics::new(&Values { answers, ..same }).unpredicted, [1, 3]);
    }
}
