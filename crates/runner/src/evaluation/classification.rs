//! Metrics of a classifier, by [`nn::metrics`]: printed by `eval`, shown in the report.

use std::fmt::{self, Display};

use nn::metrics::{Calibration, Confusion, roc_auc, roc_auc_macro, top_k};
use serde::Serialize;

use crate::Error;
use crate::evaluation::interval::Interval;
use crate::evaluation::predictions::Predictions;
use crate::machine::escape;

/// Number of bins of the calibration error, that of Guo et al. (ICML 2017).
const BINS: usize = 15;

/// Largest k of the top-k accuracies.
const MAX_K: usize = 5;

/// Metrics of the predictions for some examples. What is undefined is `null`, such as the precision
/// of a class that is never predicted.
#[derive(Clone, Debug, Serialize)]
pub struct ClassificationMetrics {
    /// Number of examples.
    pub images: usize,
    /// Indices (from 0) of the examples without a prediction, since outputs are NaN or infinite.
    /// They count as wrong.
    pub unpredicted: Vec<u32>,
    /// Fraction of correct predictions. The micro averages of precision, recall and F1 equal it.
    pub accuracy: f64,
    /// Lower end of its 95 % interval (Wilson's).
    pub accuracy_low: f64,
    /// Upper end of its 95 % interval (Wilson's).
    pub accuracy_high: f64,
    /// Mean loss; nats.
    #[serde(with = "crate::run::json")]
    pub loss: f64,
    /// Top-k accuracies for k = 1, 2, ...: fractions of examples whose label is among the k most
    /// probable classes. At most 5.
    pub top_k_accuracy: Vec<f64>,
    /// Mean of the classes' precision.
    pub precision_macro: Option<f64>,
    /// Mean of the classes' recall.
    pub recall_macro: Option<f64>,
    /// Mean of the classes' F1.
    pub f1_macro: Option<f64>,
    /// Precision over all classes together.
    pub precision_micro: f64,
    /// Recall over all classes together.
    pub recall_micro: f64,
    /// Harmonic mean of these two.
    pub f1_micro: f64,
    /// Mean over the classes of the area under the ROC of each against the rest.
    pub roc_auc_macro: Option<f64>,
    /// Expected calibration error of the predictions, 15 bins.
    #[serde(with = "crate::run::json")]
    pub calibration_error: f64,
    /// Metrics of each class.
    pub classes: Vec<ClassMetrics>,
    /// Confusion matrix: number of examples by label (row) and predicted class (column).
    pub confusion: Vec<Vec<u64>>,
    /// Unit name of an example, such as `images`.
    #[serde(skip)]
    noun: &'static str,
}

/// Metrics of a class.
#[derive(Clone, Debug, Serialize)]
pub struct ClassMetrics {
    /// Index of the class.
    pub class: usize,
    /// Name of the class, if the data have names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Number of examples of the class.
    pub images: u64,
    /// Number of examples predicted as the class.
    pub predicted: u64,
    /// Fraction of these predictions that are correct.
    pub precision: Option<f64>,
    /// Fraction of the class's examples that are predicted as it.
    pub recall: Option<f64>,
    /// Harmonic mean of precision and recall.
    pub f1: Option<f64>,
    /// Area under the ROC of the class against the rest.
    pub roc_auc: Option<f64>,
}

