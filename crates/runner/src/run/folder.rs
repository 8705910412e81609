//! The folder of a run: its files by name, each replaced whole or not at all, or appended to a line at a time.
//!
//! | file | written | holds |
//! |---|---|---|
//! | `config.toml` | first | everything that makes the run |
//! | `metrics.jsonl`, `health.jsonl` | after each epoch and at the end: the [journal](crate::run::journal) | progress; the health of the gradients |
//! | `metrics.csv`, `events.out.tfevents.evenkeel` | likewise | progress, for spreadsheets and for TensorBoard |
//! | `checkpoint.safetensors` | after them, at a cadence of its own | the state to the bit |
//! | `model.safetensors`, `summary.json`, `report.html` | at the end | what came out |
//!
//! That of a cross-validation holds a `config.toml`, a run folder `fold-<n>` for each fold, and `folds.json`.

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::Error;
use crate::data::{DataError, replace};
use crate::run::summary::{Status, Summary};

/// The resolved configuration.
pub const CONFIG: &str = "config.toml";
/// One JSON object an epoch.
pub const METRICS: &str = "metrics.jsonl";
/// The same as a table.
pub const TABLE: &str = "metrics.csv";
/// The same for TensorBoard, which looks for `tfevents`.
pub const EVENTS: &str = "events.out.tfevents.evenkeel";
/// One JSON object an epoch: what its gradients looked like.
pub const HEALTH: &str = "health.jsonl";
/// The state to go on from.
pub const CHECKPOINT: &str = "checkpoint.safetensors";
/// The parameters of the best epoch.
pub const MODEL: &str = "model.safetensors";
/// The same as `export` writes it.
pub const EXPORTS: [&str; 2] = ["model.onnx", "model.npz"];
/// What the run came to.
pub const SUMMARY: &str = "summary.json";
/// The same for a person.
pub const REPORT: &str = "report.html";

/// What the run in `folder` came to.
///
/// # Errors
/// [`Error::Usage`] if it has no summary, since it has not ended yet: the message says what the
/// folder holds instead. [`DataError::Io`] if it cannot be read; [`Error::Malformed`] if it is
/// none.
pub fn summary(folder: &RunFolder) -> Result<Summary, Error> {
    let path = folder.file(SUMMARY);
    if !path.exists() {
        return Err(folder.unfinished());
    }
    let text = fs::read_to_string(&path).map_err(DataError::io("read", &path))?;
    serde_json::from_str(&text)
        .map_err(|error| Error::malformed(&path, "the summary of a run", error))
}

/// The path of the weights of the run in `folder`.
///
/// # Errors
/// [`Error::Usage`] if it has none, since it ended before its first epoch did, or has not ended
/// yet; [`Error::Malformed`] if they have been removed.
pub(crate) fn model(folder: &RunFolder) -> Result<PathBuf, Error> {
    let path = folder.file(MODEL);
    if path.exists() {
        return Ok(path);
    }
    let (Summary { status, epochs, .. }, name) = (summary(folder)?, folder.path.display());
    let (ended, remedy) = match status {
        _ if epochs > 0 => {
            return Err(Error::malformed(
                &path,
                format!("the weights of a run of {epochs} epochs"),
                "no such file",
            ));
        }
        Status::Diverged => {
            ("diverged", "train again, with a lower --lr or a --clip-norm".to_owned())
        }
        _ => ("was stopped", format!("go on with: evenkeel train --resume {name}")),
    };
    Err(Error::Usage(format!(
        "expected a run with weights ({MODEL}), got {name}, which {ended} before the end of its first epoch; {remedy}"
    )))
}

/// What all folds of a cross-validation came to.
pub const FOLDS: &str = "folds.json";

/// Where runs go whose folder is not named.
const RUNS: &str = "runs";

