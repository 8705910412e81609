//! `evenkeel eval`: how good a run's parameters are on one of its three sets of examples, or on new ones, in all measures.
//!
//! ```text
//! no --data, or the run's own data elsewhere   the part that --split names, divided as the run did
//! --data with other labelled rows              all of them: see `rows`
//! ```

mod rows;

use std::borrow::Cow;
use std::path::PathBuf;

use kernels::Cpu;
use nn::Network;
use serde::Serialize;

use crate::Error;
use crate::commands::output;
use crate::data::element::Element;
use crate::data::{Labelled, Targets};
use crate::evaluation::classification::ClassificationMetrics;
use crate::evaluation::interval;
use crate::evaluation::predictions::{Predictions, require_predictions};
use crate::evaluation::regression::{RegressionMetrics, RegressionPredictions, decimal};
use crate::run::config::{Config, Dtype};
use crate::run::folder::RunFolder;
use crate::run::setup::Setup;
use crate::run::{folder, setup, weights};

/// A set of examples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The training set, without the validation set.
    Train,
    /// The validation set, which chooses the best epoch.
    Val,
    /// The test set, which takes no part in training.
    Test,
}

/// What `eval` is asked to do.
#[derive(Clone, Debug)]
pub struct Request {
    /// The run folder.
    pub run: PathBuf,
    /// Which examples; `None` for the test set, or all rows that are new.
    pub part: Option<Part>,
    /// The data, where they are no longer where the run found them; or other ones.
    pub data: Option<PathBuf>,
    /// Print JSON.
    pub json: bool,
}

#[derive(Serialize)]
struct Evaluation<M> {
    run: String,
    /// `null` of rows that are new.
    split: Option<Part>,
    /// The file of those.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<String>,
    params_sha256: String,
    #[serde(flatten)]
    measures: M,
}

/// What is scored.
struct Subject<'a> {
    network: &'a Network,
    /// What the classes of a table are called.
    classes: &'a [String],
    set: &'a Labelled,
    /// Which of its examples.
    indices: Cow<'a, [u32]>,
    split: Option<Part>,
    /// Where they came from, if they are new.
    data: Option<String>,
}

/// Does it: prints accuracy with its 95 % interval, the mean loss, and every other measure.
///
/// # Errors
/// [`Error`], if the run or its data cannot be read, or new rows are not such as it was trained on.
/// [`Error::Unpredicted`], after the measures are printed, if outputs are NaN or infinite.
pub fn eval(request: &Request) -> Result<(), Error> {
    let folder = RunFolder::open(&request.run)?;
    folder::model(&folder)?;
    let config = Config::read(&folder.file(folder::CONFIG))?;
    // What the machine lacks is said before anything is read.
    setup::isa(&config)?;
    if let Some(path) = request.data.as_deref().filter(|path| rows::are_in(path)) {
        let (network, summary) = setup::network_of_run(&folder, &config)?;
        let network = network.with_loss(config.loss.unwrap_or_default());
        if let Some((set, split)) = rows::read(path, &config, &summary, &network, request.part)? {
            let (data, indices) = (Some(path.display().to_string()), set.indices().collect());
            let classes = &summary.classes;
            let subject = Subject { network: &network, classes, set: &set, indices, split, data };
            return score(request, &folder, &config, &subject);
        }
    }
    let setup = match &request.data {
        // Images of another folder may well be others.
        Some(path) => Setup::new(Config { data: Some(path.clone()), ..config })?,
        None => Setup::of_run(config, &folder)?,
    };
    let part = request.part.unwrap_or(Part::Test);
    let (set, indices) = part.of(&setup);
    let (network, classes) = (&setup.network, &setup.dataset.names.classes);
    let subject = Subject { network, classes, set, indices, split: Some(part), data: None };
    score(request, &folder, &setup.config, &subject)
}

