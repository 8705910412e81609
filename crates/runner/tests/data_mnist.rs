//! MNIST itself, where it is next to the project: its files have the published checksums, and its
//! split keeps the proportions of the classes.

use std::path::Path;

use runner::data::{Labelled, Split, folder};
use sha2::{Digest, Sha256};

/// Returns the folder of the four files, or `None` if it is absent; fails instead if
/// `EVENKEEL_REQUIRE_ALL` is 1.
fn mnist() -> Option<&'static Path> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/mnist"));
    if folder.is_dir() {
        return Some(folder);
    }
    let required = std::env::var_os("EVENKEEL_REQUIRE_ALL").is_some_and(|value| value == "1");
    assert!(!required, "EVENKEEL_REQUIRE_ALL is 1, and MNIST is not in ../shared/mnist");
    println!("skipped: MNIST is not in ../shared/mnist");
    None
}

/// Returns the SHA-256 of the IDX file of shape `dims` with the elements `data`.
fn sha256(dims: &[u32], data: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update([0, 0, 8, dims.len() as u8]);
    dims.iter().for_each(|dim| hash.update(dim.to_be_bytes()));
    hash.update(data);
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn files_have_the_published_checksums_and_splits_keep_class_proportions() {
    let Some(mnist) = mnist() else { return };
    let paths = folder::locate(mnist).expect("all four files");
    let folder::Contents { classes, train, test } =
        folder::read(&paths, None).expect("well formed");
    assert_eq!((classes, train.dims(), test.dims()), (10, [60_000, 28, 28], [10_000, 28, 28]));
    let checksums = |set: &Labelled| {
        (sha256(&set.dims(), set.pixels()), sha256(&set.dims()[..1], set.labels()))
    };
    let (images, labels) = checksums(&train);
    assert_eq!(images, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db");
    assert_eq!(labels, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5");
    let (images, labels) = checksums(&test);
    assert_eq!(images, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7");
    assert_eq!(labels, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2");

    let split = Split::stratified(&train, 6_000, 1).expect("6000 of 60000");
    let count = |list: &mut dyn Iterator<Item = u8>| {
        list.fold([0_u32; 10], |mut counts, label| {
            counts[usize::from(label)] += 1;
            counts
        })
    };
    let all = count(&mut train.labels().iter().copied());
    let held = count(&mut split.validation.iter().map(|&index| train.labels()[index as usize]));
    assert_eq!((split.train.len(), split.validation.len()), (54_000, 6_000));
    for (all, held) in all.into_iter().zip(held) {
        assert!((i64::from(held) * 10 - i64::from(all)).abs() < 10, "{held} of {all}");
    }
}
