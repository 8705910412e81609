//! Data that cannot be learned: a single class, labels out of range, empty files. Errors name them
//! before there is a run folder.

use std::fs;

use runner::data::{Labelled, folder, idx};

use crate::tables::{flowers, json, npy, npz};
use crate::world::{SIDE, World, images, stdout};

/// Files of a data set in MNIST's format: training images and labels, test images and labels.
const FILES: [&str; 4] = folder::FILES;

/// `set` with other labels.
fn relabelled(set: &Labelled, label: impl Fn(usize) -> u8) -> Labelled {
    let labels = (0..set.len()).map(label).collect();
    Labelled::new(set.pixels().to_vec(), labels, SIDE as u32, SIDE as u32).unwrap()
}

#[test]
fn images_of_a_single_class_are_refused_but_can_be_shown() {
    let world = World::new();
    let (train, test) = (images(300, 1), images(90, 2));
    folder::write(&world.path("one"), &relabelled(&train, |_| 2), &relabelled(&test, |_| 2))
        .unwrap();
    for command in [
        "train --out run",
        "train --dry-run",
        "train --overfit-batch",
        "train --folds 3 --out run",
        "lr-find",
        "dump --out run",
        "sweep lr=0.1,0.2 --out run",
    ] {
        let texts = ["one: expected examples of at least two classes, found 300 of class 2 alone"];
        let output = world.expect(3, &format!("{command} --data one"), &texts);
        assert!(stdout(&output).is_empty(), "{command}");
        assert!(!world.path("run").exists() || command.starts_with("sweep"), "{command}");
    }
    assert!(stdout(&world.expect(0, "data info --data one", &[])).contains("0 0 300"));
    world.expect(0, "data show --data one --count 2 --out sheet.png", &[]);
    // Two classes suffice, and a class between them may have no example.
    let two = |set: &Labelled| relabelled(set, |index| if index % 3 == 0 { 0 } else { 7 });
    folder::write(&world.path("two"), &two(&train), &two(&test)).unwrap();
    world.expect(0, "train --data two --epochs 1 --quiet --out two-run", &[]);
    assert_eq!(
        json(&stdout(&world.expect(0, "eval two-run --json", &[])))["classes"][7]["images"],
        60
    );
}

#[test]
fn idx_files_that_are_empty_or_have_labels_out_of_range_are_named() {
    let world = World::new();
    let (train, test) = (images(300, 1), images(90, 2));
    // Writes a data set with other bytes in one of its files, and returns a command that trains on
    // it.
    let corrupted = |name: &str, file: usize, bytes: &[u8]| {
        folder::write(&world.path(name), &train, &test).unwrap();
        fs::write(world.path(name).join(FILES[file]), bytes).unwrap();
        format!("train --data {name} --out run")
    };
    // The right number of labels, one of them of a class that the training set does not have.
    let mut labels = test.labels().to_vec();
    labels[4] = 3;
    let file = [&[0, 0, 8, 1, 0, 0, 0, 90], &labels[..]].concat();
    world.expect(
        3,
        &corrupted("range", 3, &file),
        &[FILES[3], "label out of range: expected labels below 3, found 3 at index 4"],
    );
    for (index, name) in FILES.iter().enumerate() {
        let empty: &[u8] = if index % 2 == 0 {
            &[0, 0, 8, 3, 0, 0, 0, 0, 0, 0, 0, SIDE as u8, 0, 0, 0, SIDE as u8]
        } else {
            &[0, 0, 8, 1, 0, 0, 0, 0]
        };
        for (bytes, expected) in
            [(empty, "empty: expected dimensions above 0"), (&[], "wrong length")]
        {
            let train = corrupted(&format!("empty{index}"), index, bytes);
            world.expect(3, &train, &[name, expected]);
        }
    }
    folder::write(&world.path("few"), &train, &test).unwrap();
    idx::write(&world.path("few").join(FILES[1]), [299], &train.labels()[1..]).unwrap();
    world.expect(
        3,
        "train --data few --out run",
        &[FILES[1], "images and labels differ in number", "found 299"],
    );
    assert!(!world.path("run").exists());
}

