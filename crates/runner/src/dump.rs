//! `evenkeel dump`: one batch with everything that was computed from it, for other programs to check.
//!
//! | tensor | shape | holds |
//! |---|---|---|
//! | `inputs`, `labels` | (n, inputs), (n) | the first images that are trained on, in the order of the file |
//! | `logits` | (n, classes) | the network's output |
//! | `loss` | () | the mean softmax cross-entropy, in nats |
//! | `param.NAME`, `grad.NAME` | PyTorch's | each parameter, and the mean loss's gradient by it |
//!
//! Gradients are those of the mean loss, before clipping and decay. Nothing is augmented or dropped.

use std::io::Write;
use std::path::PathBuf;

use kernels::Cpu;
use nn::Workspace;

use crate::config::{Config, Dtype, require};
use crate::data::DataError;
use crate::data::replace::replace;
use crate::element::Element;
use crate::rows::Rows;
use crate::run_folder::{self, RunFolder};
use crate::setup::{self, Setup};
use crate::tensors::{self, Array};
use crate::{Error, weights};

/// How layers that behave differently while training are to behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// As when the network is used.
    Eval,
    /// As in a training step.
    Train,
}

/// What `dump` is asked to do.
#[derive(Clone, Debug)]
pub struct Request {
    /// Whose parameters.
    pub source: Source,
    /// How many images.
    pub samples: usize,
    /// The type to compute in; `None` for the configuration's.
    pub dtype: Option<Dtype>,
    /// Dense layers and ReLUs do the same in both modes.
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
    let (folder, config) = match &request.source {
        Source::Run(folder) => {
            let folder = RunFolder::open(folder)?;
            let config = Config::read(&folder.file(run_folder::CONFIG))?;
            (Some(folder), config)
        }
        Source::Initial(config) => (None, (**config).clone()),
    };
    let isa = setup::isa(&config)?;
    let setup = Setup::new(config)?;
    let images = setup.split.train.len();
    let allowed = (1..=images).contains(&request.samples);
    require("samples", request.samples, allowed, &format!("1 to the {images} images that are trained on"))?;
    let pool = setup::pool(&setup.config)?;
    let cpu = Cpu::new(isa, &pool);
    let folder = folder.as_ref();
    let bytes = pool.enter(|| match request.dtype.unwrap_or(setup.config.dtype) {
        Dtype::F32 => contents::<f32>(folder, &setup, cpu, request.samples),
        Dtype::F64 => contents::<f64>(folder, &setup, cpu, request.samples),
    })?;
    replace(&request.out, |file| {
        file.write_all(&bytes).map_err(|error| DataError::io("write", &request.out)(error).into())
    })
}

/// The bytes of the file.
fn contents<T: Element>(
    folder: Option<&RunFolder>,
    setup: &Setup,
    cpu: Cpu<'_>,
    samples: usize,
) -> Result<Vec<u8>, Error> {
    let Setup { config, dataset, split, network } = setup;
    let layout = network.layout();
    let params: Vec<T> = match (folder, config.dtype) {
        (Some(folder), Dtype::F32) => {
            converted(&weights::read::<f32>(&folder.file(run_folder::MODEL), layout)?.0)
        }
        (Some(folder), Dtype::F64) => {
            converted(&weights::read::<f64>(&folder.file(run_folder::MODEL), layout)?.0)
        }
        (None, Dtype::F32) => converted(&initial::<f32>(setup, cpu)?),
        (None, Dtype::F64) => converted(&initial::<f64>(setup, cpu)?),
    };
    let mut rows = Rows::<T>::new(samples, network.inputs());
    let (pixels, labels) = rows.fill(&dataset.train, &split.train[..samples])?;
    let mut workspace = Workspace::new(network, cpu, samples);
    let mut grads = vec![T::ZERO; layout.len()];
    let score = network.gradient(cpu, &params, pixels, labels, &mut workspace, &mut grads)?;
    let logits = network.forward(cpu, &params, pixels, &mut workspace)?;
    let mut arrays = vec![
        ("inputs".to_owned(), Array::new(&[samples, network.inputs()], pixels)),
        ("labels".to_owned(), Array::classes(labels)),
        ("logits".to_owned(), Array::new(&[samples, network.outputs()], logits)),
        ("loss".to_owned(), Array::new(&[], &[T::from_f64(score.mean_loss())])),
    ];
    arrays.extend(weights::arrays(layout, &params, "param."));
    arrays.extend(weights::arrays(layout, &grads, "grad."));
    tensors::encode(&arrays, None)
}

fn initial<T: Element>(setup: &Setup, cpu: Cpu<'_>) -> Result<Vec<T>, Error> {
    let mut params = vec![T::ZERO; setup.network.layout().len()];
    setup.network.init(cpu, setup.config.seed, &mut params)?;
    Ok(params)
}

fn converted<S: Element, T: Element>(values: &[S]) -> Vec<T> {
    values.iter().map(|value| T::from_f64(value.to_f64())).collect()
}
