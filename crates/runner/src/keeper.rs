//! Checkpoints are written while the run goes on: what a [`Snapshot`] has copied is encoded, flushed and renamed by a thread of its
//! own, one checkpoint at a time.
//!
//! Called by `train`, after each epoch and where a run stops.

use std::panic::resume_unwind;
use std::thread::{self, JoinHandle};

use crate::Error;
use crate::checkpoint::Snapshot;
use crate::run_folder::{self, RunFolder};

/// Writes the checkpoints of a run. Dropped, it waits for the last of them.
#[derive(Debug)]
pub struct Keeper<'a> {
    folder: &'a RunFolder,
    writing: Option<JoinHandle<Result<(), Error>>>,
}

impl<'a> Keeper<'a> {
    /// For the run in `folder`.
    pub fn new(folder: &'a RunFolder) -> Self {
        Self { folder, writing: None }
    }

    /// Begins to write `snapshot`, as soon as the one before is written.
    ///
    /// # Errors
    /// What kept the one before from being written; [`Error::System`] if there can be no thread.
    pub fn keep(&mut self, snapshot: Snapshot) -> Result<(), Error> {
        self.finish()?;
        let folder = self.folder.clone();
        let write = move || folder.write(run_folder::CHECKPOINT, &snapshot.encode()?);
        let thread = thread::Builder::new().name("evenkeel-checkpoint".into()).spawn(write);
        self.writing = Some(thread.map_err(|cause| Error::System { action: "start a thread", cause })?);
        Ok(())
    }

    /// Waits until all is written.
    ///
    /// # Errors
    /// What kept the last one from being written.
    pub fn finish(&mut self) -> Result<(), Error> {
        match self.writing.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(written)) => written,
            Some(Err(panic)) => resume_unwind(panic),
        }
    }
}

impl Drop for Keeper<'_> {
    fn drop(&mut self) {
        // Whatever ended the run is what is told.
        let _ = self.writing.take().map(JoinHandle::join);
    }
}
