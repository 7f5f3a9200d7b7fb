//! What no partition can hold is refused or set aside, and goes nowhere else.

use std::io::Cursor;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use catalog::{Capture, Catalog, Collection, Materialization};
use doc::Spill;
use journal::{Embedded, Log};
use runtime::{
    Batch, ConnectorError, Connectors, Destination, Format, IngestError, Ingested, Kept, KeyRange, LambdaError,
    Lambdas, Options, Posted, Progress, Runtime, Source, State, To,
};

use crate::catalogs::build;

const PATIENCE: Duration = Duration::from_secs(60);

const SITES: &str = r#"
collections:
  acme/views:
    schema: { type: object, properties: { id: { type: integer }, site: { type: string } }, required: [id, site] }
    key: [/id]
    projections:
      site: { location: /site, partition: true }
captures:
  acme/files:
    endpoint: { airbyteSource: { image: scripted, config: {} } }
    bindings: [{ resource: { stream: views }, target: acme/views }]
"#;

fn view(id: u64, site: &str) -> String {
    format!("{{\"id\":{id},\"site\":\"{site}\"}}")
}

#[derive(Default)]
struct Ticks(AtomicU64);

impl journal::Clock for Ticks {
    fn now_us(&self) -> u64 {
        self.0.fetch_add(1_000, Ordering::SeqCst)
    }
}

/// A capture of three lines, the second of which no partition can hold.
struct World;

impl Connectors for World {
    fn open_source(
        &self,
        _: &Capture,
        _: &[&Collection],
        cursor: Option<&[u8]>,
        _: bool,
    ) -> Result<Box<dyn Source>, ConnectorError> {
        Ok(Box::new(Lines(cursor.is_some())))
    }
    fn can_divide(&self, _: &Materialization) -> bool {
        false
    }
    fn open_destination(
        &self,
        _: &Materialization,
        _: &[&Collection],
        _: KeyRange,
    ) -> Result<Destination, ConnectorError> {
        unreachable!("nothing is materialized")
    }
    fn open_lambdas(&self, _: &Catalog, _: &Collection, _: &Kept<'_>) -> Result<Box<dyn Lambdas>, LambdaError> {
        unreachable!("nothing is derived")
    }
}

struct Lines(bool);

impl Source for Lines {
    fn read(&mut self, batch: &mut Batch) -> Result<Progress, ConnectorError> {
        if std::mem::replace(&mut self.0, true) {
            return Ok(Progress::Done);
        }
        for line in [view(1, "a"), view(2, &"x".repeat(300)), view(3, "b")] {
            let begin = batch.text.len();
            batch.text.extend_from_slice(line.as_bytes());
            batch.documents.push((0, begin..batch.text.len()));
        }
        batch.cursor = Some(b"read".to_vec());
        Ok(Progress::More)
    }
}

/// The lines of all journals with this prefix, each with its journal.
fn lines(log: &dyn Log, prefix: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for head in log.heads(prefix) {
        let mut at = head.begin;
        while let Some(block) = log.read(&head.journal, at, 1 << 20).unwrap() {
            at = block.end();
            let text = String::from_utf8(block.documents.to_vec()).unwrap();
            found.extend(text.lines().map(|line| (head.journal.to_string(), line.to_owned())));
        }
    }
    found
}

fn post(runtime: &Runtime, views: &[String]) -> Result<Ingested, IngestError> {
    let (told, outcome) = mpsc::channel();
    let to = To::Collection("acme/views".into(), Format::Lines);
    let posted = Posted { text: views.join("\n").into_bytes(), to, scope: None, key: None };
    runtime.ingest().submit(posted, Box::new(move |result| told.send(result).unwrap()));
    outcome.recv_timeout(PATIENCE).unwrap()
}

#[test]
fn a_value_too_long_for_a_partition_stops_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(Ticks::default());
    let log = Arc::new(Embedded::open(journal::Options::new(directory.path(), Arc::<Ticks>::clone(&clock))).unwrap());
    let shared: Arc<dyn Log> = Arc::<Embedded>::clone(&log);
    let connectors: Arc<dyn Connectors> = Arc::new(World);
    let spill: Spill = Arc::new(|| Ok(Box::new(Cursor::new(Vec::new()))));
    let options = Options { tail: false, ..Options::default() };
    let runtime = Runtime::start(&build(SITES), shared, &connectors, clock, &spill, options).unwrap();
    while !runtime.is_settled() {
        std::thread::sleep(Duration::from_millis(1));
    }
    // Of a refused request nothing remains: not the partition it began with, and not the place it had in it.
    let refused = post(&runtime, &[view(10, "c"), view(11, &"y".repeat(300))]).unwrap_err();
    assert!(matches!(&refused, IngestError::Invalid(why) if why.contains("too long for a partition")), "{refused}");
    post(&runtime, &[view(12, "d"), view(13, "c")]).unwrap();
    post(&runtime, &[view(14, "c")]).unwrap();
    runtime.stop();
    let status = runtime.join();
    assert!(status.iter().all(|task| !matches!(task.state, State::Halted { .. })), "{status:?}");

    let placed: Vec<_> = lines(&*log, "acme/views/")
        .into_iter()
        .map(|(journal, line)| {
            let document: serde_json::Value = serde_json::from_str(&line).unwrap();
            let site = document["site"].as_str().unwrap();
            assert_eq!(journal, format!("acme/views/site={site}/pivot=00"));
            document["id"].as_u64().unwrap()
        })
        .collect();
    assert_eq!(placed, [1, 3, 13, 14, 12], "by partition");
    let letters = lines(&*log, "dead-letters/");
    let [(_, letter)] = letters.as_slice() else { panic!("{letters:?}") };
    let letter: serde_json::Value = serde_json::from_str(letter).unwrap();
    assert_eq!((&letter["collection"], &letter["document"]["id"]), (&"acme/views".into(), &2.into()));
    assert!(letter["reason"].as_str().unwrap().contains("too long for a partition"), "{letter}");
}

/// Journals of partitions that a collection had once stay, and get nothing more.
#[test]
fn a_collection_that_has_no_partitions_any_more_has_a_journal_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(Ticks::default());
    let log = Arc::new(Embedded::open(journal::Options::new(directory.path(), Arc::<Ticks>::clone(&clock))).unwrap());
    let connectors: Arc<dyn Connectors> = Arc::new(World);
    let spill: Spill = Arc::new(|| Ok(Box::new(Cursor::new(Vec::new()))));
    let whole = SITES.replace(", partition: true", "");
    assert_ne!(whole, SITES);
    for (catalog, id) in [(SITES, 10), (&whole, 11)] {
        let shared: Arc<dyn Log> = Arc::<Embedded>::clone(&log);
        let clock = Arc::<Ticks>::clone(&clock);
        let options = Options { tail: false, ..Options::default() };
        let runtime = Runtime::start(&build(catalog), shared, &connectors, clock, &spill, options).unwrap();
        // What is captured is captured by the first of them.
        while !runtime.is_settled() {
            std::thread::sleep(Duration::from_millis(1));
        }
        post(&runtime, &[view(id, "s")]).unwrap();
        post(&runtime, &[view(id + 10, "t")]).unwrap();
        runtime.stop();
        runtime.join();
    }
    let found = lines(&*log, "acme/views/pivot=00");
    let ids: Vec<u64> = found
        .iter()
        .map(|(_, line)| serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].as_u64().unwrap())
        .collect();
    assert_eq!(ids, [11, 21]);
}
