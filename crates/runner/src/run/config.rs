//! Configuration of a run, the file `config.toml`: the keys of `train`'s flags, each with a
//! default.
//!
//! ```text
//! --config FILE or --preset NAME  ->  Config  <-  flags override
//! Config::check       each value on its own
//! Config::resolve     values that depend on the data: layers, validation set, learning rate
//! ```
//!
//! The resolved configuration is the run's `config.toml`, and alone repeats the run to the bit.
//! `threads` and `isa` are not resolved, since they change no bit; the summary has the values that
//! were used.

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

/// Configuration of a run. The documentation of each field has the meaning and default of its key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Named network; `layers` replaces its layers. Default `mlp`.
    pub preset: Preset,
    /// Name of the data set. Default `auto`.
    pub dataset: Source,
    /// Data in place of `dataset`: a folder of MNIST's files or of arrays, a table (`.csv`), or an
    /// archive of arrays (`.npz`).
    pub data: Option<PathBuf>,
    /// Table column whose distinct texts are the classes.
    pub label: Option<String>,
    /// Table column whose numbers are the target values, in place of `label`.
    pub target: Option<String>,
    /// Task in place of the one that the targets of the data make. Default classification for
    /// classes, regression for values.
    pub task: Option<Objective>,
    /// `true` to standardise the inputs by the training set: the preset's layers then start with
    /// one that does it. Default `true` for tables of numbers.
    pub standardise: Option<bool>,
    /// `true` to standardise the target values by the training set: the preset's layers then end
    /// with one that inverts it. Default `true` for data with values and losses of differences; of
    /// a reconstruction, for tables.
    pub standardise_target: Option<bool>,
    /// Number of training examples held out for validation. Default one in twelve.
    pub validation: Option<u32>,
    /// Number of folds of a cross-validation: each is the validation set of a run of its own.
    /// Default none.
    pub folds: Option<u32>,
    /// Fold that is the validation set, from 1. Default a run for each fold.
    pub fold: Option<u32>,
    /// Seed of all random draws. Default 0.
    pub seed: u64,
    /// Type of the parameters and of all arithmetic. Default `f32`.
    pub dtype: Dtype,
    /// Number of passes over the training examples. Default 10.
    pub epochs: u32,
    /// Earlier numbers of epochs of a run that `--resume` with `--epochs` extended. Default none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extended: Vec<Extension>,
    /// Batch size; the last batch of an epoch may be smaller. Default 256.
    pub batch: u32,
    /// `true` to drop the last batch of each epoch if it is incomplete. Default `false`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub drop_last: bool,
    /// Number of batches per step, whose gradients are averaged. Default 1.
    pub accumulate: u32,
    /// Sampler of the examples of an epoch. Default each once, in a random order.
    #[serde(skip_serializing_if = "Sampler::is_default")]
    pub sampler: Sampler,
    /// Weight of each class in the cross-entropy. Default 1 for all.
    pub class_weights: Option<ClassWeights>,
    /// Learning rate before the schedule's factor. Default 0.004 for Adam, otherwise the
    /// optimizer's [usual one](Optimizer::usual_rate).
    pub lr: Option<f64>,
    /// Maximum L2 norm of the gradient, after all clips of `clip`. A gradient with a larger norm is
    /// scaled down to it exactly; PyTorch divides by the norm + 1e-6. Default none.
    pub clip_norm: Option<f64>,
    /// Policy for a non-finite loss or gradient. Default the run ends.
    pub non_finite: NonFinite,
    /// Number of steps between checkpoints. Default none within an epoch.
    pub checkpoint_steps: Option<u64>,
    /// Number of epochs between checkpoints. Default, without `checkpoint_steps`, as often as takes
    /// a hundredth of the time.
    pub checkpoint_epochs: Option<u32>,
    /// Number of threads. Default that of the processor.
    pub threads: Option<usize>,
    /// Instruction set: `auto` or one of [`kernels::ISA_NAMES`]. Default `auto`, the fastest of the
    /// machine.
    pub isa: String,
    /// Settings of the data set `classification`. Default 10,000 rows of 20 columns, two classes.
    pub classification: Option<Classification>,
    /// Settings of the data set `linear`. Default 10,000 rows of 10 columns.
    pub linear: Option<Linear>,
    /// Optimizer. Default [`ADAM`](Self::ADAM).
    pub optimizer: Optimizer,
    /// Schedule of the learning rate. Default constant; that of the preset's recipe in a file that
    /// names a `preset` and has no `layers` of its own ([`parse`](Self::parse)).
    pub schedule: Schedule,
    /// Reduction of the learning rate when the validation loss stops falling. Default none.
    pub plateau: Option<Plateau>,
    /// Rule that ends the run before its last epoch. Default none.
    pub early_stopping: Option<EarlyStopping>,
    /// Loss. Default the preset's.
    pub loss: Option<Loss>,
    /// Augmentations of the training images, in order. Default none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub augment: Vec<Augment>,
    /// Mixing of images and their labels. Default none.
    pub mixing: Option<Mixing>,
    /// Noise added to gradients. Default none.
    pub noise: Option<Noise>,
    /// Moving average of the weights, which is scored and saved instead of them. Default none.
    pub ema: Option<Ema>,
    /// Lookahead: slow weights to which the weights return. Default none.
    pub lookahead: Option<Lookahead>,
    /// Sharpness-aware minimisation: gradients at the worst point near the weights. Default none.
    pub sam: Option<Sam>,
    /// Pruning: weights that become 0 over the run. Default none.
    pub pruning: Option<Pruning>,
    /// Initial weights from another run or program. Default drawn.
    pub init_from: Option<InitFrom>,
    /// LSUV: initial weights scaled by the outputs for the first batch. Default none.
    pub lsuv: Option<Lsuv>,
    /// Clips of the gradient, in order. Default none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub clip: Vec<Clip>,
    /// Bounds on the parameters after each step, in order. Default none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bounds: Vec<Bound>,
    /// Parameter groups with settings of their own. Default none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Group>,
    /// Hidden layers of the preset `deep-mlp`. Default nine of 256 ReLUs, with He's initialisation.
    pub deep: Option<Deep>,
    /// Settings of the diagnosis: rules to ignore, severities, thresholds. They change no bit.
    #[serde(skip_serializing_if = "is_default")]
    pub doctor: doctor::Settings,
    /// Layers. Default those of the preset, with one output per class.
    pub layers: Option<Vec<LayerSpec>>,
}

