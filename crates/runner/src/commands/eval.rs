//! `evenkeel eval`: metrics of a run's parameters on one of its three sets, or on new examples.
//!
//! ```text
//! no --data, or the run's own data at another path   the set of --split, split as in the run
//! --data with other labelled examples                all of them: see `new_data`
//! ```

mod new_data;
mod split;

use std::borrow::Cow;
use std::path::PathBuf;

use kernels::Cpu;
use nn::Network;
use serde::Serialize;
pub use split::Split;

use crate::Error;
use crate::commands::output;
use crate::data::element::Element;
use crate::data::{Labelled, Targets};
use crate::evaluation::classification::ClassificationMetrics;
use crate::evaluation::interval;
use crate::evaluation::predictions::{Predictions, require_predictions};
use crate::evaluation::regression::{RegressionMetrics, RegressionPredictions, loss_unit_note};
use crate::run::config::{Config, Dtype};
use crate::run::folder::RunFolder;
use crate::run::setup::Setup;
use crate::run::{folder, setup, weights};

/// Options of `eval`.
#[derive(Clone, Debug)]
pub struct Request {
    /// The run folder.
    pub run: PathBuf,
    /// Set to score; `None` for the test set, or all rows of new data.
    pub split: Option<Split>,
    /// New path of the run's data, or other data; `None` for the path in the configuration.
    pub data: Option<PathBuf>,
    /// Print JSON.
    pub json: bool,
}

/// Output of `eval --json`.
#[derive(Serialize)]
struct Evaluation<M> {
    run: String,
    /// `null` for new data without a test set.
    split: Option<Split>,
    /// Path of new data.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<String>,
    params_sha256: String,
    #[serde(flatten)]
    metrics: M,
}

/// Network and the examples that it is scored on.
struct EvalInput<'a> {
    network: &'a Network,
    /// Names of a table's classes; empty for other data.
    classes: &'a [String],
    set: &'a Labelled,
    /// Indices in `set` of the scored examples.
    indices: Cow<'a, [u32]>,
    /// Set that the examples are; `None` for new data without a test set.
    split: Option<Split>,
    /// Path of new data.
    data: Option<String>,
}

/// Scores a run: prints accuracy with its 95 % interval, the mean loss, and all other metrics.
///
/// # Errors
/// [`Error`], if the run or its data cannot be read, or new data do not have the form of the run's.
/// [`Error::Unpredicted`], after the metrics are printed, if outputs are NaN or infinite.
pub fn eval(request: &Request) -> Result<(), Error> {
    let folder = RunFolder::open(&request.run)?;
    folder::model(&folder)?;
    let config = Config::read(&folder.file(folder::CONFIG))?;
    // Fails before any data are read if this machine lacks the instruction set.
    setup::isa(&config)?;
    if let (Some(_), Some(_)) = (&request.data, config.task) {
        return Err(Error::Usage(
            "data: expected none for a run that reconstructs its inputs, got one: eval scores the \
             run's own examples, see --split (flag --data)"
                .into(),
        ));
    }
    if let Some(path) = request.data.as_deref().filter(|path| new_data::is_supported(path)) {
        let (network, summary) = setup::network_of_run(&folder, &config)?;
        let network = network.with_loss(config.loss.unwrap_or_default());
        let new = new_data::read(path, &config, &summary, &network, request.split)?;
        if let Some((set, split)) = new {
            let (data, indices) = (Some(path.display().to_string()), set.indices().collect());
            let classes = &summary.classes;
            let input = EvalInput { network: &network, classes, set: &set, indices, split, data };
            return score(request, &folder, &config, &input);
        }
    }
    let setup = match &request.data {
        // A folder of images may hold other images than the run's.
        Some(path) => Setup::new(Config { data: Some(path.clone()), ..config })?,
        None => Setup::of_run(config, &folder)?,
    };
    let split = request.split.unwrap_or(Split::Test);
    let (set, indices) = split.examples(&setup);
    let (network, classes) = (&setup.network, &setup.dataset.names.classes);
    let input = EvalInput { network, classes, set, indices, split: Some(split), data: None };
    score(request, &folder, &setup.config, &input)
}

