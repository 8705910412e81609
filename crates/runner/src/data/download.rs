//! Download of a folder of published files from mirrors that may be absent, slow, broken or wrong.
//!
//! ```text
//! for each file, unless the folder has a copy with the published checksum
//!     for each mirror, beginning with the one that delivered the last file
//!         thread:  GET mirror/file.gz  ->  chunks  ->  a channel of a few chunks
//!         caller:  channel (with a timeout)  ->  gunzip  ->  SHA-256  ->  temporary file
//!         published checksum: rename, next file    anything else: record the reason, next mirror
//! ```
//!
//! The thread implements the timeouts: DNS, connecting, TLS, headers and the body block the thread
//! alone, and the caller gives up by dropping its end of the channel. Until the first byte from any
//! mirror, all mirrors share one timeout; each gets an equal part of the remaining time. After
//! that, only a stall counts.
//!
//! Called by [`mnist`](super::mnist).

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

/// Bytes per read: few enough for a smooth progress bar, enough to amortise overheads.
const CHUNK: usize = 64 * 1024;

/// Capacity of the channel between network and disk, in chunks.
const CHUNKS_AHEAD: usize = 8;

/// Mirrors of published files, with timeouts.
#[derive(Clone, Debug)]
pub struct Mirrors {
    /// URLs of folders, `http` or `https`, in order of preference. The URL of a file is
    /// `folder/name.gz`; the response may be gzipped or not.
    pub urls: Vec<String>,
    /// Files to download.
    pub files: [Published; 4],
    /// Timeout until the first byte of a file from any mirror, DNS included.
    pub first_byte: Duration,
    /// Timeout between two bytes, and until the first byte of each further file.
    pub stall: Duration,
    /// `true` to use the proxy that the environment names.
    pub environment_proxy: bool,
}

/// A published file.
#[derive(Clone, Debug)]
pub struct Published {
    /// Name without `.gz`.
    pub name: &'static str,
    /// Length of the uncompressed file.
    pub bytes: u64,
    /// SHA-256 of the uncompressed bytes, as 64 lower-case hexadecimal digits.
    pub sha256: &'static str,
}

/// Failure of a download.
#[derive(Debug)]
pub(crate) enum Failure<T> {
    /// No mirror delivered: the [`Reason`] of one mirror, or the [`Attempt`]s at all mirrors.
    Mirror(T),
    /// This machine could not store the file.
    Machine(DataError),
}

impl<T> From<DataError> for Failure<T> {
    fn from(error: DataError) -> Self {
        Self::Machine(error)
    }
}

/// Downloads the files of `mirrors` into `folder`, uncompressed. Returns the URL of the mirror that
/// delivered the last file, or `None` if the folder had all files. Each file is complete and
/// verified before it gets its name.
pub(crate) fn download(
    folder: &Path,
    mirrors: &Mirrors,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Option<String>, Failure<Vec<Attempt>>> {
    let longest = mirrors.first_byte.saturating_add(mirrors.stall).saturating_mul(2);
    let mut config = ureq::Agent::config_builder()
        .user_agent(concat!("evenkeel/", env!("CARGO_PKG_VERSION")))
        // Longer than the caller waits: these end an abandoned thread.
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
        responded: false,
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
            (session.on_event)(Event::Started(&url));
            let result = session.fetch(&url, file, &path, count - tried);
            (session.on_event)(Event::Finished);
            match result {
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

/// State shared by the downloads of one folder.
struct Session<'a> {
    agent: ureq::Agent,
    started: Instant,
    first_byte: Duration,
    stall: Duration,
    /// `true` once a byte has arrived from any mirror.
    responded: bool,
    on_event: &'a mut dyn FnMut(Event<'_>),
}

impl Session<'_> {
    /// Downloads `url` to `path`, if the response is `file`. `mirrors_left` mirrors share the time
    /// that remains until the first byte.
    fn fetch(
        &mut self,
        url: &str,
        file: &Published,
        path: &Path,
        mirrors_left: usize,
    ) -> Result<(), Failure<Reason>> {
        replace(path, |out| {
            let timeout = if self.responded {
                self.stall
            } else {
                self.first_byte.saturating_sub(self.started.elapsed()) / mirrors_left as u32
            };
            // Bounds an endless response. Even a gzip stream that compresses nothing is shorter.
            let most = file.bytes.saturating_mul(2).saturating_add(CHUNK as u64);
            let mut body = BufReader::with_capacity(CHUNK, self.open(url, timeout)?.take(most));
            let gzipped = body.fill_buf().map_err(mirror)?.starts_with(&GZIP_MAGIC);
            if gzipped {
                copy_verified(MultiGzDecoder::new(body), file, path, out)
            } else {
                copy_verified(body, file, path, out)
            }
        })
    }

    /// Starts a thread that reads `url`. The first byte must arrive within `timeout`.
    fn open(&mut self, url: &str, timeout: Duration) -> Result<Body<'_>, DataError> {
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
            timeout,
            stall: self.stall,
            responded: &mut self.responded,
            on_event: &mut *self.on_event,
        })
    }
}

