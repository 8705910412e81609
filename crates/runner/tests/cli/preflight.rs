//! `train`: dry runs, printed configurations, checks before a run, limits, and metrics for other
//! programs.

use std::fs;

use serde_json::Value;

use crate::wire::fields;
use crate::world::{World, stderr, stdout};

#[test]
fn a_dry_run_prints_counts_and_trains_nothing() {
    let world = World::new();
    let text = stdout(&world.expect(0, "train --data tiny --dry-run --batch 32 --epochs 2", &[]));
    for part in [
        "dense",
        "relu",
        "20483 parameters",
        "275 images, 9 steps per epoch, 18 in all",
        "MB",
        "FLOP per step",
    ] {
        assert!(text.contains(part), "no `{part}` in {text}");
    }
    let json = stdout(&world.expect(0, "train --data tiny --dry-run --batch 32 --json", &[]));
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["parameters"], &json["steps_per_epoch"]), (&20483.into(), &9.into()));
    // Forward counts 2 per weight, backward 4, without the gradient with respect to the images.
    assert_eq!(json["flop_per_step"], 32.0 * 2.0 * (2.0 * 36.0 * 512.0 + 3.0 * 512.0 * 3.0));
    assert_eq!(json["layers"].as_array().unwrap().len(), 3);
    assert!(json["bytes"]["workspace"].as_u64() > Some(32 * 512 * 4));
    world.expect(2, "train --data tiny --dry-run --epochs 0", &["epochs"]);
    world.expect(2, "train --resume tiny --dry-run", &["--dry-run"]);
    assert!(!world.path("runs").exists());
}

#[test]
fn the_printed_configuration_is_the_run_s() {
    let world = World::new();
    let flags = "--data tiny --batch 32 --epochs 1 --preset logistic";
    let printed = stdout(&world.expect(0, &format!("train {flags} --print-config"), &[]));
    assert!(!world.path("runs").exists());
    world.expect(0, &format!("train {flags} --out run --quiet"), &[]);
    assert_eq!(printed, world.read("run/config.toml"));
}

#[test]
fn a_misspelt_key_suggests_the_right_one() {
    let world = World::new();
    for (text, suggestion) in [
        ("bacth = 8\n", "did you mean `batch`?"),
        ("layers = [{ kind = \"dence\", units = 3 }]\n", "did you mean `dense`?"),
        ("preset = \"lenett\"\n", "did you mean `lenet`?"),
    ] {
        world.write("bad.toml", text);
        world.expect(2, "train --data tiny --config bad.toml", &["bad.toml", "line 1", suggestion]);
    }
    world.write("bad.toml", "zzzzz = 1\n");
    let output = world.expect(2, "train --data tiny --config bad.toml", &["zzzzz"]);
    assert!(!stderr(&output).contains("did you mean"));
}

#[test]
fn the_version_names_the_instruction_sets() {
    let world = World::new();
    let text = stdout(&world.expect(0, "--version", &[]));
    assert!(text.starts_with("evenkeel ") && text.contains("instruction sets here: "), "{text}");
    let (_, names) = text.trim_end().split_once("here: ").unwrap();
    let names: Vec<_> = names.split(", ").collect();
    assert!(names.contains(&"scalar") && names.windows(2).all(|pair| pair[0] != pair[1]), "{text}");
}

#[test]
fn a_network_overfits_one_batch_or_fails() {
    let world = World::new();
    let text = stdout(&world.expect(0, "train --data tiny --overfit-batch --batch 16", &[]));
    assert!(text.contains("16 images, 300 steps") && text.contains("accuracy 100.00 %"), "{text}");
    let arguments = "train --data tiny --overfit-batch --batch 16 --lr 1e-9 --max-steps 5 --json";
    let output = world.expect(4, arguments, &["5 steps", "--max-steps"]);
    let json: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((&json["learned"], &json["steps"]), (&false.into(), &5.into()));
    assert!(!world.path("runs").exists());
}

