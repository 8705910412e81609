//! The doctor in a training loop of one's own: a deep network of sigmoids does not learn, and the
//! record of its first steps says why.
//!
//! ```text
//! cargo run --release -p evenkeel-nn --example diagnosis
//! ```

use doctor::record::{FORMAT, Layer, Model, Step, Tensor, TensorSample};
use doctor::{Record, Settings, judge};
use kernels::random::Stream;
use kernels::{Cpu, norm};
use nn::{Activation, Batch, Init, LayerSpec, Mode, Network, Optimizer, StepSize, Workspace};

const ROWS: usize = 64;
const INPUTS: usize = 16;

fn main() -> Result<(), nn::Error> {
    let cpu = Cpu::detect();
    // Two classes: the sign of the first input.
    let draw = Stream::new(1, 0);
    let inputs: Vec<f32> =
        (0..ROWS * INPUTS).map(|i| 2.0 * draw.uniform_f64(i as u64) as f32 - 1.0).collect();
    let labels: Vec<u32> = inputs.chunks_exact(INPUTS).map(|row| u32::from(row[0] > 0.0)).collect();

    let hidden =
        [LayerSpec::dense(32, Init::GlorotUniform), LayerSpec::Activation(Activation::Sigmoid)];
    let mut layers: Vec<LayerSpec> = std::iter::repeat_n(hidden, 12).flatten().collect();
    layers.push(LayerSpec::dense(2, Init::GlorotUniform));
    let network = Network::new(INPUTS, &layers)?;

    // What is trained: the layers and their tensors.
    let tensors = network.layout().tensors();
    let model = Model {
        format: FORMAT,
        classes: 2,
        loss: "cross_entropy".into(),
        layers: (0..)
            .zip(&layers)
            .map(|(index, layer)| Layer {
                name: format!("layers.{index}"),
                kind: layer.kind().into(),
                ..Layer::default()
            })
            .collect(),
        tensors: tensors
            .iter()
            .map(|tensor| Tensor {
                name: tensor.name.clone(),
                layer: tensor.layer,
                elements: tensor.range.len() as u64,
                weight: tensor.shape.len() > 1,
                ..Tensor::default()
            })
            .collect(),
        ..Model::default()
    };
    let mut record = Record { model, ..Record::default() };

    let mut params = vec![0.0_f32; network.layout().len()];
    let mut grads = params.clone();
    network.init(cpu, 1, &mut params)?;
    let mut workspace = Workspace::new(&network, cpu, ROWS)?;
    let mut optimizer = Optimizer::sgd().start(cpu, network.layout())?;
    let batch = Batch { inputs: &inputs, targets: labels[..].into() };
    for step in 0..200 {
        let mode = Mode::Train { seed: 1, step };
        let score = network.gradient(cpu, mode, &params, batch, &mut workspace, &mut grads)?;
        // What was measured of the step: the norms of every tensor.
        let sample = |tensor: &nn::Tensor| TensorSample {
            grad_norm: norm::norm2(cpu, &grads[tensor.range.clone()]).ok(),
            param_norm: norm::norm2(cpu, &params[tensor.range.clone()]).ok(),
            ..TensorSample::default()
        };
        record.steps.push(Step {
            step: step + 1,
            loss: Some(score.mean_loss()),
            tensors: tensors.iter().map(sample).collect(),
            ..Step::default()
        });
        optimizer.step(cpu, StepSize::new(0.1), &mut params, &grads)?;
    }

    for finding in judge(&record, &Settings::default()).findings {
        println!("{}: {}: {}", finding.severity, finding.id, finding.message);
        let cures: Vec<_> = finding.cures.iter().map(|cure| cure.text()).collect();
        println!("  cures: {}", cures.join("; "));
    }
    Ok(())
}
