//! The rows of a batch: images gathered from a data set into numbers, in buffers that are reused.
//!
//! The training loop, [`scoring`](crate::scoring) and `dump` fill one.

use crate::Error;
use crate::data::{Labelled, gather};
use crate::element::Element;

/// Buffers for some images and their classes.
#[derive(Clone, Debug)]
pub struct Rows<T> {
    pixels: Vec<T>,
    classes: Vec<u8>,
    labels: Vec<u32>,
}

impl<T: Element> Rows<T> {
    /// Room for `capacity` images of `image_len` pixels.
    pub fn new(capacity: usize, image_len: usize) -> Self {
        Self {
            pixels: vec![T::ZERO; capacity * image_len],
            classes: vec![0; capacity],
            labels: vec![0; capacity],
        }
    }

    /// The images `indices` of `from`, each pixel from 0 to 1, and their classes.
    ///
    /// # Errors
    /// [`Error::Usage`] if there are more than there is room for, or no image of an index.
    pub fn fill(&mut self, from: &Labelled, indices: &[u32]) -> Result<(&[T], &[u32]), Error> {
        let (count, len) = (indices.len(), indices.len() * from.image_len());
        let capacity = self.labels.len();
        let (Some(pixels), Some(classes)) = (self.pixels.get_mut(..len), self.classes.get_mut(..count))
        else {
            return Err(Error::Usage(format!("batch: expected at most {capacity} images, got {count}")));
        };
        gather(indices, from, pixels, classes).map_err(|error| Error::Usage(error.to_string()))?;
        let labels = &mut self.labels[..count];
        for (label, &class) in labels.iter_mut().zip(&*classes) {
            *label = u32::from(class);
        }
        Ok((pixels, labels))
    }
}
