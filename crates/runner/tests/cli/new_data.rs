//! `eval --data` with labelled examples that a run has not seen, and with data of another form.
#![expect(clippy::disallowed_methods, reason = "the loss is compared with std's logarithm")]

use std::fs;

use crate::tables::{flowers, json, npy, npz};
use crate::world::{World, stdout};

/// Trains a run on flowers, and writes six new rows. The run misclassifies the last one.
fn flowers_and_new_rows() -> World {
    let world = World::new();
    flowers(&world);
    let train =
        "train --data flowers.csv --label kind --epochs 20 --batch 16 --lr 0.02 --quiet --out run";
    world.expect(0, train, &[]);
    // Other order of columns, an additional one, other order of classes, and one of them missing.
    let text = "kind,weight,note,length\ncrocus,4001,?,2.03\naster,1,?,0.02\ncrocus,4003,?,2\n\
                aster,3,?,0.01\naster,2,?,0\naster,4002,?,2.01\n";
    world.write("new.csv", text);
    world
}

#[test]
fn new_rows_are_scored_by_the_run_s_names() {
    let world = flowers_and_new_rows();
    let text = stdout(&world.expect(0, "eval run --data new.csv", &[]));
    assert!(
        text.starts_with("accuracy 83.33 % ") && text.contains(", of 6 rows of new.csv\n"),
        "{text}"
    );
    assert!(text.contains("aster") && text.contains("bellis"), "names of classes: {text}");
    let scored = json(&stdout(&world.expect(0, "eval run --data new.csv --json", &[])));
    assert_eq!((&scored["images"], &scored["data"]), (&6.into(), &"new.csv".into()));
    assert!(scored["split"].is_null());
    // Rows are labels, columns predictions: aster, bellis, crocus.
    assert_eq!(scored["confusion"], serde_json::json!([[3, 0, 1], [0, 0, 0], [0, 0, 2]]));
    assert_eq!(
        (&scored["classes"][2]["name"], &scored["classes"][2]["recall"]),
        (&"crocus".into(), &1.0.into())
    );
    // The loss agrees with the probabilities of `predict`: the standardisation is the run's.
    let predicted = json(&stdout(&world.expect(0, "predict run new.csv --json", &[])));
    let probability =
        |row: usize, class: usize| predicted[row]["probabilities"][class].as_f64().unwrap();
    let labels = [2, 0, 2, 0, 0, 0];
    let loss: f64 = (0..6).map(|row| -probability(row, labels[row]).ln()).sum::<f64>() / 6.0;
    let found = scored["loss"].as_f64().unwrap();
    assert!((found - loss).abs() < 1e-5 * loss, "{found} {loss}");
    // A single row of a single class is valid.
    world.write("one.csv", "length,weight,kind\n0,2,aster\n");
    assert!(
        stdout(&world.expect(0, "eval run --data one.csv", &[])).contains("of 1 rows of one.csv")
    );
    let one = json(&stdout(&world.expect(0, "eval run --data one.csv --json", &[])));
    assert_eq!((&one["accuracy"], one["roc_auc_macro"].is_null()), (&1.0.into(), true));

    // The run's own table is recognised at another path.
    let eval = |data: &str| json(&stdout(&world.expect(0, &format!("eval run --json{data}"), &[])));
    let own = eval("");
    assert_eq!((&own["split"], &own["images"]), (&"test".into(), &40.into()));
    let text = world.read("flowers.csv");
    fs::rename(world.path("flowers.csv"), world.path("moved.csv")).unwrap();
    assert_eq!(eval(" --data moved.csv"), own);
    assert_eq!(eval(" --data moved.csv --split val")["images"], 13);
    world.write("longer.csv", &format!("{text}0,aster,1\n"));
    assert_eq!(eval(" --data longer.csv")["images"], 201);
}

