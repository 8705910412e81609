//! Ten training steps of every preset on generated images: on every instruction set the bits of the
//! losses in `tests/golden/losses.txt`; and the losses of f32 compared with those of f64.
//!
//! A line of the file is a type, a preset and the bits of the loss of each step, in f64. After an
//! intended change of the numbers, `EVENKEEL_RECORD=1 cargo test -p tests --test steps` records
//! them again; the changelog lists the change under "Numerics".
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::{env, fs};

use clap::ValueEnum;
use kernels::random::{Stream, fill_uniform};
use kernels::{Cpu, Isa};
use nn::{Batch, Float, Mode, Network, Optimizer, Shape, StepSize, Weights, Workspace};
use runner::machine::thread_pool::ThreadPool;
use runner::run::preset::Preset;

const STEPS: u64 = 10;
/// Enough rows for a batch norm over rows alone. With three, in one channel of a thousand all
/// values are so close that their differences have lost several bits.
const ROWS: usize = 8;
const CLASSES: u32 = 4;
/// Small enough for a fast scalar instruction set; large enough for each pooling and patch.
const IMAGE: Shape = Shape::Image { height: 12, width: 12, channels: 1 };
const SEED: u64 = 42;
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/losses.txt");

/// A preset in training: its network, parameters and buffers.
struct Training<T> {
    network: Network,
    params: Vec<T>,
    buffers: Vec<T>,
    grads: Vec<T>,
    workspace: Workspace<T>,
}

impl<T: Float> Training<T> {
    /// Initial parameters; those of f32 are those of f64, rounded.
    fn new(cpu: Cpu<'_>, preset: Preset) -> Self {
        let network =
            Network::new(IMAGE, &preset.layers(CLASSES as usize)).unwrap().with_loss(preset.loss());
        let mut params = vec![0.0; network.layout().len()];
        let mut buffers = vec![0.0; network.buffers().len()];
        network.init(cpu, SEED, &mut params).unwrap();
        network.init_buffers(cpu, &mut buffers).unwrap();
        let workspace = Workspace::new(&network, cpu, ROWS).unwrap();
        let grads = vec![T::ZERO; params.len()];
        Self { network, params: narrowed(&params), buffers: narrowed(&buffers), grads, workspace }
    }

    /// Loss and gradient on the images of this step. Images and dropout masks are the same in both
    /// types.
    fn gradient(&mut self, cpu: Cpu<'_>, step: u64) -> f64 {
        let Self { network, params, buffers, grads, workspace } = self;
        let stream = Stream::new(SEED, 1 << 20 | step);
        let mut inputs = vec![0.0; ROWS * network.inputs()];
        fill_uniform(cpu, stream, 0.0, 1.0, &mut inputs).unwrap();
        // Values that f32 holds exactly.
        let inputs: Vec<T> =
            inputs.into_iter().map(|x: f64| T::from_f64(f64::from(x as f32))).collect();
        let labels: Vec<u32> =
            (0..ROWS as u64).map(|i| stream.beyond(1 << 40).below(i, CLASSES)).collect();
        let batch = Batch { inputs: &inputs, targets: labels[..].into() };
        let (mode, weights) = (Mode::Train { seed: SEED, step }, Weights { params, buffers });
        network.gradient(cpu, mode, weights, batch, workspace, grads).unwrap().mean_loss()
    }
}

fn narrowed<T: Float>(values: &[f64]) -> Vec<T> {
    values.iter().map(|&x| T::from_f64(x)).collect()
}

/// The loss of each step.
fn losses<T: Float>(cpu: Cpu<'_>, preset: Preset) -> Vec<f64> {
    let mut training = Training::<T>::new(cpu, preset);
    let mut optimizer = Optimizer::adam().start(cpu, training.network.layout()).unwrap();
    let step = |step| {
        let loss = training.gradient(cpu, step);
        optimizer.step(cpu, StepSize::new(1e-3), &mut training.params, &training.grads).unwrap();
        loss
    };
    (0..STEPS).map(step).collect()
}

fn line(element: &str, preset: Preset, losses: &[f64]) -> String {
    losses.iter().fold(format!("{element} {}", preset.name()), |mut line, loss| {
        write!(line, " {:016x}", loss.to_bits()).unwrap();
        line
    })
}

#[test]
fn ten_steps_of_every_preset_have_the_golden_losses_on_every_instruction_set() {
    let (mut lines, pool) = (Vec::new(), ThreadPool::new(2).unwrap());
    for &preset in Preset::value_variants() {
        let of = |cpu| (losses::<f32>(cpu, preset), losses::<f64>(cpu, preset));
        let (narrow, wide) = of(Cpu::new(Isa::detect(), &pool));
        for isa in Isa::available() {
            let same = of(Cpu::serial(isa)) == (narrow.clone(), wide.clone());
            assert!(same, "{}: other losses on {isa} than on two threads", preset.name());
        }
        lines.extend([line("f32", preset, &narrow), line("f64", preset, &wide)]);
    }
    let got = lines.join("\n") + "\n";
    if env::var_os("EVENKEEL_RECORD").is_some() {
        fs::write(FILE, &got).unwrap();
    }
    let expected = fs::read_to_string(FILE).unwrap();
    for (got, expected) in got.lines().zip(expected.lines()) {
        assert_eq!(got, expected, "other losses than in tests/golden/losses.txt");
    }
    assert_eq!(got.lines().count(), expected.lines().count(), "a preset has come or gone");
}

/// Maximum distance of a loss in f32 from that in f64, relative to the loss, or to 1 if it is
/// smaller: sixteen roundings of the loss.
const APART: f64 = 16.0 / (1 << 24) as f64;

/// Each step takes the weights of the training in f64. Where a unit is so near to its kink that f32
/// and f64 are on different sides, the losses agree, but the gradients do not.
#[test]
fn losses_of_f32_are_near_those_of_f64() {
    let cpu = Cpu::detect();
    for &preset in Preset::value_variants() {
        let (mut narrow, mut wide) =
            (Training::<f32>::new(cpu, preset), Training::<f64>::new(cpu, preset));
        let mut optimizer = Optimizer::adam().start(cpu, wide.network.layout()).unwrap();
        let (mut worst, mut last) = (0.0_f64, 0.0);
        for step in 0..STEPS {
            narrow.params = narrowed(&wide.params);
            narrow.buffers = narrowed(&wide.buffers);
            let near = narrow.gradient(cpu, step);
            last = wide.gradient(cpu, step);
            worst = worst.max((near - last).abs() / last.abs().max(1.0));
            optimizer.step(cpu, StepSize::new(1e-3), &mut wide.params, &wide.grads).unwrap();
        }
        println!("{:12} at last {last:.6}, {worst:.1e} apart", preset.name());
        assert!(worst <= APART, "{}: {worst:e} apart", preset.name());
    }
}
