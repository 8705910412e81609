//! Stratified split of a training set into training and validation, and into folds.
//!
//! ```text
//! quota of class c = held_out * count(c) / count, by largest remainder
//! for index in a random order: to validation while its class has quota left, else to training
//!
//! fold k of K: positions k, k + K, k + 2 K, ... of a random order, stably sorted by class
//! ```
//!
//! A run splits its training set once; the test set takes no part. Data without a test set are
//! split before, by the same rule. Regression targets count as one class.

use std::cmp::Reverse;

use kernels::random::Stream;

use crate::data::labelled::Labelled;

/// Stream of random numbers for the validation set.
const STREAM: u64 = u64::from_be_bytes(*b"held out");
/// Stream of random numbers for the test set.
const TEST_STREAM: u64 = u64::from_be_bytes(*b"test out");
/// Stream of random numbers for folds.
const FOLDS_STREAM: u64 = u64::from_be_bytes(*b"k folds\0");

/// Indices into a [`Labelled`], each in exactly one of two ascending lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Indices of the training examples.
    pub train: Vec<u32>,
    /// Indices of the held-out examples.
    pub validation: Vec<u32>,
}

/// Size of a held-out set that leaves no training example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("validation set: expected fewer than the {examples} training examples, got {held_out}")]
pub struct TooManyHeldOut {
    /// Number of examples.
    pub examples: u32,
    /// Number of examples to hold out.
    pub held_out: u32,
}

impl Split {
    /// Holds out `held_out` of the examples of `set` for validation.
    ///
    /// The result is a function of the labels, `held_out` and `seed` alone, and the same on every
    /// machine. The number held out of class c differs by less than 1 from
    /// `held_out * count(c) / count`. Classes with the largest remainders are rounded up, the lower
    /// class first where remainders tie.
    ///
    /// # Errors
    /// [`TooManyHeldOut`] if no training example would be left.
    pub fn stratified(set: &Labelled, held_out: u32, seed: u64) -> Result<Self, TooManyHeldOut> {
        Self::hold_out(set, held_out, Stream::new(seed, STREAM))
    }

    /// Holds out `held_out` of the examples of `set` as a test set, by the rule of
    /// [`stratified`](Self::stratified).
    ///
    /// # Errors
    /// As for [`stratified`](Self::stratified).
    pub fn test(set: &Labelled, held_out: u32, seed: u64) -> Result<Self, TooManyHeldOut> {
        Self::hold_out(set, held_out, Stream::new(seed, TEST_STREAM))
    }

    /// Holds out fold `fold` of `folds`, counted from 0. Each example is in one fold. The sizes of
    /// folds differ by at most one example, and so do the counts of each class in them. The result
    /// is a function of the labels, `folds` and `seed`.
    ///
    /// # Errors
    /// [`TooManyHeldOut`] unless every fold has an example and leaves a training example.
    pub fn fold(set: &Labelled, fold: u32, folds: u32, seed: u64) -> Result<Self, TooManyHeldOut> {
        let [examples, ..] = set.dims();
        if folds < 2 || folds > examples {
            return Err(TooManyHeldOut { examples, held_out: examples / folds.max(1) });
        }
        let mut order: Vec<u32> = (0..examples).collect();
        Stream::new(seed, FOLDS_STREAM).shuffle(&mut order);
        order.sort_by_key(|&index| class(set, index));
        let (mut validation, mut train) = (Vec::new(), Vec::new());
        for (position, &index) in order.iter().enumerate() {
            let list = if position as u32 % folds == fold { &mut validation } else { &mut train };
            list.push(index);
        }
        validation.sort_unstable();
        train.sort_unstable();
        Ok(Self { train, validation })
    }

    fn hold_out(set: &Labelled, held_out: u32, stream: Stream) -> Result<Self, TooManyHeldOut> {
        let [examples, ..] = set.dims();
        if held_out >= examples {
            return Err(TooManyHeldOut { examples, held_out });
        }
        let mut quotas = quotas((0..examples).map(|index| class(set, index)), held_out);
        let mut order: Vec<u32> = (0..examples).collect();
        stream.shuffle(&mut order);
        let (mut validation, mut train): (Vec<u32>, Vec<u32>) =
            order.into_iter().partition(|&index| {
                let quota = &mut quotas[class(set, index)];
                let held = *quota > 0;
                *quota -= u32::from(held);
                held
            });
        validation.sort_unstable();
        train.sort_unstable();
        Ok(Self { train, validation })
    }
}

/// Returns the class of example `index` of `set`; 0 for regression targets.
fn class(set: &Labelled, index: u32) -> usize {
    set.labels().get(index as usize).map_or(0, |&label| usize::from(label))
}

