//! `--non-finite`: policies for a non-finite loss or gradient, with the same bits after any number
//! of stops.

use serde_json::Value;

use crate::world::World;

/// Gradient noise that overflows f32 in some steps, and is clipped to almost 0 in the others.
const NOISY: &str = "epochs = 3\nbatch = 16\nclip_norm = 0.01\n\
                     noise = { scale = 1e76, decay = 0.0 }\n\
                     layers = [{ kind = \"dense\", units = 4 }, { kind = \"batch_norm\" }, \
                     { kind = \"relu\" }, { kind = \"dense\", units = 3 }]\n";

/// Linear regression with a learning rate that is too large: the error grows with each step.
const TOO_LONG: &str = "epochs = 3\nbatch = 2\nlr = 4.0\noptimizer = { kind = \"sgd\" }\n\
                        schedule = { kind = \"constant\" }\nloss = { kind = \"mse\" }\n\
                        layers = [{ kind = \"dense\", units = 3 }]\n";

/// Command of a run whose parameters overflow f32 in the first step: gradients above 1, at a
/// learning rate near the largest f32.
fn overflowing(world: &World) -> &'static str {
    let large = "{ kind = \"dense\", units = 3, init = { uniform = { limit = 100.0 } } }";
    world.write("overflow.toml", &format!("loss = {{ kind = \"mse\" }}\nlayers = [{large}]\n"));
    "train --data tiny --config overflow.toml --optimizer sgd --lr 3e38"
}

