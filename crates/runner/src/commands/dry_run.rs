//! `evenkeel train --dry-run`: layers, steps, FLOP and memory of a run, without training.

use std::fmt::Write;

use kernels::Executor;
use nn::{
    BranchScale, Cell, Dense, LayerSpec, Network, Recurrent, Residual, Shape, Transformer,
    Workspace, WorkspaceSize,
};
use serde::Serialize;

use crate::Error;
use crate::commands::output;
use crate::machine::memory::available_bytes;
use crate::run::config::{Dtype, NonFinite};
use crate::run::setup::Setup;
use crate::run::{setup, sizes};

/// Layers, steps, FLOP and memory of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    layers: Vec<Layer>,
    parameters: usize,
    buffers: usize,
    /// Unit name of an example, such as `images`.
    #[serde(skip)]
    unit_name: &'static str,
    images: usize,
    steps_per_epoch: u64,
    steps: u64,
    threads: usize,
    isa: String,
    /// Multiplications and additions of a full step, forward and backward.
    flop_per_step: f64,
    bytes: Bytes,
}

#[derive(Clone, Debug, Serialize)]
struct Layer {
    number: usize,
    kind: String,
    /// Shape of the output for one example.
    output: String,
    parameters: usize,
    /// Multiplications and additions for one example, forward.
    flop: f64,
}

/// Memory of a run.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Bytes {
    /// Examples.
    data: usize,
    /// Parameters, best parameters, gradients, moments, the health probe's copy, and all other
    /// copies of the parameters.
    parameters: usize,
    /// Activations, their gradients and scratch, of training and of scoring.
    workspace: usize,
}

impl Bytes {
    /// Memory of `setup` on `threads` threads.
    ///
    /// # Errors
    /// [`Error::Network`] if a hyper-parameter is out of range or a group matches no tensor.
    pub fn new(setup: &Setup, threads: usize) -> Result<Self, Error> {
        let Setup { config, dataset, network, .. } = setup;
        let size = match config.dtype {
            Dtype::F64 => size_of::<f64>(),
            _ => size_of::<f32>(),
        };
        let workspace = |rows, trains| {
            let size = WorkspaceSize { rows, threads, trains };
            match config.dtype {
                Dtype::F64 => Workspace::<f64>::bytes(network, size),
                _ => Workspace::<f32>::bytes(network, size),
            }
        };
        let count = |options: [bool; 2]| options.into_iter().filter(|&is_set| is_set).count();
        let moments = setup.plan()?.moment_names().len();
        // The state of a step: parameters, moments, moving average, slow weights.
        let state = 1 + moments + count([config.ema.is_some(), config.lookahead.is_some()]);
        let rollback = if config.non_finite == NonFinite::Rollback { state } else { 0 };
        // Buffers within a step: of SAM, and of accumulated gradients.
        let within_step = count([config.sam.is_some(), config.accumulate > 1]);
        // And three more: the best epoch's parameters, gradients, and the health probe's copy.
        let copies = state + rollback + within_step + 3;
        let parameters = network.layout().len().saturating_mul(copies);
        let buffers = network.buffers().len().saturating_mul(2);
        Ok(Self {
            data: dataset.train.inputs().size() + dataset.test.inputs().size(),
            parameters: parameters.saturating_add(buffers).saturating_mul(size),
            workspace: workspace(setup.rows_per_batch(), true)
                .saturating_add(workspace(crate::evaluation::scorer::BATCH, false)),
        })
    }

    /// Sum of all parts.
    pub fn total(self) -> usize {
        self.data.saturating_add(self.parameters).saturating_add(self.workspace)
    }
}

/// Prints the plan of `setup`.
///
/// # Errors
/// [`Error::Usage`] if this machine lacks the instruction set, or if sizes do not fit
/// (`crate::run::sizes`); [`Error::ThreadPool`] if it cannot start the threads.
pub fn dry_run(setup: &Setup, json: bool) -> Result<(), Error> {
    sizes::check(setup)?;
    let plan = Plan::new(setup)?;
    if json {
        let text = serde_json::to_string_pretty(&plan);
        return output::print(&text.map_err(|error| Error::Usage(format!("plan: {error}")))?);
    }
    output::print(&plan.text())
}

