//! The flagship under `segtide develop`: events made at a thousand a second, stopped in order, and everything it left compared
//! with the model.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use testkit::{Answer, Postgres, Receiver};

use crate::kit::{Process, Project, Run, segtide};

/// How long events are made.
const RUN: Duration = Duration::from_secs(8);

/// Runs the flagship for a while and lets the model check what it left.
fn run(project: &Project, source: &str, postgres: Option<&Postgres>) {
    let receiver = Receiver::start(|_, _| Answer::status(200).delay(Duration::from_millis(5)));
    project.send_toggles_to(&receiver.url("/"));
    project.patch("capture.flow.yaml", "# seed: 42", "seed: 42");
    let begun = Instant::now();
    let (mut process, _) = Process::develop(project.directory(), source, &[]);
    // This is the length of the run, not a wait for something.
    std::thread::sleep(RUN);
    let status = process.terminate(Duration::from_secs(120));
    let took = begun.elapsed();
    assert_eq!(status.code(), Some(0), "{}", process.output());

    let said = Run { project, postgres, received: &receiver.received() }.check();

    let events: u64 = said.split_whitespace().nth(1).unwrap().parse().unwrap();
    let most = 1_000 * (took.as_secs() + 2);
    assert!((2_000..=most).contains(&events), "{events} events at 1,000 a second for {RUN:?} to {took:?}");
    assert!(!receiver.received().is_empty(), "no toggles were sent");
}

/// Would catch whatever keeps tables, webhook and files from telling the same story after an orderly end.
#[test]
fn sqlite_tables_webhook_and_files_agree_with_the_model() {
    let project = Project::segmentation();
    run(&project, "materialize.flow.yaml", None);

    let tables = rusqlite::Connection::open(project.path("segmentation.db")).unwrap();
    for query in ["segment_members.sql", "active_segments.sqlite.sql", "user_segments.sqlite.sql"] {
        let text = fs::read_to_string(project.path("queries").join(query)).unwrap();
        let mut statement = tables.prepare(&text).unwrap();
        assert!(statement.query([]).unwrap().next().unwrap().is_some(), "{query} has no rows");
    }
    files_are_open(&project);
    tables.execute_batch(&fs::read_to_string(project.path("queries/reset.sql")).unwrap()).unwrap();
    let left = "SELECT count(*) FROM sqlite_master WHERE type = 'table'";
    assert_eq!(tables.query_row(left, [], |row| row.get::<_, i64>(0)).unwrap(), 0, "reset.sql leaves tables");
}

