//! Files that appear whole or not at all: written under a temporary name in the same folder, then renamed.
//!
//! Two processes may replace one file at once: each writes its own temporary file, and the last rename stands.
//! [`idx::write`](super::idx::write) and [`download`](super::download) write through this.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use crate::data::error::DataError;

/// How the names of unfinished files begin; a process that is killed leaves one behind.
pub(crate) const PREFIX: &str = ".unfinished-";

/// Makes `path` a file that holds `bytes`, as [`replace`] does.
///
/// # Errors
/// As for [`replace`].
pub(crate) fn replace_with(path: &Path, bytes: &[u8]) -> Result<(), DataError> {
    replace(path, |file| file.write_all(bytes).map_err(DataError::io("write", path)))
}

/// Makes `path` the file that `fill` writes, and the folders above it where there are none.
///
/// If `fill` or anything else fails, `path` is as it was and nothing is left behind.
///
/// # Errors
/// What `fill` returns; [`DataError::Io`] if the folder or the file cannot be made, flushed or renamed.
pub(crate) fn replace<E: From<DataError>>(
    path: &Path,
    fill: impl FnOnce(&mut File) -> Result<(), E>,
) -> Result<(), E> {
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder).map_err(DataError::io("create the folder", folder))?;

    let mut builder = tempfile::Builder::new();
    builder.prefix(PREFIX);
    // Temporary files are private by default; this one is to become an ordinary file, under the user's umask.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut unfinished =
        builder.tempfile_in(folder).map_err(DataError::io("create a file in", folder))?;

    fill(unfinished.as_file_mut())?;
    // Otherwise a power cut could leave the new name on contents that never reached the disk.
    unfinished.as_file().sync_data().map_err(DataError::io("write", path))?;
    unfinished.persist(path).map_err(|failure| DataError::io("write", path)(failure.error))?;
    Ok(())
}
