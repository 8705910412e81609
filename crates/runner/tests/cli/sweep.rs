//! `sweep`: one run per trial, a ranking, and resumption.

use std::fs;

use serde_json::Value;

use crate::world::{World, stdout};

#[test]
fn a_grid_is_trained_and_the_best_run_is_named() {
    let world = World::new();
    let sweep =
        "sweep lr=1e-9,0.01 batch=8,64 epochs=3 --preset logistic --data tiny --out grid --quiet";
    let text = stdout(&world.expect(0, sweep, &[]));
    let results: Vec<Value> = serde_json::from_str(&world.read("grid/sweep.json")).unwrap();
    assert_eq!(results.len(), 4);
    // The third trial has lr = 0.01 and batch = 8.
    assert_eq!(
        (&results[0]["run"], &results[0]["values"]["lr"]),
        (&"grid/003".into(), &0.01.into())
    );
    assert!(text.trim_end().ends_with("best: grid/003"), "{text}");
    assert_eq!(results[0]["val_accuracy"], world.summary("grid/003")["val_accuracy"]);
    assert!(world.read("grid/002/config.toml").contains("batch = 64"));

    // The same command trains nothing again.
    let before =
        fs::metadata(world.path("grid/001/checkpoint.safetensors")).unwrap().modified().unwrap();
    let json: Vec<Value> =
        serde_json::from_str(&stdout(&world.expect(0, &format!("{sweep} --json"), &[]))).unwrap();
    assert_eq!(json, results);
    assert_eq!(
        fs::metadata(world.path("grid/001/checkpoint.safetensors")).unwrap().modified().unwrap(),
        before
    );
    // An unfinished trial is resumed, a missing one is trained.
    let sha = world.sha("grid/004");
    fs::remove_file(world.path("grid/004/summary.json")).unwrap();
    fs::remove_dir_all(world.path("grid/002")).unwrap();
    world.expect(0, sweep, &[]);
    assert_eq!(world.sha("grid/004"), sha);
    assert!(world.path("grid/002/summary.json").is_file());

    world.expect(2, &sweep.replace("0.01", "0.02"), &["grid", "another"]);
    world.expect(2, &sweep.replace("--out grid", "--out tiny"), &["tiny", "absent or empty"]);
}

#[test]
fn invalid_choices_are_refused_before_training() {
    let world = World::new();
    for (arguments, texts) in [
        ("bacth=1,2", &["bacth", "did you mean `batch`?"][..]),
        ("batch=8,0", &["batch", "at least 1"]),
        ("lr=log(1,2)", &["--random"]),
        ("lr", &["KEY=A,B,C"]),
        ("optimizer=loin", &["lion"]),
    ] {
        world.expect(2, &format!("sweep {arguments} --data tiny --out grid"), texts);
        assert!(!world.path("grid").exists(), "{arguments}");
    }
    world.expect(2, "sweep lr=1 --data tiny", &["--out"]);
}

#[test]
fn random_values_are_drawn_and_divergence_is_a_result() {
    let world = World::new();
    let sweep = "sweep lr=log(1e36,1e38) optimizer=sgd epochs=1 --random 2 --data tiny \
                 --out random --quiet";
    let text = stdout(&world.expect(0, sweep, &[]));
    assert_eq!(text.matches("diverged").count(), 2, "{text}");
    assert!(!text.contains("best:"), "{text}");
}

#[test]
fn the_best_regression_has_the_lowest_validation_loss() {
    let world = World::new();
    world.write(
        "sums.csv",
        &format!("a,sum\n{}", (0..60).map(|i| format!("{i},{i}\n")).collect::<String>()),
    );
    let sweep =
        "sweep lr=1e-9,0.05 --data sums.csv --target sum --preset linear --out grid --quiet";
    let text = stdout(&world.expect(0, sweep, &[]));
    assert!(text.trim_end().ends_with("best: grid/002") && !text.contains('%'), "{text}");
    let results: Vec<Value> = serde_json::from_str(&world.read("grid/sweep.json")).unwrap();
    assert_eq!(
        (&results[0]["run"], &results[0]["val_accuracy"]),
        (&"grid/002".into(), &Value::Null)
    );
    let loss = results[0]["val_loss"].as_f64().unwrap();
    assert!(loss < results[1]["val_loss"].as_f64().unwrap());
    assert!(text.contains(&format!("{loss:.4}")), "{text}");
}
