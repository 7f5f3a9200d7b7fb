//! An HTTP/1.1 server on loopback that remembers what it was sent and answers as a script says.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A request that arrived whole.
#[derive(Debug, Clone)]
pub struct Received {
    /// The path and query of the request line.
    pub path: String,
    /// The method of the request line.
    pub method: String,
    /// Headers: names in lower case, in their order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
    /// When the last byte of it came.
    pub at: Instant,
}

impl Received {
    /// The value of a header, named in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
    /// The header `webhook-id`.
    pub fn id(&self) -> Option<&str> {
        self.header("webhook-id")
    }
}

/// What the receiver does with a request.
#[derive(Debug, Clone)]
pub struct Answer {
    status: u16,
    delay: Duration,
    headers: Vec<(String, String)>,
    body_bytes: usize,
    reset: bool,
}

impl Answer {
    /// Answers with this status at once.
    pub fn status(status: u16) -> Self {
        Self { status, delay: Duration::ZERO, headers: Vec::new(), body_bytes: 2, reset: false }
    }
    /// Takes the request, then breaks the connection without an answer.
    pub fn reset() -> Self {
        Self { reset: true, ..Self::status(0) }
    }
    /// Waits before it answers.
    pub fn delay(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }
    /// Adds a header, such as `retry-after` or `location`.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
    /// Answers with a body of so many bytes.
    pub fn body_bytes(self, body_bytes: usize) -> Self {
        Self { body_bytes, ..self }
    }
}

type Script = dyn Fn(usize, &Received) -> Answer + Send + Sync;

/// A webhook receiver. One thread per connection; dropping it closes the port.
pub struct Receiver {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    stopped: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Receiver {
    /// Starts one; `script` gets the number of the request, from zero, and the request.
    pub fn start(script: impl Fn(usize, &Received) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let stopped = Arc::new(AtomicBool::new(false));
        let script: Arc<Script> = Arc::new(script);
        let acceptor = thread::spawn({
            let (received, stopped) = (received.clone(), stopped.clone());
            move || {
                for stream in listener.incoming().flatten() {
                    if stopped.load(Ordering::SeqCst) {
                        return;
                    }
                    let (received, script) = (received.clone(), script.clone());
                    thread::spawn(move || while serve(&stream, &received, &*script).is_some() {});
                }
            }
        });
        Self { address, received, stopped, acceptor: Some(acceptor) }
    }

    /// `http://127.0.0.1:PORT` followed by `path`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What arrived so far, in order of arrival.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        TcpStream::connect(self.address).ok();
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.join().ok();
        }
    }
}

/// Reads and answers one request; `None` ends the connection.
fn serve(mut stream: &TcpStream, received: &Mutex<Vec<Received>>, script: &Script) -> Option<()> {
    let mut reader = BufReader::with_capacity(1, stream);
    let mut line = || {
        let mut line = String::new();
        (reader.read_line(&mut line).ok()? > 0).then(|| line.trim_end().to_owned())
    };
    let first = line()?;
    let (method, rest) = first.split_once(' ')?;
    let path = rest.rsplit_once(' ')?.0;
    let mut headers = Vec::new();
    loop {
        let line = line()?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut request = Received { path: path.into(), method: method.into(), headers, body: String::new(), at: Instant::now() };
    let length: usize = request.header("content-length").map_or(0, |value| value.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    request.body = String::from_utf8(body).unwrap();
    request.at = Instant::now();

    // The number and the record are taken under one lock, so that the script counts as the record does.
    let answer = {
        let mut received = received.lock().unwrap();
        received.push(request);
        script(received.len() - 1, &received[received.len() - 1])
    };
    thread::sleep(answer.delay);
    if answer.reset {
        stream.shutdown(std::net::Shutdown::Both).ok();
        return None;
    }
    let mut head = format!("HTTP/1.1 {} Scripted\r\ncontent-length: {}\r\n", answer.status, answer.body_bytes);
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    std::io::copy(&mut std::io::repeat(b'.').take(answer.body_bytes as u64), &mut stream).ok()?;
    Some(())
}
