//! Prints the time of each augmentation of a 28 x 28 image, on one thread, in the form of
//! `docs/BENCHMARKS.md`.
//!
//! ```text
//! cargo run --release -p evenkeel --example augmentation
//! ```

use std::error::Error;
use std::time::Duration;

use kernels::Isa;
use runner::augment::{Augment, Augmentation, Kind};
use runner::data::{Labelled, digits};
use runner::machine::timing::{Patience, Work, minima, repeat};
use runner::run::batch::BatchBuffers;

/// Images of a batch.
const BATCH: usize = 256;

const KINDS: [Kind; 10] = [
    Kind::Shift { pixels: 2 },
    Kind::Rotate { degrees: 10.0 },
    Kind::Scale { by: 0.1 },
    Kind::Shear { by: 0.1 },
    Kind::Elastic { alpha: 34.0, sigma: 4.0 },
    Kind::Brightness { by: 0.1 },
    Kind::Contrast { by: 0.1 },
    Kind::Noise { std: 0.1 },
    Kind::Erase { share: 0.2 },
    Kind::Random { operations: 2, magnitude: 0.5 },
];

fn main() -> Result<(), Box<dyn Error>> {
    let (pixels, labels) = digits::generate(0, 0, BATCH, 1);
    let set = Labelled::new(pixels, labels, digits::SIDE as u32, digits::SIDE as u32)?;
    let indices: Vec<u32> = (0..BATCH as u32).collect();
    let mut lists: Vec<(&str, Vec<Augment>)> = vec![("none", Vec::new())];
    lists.extend(KINDS.map(|kind| (kind.name(), vec![Augment { p: 1.0, kind }])));
    let affine = KINDS[..4].iter().map(|&kind| Augment { p: 1.0, kind });
    lists.push(("shift to shear", affine.collect()));
    let mut works: Vec<_> = lists.iter().map(|(_, list)| work(&set, &indices, list)).collect();
    let patience =
        Patience { slice: Duration::from_millis(20), rounds: 20, most: Duration::from_secs(20) };
    println!("| augmentation | microseconds an image |\n|---|---|");
    for ((name, _), seconds) in lists.iter().zip(minima(&mut works, patience)) {
        println!("| {name} | {:.1} |", 1e6 * seconds / BATCH as f64);
    }
    Ok(())
}

/// Creates a workload that fills a batch with the images `indices`, augmented by `list`.
fn work<'a>(set: &'a Labelled, indices: &'a [u32], list: &'a [Augment]) -> Work<'a> {
    let mut rows = BatchBuffers::<f32>::new(Isa::detect(), indices.len(), set.image_len())
        .expect("memory for a batch");
    let augmentation = Augmentation { list, seed: 0, epoch: 0, isa: Isa::detect() };
    Box::new(move |times| {
        repeat(times, || {
            std::hint::black_box(rows.fill_augmented(set, indices, Some(augmentation)).is_ok());
        })
    })
}
