//! Run folder: names of its files, each of which is replaced atomically, or appended to line by
//! line.
//!
//! | file | written | holds |
//! |---|---|---|
//! | `config.toml` | first | the resolved configuration |
//! | `metrics.jsonl`, `metrics.csv` | each epoch: the [journal](crate::run::journal) | metrics |
//! | `events.out.tfevents.evenkeel` | each epoch | metrics for TensorBoard |
//! | `health.jsonl` | each epoch | samples of the gradients |
//! | `checkpoint.safetensors` | after these, at its own cadence | the state to the bit |
//! | `model.safetensors`, `summary.json`, `report.html` | at the end | the results |
//!
//! The folder of a cross-validation holds a `config.toml`, a run folder `fold-<n>` for each fold,
//! and `folds.json`.
//!
//! Summary, checkpoint, `folds.json` and the plan of a sweep name their `FORMAT`.

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Deserialize;

use crate::Error;
use crate::data::{DataError, replace};
use crate::run::summary::{Status, Summary};

/// Format of the files of a run. A change that makes older files unreadable increases it: they are
/// refused with a message that says so.
pub(crate) const FORMAT: u32 = 2;

/// The resolved configuration.
pub const CONFIG: &str = "config.toml";
/// Metrics: one JSON object per epoch.
pub const METRICS: &str = "metrics.jsonl";
/// Findings of a watched training: one JSON object per finding.
pub const FINDINGS: &str = "findings.jsonl";
/// Metrics as a table.
pub const TABLE: &str = "metrics.csv";
/// Metrics for TensorBoard, which finds files by `tfevents` in their name.
pub const EVENTS: &str = "events.out.tfevents.evenkeel";
/// Samples of the gradients: one JSON object per epoch.
pub const HEALTH: &str = "health.jsonl";
/// State of the run, for `--resume`.
pub const CHECKPOINT: &str = "checkpoint.safetensors";
/// Weights of the best epoch.
pub const MODEL: &str = "model.safetensors";
/// Exported models.
pub const EXPORTS: [&str; 2] = ["model.onnx", "model.npz"];
/// Results of the run.
pub const SUMMARY: &str = "summary.json";
/// Results as an HTML page.
pub const REPORT: &str = "report.html";

/// `format` of a JSON or TOML file; the file's other keys are ignored.
#[derive(Deserialize)]
pub(crate) struct Format {
    pub(crate) format: Option<u32>,
}

impl Format {
    /// Checks that the file `path` has the format of this version.
    ///
    /// # Errors
    /// [`Error::Malformed`] names both formats and the remedy.
    pub(crate) fn check(&self, path: &Path) -> Result<(), Error> {
        if self.format == Some(FORMAT) {
            return Ok(());
        }
        let found = match self.format {
            Some(format) => format!("format {format}"),
            None => "no format, as in a file of an earlier version".into(),
        };
        let remedy = "train again, or use the version of evenkeel that wrote it";
        Err(Error::malformed(path, format!("format {FORMAT}"), format!("{found}: {remedy}")))
    }
}

/// Reads the summary of the run in `folder`.
///
/// # Errors
/// [`Error::Usage`] if it has no summary, since it has not ended yet: the message says what the
/// folder holds instead. [`DataError::Io`] if it cannot be read; [`Error::Malformed`] if it is
/// not a summary of this `FORMAT`.
pub fn summary(folder: &RunFolder) -> Result<Summary, Error> {
    let path = folder.file(SUMMARY);
    if !path.exists() {
        return Err(folder.unfinished());
    }
    let text = fs::read_to_string(&path).map_err(DataError::io("read", &path))?;
    let malformed = |error| Error::malformed(&path, "the summary of a run", error);
    serde_json::from_str::<Format>(&text).map_err(malformed)?.check(&path)?;
    serde_json::from_str(&text).map_err(malformed)
}

/// Returns the path of the weights of the run in `folder`.
///
/// # Errors
/// [`Error::Usage`] if it has none, since it ended before its first epoch did, or has not ended
/// yet; [`Error::Malformed`] if they were removed.
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
        _ => ("was stopped", format!("continue with: evenkeel train --resume {name}")),
    };
    Err(Error::Usage(format!(
        "expected a run with weights ({MODEL}), got {name}, which {ended} before the end of its \
         first epoch; {remedy}"
    )))
}

/// Results of the folds of a cross-validation.
pub const FOLDS: &str = "folds.json";

/// Parent of the run folders that have no name given.
const RUNS: &str = "runs";

