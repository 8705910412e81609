//! `recorder`: Python files that record trainings of other frameworks, and `diagnose --record`,
//! which judges the records.

use std::ffi::OsString;
use std::process::{Command, Output};

use serde_json::Value;

use crate::world::{World, stderr, stdout};

/// Frameworks with the variable that names a Python with it, and the import that shows it.
const FRAMEWORKS: [(&str, &str, &str); 2] = [
    ("torch", "EVENKEEL_TORCH_PYTHON", "import torch, numpy"),
    ("keras", "EVENKEEL_KERAS_PYTHON", "import keras, numpy"),
];

#[test]
fn a_recorder_is_valid_python() {
    let world = World::new();
    for (framework, ..) in FRAMEWORKS {
        let printed = stdout(&world.expect(0, &format!("recorder {framework}"), &[]));
        let file = format!("evenkeel_{framework}.py");
        let output = world.expect(0, &format!("recorder {framework} --out {file}"), &[]);
        assert_eq!(stdout(&output).trim(), file);
        assert_eq!(world.read(&file), printed);
        assert!(printed.contains("class Recorder") && printed.contains("def _data("));
        world.expect(
            2,
            &format!("recorder {framework} --out {file}"),
            &["does not exist", "--force"],
        );
        world.expect(0, &format!("recorder {framework} --out {file} --force"), &[]);
        let compiled =
            Command::new("python3").args(["-m", "py_compile"]).arg(world.path(&file)).output();
        match compiled {
            Ok(output) => assert!(output.status.success(), "{framework}: {}", stderr(&output)),
            Err(error) => println!("skipped: python3: {error}"),
        }
    }
    world.expect(2, "recorder jax", &["torch", "keras"]);
    world.expect(2, "recorder torch --force", &["--out"]);
}

/// Python that has `framework`, as its variable names it. Prints why without it: no machine is
/// expected to have these frameworks.
fn python(framework: &str) -> Option<OsString> {
    let (_, variable, import) = FRAMEWORKS.into_iter().find(|(name, ..)| *name == framework)?;
    let Some(python) = std::env::var_os(variable) else {
        println!("skipped: {variable} names no Python with {framework} and numpy");
        return None;
    };
    let imported = Command::new(&python).args(["-c", import]).output();
    let found = imported.as_ref().map(stderr).unwrap_or_default();
    assert!(
        imported.is_ok_and(|output| output.status.success()),
        "{variable}: expected a Python with {framework} and numpy, got {python:?}: {found}"
    );
    Some(python)
}

/// Verdict on the record of the training `case`, in the program of `framework`.
fn verdict(world: &World, python: &OsString, framework: &str, case: &str) -> Value {
    let script = format!("{}/tests/recorder_{framework}.py", env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(python).arg(script).arg(world.path("")).arg(case).output().unwrap();
    assert!(output.status.success(), "{framework}, {case}: {}", stderr(&output));
    let output = world.expect(0, &format!("diagnose --record {case}.jsonl --json"), &[]);
    serde_json::from_str(&stdout(&output)).unwrap()
}

/// Names of the findings of these severities, in order.
fn findings<'a>(verdict: &'a Value, severities: &[&str]) -> Vec<&'a str> {
    let all = verdict["findings"].as_array().unwrap().iter();
    let severe = all.filter(|f| severities.contains(&f["severity"].as_str().unwrap()));
    severe.map(|finding| finding["id"].as_str().unwrap()).collect()
}

fn trainings_are_judged(framework: &str) {
    let Some(python) = python(framework) else { return };
    let world = World::new();
    world.expect(0, &format!("recorder {framework} --out evenkeel_{framework}.py"), &[]);
    let verdict = |case: &str| verdict(&world, &python, framework, case);

    let healthy = verdict("healthy");
    assert_eq!(healthy["healthy"], true, "{healthy:#}");
    assert_eq!(healthy["progress"]["state"], "well", "{healthy:#}");

    let rate = verdict("rate");
    let critical = findings(&rate, &["critical"]);
    assert!(!critical.is_empty(), "{rate:#}");
    assert!(
        critical.iter().any(|id| ["learning-rate-too-high", "non-finite"].contains(id)),
        "{rate:#}"
    );

    let zero = verdict("zero");
    let found = findings(&zero, &["critical", "warning"]);
    assert_eq!(found.first(), Some(&"zero-initialisation"), "{zero:#}");

    // Equal units may still separate the classes to some extent.
    let equal = verdict("equal");
    let found = findings(&equal, &["critical", "warning", "info"]);
    assert!(found.contains(&"symmetric-units"), "{equal:#}");
}

