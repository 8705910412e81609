//! Generated digits as a data set: 60,000 training and 10,000 test images, cached on disk.
//!
//! Training and test images are drawn from separate streams of the seed. The name of the cached
//! folder has the seed and the generator's [`digits::FINGERPRINT`]: each version of the generator
//! reads its own images. [`load`](super::load) calls [`load`] for `--dataset digits` and where
//! MNIST is unavailable.

use std::path::Path;
use std::thread;

use crate::data::digits::SIDE;
use crate::data::{Dataset, Labelled, Origin, digits, folder};

/// Number of classes: the digits.
const CLASSES: usize = 10;

/// Numbers of training and test images: MNIST's.
const COUNTS: [usize; 2] = [60_000, 10_000];

/// Streams of the training images and of the test images, listed in `streams`.
pub(crate) const STREAMS: [u64; 2] =
    [u64::from_be_bytes(*b"dg train"), u64::from_be_bytes(*b"dg test\0")];

/// Loads the digits of `seed` from a folder below `cache`; generates and caches them if they are
/// not there. A cache that cannot be read or written costs only time.
pub fn load(seed: u64, cache: Option<&Path>) -> Dataset {
    load_counts(seed, cache, COUNTS)
}

fn load_counts(seed: u64, cache: Option<&Path>, counts: [usize; 2]) -> Dataset {
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
        return dataset(contents);
    }
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let draw = |stream: u64, count: usize| {
        let (pixels, labels) = digits::generate(seed, stream, count, threads);
        Labelled::new(pixels, labels, SIDE as u32, SIDE as u32).expect("as many images as labels")
    };
    let (train, test) = (draw(STREAMS[0], counts[0]), draw(STREAMS[1], counts[1]));
    if let Some(folder) = &folder {
        // A failure costs only the next run's time, so this run continues.
        let _ = folder::write(folder, &train, &test);
    }
    dataset(folder::Contents { classes: CLASSES, train, test })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEW: [usize; 2] = [30, 20];

    #[test]
    fn the_cache_has_the_same_images_and_is_read() {
        let cache = tempfile::tempdir().unwrap();
        let drawn = load_counts(5, Some(cache.path()), FEW);
        let again = load_counts(5, Some(cache.path()), FEW);
        let uncached = load_counts(5, None, FEW);
        for set in [&again, &uncached] {
            assert_eq!(set.train.pixels(), drawn.train.pixels());
            assert_eq!(set.test.labels(), drawn.test.labels());
        }
        assert_ne!(drawn.train.pixels()[..20 * 784], drawn.test.pixels()[..]);

        // A change to the cached file shows that it is read.
        let folder = std::fs::read_dir(cache.path()).unwrap().next().unwrap().unwrap().path();
        let labels = folder.join(folder::FILES[1]);
        let mut bytes = std::fs::read(&labels).unwrap();
        let marked = (bytes[8] + 1) % 10;
        bytes[8] = marked;
        std::fs::write(&labels, &bytes).unwrap();
        assert_eq!(load_counts(5, Some(cache.path()), FEW).train.labels()[0], marked);
        assert_ne!(load_counts(6, Some(cache.path()), FEW).train.labels(), drawn.train.labels());
    }

    #[test]
    fn a_broken_cache_is_generated_again() {
        let cache = tempfile::tempdir().unwrap();
        let drawn = load_counts(1, Some(cache.path()), FEW);
        let folder = std::fs::read_dir(cache.path()).unwrap().next().unwrap().unwrap().path();
        std::fs::write(folder.join(folder::FILES[0]), b"broken").unwrap();
        assert_eq!(load_counts(1, Some(cache.path()), FEW).train.pixels(), drawn.train.pixels());
        // With a file in place of the cache folder, nothing can be cached, and the run continues.
        let file = cache.path().join("file");
        std::fs::write(&file, b"").unwrap();
        assert_eq!(load_counts(1, Some(&file), FEW).train.pixels(), drawn.train.pixels());
    }
}
