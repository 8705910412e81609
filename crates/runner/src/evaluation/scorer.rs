//! Loss and accuracy of a set of examples: after each epoch on the validation set, once on the test set, in `eval`.

use kernels::Cpu;
use nn::{Network, Score, Workspace};

use crate::Error;
use crate::data::Labelled;
use crate::data::element::Element;
use crate::run::batch::Rows;
use crate::run::weights::Weights;

/// Examples at a time. Part of the bit contract of a loss, which is summed batch by batch; large enough that the
/// products run at full speed.
pub(crate) const ROWS: usize = 512;

/// Buffers for scoring, allocated once.
#[derive(Clone, Debug)]
pub struct Scorer<T> {
    rows: Rows<T>,
    workspace: Workspace<T>,
}

impl<T: Element> Scorer<T> {
    /// Buffers for `network`.
    ///
    /// # Errors
    /// [`Error::Network`] if there is no memory for them.
    pub fn new(network: &Network, cpu: Cpu<'_>) -> Result<Self, Error> {
        let rows = Rows::new(ROWS, network.inputs())?;
        Ok(Self { rows, workspace: Workspace::inference(network, cpu, ROWS)? })
    }

    /// The score of the examples `indices` of `set` under `weights`.
    ///
    /// # Errors
    /// [`Error::Network`] if examples or labels do not fit the network, [`Error::Usage`] if an index does not fit `set`.
    pub fn score(
        &mut self,
        network: &Network,
        cpu: Cpu<'_>,
        weights: &mut Weights<T>,
        set: &Labelled,
        indices: &[u32],
    ) -> Result<Score, Error> {
        self.score_each(network, cpu, weights, set, indices, |_, _| {})
    }

    /// As [`score`](Self::score); `see` gets the targets and the outputs of the examples, some at a time, in their order.
    ///
    /// # Errors
    /// As for [`score`](Self::score).
    pub fn score_each(
        &mut self,
        network: &Network,
        cpu: Cpu<'_>,
        weights: &mut Weights<T>,
        set: &Labelled,
        indices: &[u32],
        mut see: impl FnMut(nn::Targets<'_, T>, &[T]),
    ) -> Result<Score, Error> {
        let mut total = Score::default();
        for indices in indices.chunks(ROWS) {
            let batch = self.rows.fill(set, indices)?;
            total += network.evaluate(cpu, weights.lend(), batch, &mut self.workspace)?;
            see(batch.targets, self.workspace.outputs(network, indices.len()));
        }
        Ok(total)
    }
}
