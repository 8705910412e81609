//! `data`: descriptions and drawings of data sets, generated sets, and the cache.

use std::fs;

use serde_json::Value;

use crate::world::{World, contents, stdout};

#[test]
fn info_counts_the_examples() {
    let world = World::new();
    let info: Value =
        serde_json::from_str(&stdout(&world.expect(0, "data info --data tiny --json", &[])))
            .unwrap();
    assert_eq!(
        (&info["name"], &info["classes"], &info["rows"]),
        (&"tiny".into(), &3.into(), &6.into())
    );
    assert_eq!(info["train"]["counts"], serde_json::json!([100, 100, 100]));
    assert_eq!((&info["test"]["images"], &info["test"]["is_mnist"]), (&90.into(), &false.into()));
    // Two of six rows are bright: 100 plus noise of 0 to 119. The others are noise.
    let mean = info["train"]["mean"].as_f64().unwrap() * 255.0;
    assert!((mean - (100.0 / 3.0 + 59.5)).abs() < 2.0, "{mean}");
    let text = stdout(&world.expect(0, "data info --data tiny", &[]));
    assert!(text.contains("300 images") && text.contains("100 100 100"), "{text}");
    world.expect(3, "data info --data absent", &["absent"]);
}

#[test]
fn images_are_drawn_as_text_and_as_a_png_file() {
    let world = World::new();
    let text = stdout(&world.expect(0, "data show --data tiny --count 3", &[]));
    assert!(text.trim_end().ends_with("0 1 2") && text.contains('█'), "{text}");
    let text =
        stdout(&world.expect(0, "data show --data tiny --split test --class 2 --count 2", &[]));
    assert!(text.trim_end().ends_with("2 2"), "{text}");
    world.expect(0, "data show --data tiny --count 7 --out sheet.png", &[]);
    let file = fs::File::open(world.path("sheet.png")).unwrap();
    let reader = png::Decoder::new(std::io::BufReader::new(file)).read_info().unwrap();
    // Three images in a row, two pixels apart.
    assert_eq!((reader.info().width, reader.info().height), (3 * 6 + 4, 3 * 6 + 4));
    world.expect(2, "data show --data tiny --out sheet.png", &["sheet.png", "--force"]);
    world.expect(0, "data show --data tiny --out sheet.png --force", &[]);
    world.expect(2, "data show --data tiny --class 3", &["class 3"]);
    world.expect(2, "data show --data tiny --count 0", &["--count 0"]);
}

#[test]
fn generated_digits_are_a_data_set() {
    let world = World::new();
    world.expect(0, "data synth --out made --train 40 --test 20 --seed 5", &[]);
    assert_eq!(contents(&world.path("made")).len(), 4);
    let info = stdout(&world.expect(0, "data info --data made", &[]));
    assert!(info.contains("40 images") && info.contains("28 x 28"), "{info}");
    let before = contents(&world.path("made"));
    world.expect(2, "data synth --out made --train 41 --test 20", &["made", "--force"]);
    assert_eq!(contents(&world.path("made")), before);
    world.expect(0, "data synth --out made --train 40 --test 20 --seed 5 --force", &[]);
    assert_eq!(contents(&world.path("made")), before, "the same seed, the same images");
    world.expect(0, "data synth --out made --train 40 --test 20 --seed 6 --force", &[]);
    assert_ne!(contents(&world.path("made")), before);
    world.expect(2, "data synth --out none --train 0", &["train", "at least 1"]);
    world.expect(2, "data synth", &["--out"]);
}

#[test]
fn fetch_without_a_mirror_fails() {
    let world = World::new();
    world.expect(3, "data fetch", &["MNIST", "no mirror"]);
}
