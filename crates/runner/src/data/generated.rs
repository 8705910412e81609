//! Generated digits as a data set: 60,000 to train on and 10,000 to test on, kept in the cache.
//!
//! The training images are one stream of the seed, the test images another. The cached folder is named after the seed
//! and after what the generator draws ([`digits::FINGERPRINT`]), so that another version of it reads none of this
//! one's images. [`load`](super::load) calls [`load`] for `--dataset digits` and where MNIST cannot be had.

use std::path::Path;
use std::thread;

use crate::data::digits::SIDE;
use crate::data::error::{DataError, Fault};
use crate::data::{Dataset, Labelled, Origin, digits, folder};

/// Number of classes: the digits.
const CLASSES: usize = 10;

/// Training and test images, as many as MNIST has.
const COUNTS: [usize; 2] = [60_000, 10_000];

/// The streams of the training images and of the test images, among those that `streams` lists.
pub(crate) const STREAMS: [u64; 2] =
    [u64::from_be_bytes(*b"dg train"), u64::from_be_bytes(*b"dg test\0")];

/// The digits of `seed`: from the folder below `cache` if they are there, else drawn and, where that can be done,
/// put there. A cache that cannot be read or written costs time alone.
///
/// # Errors
/// None that a working generator meets; the type is that of [`Generate`](super::Generate).
pub fn load(seed: u64, cache: Option<&Path>) -> Result<Dataset, DataError> {
    of_counts(seed, cache, COUNTS)
}

fn of_counts(seed: u64, cache: Option<&Path>, counts: [usize; 2]) -> Result<Dataset, DataError> {
    let folder =
        cache.map(|cache| cache.join(format!("digits-{:016x}-{seed}", digits::FINGERPRINT)));
    let dataset =
        |contents| Dataset::new("digits".into(), Origin::Generated { instead_of: None }, contents);
    if let Some(folder) = &folder
        && let Ok(contents) =
            folder::locate(folder).and_then(|paths| folder::read(&paths, Some(CLASSES)))
        && [contents.train.dims(), contents.test.dims()]
            == counts.map(|count| [count as u32, SIDE as u32, SIDE as u32])
    {
        return Ok(dataset(contents));
    }
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let draw = |stream: u64, count: usize| {
        let (pixels, labels) = digits::generate(seed, stream, count, threads);
        let whole = format!("{count} images of {SIDE} x {SIDE} and as many labels");
        Labelled::new(pixels, labels, SIDE as u32, SIDE as u32).map_err(|uneven| {
            DataError::malformed(Path::new("(generated)"), Fault::Count, whole, uneven)
        })
    };
    let (train, test) = (draw(STREAMS[0], counts[0])?, draw(STREAMS[1], counts[1])?);
    if let Some(folder) = &folder {
        // Nothing is lost but the next run's time: that the cache is of no use is no reason to stop this one.
        let _ = folder::write(folder, &train, &test);
    }
    Ok(dataset(folder::Contents { classes: CLASSES, train, test }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEW: [usize; 2] = [30, 20];

    #[test]
    fn the_cache_holds_the_same_images_and_is_used() {
        let cache = tempfile::tempdir().unwrap();
        let drawn = of_counts(5, Some(cache.path()), FEW).unwrap();
        let again = of_counts(5, Some(cache.path()), FEW).unwrap();
        let uncached = of_counts(5, None, FEW).unwrap();
        for set in [&again, &uncached] {
            assert_eq!(set.train.pixels(), drawn.train.pixels());
            assert_eq!(set.test.labels(), drawn.test.labels());
        }
        assert_ne!(drawn.train.pixels()[..20 * 784], drawn.test.pixels()[..]);

        // A mark in the cached file shows that it is read.
        let folder = std::fs::read_dir(cache.path()).unwrap().next().unwrap().unwrap().path();
        let labels = folder.join(folder::FILES[1]);
        let mut bytes = std::fs::read(&labels).unwrap();
        let marked = (bytes[8] + 1) % 10;
        bytes[8] = marked;
        std::fs::write(&labels, &bytes).unwrap();
        assert_eq!(of_counts(5, Some(cache.path()), FEW).unwrap().train.labels()[0], marked);
        assert_ne!(
            of_counts(6, Some(cache.path()), FEW).unwrap().train.labels(),
            drawn.train.labels()
        );
    }

    #[test]
    fn a_broken_cache_is_drawn_anew() {
        let cache = tempfile::tempdir().unwrap();
        let drawn = of_counts(1, Some(cache.path()), FEW).unwrap();
        let folder = std::fs::read_dir(cache.path()).unwrap().next().unwrap().unwrap().path();
        std::fs::write(folder.join(folder::FILES[0]), b"broken").unwrap();
        assert_eq!(
            of_counts(1, Some(cache.path()), FEW).unwrap().train.pixels(),
            drawn.train.pixels()
        );
        // A file where the cache should be: nothing can be kept, and nothing is lost.
        let file = cache.path().join("file");
        std::fs::write(&file, b"").unwrap();
        assert_eq!(of_counts(1, Some(&file), FEW).unwrap().train.pixels(), drawn.train.pixels());
    }
}
