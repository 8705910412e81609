//! Batch invariance: the logits of an image are the same bits whatever else is in its batch, for
//! every preset, precision and instruction set.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use clap::ValueEnum;
use kernels::random::{Stream, fill_uniform};
use kernels::{Cpu, Isa};
use nn::{Compute, Float, Network, Precision, Registry, Shape, Weights, Workspace};
use runner::machine::thread_pool::ThreadPool;
use runner::run::preset::Preset;

/// MNIST's: the dense layer of `lenet` then adds up 9216 terms.
const IMAGE: Shape = Shape::Image { height: 28, width: 28, channels: 1 };
const CLASSES: usize = 10;

/// Rows of the large batch, from which the small ones are taken. In f64 and bf16, 200 suffice for
/// the presets that take long.
fn large_batch<T>(preset: Preset, precision: Precision) -> usize {
    let quick = size_of::<T>() == size_of::<f32>() && precision == Precision::Full;
    match preset {
        Preset::MlpDropout
        | Preset::Lenet
        | Preset::Cnn
        | Preset::Resnet
        | Preset::VitTiny
        | Preset::LstmRows
            if !quick =>
        {
            200
        }
        _ => 1000,
    }
}

/// A preset with parameters, and buffers as if it had been trained.
struct Model<T> {
    network: Network,
    params: Vec<T>,
    buffers: Vec<T>,
    inputs: Vec<T>,
}

impl<T: Float> Model<T> {
    /// Four in five of the pixels are 0.
    fn new(preset: Preset, compute: Compute, rows: usize) -> Self {
        let layers = preset.layers(CLASSES);
        let network = Network::with_compute(IMAGE, &layers, &Registry::new(), compute).unwrap();
        let mut params = vec![T::ZERO; network.layout().len()];
        let mut buffers = vec![T::ZERO; network.buffers().len()];
        let mut inputs = vec![T::ZERO; rows * network.inputs()];
        let cpu = Cpu::detect();
        network.init(cpu, 1, &mut params).unwrap();
        let draw = |stream, low, high, values: &mut [T]| {
            fill_uniform(cpu, Stream::new(2, stream), T::from_f64(low), T::from_f64(high), values)
                .unwrap();
        };
        // Running means and variances.
        draw(0, 0.5, 1.5, &mut buffers);
        draw(1, -4.0, 1.0, &mut inputs);
        for x in &mut inputs {
            *x = if *x > T::ZERO { *x } else { T::ZERO };
        }
        Self { network, params, buffers, inputs }
    }

    /// The logits of rows `start..start + rows`, as a batch of their own.
    fn logits(&mut self, cpu: Cpu<'_>, start: usize, rows: usize) -> Vec<T> {
        let Self { network, params, buffers, inputs } = self;
        let mut workspace = Workspace::new(network, cpu, rows).unwrap();
        let inputs = &inputs[start * network.inputs()..][..rows * network.inputs()];
        network.forward(cpu, Weights { params, buffers }, inputs, &mut workspace).unwrap().to_vec()
    }
}

/// Compares batches of 1 to 64 rows with the same rows of a large batch.
fn no_logit_depends_on_its_batch<T: Float>(precision: Precision) {
    let pool = ThreadPool::new(2).unwrap();
    for &preset in Preset::value_variants() {
        // Sparse operands reach the first dense layer, that of the default preset.
        for sparse_inputs in if preset == Preset::Mlp { &[false, true][..] } else { &[false] } {
            let compute = Compute { precision, sparse_inputs: *sparse_inputs };
            let large = large_batch::<T>(preset, precision);
            let mut model = Model::<T>::new(preset, compute, large);
            let all = pool.enter(|| model.logits(Cpu::new(Isa::detect(), &pool), 0, large));
            assert!(
                all.iter().all(|x| x.to_f64().is_finite()),
                "{}: non-finite logits",
                preset.name()
            );
            let mut compare = |cpu: Cpu<'_>, start: usize, rows: usize| {
                let got = model.logits(cpu, start, rows);
                let expected = &all[start * CLASSES..][..rows * CLASSES];
                let threads = cpu.executor.threads();
                assert!(
                    got.iter()
                        .zip(expected)
                        .all(|(x, y)| x.to_f64().to_bits() == y.to_f64().to_bits()),
                    "{}: rows {start} to {}, {}, {threads} threads, {compute:?}",
                    preset.name(),
                    start + rows,
                    cpu.isa,
                );
            };
            for isa in Isa::available() {
                let serial = Cpu::serial(isa);
                if isa == Isa::detect() {
                    [1, 2, 7, 33].into_iter().for_each(|rows| compare(serial, 0, rows));
                    // Two threads may split k.
                    pool.enter(|| {
                        let threads = Cpu::new(isa, &pool);
                        [1, 2, 64]
                            .into_iter()
                            .for_each(|rows| compare(threads, large - rows, rows));
                    });
                } else if isa.lanes_f32() > 1 {
                    compare(serial, 1, 1);
                    compare(serial, 2, 33);
                } else {
                    // One lane at a time is slow.
                    compare(serial, 0, 2);
                }
            }
        }
    }
}

#[test]
fn no_logit_of_f32_depends_on_its_batch() {
    no_logit_depends_on_its_batch::<f32>(Precision::Full);
}

#[test]
fn no_logit_of_f64_depends_on_its_batch() {
    no_logit_depends_on_its_batch::<f64>(Precision::Full);
}

#[test]
fn no_logit_of_bf16_depends_on_its_batch() {
    no_logit_depends_on_its_batch::<f32>(Precision::Bf16);
}
