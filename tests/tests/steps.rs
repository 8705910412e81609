//! Ten training steps of every preset on generated images: the same losses, to the bit, on every instruction set, as they stand in
//! `tests/golden/losses.txt`; and those of f32 beside those of f64.
//!
//! A line of the file is a type, a preset and the bits of the loss of each step, in f64. After a change to the numbers that is meant,
//! `EVENKEEL_RECORD=1 cargo test -p tests --test steps` writes it anew; the changelog says so under "Numerics".
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::{env, fs};

use clap::ValueEnum;
use kernels::random::{Stream, fill_uniform};
use kernels::{Cpu, Isa};
use nn::optimizer::Sgd;
use nn::{Batch, Float, Mode, Network, Optimizer, Shape, Weights, Workspace};
use runner::pool::Pool;
use runner::preset::Preset;

const STEPS: u64 = 10;
const ROWS: usize = 3;
const CLASSES: u32 = 4;
/// Small, so that one lane at a time is quick enough; large enough for each pooling and patch.
const IMAGE: Shape = Shape::Image { height: 12, width: 12, channels: 1 };
const SEED: u64 = 42;
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/losses.txt");

/// The loss of each step. The numbers of f32 are those of f64, rounded, at first; images and what is dropped are the same in both.
fn losses<T: Float>(cpu: Cpu<'_>, preset: Preset, optimizer: Optimizer, lr: f64) -> Vec<f64> {
    let network = Network::new(IMAGE, &preset.layers(CLASSES as usize)).unwrap().with_loss(preset.loss());
    let narrowed = |values: Vec<f64>| values.into_iter().map(T::from_f64).collect::<Vec<_>>();
    let (mut params, mut buffers) = (vec![0.0; network.layout().len()], vec![0.0; network.buffers().len()]);
    network.init(cpu, SEED, &mut params).unwrap();
    network.init_buffers(cpu, &mut buffers).unwrap();
    let (mut params, mut buffers) = (narrowed(params), narrowed(buffers));
    let mut grads = vec![T::ZERO; params.len()];
    let mut workspace = Workspace::new(&network, cpu, ROWS).unwrap();
    let mut optimizer = optimizer.start(cpu, network.layout()).unwrap();
    let step = |step| {
        let stream = Stream::new(SEED, 1 << 20 | step);
        let mut inputs = vec![0.0; ROWS * network.inputs()];
        fill_uniform(cpu, stream, 0.0, 1.0, &mut inputs).unwrap();
        // Values that f32 holds exactly.
        let inputs = narrowed(inputs.into_iter().map(|x| f64::from(x as f32)).collect());
        let labels: Vec<u32> = (0..ROWS as u64).map(|i| stream.beyond(1 << 40).below(i, CLASSES)).collect();
        let batch = Batch { inputs: &inputs, targets: labels[..].into() };
        let mode = Mode::Train { seed: SEED, step };
        let weights = Weights { params: &params, buffers: &mut buffers };
        let score = network.gradient(cpu, mode, weights, batch, &mut workspace, &mut grads).unwrap();
        optimizer.step(cpu, lr, 1.0, &mut params, &grads).unwrap();
        score.mean_loss()
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
    let (mut lines, pool) = (Vec::new(), Pool::new(2).unwrap());
    for &preset in Preset::value_variants() {
        let of = |cpu| {
            let adam = Optimizer::adam();
            (losses::<f32>(cpu, preset, adam, 1e-3), losses::<f64>(cpu, preset, adam, 1e-3))
        };
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

/// How far the losses of f32 may be from those of f64, relative to them, or to 1 where they are smaller: fifty roundings of the
/// loss. With Adam they are further apart, since a gradient that is nothing but rounding makes as long a first step as any other.
const APART: f64 = 50.0 / (1 << 24) as f64;

#[test]
fn losses_of_f32_are_near_those_of_f64() {
    let (cpu, momentum) = (Cpu::detect(), Sgd { momentum: 0.9, ..Sgd::default() }.into());
    for &preset in Preset::value_variants() {
        let (narrow, wide) =
            (losses::<f32>(cpu, preset, momentum, 3e-3), losses::<f64>(cpu, preset, momentum, 3e-3));
        let apart = |(narrow, wide): (&f64, &f64)| (narrow - wide).abs() / wide.abs().max(1.0);
        let worst = narrow.iter().zip(&wide).map(apart).fold(0.0, f64::max);
        println!("{:12} {:.6} to {:.6}, {worst:.1e} apart", preset.name(), wide[0], wide[9]);
        assert!(worst <= APART, "{}: {worst:e} apart", preset.name());
    }
}
