//! What a training run tells a person on stderr: a line at its start, a line an epoch, and on a terminal a bar of the whole run.
//!
//! `train` calls it. With `--quiet` it says nothing.

use std::fmt;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::machine::terminal::say;
use crate::run::epoch::Epoch;
use crate::run::setup::Setup;
use crate::run::state::Position;

/// What the bar shows: the epoch, the steps of the run, how fast it goes, and how long it still takes.
const TEMPLATE: &str = "{msg} {wide_bar} {pos}/{len} {speed} {eta}";

/// A run, as stderr shows it.
#[derive(Debug)]
pub(crate) struct Display {
    quiet: bool,
    epochs: u32,
    /// Steps of an epoch.
    steps: u64,
    /// Examples of an epoch, and what they are called.
    images: usize,
    noun: &'static str,
    bar: ProgressBar,
}

impl Display {
    /// For the run `setup`, which is at `position`.
    pub(crate) fn new(quiet: bool, setup: &Setup, position: &Position) -> Self {
        let (epochs, images) = (setup.config.epochs, setup.rows_per_epoch());
        let (noun, per_step) = (setup.dataset.train.noun(), setup.config.images_per_step());
        let steps = setup.steps_per_epoch();
        // indicatif draws to stderr, and not at all where that is no terminal.
        let target =
            if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(Some(steps * u64::from(epochs)), target);
        let speed = move |state: &ProgressState, out: &mut dyn fmt::Write| {
            // A line that cannot be drawn is no matter.
            let _ = out.write_str(&speed(state.per_sec() * per_step as f64, noun));
        };
        let style =
            ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
        let display = Self {
            quiet,
            epochs,
            steps,
            images,
            noun,
            bar: bar.with_style(style.with_key("speed", speed)),
        };
        display.begin(position.history.len() + 1);
        display.step(position);
        display.bar.reset_eta();
        display
    }

    /// A line of its own.
    pub(crate) fn line(&self, line: &str) {
        if !self.quiet {
            self.bar.suspend(|| say(line));
        }
    }

    /// A step was taken.
    pub(crate) fn step(&self, position: &Position) {
        self.bar.set_position(position.history.len() as u64 * self.steps + position.step);
    }

    /// An epoch is done.
    pub(crate) fn epoch(&self, epoch: &Epoch) {
        let accuracy = match epoch.val_accuracy {
            none if none.is_nan() => String::new(),
            share => format!("val accuracy {:.2} %  ", 100.0 * share),
        };
        let Epoch { epoch: number, train_loss, val_loss, grad_norm, train_seconds, .. } = epoch;
        let speed = speed(self.images as f64 / train_seconds, self.noun);
        self.line(&format!(
            "epoch {number:>2}/{}  train loss {train_loss:.4}  val loss {val_loss:.4}  {accuracy}gradient norm {grad_norm:.3}  \
             {train_seconds:.2} s  {speed}",
            self.epochs,
        ));
        self.begin(epoch.epoch as usize + 1);
    }

    /// The bar is that of epoch `number`.
    fn begin(&self, number: usize) {
        self.bar.set_message(format!("epoch {number:>2}/{}", self.epochs));
    }

    /// The run is over: the bar goes.
    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// So many a second.
fn speed(a_second: f64, noun: &str) -> String {
    match a_second {
        few if few < 1e4 => format!("{few:.0} {noun}/s"),
        many => format!("{:.0}k {noun}/s", many / 1e3),
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
