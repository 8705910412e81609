//! One step of a training, in buffers that are made once.
//!
//! ```text
//! for each batch of the step                        `accumulate` of them; their mean counts
//!     images -> rows -> augmented? -> mixed? -> loss and gradient
//! sam: once more, from the worst place nearby
//! + noise -> finite? -> clips -> optimizer -> bounds -> zeros -> slow weights -> average
//! ```
//!
//! The training loop takes steps; whatever is drawn is a function of seed, step and index.

use kernels::{Cpu, vector};
use nn::pruning::Pruner;
use nn::{Batch, Clipping, Mode, Progress, Score, StepSize, Workspace};

use crate::Error;
use crate::augment::Augmentation;
use crate::data::element::Element;
use crate::data::{Targets, streams};
use crate::run::batch::Rows;
use crate::run::config::NonFinite;
use crate::run::setup::Setup;
use crate::run::state::State;
use crate::run::weights::Weights;
use crate::training::gradient_probe::GradientProbe;
use crate::training::{gradient_probe, origin};

/// The buffers of a step.
#[derive(Debug)]
pub(crate) struct Stepper<T> {
    rows: Rows<T>,
    workspace: Workspace<T>,
    clipping: Clipping,
    pruner: Option<Pruner>,
    observer: GradientProbe<T>,
    grads: Vec<T>,
    /// The gradient of one batch, where several make a step.
    share: Vec<T>,
    /// The weights, while the gradient is taken elsewhere.
    origin: Vec<T>,
    /// Running statistics before the step, for when it is not taken.
    buffers: Vec<T>,
    /// Images and labels, mixed.
    mixed: Vec<T>,
    targets: Vec<T>,
}

/// What a step found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    /// Of the images of the step.
    pub(crate) score: Score,
    /// The norm of the gradient before it was clipped.
    pub(crate) norm: f64,
}

/// Why a step was not taken.
#[derive(Clone, Debug)]
pub(crate) struct NotFinite {
    /// The mean loss.
    pub(crate) loss: f64,
    /// Where it began: [`origin`].
    pub(crate) origin: Option<String>,
}

impl<T: Element> Stepper<T> {
    /// Buffers for the run `setup`.
    ///
    /// # Errors
    /// [`Error::Network`] if there is no memory for them.
    pub(crate) fn new(setup: &Setup, cpu: Cpu<'_>) -> Result<Self, Error> {
        let Setup { config, network, .. } = setup;
        let (batch, params) = (setup.rows_per_batch(), network.layout().len());
        let wanted = |wanted: bool, len: usize| nn::zeros(if wanted { len } else { 0 });
        let mixes = config.mixing.is_some();
        Ok(Self {
            rows: Rows::new(batch, network.inputs())?,
            workspace: Workspace::new(network, cpu, batch)?,
            clipping: Clipping::new(network.layout(), &config.clips(), &config.bounds)?,
            pruner: config.pruning.map(|rule| Pruner::new(network.layout(), rule)).transpose()?,
            observer: GradientProbe::new(network)?,
            grads: nn::zeros(params)?,
            share: wanted(config.accumulate > 1, params)?,
            origin: wanted(config.sam.is_some(), params)?,
            buffers: nn::zeros(network.buffers().len())?,
            mixed: wanted(mixes, batch * network.inputs())?,
            targets: wanted(mixes, batch * network.outputs())?,
        })
    }