impl ClassificationMetrics {
    /// Metrics of `predictions` for examples with unit name `noun`, whose classes have the names
    /// `names`, if any.
    ///
    /// # Errors
    /// Errors of [`Predictions::confusion`].
    pub fn new(
        predictions: &Predictions,
        noun: &'static str,
        names: &[String],
    ) -> Result<Self, Error> {
        let Predictions { classes, labels, probabilities, score, .. } = predictions;
        let (&classes, confusion) = (classes, predictions.confusion()?);
        let Interval { low, high } = Interval::wilson(score.correct, score.rows);
        let (confidences, right): (Vec<_>, Vec<_>) = (0..predictions.len())
            .filter_map(|i| Some((predictions.confidence(i)?, predictions.is_right(i))))
            .unzip();
        let top_k_accuracy =
            |k| Ok(top_k(probabilities, labels, classes, k)? as f64 / score.rows as f64);
        let accuracy = score.accuracy();
        Ok(Self {
            images: score.rows,
            unpredicted: predictions.unpredicted(),
            accuracy,
            accuracy_low: low,
            accuracy_high: high,
            loss: score.mean_loss(),
            top_k_accuracy: (1..=classes.min(MAX_K))
                .map(top_k_accuracy)
                .collect::<Result<_, Error>>()?,
            precision_macro: confusion.macro_precision(),
            recall_macro: confusion.macro_recall(),
            f1_macro: confusion.macro_f1(),
            precision_micro: accuracy,
            recall_micro: accuracy,
            f1_micro: accuracy,
            roc_auc_macro: roc_auc_macro(probabilities, labels, classes)?,
            calibration_error: Calibration::new(&confidences, &right, BINS)?.error(),
            classes: (0..classes)
                .map(|class| {
                    ClassMetrics::new(predictions, &confusion, class, names.get(class).cloned())
                })
                .collect::<Result<_, _>>()?,
            confusion: (0..classes)
                .map(|label| (0..classes).map(|class| confusion.count(label, class)).collect())
                .collect(),
            noun,
        })
    }
}

impl ClassMetrics {
    fn new(
        predictions: &Predictions,
        confusion: &Confusion,
        class: usize,
        name: Option<String>,
    ) -> Result<Self, Error> {
        let Predictions { probabilities, classes, labels, .. } = predictions;
        let scores: Vec<_> = probabilities.iter().skip(class).step_by(*classes).copied().collect();
        let positive: Vec<_> = labels.iter().map(|&label| label as usize == class).collect();
        Ok(Self {
            class,
            name,
            images: confusion.support(class),
            predicted: confusion.predicted(class),
            precision: confusion.precision(class),
            recall: confusion.recall(class),
            f1: confusion.f1(class),
            roc_auc: roc_auc(&scores, &positive)?,
        })
    }
}

/// Formats a fraction as `98.31 %`, or `-` for `None`.
pub(crate) fn percent(fraction: Option<f64>) -> String {
    fraction.map_or_else(|| "-".into(), |fraction| format!("{:.2} %", 100.0 * fraction))
}

impl Display for ClassificationMetrics {
    /// All but accuracy and loss, for a terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let area = |area: Option<f64>| area.map_or_else(|| "-".into(), |area| format!("{area:.4}"));
        for (k, accuracy) in (1..).zip(&self.top_k_accuracy).skip(1) {
            writeln!(f, "{:<27}{:>9}", format!("top-{k} accuracy"), percent(Some(*accuracy)))?;
        }
        for (name, fraction) in [
            ("precision, mean of classes", self.precision_macro),
            ("recall, mean of classes", self.recall_macro),
            ("F1, mean of classes", self.f1_macro),
            ("F1, all examples (micro)", Some(self.f1_micro)),
            ("calibration error", Some(self.calibration_error)),
        ] {
            writeln!(f, "{name:<27}{:>9}", percent(fraction))?;
        }
        writeln!(f, "{:<27}{:>9}", "area under ROC, mean", area(self.roc_auc_macro))?;

        writeln!(f, "\nclass {:>7}  precision     recall         F1     ROC", self.noun)?;
        for class in &self.classes {
            let ClassMetrics { class, name, images, precision, recall, f1, roc_auc, .. } = class;
            let [precision, recall, f1] =
                [precision, recall, f1].map(|fraction| percent(*fraction));
            let name =
                name.as_ref().map(|name| format!("  {}", escape::name(name))).unwrap_or_default();
            writeln!(
                f,
                "{class:>5} {images:>7} {precision:>10} {recall:>10} {f1:>10} {:>7}{name}",
                area(*roc_auc)
            )?;
        }
        writeln!(f, "\nrows: labels, columns: predictions")?;
        let max = self.confusion.iter().flatten().max().copied().unwrap_or_default();
        let width = max.to_string().len().max(self.confusion.len().to_string().len()) + 1;
        write!(f, "{:>5} ", "")?;
        (0..self.confusion.len()).try_for_each(|class| write!(f, "{class:>width$}"))?;
        for (label, row) in self.confusion.iter().enumerate() {
            write!(f, "\n{label:>5} ")?;
            row.iter().try_for_each(|count| write!(f, "{count:>width$}"))?;
        }
        Ok(())
    }
}
