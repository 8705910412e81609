//! `evenkeel dump`: one batch with logits, loss, parameters and gradients, for other programs to
//! check.
//!
//! | tensor | shape | holds |
//! |---|---|---|
//! | `inputs`, `labels` | (n, inputs), (n) | first training examples, in the order of the file |
//! | `logits` | (n, classes) | output of the network |
//! | `loss` | () | mean loss, in nats for the cross-entropy |
//! | `param.NAME`, `grad.NAME` | PyTorch's | each parameter, and the gradient of the mean loss |
//!
//! Gradients are taken before clipping and decay, without augmentation and dropout.

use std::path::PathBuf;

use kernels::Cpu;
use nn::Workspace;

use crate::Error;
use crate::data::element::Element;
use crate::data::replace::replace_with;
use crate::run::batch::BatchBuffers;
use crate::run::config::{Config, Dtype, require};
use crate::run::folder::RunFolder;
use crate::run::setup::Setup;
use crate::run::tensors::Array;
use crate::run::weights::ModelWeights;
use crate::run::{folder, setup, tensors, weights};
use crate::training::initial;

/// Mode of layers that behave differently in training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// As in inference.
    Eval,
    /// As in a training step, but without dropout.
    Train,
}

/// Options of `dump`.
#[derive(Clone, Debug)]
pub struct Request {
    /// Source of the parameters.
    pub source: Source,
    /// Number of examples.
    pub samples: usize,
    /// Type to compute in; `None` for the configuration's.
    pub dtype: Option<Dtype>,
    /// Instruction set; `None` for the configuration's.
    pub isa: Option<String>,
    /// Number of threads; `None` for the configuration's.
    pub threads: Option<usize>,
    /// Mode of the network's layers.
    pub mode: Mode,
    /// File to write.
    pub out: PathBuf,
}

/// Source of the dumped parameters.
#[derive(Clone, Debug)]
pub enum Source {
    /// `model.safetensors` of this run folder, converted to the type to compute in: widened
    /// exactly, or rounded.
    Run(PathBuf),
    /// Initial parameters of a run of this configuration.
    Initial(Box<Config>),
}

/// Computes the batch, and writes the file.
///
/// # Errors
/// [`Error`], if run, data or file cannot be read or written.
pub fn dump(request: &Request) -> Result<(), Error> {
    let (folder, mut config) = match &request.source {
        Source::Run(folder) => {
            let folder = RunFolder::open(folder)?;
            folder::model(&folder)?;
            let config = Config::read(&folder.file(folder::CONFIG))?;
            (Some(folder), config)
        }
        Source::Initial(config) => (None, (**config).clone()),
    };
    if (request.dtype, config.dtype) == (Some(Dtype::F32), Dtype::Bf16) {
        config.dtype = Dtype::F32;
    }
    config.isa = request.isa.clone().unwrap_or(config.isa);
    config.threads = request.threads.or(config.threads);
    let isa = setup::isa(&config)?;
    let setup = match &folder {
        Some(folder) => Setup::of_run(config, folder)?,
        None => Setup::new(config)?,
    };
    let (count, noun) = (setup.split.train.len(), setup.dataset.train.noun());
    let allowed = (1..=count).contains(&request.samples);
    require(
        "samples",
        request.samples,
        allowed,
        &format!("1 to the {count} {noun} that are trained on"),
    )?;
    let pool = setup::pool(&setup.config)?;
    let cpu = Cpu::new(isa, &pool);
    let folder = folder.as_ref();
    let bytes = pool.enter(|| match request.dtype.unwrap_or(setup.config.dtype) {
        Dtype::F32 | Dtype::Bf16 => contents::<f32>(folder, &setup, cpu, request),
        Dtype::F64 => contents::<f64>(folder, &setup, cpu, request),
    })?;
    Ok(replace_with(&request.out, &bytes)?)
}

/// Computes the batch, and returns the bytes of the file.
fn contents<T: Element>(
    folder: Option<&RunFolder>,
    setup: &Setup,
    cpu: Cpu<'_>,
    request: &Request,
) -> Result<Vec<u8>, Error> {
    let samples = request.samples;
    let mode = match request.mode {
        Mode::Eval => nn::Mode::Eval,
        Mode::Train => nn::Mode::Probe,
    };
    let Setup { config, dataset, split, network } = setup;
    let layout = network.layout();
    let mut weights: ModelWeights<T> = match (folder, config.dtype) {
        (Some(folder), Dtype::F32 | Dtype::Bf16) => {
            weights::read::<f32>(&folder::model(folder)?, network)?.0.converted()
        }
        (Some(folder), Dtype::F64) => {
            weights::read::<f64>(&folder::model(folder)?, network)?.0.converted()
        }
        (None, Dtype::F32 | Dtype::Bf16) => initial::weights::<f32>(setup, cpu)?.converted(),
        (None, Dtype::F64) => initial::weights::<f64>(setup, cpu)?.converted(),
    };
    let mut rows = BatchBuffers::<T>::new(cpu.isa, samples, network.inputs())?;
    let batch = rows.fill(&dataset.train, &split.train[..samples])?;
    let labels = match batch.targets {
        nn::Targets::Labels(labels) => Array::classes(labels),
        nn::Targets::Values(values) => Array::new(&[samples], values),
    };
    let mut workspace = Workspace::new(network, cpu, samples)?;
    let mut grads = nn::zeros(layout.len())?;
    let score = network.gradient(cpu, mode, weights.view(), batch, &mut workspace, &mut grads)?;
    let logits = workspace.outputs(network, samples);
    let mut arrays = vec![
        ("inputs".to_owned(), Array::new(&[samples, network.inputs()], batch.inputs)),
        ("labels".to_owned(), labels),
        ("logits".to_owned(), Array::new(&[samples, network.outputs()], logits)),
        ("loss".to_owned(), Array::new(&[], &[T::from_f64(score.mean_loss())])),
    ];
    arrays.extend(weights::arrays(layout, &weights.params, "param."));
    arrays.extend(weights::arrays(layout, &grads, "grad."));
    tensors::encode(&arrays, None)
}
