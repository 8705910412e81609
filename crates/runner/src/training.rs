//! The training loop.
//!
//! ```text
//! for each epoch e
//!     order = the training images, shuffled by (seed, e)
//!     for each batch of them
//!         gradient of the mean loss                 not finite: diverged
//!         norm of it; scale = clip(norm)
//!         optimizer step at rate(step) along scale * gradient
//!         anyone wants to stop?                     interrupted, at this very step
//!     score the validation set; keep the parameters if they are the best yet
//! ```
//!
//! The bits of everything but the seconds are a function of configuration and data. [`State`] is all that the loop
//! carries from one step to the next, so that a run that is stopped anywhere goes on to the same bits.
//! `train` calls it, and watches through [`Watch`].

use std::fmt;
use std::time::Instant;

use kernels::{Cpu, clip, norm};
use nn::{Batch, Mode, Running, Workspace};
use serde::{Deserialize, Serialize};

use crate::element::Element;
use crate::health::{self, Health};
use crate::metrics::{self, Epoch};
use crate::rows::Rows;
use crate::scoring::Scorer;
use crate::setup::Setup;
use crate::weights::Weights;
use crate::{Error, streams};

/// All that a run carries from one step to the next.
#[derive(Clone, Debug, PartialEq)]
pub struct State<T> {
    /// The parameters, and what belongs to them.
    pub weights: Weights<T>,
    /// Those of the best epoch; zeros before the end of the first.
    pub best: Weights<T>,
    /// The moments.
    pub optimizer: Running<T>,
    /// How far the run is.
    pub position: Position,
}

/// How far a run is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// The epochs that are done.
    pub history: Vec<Epoch>,
    /// Steps taken in the epoch at hand.
    pub step: u64,
    /// Sums over those steps.
    pub sums: Sums,
    /// What was seen of their gradients; before the first of them, of those of the epoch before.
    #[serde(default)]
    pub health: Health,
}

/// Sums over the steps of an epoch, added in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sums {
    /// Losses of all rows.
    pub loss: f64,
    /// Rows.
    pub rows: u64,
    /// Norms of the gradients.
    pub norm: f64,
    /// The largest of them.
    pub norm_max: f64,
    /// Seconds.
    pub seconds: f64,
}

/// Why the loop returned.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// Every epoch is done.
    Done,
    /// [`Watch::step`] asked for it. The step at hand was finished.
    Stopped,
    /// A loss or gradient is not finite. The step it belongs to was not taken.
    Diverged(Divergence),
}

/// Where a run left the finite numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Divergence {
    /// The epoch, from 1.
    pub epoch: u32,
    /// The step within it, from 1.
    pub step: u64,
    /// The loss: of the batch, or of the validation set after the last step.
    pub loss: f64,
    /// The first tensor with a gradient that is not finite.
    pub tensor: Option<String>,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "expected finite numbers, got loss {} in epoch {}, step {}",
            self.loss, self.epoch, self.step
        )?;
        match &self.tensor {
            Some(name) => write!(f, ", and a gradient of {name} that is not finite"),
            None => Ok(()),
        }
    }
}

/// Whoever watches a run.
pub trait Watch<T> {
    /// A step was taken; `false` stops the run.
    fn step(&mut self, position: &Position) -> bool;
    /// An epoch is done: the last of the state's history.
    ///
    /// # Errors
    /// Whatever stands in the way of going on.
    fn epoch(&mut self, state: &State<T>) -> Result<(), Error>;
}

impl<T: Element> State<T> {
    /// The state before the first step.
    ///
    /// # Errors
    /// [`Error::Network`] if a hyper-parameter is out of range.
    pub fn fresh(setup: &Setup, cpu: Cpu<'_>) -> Result<Self, Error> {
        let Setup { config, network, .. } = setup;
        let weights = Weights::initial(network, cpu, config.seed)?;
        let optimizer = config.optimizer.start(network.layout().len())?;
        Ok(Self { weights, best: Weights::zeros(network)?, optimizer, position: Position::default() })
    }
}

/// Steps of an epoch of `images` images in batches of `batch`; the last one may be smaller.
pub fn steps_per_epoch(images: usize, batch: u32) -> u64 {
    (images as u64).div_ceil(u64::from(batch))
}

