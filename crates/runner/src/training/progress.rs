//! Progress of a training run on stderr: a line at its start, a line per epoch, and on a terminal a
//! bar for the whole run.
//!
//! `train` calls it. It prints nothing with `--quiet`.

use std::fmt;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::machine::terminal::say;
use crate::run::epoch::Epoch;
use crate::run::setup::Setup;
use crate::run::state::Position;

/// Contents of the bar: epoch, steps of the run, examples per second, and the time that is left.
const TEMPLATE: &str = "{msg} {wide_bar} {pos}/{len} {speed} {eta}";

/// Progress of a run.
#[derive(Debug)]
pub(crate) struct TrainingProgress {
    quiet: bool,
    epochs: u32,
    steps_per_epoch: u64,
    examples_per_epoch: usize,
    /// Unit name of an example, such as `images`.
    noun: &'static str,
    bar: ProgressBar,
}

impl TrainingProgress {
    /// Progress of the run `setup`, which is at `position`.
    pub(crate) fn new(quiet: bool, setup: &Setup, position: &Position) -> Self {
        let (noun, per_step) = (setup.dataset.train.noun(), setup.config.images_per_step());
        let (epochs, steps_per_epoch) = (setup.config.epochs, setup.steps_per_epoch());
        // indicatif draws to stderr, and only if that is a terminal.
        let target =
            if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(Some(steps_per_epoch * u64::from(epochs)), target);
        let speed = move |state: &ProgressState, out: &mut dyn fmt::Write| {
            // An error while drawing does not matter.
            let _ = out.write_str(&speed(state.per_sec() * per_step as f64, noun));
        };
        let style =
            ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
        let progress = Self {
            quiet,
            epochs,
            steps_per_epoch,
            examples_per_epoch: setup.rows_per_epoch(),
            noun,
            bar: bar.with_style(style.with_key("speed", speed)),
        };
        progress.start_epoch(position.history.len() + 1);
        progress.step(position);
        progress.bar.reset_eta();
        progress
    }

    /// Prints `line` above the bar.
    pub(crate) fn line(&self, line: &str) {
        if !self.quiet {
            self.bar.suspend(|| say(line));
        }
    }

    /// Updates the bar after a step.
    pub(crate) fn step(&self, position: &Position) {
        self.bar.set_position(position.global_step(self.steps_per_epoch));
    }

    /// Prints the line of a finished epoch.
    pub(crate) fn epoch(&self, epoch: &Epoch) {
        let accuracy = match epoch.val_accuracy {
            accuracy if accuracy.is_nan() => String::new(),
            accuracy => format!("val accuracy {:.2} %  ", 100.0 * accuracy),
        };
        let Epoch { epoch: number, train_loss, val_loss, grad_norm, train_seconds, .. } = epoch;
        let speed = speed(self.examples_per_epoch as f64 / train_seconds, self.noun);
        self.line(&format!(
            "epoch {number:>2}/{}  train loss {train_loss:.4}  val loss {val_loss:.4}  \
             {accuracy}gradient norm {grad_norm:.3}  {train_seconds:.2} s  {speed}",
            self.epochs,
        ));
        self.start_epoch(epoch.epoch as usize + 1);
    }

    /// Sets the epoch number of the bar.
    fn start_epoch(&self, number: usize) {
        self.bar.set_message(format!("epoch {number:>2}/{}", self.epochs));
    }

    /// Removes the bar at the end of the run.
    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// Examples per second, as text.
fn speed(per_second: f64, noun: &str) -> String {
    if per_second < 1e4 {
        format!("{per_second:.0} {noun}/s")
    } else {
        format!("{:.0}k {noun}/s", per_second / 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_valid() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }
}