#[test]
fn arrays_that_cannot_be_learned_are_named() {
    let world = World::new();
    let labels = |labels: &[i64]| {
        let bytes: Vec<u8> = labels.iter().flat_map(|label| label.to_le_bytes()).collect();
        npy("<i8", &format!("({},)", labels.len()), &bytes)
    };
    let bytes = |rows: usize| npy("|u1", &format!("({rows}, 2)"), &vec![1; 2 * rows]);
    let refused = |name: &str, arrays: &[(&str, Vec<u8>)], texts: [&str; 2]| {
        npz(&world, name, arrays);
        let output =
            world.expect(3, &format!("train --data {name} --out run"), &[name, texts[0], texts[1]]);
        assert!(stdout(&output).is_empty() && !world.path("run").exists(), "{name}");
    };
    let one = [("x", bytes(4)), ("y", labels(&[1; 4]))];
    refused("one.npz", &one, ["two classes", "found 3 of class 1"]);
    let one = [
        ("x_train", bytes(4)),
        ("y_train", labels(&[0; 4])),
        ("x_test", bytes(1)),
        ("y_test", labels(&[0])),
    ];
    refused("own-test.npz", &one, ["two classes", "found 4 of class 0"]);
    let [x, y] = [("x_train", bytes(4)), ("y_train", labels(&[0, 1, 0, 1]))];
    let with = |test: &[i64]| {
        [x.clone(), y.clone(), ("x_test", bytes(test.len())), ("y_test", labels(test))]
    };
    refused("test.npz", &with(&[0, 2]), ["y_test: label out of range", "labels below 2, as in"]);
    refused("no-test.npz", &with(&[]), ["x_test: empty", "[0, 2]"]);
    for (name, label) in [("high.npz", 256), ("low.npz", -1)] {
        let arrays = [("x", bytes(4)), ("y", labels(&[0, 1, label, 1]))];
        refused(name, &arrays, ["y: label out of range", &format!("found {label} at index 2")]);
    }
    refused("none.npz", &[("x", bytes(0)), ("y", labels(&[]))], ["x: empty", "[0, 2]"]);
    refused(
        "single.npz",
        &[("x", bytes(1)), ("y", labels(&[0]))],
        ["at least 2 examples", "found 1"],
    );
}

#[test]
fn tables_that_cannot_be_learned_are_named() {
    let world = World::new();
    flowers(&world);
    let many: String = (0..257).map(|class| format!("1,{class}\n")).collect();
    let files = [
        ("nan.csv", "a,y\n1,0\nnan,1\n", "line 3, column `a`, found `nan`"),
        ("inf.csv", "a,y\n1,0\ninf,1\n", "found `inf`"),
        ("text.csv", "a,y\n1,0\nmany,1\n", "found `many`"),
        ("ragged.csv", "a,y\n1,0\n1\n", "in line 3, found 1"),
        ("hollow.csv", "a,y\n", "at least one row"),
        ("void.csv", "", "names of the columns"),
        ("column.csv", "a,z\n1,0\n", "a column `y`, found a, z"),
        (
            "alone.csv",
            "a,y\n1,same\n2,same\n3,same\n",
            "at least two classes, found 2 of class same",
        ),
        ("single.csv", "a,y\n1,0\n", "at least 2 examples"),
        ("many.csv", &format!("a,y\n{many}"), "at most 256 classes in column `y`"),
    ];
    for (name, text, expected) in files {
        world.write(name, text);
        let output =
            world.expect(3, &format!("train --data {name} --label y --out run"), &[name, expected]);
        assert!(stdout(&output).is_empty() && !world.path("run").exists(), "{name}");
    }
    // A column with one class can be described, and be the target of a regression.
    let info = stdout(&world.expect(0, "data info --data alone.csv --label y", &[]));
    assert!(info.contains("1 classes of rows") && info.contains("classes: same"), "{info}");
    world.write("constant.csv", "a,y\n1,7\n2,7\n3,7\n4,7\n");
    world.expect(
        0,
        "train --data constant.csv --target y --preset linear --epochs 1 --quiet --out constant",
        &[],
    );
    assert!(json(&stdout(&world.expect(0, "eval constant --json", &[])))["r_squared"].is_null());
    let gate = "train --data constant.csv --target y --min-accuracy 0.9 --out run";
    world.expect(2, gate, &["min-accuracy", "constant.csv", "values"]);
    world.expect(2, &format!("{gate} --folds 2"), &["min-accuracy", "constant.csv", "values"]);
    world.expect(
        2,
        "train --resume constant --min-accuracy 0.9",
        &["min-accuracy", "constant.csv", "values"],
    );
    assert!(!world.path("run").exists());
    world.expect(3, "train --data absent.csv --label y", &["absent.csv", "no such file"]);
    world.expect(3, "train --data absent.npz", &["absent.npz", "no such file"]);
    world.write("text.npz", "no archive");
    world.expect(3, "train --data text.npz", &["text.npz", "not an archive"]);
    world.expect(2, "train --data flowers.csv", &["flowers.csv", "--label", "--target"]);
    world.expect(2, "train --data tiny --label y", &["label", "table (.csv)"]);
    world.expect(
        2,
        "train --data flowers.csv --label kind --target kind",
        &["--label", "--target"],
    );
    for preset in ["lenet", "cnn", "resnet", "vit-tiny", "lstm-rows"] {
        let texts = ["preset", preset, "2 features", "mlp"];
        world.expect(
            2,
            &format!("train --data flowers.csv --label kind --preset {preset}"),
            &texts,
        );
    }
    world.write("augment.toml", "augment = [{ kind = \"shift\", pixels = 1 }]\n");
    world.expect(
        2,
        "train --config augment.toml --data flowers.csv --label kind",
        &["augment", "images"],
    );
}
