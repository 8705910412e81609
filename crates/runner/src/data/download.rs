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

use crate::data::Event;
use crate::data::error::{Attempt, DataError, Reason};
use crate::data::idx::GZIP_MAGIC;
use crate::data::replace::replace;

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

/// Why something could not be downloaded.
#[derive(Debug)]
pub(crate) enum Failure<T> {
    /// Of one mirror, its [`Reason`]; of them all, the [`Attempt`]s.
    Mirror(T),
    /// This machine could not store it.
    Machine(DataError),
}

impl<T> From<DataError> for Failure<T> {
    fn from(error: DataError) -> Self {
        Self::Machine(error)
    }
}

/// Makes `folder` hold every file of `mirrors`, uncompressed, and returns the address of the mirror that delivered
/// the last, or `None` if all were there. What it makes is whole and verified from the moment it has its name.
pub(crate) fn download(
    folder: &Path,
    mirrors: &Mirrors,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Option<String>, Failure<Vec<Attempt>>> {
    let longest = mirrors.first_byte.saturating_add(mirrors.stall).saturating_mul(2);
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
        started: Instant::now(),
        first_byte: mirrors.first_byte,
        stall: mirrors.stall,
        answered: false,
        on_event,
    };

    let count = mirrors.urls.len();
    let mut current = 0;
    let mut delivered = None;
    'files: for file in &mirrors.files {
        let path = folder.join(file.name);
        if is_verified(&path, file) {
            continue;
        }
        let mut attempts = Vec::new();
        for tried in 0..count {
            let mirror = &mirrors.urls[(current + tried) % count];
            let url = format!("{}/{}.gz", mirror.trim_end_matches('/'), file.name);
            (session.on_event)(Event::Begun(&url));
            let outcome = session.fetch(&url, file, &path, count - tried);
            (session.on_event)(Event::Ended);
            match outcome {
                Ok(()) => {
                    current = (current + tried) % count;
                    delivered = Some(mirror.clone());
                    continue 'files;
                }
                Err(Failure::Machine(error)) => return Err(error.into()),
                Err(Failure::Mirror(reason)) => attempts.push(Attempt { url, reason }),
            }
        }
        return Err(Failure::Mirror(attempts));
    }
    Ok(delivered)
}

/// What the downloads of one folder share.
struct Session<'a> {
    agent: ureq::Agent,
    started: Instant,
    first_byte: Duration,
    stall: Duration,
    /// Whether a byte has come from any mirror.
    answered: bool,
    on_event: &'a mut dyn FnMut(Event<'_>),
}

