//! The command line: arguments become requests, errors become messages and exit codes.
//!
//! `main` calls [`main`]. Values are checked where they are used, so that a flag and the same key of a configuration
//! file are refused in the same words.

use std::mem::discriminant;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Instant;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use kernels::Isa;
use nn::{Group, Optimizer};

use crate::config::{Config, Dtype, Source, require};
use crate::display::say;
use crate::non_finite::NonFinite;
use crate::preset::Preset;
use crate::report::command as report;
use crate::scan::Invert;
use crate::setup::Setup;
use crate::signal::Signals;
use crate::transfer::InitFrom;
use crate::{
    Error, bench, data, dry_run, dump, eval, export, gradcheck, lr_find, manual, overfit, predict, sweep,
    train, verify,
};

/// Trains neural networks with gradients on an even keel: the same bits on every machine.
#[derive(Debug, Parser)]
#[command(
    name = "evenkeel",
    version = version(),
    after_help = "Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 data, 4 a gate was missed, 5 diverged, \
                  130 SIGINT, 143 SIGTERM."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train a network and keep what came out in a run folder
    ///
    /// Prints one line: test accuracy with its 95 % interval, SHA-256 of the weights, run folder.
    #[command(
        after_help = "Examples:\n  evenkeel train\n  evenkeel train --preset deep-mlp --clip-norm 1 --epochs 20 \
                            --out runs/deep\n  evenkeel train --config runs/deep/config.toml\n  evenkeel train \
                            --resume runs/deep\n  evenkeel train --init-from runs/deep --reinit 'layers.18.*' --freeze 'layers.0.*'"
    )]
    Train(Box<TrainArgs>),
    /// Score a run on its training, validation or test examples, or on new labelled rows
    #[command(
        after_help = "Examples:\n  evenkeel eval runs/mlp-1 --split val --json\n  evenkeel eval runs/flowers --data new.csv"
    )]
    Eval(EvalArgs),
    /// Say what a run makes of pictures (PNG, IDX) or of rows of numbers (CSV, NPY)
    ///
    /// Pictures may have any size and colours: they are made grey, inverted where their background is light, and resized.
    #[command(after_help = "Example:\n  evenkeel predict runs/mlp-1 seven.png drawings/ --json")]
    Predict(PredictArgs),
    /// Draw the report of a run anew, or several runs side by side
    #[command(
        after_help = "Examples:\n  evenkeel report runs/mlp-1\n  evenkeel report runs/mlp-1 runs/mlp-2 --out two.html"
    )]
    Report(ReportArgs),
    /// Train with several values of configuration keys, all of a grid or some at random, and name the best run
    ///
    /// Best is the run with the best validation accuracy; the test set chooses nothing. A sweep that was stopped goes on where it was.
    #[command(
        after_help = "Examples:\n  evenkeel sweep lr=0.001,0.004 batch=64,256 epochs=3 --out sweeps/grid\n  evenkeel sweep \
                            'lr=log(1e-4,1e-1)' optimizer=adamw,lion --random 20 --out sweeps/random"
    )]
    Sweep(Box<SweepArgs>),
    /// Find a learning rate: train with ever larger ones, and see where the loss falls and where it grows
    #[command(after_help = "Example:\n  evenkeel lr-find --preset lenet --optimizer sgd --out rates.html")]
    LrFind(Box<LrFindArgs>),
    /// Write a run's network for other programs: ONNX, or its tensors for NumPy
    #[command(
        after_help = "Examples:\n  evenkeel export runs/mlp-1 --format onnx\n  evenkeel export runs/mlp-1 --format npz --out \
                            weights.npz"
    )]
    Export(ExportArgs),
    /// Look at a data set, draw images of it, generate one, or download MNIST
    #[command(subcommand)]
    Data(DataCommand),
    /// Write a batch with logits, loss, parameters and gradients as safetensors
    #[command(
        after_help = "Example:\n  evenkeel dump runs/mlp-1 --samples 32 --dtype f64 --out batch.safetensors"
    )]
    Dump(Box<DumpArgs>),
    /// Print how fast this machine multiplies the matrices of a training step, in some three seconds
    ///
    /// GFLOP/s of f32 and of bf16, and f32's part of the fused multiply-adds that all threads could do at most, which are
    /// measured in turn with it.
    #[command(after_help = "Example:\n  evenkeel bench --threads 1 --isa avx2")]
    Bench(BenchArgs),
    /// Compare the gradient of every layer and loss with finite differences in f64
    #[command(after_help = "Example:\n  evenkeel gradcheck --json")]
    Gradcheck(ProofArgs),
    /// Print the verification table: gradients, accuracy of functions, clipping of bad input, hashes to compare between machines
    #[command(after_help = "Example:\n  evenkeel verify --json > here.json")]
    Verify(ProofArgs),
    /// Print the script by which a shell completes commands and flags
    #[command(
        after_help = "Example:\n  evenkeel completions bash > ~/.local/share/bash-completion/completions/evenkeel"
    )]
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Write manual pages: one of the program, and one of each command
    #[command(after_help = "Example:\n  evenkeel man ~/.local/share/man/man1")]
    Man {
        /// Folder to write
        #[arg(value_name = "DIR")]
        out: PathBuf,
        /// Replace pages that are there
        #[arg(long)]
        force: bool,
    },
}

