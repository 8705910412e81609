//! Classification metrics, from labels and a network's outputs.
//!
//! | metric | computed from | source |
//! |---|---|---|
//! | [`Confusion`]: accuracy, precision, recall, F1 | labels, predictions | van Rijsbergen 1979 |
//! | [`top_k`] | labels, outputs | Russakovsky et al., IJCV 2015 |
//! | [`roc_auc`], [`roc_auc_macro`] | labels, probabilities | Hanley, McNeil 1982; Fawcett 2006 |
//! | [`Calibration`] | labels, probabilities | Guo et al., ICML 2017 |
//!
//! All are additions, divisions and comparisons of f64 in row order: the same bits everywhere. They
//! allocate, and nothing of them reaches a parameter. Called by the evaluation of a network.

use alloc::vec;
use alloc::vec::Vec;

use crate::error::check_length;
use crate::{Error, Float};

/// Confusion matrix, with the rows that have no prediction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confusion {
    classes: usize,
    /// `[classes, classes]`: labels by predictions.
    counts: Vec<u64>,
    /// Rows of each label without a prediction.
    unpredicted: Vec<u64>,
}

impl Confusion {
    /// Counts the predicted classes `predictions` of rows with these `labels`. `None` is a row
    /// without a prediction, whose outputs are NaN or infinite: it counts as wrong, and for no
    /// class.
    ///
    /// ```
    /// use nn::metrics::Confusion;
    /// let confusion = Confusion::new(&[0, 0, 0, 1], &[Some(0), None, Some(1), Some(1)], 2)?;
    /// assert_eq!(confusion.accuracy(), 0.5);
    /// assert_eq!((confusion.precision(1), confusion.recall(1)), (Some(0.5), Some(1.0)));
    /// # Ok::<(), nn::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Length`] if there are not as many predictions as labels; [`kernels::Error::Label`]
    /// for the first label or prediction outside `0..classes`; [`Error::Memory`] if there is no
    /// memory for `[classes, classes]` counts.
    pub fn new(labels: &[u32], predictions: &[Option<u32>], classes: usize) -> Result<Self, Error> {
        check_length("predictions", labels.len(), predictions.len())?;
        check_labels(labels.iter().copied().map(Some), classes)?;
        check_labels(predictions.iter().copied(), classes)?;
        let cells = classes.saturating_mul(classes);
        let (mut counts, mut unpredicted) = (Vec::new(), vec![0; classes]);
        let bytes = cells.saturating_mul(size_of::<u64>());
        counts.try_reserve_exact(cells).map_err(|_| Error::Memory { bytes })?;
        counts.resize(cells, 0);
        for (&label, &prediction) in labels.iter().zip(predictions) {
            match prediction {
                Some(prediction) => counts[label as usize * classes + prediction as usize] += 1,
                None => unpredicted[label as usize] += 1,
            }
        }
        Ok(Self { classes, counts, unpredicted })
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Number of rows of class `label` predicted as `prediction`; 0 for an index outside
    /// `0..classes`.
    pub fn count(&self, label: usize, prediction: usize) -> u64 {
        let in_range = label < self.classes && prediction < self.classes;
        if in_range { self.counts[label * self.classes + prediction] } else { 0 }
    }

    /// Number of rows of class `label`.
    pub fn support(&self, label: usize) -> u64 {
        let predicted: u64 =
            (0..self.classes).map(|prediction| self.count(label, prediction)).sum();
        predicted + self.unpredicted.get(label).copied().unwrap_or(0)
    }

    /// Number of rows predicted as `prediction`.
    pub fn predicted(&self, prediction: usize) -> u64 {
        (0..self.classes).map(|label| self.count(label, prediction)).sum()
    }

    /// Number of rows.
    pub fn total(&self) -> u64 {
        self.counts.iter().chain(&self.unpredicted).sum()
    }

    /// Number of correct predictions.
    pub fn correct(&self) -> u64 {
        (0..self.classes).map(|class| self.count(class, class)).sum()
    }

    /// Accuracy, `correct / total`. NaN without rows.
    ///
    /// Where each row has one class and one prediction, the micro averages of precision, recall and
    /// F1 equal the accuracy: each wrong prediction is one false positive and one false negative,
    /// so that all three are `correct / (correct + wrong)`. A row without a prediction counts as
    /// wrong.
    pub fn accuracy(&self) -> f64 {
        self.correct() as f64 / self.total() as f64
    }

    /// Precision, `correct / predicted`, of `class`. `None` if the class is never predicted.
    pub fn precision(&self, class: usize) -> Option<f64> {
        share(self.count(class, class), self.predicted(class))
    }

    /// Recall, `correct / support`, of `class`. `None` if the class does not occur.
    pub fn recall(&self, class: usize) -> Option<f64> {
        share(self.count(class, class), self.support(class))
    }

    /// F1, `2 correct / (support + predicted)`, the harmonic mean of precision and recall. `None`
    /// if the class neither occurs nor is predicted.
    pub fn f1(&self, class: usize) -> Option<f64> {
        share(2 * self.count(class, class), self.support(class) + self.predicted(class))
    }

    /// Macro average of [`precision`](Self::precision) over the classes that occur or are
    /// predicted. A class that is never predicted counts as 0: scikit-learn's `average="macro",
    /// zero_division=0`. `None` without rows.
    pub fn macro_precision(&self) -> Option<f64> {
        self.mean(|class| self.precision(class))
    }

    /// Macro average of [`recall`](Self::recall) over the same classes. A class that does not occur
    /// counts as 0. `None` without rows.
    pub fn macro_recall(&self) -> Option<f64> {
        self.mean(|class| self.recall(class))
    }

    /// Macro average of [`f1`](Self::f1) over the same classes. `None` without rows.
    pub fn macro_f1(&self) -> Option<f64> {
        self.mean(|class| self.f1(class))
    }

    fn mean(&self, of: impl Fn(usize) -> Option<f64>) -> Option<f64> {
        let seen =
            || (0..self.classes).filter(|&class| self.support(class) + self.predicted(class) > 0);
        let count = seen().count();
        (count > 0)
            .then(|| seen().map(|class| of(class).unwrap_or(0.0)).sum::<f64>() / count as f64)
    }
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Number of rows of `outputs` (`[labels.len(), classes]`, logits or probabilities) whose label is
/// among the `k` largest outputs.
///
/// The lower class wins ties, as for [`argmax`](kernels::argmax::argmax): for `k = 1` this is
/// [`Score::correct`](crate::Score::correct). A row with a NaN, or whose max is infinite, has no
/// prediction and is not counted.
///
/// # Errors
/// [`Error::Length`] if `outputs` does not have `classes` elements per label;
/// [`kernels::Error::Label`] for the first label outside `0..classes`.
pub fn top_k<T: Float>(
    outputs: &[T],
    labels: &[u32],
    classes: usize,
    k: usize,
) -> Result<usize, Error> {
    check_length("outputs", labels.len().saturating_mul(classes), outputs.len())?;
    check_labels(labels.iter().copied().map(Some), classes)?;
    let is_hit = |row: &[T], label: usize| {
        let mine = row[label].to_f64();
        let ahead =
            |&(class, x): &(usize, &T)| x.to_f64() > mine || (x.to_f64() == mine && class < label);
        is_prediction(row) && row.iter().enumerate().filter(ahead).count() < k
    };
    let rows = outputs.chunks_exact(classes.max(1)).zip(labels);
    Ok(rows.filter(|&(row, &label)| is_hit(row, label as usize)).count())
}

/// Area under the ROC curve of `scores`: the probability that a positive row scores higher than a
/// negative one, with ties counting half.
///
/// `(R - p (p + 1) / 2) / (p n)` with `p` positive rows, `n` negative ones, and `R` the sum of the
/// positive rows' ranks; ties share their mean rank. `None` if all rows are of one kind, or a score
/// is NaN, which has no rank.
///
/// # Errors
/// [`Error::Length`] if there are not as many scores as rows.
pub fn roc_auc(scores: &[f64], positive: &[bool]) -> Result<Option<f64>, Error> {
    check_length("scores", positive.len(), scores.len())?;
    let positives = positive.iter().filter(|&&is| is).count();
    let others = positive.len() - positives;
    if positives == 0 || others == 0 || scores.iter().any(|score| score.is_nan()) {
        return Ok(None);
    }
    let mut order: Vec<usize> = (0..scores.len()).collect();
    // Adding 0.0 makes -0.0 equal to 0.0 for `total_cmp`.
    order.sort_unstable_by(|&a, &b| (scores[a] + 0.0).total_cmp(&(scores[b] + 0.0)));
    let mut ranks = 0.0;
    let mut below = 0;
    for equals in order.chunk_by(|&a, &b| scores[a] == scores[b]) {
        // Ranks below + 1 to below + len.
        let rank = below as f64 + (equals.len() + 1) as f64 / 2.0;
        ranks += rank * equals.iter().filter(|&&row| positive[row]).count() as f64;
        below += equals.len();
    }
    let (p, n) = (positives as f64, others as f64);
    Ok(Some((ranks - p * (p + 1.0) / 2.0) / (p * n)))
}

/// Mean over the classes of the one-vs-rest [`roc_auc`], from the columns of `probabilities`
/// (`[labels.len(), classes]`). Classes without an area are left out; `None` if all are.
///
/// # Errors
/// As for [`top_k`].
pub fn roc_auc_macro<T: Float>(
    probabilities: &[T],
    labels: &[u32],
    classes: usize,
) -> Result<Option<f64>, Error> {
    check_length("probabilities", labels.len().saturating_mul(classes), probabilities.len())?;
    check_labels(labels.iter().copied().map(Some), classes)?;
    let (mut sum, mut count) = (0.0, 0_u32);
    let (mut scores, mut positive) = (Vec::new(), Vec::new());
    for class in 0..classes {
        scores.clear();
        scores.extend(probabilities.iter().skip(class).step_by(classes).map(|p| p.to_f64()));
        positive.clear();
        positive.extend(labels.iter().map(|&label| label as usize == class));
        if let Some(area) = roc_auc(&scores, &positive)? {
            sum += area;
            count += 1;
        }
    }
    Ok((count > 0).then(|| sum / f64::from(count)))
}

/// Reliability diagram: accuracy against predicted probability, in bins.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    /// Bins in ascending order: bin `b` of `m` holds the probabilities in `(b / m, (b + 1) / m]`.
    pub bins: Vec<CalibrationBin>,
}

/// Bin of a reliability diagram.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CalibrationBin {
    /// Number of predictions.
    pub count: u64,
    /// Number of correct predictions.
    pub correct: u64,
    /// Sum of the predicted probabilities.
    pub confidence: f64,
}

