//! Norms of the gradients through the depth of a network, at initialisation:
//! `cargo run --release -p evenkeel-nn --example vanishing`.
//!
//! Three networks of 20 hidden layers see the same batch. With sigmoids the gradient vanishes
//! towards the first layer. With weights that are too large it explodes in all layers. With ReLU
//! and He's initialisation it keeps its size.

use kernels::random::{Stream, fill_normal};
use kernels::{Cpu, norm};
use nn::{Activation, Batch, Error, Init, LayerSpec, Mode, Network, Workspace};

const DEPTH: usize = 20;
const WIDTH: usize = 64;
const ROWS: usize = 32;
const CLASSES: usize = 10;

/// Euclidean norm of the gradient of each layer's weights, from the first layer to the last.
fn gradient_norms(cpu: Cpu<'_>, activation: Activation, init: Init) -> Result<Vec<f64>, Error> {
    let hidden = [LayerSpec::dense(WIDTH, init), LayerSpec::Activation(activation)];
    let mut layers: Vec<LayerSpec> = std::iter::repeat_n(hidden, DEPTH).flatten().collect();
    layers.push(LayerSpec::dense(CLASSES, Init::GlorotUniform));
    let network = Network::new(WIDTH, &layers)?;

    let mut params = vec![0.0_f32; network.layout().len()];
    let mut grads = params.clone();
    network.init(cpu, 42, &mut params)?;
    let mut inputs = vec![0.0; ROWS * WIDTH];
    fill_normal(cpu, Stream::new(7, 0), 0.0, 1.0, &mut inputs)?;
    let labels: Vec<u32> = (0..ROWS).map(|row| (row % CLASSES) as u32).collect();
    let batch = Batch { inputs: &inputs, targets: labels[..].into() };
    let mut workspace = Workspace::new(&network, cpu, ROWS)?;
    let mode = Mode::Train { seed: 42, step: 0 };
    network.gradient(cpu, mode, &params, batch, &mut workspace, &mut grads)?;

    let weights =
        network.layout().tensors().iter().filter(|tensor| tensor.name.ends_with("weight"));
    weights.map(|tensor| Ok(norm::norm2(cpu, &grads[tensor.range.clone()])?)).collect()
}

fn main() -> Result<(), Error> {
    let cpu = Cpu::detect();
    for (name, activation, init) in [
        ("sigmoid, Glorot", Activation::Sigmoid, Init::GlorotUniform),
        ("ReLU, weights too large", Activation::Relu, Init::Normal { std: 0.5 }),
        ("ReLU, He", Activation::Relu, Init::HeNormal),
    ] {
        let norms = gradient_norms(cpu, activation, init)?;
        println!("{name}: first layer over last {:.1e}", norms[0] / norms[DEPTH]);
        for (layer, norm) in norms.iter().enumerate().step_by(5) {
            println!("    layer {layer:>2}: {norm:.2e}");
        }
    }
    Ok(())
}
