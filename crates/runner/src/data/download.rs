//! Downloading a folder of published files from mirrors that may be absent, slow, broken or lying.
//!
//! ```text
//! for each file, unless a copy with the right checksum is there
//!     for each mirror, the one that delivered last first
//!         thread:  GET mirror/file.gz  ->  chunks  ->  a channel of a few chunks
//!         here:    channel (with a time limit)  ->  gunzip  ->  SHA-256  ->  temporary file
//!         right checksum: rename, next file        anything else: note the reason, next mirror
//! ```
//!
//! The thread is there for the time limits: whatever blocks (names, connecting, TLS, headers, the body) blocks
//! the thread alone, and giving up is to stop listening. Until the first byte from any mirror there is one limit
//! for all of them together, of which each gets an equal part of what is left; after that only a stall counts.
//!
//! [`mnist`](super::mnist) calls it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};

use super::Event;
use super::error::DataError;
use super::idx::GZIP_MAGIC;
use super::replace::replace;

/// Bytes read at a time: few enough for a lively progress bar, enough for the overheads not to count.
const CHUNK: usize = 64 * 1024;

/// Chunks that may wait between network and disk.
const CHUNKS_AHEAD: usize = 8;

/// Where files are published, and how long to wait for them.
#[derive(Clone, Debug)]
pub struct Mirrors {
    /// Addresses of folders, `http` or `https`, in order of preference. A file is asked for as `address/name.gz`, and
    /// may come gzipped or not.
    pub urls: Vec<String>,
    /// The files.
    pub files: [Published; 4],
    /// Longest time until the first byte of a file comes from any mirror, resolving names included.
    pub first_byte: Duration,
    /// Longest time between two bytes once a first one has come, and until the first byte of each further file.
    pub stall: Duration,
    /// Whether the proxy that the environment names is used.
    pub environment_proxy: bool,
}

/// A published file.
#[derive(Clone, Debug)]
pub struct Published {
    /// Its name, without `.gz`.
    pub name: &'static str,
    /// Its length when uncompressed.
    pub bytes: u64,
    /// The SHA-256 of its uncompressed bytes, as 64 lower-case hexadecimal digits.
    pub sha256: &'static str,
}

/// A mirror that did not deliver.
#[derive(Debug, thiserror::Error)]
#[error("{url}: {reason}")]
pub struct Attempt {
    /// The address that was asked for.
    pub url: String,
    /// Why it came to nothing.
    pub reason: Reason,
}

/// Why a mirror did not deliver.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Nothing came in time.
    #[error("no byte within {:.1} s", .0.as_secs_f64())]
    Silent(Duration),
    /// Something came, then nothing more.
    #[error("stalled for {:.1} s", .0.as_secs_f64())]
    Stalled(Duration),
    /// The server refused, with this HTTP status.
    #[error("HTTP status {0}")]
    Status(u16),
    /// No conversation came about, or it broke off: no such host, no connection, bad TLS, a truncated body.
    #[error("{0}")]
    Broken(String),
    /// What came begins as gzip but cannot be decompressed.
    #[error("damaged gzip stream: {0}")]
    Gzip(String),
    /// More came than the file is long.
    #[error("longer than the {expected} bytes that were expected")]
    TooLong {
        /// The published length.
        expected: u64,
    },
    /// What came is not the file.
    #[error("SHA-256 of the uncompressed bytes: expected {expected}, found {found}")]
    Checksum {
        /// The published checksum.
        expected: &'static str,
        /// That of what came.
        found: String,
    },
}

/// Why a folder could not be downloaded.
#[derive(Debug)]
pub(crate) enum Failure {
    /// No mirror delivered one of the files; what each of them did.
    Mirrors(Vec<Attempt>),
    /// This machine could not store it.
    Machine(DataError),
}

impl From<DataError> for Failure {
    fn from(error: DataError) -> Self {
        Self::Machine(error)
    }
}

