//! Setup of a run: data, split and network of a configuration, and the threads and instruction set.
//!
//! The first part of `train`, `eval`, `dump` and others.

use std::path::Path;
use std::sync::Arc;
use std::thread;

use kernels::{Cpu, Isa};
use nn::{Compute, LayerSpec, Loss, Monitor, Network, Plan, Registry, Shape, Tensor};

use crate::data::table::TargetColumn;
use crate::data::{
    Choice, Dataset, Inputs, Labelled, Request, Split, Targets, Terminal, generated,
};
use crate::machine::thread_pool::ThreadPool;
use crate::run::config::{ClassWeights, Config, Objective, Sampler, Source, is_table};
use crate::run::folder;
use crate::run::folder::RunFolder;
use crate::run::summary::Summary;
use crate::{Error, data};

/// Configuration, data and network of a run.
#[derive(Debug)]
pub struct Setup {
    /// The resolved configuration.
    pub config: Config,
    /// Data set.
    pub dataset: Arc<Dataset>,
    /// Training examples, and those held out for validation.
    pub split: Split,
    /// Network.
    pub network: Network,
}

impl Setup {
    /// Loads the data of `config`, resolves it, and builds the network. Notices go to stderr.
    ///
    /// # Errors
    /// [`Error::Usage`] if a value of the configuration is out of range or does not fit the data;
    /// [`Error::Data`] if the data cannot be loaded.
    pub fn new(config: Config) -> Result<Self, Error> {
        config.check()?;
        let dataset = load(&config)?;
        dataset.check()?;
        Self::with_dataset(config, Arc::new(dataset))
    }

    /// Setup of `config` on this data set, whatever data the configuration names.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn with_dataset(config: Config, dataset: Arc<Dataset>) -> Result<Self, Error> {
        Self::with_data(config, dataset, None)
    }

    /// Setup of `config` on the same examples as this one, with the same split, whatever data, seed
    /// and validation set the configuration has.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn with_config(&self, config: Config) -> Result<Self, Error> {
        Self::with_data(config, Arc::clone(&self.dataset), Some(self.split.clone()))
    }

    fn with_data(
        mut config: Config,
        dataset: Arc<Dataset>,
        known_split: Option<Split>,
    ) -> Result<Self, Error> {
        config.check()?;
        config.resolve(&dataset)?;
        check_data(&config, &dataset)?;
        let split = known_split.map_or_else(|| split(&config, &dataset), Ok)?;
        let layers = config.layers.as_deref().unwrap_or_default();
        let input = dataset.train.shape();
        let network = network(&config, input, layers, is_sparse(&dataset))
            .map_err(|error| with_remedy(error, &config, input))?;
        let network = network.with_loss(config.loss.unwrap_or_default());
        if dataset.has_values() && network.outputs() != dataset.outputs() {
            let outputs = if dataset.is_reconstruction() {
                format!("{} outputs, one for each input", dataset.outputs())
            } else {
                "1 output, for the value of each row".into()
            };
            return Err(Error::Usage(format!(
                "layers: expected {outputs} of {}, got {} (key `layers`)",
                dataset.name,
                network.outputs()
            )));
        }
        if network.outputs() < dataset.classes {
            return Err(Error::Usage(format!(
                "layers: expected at least {} outputs, one for each class of {}, got {} (key \
                 `layers`)",
                dataset.classes,
                dataset.name,
                network.outputs()
            )));
        }
        let network = with_class_weights(network, &mut config, &dataset, &split)?;
        Ok(Self { config, dataset, split, network })
    }

    /// Setup of the run in `folder`, on the data that it was trained on.
    ///
    /// # Errors
    /// Errors of [`Setup::new`] and [`folder::summary`]; [`Error::Malformed`] if the data have
    /// changed since.
    pub(crate) fn of_run(config: Config, folder: &RunFolder) -> Result<Self, Error> {
        let expected = folder::summary(folder)?.data_sha256;
        let setup = Self::new(config)?;
        let found = setup.data_sha256();
        if found == expected {
            return Ok(setup);
        }
        let name = Path::new(&setup.dataset.name);
        let expected = format!(
            "the data that {} was trained on, with SHA-256 {expected}",
            folder.path().display()
        );
        let remedy = "they have changed since; new ones are scored by `eval --data`";
        Err(Error::malformed(
            setup.config.data.as_deref().unwrap_or(name),
            expected,
            format!("data with {found}: {remedy}"),
        ))
    }

    /// Plan of the optimizer: the settings of each tensor.
    ///
    /// # Errors
    /// [`Error::Network`] if a hyper-parameter is out of range, or a group names no tensor.
    pub fn plan(&self) -> Result<Plan, Error> {
        Ok(Plan::new(self.network.layout(), self.config.optimizer, &self.config.groups)?)
    }

    /// Layer widths from input to output, `784-512-10`. If not all layers are dense, only the two
    /// ends, `784-...-10`.
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

    /// SHA-256 over all examples and their targets, which identifies the data in a checkpoint.
    pub fn data_sha256(&self) -> String {
        Labelled::sha256([&self.dataset.train, &self.dataset.test])
    }
}