    /// Takes the step after `progress`, at this rate, by the images `indices`; or says why it cannot be taken. Running statistics are
    /// then as before, and so is all else but where the bounds of parameters meet one that is not finite.
    ///
    /// # Errors
    /// [`Error::Network`] if the data do not fit the network.
    pub(crate) fn take(
        &mut self,
        setup: &Setup,
        cpu: Cpu<'_>,
        progress: Progress,
        rate: f64,
        state: &mut State<T>,
        indices: &[u32],
    ) -> Result<Result<Taken, NotFinite>, Error> {
        let Setup { config, network, .. } = setup;
        let step = progress.step;
        self.buffers.copy_from_slice(&state.weights.buffers);
        let score = self.gradient(setup, cpu, step, &mut state.weights, indices)?;
        let loss = score.mean_loss();
        if let Some(sam) = config.sam {
            match sam.perturb(cpu, &mut state.weights.params, &self.grads, &mut self.origin) {
                Ok(()) => {
                    self.gradient(setup, cpu, step, &mut state.weights, indices)?;
                    state.weights.params.copy_from_slice(&self.origin);
                }
                // Which tensor it is, clipping says.
                Err(nn::Error::Kernel(kernels::Error::NonFinite { .. })) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if let Some(noise) = config.noise {
            noise.add(cpu, config.seed, step, &mut self.grads)?;
        }
        let (seen, with) = (&mut state.position.health, (cpu, network));
        let at = ((step / progress.steps_per_epoch) as u32 + 1, step + 1);
        let looks =
            gradient_probe::is_looked_at(step % progress.steps_per_epoch, progress.steps_per_epoch);
        if looks {
            self.observer.before(seen, at, with, &state.weights.params, &self.grads);
        }
        let params = &state.weights.params;
        let clipped = self.clipping.clip(cpu, params, &mut self.grads).and_then(|clipped| {
            state.optimizer.check_squares(cpu, clipped, params, &self.grads)?;
            Ok(clipped)
        });
        let clipped = match clipped {
            Ok(clipped) if score.loss.is_finite() => clipped,
            Ok(_)
            | Err(
                nn::Error::SecondMoment { .. }
                | nn::Error::Kernel(kernels::Error::NonFiniteIn { .. }),
            ) => {
                state.weights.buffers.copy_from_slice(&self.buffers);
                let params = &state.weights.params;
                match config.non_finite {
                    // The step is one of many that were looked at: it changes nothing.
                    NonFinite::Skip if looks => self.observer.after(seen, with, params, rate),
                    NonFinite::Stop | NonFinite::Rollback if !looks => {
                        self.observer.before(seen, at, with, params, &self.grads);
                    }
                    _ => {}
                }
                if let Err(nn::Error::SecondMoment { moment, index }) = clipped {
                    let origin = origin::of_second_moment(network, moment, index);
                    return Ok(Err(NotFinite { loss, origin }));
                }
                return Ok(Err(self.not_finite(setup, cpu, step, &state.weights, indices, loss)));
            }
            Err(error) => return Err(error.into()),
        };
        let State { weights, optimizer, average, slow, .. } = state;
        if let Some(pruner) = &mut self.pruner {
            pruner.record_zeros(progress, &weights.params)?;
        }
        optimizer.step(
            cpu,
            StepSize { rate, scale: clipped.scale },
            &mut weights.params,
            &self.grads,
        )?;
        match self.clipping.bound(cpu, &mut weights.params) {
            Err(nn::Error::Kernel(kernels::Error::NonFinite { .. })) => {
                return Ok(Err(self.not_finite(setup, cpu, step, &state.weights, indices, loss)));
            }
            bounded => bounded?,
        }
        if let Some(pruner) = &mut self.pruner {
            pruner.prune(progress, &mut weights.params)?;
        }
        if let (Some(lookahead), Some(slow)) = (config.lookahead, slow) {
            lookahead.step(cpu, step + 1, slow, &mut weights.params)?;
        }
        if looks {
            self.observer.after(seen, with, &weights.params, rate);
        }
        if let (Some(ema), Some(average)) = (config.ema, average) {
            ema.step(cpu, step, &mut average.params, &weights.params)?;
            average.buffers.copy_from_slice(&weights.buffers);
        }
        Ok(Ok(Taken { score, norm: clipped.norm }))
    }

    /// Why the step by these images, with this loss, is not taken.
    fn not_finite(
        &self,
        setup: &Setup,
        cpu: Cpu<'_>,
        step: u64,
        weights: &Weights<T>,
        indices: &[u32],
        loss: f64,
    ) -> NotFinite {
        // A search that fails finds nothing: the step is what the run has to answer for.
        let origin =
            origin::of(setup, cpu, step, weights, indices, &self.grads).unwrap_or_default();
        NotFinite { loss, origin }
    }

    /// The gradient of the mean loss over the images `indices`.
    fn gradient(
        &mut self,
        setup: &Setup,
        cpu: Cpu<'_>,
        step: u64,
        weights: &mut Weights<T>,
        indices: &[u32],
    ) -> Result<Score, Error> {
        let Setup { config, dataset, network, .. } = setup;
        let Self { rows, workspace, grads, share, mixed, targets, .. } = self;
        let mut total = Score::default();
        let whole = weight::<T>(setup, indices);
        let epoch = step / setup.steps_per_epoch();
        let (list, seed, isa) = (&config.augment[..], config.seed, cpu.isa);
        let augmentation =
            (!list.is_empty()).then_some(Augmentation { list, seed, epoch: epoch as u32, isa });
        for (part, batch) in indices.chunks(setup.rows_per_batch()).enumerate() {
            let batch = rows.fill_augmented(&dataset.train, batch, augmentation)?;
            // Each batch of each step draws its own numbers.
            let number = step * u64::from(config.accumulate) + part as u64;
            let batch = match (config.mixing, batch) {
                (Some(mixing), Batch { inputs, targets: nn::Targets::Labels(labels) }) => {
                    let (stream, classes) =
                        (streams::mixing(config.seed, number), network.outputs());
                    let mixed = &mut mixed[..inputs.len()];
                    let targets = &mut targets[..labels.len() * classes];
                    mixing.mix(
                        cpu,
                        stream,
                        network.input(),
                        inputs,
                        labels,
                        classes,
                        mixed,
                        targets,
                    )?;
                    Batch { inputs: mixed, targets: nn::Targets::Values(targets) }
                }
                (_, batch) => batch,
            };
            let mode = Mode::Train { seed: config.seed, step: number };
            let into = if part == 0 { &mut *grads } else { &mut *share };
            let score = network.gradient(cpu, mode, weights.lend(), batch, workspace, into)?;
            if score.weight < whole {
                let weight = T::from_f64(score.weight / whole);
                match part {
                    0 => vector::scale(cpu, weight, grads),
                    _ => vector::axpy(cpu, weight, share, grads).map_err(nn::Error::from)?,
                }
            }
            total += score;
        }
        Ok(total)
    }
}

/// Divisor of the mean loss over the images `indices`.
fn weight<T: Element>(setup: &Setup, indices: &[u32]) -> f64 {
    match setup.dataset.train.targets() {
        // Mixed labels are distributions, which count as rows.
        Targets::Classes(labels) if setup.config.mixing.is_none() => {
            let labels = indices.iter().map(|&index| u32::from(labels[index as usize]));
            setup.network.weight_of::<T>(labels)
        }
        _ => indices.len() as f64,
    }
}
