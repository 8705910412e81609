//! `checkpoint.safetensors`: the state of a run to the bit, in its memory layout.
//!
//! | tensor | shape | holds |
//! |---|---|---|
//! | `params`, `best` | (parameters) | the parameters, and those of the best epoch |
//! | `buffers`, `best_buffers` | (buffers) | the buffers, and those of the best epoch |
//! | `average`, `average_buffers` | the same | the moving average of the weights, if there is one |
//! | `slow` | (parameters) | the slow weights of lookahead, if there are any |
//! | `exp_avg`, ... | (parameters) | the moments, by [`nn::Plan::moment_names`] |
//! | `snapshot.NAME` | as NAME | the state that a rollback restores, within an epoch |
//!
//! Tensors without elements are left out. The metadata has `state` (JSON: format, identity, steps
//! of the optimizer, position) and `sha256`, over that text and all tensors. It is checked first,
//! so that a damaged file is refused as a whole.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use kernels::Cpu;
use nn::Running;
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::data::DataError;
use crate::data::element::Element;
use crate::run::config::{Config, NonFinite};
use crate::run::folder::{FORMAT, Format};
use crate::run::setup::Setup;
use crate::run::state::{Position, Snapshot, State};
use crate::run::tensors;
use crate::run::tensors::Array;
use crate::run::weights::ModelWeights;

/// Run that a checkpoint belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// [`Config::sha256`](crate::run::config::Config::sha256).
    pub config_sha256: String,
    /// [`Setup::data_sha256`].
    pub data_sha256: String,
    /// [`Config::sha256`] of the configurations before the run was extended: their checkpoints
    /// belong to the run too.
    #[serde(skip)]
    pub(crate) earlier_configs: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: u32,
    identity: Identity,
    /// Number of steps that the optimizer has taken.
    steps: u64,
    position: Position,
}

impl Identity {
    /// Identity of the run `setup`. Hashes all of its data.
    ///
    /// # Errors
    /// [`Error::Usage`] if the configuration cannot be written.
    pub fn new(setup: &Setup) -> Result<Self, Error> {
        Self::of(&setup.config, setup.data_sha256())
    }

    /// Identity of a run with the same data and the configuration `config`.
    ///
    /// # Errors
    /// Same as [`new`](Self::new).
    pub(crate) fn with_config(self, config: &Config) -> Result<Self, Error> {
        Self::of(config, self.data_sha256)
    }

    fn of(config: &Config, data_sha256: String) -> Result<Self, Error> {
        let earlier = config.earlier_configs().map(|config| config.sha256());
        let earlier_configs = earlier.collect::<Result<_, _>>()?;
        Ok(Self { config_sha256: config.sha256()?, data_sha256, earlier_configs })
    }

    /// Checks that a checkpoint of `found`, read from the file `path`, belongs to this run.
    ///
    /// # Errors
    /// [`Error::Malformed`] if it has another configuration, or other data.
    fn check(&self, found: &Self, path: &Path) -> Result<(), Error> {
        let is_own = self.config_sha256 == found.config_sha256
            || self.earlier_configs.contains(&found.config_sha256);
        if !is_own {
            let expected = format!("a checkpoint of the configuration {}", self.config_sha256);
            let found = format!("one of {}", found.config_sha256);
            return Err(Error::malformed(path, expected, found));
        }
        if self.data_sha256 != found.data_sha256 {
            let expected =
                format!("the data that the run started with, with SHA-256 {}", found.data_sha256);
            let found = format!(
                "others, with {}: they have changed since; name the former by --data, or start \
                 another run",
                self.data_sha256
            );
            return Err(Error::malformed(path, expected, found));
        }
        Ok(())
    }
}

/// Encodes `state` as the bytes of a checkpoint.
///
/// # Errors
/// [`Error::Usage`] if the state cannot be written.
pub fn encode<T: Element>(identity: &Identity, state: &State<T>) -> Result<Vec<u8>, Error> {
    let header = Header {
        format: FORMAT,
        identity: identity.clone(),
        steps: state.optimizer.steps(),
        position: state.position.clone(),
    };
    let header = serde_json::to_string(&header)
        .map_err(|error| Error::Usage(format!("checkpoint: {error}")))?;
    let State { weights, best, optimizer, average, slow, snapshot, position } = state;
    let mut arrays = training_arrays("", weights, optimizer, average.as_ref(), slow.as_ref());
    arrays.extend([("best", &best.params), ("best_buffers", &best.buffers)].map(array));
    // Between epochs, the snapshot equals the state.
    if let Some(Snapshot { weights, optimizer, average, slow }) =
        snapshot.as_ref().filter(|_| position.step > 0)
    {
        let (average, slow) = (average.as_ref(), slow.as_ref());
        arrays.extend(training_arrays("snapshot.", weights, optimizer, average, slow));
    }
    arrays.retain(|(_, array)| !array.bytes().is_empty());
    let sha256 =
        tensors::digest(&header, arrays.iter().map(|(name, array)| (&name[..], array.bytes())));
    tensors::encode(
        &arrays,
        Some(HashMap::from([("state".into(), header), ("sha256".into(), sha256)])),
    )
}