/// Builds the network of `layers`, in the precision of `config`, with softmax cross-entropy as its
/// loss. `sparse_inputs` affects speed, and no bit.
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

/// `true` if most pixels of the first training images are 0. Affects speed, and no bit.
pub(crate) fn is_sparse(dataset: &Dataset) -> bool {
    let Inputs::Bytes(pixels) = dataset.train.inputs() else { return false };
    let first = &pixels[..pixels.len().min(1 << 20)];
    first.iter().filter(|pixel| **pixel == 0).count() > first.len() / 2
}

/// Checks that loss, monitor, class weights, mixing and augmentation fit the data.
fn check_data(config: &Config, dataset: &Dataset) -> Result<(), Error> {
    let refuse = |message: String| Err(Error::Usage(message));
    let name = &dataset.name;
    if dataset.has_values() {
        let loss = config.loss.unwrap_or_default();
        if dataset.is_reconstruction() {
            check_reconstruction(loss, dataset)?;
        } else if !loss.compares_differences() && !matches!(loss, Loss::Poisson { .. }) {
            return refuse(format!(
                "loss: expected mse, mae, huber, log_cosh or poisson for {name}, whose rows have \
                 values, got a loss for classes (key `loss`)"
            ));
        }
        if matches!(loss, Loss::Poisson { .. }) {
            check_counts(dataset)?;
        }
        if config.early_stopping.is_some_and(|rule| rule.monitor == Monitor::ValAccuracy) {
            return refuse(format!(
                "early_stopping: expected val_loss as its monitor for {name}, whose rows have \
                 values, got val_accuracy (key `early_stopping`)"
            ));
        }
        if config.class_weights.is_some() || config.sampler != Sampler::Shuffle {
            return refuse(format!(
                "class_weights, sampler: expected classes, got {name}, whose rows have values \
                 (keys `class_weights`, `sampler`)"
            ));
        }
        if config.mixing.is_some() {
            return refuse(format!(
                "mixing: expected classes, got {name}, whose rows have values (key `mixing`)"
            ));
        }
    }
    if config.class_weights.is_some() && !matches!(config.loss, Some(Loss::CrossEntropy { .. })) {
        return refuse(
            "class-weights: expected the loss cross_entropy, got another (flag --class-weights or \
             key `class_weights`; key `loss`)"
                .into(),
        );
    }
    if !config.augment.is_empty() && !matches!(dataset.train.shape(), Shape::Image { .. }) {
        return refuse(format!("augment: expected images, got {name}, a table (key `augment`)"));
    }
    Ok(())
}

/// Checks that no value of the data set is negative, as the loss `poisson` needs.
fn check_counts(dataset: &Dataset) -> Result<(), Error> {
    for (part, set) in [("training", &dataset.train), ("test", &dataset.test)] {
        let Targets::Values(values) = set.targets() else { continue };
        let Some((row, value)) = (0..).zip(values).find(|(_, value)| **value < 0.0) else {
            continue;
        };
        return Err(Error::Usage(format!(
            "loss: expected values of at least 0 in {}, as counts are, for the loss poisson, got \
             {value} in {part} row {row} (from 0): use mse, mae, huber or log_cosh (key `loss`)",
            dataset.name
        )));
    }
    Ok(())
}