/// Returns the number held out of each class: `held_out` in total, in proportion to class sizes.
fn quotas(labels: impl Iterator<Item = usize>, held_out: u32) -> [u32; 256] {
    let mut counts = [0_u64; 256];
    labels.for_each(|label| counts[label] += 1);
    let total: u64 = counts.iter().sum();
    // Below 2^32, since a class has no more than `total` examples.
    let mut quotas = counts.map(|count| (u64::from(held_out) * count / total) as u32);
    let remainders = counts.map(|count| u64::from(held_out) * count % total);
    let remaining = held_out - quotas.iter().sum::<u32>();
    let mut classes: [u8; 256] = std::array::from_fn(|class| class as u8);
    classes.sort_by_key(|&class| Reverse(remainders[usize::from(class)]));
    for &class in &classes[..remaining as usize] {
        quotas[usize::from(class)] += 1;
    }
    quotas
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::data::{Inputs, Targets};

    fn labelled(labels: Vec<u8>) -> Labelled {
        Labelled::new(vec![0; labels.len()], labels, 1, 1).expect("one pixel a label")
    }

    /// Compares with a split that was computed independently, from the module's documentation. A
    /// change would make recorded runs irreproducible.
    #[test]
    fn the_split_of_a_seed_is_fixed() {
        let set = labelled((0..20).map(|i| i % 2).collect());
        let split = Split::stratified(&set, 6, 42).expect("6 of 20");
        assert_eq!(split.validation, [2, 3, 6, 7, 14, 15]);
    }

    #[test]
    fn the_largest_remainder_is_rounded_up_and_ties_favour_the_lower_class() {
        // Exact quotas of 5 of 10: 2.5, 1.5, 1.0. One example remains, and two remainders tie.
        let labels = [0, 0, 0, 0, 0, 1, 1, 1, 2, 2].into_iter();
        assert_eq!(quotas(labels.clone(), 5)[..4], [3, 1, 1, 0]);
        // Exact quotas of 4: 2.0, 1.2, 0.8.
        assert_eq!(quotas(labels, 4)[..4], [2, 1, 1, 0]);
    }

    #[test]
    fn seeds_differ_and_the_whole_set_cannot_be_held_out() {
        let set = labelled(vec![3; 100]);
        let [a, b] = [1, 2].map(|seed| Split::stratified(&set, 50, seed).expect("50 of 100"));
        assert_ne!(a, b);
        let refused = Split::stratified(&set, 100, 1);
        assert_eq!(refused, Err(TooManyHeldOut { examples: 100, held_out: 100 }));
        assert!(Split::stratified(&labelled(vec![]), 0, 1).is_err());
    }

    #[test]
    fn values_are_split_as_one_class() {
        let (inputs, targets) = (Inputs::Numbers(vec![0.0; 30]), Targets::Values(vec![1.0; 30]));
        let set = Labelled::table(inputs, targets, 1).expect("30 rows of 1");
        let [validation, test] = [Split::stratified(&set, 10, 1), Split::test(&set, 10, 1)]
            .map(|split| split.expect("10 of 30").validation);
        assert_eq!((validation.len(), test.len()), (10, 10));
        assert_ne!(validation, test, "different streams");
        assert!(Split::fold(&set, 0, 1, 1).is_err() && Split::fold(&set, 0, 31, 1).is_err());
    }

    proptest! {
        #[test]
        fn each_example_is_in_one_fold_and_folds_keep_class_proportions(
            labels in prop::collection::vec(any::<u8>().prop_map(|b| b % 5), 2..200),
            folds in 2_u32..9,
            seed: u64,
        ) {
            let set = labelled(labels);
            let folds = folds.min(set.len() as u32);
            let fold = |fold| Split::fold(&set, fold, folds, seed).expect("few folds");
            let all: Vec<_> = (0..folds).map(fold).collect();
            let mut held: Vec<u32> =
                all.iter().flat_map(|split| split.validation.clone()).collect();
            held.sort_unstable();
            prop_assert!(held.into_iter().eq(0..set.len() as u32), "each once");
            for split in &all {
                prop_assert_eq!(split.train.len() + split.validation.len(), set.len());
                prop_assert!(split.train.iter().all(|index| !split.validation.contains(index)));
            }
            let spread = |counts: Vec<usize>| {
                counts.iter().max().unwrap() - counts.iter().min().unwrap()
            };
            prop_assert!(spread(all.iter().map(|split| split.validation.len()).collect()) <= 1);
            for class in 0..5 {
                let count = |split: &Split| {
                    split.validation.iter().filter(|&&i| set.labels()[i as usize] == class).count()
                };
                prop_assert!(spread(all.iter().map(count).collect()) <= 1);
            }
        }

        #[test]
        fn each_index_is_in_one_list_and_classes_keep_their_proportions(
            labels in prop::collection::vec(any::<u8>().prop_map(|b| b % 11), 1..300),
            share in 0.0..1.0,
            seed: u64,
        ) {
            let count = labels.len();
            let held_out = (share * count as f64) as u32;
            let set = labelled(labels);
            let split = Split::stratified(&set, held_out, seed).expect("fewer than all");
            prop_assert_eq!(split.validation.len(), held_out as usize);
            let mut all = [split.train.clone(), split.validation.clone()].concat();
            prop_assert!(split.train.is_sorted() && split.validation.is_sorted());
            all.sort_unstable();
            prop_assert!(all.into_iter().eq(0..count as u32));
            for class in 0..11 {
                let of_class = |list: &[u32]| {
                    list.iter().filter(|&&i| set.labels()[i as usize] == class).count() as f64
                };
                let (train, validation) = (of_class(&split.train), of_class(&split.validation));
                let exact = f64::from(held_out) * (train + validation) / count as f64;
                prop_assert!((validation - exact).abs() < 1.0);
            }
        }
    }
}
