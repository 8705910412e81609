//! Journal of a run: the files that grow with each epoch, `metrics.jsonl`, `metrics.csv`,
//! `health.jsonl` and TensorBoard's events.
//!
//! ```text
//! a process starts or resumes the run     rewrite all, from the checkpoint
//! after each epoch                        append its line
//! before a checkpoint                     flush the health, which the checkpoint does not hold
//! the run ends or is stopped              rewrite all
//! ```
//!
//! The incomplete last line of a killed process is removed by the rewrite, before the next line is
//! appended. `train` calls it.

use serde::Serialize;

use crate::Error;
use crate::run::epoch::Epoch;
use crate::run::folder::RunFolder;
use crate::run::health::Health;
use crate::run::{epoch, folder, json, tensorboard};

/// Journal files of a run.
#[derive(Debug)]
pub struct Journal<'a> {
    folder: &'a RunFolder,
    /// Start time of the run, in seconds since 1970.
    start_time: f64,
    /// `true` if examples have classes.
    has_accuracy: bool,
}

impl<'a> Journal<'a> {
    /// Journal of the run in `folder`, which has its configuration; `has_accuracy` if its examples
    /// have classes.
    ///
    /// # Errors
    /// [`DataError::Io`](crate::data::DataError::Io) if the start time cannot be read.
    pub fn new(folder: &'a RunFolder, has_accuracy: bool) -> Result<Self, Error> {
        Ok(Self { folder, start_time: folder.start_time()?, has_accuracy })
    }

    /// Rewrites the files with the epochs of `history` and their `health`.
    ///
    /// # Errors
    /// Same as [`RunFolder::write`].
    pub fn rewrite(&self, history: &[Epoch], health: &[Health]) -> Result<(), Error> {
        let events = (0..history.len()).flat_map(|last| self.events(&history[..=last], health));
        let events: Vec<u8> =
            tensorboard::head(self.start_time).into_iter().chain(events).collect();
        let rows: String = history.iter().map(epoch::csv_row).collect();
        let table = epoch::csv_header(self.has_accuracy) + &rows;
        self.folder.write(folder::METRICS, lines(history)?.as_bytes())?;
        self.folder.write(folder::HEALTH, lines(health)?.as_bytes())?;
        self.folder.write(folder::TABLE, table.as_bytes())?;
        self.folder.write(folder::EVENTS, &events)
    }

    /// Appends the last epoch of `history` to the files, which hold the others.
    ///
    /// # Errors
    /// Same as [`RunFolder::append`].
    pub fn append(&self, history: &[Epoch], health: &[Health]) -> Result<(), Error> {
        let (Some(epoch), Some(last)) = (history.last(), health.last()) else { return Ok(()) };
        self.folder.append(folder::METRICS, lines([epoch])?.as_bytes())?;
        self.folder.append(folder::HEALTH, lines([last])?.as_bytes())?;
        self.folder.append(folder::TABLE, epoch::csv_row(epoch).as_bytes())?;
        self.folder.append(folder::EVENTS, &self.events(history, health))
    }

    /// Flushes the health to the disk; a checkpoint holds only that of the current epoch.
    ///
    /// # Errors
    /// Same as [`RunFolder::sync`].
    pub fn sync(&self) -> Result<(), Error> {
        self.folder.sync(folder::HEALTH)
    }

    /// TensorBoard's events of the last epoch of `history`.
    fn events(&self, history: &[Epoch], health: &[Health]) -> Vec<u8> {
        let Some((epoch, earlier)) = history.split_last() else { return Vec::new() };
        let start = earlier.iter().fold(self.start_time, |time, epoch| time + epoch.train_seconds);
        let health = health.iter().find(|health| health.epoch == epoch.epoch);
        tensorboard::epoch(start, epoch, health)
    }
}

/// Reads the epochs of the run in `folder`; none if it has no metrics yet.
///
/// # Errors
/// [`DataError::Io`](crate::data::DataError::Io) if they cannot be read; [`Error::Malformed`] names
/// the first line that is no epoch.
pub fn history(folder: &RunFolder) -> Result<Vec<Epoch>, Error> {
    json::read_lines(&folder.file(folder::METRICS), "the metrics of an epoch")
}

/// Encodes each object as a line of JSON.
///
/// # Errors
/// [`Error::Usage`] if one cannot be written.
fn lines<'a, T: Serialize + 'a>(objects: impl IntoIterator<Item = &'a T>) -> Result<String, Error> {
    let mut lines = String::new();
    for object in objects {
        let line = serde_json::to_string(object)
            .map_err(|error| Error::Usage(format!("metrics: {error}")))?;
        lines.push_str(&line);
        lines.push('\n');
    }
    Ok(lines)
}
