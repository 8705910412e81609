//! Every preset on batch sizes that divide into blocks of rows differently, on several numbers of
//! threads and every instruction set: the same bits of the gradient.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use clap::ValueEnum;
use kernels::random::{Stream, fill_uniform};
use kernels::{Cpu, Executor as _, Isa};
use nn::{Batch, Compute, LayerSpec, Mode, Network, Registry, Shape, Weights, Workspace};
use runner::machine::thread_pool::ThreadPool;
use runner::run::preset::Preset;

const IMAGE: Shape = Shape::Image { height: 12, width: 12, channels: 1 };
const CLASSES: usize = 3;

/// The loss and the gradient of `rows` images, four in five of whose pixels are 0.
fn gradient(cpu: Cpu<'_>, preset: Preset, sparse_inputs: bool, rows: usize) -> (f64, Vec<u32>) {
    let compute = Compute { sparse_inputs, ..Compute::default() };
    let network = Network::with_compute(IMAGE, &preset.layers(CLASSES), &Registry::new(), compute)
        .unwrap()
        .with_loss(preset.loss());
    let mut params = vec![0.0_f32; network.layout().len()];
    let mut buffers = vec![0.0_f32; network.buffers().len()];
    network.init(cpu, 1, &mut params).unwrap();
    network.init_buffers(cpu, &mut buffers).unwrap();
    let mut inputs = vec![0.0_f32; rows * network.inputs()];
    fill_uniform(cpu, Stream::new(1, 1 << 20), -4.0, 1.0, &mut inputs).unwrap();
    for x in &mut inputs {
        *x = if *x > 0.0 { *x } else { 0.0 };
    }
    let labels: Vec<u32> = (0..rows as u32).map(|row| row % CLASSES as u32).collect();
    let mut workspace = Workspace::new(&network, cpu, rows).unwrap();
    let mut grads = vec![f32::NAN; params.len()];
    let weights = Weights { params: &params, buffers: &mut buffers };
    let batch = Batch { inputs: &inputs, targets: labels[..].into() };
    let score =
        network.gradient(cpu, Mode::Probe, weights, batch, &mut workspace, &mut grads).unwrap();
    (score.loss, grads.into_iter().map(f32::to_bits).collect())
}

/// Clears the sign of zeros for the comparison: skipping zeros may change the sign of a 0 that
/// underflowed, and nothing else.
fn without_signs_of_zeros(bits: Vec<u32>) -> Vec<u32> {
    bits.into_iter().map(|x| if x << 1 == 0 { 0 } else { x }).collect()
}

#[test]
fn no_batch_size_is_beyond_any_preset() {
    // More threads than rows; more than most machines have, for blocks of one row.
    let pools: Vec<ThreadPool> =
        [1, 2, 3, 12].into_iter().map(|threads| ThreadPool::new(threads).unwrap()).collect();
    for &preset in Preset::value_variants() {
        let layers = preset.layers(CLASSES);
        for rows in [1, 2, 17, 33, 64] {
            // Batch statistics of one row are an error.
            if rows == 1 && contains(&layers, "BatchNorm") {
                continue;
            }
            // The first dense layer multiplies sparse rows: the default preset tests every
            // combination.
            let (pools, sparse) = if preset == Preset::Mlp {
                (&pools[..], &[false, true][..])
            } else {
                (&pools[1..2], &[true][..])
            };
            let mut first = None;
            for isa in Isa::available() {
                for pool in pools {
                    for &sparse in sparse {
                        let (loss, grads) =
                            pool.enter(|| gradient(Cpu::new(isa, pool), preset, sparse, rows));
                        let got = (loss.to_bits(), without_signs_of_zeros(grads));
                        let first = first.get_or_insert_with(|| got.clone());
                        let (name, threads) = (preset.name(), pool.threads());
                        assert!(
                            *first == got,
                            "{name}, {rows} rows, {isa}, {threads} threads, sparse: {sparse}"
                        );
                    }
                }
            }
        }
    }
}

/// `true` if `layers`, or layers nested in them, include one of this kind.
fn contains(layers: &[LayerSpec], kind: &str) -> bool {
    format!("{layers:?}").contains(kind)
}