/// Scores `input` in the run's type, and prints the metrics.
fn score(
    request: &Request,
    folder: &RunFolder,
    config: &Config,
    input: &EvalInput<'_>,
) -> Result<(), Error> {
    let pool = setup::pool(config)?;
    let cpu = Cpu::new(setup::isa(config)?, &pool);
    let source = input.data.as_ref().map(|data| format!(" of {data}")).unwrap_or_default();
    let scored = format!("of {} {}{source}", input.indices.len(), input.set.noun());
    if !matches!(input.set.targets(), Targets::Classes(_)) {
        let (metrics, params_sha256) = pool.enter(|| match config.dtype {
            Dtype::F32 | Dtype::Bf16 => regression::<f32>(folder, cpu, input),
            Dtype::F64 => regression::<f64>(folder, cpu, input),
        })?;
        let unit = loss_unit_note(metrics.target_std);
        let text = format!("loss {:.4}{unit}, {scored}\n\n{metrics}", metrics.loss);
        let unpredicted = metrics.unpredicted.clone();
        print(request, folder, input, params_sha256, metrics, &text)?;
        return input.require_predictions(&unpredicted);
    }
    let (predictions, params_sha256) = pool.enter(|| match config.dtype {
        Dtype::F32 | Dtype::Bf16 => classification::<f32>(folder, cpu, input),
        Dtype::F64 => classification::<f64>(folder, cpu, input),
    })?;
    let metrics = ClassificationMetrics::new(&predictions, input.set.noun(), input.classes)?;
    let accuracy = interval::percent(predictions.score.correct, predictions.score.rows);
    let text = format!("accuracy {accuracy}, loss {:.4}, {scored}\n\n{metrics}", metrics.loss);
    print(request, folder, input, params_sha256, metrics, &text)?;
    input.require_predictions(&predictions.unpredicted())
}

impl EvalInput<'_> {
    /// Calls [`require_predictions`] for the scored examples. Those in `unpredicted` have no
    /// prediction.
    fn require_predictions(&self, unpredicted: &[u32]) -> Result<(), Error> {
        let names: Vec<_> = unpredicted.iter().map(u32::to_string).collect();
        require_predictions(&names, self.indices.len(), self.set.noun())
    }
}

/// Prints `metrics` as JSON, or `text`.
fn print<M: Serialize>(
    request: &Request,
    folder: &RunFolder,
    input: &EvalInput<'_>,
    params_sha256: String,
    metrics: M,
    text: &str,
) -> Result<(), Error> {
    if !request.json {
        return output::print(text);
    }
    let run = folder.path().display().to_string();
    let EvalInput { split, data, .. } = input;
    let evaluation = Evaluation { run, split: *split, data: data.clone(), params_sha256, metrics };
    let text = serde_json::to_string_pretty(&evaluation);
    output::print(&text.map_err(|error| Error::Usage(format!("evaluation: {error}")))?)
}

/// Returns the metrics of a regression, and the SHA-256 of the weights.
fn regression<T: Element>(
    folder: &RunFolder,
    cpu: Cpu<'_>,
    input: &EvalInput<'_>,
) -> Result<(RegressionMetrics, String), Error> {
    let EvalInput { network, set, indices, .. } = input;
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

/// Returns the predicted classes, and the SHA-256 of the weights.
fn classification<T: Element>(
    folder: &RunFolder,
    cpu: Cpu<'_>,
    input: &EvalInput<'_>,
) -> Result<(Predictions, String), Error> {
    let EvalInput { network, set, indices, .. } = input;
    let (mut weights, sha256) = weights::read::<T>(&folder::model(folder)?, network)?;
    Ok((Predictions::new(network, cpu, &mut weights, set, indices)?, sha256))
}
