//! Trains a classifier of 8 x 8 images: `cargo run --release -p evenkeel-nn --example mnist`.
//!
//! The images are generated, so that the example needs no files: a fixed random prototype per
//! class, with noise. Replace `images` by your own data, such as MNIST's 28 x 28 pixels.

use kernels::Cpu;
use kernels::random::{Stream, fill_normal};
use nn::{
    Activation, Batch, Convolution, Error, Flatten, Init, LayerSpec, Mode, Network, Optimizer,
    Progress, Schedule, Score, Shape, StepSize, Workspace,
};

const CLASSES: usize = 10;
const PIXELS: usize = 8 * 8;
const BATCH: usize = 32;

/// `count` images, `[count, 8, 8, 1]`, with their labels. A function of `seed`.
fn images(cpu: Cpu<'_>, seed: u64, count: usize) -> Result<(Vec<f32>, Vec<u32>), Error> {
    let mut prototypes = vec![0.0_f32; CLASSES * PIXELS];
    fill_normal(cpu, Stream::new(1, 0), 0.0, 1.0, &mut prototypes)?;
    let mut pixels = vec![0.0_f32; count * PIXELS];
    fill_normal(cpu, Stream::new(seed, 0), 0.0, 2.0, &mut pixels)?;
    let labels: Vec<u32> = (0..count).map(|row| (row % CLASSES) as u32).collect();
    for (image, &label) in pixels.chunks_mut(PIXELS).zip(&labels) {
        let prototype = &prototypes[label as usize * PIXELS..][..PIXELS];
        image.iter_mut().zip(prototype).for_each(|(pixel, mean)| *pixel += mean);
    }
    Ok((pixels, labels))
}

fn main() -> Result<(), Error> {
    let (cpu, seed, epochs) = (Cpu::detect(), 42, 5);
    let (train, train_labels) = images(cpu, 2, 2048)?;
    let (test, test_labels) = images(cpu, 3, 512)?;

    let relu = LayerSpec::Activation(Activation::Relu);
    let layers = [
        LayerSpec::Convolution(Convolution::same(8, 3)),
        relu.clone(),
        Flatten {}.into(),
        LayerSpec::dense(64, Init::HeNormal),
        relu,
        LayerSpec::dense(CLASSES, Init::GlorotUniform),
    ];
    let network = Network::new(Shape::Image { height: 8, width: 8, channels: 1 }, &layers)?;
    let mut params = vec![0.0_f32; network.layout().len()];
    let mut grads = params.clone();
    network.init(cpu, seed, &mut params)?;
    let mut optimizer = Optimizer::adam().start(cpu, network.layout())?;
    let mut workspace = Workspace::new(&network, cpu, BATCH)?;

    let steps_per_epoch = (train_labels.len() / BATCH) as u64;
    let (schedule, steps) = (Schedule::Cosine { end: 0.0 }, epochs * steps_per_epoch);
    for epoch in 0..epochs {
        let batches = train.chunks(BATCH * PIXELS).zip(train_labels.chunks(BATCH));
        let mut loss = 0.0;
        for (step, (inputs, labels)) in (epoch * steps_per_epoch..).zip(batches) {
            let batch = Batch { inputs, targets: labels.into() };
            let mode = Mode::Train { seed, step };
            let score = network.gradient(cpu, mode, &params, batch, &mut workspace, &mut grads)?;
            let rate = 2e-3 * schedule.factor(cpu, Progress { step, steps, steps_per_epoch });
            optimizer.step(cpu, StepSize::new(rate), &mut params, &grads)?;
            loss += score.mean_loss() / steps_per_epoch as f64;
        }
        let mut score = Score::default();
        for (inputs, labels) in test.chunks(BATCH * PIXELS).zip(test_labels.chunks(BATCH)) {
            let batch = Batch { inputs, targets: labels.into() };
            score += network.evaluate(cpu, &params, batch, &mut workspace)?;
        }
        println!(
            "epoch {}: train loss {loss:.4}, test accuracy {:.4}",
            epoch + 1,
            score.accuracy()
        );
    }
    Ok(())
}
