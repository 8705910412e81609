//! Labelled examples in memory: images in bytes or rows of numbers, each with a class or a value.
//!
//! [`folder`](super::folder), [`table`](super::table) and [`arrays`](super::arrays) read them,
//! [`Split`](super::Split) divides them, and [`gather`](super::gather) converts those of a batch.

use nn::Shape;
use sha2::{Digest, Sha256};

use crate::data::digest::hex;

/// Inputs of all examples, row-major.
#[derive(Clone, Debug, PartialEq)]
pub enum Inputs {
    /// Bytes, which a batch scales from 0..=255 to 0..=1.
    Bytes(Vec<u8>),
    /// Finite numbers, which a batch copies unchanged.
    Numbers(Vec<f32>),
}

impl Inputs {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Numbers(numbers) => numbers.len(),
        }
    }

    /// `true` if there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Size in memory, in bytes.
    pub fn size(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Numbers(numbers) => size_of_val(&numbers[..]),
        }
    }
}

/// Targets of all examples.
#[derive(Clone, Debug, PartialEq)]
pub enum Targets {
    /// Classes.
    Classes(Vec<u8>),
    /// Finite numbers, for regression.
    Values(Vec<f32>),
    /// The inputs themselves, of so many examples: for an autoencoder.
    Inputs(usize),
}

impl Targets {
    /// Number of targets.
    pub fn len(&self) -> usize {
        match self {
            Self::Classes(classes) => classes.len(),
            Self::Values(values) => values.len(),
            Self::Inputs(count) => *count,
        }
    }

    /// `true` if there are no targets.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Returns the plural noun for examples of `shape`: `images`, or `rows` of a table.
pub fn noun(shape: Shape) -> &'static str {
    match shape {
        Shape::Image { .. } => "images",
        _ => "rows",
    }
}

/// Examples of one shape with their targets. Images are row-major; bytes run from 0 (background) to
/// 255.
///
/// The constructors check that inputs, targets and shape match.
#[derive(Clone, Debug, PartialEq)]
pub struct Labelled {
    inputs: Inputs,
    targets: Targets,
    shape: Shape,
    dims: [u32; 3],
}

/// Number of inputs that does not match the number of targets and the shape of an example, or more
/// targets than fit into `u32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{labels} labels with images of {rows} x {cols} do not make {pixels} pixels")]
pub struct SizeMismatch {
    /// Number of pixels.
    pub pixels: usize,
    /// Number of labels.
    pub labels: usize,
    /// Rows of an image, at least 1.
    pub rows: u32,
    /// Columns of an image, at least 1.
    pub cols: u32,
}

impl Labelled {
    /// Creates a set of `labels.len()` images of `rows` x `cols`: `pixels` is `[images, rows,
    /// cols]`.
    ///
    /// # Errors
    /// [`SizeMismatch`] unless `pixels.len()` is the product of the three, `rows` and `cols` are at
    /// least 1, and the number of images fits into `u32`.
    pub fn new(
        pixels: Vec<u8>,
        labels: Vec<u8>,
        rows: u32,
        cols: u32,
    ) -> Result<Self, SizeMismatch> {
        Self::images(Inputs::Bytes(pixels), Targets::Classes(labels), rows, cols)
    }

