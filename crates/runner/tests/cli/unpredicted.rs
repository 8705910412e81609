//! Outputs that are NaN or infinite are no prediction: `predict`, `eval` and `train` name the rows,
//! and exit with 5.

use crate::tables::{json, npy, npz};
use crate::world::{World, stdout};

/// Rows of 60 examples: the sign of the first column decides.
fn side(row: u32) -> [f32; 2] {
    let x = 1.0 + (row % 7) as f32;
    [if row.is_multiple_of(2) { -x } else { x }, (row % 5) as f32]
}

/// A table of such rows, and one whose first and third row overflow f32 within the network.
fn sides(world: &World, label: fn(u32) -> String) {
    let row = |row: u32| {
        let [a, b] = side(row);
        format!("{a},{b},{}\n", label(row))
    };
    world.write("sides.csv", &format!("a,b,y\n{}", (0..60).map(row).collect::<String>()));
    world.write("far.csv", &format!("a,b,y\n3e38,-3e38,{0}\n2,1,{0}\n-3e38,3e38,{0}\n", label(1)));
}

#[test]
fn a_class_is_not_predicted_from_nan() {
    let world = World::new();
    sides(&world, |row| if row.is_multiple_of(2) { "left".into() } else { "right".into() });
    world.expect(
        0,
        "train --data sides.csv --label y --epochs 20 --batch 16 --lr 0.02 --quiet --out run",
        &[],
    );
    let named = ["2 of 3 rows: far.csv[0], far.csv[2]", "NaN or infinite"];
    let text = stdout(&world.expect(5, "predict run far.csv", &named));
    let lines: Vec<Vec<&str>> =
        text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        (lines[1][1], lines[1][2], lines[2][1], lines[3][1]),
        ("-", "-", "right", "-"),
        "{text}"
    );
    let rows = json(&stdout(&world.expect(5, "predict run far.csv --json", &named)));
    assert!(rows[0]["label"].is_null() && rows[0].get("class").is_none(), "{rows}");
    assert!(rows[0]["confidence"].is_null() && rows[0]["probabilities"][0] == "NaN", "{rows}");
    assert_eq!((&rows[1]["label"], &rows[1]["class"]), (&1.into(), &"right".into()));

    // One row of three is right; precision counts predictions alone.
    let named = ["2 of 3 rows: 0, 2"];
    let text = stdout(&world.expect(5, "eval run --data far.csv", &named));
    assert!(text.starts_with("accuracy 33.33 % "), "{text}");
    let scored = json(&stdout(&world.expect(5, "eval run --data far.csv --json", &named)));
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
fn a_value_is_not_predicted_from_nan() {
    let world = World::new();
    sides(&world, |row| format!("{}", side(row)[0]));
    let train = "train --data sides.csv --target y --epochs 2 --batch 16 --quiet --out run";
    world.expect(0, train, &[]);
    world.expect(5, "predict run far.csv", &["2 of 3 rows: far.csv[0], far.csv[2]"]);
    let scored =
        json(&stdout(&world.expect(5, "eval run --data far.csv --json", &["2 of 3 rows: 0, 2"])));
    assert_eq!(scored["unpredicted"], serde_json::json!([0, 2]));
}

#[test]
fn a_run_whose_test_rows_have_no_prediction_says_so_and_is_done() {
    let world = World::new();
    let bytes = |rows: &[[f32; 2]]| {
        rows.as_flattened().iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>()
    };
    let classes =
        |rows: u32| (0..rows).flat_map(|row| i64::from(row % 2).to_le_bytes()).collect::<Vec<_>>();
    let test = [side(0), [3e38, -3e38], side(2), [-3e38, 3e38]];
    let arrays = [
        (
            "x_train",
            npy("<f4", "(60, 2)", &bytes(&std::array::from_fn::<_, 60, _>(|row| side(row as u32)))),
        ),
        ("y_train", npy("<i8", "(60,)", &classes(60))),
        ("x_test", npy("<f4", "(4, 2)", &bytes(&test))),
        ("y_test", npy("<i8", "(4,)", &classes(4))),
    ];
    npz(&world, "sides.npz", &arrays);
    let train = "train --data sides.npz --epochs 20 --batch 16 --lr 0.02 --quiet --out run";
    let text = stdout(&world.expect(5, train, &["2 of 4 rows: test 1, test 3"]));
    assert!(text.starts_with("test accuracy 50.00 % "), "{text}");
    assert_eq!(
        (&world.summary("run")["status"], &world.summary("run")["test_accuracy"]),
        (&"done".into(), &0.5.into())
    );
    assert!(world.read("run/report.html").contains("2 of them have no prediction"));

    // So are folds: all of them are trained and summed up.
    let train =
        "train --data sides.npz --epochs 20 --batch 16 --lr 0.02 --quiet --folds 2 --out cv";
    world.expect(5, train, &["2 of 4 rows: test 1, test 3"]);
    assert_eq!(json(&world.read("cv/folds.json"))["runs"].as_array().map(Vec::len), Some(2));
}