#[test]
fn new_rows_with_values_are_scored() {
    let world = World::new();
    let rows = |from: i32, to: i32| -> String {
        (from..to).map(|i| format!("{},{},{}\n", i % 11, i % 7, i % 11 + i % 7)).collect()
    };
    world.write("sums.csv", &format!("a,b,sum\n{}", rows(0, 120)));
    let train = "train --data sums.csv --target sum --preset linear --epochs 200 --lr 0.1 \
                 --batch 16 --optimizer adamw --out run --quiet";
    world.expect(0, train, &[]);
    world.write("new.csv", "sum,b,a\n7,3,4\n0,0,0\n12,4,8\n11,2,9\n");
    let text = stdout(&world.expect(0, "eval run --data new.csv", &[]));
    assert!(text.starts_with("loss 0.0") && text.contains(", of 4 rows of new.csv\n"), "{text}");
    let scored = json(&stdout(&world.expect(0, "eval run --data new.csv --json", &[])));
    assert!(scored["r_squared"].as_f64() > Some(0.99) && scored["split"].is_null(), "{scored}");
    let predicted = json(&stdout(&world.expect(0, "predict run new.csv --json", &[])));
    let error =
        |row: usize, target: f64| (predicted[row]["value"].as_f64().unwrap() - target).abs();
    let mean = (error(0, 7.0) + error(1, 0.0) + error(2, 12.0) + error(3, 11.0)) / 4.0;
    assert!((scored["mean_absolute_error"].as_f64().unwrap() - mean).abs() < 1e-6);
    world.write("text.csv", "a,b,sum\n1,2,three\n");
    world.expect(3, "eval run --data text.csv", &["text.csv", "line 2, column `sum`", "three"]);

    // New rows for a run on a generated table come from `data synth` with another seed.
    world.write(
        "made.toml",
        "dataset = \"linear\"\nlinear = { samples = 600 }\npreset = \"linear\"\nepochs = 5\n",
    );
    world.expect(0, "train --config made.toml --out made --quiet", &[]);
    world.expect(
        0,
        "data synth --dataset linear --train 80 --test 20 --seed 9 --out made.csv",
        &[],
    );
    assert!(
        stdout(&world.expect(0, "eval made --data made.csv", &[]))
            .contains("of 100 rows of made.csv")
    );
}

#[test]
fn new_arrays_are_scored() {
    let world = World::new();
    let bytes = |numbers: &[f32]| numbers.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>();
    let integers = |labels: &[i64]| labels.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>();
    let x = |from: u16, to: u16| -> Vec<u8> {
        bytes(&(from..to).flat_map(|i| [f32::from(i % 2), f32::from(i % 5)]).collect::<Vec<_>>())
    };
    let y = |from: i64, to: i64| integers(&(from..to).map(|i| i % 2).collect::<Vec<_>>());
    npz(
        &world,
        "a.npz",
        &[("x", npy("<f4", "(90, 2)", &x(0, 90))), ("y", npy("<i8", "(90,)", &y(0, 90)))],
    );
    world.expect(0, "train --data a.npz --epochs 20 --batch 8 --out run --quiet", &[]);
    assert!(
        stdout(&world.expect(0, "eval run --data a.npz", &[])).contains("of 18 rows\n"),
        "the run's own data"
    );
    let new = [("x", npy("<f4", "(7, 2)", &x(90, 97))), ("y", npy("<i8", "(7,)", &y(90, 97)))];
    npz(&world, "b.npz", &new);
    let text = stdout(&world.expect(0, "eval run --data b.npz", &[]));
    assert!(
        text.starts_with("accuracy 100.00 %") && text.contains("of 7 rows of b.npz\n"),
        "{text}"
    );
    fs::create_dir(world.path("b")).unwrap();
    for (name, array) in &new {
        fs::write(world.path(&format!("b/{name}.npy")), array).unwrap();
    }
    assert!(stdout(&world.expect(0, "eval run --data b", &[])).contains("of 7 rows of b\n"));
    world.expect(3, "eval run --data b/x.npy", &["b/x.npy", "x and y", "a single array"]);
    // Arrays with a test set: the test set is scored by default, the training set with --split.
    let [x_new, y_new] = new.clone().map(|(_, array)| array);
    let both = [
        ("x_train", npy("<f4", "(9, 2)", &x(1, 10))),
        ("y_train", npy("<i8", "(9,)", &y(1, 10))),
        ("x_test", x_new.clone()),
        ("y_test", y_new.clone()),
    ];
    npz(&world, "c.npz", &both);
    assert!(
        stdout(&world.expect(0, "eval run --data c.npz", &[])).contains("of 7 rows of c.npz\n")
    );
    let text = stdout(&world.expect(0, "eval run --data c.npz --split train", &[]));
    assert!(text.contains("of 9 rows of c.npz\n"), "{text}");
    world.expect(2, "eval run --data c.npz --split val", &["split", "train or test", "c.npz"]);

    let set = |name: &str, x: Vec<u8>, y: Vec<u8>| npz(&world, name, &[("x", x), ("y", y)]);
    set("high.npz", x_new.clone(), npy("<i8", "(7,)", &integers(&[0, 1, 0, 2, 0, 1, 0])));
    set("wide.npz", npy("<f4", "(2, 3)", &bytes(&[0.0; 6])), npy("<i8", "(2,)", &y(0, 2)));
    set("image.npz", npy("<f4", "(1, 2, 2)", &bytes(&[0.0; 4])), npy("<i8", "(1,)", &y(0, 1)));
    set("values.npz", x_new.clone(), npy("<f4", "(7,)", &bytes(&[0.5; 7])));
    set("nan.npz", npy("<f4", "(1, 2)", &bytes(&[f32::NAN, 0.0])), npy("<i8", "(1,)", &y(0, 1)));
    set("few.npz", x_new.clone(), npy("<i8", "(6,)", &y(0, 6)));
    set("none.npz", npy("<f4", "(0, 2)", &[]), npy("<i8", "(0,)", &[]));
    npz(&world, "half.npz", &[("x", x_new)]);
    for (name, texts) in [
        ("high.npz", ["labels below 2", "2 at index 3"]),
        ("wide.npz", ["rows of 2 columns", "rows of 3 columns"]),
        ("image.npz", ["rows of 2 columns", "images of 2 x 2"]),
        ("values.npz", ["classes", "found values"]),
        ("nan.npz", ["finite", "NaN at index 0"]),
        ("few.npz", ["arrays differ in length", "(7,)"]),
        ("none.npz", ["empty", "[0, 2]"]),
        ("half.npz", ["both x and y", "x alone"]),
    ] {
        let output =
            world.expect(3, &format!("eval run --data {name}"), &[name, texts[0], texts[1]]);
        assert!(stdout(&output).is_empty(), "{name}");
    }
    world.write("table.csv", "a,b,y\n1,2,0\n");
    world.expect(3, "eval run --data table.csv", &["table.csv", "have no names", "a table"]);
    world.expect(0, "train --data tiny --epochs 1 --quiet --out images", &[]);
    world.expect(3, "eval images --data table.csv", &["table.csv", "have no names"]);
    world.expect(3, "eval images --data b.npz", &["images of 6 x 6", "rows of 2 columns"]);
}

