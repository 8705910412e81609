//! What a run is, as the file `config.toml`: the same keys as the flags of `train`, flat, each with a default.
//!
//! ```text
//! --config FILE or --preset NAME  ->  Config  <-  flags override
//! Config::check       each value on its own
//! Config::resolve     what depends on the data: layers, validation set, rate  ->  config.toml of the run
//! ```
//!
//! A resolved configuration alone repeats its run to the bit. `threads` and `isa` stand in it as they were asked for,
//! since they change no bit; what they came to is in the run's summary.

mod check;
mod extension;
mod imbalance;
mod init_from;
mod non_finite;
mod resolve;
mod rounding;

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) use check::require;
pub use extension::Extension;
pub use imbalance::{ClassWeights, Sampler};
pub use init_from::InitFrom;
use nn::init::Lsuv;
use nn::optimizer::{Adam, Decay};
use nn::pruning::Pruning;
use nn::{
    Bound, Clip, EarlyStopping, Ema, Group, LayerSpec, Lookahead, Loss, Mixing, Noise, Optimizer,
    Plateau, Precision, Sam, Schedule,
};
pub use non_finite::NonFinite;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::augment::Augment;
use crate::data::DataError;
use crate::data::digest::sha256;
use crate::data::synthetic::{Classification, Linear};
use crate::run::preset::{Deep, Preset};
use crate::run::spelling::with_suggestion;

/// Everything that makes a run. The documentation of each field names its key's meaning and default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The name of the network; its layers, unless `layers` says otherwise. Default `mlp`.
    pub preset: Preset,
    /// Which data set. Default `auto`.
    pub dataset: Source,
    /// A data set in place of `dataset`: a folder of MNIST's form or of arrays, a table (`.csv`), or an archive of arrays (`.npz`).
    pub data: Option<PathBuf>,
    /// The column of a table whose distinct texts are classes.
    pub label: Option<String>,
    /// The column of a table whose numbers are to be met, in place of `label`.
    pub target: Option<String>,
    /// Whether the preset's layers begin with one that standardises, by the training set. Default for tables of numbers.
    pub standardise: Option<bool>,
    /// `true` to standardise target values by the training set: the preset's layers end with one
    /// that undoes it. Default for data with values.
    pub standardise_target: Option<bool>,
    /// How many training examples are held out for validation. Default one in twelve.
    pub validation: Option<u32>,
    /// Into how many folds the training examples are divided, for a run each that validates on it. Default none.
    pub folds: Option<u32>,
    /// Which of them this run validates on, from 1. Without it, a run of its own for each.
    pub fold: Option<u32>,
    /// What every random draw depends on. Default 0.
    pub seed: u64,
    /// The type of parameters and of all that is computed from them. Default `f32`.
    pub dtype: Dtype,
    /// How often each training example is seen. Default 10.
    pub epochs: u32,
    /// The lengths that the run had before `--resume` with `--epochs` extended it. Default none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extended: Vec<Extension>,
    /// Examples a step; the last step of an epoch takes what is left. Default 256.
    pub batch: u32,
    /// Leaves out the last batch of each epoch where it is not full. Default it is taken.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub drop_last: bool,
    /// How many batches make a step: their gradients are averaged. Default 1.
    pub accumulate: u32,
    /// How the examples of an epoch are drawn. Default each once, in a random order.
    #[serde(skip_serializing_if = "Sampler::is_default")]
    pub sampler: Sampler,
    /// How much the rows of each class count in the cross-entropy. Default all the same.
    pub class_weights: Option<ClassWeights>,
    /// The learning rate before the schedule's factor. Default 0.004 for Adam, else the optimizer's
    /// [usual one](Optimizer::usual_rate).
    pub lr: Option<f64>,
    /// Gradients with a larger Euclidean norm are scaled down to it exactly, after all clips of
    /// `clip`; PyTorch divides by the norm + 1e-6. Default none.
    pub clip_norm: Option<f64>,
    /// What is done where loss or gradient is not finite. Default the run ends.
    pub non_finite: NonFinite,
    /// After how many steps each the state is written to go on from. Default not within an epoch.
    pub checkpoint_steps: Option<u64>,
    /// After how many epochs each. Default, without `checkpoint_steps`, as often as takes a hundredth of the time.
    pub checkpoint_epochs: Option<u32>,
    /// Threads. Default as many as the machine runs at once.
    pub threads: Option<usize>,
    /// The instruction set: `auto` or one of [`kernels::ISA_NAMES`]. Default `auto`, the fastest there is.
    pub isa: String,
    /// What the data set `classification` is. Default 10,000 rows of 20 columns and two classes.
    pub classification: Option<Classification>,
    /// What the data set `linear` is. Default 10,000 rows of 10 columns.
    pub linear: Option<Linear>,
    /// The optimizer. Default [`ADAM`](Self::ADAM).
    pub optimizer: Optimizer,
    /// How the rate changes over the run. Default half a cosine down to 0.
    pub schedule: Schedule,
    /// How it falls besides when the validation loss no longer does. Default not at all.
    pub plateau: Option<Plateau>,
    /// When the run ends before the last epoch. Default never.
    pub early_stopping: Option<EarlyStopping>,
    /// What outputs are compared with labels by. Default the preset's.
    pub loss: Option<Loss>,
    /// What is done to training images at random, in order. Default nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub augment: Vec<Augment>,
    /// Images that are mixed, with their labels. Default none.
    pub mixing: Option<Mixing>,
    /// Noise on gradients. Default none.
    pub noise: Option<Noise>,
    /// The average of the weights that is scored and kept. Default the weights themselves.
    pub ema: Option<Ema>,
    /// Slow weights that the weights are drawn back to. Default none.
    pub lookahead: Option<Lookahead>,
    /// Gradients from the worst place near the weights. Default from where the weights are.
    pub sam: Option<Sam>,
    /// Weights that become 0 over the run, and stay 0. Default none.
    pub pruning: Option<Pruning>,
    /// Weights of another run or program to begin with. Default drawn.
    pub init_from: Option<InitFrom>,
    /// Weights scaled by what they do to the first batch. Default as drawn.
    pub lsuv: Option<Lsuv>,
    /// What is done to gradients that are too large, in order. Default nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub clip: Vec<Clip>,
    /// What is done to parameters after each step, in order. Default nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bounds: Vec<Bound>,
    /// Tensors that are trained in another way than the rest. Default none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Group>,
    /// What the hidden layers of the preset `deep-mlp` are. Default nine of 256 ReLUs, drawn by He's initialisation.
    pub deep: Option<Deep>,
    /// The layers. Default those of the preset, with one output a class.
    pub layers: Option<Vec<LayerSpec>>,
}

