//! Loss and accuracy of a set of examples: of the validation set after each epoch, of the test set
//! at the end of a run and in `eval`.

use kernels::Cpu;
use nn::{Network, Score, Workspace};

use crate::Error;
use crate::data::Labelled;
use crate::data::element::Element;
use crate::run::batch::BatchBuffers;
use crate::run::weights::ModelWeights;

/// Batch size. Part of the bit contract of a loss, which is summed batch by batch; large enough for
/// matrix products at full speed.
pub(crate) const BATCH: usize = 512;

/// Buffers for scoring, allocated once.
#[derive(Clone, Debug)]
pub struct Scorer<T> {
    batch: BatchBuffers<T>,
    workspace: Workspace<T>,
}

impl<T: Element> Scorer<T> {
    /// Buffers for `network`.
    ///
    /// # Errors
    /// [`Error::Network`] if there is not enough memory.
    pub fn new(network: &Network, cpu: Cpu<'_>) -> Result<Self, Error> {
        let batch = BatchBuffers::new(cpu.isa, BATCH, network.inputs())?;
        Ok(Self { batch, workspace: Workspace::inference(network, cpu, BATCH)? })
    }

    /// Computes the score of the examples `indices` of `set` with `weights`.
    ///
    /// # Errors
    /// [`Error::Network`] if examples or labels do not fit the network; [`Error::Usage`] if an
    /// index is out of range.
    pub fn score(
        &mut self,
        network: &Network,
        cpu: Cpu<'_>,
        weights: &mut ModelWeights<T>,
        set: &Labelled,
        indices: &[u32],
    ) -> Result<Score, Error> {
        self.score_each(network, cpu, weights, set, indices, |_, _| {})
    }

    /// Computes the score like [`score`](Self::score), and calls `on_batch` with the targets and
    /// the outputs of each batch, in order.
    ///
    /// # Errors
    /// Same as [`score`](Self::score).
    pub fn score_each(
        &mut self,
        network: &Network,
        cpu: Cpu<'_>,
        weights: &mut ModelWeights<T>,
        set: &Labelled,
        indices: &[u32],
        mut on_batch: impl FnMut(nn::Targets<'_, T>, &[T]),
    ) -> Result<Score, Error> {
        let mut total = Score::default();
        for indices in indices.chunks(BATCH) {
            let batch = self.batch.fill(set, indices)?;
            total += network.evaluate(cpu, weights.view(), batch, &mut self.workspace)?;
            on_batch(batch.targets, self.workspace.outputs(network, indices.len()));
        }
        Ok(total)
    }
}

#[cfg(test)]
mod tests {
    use kernels::{Isa, Serial};
    use nn::{Init, LayerSpec};

    use super::*;

    /// `--isa` applies to the gather of a batch as well.
    #[test]
    fn batches_are_gathered_on_the_instruction_set_of_the_run() {
        let network = Network::new(3, &[LayerSpec::dense(2, Init::Zeros)]).expect("a layer");
        for isa in Isa::available() {
            let scorer = Scorer::<f32>::new(&network, Cpu::new(isa, &Serial)).expect("memory");
            assert_eq!(scorer.batch.isa(), isa);
        }
    }
}
