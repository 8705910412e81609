//! A folder of four IDX files: training images, test images, and the labels of both. The form of
//! MNIST, of its variants (Fashion-MNIST, KMNIST, EMNIST) and of cached generated digits.
//!
//! ```text
//! train-images-idx3-ubyte   count x rows x cols     t10k-images-idx3-ubyte   count x rows x cols
//! train-labels-idx1-ubyte   count                   t10k-labels-idx1-ubyte   count
//! ```
//!
//! Each may end in `.gz`, and may be spelled with a dot before `idx`, as on some mirrors. Called by
//! [`load`](super::load), and by the cache of generated digits.

use std::path::{Path, PathBuf};
use std::thread;

use crate::data::error::{DataError, Fault};
use crate::data::idx;
use crate::data::idx::Array;
use crate::data::labelled::Labelled;

/// Names of the four files: train images, train labels, test images, test labels.
pub const FILES: [&str; 4] = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
];

/// Contents of a folder.
#[derive(Debug)]
pub struct Contents {
    /// Number of classes; every label is below it.
    pub classes: usize,
    /// Training set.
    pub train: Labelled,
    /// Test set; its images have the size of those of `train`.
    pub test: Labelled,
}

/// Finds the four [`FILES`] in `folder`. Prefers raw files to gzipped ones: they are faster to
/// read.
///
/// # Errors
/// [`DataError::Missing`], with the names of all missing files; [`DataError::Io`] if the folder
/// cannot be searched.
pub fn locate(folder: &Path) -> Result<[PathBuf; 4], DataError> {
    let mut found = [const { None }; 4];
    for (name, found) in FILES.iter().zip(&mut found) {
        let dotted = name.replacen("-idx", ".idx", 1);
        for spelling in
            [(*name).to_string(), dotted.clone(), format!("{name}.gz"), format!("{dotted}.gz")]
        {
            let path = folder.join(spelling);
            if path.try_exists().map_err(DataError::io("look for", &path))? {
                *found = Some(path);
                break;
            }
        }
    }
    match found {
        [Some(a), Some(b), Some(c), Some(d)] => Ok([a, b, c, d]),
        _ => {
            let missing = FILES.iter().zip(&found).filter(|(_, found)| found.is_none());
            let files = missing.map(|(name, _)| *name).collect();
            Err(DataError::Missing { folder: folder.to_path_buf(), files })
        }
    }
}

/// Reads the four files `paths`, found by [`locate`]: the training and the test set in parallel.
///
/// `classes` is the number of classes; `None` takes the largest training label plus 1.
///
/// # Errors
/// [`DataError::Malformed`] if a file breaks a rule of [`idx`], images and labels differ in number,
/// a label is not below `classes`, or training and test images differ in size; [`DataError::Io`] if
/// a file cannot be read.
pub fn read(paths: &[PathBuf; 4], classes: Option<usize>) -> Result<Contents, DataError> {
    let [train_images, train_labels, test_images, test_labels] = paths;
    let (train, test) = thread::scope(|scope| {
        let train = scope.spawn(|| pair(train_images, train_labels));
        let test = pair(test_images, test_labels);
        (train.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), test)
    });
    let (train, test) = (train?, test?);

    if train.dims()[1..] != test.dims()[1..] {
        let size = |set: &Labelled| format!("{} x {}", set.rows(), set.cols());
        return Err(DataError::malformed(test_images, Fault::ImageSize, size(&train), size(&test)));
    }
    let largest = train.labels().iter().max().map_or(0, |&label| usize::from(label));
    let classes = classes.unwrap_or(largest + 1);
    for (path, set) in [(train_labels, &train), (test_labels, &test)] {
        if let Some(at) = set.labels().iter().position(|&label| usize::from(label) >= classes) {
            let found = format!("{} at index {at}", set.labels()[at]);
            return Err(DataError::malformed(
                path,
                Fault::LabelRange,
                format!("labels below {classes}"),
                found,
            ));
        }
    }
    Ok(Contents { classes, train, test })
}

/// Writes `train` and `test` into `folder` as four raw files. Creates the folder if necessary.
///
/// # Errors
/// [`DataError::Malformed`] if a set is empty; [`DataError::Io`] if a file cannot be written.
pub fn write(folder: &Path, train: &Labelled, test: &Labelled) -> Result<(), DataError> {
    let [train_images, train_labels, test_images, test_labels] =
        FILES.map(|name| folder.join(name));
    for (images, labels, set) in
        [(train_images, train_labels, train), (test_images, test_labels, test)]
    {
        let [count, rows, cols] = set.dims();
        idx::write(&images, [count, rows, cols], set.pixels())?;
        idx::write(&labels, [count], set.labels())?;
    }
    Ok(())
}

/// Reads the images of one file and the labels of another.
fn pair(images: &Path, labels: &Path) -> Result<Labelled, DataError> {
    let Array { dims: [count, rows, cols], data: pixels } = Array::read(images)?;
    let Array { dims: [label_count], data: label_values } = Array::read(labels)?;
    Labelled::new(pixels, label_values, rows, cols).map_err(|_| {
        let (expected, found) = (format!("{count} labels"), label_count);
        DataError::malformed(labels, Fault::Count, expected, found)
    })
}