fn lines(world: &World, file: &str) -> Vec<Value> {
    world.read(file).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn sum(lines: &[Value], key: &str) -> u64 {
    lines.iter().map(|line| line[key].as_u64().unwrap()).sum()
}

/// Trains a run in pieces of `steps` steps, and asserts that its bits are those of the run `whole`.
fn assert_same_in_pieces(world: &World, arguments: &str, steps: usize) {
    world.expect(
        0,
        &format!("{arguments} --out pieces --force --max-steps {steps}"),
        &["stopped at its limit"],
    );
    let (mut limit, mut stops) = (steps, 1);
    while world.summary("pieces")["status"] == "interrupted" {
        limit += steps;
        world.expect(0, &format!("train --resume pieces --quiet --max-steps {limit}"), &[]);
        stops += 1;
    }
    assert!(stops > 3, "{stops} pieces");
    assert_eq!(world.sha("pieces"), world.sha("whole"));
    assert!(
        world.read("pieces/health.jsonl") == world.read("whole/health.jsonl"),
        "the health records are equal"
    );
}

#[test]
fn the_message_about_a_divergence_names_its_origin() {
    let world = World::new();
    let overflowing = overflowing(&world);
    world.expect(
        5,
        &format!("{overflowing} --epochs 1 --batch 64 --out overflow --quiet"),
        &[
            "epoch 1, step 2",
            "the first non-finite values are in the parameters layers.0.",
            "--non-finite",
        ],
    );
    // Finite weights whose products overflow in the last of three dense layers.
    let layer = |units: usize, limit: &str| {
        format!(
            "{{ kind = \"dense\", units = {units}, init = {{ uniform = {{ limit = {limit} }} }} }}"
        )
    };
    let layers =
        [layer(8, "1e15"), layer(8, "1e15"), layer(3, "1e15")].join(", { kind = \"relu\" }, ");
    world.write("far.toml", &format!("layers = [{layers}]\n"));
    world.expect(
        5,
        "train --data tiny --config far.toml --out far --quiet",
        &["epoch 1, step 1", "the outputs of layers.4 (dense)"],
    );
    world.write("noisy.toml", NOISY);
    world.expect(
        5,
        "train --data tiny --config noisy.toml --out noisy --quiet",
        &["the gradient of layers."],
    );
}

#[test]
fn steps_are_skipped_and_counted() {
    let world = World::new();
    world.write("noisy.toml", NOISY);
    let arguments = "train --data tiny --config noisy.toml --non-finite skip";
    world.expect(
        0,
        &format!("{arguments} --out whole"),
        &["the gradient of layers.", "the step is skipped"],
    );
    let (metrics, health) =
        (lines(&world, "whole/metrics.jsonl"), lines(&world, "whole/health.jsonl"));
    let skipped = sum(&metrics, "skipped");
    assert!((1..54).contains(&skipped) && sum(&metrics, "rollbacks") == 0, "{skipped} steps");
    assert!(
        metrics.iter().all(|epoch| epoch["train_loss"].is_f64() && epoch["grad_norm"].is_f64())
    );
    let encountered: usize =
        health.iter().map(|epoch| epoch["non_finite"].as_array().unwrap().len()).sum();
    assert_eq!(encountered as u64, skipped);
    assert!(health.iter().all(|epoch| epoch["steps"].as_array().unwrap().len()
        == epoch["learning_rates"].as_array().unwrap().len()));
    assert!(world.read("whole/report.html").contains("Non-finite steps"));
    assert!(world.read("whole/config.toml").contains("non_finite = \"skip\""));
    assert_same_in_pieces(&world, arguments, 7);

    // A run gives up if no step is finite.
    world.write("never.toml", &NOISY.replace("1e76", "1e77"));
    let never = "train --data tiny --config never.toml --non-finite skip --out never --quiet";
    world.expect(5, never, &["epoch 1, step 11", "the 10 steps before it were skipped as well"]);
    world.expect(
        5,
        "train --resume never --quiet",
        &["epoch 1, step 11", "the 10 steps before it"],
    );
    // Skipping steps does not help if the parameters themselves are non-finite.
    let lost = format!("{} --non-finite skip --batch 64 --out lost --quiet", overflowing(&world));
    world.expect(5, &lost, &["the parameters layers.0.", "a skip cannot help"]);
}

#[test]
fn a_run_rolls_back_and_halves_its_learning_rate() {
    let world = World::new();
    world.write("long.toml", TOO_LONG);
    world.expect(5, "train --data tiny --config long.toml --out stopped --quiet", &["diverged"]);
    let arguments = "train --data tiny --config long.toml --non-finite rollback";
    world.expect(
        0,
        &format!("{arguments} --out whole"),
        &["rolled back to the end of the last epoch"],
    );
    let metrics = lines(&world, "whole/metrics.jsonl");
    let rollbacks = sum(&metrics, "rollbacks");
    assert!(rollbacks >= 2 && sum(&metrics, "skipped") == 0, "{rollbacks}");
    let halved = (0..rollbacks).fold(4.0, |rate, _| rate / 2.0);
    assert_eq!(metrics[2]["lr"], halved);
    assert!(world.read("whole/health.jsonl").contains("\"non_finite\":[{"));
    assert!(world.read("whole/report.html").contains("Non-finite steps"));
    assert_same_in_pieces(&world, arguments, 61);

    // Noise depends on the step only: rolling back repeats it.
    world.write("noisy.toml", NOISY);
    let never = "train --data tiny --config noisy.toml --non-finite rollback --out never --quiet";
    world.expect(5, never, &["the run was rolled back 10 times before"]);
    world.expect(5, "train --resume never --quiet", &["the run was rolled back 10 times before"]);
}

/// Checks gradients whose squares overflow f32: Adam would never move these weights again.
#[test]
fn a_square_that_overflows_is_detected_before_the_step() {
    let world = World::new();
    let layer = "{ kind = \"dense\", units = 3, init = { uniform = { limit = 1e17 } } }";
    let loss = "loss = { kind = \"mse\" }\nepochs = 2\nbatch = 64\n";
    let write = |noise: &str, name: &str| {
        world.write(
            name,
            &format!("{loss}{noise}optimizer = {{ kind = \"adam\" }}\nlayers = [{layer}]\n"),
        );
    };
    // Gradient noise of 1e21 on weights that train without noise.
    let noisy = "noise = { scale = 1e42, decay = 1.0 }\n";
    write(noisy, "square.toml");
    let run = "train --data tiny --config square.toml --out square --quiet";
    world.expect(
        5,
        run,
        &["epoch 1, step 1", "second moment `exp_avg_sq` of layers.0.weight", "--clip-norm"],
    );
    // The squares fit if gradients are clipped, or in f64.
    world.expect(0, &format!("{run} --force --clip-norm 1"), &[]);
    world.expect(0, &format!("{run} --force --dtype f64"), &[]);
    // Steps are skipped until the noise has decayed.
    world.expect(0, &format!("{run} --force --non-finite skip"), &[]);
    assert!(sum(&lines(&world, "square/metrics.jsonl"), "skipped") > 0);
    // Momentum computes no squares.
    world.expect(0, &format!("{run} --force --optimizer momentum --lr 1e-30"), &[]);
}
