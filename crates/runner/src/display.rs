//! What a training run tells a person on stderr: a line at its start, a line an epoch, and on a terminal a bar between.
//!
//! `train` calls it. With `--quiet` it says nothing.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::metrics::Epoch;
use crate::training::Position;

/// What the bar shows.
const TEMPLATE: &str = "{msg} {wide_bar} {pos}/{len} {eta}";

/// A run, as stderr shows it.
#[derive(Debug)]
pub(crate) struct Display {
    quiet: bool,
    epochs: u32,
    bar: ProgressBar,
}

impl Display {
    /// For a run of `epochs` epochs of `steps` steps.
    pub(crate) fn new(quiet: bool, epochs: u32, steps: u64) -> Self {
        // indicatif draws to stderr, and not at all where that is no terminal.
        let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(Some(steps), target).with_style(style);
        Self { quiet, epochs, bar }
    }

    /// A line of its own.
    pub(crate) fn line(&self, line: &str) {
        if !self.quiet {
            self.bar.suspend(|| eprintln!("{line}"));
        }
    }

    /// A step was taken.
    pub(crate) fn step(&self, position: &Position) {
        if position.step == 1 {
            self.bar.set_message(format!("epoch {:>2}/{}", position.history.len() + 1, self.epochs));
        }
        self.bar.set_position(position.step);
    }

    /// An epoch is done.
    pub(crate) fn epoch(&self, epoch: &Epoch) {
        self.line(&format!(
            "epoch {:>2}/{}  train loss {:.4}  val loss {:.4}  val accuracy {:.2} %  gradient norm {:.3}  {:.2} s",
            epoch.epoch,
            self.epochs,
            epoch.train_loss,
            epoch.val_loss,
            100.0 * epoch.val_accuracy,
            epoch.grad_norm,
            epoch.train_seconds,
        ));
        self.bar.set_position(0);
        self.bar.reset_eta();
    }

    /// The run is over: the bar goes.
    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
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
