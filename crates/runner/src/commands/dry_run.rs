//! `evenkeel train --dry-run`: what a run would train, in numbers, and no training.

use std::fmt::Write;

use kernels::Executor;
use nn::{BranchScale, Cell, LayerSpec, Network, Recurrent, Shape, Workspace, WorkspaceSize};
use serde::Serialize;

use crate::Error;
use crate::commands::output;
use crate::machine::memory::available_bytes;
use crate::run::config::{Dtype, NonFinite};
use crate::run::setup::Setup;
use crate::run::{setup, sizes};

/// What a run would be.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    layers: Vec<Layer>,
    parameters: usize,
    buffers: usize,
    /// What examples are called.
    #[serde(skip)]
    noun: &'static str,
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
    /// The shape of a row of its output.
    output: String,
    parameters: usize,
    /// Of one row, forward.
    flop: f64,
}

/// What a run takes of memory.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Bytes {
    /// The examples.
    data: usize,
    /// Parameters, those of the best epoch, gradients, moments, what health keeps, and whatever else is as large as the parameters.
    parameters: usize,
    /// Activations, their gradients and scratch, of training and of scoring.
    workspace: usize,
}

impl Bytes {
    /// What `setup` takes on that many threads.
    ///
    /// # Errors
    /// [`Error::Network`] if a hyper-parameter is out of range or a group names nothing.
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
        let moments = setup.plan()?.moment_names().len();
        let beside = [config.ema.is_some(), config.lookahead.is_some()]
            .map(usize::from)
            .iter()
            .sum::<usize>();
        let carried = 1 + moments + beside;
        let snapshot = if config.non_finite == NonFinite::Rollback { carried } else { 0 };
        let passing =
            [config.sam.is_some(), config.accumulate > 1].map(usize::from).iter().sum::<usize>();
        // The best epoch's, gradients, and what health keeps.
        let copies = carried + snapshot + passing + 3;
        let of_parameters = network.layout().len().saturating_mul(copies);
        let of_buffers = network.buffers().len().saturating_mul(2);
        Ok(Self {
            data: dataset.train.inputs().size() + dataset.test.inputs().size(),
            parameters: of_parameters.saturating_add(of_buffers).saturating_mul(size),
            workspace: workspace(setup.rows_per_batch(), true)
                .saturating_add(workspace(crate::evaluation::scorer::BATCH, false)),
        })
    }

    /// All of it.
    pub fn total(self) -> usize {
        self.data.saturating_add(self.parameters).saturating_add(self.workspace)
    }
}

/// Prints the plan for `setup`.
///
/// # Errors
/// [`Error::Usage`] if an instruction set or threads are asked for that there are not, or if sizes
/// do not fit (`crate::run::sizes`).
pub fn dry_run(setup: &Setup, json: bool) -> Result<(), Error> {
    sizes::check(setup)?;
    let plan = Plan::new(setup)?;
    if json {
        let text = serde_json::to_string_pretty(&plan);
        return output::print(&text.map_err(|error| Error::Usage(format!("plan: {error}")))?);
    }
    output::print(&plan.text())
}

/// Checks that there is memory for a run: systems grant more than there is, and end the process that comes to use it.
///
/// # Errors
/// [`nn::Error::Memory`] if there is less, as far as that is known; as for [`Bytes::new`].
pub(crate) fn room(setup: &Setup) -> Result<(), Error> {
    let bytes = Bytes::new(setup, setup::threads(&setup.config))?.total();
    match available_bytes() {
        Some(available) if bytes as u64 > available => Err(nn::Error::Memory { bytes }.into()),
        _ => Ok(()),
    }
}