#[derive(Debug, Args)]
struct TrainArgs {
    #[command(flatten)]
    run: RunArgs,
    /// How often each example is seen [default: what suits the preset, 4 for mlp; 10 in a file]
    #[arg(long, value_name = "N")]
    epochs: Option<u32>,
    /// Examples a step [default: what suits the preset, 128 for mlp; 256 in a file]
    #[arg(long, value_name = "N")]
    batch: Option<u32>,
    /// Learning rate [default: 0.004 for adam, 0.1 for sgd, what is usual for the others]
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    lr: Option<f64>,
    /// What takes the steps; its settings are the usual ones, or a configuration file's [default: adam]
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(Optimizer::NAMES))]
    optimizer: Option<String>,
    /// Scale gradients with a larger norm down to it [default: none]
    #[arg(long, value_name = "NORM", allow_negative_numbers = true)]
    clip_norm: Option<f64>,
    /// What is done where loss or gradient is not finite: end the run, leave the step out, or go back to the end of the last epoch with
    /// half the rate [default: stop]
    #[arg(long, value_name = "POLICY")]
    non_finite: Option<NonFinite>,
    /// Begin with the weights of this run, or of this file of safetensors, where names and shapes are the same
    #[arg(long, value_name = "RUN|FILE")]
    init_from: Option<PathBuf>,
    /// With --init-from: tensors that are drawn anew all the same; * stands for any characters
    #[arg(long, value_name = "PATTERN", requires = "init_from")]
    reinit: Vec<String>,
    /// Tensors that stay as they are; * stands for any characters
    #[arg(long, value_name = "PATTERN")]
    freeze: Vec<String>,
    /// Threads; the result does not depend on it [default: what the machine runs at once]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Instruction set: auto, scalar, avx2, avx512 or neon; the result does not depend on it [default: auto]
    #[arg(long, value_name = "NAME")]
    isa: Option<String>,
    /// Type to compute in: f32, f64, or bf16 for the factors of products with weights and f32 for all else [default: f32]
    #[arg(long, value_name = "TYPE", value_parser = dtype(&[Dtype::F32, Dtype::F64, Dtype::Bf16]))]
    dtype: Option<Dtype>,
    /// Cross-validate: a run for each of so many folds of the training examples, in folders fold-1, fold-2, ... of the run folder
    #[arg(long, value_name = "N")]
    folds: Option<u32>,
    #[arg(long, value_name = "DIR", help = "Run folder [default: runs/<preset>-<n>]")]
    out: Option<PathBuf>,
    /// Replace the run in --out
    #[arg(long, requires = "out")]
    force: bool,
    /// Go on with the run in this folder, to the same bits as if it had never stopped
    #[arg(long, value_name = "DIR", conflicts_with_all = ["RunArgs", "epochs", "batch", "lr", "optimizer", "clip_norm", "non_finite", "init_from", "freeze", "dtype", "folds", "out", "force"])]
    resume: Option<PathBuf>,
    /// Exit with 4 if the test accuracy is below this fraction
    #[arg(long, value_name = "FRACTION", allow_negative_numbers = true)]
    min_accuracy: Option<f64>,
    /// Stop after so many steps of the run, to be resumed
    #[arg(long, value_name = "N")]
    max_steps: Option<u64>,
    /// Stop when the process has taken so many seconds, to be resumed
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    max_time: Option<f64>,
    /// Print layers, parameters, bytes and FLOP, and train nothing
    #[arg(long, conflicts_with_all = ["resume", "print_config", "overfit_batch", "folds"])]
    dry_run: bool,
    /// Print the configuration with everything resolved, and train nothing
    #[arg(long, conflicts_with_all = ["resume", "overfit_batch", "folds"])]
    print_config: bool,
    /// Learn one batch by heart: exits with 4 if that fails. Makes no run folder
    #[arg(long, conflicts_with_all = ["resume", "out", "folds"])]
    overfit_batch: bool,
    /// Print the summary as JSON on stdout
    #[arg(long)]
    json: bool,
    /// No progress on stderr
    #[arg(long)]
    quiet: bool,
}

