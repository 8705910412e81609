//! MNIST: search in folders and in the cache, download, mirrors and checksums of its four files.
//!
//! Called by [`load`](super::load). Source of the data: LeCun, Cortes and Burges, "The MNIST
//! database of handwritten digits", 1998.

use std::path::{Path, PathBuf};

use crate::data::dataset::{Dataset, Origin};
use crate::data::download::{Failure, Mirrors, Published, download};
use crate::data::error::{Attempt, DataError};
use crate::data::folder;
use crate::data::folder::FILES;
use crate::data::progress::Event;

/// Number of classes: the digits.
const CLASSES: usize = 10;

/// Mirrors of MNIST, in order of preference: CVDF's and PyTorch's.
pub(crate) const MIRRORS: [&str; 2] = [
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
];

/// Lengths and SHA-256 of the uncompressed files.
pub(crate) const PUBLISHED: [Published; 4] = [
    Published {
        name: FILES[0],
        bytes: 16 + 60_000 * 28 * 28,
        sha256: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    },
    Published {
        name: FILES[1],
        bytes: 8 + 60_000,
        sha256: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    },
    Published {
        name: FILES[2],
        bytes: 16 + 10_000 * 28 * 28,
        sha256: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    },
    Published {
        name: FILES[3],
        bytes: 8 + 10_000,
        sha256: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
];

/// Finds MNIST in the folders `named` (by the user) and `search`, or in the cache. Otherwise
/// downloads it into the cache or, if that cannot be written, into a temporary folder.
///
/// # Errors
/// As for [`load`](super::load).
pub(crate) fn load(
    named: Option<&Path>,
    search: &[PathBuf],
    cache: Option<&Path>,
    mirrors: &Mirrors,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Dataset, DataError> {
    let cache = cache.map(|cache| cache.join("mnist"));
    let folders = || named.into_iter().chain(search.iter().map(PathBuf::as_path));
    for folder in folders() {
        match folder::locate(folder) {
            Ok(paths) => return read(&paths, Origin::Folder(folder.to_path_buf())),
            // Most folders have none of the files: a notice only if the user named the folder.
            Err(DataError::Missing { files, .. })
                if files.len() == FILES.len() && named != Some(folder) => {}
            Err(error) => {
                on_event(Event::Notice(&format!("MNIST is searched for elsewhere: {error}")));
            }
        }
    }
    if let Some(cache) = &cache {
        match folder::locate(cache).and_then(|paths| read(&paths, Origin::Folder(cache.clone()))) {
            Err(DataError::Missing { .. }) => {}
            Err(error) => {
                on_event(Event::Notice(&format!("MNIST in the cache cannot be used: {error}")));
            }
            result => return result,
        }
    }

    let unavailable = |attempts| {
        let searched = folders().chain(cache.as_deref()).map(Path::to_path_buf).collect();
        DataError::Unavailable { searched, attempts }
    };
    if let Some(cache) = &cache {
        match fetch(cache, true, mirrors, on_event) {
            Ok(set) => return Ok(set),
            Err(Failure::Mirror(attempts)) => return Err(unavailable(attempts)),
            Err(Failure::Machine(error)) => {
                on_event(Event::Notice(&format!("the cache cannot be used: {error}")));
            }
        }
    }
    let temporary =
        tempfile::tempdir().map_err(DataError::io("create a folder in", &std::env::temp_dir()))?;
    fetch(temporary.path(), false, mirrors, on_event).map_err(|failure| match failure {
        Failure::Mirror(attempts) => unavailable(attempts),
        Failure::Machine(error) => error,
    })
}

/// Downloads MNIST into the folder `into` and reads it from there. `cached` is `true` if the folder
/// is the cache.
fn fetch(
    into: &Path,
    cached: bool,
    mirrors: &Mirrors,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Dataset, Failure<Vec<Attempt>>> {
    let origin = match download(into, mirrors, on_event)? {
        Some(from) => Origin::Downloaded { from, into: cached.then(|| into.to_path_buf()) },
        // Another process has downloaded it in the meantime.
        None => Origin::Folder(into.to_path_buf()),
    };
    Ok(read(&folder::locate(into)?, origin)?)
}

/// Reads MNIST from the four files `paths`.
fn read(paths: &[PathBuf; 4], origin: Origin) -> Result<Dataset, DataError> {
    Ok(Dataset::new("mnist".into(), origin, folder::read(paths, Some(CLASSES))?))
}