/// Part of a response's body.
struct Chunk {
    bytes: Vec<u8>,
    /// Length of the body, if the server states it.
    total: Option<u64>,
}

/// Sends the body of `url` to `chunks` until its end, an error, or the receiver is dropped.
fn send(agent: &ureq::Agent, url: &str, chunks: &SyncSender<Result<Chunk, Reason>>) {
    if let Err(reason) = try_send(agent, url, chunks) {
        // Fails if the receiver was dropped: the caller has given up.
        let _ = chunks.send(Err(reason));
    }
}

/// Sends as [`send`], and returns the error.
fn try_send(
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

/// Receiving end of [`send`], with timeouts. Its errors carry a [`Reason`].
struct Body<'a> {
    chunks: Receiver<Result<Chunk, Reason>>,
    chunk: Vec<u8>,
    /// Bytes of `chunk` that have been read.
    used: usize,
    /// Bytes received so far.
    received: u64,
    timeout: Duration,
    stall: Duration,
    responded: &'a mut bool,
    on_event: &'a mut dyn FnMut(Event<'_>),
}

impl Read for Body<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.used == self.chunk.len() {
            let Chunk { bytes, total } = match self.chunks.recv_timeout(self.timeout) {
                Ok(message) => message.map_err(io::Error::other)?,
                Err(RecvTimeoutError::Disconnected) => return Ok(0),
                Err(RecvTimeoutError::Timeout) => {
                    let reason = if self.received == 0 { Reason::Silent } else { Reason::Stalled };
                    return Err(io::Error::other(reason(self.timeout)));
                }
            };
            *self.responded = true;
            self.timeout = self.stall;
            self.received += bytes.len() as u64;
            (self.chunk, self.used) = (bytes, 0);
            (self.on_event)(Event::Received { bytes: self.received, total });
        }
        let count = (&self.chunk[self.used..]).read(out)?;
        self.used += count;
        Ok(count)
    }
}

/// Copies `source` to `out`, the temporary file for `path`, and checks that it is `file`.
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

/// Converts a failure to read from a mirror: the reason is [`Body`]'s, or else the gzip decoder's.
fn mirror(error: io::Error) -> Failure<Reason> {
    Failure::Mirror(error.downcast().unwrap_or_else(|decoder| Reason::Gzip(decoder.to_string())))
}

/// `true` if `path` can be read and is `file`.
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
    fn verified_files_are_not_downloaded() {
        let folder = tempfile::tempdir().expect("a folder");
        let mirrors = Mirrors {
            urls: vec![],
            files: ["a", "b", "c", "d"].map(|name| Published { name, bytes: 3, sha256: ABC }),
            first_byte: Duration::ZERO,
            stall: Duration::ZERO,
            environment_proxy: false,
        };
        let result =
            || download(folder.path(), &mirrors, &mut |event| panic!("nothing to do: {event:?}"));
        for file in &mirrors.files {
            assert!(matches!(result(), Err(Failure::Mirror(attempts)) if attempts.is_empty()));
            fs::write(folder.path().join(file.name), "abc").expect("written");
        }
        assert!(matches!(result(), Ok(None)));
        for wrong in ["abd", "ab", "abcd", ""] {
            fs::write(folder.path().join("c"), wrong).expect("written");
            assert!(matches!(result(), Err(Failure::Mirror(_))), "{wrong}");
        }
    }
}
