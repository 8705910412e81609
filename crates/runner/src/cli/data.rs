//! `evenkeel data` and its subcommands.

use std::path::PathBuf;

use clap::Subcommand;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::cli::config::DataArgs;
use crate::run::config::{Config, Source};
use crate::{Error, commands};

#[derive(Debug, Subcommand)]
pub(super) enum DataCommand {
    /// Print shape, classes, mean and standard deviation of the inputs, and checksums
    #[command(after_help = "Example:\n  evenkeel data info --data my-digits --json")]
    Info {
        #[command(flatten)]
        data: DataArgs,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Draw images on the terminal, or as a contact sheet in a PNG file
    #[command(after_help = "Examples:\n  evenkeel data show --count 5\n  \
                      evenkeel data show --dataset digits --class 7 --count 50 --out sevens.png\n  \
                      evenkeel data show --augment run.toml --epoch 2 --count 64 --out sheet.png")]
    Show {
        #[command(flatten)]
        data: DataArgs,
        /// Set to draw from
        #[arg(long, value_name = "SPLIT", default_value = "train")]
        split: commands::data::Split,
        /// Number of images
        #[arg(long, value_name = "N", default_value_t = 10)]
        count: usize,
        /// Draw images of this class only
        #[arg(long, value_name = "CLASS")]
        class: Option<usize>,
        /// Configuration file: draw its data, unless a flag names other data, with its augmentation
        #[arg(long, value_name = "FILE")]
        augment: Option<PathBuf>,
        /// Epoch of the augmentation
        #[arg(
            long,
            value_name = "N",
            default_value_t = 1,
            requires = "augment",
            value_parser = clap::value_parser!(u32).range(1..)
        )]
        epoch: u32,
        /// PNG file to write [default: none; draw on the terminal]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Replace the file
        #[arg(long, requires = "out")]
        force: bool,
    },
    /// Generate digits in a folder in MNIST's format, or a table in a CSV file
    ///
    /// A table has as many rows as --train and --test together; its target column is `class` or
    /// `value`.
    #[command(after_help = "Examples:\n  \
                      evenkeel data synth --out my-digits --train 6000 --test 1000 --seed 3\n  \
                      evenkeel data synth --dataset classification --train 800 --test 200 \
                      --out table.csv")]
    Synth {
        /// Data set to generate: digits, classification or linear
        #[arg(long, value_name = "NAME", default_value = "digits", value_parser = generated())]
        dataset: Source,
        /// Folder or CSV file to write
        #[arg(long, value_name = "PATH")]
        out: PathBuf,
        /// Seed of every random draw
        #[arg(long, value_name = "N", default_value_t = 0)]
        seed: u64,
        /// Number of training examples
        #[arg(long, value_name = "N", default_value_t = 60_000)]
        train: u32,
        /// Number of test examples
        #[arg(long, value_name = "N", default_value_t = 10_000)]
        test: u32,
        /// Replace the files
        #[arg(long)]
        force: bool,
    },
    /// Download MNIST into the cache, and print its folder
    #[command(after_help = "Example:\n  evenkeel data fetch")]
    Fetch,
}

impl DataCommand {
    pub(super) fn run(self) -> Result<(), Error> {
        match self {
            Self::Info { data, json } => {
                commands::data::info(&data.config(Config::default())?, json)
            }
            Self::Show { data, split, count, class, augment, epoch, out, force } => {
                let base =
                    augment.as_deref().map_or_else(|| Ok(Config::default()), Config::read)?;
                let (config, epoch) = (data.config(base)?, augment.map(|_| epoch));
                commands::data::show(&commands::data::Show {
                    config,
                    split,
                    count,
                    class,
                    epoch,
                    out,
                    force,
                })
            }
            Self::Synth { dataset: source, out, seed, train, test, force } => {
                let counts = [train, test];
                commands::data::synth(&commands::data::Synth { source, out, seed, counts, force })
            }
            Self::Fetch => commands::data::fetch(),
        }
    }
}

/// Parser of the names of generated data sets. The error for another name lists them.
fn generated() -> impl TypedValueParser<Value = Source> {
    const GENERATED: [(&str, Source); 3] = [
        ("digits", Source::Digits),
        ("classification", Source::Classification),
        ("linear", Source::Linear),
    ];
    PossibleValuesParser::new(GENERATED.map(|(name, _)| name)).map(|name| {
        // `PossibleValuesParser` lets only these names through.
        GENERATED
            .into_iter()
            .find(|(generated, _)| *generated == name)
            .map_or(Source::Digits, |(_, source)| source)
    })
}
