//! Recipe of each preset: the configuration that trains it well on MNIST.

use nn::optimizer::{Adam, Decay};
use nn::{Bound, Ema, Loss, Schedule};

use crate::run::config::Config;
use crate::run::preset::Preset;

impl Preset {
    /// Default configuration of `--preset`, chosen by the validation set of MNIST. The keys of a
    /// configuration file have the same defaults for all presets, except `schedule`
    /// ([`Config::parse`]).
    pub fn recipe(self) -> Config {
        let schedule = Schedule::Cosine { end: 0.0 };
        let default = Config { preset: self, schedule, ..Config::default() };
        let adam =
            |decoupled| Adam { decay: Decay::decoupled(decoupled), ..Adam::default() }.into();
        let smoothed = Some(Loss::CrossEntropy { smoothing: 0.05 });
        let warmup = || Schedule::Warmup {
            epochs: 1.0,
            start: 0.0,
            then: Box::new(Schedule::Cosine { end: 0.0 }),
        };
        match self {
            Self::Mlp => Config {
                epochs: 4,
                batch: 128,
                lr: Some(4e-3),
                optimizer: adam(0.05),
                schedule: Schedule::OneCycle { rise: 0.2, start: 0.1, end: 0.0 },
                ..default
            },
            Self::Cnn | Self::Resnet => Config {
                epochs: if self == Self::Cnn { 10 } else { 8 },
                batch: 128,
                lr: Some(6e-3),
                loss: smoothed,
                ema: Some(Ema { decay: 0.998 }),
                optimizer: adam(0.1),
                schedule: Schedule::OneCycle { rise: 0.3, start: 0.1, end: 0.0 },
                ..default
            },
            Self::MlpDropout => Config {
                epochs: 60,
                batch: 128,
                lr: Some(3e-3),
                ema: Some(Ema { decay: 0.999 }),
                optimizer: adam(0.0),
                schedule: Schedule::OneCycle { rise: 0.1, start: 0.1, end: 0.0 },
                bounds: vec![Bound::MaxNorm { limit: 3.0 }],
                ..default
            },
            Self::VitTiny | Self::LstmRows => Config {
                batch: 128,
                lr: Some(2e-3),
                clip_norm: Some(1.0),
                optimizer: adam(0.05),
                schedule: warmup(),
                ..default
            },
            _ => default,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn recipes_are_configurations_of_their_preset() {
        for &preset in Preset::value_variants() {
            let recipe = preset.recipe();
            assert_eq!(recipe.preset, preset);
            recipe.check().expect("values in range");
        }
    }
}
