//! Class weights, the balanced sampler and `--drop-last`: recorded, reproducible, resumed to the
//! same bits.

use serde_json::Value;

use crate::world::{World, stdout};

/// Writes a table with imbalanced classes: 90, 20 and 10 rows.
fn write_imbalanced(world: &World) {
    let mut rows = String::from("x,y,label\n");
    for i in 0..120_u32 {
        let class = if i % 12 < 9 {
            "often"
        } else if i % 12 < 11 {
            "some"
        } else {
            "rare"
        };
        let mean = if class == "often" {
            0.0
        } else if class == "some" {
            1.0
        } else {
            2.0
        };
        let noise = f64::from(i * 37 % 100) / 50.0;
        rows += &format!("{},{},{class}\n", mean + noise, mean - noise);
    }
    world.write("rare.csv", &rows);
}

const RUN: &str = "train --data rare.csv --label label --epochs 3 --batch 16 --quiet";

/// Asserts that a run in pieces of a few steps has the bits of an uninterrupted one, and that its
/// configuration repeats it.
fn assert_resumes_exactly(world: &World, flags: &str) {
    world.expect(0, &format!("{RUN} {flags} --out whole --force"), &[]);
    world.expect(0, &format!("{RUN} {flags} --out pieces --force --max-steps 3"), &[]);
    for limit in [5, 8, 1000] {
        world.expect(0, &format!("train --resume pieces --quiet --max-steps {limit}"), &[]);
    }
    assert_eq!(world.sha("pieces"), world.sha("whole"), "{flags}");
    let losses = |run: &str| {
        let lines = world.read(&format!("{run}/metrics.jsonl"));
        let line = |line: &str| serde_json::from_str::<Value>(line).unwrap()["train_loss"].clone();
        lines.lines().map(line).collect::<Vec<_>>()
    };
    assert_eq!(losses("pieces"), losses("whole"), "{flags}");
    // The configuration alone repeats the run.
    world.expect(0, "train --config whole/config.toml --out again --force --quiet", &[]);
    assert_eq!(world.sha("again"), world.sha("whole"), "{flags}");
}

#[test]
fn imbalance_options_resume_to_the_same_bits() {
    let world = World::new();
    write_imbalanced(&world);
    world.expect(0, &format!("{RUN} --out plain"), &[]);
    let mut shas = vec![world.sha("plain")];
    for flags in [
        "--class-weights balanced",
        "--class-weights 1,5,9",
        "--sampler balanced",
        "--drop-last",
        "--class-weights balanced --sampler balanced --drop-last",
    ] {
        assert_resumes_exactly(&world, flags);
        let sha = world.sha("whole");
        assert!(!shas.contains(&sha), "{flags} changes nothing");
        shas.push(sha);
    }
    let config = world.read("whole/config.toml");
    for line in ["drop_last = true", "sampler = \"balanced\"", "class_weights = ["] {
        assert!(config.contains(line), "no {line} in {config}");
    }
    let plain = world.read("plain/config.toml");
    assert!(
        !plain.contains("drop_last")
            && !plain.contains("sampler")
            && !plain.contains("class_weights")
    );
}

/// Checks that equal class weights change no bit, and that accumulated batches give the gradient of
/// one large batch, apart from rounding.
#[test]
fn equal_weights_change_nothing_and_accumulation_is_the_mean_over_the_step() {
    let world = World::new();
    write_imbalanced(&world);
    world.expect(0, &format!("{RUN} --out plain"), &[]);
    world.expect(0, &format!("{RUN} --class-weights 1,1,1 --out ones"), &[]);
    assert_eq!(world.sha("ones"), world.sha("plain"));
    // f64, and no layer with batch statistics: only rounding differs.
    let config = |accumulate: u32, batch: u32| {
        format!(
            "dtype = \"f64\"\naccumulate = {accumulate}\nbatch = {batch}\nepochs = 3\n\
             preset = \"logistic\"\nclass_weights = [1.0, 5.0, 9.0]\n"
        )
    };
    let loss = |name: &str, text: String| {
        world.write("c.toml", &text);
        let run =
            format!("train --data rare.csv --label label --config c.toml --quiet --out {name}");
        world.expect(0, &run, &[]);
        world.summary(name)["val_loss"].as_f64().unwrap()
    };
    let (one, four) = (loss("one", config(1, 32)), loss("four", config(4, 8)));
    assert!((one - four).abs() < 1e-12, "{one}, {four}");
}

#[test]
fn invalid_imbalance_options_are_refused() {
    let world = World::new();
    write_imbalanced(&world);
    for (flags, texts) in [
        ("--class-weights 1,2", ["expected 3 numbers", "got 2"]),
        ("--class-weights 1,0,2", ["class-weights: expected finite numbers above 0", "got 0"]),
        ("--class-weights 1,2,1e-50", ["class_weights[2]", "f32 represents"]),
        ("--class-weights rare", ["--class-weights", "`balanced`, or a number for each class"]),
        ("--class-weights balanced --preset svm", ["class-weights", "cross_entropy"]),
    ] {
        world.expect(2, &format!("{RUN} {flags} --out run"), &texts);
        assert!(!world.path("run").exists());
    }
    let values = "train --data rare.csv --target x --out run";
    world.write(
        "numbers.csv",
        "x,y\n1,2\n2,3\n3,5\n4,4\n5,6\n6,7\n7,9\n8,8\n9,1\n10,2\n11,3\n12,4\n",
    );
    let values = values.replace("rare.csv", "numbers.csv");
    for flag in ["--class-weights balanced", "--sampler balanced"] {
        world.expect(
            2,
            &format!("{values} {flag}"),
            &["expected classes", "whose rows have values"],
        );
    }
    // Each fold resolves its own weights.
    let output =
        world.expect(0, &format!("{RUN} --class-weights balanced --folds 3 --out folds"), &[]);
    assert!(stdout(&output).contains("fold"), "{}", stdout(&output));
    assert!(world.read("folds/config.toml").contains("class_weights = \"balanced\""));
    assert!(world.read("folds/fold-2/config.toml").contains("class_weights = ["));
}
