//! `evenkeel data`: looks at a data set, draws some of its images, generates one, or downloads MNIST.

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

/// Pixels between the images of a sheet.
const GAP: usize = 2;

/// One of the two parts of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// The training set.
    Train,
    /// The test set.
    Test,
}

/// Which images are drawn, and where.
#[derive(Clone, Debug)]
pub struct Show {
    /// Of which set: what a run of this configuration would load.
    pub config: Config,
    /// Of which part.
    pub part: Part,
    /// How many.
    pub count: usize,
    /// Of this class alone.
    pub class: Option<usize>,
    /// The epoch, from 1, as whose training they are augmented by the configuration; `None` draws them as they are.
    pub epoch: Option<u32>,
    /// The PNG file to write; `None` draws on the terminal.
    pub out: Option<PathBuf>,
    /// Whether it may be there already.
    pub force: bool,
}

/// What is generated.
#[derive(Clone, Debug)]
pub struct Synth {
    /// What: digits, or one of the tables.
    pub source: Source,
    /// The folder to write, or the file of a table.
    pub out: PathBuf,
    /// What every draw depends on.
    pub seed: u64,
    /// Training and test images; of tables, their sum is the number of rows.
    pub counts: [u32; 2],
    /// Whether the files may be there already.
    pub force: bool,
}

#[derive(Serialize)]
struct Info {
    name: String,
    origin: String,
    generated: bool,
    classes: usize,
    rows: usize,
    cols: usize,
    /// The names of a table's columns.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    columns: Vec<String>,
    /// Those of its classes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    class_names: Vec<String>,
    train: PartInfo,
    test: PartInfo,
}

#[derive(Serialize)]
struct PartInfo {
    images: usize,
    /// Images of each class.
    counts: Vec<usize>,
    /// Mean of the pixels, 0 to 1, or of all numbers.
    mean: f64,
    /// Their standard deviation.
    std: f64,
    /// SHA-256 of the uncompressed IDX files; of what is not in bytes, of the same header before little-endian numbers.
    images_sha256: String,
    labels_sha256: String,
    /// Whether both are MNIST's.
    is_mnist: bool,
}

/// Prints what the data set holds that a run of this configuration would load.
///
/// # Errors
/// [`Error::Data`] if it cannot be had.
pub fn info(config: &Config, json: bool) -> Result<(), Error> {
    let dataset = setup::load(config)?;
    let [train, test] = [(&dataset.train, 0), (&dataset.test, 2)]
        .map(|(set, published)| PartInfo::new(set, dataset.classes, published));
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
    for (what, names) in [("columns", &info.columns), ("classes", &info.class_names)] {
        if !names.is_empty() {
            lines.push(format!("{what}: {}", escape::name(&names.join(", "))));
        }
    }
    for (part, of) in [("train", &info.train), ("test", &info.test)] {
        let counts: String = of.counts.iter().map(|count| format!(" {count}")).collect();
        let mnist = if of.is_mnist { ", MNIST's" } else { "" };
        let (what, numbers) = match dataset.train.noun() {
            "images" => ("images", "pixels "),
            rows => (rows, "numbers"),
        };
        lines.push(format!("\n{part}: {} {what}{mnist}", of.images));
        if !of.counts.is_empty() {
            lines.push(format!("  by class     {counts}"));
        }
        let (mean, std) = (of.mean, of.std);
        let scale =
            if matches!(dataset.train.inputs(), Inputs::Bytes(_)) { " (of 0 to 1)" } else { "" };
        lines.push(format!("  {numbers}       mean {mean:.4}, standard deviation {std:.4}{scale}"));
        lines.push(format!(
            "  {what:<6} SHA-256  {}\n  labels SHA-256  {}",
            of.images_sha256, of.labels_sha256
        ));
    }
    output::print(&lines.join("\n"))
}

