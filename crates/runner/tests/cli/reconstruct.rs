//! Autoencoders: training, every command on their runs, and configurations that do not fit.

use serde_json::Value;

use crate::tables::{flowers, json};
use crate::world::{World, stdout};

const AUTOENCODER: &str = r#"task = "reconstruct"
epochs = 20
batch = 16
lr = 0.003
loss = { kind = "binary_cross_entropy" }
augment = [{ kind = "noise", std = 0.2 }]
layers = [
    { kind = "dense", units = 24 }, { kind = "relu" },
    { kind = "dense", units = 784, init = "glorot_uniform" } ]
"#;

#[test]
fn an_autoencoder_is_trained_scored_and_exported() {
    let world = World::new();
    world.expect(0, "data synth --out digits --train 240 --test 30", &[]);
    world.write("auto.toml", AUTOENCODER);
    let train = "train --config auto.toml --data digits --out run --quiet";
    assert!(stdout(&world.expect(0, train, &[])).contains("test loss"));
    let summary = world.summary("run");
    assert_eq!(
        (&summary["task"], &summary["status"], &summary["test_accuracy"]),
        (&"reconstruction".into(), &"done".into(), &Value::Null)
    );
    let losses: Vec<f64> = world
        .read("run/metrics.jsonl")
        .lines()
        .map(|line| json(line)["val_loss"].as_f64().unwrap())
        .collect();
    assert!(losses[19] < 0.8 * losses[0] && losses[19] < 0.3, "{losses:?}");
    assert!(world.read("run/config.toml").contains("task = \"reconstruct\""));

    // The metrics are of probabilities, over all pixels.
    let scored = json(&stdout(&world.expect(0, "eval run --json", &[])));
    assert_eq!((&scored["loss"], &scored["images"]), (&summary["test_loss"], &30.into()));
    assert!(scored["root_mean_squared_error"].as_f64().unwrap() < 0.3, "{scored}");
    assert!(scored["r_squared"].as_f64().unwrap() > 0.1, "{scored}");
    world.expect(2, "eval run --data digits", &["data", "reconstructs"]);
    world.expect(2, "predict run digits/none.png", &["predict", "reconstructs", "export"]);
    world.expect(0, "report run", &[]);
    world.expect(0, "export run --format onnx --out model.onnx", &[]);
    world.expect(0, "export run --format npz --out model.npz", &[]);
    world.expect(0, "train --resume run --epochs 21 --quiet", &[]);
    world.expect(2, "train --config auto.toml --data digits --min-accuracy 0.5", &["accuracy"]);
    world.expect(0, "train --config auto.toml --data digits --dry-run", &[]);
}

/// Columns are standardised on both ends, so that their scales, a thousandfold apart, count alike.
#[test]
fn a_table_is_reconstructed_by_a_preset() {
    let world = World::new();
    flowers(&world);
    let text = "task = \"reconstruct\"\nepochs = 30\nbatch = 16\nlr = 0.01\n";
    world.write("auto.toml", text);
    let train = "train --config auto.toml --data flowers.csv --label kind --out run --quiet";
    world.expect(0, train, &[]);
    assert_eq!(world.summary("run")["target_std"], Value::Null);
    let config = world.read("run/config.toml");
    assert!(config.contains("kind = \"mse\"") && config.contains("kind = \"unstandardise\""));
    let scored = json(&stdout(&world.expect(0, "eval run --json", &[])));
    assert!(scored["loss"].as_f64().unwrap() < 0.05, "{scored}");
    assert!(scored["r_squared"].as_f64().unwrap() > 0.99, "{scored}");
}

#[test]
fn a_reconstruction_that_does_not_fit_is_refused() {
    let world = World::new();
    flowers(&world);
    let refused = |name: &str, keys: &str, texts: &[&str]| {
        world.write(name, &format!("task = \"reconstruct\"\n{keys}"));
        let train = format!("train --config {name} --data flowers.csv --label kind --quiet");
        world.expect(2, &train, texts);
    };
    let layers = "layers = [{ kind = \"dense\", units = 3 }]\n";
    refused("layers.toml", layers, &["layers", "expected 2 outputs, one for each input", "got 3"]);
    let loss = "loss = { kind = \"cross_entropy\" }\n";
    refused("loss.toml", loss, &["loss", "reconstruction of", "binary_cross_entropy"]);
    let loss = "loss = { kind = \"binary_cross_entropy\" }\n";
    refused("range.toml", loss, &["loss", "inputs in 0 to 1"]);
    refused("mixing.toml", "mixing = { kind = \"mixup\", alpha = 0.2 }\n", &["mixing"]);
    world.write("task.toml", "task = \"regress\"\n");
    world.expect(2, "train --config task.toml", &["task", "reconstruct"]);
}
