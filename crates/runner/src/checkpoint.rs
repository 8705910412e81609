//! `checkpoint.safetensors`: the state of a run to the bit, in the layout of memory.
//!
//! | tensor | shape | holds |
//! |---|---|---|
//! | `params`, `best` | (parameters) | the parameters, and those of the best epoch |
//! | `buffers`, `best_buffers` | (buffers) | likewise what is not trained, if there is any |
//! | `average`, `average_buffers` | likewise | the average of the weights, if the run has one |
//! | `slow` | (parameters) | the slow weights, if it looks ahead |
//! | `exp_avg`, ... | (parameters) | the moments, by [`nn::Plan::moment_names`] |
//!
//! The metadata holds `state` (JSON: position, steps, and what the state belongs to) and `sha256` over that text and all
//! tensors, so that damage anywhere is seen before anything is used.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use kernels::Cpu;
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::data::DataError;
use crate::element::Element;
use crate::setup::Setup;
use crate::tensors::{self, Array, malformed};
use crate::training::{Position, State, plan, steps_per_epoch};
use crate::weights::Weights;

/// The form of the file that this module writes and reads.
const FORMAT: u32 = 1;

/// What a state belongs to: it continues this run and no other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// [`Config::sha256`](crate::config::Config::sha256).
    pub config_sha256: String,
    /// [`Setup::data_sha256`].
    pub data_sha256: String,
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
        Ok(Self { config_sha256: setup.config.sha256()?, data_sha256: setup.data_sha256() })
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
    let header =
        serde_json::to_string(&header).map_err(|error| Error::Usage(format!("checkpoint: {error}")))?;
    let moments = state.optimizer.moment_names().iter().copied().zip(state.optimizer.moments());
    let State { weights, best, average, slow, .. } = state;
    let average = average.iter().flat_map(|w| [("average", &w.params), ("average_buffers", &w.buffers)]);
    let arrays: Vec<_> = [("params", &weights.params), ("best", &best.params)]
        .into_iter()
        .chain([("buffers", &weights.buffers), ("best_buffers", &best.buffers)])
        .chain(average)
        .chain(slow.iter().map(|slow| ("slow", slow)))
        .chain(moments)
        .filter(|(_, values)| !values.is_empty())
        .map(|(name, values)| (name.to_owned(), Array::new(&[values.len()], values)))
        .collect();
    let sha256 = tensors::digest(&header, arrays.iter().map(|(name, array)| (&name[..], array.bytes())));
    tensors::encode(&arrays, Some(HashMap::from([("state".into(), header), ("sha256".into(), sha256)])))
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
    let file = tensors::decode(&bytes, path)?;
    let Header { steps, position, .. } = header(&file, &bytes, path, identity)?;

    let steps_per_epoch = steps_per_epoch(setup.split.train.len(), setup.config.images_per_step());
    let taken = position.history.len() as u64 * steps_per_epoch + position.step;
    if steps != taken
        || position.step > steps_per_epoch
        || position.history.len() > setup.config.epochs as usize
    {
        return Err(malformed(path, format!("{taken} steps, within the run"), steps));
    }
    let shape = [setup.network.layout().len()];
    let buffer = |name: &str| tensors::values(&file, path, name, &shape);
    let beside = |name: &str| match setup.network.buffers().len() {
        0 => Ok(Vec::new()),
        len => tensors::values(&file, path, name, &[len]),
    };
    let plan = plan(setup)?;
    let moments: Result<_, _> = plan.moment_names().iter().map(|name| buffer(name)).collect();
    let weights =
        |params, buffers| Ok::<_, Error>(Weights { params: buffer(params)?, buffers: beside(buffers)? });
    Ok(State {
        weights: weights("params", "buffers")?,
        best: weights("best", "best_buffers")?,
        optimizer: plan.resume(cpu, steps, moments?)?,
        average: setup.config.ema.map(|_| weights("average", "average_buffers")).transpose()?,
        slow: setup.config.lookahead.map(|_| buffer("slow")).transpose()?,
        position,
    })
}

/// The header of a checkpoint that is whole and belongs to `identity`.
fn header(file: &SafeTensors<'_>, bytes: &[u8], path: &Path, identity: &Identity) -> Result<Header, Error> {
    let foreign = |_| malformed(path, "a checkpoint of evenkeel", "another safetensors file");
    let (_, metadata) =
        SafeTensors::read_metadata(bytes).map_err(|error| malformed(path, "a header", error))?;
    let texts = metadata.metadata().as_ref();
    let text = |key: &str| texts.and_then(|texts| texts.get(key)).ok_or(()).map_err(foreign);
    let (state, expected) = (text("state")?, text("sha256")?);
    let found = tensors::digest(state, file.iter().map(|(name, view)| (name, view.data())));
    if *expected != found {
        return Err(malformed(
            path,
            format!("contents with SHA-256 {expected}"),
            format!("damaged ones with {found}"),
        ));
    }
    let header: Header = serde_json::from_str(state)
        .map_err(|error| malformed(path, format!("a checkpoint of format {FORMAT}"), error))?;
    if header.format != FORMAT {
        return Err(malformed(path, format!("format {FORMAT}"), header.format));
    }
    let pairs = [
        ("configuration", &identity.config_sha256, &header.identity.config_sha256),
        ("data", &identity.data_sha256, &header.identity.data_sha256),
    ];
    for (what, expected, found) in pairs {
        if expected != found {
            return Err(malformed(
                path,
                format!("a checkpoint of the {what} {expected}"),
                format!("one of {found}"),
            ));
        }
    }
    Ok(header)
}
