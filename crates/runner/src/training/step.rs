//! One training step, in buffers that are allocated once.
//!
//! ```text
//! for each batch of the step                       `accumulate` of them; their mean counts
//!     examples -> batch buffers -> augmented? -> mixed? -> loss and gradient
//! sam: the gradient again, at the worst point nearby
//! + noise -> finite? -> clips -> optimizer -> bounds -> pruning -> slow weights -> average
//! ```
//!
//! The training loop runs the steps. Every random draw is a function of seed, step and index.

use kernels::{Cpu, vector};
use nn::pruning::Pruner;
use nn::{Batch, Clipping, Mode, Progress, Score, StepSize, Workspace};

use crate::Error;
use crate::augment::Augmentation;
use crate::data::element::Element;
use crate::data::{Targets, streams};
use crate::run::batch::BatchBuffers;
use crate::run::config::NonFinite;
use crate::run::setup::Setup;
use crate::run::state::State;
use crate::run::weights::ModelWeights;
use crate::training::gradient_probe::{GradientProbe, is_sampled};
use crate::training::locate;
use crate::training::locate::Location;
use crate::training::observer::{Gradient, Observer, Update};

/// Buffers of a training step.
#[derive(Debug)]
pub(crate) struct TrainingStep<T> {
    batch: BatchBuffers<T>,
    workspace: Workspace<T>,
    clipping: Clipping,
    pruner: Option<Pruner>,
    probe: GradientProbe<T>,
    grads: Vec<T>,
    /// Gradient of one batch; empty unless several batches make a step.
    batch_grads: Vec<T>,
    /// Parameters before the perturbation of SAM; empty without it.
    unperturbed: Vec<T>,
    /// Running statistics before the step, restored if it is not taken.
    saved_buffers: Vec<T>,
    /// Mixed images and their targets; empty unless images are mixed.
    mixed: Vec<T>,
    mixed_targets: Vec<T>,
}

/// Result of a step that was taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StepResult {
    /// Score of the examples, before the step.
    pub(crate) score: Score,
    /// L2 norm of the gradient, before clipping.
    pub(crate) norm: f64,
}

/// A step that was not taken, since its loss or gradient is non-finite.
#[derive(Clone, Debug)]
pub(crate) struct NonFiniteStep {
    /// Mean loss.
    pub(crate) loss: f64,
    /// First non-finite tensor or layer: [`locate`].
    pub(crate) location: Option<Location>,
}

impl<T: Element> TrainingStep<T> {
    /// Buffers for the run `setup`.
    ///
    /// # Errors
    /// [`Error::Network`] if there is not enough memory.
    pub(crate) fn new(setup: &Setup, cpu: Cpu<'_>) -> Result<Self, Error> {
        let Setup { config, network, .. } = setup;
        let (batch, params) = (setup.rows_per_batch(), network.layout().len());
        let zeros_if = |is_used: bool, len: usize| nn::zeros(if is_used { len } else { 0 });
        let mixes = config.mixing.is_some();
        Ok(Self {
            batch: BatchBuffers::new(cpu.isa, batch, network.inputs())?,
            workspace: Workspace::new(network, cpu, batch)?,
            clipping: Clipping::new(network.layout(), &config.clips(), &config.bounds)?,
            pruner: config.pruning.map(|rule| Pruner::new(network.layout(), rule)).transpose()?,
            probe: GradientProbe::new(network)?,
            grads: nn::zeros(params)?,
            batch_grads: zeros_if(config.accumulate > 1, params)?,
            unperturbed: zeros_if(config.sam.is_some(), params)?,
            saved_buffers: nn::zeros(network.buffers().len())?,
            mixed: zeros_if(mixes, batch * network.inputs())?,
            mixed_targets: zeros_if(mixes, batch * network.outputs())?,
        })
    }

