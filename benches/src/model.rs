//! Whole networks in training and inference, as the program runs them, without its files and
//! reports.
//!
//! ```text
//! gather -> forward -> loss, backward -> clip -> optimizer
//! ```
//!
//! Called by `src/bin/model_ratios.rs`.

use kernels::Cpu;
use kernels::random::Stream;
use nn::{Batch, Clipping, Mode, Optimizer, Plan, Running, StepSize, Workspace};
use runner::data::gather;
use runner::run::config::{Config, Dtype};
use runner::run::preset::Preset;
use runner::run::setup::Setup;
use runner::run::weights::ModelWeights;

const FITS: &str = "the buffers fit the network";

/// A network and its training.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    /// Layers.
    pub preset: Preset,
    /// Images per step.
    pub batch: usize,
    /// The global norm that gradients are clipped to.
    pub clip: Option<f64>,
    /// Steps that take some tenths of a second.
    pub steps: u32,
}

impl Model {
    /// The measured models.
    pub const ALL: [Self; 8] = [
        Self { preset: Preset::Mlp, batch: 128, clip: None, steps: 200 },
        Self { preset: Preset::Mlp, batch: 128, clip: Some(1.0), steps: 200 },
        Self { preset: Preset::Mlp, batch: 32, clip: None, steps: 500 },
        Self { preset: Preset::DeepMlp, batch: 128, clip: Some(1.0), steps: 100 },
        Self { preset: Preset::DeepMlp, batch: 32, clip: Some(1.0), steps: 300 },
        Self { preset: Preset::Lenet, batch: 128, clip: None, steps: 10 },
        Self { preset: Preset::VitTiny, batch: 128, clip: None, steps: 10 },
        Self { preset: Preset::LstmRows, batch: 128, clip: None, steps: 20 },
    ];

    /// Setup of the run that trains it.
    pub fn setup(&self, dtype: Dtype) -> Setup {
        let Self { preset, batch, clip, .. } = *self;
        let config =
            Config { preset, batch: batch as u32, clip_norm: clip, dtype, ..Config::default() };
        Setup::new(config).expect("the defaults are a run")
    }
}

/// A network in training, with buffers allocated once.
pub struct Trainer<'a> {
    setup: &'a Setup,
    cpu: Cpu<'a>,
    weights: ModelWeights<f32>,
    workspace: Workspace<f32>,
    grads: Vec<f32>,
    clipping: Clipping,
    optimizer: Running<f32>,
    order: Vec<u32>,
    at: usize,
    inputs: Vec<f32>,
    labels: Vec<u32>,
    step: u64,
}

impl<'a> Trainer<'a> {
    /// The network of `setup` with initial weights, trained by Adam.
    pub fn new(setup: &'a Setup, cpu: Cpu<'a>) -> Self {
        let Setup { network, config, split, .. } = setup;
        let batch = config.batch as usize;
        let mut order = split.train.clone();
        let random = Stream::new(1, 0);
        for i in (1..order.len()).rev() {
            order.swap(i, (random.uniform_f64(i as u64) * (i + 1) as f64) as usize);
        }
        let plan =
            Plan::new(network.layout(), Optimizer::adam(), &[]).expect("Adam has no demands");
        Self {
            setup,
            cpu,
            weights: ModelWeights::initial(network, cpu, 1).expect(FITS),
            workspace: Workspace::new(network, cpu, batch).expect(FITS),
            grads: vec![0.0; network.layout().len()],
            clipping: Clipping::new(network.layout(), &config.clips(), &[]).expect(FITS),
            optimizer: plan.start(cpu).expect(FITS),
            order,
            at: 0,
            inputs: vec![0.0; batch * network.inputs()],
            labels: vec![0; batch],
            step: 0,
        }
    }

    fn mode(&self) -> Mode {
        Mode::Train { seed: 1, step: self.step }
    }

    /// Gathers the next images as inputs.
    pub fn gather(&mut self) {
        let batch = self.labels.len();
        if self.at + batch > self.order.len() {
            self.at = 0;
        }
        let indices = &self.order[self.at..][..batch];
        let images = &self.setup.dataset.train;
        gather(self.cpu.isa, indices, images, &mut self.inputs).expect(FITS);
        for (label, &index) in self.labels.iter_mut().zip(indices) {
            *label = u32::from(images.labels()[index as usize]);
        }
        self.at += batch;
    }

    /// Computes the logits in training mode.
    pub fn forward(&mut self) {
        let (mode, Self { setup, cpu, weights, workspace, inputs, .. }) = (self.mode(), self);
        setup.network.forward_in(*cpu, mode, weights.view(), inputs, workspace).expect(FITS);
    }

    /// Computes loss and gradient.
    pub fn gradient(&mut self) {
        let (mode, Self { setup, cpu, weights, workspace, grads, inputs, labels, .. }) =
            (self.mode(), self);
        let batch = Batch { inputs, targets: (&labels[..]).into() };
        setup.network.gradient(*cpu, mode, weights.view(), batch, workspace, grads).expect(FITS);
    }

    /// Clips the gradient; returns the scale that the step applies.
    pub fn clip(&mut self) -> f64 {
        let Self { cpu, weights, grads, clipping, .. } = self;
        clipping.clip(*cpu, &weights.params, grads).expect("a gradient that is finite").scale
    }

    /// Takes a step of Adam.
    pub fn descend(&mut self, scale: f64) {
        let Self { cpu, weights, grads, optimizer, .. } = self;
        optimizer
            .step(*cpu, StepSize { rate: 1e-3, scale }, &mut weights.params, grads)
            .expect(FITS);
        self.step += 1;
    }

    /// Runs a whole training step.
    pub fn step(&mut self) {
        self.gather();
        self.gradient();
        let scale = self.clip();
        self.descend(scale);
    }
}

/// A network in inference.
pub struct Predictor<'a> {
    setup: &'a Setup,
    cpu: Cpu<'a>,
    weights: ModelWeights<f32>,
    workspace: Workspace<f32>,
    inputs: Vec<f32>,
}

impl<'a> Predictor<'a> {
    /// The network of `setup` with initial weights, and the first `batch` images.
    pub fn new(setup: &'a Setup, cpu: Cpu<'a>, batch: usize) -> Self {
        let (network, images) = (&setup.network, &setup.dataset.train);
        let indices: Vec<u32> = (0..batch as u32).collect();
        let mut inputs = vec![0.0; batch * network.inputs()];
        gather(cpu.isa, &indices, images, &mut inputs).expect(FITS);
        let weights = ModelWeights::initial(network, cpu, 1).expect(FITS);
        let workspace = Workspace::inference(network, cpu, batch).expect(FITS);
        Self { setup, cpu, weights, workspace, inputs }
    }

    /// The network as an ONNX model, if every layer has a counterpart.
    pub fn onnx(&self) -> Option<Vec<u8>> {
        let layers = self.setup.config.layers.as_deref().expect("it is resolved");
        runner::export::onnx(&self.setup.network, layers, &self.weights).ok()
    }

    /// Computes the logits of the batch once.
    pub fn run(&mut self) {
        let Self { setup, cpu, weights, workspace, inputs } = self;
        setup.network.forward(*cpu, weights.view(), inputs, workspace).expect(FITS);
    }
}
