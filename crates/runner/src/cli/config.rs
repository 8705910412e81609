//! Flags that make a configuration: a file or a preset, which data, and names that are parsed for several commands.

use std::mem::discriminant;
use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use nn::Optimizer;

use crate::Error;
use crate::run::config::{Config, Dtype, Source};
use crate::run::preset::Preset;

/// What a run is of: shared by the commands that begin with a configuration.
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
    /// [`config`](Self::config), with the optimizer that a flag names.
    pub(super) fn config_with(&self, optimizer: Option<&str>) -> Result<Config, Error> {
        let mut config = self.config()?;
        let Some(name) = optimizer else { return Ok(config) };
        let named = named(name).unwrap_or(config.optimizer);
        let form = ["momentum", "nesterov", "adamw", "amsgrad"].contains(&name);
        // The settings stay where the flag names the same optimizer, and none of its forms.
        if form || discriminant(&named) != discriminant(&config.optimizer) {
            config.optimizer = named;
            // A recipe's rate is that of its optimizer.
            if self.is_recipe() {
                config.lr = None;
            }
        }
        Ok(config)
    }

    /// The file's configuration or the preset's, with what the flags say.
    pub(super) fn config(&self) -> Result<Config, Error> {
        let config = match &self.config {
            Some(path) => Config::read(path)?,
            None => self.preset.unwrap_or_default().recipe(),
        };
        Ok(self.data.on(config))
    }

    /// Where the data of a run that goes on have moved to, if `--data` says so.
    pub(super) fn moved_data(&self) -> Option<PathBuf> {
        self.data.data.clone()
    }

    /// Whether that is a preset's, with how it is trained.
    pub(super) fn is_recipe(&self) -> bool {
        self.config.is_none()
    }
}

/// Which data set: shared by the commands that look at one.
#[derive(Debug, Args)]
pub(super) struct DataArgs {
    /// Built-in data set [default: auto: MNIST, or generated digits where it cannot be had]
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
    /// Seed of every random draw, also of generated data and of which examples are held out
    /// [default: 0]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

impl DataArgs {
    /// `config` on this data set.
    pub(super) fn config(&self, config: Config) -> Result<Config, Error> {
        let config = self.on(config);
        config.check()?;
        Ok(config)
    }

    /// The same, unchecked.
    fn on(&self, mut config: Config) -> Config {
        let Self { dataset, data, label, target, seed } = self;
        if dataset.is_some() || data.is_some() {
            config.dataset = dataset.unwrap_or(config.dataset);
            // Columns of another table say nothing of this one, but of the same data elsewhere they do.
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

/// The optimizer of this name. `adam` is that of those who choose none, with a decay that suits it.
fn named(name: &str) -> Option<Optimizer> {
    if name == "adam" { Some(Config::ADAM) } else { Optimizer::named(name) }
}

/// Parses the name of one of these types; others are refused with their names.
pub(super) fn dtype(allowed: &'static [Dtype]) -> impl TypedValueParser<Value = Dtype> {
    PossibleValuesParser::new(allowed.iter().map(|dtype| dtype.name())).map(move |name| {
        // The names have been looked at by then.
        allowed.iter().copied().find(|dtype| dtype.name() == name).unwrap_or_default()
    })
}
