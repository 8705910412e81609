//! `checkpoint.safetensors`: the state of a run to the bit, in the layout of memory.
//!
//! | tensor | shape | holds |
//! |---|---|---|
//! | `params`, `best` | (parameters) | the parameters, and those of the best epoch |
//! | `buffers`, `best_buffers` | (buffers) | likewise what is not trained, if there is any |
//! | `average`, `average_buffers` | likewise | the average of the weights, if the run has one |
//! | `slow` | (parameters) | the slow weights, if it looks ahead |
//! | `exp_avg`, ... | (parameters) | the moments, by [`nn::Plan::moment_names`] |
//! | `anchor.NAME` | as NAME | what the run goes back to, within an epoch of one that does |
//!
//! The metadata holds `state` (JSON: position, steps, and what the state belongs to) and `sha256` over that text and all
//! tensors, so that damage anywhere is seen before anything is used.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use kernels::Cpu;
use nn::Running;
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::data::DataError;
use crate::data::element::Element;
use crate::run::config::{Config, NonFinite};
use crate::run::setup::Setup;
use crate::run::state::{Anchor, Position, State};
use crate::run::tensors;
use crate::run::tensors::Array;
use crate::run::weights::Weights;

/// The form of the file that this module writes and reads.
const FORMAT: u32 = 1;

/// What a state belongs to: it continues this run and no other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// [`Config::sha256`](crate::run::config::Config::sha256).
    pub config_sha256: String,
    /// [`Setup::data_sha256`].
    pub data_sha256: String,
    /// The configurations that the run had before it was extended: their checkpoints are its own
    /// too.
    #[serde(skip)]
    pub(crate) before: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: u32,
    identity: Identity,
    /// Steps that the optimizer has taken.
    steps: u64,
    position: Position,
}

impl Identity {
    /// That of the run `setup`.
    ///
    /// # Errors
    /// [`Error::Usage`] if the configuration cannot be written.
    pub fn new(setup: &Setup) -> Result<Self, Error> {
        let before =
            setup.config.before().map(|config| config.sha256()).collect::<Result<_, _>>()?;
        Ok(Self { config_sha256: setup.config.sha256()?, data_sha256: setup.data_sha256(), before })
    }
}

/// The bytes of the file for `state`.
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
    let State { weights, best, optimizer, average, slow, anchor, position } = state;
    let mut arrays = carried("", weights, optimizer, average.as_ref(), slow.as_ref());
    arrays.extend([("best", &best.params), ("best_buffers", &best.buffers)].map(array));
    // Between epochs the run would go back to where it stands.
    if let Some(Anchor { weights, optimizer, average, slow }) =
        anchor.as_ref().filter(|_| position.step > 0)
    {
        arrays.extend(carried("anchor.", weights, optimizer, average.as_ref(), slow.as_ref()));
    }
    arrays.retain(|(_, array)| !array.bytes().is_empty());
    let sha256 =
        tensors::digest(&header, arrays.iter().map(|(name, array)| (&name[..], array.bytes())));
    tensors::encode(
        &arrays,
        Some(HashMap::from([("state".into(), header), ("sha256".into(), sha256)])),
    )
}

/// A flat buffer under its name.
fn array<T: Element>((name, values): (impl Into<String>, &Vec<T>)) -> (String, Array) {
    (name.into(), Array::new(&[values.len()], values))
}

/// What a run carries from step to step, under names with this prefix.
fn carried<T: Element>(
    prefix: &str,
    weights: &Weights<T>,
    optimizer: &Running<T>,
    average: Option<&Weights<T>>,
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

/// The state in the file `path`, if it belongs to the run `setup`.
///
/// # Errors
/// [`DataError::Io`] if it cannot be read; [`Error::Malformed`] if it is damaged, no checkpoint, or one of another
/// run.
pub fn read<T: Element>(
    path: &Path,
    setup: &Setup,
    identity: &Identity,
    cpu: Cpu<'_>,
) -> Result<State<T>, Error> {
    let bytes = fs::read(path).map_err(DataError::io("read", path))?;
    decode(&bytes, path, setup, identity, cpu)
}

/// The state in `bytes`, which came from the file `path`, if it belongs to the run `setup`.
///
/// # Errors
/// As for [`read`], but for reading.
pub fn decode<T: Element>(
    bytes: &[u8],
    path: &Path,
    setup: &Setup,
    identity: &Identity,
    cpu: Cpu<'_>,
) -> Result<State<T>, Error> {
    let file = tensors::decode(bytes, path)?;
    let Header { steps, position, .. } = header(&file, bytes, path, identity)?;

    let Position { history, step, sums, .. } = &position;
    let (steps_per_epoch, epochs) = (setup.steps_per_epoch(), setup.config.epochs);
    if history.len() > epochs as usize || *step > steps_per_epoch {
        let expected = format!("at most {epochs} epochs of {steps_per_epoch} steps");
        return Err(Error::malformed(
            path,
            expected,
            format!("{} epochs, {step} steps", history.len()),
        ));
    }
    // Steps that were taken, not skipped: in the epochs before, and in the one at hand.
    let before: Option<u64> =
        history.iter().map(|epoch| steps_per_epoch.checked_sub(epoch.skipped)).sum();
    let (Some(before), Some(here)) = (before, step.checked_sub(sums.skipped)) else {
        let expected = "no more skipped steps than an epoch has";
        return Err(Error::malformed(path, expected, "an epoch with more"));
    };
    if before + here != steps {
        return Err(Error::malformed(path, format!("{} steps taken", before + here), steps));
    }
    let stored = Stored { file: &file, path, setup, cpu };
    let best = stored.weights("best", "best_buffers")?;
    let Anchor { weights, optimizer, average, slow } = stored.carried("", steps)?;
    let mut state = State { weights, best, optimizer, average, slow, anchor: None, position };
    match setup.config.non_finite {
        NonFinite::Rollback if state.position.step > 0 => {
            state.anchor = Some(stored.carried("anchor.", before)?);
        }
        policy => state.drop_anchor(policy),
    }
    Ok(state)
}

/// How far the run of the checkpoint in the file `path` is, if it belongs to `identity`.
///
/// # Errors
/// As for [`read`].
pub(crate) fn position(path: &Path, identity: &Identity) -> Result<Position, Error> {
    let bytes = fs::read(path).map_err(DataError::io("read", path))?;
    Ok(header(&tensors::decode(&bytes, path)?, &bytes, path, identity)?.position)
}

/// A checkpoint whose tensors are asked for by name.
struct Stored<'a> {
    file: &'a SafeTensors<'a>,
    path: &'a Path,
    setup: &'a Setup,
    cpu: Cpu<'a>,
}

