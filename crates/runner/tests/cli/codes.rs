//! Exit codes, and messages about bad input: what was expected, what was found, and where.

use std::fs;

use crate::world::{World, stdout};

#[test]
fn usage_and_configuration_end_with_2() {
    let world = World::new();
    for (arguments, texts) in [
        ("", &["Usage"][..]),
        ("trian", &["trian", "train"]),
        ("train --epochs 0", &["epochs", "at least 1", "got 0"]),
        ("train --batch 0", &["batch", "at least 1", "got 0"]),
        ("train --lr -0.1", &["lr", "above 0", "-0.1"]),
        ("train --lr NaN", &["lr", "NaN"]),
        ("train --lr inf", &["lr", "inf"]),
        ("train --clip-norm 0", &["clip-norm", "above 0", "got 0"]),
        ("train --clip-norm -1", &["clip-norm", "-1"]),
        ("train --min-accuracy 98", &["min-accuracy", "0 to 1", "98"]),
        ("train --min-accuracy -0.5", &["min-accuracy", "-0.5"]),
        ("train --threads 0", &["threads", "1 to 1024", "got 0"]),
        ("train --seed 9223372036854775808", &["seed", "9223372036854775808"]),
        ("train --dtype f16", &["f16", "f32", "f64", "bf16"]),
        ("train --isa sse9", &["isa", "sse9", "scalar"]),
        (
            "train --isa neon --threads 1",
            if cfg!(target_arch = "x86_64") { &["neon", "scalar"] } else { &[] },
        ),
        ("train --preset perceptron", &["perceptron", "mlp"]),
        ("train --dataset cifar", &["cifar", "mnist"]),
        ("train --data tiny --dataset mnist", &["--data", "--dataset"]),
        ("train --config a.toml --preset mlp", &["--config", "--preset"]),
        ("train --resume absent", &["absent", "config.toml"]),
        ("train --resume tiny --lr 1", &["--resume", "--lr"]),
        ("train --force", &["--out"]),
        ("eval absent", &["absent", "config.toml"]),
        ("eval tiny --split all", &["all", "val"]),
        ("dump --data tiny --samples 0 --out x", &["samples", "got 0"]),
        ("dump --data tiny --samples 276 --out x", &["samples", "275", "got 276"]),
        ("bench --threads 0", &["threads", "1 to 1024", "got 0"]),
        ("bench --isa sse9", &["isa", "sse9", "scalar"]),
        ("bench 784", &["784", "Usage"]),
    ] {
        let has_neon = arguments.contains("neon") && texts.is_empty();
        if !has_neon {
            world.expect(2, arguments, texts);
        }
    }
    let files: Vec<_> =
        fs::read_dir(world.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(files, ["tiny"], "nothing was written");
}

#[test]
fn an_invalid_configuration_ends_with_2() {
    let world = World::new();
    for (text, texts) in [
        ("epochs = 2\nbacth = 3\n", &["bad.toml", "line 2", "bacth"][..]),
        ("epochs = \"many\"\n", &["bad.toml", "line 1", "epochs"]),
        ("lr = nan\n", &["lr", "NaN"]),
        ("validation = 300\n", &["validation", "300", "299"]),
        ("validation = 0\n", &["validation", "got 0"]),
        ("isa = \"mmx\"\n", &["isa", "mmx"]),
        ("layers = []\n", &["dense"]),
        ("layers = [{ kind = \"dense\", units = 2 }]\n", &["layers", "3 outputs", "got 2"]),
        ("layers = [{ kind = \"conv\" }]\n", &["conv", "dense"]),
        ("[optimizer]\nkind = \"adam\"\nbeta1 = 1.5\n", &["optimizer", "1.5"]),
        ("[schedule]\nkind = \"cosine\"\nend = 2.0\n", &["schedule", "end", "0 to 1", "2"]),
    ] {
        world.write("bad.toml", text);
        world.expect(2, "train --data tiny --config bad.toml --out run", texts);
        assert!(!world.path("run").exists());
    }
}

#[test]
fn a_file_system_error_ends_with_1() {
    let world = World::new();
    world.write("file", "");
    world.expect(1, "train --data tiny --out file/run", &["file/run"]);
    world.expect(1, "train --data tiny --config absent.toml", &["absent.toml"]);
}

#[test]
fn missing_or_damaged_data_end_with_3() {
    let world = World::new();
    world.expect(3, "train --dataset mnist", &["MNIST", "--data", "--dataset digits"]);
    fs::create_dir(world.path("empty")).unwrap();
    world.expect(3, "train --data empty", &["empty", "train-images-idx3-ubyte"]);
    let labels = world.path("tiny/t10k-labels-idx1-ubyte");
    let mut bytes = fs::read(&labels).unwrap();
    bytes.pop();
    fs::write(&labels, bytes).unwrap();
    world.expect(3, "train --data tiny", &["t10k-labels-idx1-ubyte"]);
    assert!(!world.path("runs").exists());
}

#[test]
fn a_missed_gate_ends_with_4_and_a_passed_one_with_0() {
    let world = World::new();
    let common = "train --data tiny --preset logistic --quiet";
    world.expect(
        0,
        &format!("{common} --lr 0.01 --epochs 20 --batch 8 --min-accuracy 0.9 --out good"),
        &[],
    );
    let bad = world.expect(
        4,
        &format!("{common} --lr 1e-9 --epochs 1 --min-accuracy 0.99 --out bad"),
        &["0.99"],
    );
    assert!(stdout(&bad).contains("test accuracy"), "the result is printed before the error");
    assert_eq!(world.summary("bad")["status"], "done");
    world.expect(4, "train --resume bad --min-accuracy 0.99", &["finished", "0.99"]);
}

#[test]
fn divergence_ends_with_5_and_names_the_layer() {
    let world = World::new();
    let arguments = "train --data tiny --optimizer sgd --lr 1e38 --epochs 2 --batch 64 --out run";
    world.expect(5, arguments, &["diverged", "epoch 1, step", "layers.", "run"]);
    let summary = world.summary("run");
    assert_eq!(summary["status"], "diverged");
    assert!(summary["test_accuracy"].is_null() && summary["params_sha256"].is_null());
    assert!(world.read("run/report.html").contains("diverged"));
    // A diverged run diverges again.
    world.expect(5, "train --resume run", &["diverged"]);
}

#[test]
fn help_and_version_end_with_0() {
    let world = World::new();
    for command in [
        "train",
        "eval",
        "predict",
        "report",
        "dump",
        "bench",
        "lr-find",
        "sweep",
        "export",
        "data info",
        "data show",
        "data synth",
        "data fetch",
        "gradcheck",
        "verify",
        "completions",
        "man",
    ] {
        let help = stdout(&world.expect(0, &format!("{command} --help"), &[]));
        assert!(help.contains("Example"), "{help}");
    }
    assert!(stdout(&world.expect(0, "--version", &[])).starts_with("evenkeel "));
}
