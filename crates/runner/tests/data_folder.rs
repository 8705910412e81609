//! Folders in MNIST's form: spelling of files, order of the search, and errors.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::Compression;
use flate2::read::GzEncoder;
use runner::data::folder::FILES;
use runner::data::{
    Choice, DataError, Dataset, Event, Fault, Labelled, Mirrors, Origin, Published, Request,
    folder, idx, load,
};
use tempfile::TempDir;

/// Returns three training and two test images of 2 x 3; the largest label is 4.
fn sets() -> [Labelled; 2] {
    let set = |labels: Vec<u8>| {
        let pixels = (0..6 * labels.len()).map(|i| i as u8).collect();
        Labelled::new(pixels, labels, 2, 3).expect("6 pixels a label")
    };
    [set(vec![4, 0, 3]), set(vec![1, 2])]
}

/// Creates the folder `name` in `parent`, with the files of [`sets`].
fn filled(parent: &TempDir, name: &str) -> PathBuf {
    let path = parent.path().join(name);
    let [train, test] = sets();
    folder::write(&path, &train, &test).expect("written");
    path
}

fn parent() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// Returns a request that downloads nothing.
fn request(choice: Choice, search: &[&Path], cache: Option<&Path>) -> Request {
    let nothing = Published { name: "", bytes: 0, sha256: "" };
    Request {
        choice,
        seed: 5,
        digits: |seed, _cache| panic!("digits of seed {seed} were not requested"),
        mnist_dir: None,
        search: search.iter().map(PathBuf::from).collect(),
        cache: cache.map(PathBuf::from),
        mirrors: Mirrors {
            urls: vec![],
            files: [(); 4].map(|()| nothing.clone()),
            first_byte: Duration::ZERO,
            stall: Duration::ZERO,
            environment_proxy: false,
        },
    }
}

fn run(request: &Request) -> (Result<Dataset, DataError>, Vec<String>) {
    let mut notices = Vec::new();
    let result = load(request, &mut |event| {
        let Event::Notice(text) = event else { panic!("nothing is downloaded: {event:?}") };
        notices.push(text.to_owned());
    });
    (result, notices)
}

fn load_folder(path: &Path) -> Result<Dataset, DataError> {
    let (result, notices) = run(&request(Choice::Folder(path.into()), &[], None));
    assert!(notices.is_empty(), "{notices:?}");
    result
}

#[test]
fn a_folder_is_read_in_every_spelling() {
    for (separator, ending) in [("-", ""), ("-", ".gz"), (".", ""), (".", ".gz")] {
        let parent = parent();
        let path = filled(&parent, "tiny");
        for name in FILES {
            let mut contents = fs::read(path.join(name)).expect("there");
            if ending == ".gz" {
                let raw = std::mem::take(&mut contents);
                GzEncoder::new(&raw[..], Compression::fast())
                    .read_to_end(&mut contents)
                    .expect("packed");
            }
            fs::remove_file(path.join(name)).expect("removed");
            fs::write(
                path.join(name.replace("-idx", &format!("{separator}idx")) + ending),
                contents,
            )
            .expect("written");
        }
        let set = load_folder(&path).expect("a complete folder");
        assert_eq!((set.name.as_str(), set.classes), ("tiny", 5));
        assert_eq!(set.origin, Origin::Folder(path));
        assert_eq!([set.train, set.test], sets());
    }
}

#[test]
fn missing_files_are_an_error_without_a_fallback() {
    let parent = parent();
    let path = filled(&parent, "tiny");
    fs::remove_file(path.join(FILES[1])).expect("removed");
    fs::remove_file(path.join(FILES[2])).expect("removed");
    let error = load_folder(&path).expect_err("incomplete");
    let message = error.to_string();
    assert!(message.contains(FILES[1]) && message.contains(&*path.to_string_lossy()), "{message}");
    let DataError::Missing { folder, files } = error else { panic!("{message}") };
    assert_eq!((folder, &files[..]), (path, &FILES[1..3]));

    let nowhere = parent.path().join("nowhere");
    let error = load_folder(&nowhere).expect_err("absent");
    assert!(matches!(error, DataError::Missing { files, .. } if files == FILES));
}

