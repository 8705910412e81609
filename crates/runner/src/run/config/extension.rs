//! Lengths that a run had before it was extended: the key `extended`.
//!
//! ```text
//! extended = [{ step = 2000, epochs = 4 }]    up to step 2000, the schedule is that of 4 epochs
//! epochs = 8                                  from there on, that of 8
//! ```

use serde::{Deserialize, Serialize};

use super::Config;

/// A length that a run had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extension {
    /// Number of steps that were taken when the run was extended.
    pub step: u64,
    /// Configured number of epochs up to that step.
    pub epochs: u32,
}

impl Config {
    /// Number of epochs that the schedule of step `step` (from 0) is made for.
    pub fn epochs_at(&self, step: u64) -> u32 {
        self.extended
            .iter()
            .find(|extension| step < extension.step)
            .map_or(self.epochs, |before| before.epochs)
    }

    /// The configurations that the run had before it was extended, the last one first.
    pub(crate) fn before(&self) -> impl Iterator<Item = Self> {
        let undone = |config: &Self| {
            let (last, rest) = config.extended.split_last()?;
            Some(Self { epochs: last.epochs, extended: rest.into(), ..config.clone() })
        };
        std::iter::successors(undone(self), undone)
    }

    pub(crate) fn extend(&mut self, epochs: u32, step: Option<u64>) {
        self.extended.extend(step.map(|step| Extension { step, epochs: self.epochs }));
        self.epochs = epochs;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_has_the_length_that_the_run_had_then() {
        let mut config = Config { epochs: 2, ..Config::default() };
        let begun = config.clone();
        config.extend(5, Some(20));
        let between = config.clone();
        config.extend(9, Some(20));
        config.extend(12, Some(41));
        assert_eq!(
            [0, 19, 20, 40, 41, 1000].map(|step| config.epochs_at(step)),
            [2, 2, 9, 9, 12, 12]
        );
        let before: Vec<Config> = config.before().collect();
        assert_eq!((before.len(), &before[1], &before[2]), (3, &between, &begun));
        let again: Config =
            toml::from_str(&config.to_toml().expect("plain values")).expect("what was written");
        assert_eq!(again, config);
    }
}