/// The same with PostgreSQL, whose tables have types of their own.
#[test]
fn postgres_tables_webhook_and_files_agree_with_the_model() {
    let (project, postgres) = (Project::segmentation(), Postgres::start());
    project.keep_tables_in(&postgres);
    run(&project, "materialize-postgres.flow.yaml", Some(&postgres));

    let psql = |arguments: &[&str]| {
        let mut psql = Command::new("psql");
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1"]).args(arguments);
        psql.args(["-p", &postgres.port().to_string(), "-U", postgres.user(), "-d", postgres.user()]);
        let output = psql.env("PGPASSWORD", postgres.password()).current_dir(project.directory()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    for query in ["segment_members.sql", "active_segments.postgres.sql", "user_segments.postgres.sql"] {
        let rows = psql(&["-f", &format!("queries/{query}")]);
        assert!(!rows.trim().is_empty(), "{query} has no rows");
    }
    psql(&["-f", "queries/reset.sql"]);
    assert_eq!(psql(&["-c", r"\dt"]).trim(), "", "reset.sql leaves tables");
}

/// Fragments are files that need no program of ours: their paths say what is in them, `gzip` opens them, and each line is a
/// document. Would catch a path or format that readers of the original would not know.
fn files_are_open(project: &Project) {
    let data = project.data();
    let mut fragments = Vec::new();
    files_below(&data.join("fragments/examples/segment/events"), &mut fragments);
    assert!(fragments.len() >= 5, "{fragments:?}");
    for fragment in &fragments {
        let path = fragment.strip_prefix(project.directory()).unwrap().to_str().unwrap();
        let parts: Vec<&str> = path.split('/').collect();
        let [a, b, c, d, e, vendor, pivot, date, hour, name] = parts[..] else { panic!("{path}") };
        assert_eq!(
            [a, b, c, d, e, pivot],
            ["segtide_develop", "fragments", "examples", "segment", "events", "pivot=00"]
        );
        let vendor: u64 = vendor.strip_prefix("vendor=").unwrap().parse().unwrap();
        assert!(is_like(date, "utc_date=9999-99-99") && is_like(hour, "utc_hour=99"), "{path}");
        let f = |times: usize| "f".repeat(times);
        assert!(is_like(name, &format!("{}-{}-{}.gz", f(16), f(16), f(40))), "{path}");

        let first = Command::new("sh").arg("-c").arg(r#"gzip -dc "$0" | head -1"#).arg(fragment).output().unwrap();
        let document: serde_json::Value = serde_json::from_slice(&first.stdout).unwrap();
        assert_eq!(document["segment"]["vendor"].as_u64(), Some(vendor));
        let uuid = document["_meta"]["uuid"].as_str().unwrap();
        assert!(
            is_like(uuid, &format!("{}-{}-1{}-{}-{}", f(8), f(4), f(3), f(4), f(12))),
            "{uuid} is not of version 1"
        );
    }
}

/// Whether a text has the shape of a pattern: `9` stands for a digit, `f` for a hexadecimal one, the rest for itself.
fn is_like(text: &str, pattern: &str) -> bool {
    text.len() == pattern.len()
        && text.bytes().zip(pattern.bytes()).all(|(byte, pattern)| match pattern {
            b'9' => byte.is_ascii_digit(),
            b'f' => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            _ => byte == pattern,
        })
}

fn files_below(directory: &Path, found: &mut Vec<PathBuf>) {
    for path in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            files_below(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// A catalog since 2023: its tables keep when documents were published, and its formats refuse.
const LATER: &str = "
collections:
  t/events:
    writeSchema: &events
      type: object
      properties: { id: { type: string }, on: { type: string, format: date } }
      required: [id]
    readSchema: *events
    key: [/id]
captures:
  t/files:
    endpoint: { connector: { image: segtide/source-file, config: {} } }
    bindings: [{ resource: { stream: events.jsonl }, target: t/events }]
materializations:
  t/tables:
    endpoint: { sqlite: { path: events.db } }
    bindings: [{ source: t/events, resource: { table: events } }]
";

/// Would catch a column of the time that is empty, or another than the document's own; and formats that nobody looks at.
#[test]
fn tables_of_later_catalogs_say_when_documents_were_published() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("flow.yaml"), LATER).unwrap();
    let events = "{\"id\":\"a\",\"on\":\"2024-02-29\"}\n{\"id\":\"b\",\"on\":\"2023-02-29\"}\n";
    fs::write(directory.path().join("events.jsonl"), events).unwrap();
    let said = segtide(directory.path(), &["develop", "--source", "flow.yaml", "--port", "0", "--poll"]);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    let table = rusqlite::Connection::open(directory.path().join("events.db")).unwrap();
    let (count, published, document): (i64, String, String) = table
        .query_row("SELECT count(*), flow_published_at, flow_document FROM events", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .unwrap();
    assert_eq!(count, 1, "the other has no such day");
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    let clock = doc::uuid_clock(document["_meta"]["uuid"].as_str().unwrap().as_bytes()).unwrap();
    // The last digits of the ticks since 1582, which is a whole number of seconds before 1970.
    let us = clock / 160 % 1_000_000;
    assert!(published.ends_with(&format!(".{us:06}Z")) && published.len() == 27, "{published} {us}");
}