    /// Takes the step after `progress` with learning rate `rate` on the examples `indices`.
    ///
    /// A step with a non-finite loss or gradient is not taken: parameters, moments and running
    /// statistics stay as they were. Only if the bounds find a non-finite parameter, after the
    /// optimizer's step, parameters and moments have changed.
    ///
    /// # Errors
    /// [`Error::Network`] if the data do not fit the network.
    #[expect(clippy::too_many_arguments, reason = "the run, the step, and who observes it")]
    pub(crate) fn run(
        &mut self,
        setup: &Setup,
        cpu: Cpu<'_>,
        progress: Progress,
        rate: f64,
        state: &mut State<T>,
        indices: &[u32],
        observer: &mut dyn Observer<T>,
    ) -> Result<Result<StepResult, NonFiniteStep>, Error> {
        let result = self.take(setup, cpu, progress, rate, state, indices, observer)?;
        if let Err(step) = &result {
            observer.on_non_finite(step.location.as_ref());
        }
        Ok(result)
    }

    #[expect(clippy::too_many_arguments, reason = "those of `run`")]
    fn take(
        &mut self,
        setup: &Setup,
        cpu: Cpu<'_>,
        progress: Progress,
        rate: f64,
        state: &mut State<T>,
        indices: &[u32],
        observer: &mut dyn Observer<T>,
    ) -> Result<Result<StepResult, NonFiniteStep>, Error> {
        let Setup { config, network, .. } = setup;
        let step = progress.step;
        self.saved_buffers.copy_from_slice(&state.weights.buffers);
        let score = self.gradient(setup, cpu, step, &mut state.weights, indices)?;
        let loss = score.mean_loss();
        if let Some(sam) = config.sam {
            match sam.perturb(cpu, &mut state.weights.params, &self.grads, &mut self.unperturbed) {
                Ok(()) => {
                    self.gradient(setup, cpu, step, &mut state.weights, indices)?;
                    state.weights.params.copy_from_slice(&self.unperturbed);
                }
                // Clipping reports the non-finite gradient below.
                Err(nn::Error::Kernel(kernels::Error::NonFinite { .. })) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if let Some(noise) = config.noise {
            noise.add(cpu, config.seed, step, &mut self.grads)?;
        }
        observer.on_gradient(&Gradient {
            setup,
            cpu,
            step: step + 1,
            rate,
            indices,
            params: &state.weights.params,
            grads: &self.grads,
            workspace: &self.workspace,
            rows: indices.chunks(setup.rows_per_batch()).next_back().map_or(0, <[u32]>::len),
            score,
        });
        let (health, context) = (&mut state.position.health, (cpu, network));
        let at = ((step / progress.steps_per_epoch) as u32 + 1, step + 1);
        let is_sampled = is_sampled(step % progress.steps_per_epoch, progress.steps_per_epoch);
        if is_sampled {
            self.probe.before_step(health, at, context, &state.weights.params, &self.grads);
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
                state.weights.buffers.copy_from_slice(&self.saved_buffers);
                let params = &state.weights.params;
                match config.non_finite {
                    // A skipped step is a sampled step whose update is 0.
                    NonFinite::Skip if is_sampled => {
                        self.probe.after_step(health, context, params, rate);
                    }
                    NonFinite::Stop | NonFinite::Rollback if !is_sampled => {
                        self.probe.before_step(health, at, context, params, &self.grads);
                    }
                    _ => {}
                }
                if let Err(nn::Error::SecondMoment { moment, index }) = clipped {
                    let location = locate::second_moment(network, moment, index);
                    return Ok(Err(NonFiniteStep { loss, location }));
                }
                return Ok(Err(self.non_finite(setup, cpu, step, &state.weights, indices, loss)));
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
                return Ok(Err(self.non_finite(setup, cpu, step, &state.weights, indices, loss)));
            }
            bounded => bounded?,
        }
        if let Some(pruner) = &mut self.pruner {
            pruner.prune(progress, &mut weights.params)?;
        }
        if let (Some(lookahead), Some(slow)) = (config.lookahead, slow) {
            lookahead.step(cpu, step + 1, slow, &mut weights.params)?;
        }
        if is_sampled {
            self.probe.after_step(health, context, &weights.params, rate);
        }
        let (params, norm, clip_scale) = (&weights.params[..], clipped.norm, clipped.scale);
        observer.on_update(&Update { setup, cpu, params, norm, clip_scale });
        if let (Some(ema), Some(average)) = (config.ema, average) {
            ema.step(cpu, step, &mut average.params, &weights.params)?;
            average.buffers.copy_from_slice(&weights.buffers);
        }
        Ok(Ok(StepResult { score, norm: clipped.norm }))
    }

    /// The step on the examples `indices` with mean loss `loss`, and its first non-finite values.
    fn non_finite(
        &self,
        setup: &Setup,
        cpu: Cpu<'_>,
        step: u64,
        weights: &ModelWeights<T>,
        indices: &[u32],
        loss: f64,
    ) -> NonFiniteStep {
        // An error of the search is dropped: the divergence is what the run has to report.
        let location = locate::first_non_finite(setup, cpu, step, weights, indices, &self.grads)
            .unwrap_or_default();
        NonFiniteStep { loss, location }
    }

    /// Computes the gradient of the mean loss over the examples `indices`.
    fn gradient(
        &mut self,
        setup: &Setup,
        cpu: Cpu<'_>,
        step: u64,
        weights: &mut ModelWeights<T>,
        indices: &[u32],
    ) -> Result<Score, Error> {
        let Setup { config, dataset, network, .. } = setup;
        let Self { batch, workspace, grads, batch_grads, mixed, mixed_targets, .. } = self;
        let mut total = Score::default();
        let total_weight = weight::<T>(setup, indices);
        let epoch = step / setup.steps_per_epoch();
        let (list, seed, isa) = (&config.augment[..], config.seed, cpu.isa);
        let augmentation =
            (!list.is_empty()).then_some(Augmentation { list, seed, epoch: epoch as u32, isa });
        for (part, indices) in indices.chunks(setup.rows_per_batch()).enumerate() {
            let examples = batch.fill_augmented(&dataset.train, indices, augmentation)?;
            // Each batch of each step has random draws of its own.
            let number = step * u64::from(config.accumulate) + part as u64;
            let examples = match (config.mixing, examples) {
                (Some(mixing), Batch { inputs, targets: nn::Targets::Labels(labels) }) => {
                    let (stream, classes) =
                        (streams::mixing(config.seed, number), network.outputs());
                    let mixed = &mut mixed[..inputs.len()];
                    let targets = &mut mixed_targets[..labels.len() * classes];
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
                (_, examples) => examples,
            };
            let mode = Mode::Train { seed: config.seed, step: number };
            let into = if part == 0 { &mut *grads } else { &mut *batch_grads };
            let score = network.gradient(cpu, mode, weights.view(), examples, workspace, into)?;
            if score.weight < total_weight {
                let weight = T::from_f64(score.weight / total_weight);
                match part {
                    0 => vector::scale(cpu, weight, grads),
                    _ => vector::axpy(cpu, weight, batch_grads, grads).map_err(nn::Error::from)?,
                }
            }
            total += score;
        }
        Ok(total)
    }
}

/// Divisor of the mean loss over the examples `indices`.
fn weight<T: Element>(setup: &Setup, indices: &[u32]) -> f64 {
    match setup.dataset.train.targets() {
        // Mixed labels are distributions: each counts as one example.
        Targets::Classes(labels) if setup.config.mixing.is_none() => {
            let labels = indices.iter().map(|&index| u32::from(labels[index as usize]));
            setup.network.weight_of::<T>(labels)
        }
        _ => indices.len() as f64,
    }
}

#[cfg(test)]
mod tests {
    use kernels::{Isa, Serial};

    use super::*;
    use crate::data::synthetic::Classification;
    use crate::run::config::{Config, Source};

    /// `--isa` applies to the gather of a batch as well.
    #[test]
    fn batches_are_gathered_on_the_instruction_set_of_the_run() {
        let classification = Classification { samples: 100, ..Classification::default() };
        let config = Config {
            dataset: Source::Classification,
            classification: Some(classification),
            ..Config::default()
        };
        let setup = Setup::new(config).expect("a configuration that fits");
        for isa in Isa::available() {
            let step = TrainingStep::<f32>::new(&setup, Cpu::new(isa, &Serial)).expect("memory");
            assert_eq!(step.batch.isa(), isa);
        }
    }
}