/// The folder of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// The folder `runs/<preset>-<n>` with the first free n from 1. Two processes never get the same one.
    ///
    /// # Errors
    /// [`DataError::Io`] if no folder can be made.
    pub fn next(preset: &str) -> Result<Self, Error> {
        let runs = Path::new(RUNS);
        fs::create_dir_all(runs).map_err(DataError::io("create the folder", runs))?;
        let mut n = 1_u64;
        loop {
            let path = runs.join(format!("{preset}-{n}"));
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path }),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => n += 1,
                Err(error) => return Err(DataError::io("create the folder", &path)(error).into()),
            }
        }
    }

    /// The folder `path` for a new run. With `force`, a run that is there is removed (its own files and no other);
    /// without, the folder must be absent or empty.
    ///
    /// # Errors
    /// [`Error::Usage`] if it is taken, or another process trains there; [`DataError::Io`] if it cannot be made or emptied.
    pub fn create(path: &Path, force: bool) -> Result<Self, Error> {
        fs::create_dir_all(path).map_err(DataError::io("create the folder", path))?;
        let taken = fs::read_dir(path).map_err(DataError::io("read", path))?.next().is_some();
        if taken && !force {
            return Err(Error::Usage(format!(
                "out: expected a folder that is absent or empty, got {}, which has files in it; replace its run with \
                 --force, or go on with it by --resume",
                path.display()
            )));
        }
        let folder = Self { path: path.into() };
        let _lock = folder.file(CONFIG).is_file().then(|| folder.lock()).transpose()?;
        folder.sweep()?;
        // The state goes first, so that nothing left over is ever resumed.
        let own =
            [CHECKPOINT, SUMMARY, MODEL, METRICS, TABLE, EVENTS, HEALTH, REPORT, FOLDS, CONFIG];
        for name in own.into_iter().chain(EXPORTS) {
            folder.remove(name)?;
        }
        Ok(folder)
    }

    /// The folder `path` of a run that there is.
    ///
    /// # Errors
    /// [`Error::Usage`] if there is no `config.toml` in it.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let folder = Self { path: path.into() };
        if folder.file(CONFIG).is_file() {
            return Ok(folder);
        }
        let path = path.display();
        Err(Error::Usage(format!(
            "expected the folder of a run, got {path}, which holds no {CONFIG}"
        )))
    }

    /// The error about a run that has no summary: what its folder holds instead, and what to do.
    fn unfinished(&self) -> Error {
        let name = self.path.display();
        if self.file("fold-1").is_dir() {
            let expected = "expected the folder of a single run";
            return Error::Usage(format!(
                "{expected}, got {name}, which holds a cross-validation; name one of its folds, such as {}",
                self.file("fold-1").display()
            ));
        }
        let lines = fs::read_to_string(self.file(METRICS)).map_or(0, |text| text.lines().count());
        let checkpoint =
            if self.file(CHECKPOINT).is_file() { "a checkpoint" } else { "no checkpoint yet" };
        Error::Usage(format!(
            "expected a run that has ended, got {name}, which holds no {SUMMARY}, but {CONFIG}, the metrics of {lines} epochs and \
             {checkpoint}; wait for its end, or, if nothing trains there, go on with: evenkeel train --resume {name}"
        ))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of the file `name`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// When the run was begun, in seconds since 1970: its configuration is written once.
    ///
    /// # Errors
    /// [`DataError::Io`] if that cannot be told.
    pub fn began(&self) -> Result<f64, Error> {
        let path = self.file(CONFIG);
        let modified = fs::metadata(&path).and_then(|metadata| metadata.modified());
        let modified = modified.map_err(DataError::io("look at", &path))?;
        Ok(modified.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()))
    }

    /// Makes `config` the configuration of the run that begins here.
    ///
    /// # Errors
    /// [`Error::Usage`] if another process has begun one in the meantime; [`DataError::Io`] as for [`write`](Self::write).
    pub fn begin(&self, config: &str) -> Result<(), Error> {
        let path = self.file(CONFIG);
        let mut builder = tempfile::Builder::new();
        builder.prefix(replace::PREFIX);
        // As for every other file, the user's umask decides who may read it.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut unfinished = builder
            .tempfile_in(&self.path)
            .map_err(DataError::io("create a file in", &self.path))?;
        unfinished.write_all(config.as_bytes()).map_err(DataError::io("write", &path))?;
        unfinished.as_file().sync_data().map_err(DataError::io("write", &path))?;
        match unfinished.persist_noclobber(&path) {
            Ok(_) => Ok(()),
            Err(failure) if failure.error.kind() == ErrorKind::AlreadyExists => Err(self.taken()),
            Err(failure) => Err(DataError::io("write", &path)(failure.error).into()),
        }
    }

    /// Replaces the configuration by `config`, and locks it as [`lock`](Self::lock) does. When the
    /// run was begun stays the same.
    ///
    /// # Errors
    /// [`DataError::Io`] as for [`write`](Self::write); [`Error::Usage`] if another process trains
    /// here by then.
    pub(crate) fn replace_config(&self, config: &str) -> Result<File, Error> {
        let path = self.file(CONFIG);
        let begun = fs::metadata(&path).and_then(|metadata| metadata.modified());
        let begun = begun.map_err(DataError::io("look at", &path))?;
        self.write(CONFIG, config.as_bytes())?;
        let lock = self.lock()?;
        // A file system that does not keep times has none to keep.
        let _ = File::options().append(true).open(&path).and_then(|file| file.set_modified(begun));
        Ok(lock)
    }

    /// Keeps other processes from training here, until what is returned is dropped or this process ends.
    ///
    /// # Errors
    /// [`Error::Usage`] if another one trains here, [`DataError::Io`] if its configuration cannot be opened.
    pub fn lock(&self) -> Result<File, Error> {
        let path = self.file(CONFIG);
        let file = File::open(&path).map_err(DataError::io("open", &path))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(self.taken()),
            // Some network file systems have no locks: there it is the user who knows.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(file),
        }
    }

    fn taken(&self) -> Error {
        Error::Usage(format!(
            "expected a folder that no other process trains in, got {}: wait for its end, or name another one by --out",
            self.path.display()
        ))
    }

    /// Makes the file `name` hold `bytes`. If that fails, it is as it was.
    ///
    /// # Errors
    /// [`DataError::Io`] if it cannot be written, flushed to the disk or renamed.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        Ok(replace::replace_with(&self.file(name), bytes)?)
    }

    /// Appends `bytes` to the file `name`. If that fails, it is as it was.
    ///
    /// # Errors
    /// [`DataError::Io`] if it cannot be opened or written.
    pub fn append(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.file(name);
        let opened = fs::OpenOptions::new().append(true).create(true).open(&path);
        let mut file = opened.map_err(DataError::io("open", &path))?;
        let length = file.metadata().map_err(DataError::io("look at", &path))?.len();
        if let Err(error) = file.write_all(bytes) {
            // The first error is the one to tell: a disk without room still lets a file become shorter.
            let _ = file.set_len(length);
            return Err(DataError::io("write", &path)(error).into());
        }
        Ok(())
    }

    /// Has what was appended to the file `name` on the disk.
    ///
    /// # Errors
    /// [`DataError::Io`] if it cannot be opened or flushed.
    pub fn sync(&self, name: &str) -> Result<(), Error> {
        let path = self.file(name);
        let synced = File::options().append(true).open(&path).and_then(|file| file.sync_data());
        Ok(synced.map_err(DataError::io("write", &path))?)
    }

    /// Removes the unfinished files that a killed process has left.
    ///
    /// # Errors
    /// [`DataError::Io`] if the folder cannot be read, or such a file not removed.
    pub fn sweep(&self) -> Result<(), Error> {
        for entry in fs::read_dir(&self.path).map_err(DataError::io("read", &self.path))? {
            let name = entry.map_err(DataError::io("read", &self.path))?.file_name();
            if let Some(name) = name.to_str().filter(|name| name.starts_with(replace::PREFIX)) {
                self.remove(name)?;
            }
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<(), Error> {
        let path = self.file(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(DataError::io("remove", &path)(error).into())
            }
            _ => Ok(()),
        }
    }
}
