//! Rows without a prediction, since their outputs are NaN or infinite: `predict`, `eval` and
//! `train` name them, and exit with 5.

use crate::tables::{json, npy, npz};
use crate::world::{World, contents, stdout};

/// Inputs of row `row`. The sign of the first one decides the class.
fn inputs(row: u32) -> [f32; 2] {
    let x = 1.0 + (row % 7) as f32;
    [if row.is_multiple_of(2) { -x } else { x }, (row % 5) as f32]
}

/// Writes a table of 60 rows, and one whose first and third row overflow f32 in the network.
fn write_tables(world: &World, label: fn(u32) -> String) {
    let row = |row: u32| {
        let [a, b] = inputs(row);
        format!("{a},{b},{}\n", label(row))
    };
    world.write("sides.csv", &format!("a,b,y\n{}", (0..60).map(row).collect::<String>()));
    world.write("far.csv", &format!("a,b,y\n3e38,-3e38,{0}\n2,1,{0}\n-3e38,3e38,{0}\n", label(1)));
}

#[test]
fn nan_outputs_predict_no_class() {
    let world = World::new();
    write_tables(&world, |row| if row.is_multiple_of(2) { "left".into() } else { "right".into() });
    world.expect(
        0,
        "train --data sides.csv --label y --epochs 20 --batch 16 --lr 0.02 --quiet --out run",
        &[],
    );
    let message = ["2 of 3 rows: far.csv[0], far.csv[2]", "NaN or infinite"];
    let text = stdout(&world.expect(5, "predict run far.csv", &message));
    let lines: Vec<Vec<&str>> =
        text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        (lines[1][1], lines[1][2], lines[2][1], lines[3][1]),
        ("-", "-", "right", "-"),
        "{text}"
    );
    let rows = json(&stdout(&world.expect(5, "predict run far.csv --json", &message)));
    assert!(rows[0]["label"].is_null() && rows[0].get("class").is_none(), "{rows}");
    assert!(rows[0]["confidence"].is_null() && rows[0]["probabilities"][0] == "NaN", "{rows}");
    assert_eq!((&rows[1]["label"], &rows[1]["class"]), (&1.into(), &"right".into()));

    // One prediction of three is right; precision counts predictions only.
    let message = ["2 of 3 rows: 0, 2"];
    let text = stdout(&world.expect(5, "eval run --data far.csv", &message));
    assert!(text.starts_with("accuracy 33.33 % "), "{text}");
    let scored = json(&stdout(&world.expect(5, "eval run --data far.csv --json", &message)));
    assert_eq!(scored["unpredicted"], serde_json::json!([0, 2]));
    assert_eq!(
        (&scored["accuracy"], &scored["top_k_accuracy"][1]),
        (&(1.0 / 3.0).into(), &(1.0 / 3.0).into())
    );
    let class = &scored["classes"][1];
    assert_eq!((&class["images"], &class["predicted"]), (&3.into(), &1.into()));
    assert_eq!((&class["precision"], &class["recall"]), (&1.0.into(), &(1.0 / 3.0).into()));
    world.expect(0, "eval run", &[]);
}

#[test]
fn nan_outputs_predict_no_value() {
    let world = World::new();
    write_tables(&world, |row| format!("{}", inputs(row)[0]));
    let train = "train --data sides.csv --target y --epochs 2 --batch 16 --quiet --out run";
    world.expect(0, train, &[]);
    world.expect(5, "predict run far.csv", &["2 of 3 rows: far.csv[0], far.csv[2]"]);
    let scored =
        json(&stdout(&world.expect(5, "eval run --data far.csv --json", &["2 of 3 rows: 0, 2"])));
    assert_eq!(scored["unpredicted"], serde_json::json!([0, 2]));
}

/// Writes arrays of 60 training rows and four test rows. The second and fourth test row overflow
/// f32 in the network.
fn write_arrays(world: &World) {
    let bytes = |rows: &[[f32; 2]]| {
        rows.as_flattened().iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>()
    };
    let classes =
        |rows: u32| (0..rows).flat_map(|row| i64::from(row % 2).to_le_bytes()).collect::<Vec<_>>();
    let train: [_; 60] = std::array::from_fn(|row| inputs(row as u32));
    let test = [inputs(0), [3e38, -3e38], inputs(2), [-3e38, 3e38]];
    let arrays = [
        ("x_train", npy("<f4", "(60, 2)", &bytes(&train))),
        ("y_train", npy("<i8", "(60,)", &classes(60))),
        ("x_test", npy("<f4", "(4, 2)", &bytes(&test))),
        ("y_test", npy("<i8", "(4,)", &classes(4))),
    ];
    npz(world, "sides.npz", &arrays);
}

const TRAIN: &str = "train --data sides.npz --epochs 20 --batch 16 --lr 0.02 --quiet";

#[test]
fn a_run_whose_test_rows_have_no_prediction_is_done_and_ends_with_5() {
    let world = World::new();
    write_arrays(&world);
    let train = format!("{TRAIN} --out run");
    let text = stdout(&world.expect(5, &train, &["2 of 4 rows: test 1, test 3"]));
    assert!(text.starts_with("test accuracy 50.00 % "), "{text}");
    assert_eq!(
        (&world.summary("run")["status"], &world.summary("run")["test_accuracy"]),
        (&"done".into(), &0.5.into())
    );
    assert!(world.read("run/report.html").contains("2 of them have no prediction"));

    // All folds of a cross-validation are trained.
    world.expect(5, &format!("{TRAIN} --folds 2 --out cv"), &["2 of 4 rows: test 1, test 3"]);
    assert_eq!(json(&world.read("cv/folds.json"))["runs"].as_array().map(Vec::len), Some(2));
}

#[test]
fn resuming_a_finished_run_without_all_predictions_ends_with_5_again() {
    let world = World::new();
    write_arrays(&world);
    let message = ["2 of 4 rows: test 1, test 3"];
    let first = stdout(&world.expect(5, &format!("{TRAIN} --out run"), &message));
    assert_eq!(world.summary("run")["test_unpredicted"], 2);
    let before = contents(&world.path("run"));
    let message = ["run is finished", "2 of 4 rows: evenkeel eval run names them"];
    let resumed = stdout(&world.expect(5, "train --resume run", &message));
    assert_eq!(resumed, first, "the same result");
    assert_eq!(contents(&world.path("run")), before, "a finished run does not change");
    world.expect(5, "eval run", &["2 of 4 rows: 1, 3"]);

    world.expect(5, &format!("{TRAIN} --folds 2 --out cv"), &[]);
    world.expect(5, "train --resume cv --quiet", &["2 of 4 rows: evenkeel eval cv/fold-1"]);
    // Summaries of runs with all predictions have no count.
    world.expect(0, "train --data tiny --epochs 1 --batch 64 --quiet --out all", &[]);
    assert!(world.summary("all").get("test_unpredicted").is_none());
    world.expect(0, "train --resume all --quiet", &[]);
}
