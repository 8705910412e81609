//! `train --folds`: one run per fold, a summary of all, and resumption.

use std::fs;

use serde_json::Value;

use crate::world::{World, stderr, stdout};

const TRAIN: &str =
    "train --data tiny --preset logistic --epochs 4 --batch 32 --lr 0.01 --folds 3 --quiet";

fn results(world: &World, run: &str) -> Value {
    serde_json::from_str(&world.read(&format!("{run}/folds.json"))).unwrap()
}

#[test]
fn every_fold_is_a_run_and_a_summary_has_all() {
    let world = World::new();
    let text = stdout(&world.expect(0, &format!("{TRAIN} --out cv"), &[]));
    assert!(
        text.lines().any(|line| line.starts_with("mean")) && text.trim_end().ends_with("run cv"),
        "{text}"
    );
    let all = results(&world, "cv");
    assert_eq!((&all["folds"], all["runs"].as_array().unwrap().len()), (&3.into(), 3));
    let mut sum = 0.0;
    for fold in 1..=3 {
        let summary = world.summary(&format!("cv/fold-{fold}"));
        assert_eq!(summary["val_accuracy"], all["runs"][fold - 1]["val_accuracy"]);
        sum += summary["val_loss"].as_f64().unwrap();
        assert!(
            world.read(&format!("cv/fold-{fold}/config.toml")).contains(&format!("fold = {fold}"))
        );
    }
    assert!((all["val_loss"]["mean"].as_f64().unwrap() - sum / 3.0).abs() < 1e-12);
    assert!(
        all["val_loss"]["std"].as_f64().unwrap() > 0.0
            && all["val_accuracy"]["mean"].as_f64().unwrap() > 0.5
    );
    // A fold's folder is a run folder.
    let score = world.expect(0, "eval cv/fold-2 --split val --json", &[]);
    let score: Value = serde_json::from_str(&stdout(&score)).unwrap();
    assert_eq!(
        (&score["images"], &score["accuracy"]),
        (&100.into(), &all["runs"][1]["val_accuracy"])
    );

    // --json prints folds.json; a finished cross-validation does not change.
    let json = stdout(&world.expect(0, "train --resume cv --json --quiet", &[]));
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), all);
    let slow = TRAIN.replace("0.01", "1e-9").replace("--epochs 4", "--epochs 1");
    world.expect(4, &format!("{slow} --out slow --min-accuracy 0.99"), &["below --min-accuracy"]);
    world.expect(2, &format!("{TRAIN} --out cv"), &["cv", "--force", "--resume"]);
    world.expect(0, &format!("{} --out cv --force", TRAIN.replace("--folds 3", "--folds 2")), &[]);
    assert_eq!(results(&world, "cv")["runs"].as_array().unwrap().len(), 2);
    assert!(!world.path("cv/fold-3").exists(), "--force removes all old folds");
    // Without --out, the folder is the next free one.
    world.expect(0, &TRAIN.replace("--epochs 4", "--epochs 1"), &[]);
    assert!(world.path("runs/logistic-1/fold-3/summary.json").is_file());
}

#[test]
fn stopped_folds_resume_to_the_same_bits() {
    let world = World::new();
    world.expect(0, &format!("{TRAIN} --out whole"), &[]);
    // 7 steps per epoch: the first fold stops in its third epoch.
    let stopped =
        world.expect(0, &format!("{TRAIN} --out cv --max-steps 17"), &["train --resume cv"]);
    assert!(stdout(&stopped).is_empty() && !world.path("cv/folds.json").exists());
    assert_eq!(world.summary("cv/fold-1")["status"], "interrupted");
    world.expect(0, "train --resume cv --quiet --threads 1 --isa scalar", &[]);
    for fold in 1..=3 {
        assert_eq!(world.sha(&format!("cv/fold-{fold}")), world.sha(&format!("whole/fold-{fold}")));
    }
    // A missing fold is trained.
    fs::remove_dir_all(world.path("cv/fold-2")).unwrap();
    let shown = world.expect(0, "train --resume cv", &[]);
    assert!(stderr(&shown).contains("fold 2 of 3"), "{}", stderr(&shown));
    assert_eq!(world.sha("cv/fold-2"), world.sha("whole/fold-2"));
}

#[test]
fn folds_are_replaced_only_if_the_new_ones_can_start() {
    let world = World::new();
    world.expect(0, &format!("{TRAIN} --out cv"), &[]);
    let before = world.sha("cv/fold-1");
    world.expect(
        1,
        &format!("{TRAIN} --out cv --force --init-from absent.safetensors"),
        &["absent"],
    );
    assert_eq!(world.sha("cv/fold-1"), before);
}

#[test]
fn invalid_folds_are_refused() {
    let world = World::new();
    for (folds, texts) in [
        ("1", &["folds", "at least 2", "got 1"][..]),
        ("301", &["folds", "2 to the number of training images, 300", "got 301"]),
        ("some", &["some"]),
    ] {
        world.expect(2, &format!("train --data tiny --folds {folds} --out cv"), texts);
        assert!(!world.path("cv").exists());
    }
    world.write("both.toml", "folds = 3\nvalidation = 20\n");
    world.expect(2, "train --config both.toml --data tiny", &["folds", "`validation`"]);
    world.write("beyond.toml", "folds = 3\nfold = 4\n");
    world.expect(
        2,
        "train --config beyond.toml --data tiny",
        &["fold", "1 to `folds` (3)", "got 4"],
    );
    world.write("all.toml", "folds = 3\n");
    world.expect(2, "dump --config all.toml --data tiny --out x", &["folds", "key `fold`"]);
    world.expect(2, "train --data tiny --folds 3 --dry-run", &["--folds", "--dry-run"]);
    world.expect(2, "train --resume absent --folds 3", &["--folds", "--resume"]);
}