/// What a run is of: shared by the commands that begin with a configuration.
#[derive(Debug, Args)]
struct RunArgs {
    /// Configuration file; flags override it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Network, and how it is trained where nothing else is said [default: mlp]
    #[arg(long, conflicts_with = "config")]
    preset: Option<Preset>,
    /// Data set [default: auto]
    #[arg(long)]
    dataset: Option<Source>,
    /// A data set of one's own: a table (.csv), arrays of NumPy (.npz, or a folder of .npy files), or a folder in MNIST's form
    #[arg(long, value_name = "PATH", conflicts_with = "dataset")]
    data: Option<PathBuf>,
    /// The column of a table that holds the classes
    #[arg(long, value_name = "COLUMN", conflicts_with = "target")]
    label: Option<String>,
    /// The column of a table that holds values to be met
    #[arg(long, value_name = "COLUMN")]
    target: Option<String>,
    /// What every random draw depends on [default: 0]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

#[derive(Debug, Args)]
struct EvalArgs {
    /// Run folder
    run: PathBuf,
    /// Which examples [default: test, or all new ones]
    #[arg(long, value_name = "SPLIT")]
    split: Option<eval::Part>,
    /// The data, where they are no longer where the run found them; or new rows: a table (.csv) with the run's columns, or arrays of NumPy
    /// (.npz, or a folder of .npy files)
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum DataCommand {
    /// Print shape, classes, mean and deviation of the pixels, and checksums
    #[command(after_help = "Example:\n  evenkeel data info --data my-digits --json")]
    Info {
        #[command(flatten)]
        data: DataArgs,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Draw images: on the terminal, or as a sheet in a PNG file
    #[command(
        after_help = "Examples:\n  evenkeel data show --count 5\n  evenkeel data show --dataset digits --class 7 \
                            --count 100 --out sevens.png\n  evenkeel data show --augment run.toml --epoch 2 --count 64 --out sheet.png"
    )]
    Show {
        #[command(flatten)]
        data: DataArgs,
        /// Which images
        #[arg(long, value_name = "SPLIT", default_value = "train")]
        split: data::command::Part,
        /// How many
        #[arg(long, value_name = "N", default_value_t = 10)]
        count: usize,
        /// Of one class alone
        #[arg(long, value_name = "CLASS")]
        class: Option<usize>,
        /// As the training of this configuration sees them, augmented: its data, where no others are named
        #[arg(long, value_name = "FILE")]
        augment: Option<PathBuf>,
        /// In this epoch
        #[arg(long, value_name = "N", default_value_t = 1, requires = "augment", value_parser = clap::value_parser!(u32).range(1..))]
        epoch: u32,
        /// PNG file to write; without it, the terminal
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Replace the file
        #[arg(long, requires = "out")]
        force: bool,
    },
    /// Write generated digits as a folder in MNIST's form, or a generated table as a CSV file
    ///
    /// A table has as many rows as --train and --test together; the column to learn is `class` or `value`.
    #[command(
        after_help = "Examples:\n  evenkeel data synth --out my-digits --train 6000 --test 1000 --seed 3\n  evenkeel data synth \
                            --dataset classification --train 800 --test 200 --out table.csv"
    )]
    Synth {
        /// Which: digits, classification or linear
        #[arg(long, value_name = "NAME", default_value = "digits", value_parser = generated())]
        dataset: Source,
        /// Folder or CSV file to write
        #[arg(long, value_name = "PATH")]
        out: PathBuf,
        /// What every draw depends on
        #[arg(long, value_name = "N", default_value_t = 0)]
        seed: u64,
        /// Training images
        #[arg(long, value_name = "N", default_value_t = 60_000)]
        train: u32,
        /// Test images
        #[arg(long, value_name = "N", default_value_t = 10_000)]
        test: u32,
        /// Replace the files
        #[arg(long)]
        force: bool,
    },
    /// Download MNIST into the cache, and print where it is
    #[command(after_help = "Example:\n  evenkeel data fetch")]
    Fetch,
}

