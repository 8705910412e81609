//! Checks that imports between the folders of this crate go one way: down the list in `lib.rs`.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders from top to bottom: each imports only from itself and the folders after it.
const ORDER: [&str; 12] = [
    "cli",
    "commands",
    "report",
    "export",
    "verify",
    "diagnosis",
    "training",
    "evaluation",
    "run",
    "augment",
    "data",
    "machine",
];

/// Adds the source files in `folder` to `files`.
fn sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a source folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Position in [`ORDER`] of the first folder in `path`.
fn position(path: &str) -> Option<usize> {
    let name = path.split(|c: char| !(c.is_alphanumeric() || c == '_')).next();
    ORDER.iter().position(|folder| Some(*folder) == name)
}

/// Code of a file, without tests and comments, which may refer to any folder.
fn code(text: &str) -> String {
    let code = text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or_default();
    code.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .fold(String::new(), |code, line| code + line + "\n")
}

#[test]
fn folders_import_only_from_those_below_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut imports = 0;
    for file in files {
        let inside = file.strip_prefix(&root).expect("a file of the crate");
        let name = inside.display().to_string();
        let Some(own) = position(&name) else { continue };
        if name.ends_with("tests.rs") {
            continue;
        }
        let text = fs::read_to_string(&file).expect("a source file");
        let code = code(&text);
        let paths = code.split("crate::").skip(1).flat_map(|path| match path.strip_prefix('{') {
            Some(group) => group.split('}').next().unwrap_or_default().split(',').collect(),
            None => vec![path],
        });
        for path in paths {
            let Some(imported) = position(path.trim_start()) else { continue };
            imports += 1;
            assert!(
                imported >= own,
                "{name} imports from `{}`, which is above `{}` in the order of folders",
                ORDER[imported],
                ORDER[own]
            );
        }
    }
    assert!(imports > 300, "{imports} imports found: the parser misses some");
}
