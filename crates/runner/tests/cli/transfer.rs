//! `--init-from`, `--reinit`, `--freeze`: transfer learning from runs and PyTorch state dicts.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::world::{World, stderr};

const NETWORK: &str = "epochs = 1\nbatch = 64\nlayers = [{ kind = \"dense\", units = 8 }, \
                       { kind = \"batch_norm\" }, { kind = \"relu\" }, \
                       { kind = \"dense\", units = 3 }]\n";
const TRAIN: &str = "train --data tiny --config net.toml --quiet";

/// Bytes of the tensor `name` in `file`.
fn tensor(world: &World, file: &str, name: &str) -> Vec<u8> {
    let bytes = fs::read(world.path(file)).unwrap();
    SafeTensors::deserialize(&bytes).unwrap().tensor(name).unwrap().data().to_vec()
}

/// Trains a run whose weights other runs load.
fn source() -> World {
    let world = World::new();
    world.write("net.toml", NETWORK);
    world.expect(0, &format!("{TRAIN} --out source"), &[]);
    world
}

/// Dumps the initial weights of a run with this configuration to `file`.
fn initial(world: &World, config: &str, file: &str) {
    world.expect(0, &format!("dump --config {config} --samples 2 --out {file}"), &[]);
}

#[test]
fn tensors_are_loaded_reinitialised_and_frozen() {
    let world = source();
    let arguments = "train --data tiny --config net.toml --seed 9 --init-from source \
                     --reinit layers.3.* --freeze layers.0.*";
    world.expect(
        0,
        &format!("{arguments} --out next"),
        &["source/model.safetensors: 7 tensors loaded; 2 reinitialised (layers.3.weight, \
           layers.3.bias)\n"],
    );
    // Frozen tensors are the source's.
    for name in ["layers.0.weight", "layers.0.bias"] {
        let of = |run: &str| tensor(&world, &format!("{run}/model.safetensors"), name);
        assert!(of("next") == of("source"), "{name}");
    }
    // Reinitialised tensors are those of a run with this seed; loaded ones are the source's.
    initial(&world, "next/config.toml", "begin");
    world.expect(0, &format!("{TRAIN} --seed 9 --out drawn"), &[]);
    initial(&world, "drawn/config.toml", "drawn.safetensors");
    let of = |file: &str, name: &str| tensor(&world, file, name);
    assert!(
        of("begin", "param.layers.3.weight") == of("drawn.safetensors", "param.layers.3.weight")
    );
    for name in ["layers.0.weight", "layers.1.weight"] {
        let param = format!("param.{name}");
        assert!(of("begin", &param) == of("source/model.safetensors", name), "{name}");
        assert!(of("begin", &param) != of("drawn.safetensors", &param), "{name}");
    }

    // The configuration repeats the run, and has the hash of the loaded file.
    world.expect(0, "train --config next/config.toml --out again --quiet", &[]);
    assert_eq!(world.sha("again"), world.sha("next"));
    world.expect(
        0,
        "train --config next/config.toml --max-steps 2 --out stopped --quiet",
        &["stopped at its limit"],
    );
    fs::copy(world.path("drawn/model.safetensors"), world.path("source/model.safetensors"))
        .unwrap();
    world.expect(
        3,
        "train --config next/config.toml --out other",
        &["model.safetensors", "SHA-256"],
    );
    assert!(!world.path("other").exists());
    // A run that has started does not need the file any more.
    fs::remove_file(world.path("source/model.safetensors")).unwrap();
    world.expect(0, "train --resume stopped --quiet", &[]);
    assert_eq!(world.sha("stopped"), world.sha("next"));
}

