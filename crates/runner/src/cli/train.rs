//! `evenkeel train`.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use clap::builder::PossibleValuesParser;
use nn::{Group, Optimizer};

use crate::Error;
use crate::cli::config::{RunArgs, dtype};
use crate::commands::{diagnose, dry_run, folds, output, overfit, train};
use crate::machine::signal::Signals;
use crate::run::config::{ClassWeights, Dtype, InitFrom, NonFinite, Sampler, require};
use crate::run::setup::Setup;
use crate::training::extension;

/// Arguments that `--resume` refuses: the run folder fixes their values.
const FIXED_BY_RUN: [&str; 21] = [
    "config",
    "preset",
    "dataset",
    "label",
    "target",
    "seed",
    "batch",
    "drop_last",
    "sampler",
    "class_weights",
    "lr",
    "optimizer",
    "clip_norm",
    "non_finite",
    "init_from",
    "reinit",
    "freeze",
    "dtype",
    "folds",
    "out",
    "force",
];

#[derive(Debug, Args)]
pub(super) struct TrainArgs {
    #[command(flatten)]
    run: RunArgs,
    /// Passes over the training set [default: the preset's, 4 for mlp; 10 with --config]
    #[arg(long, value_name = "N")]
    epochs: Option<u32>,
    /// Examples per step [default: the preset's, 128 for mlp; 256 with --config]
    #[arg(long, value_name = "N")]
    batch: Option<u32>,
    /// Drop the last batch of each epoch if it is incomplete [default: train on it]
    #[arg(long)]
    drop_last: bool,
    /// Order of the training examples [default: shuffle]
    #[arg(long, value_name = "NAME")]
    sampler: Option<Sampler>,
    /// Weight of each class in the cross-entropy: balanced, or numbers such as 1,2.5 [default: 1]
    #[arg(long, value_name = "balanced|N,N...")]
    class_weights: Option<ClassWeights>,
    /// Learning rate [default: 0.004 for adam, 0.1 for sgd, the usual one of other optimizers]
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    lr: Option<f64>,
    /// Optimizer, with its usual settings or those of --config [default: adam]
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(Optimizer::NAMES))]
    optimizer: Option<String>,
    /// Clip gradients to this global norm [default: no clipping]
    #[arg(long, value_name = "NORM", allow_negative_numbers = true)]
    clip_norm: Option<f64>,
    /// Policy for a NaN or infinite loss or gradient [default: stop]
    #[arg(long, value_name = "POLICY")]
    non_finite: Option<NonFinite>,
    /// Start from the weights of this run or safetensors file, where names and shapes match
    #[arg(long, value_name = "RUN|FILE")]
    init_from: Option<PathBuf>,
    /// Tensors that --init-from does not load but initialises at random; * matches any characters
    #[arg(long, value_name = "PATTERN", requires = "init_from")]
    reinit: Vec<String>,
    /// Tensors to freeze: they are not trained; * matches any characters
    #[arg(long, value_name = "PATTERN")]
    freeze: Vec<String>,
    /// Write a checkpoint after every N steps
    #[arg(long, value_name = "N")]
    checkpoint_steps: Option<u64>,
    /// Write a checkpoint after every N epochs [default: without --checkpoint-steps, as often as
    /// fits in 1 % of the run time]
    #[arg(long, value_name = "N")]
    checkpoint_epochs: Option<u32>,
    /// Number of threads; the result does not depend on it [default: one per CPU]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Instruction set: auto, scalar, avx2, avx512 or neon; the result does not depend on it
    /// [default: auto]
    #[arg(long, value_name = "NAME")]
    isa: Option<String>,
    /// Type to compute in. bf16 rounds the operands of products with weights, and computes
    /// everything else in f32 [default: f32]
    #[arg(long, value_name = "TYPE", value_parser = dtype(&[Dtype::F32, Dtype::F64, Dtype::Bf16]))]
    dtype: Option<Dtype>,
    /// Cross-validate: one run per fold of the training set, in folders fold-1, fold-2, ... of the
    /// run folder
    #[arg(long, value_name = "N")]
    folds: Option<u32>,
    #[arg(long, value_name = "DIR", help = "Run folder [default: runs/<preset>-<n>]")]
    out: Option<PathBuf>,
    /// Replace the run in --out
    #[arg(long, requires = "out")]
    force: bool,
    /// Resume the run in this folder, to the same bits as without the stop. --epochs extends the
    /// run, --data is the new path of its data; other flags that change the result are refused
    #[arg(long, value_name = "DIR", conflicts_with_all = FIXED_BY_RUN)]
    resume: Option<PathBuf>,
    /// Exit with 4 if the test accuracy is below this fraction
    #[arg(long, value_name = "FRACTION", allow_negative_numbers = true)]
    min_accuracy: Option<f64>,
    /// Judge the training while it runs: a line for each finding, and findings.jsonl in the run
    /// folder
    #[arg(long)]
    watch: bool,
    /// End a watched run with exit code 4 at findings of these rules, or of at least this severity
    /// (warning, critical)
    #[arg(long, value_name = "ID,...", value_delimiter = ',', requires = "watch")]
    fail_on: Vec<String>,
    /// Stop after step N of the run; --resume continues it
    #[arg(long, value_name = "N")]
    max_steps: Option<u64>,
    /// Stop when the process has run for this many seconds; --resume continues the run
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    max_time: Option<f64>,
    /// Print layers, parameters, bytes and FLOP without training
    #[arg(long, conflicts_with_all = ["resume", "print_config", "overfit_batch", "folds"])]
    dry_run: bool,
    /// Print the resolved configuration without training
    #[arg(long, conflicts_with_all = ["resume", "overfit_batch", "folds"])]
    print_config: bool,
    /// Train on a single batch, and exit with 4 if the network cannot overfit it. Writes no run
    /// folder
    #[arg(long, conflicts_with_all = ["resume", "out", "folds"])]
    overfit_batch: bool,
    /// Print the summary as JSON on stdout
    #[arg(long)]
    json: bool,
    /// No progress on stderr
    #[arg(long)]
    quiet: bool,
}

