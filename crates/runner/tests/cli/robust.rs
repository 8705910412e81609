//! Robustness: full disks, concurrent processes in a folder, absurd numbers, damaged files.

use std::process::{Command, Stdio};
use std::time::Duration;
use std::{fs, thread};

use kernels::random::Stream;

use crate::world::{World, contents, stderr};

const SHORT: &str =
    "train --data tiny --preset logistic --epochs 4 --checkpoint-epochs 1 --batch 32 --quiet";

#[test]
fn absurd_numbers_are_refused_before_there_is_a_folder() {
    let world = World::new();
    let layers = |layers: &str| format!("layers = [{layers}, {{ kind = \"dense\", units = 3 }}]\n");
    for (text, texts) in [
        (layers("{ kind = \"dense\", units = 1000000000 }"), &["memory", "bytes"][..]),
        (
            layers(
                "{ kind = \"dense\", units = 100000000000 }, { kind = \"relu\" }, \
                 { kind = \"dense\", units = 1000 }",
            ),
            &["memory"],
        ),
        (
            layers("{ kind = \"dense\", units = 9223372036854775807 }"),
            &["layer 0", "larger than addressable memory"],
        ),
        (layers("{ kind = \"dense\", units = 0 }"), &["layer 0 (dense)"]),
        (
            layers("{ kind = \"convolution\", filters = 9223372036854775807, kernel = [3, 3] }"),
            &["layer 0"],
        ),
        (
            layers("{ kind = \"convolution\", filters = 4, kernel = [9223372036854775807, 3] }"),
            &["layer 0"],
        ),
        (
            layers(
                "{ kind = \"convolution\", filters = 4, kernel = [3, 3], \
                 padding = [9223372036854775807, 0] }",
            ),
            &["layer 0"],
        ),
        (
            layers("{ kind = \"convolution\", filters = 4, kernel = [3, 3], stride = [0, 1] }"),
            &["layer 0"],
        ),
        (
            layers("{ kind = \"rows\" }, { kind = \"lstm\", units = 4000000000000000000 }"),
            &["layer 1"],
        ),
        (layers("{ kind = \"rows\" }, { kind = \"attention\", heads = 0 }"), &["layer 1"]),
        (layers("{ kind = \"dropout\", p = 1.5 }"), &["layer 0 (dropout)"]),
        ("batch = 4294967296\n".into(), &["batch"]),
        ("accumulate = 0\n".into(), &["accumulate", "at least 1"]),
        ("checkpoint_steps = 0\n".into(), &["checkpoint-steps", "at least 1"]),
        ("checkpoint_epochs = 0\n".into(), &["checkpoint-epochs", "at least 1"]),
        ("lr = 1e400\n".into(), &["lr"]),
        ("seed = -1\n".into(), &["seed"]),
        ("epochs = -3\n".into(), &["epochs"]),
        ("non_finite = \"ignore\"\n".into(), &["non_finite", "stop", "skip", "rollback"]),
        ("preset = \"deep-mlp\"\ndeep = { depth = 4000000000 }\n".into(), &["deep.depth", "10000"]),
        (
            "preset = \"deep-mlp\"\ndeep = { depth = 10000, width = 4000000000 }\n".into(),
            &["memory"],
        ),
        ("groups = [{ tensors = [\"*\"], rate = -1.0 }]\n".into(), &["rate"]),
        ("groups = [{ tensors = [\"*\"], frozen = true }]\n".into(), &["frozen"]),
    ] {
        world.write("bad.toml", &text);
        world.expect(2, "train --data tiny --config bad.toml --out run", texts);
        assert!(!world.path("run").exists(), "{text}");
    }
    world.write("wide.toml", &layers("{ kind = \"dense\", units = 1000000000 }"));
    for command in ["train --overfit-batch", "lr-find", "dump --out x"] {
        world.expect(2, &format!("{command} --data tiny --config wide.toml"), &["memory"]);
    }
    // Large numbers that are valid: a learning rate at which weights overflow, a batch of more
    // images than there are, and as many epochs as possible.
    world.expect(
        5,
        "train --data tiny --lr 3e38 --optimizer sgd --out thrown",
        &["diverged", "thrown"],
    );
    let most = "train --data tiny --preset logistic --batch 4294967295 --epochs 4294967295 \
                --max-steps 3 --quiet --out most";
    world.expect(0, most, &["stopped at its limit"]);
    assert_eq!(world.summary("most")["epochs"], 2, "the third epoch has its step, but no end");
}

