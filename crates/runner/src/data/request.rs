//! Which data set is asked for, and everything around the process that decides where it comes from.
//!
//! The command line makes a [`Request`] with [`Request::from_environment`]; tests fill one by hand, so that no
//! test depends on the environment.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::data::download::Mirrors;
use crate::data::synthetic::{Classification, Linear};
use crate::data::table::TargetColumn;
use crate::data::{DataError, Dataset, mnist};

/// The data set that is asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Choice {
    /// MNIST; generated digits where it cannot be had.
    Auto,
    /// MNIST and nothing else.
    Mnist,
    /// Generated digits.
    Digits,
    /// Whatever set of the form of [`folder`](super::folder) or of [`arrays`](super::arrays) is in this folder.
    Folder(PathBuf),
    /// The table in this file, and which of its columns is to be learned.
    Table(PathBuf, TargetColumn),
    /// The archive of arrays in this file.
    Archive(PathBuf),
    /// A generated table of classes.
    Classification(Classification),
    /// A generated table of values.
    Linear(Linear),
}

/// A generator of digits: from a seed, and with a folder to cache what it made in.
pub type Generate = fn(seed: u64, cache: Option<&Path>) -> Result<Dataset, DataError>;

/// What [`load`](super::load) needs to know.
#[derive(Clone, Debug)]
pub struct Request {
    /// Which data set.
    pub choice: Choice,
    /// The seed of what is generated, and of the test set of data that come without one.
    pub seed: u64,
    /// What generates them.
    pub digits: Generate,
    /// The folder that the user says MNIST is in.
    pub mnist_dir: Option<PathBuf>,
    /// Other folders where MNIST may be, in order.
    pub places: Vec<PathBuf>,
    /// The folder for whatever is worth keeping between runs; MNIST is in its subfolder `mnist`. `None` keeps nothing.
    pub cache: Option<PathBuf>,
    /// Where MNIST is downloaded from.
    pub mirrors: Mirrors,
}

impl Request {
    /// A request for `choice`, with the rest from the environment:
    ///
    /// | variable | meaning |
    /// |---|---|
    /// | `MNIST_DIR` | the first folder where MNIST is looked for |
    /// | `EVENKEEL_CACHE` | the cache; default `evenkeel` in the user's cache folder |
    /// | `EVENKEEL_MNIST_MIRRORS` | the mirrors, separated by spaces; empty to download nothing |
    /// | `HTTPS_PROXY`, `NO_PROXY` and their kin | the proxy for downloads |
    pub fn from_environment(choice: Choice, seed: u64, digits: Generate) -> Self {
        Self::from_variables(choice, seed, digits, |name| env::var_os(name))
    }

    /// [`from_environment`](Self::from_environment), with `variable` in place of the environment.
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
        // A user who waits for MNIST and nothing else has more patience than one who takes what there is.
        let first_byte = if choice == Choice::Auto { 3 } else { 30 };
        Self {
            choice,
            seed,
            digits,
            mnist_dir: folder("MNIST_DIR"),
            places: vec!["data/mnist".into(), "../shared/mnist".into()],
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

/// The user's cache folder, where the operating system's customs put it (on Linux and the BSDs, the XDG Base
/// Directory Specification, which says to ignore relative paths).
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
        assert_eq!(auto.places, [Path::new("data/mnist"), Path::new("../shared/mnist")]);
        assert_eq!(auto.mirrors.urls, mnist::MIRRORS);
        assert_eq!(auto.mirrors.first_byte, Duration::from_secs(3));
        assert!(request(Choice::Mnist, &[]).mirrors.first_byte > auto.mirrors.first_byte);
    }

    #[test]
    fn variables_override_and_empty_ones_count_as_absent() {
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
    fn the_cache_is_where_xdg_says() {
        let cache = |variables| request(Choice::Auto, variables).cache;
        assert_eq!(cache(&[("HOME", "/h")]), Some("/h/.cache/evenkeel".into()));
        assert_eq!(cache(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")]), Some("/x/evenkeel".into()));
        assert_eq!(
            cache(&[("HOME", "/h"), ("XDG_CACHE_HOME", "relative")]),
            Some("/h/.cache/evenkeel".into())
        );
    }
}
