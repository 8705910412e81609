//! `evenkeel predict`: what a run's network takes pictures for, from PNG files, folders of them, or IDX files of images; or rows of
//! numbers, from CSV files or arrays.
//!
//! It needs the run folder alone, not the data that the run was trained on.

mod rows;

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use kernels::Cpu;
use nn::{Network, Shape};
use serde::Serialize;

use crate::Error;
use crate::commands::output;
use crate::data::element::Element;
use crate::data::idx::{Array, GZIP_MAGIC};
use crate::data::scan::{Centre, Invert, Preparation, Scan};
use crate::data::{DataError, Labelled, noun, scan};
use crate::evaluation::predictions::{Predictions, require_predictions};
use crate::evaluation::regression::{RegressionPredictions, decimal};
use crate::machine::escape;
use crate::run::config::{Config, Dtype};
use crate::run::folder::RunFolder;
use crate::run::{folder, setup, weights};

/// What `predict` is asked to do.
#[derive(Clone, Debug)]
pub struct Request {
    /// The run folder.
    pub run: PathBuf,
    /// Files, or folders of PNG files.
    pub files: Vec<PathBuf>,
    /// Which pictures are inverted. IDX images are taken as they are.
    pub invert: Invert,
    /// Which pictures are cut out and centred. IDX images are taken as they are.
    pub centre: Centre,
    /// Print JSON.
    pub json: bool,
}

/// An example, and what the network answers to it.
#[derive(Clone, Debug, Serialize)]
struct Prediction {
    #[serde(flatten)]
    source: Source,
    #[serde(flatten)]
    answer: Answer,
}

