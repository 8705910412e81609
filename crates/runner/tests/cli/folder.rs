//! Run folder: its files and their keys; no file is overwritten by accident.

use std::fs;

use serde_json::Value;

use crate::world::{World, contents, stderr, stdout};

const SHORT: &str = "train --data tiny --epochs 3 --batch 16 --seed 5";

#[test]
fn a_run_folder_has_every_documented_file_and_key() {
    let world = World::new();
    let output = world.expect(
        0,
        &format!("{SHORT} --out run"),
        &["epoch  3/3", "gradient norm", "272 images"][..2],
    );
    let mut names: Vec<_> =
        contents(&world.path("run")).into_iter().map(|(path, _)| path).collect();
    names.iter_mut().for_each(|path| *path = path.file_name().unwrap().into());
    let expected = [
        "checkpoint.safetensors",
        "config.toml",
        "events.out.tfevents.evenkeel",
        "health.jsonl",
        "metrics.csv",
        "metrics.jsonl",
        "model.safetensors",
        "report.html",
        "summary.json",
    ];
    assert_eq!(names, expected.map(std::path::PathBuf::from));

    let lines: Vec<Value> = world
        .read("run/metrics.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3);
    for (number, line) in (1..).zip(&lines) {
        assert_eq!(line["epoch"], number);
        for key in ["train_seconds", "train_loss", "val_loss", "val_accuracy", "lr", "grad_norm"] {
            assert!(line[key].as_f64().is_some_and(|value| value >= 0.0), "{key} in {line}");
        }
    }
    assert!(lines[2]["train_loss"].as_f64() < lines[0]["train_loss"].as_f64(), "the loss falls");

    let summary = world.summary("run");
    for key in
        ["test_accuracy", "test_accuracy_low", "test_accuracy_high", "test_loss", "val_accuracy"]
    {
        assert!(summary[key].as_f64().is_some_and(|value| value >= 0.0), "{key} in {summary}");
    }
    assert!(summary["seconds_total"].as_f64() > summary["train_seconds_best_epoch"].as_f64());
    assert_eq!(summary["epochs"], 3);
    assert_eq!(summary["params"], 36 * 512 + 512 + 512 * 3 + 3);
    assert_eq!((&summary["dataset"], &summary["seed"]), (&"tiny".into(), &5.into()));
    assert_eq!(summary["data_synthetic"], false);
    assert!(summary["threads"].as_u64() >= Some(1) && summary["isa"].is_string());
    assert!(!cfg!(target_os = "linux") || summary["peak_rss_bytes"].as_u64() > Some(1 << 20));
    let best = summary["best_epoch"].as_u64().unwrap() as usize;
    assert_eq!(summary["val_accuracy"], lines[best - 1]["val_accuracy"]);
    let sha = world.sha("run");
    assert_eq!(sha.len(), 64);

    let line = stdout(&output);
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(
        line.starts_with("test accuracy ") && line.contains(" % ± ") && line.contains(&sha),
        "{line}"
    );
    assert!(line.trim_end().ends_with("run run"), "{line}");

    let report = world.read("run/report.html");
    for text in ["<svg", "Test accuracy:", "folder ", "train --data tiny", &sha] {
        assert!(report.contains(text), "no `{text}` in the report");
    }
    assert!(!report.contains("were generated") && !report.contains("http"), "self-contained");
    assert!(!report.contains("<script"), "no scripts");
}

#[test]
fn model_and_summary_belong_together() {
    let world = World::new();
    world.expect(0, &format!("{SHORT} --out run --quiet"), &[]);
    let summary = world.summary("run");
    let eval = world.expect(0, "eval run --json", &[]);
    let eval: Value = serde_json::from_str(&stdout(&eval)).unwrap();
    assert_eq!(eval["accuracy"], summary["test_accuracy"]);
    assert_eq!(eval["loss"], summary["test_loss"]);
    assert_eq!(eval["params_sha256"], summary["params_sha256"]);
    assert_eq!((&eval["split"], &eval["images"]), (&"test".into(), &90.into()));
    let val: Value =
        serde_json::from_str(&stdout(&world.run("eval run --split val --json"))).unwrap();
    assert_eq!(val["accuracy"], summary["val_accuracy"]);
    assert_eq!(val["images"], 25);
    let text = stdout(&world.run("eval run --split train"));
    for part in [
        "of 275 images",
        "top-2 accuracy",
        "area under ROC",
        "calibration error",
        "columns: predictions",
    ] {
        assert!(text.contains(part), "no `{part}` in {text}");
    }

    // Metrics agree with the confusion matrix.
    let confusion: Vec<Vec<u64>> = serde_json::from_value(eval["confusion"].clone()).unwrap();
    let right: u64 = (0..3).map(|class| confusion[class][class]).sum();
    assert_eq!(eval["accuracy"], right as f64 / 90.0);
    assert_eq!(
        (&eval["top_k_accuracy"][0], &eval["top_k_accuracy"][2]),
        (&eval["accuracy"], &1.0.into())
    );
    for (class, measures) in eval["classes"].as_array().unwrap().iter().enumerate() {
        assert_eq!((&measures["class"], &measures["images"]), (&class.into(), &30.into()));
        assert_eq!(measures["recall"], confusion[class][class] as f64 / 30.0);
    }
    for key in [
        "precision_macro",
        "recall_macro",
        "f1_macro",
        "f1_micro",
        "roc_auc_macro",
        "calibration_error",
    ] {
        assert!(
            eval[key].as_f64().is_some_and(|value| (0.0..=1.0).contains(&value)),
            "{key} in {eval}"
        );
    }

    // PyTorch's names and shapes.
    let bytes = fs::read(world.path("run/model.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut shapes: Vec<_> =
        file.iter().map(|(name, view)| (name, view.shape().to_vec())).collect();
    shapes.sort();
    let expected = [
        ("layers.0.bias", vec![512]),
        ("layers.0.weight", vec![512, 36]),
        ("layers.2.bias", vec![3]),
        ("layers.2.weight", vec![3, 512]),
    ];
    assert_eq!(shapes, expected);

    // A damaged model is refused.
    fs::write(world.path("run/model.safetensors"), &bytes[..bytes.len() - 4]).unwrap();
    world.expect(3, "eval run", &["model.safetensors"]);
}

#[test]
fn json_is_alone_on_stdout_and_quiet_prints_nothing_on_stderr() {
    let world = World::new();
    let output = world.expect(0, &format!("{SHORT} --out run --json --quiet"), &[]);
    let printed: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(printed, world.summary("run"));
    assert_eq!(stderr(&output), "");
}

#[test]
fn folders_are_numbered_and_none_is_overwritten() {
    let world = World::new();
    let common = "train --data tiny --epochs 1 --quiet";
    for n in [1, 2] {
        let line = stdout(&world.expect(0, common, &[]));
        assert!(line.trim_end().ends_with(&format!("run runs/mlp-{n}")), "{line}");
    }
    assert_eq!(world.sha("runs/mlp-1"), world.sha("runs/mlp-2"));

    let before = contents(&world.path("runs/mlp-1"));
    world.expect(2, &format!("{common} --out runs/mlp-1"), &["runs/mlp-1", "--force", "--resume"]);
    assert_eq!(contents(&world.path("runs/mlp-1")), before, "no file was changed");

    world.write("runs/mlp-1/notes.txt", "mine");
    world.expect(0, &format!("{common} --seed 9 --out runs/mlp-1 --force"), &[]);
    assert_eq!(world.summary("runs/mlp-1")["seed"], 9);
    assert_eq!(world.read("runs/mlp-1/notes.txt"), "mine", "other files stay");

    fs::create_dir(world.path("empty")).unwrap();
    world.expect(0, &format!("{common} --out empty"), &[]);
}

#[test]
fn generated_digits_are_named_as_generated() {
    let world = World::new();
    world.write(
        "one.toml",
        "epochs = 1\nbatch = 512\nlayers = [{ kind = \"dense\", units = 10 }]\n",
    );
    world.expect(
        0,
        "train --config one.toml --out run",
        &["training on generated digits, not on MNIST"],
    );
    let summary = world.summary("run");
    assert_eq!((&summary["dataset"], &summary["data_synthetic"]), (&"digits".into(), &true.into()));
    assert!(summary["data_origin"].as_str().unwrap().starts_with("generated"));
    assert!(world.read("run/report.html").contains("The images were generated"));
    assert!(world.read("run/config.toml").contains("dataset = \"digits\""));
}
