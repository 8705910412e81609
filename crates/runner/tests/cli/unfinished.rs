//! Messages of every command about a run that has no weights or no summary yet.

use std::fs;

use crate::world::World;

/// Commands that need the weights of the run in `folder`.
fn commands(folder: &str) -> [String; 5] {
    [
        "eval RUN",
        "predict RUN tiny",
        "export RUN --format onnx",
        "export RUN --format npz",
        "dump RUN --out dumped",
    ]
    .map(|command| command.replace("RUN", folder))
}

#[test]
fn a_run_stopped_in_its_first_epoch_has_no_weights() {
    let world = World::new();
    world.expect(
        0,
        "train --data tiny --epochs 2 --batch 64 --max-steps 1 --out run --quiet",
        &["stopped at its limit"],
    );
    let message = [
        "run",
        "model.safetensors",
        "stopped before the end of its first epoch",
        "train --resume run",
    ];
    for command in commands("run") {
        world.expect(2, &command, &message);
    }
    world.expect(0, "report run", &[]);
    assert!(world.read("run/report.html").contains("finished no epoch"));
    world.expect(0, "train --resume run", &["resuming after 0 epochs and 1 steps"]);
    world.expect(0, "eval run", &[]);
    // Missing weights of a finished run are an error in its files.
    fs::remove_file(world.path("run/model.safetensors")).unwrap();
    for command in commands("run") {
        world.expect(3, &command, &["run/model.safetensors", "2 epochs"]);
    }

    let diverging =
        "train --data tiny --optimizer sgd --lr 1e38 --epochs 2 --batch 64 --out diverged --quiet";
    world.expect(5, diverging, &[]);
    for command in commands("diverged") {
        world.expect(2, &command, &["diverged before the end of its first epoch", "a lower --lr"]);
    }
}

#[test]
fn the_message_about_a_killed_run_names_its_contents() {
    let world = World::new();
    world.expect(0, "train --data tiny --epochs 1 --batch 64 --out run --quiet", &[]);
    // Files of a process that was killed before its first checkpoint.
    fs::create_dir(world.path("killed")).unwrap();
    fs::copy(world.path("run/config.toml"), world.path("killed/config.toml")).unwrap();
    let message = [
        "killed",
        "no summary.json",
        "the metrics of 0 epochs and no checkpoint yet",
        "train --resume killed",
    ];
    for command in commands("killed")
        .iter()
        .map(|command| &command[..])
        .chain(["report killed", "report run killed"])
    {
        world.expect(2, command, &message);
    }
    world.expect(0, "train --resume killed", &["has no checkpoint yet"]);
    assert_eq!(world.sha("killed"), world.sha("run"));

    world.expect(0, "train --data tiny --epochs 1 --batch 64 --folds 2 --out folds --quiet", &[]);
    for command in commands("folds").iter().map(|command| &command[..]).chain(["report folds"]) {
        world.expect(2, command, &["folds, which holds a cross-validation", "folds/fold-1"]);
    }
}

#[test]
fn a_dump_has_the_same_bits_on_other_instruction_sets_and_threads() {
    let world = World::new();
    world.expect(0, "train --data tiny --epochs 1 --batch 64 --out run --quiet", &[]);
    world.expect(0, "dump run --out a", &[]);
    world.expect(0, "dump run --isa scalar --threads 3 --out b", &[]);
    assert!(
        fs::read(world.path("a")).unwrap() == fs::read(world.path("b")).unwrap(),
        "the same bits"
    );
    world.expect(0, "dump --data tiny --isa scalar --threads 1 --out c", &[]);
    world.expect(2, "dump run --isa sse9 --out d", &["isa", "sse9", "scalar"]);
    world.expect(2, "dump run --threads 0 --out d", &["threads", "got 0"]);
    world.expect(2, "dump run --preset cnn --out d", &["--preset"]);
    world.expect(2, "dump run --seed 3 --out d", &["--seed"]);
    assert!(!world.path("d").exists());
}
