//! `export`: ONNX and NPZ files with the run's weights, which other programs read.

use std::ffi::OsString;
use std::fs;
use std::process::Command;

use safetensors::SafeTensors;

use crate::wire::fields;
use crate::world::{World, stderr, stdout};

/// Values of all fields with number `field`.
fn all(message: &[u8], field: u64) -> Vec<Vec<u8>> {
    fields(message)
        .into_iter()
        .filter(|(number, _)| *number == field)
        .map(|(_, value)| value)
        .collect()
}

fn text(message: &[u8], field: u64) -> String {
    String::from_utf8(all(message, field).swap_remove(0)).unwrap()
}

#[test]
fn an_onnx_model_has_the_nodes_and_the_weights_of_the_run() {
    let world = World::new();
    world.expect(0, "train --data tiny --epochs 1 --batch 64 --out run --quiet", &[]);
    let printed = stdout(&world.expect(0, "export run --format onnx", &[]));
    assert_eq!(printed.trim(), "run/model.onnx");
    let model = fs::read(world.path("run/model.onnx")).unwrap();
    let graph = all(&model, 7).swap_remove(0);
    let nodes: Vec<_> = all(&graph, 1).iter().map(|node| text(node, 4)).collect();
    assert_eq!(nodes, ["Flatten", "Gemm", "Relu", "Gemm", "Identity"]);
    let weights = fs::read(world.path("run/model.safetensors")).unwrap();
    let weights = SafeTensors::deserialize(&weights).unwrap();
    let tensors = all(&graph, 5);
    assert_eq!(tensors.len(), 4);
    for tensor in tensors {
        let name = text(&tensor, 8);
        let view = weights.tensor(&name).unwrap();
        let dims: Vec<_> = all(&tensor, 1)
            .iter()
            .map(|dim| u64::from_le_bytes(dim[..].try_into().unwrap()) as usize)
            .collect();
        assert_eq!((&dims[..], &all(&tensor, 9)[0][..]), (view.shape(), view.data()), "{name}");
    }
    // An existing file is replaced only with --force.
    world.expect(2, "export run --format onnx", &["model.onnx", "--force"]);
    world.expect(0, "export run --format onnx --force", &[]);
    assert_eq!(fs::read(world.path("run/model.onnx")).unwrap(), model, "the same bytes");
    // Replacing the run removes its exported model.
    world.expect(
        0,
        "train --data tiny --epochs 1 --batch 64 --seed 1 --out run --force --quiet",
        &[],
    );
    assert!(!world.path("run/model.onnx").exists());
}

#[test]
fn npz_holds_every_tensor_of_every_network() {
    let world = World::new();
    world.write(
        "lstm.toml",
        "epochs = 1\nlayers = [{ kind = \"standardise\" }, { kind = \"rows\" }, \
         { kind = \"lstm\", units = 4, last = true }, { kind = \"batch_norm\" }, \
         { kind = \"dense\", units = 3 }]\n",
    );
    world.expect(0, "train --data tiny --config lstm.toml --out run --quiet", &[]);
    world.expect(0, "export run --format npz --out weights.npz", &[]);
    let file = fs::read(world.path("weights.npz")).unwrap();
    let weights = fs::read(world.path("run/model.safetensors")).unwrap();
    let weights = SafeTensors::deserialize(&weights).unwrap();
    let (mut rest, mut count) = (&file[..], 0);
    while rest.starts_with(b"PK\x03\x04") {
        let number = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap());
        let (crc, length, name) = (number(14), number(22) as usize, usize::from(rest[26]));
        let (name, data) = (&rest[30..30 + name], &rest[30 + name..30 + name + length]);
        assert_eq!(crc, crc32(data));
        let name = std::str::from_utf8(name).unwrap().strip_suffix(".npy").unwrap();
        let header = usize::from(u16::from_le_bytes([data[8], data[9]])) + 10;
        assert_eq!(
            (header % 64, &data[header..]),
            (0, weights.tensor(name).unwrap().data()),
            "{name}"
        );
        rest = &rest[30 + name.len() + 4 + length..];
        count += 1;
    }
    assert!(count == weights.len() && rest.starts_with(b"PK\x01\x02"));
    world.expect(2, "export run --format pickle", &["pickle", "onnx"]);
    world.expect(2, "export tiny --format npz", &["tiny", "config.toml"]);
}

