//! Extension of a run to another number of epochs: `train --resume DIR --epochs N`.
//!
//! ```text
//! extended = [{ step = 2000, epochs = 4 }]    up to step 2000, the schedule of 4 epochs
//! epochs = 8                                  from there on, that of 8 epochs
//! ```
//!
//! The key `extended` of the configuration records the earlier numbers of epochs, so that the
//! configuration alone still repeats the run to the bit. If the schedule does not depend on the
//! number of epochs, the run has the bits of one that was started with all of them.

use std::fs::File;
use std::path::PathBuf;

use kernels::Cpu;
use nn::Progress;

use crate::Error;
use crate::machine::terminal;
use crate::run::config::{Config, require};
use crate::run::folder::RunFolder;
use crate::run::setup::Setup;
use crate::run::state::Position;
use crate::run::summary::{Status, Summary};
use crate::run::{folder, sizes};
use crate::training::epochs;

/// Options that may change when a run is resumed, since the steps so far stay as they are. `None`
/// leaves the configured value.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Number of epochs, which becomes part of the configuration.
    pub epochs: Option<u32>,
    /// Folder or file of data that have moved.
    pub data: Option<PathBuf>,
    /// Number of steps between checkpoints.
    pub checkpoint_steps: Option<u64>,
    /// Number of epochs between checkpoints.
    pub checkpoint_epochs: Option<u32>,
    /// Number of threads.
    pub threads: Option<usize>,
    /// Name of the instruction set.
    pub isa: Option<String>,
}

impl Changes {
    /// The new number of epochs, if it differs from that of `stored`.
    pub(crate) fn extends(&self, stored: &Config) -> Option<u32> {
        self.epochs.filter(|epochs| *epochs != stored.epochs)
    }

    /// Applies all changes but the number of epochs to `config`.
    pub(crate) fn apply(&self, config: Config) -> Config {
        let Self { data, checkpoint_steps, checkpoint_epochs, threads, isa, .. } = self.clone();
        Config {
            data: data.or(config.data),
            checkpoint_steps: checkpoint_steps.or(config.checkpoint_steps),
            checkpoint_epochs: checkpoint_epochs.or(config.checkpoint_epochs),
            threads: threads.or(config.threads),
            isa: isa.unwrap_or(config.isa),
            ..config
        }
    }
}

/// Changes the number of epochs of the run `setup` in `folder` to `epochs`. `stored` is the
/// contents of its configuration file, `position` that of its checkpoint, if it has one. Returns
/// the lock of the new configuration file.
///
/// # Errors
/// [`Error::Usage`] if the run has started more epochs, or early stopping has ended it. Then
/// nothing is written.
pub(crate) fn extend(
    folder: &RunFolder,
    setup: &mut Setup,
    position: Option<&Position>,
    mut stored: Config,
    epochs: u32,
    quiet: bool,
) -> Result<File, Error> {
    let start = Position::default();
    let at = position.unwrap_or(&start);
    let started_epochs = at.history.len() as u32 + u32::from(at.step > 0);
    let name = folder.path().display();
    let min = started_epochs.max(1);
    let expected = format!("at least {min}, which {name} has started");
    require("epochs", epochs, epochs >= min, &expected)?;
    if epochs::stops_early(setup, &at.history) {
        return Err(Error::Usage(format!(
            "epochs: expected a run that can continue, got {name}, which early_stopping ended \
             after {} epochs (flag --epochs)",
            at.history.len()
        )));
    }
    let steps_per_epoch = setup.steps_per_epoch();
    let global_step = at.global_step(steps_per_epoch);
    let before = setup.config.clone();
    for config in [&mut setup.config, &mut stored] {
        config.extend(epochs, position.map(|_| global_step));
    }
    setup.config.check()?;
    sizes::check(setup)?;

    // The summary comes first: a process that is killed here leaves a run that can be resumed.
    if folder.file(folder::SUMMARY).is_file() {
        let summary = Summary {
            status: Status::Interrupted,
            test_loss: None,
            test_accuracy: None,
            test_accuracy_low: None,
            test_accuracy_high: None,
            ..folder::summary(folder)?
        };
        folder.write(folder::SUMMARY, summary.to_json().as_bytes())?;
    }
    let lock = folder.replace_config(&stored.to_toml()?)?;
    if !quiet {
        let configured = before.epochs;
        terminal::say(&format!("{name} continues to {epochs} epochs instead of {configured}"));
        if !has_same_past(&before, epochs, steps_per_epoch, global_step) {
            let progress = Progress {
                step: global_step,
                steps: steps_per_epoch * u64::from(epochs),
                steps_per_epoch,
            };
            let rate = setup.config.rate() * setup.config.schedule.factor(Cpu::detect(), progress);
            terminal::say(&format!(
                "its schedule depends on the number of epochs: the {global_step} steps so far \
                 followed the schedule of {configured} epochs, the next ones follow that of \
                 {epochs} epochs, from a rate of {rate:.2e} on. A run of {epochs} epochs from the \
                 start would differ"
            ));
        }
    }
    Ok(lock)
}

/// `true` if the first `steps` steps of `config` are the same with `epochs` epochs: their rates,
/// and the pruning.
fn has_same_past(config: &Config, epochs: u32, steps_per_epoch: u64, steps: u64) -> bool {
    let factor = |step, epochs: u32| {
        let progress =
            Progress { step, steps: steps_per_epoch * u64::from(epochs), steps_per_epoch };
        config.schedule.factor(Cpu::detect(), progress).to_bits()
    };
    let is_same = |step| factor(step, config.epochs_at(step)) == factor(step, epochs);
    steps == 0 || (config.pruning.is_none() && (0..steps).all(is_same))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_some_schedules_depend_on_the_length() {
        let is_same = |schedule: &str| {
            let config: Config =
                toml::from_str(&format!("epochs = 4\nschedule = {schedule}")).expect("keys");
            has_same_past(&config, 8, 10, 40)
        };
        assert!(
            is_same("{ kind = \"constant\" }")
                && is_same("{ kind = \"step\", every = 2, factor = 0.1 }")
        );
        assert!(!is_same("{ kind = \"cosine\" }") && !is_same("{ kind = \"one_cycle\" }"));
        assert!(has_same_past(&Config::default(), 99, 10, 0));
    }
}