/// A data set that can be asked for by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// MNIST, or generated digits where it cannot be had.
    #[default]
    Auto,
    /// MNIST and nothing else.
    Mnist,
    /// Generated digits.
    Digits,
    /// A generated table: classes around the corners of a cube.
    Classification,
    /// A generated table: values that are a linear function of its columns, and noise.
    Linear,
}

/// The type that a run computes in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// IEEE 754 binary32.
    #[default]
    F32,
    /// IEEE 754 binary64.
    F64,
    /// f32, with the factors of products rounded to bf16: see [`Precision::Bf16`].
    Bf16,
}

impl Dtype {
    /// What the factors of products are rounded to.
    pub fn precision(self) -> Precision {
        match self {
            Self::F32 | Self::F64 => Precision::Full,
            Self::Bf16 => Precision::Bf16,
        }
    }

    /// Its name, as flags and configuration files spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::Bf16 => "bf16",
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            preset: Preset::default(),
            dataset: Source::default(),
            data: None,
            label: None,
            target: None,
            standardise: None,
            standardise_target: None,
            validation: None,
            folds: None,
            fold: None,
            seed: 0,
            dtype: Dtype::default(),
            epochs: 10,
            extended: Vec::new(),
            batch: 256,
            drop_last: false,
            accumulate: 1,
            sampler: Sampler::default(),
            class_weights: None,
            lr: None,
            clip_norm: None,
            non_finite: NonFinite::default(),
            checkpoint_steps: None,
            checkpoint_epochs: None,
            threads: None,
            isa: "auto".into(),
            classification: None,
            linear: None,
            optimizer: Self::ADAM,
            schedule: Schedule::Cosine { end: 0.0 },
            plateau: None,
            early_stopping: None,
            loss: None,
            augment: Vec::new(),
            mixing: None,
            noise: None,
            ema: None,
            lookahead: None,
            sam: None,
            pruning: None,
            init_from: None,
            lsuv: None,
            clip: Vec::new(),
            bounds: Vec::new(),
            groups: Vec::new(),
            deep: None,
            layers: None,
        }
    }
}

impl Config {
    /// The optimizer of those who choose none. With batch, rate and schedule it was chosen by the validation accuracy of
    /// the preset `mlp` on MNIST, from fourteen such settings with three seeds each: the quickest of those within 0.1 % of the
    /// best.
    pub const ADAM: Optimizer = Optimizer::Adam(Adam {
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        amsgrad: false,
        decay: Decay::decoupled(0.2),
    });

    /// Reads the file `path`.
    ///
    /// # Errors
    /// [`DataError::Io`] if it cannot be read, [`Error::Config`] if it is no configuration.
    pub fn read(path: &Path) -> Result<Self, Error> {
        Self::parse(&fs::read_to_string(path).map_err(DataError::io("read", path))?, path)
    }

    /// Reads `text`, which came from the file `path`.
    ///
    /// # Errors
    /// [`Error::Config`] if it is no configuration.
    pub fn parse(text: &str, path: &Path) -> Result<Self, Error> {
        toml::from_str(text).map_err(|error| Error::Config {
            path: path.into(),
            message: with_suggestion(error.to_string().trim_end()),
        })
    }

