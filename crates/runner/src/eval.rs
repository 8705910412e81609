//! `evenkeel eval`: how good a run's parameters are on one of the three sets of images, in all measures.

use std::borrow::Cow;
use std::path::PathBuf;

use kernels::Cpu;
use serde::Serialize;

use crate::Error;
use crate::answers::Answers;
use crate::config::{Config, Dtype};
use crate::data::Labelled;
use crate::element::Element;
use crate::fit::{Fit, Values};
use crate::interval;
use crate::measures::Measures;
use crate::run_folder::{self, RunFolder};
use crate::setup::{self, Setup};
use crate::{train, weights};

/// A set of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// What was trained on.
    Train,
    /// What was held out to choose the best epoch.
    Val,
    /// What took no part in training.
    Test,
}

/// What `eval` is asked to do.
#[derive(Clone, Debug)]
pub struct Request {
    /// The run folder.
    pub run: PathBuf,
    /// Which images.
    pub part: Part,
    /// A folder with the data, where they are no longer where the run found them.
    pub data: Option<PathBuf>,
    /// Print JSON.
    pub json: bool,
}

#[derive(Serialize)]
struct Evaluation<M> {
    run: String,
    split: Part,
    params_sha256: String,
    #[serde(flatten)]
    measures: M,
}

/// Does it: prints accuracy with its 95 % interval, the mean loss, and every other measure.
///
/// # Errors
/// [`Error`], if the run or its data cannot be read.
pub fn eval(request: &Request) -> Result<(), Error> {
    let folder = RunFolder::open(&request.run)?;
    let mut config = Config::read(&folder.file(run_folder::CONFIG))?;
    config.data = request.data.clone().or(config.data);
    let isa = setup::isa(&config)?;
    let setup = Setup::new(config)?;
    let pool = setup::pool(&setup.config)?;
    let cpu = Cpu::new(isa, &pool);
    if setup.dataset.has_values() {
        let (fit, params_sha256) = pool.enter(|| match setup.config.dtype {
            Dtype::F32 | Dtype::Bf16 => fit::<f32>(&folder, &setup, cpu, request.part),
            Dtype::F64 => fit::<f64>(&folder, &setup, cpu, request.part),
        })?;
        return print(request, &folder, params_sha256, fit, &fit.to_string());
    }
    let (answers, params_sha256) = pool.enter(|| match setup.config.dtype {
        Dtype::F32 | Dtype::Bf16 => answers::<f32>(&folder, &setup, cpu, request.part),
        Dtype::F64 => answers::<f64>(&folder, &setup, cpu, request.part),
    })?;
    let (score, measures) = (answers.score, Measures::new(&answers)?);
    let accuracy = interval::percent(score.correct, score.rows);
    let head = format!("accuracy {accuracy}, loss {:.4}, of {} images", measures.loss, score.rows);
    let text = format!("{head}\n\n{measures}");
    print(request, &folder, params_sha256, measures, &text)
}

/// Prints `measures`: as JSON, or as `text`.
fn print<M: Serialize>(
    request: &Request,
    folder: &RunFolder,
    params_sha256: String,
    measures: M,
    text: &str,
) -> Result<(), Error> {
    if !request.json {
        return train::print(text);
    }
    let run = folder.path().display().to_string();
    let evaluation = Evaluation { run, split: request.part, params_sha256, measures };
    let text = serde_json::to_string_pretty(&evaluation);
    train::print(&text.map_err(|error| Error::Usage(format!("evaluation: {error}")))?)
}

fn fit<T: Element>(
    folder: &RunFolder,
    setup: &Setup,
    cpu: Cpu<'_>,
    part: Part,
) -> Result<(Fit, String), Error> {
    let (mut weights, sha256) = weights::read::<T>(&folder.file(run_folder::MODEL), &setup.network)?;
    let (set, indices) = part.of(setup);
    Ok((Fit::new(&Values::new(&setup.network, cpu, &mut weights, set, &indices)?), sha256))
}

fn answers<T: Element>(
    folder: &RunFolder,
    setup: &Setup,
    cpu: Cpu<'_>,
    part: Part,
) -> Result<(Answers, String), Error> {
    let (mut weights, sha256) = weights::read::<T>(&folder.file(run_folder::MODEL), &setup.network)?;
    let (set, indices) = part.of(setup);
    Ok((Answers::new(&setup.network, cpu, &mut weights, set, &indices)?, sha256))
}

impl Part {
    /// The images: the set that they are in, and their places in it.
    fn of(self, setup: &Setup) -> (&Labelled, Cow<'_, [u32]>) {
        let Setup { dataset, split, .. } = setup;
        match self {
            Self::Train => (&dataset.train, Cow::from(&split.train)),
            Self::Val => (&dataset.train, Cow::from(&split.validation)),
            Self::Test => (&dataset.test, (0..dataset.test.dims()[0]).collect()),
        }
    }
}
