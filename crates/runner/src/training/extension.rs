//! A run with more epochs than it was begun with: `train --resume DIR --epochs N`.
//!
//! ```text
//! extended = [{ step = 2000, epochs = 4 }]    up to step 2000, the schedule is that of 4 epochs
//! epochs = 8                                  from there on, that of 8
//! ```
//!
//! The key `extended` of the configuration keeps the lengths that the run had before, so that the
//! configuration alone still repeats it to the bit. A run whose schedule does not depend on its
//! length has the bits of one that was begun with all its epochs.

use std::fs::File;
use std::path::PathBuf;

use kernels::Cpu;
use nn::Progress;

use crate::Error;
use crate::machine::terminal;
use crate::run::checkpoint::Identity;
use crate::run::config::{Config, require};
use crate::run::folder::RunFolder;
use crate::run::setup::Setup;
use crate::run::state::Position;
use crate::run::summary::{Status, Summary};
use crate::run::{checkpoint, folder, sizes};
use crate::training::epochs;

/// Options that may change when a run is resumed, since the steps so far stay as they are; `None`
/// for what its configuration says.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Number of epochs, which becomes part of the configuration.
    pub epochs: Option<u32>,
    /// Folder or file of its data, which have moved.
    pub data: Option<PathBuf>,
    /// Number of steps between checkpoints.
    pub checkpoint_steps: Option<u64>,
    /// Number of epochs between checkpoints.
    pub checkpoint_epochs: Option<u32>,
    /// Number of threads.
    pub threads: Option<usize>,
    /// The instruction set.
    pub isa: Option<String>,
}

impl Changes {
    /// The new number of epochs, if it is another than that of `stored`.
    pub(crate) fn extends(&self, stored: &Config) -> Option<u32> {
        self.epochs.filter(|epochs| *epochs != stored.epochs)
    }

    /// `config` with all of them but the number of epochs.
    pub(crate) fn on(&self, config: Config) -> Config {
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

/// Makes `epochs` the number of epochs of the run `setup` in `folder`, whose configuration file
/// holds `stored`. Returns the lock of the new file.
///
/// # Errors
/// [`Error::Usage`] if more epochs are begun already, or the run was ended by early stopping; those
/// of reading the checkpoint. Then nothing is written.
pub(crate) fn extend(
    folder: &RunFolder,
    setup: &mut Setup,
    mut stored: Config,
    epochs: u32,
    quiet: bool,
) -> Result<File, Error> {
    let path = folder.file(folder::CHECKPOINT);
    let position = match path.is_file() {
        true => Some(checkpoint::position(&path, &Identity::new(setup)?)?),
        false => None,
    };
    let Position { history, step, .. } = position.clone().unwrap_or_default();
    let begun = history.len() as u32 + u32::from(step > 0);
    let name = folder.path().display();
    let least = format!("at least {}, which {name} has begun", begun.max(1));
    require("epochs", epochs, epochs >= begun.max(1), &least)?;
    if epochs::stops(setup, &history) {
        return Err(Error::Usage(format!(
            "epochs: expected a run that goes on, got {name}, which early_stopping ended after {} epochs (flag --epochs)",
            history.len()
        )));
    }
    let of_an_epoch = setup.steps_per_epoch();
    let taken = of_an_epoch * history.len() as u64 + step;
    let before = setup.config.clone();
    for config in [&mut setup.config, &mut stored] {
        config.extend(epochs, position.as_ref().map(|_| taken));
    }
    setup.config.check()?;
    sizes::check(setup)?;

    // The summary first: a process that is killed here leaves a run that can be resumed.
    if folder.file(folder::SUMMARY).is_file() {
        let (status, none) = (Status::Interrupted, None);
        let summary = Summary { status, test_loss: none, ..folder::summary(folder)? };
        let summary = Summary {
            test_accuracy: none,
            test_accuracy_low: none,
            test_accuracy_high: none,
            ..summary
        };
        let text = summary.to_json().map_err(|error| Error::Usage(format!("summary: {error}")))?;
        folder.write(folder::SUMMARY, text.as_bytes())?;
    }
    let lock = folder.replace_config(&stored.to_toml()?)?;
    if !quiet {
        terminal::say(&format!(
            "{name} goes on to {epochs} epochs: it was to have {}",
            before.epochs
        ));
        if !is_same_past(&before, epochs, of_an_epoch, taken) {
            let progress = Progress {
                step: taken,
                steps: of_an_epoch * u64::from(epochs),
                steps_per_epoch: of_an_epoch,
            };
            let rate = setup.config.rate() * setup.config.schedule.factor(Cpu::detect(), progress);
            terminal::say(&format!(
                "its schedule depends on the number of epochs: the {taken} steps so far are those of {} epochs, the next ones follow \
                 the schedule of {epochs} epochs, from a rate of {rate:.2e} on. A run of {epochs} epochs from the start would differ",
                before.epochs
            ));
        }
    }
    Ok(lock)
}

/// `true` if the first `taken` steps of `config` are the same with `epochs` epochs: rates, and what
/// pruning does.
fn is_same_past(config: &Config, epochs: u32, steps_per_epoch: u64, taken: u64) -> bool {
    let factor = |step, epochs: u32| {
        let progress =
            Progress { step, steps: steps_per_epoch * u64::from(epochs), steps_per_epoch };
        config.schedule.factor(Cpu::detect(), progress).to_bits()
    };
    let is_same = |step| factor(step, config.epochs_at(step)) == factor(step, epochs);
    taken == 0 || (config.pruning.is_none() && (0..taken).all(is_same))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_some_schedules_depend_on_the_length() {
        let is_same = |schedule: &str| {
            let config: Config =
                toml::from_str(&format!("epochs = 4\nschedule = {schedule}")).expect("keys");
            is_same_past(&config, 8, 10, 40)
        };
        assert!(
            is_same("{ kind = \"constant\" }")
                && is_same("{ kind = \"step\", every = 2, factor = 0.1 }")
        );
        assert!(!is_same("{ kind = \"cosine\" }") && !is_same("{ kind = \"one_cycle\" }"));
        assert!(is_same_past(&Config::default(), 99, 10, 0));
    }
}