#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
enum Answer {
    Class {
        /// `null` if outputs are NaN or infinite: then there is no prediction.
        label: Option<u32>,
        /// What the class is called in the table that was trained on.
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

/// Where an example came from, and what was done to it.
#[derive(Clone, Debug, Serialize)]
struct Source {
    file: String,
    /// Which example of the file, from 0, if it holds several.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    /// Width and height of a picture, if it had to be resized.
    #[serde(skip_serializing_if = "Option::is_none")]
    resized_from: Option<[usize; 2]>,
    /// Whether light and dark were exchanged.
    inverted: bool,
    /// `true` if the digit in an image was cut out and centred as in the training set.
    centred: bool,
}

/// Examples on their way into the network, and where they came from.
struct Part {
    set: Labelled,
    sources: Vec<Source>,
}

/// Images on their way there.
#[derive(Default)]
struct Images {
    pixels: Vec<u8>,
    sources: Vec<Source>,
}

/// Does it: prints a line an example, or JSON.
///
/// # Errors
/// [`Error`], if the run or a file cannot be read. Then nothing is printed. [`Error::Unpredicted`],
/// after all is printed, if outputs are NaN or infinite.
pub fn predict(request: &Request) -> Result<(), Error> {
    let folder = RunFolder::open(&request.run)?;
    folder::model(&folder)?;
    let config = Config::read(&folder.file(folder::CONFIG))?;
    let (network, summary) = setup::network_of_run(&folder, &config)?;
    let input = network.input();

    let parts = match input {
        Shape::Image { height, width, .. } => {
            let centre = match request.centre {
                Centre::Auto => summary.digits_centred == Some(true),
                Centre::Yes => true,
                Centre::No => false,
            };
            let preparation =
                Preparation { rows: height, cols: width, invert: request.invert, centre };
            let mut images = Images::default();
            for file in &request.files {
                images.read(file, preparation)?;
            }
            vec![images.part(height, width)?]
        }
        _ => {
            let read = |file: &PathBuf| rows::read(file, input.elements(), &summary.columns);
            request.files.iter().map(read).collect::<Result<_, _>>()?
        }
    };
    let isa = setup::isa(&config)?;
    let pool = setup::pool(&config)?;
    let cpu = Cpu::new(isa, &pool);
    let mut predictions = Vec::new();
    for Part { set, sources } in parts {
        let answers = pool.enter(|| match config.dtype {
            Dtype::F32 | Dtype::Bf16 => {
                answers::<f32>(&folder, &network, cpu, &set, &summary.classes)
            }
            Dtype::F64 => answers::<f64>(&folder, &network, cpu, &set, &summary.classes),
        })?;
        predictions.extend(
            sources.into_iter().zip(answers).map(|(source, answer)| Prediction { source, answer }),
        );
    }
    if request.json {
        let text = serde_json::to_string_pretty(&predictions);
        output::print(&text.map_err(|error| Error::Usage(format!("predictions: {error}")))?)?;
    } else {
        output::print(&table(&predictions))?;
    }
    let unpredicted = predictions.iter().filter(|prediction| !prediction.answer.is_prediction());
    let unpredicted: Vec<_> = unpredicted.map(|prediction| prediction.source.name()).collect();
    require_predictions(&unpredicted, predictions.len(), noun(input))
}

/// What the network answers to each example of `set`. One with a single output answers with values.
fn answers<T: Element>(
    folder: &RunFolder,
    network: &Network,
    cpu: Cpu<'_>,
    set: &Labelled,
    classes: &[String],
) -> Result<Vec<Answer>, Error> {
    let (mut weights, _) = weights::read::<T>(&folder::model(folder)?, network)?;
    let all: Vec<u32> = (0..set.dims()[0]).collect();
    if network.outputs() == 1 {
        let values = RegressionPredictions::new(network, cpu, &mut weights, set, &all)?;
        return Ok(values.predicted.into_iter().map(|value| Answer::Value { value }).collect());
    }
    let answers = Predictions::new(network, cpu, &mut weights, set, &all)?;
    let answer = |at: usize| Answer::Class {
        label: answers.predicted[at],
        class: answers.predicted[at].and_then(|label| classes.get(label as usize).cloned()),
        confidence: answers.confidence(at),
        probabilities: answers.row(at).into(),
    };
    Ok((0..answers.len()).map(answer).collect())
}

impl Answer {
    /// `true` unless the outputs were NaN or infinite.
    fn is_prediction(&self) -> bool {
        match self {
            Self::Class { label, .. } => label.is_some(),
            Self::Value { value } => value.is_finite(),
        }
    }
}

impl Source {
    /// `images[3]`, or `three.png`, safe to print.
    fn name(&self) -> String {
        match self.index {
            Some(index) => format!("{}[{index}]", escape::name(&self.file)),
            None => escape::name(&self.file).into_owned(),
        }
    }
}

impl Images {
    /// All of them.
    fn part(self, rows: usize, cols: usize) -> Result<Part, Error> {
        let Self { pixels, sources } = self;
        // A class is not known, and none is needed.
        let set = Labelled::new(pixels, vec![0; sources.len()], rows as u32, cols as u32)
            .map_err(|error| Error::Usage(format!("images: {error}")))?;
        Ok(Part { set, sources })
    }

    /// Reads `path`: a PNG file, an IDX file of images, or a folder of PNG files.
    fn read(&mut self, path: &Path, preparation: Preparation) -> Result<(), Error> {
        let Preparation { rows, cols, .. } = preparation;
        if path.is_dir() {
            let files = pictures(path)?;
            return files.iter().try_for_each(|file| self.read(file, preparation));
        }
        let name = path.display().to_string();
        let mut first = Vec::new();
        let file = File::open(path).map_err(DataError::io("read", path))?;
        file.take(8).read_to_end(&mut first).map_err(DataError::io("read", path))?;
        if first == scan::SIGNATURE {
            let Scan { pixels, size, inverted, centred } = scan::read(path, preparation)?;
            self.pixels.extend(pixels);
            let resized_from = (size != [cols, rows]).then_some(size);
            self.sources.push(Source { file: name, index: None, resized_from, inverted, centred });
            return Ok(());
        }
        if !first.starts_with(&[0, 0]) && !first.starts_with(&GZIP_MAGIC) {
            let found = format!("a file that begins with {first:02x?}");
            return Err(Error::malformed(
                path,
                "a PNG picture, or images in IDX form (raw or gzipped)",
                found,
            ));
        }
        let Array { dims: [count, height, width], data } = Array::<3>::read(path)?;
        if [height as usize, width as usize] != [rows, cols] {
            let expected = format!("images of {rows} x {cols}, as the network takes them");
            return Err(Error::malformed(path, expected, format!("{height} x {width}")));
        }
        self.pixels.extend(data);
        self.sources.extend((0..count as usize).map(|at| {
            let index = (count > 1).then_some(at);
            Source {
                file: name.clone(),
                index,
                resized_from: None,
                inverted: false,
                centred: false,
            }
        }));
        Ok(())
    }
}

/// The PNG files of a folder, by name.
fn pictures(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(DataError::io("read", folder))? {
        let path = entry.map_err(DataError::io("read", folder))?.path();
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png")) {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(Error::malformed(folder, "a folder of PNG files", "none in it"));
    }
    Ok(files)
}

/// A line an example: what it was taken for, how surely, all probabilities in per cent, and what was done to it; or its value.
fn table(predictions: &[Prediction]) -> String {
    let width =
        predictions.iter().map(|p| p.source.name().chars().count()).max().unwrap_or(0).max(4);
    let called = |answer: &Answer| match answer {
        Answer::Class { label, class, .. } => match class {
            Some(class) => escape::name(class).into_owned(),
            None => label.map_or_else(|| "-".into(), |label| label.to_string()),
        },
        Answer::Value { .. } => String::new(),
    };
    let label =
        predictions.iter().map(|p| called(&p.answer).chars().count()).max().unwrap_or(0).max(5);
    let head = match predictions.first().map(|prediction| &prediction.answer) {
        Some(Answer::Value { .. }) => format!("{:<width$}  {:>12}", "file", "value"),
        Some(Answer::Class { probabilities, .. }) => {
            let classes: String =
                (0..probabilities.len()).map(|class| format!("{class:>5}")).collect();
            format!("{:<width$}  {:>label$}  confidence  {classes}", "file", "label")
        }
        None => String::new(),
    };
    let line = |prediction: &Prediction| {
        let Prediction { source, answer } = prediction;
        let mut line = match answer {
            Answer::Value { value } => {
                format!("{:<width$}  {:>12}", source.name(), decimal(*value, 6))
            }
            Answer::Class { confidence, probabilities, .. } => {
                let shares: String =
                    probabilities.iter().map(|p| format!("{:>5.1}", 100.0 * p)).collect();
                let (name, called) = (source.name(), called(answer));
                let confidence = confidence.map(|share| format!("{:.2} %", 100.0 * share));
                let confidence = confidence.unwrap_or_else(|| "-".into());
                format!("{name:<width$}  {called:>label$}  {confidence:>10}  {shares}")
            }
        };
        if let Some([width, height]) = source.resized_from {
            let how = if source.centred { "cut out and centred" } else { "resized" };
            line.push_str(&format!("  ({how} from {width} x {height})"));
        }
        if source.inverted {
            line.push_str("  (inverted: its background is light)");
        }
        line
    };
    std::iter::once(head).chain(predictions.iter().map(line)).collect::<Vec<_>>().join("\n")
}
