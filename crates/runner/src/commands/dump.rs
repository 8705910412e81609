//! `evenkeel dump`: one batch with everything that was computed from it, for other programs to check.
//!
//! | tensor | shape | holds |
//! |---|---|---|
//! | `inputs`, `labels` | (n, inputs), (n) | the first examples that are trained on, in the order of the file |
//! | `logits` | (n, classes) | the network's output |
//! | `loss` | () | the mean softmax cross-entropy, in nats |
//! | `param.NAME`, `grad.NAME` | PyTorch's | each parameter, and the mean loss's gradient by it |
//!
//! Gradients are those of the mean loss, before clipping and decay. Nothing is augmented or dropped.

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

/// How layers that behave differently while training are to behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// As in inference.
    Eval,
    /// As in a training step, but without dropout.
    Train,
}

/// What `dump` is asked to do.
#[derive(Clone, Debug)]
pub struct Request {
    /// Whose parameters.
    pub source: Source,
    /// How many examples.
    pub samples: usize,
    /// The type to compute in; `None` for the configuration's.
    pub dtype: Option<Dtype>,
    /// The instruction set; `None` for the configuration's.
    pub isa: Option<String>,
    /// Number of threads; `None` for the configuration's.
    pub threads: Option<usize>,
    /// As what the network is run.
    pub mode: Mode,
    /// The file to write.
    pub out: PathBuf,
}

/// Whose parameters are dumped.
#[derive(Clone, Debug)]
pub enum Source {
    /// Those of `model.safetensors` in this run folder, in another type if need be: widened exactly, or rounded.
    Run(PathBuf),
    /// Those that a run of this configuration begins with.
    Initial(Box<Config>),
}

/// Does it.
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

/// The bytes of the file.
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
