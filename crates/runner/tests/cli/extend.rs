//! `train --resume DIR --epochs N` extends a run to more epochs. It has the bits of a run that is
//! started with all of them or, if the schedule depends on their number, of its own configuration.

use std::fs;

use serde_json::Value;

use crate::world::{World, stderr};

/// Configuration with 18 steps per epoch, and a learning rate that does not depend on the number of
/// epochs.
const CONSTANT: &str = "batch = 16\nlr = 0.01\nschedule = { kind = \"constant\" }\n";

/// Metrics of a run, without times.
fn metrics(world: &World, run: &str) -> Vec<Value> {
    let text = world.read(&format!("{run}/metrics.jsonl"));
    let mut lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.iter_mut().for_each(|line| line["train_seconds"] = 0.into());
    lines
}

fn assert_same(world: &World, a: &str, b: &str) {
    assert_eq!(world.sha(a), world.sha(b));
    assert_eq!(metrics(world, a), metrics(world, b));
    assert!(world.read(&format!("{a}/health.jsonl")) == world.read(&format!("{b}/health.jsonl")));
}

#[test]
fn an_extended_run_equals_one_with_all_epochs() {
    let world = World::new();
    world.write("constant.toml", CONSTANT);
    let train = "train --data tiny --config constant.toml --quiet";
    world.expect(0, &format!("{train} --epochs 5 --out whole"), &[]);
    // A finished run; one that is stopped within an epoch; one that is extended twice.
    world.expect(0, &format!("{train} --epochs 2 --out done"), &[]);
    let output = world.expect(
        0,
        "train --resume done --epochs 5",
        &["done continues to 5 epochs instead of 2"],
    );
    assert!(!stderr(&output).contains("depends on the number of epochs"));
    assert_same(&world, "done", "whole");
    assert_eq!(world.summary("done")["epochs"], 5);
    world.expect(0, &format!("{train} --epochs 2 --max-steps 25 --out stopped"), &[]);
    world.expect(0, "train --resume stopped --epochs 3 --max-steps 30 --quiet", &[]);
    world.expect(
        0,
        "train --resume stopped --epochs 5 --threads 2 --checkpoint-steps 9 --quiet",
        &[],
    );
    assert_same(&world, "stopped", "whole");
    let config = world.read("stopped/config.toml");
    assert!(config.contains("epochs = 5\n") && !config.contains("checkpoint_steps"), "{config}");
    // Its configuration repeats the run, which is finished now.
    world.expect(0, "train --config stopped/config.toml --out again --quiet", &[]);
    assert_same(&world, "again", "whole");
    world.expect(0, "train --resume done --epochs 5", &["done is finished"]);
    // Fewer epochs than configured end a run early.
    world.expect(0, &format!("{train} --epochs 9 --max-steps 40 --out fewer"), &[]);
    world.expect(0, "train --resume fewer --epochs 5 --quiet", &[]);
    assert_same(&world, "fewer", "whole");
}

#[test]
fn a_schedule_that_depends_on_the_length_keeps_its_past() {
    let world = World::new();
    // Half a cosine: the learning rate is 0 at the end, and rises again. Step 36 of 72 has 0.489 of
    // the base rate.
    world.write("cosine.toml", &CONSTANT.replace("constant", "cosine"));
    world.expect(0, "train --data tiny --config cosine.toml --epochs 2 --out run --quiet", &[]);
    let notice = [
        "schedule depends on the number of epochs",
        "the 36 steps so far followed the schedule of 2 epochs",
        "4.89e-3 on",
    ];
    world.expect(0, "train --resume run --epochs 4", &notice);
    let rates: Vec<f64> =
        metrics(&world, "run").iter().map(|line| line["lr"].as_f64().unwrap()).collect();
    assert!(rates[1] < 1e-9 && rates[2] > 1e-3 && rates[3] < 1e-9, "{rates:?}");
    world.expect(0, "train --config run/config.toml --out again --quiet", &[]);
    assert_same(&world, "again", "run");
    world.expect(0, "train --data tiny --config cosine.toml --epochs 4 --out whole --quiet", &[]);
    assert_ne!(world.sha("run"), world.sha("whole"));
}

#[test]
fn a_kill_while_a_run_is_extended_loses_nothing() {
    let world = World::new();
    world.write("constant.toml", CONSTANT);
    let train = "train --data tiny --config constant.toml --quiet";
    world.expect(0, &format!("{train} --epochs 4 --out whole"), &[]);
    world.expect(0, &format!("{train} --epochs 2 --out run"), &[]);
    let [checkpoint, summary] = ["checkpoint.safetensors", "summary.json"]
        .map(|name| fs::read(world.path(&format!("run/{name}"))).unwrap());
    let done = |world: &World| world.summary("run")["status"] == "done";
    // Extended twice, and killed each time before the next checkpoint.
    for epochs in [3, 4] {
        world.expect(
            0,
            &format!("train --resume run --epochs {epochs} --max-steps 40 --quiet"),
            &[],
        );
        assert!(!done(&world));
        fs::write(world.path("run/checkpoint.safetensors"), &checkpoint).unwrap();
    }
    world.expect(0, "train --resume run --quiet", &[]);
    assert_same(&world, "run", "whole");
    assert!(done(&world) && summary != fs::read(world.path("run/summary.json")).unwrap());
}

#[test]
fn flags_that_would_change_finished_steps_are_refused() {
    let world = World::new();
    world.write("other.toml", CONSTANT);
    world.expect(0, "train --data tiny --epochs 2 --batch 16 --out run --quiet", &[]);
    let before = fs::read(world.path("run/config.toml")).unwrap();
    for flag in [
        "--batch 8",
        "--seed 1",
        "--lr 0.1",
        "--preset cnn",
        "--drop-last",
        "--sampler balanced",
        "--class-weights balanced",
        "--config other.toml",
        "--optimizer sgd",
        "--clip-norm 1",
        "--dtype f64",
        "--non-finite skip",
        "--freeze *",
        "--dataset mnist",
        "--label y",
        "--target y",
        "--folds 2",
        "--out other",
    ] {
        let name = flag.split(' ').next().unwrap();
        world.expect(2, &format!("train --resume run --epochs 3 {flag}"), &["--resume", name]);
    }
    world.expect(2, "train --resume run --epochs 1", &["epochs: expected at least 2", "got 1"]);
    world.expect(2, "train --resume run --epochs 0", &["epochs", "got 0"]);
    assert!(
        fs::read(world.path("run/config.toml")).unwrap() == before
            && world.summary("run")["status"] == "done"
    );

    world.write(
        "early.toml",
        "early_stopping = { patience = 1 }\nlr = 1e-12\nbatch = 16\nepochs = 9\n",
    );
    world.expect(0, "train --data tiny --config early.toml --out early --quiet", &[]);
    assert!(world.summary("early")["epochs"].as_u64() < Some(9));
    world.expect(2, "train --resume early --epochs 20", &["early_stopping ended after"]);
    world.expect(0, "train --data tiny --epochs 1 --batch 64 --folds 2 --out folds --quiet", &[]);
    world.expect(2, "train --resume folds --epochs 3", &["epochs", "cross-validation folds"]);
    world.write("bad.toml", "extended = [{ step = 9, epochs = 1 }, { step = 8, epochs = 2 }]\n");
    world.expect(2, "train --data tiny --config bad.toml", &["extended"]);
}
