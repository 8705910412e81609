//! From a configuration to what a command works on: data, split, network, and what they are computed with.
//!
//! `train`, `eval` and `dump` begin here.

use std::thread;

use kernels::Isa;
use nn::{Compute, LayerSpec, Network, Registry, Shape, Tensor};
use sha2::{Digest, Sha256};

use crate::Error;
use crate::config::{Config, Source, hex};
use crate::data::{self, Choice, Dataset, Request, Split, Terminal, generated};
use crate::pool::Pool;

/// A configuration with everything that it stands for.
#[derive(Debug)]
pub struct Setup {
    /// The configuration, resolved.
    pub config: Config,
    /// The images.
    pub dataset: Dataset,
    /// Which training images are trained on, and which held out.
    pub split: Split,
    /// The network.
    pub network: Network,
}

impl Setup {
    /// Loads the data that `config` asks for, resolves it, and builds the network. Notices go to stderr.
    ///
    /// # Errors
    /// A value of the configuration that is out of range or does not fit the data, or data that cannot be had.
    pub fn new(mut config: Config) -> Result<Self, Error> {
        config.check()?;
        let dataset = load(&config)?;
        config.resolve(&dataset)?;
        let held_out = config.validation.unwrap_or_default();
        let usable = held_out > 0 && (held_out as usize) < dataset.train.len();
        if !usable {
            return Err(Error::Usage(format!(
                "validation: expected 1 to {} of the {} training images, got {held_out} (key `validation`)",
                dataset.train.len().saturating_sub(1),
                dataset.train.len(),
            )));
        }
        let split = Split::stratified(&dataset.train, held_out, config.seed)
            .map_err(|error| Error::Usage(error.to_string()))?;
        let layers = config.layers.as_deref().unwrap_or_default();
        let [_, height, width] = dataset.train.dims().map(|dim| dim as usize);
        let input = Shape::Image { height, width, channels: 1 };
        let network = network(&config, input, layers, is_sparse(&dataset))?;
        let network = network.with_loss(config.loss.unwrap_or_default());
        if network.outputs() < dataset.classes {
            return Err(Error::Usage(format!(
                "layers: expected at least {} outputs, one for each class of {}, got {} (key `layers`)",
                dataset.classes,
                dataset.name,
                network.outputs()
            )));
        }
        Ok(Self { config, dataset, split, network })
    }

    /// Units from input to output, `784-512-10`; of a network that is more than dense layers, the two ends of it, `784-...-10`.
    pub fn widths(&self) -> String {
        let (network, tensors) = (&self.network, self.network.layout().tensors());
        let is_dense = |tensor: &Tensor| match tensor.name.split('.').collect::<Vec<_>>()[..] {
            [_, _, "weight"] => tensor.shape.len() == 2,
            [_, _, name] => name == "bias",
            _ => false,
        };
        if !tensors.iter().all(is_dense) {
            return format!("{}-...-{}", network.inputs(), network.outputs());
        }
        let dense = tensors.iter().filter(|tensor| tensor.shape.len() == 2);
        let widths = dense.map(|tensor| format!("-{}", tensor.shape[1])).collect::<String>();
        format!("{}{widths}", network.inputs())
    }

    /// SHA-256 over every image and label: what a checkpoint is tied to.
    pub fn data_sha256(&self) -> String {
        let mut hash = Sha256::new();
        for set in [&self.dataset.train, &self.dataset.test] {
            hash.update(set.dims().map(u32::to_le_bytes).as_flattened());
            hash.update(set.pixels());
            hash.update(set.labels());
        }
        hex(&hash.finalize())
    }
}

/// The network of these layers, in the precision that `config` asks for; its loss is softmax cross-entropy. That its inputs are sparse
/// decides speed, and no bit.
///
/// # Errors
/// [`Error::Network`] if the layers do not fit.
pub(crate) fn network(
    config: &Config,
    input: Shape,
    layers: &[LayerSpec],
    sparse_inputs: bool,
) -> Result<Network, Error> {
    let compute = Compute { precision: config.dtype.precision(), sparse_inputs };
    Ok(Network::with_compute(input, layers, &Registry::new(), compute)?)
}

/// Whether most pixels of the first training images are 0. It decides speed, and no bit.
pub(crate) fn is_sparse(dataset: &Dataset) -> bool {
    let pixels = dataset.train.pixels();
    let some = &pixels[..pixels.len().min(1 << 20)];
    some.iter().filter(|pixel| **pixel == 0).count() > some.len() / 2
}

/// The instruction set that `config` asks for.
///
/// # Errors
/// [`Error::Usage`] if there is none of this name, or this machine lacks it.
pub fn isa(config: &Config) -> Result<Isa, Error> {
    if config.isa == "auto" {
        return Ok(Isa::detect());
    }
    Isa::named(&config.isa).map_err(|error| {
        let have: Vec<_> = Isa::available().map(Isa::name).collect();
        let have = have.join(", ");
        Error::Usage(format!(
            "isa: expected auto or one that this machine has ({have}), got {}: {error}",
            config.isa
        ))
    })
}

/// How many threads `config` asks for.
pub(crate) fn threads(config: &Config) -> usize {
    let most = || thread::available_parallelism().map_or(1, usize::from).min(Pool::MAX_THREADS);
    config.threads.unwrap_or_else(most)
}

/// The threads that `config` asks for.
///
/// # Errors
/// [`Error::Pool`] if the system does not grant them.
pub fn pool(config: &Config) -> Result<Pool, Error> {
    Ok(Pool::new(threads(config))?)
}

/// The images that `config` asks for. Notices go to stderr.
pub(crate) fn load(config: &Config) -> Result<Dataset, Error> {
    let choice = match (&config.data, config.dataset) {
        (Some(folder), _) => Choice::Folder(folder.clone()),
        (None, Source::Auto) => Choice::Auto,
        (None, Source::Mnist) => Choice::Mnist,
        (None, Source::Digits) => Choice::Digits,
    };
    let request = Request::from_environment(choice, config.seed, generated::load);
    let mut terminal = Terminal::default();
    Ok(data::load(&request, &mut |event| terminal.hear(event))?)
}
