//! How good a network's answers are, in all the measures of [`nn::metrics`]: what `eval` prints and the report shows.

use std::fmt::{self, Display};

use nn::metrics::{Calibration, Confusion, roc_auc, roc_auc_macro, top_k};
use serde::Serialize;

use crate::Error;
use crate::evaluation::interval::Interval;
use crate::evaluation::predictions::Predictions;
use crate::machine::escape;

/// Bins of the calibration error: as many as Guo et al. (ICML 2017) take.
const BINS: usize = 15;

/// The most classes among which the label is looked for.
const MOST_TOP: usize = 5;

/// ClassificationMetrics of answers to some examples. Shares are fractions; what is not defined is `null`, such as the precision of a class that is
/// never answered.
#[derive(Clone, Debug, Serialize)]
pub struct ClassificationMetrics {
    /// Number of examples.
    pub images: usize,
    /// Examples without a prediction, since outputs are NaN or infinite, by index from 0. They
    /// count as wrong.
    pub unpredicted: Vec<u32>,
    /// Share of right answers. The micro averages of precision, recall and F1 are the same number.
    pub accuracy: f64,
    /// Lower end of its 95 % interval (Wilson's).
    pub accuracy_low: f64,
    /// Upper end of it.
    pub accuracy_high: f64,
    /// Mean loss; nats.
    #[serde(with = "crate::run::json")]
    pub loss: f64,
    /// Share of examples whose class is among the k most probable, for k = 1 to 5 at most.
    pub top_k_accuracy: Vec<f64>,
    /// Mean of the classes' precision.
    pub precision_macro: Option<f64>,
    /// Mean of the classes' recall.
    pub recall_macro: Option<f64>,
    /// Mean of the classes' F1.
    pub f1_macro: Option<f64>,
    /// Right answers among all answers, whatever the class.
    pub precision_micro: f64,
    /// Examples found among all of them, whatever the class.
    pub recall_micro: f64,
    /// The harmonic mean of these two.
    pub f1_micro: f64,
    /// Mean over the classes of the area under the ROC of each against the rest.
    pub roc_auc_macro: Option<f64>,
    /// Expected calibration error of the predictions, 15 bins.
    #[serde(with = "crate::run::json")]
    pub calibration_error: f64,
    /// Class by class.
    pub classes: Vec<ClassMeasures>,
    /// `confusion[label][answer]`: examples of that label with that answer.
    pub confusion: Vec<Vec<u64>>,
    /// What examples are called.
    #[serde(skip)]
    noun: &'static str,
}

/// ClassificationMetrics of a class.
#[derive(Clone, Debug, Serialize)]
pub struct ClassMeasures {
    /// Which class.
    pub class: usize,
    /// What it is called in the table that was trained on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its examples.
    pub images: u64,
    /// Examples answered with it.
    pub answered: u64,
    /// Share of those answers that are right.
    pub precision: Option<f64>,
    /// Share of its images that are found.
    pub recall: Option<f64>,
    /// The harmonic mean of these two.
    pub f1: Option<f64>,
    /// Area under the ROC of the class against the rest.
    pub roc_auc: Option<f64>,
}

impl ClassificationMetrics {
    /// Of `answers` to examples that are called `noun`, whose classes are called `names` where they have any.
    ///
    /// # Errors
    /// None: answers belong to their labels.
    pub fn new(answers: &Predictions, noun: &'static str, names: &[String]) -> Result<Self, Error> {
        let Predictions { classes, labels, probabilities, score, .. } = answers;
        let (&classes, confusion) = (classes, answers.confusion()?);
        let Interval { low, high } = Interval::wilson(score.correct, score.rows);
        let (confidences, right): (Vec<_>, Vec<_>) = (0..answers.len())
            .filter_map(|at| Some((answers.confidence(at)?, answers.is_right(at))))
            .unzip();
        let top = |k| Ok(top_k(probabilities, labels, classes, k)? as f64 / score.rows as f64);
        let accuracy = score.accuracy();
        Ok(Self {
            images: score.rows,
            unpredicted: answers.unpredicted(),
            accuracy,
            accuracy_low: low,
            accuracy_high: high,
            loss: score.mean_loss(),
            top_k_accuracy: (1..=classes.min(MOST_TOP)).map(top).collect::<Result<_, Error>>()?,
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
                    ClassMeasures::new(answers, &confusion, class, names.get(class).cloned())
                })
                .collect::<Result<_, _>>()?,
            confusion: (0..classes)
                .map(|label| (0..classes).map(|answer| confusion.count(label, answer)).collect())
                .collect(),
            noun,
        })
    }
}

impl ClassMeasures {
    fn new(
        answers: &Predictions,
        confusion: &Confusion,
        class: usize,
        name: Option<String>,
    ) -> Result<Self, Error> {
        let scores: Vec<_> =
            answers.probabilities.iter().skip(class).step_by(answers.classes).copied().collect();
        let positive: Vec<_> =
            answers.labels.iter().map(|&label| label as usize == class).collect();
        Ok(Self {
            class,
            name,
            images: confusion.support(class),
            answered: confusion.predicted(class),
            precision: confusion.precision(class),
            recall: confusion.recall(class),
            f1: confusion.f1(class),
            roc_auc: roc_auc(&scores, &positive)?,
        })
    }
}

/// `98.31 %`, or `-`.
pub(crate) fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".into(), |share| format!("{:.2} %", 100.0 * share))
}

impl Display for ClassificationMetrics {
    /// All but accuracy and loss, for a terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let area = |area: Option<f64>| area.map_or_else(|| "-".into(), |area| format!("{area:.4}"));
        for (k, share) in (1..).zip(&self.top_k_accuracy).skip(1) {
            writeln!(
                f,
                "{:<27}{:>9}",
                format!("class among the first {k}"),
                percent(Some(*share))
            )?;
        }
        for (name, share) in [
            ("precision, mean of classes", self.precision_macro),
            ("recall, mean of classes", self.recall_macro),
            ("F1, mean of classes", self.f1_macro),
            ("F1, all answers (micro)", Some(self.f1_micro)),
            ("calibration error", Some(self.calibration_error)),
        ] {
            writeln!(f, "{name:<27}{:>9}", percent(share))?;
        }
        writeln!(f, "{:<27}{:>9}", "area under ROC, mean", area(self.roc_auc_macro))?;

        writeln!(f, "\nclass {:>7}  precision     recall         F1     ROC", self.noun)?;
        for class in &self.classes {
            let ClassMeasures { class, name, images, precision, recall, f1, roc_auc, .. } = class;
            let [precision, recall, f1] = [precision, recall, f1].map(|share| percent(*share));
            let name =
                name.as_ref().map(|name| format!("  {}", escape::name(name))).unwrap_or_default();
            writeln!(
                f,
                "{class:>5} {images:>7} {precision:>10} {recall:>10} {f1:>10} {:>7}{name}",
                area(*roc_auc)
            )?;
        }
        writeln!(f, "\nrows: classes, columns: answers")?;
        let most = self.confusion.iter().flatten().max().copied().unwrap_or_default();
        let width = most.to_string().len().max(self.confusion.len().to_string().len()) + 1;
        write!(f, "{:>5} ", "")?;
        (0..self.confusion.len()).try_for_each(|answer| write!(f, "{answer:>width$}"))?;
        for (label, row) in self.confusion.iter().enumerate() {
            write!(f, "\n{label:>5} ")?;
            row.iter().try_for_each(|count| write!(f, "{count:>width$}"))?;
        }
        Ok(())
    }
}
