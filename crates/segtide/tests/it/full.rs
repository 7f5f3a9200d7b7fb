//! A full disk under a running catalog: nothing is taken in, everything says so, and it all goes on by itself.

use std::os::unix::fs::symlink;
use std::time::Duration;

use testkit::{Answer, Disk, Receiver};

use crate::kit::http::ingest;
use crate::kit::{Process, Project, Run, segtide, write_events};

const SOON: Duration = Duration::from_secs(60);

/// A new event by HTTP; the capture of the file knows nothing of it.
fn event(n: u32) -> String {
    let at = format!("2021-07-22T10:00:{:02}.000000Z", n % 60);
    format!(
        r#"{{"examples/segment/events":[{{"event":"10000000-0000-4000-8000-{n:012}","timestamp":"{at}","user":"u{n}","segment":{{"vendor":7,"name":"s"}},"value":"v"}}]}}"#
    )
}

/// Would catch a log that a full disk stops for good, a request answered for and lost, a transaction counted twice after the
/// stop, and a start that fails while the disk is full.
#[test]
fn a_full_disk_stops_what_comes_in_and_nothing_else() {
    let Some(disk) = Disk::mount(128 << 20, 100_000) else { return };
    let project = Project::segmentation();
    project.capture_from_file();
    symlink(disk.path(), project.data()).unwrap();
    let receiver = Receiver::start(|_, _| Answer::status(200));
    project.send_toggles_to(&receiver.url("/"));
    let file = project.path("events.ndjson");
    write_events(&file, 0..2_000);

    let (mut process, port) = Process::develop(project.directory(), "materialize.flow.yaml", &[]);
    let accepted = ingest(port, &event(1));
    assert_eq!(accepted.status, 200, "{accepted:?}");

    let filler = disk.fill(2 << 20);
    let refused = ingest(port, &event(2));
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.head.to_lowercase().contains("retry-after: 1"), "{refused:?}");
    assert!(refused.body.contains("make room there"), "{refused:?}");
    write_events(&file, 2_000..4_000);
    process.wait_for_line("waiting: capture examples/segment/events", SOON);
    assert!(!process.output().contains("halted"), "{}", process.output());

    // Killed and started again while it is full.
    process.kill_9();
    let (mut process, port) = Process::develop(project.directory(), "materialize.flow.yaml", &[]);
    process.wait_for_line("waiting: capture examples/segment/events", SOON);
    process.wait_for_line("waiting: derivation examples/segment/toggles", SOON);
    process.wait_for_line("waiting: ingestion", SOON);
    assert_eq!(ingest(port, &event(3)).status, 503);

    drop(filler);
    process.wait_for_line("running again: capture examples/segment/events", SOON);
    process.wait_for_line("running again: ingestion", SOON);
    assert_eq!(ingest(port, &event(4)).status, 200);
    assert!(process.terminate(SOON).success(), "{}", process.output());

    let last = segtide(project.directory(), &["develop", "--source", "materialize.flow.yaml", "--port", "0", "--poll"]);
    assert_eq!(last.code, 0, "{}", last.err);
    let received = receiver.received();
    let said = Run { project: &project, postgres: None, received: &received }.check();
    assert!(said.contains("4002"), "4,000 lines of the file and two requests: {said}");
}
