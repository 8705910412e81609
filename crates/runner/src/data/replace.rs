//! Atomic replacement of files: written under a temporary name in the same folder, then renamed.
//!
//! Two processes may replace a file at the same time: each writes its own temporary file, and the
//! last rename wins. Called by [`idx::write`](super::idx::write), by
//! [`download`](super::download) and for the files of run folders.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use crate::data::error::DataError;

/// Prefix of the names of temporary files; a process that is killed leaves one behind.
pub(crate) const PREFIX: &str = ".unfinished-";

/// Replaces the file `path` by `bytes`, as [`replace`] does.
///
/// # Errors
/// As for [`replace`].
pub(crate) fn replace_with(path: &Path, bytes: &[u8]) -> Result<(), DataError> {
    replace(path, |file| file.write_all(bytes).map_err(DataError::io("write", path)))
}

/// Replaces the file `path` by the contents that `fill` writes. Creates missing parent folders.
///
/// If `fill` or anything else fails, `path` is unchanged and the temporary file is removed.
///
/// # Errors
/// The error of `fill`; [`DataError::Io`] if the folder or the file cannot be created, flushed or
/// renamed.
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
    // Temporary files are private by default; this one becomes an ordinary file, under the umask.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut unfinished =
        builder.tempfile_in(folder).map_err(DataError::io("create a file in", folder))?;

    fill(unfinished.as_file_mut())?;
    // Without this, a power failure could leave the new name with contents that never reached the
    // disk.
    unfinished.as_file().sync_data().map_err(DataError::io("write", path))?;
    unfinished.persist(path).map_err(|failure| DataError::io("write", path)(failure.error))?;
    Ok(())
}
