//! Choice of a data set, and the folders, cache and mirrors that it may come from.
//!
//! The command line creates a [`Request`] with [`Request::from_environment`]. Tests fill its
//! fields, so that no test depends on the environment.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::data::download::Mirrors;
use crate::data::synthetic::{Classification, Linear};
use crate::data::table::TargetColumn;
use crate::data::{Dataset, mnist};

/// Choice of a data set.
#[derive(Clone, Debug, PartialEq)]
pub enum Choice {
    /// MNIST; generated digits if it is unavailable.
    Auto,
    /// MNIST only.
    Mnist,
    /// Generated digits.
    Digits,
    /// Folder in the form of [`folder`](super::folder) or of [`arrays`](super::arrays).
    Folder(PathBuf),
    /// File of a table, and its target column.
    Table(PathBuf, TargetColumn),
    /// Archive of arrays.
    Archive(PathBuf),
    /// Generated table for classification.
    Classification(Classification),
    /// Generated table for regression.
    Linear(Linear),
}

/// Generator of digits from a seed, with a folder for its cache.
pub type Generate = fn(seed: u64, cache: Option<&Path>) -> Dataset;

/// Arguments of [`load`](super::load).
#[derive(Clone, Debug)]
pub struct Request {
    /// Data set to load.
    pub choice: Choice,
    /// Seed of generated data, and of the test set that is held out from data without one.
    pub seed: u64,
    /// Generator of digits.
    pub digits: Generate,
    /// Folder of MNIST that the user named.
    pub mnist_dir: Option<PathBuf>,
    /// Other folders to search for MNIST, in order.
    pub search: Vec<PathBuf>,
    /// Folder of the cache; MNIST is in its subfolder `mnist`. `None` caches nothing.
    pub cache: Option<PathBuf>,
    /// Mirrors of MNIST.
    pub mirrors: Mirrors,
}

impl Request {
    /// Creates a request for `choice`, with the rest from the environment:
    ///
    /// | variable | meaning |
    /// |---|---|
    /// | `MNIST_DIR` | first folder that is searched for MNIST |
    /// | `EVENKEEL_CACHE` | the cache; default `evenkeel` in the user's cache folder |
    /// | `EVENKEEL_MNIST_MIRRORS` | the mirrors, separated by spaces; empty to download nothing |
    /// | `HTTPS_PROXY`, `NO_PROXY` and the like | the proxy for downloads |
    pub fn from_environment(choice: Choice, seed: u64, digits: Generate) -> Self {
        Self::from_variables(choice, seed, digits, |name| env::var_os(name))
    }

    /// Creates a request like [`from_environment`](Self::from_environment), with `variable` in
    /// place of the environment.
    fn from_variables(
        choice: Choice,
        seed: u64,
        digits: Generate,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Self {
        let folder = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let urls = match variable("EVENKEEL_MNIST_MIRRORS") {
            Some(list) => list.to_string_lossy().split_whitespace().map(String::from).collect(),
            None => mnist::MIRRORS.map(String::from).into(),
        };
        // A user who requires MNIST waits longer than one who accepts generated digits.
        let first_byte = if choice == Choice::Auto { 3 } else { 30 };
        Self {
            choice,
            seed,
            digits,
            mnist_dir: folder("MNIST_DIR"),
            search: vec!["data/mnist".into(), "../shared/mnist".into()],
            cache: folder("EVENKEEL_CACHE")
                .or_else(|| user_cache(folder).map(|cache| cache.join("evenkeel"))),
            mirrors: Mirrors {
                urls,
                files: mnist::PUBLISHED,
                first_byte: Duration::from_secs(first_byte),
                stall: Duration::from_secs(15),
                environment_proxy: true,
            },
        }
    }
}

/// Returns the user's cache folder by the conventions of the operating system. On Linux and the
/// BSDs these are the XDG Base Directory Specification, which ignores relative paths.
fn user_cache(folder: impl Fn(&'static str) -> Option<PathBuf>) -> Option<PathBuf> {
    if cfg!(windows) {
        return folder("LOCALAPPDATA");
    }
    let home = || folder("HOME");
    if cfg!(target_os = "macos") {
        return home().map(|home| home.join("Library/Caches"));
    }
    let explicit = folder("XDG_CACHE_HOME").filter(|path| path.is_absolute());
    explicit.or_else(|| home().map(|home| home.join(".cache")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(choice: Choice, variables: &[(&str, &str)]) -> Request {
        let find = |name: &str| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into())
        };
        let no_digits: Generate = |_, _| unreachable!("nothing is loaded");
        Request::from_variables(choice, 7, no_digits, find)
    }

    #[test]
    fn an_empty_environment_gives_the_defaults() {
        let auto = request(Choice::Auto, &[]);
        assert_eq!((auto.mnist_dir, auto.cache), (None, None));
        assert_eq!(auto.search, [Path::new("data/mnist"), Path::new("../shared/mnist")]);
        assert_eq!(auto.mirrors.urls, mnist::MIRRORS);
        assert_eq!(auto.mirrors.first_byte, Duration::from_secs(3));
        assert!(request(Choice::Mnist, &[]).mirrors.first_byte > auto.mirrors.first_byte);
    }

    #[test]
    fn variables_override_defaults_and_empty_ones_count_as_absent() {
        let given =
            [("MNIST_DIR", "/m"), ("EVENKEEL_CACHE", "/c"), ("EVENKEEL_MNIST_MIRRORS", " a  b ")];
        let given = request(Choice::Auto, &given);
        assert_eq!(given.mnist_dir.as_deref(), Some(Path::new("/m")));
        assert_eq!(given.cache.as_deref(), Some(Path::new("/c")));
        assert_eq!(given.mirrors.urls, ["a", "b"]);

        let empty = [("MNIST_DIR", ""), ("EVENKEEL_CACHE", ""), ("EVENKEEL_MNIST_MIRRORS", "")];
        let empty = request(Choice::Auto, &empty);
        assert_eq!((empty.mnist_dir, empty.cache), (None, None));
        assert!(empty.mirrors.urls.is_empty());
    }

    #[cfg(all(unix, not(target_os = "macos")))]
    #[test]
    fn the_cache_folder_follows_xdg() {
        let cache = |variables| request(Choice::Auto, variables).cache;
        assert_eq!(cache(&[("HOME", "/h")]), Some("/h/.cache/evenkeel".into()));
        assert_eq!(cache(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")]), Some("/x/evenkeel".into()));
        assert_eq!(
            cache(&[("HOME", "/h"), ("XDG_CACHE_HOME", "relative")]),
            Some("/h/.cache/evenkeel".into())
        );
    }
}
