//! `evenkeel predict`: classes of images, or classes or values of table rows, with a trained run.
//!
//! Reads the run folder only, not the data that the run was trained on.

mod images;
mod input;
mod rows;

use std::path::PathBuf;

use input::{Input, Source};
use kernels::Cpu;
use nn::{Loss, Network, Shape};
use serde::Serialize;

use crate::Error;
use crate::commands::output;
use crate::data::element::Element;
use crate::data::scan::{Centre, Invert, Preparation};
use crate::data::{Labelled, noun};
use crate::evaluation::predictions::{Predictions, require_predictions};
use crate::evaluation::regression::{RegressionPredictions, decimal, to_values};
use crate::machine::escape;
use crate::run::config::{Config, Dtype};
use crate::run::folder::RunFolder;
use crate::run::{folder, setup, weights};

/// Options of `predict`.
#[derive(Clone, Debug)]
pub struct Request {
    /// The run folder.
    pub run: PathBuf,
    /// Files, or folders of PNG files.
    pub files: Vec<PathBuf>,
    /// Inversion of PNG images. IDX images stay unchanged.
    pub invert: Invert,
    /// Cropping and centring of PNG images. IDX images stay unchanged.
    pub centre: Centre,
    /// Print JSON.
    pub json: bool,
}

/// Example and its prediction.
#[derive(Clone, Debug, Serialize)]
struct Prediction {
    #[serde(flatten)]
    source: Source,
    #[serde(flatten)]
    output: Output,
}

/// Output of the network for an example.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
enum Output {
    Class {
        /// `null` if outputs are NaN or infinite: then there is no prediction.
        label: Option<u32>,
        /// Name of the class in the training set's table.
        #[serde(skip_serializing_if = "Option::is_none")]
        class: Option<String>,
        confidence: Option<f64>,
        #[serde(with = "crate::run::json::list")]
        probabilities: Vec<f64>,
    },
    Value {
        #[serde(with = "crate::run::json")]
        value: f64,
    },
}

/// Predicts the examples in the files, and prints one line per example, or JSON.
///
/// # Errors
/// [`Error`], if the run or a file cannot be read. Then nothing is printed. [`Error::Unpredicted`],
/// after all predictions are printed, if outputs are NaN or infinite.
pub fn predict(request: &Request) -> Result<(), Error> {
    let folder = RunFolder::open(&request.run)?;
    folder::model(&folder)?;
    let config = Config::read(&folder.file(folder::CONFIG))?;
    if config.task.is_some() {
        return Err(Error::Usage(
            "predict: expected a run that predicts classes or values, got one that reconstructs \
             its inputs: `evenkeel export --format onnx` writes its network"
                .into(),
        ));
    }
    let (network, summary) = setup::network_of_run(&folder, &config)?;
    let loss = config.loss.unwrap_or_default();
    let shape = network.input();

    let inputs = match shape {
        Shape::Image { height, width, .. } => {
            let centre = match request.centre {
                Centre::Auto => summary.digits_centred == Some(true),
                Centre::Yes => true,
                Centre::No => false,
            };
            let invert = request.invert;
            let preparation = Preparation { rows: height, cols: width, invert, centre };
            vec![images::read(&request.files, preparation)?]
        }
        _ => {
            let read = |file: &PathBuf| rows::read(file, shape.elements(), &summary.columns);
            request.files.iter().map(read).collect::<Result<_, _>>()?
        }
    };
    let isa = setup::isa(&config)?;
    let pool = setup::pool(&config)?;
    let cpu = Cpu::new(isa, &pool);
    let mut predictions = Vec::new();
    for Input { set, sources } in inputs {
        let outputs = pool.enter(|| match config.dtype {
            Dtype::F32 | Dtype::Bf16 => {
                outputs::<f32>(&folder, &network, loss, cpu, &set, &summary.classes)
            }
            Dtype::F64 => outputs::<f64>(&folder, &network, loss, cpu, &set, &summary.classes),
        })?;
        let pairs = sources.into_iter().zip(outputs);
        predictions.extend(pairs.map(|(source, output)| Prediction { source, output }));
    }
    if request.json {
        let text = serde_json::to_string_pretty(&predictions);
        output::print(&text.map_err(|error| Error::Usage(format!("predictions: {error}")))?)?;
    } else {
        output::print(&table(&predictions))?;
    }
    let unpredicted = predictions.iter().filter(|prediction| !prediction.output.is_prediction());
    let unpredicted: Vec<_> = unpredicted.map(|prediction| prediction.source.name()).collect();
    require_predictions(&unpredicted, predictions.len(), noun(shape))
}

