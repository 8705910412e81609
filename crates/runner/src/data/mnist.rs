//! MNIST: the folders where it may be, the checksums of its four files, and where they are published.
//!
//! [`load`](super::load) calls [`load`] for it. The set is LeCun, Cortes and Burges, "The MNIST database of
//! handwritten digits", 1998.

use std::path::{Path, PathBuf};

use crate::data::download::{Failure, Mirrors, Published, download};
use crate::data::error::Attempt;
use crate::data::error::DataError;
use crate::data::folder::FILES;
use crate::data::{Dataset, Event, Origin, Request, folder};

/// Number of classes: the digits.
const CLASSES: usize = 10;

/// Where MNIST is downloaded from, in order: the mirrors of CVDF and of PyTorch.
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

/// Finds MNIST in the folders of `request`, or downloads it into the cache (or, where no cache can be written,
/// for this run alone).
///
/// # Errors
/// Those of [`load`](super::load).
pub(crate) fn load(
    request: &Request,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Dataset, DataError> {
    let cache = request.cache.as_ref().map(|cache| cache.join("mnist"));
    for place in request.mnist_dir.iter().chain(&request.places) {
        match folder::locate(place) {
            Ok(paths) => return read(&paths, Origin::Folder(place.clone())),
            // That most places lack all four files is no news, unless the user named the place.
            Err(DataError::Missing { files, .. })
                if files.len() == FILES.len() && request.mnist_dir.as_ref() != Some(place) => {}
            Err(unusable) => {
                on_event(Event::Notice(&format!("MNIST is looked for elsewhere: {unusable}")));
            }
        }
    }
    if let Some(cache) = &cache {
        match folder::locate(cache).and_then(|paths| read(&paths, Origin::Folder(cache.clone()))) {
            Err(DataError::Missing { .. }) => {}
            Err(unusable) => {
                on_event(Event::Notice(&format!("MNIST in the cache is of no use: {unusable}")));
            }
            found => return found,
        }
    }

    let unavailable = |attempts| {
        let places =
            request.mnist_dir.iter().chain(&request.places).chain(&cache).cloned().collect();
        DataError::Unavailable { places, attempts }
    };
    if let Some(cache) = &cache {
        match fetch(cache, true, &request.mirrors, on_event) {
            Ok(set) => return Ok(set),
            Err(Failure::Mirror(attempts)) => return Err(unavailable(attempts)),
            Err(Failure::Machine(refusal)) => {
                on_event(Event::Notice(&format!("the cache is of no use: {refusal}")));
            }
        }
    }
    let passing =
        tempfile::tempdir().map_err(DataError::io("create a folder in", &std::env::temp_dir()))?;
    fetch(passing.path(), false, &request.mirrors, on_event).map_err(|failure| match failure {
        Failure::Mirror(attempts) => unavailable(attempts),
        Failure::Machine(refusal) => refusal,
    })
}

/// Downloads MNIST into `into`, where it `stays` or not, and reads it from there.
fn fetch(
    into: &Path,
    stays: bool,
    mirrors: &Mirrors,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Dataset, Failure<Vec<Attempt>>> {
    let origin = match download(into, mirrors, on_event)? {
        Some(from) => Origin::Downloaded { from, into: stays.then(|| into.to_path_buf()) },
        // Another process has downloaded it in the meantime.
        None => Origin::Folder(into.to_path_buf()),
    };
    Ok(read(&folder::locate(into)?, origin)?)
}

/// Reads MNIST from the four files `paths`.
fn read(paths: &[PathBuf; 4], origin: Origin) -> Result<Dataset, DataError> {
    Ok(Dataset::new("mnist".into(), origin, folder::read(paths, Some(CLASSES))?))
}