/// Checks that the loss compares outputs with inputs, and that inputs are probabilities for the
/// binary cross-entropy.
fn check_reconstruction(loss: Loss, dataset: &Dataset) -> Result<(), Error> {
    let name = &dataset.name;
    if loss.compares_differences() {
        return Ok(());
    }
    if !matches!(loss, Loss::BinaryCrossEntropy { .. }) {
        return Err(Error::Usage(format!(
            "loss: expected mse, mae, huber, log_cosh or binary_cross_entropy for the \
             reconstruction of {name}, got another (keys `loss`, `task`)"
        )));
    }
    for set in [&dataset.train, &dataset.test] {
        let Inputs::Numbers(numbers) = set.inputs() else { continue };
        if let Some(number) = numbers.iter().find(|number| !(0.0..=1.0).contains(*number)) {
            return Err(Error::Usage(format!(
                "loss: expected inputs in 0 to 1 for the reconstruction of {name} by \
                 binary_cross_entropy, got {number}: scale them, or use mse (keys `loss`, `task`)"
            )));
        }
    }
    Ok(())
}

/// Sets the class weights of `config` in `network`, and resolves them in `config`.
fn with_class_weights(
    network: Network,
    config: &mut Config,
    dataset: &Dataset,
    split: &Split,
) -> Result<Network, Error> {
    let (Some(class_weights), Targets::Classes(labels)) =
        (&config.class_weights, dataset.train.targets())
    else {
        return Ok(network);
    };
    let mut counts = vec![0; dataset.classes];
    for &index in &split.train {
        counts[usize::from(labels[index as usize])] += 1;
    }
    let mut weights = class_weights.weights(&counts);
    if weights.len() != dataset.classes {
        return Err(Error::Usage(format!(
            "class-weights: expected {} numbers, one for each class of {}, got {} (flag \
             --class-weights or key `class_weights`)",
            dataset.classes,
            dataset.name,
            weights.len()
        )));
    }
    config.class_weights = Some(ClassWeights::List(weights.clone()));
    // The network may have more outputs than there are classes.
    weights.resize(network.outputs().max(weights.len()), 1.0);
    Ok(network.with_class_weights(&weights)?)
}

/// Splits off the validation set.
fn split(config: &Config, dataset: &Dataset) -> Result<Split, Error> {
    let (count, noun) = (dataset.train.len(), dataset.train.noun());
    if let Some(folds) = config.folds {
        let Some(fold) = config.fold else {
            return Err(Error::Usage(format!(
                "folds: expected one fold of {folds}, got all of them, which only `train` takes \
                 (key `fold`)"
            )));
        };
        return Split::fold(&dataset.train, fold - 1, folds, config.seed).map_err(|_| {
            Error::Usage(format!(
                "folds: expected 2 to the number of training {noun}, {count}, got {folds} (flag \
                 --folds or key `folds`)"
            ))
        });
    }
    let held_out = config.validation.unwrap_or_default();
    let is_allowed = held_out > 0 && (held_out as usize) < count;
    if !is_allowed {
        return Err(Error::Usage(format!(
            "validation: expected 1 to {} of the {count} training {noun}, got {held_out} (key \
             `validation`)",
            count.saturating_sub(1),
        )));
    }
    Split::stratified(&dataset.train, held_out, config.seed)
        .map_err(|error| Error::Usage(error.to_string()))
}

/// Adds the remedy to `error` if a network for images has other inputs.
fn with_remedy(error: Error, config: &Config, input: Shape) -> Error {
    match error {
        Error::Network(error @ nn::Error::Layer { .. })
            if !matches!(input, Shape::Image { .. }) =>
        {
            Error::Usage(format!(
                "preset {}: {error}. The data are a table of {input}: use a preset for any data, \
                 such as mlp, or other `layers`",
                config.preset.name()
            ))
        }
        error => error,
    }
}

/// Input shape of a run's network, from its summary: rows and columns of an image, or the columns
/// of a table.
pub(crate) fn input(summary: &Summary) -> Option<Shape> {
    match summary.input_shape[..] {
        [height, width] if height * width > 0 => Some(Shape::Image { height, width, channels: 1 }),
        [columns] if columns > 0 => Some(Shape::Features(columns)),
        _ => None,
    }
}

