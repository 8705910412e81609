//! The training examples of an epoch, in the order in which steps take them.
//!
//! ```text
//! shuffle     every example once, in an order drawn by (seed, epoch)
//! sequential  every example once, in the order of the data
//! balanced    as many draws with replacement: a class, uniformly, then one of its examples
//! drop_last   without the incomplete last batch: other examples in each epoch
//! ```
//!
//! A function of configuration, data and epoch alone. Used by the training loop and `lr-find`.

use crate::data::{Targets, streams};
use crate::run::config::Sampler;
use crate::run::setup::Setup;

impl Setup {
    /// Number of examples in a batch: `batch`, or all training examples if there are fewer.
    pub(crate) fn rows_per_batch(&self) -> usize {
        (self.config.batch as usize).min(self.split.train.len())
    }

    /// Number of training examples per epoch: all, or with `drop_last` those of the full batches.
    pub fn rows_per_epoch(&self) -> usize {
        let rows = self.split.train.len();
        if self.config.drop_last { rows - rows % self.config.batch.max(1) as usize } else { rows }
    }

    /// Number of steps per epoch; the last one may have fewer examples than the others.
    pub fn steps_per_epoch(&self) -> u64 {
        (self.rows_per_epoch() as u64).div_ceil(self.config.images_per_step())
    }

    /// Number of examples of the last batch of an epoch, the smallest.
    pub(crate) fn last_batch(&self) -> usize {
        let batch = self.rows_per_batch();
        match self.rows_per_epoch() % batch.max(1) {
            0 => batch,
            rest => rest,
        }
    }

    /// Indices in the training set of the examples of `epoch` (from 0), in order.
    pub(crate) fn order(&self, epoch: u32) -> Vec<u32> {
        let (seed, train) = (self.config.seed, &self.split.train);
        let mut order = match (self.config.sampler, self.dataset.train.targets()) {
            (Sampler::Balanced, Targets::Classes(labels)) => {
                let mut classes = vec![Vec::new(); self.dataset.classes];
                for &index in train {
                    if let Some(class) = classes.get_mut(usize::from(labels[index as usize])) {
                        class.push(index);
                    }
                }
                classes.retain(|class| !class.is_empty());
                let stream = streams::balanced(seed, epoch);
                let draw = |row: u64| {
                    let class = &classes[stream.below(2 * row, classes.len() as u32) as usize];
                    class[stream.below(2 * row + 1, class.len() as u32) as usize]
                };
                (0..train.len() as u64).map(draw).collect()
            }
            (Sampler::Sequential, _) => train.clone(),
            _ => {
                let mut order = train.clone();
                streams::shuffle(seed, epoch).shuffle(&mut order);
                order
            }
        };
        order.truncate(self.rows_per_epoch());
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::synthetic::Classification;
    use crate::run::config::{Config, Source};

    /// Run with two imbalanced classes: nine in ten examples of the second are removed.
    fn setup(change: fn(&mut Config)) -> Setup {
        let classification = Some(Classification {
            samples: 500,
            features: 4,
            informative: 2,
            ..Classification::default()
        });
        let dataset = Source::Classification;
        let mut config = Config { dataset, classification, batch: 32, ..Config::default() };
        change(&mut config);
        let mut setup = Setup::new(config).expect("a configuration that fits");
        let Targets::Classes(labels) = setup.dataset.train.targets() else { panic!("no classes") };
        let remains = |&(i, &index): &(usize, &u32)| labels[index as usize] == 0 || i % 10 == 0;
        setup.split.train =
            setup.split.train.iter().enumerate().filter(remains).map(|(_, i)| *i).collect();
        setup
    }

    /// Fraction of the examples `order` that are of the second class.
    fn second_class(setup: &Setup, order: &[u32]) -> f64 {
        let Targets::Classes(labels) = setup.dataset.train.targets() else { panic!("no classes") };
        order.iter().filter(|&&index| labels[index as usize] == 1).count() as f64
            / order.len() as f64
    }

    #[test]
    fn a_shuffle_takes_each_example_once() {
        let setup = setup(|_| ());
        let mut order = setup.order(0);
        assert_ne!(order, setup.order(1));
        assert!(second_class(&setup, &order) < 0.2);
        order.sort_unstable();
        assert_eq!(order, setup.split.train);
    }

    #[test]
    fn a_balanced_sampler_draws_all_classes_equally() {
        let setup = setup(|config| config.sampler = Sampler::Balanced);
        let order: Vec<u32> = (0..20).flat_map(|epoch| setup.order(epoch)).collect();
        assert_eq!(order.len(), 20 * setup.split.train.len());
        // Four standard deviations of a fair coin.
        let margin = 4.0 * 0.5 / (order.len() as f64).sqrt();
        let fraction = second_class(&setup, &order);
        assert!((fraction - 0.5).abs() < margin, "{fraction}");
        // Every example is drawn; epochs differ, and each is reproducible.
        assert!(setup.split.train.iter().all(|index| order.contains(index)));
        assert_ne!(setup.order(0), setup.order(1));
        assert_eq!(setup.order(3), setup.order(3));
    }

    #[test]
    fn drop_last_leaves_out_the_incomplete_batch() {
        let all = setup(|_| ());
        let (rows, rest) = (all.split.train.len(), all.split.train.len() % 32);
        assert!(rest > 0);
        assert_eq!((all.rows_per_epoch(), all.last_batch()), (rows, rest));
        assert_eq!(all.steps_per_epoch() as usize, rows / 32 + 1);
        let dropped = setup(|config| config.drop_last = true);
        assert_eq!((dropped.rows_per_epoch(), dropped.last_batch()), (rows - rest, 32));
        assert_eq!(dropped.steps_per_epoch() as usize, rows / 32);
        assert_eq!(dropped.order(5), all.order(5)[..rows - rest]);
    }
}