/// A flat buffer and its name.
fn array<T: Element>((name, values): (impl Into<String>, &Vec<T>)) -> (String, Array) {
    (name.into(), Array::new(&[values.len()], values))
}

/// Buffers that a step changes, with `prefix` before their names.
fn training_arrays<T: Element>(
    prefix: &str,
    weights: &ModelWeights<T>,
    optimizer: &Running<T>,
    average: Option<&ModelWeights<T>>,
    slow: Option<&Vec<T>>,
) -> Vec<(String, Array)> {
    let average =
        average.into_iter().flat_map(|w| [("average", &w.params), ("average_buffers", &w.buffers)]);
    let moments = optimizer.moment_names().iter().copied().zip(optimizer.moments());
    [("params", &weights.params), ("buffers", &weights.buffers)]
        .into_iter()
        .chain(average)
        .chain(slow.map(|slow| ("slow", slow)))
        .chain(moments)
        .map(|(name, values)| array((format!("{prefix}{name}"), values)))
        .collect()
}

/// A checkpoint in memory that is undamaged and belongs to a run.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    bytes: Vec<u8>,
    /// Number of steps that the optimizer has taken.
    steps: u64,
    position: Position,
}

impl Checkpoint {
    /// Reads the file `path`, a checkpoint of the run `identity`.
    ///
    /// # Errors
    /// [`DataError::Io`] if it cannot be read; [`Error::Malformed`] if it is damaged, not a
    /// checkpoint, of another `FORMAT`, or of another run.
    pub fn read(path: &Path, identity: &Identity) -> Result<Self, Error> {
        Self::new(fs::read(path).map_err(DataError::io("read", path))?, path, identity)
    }

    /// Checks `bytes`, the contents of the file `path`.
    ///
    /// # Errors
    /// [`Error::Malformed`], same as [`read`](Self::read).
    pub fn new(bytes: Vec<u8>, path: &Path, identity: &Identity) -> Result<Self, Error> {
        let Header { identity: found, steps, position, .. } = header(&bytes, path)?;
        identity.check(&found, path)?;
        Ok(Self { path: path.into(), bytes, steps, position })
    }

    /// Progress of the run.
    pub(crate) fn position(&self) -> &Position {
        &self.position
    }

    /// Restores the state, for the run `setup`.
    ///
    /// # Errors
    /// [`Error::Malformed`] if a tensor is missing or has another type or shape, or if the position
    /// contradicts the configuration.
    pub fn state<T: Element>(self, setup: &Setup, cpu: Cpu<'_>) -> Result<State<T>, Error> {
        let Self { path, bytes, steps, position } = self;
        let path = path.as_path();
        let Position { history, step, sums, .. } = &position;
        let (steps_per_epoch, epochs) = (setup.steps_per_epoch(), setup.config.epochs);
        if history.len() > epochs as usize || *step > steps_per_epoch {
            let expected = format!("at most {epochs} epochs of {steps_per_epoch} steps");
            let found = format!("{} epochs, {step} steps", history.len());
            return Err(Error::malformed(path, expected, found));
        }
        // The optimizer takes all steps but the skipped ones.
        let in_history: Option<u64> =
            history.iter().map(|epoch| steps_per_epoch.checked_sub(epoch.skipped)).sum();
        let (Some(in_history), Some(in_epoch)) = (in_history, step.checked_sub(sums.skipped))
        else {
            let expected = "no more skipped steps than an epoch has";
            return Err(Error::malformed(path, expected, "an epoch with more"));
        };
        if in_history + in_epoch != steps {
            let expected = format!("{} steps of the optimizer", in_history + in_epoch);
            return Err(Error::malformed(path, expected, steps));
        }
        let reader = Reader { file: &tensors::decode(&bytes, path)?, path, setup, cpu };
        let best = reader.weights("best", "best_buffers")?;
        let Snapshot { weights, optimizer, average, slow } = reader.snapshot("", steps)?;
        let mut state = State { weights, best, optimizer, average, slow, snapshot: None, position };
        match setup.config.non_finite {
            NonFinite::Rollback if state.position.step > 0 => {
                state.snapshot = Some(reader.snapshot("snapshot.", in_history)?);
            }
            policy => state.take_snapshot(policy),
        }
        Ok(state)
    }
}