/// Scores `subject`, in the type of the run, and prints the result.
fn score(
    request: &Request,
    folder: &RunFolder,
    config: &Config,
    subject: &Subject<'_>,
) -> Result<(), Error> {
    let pool = setup::pool(config)?;
    let cpu = Cpu::new(setup::isa(config)?, &pool);
    let of = subject.data.as_ref().map(|data| format!(" of {data}")).unwrap_or_default();
    let of = format!("of {} {}{of}", subject.indices.len(), subject.set.noun());
    if matches!(subject.set.targets(), Targets::Values(_)) {
        let (fit, params_sha256) = pool.enter(|| match config.dtype {
            Dtype::F32 | Dtype::Bf16 => fit::<f32>(folder, cpu, subject),
            Dtype::F64 => fit::<f64>(folder, cpu, subject),
        })?;
        let unit = fit.target_std.map(|std| format!(" (values in units of {})", decimal(std, 4)));
        let text = format!("loss {:.4}{}, {of}\n\n{fit}", fit.loss, unit.unwrap_or_default());
        let unpredicted = fit.unpredicted.clone();
        print(request, folder, subject, params_sha256, fit, &text)?;
        return subject.require_predictions(&unpredicted);
    }
    let (answers, params_sha256) = pool.enter(|| match config.dtype {
        Dtype::F32 | Dtype::Bf16 => answers::<f32>(folder, cpu, subject),
        Dtype::F64 => answers::<f64>(folder, cpu, subject),
    })?;
    let measures = ClassificationMetrics::new(&answers, subject.set.noun(), subject.classes)?;
    let accuracy = interval::percent(answers.score.correct, answers.score.rows);
    let text = format!("accuracy {accuracy}, loss {:.4}, {of}\n\n{measures}", measures.loss);
    print(request, folder, subject, params_sha256, measures, &text)?;
    subject.require_predictions(&answers.unpredicted())
}

impl Subject<'_> {
    /// [`require_predictions`] of the examples that are scored, of which those in `unpredicted`
    /// have none.
    fn require_predictions(&self, unpredicted: &[u32]) -> Result<(), Error> {
        let names: Vec<_> = unpredicted.iter().map(u32::to_string).collect();
        require_predictions(&names, self.indices.len(), self.set.noun())
    }
}

/// Prints `measures`: as JSON, or as `text`.
fn print<M: Serialize>(
    request: &Request,
    folder: &RunFolder,
    subject: &Subject<'_>,
    params_sha256: String,
    measures: M,
    text: &str,
) -> Result<(), Error> {
    if !request.json {
        return output::print(text);
    }
    let run = folder.path().display().to_string();
    let Subject { split, data, .. } = subject;
    let evaluation = Evaluation { run, split: *split, data: data.clone(), params_sha256, measures };
    let text = serde_json::to_string_pretty(&evaluation);
    output::print(&text.map_err(|error| Error::Usage(format!("evaluation: {error}")))?)
}

fn fit<T: Element>(
    folder: &RunFolder,
    cpu: Cpu<'_>,
    subject: &Subject<'_>,
) -> Result<(RegressionMetrics, String), Error> {
    let Subject { network, set, indices, .. } = subject;
    let (mut weights, sha256) = weights::read::<T>(&folder::model(folder)?, network)?;
    Ok((
        RegressionMetrics::new(&RegressionPredictions::new(
            network,
            cpu,
            &mut weights,
            set,
            indices,
        )?),
        sha256,
    ))
}

fn answers<T: Element>(
    folder: &RunFolder,
    cpu: Cpu<'_>,
    subject: &Subject<'_>,
) -> Result<(Predictions, String), Error> {
    let Subject { network, set, indices, .. } = subject;
    let (mut weights, sha256) = weights::read::<T>(&folder::model(folder)?, network)?;
    Ok((Predictions::new(network, cpu, &mut weights, set, indices)?, sha256))
}

impl Part {
    /// The examples: the set that they are in, and their places in it.
    fn of(self, setup: &Setup) -> (&Labelled, Cow<'_, [u32]>) {
        let Setup { dataset, split, .. } = setup;
        match self {
            Self::Train => (&dataset.train, Cow::from(&split.train)),
            Self::Val => (&dataset.train, Cow::from(&split.validation)),
            Self::Test => (&dataset.test, dataset.test.indices().collect()),
        }
    }
}