/// Checks that the machine has the memory of a run. Operating systems grant more than they have,
/// and kill the process that uses it.
///
/// # Errors
/// [`nn::Error::Memory`] if less memory is available, where that is known; as for [`Bytes::new`].
pub(crate) fn check_memory(setup: &Setup) -> Result<(), Error> {
    let bytes = Bytes::new(setup, setup::threads(&setup.config))?.total();
    match available_bytes() {
        Some(available) if bytes as u64 > available => Err(nn::Error::Memory { bytes }.into()),
        _ => Ok(()),
    }
}

impl Plan {
    /// Plan of the run `setup`.
    ///
    /// # Errors
    /// As for [`dry_run`].
    pub fn new(setup: &Setup) -> Result<Self, Error> {
        let Setup { config, dataset, split, network } = setup;
        let (isa, pool) = (setup::isa(config)?, setup::pool(config)?);
        let layers = layers(network, config.layers.as_deref().unwrap_or_default());

        // Backward computes two products where forward computes one. The first layer computes one:
        // inputs need no gradient.
        let forward: f64 = layers.iter().map(|layer| layer.flop).sum();
        let first = layers.iter().map(|layer| layer.flop).find(|flop| *flop > 0.0).unwrap_or(0.0);
        let steps_per_epoch = setup.steps_per_epoch();
        Ok(Self {
            layers,
            parameters: network.layout().len(),
            buffers: network.buffers().len(),
            unit_name: dataset.train.noun(),
            images: setup.rows_per_epoch(),
            steps_per_epoch,
            steps: steps_per_epoch * u64::from(config.epochs),
            threads: pool.threads(),
            isa: isa.name().into(),
            flop_per_step: (config.images_per_step() as f64).min(split.train.len() as f64)
                * (3.0 * forward - first),
            bytes: Bytes::new(setup, pool.threads())?,
        })
    }

    /// Multiplications and additions of a full step, forward and backward.
    pub fn flop_per_step(&self) -> f64 {
        self.flop_per_step
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(
            text,
            "layer  kind              output                          parameters  FLOP per row"
        );
        for Layer { number, kind, output, parameters, flop } in &self.layers {
            let _ = writeln!(
                text,
                "{number:>5}  {kind:<16}  {output:<30}  {parameters:>10}  {:>12}",
                amount(*flop)
            );
        }
        let (Bytes { data, parameters, workspace }, unit_name) = (self.bytes, self.unit_name);
        let megabytes = |bytes: usize| format!("{:.1} MB", bytes as f64 / 1e6);
        let _ = write!(
            text,
            "\n{} parameters, {} buffers\n\
             {} {unit_name}, {} steps per epoch, {} in all\n\
             {}FLOP per step, on {} threads with {}\n\
             memory: {unit_name} {}, parameters with gradients and moments {}, activations {}",
            self.parameters,
            self.buffers,
            self.images,
            self.steps_per_epoch,
            self.steps,
            amount(self.flop_per_step),
            self.threads,
            self.isa,
            megabytes(data),
            megabytes(parameters),
            megabytes(workspace),
        );
        text
    }
}

/// `value` with a unit prefix: `1.2 G`.
fn amount(value: f64) -> String {
    let units = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    match units.iter().find(|(unit, _)| value >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", value / unit),
        None => format!("{value:.0} "),
    }
}

/// Layers of `network`, which is built from `specs`.
fn layers(network: &Network, specs: &[LayerSpec]) -> Vec<Layer> {
    let mut input = network.input();
    let mut layers = Vec::with_capacity(specs.len());
    for ((number, spec), &output) in specs.iter().enumerate().zip(network.sequence().shapes()) {
        let tensors = network.layout().tensors().iter().filter(|tensor| tensor.layer == number);
        layers.push(Layer {
            number,
            kind: spec.kind().into(),
            output: output.to_string().replace(" (height, width, channels)", ""),
            parameters: tensors.map(|tensor| tensor.range.len()).sum(),
            flop: flop(spec, input, output),
        });
        input = output;
    }
    layers
}

