//! Augmentation: the same bits on any machine and after any stop, and only in training.

use std::fs;

use crate::world::World;

const CONFIG: &str = "epochs = 3\nbatch = 32\nlr = 0.01\naugment = [\n\
    { kind = \"shift\", pixels = 1 }, { kind = \"rotate\", degrees = 10, p = 0.5 },\n\
    { kind = \"elastic\", alpha = 3.0, sigma = 1.0 }, { kind = \"noise\", std = 0.05 },\n\
    { kind = \"random\", operations = 2, magnitude = 0.3 }]\n";

#[test]
fn augmented_runs_have_the_same_bits_everywhere() {
    let world = World::new();
    world.write("run.toml", CONFIG);
    let train = "train --config run.toml --data tiny --quiet";
    world.expect(0, &format!("{train} --out run"), &[]);
    assert!(world.read("run/config.toml").contains("kind = \"elastic\""));
    world.expect(
        0,
        "train --config run/config.toml --threads 1 --isa scalar --out scalar --quiet",
        &[],
    );
    world.expect(0, &format!("{train} --max-steps 12 --out stopped"), &["--resume"]);
    world.expect(0, "train --resume stopped --threads 2 --quiet", &[]);
    assert_eq!(world.sha("scalar"), world.sha("run"));
    assert_eq!(world.sha("stopped"), world.sha("run"));
    assert_eq!(world.summary("stopped")["test_loss"], world.summary("run")["test_loss"]);

    // Augmentation changes training only: with a negligible learning rate, validation and test
    // losses are those without it.
    world.write("plain.toml", &CONFIG[..CONFIG.find("augment").unwrap()]);
    world.expect(0, "train --config plain.toml --data tiny --out plain --quiet", &[]);
    assert_ne!(world.sha("plain"), world.sha("run"));
    for (config, run) in [("run.toml", "still"), ("plain.toml", "plain-still")] {
        world.write("slow.toml", &world.read(config).replace("lr = 0.01", "lr = 1e-30"));
        world.expect(0, &format!("train --config slow.toml --data tiny --out {run} --quiet"), &[]);
    }
    let first = |run: &str| -> serde_json::Value {
        serde_json::from_str(world.read(&format!("{run}/metrics.jsonl")).lines().next().unwrap())
            .unwrap()
    };
    let (still, plain) = (first("still"), first("plain-still"));
    assert_eq!(still["val_loss"], plain["val_loss"]);
    assert_ne!(still["train_loss"], plain["train_loss"]);
    assert_eq!(world.summary("still")["test_loss"], world.summary("plain-still")["test_loss"]);
}

#[test]
fn augmented_images_are_drawn() {
    let world = World::new();
    world.write("run.toml", CONFIG);
    for (name, arguments) in [
        ("plain", ""),
        ("first", "--augment run.toml"),
        ("again", "--augment run.toml"),
        ("second", "--augment run.toml --epoch 2"),
    ] {
        world.expect(
            0,
            &format!("data show --data tiny --count 9 --out {name}.png {arguments}"),
            &[],
        );
    }
    let [plain, first, again, second] = ["plain", "first", "again", "second"]
        .map(|name| fs::read(world.path(&format!("{name}.png"))).unwrap());
    assert_eq!(first, again);
    assert!(plain != first && first != second);
    world.expect(2, "data show --data tiny --epoch 2", &["--augment"]);
    world.expect(2, "data show --data tiny --augment run.toml --epoch 0", &["epoch"]);
}

#[test]
fn augmentations_out_of_range_are_named() {
    let world = World::new();
    for (list, texts) in [
        ("{ kind = \"shift\", pixels = -1 }", &["augment"][..]),
        ("{ kind = \"turn\", degrees = 1 }", &["turn", "rotate"]),
        ("{ kind = \"rotate\", degree = 1 }", &["degree"]),
        ("{ kind = \"rotate\", degrees = 400 }", &["augment", "rotate", "0 to 180", "got 400"]),
        ("{ kind = \"noise\", std = 0.1, p = 2 }", &["augment", "noise", "p", "0 to 1", "got 2"]),
        ("{ kind = \"elastic\", alpha = 1, sigma = nan }", &["augment", "elastic", "sigma", "NaN"]),
        (
            "{ kind = \"random\", operations = 9, magnitude = 0.5 }",
            &["augment", "operations", "1 to 8"],
        ),
    ] {
        world.write("bad.toml", &format!("augment = [{list}]\n"));
        world.expect(2, "train --config bad.toml --data tiny --out run", texts);
        assert!(!world.path("run").exists());
    }
}