impl TrainArgs {
    /// Trains a run, or does what `--dry-run`, `--print-config` or `--overfit-batch` says instead.
    pub(super) fn run(self, started: Instant) -> Result<(), Error> {
        let Self { dry_run, print_config, overfit_batch, .. } = self;
        let request = self.request()?;
        match (&request.run, dry_run || print_config || overfit_batch) {
            (train::Run::New { config, .. }, true) if overfit_batch => {
                overfit::overfit((**config).clone(), request.limits.steps, request.json)
            }
            (train::Run::New { config, .. }, true) => {
                let setup = Setup::new((**config).clone())?;
                if dry_run {
                    return dry_run::dry_run(&setup, request.json);
                }
                output::print(setup.config.to_toml()?.trim_end())
            }
            _ if folds::is_requested(&request)? => {
                folds::train(&request, started, &Signals::catch()?)
            }
            _ => train::train(&request, started, &Signals::catch()?),
        }
    }

    fn request(self) -> Result<train::Request, Error> {
        if let Some(minimum) = self.min_accuracy {
            require("min-accuracy", minimum, (0.0..=1.0).contains(&minimum), "0 to 1")?;
        }
        if let Some(seconds) = self.max_time {
            require("max-time", seconds, seconds > 0.0, "seconds above 0")?;
        }
        if let Some(steps) = self.max_steps {
            require("max-steps", steps, steps > 0, "at least 1")?;
        }
        let limits = train::Limits { steps: self.max_steps, seconds: self.max_time };
        let (min_accuracy, json, quiet) = (self.min_accuracy, self.json, self.quiet);
        let (watch, fail_on) = (self.watch, self.fail_on.clone());
        diagnose::check_names(&fail_on)?;
        let run = match self.resume {
            Some(folder) => {
                let data = self.run.moved_data();
                let Self { epochs, checkpoint_steps, checkpoint_epochs, threads, isa, .. } = self;
                let changes = extension::Changes {
                    epochs,
                    data,
                    checkpoint_steps,
                    checkpoint_epochs,
                    threads,
                    isa,
                };
                train::Run::Resume { folder, changes }
            }
            None => {
                let mut config = self.run.config_with(self.optimizer.as_deref())?;
                config.epochs = self.epochs.unwrap_or(config.epochs);
                config.batch = self.batch.unwrap_or(config.batch);
                config.drop_last |= self.drop_last;
                config.sampler = self.sampler.unwrap_or(config.sampler);
                config.class_weights = self.class_weights.or(config.class_weights);
                config.lr = self.lr.or(config.lr);
                config.clip_norm = self.clip_norm.or(config.clip_norm);
                config.non_finite = self.non_finite.unwrap_or(config.non_finite);
                if let Some(path) = self.init_from {
                    config.init_from = Some(InitFrom { path, sha256: None, reinit: self.reinit });
                }
                if !self.freeze.is_empty() {
                    let frozen = Group { tensors: self.freeze, frozen: true, ..Group::default() };
                    config.groups.insert(0, frozen);
                }
                config.checkpoint_steps = self.checkpoint_steps.or(config.checkpoint_steps);
                config.checkpoint_epochs = self.checkpoint_epochs.or(config.checkpoint_epochs);
                config.threads = self.threads.or(config.threads);
                config.isa = self.isa.unwrap_or(config.isa);
                config.dtype = self.dtype.unwrap_or(config.dtype);
                config.folds = self.folds.or(config.folds);
                train::Run::New { config: Box::new(config), out: self.out, force: self.force }
            }
        };
        Ok(train::Request { run, limits, min_accuracy, watch, fail_on, json, quiet })
    }
}
