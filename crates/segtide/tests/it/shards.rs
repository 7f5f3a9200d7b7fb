//! The keys divided anew in every run, each killed at a bad moment: what is left is what one straight run leaves.

use std::path::Path;
use std::time::{Duration, Instant};

use testkit::{Answer, Receiver};

use crate::kit::{Process, Project, Run, segtide, write_events};

const EVENTS: u64 = 12_000;
/// Among how many shards, in each run; the last one is not killed.
const SHARDS: [&str; 5] = ["1", "2", "1", "3", "2"];
/// For how long a run lives once it has begun.
const LIFE: Duration = Duration::from_millis(700);

const DEVELOP: [&str; 6] = ["develop", "--source", "materialize.flow.yaml", "--port", "0", "--shards"];

/// A project that captures a file, and who takes its toggles.
fn project() -> (Project, Receiver) {
    let project = Project::segmentation();
    project.capture_from_file();
    let receiver = Receiver::start(|_, _| Answer::status(200).delay(Duration::from_millis(5)));
    project.send_toggles_to(&receiver.url("/"));
    (project, receiver)
}

fn poll(project: &Project, shards: &str) -> String {
    let said = segtide(project.directory(), &[&DEVELOP[..], &[shards, "--poll"]].concat());
    assert_eq!(said.code, 0, "{said:?}");
    said.err
}

/// All rows of the tables, but for the documents, whose UUIDs say when and by whom they were published.
fn rows(database: &Path) -> Vec<String> {
    let database = rusqlite::Connection::open(database).unwrap();
    let mut found = Vec::new();
    for table in ["segment_memberships", "segment_profiles"] {
        let mut statement = database.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns: Vec<usize> =
            (0..statement.column_count()).filter(|n| statement.column_name(*n).unwrap() != "flow_document").collect();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let values = columns.iter().map(|n| format!("{:?}", row.get_ref(*n).unwrap()));
            found.push(format!("{table}: {}", values.collect::<Vec<_>>().join(", ")));
        }
    }
    found.sort();
    found
}

/// Would catch a document that is processed by two shards, or by none, when the ranges of keys change; a register that stays
/// behind; and a former owner of keys whose checkpoint still counts.
#[test]
fn divided_anew_in_every_run_the_result_is_that_of_a_straight_run() {
    let (straight, received) = project();
    write_events(&straight.path("events.ndjson"), 0..EVENTS);
    poll(&straight, "1");
    Run { project: &straight, postgres: None, received: &received.received() }.check();

    let (divided, received) = project();
    let file = divided.path("events.ndjson");
    let share = EVENTS / SHARDS.len() as u64;
    let (last, killed) = SHARDS.split_last().unwrap();
    for (n, shards) in killed.iter().enumerate() {
        // Most of its share is there at once, and the rest comes while it runs, so that it dies at work.
        let mut next = n as u64 * share;
        let end = next + share;
        write_events(&file, next..next + share / 2);
        next += share / 2;
        let mut process = Process::segtide(divided.directory(), &[&DEVELOP[..], &[*shards]].concat());
        let started = Instant::now();
        while started.elapsed() < LIFE {
            write_events(&file, next..end.min(next + 20));
            next = end.min(next + 20);
            std::thread::sleep(Duration::from_millis(10));
        }
        write_events(&file, next..end);
        assert!(process.kill_9(), "a run ended before it was killed");
    }
    write_events(&file, killed.len() as u64 * share..EVENTS);
    let said = poll(&divided, last);
    assert!(said.contains("leaves whole what has one order or one state"), "{said}");
    for task in ["capture examples/segment/events", "materialization examples/segment/toggle-webhook"] {
        assert!(said.contains(task), "{said}");
    }
    let said = Run { project: &divided, postgres: None, received: &received.received() }.check();
    assert!(said.contains(&format!("events       {EVENTS} documents")), "{said}");

    let (expected, found) = (rows(&straight.path("segmentation.db")), rows(&divided.path("segmentation.db")));
    assert!(!expected.is_empty());
    let first = expected.iter().zip(&found).find(|(one, other)| one != other);
    assert_eq!((first, found.len()), (None, expected.len()));
}
