//! Temporary folder to run the program in, with a data set that a small network learns in seconds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use kernels::random::Stream;
use runner::data::{Labelled, folder};
use serde_json::Value;

/// Height and width of an image.
pub(crate) const SIDE: usize = 6;
/// Number of classes.
pub(crate) const CLASSES: usize = 3;

pub(crate) struct World {
    folder: tempfile::TempDir,
}

impl World {
    /// Creates a folder with a data set of 300 training and 90 test images in `tiny`.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        folder::write(&folder.path().join("tiny"), &images(300, 1), &images(90, 2)).unwrap();
        Self { folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Command of the program with these arguments, separated by spaces. It finds neither MNIST nor
    /// a mirror.
    pub(crate) fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
        command
            .args(arguments.split_whitespace())
            .current_dir(self.folder.path())
            .env_remove("MNIST_DIR")
            .env("EVENKEEL_MNIST_MIRRORS", "")
            .env("EVENKEEL_CACHE", self.path("cache"));
        command
    }

    /// Runs the program, and asserts that it does not panic.
    pub(crate) fn run(&self, arguments: &str) -> Output {
        let output = self.command(arguments).output().unwrap();
        assert!(!stderr(&output).contains("panicked"), "{arguments}: {}", stderr(&output));
        output
    }

    /// Runs the program, and asserts exit code `code` and each of `texts` in stderr.
    pub(crate) fn expect(&self, code: i32, arguments: &str, texts: &[&str]) -> Output {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments}: {}", stderr(&output));
        for text in texts {
            assert!(
                stderr(&output).contains(text),
                "{arguments}: no `{text}` in: {}",
                stderr(&output)
            );
        }
        output
    }

    pub(crate) fn write(&self, name: &str, contents: &str) {
        fs::write(self.path(name), contents).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn summary(&self, run: &str) -> Value {
        serde_json::from_str(&self.read(&format!("{run}/summary.json"))).unwrap()
    }

    /// SHA-256 of the trained parameters of `run`.
    pub(crate) fn sha(&self, run: &str) -> String {
        self.summary(run)["params_sha256"].as_str().unwrap().to_owned()
    }
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Path and contents of every file in `folder`.
pub(crate) fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    files.sort();
    files
}

/// `count` noisy images of [`CLASSES`] classes: class c has two bright rows, 2c and 2c + 1.
pub(crate) fn images(count: usize, seed: u64) -> Labelled {
    let stream = Stream::new(seed, 0);
    let labels: Vec<u8> = (0..count).map(|i| (i % CLASSES) as u8).collect();
    let pixel = |i: usize| {
        let (image, row) = (i / (SIDE * SIDE), i / SIDE % SIDE);
        let noise = stream.below(i as u64, 120) as u8;
        if row / 2 == image % CLASSES { 100 + noise } else { noise }
    };
    let pixels = (0..count * SIDE * SIDE).map(pixel).collect();
    Labelled::new(pixels, labels, SIDE as u32, SIDE as u32).unwrap()
}
