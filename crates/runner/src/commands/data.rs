//! `evenkeel data`: describes a data set, draws its images, generates one, or downloads MNIST.

use std::borrow::Cow;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::thread;

use nn::Shape;
use png::ColorType;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::Error;
use crate::augment::Augmentation;
use crate::commands::output;
use crate::commands::output::refuse_if;
use crate::data::digest::hex;
use crate::data::digits::{SIDE, generate};
use crate::data::replace::replace_with;
use crate::data::synthetic::{Classification, Linear};
use crate::data::{
    Choice, DataError, Inputs, Labelled, Origin, Request, Targets, Terminal, folder, generated,
    image, load, mnist,
};
use crate::machine::escape;
use crate::run::batch::BatchBuffers;
use crate::run::config::{Config, Source, require};
use crate::run::setup;

/// Pixels between the images of a contact sheet.
const GAP: usize = 2;

/// Set of a data set, as `--split` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Split {
    /// The training set.
    Train,
    /// The test set.
    Test,
}

/// Options of `data show`.
#[derive(Clone, Debug)]
pub struct Show {
    /// Configuration whose data set is drawn.
    pub config: Config,
    /// Set to draw from.
    pub split: Split,
    /// Number of images.
    pub count: usize,
    /// Class of the images; `None` for all classes.
    pub class: Option<usize>,
    /// Epoch, from 1, of the configuration's augmentation; `None` for no augmentation.
    pub epoch: Option<u32>,
    /// PNG file to write; `None` to draw on the terminal.
    pub out: Option<PathBuf>,
    /// Replace an existing file.
    pub force: bool,
}

/// Options of `data synth`.
#[derive(Clone, Debug)]
pub struct Synth {
    /// Data set to generate: digits, or one of the tables.
    pub source: Source,
    /// Folder of the digits, or file of the table.
    pub out: PathBuf,
    /// Seed of every random draw.
    pub seed: u64,
    /// Number of training and test images; a table has the sum of both as rows.
    pub counts: [u32; 2],
    /// Replace existing files.
    pub force: bool,
}

/// Output of `data info --json`.
#[derive(Serialize)]
struct Info {
    name: String,
    origin: String,
    generated: bool,
    classes: usize,
    rows: usize,
    cols: usize,
    /// Names of a table's columns.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    columns: Vec<String>,
    /// Names of a table's classes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    class_names: Vec<String>,
    train: SplitInfo,
    test: SplitInfo,
}

#[derive(Serialize)]
struct SplitInfo {
    images: usize,
    /// Number of images of each class.
    counts: Vec<usize>,
    /// Mean of the pixels, scaled to [0, 1], or of all numbers.
    mean: f64,
    /// Standard deviation of the pixels or numbers.
    std: f64,
    /// SHA-256 of the uncompressed IDX file. Numbers other than bytes are hashed little-endian,
    /// after the same header.
    images_sha256: String,
    labels_sha256: String,
    /// `true` if both hashes are MNIST's.
    is_mnist: bool,
}

/// Prints a description of the data set of `config`.
///
/// # Errors
/// [`Error::Data`] if the data are unavailable.
pub fn info(config: &Config, json: bool) -> Result<(), Error> {
    let dataset = setup::load(config)?;
    let [train, test] = [(&dataset.train, 0), (&dataset.test, 2)]
        .map(|(set, published)| SplitInfo::new(set, dataset.classes, published));
    let info = Info {
        name: dataset.name.clone(),
        origin: dataset.origin.to_string(),
        generated: matches!(dataset.origin, Origin::Generated { .. }),
        classes: dataset.classes,
        rows: dataset.train.rows(),
        cols: dataset.train.cols(),
        columns: dataset.names.columns.clone(),
        class_names: dataset.names.classes.clone(),
        train,
        test,
    };
    if json {
        let text = serde_json::to_string_pretty(&info);
        return output::print(&text.map_err(|error| Error::Usage(format!("data: {error}")))?);
    }
    let Info { name, origin, classes, rows, cols, .. } = &info;
    let targets = if dataset.has_values() { "values".into() } else { format!("{classes} classes") };
    let mut lines = vec![match dataset.train.shape() {
        Shape::Image { .. } => format!("{name} ({origin}): {targets} of images of {rows} x {cols}"),
        _ => format!("{name} ({origin}): {targets} of rows of {cols} columns"),
    }];
    for (title, names) in [("columns", &info.columns), ("classes", &info.class_names)] {
        if !names.is_empty() {
            lines.push(format!("{title}: {}", escape::name(&names.join(", "))));
        }
    }
    for (split, set) in [("train", &info.train), ("test", &info.test)] {
        let counts: String = set.counts.iter().map(|count| format!(" {count}")).collect();
        let mnist = if set.is_mnist { ", MNIST's" } else { "" };
        let (unit_name, numbers) = match dataset.train.noun() {
            "images" => ("images", "pixels "),
            rows => (rows, "numbers"),
        };
        lines.push(format!("\n{split}: {} {unit_name}{mnist}", set.images));
        if !set.counts.is_empty() {
            lines.push(format!("  by class     {counts}"));
        }
        let (mean, std) = (set.mean, set.std);
        let is_bytes = matches!(dataset.train.inputs(), Inputs::Bytes(_));
        let scale = if is_bytes { " (scaled to 0 to 1)" } else { "" };
        lines.push(format!("  {numbers}       mean {mean:.4}, standard deviation {std:.4}{scale}"));
        lines.push(format!(
            "  {unit_name:<6} SHA-256  {}\n  labels SHA-256  {}",
            set.images_sha256, set.labels_sha256
        ));
    }
    output::print(&lines.join("\n"))
}

