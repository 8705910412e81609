//! Files of a run, a cross-validation or a sweep of another format: refused, with exit 3.

use serde_json::Value;

use crate::world::World;

const TRAIN: &str = "train --data tiny --preset logistic --epochs 1 --batch 64 --quiet";

/// Parts of the message about a file without a format.
const REFUSED: [&str; 3] = ["expected format 2", "found no format", "train again"];

/// Removes the key `format` from the JSON file `name`.
fn remove_format(world: &World, name: &str) {
    let mut value: Value = serde_json::from_str(&world.read(name)).unwrap();
    assert_eq!(value.as_object_mut().unwrap().remove("format"), Some(2.into()));
    world.write(name, &value.to_string());
}

#[test]
fn a_run_of_another_format_is_refused_by_every_command() {
    let world = World::new();
    world.expect(0, &format!("{TRAIN} --out run"), &[]);
    remove_format(&world, "run/summary.json");
    let before = world.read("run/summary.json");
    for command in [
        "eval run",
        "eval run --data tiny",
        "predict run tiny/t10k-images-idx3-ubyte",
        "report run",
        "report run run --out both.html",
        "export run --format onnx",
        "export run --format npz",
        "dump run --samples 2 --out dumped.safetensors",
        "train --resume run --quiet",
        "train --resume run --epochs 2 --quiet",
    ] {
        world.expect(3, command, &["summary.json", REFUSED[0], REFUSED[1], REFUSED[2]]);
    }
    assert_eq!(world.read("run/summary.json"), before);
    world.expect(0, &format!("{TRAIN} --out run --force"), &[]);
    world.expect(0, "eval run", &[]);
}

#[test]
fn a_cross_validation_of_another_format_is_refused() {
    let world = World::new();
    world.expect(0, &format!("{TRAIN} --folds 2 --out cv"), &[]);
    remove_format(&world, "cv/folds.json");
    world.expect(3, "train --resume cv --quiet", &["folds.json", REFUSED[0], REFUSED[2]]);
}

#[test]
fn a_sweep_of_another_format_is_refused() {
    let world = World::new();
    let sweep = "sweep lr=0.01 epochs=1 --preset logistic --data tiny --out grid --quiet";
    world.expect(0, sweep, &[]);
    let plan = world.read("grid/sweep.toml");
    assert!(plan.contains("format = 2\n"), "{plan}");
    world.write("grid/sweep.toml", &plan.replace("format = 2\n", ""));
    world.expect(3, sweep, &["sweep.toml", REFUSED[0], REFUSED[1], REFUSED[2]]);
    // The plan has the right format, but a trial has not.
    world.write("grid/sweep.toml", &plan);
    remove_format(&world, "grid/001/summary.json");
    world.expect(3, sweep, &["summary.json", REFUSED[0], REFUSED[1], REFUSED[2]]);
}