    /// The file's text.
    ///
    /// # Errors
    /// [`Error::Usage`] if a value cannot be written in TOML.
    pub fn to_toml(&self) -> Result<String, Error> {
        toml::to_string(self)
            .map_err(|error| Error::Usage(format!("the configuration cannot be written: {error}")))
    }

    /// Examples that a step looks at.
    pub fn images_per_step(&self) -> u64 {
        u64::from(self.batch) * u64::from(self.accumulate)
    }

    /// Every clip, in order.
    pub fn clips(&self) -> Vec<Clip> {
        let last = self.clip_norm.map(|limit| Clip::GlobalNorm { limit });
        self.clip.iter().copied().chain(last).collect()
    }

    /// The learning rate before the schedule's factor.
    pub fn rate(&self) -> f64 {
        self.lr.unwrap_or(match self.optimizer {
            Optimizer::Adam(_) => 4e-3,
            other => other.usual_rate(),
        })
    }

    /// What tells two runs apart: the SHA-256 of the configuration without what changes no bit of the result.
    ///
    /// # Errors
    /// As [`to_toml`](Self::to_toml).
    pub fn sha256(&self) -> Result<String, Error> {
        let mut same_bits = Self {
            checkpoint_steps: None,
            checkpoint_epochs: None,
            threads: None,
            isa: String::new(),
            data: None,
            ..self.clone()
        };
        if let Some(from) = &mut same_bits.init_from {
            from.path = PathBuf::new();
        }
        Ok(sha256(same_bits.to_toml()?.as_bytes()))
    }
}

/// Whether `path` is named as a table.
pub(crate) fn is_table(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut config = Config {
            clip_norm: Some(0.1 + 0.2),
            layers: Some(Preset::Mlp.layers(10)),
            ..Config::default()
        };
        for optimizer in [Optimizer::adam(), Optimizer::sgd()] {
            config.optimizer = optimizer;
            let text = config.to_toml().expect("plain values");
            assert_eq!(
                toml::from_str::<Config>(&text).expect("what was written"),
                config,
                "{text}"
            );
        }
    }

    /// Reads the example in `docs/CONFIGURATION.md`.
    #[test]
    fn the_documented_example_is_a_configuration() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
        if !docs.is_dir() {
            println!("skipped: no docs here, as in a published package");
            return;
        }
        let text = fs::read_to_string(docs.join("CONFIGURATION.md")).expect("its documentation");
        let example = text
            .split("```toml\n")
            .nth(1)
            .and_then(|rest| rest.split("```").next())
            .expect("a block");
        let config: Config = toml::from_str(example).expect("a configuration");
        config.check().expect("values in range");
        let again: Config =
            toml::from_str(&config.to_toml().expect("plain values")).expect("what was written");
        assert_eq!(again, config);
        assert_eq!((config.groups.len(), config.clips().len()), (2, 3));
        let network = nn::Network::new(784, config.layers.as_deref().expect("layers"))
            .expect("layers that fit");
        nn::Plan::new(network.layout(), config.optimizer, &config.groups)
            .expect("groups that name tensors");
    }

    #[test]
    fn depth_width_activation_and_initialiser_of_deep_networks_are_keys() {
        let text = "preset = \"deep-mlp\"\ndeep = { depth = 30, width = 64, activation = { kind = \"tanh\" }, init = \"orthogonal\" }";
        let config: Config = toml::from_str(text).expect("a configuration");
        config.check().expect("values in range");
        let layers = config.deep.clone().expect("deep").layers(10);
        assert_eq!(layers.len(), 61);
        assert_eq!(layers[58], LayerSpec::dense(64, nn::Init::Orthogonal));
        assert_eq!(layers[59], LayerSpec::Activation(nn::Activation::Tanh));
        assert_eq!(Deep::default().layers(10), Preset::DeepMlp.layers(10));
        assert!(Config { preset: Preset::Mlp, ..config.clone() }.check().is_err());
        assert!(
            Config { deep: Some(Deep { depth: 0, ..Deep::default() }), ..config }.check().is_err()
        );
    }

    #[test]
    fn a_misspelt_key_is_named_with_its_line() {
        let error = toml::from_str::<Config>("epochs = 3\nbacth = 8\n")
            .expect_err("no such key")
            .to_string();
        assert!(error.contains("line 2") && error.contains("bacth"), "{error}");
    }

    #[test]
    fn the_hash_leaves_out_what_changes_no_bit() {
        let config = Config::default();
        let machine = Config {
            checkpoint_steps: Some(9),
            checkpoint_epochs: Some(2),
            threads: Some(7),
            isa: "scalar".into(),
            ..Config::default()
        };
        let other = Config { seed: 1, ..Config::default() };
        assert_eq!(config.sha256().expect("plain"), machine.sha256().expect("plain"));
        assert_ne!(config.sha256().expect("plain"), other.sha256().expect("plain"));
    }
}
