use proptest::prelude::*;

use crate::augment::*;
use crate::machine::thread_pool::ThreadPool;
use crate::run::batch::BatchBuffers;

fn images(count: usize) -> Labelled {
    let pixels = (0..count * 12 * 9).map(|i| (i * 7 % 256) as u8).collect();
    Labelled::new(pixels, vec![0; count], 12, 9).expect("images of 12 x 9")
}

fn augmented<T: Element>(list: &[Augment], seed: u64, epoch: u32, indices: &[u32]) -> Vec<T> {
    let (set, isa) = (images(40), Isa::detect());
    let mut rows = BatchBuffers::new(isa, indices.len(), 108).expect("memory");
    let augmentation = Augmentation { list, seed, epoch, isa };
    rows.fill_augmented(&set, indices, Some(augmentation))
        .expect("indices in range")
        .inputs
        .to_vec()
}

fn always(kind: Kind) -> Augment {
    Augment { p: 1.0, kind }
}

/// Every kind, at some strength.
const ALL: [Kind; 10] = [
    Kind::Shift { pixels: 2 },
    Kind::Rotate { degrees: 20.0 },
    Kind::Scale { by: 0.2 },
    Kind::Shear { by: 0.2 },
    Kind::Elastic { alpha: 8.0, sigma: 2.0 },
    Kind::Brightness { by: 0.3 },
    Kind::Contrast { by: 0.3 },
    Kind::Noise { std: 0.1 },
    Kind::Erase { share: 0.3 },
    Kind::Random { operations: 3, magnitude: 0.7 },
];

#[test]
fn every_kind_changes_images_and_stays_in_the_range_of_bytes() {
    for kind in ALL {
        let plain = augmented::<f32>(&[], 1, 0, &[0, 1, 2, 3]);
        let changed = augmented::<f32>(&[always(kind)], 1, 0, &[0, 1, 2, 3]);
        assert_ne!(plain, changed, "{}", kind.name());
        assert!(changed.iter().all(|pixel| (0.0..=1.0).contains(pixel)), "{}", kind.name());
    }
}

#[test]
fn strength_0_is_the_identity_to_the_bit() {
    let idle = [
        Kind::Shift { pixels: 0 },
        Kind::Rotate { degrees: 0.0 },
        Kind::Scale { by: 0.0 },
        Kind::Shear { by: 0.0 },
        Kind::Elastic { alpha: 0.0, sigma: 2.0 },
        Kind::Brightness { by: 0.0 },
        Kind::Contrast { by: 0.0 },
        Kind::Noise { std: 0.0 },
        Kind::Erase { share: 0.0 },
        Kind::Random { operations: 4, magnitude: 0.0 },
    ]
    .map(always);
    let indices: Vec<u32> = (0..40).collect();
    assert_eq!(augmented::<f32>(&idle, 3, 1, &indices), augmented::<f32>(&[], 3, 1, &indices));
    assert_eq!(augmented::<f64>(&idle, 3, 1, &indices), augmented::<f64>(&[], 3, 1, &indices));
    // Probability 0 changes nothing either.
    let never = ALL.map(|kind| Augment { p: 0.0, kind });
    assert_eq!(augmented::<f64>(&never, 3, 1, &indices), augmented::<f64>(&[], 3, 1, &indices));
}

#[test]
fn draws_depend_on_seed_epoch_and_image() {
    let list = ALL.map(always);
    let of = |seed, epoch, index| augmented::<f32>(&list[..9], seed, epoch, &[index]);
    let first = of(1, 0, 5);
    assert_eq!(first, of(1, 0, 5));
    for other in [of(2, 0, 5), of(1, 1, 5), of(1, 0, 6)] {
        assert_ne!(first, other);
    }
}

