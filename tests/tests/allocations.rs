//! After its first step, no preset allocates: neither in a training step (gradient and optimizer
//! step) nor in an evaluation. A test binary with this test alone, since its allocator counts for
//! the whole process.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::alloc::System;

use clap::ValueEnum;
use kernels::random::{Stream, fill_uniform};
use kernels::{Cpu, Isa};
use nn::optimizer::{Decay, Sgd};
use nn::{Batch, Float, Mode, Network, Optimizer, Shape, StepSize, Weights, Workspace};
use runner::machine::thread_pool::ThreadPool;
use runner::run::preset::Preset;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const IMAGE: Shape = Shape::Image { height: 12, width: 12, channels: 1 };
const LABELS: [u32; 4] = [0, 1, 2, 1];

/// Number of allocations of training steps and evaluations, once each of them has run.
fn allocated<T: Float>(cpu: Cpu<'_>, preset: Preset, optimizer: Optimizer) -> Stats {
    let network = Network::new(IMAGE, &preset.layers(3)).unwrap().with_loss(preset.loss());
    let mut params = vec![T::ZERO; network.layout().len()];
    let mut grads = params.clone();
    let mut buffers = vec![T::ZERO; network.buffers().len()];
    network.init(cpu, 1, &mut params).unwrap();
    network.init_buffers(cpu, &mut buffers).unwrap();
    let mut inputs = vec![T::ZERO; LABELS.len() * network.inputs()];
    fill_uniform(cpu, Stream::new(1, 1 << 20), T::ZERO, T::ONE, &mut inputs).unwrap();
    let mut training = Workspace::new(&network, cpu, LABELS.len()).unwrap();
    let mut inference = Workspace::inference(&network, cpu, LABELS.len()).unwrap();
    let mut running = optimizer.start(cpu, network.layout()).unwrap();
    let mut step = |step, rows: usize| {
        let batch =
            Batch { inputs: &inputs[..rows * network.inputs()], targets: LABELS[..rows].into() };
        let weights = Weights { params: &params, buffers: &mut buffers };
        let mode = Mode::Train { seed: 1, step };
        network.gradient(cpu, mode, weights, batch, &mut training, &mut grads).unwrap();
        running.step(cpu, StepSize { rate: 1e-3, scale: 0.5 }, &mut params, &grads).unwrap();
        let weights = Weights { params: &params, buffers: &mut buffers };
        network.evaluate(cpu, weights, batch, &mut inference).unwrap();
    };
    step(0, LABELS.len());
    let counter = Region::new(ALLOCATOR);
    // A smaller last batch allocates nothing either.
    (1..4).for_each(|number| step(number, LABELS.len() - number as usize % 2));
    counter.change()
}

#[test]
fn nothing_is_allocated_after_the_first_step() {
    let counter = Region::new(ALLOCATOR);
    drop(std::hint::black_box(Box::new(0)));
    assert!(counter.change().allocations > 0, "the allocator counts");

    let momentum = Sgd { momentum: 0.9, nesterov: true, decay: Decay::l2(1e-4) }.into();
    for threads in [1, 2] {
        let pool = ThreadPool::new(threads).unwrap();
        for &preset in Preset::value_variants() {
            for optimizer in [Optimizer::adam(), momentum] {
                let change = pool.enter(|| {
                    let cpu = Cpu::new(Isa::detect(), &pool);
                    [
                        allocated::<f32>(cpu, preset, optimizer),
                        allocated::<f64>(cpu, preset, optimizer),
                    ]
                });
                for change in change {
                    let calls = (change.allocations, change.reallocations, change.deallocations);
                    assert_eq!(
                        calls,
                        (0, 0, 0),
                        "{} on {threads} threads: {change:?}",
                        preset.name()
                    );
                }
            }
        }
    }
}