#[test]
fn weights_that_do_not_fit_are_refused_before_there_is_a_folder() {
    let world = source();
    world.write("wide.toml", &NETWORK.replace("units = 8", "units = 9"));
    world.write(
        "deep.toml",
        &NETWORK.replace("{ kind = \"relu\" }", "{ kind = \"relu\" }, { kind = \"prelu\" }"),
    );
    world.write("scaled.toml", &format!("lsuv = {{}}\n{NETWORK}"));
    fs::write(
        world.path("damaged"),
        &fs::read(world.path("source/model.safetensors")).unwrap()[..200],
    )
    .unwrap();
    let foreign = [0_u8; 8];
    let views = [("weight", TensorView::new(Dtype::F32, vec![2], &foreign).unwrap())];
    fs::write(world.path("foreign"), safetensors::serialize(views, None).unwrap()).unwrap();
    // Weights that are non-finite, or become so in f32.
    for (name, value) in [("nan", f64::NAN), ("infinite", f64::INFINITY), ("large", 1e300)] {
        let mut bytes = [0_u8; 8 * 36 * 8];
        bytes[8 * 40..][..8].copy_from_slice(&value.to_le_bytes());
        let views =
            [("layers.0.weight", TensorView::new(Dtype::F64, vec![8, 36], &bytes).unwrap())];
        fs::write(world.path(name), safetensors::serialize(views, None).unwrap()).unwrap();
    }
    for (code, arguments, texts) in [
        (
            3,
            "--config wide.toml --init-from source",
            &["`layers.0.weight` with shape [9, 36]", "--reinit", "[8, 36]"][..],
        ),
        (3, "--config net.toml --init-from damaged", &["damaged", "valid safetensors file"]),
        (2, "--config net.toml --init-from foreign", &["foreign", "layers.0.weight", "weight"]),
        (
            3,
            "--config net.toml --init-from nan",
            &["`layers.0.weight` with finite values of f32", "NaN at index 40"],
        ),
        (3, "--config net.toml --init-from infinite", &["layers.0.weight", "inf at index 40"]),
        (3, "--config net.toml --init-from large", &["layers.0.weight", "1e300 at index 40"]),
        (1, "--config net.toml --init-from absent", &["absent"]),
        (1, "--config net.toml --init-from tiny", &["tiny/model.safetensors"]),
        (
            2,
            "--config net.toml --init-from source --reinit layers.7.*",
            &["reinit", "layers.0.weight", "layers.7.*"],
        ),
        (2, "--config net.toml --init-from source --freeze layers.7.*", &["layers.7.*"]),
        (2, "--config net.toml --reinit layers.0.*", &["--init-from"]),
        (2, "--config scaled.toml --init-from source", &["lsuv", "init_from"]),
        (2, "--resume source --init-from source", &["--resume", "--init-from"]),
    ] {
        let data = if arguments.contains("--resume") { "" } else { "--data tiny --out run" };
        world.expect(code, &format!("train {data} {arguments}"), texts);
        assert!(!world.path("run").exists(), "{arguments}");
    }
    // The notice counts tensors that only the network or only the file has.
    world.expect(
        0,
        "train --data tiny --config deep.toml --init-from source --reinit layers.3.* --out run",
        &["7 tensors loaded; 1 reinitialised (layers.3.weight); 2 missing and initialised \
           (layers.4.weight, layers.4.bias); 1 unexpected and ignored (layers.3.bias)"],
    );
}

/// Python that `EVENKEEL_TORCH_PYTHON` names. Panics if it names none and `EVENKEEL_REQUIRE_TORCH`
/// is 1.
fn torch() -> Option<PathBuf> {
    let python = std::env::var_os("EVENKEEL_TORCH_PYTHON").map(PathBuf::from);
    let required = std::env::var_os("EVENKEEL_REQUIRE_TORCH").is_some_and(|value| value == "1");
    assert!(
        python.is_some() || !required,
        "EVENKEEL_REQUIRE_TORCH is 1, and EVENKEEL_TORCH_PYTHON names no Python"
    );
    if python.is_none() {
        println!("skipped: EVENKEEL_TORCH_PYTHON names no Python with torch and safetensors");
    }
    python
}

/// Checks weights and logits of models that PyTorch loads, and of state dicts that PyTorch writes.
#[test]
fn weights_are_exchanged_with_pytorch() {
    let Some(python) = torch() else { return };
    let world = source();
    world.expect(0, "dump source --samples 20 --out source.safetensors", &[]);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/state_dict.py");
    let output = Command::new(python).arg(script).arg(world.path("")).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    for dtype in ["float64", "float32", "float16", "bfloat16"] {
        for name in ["layers", "bare"] {
            let file = format!("{name}.{dtype}.safetensors");
            world.expect(
                0,
                &format!(
                    "train --data tiny --config net.toml --init-from {file} --max-steps 1 \
                     --out {name}{dtype}"
                ),
                &[&format!("{file}: 9 tensors loaded\n")],
            );
            initial(&world, &format!("{name}{dtype}/config.toml"), "begin.safetensors");
            for tensor_name in
                ["layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.3.weight"]
            {
                let loaded = tensor(&world, "begin.safetensors", &format!("param.{tensor_name}"));
                let expected =
                    tensor(&world, &format!("expected.{dtype}.safetensors"), tensor_name);
                assert!(loaded == expected, "{file}: {tensor_name}");
            }
        }
    }
}