impl SplitInfo {
    /// Description of `set`. `published` is the index in [`mnist::PUBLISHED`] of the file that its
    /// images are compared with; the labels' file follows it.
    fn new(set: &Labelled, classes: usize, published: usize) -> Self {
        let mut counts = vec![0; classes];
        for &label in set.labels() {
            counts[usize::from(label)] += 1;
        }
        let bytes =
            |numbers: &[f32]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        let (mean, std, data) = match set.inputs() {
            Inputs::Bytes(bytes) => {
                // Sums of integers are exact.
                let (sum, squares) = bytes.iter().fold((0_u64, 0_u64), |(sum, squares), &pixel| {
                    (sum + u64::from(pixel), squares + u64::from(pixel) * u64::from(pixel))
                });
                let count = bytes.len() as f64;
                let mean = sum as f64 / count;
                let variance = (squares as f64 / count - mean * mean).max(0.0);
                (mean / 255.0, variance.sqrt() / 255.0, Cow::from(bytes))
            }
            Inputs::Numbers(numbers) => {
                let mean_of = |value: &dyn Fn(f64) -> f64| {
                    numbers.iter().map(|&number| value(number.into())).sum::<f64>()
                        / numbers.len() as f64
                };
                let mean = mean_of(&|number| number);
                let variance = mean_of(&|number| (number - mean) * (number - mean));
                (mean, variance.sqrt(), Cow::Owned(bytes(numbers)))
            }
        };
        let targets = match set.targets() {
            Targets::Classes(classes) => Cow::from(classes),
            Targets::Values(values) => Cow::Owned(bytes(values)),
            Targets::Inputs(_) => Cow::from(&[]),
        };
        let images_sha256 = sha256(&set.dims(), &data);
        let labels_sha256 = sha256(&set.dims()[..1], &targets);
        let [images, labels] = [published, published + 1].map(|file| mnist::PUBLISHED[file].sha256);
        let is_mnist = images_sha256 == images && labels_sha256 == labels;
        Self { images: set.len(), counts, mean, std, images_sha256, labels_sha256, is_mnist }
    }
}

/// SHA-256 of the IDX file with shape `dims` and contents `data`.
fn sha256(dims: &[u32], data: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update([0, 0, 8, dims.len() as u8]);
    dims.iter().for_each(|dim| hash.update(dim.to_be_bytes()));
    hash.update(data);
    hex(&hash.finalize())
}

