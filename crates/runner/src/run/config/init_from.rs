//! Weights of another run to begin with: the key `init_from`.

use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::data::DataError;
use crate::data::digest::sha256;
use crate::run::folder;

/// Where the weights come from: the key `init_from`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InitFrom {
    /// A run folder, or a file of safetensors.
    pub path: PathBuf,
    /// What the file has to be; a run's own configuration says it.
    pub sha256: Option<String>,
    /// Tensors that are drawn anew all the same; `*` stands for any characters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reinit: Vec<String>,
}

impl InitFrom {
    /// Says in full which file it is. What is said already stays: a run that is resumed needs the file no longer.
    ///
    /// # Errors
    /// [`DataError::Io`] if there is no such file, [`Error::Usage`] if its path is no text.
    pub fn resolve(&mut self) -> Result<(), Error> {
        if self.sha256.is_some() {
            return Ok(());
        }
        let named =
            if self.path.is_dir() { self.path.join(folder::MODEL) } else { self.path.clone() };
        let full = named.canonicalize().map_err(DataError::io("find", &named))?;
        if full.to_str().is_none() {
            let path = full.display();
            return Err(Error::Usage(format!(
                "init-from: {path} is not UTF-8, which TOML requires"
            )));
        }
        self.sha256 = Some(sha256(&fs::read(&full).map_err(DataError::io("read", &full))?));
        self.path = full;
        Ok(())
    }
}
