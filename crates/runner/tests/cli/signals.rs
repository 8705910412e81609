//! Runs stopped by signals resume to the bits of an uninterrupted run.

use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use kernels::random::Stream;

use crate::world::{World, contents, stderr, stdout};

/// Number of epochs: many short ones, each with a checkpoint, so that a signal after the first
/// epochs always comes before the end.
const EPOCHS: usize = 70;
const CONFIG: &str = "epochs = 70\ncheckpoint_epochs = 1\nbatch = 2\nlr = 1e-4\ndtype = \"f64\"\n\
                      threads = 1\nlayers = [{ kind = \"dense\", units = 32 }, \
                      { kind = \"relu\" }, { kind = \"dense\", units = 3 }]\n";
const LONG: &str = "train --data tiny --config long.toml --quiet";

fn start(world: &World, arguments: &str) -> Child {
    world.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Waits until the run folder has a checkpoint other than `since`.
fn wait_for_checkpoint(world: &World, child: &mut Child, since: &[u8]) {
    let started = Instant::now();
    let path = world.path("run/checkpoint.safetensors");
    while fs::read(&path).map_or(true, |bytes| bytes == since) {
        assert!(started.elapsed() < Duration::from_secs(60), "no checkpoint");
        assert!(child.try_wait().unwrap().is_none(), "the run has ended");
        thread::sleep(Duration::from_millis(1));
    }
}

fn signal(child: &mut Child, name: &str) -> ExitStatus {
    let sent =
        Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status().unwrap();
    assert!(sent.success());
    child.wait().unwrap()
}

#[test]
fn stopped_and_killed_runs_resume_to_the_same_bits() {
    let world = World::new();
    world.write("long.toml", CONFIG);
    world.expect(0, &format!("{LONG} --out whole"), &[]);

    let mut child = start(&world, &format!("{LONG} --out run"));
    let mut arguments = "train --resume run --quiet";
    let pauses = Stream::new(fs::metadata(world.path("tiny")).unwrap().len(), 0);
    for (attempt, (name, code)) in
        [("INT", Some(130)), ("KILL", None), ("TERM", Some(143)), ("KILL", None)]
            .into_iter()
            .enumerate()
    {
        let before = match attempt {
            0 => vec![],
            _ => fs::read(world.path("run/checkpoint.safetensors")).unwrap(),
        };
        if attempt > 0 {
            child = start(&world, arguments);
        }
        wait_for_checkpoint(&world, &mut child, &before);
        thread::sleep(Duration::from_micros(pauses.below(attempt as u64, 20_000).into()));
        assert_eq!(signal(&mut child, name).code(), code, "{name}");
        let status = fs::read_to_string(world.path("run/summary.json")).unwrap_or_default();
        assert!(!status.contains("\"done\""), "{status}");
        if code.is_some() {
            assert!(status.contains("\"interrupted\""), "{status}");
        }
    }
    // The run resumes to the same bits on another instruction set and more threads.
    arguments = "train --resume run --quiet --threads 2 --isa scalar";
    world.expect(0, arguments, &[]);
    assert_eq!(world.sha("run"), world.sha("whole"));
    assert_eq!(world.read("run/metrics.jsonl").lines().count(), EPOCHS);
    assert!(
        world.read("run/health.jsonl") == world.read("whole/health.jsonl"),
        "the health records are equal"
    );
    assert_eq!(world.summary("run")["test_loss"], world.summary("whole")["test_loss"]);

    let before = contents(&world.path("run"));
    let again = world.expect(0, "train --resume run", &["finished"]);
    assert!(stdout(&again).contains(&world.sha("whole")));
    assert_eq!(contents(&world.path("run")), before, "a finished run does not change");
}

#[test]
fn a_run_killed_before_its_first_checkpoint_restarts() {
    let world = World::new();
    let common = "train --data tiny --epochs 2 --batch 32 --quiet";
    world.expect(0, &format!("{common} --out whole"), &[]);
    fs::create_dir(world.path("run")).unwrap();
    fs::copy(world.path("whole/config.toml"), world.path("run/config.toml")).unwrap();
    let resumed = world.expect(0, "train --resume run", &["has no checkpoint yet"]);
    assert!(stderr(&resumed).contains("epoch  2/2"));
    assert_eq!(world.sha("run"), world.sha("whole"));
}