/// Breaks each rule between files, and compares the error.
#[test]
fn files_that_do_not_match_are_refused() {
    type Break = fn(&Path) -> Result<(), DataError>;
    let cases: [(Break, usize, Fault, &str, &str); 5] = [
        (|dir| idx::write(&dir.join(FILES[1]), [2], &[0, 1]), 1, Fault::Count, "3 labels", "2"),
        (|dir| idx::write(&dir.join(FILES[3]), [3], &[0, 1, 2]), 3, Fault::Count, "2 labels", "3"),
        (
            |dir| idx::write(&dir.join(FILES[2]), [2, 3, 2], &[0; 12]),
            2,
            Fault::ImageSize,
            "2 x 3",
            "3 x 2",
        ),
        (
            |dir| idx::write(&dir.join(FILES[3]), [2], &[4, 5]),
            3,
            Fault::LabelRange,
            "labels below 5",
            "5 at index 1",
        ),
        (|dir| idx::write(&dir.join(FILES[0]), [18], &[0; 18]), 0, Fault::Rank, "3", "1"),
    ];
    for (break_rule, file, fault, expected, found) in cases {
        let parent = parent();
        let dir = filled(&parent, "tiny");
        break_rule(&dir).expect("written");
        let error = load_folder(&dir).expect_err("malformed");
        let DataError::Malformed { path, fault: f, expected: e, found: got } = error else {
            panic!("{error}")
        };
        assert_eq!(
            (path, f, e.as_str(), got.as_str()),
            (dir.join(FILES[file]), fault, expected, found)
        );
    }
}

#[test]
fn a_file_that_cannot_be_read_is_an_io_error() {
    let parent = parent();
    let path = filled(&parent, "tiny");
    fs::remove_file(path.join(FILES[3])).expect("removed");
    fs::create_dir(path.join(FILES[3])).expect("a folder in place of the file");
    let error = load_folder(&path).expect_err("unreadable");
    assert!(matches!(error, DataError::Io { action: "read", .. }), "{error}");
}

#[test]
fn mnist_is_searched_for_in_order() {
    let parent = parent();
    let [named, near, far, cache] =
        ["named", "near", "far", "cache/mnist"].map(|name| filled(&parent, name));
    let cache_root = parent.path().join("cache");
    let mut request = request(Choice::Mnist, &[&near, &far], Some(&cache_root));
    request.mnist_dir = Some(named.clone());
    for folder in [named, near, far, cache] {
        let (set, _) = run(&request);
        let set = set.expect("found");
        assert_eq!((set.name.as_str(), set.classes), ("mnist", 10));
        assert_eq!(set.origin, Origin::Folder(folder.clone()));
        fs::remove_dir_all(folder).expect("removed");
    }
    let (result, notices) = run(&request);
    let Err(DataError::Unavailable { searched, attempts }) = result else { panic!("{result:?}") };
    let names = ["named", "near", "far", "cache/mnist"].map(|name| parent.path().join(name));
    assert_eq!(searched, names);
    assert!(attempts.is_empty());
    // A notice about an empty folder appears only if the user named it.
    assert!(notices.len() == 1 && notices[0].contains("named"), "{notices:?}");
}

#[test]
fn an_incomplete_folder_is_skipped_with_a_notice() {
    let parent = parent();
    let (incomplete, complete) = (filled(&parent, "incomplete"), filled(&parent, "complete"));
    fs::remove_file(incomplete.join(FILES[0])).expect("removed");
    let (set, notices) = run(&request(Choice::Auto, &[&incomplete, &complete], None));
    assert_eq!(set.expect("found").origin, Origin::Folder(complete));
    assert!(notices.len() == 1 && notices[0].contains(FILES[0]), "{notices:?}");
}

#[test]
fn a_malformed_file_in_a_searched_folder_ends_the_search() {
    let parent = parent();
    let (bad, good) = (filled(&parent, "bad"), filled(&parent, "good"));
    idx::write(&bad.join(FILES[1]), [3], &[0, 10, 1]).expect("written");
    let (result, _) = run(&request(Choice::Auto, &[&bad, &good], None));
    let Err(DataError::Malformed { path, fault: Fault::LabelRange, expected, found }) = result
    else {
        panic!("{result:?}")
    };
    assert_eq!(
        (path, expected.as_str(), found.as_str()),
        (bad.join(FILES[1]), "labels below 10", "10 at index 1")
    );
}
