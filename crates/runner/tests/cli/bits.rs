//! Reproducible bits: from a run's own configuration, on any number of threads, on every
//! instruction set, and after any number of stops.

use kernels::{Cpu, Isa};
use runner::Error;
use runner::data::element::Element;
use runner::run::checkpoint;
use runner::run::checkpoint::{Checkpoint, Identity};
use runner::run::config::{Config, Dtype};
use runner::run::setup::Setup;
use runner::run::state::{Position, State};
use runner::training::epochs::{Callback, End};
use runner::training::observer::Unobserved;
use runner::training::{epochs, initial};

use crate::world::World;

#[test]
fn threads_and_instruction_sets_change_no_bit() {
    let world = World::new();
    for dtype in ["f32", "f64", "bf16"] {
        let common = format!(
            "train --data tiny --epochs 2 --batch 32 --clip-norm 0.5 --quiet --force \
             --dtype {dtype}"
        );
        let mut shas = Vec::new();
        for isa in Isa::available() {
            for threads in [1, 2, 3] {
                world.expect(
                    0,
                    &format!("{common} --isa {isa} --threads {threads} --out run"),
                    &[],
                );
                let summary = world.summary("run");
                assert_eq!(
                    (&summary["isa"], &summary["threads"]),
                    (&isa.name().into(), &threads.into())
                );
                shas.push(world.sha("run"));
            }
        }
        assert!(shas.iter().all(|sha| *sha == shas[0]), "{shas:?}");
    }
}

#[test]
fn the_configuration_of_a_run_repeats_it() {
    let world = World::new();
    let settings =
        "--epochs 3 --batch 20 --optimizer sgd --lr 0.05 --clip-norm 0.7 --seed 3 --dtype f64";
    world.expect(
        0,
        &format!("train --data tiny {settings} --preset logistic --out a --quiet"),
        &[],
    );
    world.expect(0, "train --config a/config.toml --out b --quiet", &[]);
    assert_eq!(world.sha("a"), world.sha("b"));
    assert_eq!(world.read("a/config.toml"), world.read("b/config.toml"));
    world.expect(0, "train --config a/config.toml --seed 4 --out c --quiet", &[]);
    assert_ne!(world.sha("a"), world.sha("c"));
}

/// Stops at every `every`-th step.
struct Stopping {
    every: u64,
    steps: u64,
}

impl<T> Callback<T> for Stopping {
    fn on_step_end(&mut self, _: &State<T>) -> Result<bool, Error> {
        self.steps += 1;
        Ok(!self.steps.is_multiple_of(self.every))
    }

    fn on_epoch_end(&mut self, _: &State<T>) -> Result<(), Error> {
        Ok(())
    }
}

/// Bits of all numbers in `state`, and its position without times.
fn bits<T: Element>(mut state: State<T>) -> (Vec<u64>, Position) {
    for epoch in &mut state.position.history {
        epoch.train_seconds = 0.0;
    }
    let moments = state.optimizer.moments().iter().flatten();
    let averages =
        state.average.iter().flat_map(|average| &average.params).chain(state.slow.iter().flatten());
    let numbers =
        state.weights.params.iter().chain(&state.best.params).chain(moments).chain(averages);
    (numbers.map(|value| value.to_f64().to_bits()).collect(), state.position)
}

fn stops_change_no_bit<T: Element>(setup: &Setup, path: &std::path::Path) {
    let cpu = Cpu::detect();
    let identity = Identity::new(setup).unwrap();
    let mut uninterrupted = initial::state::<T>(setup, cpu).unwrap();
    let mut never = Stopping { every: u64::MAX, steps: 0 };
    let end = epochs::run(setup, cpu, &mut uninterrupted, &mut never, &mut Unobserved);
    assert_eq!(end.unwrap(), End::Done);
    let uninterrupted = bits(uninterrupted);

    // 18 steps per epoch: stops are within epochs and at their ends.
    for every in [1, 6, 7] {
        let mut state = initial::state::<T>(setup, cpu).unwrap();
        let mut stops = 0;
        let stopping = || Stopping { every, steps: 0 };
        while epochs::run(setup, cpu, &mut state, &mut stopping(), &mut Unobserved).unwrap()
            == End::Stopped
        {
            stops += 1;
            std::fs::write(path, checkpoint::encode(&identity, &state).unwrap()).unwrap();
            state = Checkpoint::read(path, &identity).unwrap().state(setup, cpu).unwrap();
        }
        assert_eq!(stops, 3 * 18 / every, "every {every}");
        assert!(bits(state) == uninterrupted, "stopped every {every} steps");
    }
}

