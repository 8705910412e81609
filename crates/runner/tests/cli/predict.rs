//! `predict`: images of any size and colour, IDX files, and invalid files.

use std::fs;

use png::ColorType;
use runner::data::image;
use serde_json::Value;

use crate::world::{CLASSES, SIDE, World, images, stdout};

/// Trains a run that classifies its tiny images correctly.
fn trained() -> World {
    let world = World::new();
    world.expect(
        0,
        "train --data tiny --preset logistic --lr 0.01 --epochs 20 --batch 8 --out run --quiet",
        &[],
    );
    world
}

/// Writes image `index` of the test set as a PNG file, enlarged `zoom` times.
fn draw(world: &World, name: &str, index: usize, zoom: usize, light: bool) {
    let set = images(90, 2);
    let image = set.image(index).unwrap();
    let side = SIDE * zoom;
    let grey =
        (0..side * side).map(|pixel| image[pixel / side / zoom * SIDE + pixel % side / zoom]);
    let grey: Vec<u8> = grey.map(|grey| if light { 255 - grey } else { grey }).collect();
    fs::write(world.path(name), image::png(side, side, ColorType::Grayscale, &grey).unwrap())
        .unwrap();
}

#[test]
fn png_files_have_the_predictions_of_the_test_set() {
    let world = trained();
    fs::create_dir(world.path("drawings")).unwrap();
    for index in 0..CLASSES {
        draw(&world, &format!("drawings/{index}.png"), index, 1 + index, false);
    }
    world.write("drawings/notes.txt", "not an image");
    // IDX images have an index in the file.
    let idx = world.expect(0, "predict run tiny/t10k-images-idx3-ubyte --json", &[]);
    let idx: Vec<Value> = serde_json::from_str(&stdout(&idx)).unwrap();
    assert_eq!((idx.len(), &idx[89]["index"]), (90, &89.into()));

    // Averaging an enlarged image restores it.
    let drawn = world.expect(0, "predict run drawings --json --invert no", &[]);
    let drawn: Vec<Value> = serde_json::from_str(&stdout(&drawn)).unwrap();
    assert_eq!(drawn.len(), CLASSES);
    for (index, prediction) in drawn.iter().enumerate() {
        assert_eq!(prediction["probabilities"], idx[index]["probabilities"]);
        assert_eq!(prediction["label"], index);
        assert_eq!(prediction["confidence"], prediction["probabilities"][index]);
        assert_eq!(prediction["resized_from"].is_null(), index == 0);
        assert!(prediction["file"].as_str().unwrap().ends_with(&format!("{index}.png")));
    }
    // The number of right predictions is that of `eval`.
    let eval: Value = serde_json::from_str(&stdout(&world.run("eval run --json"))).unwrap();
    let right = idx.iter().enumerate().filter(|(index, p)| p["label"] == index % CLASSES).count();
    assert_eq!(eval["accuracy"], right as f64 / 90.0);
}

#[test]
fn the_table_names_how_an_image_was_prepared() {
    let world = trained();
    draw(&world, "dark.png", 0, 1, false);
    draw(&world, "light.png", 0, 3, true);
    let text = stdout(&world.expect(0, "predict run dark.png light.png --invert auto", &[]));
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[0].contains("label") && lines[0].contains("confidence"));
    assert!(lines[2].contains("resized from 18 x 18") && lines[2].contains("inverted"), "{text}");
    assert!(!lines[1].contains("resized"), "{text}");
}

#[test]
fn predictions_need_no_training_data() {
    let world = trained();
    draw(&world, "one.png", 1, 1, false);
    fs::remove_dir_all(world.path("tiny")).unwrap();
    world.expect(0, "predict run one.png", &[]);
}

#[test]
fn invalid_files_are_named_and_nothing_is_printed() {
    let world = trained();
    draw(&world, "good.png", 0, 1, false);
    world.write("text.png", "not an image");
    let good = fs::read(world.path("good.png")).unwrap();
    fs::write(world.path("cut.png"), &good[..good.len() / 2]).unwrap();
    fs::create_dir(world.path("none")).unwrap();
    fs::write(world.path("empty.png"), "").unwrap();
    for (code, files, texts) in [
        (3, "good.png text.png", &["text.png", "PNG"][..]),
        (3, "good.png cut.png", &["cut.png", "a PNG image"]),
        (3, "empty.png", &["empty.png", "PNG"]),
        (3, "none", &["none", "folder of PNG files"]),
        (3, "tiny/t10k-labels-idx1-ubyte", &["t10k-labels", "dimensions"]),
        (1, "absent.png", &["absent.png"]),
        (2, "", &["FILE"]),
    ] {
        let output = world.expect(code, &format!("predict run {files}"), texts);
        assert_eq!(stdout(&output), "", "{files}");
    }
    world.expect(2, "predict tiny good.png", &["tiny", "config.toml"]);
    // Images of another size than the network's.
    let other = runner::data::Labelled::new(vec![0; 20], vec![0; 5], 2, 2).unwrap();
    runner::data::folder::write(&world.path("small"), &other, &other).unwrap();
    world.expect(3, "predict run small/t10k-images-idx3-ubyte", &["6 x 6", "2 x 2"]);
}

/// Checks digits in a corner of a larger page: they are cropped and centred as in the data set, and
/// have the same predictions.
#[test]
fn digits_with_margins_are_centred_as_the_data_set_is() {
    let world = World::new();
    world.expect(0, "data synth --out digits --train 1500 --test 40", &[]);
    world.expect(
        0,
        "train --data digits --preset logistic --epochs 4 --batch 32 --out run --quiet",
        &[],
    );
    assert_eq!(world.summary("run")["digits_centred"], true);
    let set =
        runner::data::idx::Array::<3>::read(&world.path("digits/t10k-images-idx3-ubyte")).unwrap();
    fs::create_dir(world.path("pages")).unwrap();
    for (index, image) in set.data.chunks_exact(28 * 28).enumerate() {
        let mut page = vec![255_u8; 56 * 56];
        for (row, line) in image.chunks_exact(28).enumerate() {
            for (column, ink) in line.iter().enumerate() {
                page[(row + 2) * 56 + column + 3] = 255 - ink;
            }
        }
        let png = image::png(56, 56, ColorType::Grayscale, &page).unwrap();
        fs::write(world.path(&format!("pages/{index:02}.png")), png).unwrap();
    }
    let labels = |command: &str| -> Vec<Value> {
        let predictions: Vec<Value> =
            serde_json::from_str(&stdout(&world.expect(0, command, &[]))).unwrap();
        predictions.iter().map(|prediction| prediction["label"].clone()).collect()
    };
    let expected = labels("predict run digits/t10k-images-idx3-ubyte --json");
    let matches = |command: &str| {
        expected.iter().zip(labels(command)).filter(|(expected, label)| *expected == label).count()
    };
    let centred = matches("predict run pages --json");
    let resized = matches("predict run pages --json --centre no");
    assert!(centred >= 36 && resized <= 25, "{centred} and {resized} of 40");
    let text = stdout(&world.expect(0, "predict run pages", &[]));
    assert!(text.contains("cropped and centred from 56 x 56"), "{text}");
    // Images other than digits are not centred.
    world.expect(
        0,
        "train --data tiny --preset logistic --epochs 1 --batch 8 --out other --quiet",
        &[],
    );
    assert_eq!(world.summary("other")["digits_centred"], false);
}