impl Stored<'_> {
    fn params<T: Element>(&self, name: &str) -> Result<Vec<T>, Error> {
        tensors::values(self.file, self.path, name, &[self.setup.network.layout().len()])
    }

    fn weights<T: Element>(&self, params: &str, buffers: &str) -> Result<Weights<T>, Error> {
        let buffers = match self.setup.network.buffers().len() {
            0 => Vec::new(),
            len => tensors::values(self.file, self.path, buffers, &[len])?,
        };
        Ok(Weights { params: self.params(params)?, buffers })
    }

    /// What a run carries after `steps` steps, under names with this prefix.
    fn carried<T: Element>(&self, prefix: &str, steps: u64) -> Result<Anchor<T>, Error> {
        let Config { ema, lookahead, .. } = &self.setup.config;
        let named = |name: &str| format!("{prefix}{name}");
        let weights = |params, buffers| self.weights(&named(params), &named(buffers));
        let plan = self.setup.plan()?;
        let moments: Result<_, _> =
            plan.moment_names().iter().map(|name| self.params(&named(name))).collect();
        Ok(Anchor {
            weights: weights("params", "buffers")?,
            optimizer: plan.resume(self.cpu, steps, moments?)?,
            average: ema.map(|_| weights("average", "average_buffers")).transpose()?,
            slow: lookahead.map(|_| self.params(&named("slow"))).transpose()?,
        })
    }
}

/// The header of a checkpoint that is whole and belongs to `identity`.
fn header(
    file: &SafeTensors<'_>,
    bytes: &[u8],
    path: &Path,
    identity: &Identity,
) -> Result<Header, Error> {
    let foreign =
        |_| Error::malformed(path, "a checkpoint of evenkeel", "another safetensors file");
    let (_, metadata) = SafeTensors::read_metadata(bytes)
        .map_err(|error| Error::malformed(path, "a header", error))?;
    let texts = metadata.metadata().as_ref();
    let text = |key: &str| texts.and_then(|texts| texts.get(key)).ok_or(()).map_err(foreign);
    let (state, expected) = (text("state")?, text("sha256")?);
    let found = tensors::digest(state, file.iter().map(|(name, view)| (name, view.data())));
    if *expected != found {
        return Err(Error::malformed(
            path,
            format!("contents with SHA-256 {expected}"),
            format!("damaged ones with {found}"),
        ));
    }
    let header: Header = serde_json::from_str(state).map_err(|error| {
        Error::malformed(path, format!("a checkpoint of format {FORMAT}"), error)
    })?;
    if header.format != FORMAT {
        return Err(Error::malformed(path, format!("format {FORMAT}"), header.format));
    }
    let (ours, theirs) = (identity, &header.identity);
    let is_ours =
        |ours: &String, theirs: &String| ours == theirs || identity.before.contains(theirs);
    if !is_ours(&ours.config_sha256, &theirs.config_sha256) {
        let expected = format!("a checkpoint of the configuration {}", ours.config_sha256);
        return Err(Error::malformed(path, expected, format!("one of {}", theirs.config_sha256)));
    }
    if ours.data_sha256 != theirs.data_sha256 {
        let expected =
            format!("the data that the run began with, of SHA-256 {}", theirs.data_sha256);
        let found = format!(
            "others, of {}: they have changed since; name the former by --data, or begin another run",
            ours.data_sha256
        );
        return Err(Error::malformed(path, expected, found));
    }
    Ok(header)
}