#[test]
fn threads_and_batches_change_nothing() {
    let list = ALL.map(always);
    let list = &list[..9];
    let indices: Vec<u32> = (0..40).collect();
    let together = augmented::<f32>(list, 4, 2, &indices);
    let one_by_one: Vec<f32> =
        indices.iter().flat_map(|&index| augmented(list, 4, 2, &[index])).collect();
    assert_eq!(together, one_by_one);
    let pool = ThreadPool::new(3).expect("threads");
    assert_eq!(pool.enter(|| augmented::<f32>(list, 4, 2, &indices)), together);
}

#[test]
fn p_is_the_fraction_of_images_that_are_changed() {
    let list = [Augment { p: 0.3, kind: Kind::Brightness { by: 0.5 } }];
    let changed = (0..25).map(|epoch| {
        let indices: Vec<u32> = (0..40).collect();
        let (some, none) = (
            augmented::<f32>(&list, 1, epoch, &indices),
            augmented::<f32>(&[], 1, epoch, &indices),
        );
        some.chunks(108).zip(none.chunks(108)).filter(|(a, b)| a != b).count()
    });
    // Of 1000, 300 with a deviation of 14.5.
    let changed: usize = changed.sum();
    assert!((230..370).contains(&changed), "{changed}");
}

#[test]
fn numbers_out_of_range_are_named() {
    let refused = |augment| Augment::check(&[augment]).expect_err("out of range").to_string();
    assert!(
        refused(Augment { p: 1.5, kind: ALL[0] }).contains("shift: p: expected 0 to 1, got 1.5")
    );
    assert!(
        refused(always(Kind::Rotate { degrees: 200.0 })).contains("degrees: expected 0 to 180")
    );
    assert!(refused(always(Kind::Scale { by: 1.0 })).contains("below 1"));
    assert!(refused(always(Kind::Noise { std: f64::NAN })).contains("NaN"));
    assert!(refused(always(Kind::Elastic { alpha: 1.0, sigma: 0.0 })).contains("sigma"));
    assert!(refused(always(Kind::Random { operations: 0, magnitude: 0.5 })).contains("operations"));
    assert!(
        Augment::check(&[always(ALL[0]); 17]).expect_err("long").to_string().contains("at most 16")
    );
    assert!(Augment::check(&[always(ALL[0]); 16]).is_ok());
}

#[test]
fn tables_of_toml_are_read_and_misspellings_refused() {
    #[derive(Debug, Deserialize)]
    struct File {
        augment: Vec<Augment>,
    }
    let parse = |text: &str| toml::from_str::<File>(text).map(|file| file.augment);
    let text = "augment = [{ kind = \"shift\", pixels = 2 }, \
                { kind = \"rotate\", degrees = 10, p = 0.5 }]";
    let rotate = Augment { p: 0.5, kind: Kind::Rotate { degrees: 10.0 } };
    assert_eq!(parse(text).expect("plain"), [always(ALL[0]), rotate]);
    for wrong in
        ["{ kind = \"shift\", pixels = 2, q = 0.5 }", "{ kind = \"turn\" }", "{ kind = \"noise\" }"]
    {
        assert!(parse(&format!("augment = [{wrong}]")).is_err(), "{wrong}");
    }
}

proptest! {
    /// A shift moves each pixel by the drawn distance, and changes nothing else.
    #[test]
    fn shifts_are_exact(seed: u64, epoch in 0_u32..9, index in 0_u32..40, pixels in 0_u32..15) {
        let list = [always(Kind::Shift { pixels })];
        let shifted = augmented::<f32>(&list, seed, epoch, &[index]);
        let plain = augmented::<f32>(&[], seed, epoch, &[index]);
        let draws = streams::augmentation(seed, epoch, index, 0);
        let [dy, dx] =
            [1, 2].map(|i| i64::from(draws.below(i, 2 * pixels + 1)) - i64::from(pixels));
        for (at, pixel) in shifted.into_iter().enumerate() {
            let (y, x) = (at as i64 / 9 - dy, at as i64 % 9 - dx);
            let is_inside = (0..12).contains(&y) && (0..9).contains(&x);
            prop_assert_eq!(pixel, if is_inside { plain[(y * 9 + x) as usize] } else { 0.0 });
        }
    }
}
