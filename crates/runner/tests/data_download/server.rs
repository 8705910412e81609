//! HTTP server on loopback with faulty responses: a mirror for the download tests.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use flate2::Compression;
use flate2::read::GzEncoder;

/// Response of a server to a request for one of its files.
#[derive(Clone, Debug)]
pub(crate) enum Response {
    /// Gzipped, in many small pieces.
    Gzipped,
    /// Uncompressed, without a length.
    Raw,
    /// Gzipped, with one bit of the contents flipped before compression.
    Corrupt,
    /// Gzipped, with a broken stream.
    Damaged,
    /// Half of the body, shorter than its announced length, then the end of the connection.
    Truncated,
    /// Half of the body without an announced length, then the end of the connection.
    TruncatedSilently,
    /// The file with ten million zeros after it, gzipped into a few thousand bytes.
    Bomb,
    /// An endless gzip stream of empty blocks.
    Endless,
    /// Nothing, not even a status line.
    Silent,
    /// Headers without a body.
    HeadersOnly,
    /// Half of the body, then nothing, with the connection open.
    Stalls,
    /// Status 302 to the same name at this URL.
    Redirect(String),
    /// This status.
    Status(u16),
}

/// Running server; it stops when dropped.
pub(crate) struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    stopping: Arc<AtomicBool>,
}

impl Server {
    /// Starts a server of `files` (name without `.gz`, contents), which sends `response` for each.
    pub(crate) fn start(files: Vec<(&'static str, Vec<u8>)>, response: Response) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
        let address = listener.local_addr().expect("it is bound");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let stopping = Arc::new(AtomicBool::new(false));
        let (log, stop) = (Arc::clone(&requests), Arc::clone(&stopping));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let (files, response, log) = (files.clone(), response.clone(), Arc::clone(&log));
                // Fails if the client hangs up early, which some tests expect.
                thread::spawn(move || respond(stream, &files, &response, &log));
            }
        });
        Self { address, requests, stopping }
    }

    /// URL of the server as a mirror.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/mnist/", self.address)
    }

    /// Paths requested so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("no thread panicked").clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for a connection. If it fails, the thread ends with the
        // process.
        let _ = TcpStream::connect(self.address);
    }
}

/// Compresses `bytes` as one gzip member.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    GzEncoder::new(bytes, Compression::fast())
        .read_to_end(&mut packed)
        .expect("memory does not fail");
    packed
}

fn respond(
    mut stream: TcpStream,
    files: &[(&str, Vec<u8>)],
    response: &Response,
    log: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    log.lock().expect("no thread panicked").push(path.clone());
    let name =
        path.rsplit('/').next().and_then(|name| name.strip_suffix(".gz")).unwrap_or_default();
    let Some((_, contents)) = files.iter().find(|(file, _)| *file == name) else {
        return write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    };

    let mut head = |length: Option<usize>| {
        write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n")?;
        if let Some(length) = length {
            write!(stream, "Content-Length: {length}\r\n")?;
        }
        write!(stream, "\r\n")?;
        stream.try_clone()
    };
    let packed = gzip(contents);
    let half = packed.len() / 2;
    match response {
        Response::Gzipped => {
            let mut body = head(Some(packed.len()))?;
            packed.chunks(packed.len().div_ceil(10)).try_for_each(|piece| {
                thread::sleep(Duration::from_millis(2));
                body.write_all(piece)
            })
        }
        Response::Raw => head(None)?.write_all(contents),
        Response::Corrupt => {
            let mut wrong = contents.clone();
            *wrong.last_mut().expect("no file is empty") ^= 1;
            let packed = gzip(&wrong);
            head(Some(packed.len()))?.write_all(&packed)
        }
        Response::Damaged => {
            let mut packed = packed;
            // Breaks the CRC-32, which begins eight bytes before the end.
            packed[2 * half - 8] ^= 0x55;
            head(Some(packed.len()))?.write_all(&packed)
        }
        Response::Truncated => head(Some(packed.len()))?.write_all(&packed[..half]),
        Response::TruncatedSilently => head(None)?.write_all(&packed[..half]),
        Response::Bomb => {
            let packed = gzip(&[&contents[..], &vec![0; 10_000_000]].concat());
            head(Some(packed.len()))?.write_all(&packed)
        }
        Response::Endless => {
            let mut body = head(None)?;
            // A gzip header, then stored blocks of length 0, none of them marked as the last.
            body.write_all(&[0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0xFF])?;
            let blocks = [0, 0, 0, 0xFF, 0xFF].repeat(1000);
            loop {
                body.write_all(&blocks)?;
            }
        }
        Response::Silent => wait_for_hang_up(stream),
        Response::HeadersOnly => wait_for_hang_up(head(Some(packed.len()))?),
        Response::Stalls => {
            let mut body = head(Some(packed.len()))?;
            body.write_all(&packed[..half])?;
            wait_for_hang_up(body)
        }
        Response::Redirect(base) => write!(
            stream,
            "HTTP/1.1 302 Found\r\nLocation: {base}{name}.gz\r\nConnection: close\r\n\
             Content-Length: 0\r\n\r\n"
        ),
        Response::Status(status) => {
            write!(stream, "HTTP/1.1 {status} No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        }
    }
}

fn wait_for_hang_up(mut stream: TcpStream) -> std::io::Result<()> {
    while stream.read(&mut [0; 64])? > 0 {}
    Ok(())
}