impl Plan {
    /// What `setup` comes to.
    ///
    /// # Errors
    /// As for [`dry_run`].
    pub fn new(setup: &Setup) -> Result<Self, Error> {
        let Setup { config, dataset, split, network } = setup;
        let (isa, pool) = (setup::isa(config)?, setup::pool(config)?);
        let layers = layers(network, config.layers.as_deref().unwrap_or_default());

        // Backward is two products where forward is one, but for the first layer: nobody asks for the gradient of the images.
        let forward: f64 = layers.iter().map(|layer| layer.flop).sum();
        let first = layers.iter().map(|layer| layer.flop).find(|flop| *flop > 0.0).unwrap_or(0.0);
        let steps_per_epoch = setup.steps_per_epoch();
        Ok(Self {
            layers,
            parameters: network.layout().len(),
            buffers: network.buffers().len(),
            noun: dataset.train.noun(),
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
            "layer  kind              output                          parameters    FLOP a row"
        );
        for Layer { number, kind, output, parameters, flop } in &self.layers {
            let _ = writeln!(
                text,
                "{number:>5}  {kind:<16}  {output:<30}  {parameters:>10}  {:>12}",
                amount(*flop)
            );
        }
        let (Bytes { data, parameters, workspace }, noun) = (self.bytes, self.noun);
        let megabytes = |bytes: usize| format!("{:.1} MB", bytes as f64 / 1e6);
        let _ = write!(
            text,
            "\n{} parameters, {} buffers\n{} {noun}, {} steps an epoch, {} in all\n{}FLOP a step, on {} threads with {}\n\
             memory: {noun} {}, parameters with gradients and moments {}, activations {}",
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

/// `1.2 G`.
fn amount(value: f64) -> String {
    let units = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    match units.iter().find(|(unit, _)| value >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", value / unit),
        None => format!("{value:.0} "),
    }
}

/// The layers of `network`, which were made of `specs`.
fn layers(network: &Network, specs: &[LayerSpec]) -> Vec<Layer> {
    let mut shape = network.input();
    let mut all = Vec::with_capacity(specs.len());
    for ((number, spec), &output) in specs.iter().enumerate().zip(network.sequence().shapes()) {
        let of_layer = network.layout().tensors().iter().filter(|tensor| tensor.layer == number);
        all.push(Layer {
            number,
            kind: spec.kind().into(),
            output: output.to_string().replace(" (height, width, channels)", ""),
            parameters: of_layer.map(|tensor| tensor.range.len()).sum(),
            flop: flop(spec, shape, output),
        });
        shape = output;
    }
    all
}

/// Multiplications and additions of the products in a layer, for one row, forward; what goes element by element is not counted.
fn flop(spec: &LayerSpec, input: Shape, output: Shape) -> f64 {
    let steps = input.positions() as f64;
    let features = input.features() as f64;
    match spec {
        LayerSpec::Dense { units, .. } => {
            // An image is flattened; of a sequence, each step is a row.
            let places = if matches!(input, Shape::Steps { .. }) { steps } else { 1.0 };
            2.0 * input.elements() as f64 / places * *units as f64 * places
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
        LayerSpec::Attention { .. } => attention(steps, features),
        LayerSpec::Transformer { hidden, .. } => {
            attention(steps, features) + 4.0 * steps * features * *hidden as f64
        }
        LayerSpec::Residual { body, shortcut, scale } => {
            let branches =
                [body, shortcut].into_iter().map(|layers| sequence(layers, input)).sum::<f64>();
            let scaled = *scale != BranchScale::default();
            branches + f64::from(u8::from(scaled)) * output.elements() as f64
        }
        _ => 0.0,
    }
}

/// Four projections, the scores, and what they weigh.
fn attention(steps: f64, features: f64) -> f64 {
    8.0 * steps * features * features + 4.0 * steps * steps * features
}

/// Of the layers of a branch, whose shapes a network of them says.
fn sequence(specs: &[LayerSpec], input: Shape) -> f64 {
    let mut shape = input;
    let mut sum = 0.0;
    for at in 0..specs.len() {
        // A beginning without parameters is no network; it changes no shape that counts.
        let output = Network::new(input, &specs[..=at]).map_or(shape, |network| network.output());
        sum += flop(&specs[at], shape, output);
        shape = output;
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
        // 26 x 26 places of 32 filters of 9, 24 x 24 of 64 filters of 288, then 9216 to 128 to 10.
        let lenet = 26.0 * 26.0 * 32.0 * 9.0 + 24.0 * 24.0 * 64.0 * 288.0 + 9216.0 * 128.0 + 1280.0;
        assert_eq!(forward(Preset::Lenet), 2.0 * lenet);
        assert_eq!(forward(Preset::LstmRows), 2.0 * (28.0 * 512.0 * 156.0 + 1280.0));
        // The first residual block of the second stage: two convolutions and a projection.
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
