//! `evenkeel predict`: what a run's network takes pictures for, from PNG files, folders of them, or IDX files of images.
//!
//! It needs the run folder alone, not the data that the run was trained on.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use kernels::Cpu;
use nn::{Network, Shape};
use serde::Serialize;

use crate::answers::Answers;
use crate::config::{Config, Dtype};
use crate::data::idx::{Array, GZIP_MAGIC};
use crate::data::{DataError, Labelled};
use crate::element::Element;
use crate::run_folder::{self, RunFolder};
use crate::scan::{self, Invert, Scan};
use crate::tensors::malformed;
use crate::{Error, setup, train, weights};

/// What `predict` is asked to do.
#[derive(Clone, Debug)]
pub struct Request {
    /// The run folder.
    pub run: PathBuf,
    /// Files, or folders of PNG files.
    pub files: Vec<PathBuf>,
    /// Which pictures are inverted. IDX images are taken as they are.
    pub invert: Invert,
    /// Print JSON.
    pub json: bool,
}

/// An image, and what it was taken for.
#[derive(Clone, Debug, Serialize)]
struct Prediction {
    #[serde(flatten)]
    source: Source,
    label: u32,
    #[serde(with = "crate::json")]
    confidence: f64,
    #[serde(with = "crate::json::list")]
    probabilities: Vec<f64>,
}

/// Where an image came from, and what was done to it.
#[derive(Clone, Debug, Serialize)]
struct Source {
    file: String,
    /// Which image of the file, from 0, if it holds several.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    /// Width and height of a picture, if it had to be resized.
    #[serde(skip_serializing_if = "Option::is_none")]
    resized_from: Option<[usize; 2]>,
    /// Whether light and dark were exchanged.
    inverted: bool,
}

/// Images on their way into the network.
#[derive(Default)]
struct Images {
    pixels: Vec<u8>,
    sources: Vec<Source>,
}

/// Does it: prints a line an image, or JSON.
///
/// # Errors
/// [`Error`], if the run or a file cannot be read. Then nothing is printed.
pub fn predict(request: &Request) -> Result<(), Error> {
    let folder = RunFolder::open(&request.run)?;
    let config = Config::read(&folder.file(run_folder::CONFIG))?;
    let summary = run_folder::summary(&folder)?;
    let [rows, cols] = summary.input;
    let (Some(layers), true) = (&config.layers, rows * cols > 0) else {
        let path = folder.file(run_folder::SUMMARY);
        return Err(malformed(&path, "the size of an image, as runs of this version have it", "none"));
    };
    let input = Shape::Image { height: rows, width: cols, channels: 1 };
    let network = setup::network(&config, input, layers, false)?;

    let mut images = Images::default();
    for file in &request.files {
        images.read(file, rows, cols, request.invert)?;
    }
    let count = images.sources.len();
    // A class is not known, and none is needed.
    let uneven = |error: crate::data::Uneven| Error::Usage(format!("images: {error}"));
    let set = Labelled::new(std::mem::take(&mut images.pixels), vec![0; count], rows as u32, cols as u32)
        .map_err(uneven)?;
    let isa = setup::isa(&config)?;
    let pool = setup::pool(&config)?;
    let cpu = Cpu::new(isa, &pool);
    let answers = pool.enter(|| match config.dtype {
        Dtype::F32 | Dtype::Bf16 => answers::<f32>(&folder, &network, cpu, &set),
        Dtype::F64 => answers::<f64>(&folder, &network, cpu, &set),
    })?;

    let predictions = images.sources.into_iter().enumerate().map(|(at, source)| Prediction {
        source,
        label: answers.answers[at],
        confidence: answers.confidence(at),
        probabilities: answers.row(at).into(),
    });
    let predictions: Vec<_> = predictions.collect();
    if request.json {
        let text = serde_json::to_string_pretty(&predictions);
        return train::print(&text.map_err(|error| Error::Usage(format!("predictions: {error}")))?);
    }
    train::print(&table(&predictions))
}

fn answers<T: Element>(
    folder: &RunFolder,
    network: &Network,
    cpu: Cpu<'_>,
    set: &Labelled,
) -> Result<Answers, Error> {
    let (mut weights, _) = weights::read::<T>(&folder.file(run_folder::MODEL), network)?;
    let all: Vec<u32> = (0..set.dims()[0]).collect();
    Answers::new(network, cpu, &mut weights, set, &all)
}

impl Images {
    /// Reads `path`: a PNG file, an IDX file of images, or a folder of PNG files.
    fn read(&mut self, path: &Path, rows: usize, cols: usize, invert: Invert) -> Result<(), Error> {
        if path.is_dir() {
            let files = pictures(path)?;
            return files.iter().try_for_each(|file| self.read(file, rows, cols, invert));
        }
        let name = path.display().to_string();
        let mut first = Vec::new();
        let file = File::open(path).map_err(DataError::io("read", path))?;
        file.take(8).read_to_end(&mut first).map_err(DataError::io("read", path))?;
        if first == scan::SIGNATURE {
            let Scan { pixels, size, inverted } = scan::read(path, rows, cols, invert)?;
            self.pixels.extend(pixels);
            let resized_from = (size != [cols, rows]).then_some(size);
            self.sources.push(Source { file: name, index: None, resized_from, inverted });
            return Ok(());
        }
        if !first.starts_with(&[0, 0]) && !first.starts_with(&GZIP_MAGIC) {
            let found = format!("a file that begins with {first:02x?}");
            return Err(malformed(path, "a PNG picture, or images in IDX form (raw or gzipped)", found));
        }
        let Array { dims: [count, height, width], data } = Array::<3>::read(path)?;
        if [height as usize, width as usize] != [rows, cols] {
            let expected = format!("images of {rows} x {cols}, as the network takes them");
            return Err(malformed(path, expected, format!("{height} x {width}")));
        }
        self.pixels.extend(data);
        self.sources.extend((0..count as usize).map(|at| {
            let index = (count > 1).then_some(at);
            Source { file: name.clone(), index, resized_from: None, inverted: false }
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
        return Err(malformed(folder, "a folder of PNG files", "none in it"));
    }
    Ok(files)
}

/// A line an image: what it was taken for, how surely, all probabilities in per cent, and what was done to it.
fn table(predictions: &[Prediction]) -> String {
    let name = |Source { file, index, .. }: &Source| match index {
        Some(index) => format!("{file}[{index}]"),
        None => file.clone(),
    };
    let width = predictions.iter().map(|p| name(&p.source).chars().count()).max().unwrap_or(0).max(4);
    let classes = predictions.first().map_or(0, |p| p.probabilities.len());
    let mut lines = vec![format!(
        "{:<width$}  label  confidence  {}",
        "file",
        (0..classes).map(|class| format!("{class:>5}")).collect::<String>()
    )];
    for prediction in predictions {
        let shares = prediction.probabilities.iter().map(|p| format!("{:>5.1}", 100.0 * p));
        let mut line = format!(
            "{:<width$}  {:>5}  {:>8.2} %  {}",
            name(&prediction.source),
            prediction.label,
            100.0 * prediction.confidence,
            shares.collect::<String>()
        );
        if let Some([width, height]) = prediction.source.resized_from {
            line.push_str(&format!("  (resized from {width} x {height})"));
        }
        if prediction.source.inverted {
            line.push_str("  (inverted: its background is light)");
        }
        lines.push(line);
    }
    lines.join("\n")
}
