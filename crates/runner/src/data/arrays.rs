//! NumPy arrays as a data set: an `.npz` archive, or a folder of `.npy` files.
//!
//! ```text
//! x_train y_train x_test y_test           as in Keras' mnist.npz
//! x_train y_train, or x y                 a part is held out as the test set
//! x  [n, features] or [n, rows, cols]     bytes are scaled to 0..1, other numbers are unchanged
//! y  [n] or [n, 1]                        integers are classes, other numbers regression targets
//! ```
//!
//! An archive is ZIP, with or without compression. [`load`](super::load) reads data sets with this.

use std::fs;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

use zip::ZipArchive;
use zip::result::ZipError;

use crate::data::error::{DataError, Fault};
use crate::data::labelled::{Inputs, Labelled, Targets};
use crate::data::npy::{Elements, Npy};
use crate::data::rounding::Rounding;
use crate::data::{Event, npy};

/// Names of inputs and targets: of the training set, in two spellings, and of the test set.
const PAIRS: [[&str; 2]; 3] = [["x_train", "y_train"], ["x", "y"], ["x_test", "y_test"]];

/// A training set, and a test set if the arrays have one.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrays {
    /// Training set.
    pub train: Labelled,
    /// Test set, of the same shape.
    pub test: Option<Labelled>,
}

/// `true` if `folder` holds arrays that form a data set.
pub fn are_in(folder: &Path) -> bool {
    PAIRS[..2].iter().any(|[x, _]| folder.join(format!("{x}.npy")).is_file())
}

