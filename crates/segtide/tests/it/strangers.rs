//! Senders that nobody knows: they are told so before their bodies are read, and cost no memory, however many and however large.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::kit::{Process, Project};

const SOON: Duration = Duration::from_secs(60);
/// Posts, those of them that send their bodies nevertheless, and how many at a time.
const POSTS: usize = 1_000;
const PUSHY: usize = 40;
const THREADS: usize = 20;
/// What each says its body is.
const BODY_BYTES: usize = 64 << 20;
/// The promise (guarantees, security).
const GROWTH_KIB_MAX: u64 = 20 << 10;

/// The most memory a process has had, in KiB.
fn peak_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Posts a large body without a token; the status of the answer, which comes before any of the body was sent.
fn post(port: u16, sends_body: bool) -> u16 {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.set_write_timeout(Some(SOON)).unwrap();
    let head = format!(
        "POST /ingest/examples/segment/events HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Type: application/json\r\n\
         Content-Length: {BODY_BYTES}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    if sends_body {
        let block = vec![b' '; 1 << 20];
        // It may hang up meanwhile.
        let _ = (0..BODY_BYTES >> 20).try_for_each(|_| stream.write_all(&block));
    }
    std::str::from_utf8(&answer[9..]).unwrap().parse().unwrap()
}

#[test]
fn a_thousand_large_posts_of_strangers_leave_memory_flat() {
    let project = Project::segmentation();
    project.capture_nothing();
    let capture = "captures:
  pushed:
    endpoint:
      ingest:
        tokens: ['sha256:41ef4bb0b23661e66301aac36066912dac037827b4ae63a7b1165a5aa93ed4eb']
    bindings: [{ resource: { name: events }, target: examples/segment/events }]
";
    let text = std::fs::read_to_string(project.path("capture.flow.yaml")).unwrap();
    std::fs::write(project.path("capture.flow.yaml"), text + capture).unwrap();
    let (mut process, port) = Process::develop(project.directory(), "derive.flow.yaml", &[]);
    assert_eq!(post(port, false), 401);
    let before = peak_kib(process.id());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                for n in (thread..POSTS).step_by(THREADS) {
                    assert_eq!(post(port, n < PUSHY), 401);
                }
            });
        }
    });
    let growth = peak_kib(process.id()) - before;
    assert!(growth < GROWTH_KIB_MAX, "{POSTS} posts made it grow by {growth} KiB, from {before} KiB");
    assert!(process.terminate(SOON).success(), "{}", process.output());
}