impl PartInfo {
    /// Of `set`, whose images would be file number `published` of MNIST's.
    fn new(set: &Labelled, classes: usize, published: usize) -> Self {
        let mut counts = vec![0; classes];
        for &label in set.labels() {
            counts[usize::from(label)] += 1;
        }
        let bytes =
            |numbers: &[f32]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        let (mean, std, data) = match set.inputs() {
            Inputs::Bytes(bytes) => {
                // Sums of integers: exact.
                let (sum, squares) = bytes.iter().fold((0_u64, 0_u64), |(sum, squares), &pixel| {
                    (sum + u64::from(pixel), squares + u64::from(pixel) * u64::from(pixel))
                });
                let count = bytes.len() as f64;
                let mean = sum as f64 / count;
                let variance = (squares as f64 / count - mean * mean).max(0.0);
                (mean / 255.0, variance.sqrt() / 255.0, Cow::from(bytes))
            }
            Inputs::Numbers(numbers) => {
                let of = |value: &dyn Fn(f64) -> f64| {
                    numbers.iter().map(|&number| value(number.into())).sum::<f64>()
                        / numbers.len() as f64
                };
                let mean = of(&|number| number);
                let variance = of(&|number| (number - mean) * (number - mean));
                (mean, variance.sqrt(), Cow::Owned(bytes(numbers)))
            }
        };
        let targets = match set.targets() {
            Targets::Classes(classes) => Cow::from(classes),
            Targets::Values(values) => Cow::Owned(bytes(values)),
        };
        let images_sha256 = sha256(&set.dims(), &data);
        let labels_sha256 = sha256(&set.dims()[..1], &targets);
        let [images, labels] = [published, published + 1].map(|at| mnist::PUBLISHED[at].sha256);
        let is_mnist = images_sha256 == images && labels_sha256 == labels;
        Self { images: set.len(), counts, mean, std, images_sha256, labels_sha256, is_mnist }
    }
}