/// Reads the arrays in `folder`.
///
/// # Errors
/// As for [`parse`].
pub fn read_folder(
    folder: &Path,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Arrays, DataError> {
    data_set(folder, on_event, |name| {
        let path = folder.join(format!("{name}.npy"));
        if !path.is_file() {
            return Ok(None);
        }
        let file = fs::File::open(&path).map_err(DataError::io("read", &path))?;
        Ok(Some((npy::parse(std::io::BufReader::new(file), &path)?, path)))
    })
}

/// Reads the archive in `input`, the contents of the file `path`.
///
/// # Errors
/// [`DataError::Malformed`] if it is no archive, an array is missing or malformed, shapes do not
/// match, an array is empty, or a class is outside 0 to 255; [`DataError::Io`] if it cannot be
/// read.
pub fn parse(
    input: impl Read + Seek,
    path: &Path,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Arrays, DataError> {
    let mut archive = ZipArchive::new(input).map_err(|error| damaged(path, error))?;
    data_set(path, on_event, |name| {
        // The name that errors print.
        let member = path.join(name);
        match archive.by_name(&format!("{name}.npy")) {
            Ok(file) => Ok(Some((npy::parse(file, &member)?, member))),
            Err(ZipError::FileNotFound) => Ok(None),
            Err(error) => Err(damaged(path, error)),
        }
    })
}

fn damaged(path: &Path, error: ZipError) -> DataError {
    match error {
        ZipError::Io(cause) => DataError::io("read", path)(cause),
        other => DataError::malformed(path, Fault::Archive, "an archive of arrays (.npz)", other),
    }
}

/// Builds the data set from the arrays that `array` finds by name. Emits one notice for the first
/// array that loses precision by rounding.
fn data_set(
    path: &Path,
    on_event: &mut dyn FnMut(Event<'_>),
    mut array: impl FnMut(&str) -> Result<Option<(Npy, PathBuf)>, DataError>,
) -> Result<Arrays, DataError> {
    let mut rounding_notice = None;
    let mut set = |[x, y]: [&str; 2]| match (array(x)?, array(y)?) {
        (None, None) => Ok(None),
        (Some((inputs, x)), Some((targets, y))) => {
            let (set, notice) = labelled(inputs, &x, targets, &y)?;
            rounding_notice = rounding_notice.take().or(notice);
            Ok(Some((set, x, y)))
        }
        (found, _) => {
            let found = if found.is_some() { format!("{x} alone") } else { format!("{y} alone") };
            Err(DataError::malformed(path, Fault::Array, format!("both {x} and {y}"), found))
        }
    };
    let train = match set(PAIRS[0])? {
        Some(train) => Some(train),
        None => set(PAIRS[1])?,
    };
    let Some((train, _, y)) = train else {
        let expected = "the arrays x_train and y_train, or x and y";
        return Err(DataError::malformed(path, Fault::Array, expected, "none of them"));
    };
    let test = set(PAIRS[2])?;
    if let Some(notice) = rounding_notice {
        on_event(Event::Notice(&notice));
    }
    let Some((test, x_test, y_test)) = test else { return Ok(Arrays { train, test: None }) };
    if (test.shape(), std::mem::discriminant(test.inputs()))
        != (train.shape(), std::mem::discriminant(train.inputs()))
    {
        let description = |set: &Labelled| match set.inputs() {
            Inputs::Bytes(_) => format!("bytes, {}", set.shape()),
            Inputs::Numbers(_) => format!("numbers, {}", set.shape()),
        };
        return Err(DataError::malformed(
            &x_test,
            Fault::Shape,
            description(&train),
            description(&test),
        ));
    }
    match (train.targets(), test.targets()) {
        (Targets::Values(_), Targets::Values(_)) => {}
        (Targets::Classes(train), Targets::Classes(test)) => {
            let classes = train.iter().max().map_or(0, |&largest| usize::from(largest) + 1);
            if let Some(at) = test.iter().position(|&label| usize::from(label) >= classes) {
                let found = format!("{} at index {at}", test[at]);
                let expected = format!("labels below {classes}, as in {}", y.display());
                return Err(DataError::malformed(&y_test, Fault::LabelRange, expected, found));
            }
        }
        _ => {
            let expected = "integers in both y_train and y_test, or in neither";
            return Err(DataError::malformed(&y_test, Fault::ElementType, expected, "one of each"));
        }
    }
    Ok(Arrays { train, test: Some(test) })
}

/// Joins examples and targets, read from the arrays `x` and `y`. Returns the notice about rounding
/// with them.
fn labelled(
    inputs: Npy,
    x: &Path,
    targets: Npy,
    y: &Path,
) -> Result<(Labelled, Option<String>), DataError> {
    let inputs = Examples::new(inputs, x)?;
    let notice = inputs.rounding.notice(x).or_else(|| targets.rounding.notice(y));
    let count = inputs.count;
    if targets.shape != [count] && targets.shape != [count, 1] {
        let expected = format!("the shape ({count},), a target for each example");
        return Err(DataError::malformed(
            y,
            Fault::Pairs,
            expected,
            format!("{:?}", targets.shape),
        ));
    }
    let targets = match targets.elements {
        Elements::Bytes(labels) => Targets::Classes(labels),
        Elements::Floats(values) => Targets::Values(values),
        Elements::Integers(labels) => {
            let class = |(at, label): (usize, i64)| {
                u8::try_from(label).map_err(|_| {
                    let found = format!("{label} at index {at}");
                    let expected = "labels from 0 to 255 (regression targets are floats: \
                                    .astype(\"float32\"))";
                    DataError::malformed(y, Fault::LabelRange, expected, found)
                })
            };
            Targets::Classes(labels.into_iter().enumerate().map(class).collect::<Result<_, _>>()?)
        }
    };
    Ok((inputs.labelled(targets, x)?, notice))
}

/// Examples without targets.
#[derive(Clone, Debug, PartialEq)]
pub struct Examples {
    /// Number of examples, at least 1.
    pub count: usize,
    /// Rows of an image; `None` for a table.
    pub rows: Option<u32>,
    /// Columns of an image or a table.
    pub cols: u32,
    /// Inputs of all examples.
    pub inputs: Inputs,
    /// Precision lost by rounding to f32.
    pub rounding: Rounding,
}

impl Examples {
    /// Converts `array`, read from `path`.
    ///
    /// # Errors
    /// [`DataError::Malformed`] if its rank is not 2 or 3, or it is empty.
    pub fn new(array: Npy, path: &Path) -> Result<Self, DataError> {
        let expected = "the shape (examples, features) or (examples, rows, columns)";
        let malformed =
            |fault| DataError::malformed(path, fault, expected, format!("{:?}", array.shape));
        let side = |side: usize| u32::try_from(side).map_err(|_| malformed(Fault::Length));
        let (count, rows, cols) = match array.shape[..] {
            [count, cols] => (count, None, side(cols)?),
            [count, rows, cols] | [count, rows, cols, 1] => (count, Some(side(rows)?), side(cols)?),
            _ => return Err(malformed(Fault::Rank)),
        };
        if array.shape.contains(&0) {
            return Err(malformed(Fault::Empty));
        }
        let mut rounding = array.rounding;
        let inputs = match array.elements {
            Elements::Bytes(bytes) => Inputs::Bytes(bytes),
            Elements::Integers(integers) => {
                let rounded = |(at, integer): (usize, i64)| {
                    rounding.integer(integer, integer as f32, || npy::position(&array.shape, at));
                    integer as f32
                };
                Inputs::Numbers(integers.into_iter().enumerate().map(rounded).collect())
            }
            Elements::Floats(numbers) => Inputs::Numbers(numbers),
        };
        Ok(Self { count, rows, cols, inputs, rounding })
    }

    /// Adds the targets of the examples.
    ///
    /// # Errors
    /// [`DataError::Malformed`] if the number of examples exceeds `u32`.
    pub fn labelled(self, targets: Targets, path: &Path) -> Result<Labelled, DataError> {
        match self.rows {
            Some(rows) => Labelled::images(self.inputs, targets, rows, self.cols),
            None => Labelled::table(self.inputs, targets, self.cols),
        }
        .map_err(|mismatch| {
            DataError::malformed(path, Fault::Length, "fewer than 2^32 examples", mismatch)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn array(shape: &[usize], elements: Elements) -> Npy {
        Npy { shape: shape.to_vec(), elements, rounding: Rounding::default() }
    }

    fn bytes(shape: &[usize]) -> Npy {
        array(shape, Elements::Bytes(vec![1; shape.iter().product()]))
    }

    fn read(arrays: &[(&str, Npy)]) -> Result<Arrays, String> {
        let arrays: HashMap<_, _> = arrays.iter().cloned().collect();
        let found =
            |name: &str| Ok(arrays.get(name).map(|array| (array.clone(), PathBuf::from(name))));
        data_set(Path::new("set"), &mut |_| {}, found).map_err(|error| error.to_string())
    }

    #[test]
    fn arrays_are_read_as_images_or_rows_with_classes_or_values() {
        let integers = |labels: &[i64]| array(&[labels.len()], Elements::Integers(labels.to_vec()));
        let set = read(&[("x", bytes(&[3, 2, 2])), ("y", integers(&[0, 2, 1]))]).expect("images");
        assert_eq!(
            (set.train.dims(), set.train.labels(), set.test),
            ([3, 2, 2], &[0, 2, 1][..], None)
        );
        let floats =
            |shape: &[usize]| array(shape, Elements::Floats(vec![0.5; shape.iter().product()]));
        let set = read(&[
            ("x_train", floats(&[3, 4])),
            ("y_train", floats(&[3, 1])),
            ("x_test", floats(&[2, 4])),
            ("y_test", floats(&[2])),
        ]);
        let set = set.expect("rows");
        assert_eq!(set.train.shape(), nn::Shape::Features(4));
        assert_eq!(set.test.expect("a test set").targets(), &Targets::Values(vec![0.5; 2]));
    }

    #[test]
    fn errors_name_the_array_that_does_not_match() {
        let (x, y) =
            (("x_train", bytes(&[2, 3])), ("y_train", array(&[2], Elements::Bytes(vec![0, 1]))));
        let labels = |labels: &[i64]| array(&[labels.len()], Elements::Integers(labels.to_vec()));
        let base = [x.clone(), y.clone()];
        let with = |more: &[(&'static str, Npy)]| [&base[..], more].concat();
        for (arrays, expected) in [
            (vec![], "x_train and y_train, or x and y, found none"),
            (vec![x.clone()], "both x_train and y_train, found x_train alone"),
            (vec![x.clone(), ("y_train", labels(&[0, 1, 1]))], "y_train: arrays differ in length"),
            (vec![x.clone(), ("y_train", labels(&[0, 256]))], "found 256 at index 1"),
            (vec![x.clone(), ("y_train", labels(&[-1, 0]))], "found -1 at index 0"),
            (vec![("x_train", bytes(&[2])), y.clone()], "(examples, features)"),
            (vec![("x_train", bytes(&[2, 0])), y.clone()], "empty"),
            (vec![("x_train", bytes(&[2, 4, 4, 3])), y.clone()], "[2, 4, 4, 3]"),
            (
                with(&[("x_test", bytes(&[2, 4])), ("y_test", labels(&[0, 1]))]),
                "x_test: test examples differ",
            ),
            (with(&[("x_test", bytes(&[2, 3])), ("y_test", labels(&[0, 2]))]), "labels below 2"),
            (
                with(&[
                    ("x_test", bytes(&[1, 3])),
                    ("y_test", array(&[1], Elements::Floats(vec![1.0]))),
                ]),
                "integers in both",
            ),
        ] {
            let error = read(&arrays).expect_err(expected);
            assert!(error.contains(expected), "{error}");
        }
    }
}