#[test]
fn trainings_in_pytorch_are_judged() {
    trainings_are_judged("torch");
}

#[test]
fn trainings_in_keras_are_judged() {
    trainings_are_judged("keras");
}

/// Record of the training `case`: its model, and its last step with measured tensors.
fn model_and_step(world: &World, case: &str) -> (Value, Value) {
    let lines = world.read(&format!("{case}.jsonl"));
    let mut lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let model = lines.next().unwrap();
    assert_eq!(model["kind"], "model");
    let step = lines.rfind(|entry| entry["kind"] == "step" && entry["tensors"].is_array());
    (model, step.unwrap())
}

fn kinds(model: &Value) -> Vec<&str> {
    let layers = model["layers"].as_array().unwrap().iter();
    layers.map(|layer| layer["kind"].as_str().unwrap()).collect()
}

#[test]
fn layers_of_pytorch_are_recorded_in_the_order_of_execution() {
    let Some(python) = python("torch") else { return };
    let world = World::new();
    world.expect(0, "recorder torch --out evenkeel_torch.py", &[]);
    verdict(&world, &python, "torch", "layers");
    let (model, step) = model_and_step(&world, "layers");
    let kinds = kinds(&model);
    let of_encoder = "attention dropout layer_norm dense dropout dense dropout layer_norm";
    let expected = format!(
        "embedding {of_encoder} convolution batch_norm tanh convtranspose1d group_norm gelu lstm \
         global_pooling dense dense layers"
    );
    let mut sorted = (kinds.clone(), expected.split(' ').collect::<Vec<_>>());
    // A module that is not called is listed too, next to the one declared before it.
    sorted.1.push("dense");
    sorted.0.sort_unstable();
    sorted.1.sort_unstable();
    assert_eq!(sorted.0, sorted.1, "{kinds:?}");
    let position = |kind: &str| kinds.iter().position(|other| *other == kind).unwrap();
    let in_order = ["embedding", "attention", "convolution", "tanh", "lstm", "global_pooling"];
    assert!(in_order.map(position).is_sorted(), "{kinds:?}");
    let tensors = model["tensors"].as_array().unwrap();
    assert_eq!(tensors.len(), step["tensors"].as_array().unwrap().len());
    assert_eq!(kinds.len(), step["layers"].as_array().unwrap().len());
    let tensor = |name: &str| tensors.iter().find(|tensor| tensor["name"] == name).unwrap();
    assert_eq!(tensor("frozen.weight")["frozen"], true);
    assert_eq!(tensor("last.weight")["frozen"], false);
    let sizes = |name: &str| (tensor(name)["fan_in"].clone(), tensor(name)["fan_out"].clone());
    assert_eq!(sizes("mixed.0.weight"), (36.into(), 8.into()));
    assert_eq!(sizes("mixed.3.weight"), (16.into(), 6.into()));
    assert_eq!(sizes("embedding.weight"), (7.into(), 12.into()));
    assert_eq!(sizes("recurrent.weight_ih_l0"), (6.into(), 48.into()));
    assert_eq!(tensor("places")["weight"], false);
    assert_eq!(tensor("mixed.1.weight")["weight"], false);
    let residual = |layer: &&Value| layer["residual"] == true;
    assert_eq!(model["layers"].as_array().unwrap().iter().filter(residual).count(), 8);
}

#[test]
fn layers_of_keras_are_recorded_with_their_activations() {
    let Some(python) = python("keras") else { return };
    let world = World::new();
    world.expect(0, "recorder keras --out evenkeel_keras.py", &[]);
    verdict(&world, &python, "keras", "layers");
    let (model, step) = model_and_step(&world, "layers");
    let kinds = kinds(&model);
    let expected = "embedding attention layer_norm convolution tanh batch_norm lstm \
                    global_pooling dropout dense sigmoid dense";
    let known = expected.split(' ').collect::<Vec<_>>();
    let recorded: Vec<_> = kinds.iter().copied().filter(|kind| known.contains(kind)).collect();
    assert_eq!(recorded, known, "{kinds:?}");
    assert_eq!(kinds.len(), step["layers"].as_array().unwrap().len());
    let tensors = model["tensors"].as_array().unwrap();
    assert_eq!(tensors.len(), step["tensors"].as_array().unwrap().len());
    let frozen = tensors.iter().filter(|tensor| tensor["frozen"] == true).count();
    assert_eq!(frozen, 2, "kernel and bias of the frozen layer: {tensors:?}");
}