#[test]
fn exporting_a_run_in_bf16_prints_a_notice() {
    let world = World::new();
    for (dtype, has_notice) in [("bf16", true), ("f32", false)] {
        world.expect(
            0,
            &format!("train --data tiny --epochs 1 --dtype {dtype} --out {dtype} --quiet"),
            &[],
        );
        for format in ["onnx", "npz"] {
            let output = world.expect(0, &format!("export {dtype} --format {format}"), &[]);
            assert_eq!(stderr(&output).contains("rounded to bf16"), has_notice, "{dtype} {format}");
            assert_eq!(stdout(&output).trim(), format!("{dtype}/model.{format}"));
        }
    }
}

/// CRC-32 (IEEE 802.3) of `data`, bit by bit.
fn crc32(data: &[u8]) -> u32 {
    let byte = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 }
        })
    };
    !data.iter().fold(!0, byte)
}

/// Python with onnx, onnxruntime and numpy: `EVENKEEL_ONNX_PYTHON`, or `python3`. Panics if it
/// lacks them and `EVENKEEL_REQUIRE_ALL` is 1.
fn onnx_python() -> Option<OsString> {
    let python = std::env::var_os("EVENKEEL_ONNX_PYTHON").unwrap_or_else(|| "python3".into());
    let imported = Command::new(&python).args(["-c", "import numpy, onnx, onnxruntime"]).output();
    if imported.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    let required = std::env::var_os("EVENKEEL_REQUIRE_ALL").is_some_and(|value| value == "1");
    assert!(
        !required,
        "EVENKEEL_REQUIRE_ALL is 1, and {python:?} lacks onnx, onnxruntime or numpy"
    );
    println!(
        "skipped: {python:?} lacks onnx, onnxruntime or numpy; EVENKEEL_ONNX_PYTHON names another \
         Python"
    );
    None
}

/// Checks models with every layer: they pass ONNX's full checker, and have the declared shape and
/// the same logits in ONNX Runtime.
#[test]
fn onnx_runtime_gives_the_same_logits() {
    let Some(python) = onnx_python() else { return };
    let world = World::new();
    world.expect(0, "data synth --out digits --train 120 --test 30", &[]);
    world.write("all.toml", ALL);
    let presets = [
        "mlp",
        "logistic",
        "deep-mlp",
        "mlp-dropout",
        "lenet",
        "cnn",
        "resnet",
        "vit-tiny",
        "lstm-rows",
    ];
    let presets = presets.map(|preset| (preset, format!("--preset {preset}")));
    world.write("steps.toml", STEPS);
    for (name, layers) in ENDS {
        world.write(&format!("{name}.toml"), layers);
    }
    let all = ["all", "steps", "ends-in-image", "ends-in-pixel", "ends-in-steps", "ends-in-rows"]
        .map(|name| (name, format!("--config {name}.toml")));
    let images = presets
        .into_iter()
        .chain(all)
        .map(|(name, network)| (name, format!("--data digits {network}")));
    // Tables with classes, with values, and with indices of an embedding.
    let row = |i: i32| format!("{},{},{},{}\n", i % 5, i % 7, i % 3, i % 5 + i % 7);
    let rows: String = (0..120).map(row).collect();
    world.write("rows.csv", &format!("a,b,c,y\n{rows}"));
    world.write("embedding.toml", EMBEDDING);
    let tables =
        ["columns --label c", "values --target y", "embedding --label c --config embedding.toml"];
    let tables = tables.map(|table| {
        let (name, target) = table.split_once(' ').unwrap();
        (name, format!("--data rows.csv {target}"))
    });
    for (name, data) in images.chain(tables) {
        world.expect(0, &format!("train {data} --epochs 1 --batch 32 --out {name} --quiet"), &[]);
        world.expect(0, &format!("export {name} --format onnx"), &[]);
        world.expect(0, &format!("export {name} --format npz"), &[]);
        world.expect(0, &format!("dump {name} --samples 50 --out {name}.safetensors"), &[]);
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/exported.py");
        let output = Command::new(&python).arg(script).arg(world.path(name)).output().unwrap();
        assert!(output.status.success(), "{name}: {}", stderr(&output));
    }
    let model = world.path("embedding/model.onnx");
    let output = Command::new(&python).args(["-c", INVALID_INDICES]).arg(model).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
}