impl Calibration {
    /// Bins predictions with these probabilities, each `correct` or not, into `bins` bins of equal
    /// width.
    ///
    /// Probabilities of at most 0 are in the first bin, those above 1 in the last. A NaN is in the
    /// first, and makes [`error`](Self::error) NaN.
    ///
    /// # Errors
    /// [`Error::Length`] if the lengths differ, or `bins` is 0.
    pub fn new(confidences: &[f64], correct: &[bool], bins: usize) -> Result<Self, Error> {
        check_length("correct", confidences.len(), correct.len())?;
        if bins == 0 {
            return Err(Error::Length { operand: "bins", expected: 1, got: 0 });
        }
        let mut all = vec![CalibrationBin::default(); bins];
        for (&confidence, &correct) in confidences.iter().zip(correct) {
            // The last bin whose lower edge is below; edges are compared as quotients.
            let index = (1..bins).take_while(|&b| confidence > b as f64 / bins as f64).count();
            let bin = &mut all[index];
            bin.count += 1;
            bin.correct += u64::from(correct);
            bin.confidence += confidence;
        }
        Ok(Self { bins: all })
    }

    /// Expected calibration error: the sum over the bins of `count / total *
    /// correct / count - confidence / count
    /// `. 0 without predictions.
    pub fn error(&self) -> f64 {
        let total: u64 = self.bins.iter().map(|bin| bin.count).sum();
        let gaps = self.bins.iter().map(|bin| (bin.correct as f64 - bin.confidence).abs());
        gaps.sum::<f64>() / total.max(1) as f64
    }
}

/// `true` if the max of `row` is finite. A row with a NaN, or whose max is infinite, predicts no
/// class.
pub fn is_prediction<T: Float>(row: &[T]) -> bool {
    let max = row.iter().fold(f64::NEG_INFINITY, |max, x| match x.to_f64() {
        x if x > max || x.is_nan() => x,
        _ => max,
    });
    max.is_finite()
}

/// [`kernels::Error::Label`] for the first label outside `0..classes`.
fn check_labels(labels: impl Iterator<Item = Option<u32>>, classes: usize) -> Result<(), Error> {
    for (row, label) in labels.enumerate() {
        if let Some(got) = label.map(|label| label as usize).filter(|&label| label >= classes) {
            return Err(kernels::Error::Label { row, classes, got }.into());
        }
    }
    Ok(())
}