/// Name of a data set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// MNIST, or generated digits if it is not available.
    #[default]
    Auto,
    /// MNIST; an error if it is not available.
    Mnist,
    /// Generated digits.
    Digits,
    /// A generated table: classes around the corners of a cube.
    Classification,
    /// A generated table: values are a linear function of its columns, plus noise.
    Linear,
}

/// Task that does not follow from the targets of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Objective {
    /// The targets are the inputs, whatever targets the data have: an autoencoder. Augmented images
    /// have the images before augmentation as targets: a denoising autoencoder (Vincent et al.,
    /// ICML 2008).
    Reconstruct,
}

/// Type of the arithmetic of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// IEEE 754 binary32.
    #[default]
    F32,
    /// IEEE 754 binary64.
    F64,
    /// f32, with the operands of matrix products rounded to bf16: see [`Precision::Bf16`].
    Bf16,
}

impl Dtype {
    /// Precision of the operands of matrix products.
    pub fn precision(self) -> Precision {
        match self {
            Self::F32 | Self::F64 => Precision::Full,
            Self::Bf16 => Precision::Bf16,
        }
    }

    /// Name, as flags and configuration files spell it.
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
            task: None,
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
            schedule: Schedule::Constant,
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
            doctor: doctor::Settings::default(),
            layers: None,
        }
    }
}

impl Config {
    /// Default optimizer. It was chosen together with batch size, rate and schedule, by the
    /// validation accuracy of the preset `mlp` on MNIST, from fourteen such settings with three
    /// seeds each: the fastest of those within 0.1 % of the best.
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
    /// [`DataError::Io`] if it cannot be read; [`Error::Config`] if it is not a configuration.
    pub fn read(path: &Path) -> Result<Self, Error> {
        Self::parse(&fs::read_to_string(path).map_err(DataError::io("read", path))?, path)
    }

    /// Parses `text`, the contents of the file `path`. A file that names a `preset`, and has
    /// neither `layers` nor a `schedule`, has the schedule of the preset's recipe.
    ///
    /// # Errors
    /// [`Error::Config`] if it is not a configuration.
    pub fn parse(text: &str, path: &Path) -> Result<Self, Error> {
        let malformed = |error: toml::de::Error| Error::Config {
            path: path.into(),
            message: with_suggestion(error.to_string().trim_end()),
        };
        let mut config: Self = toml::from_str(text).map_err(malformed)?;
        let keys: toml::Table = toml::from_str(text).map_err(malformed)?;
        let is_recipe = keys.contains_key("preset") && !keys.contains_key("layers");
        if is_recipe && !keys.contains_key("schedule") {
            config.schedule = config.preset.recipe().schedule;
        }
        Ok(config)
    }