/// Makes `folder` hold every file of `mirrors`, uncompressed, and returns the address of the mirror that delivered
/// the last (empty if all were there). A file is either whole and verified, or absent.
pub(crate) fn download(
    folder: &Path,
    mirrors: &Mirrors,
    hear: &mut dyn FnMut(Event<'_>),
) -> Result<String, Failure> {
    let longest = 2 * (mirrors.first_byte + mirrors.stall);
    let mut config = ureq::Agent::config_builder()
        .user_agent(concat!("evenkeel/", env!("CARGO_PKG_VERSION")))
        // Longer than anyone listens; so that an abandoned thread ends.
        .timeout_resolve(Some(longest))
        .timeout_connect(Some(longest))
        .timeout_recv_response(Some(longest))
        .timeout_per_read(Some(longest));
    if !mirrors.environment_proxy {
        config = config.proxy(None);
    }
    let mut session = Session {
        agent: config.build().new_agent(),
        stall: mirrors.stall,
        deadline: Some(Instant::now() + mirrors.first_byte),
        hear,
    };

    let count = mirrors.urls.len();
    let mut current = 0;
    let mut delivered = String::new();
    'files: for file in &mirrors.files {
        let path = folder.join(file.name);
        if is_verified(&path, file)? {
            continue;
        }
        let mut attempts = Vec::new();
        for tried in 0..count {
            let mirror = &mirrors.urls[(current + tried) % count];
            let url = format!("{}/{}.gz", mirror.trim_end_matches('/'), file.name);
            (session.hear)(Event::Begun(&url));
            let outcome = session.fetch(&url, file, &path, count - tried);
            (session.hear)(Event::Ended);
            match outcome {
                Ok(()) => {
                    current = (current + tried) % count;
                    delivered.clone_from(mirror);
                    continue 'files;
                }
                Err(Stop::Machine(error)) => return Err(error.into()),
                Err(Stop::Mirror(reason)) => attempts.push(Attempt { url, reason }),
            }
        }
        return Err(Failure::Mirrors(attempts));
    }
    Ok(delivered)
}

/// What the downloads of one folder share.
struct Session<'a> {
    agent: ureq::Agent,
    stall: Duration,
    /// When to have seen a first byte; `None` once one was seen.
    deadline: Option<Instant>,
    hear: &'a mut dyn FnMut(Event<'_>),
}

/// Why one download stopped.
#[derive(Debug)]
enum Stop {
    Mirror(Reason),
    Machine(DataError),
}

impl From<DataError> for Stop {
    fn from(error: DataError) -> Self {
        Self::Machine(error)
    }
}

impl Session<'_> {
    /// Makes `path` the file that `url` delivers, if it is `file`; `mirrors_left` share what is left of the time
    /// until the first byte.
    fn fetch(&mut self, url: &str, file: &Published, path: &Path, mirrors_left: usize) -> Result<(), Stop> {
        replace(path, |out| {
            let now = Instant::now();
            let patience = match self.deadline {
                Some(deadline) => deadline.saturating_duration_since(now) / mirrors_left.max(1) as u32,
                None => self.stall,
            };
            let body = self.open(url, patience)?;
            // Even a gzip stream that compresses nothing is far shorter than this: no server can go on for ever.
            let mut body = BufReader::with_capacity(CHUNK, body.take(2 * file.bytes + CHUNK as u64));
            let gzipped = body.fill_buf().map_err(stop)?.starts_with(&GZIP_MAGIC);
            if gzipped {
                store(MultiGzDecoder::new(body), file, path, out)
            } else {
                store(body, file, path, out)
            }
        })
    }

    /// Starts a thread that reads `url`; the first byte is waited for as long as `patience`.
    fn open(&mut self, url: &str, patience: Duration) -> Result<Body<'_>, DataError> {
        let (sender, chunks) = sync_channel(CHUNKS_AHEAD);
        let (agent, address) = (self.agent.clone(), url.to_owned());
        thread::Builder::new()
            .name("download".into())
            .spawn(move || send(&agent, &address, &sender))
            .map_err(|cause| DataError::Io { action: "start a thread for", path: url.into(), cause })?;
        Ok(Body {
            chunks,
            chunk: Vec::new(),
            used: 0,
            received: 0,
            patience,
            stall: self.stall,
            deadline: &mut self.deadline,
            hear: &mut *self.hear,
        })
    }
}

