//! Runs that are killed at random moments, also while they write files, and resumed until they are
//! done: the same bits as an uninterrupted run.

use std::process::Stdio;
use std::time::{Duration, Instant};
use std::{fs, thread};

use kernels::random::Stream;

use crate::world::World;

/// Many short epochs, with checkpoints within them and at their ends: most of the time is spent on
/// files.
const CONFIG: &str = "epochs = 12\nbatch = 16\nseed = 4\n\
                      checkpoint_steps = 9\ncheckpoint_epochs = 1\n\
                      layers = [{ kind = \"dense\", units = 16 }, { kind = \"batch_norm\" }, \
                      { kind = \"relu\" }, { kind = \"dense\", units = 10 }]\n";

/// Number of kills; `EVENKEEL_KILLS` sets another one.
const KILLS: u64 = 6;

/// Asserts that the journal's files in `run` end with a complete line.
fn assert_complete_lines(world: &World, arguments: &str) {
    for name in ["metrics.jsonl", "health.jsonl", "metrics.csv"] {
        let text = fs::read_to_string(world.path(&format!("run/{name}"))).unwrap_or_default();
        assert!(text.is_empty() || text.ends_with('\n'), "{arguments}: {name} ends with {text:?}");
    }
}

#[test]
fn runs_killed_at_random_moments_resume_to_the_same_bits() {
    let kills = std::env::var("EVENKEEL_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let world = World::new();
    world.expect(0, "data synth --out digits --train 240 --test 20", &[]);
    world.write("run.toml", CONFIG);
    let started = Instant::now();
    world.expect(0, "train --data digits --config run.toml --out whole --quiet --threads 1", &[]);
    let micros = u32::try_from(started.elapsed().as_micros()).unwrap();

    let moments = Stream::new(std::process::id().into(), 0);
    let (mut killed, mut finished, mut killed_resumed) = (0, 0, 0);
    let mut attempts = 0;
    while killed < kills || finished == 0 {
        assert!(attempts < 20 * kills + 20, "{killed} kills of {kills} in {attempts} attempts");
        let resumes = world.path("run/config.toml").is_file();
        let arguments = match resumes {
            true => "train --resume run --quiet --threads 1",
            false => "train --data digits --config run.toml --out run --force --quiet --threads 1",
        };
        let mut child =
            world.command(arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        // After the last kill, the run may end.
        if killed < kills {
            thread::sleep(Duration::from_micros(moments.below(attempts, micros).into()));
            child.kill().unwrap();
        }
        attempts += 1;
        let output = child.wait_with_output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            None => {
                killed += 1;
                killed_resumed += u64::from(resumes);
                assert_complete_lines(&world, arguments);
            }
            Some(0) => {
                finished += 1;
                assert_eq!(world.sha("run"), world.sha("whole"), "after {killed} kills");
                assert!(
                    world.read("run/health.jsonl") == world.read("whole/health.jsonl"),
                    "the health records are equal"
                );
                assert_eq!(world.read("run/metrics.jsonl").lines().count(), 12);
                assert_eq!(world.read("run/metrics.csv").lines().count(), 13);
                fs::remove_dir_all(world.path("run")).unwrap();
            }
            code => panic!("{arguments} ended with {code:?}: {message}"),
        }
    }
    println!(
        "{killed} kills, {killed_resumed} of them of resumed runs; {finished} runs finished, with \
         the same bits"
    );
}