#[test]
fn a_run_that_stops_at_its_limit_resumes_to_the_same_bits() {
    let world = World::new();
    let common = "train --data tiny --epochs 3 --batch 16 --quiet";
    world.expect(0, &format!("{common} --out whole"), &[]);
    let output = world.expect(0, &format!("{common} --max-steps 25 --out run"), &["--resume run"]);
    assert!(stdout(&output).contains("stopped after 1 epochs"), "{}", stdout(&output));
    assert_eq!(world.summary("run")["status"], "interrupted");
    assert!(
        world.read("run/health.jsonl").lines().count() == 2,
        "the second epoch is recorded in part"
    );
    world.expect(0, "train --resume run --max-time 1e-9 --quiet", &["--resume run"]);
    world.expect(0, "train --resume run --quiet", &[]);
    assert_eq!(world.sha("run"), world.sha("whole"));
    assert_eq!(world.read("run/health.jsonl"), world.read("whole/health.jsonl"));
    // A limit at the end of the run, or one that is not reached, does not stop it.
    world.expect(0, &format!("{common} --max-steps 54 --max-time 1e9 --out all"), &[]);
    assert_eq!(world.summary("all")["status"], "done");
    world.expect(2, &format!("{common} --max-steps 0"), &["max-steps", "at least 1"]);
    world.expect(2, &format!("{common} --max-time 0"), &["max-time", "above 0"]);
}

/// CRC-32C of `data`, computed with a table. The program computes it without one.
fn crc(data: &[u8]) -> u32 {
    let table: Vec<u32> = (0..256)
        .map(|i| {
            (0..8)
                .fold(i, |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0x82F6_3B78 } else { crc >> 1 })
        })
        .collect();
    !data.iter().fold(!0, |crc, &byte| table[((crc ^ u32::from(byte)) & 0xFF) as usize] ^ crc >> 8)
}

fn masked(data: &[u8]) -> u32 {
    crc(data).rotate_right(15).wrapping_add(0xA282_EAD8)
}