/// Runs the network on each example of `set`: values if it has one output, otherwise classes.
fn outputs<T: Element>(
    folder: &RunFolder,
    network: &Network,
    loss: Loss,
    cpu: Cpu<'_>,
    set: &Labelled,
    classes: &[String],
) -> Result<Vec<Output>, Error> {
    let (mut weights, _) = weights::read::<T>(&folder::model(folder)?, network)?;
    let indices: Vec<u32> = (0..set.dims()[0]).collect();
    if network.outputs() == 1 {
        // The network has no loss here, so that its outputs are not values yet.
        let outputs = RegressionPredictions::new(network, cpu, &mut weights, set, &indices)?;
        let values = to_values(loss, cpu, outputs.predicted)?;
        return Ok(values.into_iter().map(|value| Output::Value { value }).collect());
    }
    let predictions = Predictions::new(network, cpu, &mut weights, set, &indices)?;
    let output = |index: usize| {
        let label = predictions.predicted[index];
        Output::Class {
            label,
            class: label.and_then(|label| classes.get(label as usize).cloned()),
            confidence: predictions.confidence(index),
            probabilities: predictions.row(index).into(),
        }
    };
    Ok((0..predictions.len()).map(output).collect())
}

impl Output {
    /// `true` unless the outputs are NaN or infinite.
    fn is_prediction(&self) -> bool {
        match self {
            Self::Class { label, .. } => label.is_some(),
            Self::Value { value } => value.is_finite(),
        }
    }

    /// Name or number of the class, `-` without a prediction; empty for a value.
    fn class_name(&self) -> String {
        match self {
            Self::Class { class: Some(class), .. } => escape::name(class).into_owned(),
            Self::Class { label, .. } => {
                label.map_or_else(|| "-".into(), |label| label.to_string())
            }
            Self::Value { .. } => String::new(),
        }
    }
}

/// Table with one line per example: class, confidence and the probabilities of all classes in per
/// cent, or the value; and how the image was prepared.
fn table(predictions: &[Prediction]) -> String {
    let width = |text: fn(&Prediction) -> String, least: usize| {
        predictions.iter().map(|p| text(p).chars().count()).max().unwrap_or(0).max(least)
    };
    let file_width = width(|prediction| prediction.source.name(), 4);
    let label_width = width(|prediction| prediction.output.class_name(), 5);
    let header = match predictions.first().map(|prediction| &prediction.output) {
        Some(Output::Value { .. }) => format!("{:<file_width$}  {:>12}", "file", "value"),
        Some(Output::Class { probabilities, .. }) => {
            let classes: String =
                (0..probabilities.len()).map(|class| format!("{class:>5}")).collect();
            format!("{:<file_width$}  {:>label_width$}  confidence  {classes}", "file", "label")
        }
        None => String::new(),
    };
    let line = |prediction: &Prediction| {
        let Prediction { source, output } = prediction;
        let name = source.name();
        let mut line = match output {
            Output::Value { value } => {
                format!("{name:<file_width$}  {:>12}", decimal(*value, 6))
            }
            Output::Class { confidence, probabilities, .. } => {
                let shares: String =
                    probabilities.iter().map(|p| format!("{:>5.1}", 100.0 * p)).collect();
                let class = output.class_name();
                let confidence = confidence.map(|share| format!("{:.2} %", 100.0 * share));
                let confidence = confidence.unwrap_or_else(|| "-".into());
                format!("{name:<file_width$}  {class:>label_width$}  {confidence:>10}  {shares}")
            }
        };
        if let Some([width, height]) = source.resized_from {
            let how = if source.centred { "cropped and centred" } else { "resized" };
            line.push_str(&format!("  ({how} from {width} x {height})"));
        }
        if source.inverted {
            line.push_str("  (inverted: light background)");
        }
        line
    };
    std::iter::once(header).chain(predictions.iter().map(line)).collect::<Vec<_>>().join("\n")
}
