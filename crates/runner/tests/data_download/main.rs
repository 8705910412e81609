//! Downloads of MNIST from mirrors on loopback that deliver, break off, stall, redirect, refuse or
//! send wrong bytes. These tests need no network and do not read the environment.

mod server;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, thread};

use runner::data::folder::FILES;
use runner::data::{
    Attempt, Choice, DataError, Dataset, Event, Labelled, Mirrors, Names, Origin, Published,
    Reason, Request, load,
};
use server::{Response, Server, gzip};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// Timeout that no working mirror reaches, even on a busy machine.
const GENEROUS: Duration = Duration::from_secs(20);

/// Timeout that a test can wait for.
const SHORT: Duration = Duration::from_millis(300);

/// Returns the four files of three training and two test images of 8 x 8.
fn files() -> Vec<(&'static str, Vec<u8>)> {
    let pixels = |count: u8| (0..64 * u32::from(count)).map(|i| (i * i % 251) as u8);
    let images = |count: u8| {
        [0, 0, 8, 3, 0, 0, 0, count, 0, 0, 0, 8, 0, 0, 0, 8].into_iter().chain(pixels(count))
    };
    let labels = |count: u8| [0, 0, 8, 1, 0, 0, 0, count].into_iter().chain(0..count);
    let contents =
        [images(3).collect(), labels(3).collect(), images(2).collect(), labels(2).collect()];
    FILES.into_iter().zip(contents).collect()
}

/// Returns a data set in place of generated digits.
fn digits(_seed: u64, _cache: Option<&Path>) -> Dataset {
    let set = || Labelled::new(vec![0], vec![0], 1, 1).expect("one pixel");
    let origin = Origin::Generated { instead_of: None };
    let (name, names) = ("digits".into(), Names::default());
    Dataset { name, origin, classes: 1, names, train: set(), test: set(), test_is_held_out: false }
}

/// Returns a request for MNIST from `urls` into `cache`, with generous timeouts.
fn request(cache: Option<&Path>, urls: Vec<String>) -> Request {
    let files: Vec<_> =
        files().into_iter().map(|(name, contents)| published(name, &contents)).collect();
    Request {
        choice: Choice::Mnist,
        seed: 0,
        digits,
        mnist_dir: None,
        search: vec![],
        cache: cache.map(PathBuf::from),
        mirrors: Mirrors {
            urls,
            files: files.try_into().expect("four files"),
            first_byte: GENEROUS,
            stall: GENEROUS,
            environment_proxy: false,
        },
    }
}