/// Network and summary of the run in `folder` with the configuration `config`, without its data.
///
/// # Errors
/// Errors of [`folder::summary`]; [`Error::Malformed`] if the summary has no valid input shape.
pub(crate) fn network_of_run(
    folder: &RunFolder,
    config: &Config,
) -> Result<(Network, Summary), Error> {
    let summary = folder::summary(folder)?;
    let (Some(layers), Some(input)) = (&config.layers, input(&summary)) else {
        let path = folder.file(folder::SUMMARY);
        let expected = "`input_shape` of an image or a table";
        return Err(Error::malformed(&path, expected, format!("{:?}", summary.input_shape)));
    };
    Ok((network(config, input, layers, false)?, summary))
}

/// Instruction set of `config`.
///
/// # Errors
/// [`Error::Usage`] if there is none of this name, or the machine lacks it.
pub fn isa(config: &Config) -> Result<Isa, Error> {
    if config.isa == "auto" {
        return Ok(Isa::detect());
    }
    Isa::named(&config.isa).map_err(|error| {
        let available: Vec<_> = Isa::available().map(Isa::name).collect();
        let available = available.join(", ");
        Error::Usage(format!(
            "isa: expected auto or one that this machine has ({available}), got {}: {error}",
            config.isa
        ))
    })
}

/// Number of threads of `config`.
pub(crate) fn threads(config: &Config) -> usize {
    let default =
        || thread::available_parallelism().map_or(1, usize::from).min(ThreadPool::MAX_THREADS);
    config.threads.unwrap_or_else(default)
}

/// Runs `task` on the threads and with the instruction set of `config`.
///
/// # Errors
/// Errors of [`isa`] and [`pool`], and of `task`.
pub(crate) fn on_threads<R: Send>(
    config: &Config,
    task: impl FnOnce(Cpu<'_>) -> Result<R, Error> + Send,
) -> Result<R, Error> {
    let (isa, pool) = (isa(config)?, pool(config)?);
    pool.enter(|| task(Cpu::new(isa, &pool)))
}

/// Thread pool of `config`.
///
/// # Errors
/// [`Error::ThreadPool`] if the system cannot start the threads.
pub fn pool(config: &Config) -> Result<ThreadPool, Error> {
    Ok(ThreadPool::new(threads(config))?)
}

/// Loads the data of `config`. Notices go to stderr.
pub(crate) fn load(config: &Config) -> Result<Dataset, Error> {
    let choice = match (&config.data, config.dataset) {
        (Some(path), _) => choice_of_path(path, config)?,
        (None, Source::Auto) => Choice::Auto,
        (None, Source::Mnist) => Choice::Mnist,
        (None, Source::Digits) => Choice::Digits,
        (None, Source::Classification) => {
            Choice::Classification(config.classification.unwrap_or_default())
        }
        (None, Source::Linear) => Choice::Linear(config.linear.unwrap_or_default()),
    };
    let request = Request::from_environment(choice, config.seed, generated::load);
    let mut terminal = Terminal::default();
    let dataset = data::load(&request, &mut |event| terminal.on_event(event))?;
    Ok(match config.task {
        Some(Objective::Reconstruct) => dataset.reconstructing(),
        None => dataset,
    })
}

/// Kind of the data in `path`: by its name a table or an archive of arrays, otherwise a folder.
fn choice_of_path(path: &Path, config: &Config) -> Result<Choice, Error> {
    let target = match (&config.label, &config.target) {
        (Some(label), _) => Some(TargetColumn::Label(label.clone())),
        (None, target) => target.clone().map(TargetColumn::Target),
    };
    if is_table(path) {
        let name = path.display();
        return match target {
            Some(target) => Ok(Choice::Table(path.into(), target)),
            None => Err(Error::Usage(format!(
                "label: expected the column of {name} that is to be learned, got none: name it by \
                 --label if it holds classes, by --target if it holds values (keys `label`, \
                 `target`)"
            ))),
        };
    }
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("npz")) {
        return Ok(Choice::Archive(path.into()));
    }
    Ok(Choice::Folder(path.into()))
}
