//! The training loop.
//!
//! ```text
//! for each epoch e
//!     order = the training images of the epoch, by (seed, e)        `epoch`
//!     for each step's images of them
//!         gradient of the mean loss                 `step`; not finite: diverged, left out, or back to the epoch's begin
//!         norm of it; clip
//!         optimizer step at rate(step) along scale * gradient; bounds; averages
//!         anyone wants to stop?                     interrupted, at this very step
//!     score the validation set; keep the weights if they are the best yet
//! ```
//!
//! The bits of everything but the seconds are a function of configuration and data. [`State`] is all that the loop
//! carries from one step to the next, so that a run that is stopped anywhere goes on to the same bits.
//! `train` calls it, and watches through [`Watch`].

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
use crate::training::non_finite::Remedy;
use crate::training::step::{NotFinite, Stepper, Taken};

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

/// Whoever watches a run.
pub trait Watch<T> {
    /// A step was taken; `false` stops the run.
    ///
    /// # Errors
    /// Whatever stands in the way of going on.
    fn step(&mut self, state: &State<T>) -> Result<bool, Error>;
    /// Loss or gradient was not finite, and something was done about it.
    fn met(&mut self, _found: &Divergence, _remedy: Remedy) {}
    /// An epoch is done: the last of the state's history.
    ///
    /// # Errors
    /// Whatever stands in the way of going on.
    fn epoch(&mut self, state: &State<T>) -> Result<(), Error>;
}

/// Trains from `state` on, until the end of the last epoch, an early stop, or until `watch` stops it.
///
/// # Errors
/// [`Error::Network`] if the data do not fit the network, and what `watch` returns. Divergence is no error
/// but an [`End`].
pub fn run<T: Element>(
    setup: &Setup,
    cpu: Cpu<'_>,
    state: &mut State<T>,
    watch: &mut impl Watch<T>,
) -> Result<End, Error> {
    let Setup { config, dataset, split, network } = setup;
    let mut stepper = Stepper::new(setup, cpu)?;
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
        && !stops(setup, &state.position.history)
    {
        let epochs_done = state.position.history.len() as u32;
        let first_step = steps_per_epoch * u64::from(epochs_done);
        let order = setup.order(epochs_done);
        let of_a_step = order.chunks(config.images_per_step() as usize);
        for indices in of_a_step.skip(state.position.step as usize) {
            let started = Instant::now();
            let step = first_step + state.position.step;
            let rate = rate(step, &state.position);
            let taken = state.optimizer.steps();
            match stepper.take(setup, cpu, progress(step), rate, state, indices)? {
                Ok(taken) => state.position.count(taken, started.elapsed().as_secs_f64()),
                Err(NotFinite { loss, origin }) => {
                    let (epoch, step) = (epochs_done + 1, state.position.step + 1);
                    let found = Divergence { epoch, step, loss, origin, given_up: None };
                    // Bounds look at parameters after the optimizer's step.
                    state.position.step += state.optimizer.steps() - taken;
                    match meet(config.non_finite, state, watch, found) {
                        Ok(Remedy::Skipped) => {}
                        Ok(Remedy::RolledBack) => continue 'epochs,
                        Err(found) => return Ok(End::Diverged(found)),
                    }
                }
            }
            if !watch.step(state)? {
                return Ok(End::Stopped);
            }
        }

        let validation =
            scorer.score(network, cpu, state.scored(), &dataset.train, &split.validation)?;
        let lr = rate(first_step + steps_per_epoch - 1, &state.position);
        if !validation.loss.is_finite() {
            let (epoch, step, loss) =
                (epochs_done + 1, state.position.step, validation.mean_loss());
            let origin = Some("the answers to the validation set, after that step".into());
            let found = Divergence { epoch, step, loss, origin, given_up: None };
            // All steps are taken: there is none to leave out.
            let policy = match config.non_finite {
                NonFinite::Skip => NonFinite::Stop,
                policy => policy,
            };
            match meet(policy, state, watch, found) {
                Ok(_) => continue,
                Err(found) => return Ok(End::Diverged(found)),
            }
        }
        let Position { history, step, sums, recovery, .. } = &mut state.position;
        let before = history.iter().fold(0_u32, |sum, epoch| sum.saturating_add(epoch.rollbacks));
        let epoch = Epoch {
            epoch: epochs_done + 1,
            step: first_step + steps_per_epoch,
            train_seconds: sums.seconds,
            train_loss: sums.loss / sums.weight,
            val_loss: validation.mean_loss(),
            val_accuracy: if dataset.has_values() { f64::NAN } else { validation.accuracy() },
            lr,
            grad_norm: sums.norm / (steps_per_epoch - sums.skipped) as f64,
            grad_norm_max: sums.norm_max,
            skipped: sums.skipped,
            rollbacks: recovery.rollbacks.saturating_sub(before),
        };
        let best = epoch::best(history).is_none_or(|best| epoch.is_better_than(best));
        history.push(epoch);
        (*step, *sums) = (0, Sums::default());
        if best {
            let State { weights, best, average, .. } = state;
            best.copy_from(average.as_ref().unwrap_or(weights));
        }
        watch.epoch(state)?;
        state.drop_anchor(config.non_finite);
    }
    Ok(End::Done)
}

/// Has `policy` do what is to be done about `found`, and says so to `watch`.
fn meet<T: Element>(
    policy: NonFinite,
    state: &mut State<T>,
    watch: &mut impl Watch<T>,
    found: Divergence,
) -> Result<Remedy, Divergence> {
    let remedy = policy.meet(state, found.clone())?;
    watch.met(&found, remedy);
    Ok(remedy)
}

/// Whether a run with this history ends before its last epoch.
pub(crate) fn stops(setup: &Setup, history: &[Epoch]) -> bool {
    let Some(rule) = setup.config.early_stopping else { return false };
    let result = |epoch: &Epoch| match rule.monitor {
        Monitor::ValLoss => epoch.val_loss,
        Monitor::ValAccuracy => epoch.val_accuracy,
    };
    rule.stops(&history.iter().map(result).collect::<Vec<_>>())
}

impl Position {
    /// Counts a step that took `seconds`.
    fn count(&mut self, Taken { score, norm }: Taken, seconds: f64) {
        let Self { step, sums, recovery, .. } = self;
        *step += 1;
        recovery.in_a_row = 0;
        sums.loss += score.loss;
        sums.weight += score.weight;
        sums.norm += norm;
        sums.norm_max = sums.norm_max.max(norm);
        sums.seconds += seconds;
    }
}
