//! From a configuration to what a command works on: data, split, network, and what they are computed with.
//!
//! `train`, `eval` and `dump` begin here.

use std::path::Path;
use std::thread;

use kernels::Isa;
use nn::{Compute, LayerSpec, Loss, Monitor, Network, Plan, Registry, Shape, Tensor};

use crate::data::table::TargetColumn;
use crate::data::{
    Choice, Dataset, Inputs, Labelled, Request, Split, Targets, Terminal, generated,
};
use crate::machine::thread_pool::ThreadPool;
use crate::run::config::{ClassWeights, Config, Sampler, Source, is_table};
use crate::run::folder;
use crate::run::folder::RunFolder;
use crate::run::summary::Summary;
use crate::{Error, data};

/// A configuration with everything that it stands for.
#[derive(Debug)]
pub struct Setup {
    /// The configuration, resolved.
    pub config: Config,
    /// The data.
    pub dataset: Dataset,
    /// Which training examples are trained on, and which held out.
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
        dataset.check()?;
        config.resolve(&dataset)?;
        fits(&config, &dataset)?;
        let split = split(&config, &dataset)?;
        let layers = config.layers.as_deref().unwrap_or_default();
        let input = dataset.train.shape();
        let network = network(&config, input, layers, is_sparse(&dataset))
            .map_err(|error| for_images(error, &config, input))?;
        let network = network.with_loss(config.loss.unwrap_or_default());
        if dataset.has_values() && network.outputs() != 1 {
            return Err(Error::Usage(format!(
                "layers: expected 1 output, for the value of each row of {}, got {} (key `layers`)",
                dataset.name,
                network.outputs()
            )));
        }
        if network.outputs() < dataset.classes {
            return Err(Error::Usage(format!(
                "layers: expected at least {} outputs, one for each class of {}, got {} (key `layers`)",
                dataset.classes,
                dataset.name,
                network.outputs()
            )));
        }
        let network = weighted(network, &mut config, &dataset, &split)?;
        Ok(Self { config, dataset, split, network })
    }

    /// The same for the run in `folder`, on the data that it was trained on and no others.
    ///
    /// # Errors
    /// Those of [`Setup::new`] and [`folder::summary`]; [`Error::Malformed`] if the data have changed since.
    pub(crate) fn again(config: Config, folder: &RunFolder) -> Result<Self, Error> {
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
            format!("others, with {found}: {remedy}"),
        ))
    }

    /// Plan of the optimizer: which settings step which tensors.
    ///
    /// # Errors
    /// [`Error::Network`] if a hyper-parameter is out of range or a group names nothing.
    pub fn plan(&self) -> Result<Plan, Error> {
        Ok(Plan::new(self.network.layout(), self.config.optimizer, &self.config.groups)?)
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

    /// SHA-256 over every example and its target: what a checkpoint is tied to.
    pub fn data_sha256(&self) -> String {
        Labelled::sha256([&self.dataset.train, &self.dataset.test])
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
    let Inputs::Bytes(pixels) = dataset.train.inputs() else { return false };
    let some = &pixels[..pixels.len().min(1 << 20)];
    some.iter().filter(|pixel| **pixel == 0).count() > some.len() / 2
}

/// Whether loss, mixing and augmentation go with the data.
fn fits(config: &Config, dataset: &Dataset) -> Result<(), Error> {
    let refused = |message: String| Err(Error::Usage(message));
    let name = &dataset.name;
    if dataset.has_values() {
        let loss = config.loss.unwrap_or_default();
        if !matches!(loss, Loss::Mse | Loss::Mae | Loss::Huber { .. }) {
            return refused(format!(
                "loss: expected mse, mae or huber for {name}, whose rows have values, got one that compares classes (key `loss`)"
            ));
        }
        if config.early_stopping.is_some_and(|rule| rule.monitor == Monitor::ValAccuracy) {
            return refused(format!(
                "early_stopping: expected val_loss as its monitor for {name}, whose rows have values, got val_accuracy (key `early_stopping`)"
            ));
        }
        if config.class_weights.is_some() || config.sampler != Sampler::Shuffle {
            return refused(format!(
                "class_weights, sampler: expected classes, got {name}, whose rows have values (keys `class_weights`, \
                 `sampler`)"
            ));
        }
        if config.mixing.is_some() {
            return refused(format!(
                "mixing: expected classes, got {name}, whose rows have values (key `mixing`)"
            ));
        }
    }
    if config.class_weights.is_some() && !matches!(config.loss, Some(Loss::CrossEntropy { .. })) {
        return refused(
            "class-weights: expected the loss cross_entropy, got another (flag --class-weights or key \
             `class_weights`; key `loss`)"
                .into(),
        );
    }
    if !config.augment.is_empty() && !matches!(dataset.train.shape(), Shape::Image { .. }) {
        return refused(format!("augment: expected images, got {name}, a table (key `augment`)"));
    }
    Ok(())
}

/// `network` with the class weights that `config` asks for, which become numbers there.
fn weighted(
    network: Network,
    config: &mut Config,
    dataset: &Dataset,
    split: &Split,
) -> Result<Network, Error> {
    let (Some(asked), Targets::Classes(labels)) = (&config.class_weights, dataset.train.targets())
    else {
        return Ok(network);
    };
    let mut counts = vec![0; dataset.classes];
    for &index in &split.train {
        counts[usize::from(labels[index as usize])] += 1;
    }
    let mut factors = asked.factors(&counts);
    if factors.len() != dataset.classes {
        return Err(Error::Usage(format!(
            "class-weights: expected {} numbers, one for each class of {}, got {} (flag --class-weights or key \
             `class_weights`)",
            dataset.classes,
            dataset.name,
            factors.len()
        )));
    }
    config.class_weights = Some(ClassWeights::List(factors.clone()));
    // Outputs that no class belongs to.
    factors.resize(network.outputs().max(factors.len()), 1.0);
    Ok(network.with_class_weights(&factors)?)
}

/// Which training examples are held out.
fn split(config: &Config, dataset: &Dataset) -> Result<Split, Error> {
    let (count, noun) = (dataset.train.len(), dataset.train.noun());
    if let Some(folds) = config.folds {
        let Some(fold) = config.fold else {
            return Err(Error::Usage(format!(
                "folds: expected one fold of {folds}, got all of them, which `train` alone can work on (key `fold`)"
            )));
        };
        return Split::fold(&dataset.train, fold - 1, folds, config.seed).map_err(|_| {
            Error::Usage(format!(
                "folds: expected 2 to the number of training {noun}, {count}, got {folds} (flag --folds or key `folds`)"
            ))
        });
    }
    let held_out = config.validation.unwrap_or_default();
    let usable = held_out > 0 && (held_out as usize) < count;
    if !usable {
        return Err(Error::Usage(format!(
            "validation: expected 1 to {} of the {count} training {noun}, got {held_out} (key `validation`)",
            count.saturating_sub(1),
        )));
    }
    Split::stratified(&dataset.train, held_out, config.seed)
        .map_err(|error| Error::Usage(error.to_string()))
}

/// `error`, with the remedy where a network for images was given something else.
fn for_images(error: Error, config: &Config, input: Shape) -> Error {
    match error {
        Error::Network(error @ nn::Error::Layer { .. })
            if !matches!(input, Shape::Image { .. }) =>
        {
            Error::Usage(format!(
                "preset {}: {error}. The data are a table of {input}: take a preset for any data, such as mlp, or other `layers`",
                config.preset.name()
            ))
        }
        error => error,
    }
}

/// The shape of an input, as the summary of a run has it: rows and columns of an image, or the columns of a table.
fn input(summary: &Summary) -> Option<Shape> {
    match summary.input_shape[..] {
        [height, width] if height * width > 0 => Some(Shape::Image { height, width, channels: 1 }),
        [columns] if columns > 0 => Some(Shape::Features(columns)),
        _ => None,
    }
}

/// The network of the run in `folder`, which `config` is that of, and what the run came to: without its data.
///
/// # Errors
/// As for [`folder::summary`]; [`Error::Malformed`] if the summary does not say what examples look like.
pub(crate) fn of_run(folder: &RunFolder, config: &Config) -> Result<(Network, Summary), Error> {
    let summary = folder::summary(folder)?;
    let (Some(layers), Some(input)) = (&config.layers, input(&summary)) else {
        let path = folder.file(folder::SUMMARY);
        return Err(Error::malformed(
            &path,
            "the shape of an example, as runs of this version have it",
            "none",
        ));
    };
    Ok((network(config, input, layers, false)?, summary))
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
    let most =
        || thread::available_parallelism().map_or(1, usize::from).min(ThreadPool::MAX_THREADS);
    config.threads.unwrap_or_else(most)
}

/// The threads that `config` asks for.
///
/// # Errors
/// [`Error::ThreadPool`] if the system does not grant them.
pub fn pool(config: &Config) -> Result<ThreadPool, Error> {
    Ok(ThreadPool::new(threads(config))?)
}

/// The data that `config` asks for. Notices go to stderr.
pub(crate) fn load(config: &Config) -> Result<Dataset, Error> {
    let choice = match (&config.data, config.dataset) {
        (Some(path), _) => of_path(path, config)?,
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
    Ok(data::load(&request, &mut |event| terminal.on_event(event))?)
}

/// The data in `path`: by its name, a table or an archive of arrays; else a folder.
fn of_path(path: &Path, config: &Config) -> Result<Choice, Error> {
    let target = match (&config.label, &config.target) {
        (Some(label), _) => Some(TargetColumn::Label(label.clone())),
        (None, target) => target.clone().map(TargetColumn::Target),
    };
    if is_table(path) {
        let name = path.display();
        return match target {
            Some(target) => Ok(Choice::Table(path.into(), target)),
            None => Err(Error::Usage(format!(
                "label: expected the column of {name} that is to be learned, got none: name it by --label if it holds classes, by \
                 --target if it holds values (keys `label`, `target`)"
            ))),
        };
    }
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("npz")) {
        return Ok(Choice::Archive(path.into()));
    }
    Ok(Choice::Folder(path.into()))
}
