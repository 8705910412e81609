//! Command line: parses arguments into requests, turns errors into messages and exit codes.
//!
//! This file defines the commands and their help texts. Each command's flags are in the module of
//! its name; `config` has flags that several commands share.
//!
//! The program's `main` calls [`main`]. Values are checked where they are used: a flag and the same
//! key of a configuration file are refused with the same message.

mod bench;
mod config;
mod data;
mod diagnose;
mod dump;
mod eval;
mod export;
mod lr_find;
mod manual;
mod predict;
mod proof;
mod recorder;
mod replay;
mod report;
mod sweep;
mod train;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Instant;

use bench::BenchArgs;
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use data::DataCommand;
use diagnose::{DiagnoseArgs, ExplainArgs};
use dump::DumpArgs;
use eval::EvalArgs;
use export::ExportArgs;
use kernels::Isa;
use lr_find::LrFindArgs;
use predict::PredictArgs;
use proof::ProofArgs;
use recorder::RecorderArgs;
use replay::ReplayArgs;
use report::ReportArgs;
use sweep::SweepArgs;
use train::TrainArgs;

use crate::Error;
use crate::machine::terminal::say;

/// Train neural networks on CPUs: the same bits on every machine, and a report of what the
/// gradients did
#[derive(Debug, Parser)]
#[command(
    name = "evenkeel",
    version = version(),
    after_help = "Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 data, 4 a gate was \
                  missed, 5 diverged or NaN outputs, 130 SIGINT, 143 SIGTERM."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train a network, and write its weights, metrics and report to a run folder
    ///
    /// Prints one line: test accuracy with its 95 % interval (or the test loss of a regression),
    /// SHA-256 of the weights, run folder.
    #[command(after_help = "Examples:\n  evenkeel train\n  evenkeel train --preset deep-mlp \
                            --clip-norm 1 --epochs 20 --out runs/deep\n  evenkeel train --config \
                            runs/deep/config.toml\n  evenkeel train --resume runs/deep\n  evenkeel \
                            train --init-from runs/deep --reinit 'layers.18.*' --freeze \
                            'layers.0.*'")]
    Train(Box<TrainArgs>),
    /// Evaluate a run on its training, validation or test set, or on new labelled rows
    #[command(after_help = "Examples:\n  evenkeel eval runs/mlp-1 --split val --json\n  \
                      evenkeel eval runs/flowers --data new.csv")]
    Eval(EvalArgs),
    /// Predict classes of images (PNG, IDX), or classes or values of table rows (CSV, NPY), with a
    /// trained run
    ///
    /// Images may have any size and colours: they are converted to greyscale, inverted if their
    /// background is light, and resized. For runs on digits such as MNIST's, the digit is cropped,
    /// scaled and centred as in MNIST (--centre). Exits with 5 if outputs are NaN or infinite: such
    /// rows have no prediction.
    #[command(after_help = "Example:\n  evenkeel predict runs/mlp-1 seven.png drawings/ --json")]
    Predict(PredictArgs),
    /// Say what is wrong with a training, and which cure measurably works
    ///
    /// Looks at the data and at some hundred training steps, or at what a run or another program
    /// recorded, and judges them by rules. With --cure, tries the cures that the findings name on
    /// the network and its data: short trainings that differ by the cure alone.
    #[command(
        after_help = "Examples:\n  evenkeel diagnose --preset deep-mlp\n  evenkeel diagnose \
                            --config net.toml --cure --out cured.toml\n  evenkeel diagnose \
                            runs/mlp-1 --fail-on critical"
    )]
    Diagnose(Box<DiagnoseArgs>),
    /// Explain a rule of the diagnosis: definition, formula, thresholds, cures
    #[command(after_help = "Example:\n  evenkeel explain vanishing-gradient")]
    Explain(ExplainArgs),
    /// Print a Python file that records a training in PyTorch or Keras, for `diagnose --record`
    ///
    /// The file needs nothing but the framework and its NumPy, and takes about three lines in the
    /// program: its first comment shows them. The record is a file of JSON lines.
    #[command(after_help = "Examples:\n  evenkeel recorder torch --out evenkeel_torch.py\n  \
                            evenkeel recorder keras > evenkeel_keras.py\n  evenkeel diagnose \
                            --record record.jsonl")]
    Recorder(RecorderArgs),
    /// Repeat one step of a run to the bit, and print what every layer and tensor did in it
    #[command(after_help = "Example:\n  evenkeel replay runs/mlp-1 --step 200 --dtype f64 --out \
                            step.safetensors")]
    Replay(ReplayArgs),
    /// Re-render the report of a run, or compare several runs
    #[command(after_help = "Examples:\n  evenkeel report runs/mlp-1\n  \
                      evenkeel report runs/mlp-1 runs/mlp-2 --out two.html")]
    Report(ReportArgs),
    /// Search over values of configuration keys, in a grid or at random, and rank the runs
    ///
    /// The best run has the highest validation accuracy or, in a regression, the lowest validation
    /// loss; the test set is not used to choose. The same command resumes a sweep that was stopped.
    #[command(after_help = "Examples:\n  \
                      evenkeel sweep lr=0.001,0.004 batch=64,256 epochs=3 --out sweeps/grid\n  \
                      evenkeel sweep 'lr=log(1e-4,1e-1)' optimizer=adamw,lion --random 20 \
                      --out sweeps/random")]
    Sweep(Box<SweepArgs>),
    /// Find a learning rate by a range test: train with increasing rates, and suggest the one at
    /// which the loss falls fastest
    #[command(after_help = "Example:\n  \
                      evenkeel lr-find --preset lenet --optimizer sgd --out rates.html")]
    LrFind(Box<LrFindArgs>),
    /// Export a run's network to ONNX, or its tensors to NumPy
    #[command(after_help = "Examples:\n  evenkeel export runs/mlp-1 --format onnx\n  \
                      evenkeel export runs/mlp-1 --format npz --out weights.npz")]
    Export(ExportArgs),
    /// Describe or draw a data set, generate one, or download MNIST
    #[command(subcommand)]
    Data(DataCommand),
    /// Write one batch with its logits, loss, parameters and gradients to a safetensors file
    #[command(after_help = "Example:\n  \
                      evenkeel dump runs/mlp-1 --samples 32 --dtype f64 --out batch.safetensors")]
    Dump(Box<DumpArgs>),
    /// Measure the speed of a training step's matrix products, in about three seconds
    ///
    /// Prints GFLOP/s in f32 and bf16 and, for f32, the fraction of peak. The peak is the rate of
    /// fused multiply-adds on all threads, measured in turns with the products.
    #[command(after_help = "Example:\n  evenkeel bench --threads 1 --isa avx2")]
    Bench(BenchArgs),
    /// Compare the gradient of every layer and loss with finite differences in f64
    #[command(after_help = "Example:\n  evenkeel gradcheck --json")]
    Gradcheck(ProofArgs),
    /// Print the verification table: gradients, errors of functions in ULP, clipping of non-finite
    /// gradients, golden hashes to compare between machines
    #[command(after_help = "Example:\n  evenkeel verify --json > here.json")]
    Verify(ProofArgs),
    /// Print a shell's completion script
    #[command(after_help = "Example:\n  evenkeel completions bash > \
                      ~/.local/share/bash-completion/completions/evenkeel")]
    Completions {
        /// Name of the shell
        shell: Shell,
    },
    /// Write manual pages: one for the program, and one for each command
    #[command(after_help = "Example:\n  evenkeel man ~/.local/share/man/man1")]
    Man {
        /// Folder for the pages
        #[arg(value_name = "DIR")]
        out: PathBuf,
        /// Replace existing pages
        #[arg(long)]
        force: bool,
    },
}

/// Version of the program, and the instruction sets of this machine.
fn version() -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| {
        let mut names: Vec<_> = Isa::available().map(Isa::name).collect();
        // avx512 with and without bf16 instructions share a name.
        names.dedup();
        format!("{}\ninstruction sets here: {}", env!("CARGO_PKG_VERSION"), names.join(", "))
    })
}

/// Runs the command of this process, prints its error and returns the exit code. `started` is when
/// the process began.
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
            Self::Eval(args) => args.run(),
            Self::Predict(args) => args.run(),
            Self::Diagnose(args) => args.run(),
            Self::Explain(args) => args.run(),
            Self::Recorder(args) => args.run(),
            Self::Replay(args) => args.run(),
            Self::Report(args) => args.run(),
            Self::Sweep(args) => args.run(started),
            Self::LrFind(args) => args.run(),
            Self::Export(args) => args.run(),
            Self::Data(command) => command.run(),
            Self::Dump(args) => args.run(),
            Self::Bench(args) => args.run(),
            Self::Gradcheck(args) => args.gradcheck(),
            Self::Verify(args) => args.verify(),
            Self::Completions { shell } => manual::completions(Cli::command(), shell),
            Self::Man { out, force } => manual::pages(Cli::command(), &out, force),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
