//! Classification metrics against values computed by hand.

use nn::Error;
use nn::metrics::{Calibration, Confusion, is_prediction, roc_auc, roc_auc_macro, top_k};

/// Three classes; the last is never predicted. Rows are labels:
///
/// ```text
/// 3 1 0
/// 2 2 0
/// 1 1 0
/// ```
fn confusion() -> Confusion {
    let labels = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2];
    let predictions = [0, 0, 0, 1, 0, 0, 1, 1, 0, 1];
    Confusion::new(&labels, &predictions.map(Some), 3).expect("classes")
}

#[test]
fn a_confusion_counted_by_hand() {
    let confusion = confusion();
    assert_eq!((confusion.total(), confusion.correct()), (10, 5));
    assert_eq!((confusion.support(0), confusion.predicted(0), confusion.count(1, 0)), (4, 6, 2));
    assert_eq!(confusion.accuracy(), 0.5);
    let all =
        |of: fn(&Confusion, usize) -> Option<f64>| [0, 1, 2].map(|class| of(&confusion, class));
    assert_eq!(all(Confusion::precision), [Some(0.5), Some(0.5), None]);
    assert_eq!(all(Confusion::recall), [Some(0.75), Some(0.5), Some(0.0)]);
    assert_eq!(all(Confusion::f1), [Some(0.6), Some(0.5), Some(0.0)]);
    assert_eq!(confusion.macro_precision(), Some(1.0 / 3.0));
    assert_eq!(confusion.macro_recall(), Some(1.25 / 3.0));
    assert_eq!(confusion.macro_f1(), Some((0.6 + 0.5) / 3.0));
    assert_eq!((confusion.count(3, 0), confusion.count(0, 3)), (0, 0));
}

#[test]
fn rows_without_a_prediction_are_wrong_and_lower_recall_alone() {
    let predictions = [Some(0), None, Some(1), None];
    let confusion = Confusion::new(&[0, 0, 1, 1], &predictions, 2).expect("classes");
    assert_eq!((confusion.total(), confusion.correct(), confusion.accuracy()), (4, 2, 0.5));
    assert_eq!((confusion.support(0), confusion.predicted(0), confusion.support(7)), (2, 1, 0));
    assert_eq!((confusion.precision(0), confusion.recall(0)), (Some(1.0), Some(0.5)));
    assert_eq!(confusion.f1(1), Some(2.0 / 3.0));
}

#[test]
fn macro_averages_ignore_classes_that_neither_occur_nor_are_predicted() {
    let few = Confusion::new(&[0, 0], &[Some(0); 2], 1).expect("classes");
    let many = Confusion::new(&[0, 0], &[Some(0); 2], 100).expect("classes");
    for of in [Confusion::macro_precision, Confusion::macro_recall, Confusion::macro_f1] {
        assert_eq!((of(&few), of(&many)), (Some(1.0), Some(1.0)));
    }
    assert_eq!((many.precision(7), many.recall(7), many.f1(7)), (None, None, None));
    let none = Confusion::new(&[], &[], 3).expect("no rows");
    assert!(none.accuracy().is_nan() && none.macro_f1().is_none());
}

#[test]
fn labels_and_lengths_are_checked() {
    let label = |row, got| Err(Error::from(kernels::Error::Label { row, classes: 2, got }));
    assert_eq!(Confusion::new(&[0, 2], &[Some(0); 2], 2), label(1, 2));
    assert_eq!(Confusion::new(&[0, 1], &[None, Some(5)], 2), label(1, 5));
    let length = |operand, expected, got| Err(Error::Length { operand, expected, got });
    assert_eq!(Confusion::new(&[0, 1], &[Some(0)], 2), length("predictions", 2, 1));
    assert_eq!(top_k(&[0.0_f32; 3], &[0], 2, 1), length("outputs", 2, 3).map(|_: Confusion| 0));
    assert!(top_k(&[0.0_f32; 2], &[2], 2, 1).is_err());
    assert!(roc_auc(&[1.0], &[]).is_err() && roc_auc_macro(&[0.0_f32], &[0], 2).is_err());
    assert!(Calibration::new(&[0.5], &[], 3).is_err() && Calibration::new(&[], &[], 0).is_err());
}