/// Which data set: shared by the commands that look at one.
#[derive(Debug, Args)]
struct DataArgs {
    /// Data set [default: auto]
    #[arg(long)]
    dataset: Option<Source>,
    /// A data set of one's own: a table (.csv), arrays of NumPy (.npz, or a folder of .npy files), or a folder in MNIST's form
    #[arg(long, value_name = "PATH", conflicts_with = "dataset")]
    data: Option<PathBuf>,
    /// The column of a table that holds the classes
    #[arg(long, value_name = "COLUMN", conflicts_with = "target")]
    label: Option<String>,
    /// The column of a table that holds values to be met
    #[arg(long, value_name = "COLUMN")]
    target: Option<String>,
    /// Seed of generated data, and of the test set of data that come without one
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

/// `config` with what flags say of the data.
fn on(
    mut config: Config,
    dataset: Option<Source>,
    data: Option<PathBuf>,
    label: Option<String>,
    target: Option<String>,
    seed: Option<u64>,
) -> Config {
    if dataset.is_some() || data.is_some() {
        config.dataset = dataset.unwrap_or(config.dataset);
        // Columns of another table say nothing of this one, but of the same data elsewhere they do.
        config.data = data;
    }
    if config.data.is_none() {
        (config.label, config.target) = (None, None);
    }
    if label.is_some() || target.is_some() {
        (config.label, config.target) = (label, target);
    }
    config.seed = seed.unwrap_or(config.seed);
    config
}

impl DataArgs {
    /// `config` on this data set.
    fn config(self, config: Config) -> Result<Config, Error> {
        let Self { dataset, data, label, target, seed } = self;
        let config = on(config, dataset, data, label, target, seed);
        config.check()?;
        Ok(config)
    }
}

impl DataCommand {
    fn run(self) -> Result<(), Error> {
        match self {
            Self::Info { data, json } => data::command::info(&data.config(Config::default())?, json),
            Self::Show { data, split: part, count, class, augment, epoch, out, force } => {
                let base = augment.as_deref().map_or_else(|| Ok(Config::default()), Config::read)?;
                let (config, epoch) = (data.config(base)?, augment.map(|_| epoch));
                data::command::show(&data::command::Show { config, part, count, class, epoch, out, force })
            }
            Self::Synth { dataset: source, out, seed, train, test, force } => {
                let counts = [train, test];
                data::command::synth(&data::command::Synth { source, out, seed, counts, force })
            }
            Self::Fetch => data::command::fetch(),
        }
    }
}

#[derive(Debug, Args)]
struct PredictArgs {
    /// Run folder
    run: PathBuf,
    /// PNG files, folders of PNG files, IDX files of images; for runs on rows of numbers, tables (.csv) or arrays (.npy)
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Whether pictures are inverted
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    invert: Invert,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct SweepArgs {
    /// Keys and their values: KEY=A,B,C, or with --random KEY=log(LOW,HIGH) or KEY=uniform(LOW,HIGH)
    #[arg(required = true, value_name = "KEY=VALUES")]
    choices: Vec<String>,
    #[command(flatten)]
    run: RunArgs,
    /// So many trials with values at random, not all of the grid
    #[arg(long, value_name = "N")]
    random: Option<usize>,
    /// Folder of the sweep, which holds a run folder for each trial
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// No progress on stderr
    #[arg(long)]
    quiet: bool,
}

#[derive(Debug, Args)]
struct LrFindArgs {
    #[command(flatten)]
    run: RunArgs,
    /// Examples a step [default: what suits the preset, 128 for mlp; 256 in a file]
    #[arg(long, value_name = "N")]
    batch: Option<u32>,
    /// What takes the steps
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(Optimizer::NAMES))]
    optimizer: Option<String>,
    /// The first rate
    #[arg(long, value_name = "RATE", default_value_t = 1e-6, allow_negative_numbers = true)]
    from: f64,
    /// The last rate
    #[arg(long, value_name = "RATE", default_value_t = 10.0, allow_negative_numbers = true)]
    to: f64,
    /// Steps from the one to the other
    #[arg(long, value_name = "N", default_value_t = 200)]
    steps: u32,
    /// File for a plot (HTML)
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace the file
    #[arg(long, requires = "out")]
    force: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct ExportArgs {
    /// Run folder
    run: PathBuf,
    /// Form of the file
    #[arg(long)]
    format: export::Format,
    /// File to write [default: RUN/model.onnx or RUN/model.npz]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace the file
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
struct ReportArgs {
    /// Run folders: one, or several to compare
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// File to write [default: RUN/report.html; of several runs comparison.html]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace the file
    #[arg(long)]
    force: bool,
    /// Folder with the data, where they are no longer where the run found them
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct DumpArgs {
    /// Run folder; without one, the initial parameters of --config or --preset
    #[arg(conflicts_with = "RunArgs")]
    run: Option<PathBuf>,
    #[command(flatten)]
    initial: RunArgs,
    /// How many examples
    #[arg(long, value_name = "N", default_value_t = 8)]
    samples: usize,
    /// Type to compute in: f32 or f64 [default: the run's]
    #[arg(long, value_name = "TYPE", value_parser = dtype(&[Dtype::F32, Dtype::F64]))]
    dtype: Option<Dtype>,
    /// How layers that behave differently while training behave
    #[arg(long, default_value = "eval")]
    mode: dump::Mode,
    /// File to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Debug, Args)]
struct BenchArgs {
    /// Threads [default: what the machine runs at once]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Instruction set: auto, scalar, avx2, avx512 or neon
    #[arg(long, value_name = "NAME", default_value = "auto")]
    isa: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct ProofArgs {
    /// Instruction set of the gradients: auto, scalar, avx2, avx512 or neon
    #[arg(long, value_name = "NAME", default_value = "auto")]
    isa: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The optimizer of this name. `adam` is that of those who choose none, with a decay that suits it.
fn named(name: &str) -> Option<Optimizer> {
    if name == "adam" { Some(Config::ADAM) } else { Optimizer::named(name) }
}

/// Parses the name of one of these types; others are refused with their names.
fn dtype(allowed: &'static [Dtype]) -> impl TypedValueParser<Value = Dtype> {
    PossibleValuesParser::new(allowed.iter().map(|dtype| dtype.name())).map(move |name| {
        // The names have been looked at by then.
        allowed.iter().copied().find(|dtype| dtype.name() == name).unwrap_or_default()
    })
}

/// Parses the name of a data set that is generated; others are refused with their names.
fn generated() -> impl TypedValueParser<Value = Source> {
    const MADE: [(&str, Source); 3] =
        [("digits", Source::Digits), ("classification", Source::Classification), ("linear", Source::Linear)];
    PossibleValuesParser::new(MADE.map(|(name, _)| name)).map(|name| {
        // The names have been looked at by then.
        MADE.into_iter().find(|(made, _)| *made == name).map_or(Source::Digits, |(_, source)| source)
    })
}

/// The program's version, and what it finds on this machine.
fn version() -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| {
        let mut found: Vec<_> = Isa::available().map(Isa::name).collect();
        // One name stands for avx512 with and without products of bf16.
        found.dedup();
        format!("{}\ninstruction sets here: {}", env!("CARGO_PKG_VERSION"), found.join(", "))
    })
}

/// Runs the command that the process was started with, at `started`, and says how it ended.
pub fn main(started: Instant) -> ExitCode {
    match Cli::parse().command.run(started) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error}"));
            ExitCode::from(error.exit_code())
        }
    }
}

impl Command {
    fn run(self, started: Instant) -> Result<(), Error> {
        match self {
            Self::Train(args) => args.run(started),
            Self::Eval(EvalArgs { run, split, data, json }) => {
                eval::eval(&eval::Request { run, part: split, data, json })
            }
            Self::Sweep(args) => {
                let SweepArgs { choices, run, random, out, json, quiet } = *args;
                let (config, recipe) = (run.config()?, run.config.is_none());
                let request = sweep::Request { config, recipe, choices, random, out, json, quiet };
                sweep::sweep(&request, started, &Signals::catch()?)
            }
            Self::LrFind(args) => {
                let LrFindArgs { run, batch, optimizer, from, to, steps, out, force, json } = *args;
                let mut config = run.config_with(optimizer.as_deref())?;
                config.batch = batch.unwrap_or(config.batch);
                lr_find::lr_find(&lr_find::Request { config, from, to, steps, out, force, json })
            }
            Self::Export(ExportArgs { run, format, out, force }) => {
                export::export(&export::Request { run, format, out, force })
            }
            Self::Data(command) => command.run(),
            Self::Predict(PredictArgs { run, files, invert, json }) => {
                predict::predict(&predict::Request { run, files, invert, json })
            }
            Self::Report(ReportArgs { runs, out, force, data }) => {
                report::report(&report::Request { runs, out, force, data })
            }
            Self::Dump(args) => {
                let DumpArgs { run, initial, samples, dtype, mode, out } = *args;
                let source = match run {
                    Some(run) => dump::Source::Run(run),
                    None => dump::Source::Initial(Box::new(initial.config()?)),
                };
                dump::dump(&dump::Request { source, samples, dtype, mode, out })
            }
            Self::Gradcheck(ProofArgs { isa, json }) => {
                gradcheck::gradcheck(&gradcheck::Request { isa, json })
            }
            Self::Completions { shell } => manual::completions(Cli::command(), shell),
            Self::Man { out, force } => manual::pages(Cli::command(), &out, force),
            Self::Verify(ProofArgs { isa, json }) => verify::verify(&verify::Request { isa, json }),
            Self::Bench(BenchArgs { threads, isa, json }) => {
                bench::bench(&bench::Request { threads, isa, json })
            }
        }
    }
}

impl RunArgs {
    /// [`config`](Self::config), with the optimizer that a flag names.
    fn config_with(&self, optimizer: Option<&str>) -> Result<Config, Error> {
        let mut config = self.config()?;
        let Some(name) = optimizer else { return Ok(config) };
        let named = named(name).unwrap_or(config.optimizer);
        let form = ["momentum", "nesterov", "adamw", "amsgrad"].contains(&name);
        // The settings stay where the flag names the same optimizer, and none of its forms.
        if form || discriminant(&named) != discriminant(&config.optimizer) {
            config.optimizer = named;
            // A recipe's rate is that of its optimizer.
            if self.config.is_none() {
                config.lr = None;
            }
        }
        Ok(config)
    }

