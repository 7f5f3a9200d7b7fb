//! A bucket that speaks as much of the S3 protocol as fragments need, and misbehaves on script.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is served.
    None,
    /// It is answered with this status, and nothing is done.
    Status(u16),
    /// It is served, and the connection breaks before the answer.
    AnswerLost,
}

type Script = dyn Fn(usize, &str) -> Fault + Send + Sync;
type Objects = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// A server with one bucket, `bucket`. Dropping it closes the port.
pub struct Bucket {
    address: SocketAddr,
    objects: Objects,
    stopped: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Bucket {
    /// Starts one; `script` gets the number of the request, from zero, and its method.
    pub fn start(script: impl Fn(usize, &str) -> Fault + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (objects, stopped) = (Objects::default(), Arc::new(AtomicBool::new(false)));
        let script: Arc<Script> = Arc::new(script);
        let acceptor = thread::spawn({
            let (objects, stopped) = (objects.clone(), stopped.clone());
            move || {
                for (n, stream) in listener.incoming().flatten().enumerate() {
                    if stopped.load(Ordering::SeqCst) {
                        return;
                    }
                    let (objects, script) = (objects.clone(), script.clone());
                    thread::spawn(move || serve(&stream, n, &objects, &*script));
                }
            }
        });
        Self { address, objects, stopped, acceptor: Some(acceptor) }
    }

    /// What a client has to know, as the variables that the cloud's own tools take.
    pub fn credentials(&self) -> Vec<(String, String)> {
        let endpoint = format!("http://{}", self.address);
        let pairs = [
            ("AWS_ENDPOINT", endpoint.as_str()),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_ACCESS_KEY_ID", "key"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_REGION", "us-east-1"),
        ];
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    /// The objects by key.
    pub fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        self.objects.lock().unwrap().clone()
    }

    /// Puts an object, as somebody else would.
    pub fn put(&self, key: &str, bytes: &[u8]) {
        self.objects.lock().unwrap().insert(key.to_owned(), bytes.to_owned());
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        TcpStream::connect(self.address).ok();
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.join().ok();
        }
    }
}

/// Reads and answers one request, the only one of its connection.
fn serve(mut stream: &TcpStream, n: usize, objects: &Objects, script: &Script) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        (reader.read_line(&mut line).ok()? > 0).then_some(())?;
        if line.trim_end().is_empty() {
            break;
        }
        head.push(line.trim_end().to_owned());
    }
    let mut first = head.first()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let header = |name: &str| {
        let lines = head[1..].iter().filter_map(|line| line.split_once(':'));
        lines.into_iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
    };
    let mut body = vec![0; header("content-length").map_or(0, |length| length.parse().unwrap())];
    reader.read_exact(&mut body).ok()?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let key = decoded(path.strip_prefix("/bucket").unwrap_or(path).trim_start_matches('/'));
    let fault = script(n, &method);
    let (status, answer) = match fault {
        Fault::Status(status) => (status, b"<Error><Code>SlowDown</Code></Error>".to_vec()),
        _ => act(&method, &key, query, body, header("if-none-match").is_some(), &mut objects.lock().unwrap()),
    };
    if fault == Fault::AnswerLost {
        stream.shutdown(std::net::Shutdown::Both).ok();
        return None;
    }
    let length = answer.len();
    let head = format!(
        "HTTP/1.1 {status} Scripted\r\nconnection: close\r\ncontent-length: {length}\r\netag: \"e\"\r\n\
         last-modified: Mon, 23 Nov 2026 07:00:00 GMT\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), &answer].concat()).ok()
}

fn act(
    method: &str,
    key: &str,
    query: &str,
    body: Vec<u8>,
    create: bool,
    objects: &mut BTreeMap<String, Vec<u8>>,
) -> (u16, Vec<u8>) {
    match method {
        "PUT" if create && objects.contains_key(key) => (412, b"<Error><Code>PreconditionFailed</Code></Error>".into()),
        "PUT" => {
            objects.insert(key.to_owned(), body);
            (200, Vec::new())
        }
        "DELETE" => {
            objects.remove(key);
            (204, Vec::new())
        }
        // Several are deleted by one request.
        "POST" => {
            let text = String::from_utf8(body).unwrap();
            for key in text.split("<Key>").skip(1).filter_map(|rest| rest.split_once("</Key>")) {
                objects.remove(key.0);
            }
            (200, b"<DeleteResult></DeleteResult>".into())
        }
        "GET" if query.contains("list-type=2") => (200, list(query, objects)),
        "GET" => match objects.get(key) {
            Some(bytes) => (200, bytes.clone()),
            None => (404, b"<Error><Code>NoSuchKey</Code></Error>".into()),
        },
        _ => (405, Vec::new()),
    }
}

fn list(query: &str, objects: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let prefix = query.split('&').find_map(|pair| pair.strip_prefix("prefix=")).map_or(String::new(), decoded);
    let mut answer = "<ListBucketResult><IsTruncated>false</IsTruncated>".to_owned();
    let mut common = std::collections::BTreeSet::new();
    for (key, bytes) in objects {
        let Some(rest) = key.strip_prefix(&prefix) else { continue };
        match rest.split_once('/') {
            Some((directory, _)) => drop(common.insert(format!("{prefix}{directory}/"))),
            None => answer.push_str(&format!(
                "<Contents><Key>{key}</Key><Size>{}</Size><LastModified>2026-11-23T07:00:00.000Z</LastModified>\
                 <ETag>\"e\"</ETag></Contents>",
                bytes.len()
            )),
        }
    }
    for prefix in common {
        answer.push_str(&format!("<CommonPrefixes><Prefix>{prefix}</Prefix></CommonPrefixes>"));
    }
    answer.push_str("</ListBucketResult>");
    answer.into_bytes()
}

/// Undoes percent-encoding.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).unwrap()
}
