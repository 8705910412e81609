//! A validation set held out from the training set, with the classes in the same proportions.
//!
//! ```text
//! quota of class c = held_out * count(c) / count, by largest remainder
//! for index in a random order: to validation while its class has quota left, else to training
//! ```
//!
//! The training loop splits once; the test set has no part in it.

use std::cmp::Reverse;

use kernels::random::Stream;

use super::labelled::Labelled;

/// The stream of random numbers that the split draws from.
const STREAM: u64 = u64::from_be_bytes(*b"held out");

/// Indices into one [`Labelled`], each in exactly one of the two lists, both ascending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// What is trained on.
    pub train: Vec<u32>,
    /// What is held out.
    pub validation: Vec<u32>,
}

/// More was to be held out than leaves one image to train on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("validation set: expected fewer than the {images} training images, got {held_out}")]
pub struct TooManyHeldOut {
    /// Number of images there are.
    pub images: u32,
    /// Number that was to be held out.
    pub held_out: u32,
}

impl Split {
    /// Holds out `held_out` of the images of `set`.
    ///
    /// The result is a function of the labels, `held_out` and `seed` alone, and the same on every machine. The
    /// number held out of a class differs by less than 1 from its share `held_out * count(c) / count`; the
    /// remainders go to the classes with the largest ones, the lower class first where they tie.
    ///
    /// # Errors
    /// [`TooManyHeldOut`] if no image would be left to train on.
    pub fn stratified(set: &Labelled, held_out: u32, seed: u64) -> Result<Self, TooManyHeldOut> {
        let [images, ..] = set.dims();
        if held_out >= images {
            return Err(TooManyHeldOut { images, held_out });
        }
        let mut quotas = quotas(set.labels(), held_out);
        let mut order: Vec<u32> = (0..images).collect();
        Stream::new(seed, STREAM).shuffle(&mut order);
        let (mut validation, mut train): (Vec<u32>, Vec<u32>) = order.into_iter().partition(|&index| {
            let quota = &mut quotas[usize::from(set.labels()[index as usize])];
            let held = *quota > 0;
            *quota -= u32::from(held);
            held
        });
        validation.sort_unstable();
        train.sort_unstable();
        Ok(Self { train, validation })
    }
}

/// How many of each class are held out: `held_out` in all, in proportion to the classes' sizes.
fn quotas(labels: &[u8], held_out: u32) -> [u32; 256] {
    let mut counts = [0_u64; 256];
    for &label in labels {
        counts[usize::from(label)] += 1;
    }
    let total = labels.len() as u64;
    // Below 2^32, since a class has no more than `total` images.
    let mut quotas = counts.map(|count| (u64::from(held_out) * count / total) as u32);
    let remainders = counts.map(|count| u64::from(held_out) * count % total);
    let left = held_out - quotas.iter().sum::<u32>();
    let mut classes: [u8; 256] = std::array::from_fn(|class| class as u8);
    classes.sort_by_key(|&class| Reverse(remainders[usize::from(class)]));
    for &class in &classes[..left as usize] {
        quotas[usize::from(class)] += 1;
    }
    quotas
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn labelled(labels: Vec<u8>) -> Labelled {
        Labelled::new(vec![0; labels.len()], labels, 1, 1).expect("one pixel a label")
    }

    /// Pinned, so that the split of a run can be repeated; computed apart from this code, from the module's words.
    #[test]
    fn the_split_of_a_seed_is_fixed() {
        let set = labelled((0..20).map(|i| i % 2).collect());
        let split = Split::stratified(&set, 6, 42).expect("6 of 20");
        assert_eq!(split.validation, [2, 3, 6, 7, 14, 15]);
    }

    #[test]
    fn remainders_go_to_the_largest_and_ties_to_the_lower_class() {
        // Shares of 5 of 10: 2.5, 1.5, 1.0; one is left after the whole parts, and the first two tie.
        let labels = [0, 0, 0, 0, 0, 1, 1, 1, 2, 2];
        assert_eq!(quotas(&labels, 5)[..4], [3, 1, 1, 0]);
        // Shares of 4: 2.0, 1.2, 0.8.
        assert_eq!(quotas(&labels, 4)[..4], [2, 1, 1, 0]);
    }

    #[test]
    fn seeds_differ_and_the_whole_set_cannot_be_held_out() {
        let set = labelled(vec![3; 100]);
        let [a, b] = [1, 2].map(|seed| Split::stratified(&set, 50, seed).expect("50 of 100"));
        assert_ne!(a, b);
        let refused = Split::stratified(&set, 100, 1);
        assert_eq!(refused, Err(TooManyHeldOut { images: 100, held_out: 100 }));
        assert!(Split::stratified(&labelled(vec![]), 0, 1).is_err());
    }

    proptest! {
        #[test]
        fn every_index_is_in_one_list_and_classes_keep_their_share(
            labels in prop::collection::vec(any::<u8>().prop_map(|b| b % 11), 1..300), share in 0.0..1.0, seed: u64,
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
                let of = |list: &[u32]| list.iter().filter(|&&i| set.labels()[i as usize] == class).count() as f64;
                let exact = f64::from(held_out) * (of(&split.train) + of(&split.validation)) / count as f64;
                prop_assert!((of(&split.validation) - exact).abs() < 1.0);
            }
        }
    }
}
