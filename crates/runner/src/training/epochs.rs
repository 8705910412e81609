//! The training loop.
//!
//! ```text
//! for each epoch e
//!     order = training examples of the epoch, by (seed, e)       `Setup::order`
//!     for each step's examples
//!         gradient of the mean loss, its norm, clipping          `step`
//!         non-finite: end, skip the step, or roll back           `non_finite`
//!         optimizer step at rate(step); bounds; averages
//!         stop requested?                                        end after this step
//!     score the validation set; save the weights if they are the best so far
//! ```
//!
//! All bits but those of the seconds are a function of configuration and data. [`State`] is all
//! that the loop carries from one step to the next, so that a run that is stopped anywhere
//! continues to the same bits. `train` calls it, with a [`Callback`].

use std::time::Instant;

use kernels::Cpu;
use nn::{Monitor, Progress};

use crate::Error;
use crate::data::element::Element;
use crate::evaluation::scorer::Scorer;
use crate::run::config::NonFinite;
use crate::run::divergence::Divergence;
use crate::run::epoch;
use crate::run::epoch::Epoch;
use crate::run::setup::Setup;
use crate::run::state::{Position, State, Sums};
use crate::training::non_finite::Action;
use crate::training::observer::Observer;
use crate::training::step::{NonFiniteStep, StepResult, TrainingStep};

/// Why the loop returned.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// Every epoch is done.
    Done,
    /// [`Callback::on_step_end`] asked for it, after that step.
    Stopped,
    /// A loss or a gradient is non-finite. Its step was not taken.
    Diverged(Divergence),
}

/// Called by the training loop at the events of a run.
pub trait Callback<T> {
    /// Called after each step; `false` stops the run.
    ///
    /// # Errors
    /// Any error ends the run.
    fn on_step_end(&mut self, state: &State<T>) -> Result<bool, Error>;
    /// Called after a non-finite loss or gradient from which the run recovers by `action`.
    fn on_non_finite(&mut self, _divergence: &Divergence, _action: Action) {}
    /// Called after each epoch, which is the last of the state's history.
    ///
    /// # Errors
    /// Any error ends the run.
    fn on_epoch_end(&mut self, state: &State<T>) -> Result<(), Error>;
}

