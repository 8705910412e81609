//! `evenkeel predict`.

use std::path::PathBuf;

use clap::Args;

use crate::Error;
use crate::commands::predict;
use crate::data::scan::{Centre, Invert};

#[derive(Debug, Args)]
pub(super) struct PredictArgs {
    /// Run folder
    run: PathBuf,
    /// PNG files, folders of PNG files, or IDX files of images; for a run on table rows, tables
    /// (.csv) or arrays (.npy)
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Which images to invert
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    invert: Invert,
    /// Crop, scale and centre the digit in each image as in MNIST; auto does so if the training
    /// images are centred. Images of the network's size stay unchanged
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    centre: Centre,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl PredictArgs {
    pub(super) fn run(self) -> Result<(), Error> {
        let Self { run, files, invert, centre, json } = self;
        predict::predict(&predict::Request { run, files, invert, centre, json })
    }
}