/// Part of a response's body.
struct Chunk {
    bytes: Vec<u8>,
    /// Length of the whole body, if the server says.
    total: Option<u64>,
}

/// Reads `url` into `chunks` until its end, an error, or nobody listens any more.
fn send(agent: &ureq::Agent, url: &str, chunks: &SyncSender<Result<Chunk, Reason>>) {
    let body = agent.get(url).call().map(ureq::http::Response::into_body).map_err(|error| match error {
        ureq::Error::StatusCode(status) => Reason::Status(status),
        other => Reason::Broken(other.to_string()),
    });
    let mut reader = match body {
        Ok(body) => (body.content_length(), body.into_reader()),
        Err(reason) => {
            // An error here and below means that nobody listens: there is nothing left to do.
            let _ = chunks.send(Err(reason));
            return;
        }
    };
    let (total, reader) = (reader.0, &mut reader.1);
    loop {
        let mut bytes = vec![0; CHUNK];
        let message = match reader.read(&mut bytes) {
            Ok(0) => return,
            Ok(count) => {
                bytes.truncate(count);
                Ok(Chunk { bytes, total })
            }
            Err(error) => Err(Reason::Broken(error.to_string())),
        };
        let last = message.is_err();
        if chunks.send(message).is_err() || last {
            return;
        }
    }
}

/// The receiving end of [`send`], which does not wait for ever. Its errors carry a [`Reason`].
struct Body<'a> {
    chunks: Receiver<Result<Chunk, Reason>>,
    chunk: Vec<u8>,
    /// How much of `chunk` was handed out.
    used: usize,
    /// Bytes that have come in all.
    received: u64,
    patience: Duration,
    stall: Duration,
    deadline: &'a mut Option<Instant>,
    hear: &'a mut dyn FnMut(Event<'_>),
}

impl Read for Body<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.used == self.chunk.len() {
            let Chunk { bytes, total } = match self.chunks.recv_timeout(self.patience) {
                Ok(message) => message.map_err(io::Error::other)?,
                Err(RecvTimeoutError::Disconnected) => return Ok(0),
                Err(RecvTimeoutError::Timeout) => {
                    let reason = if self.received == 0 { Reason::Silent } else { Reason::Stalled };
                    return Err(io::Error::other(reason(self.patience)));
                }
            };
            *self.deadline = None;
            self.patience = self.stall;
            self.received += bytes.len() as u64;
            (self.chunk, self.used) = (bytes, 0);
            (self.hear)(Event::Received { bytes: self.received, total });
        }
        let count = (&self.chunk[self.used..]).read(out)?;
        self.used += count;
        Ok(count)
    }
}

/// Copies `source` to `out`, which is to become `path`, and checks that it is `file`.
fn store(mut source: impl Read, file: &Published, path: &Path, out: &mut File) -> Result<(), Stop> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; CHUNK];
    let mut total = 0;
    loop {
        let count = source.read(&mut buffer).map_err(stop)?;
        if count == 0 {
            break;
        }
        total += count as u64;
        if total > file.bytes {
            return Err(Stop::Mirror(Reason::TooLong { expected: file.bytes }));
        }
        hash.update(&buffer[..count]);
        out.write_all(&buffer[..count]).map_err(DataError::io("write", path))?;
    }
    let found = hex(hash);
    if found != file.sha256 {
        return Err(Stop::Mirror(Reason::Checksum { expected: file.sha256, found }));
    }
    Ok(())
}

/// A failure to read from a mirror: [`Body`]'s own reason, or else that of the decoder above it.
fn stop(error: io::Error) -> Stop {
    Stop::Mirror(error.downcast().unwrap_or_else(|decoder| Reason::Gzip(decoder.to_string())))
}

/// Whether `path` holds `file`.
fn is_verified(path: &Path, file: &Published) -> Result<bool, DataError> {
    let mut existing = match File::open(path) {
        Ok(existing) => existing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(DataError::io("read", path)(error)),
    };
    let mut hash = Sha256::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        match existing.read(&mut buffer).map_err(DataError::io("read", path))? {
            0 => return Ok(hex(hash) == file.sha256),
            count => hash.update(&buffer[..count]),
        }
    }
}

/// A checksum as lower-case hexadecimal digits.
fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
