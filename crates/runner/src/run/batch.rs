//! Batch buffers: examples and targets gathered from a data set, in memory that is reused.
//!
//! Filled by the training loop, the [scorer](crate::evaluation::scorer) and `dump`.

use kernels::Isa;
use nn::Batch;

use crate::Error;
use crate::augment::Augmentation;
use crate::data::element::Element;
use crate::data::{Labelled, Targets, gather};

/// Buffers for a batch of examples and their targets.
#[derive(Clone, Debug)]
pub struct BatchBuffers<T> {
    isa: Isa,
    inputs: Vec<T>,
    labels: Vec<u32>,
    values: Vec<T>,
}

impl<T: Element> BatchBuffers<T> {
    /// Buffers for `capacity` examples of `inputs` elements each, filled with the instructions of
    /// `isa`.
    ///
    /// # Errors
    /// [`Error::Network`] if there is not enough memory.
    pub fn new(isa: Isa, capacity: usize, inputs: usize) -> Result<Self, Error> {
        Ok(Self {
            isa,
            inputs: nn::zeros(capacity.saturating_mul(inputs))?,
            labels: vec![0; capacity],
            values: nn::zeros(capacity)?,
        })
    }

    /// Instruction set of the gather.
    #[cfg(test)]
    pub(crate) fn isa(&self) -> Isa {
        self.isa
    }

    /// Gathers the examples `indices` of `from`, with their classes or values. Bytes are scaled to
    /// 0 to 1.
    ///
    /// # Errors
    /// [`Error::Usage`] if there are more examples than the capacity, or an index is out of range.
    pub fn fill(&mut self, from: &Labelled, indices: &[u32]) -> Result<Batch<'_, T>, Error> {
        self.fill_augmented(from, indices, None)
    }

    /// Gathers like [`fill`](Self::fill), then applies `augmentation` to the images. Targets that
    /// are the inputs are those before the augmentation.
    ///
    /// # Errors
    /// Same as [`fill`](Self::fill).
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
        if let Targets::Inputs(_) = from.targets() {
            if self.values.len() < len {
                self.values = nn::zeros(capacity * from.image_len())?;
            }
            self.values[..len].copy_from_slice(inputs);
        }
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
            Targets::Inputs(_) => nn::Targets::Values(&self.values[..len]),
        };
        Ok(Batch { inputs, targets })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::Augment;

    /// Augmented images are reconstructed as they were before.
    #[test]
    fn targets_of_a_reconstruction_are_the_clean_inputs() {
        let pixels: Vec<u8> = (0..40 * 12).map(|i| (i * 7 % 256) as u8).collect();
        let set = Labelled::new(pixels, vec![0; 40], 4, 3).expect("40 images of 4 x 3");
        let set = set.reconstructing();
        assert_eq!((set.len(), set.subset(&[3, 5]).len(), set.labels().len()), (40, 2, 0));
        let mut batch = BatchBuffers::<f32>::new(Isa::detect(), 5, 12).expect("memory");
        let indices = [3, 39, 0];
        let clean = batch.fill(&set, &indices).expect("indices in range");
        let nn::Targets::Values(targets) = clean.targets else { panic!("no values") };
        assert_eq!(clean.inputs, targets);
        let targets = targets.to_vec();
        let list: Vec<Augment> =
            vec![toml::from_str("kind = \"noise\"\nstd = 0.3").expect("an augmentation")];
        let augmentation = Augmentation { list: &list, seed: 1, epoch: 0, isa: Isa::detect() };
        let noisy = batch.fill_augmented(&set, &indices, Some(augmentation)).expect("in range");
        assert!(matches!(noisy.targets, nn::Targets::Values(values) if values == targets));
        assert_ne!(noisy.inputs, targets);
    }

    #[test]
    fn every_instruction_set_gathers_the_same_bits() {
        let pixels = (0..40 * 12).map(|i| (i * 7 % 256) as u8).collect();
        let set = Labelled::new(pixels, vec![0; 40], 4, 3).expect("40 images of 4 x 3");
        let indices = [3, 39, 0, 3, 17];
        let gathered = |isa| {
            let mut batch = BatchBuffers::<f32>::new(isa, indices.len(), 12).expect("memory");
            assert_eq!(batch.isa(), isa);
            let inputs = batch.fill(&set, &indices).expect("indices in range").inputs;
            inputs.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
        };
        let expected = gathered(Isa::detect());
        for isa in Isa::available() {
            assert_eq!(gathered(isa), expected, "{isa}");
        }
    }
}
