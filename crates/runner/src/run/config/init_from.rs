//! Initial weights from another run: the key `init_from`.

use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::data::DataError;
use crate::data::digest::sha256;
use crate::run::folder;

/// File of the initial weights: the key `init_from`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InitFrom {
    /// Run folder or safetensors file.
    pub path: PathBuf,
    /// SHA-256 of the file; set in the configuration of a run.
    pub sha256: Option<String>,
    /// Tensors that are initialised instead; `*` matches any characters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reinit: Vec<String>,
}

impl InitFrom {
    /// Resolves the path of the file and its SHA-256, unless the latter is set: a resumed run does
    /// not need the file.
    ///
    /// # Errors
    /// [`DataError::Io`] if there is no such file; [`Error::Usage`] if its path is not UTF-8.
    pub fn resolve(&mut self) -> Result<(), Error> {
        if self.sha256.is_some() {
            return Ok(());
        }
        let path =
            if self.path.is_dir() { self.path.join(folder::MODEL) } else { self.path.clone() };
        let full = path.canonicalize().map_err(DataError::io("find", &path))?;
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