#[test]
fn a_run_that_is_stopped_anywhere_resumes_to_the_same_bits() {
    let world = World::new();
    let everything = r#"
batch = 8
accumulate = 2
ema = { decay = 0.9 }
lookahead = { steps = 4 }
sam = { radius = 0.05 }
noise = { scale = 0.001 }
mixing = { kind = "mixup", alpha = 0.4 }
lsuv = {}
plateau = { patience = 0, factor = 0.5 }
clip = [{ kind = "value", limit = 0.1 }, { kind = "adaptive", ratio = 0.5 }]
bounds = [{ kind = "max_norm", limit = 3.0 }]
groups = [{ tensors = ["*.bias"], rate = 2.0, optimizer = { kind = "lion" } }]
optimizer = { kind = "muon" }
"#;
    for keys in [
        "batch = 16\noptimizer = { kind = \"adam\" }",
        "batch = 16\noptimizer = { kind = \"sgd\", momentum = 0.9 }",
        "batch = 16\npruning = { sparsity = 0.5, begin = 0.2, every = 5 }\n\
         optimizer = { kind = \"adadelta\" }",
        everything,
    ] {
        world.write(
            "run.toml",
            &format!(
                "epochs = 3\nclip_norm = 0.5\ndata = \"{}\"\n\
                 layers = [{{ kind = \"dense\", units = 8 }}, {{ kind = \"relu\" }}, \
                 {{ kind = \"dense\", units = 3 }}]\n{keys}\n",
                world.path("tiny").display()
            ),
        );
        for dtype in [Dtype::F32, Dtype::F64, Dtype::Bf16] {
            let setup =
                Setup::new(Config { dtype, ..Config::read(&world.path("run.toml")).unwrap() })
                    .unwrap();
            let path = world.path("checkpoint");
            match dtype {
                Dtype::F32 | Dtype::Bf16 => stops_change_no_bit::<f32>(&setup, &path),
                Dtype::F64 => stops_change_no_bit::<f64>(&setup, &path),
            }
        }
    }
}

#[test]
fn a_checkpoint_that_is_damaged_or_foreign_is_refused() {
    let world = World::new();
    world.expect(
        0,
        "train --data tiny --epochs 1 --batch 64 --preset logistic --out run --quiet",
        &[],
    );
    // Without its summary the run counts as unfinished.
    let finished = std::fs::read(world.path("run/checkpoint.safetensors")).unwrap();
    let refuse = |bytes: &[u8], text: &str| {
        std::fs::remove_file(world.path("run/summary.json")).unwrap_or_default();
        std::fs::write(world.path("run/checkpoint.safetensors"), bytes).unwrap();
        world.expect(3, "train --resume run --quiet", &["checkpoint.safetensors", text]);
        assert!(!world.path("run/summary.json").exists());
    };
    refuse(&finished[..finished.len() - 1], "safetensors");
    refuse(&finished[..100], "safetensors");
    refuse(b"", "safetensors");
    // A flipped bit in the middle of the tensors, which follow the header, and at their end.
    let header = 8 + u64::from_le_bytes(finished[..8].try_into().unwrap()) as usize;
    for at in [finished.len() - 1, (header + finished.len()) / 2] {
        let mut flipped = finished.clone();
        flipped[at] ^= 1;
        refuse(&flipped, "damaged");
    }
    // Another step in the header.
    let key = finished.windows(8).position(|bytes| bytes == b"\\\"step\\\"").unwrap();
    let mut flipped = finished.clone();
    let digit = key + finished[key..].iter().position(u8::is_ascii_digit).unwrap();
    flipped[digit] ^= 1;
    refuse(&flipped, "damaged");
    refuse(
        &std::fs::read(world.path("run/model.safetensors")).unwrap(),
        "another safetensors file",
    );

    // An intact checkpoint, but of other data: one pixel of the images differs.
    let pixels = world.path("tiny/train-images-idx3-ubyte");
    let mut images = std::fs::read(&pixels).unwrap();
    *images.last_mut().unwrap() ^= 1;
    std::fs::write(&pixels, &images).unwrap();
    refuse(&finished, "the data that the run started with");
    *images.last_mut().unwrap() ^= 1;
    std::fs::write(&pixels, &images).unwrap();
    // An intact checkpoint of another configuration.
    let config = world.read("run/config.toml");
    world.write("run/config.toml", &config.replace("seed = 0", "seed = 1"));
    refuse(&finished, "of the configuration");
    world.write("run/config.toml", &config);
    // The original checkpoint is accepted.
    std::fs::write(world.path("run/checkpoint.safetensors"), &finished).unwrap();
    world.expect(0, "train --resume run --quiet", &[]);
}