#[test]
fn metrics_are_written_for_spreadsheets_and_tensorboard() {
    let world = World::new();
    world.expect(0, "train --data tiny --epochs 2 --batch 16 --out run --quiet", &[]);
    let lines: Vec<Value> = world
        .read("run/metrics.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let table = world.read("run/metrics.csv");
    let mut rows = table.lines().map(|row| row.split(',').collect::<Vec<_>>());
    let header = rows.next().unwrap();
    for (row, line) in rows.zip(&lines) {
        assert_eq!(row.len(), line.as_object().unwrap().len());
        for (name, value) in header.iter().zip(row) {
            assert_eq!(value.parse::<f64>().unwrap(), line[name].as_f64().unwrap(), "{name}");
        }
    }
    assert_eq!(table.lines().count(), 3);

    let file = fs::read(world.path("run/events.out.tfevents.evenkeel")).unwrap();
    let (mut rest, mut scalars, mut histograms, mut times) =
        (&file[..], Vec::new(), Vec::new(), Vec::new());
    while !rest.is_empty() {
        let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
        let event = &rest[12..12 + length];
        let checksums = [&rest[8..12], &rest[12 + length..16 + length]]
            .map(|b| u32::from_le_bytes(b.try_into().unwrap()));
        assert_eq!(checksums, [masked(&rest[..8]), masked(event)]);
        rest = &rest[16 + length..];
        let event = fields(event);
        let number = |field: u64| {
            event.iter().find(|(number, _)| *number == field).map(|(_, value)| value.clone())
        };
        times.push(f64::from_le_bytes(number(1).unwrap().try_into().unwrap()));
        let Some(summary) = number(5) else { continue };
        let step = u64::from_le_bytes(number(2).unwrap().try_into().unwrap());
        for (_, value) in fields(&summary) {
            let [(1, tag), (kind, value)] = &fields(&value)[..] else { panic!("no value") };
            let tag = String::from_utf8(tag.clone()).unwrap();
            match kind {
                2 => scalars.push((tag, step, f32::from_le_bytes(value[..].try_into().unwrap()))),
                5 => histograms.push((tag, step, fields(value))),
                other => panic!("field {other}"),
            }
        }
    }
    assert!(times.is_sorted() && times[0] > 1.7e9, "{times:?}");
    let series = |tag: &str| {
        scalars
            .iter()
            .filter(|(name, ..)| name == tag)
            .map(|(_, step, value)| (*step, *value))
            .collect::<Vec<_>>()
    };
    let expected: Vec<_> = lines
        .iter()
        .map(|line| (line["step"].as_u64().unwrap(), line["val_loss"].as_f64().unwrap() as f32))
        .collect();
    assert_eq!(series("loss/validation"), expected);
    assert_eq!(series("gradient_norm/layers.0.weight").len(), 16);
    let health: Value =
        serde_json::from_str(world.read("run/health.jsonl").lines().next().unwrap()).unwrap();
    let first = health["tensors"][0]["grad_norms"][0].as_f64().unwrap() as f32;
    assert_eq!(series("gradient_norm/layers.0.weight")[0], (1, first));

    // One histogram for each tensor and epoch: its buckets are the counts of health.jsonl.
    assert_eq!(histograms.len(), 2 * 4);
    let (tag, step, histogram) = &histograms[0];
    assert_eq!(
        (&tag[..], Some(*step)),
        ("gradient_log2/layers.0.weight", lines[0]["step"].as_u64())
    );
    let doubles = |field: usize| {
        histogram[field].1.chunks(8).map(|b| f64::from_le_bytes(b.try_into().unwrap()))
    };
    let magnitudes = &health["tensors"][0]["magnitudes"];
    let counts: Vec<f64> = serde_json::from_value(magnitudes["counts"].clone()).unwrap();
    let exponent = magnitudes["exponent"].as_f64().unwrap();
    assert_eq!(
        histogram.iter().map(|(field, _)| *field).collect::<Vec<_>>(),
        (1..=7).collect::<Vec<_>>()
    );
    assert!(doubles(6).eq(counts.iter().copied()));
    assert!(doubles(5).eq((1..=counts.len()).map(|i| exponent + i as f64)));
    assert_eq!((doubles(0).next(), doubles(2).next()), (Some(exponent), Some(counts.iter().sum())));
}

/// Layers with batch normalisation, which needs two examples at least.
const NORMALISED: &str = "layers = [{ kind = \"dense\", units = 8 }, { kind = \"batch_norm\" }, \
                          { kind = \"relu\" }, { kind = \"dense\", units = 3 }]\n";

/// Checks batch sizes with 275 training images: batches of 137 leave one image.
#[test]
fn batch_sizes_that_do_not_fit_are_refused_before_the_run() {
    let world = World::new();
    world.write("norm.toml", NORMALISED);
    let run = "--data tiny --config norm.toml --epochs 2 --quiet";
    let texts =
        ["batch: expected at least 2 images", "got 1: 275 images in batches of 137", "--drop-last"];
    for arguments in [
        "train --batch 137 --out run",
        "train --batch 137 --dry-run",
        "train --batch 137 --accumulate 2 --out run",
        "train --batch 137 --sampler balanced --out run",
    ] {
        if arguments.contains("--accumulate") {
            world.write("norm.toml", &format!("accumulate = 2\n{NORMALISED}"));
        }
        let arguments = arguments.replace(" --accumulate 2", "");
        world.expect(2, &format!("{arguments} {run}"), &texts);
        assert!(!world.path("run").exists());
    }
    world.write("norm.toml", NORMALISED);
    world.expect(2, &format!("train --batch 1 --out run {run}"), &["use a batch of 2 or more"]);
    let batch = format!("{NORMALISED}batch = 137\n");
    world.write("137.toml", &batch.replace("layers", "epochs = 1\nlayers"));
    world.expect(2, "lr-find --data tiny --config 137.toml --steps 20", &texts);
    world.expect(
        2,
        "train --data tiny --config norm.toml --overfit-batch --batch 1",
        &["2 or more"],
    );
    world.expect(0, "train --data tiny --config norm.toml --overfit-batch --batch 16", &[]);
    // --drop-last trains on 274 images, in two batches per epoch.
    let output = world.expect(0, &format!("train --batch 137 --drop-last --dry-run {run}"), &[]);
    assert!(
        stdout(&output).contains("274 images, 2 steps per epoch, 4 in all"),
        "{}",
        stdout(&output)
    );
    world.expect(0, &format!("train --batch 137 --drop-last --out run {run}"), &[]);
    assert!(world.read("run/config.toml").contains("drop_last = true"));
    let last = world.read("run/metrics.jsonl").lines().last().map(ToOwned::to_owned).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&last).unwrap()["step"], 4);
    // A batch of one more image than there are: --drop-last would leave none.
    let texts = ["batch: expected at most the 275 images", "drop_last", "got 276"];
    world.expect(2, &format!("train --batch 276 --drop-last --out more {run}"), &texts);
    world.expect(0, &format!("train --batch 276 --out more {run}"), &[]);
}