/// Runs the program with a limit on the size of files, which acts like a full disk.
fn confined(world: &World, kibibytes: u32, arguments: &str) -> (Option<i32>, String) {
    let program = format!(
        "trap '' XFSZ; ulimit -f {kibibytes}; exec {} {arguments}",
        env!("CARGO_BIN_EXE_evenkeel")
    );
    let output =
        Command::new("bash").args(["-c", &program]).current_dir(world.path("")).output().unwrap();
    (output.status.code(), stderr(&output))
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_complete_files_and_a_run_that_resumes() {
    let world = World::new();
    world.expect(0, &format!("{SHORT} --out whole"), &[]);
    // With small limits, configuration and journal fit and the checkpoint does not. With larger
    // ones, the checkpoint fits and the journal exceeds the limit.
    let sizes = |name: &str| fs::metadata(world.path(&format!("whole/{name}"))).unwrap().len();
    let (journal, checkpoint) = (sizes("health.jsonl"), sizes("checkpoint.safetensors"));
    assert!(checkpoint > 2048 && journal > 2048, "{journal} {checkpoint}");
    let mut messages = Vec::new();
    for kibibytes in 1..=(journal.max(checkpoint) / 1024) as u32 {
        let (code, message) = confined(&world, kibibytes, &format!("{SHORT} --out run --force"));
        assert!(
            code == Some(1) && message.contains("cannot write") && message.contains("run/"),
            "{code:?} {message}"
        );
        for name in ["metrics.jsonl", "metrics.csv", "health.jsonl"] {
            let text = fs::read_to_string(world.path(&format!("run/{name}"))).unwrap_or_default();
            assert!(
                text.is_empty() || text.ends_with('\n'),
                "{kibibytes} KiB: {name} ends with {text:?}"
            );
        }
        assert!(
            !contents(&world.path("run"))
                .iter()
                .any(|(path, _)| path.to_string_lossy().contains("unfinished"))
        );
        world.expect(0, "train --resume run --quiet", &[]);
        assert_eq!(world.sha("run"), world.sha("whole"), "{kibibytes} KiB");
        messages.push(message);
    }
    let is_named = |name: &str| messages.iter().any(|message| message.contains(name));
    assert!(is_named("checkpoint.safetensors") && is_named("health.jsonl"), "{messages:?}");

    world.expect(1, &format!("{SHORT} --out /proc/evenkeel"), &["/proc/evenkeel"]);
    world.expect(1, &format!("{SHORT} --out /dev/full/run"), &["/dev/full"]);
    world.expect(1, "export whole --format npz --out /proc/evenkeel/x", &["/proc/evenkeel"]);
}

#[test]
fn a_folder_belongs_to_one_process_at_a_time() {
    let world = World::new();
    let long = "train --data tiny --epochs 100000 --batch 16 --quiet --out run";
    let start = |arguments: &str| {
        world.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut first = start(long);
    while !world.path("run/checkpoint.safetensors").is_file() {
        assert!(first.try_wait().unwrap().is_none(), "the run has ended");
        thread::sleep(Duration::from_millis(5));
    }
    let locked = ["run", "no other process"];
    world.expect(2, "train --resume run", &locked);
    world.expect(2, &format!("{long} --force"), &locked);
    world.expect(2, long, &["--force", "--resume"]);
    assert!(first.try_wait().unwrap().is_none(), "the run continues");
    first.kill().unwrap();
    first.wait().unwrap();
    world.expect(0, "train --resume run --quiet --max-time 0.001", &["stopped at its limit"]);

    // Of two processes that start at once with --out, one gets the folder; without --out, each
    // gets its own.
    for number in 0..4 {
        let arguments = format!("{SHORT} --out both{number}");
        let codes =
            [start(&arguments), start(&arguments)].map(|mut child| child.wait().unwrap().code());
        assert!(codes == [Some(0), Some(2)] || codes == [Some(2), Some(0)], "{codes:?}");
        assert_eq!(world.summary(&format!("both{number}"))["status"], "done");
    }
    let codes = [start(SHORT), start(SHORT)].map(|mut child| child.wait().unwrap().code());
    assert_eq!(codes, [Some(0), Some(0)]);
    assert_eq!(world.sha("runs/logistic-1"), world.sha("runs/logistic-2"));
}

#[test]
fn damage_anywhere_in_a_checkpoint_is_detected() {
    let world = World::new();
    world.expect(0, &format!("{SHORT} --max-steps 5 --out run"), &[]);
    let path = world.path("run/checkpoint.safetensors");
    let intact = fs::read(&path).unwrap();
    let offsets = Stream::new(7, 0);
    for draw in 0..60 {
        let mut damaged = intact.clone();
        let offset = offsets.below(2 * draw, intact.len() as u32) as usize;
        match draw % 3 {
            0 => damaged[offset] ^= 1 << (draw % 8),
            1 => damaged.truncate(offset),
            _ => damaged[offset..]
                .iter_mut()
                .take(16)
                .enumerate()
                .for_each(|(i, byte)| *byte = (31 * i) as u8),
        }
        // A draw may change nothing.
        if damaged != intact {
            fs::write(&path, damaged).unwrap();
            let output = world.run("train --resume run --quiet");
            let is_detected = output.status.code() == Some(3)
                && stderr(&output).contains("checkpoint.safetensors");
            let size = intact.len();
            assert!(is_detected, "draw {draw}, byte {offset} of {size}: {}", stderr(&output));
        }
    }
    fs::write(&path, intact).unwrap();
    world.expect(0, "train --resume run --quiet", &[]);
}