fn refused(output: &Output) -> String {
    let message = stderr(output);
    assert!(message.starts_with("error: ") && message.len() < 1000, "{message}");
    message
}

#[test]
fn files_that_are_no_records_are_refused() {
    let world = World::new();
    let model = "{\"kind\": \"model\", \"format\": 1, \"classes\": 3}\n";
    std::fs::write(world.path("garbage"), [0xff, 0, b'\n', 0x80, b'\n']).unwrap();
    std::fs::write(world.path("long"), vec![b'['; 100_000_000]).unwrap();
    world.write("empty", "");
    world.write("format", &model.replace("1,", "7, \"new\": {},"));
    world.write("step", &format!("{model}{{\"kind\": \"step\", \"loss\": \"nan\"}}\n"));
    for (file, texts) in [
        ("garbage", ["garbage: expected", "line 1"]),
        ("long", ["at most", "line 1"]),
        ("empty", ["format 1", "model"]),
        ("format", ["format 1", "format 7"]),
        ("step", ["line 2", "NaN"]),
        ("absent", ["absent", ""]),
    ] {
        refused(&world.expect(3, &format!("diagnose --record {file}"), &texts));
    }
    world.expect(2, "diagnose --record step --cure", &[]);
}

#[test]
fn a_record_with_gaps_has_a_verdict() {
    let world = World::new();
    let model = "{\"kind\": \"model\", \"format\": 1, \"classes\": 3}\n";
    for (name, rest) in [
        ("model", String::new()),
        ("truncated", "{\"kind\": \"step\", \"step\": 1, \"loss\": 0.5".into()),
        (
            "strangers",
            "{\"kind\": \"step\", \"step\": 1, \"layers\": [{}], \"tensors\": [{}]}\n".into(),
        ),
    ] {
        world.write(name, &format!("{model}{rest}"));
        let printed = stdout(&world.expect(0, &format!("diagnose --record {name}"), &[]));
        assert!(printed.starts_with("healthy: "), "{name}: {printed}");
    }
    let steps: String = (1..=9)
        .map(|step| match step {
            1..=6 => format!("{{\"kind\": \"step\", \"step\": {step}, \"loss\": {step}e3}}\n"),
            _ => format!("{{\"kind\": \"step\", \"step\": {step}, \"loss\": \"NaN\"}}\n"),
        })
        .collect();
    world.write("nan", &format!("{model}{steps}"));
    let printed = stdout(&world.expect(0, "diagnose --record nan --json", &[]));
    let verdict: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(
        (&verdict["healthy"], &verdict["progress"]["state"]),
        (&false.into(), &"diverging".into())
    );
    assert!(!findings(&verdict, &["critical"]).is_empty(), "{verdict:#}");
    world.expect(4, "diagnose --record nan --fail-on critical", &[]);
}

fn source(path: &str) -> String {
    let path = format!("{}/../../{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_documented_format_has_every_field() {
    let document = source("docs/RECORDS.md");
    let record = source("crates/doctor/src/record.rs");
    let (_, entries) = record.split_once("enum Task").unwrap();
    let fields = entries.lines().filter_map(|line| {
        let field = line.strip_prefix("        ")?.split([':', ',']).next()?;
        let is_name =
            field.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        (is_name && !field.is_empty()).then(|| field.to_owned())
    });
    let fields: Vec<String> = fields.collect();
    assert!(fields.len() > 90, "{}", fields.len());
    for field in fields {
        assert!(document.contains(&format!("\n| `{field}` | ")), "{field}");
    }
    let (_, example) = document.split_once("```json\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let world = World::new();
    world.write("example.jsonl", example);
    world.expect(4, "diagnose --record example.jsonl --fail-on non-finite", &["non-finite"]);
}