    /// Text of the configuration file.
    ///
    /// # Errors
    /// [`Error::Usage`] if a value cannot be written in TOML.
    pub fn to_toml(&self) -> Result<String, Error> {
        toml::to_string(self)
            .map_err(|error| Error::Usage(format!("the configuration cannot be written: {error}")))
    }

    /// Number of examples per step.
    pub fn images_per_step(&self) -> u64 {
        u64::from(self.batch) * u64::from(self.accumulate)
    }

    /// All clips, in order.
    pub fn clips(&self) -> Vec<Clip> {
        let last = self.clip_norm.map(|limit| Clip::GlobalNorm { limit });
        self.clip.iter().copied().chain(last).collect()
    }

    /// Learning rate before the schedule's factor.
    pub fn rate(&self) -> f64 {
        self.lr.unwrap_or(match self.optimizer {
            Optimizer::Adam(_) => 4e-3,
            other => other.usual_rate(),
        })
    }

    /// SHA-256 of the configuration without the keys that change no bit of the result.
    ///
    /// # Errors
    /// Same as [`to_toml`](Self::to_toml).
    pub fn sha256(&self) -> Result<String, Error> {
        let mut same_bits = Self {
            checkpoint_steps: None,
            checkpoint_epochs: None,
            threads: None,
            isa: String::new(),
            data: None,
            doctor: doctor::Settings::default(),
            ..self.clone()
        };
        if let Some(from) = &mut same_bits.init_from {
            from.path = PathBuf::new();
        }
        Ok(sha256(same_bits.to_toml()?.as_bytes()))
    }
}

/// `true` for the default of a key that is written only if it differs.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// `true` if the name of `path` is that of a table.
pub(crate) fn is_table(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_configuration_is_read_back() {
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
        let text = "preset = \"deep-mlp\"\ndeep = { depth = 30, width = 64, \
                    activation = { kind = \"tanh\" }, init = \"orthogonal\" }";
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

    /// As in every framework, a network of one's own has a constant rate. A preset has the schedule
    /// that was chosen for it, and a file that names one is always heeded.
    #[test]
    fn the_default_schedule_is_constant_and_that_of_a_preset_its_recipe() {
        let schedule = |text: &str| {
            Config::parse(text, Path::new("a.toml")).expect("a configuration").schedule
        };
        let layers = "layers = [{ kind = \"dense\", units = 10 }]\n";
        let half_cosine = Schedule::Cosine { end: 0.0 };
        for text in ["", "epochs = 3\n", layers, &format!("preset = \"cnn\"\n{layers}")] {
            assert_eq!(schedule(text), Schedule::Constant, "{text}");
        }
        assert_eq!(schedule("preset = \"logistic\""), half_cosine);
        assert_eq!(schedule("preset = \"cnn\""), Preset::Cnn.recipe().schedule);
        assert_ne!(Preset::Cnn.recipe().schedule, half_cosine);
        let named = "schedule = { kind = \"linear\" }\n";
        for text in [named.into(), format!("preset = \"cnn\"\n{named}"), format!("{named}{layers}")]
        {
            assert!(matches!(schedule(&text), Schedule::Linear { .. }), "{text}");
        }
        // What is written has the key, so that stored runs keep their meaning.
        for preset in [Preset::Cnn, Preset::Logistic] {
            let recipe = preset.recipe();
            let text = recipe.to_toml().expect("plain values");
            assert!(text.contains("[schedule]"), "{text}");
            assert_eq!(schedule(&text), recipe.schedule);
        }
        let constant = Config { preset: Preset::Cnn, ..Config::default() };
        assert_eq!(schedule(&constant.to_toml().expect("plain values")), Schedule::Constant);
    }

    #[test]
    fn a_misspelt_key_is_named_with_its_line() {
        let error = toml::from_str::<Config>("epochs = 3\nbacth = 8\n")
            .expect_err("no such key")
            .to_string();
        assert!(error.contains("line 2") && error.contains("bacth"), "{error}");
    }

    #[test]
    fn the_hash_ignores_keys_that_change_no_bit() {
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
