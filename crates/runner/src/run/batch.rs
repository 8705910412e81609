//! The rows of a batch: examples gathered from a data set into numbers, in buffers that are reused.
//!
//! The training loop, [`scoring`](crate::evaluation::scorer) and `dump` fill one.

use kernels::Isa;
use nn::Batch;

use crate::Error;
use crate::augment::Augmentation;
use crate::data::element::Element;
use crate::data::{Labelled, Targets, gather};

/// Buffers for some examples and their targets.
#[derive(Clone, Debug)]
pub struct Rows<T> {
    isa: Isa,
    inputs: Vec<T>,
    labels: Vec<u32>,
    values: Vec<T>,
}

impl<T: Element> Rows<T> {
    /// Buffers for `capacity` examples of `image_len` numbers.
    ///
    /// # Errors
    /// [`Error::Network`] if there is no memory for them.
    pub fn new(capacity: usize, image_len: usize) -> Result<Self, Error> {
        Ok(Self {
            isa: Isa::detect(),
            inputs: nn::zeros(capacity.saturating_mul(image_len))?,
            labels: vec![0; capacity],
            values: nn::zeros(capacity)?,
        })
    }

    /// The examples `indices` of `from`, bytes from 0 to 1, and their classes or values.
    ///
    /// # Errors
    /// [`Error::Usage`] if there are more than there is room for, or no example of an index.
    pub fn fill(&mut self, from: &Labelled, indices: &[u32]) -> Result<Batch<'_, T>, Error> {
        self.fill_augmented(from, indices, None)
    }

    /// The same, with images changed as `augmentation` says.
    ///
    /// # Errors
    /// As for [`fill`](Self::fill).
    pub fn fill_augmented(
        &mut self,
        from: &Labelled,
        indices: &[u32],
        augmentation: Option<Augmentation<'_>>,
    ) -> Result<Batch<'_, T>, Error> {
        let (count, len) = (indices.len(), indices.len() * from.image_len());
        let capacity = self.labels.len();
        let (Some(inputs), Some(labels)) =
            (self.inputs.get_mut(..len), self.labels.get_mut(..count))
        else {
            return Err(Error::Usage(format!(
                "batch: expected at most {capacity} examples, got {count}"
            )));
        };
        gather(self.isa, indices, from, inputs).map_err(|error| Error::Usage(error.to_string()))?;
        if let Some(augmentation) = augmentation {
            augmentation.apply(indices, from, inputs);
        }
        let targets = match from.targets() {
            Targets::Classes(classes) => {
                for (label, &index) in labels.iter_mut().zip(indices) {
                    *label = u32::from(classes[index as usize]);
                }
                nn::Targets::Labels(labels)
            }
            Targets::Values(targets) => {
                let values = &mut self.values[..count];
                for (value, &index) in values.iter_mut().zip(indices) {
                    *value = T::from(targets[index as usize]);
                }
                nn::Targets::Values(values)
            }
        };
        Ok(Batch { inputs, targets })
    }
}