impl Session<'_> {
    /// Makes `path` the file that `url` delivers, if it is `file`; `mirrors_left` share what is left of the time
    /// until the first byte.
    fn fetch(
        &mut self,
        url: &str,
        file: &Published,
        path: &Path,
        mirrors_left: usize,
    ) -> Result<(), Failure<Reason>> {
        replace(path, |out| {
            let patience = if self.answered {
                self.stall
            } else {
                self.first_byte.saturating_sub(self.started.elapsed()) / mirrors_left as u32
            };
            // Even a gzip stream that compresses nothing is far shorter than this: no server can go on for ever.
            let most = file.bytes.saturating_mul(2).saturating_add(CHUNK as u64);
            let mut body = BufReader::with_capacity(CHUNK, self.open(url, patience)?.take(most));
            let gzipped = body.fill_buf().map_err(mirror)?.starts_with(&GZIP_MAGIC);
            if gzipped {
                copy_verified(MultiGzDecoder::new(body), file, path, out)
            } else {
                copy_verified(body, file, path, out)
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
            .map_err(|cause| DataError::Io {
                action: "start a thread for",
                path: url.into(),
                cause,
            })?;
        Ok(Body {
            chunks,
            chunk: Vec::new(),
            used: 0,
            received: 0,
            patience,
            stall: self.stall,
            answered: &mut self.answered,
            on_event: &mut *self.on_event,
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
    if let Err(reason) = relay(agent, url, chunks) {
        // If this fails too, nobody listens: there is nothing left to do.
        let _ = chunks.send(Err(reason));
    }
}

/// [`send`], but for the error.
fn relay(
    agent: &ureq::Agent,
    url: &str,
    chunks: &SyncSender<Result<Chunk, Reason>>,
) -> Result<(), Reason> {
    let response = agent.get(url).call().map_err(|error| match error {
        ureq::Error::StatusCode(status) => Reason::Status(status),
        other => Reason::Broken(other.to_string()),
    })?;
    let body = response.into_body();
    let total = body.content_length();
    let mut reader = body.into_reader();
    loop {
        let mut bytes = vec![0; CHUNK];
        let count = reader.read(&mut bytes).map_err(|error| Reason::Broken(error.to_string()))?;
        bytes.truncate(count);
        if count == 0 || chunks.send(Ok(Chunk { bytes, total })).is_err() {
            return Ok(());
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
    answered: &'a mut bool,
    on_event: &'a mut dyn FnMut(Event<'_>),
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
            *self.answered = true;
            self.patience = self.stall;
            self.received += bytes.len() as u64;
            (self.chunk, self.used) = (bytes, 0);
            (self.on_event)(Event::Received { bytes: self.received, total });
        }
        let count = (&self.chunk[self.used..]).read(out)?;
        self.used += count;
        Ok(count)
    }
}

/// Copies `source` to `out`, which is to become `path`, and checks that it is `file`.
fn copy_verified(
    mut source: impl Read,
    file: &Published,
    path: &Path,
    out: &mut impl Write,
) -> Result<(), Failure<Reason>> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; CHUNK];
    let mut total = 0;
    loop {
        let count = source.read(&mut buffer).map_err(mirror)?;
        if count == 0 {
            break;
        }
        total += count as u64;
        if total > file.bytes {
            return Err(Failure::Mirror(Reason::TooLong { expected: file.bytes }));
        }
        hash.update(&buffer[..count]);
        out.write_all(&buffer[..count]).map_err(DataError::io("write", path))?;
    }
    let found: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if found != file.sha256 {
        return Err(Failure::Mirror(Reason::Checksum { expected: file.sha256, found }));
    }
    Ok(())
}

/// A failure to read from a mirror: [`Body`]'s own reason, or else that of the decoder above it.
fn mirror(error: io::Error) -> Failure<Reason> {
    Failure::Mirror(error.downcast().unwrap_or_else(|decoder| Reason::Gzip(decoder.to_string())))
}

/// Whether `path` can be read and is `file`.
fn is_verified(path: &Path, file: &Published) -> bool {
    File::open(path).is_ok_and(|copy| copy_verified(copy, file, path, &mut io::sink()).is_ok())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// SHA-256 of "abc", from FIPS 180-2, appendix B.1.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn nothing_is_asked_for_where_all_is_verified() {
        let folder = tempfile::tempdir().expect("a folder");
        let mirrors = Mirrors {
            urls: vec![],
            files: ["a", "b", "c", "d"].map(|name| Published { name, bytes: 3, sha256: ABC }),
            first_byte: Duration::ZERO,
            stall: Duration::ZERO,
            environment_proxy: false,
        };
        let outcome =
            || download(folder.path(), &mirrors, &mut |event| panic!("nothing to do: {event:?}"));
        for file in &mirrors.files {
            assert!(matches!(outcome(), Err(Failure::Mirror(attempts)) if attempts.is_empty()));
            fs::write(folder.path().join(file.name), "abc").expect("written");
        }
        assert!(matches!(outcome(), Ok(None)));
        for wrong in ["abd", "ab", "abcd", ""] {
            fs::write(folder.path().join("c"), wrong).expect("written");
            assert!(matches!(outcome(), Err(Failure::Mirror(_))), "{wrong}");
        }
    }
}
