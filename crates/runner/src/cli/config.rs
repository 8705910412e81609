//! Flags that several commands share: configuration file or preset, data set, type.

use std::mem::discriminant;
use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use nn::Optimizer;

use crate::Error;
use crate::run::config::{Config, Dtype, Source};
use crate::run::preset::Preset;

/// Configuration file or preset, and data: the flags of commands that start from a configuration.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// Configuration file; flags override it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Network architecture, with its own training settings [default: mlp]
    #[arg(long, conflicts_with = "config")]
    preset: Option<Preset>,
    #[command(flatten)]
    data: DataArgs,
}

impl RunArgs {
    /// Returns [`config`](Self::config) with the optimizer of `--optimizer`.
    pub(super) fn config_with(&self, optimizer: Option<&str>) -> Result<Config, Error> {
        let mut config = self.config()?;
        let Some(name) = optimizer else { return Ok(config) };
        let named = named(name).unwrap_or(config.optimizer);
        let is_variant = ["momentum", "nesterov", "adamw", "amsgrad"].contains(&name);
        // The file's settings stay if the flag names the same optimizer, and no variant of it.
        if is_variant || discriminant(&named) != discriminant(&config.optimizer) {
            config.optimizer = named;
            // The learning rate of a recipe suits the recipe's optimizer only.
            if self.is_recipe() {
                config.lr = None;
            }
        }
        Ok(config)
    }

    /// Returns the configuration of the file or the preset, with the data flags applied.
    pub(super) fn config(&self) -> Result<Config, Error> {
        let config = match &self.config {
            Some(path) => Config::read(path)?,
            None => self.preset.unwrap_or_default().recipe(),
        };
        Ok(self.data.apply(config))
    }

    /// Path of `--data`: the new path of a resumed run's data.
    pub(super) fn moved_data(&self) -> Option<PathBuf> {
        self.data.data.clone()
    }

    /// `true` if the configuration is a preset's recipe.
    pub(super) fn is_recipe(&self) -> bool {
        self.config.is_none()
    }
}

/// Data set: the flags of commands that read one.
#[derive(Debug, Args)]
pub(super) struct DataArgs {
    /// Built-in data set [default: auto: MNIST, or generated digits if it is unavailable]
    #[arg(long)]
    dataset: Option<Source>,
    /// Your own data: a table (.csv), NumPy arrays (.npz, or a folder of .npy files), or a folder
    /// of files in MNIST's format
    #[arg(long, value_name = "PATH", conflicts_with = "dataset")]
    data: Option<PathBuf>,
    /// Column of the table with the classes
    #[arg(long, value_name = "COLUMN", conflicts_with = "target")]
    label: Option<String>,
    /// Column of the table with the target values of a regression
    #[arg(long, value_name = "COLUMN")]
    target: Option<String>,
    /// Seed of every random draw, including generated data and the held-out examples [default: 0]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

impl DataArgs {
    /// Returns `config` with these flags applied, checked.
    pub(super) fn config(&self, config: Config) -> Result<Config, Error> {
        let config = self.apply(config);
        config.check()?;
        Ok(config)
    }

    /// Returns `config` with these flags applied, unchecked.
    fn apply(&self, mut config: Config) -> Config {
        let Self { dataset, data, label, target, seed } = self;
        if dataset.is_some() || data.is_some() {
            config.dataset = dataset.unwrap_or(config.dataset);
            // Label and target stay: `--data` may name the same table at another path.
            config.data = data.clone();
        }
        if config.data.is_none() {
            (config.label, config.target) = (None, None);
        }
        if label.is_some() || target.is_some() {
            (config.label, config.target) = (label.clone(), target.clone());
        }
        config.seed = seed.unwrap_or(config.seed);
        config
    }
}

/// Returns the optimizer of this name. `adam` is the default one, with the weight decay that suits
/// it.
fn named(name: &str) -> Option<Optimizer> {
    if name == "adam" { Some(Config::ADAM) } else { Optimizer::named(name) }
}

/// Parser of the names of the `allowed` types. The error for another name lists them.
pub(super) fn dtype(allowed: &'static [Dtype]) -> impl TypedValueParser<Value = Dtype> {
    PossibleValuesParser::new(allowed.iter().map(|dtype| dtype.name())).map(move |name| {
        // `PossibleValuesParser` lets only these names through.
        allowed.iter().copied().find(|dtype| dtype.name() == name).unwrap_or_default()
    })
}
