//! Products of factors that are rounded to bf16.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use kernels::Cpu;
use kernels::random::{Stream, fill_normal};
use nn::{Activation, Batch, Float, Init, LayerSpec, Mode, Network, Precision, Registry, Shape, Workspace};

const INPUT: Shape = Shape::Steps { steps: 5, features: 12 };

fn layers() -> Vec<LayerSpec> {
    vec![
        LayerSpec::dense(16, Init::HeNormal),
        LayerSpec::Activation(Activation::Relu),
        LayerSpec::Transformer { heads: 2, hidden: 24, dropout: 0.0, causal: false },
        LayerSpec::GlobalPooling,
        LayerSpec::dense(3, Init::HeNormal),
    ]
}

/// Loss and gradient.
fn gradient<T: Float>(precision: Precision) -> (f64, Vec<T>) {
    let cpu = Cpu::detect();
    let network = Network::with_precision(INPUT, &layers(), &Registry::new(), precision).unwrap();
    let mut params = vec![T::ZERO; network.layout().len()];
    network.init(cpu, 3, &mut params).unwrap();
    let mut inputs = vec![T::ZERO; 4 * 60];
    fill_normal(cpu, Stream::new(1, 1), T::ZERO, T::ONE, &mut inputs).unwrap();
    let mut grads = params.clone();
    let mut workspace = Workspace::new(&network, cpu, 4).unwrap();
    let batch = Batch { inputs: &inputs, targets: (&[0, 1, 2, 1]).into() };
    let score = network.gradient(cpu, Mode::Probe, &params, batch, &mut workspace, &mut grads).unwrap();
    (score.mean_loss(), grads)
}

#[test]
fn rounded_factors_change_a_gradient_by_their_rounding() {
    let (loss, exact) = gradient::<f32>(Precision::Full);
    let (rounded_loss, rounded) = gradient::<f32>(Precision::Bf16);
    assert_ne!(exact, rounded);
    // A bf16 has 8 bits; a gradient goes through some ten products.
    assert!((rounded_loss / loss - 1.0).abs() < 10.0 / 256.0, "{loss} {rounded_loss}");
    let norm = |x: &[f32]| x.iter().map(|x| x * x).sum::<f32>().sqrt();
    let apart: Vec<f32> = exact.iter().zip(&rounded).map(|(x, y)| x - y).collect();
    assert!(norm(&apart) < 10.0 / 256.0 * norm(&exact), "{} of {}", norm(&apart), norm(&exact));
}

#[test]
fn in_f64_nothing_is_rounded() {
    assert_eq!(gradient::<f64>(Precision::Full), gradient::<f64>(Precision::Bf16));
}