#[test]
fn a_changed_table_is_not_the_run_s_own() {
    let world = flowers_and_new_rows();
    let before = world.read("flowers.csv");
    let last = before.lines().last().unwrap();
    world.write("flowers.csv", &format!("{before}{last}\n"));
    for command in ["eval run", "report run", "dump run --out x"] {
        world.expect(3, command, &["flowers.csv", "run was trained on", "changed"]);
    }
    world.expect(0, "eval run --data flowers.csv", &[]);
    world.write("flowers.csv", &before);
    world.expect(0, "eval run", &[]);
}

#[test]
fn rows_of_another_form_are_refused() {
    let world = flowers_and_new_rows();
    let files = [
        ("column.csv", "length,kind\n1,aster\n", ["a column `weight`", "length, kind"]),
        ("label.csv", "length,weight\n1,2\n", ["a column `kind`", "length, weight"]),
        (
            "twice.csv",
            "length,length,weight,kind\n1,1,2,aster\n",
            ["one column `length`", "several"],
        ),
        (
            "class.csv",
            "length,weight,kind\n1,2,aster\n1,2,dahlia\n",
            ["aster, bellis, crocus) in line 3", "`dahlia`"],
        ),
        ("empty.csv", "length,weight,kind\n1,2,\n", ["line 2, column `kind`", "nothing"]),
        ("nan.csv", "length,weight,kind\n1,NaN,aster\n", ["line 2, column `weight`", "`NaN`"]),
        ("text.csv", "length,weight,kind\nlong,2,aster\n", ["line 2, column `length`", "`long`"]),
        ("ragged.csv", "length,weight,kind\n1,2\n", ["3 columns", "line 2"]),
        ("hollow.csv", "length,weight,kind\n", ["at least one row", "none"]),
        ("void.csv", "", ["names of the columns", "nothing"]),
    ];
    for (name, text, texts) in files {
        world.write(name, text);
        for json in ["", " --json"] {
            let output = world.expect(
                3,
                &format!("eval run --data {name}{json}"),
                &[name, texts[0], texts[1]],
            );
            assert!(stdout(&output).is_empty(), "{name}");
        }
    }
    world.expect(3, "eval run --data absent.csv", &["absent.csv", "no such file"]);
    world.expect(2, "eval run --data new.csv --split test", &["split", "new.csv", "all together"]);
    fs::remove_file(world.path("run/summary.json")).unwrap();
    world.expect(2, "eval run --data new.csv", &["summary.json"]);
}