/// Of the IDX file of shape `dims` that holds `data`.
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
/// [`Error::Data`] if it cannot be had, [`Error::Usage`] if there are no such images, or the file is there already.
pub fn show(show: &Show) -> Result<(), Error> {
    if let Some(out) = &show.out {
        refuse_if(out.exists() && !show.force, out)?;
    }
    let dataset = setup::load(&show.config)?;
    let set = match show.part {
        Part::Train => &dataset.train,
        Part::Test => &dataset.test,
    };
    let class = |index: usize| set.labels().get(index).map(|&label| usize::from(label));
    let wanted = |index: &usize| show.class.is_none_or(|wanted| class(*index) == Some(wanted));
    if !matches!(set.shape(), Shape::Image { .. }) {
        return Err(Error::Usage(format!(
            "data: expected images to draw, got {}, a table",
            dataset.name
        )));
    }
    let indices: Vec<_> = (0..set.len()).filter(wanted).take(show.count).collect();
    if indices.is_empty() {
        let class = show.class.map_or_else(|| "any".into(), |class| class.to_string());
        return Err(Error::Usage(format!(
            "images: expected at least one, got none of class {class} (there are {}) with --count {}",
            dataset.classes, show.count
        )));
    }
    let labels: Vec<_> = indices.iter().filter_map(|&index| set.labels().get(index)).collect();
    let set = &seen(show, set, &indices)?;
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

/// The images `indices` of `set` as they are drawn: in bytes, and augmented where that is asked for.
fn seen(show: &Show, set: &Labelled, indices: &[usize]) -> Result<Labelled, Error> {
    let indices: Vec<u32> = indices.iter().map(|&index| index as u32).collect();
    let (list, seed, isa) = (&show.config.augment[..], show.config.seed, setup::isa(&show.config)?);
    let augmentation =
        show.epoch.map(|epoch| Augmentation { list, seed, epoch: epoch.saturating_sub(1), isa });
    let mut rows = BatchBuffers::<f32>::new(isa, indices.len(), set.image_len())?;
    let numbers = rows.fill_augmented(set, &indices, augmentation)?.inputs;
    // A byte / 255 * 255 is rounded to that byte.
    let pixels =
        numbers.iter().map(|number| (255.0 * number).clamp(0.0, 255.0).round() as u8).collect();
    let [_, rows, cols] = set.dims();
    Labelled::new(pixels, vec![0; indices.len()], rows, cols)
        .map_err(|error| Error::Usage(error.to_string()))
}

/// Images side by side.
struct Sheet {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Sheet {
    /// The images `indices` of `set`, `columns` in a row, so many grey pixels apart.
    fn new(set: &Labelled, indices: &[usize], columns: usize, gap: usize) -> Self {
        let (cols, rows) = (set.cols(), set.rows());
        let lines = indices.len().div_ceil(columns);
        let (width, height) = (columns * (cols + gap) - gap, lines * (rows + gap) - gap);
        let mut pixels = vec![if gap > 1 { 96 } else { 0 }; width * height];
        for (place, &index) in indices.iter().enumerate() {
            let (left, top) = (place % columns * (cols + gap), place / columns * (rows + gap));
            let image = set.image(index).unwrap_or_default();
            for (row, line) in image.chunks_exact(cols).enumerate() {
                let start = (top + row) * width + left;
                pixels[start..start + cols].copy_from_slice(line);
            }
        }
        Self { width, height, pixels }
    }
}

/// A picture for a terminal: two pixels, one above the other, a character. On a terminal in shades of grey, in a pipe in ink and
/// paper.
fn half_blocks(sheet: &Sheet) -> String {
    let shades = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let pixel = |x: usize, y: usize| sheet.pixels.get(y * sheet.width + x).copied().unwrap_or(0);
    let line = |y: usize| {
        let cell = |x: usize| {
            let (top, bottom) =
                (pixel(x, y), if y + 1 < sheet.height { pixel(x, y + 1) } else { 0 });
            if shades {
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
        if shades { format!("{cells}\x1b[0m") } else { cells.trim_end().to_owned() }
    };
    (0..sheet.height).step_by(2).map(line).collect::<Vec<_>>().join("\n")
}

/// Writes generated digits as a folder of four IDX files, or a generated table as a CSV file; `--data` takes both.
///
/// # Errors
/// [`Error::Usage`] if there are to be no images, or the folder has files in it; [`Error::Data`] if it cannot be written.
pub fn synth(synth: &Synth) -> Result<(), Error> {
    let Synth { source, out, seed, counts, force } = synth;
    for (name, count) in ["train", "test"].iter().zip(counts) {
        require(name, count, *count > 0, "at least 1")?;
    }
    let samples = counts[0].saturating_add(counts[1]);
    let (made, target) = match source {
        Source::Classification => {
            let settings = Classification { samples, ..Classification::default() };
            (settings.check().map(|()| settings.generate(*seed)), "class")
        }
        Source::Linear => {
            let settings = Linear { samples, ..Linear::default() };
            (settings.check().map(|()| settings.generate(*seed)), "value")
        }
        _ => return digits(synth),
    };
    refuse_if(out.exists() && !force, out)?;
    let made = made.map_err(|(name, got, expected)| {
        Error::Usage(format!(
            "{name}: expected {expected}, got {got} (the sum of --train and --test)"
        ))
    })?;
    let made = made.map_err(|error| Error::Usage(error.to_string()))?;
    replace_with(out, &made.to_csv(target))?;
    output::print(&out.display().to_string())
}

/// Writes generated digits.
fn digits(synth: &Synth) -> Result<(), Error> {
    let Synth { out, seed, counts, force, .. } = synth;
    let taken = folder::FILES.iter().any(|name| out.join(name).exists());
    refuse_if(taken && !force, out)?;
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let draw = |part: usize| {
        let (pixels, labels) =
            generate(*seed, generated::STREAMS[part], counts[part] as usize, threads);
        Labelled::new(pixels, labels, SIDE as u32, SIDE as u32)
            .map_err(|error| Error::Usage(error.to_string()))
    };
    folder::write(out, &draw(0)?, &draw(1)?)?;
    output::print(&out.display().to_string())
}

/// Downloads MNIST into the cache, unless it is there; prints where it is.
///
/// # Errors
/// [`Error::Data`] if no mirror delivers it, or it cannot be stored.
pub fn fetch() -> Result<(), Error> {
    let request = Request::from_environment(Choice::Mnist, 0, generated::load);
    let Some(cache) = request.cache.clone() else {
        return Err(Error::Usage(
            "cache: expected a folder, got none: set HOME or EVENKEEL_CACHE".into(),
        ));
    };
    // Wherever else it may be, it is to be in the cache.
    let request = Request { mnist_dir: None, places: Vec::new(), ..request };
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
    fn a_sheet_has_every_image_in_its_place() {
        let set =
            Labelled::new((1..=12).collect(), vec![0, 1, 2], 2, 2).expect("as many as it takes");
        let sheet = Sheet::new(&set, &[0, 1, 2], 2, 2);
        assert_eq!((sheet.width, sheet.height), (6, 6));
        assert_eq!(sheet.pixels[..6], [1, 2, 96, 96, 5, 6]);
        assert_eq!(sheet.pixels[4 * 6..4 * 6 + 3], [9, 10, 96]);
    }

    #[test]
    fn in_a_pipe_there_is_ink_and_paper() {
        let sheet = Sheet {
            width: 4,
            height: 3,
            pixels: vec![255, 255, 0, 0, 255, 0, 255, 0, 0, 0, 0, 200],
        };
        assert_eq!(half_blocks(&sheet), "█▀▄\n   ▀");
    }
}
