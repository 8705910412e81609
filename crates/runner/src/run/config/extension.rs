//! Numbers of epochs of a run before it was extended: the key `extended`.
//!
//! ```text
//! extended = [{ step = 2000, epochs = 4 }]    up to step 2000, the schedule of 4 epochs
//! epochs = 8                                  from there on, that of 8 epochs
//! ```

use serde::{Deserialize, Serialize};

use super::Config;

/// An extension of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extension {
    /// Number of steps of the run when it was extended.
    pub step: u64,
    /// Configured number of epochs up to that step.
    pub epochs: u32,
}

impl Config {
    /// Number of epochs of the schedule at step `step` (from 0).
    pub fn epochs_at(&self, step: u64) -> u32 {
        self.extended
            .iter()
            .find(|extension| step < extension.step)
            .map_or(self.epochs, |extension| extension.epochs)
    }

    /// Configurations of the run before each extension, the last one first.
    pub(crate) fn earlier_configs(&self) -> impl Iterator<Item = Self> {
        let previous = |config: &Self| {
            let (last, rest) = config.extended.split_last()?;
            Some(Self { epochs: last.epochs, extended: rest.into(), ..config.clone() })
        };
        std::iter::successors(previous(self), previous)
    }

    /// Changes the number of epochs to `epochs`, after `step` steps of the run; `None` if it has no
    /// checkpoint.
    pub(crate) fn extend(&mut self, epochs: u32, step: Option<u64>) {
        self.extended.extend(step.map(|step| Extension { step, epochs: self.epochs }));
        self.epochs = epochs;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_has_the_epochs_of_its_time() {
        let mut config = Config { epochs: 2, ..Config::default() };
        let first = config.clone();
        config.extend(5, Some(20));
        let second = config.clone();
        config.extend(9, Some(20));
        config.extend(12, Some(41));
        assert_eq!(
            [0, 19, 20, 40, 41, 1000].map(|step| config.epochs_at(step)),
            [2, 2, 9, 9, 12, 12]
        );
        let earlier: Vec<Config> = config.earlier_configs().collect();
        assert_eq!((earlier.len(), &earlier[1], &earlier[2]), (3, &second, &first));
        let again: Config =
            toml::from_str(&config.to_toml().expect("plain values")).expect("what was written");
        assert_eq!(again, config);
    }
}