/// The folder of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Creates the folder `runs/<preset>-<n>` with the first free n from 1. Two processes never get
    /// the same one.
    ///
    /// # Errors
    /// [`DataError::Io`] if no folder can be created.
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

    /// Creates the folder `path` for a new run. With `force`, an existing run is removed (its own
    /// files and no others); otherwise the folder must be absent or empty.
    ///
    /// # Errors
    /// [`Error::Usage`] if the folder is in use, or another process trains there; [`DataError::Io`]
    /// if it cannot be created or emptied.
    pub fn create(path: &Path, force: bool) -> Result<Self, Error> {
        fs::create_dir_all(path).map_err(DataError::io("create the folder", path))?;
        let has_files = fs::read_dir(path).map_err(DataError::io("read", path))?.next().is_some();
        if has_files && !force {
            return Err(Error::Usage(format!(
                "out: expected a folder that is absent or empty, got {}, which has files in it; \
                 replace its run with --force, or continue it with --resume",
                path.display()
            )));
        }
        let folder = Self { path: path.into() };
        let _lock = folder.file(CONFIG).is_file().then(|| folder.lock()).transpose()?;
        folder.remove_temporary_files()?;
        // The checkpoint goes first: a run whose other files are gone must not be resumed.
        let own = [
            CHECKPOINT, SUMMARY, MODEL, METRICS, TABLE, EVENTS, HEALTH, FINDINGS, REPORT, FOLDS,
            CONFIG,
        ];
        for name in own.into_iter().chain(EXPORTS) {
            folder.remove(name)?;
        }
        Ok(folder)
    }

    /// Opens the folder `path` of an existing run or cross-validation.
    ///
    /// # Errors
    /// [`Error::Usage`] if it has no `config.toml`; [`Error::Malformed`] if its results have
    /// another `FORMAT`.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let folder = Self { path: path.into() };
        if !folder.file(CONFIG).is_file() {
            let path = path.display();
            return Err(Error::Usage(format!(
                "expected the folder of a run, got {path}, which holds no {CONFIG}"
            )));
        }
        for path in [SUMMARY, FOLDS].map(|name| folder.file(name)) {
            if path.is_file() {
                let text = fs::read_to_string(&path).map_err(DataError::io("read", &path))?;
                let format = serde_json::from_str::<Format>(&text);
                let malformed = |error| Error::malformed(&path, "the results of a run", error);
                format.map_err(malformed)?.check(&path)?;
            }
        }
        Ok(folder)
    }

    /// Error for a run without a summary: names what its folder holds, and the remedy.
    fn unfinished(&self) -> Error {
        let name = self.path.display();
        if self.file("fold-1").is_dir() {
            let expected = "expected the folder of a single run";
            return Error::Usage(format!(
                "{expected}, got {name}, which holds a cross-validation; name one of its folds, \
                 such as {}",
                self.file("fold-1").display()
            ));
        }
        let lines = fs::read_to_string(self.file(METRICS)).map_or(0, |text| text.lines().count());
        let checkpoint =
            if self.file(CHECKPOINT).is_file() { "a checkpoint" } else { "no checkpoint yet" };
        Error::Usage(format!(
            "expected a run that has ended, got {name}, which holds no {SUMMARY}, but {CONFIG}, \
             the metrics of {lines} epochs and {checkpoint}; wait for its end, or, if nothing \
             trains there, continue with: evenkeel train --resume {name}"
        ))
    }

    /// Path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Path of the file `name`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Start time of the run, in seconds since 1970: that of its configuration, which is written
    /// once.
    ///
    /// # Errors
    /// [`DataError::Io`] if it cannot be read.
    pub fn start_time(&self) -> Result<f64, Error> {
        let path = self.file(CONFIG);
        let modified = fs::metadata(&path).and_then(|metadata| metadata.modified());
        let modified = modified.map_err(DataError::io("read the time of", &path))?;
        Ok(modified.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()))
    }

    /// Writes `config` as the configuration of a new run.
    ///
    /// # Errors
    /// [`Error::Usage`] if another process has started a run here in the meantime;
    /// [`DataError::Io`] as in [`write`](Self::write).
    pub fn start(&self, config: &str) -> Result<(), Error> {
        let path = self.file(CONFIG);
        let mut builder = tempfile::Builder::new();
        builder.prefix(replace::PREFIX);
        // Permissions follow the user's umask, as for every other file.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut temporary = builder
            .tempfile_in(&self.path)
            .map_err(DataError::io("create a file in", &self.path))?;
        temporary.write_all(config.as_bytes()).map_err(DataError::io("write", &path))?;
        temporary.as_file().sync_data().map_err(DataError::io("write", &path))?;
        match temporary.persist_noclobber(&path) {
            Ok(_) => Ok(()),
            Err(failure) if failure.error.kind() == ErrorKind::AlreadyExists => Err(self.in_use()),
            Err(failure) => Err(DataError::io("write", &path)(failure.error).into()),
        }
    }

    /// Replaces the configuration by `config`, and locks it as [`lock`](Self::lock) does. The start
    /// time stays the same.
    ///
    /// # Errors
    /// [`DataError::Io`] as in [`write`](Self::write); [`Error::Usage`] if another process trains
    /// here by then.
    pub(crate) fn replace_config(&self, config: &str) -> Result<File, Error> {
        let path = self.file(CONFIG);
        let start = fs::metadata(&path).and_then(|metadata| metadata.modified());
        let start = start.map_err(DataError::io("read the time of", &path))?;
        self.write(CONFIG, config.as_bytes())?;
        let lock = self.lock()?;
        // Some file systems have no times to set.
        let _ = File::options().append(true).open(&path).and_then(|file| file.set_modified(start));
        Ok(lock)
    }

    /// Keeps other processes from training here, until the returned file is dropped or this process
    /// ends.
    ///
    /// # Errors
    /// [`Error::Usage`] if another process trains here; [`DataError::Io`] if the configuration
    /// cannot be opened.
    pub fn lock(&self) -> Result<File, Error> {
        let path = self.file(CONFIG);
        let file = File::open(&path).map_err(DataError::io("open", &path))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(self.in_use()),
            // Some network file systems have no locks.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(file),
        }
    }

    fn in_use(&self) -> Error {
        Error::Usage(format!(
            "expected a folder that no other process trains in, got {}: wait for its end, or name \
             another one by --out",
            self.path.display()
        ))
    }

    /// Replaces the file `name` by `bytes`. If that fails, the file is unchanged.
    ///
    /// # Errors
    /// [`DataError::Io`] if it cannot be written, flushed to the disk or renamed.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        Ok(replace::replace_with(&self.file(name), bytes)?)
    }

    /// Appends `bytes` to the file `name`. If that fails, the file is unchanged.
    ///
    /// # Errors
    /// [`DataError::Io`] if it cannot be opened or written.
    pub fn append(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.file(name);
        let opened = fs::OpenOptions::new().append(true).create(true).open(&path);
        let mut file = opened.map_err(DataError::io("open", &path))?;
        let length = file.metadata().map_err(DataError::io("read the length of", &path))?.len();
        if let Err(error) = file.write_all(bytes) {
            // A full disk can still truncate the file. The first error is the one that is returned.
            let _ = file.set_len(length);
            return Err(DataError::io("write", &path)(error).into());
        }
        Ok(())
    }

    /// Flushes the file `name` to the disk.
    ///
    /// # Errors
    /// [`DataError::Io`] if it cannot be opened or flushed.
    pub fn sync(&self, name: &str) -> Result<(), Error> {
        let path = self.file(name);
        let synced = File::options().append(true).open(&path).and_then(|file| file.sync_data());
        Ok(synced.map_err(DataError::io("write", &path))?)
    }

    /// Removes the temporary files of a killed process.
    ///
    /// # Errors
    /// [`DataError::Io`] if the folder cannot be read, or a file cannot be removed.
    pub fn remove_temporary_files(&self) -> Result<(), Error> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(folder: &Path) -> String {
        let error = RunFolder::open(folder).expect_err("another format");
        assert_eq!(error.exit_code(), 3);
        error.to_string()
    }

    #[test]
    fn results_of_another_format_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            fs::write(folder.path().join(name), text).expect("written");
        };
        write(CONFIG, "");
        assert!(RunFolder::open(folder.path()).is_ok());
        for name in [SUMMARY, FOLDS] {
            write(name, "{\"status\": \"done\"}");
            let error = refusal(folder.path());
            assert!(error.contains(&format!("{name}: expected format {FORMAT}")), "{error}");
            assert!(error.contains("found no format") && error.contains("train again"), "{error}");
            write(name, &format!("{{\"format\": {}}}", FORMAT + 1));
            let error = refusal(folder.path());
            assert!(error.contains(&format!("found format {}", FORMAT + 1)), "{error}");
            write(name, &format!("{{\"format\": {FORMAT}, \"status\": \"done\"}}"));
            assert!(RunFolder::open(folder.path()).is_ok());
        }
        write(SUMMARY, "{");
        assert!(refusal(folder.path()).contains("the results of a run"));
    }
}