/// Draws the first images of a set, or of one of its classes.
///
/// # Errors
/// [`Error::Data`] if the data are unavailable; [`Error::Usage`] if there are no such images, or
/// the file exists.
pub fn show(show: &Show) -> Result<(), Error> {
    if let Some(out) = &show.out {
        refuse_if(out.exists() && !show.force, out)?;
    }
    let dataset = setup::load(&show.config)?;
    let set = match show.split {
        Split::Train => &dataset.train,
        Split::Test => &dataset.test,
    };
    let class = |index: usize| set.labels().get(index).map(|&label| usize::from(label));
    let is_shown = |index: &usize| show.class.is_none_or(|shown| class(*index) == Some(shown));
    if !matches!(set.shape(), Shape::Image { .. }) {
        return Err(Error::Usage(format!(
            "data: expected images to draw, got {}, a table",
            dataset.name
        )));
    }
    let indices: Vec<_> = (0..set.len()).filter(is_shown).take(show.count).collect();
    if indices.is_empty() {
        let class = show.class.map_or_else(|| "any".into(), |class| class.to_string());
        return Err(Error::Usage(format!(
            "images: expected at least one, got none of class {class} (of {} classes) with \
             --count {}",
            dataset.classes, show.count
        )));
    }
    let labels: Vec<_> = indices.iter().filter_map(|&index| set.labels().get(index)).collect();
    let set = &augmented(show, set, &indices)?;
    let indices: Vec<_> = (0..set.len()).collect();
    let Some(out) = &show.out else {
        // A narrow terminal has 80 columns.
        let columns = (80 / (set.cols() + 1)).clamp(1, indices.len());
        let labels: Vec<_> = labels.into_iter().map(ToString::to_string).collect();
        let drawn = half_blocks(&Sheet::new(set, &indices, columns, 1));
        return output::print_raw(&format!("{drawn}\n{}", labels.join(" ")));
    };
    let columns = (1..).find(|columns| columns * columns >= indices.len()).unwrap_or(1);
    let Sheet { width, height, pixels } = Sheet::new(set, &indices, columns, GAP);
    replace_with(out, &image::png(width, height, ColorType::Grayscale, &pixels)?)?;
    output::print(&out.display().to_string())
}

/// Returns the images `indices` of `set` in bytes, augmented for the epoch of `show`.
fn augmented(show: &Show, set: &Labelled, indices: &[usize]) -> Result<Labelled, Error> {
    let indices: Vec<u32> = indices.iter().map(|&index| index as u32).collect();
    let (list, seed, isa) = (&show.config.augment[..], show.config.seed, setup::isa(&show.config)?);
    let augmentation =
        show.epoch.map(|epoch| Augmentation { list, seed, epoch: epoch.saturating_sub(1), isa });
    let mut rows = BatchBuffers::<f32>::new(isa, indices.len(), set.image_len())?;
    let numbers = rows.fill_augmented(set, &indices, augmentation)?.inputs;
    // byte / 255 * 255 rounds to the same byte.
    let pixels =
        numbers.iter().map(|number| (255.0 * number).clamp(0.0, 255.0).round() as u8).collect();
    let [_, rows, cols] = set.dims();
    Labelled::new(pixels, vec![0; indices.len()], rows, cols)
        .map_err(|error| Error::Usage(error.to_string()))
}