#[test]
fn top_k_with_ties_and_nan() {
    let outputs = [0.1_f32, 0.5, 0.4, 0.3, 0.3, 0.3];
    let hits = |labels: [u32; 2], k| top_k(&outputs, &labels, 3, k).expect("classes");
    assert_eq!([1, 2, 3].map(|k| hits([2, 1], k)), [0, 2, 2]);
    assert_eq!([0, 1, 2, 3].map(|k| hits([0, 2], k)), [0, 0, 0, 2]);
    // A row without a prediction is correct for no label, whatever k is.
    let (nan, infinity) = (f32::NAN, f32::INFINITY);
    for row in [[1.0, nan, 0.0], [nan; 3], [1.0, infinity, 0.0], [-infinity; 3]] {
        assert!(!is_prediction(&row), "{row:?}");
        for (label, k) in [(0, 1), (1, 1), (1, 3), (2, 3)] {
            assert_eq!(top_k(&row, &[label], 3, k), Ok(0), "{row:?} {label} {k}");
        }
    }
    assert_eq!(top_k(&[-infinity, 1.0, 0.0], &[1], 3, 1), Ok(1));
    assert_eq!(top_k::<f32>(&[], &[], 3, 1), Ok(0));
}

#[test]
fn roc_auc_counted_by_hand() {
    let area = |scores: &[f64], positive: &[bool]| roc_auc(scores, positive).expect("lengths");
    // Of the six pairs, five are in order.
    assert_eq!(
        area(&[0.1, 0.4, 0.35, 0.8, 0.9], &[false, false, true, true, true]),
        Some(5.0 / 6.0)
    );
    assert_eq!(area(&[1.0, 2.0], &[false, true]), Some(1.0));
    assert_eq!(area(&[2.0, 1.0], &[false, true]), Some(0.0));
    // Ties count half, zeros of either sign among them.
    assert_eq!(area(&[0.0, -0.0, 0.0], &[true, false, false]), Some(0.5));
    assert_eq!(area(&[0.0, -0.0, 1.0, 1.0], &[false, true, true, false]), Some(0.5));
    assert_eq!(area(&[1.0, 1.0, 2.0], &[false, true, true]), Some(0.75));
    assert_eq!(area(&[f64::NEG_INFINITY, f64::INFINITY], &[false, true]), Some(1.0));
    // One kind of row alone, or a score without a rank.
    assert_eq!(area(&[1.0, 2.0], &[true, true]), None);
    assert_eq!(area(&[1.0, 2.0], &[false, false]), None);
    assert_eq!(area(&[], &[]), None);
    assert_eq!(area(&[f64::NAN, 2.0], &[false, true]), None);
}

#[test]
fn roc_auc_macro_leaves_out_classes_that_do_not_occur() {
    // Class 0: scores .8 .3 | .1; class 1: .5 | .1 .2; class 2 does not occur.
    let probabilities = [0.8_f32, 0.1, 0.1, 0.3, 0.2, 0.5, 0.1, 0.5, 0.4];
    let area = |labels: &[u32], p: &[f32]| roc_auc_macro(p, labels, 3).expect("classes");
    assert_eq!(area(&[0, 0, 1], &probabilities), Some(1.0));
    // Class 0: .3 | .8 .1: half of two pairs; class 1: .1 .5 | .2: half; class 2 does not
    // occur.
    assert_eq!(area(&[1, 0, 1], &probabilities), Some(0.5));
    assert_eq!(area(&[2, 2, 2], &probabilities), None);
    assert_eq!(area(&[], &[]), None);
}

#[test]
fn calibration_counted_by_hand() {
    let confidences = [0.2, 0.5, 0.55, 1.0, 0.0];
    let correct = [false, true, false, true, false];
    let calibration = Calibration::new(&confidences, &correct, 2).expect("lengths");
    // Up to one half: 0.2, 0.5, 0.0, one of them correct; above: 0.55, 1.0, one of them
    // correct.
    let [low, high] = calibration.bins[..] else { panic!("{calibration:?}") };
    assert_eq!((low.count, low.correct, high.count, high.correct), (3, 1, 2, 1));
    assert!((calibration.error() - (0.3 + 0.55) / 5.0).abs() < 1e-15);
    // Each edge belongs to the bin below it.
    for bins in 1..40 {
        let ends: Vec<f64> = (1..=bins).map(|b| b as f64 / bins as f64).collect();
        let calibration = Calibration::new(&ends, &vec![true; bins], bins).expect("lengths");
        assert!(calibration.bins.iter().all(|bin| bin.count == 1), "{bins}");
    }
    let perfect = Calibration::new(&[1.0; 3], &[true; 3], 15).expect("lengths");
    assert_eq!((perfect.error(), perfect.bins[14].count), (0.0, 3));
    assert_eq!(Calibration::new(&[], &[], 15).expect("none").error(), 0.0);
    assert!(Calibration::new(&[f64::NAN], &[true], 15).expect("lengths").error().is_nan());
    assert_eq!(Calibration::new(&[7.0, -1.0], &[true; 2], 2).expect("lengths").bins[1].count, 1);
}