/// Trains from `state` on, until the end of the last epoch or until `watch` stops it.
///
/// # Errors
/// [`Error::Network`] if the data do not fit the network, and what [`Watch::epoch`] returns. Divergence is no error
/// but an [`End`].
pub fn run<T: Element>(
    setup: &Setup,
    cpu: Cpu<'_>,
    state: &mut State<T>,
    watch: &mut impl Watch<T>,
) -> Result<End, Error> {
    let Setup { config, dataset, split, network } = setup;
    // A batch is never larger than the training set.
    let batch = (config.batch as usize).min(split.train.len());
    let mut rows = Rows::new(batch, network.inputs());
    let mut workspace = Workspace::new(network, cpu, batch)?;
    let mut scorer = Scorer::new(network, cpu)?;
    let mut grads = nn::zeros(network.layout().len())?;
    let mut observer = health::Observer::new(network)?;
    let steps = steps_per_epoch(split.train.len(), config.batch);
    let steps_in_all = steps * u64::from(config.epochs);
    let rate = |step| config.rate() * config.schedule.factor(cpu, step, steps_in_all);

    while state.position.history.len() < config.epochs as usize {
        let epochs_done = state.position.history.len() as u32;
        let first_step = steps * u64::from(epochs_done);
        let mut order = split.train.clone();
        streams::shuffle(config.seed, epochs_done).shuffle(&mut order);
        for indices in order.chunks(batch).skip(state.position.step as usize) {
            let started = Instant::now();
            let step = first_step + state.position.step;
            let (inputs, labels) = rows.fill(&dataset.train, indices)?;
            let batch = Batch { inputs, targets: labels.into() };
            let mode = Mode::Train { seed: config.seed, step };
            let weights = state.weights.lend();
            let score = network.gradient(cpu, mode, weights, batch, &mut workspace, &mut grads)?;
            let diverged = |tensor| Divergence {
                epoch: epochs_done + 1,
                step: state.position.step + 1,
                loss: score.mean_loss(),
                tensor,
            };
            let norm = norm::norm2(cpu, &grads);
            let looks = norm.is_err() || health::is_looked_at(state.position.step, steps);
            if looks {
                let (health, at) = (&mut state.position.health, (epochs_done + 1, step + 1));
                observer.before(health, at, (cpu, network), &state.weights.params, &grads);
            }
            let norm = match norm {
                Err(kernels::Error::NonFinite { index }) => {
                    return Ok(End::Diverged(diverged(
                        network.layout().owner(index).map(|t| t.name.clone()),
                    )));
                }
                _ if !score.loss.is_finite() => return Ok(End::Diverged(diverged(None))),
                norm => norm.map_err(nn::Error::from)?,
            };
            let scale = match config.clip_norm {
                Some(limit) => clip::clip_factor(norm, limit).map_err(nn::Error::from)?,
                None => 1.0,
            };
            state.optimizer.step(cpu, rate(step), scale, &mut state.weights.params, &grads)?;
            if looks {
                let health = &mut state.position.health;
                observer.after(health, (cpu, network), &state.weights.params, rate(step));
            }

            let Position { step, sums, .. } = &mut state.position;
            *step += 1;
            sums.loss += score.loss;
            sums.rows += score.rows as u64;
            sums.norm += norm;
            sums.norm_max = sums.norm_max.max(norm);
            sums.seconds += started.elapsed().as_secs_f64();
            if !watch.step(&state.position) {
                return Ok(End::Stopped);
            }
        }

        let validation = scorer.score(network, cpu, &mut state.weights, &dataset.train, &split.validation)?;
        let Position { history, step, sums, .. } = &mut state.position;
        if !validation.loss.is_finite() {
            let loss = validation.mean_loss();
            return Ok(End::Diverged(Divergence { epoch: epochs_done + 1, step: *step, loss, tensor: None }));
        }
        let epoch = Epoch {
            epoch: epochs_done + 1,
            step: first_step + steps,
            train_seconds: sums.seconds,
            train_loss: sums.loss / sums.rows as f64,
            val_loss: validation.mean_loss(),
            val_accuracy: validation.accuracy(),
            lr: rate(first_step + steps - 1),
            grad_norm: sums.norm / steps as f64,
            grad_norm_max: sums.norm_max,
        };
        if metrics::best(history).is_none_or(|best| epoch.is_better_than(best)) {
            state.best.copy_from(&state.weights);
        }
        history.push(epoch);
        (*step, *sums) = (0, Sums::default());
        watch.epoch(state)?;
    }
    Ok(End::Done)
}