/// Contact sheet: images in rows.
struct Sheet {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Sheet {
    /// Sheet of the images `indices` of `set`, `columns` in a row, `gap` pixels apart. A gap of 2
    /// or more is grey, so that it differs from the background.
    fn new(set: &Labelled, indices: &[usize], columns: usize, gap: usize) -> Self {
        let (cols, rows) = (set.cols(), set.rows());
        let lines = indices.len().div_ceil(columns);
        let (width, height) = (columns * (cols + gap) - gap, lines * (rows + gap) - gap);
        let mut pixels = vec![if gap > 1 { 96 } else { 0 }; width * height];
        for (cell, &index) in indices.iter().enumerate() {
            let (left, top) = (cell % columns * (cols + gap), cell / columns * (rows + gap));
            let image = set.image(index).unwrap_or_default();
            for (row, line) in image.chunks_exact(cols).enumerate() {
                let start = (top + row) * width + left;
                pixels[start..start + cols].copy_from_slice(line);
            }
        }
        Self { width, height, pixels }
    }
}

/// `sheet` as text: each character shows two pixels, one above the other. On a terminal in shades
/// of grey, in a pipe in black and white.
fn half_blocks(sheet: &Sheet) -> String {
    let in_grey = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let pixel = |x: usize, y: usize| sheet.pixels.get(y * sheet.width + x).copied().unwrap_or(0);
    let line = |y: usize| {
        let cell = |x: usize| {
            let (top, bottom) =
                (pixel(x, y), if y + 1 < sheet.height { pixel(x, y + 1) } else { 0 });
            if in_grey {
                return format!(
                    "\x1b[38;2;{top};{top};{top}m\x1b[48;2;{bottom};{bottom};{bottom}m▀"
                );
            }
            match (top > 127, bottom > 127) {
                (true, true) => "█",
                (true, false) => "▀",
                (false, true) => "▄",
                (false, false) => " ",
            }
            .into()
        };
        let cells: String = (0..sheet.width).map(cell).collect();
        if in_grey { format!("{cells}\x1b[0m") } else { cells.trim_end().to_owned() }
    };
    (0..sheet.height).step_by(2).map(line).collect::<Vec<_>>().join("\n")
}

/// Writes generated digits as a folder of four IDX files, or a generated table as a CSV file.
/// `--data` reads both.
///
/// # Errors
/// [`Error::Usage`] if a count is 0 or the files exist; [`Error::Data`] if they cannot be written.
pub fn synth(synth: &Synth) -> Result<(), Error> {
    let Synth { source, out, seed, counts, force } = synth;
    for (name, count) in ["train", "test"].iter().zip(counts) {
        require(name, count, *count > 0, "at least 1")?;
    }
    let samples = counts[0].saturating_add(counts[1]);
    let (generated, target) = match source {
        Source::Classification => {
            let settings = Classification { samples, ..Classification::default() };
            (settings.check().map(|()| settings.generate(*seed)), "class")
        }
        Source::Linear => {
            let settings = Linear { samples, ..Linear::default() };
            (settings.check().map(|()| settings.generate(*seed)), "value")
        }
        _ => return write_digits(synth),
    };
    refuse_if(out.exists() && !force, out)?;
    let table = generated.map_err(|(name, got, expected)| {
        Error::Usage(format!(
            "{name}: expected {expected}, got {got} (the sum of --train and --test)"
        ))
    })?;
    replace_with(out, &table.to_csv(target))?;
    output::print(&out.display().to_string())
}

/// Writes generated digits as IDX files.
fn write_digits(synth: &Synth) -> Result<(), Error> {
    let Synth { out, seed, counts, force, .. } = synth;
    let taken = folder::FILES.iter().any(|name| out.join(name).exists());
    refuse_if(taken && !force, out)?;
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let draw = |split: usize| {
        let (pixels, labels) =
            generate(*seed, generated::STREAMS[split], counts[split] as usize, threads);
        Labelled::new(pixels, labels, SIDE as u32, SIDE as u32)
            .map_err(|error| Error::Usage(error.to_string()))
    };
    folder::write(out, &draw(0)?, &draw(1)?)?;
    output::print(&out.display().to_string())
}

/// Downloads MNIST into the cache unless it is there, and prints its folder.
///
/// # Errors
/// [`Error::Data`] if no mirror delivers it, or it cannot be stored.
pub fn fetch() -> Result<(), Error> {
    let request = Request::from_environment(Choice::Mnist, 0, generated::load);
    let Some(cache) = request.cache.clone() else {
        return Err(Error::Usage(
            "cache: expected a folder, got none; set HOME or EVENKEEL_CACHE".into(),
        ));
    };
    // Searches no other folder, so that the files end up in the cache.
    let request = Request { mnist_dir: None, search: Vec::new(), ..request };
    let mut terminal = Terminal::default();
    let dataset = load(&request, &mut |event| terminal.on_event(event))?;
    match dataset.origin {
        Origin::Folder(folder) | Origin::Downloaded { into: Some(folder), .. } => {
            output::print(&folder.display().to_string())
        }
        _ => {
            Err(DataError::io("keep MNIST in", &cache)(std::io::ErrorKind::PermissionDenied.into())
                .into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sheet_has_images_in_rows() {
        let set =
            Labelled::new((1..=12).collect(), vec![0, 1, 2], 2, 2).expect("three images of 2 x 2");
        let sheet = Sheet::new(&set, &[0, 1, 2], 2, 2);
        assert_eq!((sheet.width, sheet.height), (6, 6));
        assert_eq!(sheet.pixels[..6], [1, 2, 96, 96, 5, 6]);
        assert_eq!(sheet.pixels[4 * 6..4 * 6 + 3], [9, 10, 96]);
    }

    #[test]
    fn images_in_a_pipe_are_black_and_white() {
        let sheet = Sheet {
            width: 4,
            height: 3,
            pixels: vec![255, 255, 0, 0, 255, 0, 255, 0, 0, 0, 0, 200],
        };
        assert_eq!(half_blocks(&sheet), "█▀▄\n   ▀");
    }
}