fn published(name: &'static str, contents: &[u8]) -> Published {
    let sha256: String =
        Sha256::digest(contents).iter().map(|byte| format!("{byte:02x}")).collect();
    Published { name, bytes: contents.len() as u64, sha256: sha256.leak() }
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// Returns the names of the files in MNIST's cache, sorted.
fn cached(cache: &Path) -> Vec<String> {
    let entries = fs::read_dir(cache.join("mnist")).into_iter().flatten();
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn all_files() -> Vec<String> {
    let mut names = FILES.map(String::from);
    names.sort();
    names.into()
}

/// Loads `request` and returns the result with the notices.
fn run(request: &Request) -> (Result<Dataset, DataError>, Vec<String>) {
    let mut notices = Vec::new();
    let result = load(request, &mut |event| {
        if let Event::Notice(text) = event {
            notices.push(text.to_owned());
        }
    });
    (result, notices)
}

/// Returns the attempts of a failed request.
fn attempts(result: Result<Dataset, DataError>) -> Vec<Attempt> {
    match result {
        Err(DataError::Unavailable { attempts, .. }) => attempts,
        other => panic!("expected every mirror to fail: {other:?}"),
    }
}

fn check(set: &Dataset) {
    assert_eq!((set.name.as_str(), set.classes), ("mnist", 10));
    assert_eq!((set.train.dims(), set.test.dims()), ([3, 8, 8], [2, 8, 8]));
    assert_eq!(set.train.pixels(), &files()[0].1[16..]);
    assert_eq!(set.test.labels(), [0, 1]);
}

#[test]
fn a_download_is_verified_cached_and_not_repeated() {
    for response in [Response::Gzipped, Response::Raw] {
        let (cache, server) = (folder(), Server::start(files(), response));
        let request = request(Some(cache.path()), vec![server.url()]);
        let mut progress = Vec::new();
        let set = load(&request, &mut |event| match event {
            Event::Started(url) => progress.push((url.to_owned(), 0, None)),
            Event::Received { bytes, total } => {
                let last = progress.last_mut().expect("started");
                assert!(bytes > last.1 && total.is_none_or(|total| bytes <= total));
                (last.1, last.2) = (bytes, total);
            }
            Event::Finished => {}
            Event::Notice(text) => panic!("no notice is expected: {text}"),
        });
        let set = set.expect("delivered");
        check(&set);
        let into = cache.path().join("mnist");
        assert_eq!(set.origin, Origin::Downloaded { from: server.url(), into: Some(into.clone()) });
        assert_eq!(cached(cache.path()), all_files());
        for (name, contents) in files() {
            assert_eq!(fs::read(into.join(name)).expect("stored"), contents);
        }
        let urls: Vec<_> = FILES.iter().map(|name| format!("{}{name}.gz", server.url())).collect();
        assert!(progress.iter().map(|(url, ..)| url).eq(&urls));
        assert!(
            progress
                .iter()
                .all(|&(_, bytes, total)| bytes > 0 && total.is_none_or(|total| total == bytes))
        );

        assert_eq!(server.requests().len(), 4);
        let again = run(&request).0.expect("cached");
        check(&again);
        assert_eq!(again.origin, Origin::Folder(into));
        assert_eq!(server.requests().len(), 4);
    }
}

#[test]
fn every_failure_has_its_reason_and_leaves_no_file() {
    type IsExpected = fn(&Reason) -> bool;
    let cases: [(Response, IsExpected); 9] = [
        (Response::Corrupt, |reason| matches!(reason, Reason::Checksum { .. })),
        (Response::Damaged, |reason| matches!(reason, Reason::Gzip(_))),
        (Response::Truncated, |reason| matches!(reason, Reason::Broken(_))),
        (Response::TruncatedSilently, |reason| matches!(reason, Reason::Gzip(_))),
        (Response::Bomb, |reason| matches!(reason, Reason::TooLong { expected: 208 })),
        (Response::Endless, |reason| matches!(reason, Reason::Gzip(_))),
        (Response::Status(404), |reason| *reason == Reason::Status(404)),
        (Response::Status(503), |reason| *reason == Reason::Status(503)),
        (Response::Redirect("/".into()), |reason| matches!(reason, Reason::Broken(_))),
    ];
    for (response, is_expected) in cases {
        let (cache, server) = (folder(), Server::start(files(), response.clone()));
        let attempts = attempts(run(&request(Some(cache.path()), vec![server.url()])).0);
        let [Attempt { url, reason }] = &attempts[..] else { panic!("{response:?}: {attempts:?}") };
        assert!(is_expected(reason), "{response:?}: {reason:?}");
        assert_eq!(*url, format!("{}{}.gz", server.url(), FILES[0]));
        assert!(cached(cache.path()).is_empty(), "{response:?}: {:?}", cached(cache.path()));
    }
}

#[test]
fn unreachable_hosts_are_broken_connections() {
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let closed = format!("http://{}/", closed.expect("loopback has ports"));
    let plain = Server::start(files(), Response::Gzipped);
    let secure = plain.url().replace("http:", "https:");
    let urls = vec![closed, secure, "not a url".into(), "ftp://127.0.0.1/".into()];
    let attempts = attempts(run(&request(None, urls)).0);
    assert_eq!(attempts.len(), 4);
    assert!(
        attempts.iter().all(|attempt| matches!(attempt.reason, Reason::Broken(_))),
        "{attempts:?}"
    );
}

#[test]
fn the_next_mirror_is_tried_and_stays_the_first_for_later_files() {
    let broken = [
        Response::Corrupt,
        Response::Damaged,
        Response::Truncated,
        Response::TruncatedSilently,
        Response::Bomb,
        Response::Status(404),
    ];
    for response in broken {
        let (cache, good) = (folder(), Server::start(files(), Response::Gzipped));
        let bad = Server::start(files(), response);
        let set =
            run(&request(Some(cache.path()), vec![bad.url(), good.url()])).0.expect("delivered");
        check(&set);
        assert_eq!(cached(cache.path()), all_files());
        assert_eq!((bad.requests().len(), good.requests().len()), (1, 4));
    }
}

#[test]
fn a_redirect_is_followed() {
    let (cache, good) = (folder(), Server::start(files(), Response::Gzipped));
    let redirecting = Server::start(files(), Response::Redirect(good.url()));
    check(&run(&request(Some(cache.path()), vec![redirecting.url()])).0.expect("redirected"));
    assert_eq!((redirecting.requests().len(), good.requests().len()), (4, 4));
}

#[test]
fn silent_mirrors_share_one_timeout_until_the_first_byte() {
    let servers = [Response::Silent, Response::HeadersOnly, Response::Silent]
        .map(|response| Server::start(files(), response));
    let cache = folder();
    let mut request = request(Some(cache.path()), servers.iter().map(Server::url).collect());
    request.mirrors.first_byte = 3 * SHORT;
    let start = Instant::now();
    let attempts = attempts(run(&request).0);
    let elapsed = start.elapsed();
    assert!(elapsed >= 3 * SHORT && elapsed < GENEROUS / 4, "{elapsed:?}");
    assert_eq!(attempts.len(), 3);
    for attempt in attempts {
        let Reason::Silent(waited) = attempt.reason else { panic!("{attempt}") };
        // Equal parts of the remaining time, less the time between the attempts.
        assert!(waited <= SHORT + Duration::from_millis(1), "{waited:?}");
    }
    assert!(servers.iter().all(|server| server.requests().len() == 1));
    assert!(cached(cache.path()).is_empty());
}

#[test]
fn an_unresolved_name_costs_no_more_than_the_timeout() {
    let mut request = request(None, vec!["http://no-such-host.invalid/".into()]);
    request.mirrors.first_byte = SHORT;
    let start = Instant::now();
    let attempts = attempts(run(&request).0);
    assert!(start.elapsed() < GENEROUS / 4, "{:?}", start.elapsed());
    assert!(matches!(attempts[0].reason, Reason::Broken(_) | Reason::Silent(_)), "{attempts:?}");
}

#[test]
fn a_silent_mirror_leaves_time_for_the_next() {
    let silent = Server::start(files(), Response::Silent);
    let good = Server::start(files(), Response::Gzipped);
    let cache = folder();
    let mut request = request(Some(cache.path()), vec![silent.url(), good.url()]);
    request.mirrors.first_byte = Duration::from_secs(2);
    check(&run(&request).0.expect("delivered"));
    assert_eq!((silent.requests().len(), good.requests().len()), (1, 4));
}

#[test]
fn after_the_first_byte_only_a_stall_times_out() {
    let stalling = Server::start(files(), Response::Stalls);
    let good = Server::start(files(), Response::Gzipped);
    let cache = folder();
    let mut alone = request(Some(cache.path()), vec![stalling.url()]);
    alone.mirrors.stall = SHORT;
    let start = Instant::now();
    let failed = attempts(run(&alone).0);
    assert!(start.elapsed() >= SHORT && start.elapsed() < GENEROUS / 4, "{:?}", start.elapsed());
    assert_eq!(failed[0].reason, Reason::Stalled(SHORT));
    assert!(cached(cache.path()).is_empty());

    // The stall outlasts the timeout until the first byte, which no longer applies to the next
    // mirror.
    let mut both = request(Some(cache.path()), vec![stalling.url(), good.url()]);
    (both.mirrors.first_byte, both.mirrors.stall) = (2 * SHORT, 3 * SHORT);
    check(&run(&both).0.expect("delivered"));
}

#[test]
fn two_concurrent_downloads_into_one_folder_succeed() {
    let (cache, server) = (folder(), Server::start(files(), Response::Gzipped));
    let request = request(Some(cache.path()), vec![server.url()]);
    thread::scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(|| run(&request).0));
        for one in both {
            check(&one.join().expect("no panic").expect("delivered"));
        }
    });
    assert_eq!(cached(cache.path()), all_files());
}

