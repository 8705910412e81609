//! What a training run tells a person on stderr: a line at its start, a line an epoch, and on a terminal a bar between.
//!
//! `train` calls it. With `--quiet` it says nothing.

use std::io::Write;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::metrics::Epoch;
use crate::training::Position;

/// What the bar shows.
const TEMPLATE: &str = "{msg} {wide_bar} {pos}/{len} {eta}";

/// Prints a line on stderr. Where nobody listens, nothing is lost.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// A run, as stderr shows it.
#[derive(Debug)]
pub(crate) struct Display {
    quiet: bool,
    epochs: u32,
    bar: ProgressBar,
}

impl Display {
    /// For a run of `epochs` epochs of `steps` steps that is at `position`.
    pub(crate) fn new(quiet: bool, epochs: u32, steps: u64, position: &Position) -> Self {
        // indicatif draws to stderr, and not at all where that is no terminal.
        let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(Some(steps), target).with_style(style);
        let display = Self { quiet, epochs, bar };
        display.begin(position.history.len() + 1);
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
        self.bar.set_position(position.step);
    }

    /// An epoch is done.
    pub(crate) fn epoch(&self, epoch: &Epoch) {
        let accuracy = match epoch.val_accuracy {
            none if none.is_nan() => String::new(),
            share => format!("val accuracy {:.2} %  ", 100.0 * share),
        };
        self.line(&format!(
            "epoch {:>2}/{}  train loss {:.4}  val loss {:.4}  {accuracy}gradient norm {:.3}  {:.2} s",
            epoch.epoch, self.epochs, epoch.train_loss, epoch.val_loss, epoch.grad_norm, epoch.train_seconds,
        ));
        self.begin(epoch.epoch as usize + 1);
    }

    /// The bar is that of epoch `number`.
    fn begin(&self, number: usize) {
        self.bar.set_message(format!("epoch {number:>2}/{}", self.epochs));
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