/// Every layer with an ONNX counterpart, apart from those of the presets.
const ALL: &str = r#"layers = [
    { kind = "standardise" },
    { kind = "convolution", filters = 6, kernel = [5, 5], stride = [2, 2], padding = [2, 2] },
    { kind = "gelu" },
    { kind = "mean_pooling", kernel = [3, 3], stride = [2, 2], padding = [1, 1] },
    { kind = "softmax" },
    { kind = "prelu" }, { kind = "silu" }, { kind = "batch_norm" }, { kind = "mish" },
    { kind = "group_norm", groups = 3 }, { kind = "standardise" },
    { kind = "residual", scale = { learned = 0.5 }, body = [
        { kind = "convolution", filters = 6, kernel = [3, 3], padding = [1, 1], groups = 2 },
        { kind = "elu", alpha = 0.7 } ] },
    { kind = "flatten" }, { kind = "dense", units = 20 }, { kind = "gelu_tanh" },
    { kind = "batch_norm" }, { kind = "group_norm", groups = 5 }, { kind = "hard_sigmoid" },
    { kind = "dense", units = 20 }, { kind = "softsign" }, { kind = "dense", units = 20 },
    { kind = "exponential" }, { kind = "softmax" }, { kind = "dense", units = 20 },
    { kind = "selu" },
    { kind = "residual", scale = { fixed = 0.3 }, body = [
        { kind = "dense", units = 20 }, { kind = "hard_tanh" } ] },
    { kind = "softplus" }, { kind = "leaky_relu", slope = 0.1 }, { kind = "dense", units = 10 } ]
"#;

/// Every layer over sequences with an ONNX counterpart, apart from those of the presets.
const STEPS: &str = r#"layers = [
    { kind = "convolution", filters = 4, kernel = [4, 4], stride = [4, 4] },
    { kind = "layer_norm" }, { kind = "rms_norm" }, { kind = "places" },
    { kind = "attention", heads = 2, causal = true }, { kind = "prelu" },
    { kind = "dense", units = 6 }, { kind = "softmax" }, { kind = "rms_norm" },
    { kind = "gru", units = 7 },
    { kind = "batch_norm" }, { kind = "rnn", units = 5 },
    { kind = "rnn", units = 8, activation = "relu" }, { kind = "group_norm", groups = 4 },
    { kind = "standardise" }, { kind = "transformer", heads = 4, hidden = 12, causal = true },
    { kind = "residual", body = [{ kind = "lstm", units = 8 }] },
    { kind = "flatten" }, { kind = "dense", units = 10 }, { kind = "layer_norm" } ]
"#;

/// Networks whose last layer outputs an image or a sequence: 16, 10, 28 and 784 outputs.
const ENDS: [(&str, &str); 4] = [
    (
        "ends-in-image",
        r#"layers = [
            { kind = "convolution", filters = 4, kernel = [14, 14], stride = [14, 14] } ]"#,
    ),
    ("ends-in-pixel", r#"layers = [ { kind = "convolution", filters = 10, kernel = [28, 28] } ]"#),
    (
        "ends-in-steps",
        r#"layers = [
            { kind = "rows" }, { kind = "lstm", units = 3 }, { kind = "dense", units = 1 } ]"#,
    ),
    ("ends-in-rows", r#"layers = [ { kind = "batch_norm" }, { kind = "rows" } ]"#),
];

/// Embedding of indices: all numbers of the table are valid indices.
const EMBEDDING: &str = r#"layers = [
    { kind = "embedding", count = 11, features = 6 }, { kind = "group_norm", groups = 2 },
    { kind = "flatten" }, { kind = "dense", units = 3 } ]
"#;

/// Script that checks the output of an embedding for invalid indices: NaN.
const INVALID_INDICES: &str = "import numpy, onnxruntime, sys
session = onnxruntime.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])
invalid = [[0.5, 0, 0], [-1, 0, 0], [11, 0, 0], [numpy.nan, 0, 0], [numpy.inf, 0, 0]]
rows = numpy.array(invalid + [[-0.0, 10, 0]], 'f')
(logits,) = session.run(None, {'rows': rows})
assert numpy.isnan(logits).all(axis=1).tolist() == [True] * 5 + [False], logits";