    /// Creates a set of images from inputs and targets of any type.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn images(
        inputs: Inputs,
        targets: Targets,
        rows: u32,
        cols: u32,
    ) -> Result<Self, SizeMismatch> {
        let shape = Shape::Image { height: rows as usize, width: cols as usize, channels: 1 };
        Self::with_shape(inputs, targets, shape, rows, cols)
    }

    /// Creates a set of `targets.len()` rows of a table: `inputs` is `[rows, columns]`.
    ///
    /// # Errors
    /// As for [`new`](Self::new), with one row of pixels per example.
    pub fn table(inputs: Inputs, targets: Targets, columns: u32) -> Result<Self, SizeMismatch> {
        Self::with_shape(inputs, targets, Shape::Features(columns as usize), 1, columns)
    }

    fn with_shape(
        inputs: Inputs,
        targets: Targets,
        shape: Shape,
        rows: u32,
        cols: u32,
    ) -> Result<Self, SizeMismatch> {
        let mismatch = SizeMismatch { pixels: inputs.len(), labels: targets.len(), rows, cols };
        let count = u32::try_from(targets.len()).map_err(|_| mismatch)?;
        let product = [count, rows, cols]
            .iter()
            .try_fold(1, |so_far: u64, &dim| so_far.checked_mul(dim.into()));
        if rows == 0 || cols == 0 || product != Some(inputs.len() as u64) {
            return Err(mismatch);
        }
        Ok(Self { inputs, targets, shape, dims: [count, rows, cols] })
    }

    /// The examples `indices`, in this order. Indices beyond the last are left out.
    #[must_use]
    pub fn subset(&self, indices: &[u32]) -> Self {
        fn taken<T: Copy>(values: &[T], width: usize, indices: &[u32]) -> Vec<T> {
            let example = |&index: &u32| values.get(index as usize * width..)?.get(..width);
            indices.iter().filter_map(example).flatten().copied().collect()
        }
        let inputs = match &self.inputs {
            Inputs::Bytes(bytes) => Inputs::Bytes(taken(bytes, self.image_len(), indices)),
            Inputs::Numbers(numbers) => Inputs::Numbers(taken(numbers, self.image_len(), indices)),
        };
        let targets = match &self.targets {
            Targets::Classes(classes) => Targets::Classes(taken(classes, 1, indices)),
            Targets::Values(values) => Targets::Values(taken(values, 1, indices)),
            Targets::Inputs(_) => Targets::Inputs(inputs.len() / self.image_len().max(1)),
        };
        let [_, rows, cols] = self.dims;
        let dims = [targets.len() as u32, rows, cols];
        Self { inputs, targets, shape: self.shape, dims }
    }

    /// Examples of the same number and shape with these inputs and targets.
    ///
    /// # Panics
    /// If there are not as many of them.
    #[must_use]
    pub(crate) fn with_contents(&self, inputs: Inputs, targets: Targets) -> Self {
        assert_eq!((inputs.len(), targets.len()), (self.inputs.len(), self.targets.len()));
        Self { inputs, targets, ..*self }
    }

    /// The same examples, with the inputs as targets.
    #[must_use]
    pub(crate) fn reconstructing(self) -> Self {
        Self { targets: Targets::Inputs(self.len()), ..self }
    }

    /// Number of examples.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// `true` if there are no examples.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// Indices of all examples.
    pub fn indices(&self) -> std::ops::Range<u32> {
        0..self.dims[0]
    }

    /// Returns the SHA-256 of all examples and targets of a training and a test set.
    pub fn sha256(sets: [&Self; 2]) -> String {
        let mut hash = Sha256::new();
        for set in sets {
            hash.update(set.dims.map(u32::to_le_bytes).as_flattened());
            match &set.inputs {
                Inputs::Bytes(bytes) => hash.update(bytes),
                Inputs::Numbers(numbers) => {
                    numbers.iter().for_each(|x| hash.update(x.to_le_bytes()));
                }
            }
            match &set.targets {
                Targets::Classes(classes) => hash.update(classes),
                Targets::Values(values) => values.iter().for_each(|x| hash.update(x.to_le_bytes())),
                Targets::Inputs(_) => {}
            }
        }
        hex(&hash.finalize())
    }

    /// Rows of an image; 1 of a table.
    pub fn rows(&self) -> usize {
        self.dims[1] as usize
    }

    /// Columns of an image or of a table.
    pub fn cols(&self) -> usize {
        self.dims[2] as usize
    }

    /// Length of an example: rows x columns.
    pub fn image_len(&self) -> usize {
        self.rows() * self.cols()
    }

    /// Number of examples, rows and columns.
    pub fn dims(&self) -> [u32; 3] {
        self.dims
    }

    /// Shape of an example, as a network's input.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Plural noun for the examples: see [`noun`].
    pub fn noun(&self) -> &'static str {
        noun(self.shape)
    }

    /// Inputs of all examples.
    pub fn inputs(&self) -> &Inputs {
        &self.inputs
    }

    /// Targets of all examples.
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// Pixels of images in bytes, `[images, rows, cols]`; empty for other inputs.
    pub fn pixels(&self) -> &[u8] {
        match (&self.inputs, self.shape) {
            (Inputs::Bytes(bytes), Shape::Image { .. }) => bytes,
            _ => &[],
        }
    }

    /// Classes of all examples; empty for other targets.
    pub fn labels(&self) -> &[u8] {
        match &self.targets {
            Targets::Classes(classes) => classes,
            Targets::Values(_) | Targets::Inputs(_) => &[],
        }
    }

    /// Pixels of image `index`; `None` if there is no such image or inputs are not images in bytes.
    pub fn image(&self, index: usize) -> Option<&[u8]> {
        let len = self.image_len();
        let start = index.checked_mul(len)?;
        self.pixels().get(start..start.checked_add(len)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_consecutive_and_bounded() {
        let set = Labelled::new((0..12).collect(), vec![7, 8], 2, 3).expect("2 images of 2 x 3");
        assert_eq!((set.len(), set.rows(), set.cols(), set.image_len()), (2, 2, 3, 6));
        assert_eq!(set.image(1), Some(&[6, 7, 8, 9, 10, 11][..]));
        assert_eq!((set.image(2), set.image(usize::MAX)), (None, None));
    }

    #[test]
    fn numbers_that_do_not_match_are_refused() {
        for (pixels, labels, rows, cols) in
            [(11, 2, 2, 3), (13, 2, 2, 3), (0, 2, 0, 3), (0, 2, 3, 0), (6, 0, 2, 3)]
        {
            let refused = Labelled::new(vec![0; pixels], vec![0; labels], rows, cols);
            assert_eq!(refused, Err(SizeMismatch { pixels, labels, rows, cols }));
        }
        assert!(Labelled::new(vec![0], vec![0], u32::MAX, u32::MAX).is_err());
        assert!(Labelled::new(vec![], vec![], 28, 28).is_ok_and(|set| set.is_empty()));
    }

    #[test]
    fn a_subset_has_its_examples_in_the_order_of_the_indices() {
        let (inputs, targets) =
            (Inputs::Numbers(vec![0.0, 0.5, 1.0, 1.5, 2.0, 2.5]), vec![10.0, 11.0, 12.0]);
        let set = Labelled::table(inputs, Targets::Values(targets), 2).expect("3 rows of 2");
        let some = set.subset(&[2, 0]);
        assert_eq!(some.inputs(), &Inputs::Numbers(vec![2.0, 2.5, 0.0, 0.5]));
        assert_eq!((some.targets(), some.dims()), (&Targets::Values(vec![12.0, 10.0]), [2, 1, 2]));
        assert_eq!(some.shape(), Shape::Features(2));
        assert!(some.labels().is_empty() && some.pixels().is_empty() && some.image(0).is_none());
    }
}