/// Trains from `state` until the last epoch ends, early stopping applies, or `callback` stops it.
/// `observer` sees every step.
///
/// # Errors
/// [`Error::Network`] if the data do not fit the network, and the errors of `callback`. Divergence
/// is not an error but an [`End`].
pub fn run<T: Element>(
    setup: &Setup,
    cpu: Cpu<'_>,
    state: &mut State<T>,
    callback: &mut impl Callback<T>,
    observer: &mut dyn Observer<T>,
) -> Result<End, Error> {
    let Setup { config, dataset, split, network } = setup;
    let mut training_step = TrainingStep::new(setup, cpu)?;
    let mut scorer = Scorer::new(network, cpu)?;
    let steps_per_epoch = setup.steps_per_epoch();
    let steps = |step| steps_per_epoch * u64::from(config.epochs_at(step));
    let progress = |step| Progress { step, steps: steps(step), steps_per_epoch };
    let rate = |step, Position { history, recovery, .. }: &Position| {
        let plateau = config
            .plateau
            .map_or(1.0, |plateau| plateau.factor(history.iter().map(|e| e.val_loss)));
        config.rate() * plateau * config.schedule.factor(cpu, progress(step)) * recovery.rate()
    };

    'epochs: while state.position.history.len() < config.epochs as usize
        && !stops_early(setup, &state.position.history)
    {
        let finished_epochs = state.position.history.len() as u32;
        let first_step = steps_per_epoch * u64::from(finished_epochs);
        let order = setup.order(finished_epochs);
        let examples_per_step = config.images_per_step() as usize;
        for indices in order.chunks(examples_per_step).skip(state.position.step as usize) {
            let started = Instant::now();
            let step = state.position.global_step(steps_per_epoch);
            let rate = rate(step, &state.position);
            let optimizer_steps = state.optimizer.steps();
            match training_step.run(setup, cpu, progress(step), rate, state, indices, observer)? {
                Ok(result) => state.position.add_step(result, started.elapsed().as_secs_f64()),
                Err(NonFiniteStep { loss, location }) => {
                    let (epoch, step) = (finished_epochs + 1, state.position.step + 1);
                    let location = location.map(|location| location.to_string());
                    let divergence = Divergence { epoch, step, loss, location, given_up: None };
                    // Bounds check the parameters after the optimizer's step, which then counts.
                    state.position.step += state.optimizer.steps() - optimizer_steps;
                    match recover(config.non_finite, state, callback, divergence) {
                        Ok(Action::Skipped) => {}
                        Ok(Action::RolledBack) => continue 'epochs,
                        Err(divergence) => return Ok(End::Diverged(divergence)),
                    }
                }
            }
            if !callback.on_step_end(state)? {
                return Ok(End::Stopped);
            }
        }

        let validation =
            scorer.score(network, cpu, state.scored(), &dataset.train, &split.validation)?;
        let lr = rate(first_step + steps_per_epoch - 1, &state.position);
        if !validation.loss.is_finite() {
            let (epoch, step, loss) =
                (finished_epochs + 1, state.position.step, validation.mean_loss());
            let location = Some("the outputs for the validation set, after that step".into());
            let divergence = Divergence { epoch, step, loss, location, given_up: None };
            // All steps of the epoch are taken: none is left to skip.
            let policy = match config.non_finite {
                NonFinite::Skip => NonFinite::Stop,
                policy => policy,
            };
            match recover(policy, state, callback, divergence) {
                Ok(_) => continue,
                Err(divergence) => return Ok(End::Diverged(divergence)),
            }
        }
        let Position { history, step, sums, recovery, .. } = &mut state.position;
        let rollbacks_before =
            history.iter().fold(0_u32, |sum, epoch| sum.saturating_add(epoch.rollbacks));
        let epoch = Epoch {
            epoch: finished_epochs + 1,
            step: first_step + steps_per_epoch,
            train_seconds: sums.seconds,
            train_loss: sums.loss / sums.weight,
            val_loss: validation.mean_loss(),
            val_accuracy: if dataset.has_values() { f64::NAN } else { validation.accuracy() },
            lr,
            grad_norm: sums.norm / (steps_per_epoch - sums.skipped) as f64,
            grad_norm_max: sums.norm_max,
            skipped: sums.skipped,
            rollbacks: recovery.rollbacks.saturating_sub(rollbacks_before),
        };
        let is_best = epoch::best(history).is_none_or(|best| epoch.is_better_than(best));
        history.push(epoch);
        (*step, *sums) = (0, Sums::default());
        if is_best {
            let State { weights, best, average, .. } = state;
            best.copy_from(average.as_ref().unwrap_or(weights));
        }
        callback.on_epoch_end(state)?;
        state.take_snapshot(config.non_finite);
    }
    Ok(End::Done)
}

/// Applies `policy` to `divergence`, and reports the action to `callback`.
fn recover<T: Element>(
    policy: NonFinite,
    state: &mut State<T>,
    callback: &mut impl Callback<T>,
    divergence: Divergence,
) -> Result<Action, Divergence> {
    let action = policy.apply(state, divergence.clone())?;
    callback.on_non_finite(&divergence, action);
    Ok(action)
}

/// `true` if early stopping ends a run with this history.
pub(crate) fn stops_early(setup: &Setup, history: &[Epoch]) -> bool {
    let Some(rule) = setup.config.early_stopping else { return false };
    let monitored = |epoch: &Epoch| match rule.monitor {
        Monitor::ValLoss => epoch.val_loss,
        Monitor::ValAccuracy => epoch.val_accuracy,
    };
    rule.stops(&history.iter().map(monitored).collect::<Vec<_>>())
}

impl Position {
    /// Adds a step that took `seconds`.
    fn add_step(&mut self, StepResult { score, norm }: StepResult, seconds: f64) {
        let Self { step, sums, recovery, .. } = self;
        *step += 1;
        recovery.consecutive_skips = 0;
        sums.loss += score.loss;
        sums.weight += score.weight;
        sums.norm += norm;
        sums.norm_max = sums.norm_max.max(norm);
        sums.seconds += seconds;
    }
}