    /// The file's configuration or the preset's, with what the flags say.
    fn config(&self) -> Result<Config, Error> {
        let config = match &self.config {
            Some(path) => Config::read(path)?,
            None => self.preset.unwrap_or_default().recipe(),
        };
        let Self { dataset, data, label, target, seed, .. } = self;
        Ok(on(config, *dataset, data.clone(), label.clone(), target.clone(), *seed))
    }
}

impl TrainArgs {
    /// Trains, or does what is asked for instead.
    fn run(self, started: Instant) -> Result<(), Error> {
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
                train::print(setup.config.to_toml()?.trim_end())
            }
            _ => train::train(&request, started, &Signals::catch()?),
        }
    }

    fn request(self) -> Result<train::Request, Error> {
        if let Some(least) = self.min_accuracy {
            require("min-accuracy", least, (0.0..=1.0).contains(&least), "0 to 1")?;
        }
        if let Some(seconds) = self.max_time {
            require("max-time", seconds, seconds > 0.0, "seconds above 0")?;
        }
        if let Some(steps) = self.max_steps {
            require("max-steps", steps, steps > 0, "at least 1")?;
        }
        let limits = train::Limits { steps: self.max_steps, seconds: self.max_time };
        let (min_accuracy, json, quiet) = (self.min_accuracy, self.json, self.quiet);
        let run = match self.resume {
            Some(folder) => train::Run::Resume { folder, threads: self.threads, isa: self.isa },
            None => {
                let mut config = self.run.config_with(self.optimizer.as_deref())?;
                config.epochs = self.epochs.unwrap_or(config.epochs);
                config.batch = self.batch.unwrap_or(config.batch);
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
                config.threads = self.threads.or(config.threads);
                config.isa = self.isa.unwrap_or(config.isa);
                config.dtype = self.dtype.unwrap_or(config.dtype);
                config.folds = self.folds.or(config.folds);
                train::Run::New { config: Box::new(config), out: self.out, force: self.force }
            }
        };
        Ok(train::Request { run, limits, min_accuracy, json, quiet })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_of_the_command_line_holds_together() {
        Cli::command().debug_assert();
    }
}