/// Multiplications and additions of a layer's products, for one example, forward. Elementwise
/// operations are not counted.
fn flop(spec: &LayerSpec, input: Shape, output: Shape) -> f64 {
    let steps = input.positions() as f64;
    let features = input.features() as f64;
    match spec {
        LayerSpec::Dense(Dense { units, .. }) => {
            // An image is flattened to one row; each step of a sequence is a row.
            let rows = if matches!(input, Shape::Steps { .. }) { steps } else { 1.0 };
            2.0 * input.elements() as f64 / rows * *units as f64 * rows
        }
        LayerSpec::Convolution(spec) => {
            let taps =
                (spec.kernel[0] * spec.kernel[1]) as f64 * features / spec.groups.max(1) as f64;
            2.0 * taps * output.elements() as f64
        }
        LayerSpec::Recurrent(Recurrent { cell, units, .. }) => {
            let gates = match cell {
                Cell::Rnn { .. } => 1.0,
                Cell::Lstm => 4.0,
                Cell::Gru => 3.0,
            };
            2.0 * steps * gates * *units as f64 * (features + *units as f64)
        }
        LayerSpec::Attention(_) => attention(steps, features),
        LayerSpec::Transformer(Transformer { hidden, .. }) => {
            attention(steps, features) + 4.0 * steps * features * *hidden as f64
        }
        LayerSpec::Residual(Residual { body, shortcut, scale }) => {
            let branches =
                [body, shortcut].into_iter().map(|layers| branch(layers, input)).sum::<f64>();
            let scaled = *scale != BranchScale::default();
            branches + f64::from(u8::from(scaled)) * output.elements() as f64
        }
        _ => 0.0,
    }
}

/// FLOP of an attention layer: four projections, `Q K^T`, and scores times V.
fn attention(steps: f64, features: f64) -> f64 {
    8.0 * steps * features * features + 4.0 * steps * steps * features
}

/// FLOP of a residual layer's branch.
fn branch(specs: &[LayerSpec], mut input: Shape) -> f64 {
    let first = input;
    let mut sum = 0.0;
    for last in 0..specs.len() {
        // `Network::new` gives the output shape of layers 0 to `last`. It refuses layers without
        // parameters; these count no FLOP, and change no shape that does.
        let output = Network::new(first, &specs[..=last]).map_or(input, |network| network.output());
        sum += flop(&specs[last], input, output);
        input = output;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::preset::Preset;

    const IMAGE: Shape = Shape::Image { height: 28, width: 28, channels: 1 };

    fn plan(preset: Preset) -> Vec<Layer> {
        let specs = preset.layers(10);
        layers(&Network::new(IMAGE, &specs).expect("layers that fit"), &specs)
    }

    #[test]
    fn products_are_counted() {
        let forward = |preset| plan(preset).iter().map(|layer| layer.flop).sum::<f64>();
        assert_eq!(forward(Preset::Logistic), 2.0 * 7840.0);
        assert_eq!(forward(Preset::Mlp), 2.0 * (784.0 * 512.0 + 5120.0));
        // 26 x 26 positions of 32 filters of 9, 24 x 24 of 64 filters of 288, then 9216 to 128 to
        // 10.
        let lenet = 26.0 * 26.0 * 32.0 * 9.0 + 24.0 * 24.0 * 64.0 * 288.0 + 9216.0 * 128.0 + 1280.0;
        assert_eq!(forward(Preset::Lenet), 2.0 * lenet);
        assert_eq!(forward(Preset::LstmRows), 2.0 * (28.0 * 512.0 * 156.0 + 1280.0));
        // First residual block of the second stage: two convolutions and a projection.
        let resnet = plan(Preset::Resnet);
        let block =
            resnet.iter().filter(|layer| layer.kind == "residual").nth(1).expect("four blocks");
        assert_eq!(block.flop, 2.0 * 14.0 * 14.0 * 32.0 * (9.0 * 16.0 + 9.0 * 32.0 + 16.0));
    }

    #[test]
    fn every_layer_is_listed_with_its_shape() {
        let lenet = plan(Preset::Lenet);
        assert_eq!(lenet.len(), Preset::Lenet.layers(10).len());
        assert_eq!(lenet[1].kind, "relu");
        assert_eq!(lenet[1].output, "an image of 26 x 26 x 32");
        assert_eq!(lenet.iter().map(|layer| layer.parameters).sum::<usize>(), 1_199_882);
        assert_eq!([0.0, 999.0, 1e3, 2.5e9].map(amount), ["0 ", "999 ", "1.0 k", "2.5 G"]);
    }
}