#[test]
fn verified_files_are_kept_and_others_downloaded_again() {
    let (cache, server) = (folder(), Server::start(files(), Response::Gzipped));
    let into = cache.path().join("mnist");
    fs::create_dir(&into).expect("a folder");
    let [(images, pixels), (labels, classes), ..] = &files()[..] else { panic!("four files") };
    fs::write(into.join(images), pixels).expect("written");
    fs::write(into.join(labels), &classes[..classes.len() - 1]).expect("written");
    check(&run(&request(Some(cache.path()), vec![server.url()])).0.expect("completed"));
    let fetched: Vec<_> = FILES[1..].iter().map(|name| format!("/mnist/{name}.gz")).collect();
    assert_eq!(server.requests(), fetched);

    // One of four cached files is damaged: it alone is downloaded again, and a notice says why.
    fs::write(into.join(labels), b"nonsense").expect("written");
    let (set, notices) = run(&request(Some(cache.path()), vec![server.url()]));
    check(&set.expect("repaired"));
    assert_eq!(server.requests()[3..], fetched[..1]);
    assert!(notices.len() == 1 && notices[0].contains("not an IDX file"), "{notices:?}");
}

#[test]
fn without_a_writable_cache_mnist_is_downloaded_for_the_run() {
    let server = Server::start(files(), Response::Gzipped);
    let (set, notices) = run(&request(None, vec![server.url()]));
    let set = set.expect("delivered");
    check(&set);
    assert_eq!(set.origin, Origin::Downloaded { from: server.url(), into: None });
    assert!(notices.is_empty(), "{notices:?}");

    // No user can create a folder below a file; permissions would not bind a superuser.
    let cache = folder();
    let file = cache.path().join("file");
    fs::write(&file, []).expect("written");
    let (set, notices) = run(&request(Some(&file.join("cache")), vec![server.url()]));
    let set = set.expect("delivered");
    check(&set);
    assert_eq!(set.origin, Origin::Downloaded { from: server.url(), into: None });
    assert!(notices.iter().any(|notice| notice.contains("cannot be used: cannot")), "{notices:?}");
}

