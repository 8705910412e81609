//! The files of a run folder that grow by an epoch at a time: `metrics.jsonl`, `metrics.csv`, `health.jsonl` and TensorBoard's events.
//!
//! ```text
//! when a process takes up a run       each is written anew: what the checkpoint knows and no more
//! after each epoch                    its line is appended
//! before a checkpoint                 what it does not hold itself, the health, is on the disk
//! when the run ends or is stopped     each is written anew
//! ```
//!
//! Whatever a killed process has left of its last line is thus gone before the next one is written. `train` calls it.

use serde::Serialize;

use crate::Error;
use crate::run::epoch::Epoch;
use crate::run::folder::RunFolder;
use crate::run::health::Health;
use crate::run::{epoch, folder, tensorboard};

/// The files of one run.
#[derive(Debug)]
pub struct Journal<'a> {
    folder: &'a RunFolder,
    /// When the run was begun, in seconds since 1970.
    began: f64,
    /// `true` if examples have classes.
    has_accuracy: bool,
}

impl<'a> Journal<'a> {
    /// Of the run in `folder`, which has its configuration; `has_accuracy` if its examples have
    /// classes.
    ///
    /// # Errors
    /// [`DataError::Io`](crate::data::DataError::Io) if it cannot be told when it was begun.
    pub fn new(folder: &'a RunFolder, has_accuracy: bool) -> Result<Self, Error> {
        Ok(Self { folder, began: folder.began()?, has_accuracy })
    }

    /// Makes the files hold these epochs, and what was seen of them.
    ///
    /// # Errors
    /// As [`RunFolder::write`].
    pub fn rewrite(&self, history: &[Epoch], record: &[Health]) -> Result<(), Error> {
        let events = (0..history.len()).flat_map(|last| self.events(&history[..=last], record));
        let events: Vec<u8> = tensorboard::head(self.began).into_iter().chain(events).collect();
        let rows: String = history.iter().map(epoch::row).collect();
        let table = epoch::head(self.has_accuracy) + &rows;
        self.folder.write(folder::METRICS, lines(history)?.as_bytes())?;
        self.folder.write(folder::HEALTH, lines(record)?.as_bytes())?;
        self.folder.write(folder::TABLE, table.as_bytes())?;
        self.folder.write(folder::EVENTS, &events)
    }

    /// Appends the last of these epochs to the files, which hold the others.
    ///
    /// # Errors
    /// As [`RunFolder::append`].
    pub fn append(&self, history: &[Epoch], record: &[Health]) -> Result<(), Error> {
        let (Some(epoch), Some(health)) = (history.last(), record.last()) else { return Ok(()) };
        self.folder.append(folder::METRICS, lines([epoch])?.as_bytes())?;
        self.folder.append(folder::HEALTH, lines([health])?.as_bytes())?;
        self.folder.append(folder::TABLE, epoch::row(epoch).as_bytes())?;
        self.folder.append(folder::EVENTS, &self.events(history, record))
    }

    /// Has the health on the disk, of which a checkpoint holds only the epoch at hand.
    ///
    /// # Errors
    /// As [`RunFolder::sync`].
    pub fn sync(&self) -> Result<(), Error> {
        self.folder.sync(folder::HEALTH)
    }

    /// The events of the last of these epochs.
    fn events(&self, history: &[Epoch], record: &[Health]) -> Vec<u8> {
        let Some((epoch, before)) = history.split_last() else { return Vec::new() };
        let now = before.iter().fold(self.began, |now, epoch| now + epoch.train_seconds);
        let health = record.iter().find(|health| health.epoch == epoch.epoch);
        tensorboard::epoch(now, epoch, health)
    }
}

/// A line of JSON for each.
///
/// # Errors
/// [`Error::Usage`] if one cannot be written.
fn lines<'a, T: Serialize + 'a>(all: impl IntoIterator<Item = &'a T>) -> Result<String, Error> {
    let mut lines = String::new();
    for one in all {
        let line = serde_json::to_string(one)
            .map_err(|error| Error::Usage(format!("metrics: {error}")))?;
        lines.push_str(&line);
        lines.push('\n');
    }
    Ok(lines)
}