#[test]
fn every_fold_and_trial_is_checked_before_it_starts() {
    let world = World::new();
    // 300 images in 7 folds leave 257 or 258 training images.
    world.write("norm.toml", NORMALISED);
    let run = "--data tiny --config norm.toml --epochs 1 --quiet";
    for batch in [256, 257] {
        let texts = ["batch: expected at least 2 images"];
        world.expect(2, &format!("train --folds 7 --batch {batch} --out folds {run}"), &texts);
        assert!(!world.path("folds").exists());
    }
    // A sweep trains the other trials.
    let sweep = "sweep batch=137,64 epochs=1 --data tiny --config norm.toml --out grid";
    let output = world.expect(0, sweep, &["trial 1 is refused: batch: expected at least 2 images"]);
    assert!(stdout(&output).contains("refused"), "{}", stdout(&output));
    let results: Vec<Value> = serde_json::from_str(&world.read("grid/sweep.json")).unwrap();
    let status = |index: usize| results[index]["status"].as_str().unwrap();
    assert_eq!((status(0), status(1)), ("done", "refused"));
    assert_eq!(results[1]["values"]["batch"], 137);
    // The refused trial may be the last one.
    let sweep = "sweep batch=64,137 epochs=1 --data tiny --config norm.toml --out last";
    world.expect(0, sweep, &["trial 2 is refused"]);
    let results: Vec<Value> = serde_json::from_str(&world.read("last/sweep.json")).unwrap();
    let statuses: Vec<_> = results.iter().map(|trial| trial["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["done", "refused"]);
    world.expect(
        2,
        "sweep batch=1,137 --data tiny --config norm.toml --out none",
        &["batch: expected"],
    );
}

#[test]
fn schedules_that_do_not_fit_the_run_are_refused() {
    let world = World::new();
    for (schedule, texts) in [
        (
            "{ kind = \"warmup\", epochs = 5.0 }",
            ["`epochs` is 5", "the run has 3 epochs of 9 steps"],
        ),
        ("{ kind = \"inverse_square_root\", epochs = 4.0 }", ["`epochs` is 4", "3 epochs"]),
        (
            "{ kind = \"exponential\", factor = 1e20 }",
            ["at the end of 3 epochs", "the largest that f32 represents"],
        ),
        ("{ kind = \"step\", every = 1, factor = 1e200 }", ["got lr", "fewer epochs"]),
    ] {
        world.write("schedule.toml", &format!("epochs = 3\nbatch = 32\nschedule = {schedule}\n"));
        for command in ["train --dry-run", "train --out run"] {
            let command = format!("{command} --data tiny --config schedule.toml");
            world.expect(2, &command, &["schedule: ", texts[0], texts[1]]);
        }
        assert!(!world.path("run").exists());
    }
    world.write(
        "schedule.toml",
        "epochs = 3\nschedule = { kind = \"exponential\", factor = 1.5 }\n",
    );
    world.expect(0, "train --data tiny --config schedule.toml --out run --quiet", &[]);
}
