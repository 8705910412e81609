//! Images with their labels, as bytes: the form in which a data set stays in memory.
//!
//! [`folder`](super::folder) reads them, [`Split`](super::Split) divides them, and [`gather`](super::gather)
//! converts those of a batch.

/// Grey images of one size, each with its class. Pixels run from 0 (background) to 255, row by row.
///
/// Pixels, labels and size agree: that is checked once, when the set is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labelled {
    pixels: Vec<u8>,
    labels: Vec<u8>,
    dims: [u32; 3],
}

/// `pixels` does not hold one image of the stated size for each label, or there are more labels than `u32` counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{labels} labels with images of {rows} x {cols} do not make {pixels} pixels")]
pub struct Uneven {
    /// Number of pixels that came.
    pub pixels: usize,
    /// Number of labels that came.
    pub labels: usize,
    /// Rows of an image, at least 1.
    pub rows: u32,
    /// Columns of an image, at least 1.
    pub cols: u32,
}

impl Labelled {
    /// `labels.len()` images of `rows` x `cols`, whose pixels follow one another in `pixels`.
    ///
    /// # Errors
    /// [`Uneven`] unless `pixels.len()` is the product of the three, `rows` and `cols` are at least 1, and the
    /// number of images fits into `u32`.
    pub fn new(pixels: Vec<u8>, labels: Vec<u8>, rows: u32, cols: u32) -> Result<Self, Uneven> {
        let uneven = Uneven { pixels: pixels.len(), labels: labels.len(), rows, cols };
        let count = u32::try_from(labels.len()).map_err(|_| uneven)?;
        let product =
            [count, rows, cols].iter().try_fold(1, |so_far: u64, &dim| so_far.checked_mul(dim.into()));
        if rows == 0 || cols == 0 || product != Some(pixels.len() as u64) {
            return Err(uneven);
        }
        Ok(Self { pixels, labels, dims: [count, rows, cols] })
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no image at all.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Rows of an image.
    pub fn rows(&self) -> usize {
        self.dims[1] as usize
    }

    /// Columns of an image.
    pub fn cols(&self) -> usize {
        self.dims[2] as usize
    }

    /// Pixels of an image: rows x columns.
    pub fn image_len(&self) -> usize {
        self.rows() * self.cols()
    }

    /// Number of images, rows and columns.
    pub fn dims(&self) -> [u32; 3] {
        self.dims
    }

    /// Every pixel: image after image, row after row.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The class of every image.
    pub fn labels(&self) -> &[u8] {
        &self.labels
    }

    /// The pixels of image `index`, or `None` if there is no such image.
    pub fn image(&self, index: usize) -> Option<&[u8]> {
        let len = self.image_len();
        let start = index.checked_mul(len)?;
        self.pixels.get(start..start.checked_add(len)?)
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
    fn what_does_not_agree_is_refused() {
        for (pixels, labels, rows, cols) in
            [(11, 2, 2, 3), (13, 2, 2, 3), (0, 2, 0, 3), (0, 2, 3, 0), (6, 0, 2, 3)]
        {
            let refused = Labelled::new(vec![0; pixels], vec![0; labels], rows, cols);
            assert_eq!(refused, Err(Uneven { pixels, labels, rows, cols }));
        }
        assert!(Labelled::new(vec![0], vec![0], u32::MAX, u32::MAX).is_err());
        assert!(Labelled::new(vec![], vec![], 28, 28).is_ok_and(|set| set.is_empty()));
    }
}