/// Reads tensors of a checkpoint by name.
struct Reader<'a> {
    file: &'a SafeTensors<'a>,
    path: &'a Path,
    setup: &'a Setup,
    cpu: Cpu<'a>,
}

impl Reader<'_> {
    fn params<T: Element>(&self, name: &str) -> Result<Vec<T>, Error> {
        tensors::values(self.file, self.path, name, &[self.setup.network.layout().len()])
    }

    fn weights<T: Element>(&self, params: &str, buffers: &str) -> Result<ModelWeights<T>, Error> {
        let buffers = match self.setup.network.buffers().len() {
            0 => Vec::new(),
            len => tensors::values(self.file, self.path, buffers, &[len])?,
        };
        Ok(ModelWeights { params: self.params(params)?, buffers })
    }

    /// Buffers that a step changes, after `steps` steps of the optimizer, with `prefix` before
    /// their names.
    fn snapshot<T: Element>(&self, prefix: &str, steps: u64) -> Result<Snapshot<T>, Error> {
        let Config { ema, lookahead, .. } = &self.setup.config;
        let named = |name: &str| format!("{prefix}{name}");
        let weights = |params, buffers| self.weights(&named(params), &named(buffers));
        let plan = self.setup.plan()?;
        let moments: Result<_, _> =
            plan.moment_names().iter().map(|name| self.params(&named(name))).collect();
        Ok(Snapshot {
            weights: weights("params", "buffers")?,
            optimizer: plan.resume(self.cpu, steps, moments?)?,
            average: ema.map(|_| weights("average", "average_buffers")).transpose()?,
            slow: lookahead.map(|_| self.params(&named("slow"))).transpose()?,
        })
    }
}

/// Reads the header of a checkpoint, after a check of its digest and format.
fn header(bytes: &[u8], path: &Path) -> Result<Header, Error> {
    let file = tensors::decode(bytes, path)?;
    let foreign =
        |_| Error::malformed(path, "a checkpoint of evenkeel", "another safetensors file");
    let (_, metadata) = SafeTensors::read_metadata(bytes)
        .map_err(|error| Error::malformed(path, "a header", error))?;
    let texts = metadata.metadata().as_ref();
    let text = |key: &str| texts.and_then(|texts| texts.get(key)).ok_or(()).map_err(foreign);
    let (state, expected) = (text("state")?, text("sha256")?);
    let found = tensors::digest(state, file.iter().map(|(name, view)| (name, view.data())));
    if *expected != found {
        let expected = format!("contents with SHA-256 {expected}");
        return Err(Error::malformed(path, expected, format!("damaged ones with {found}")));
    }
    let malformed =
        |error| Error::malformed(path, format!("a checkpoint of format {FORMAT}"), error);
    serde_json::from_str::<Format>(state).map_err(malformed)?.check(path)?;
    serde_json::from_str(state).map_err(malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A checkpoint of another format is refused by its number, before any other key is read.
    #[test]
    fn another_format_is_refused() {
        let identity = Identity {
            config_sha256: String::new(),
            data_sha256: String::new(),
            earlier_configs: Vec::new(),
        };
        let path = Path::new("checkpoint.safetensors");
        let checkpoint = |state: &str| {
            let metadata =
                [("state", state.to_owned()), ("sha256", tensors::digest(state, [].into_iter()))];
            let metadata = metadata.map(|(key, text)| (key.to_owned(), text));
            let bytes = tensors::encode(&[], Some(HashMap::from(metadata))).expect("metadata");
            Checkpoint::new(bytes, path, &identity)
        };
        let error = checkpoint("{\"format\": 1, \"position\": {}}").expect_err("another format");
        assert_eq!(error.exit_code(), 3);
        let error = error.to_string();
        assert!(error.contains("expected format 2, found format 1: train again"), "{error}");
        let position = serde_json::to_string(&Position::default()).expect("plain");
        let identity = "{\"config_sha256\": \"\", \"data_sha256\": \"\"}";
        let state = format!(
            "{{\"format\": {FORMAT}, \"identity\": {identity}, \"steps\": 0, \
             \"position\": {position}}}"
        );
        assert_eq!(checkpoint(&state).expect("this format").position(), &Position::default());
    }
}
