//! Names of a table's columns and classes: duplicates, headers of numbers, numbers spelt in two
//! ways, names with escape sequences, and columns from which nothing can be learned.

use crate::tables::json;
use crate::world::{World, stderr, stdout};

const TRAIN: &str = "train --preset logistic --epochs 1 --batch 8 --quiet --force";

/// Writes 60 rows of two classes under `header`. The last column is the class, spelt by `spell`.
fn table(world: &World, header: &str, spell: impl Fn(usize) -> String) {
    let columns = header.split(',').count() - 1;
    let row = |i: usize| {
        let numbers: String =
            (0..columns).map(|column| format!("{},", i * (column + 3) % 7)).collect();
        format!("{numbers}{}\n", spell(i % 2))
    };
    let rows: String = (0..60).map(row).collect();
    world.write("t.csv", &format!("{header}\n{rows}"));
}

#[test]
fn duplicate_columns_are_refused_by_every_command() {
    let world = World::new();
    table(&world, "a,b,y", |class| class.to_string());
    world.expect(0, &format!("{TRAIN} --data t.csv --label y --out run"), &[]);
    table(&world, "a,b,a,y", |class| class.to_string());
    for command in [
        &format!("{TRAIN} --data t.csv --label y --out other"),
        "predict run t.csv",
        "eval run --data t.csv",
    ] {
        world.expect(3, command, &["t.csv", "one column `a`", "several"]);
    }
    assert!(!world.path("other").exists());
}

#[test]
fn a_notice_names_a_header_that_looks_like_data() {
    let world = World::new();
    table(&world, "0,1,5", |class| class.to_string());
    world.expect(
        0,
        &format!("{TRAIN} --data t.csv --label 5 --out run"),
        &["t.csv", "looks like data"],
    );
    world.expect(0, "predict run t.csv", &["looks like data"]);
    world.expect(0, "eval run --data t.csv", &["looks like data"]);
}

#[test]
fn a_class_is_a_number_however_it_is_spelt() {
    let world = World::new();
    table(&world, "a,b,y", |class| class.to_string());
    world.expect(0, &format!("{TRAIN} --data t.csv --label y --out run"), &[]);
    table(&world, "a,b,y", |class| format!("{class}.0"));
    let evaluation = json(&stdout(&world.expect(0, "eval run --data t.csv --json", &[])));
    // The table is recognised as the run's own data: its test set is scored.
    assert_eq!((&evaluation["images"], &evaluation["split"]), (&12.into(), &"test".into()));
}

#[test]
fn names_from_files_are_escaped() {
    let world = World::new();
    let evil = "\u{1b}[2Jred\u{9b}2J";
    table(&world, "a,b\u{1b}[1A,y", |class| ["blue", evil][class].to_owned());
    let mut shown = Vec::new();
    for (code, command) in [
        (0, "train --preset logistic --epochs 1 --batch 8 --data t.csv --label y --out run"),
        (0, "predict run t.csv"),
        (0, "predict run t.csv --json"),
        (0, "eval run"),
        (0, "data info --data t.csv --label y"),
        (0, "data info --data t.csv --label y --json"),
        (3, "train --data t.csv --label absent"),
        (3, "train --data t.csv --target y"),
    ] {
        let output = world.expect(code, command, &[]);
        let text = format!("{}{}", stdout(&output), stderr(&output));
        let raw = |c: char| c.is_control() && c != '\n';
        assert!(!text.contains(raw), "{command}: {text:?}");
        shown.push(text);
    }
    assert!(shown[1].contains("\\u001b[2Jred\\u009b2J"), "{}", shown[1]);
    let classes: Vec<_> =
        json(&shown[2]).as_array().unwrap().iter().map(|p| p["class"].clone()).collect();
    assert!(classes.contains(&evil.into()) || classes.iter().all(|class| class == "blue"));
}

#[test]
fn a_notice_names_columns_that_lose_information() {
    let world = World::new();
    let rows: String =
        (0..60).map(|i| format!("{},{},3,{}\n", 16_777_216 + i, i % 7, i % 2)).collect();
    world.write("t.csv", &format!("id,x,same,y\n{rows}"));
    let train = TRAIN.replace(" --quiet", "");
    let shown = stderr(&world.expect(0, &format!("{train} --data t.csv --label y --out run"), &[]));
    assert!(shown.contains("16777217 in line 3, column `id`, which becomes 16777216"), "{shown}");
    assert!(shown.contains("1 of 3 columns") && shown.contains("`same`"), "{shown}");
}