#[test]
fn mnist_fails_with_a_remedy_and_auto_falls_back_to_digits_with_a_notice() {
    let server = Server::start(files(), Response::Status(403));
    let cache = folder();
    let mut request = request(Some(cache.path()), vec![server.url(), server.url()]);
    request.search = vec![cache.path().join("nowhere")];

    let error = run(&request).0.expect_err("refused").to_string();
    for part in
        ["nowhere", "HTTP status 403", "--data", "MNIST_DIR", "--dataset digits", &server.url()]
    {
        assert!(error.contains(part), "{part} is not in {error}");
    }
    assert_eq!(error.matches("HTTP status 403").count(), 2);

    request.choice = Choice::Auto;
    let (set, notices) = run(&request);
    let set = set.expect("generated");
    assert_eq!(set.name, "digits");
    let Origin::Generated { instead_of: Some(reason) } = set.origin else {
        panic!("{:?}", set.origin)
    };
    assert!(reason.contains("HTTP status 403") && !reason.contains("Remedy"), "{reason}");
    assert!(notices.len() == 1 && notices[0].contains(&reason), "{notices:?}");

    request.mirrors.urls.clear();
    let (set, notices) = run(&request);
    assert_eq!(set.expect("generated").name, "digits");
    assert!(notices[0].contains("no mirror is configured"), "{notices:?}");

    request.choice = Choice::Digits;
    assert_eq!(run(&request).0.expect("generated").origin, Origin::Generated { instead_of: None });
}

#[test]
fn a_failed_download_keeps_complete_files() {
    let only_first = files().into_iter().take(1).collect();
    let (cache, server) = (folder(), Server::start(only_first, Response::Gzipped));
    let failed = attempts(run(&request(Some(cache.path()), vec![server.url()])).0);
    assert_eq!(failed[0].reason, Reason::Status(404));
    assert_eq!(cached(cache.path()), [FILES[0]]);
}

#[test]
fn files_in_a_searched_folder_are_not_downloaded() {
    let (searched, server) = (folder(), Server::start(files(), Response::Gzipped));
    for (name, contents) in files() {
        fs::write(searched.path().join(format!("{name}.gz")), gzip(&contents)).expect("written");
    }
    let mut request = request(None, vec![server.url()]);
    request.search = vec![searched.path().to_path_buf()];
    check(&run(&request).0.expect("found"));
    assert!(server.requests().is_empty());
}
