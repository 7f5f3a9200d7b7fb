//! Documents that cannot be used are set aside, each once, with the reason, and everything else goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use catalog::{Capture, Catalog, Collection, Materialization};
use doc::Spill;
use journal::{Embedded, Log};
use runtime::{
    Batch, ConnectorError, Connectors, Destination, Fault, Hook, Kept, KeyRange, LambdaError, Lambdas, Options,
    Progress, Request, Retry, Runtime, Source, State, Status,
};
use serde_json::Value;

use crate::catalogs::build;

const LINES: u64 = 300;
const PATIENCE: Duration = Duration::from_secs(60);

const ITEMS: &str = r#"
collections:
  acme/items:
    schema: { type: object, properties: { id: { type: integer } }, required: [id] }
    key: [/id]
captures:
  acme/files:
    endpoint: { airbyteSource: { image: scripted, config: {} } }
    bindings: [{ resource: { stream: items }, target: acme/items }]
materializations:
  acme/hook:
    endpoint: { flowSink: { image: hook, config: {} } }
    bindings: [{ resource: { delta: true }, source: acme/items }]
"#;

/// A clock by which every wait is over when it is looked at again.
struct Leaps(AtomicU64);

impl journal::Clock for Leaps {
    fn now_us(&self) -> u64 {
        self.0.fetch_add(20_000_000, Ordering::SeqCst)
    }
}

/// The key of the n-th line. Keys do not come in their own order.
fn id(n: u64) -> u64 {
    n * 97 % (LINES + 1)
}

/// The n-th line, from one: what no JSON parser takes, what the schema does not, and documents.
fn line(n: u64) -> String {
    match n % 10 {
        3 if n.is_multiple_of(3) => format!("{{\"id\": {n}, \"number\": 1e400}}"),
        3 => format!("{{\"id\": {n}"),
        7 => format!("{{\"id\": \"number {n}\"}}"),
        _ => format!("{{\"id\": {}}}", id(n)),
    }
}

fn is_bad(n: u64) -> bool {
    matches!(n % 10, 3 | 7)
}

/// Requests of these documents are refused whenever they come.
fn is_refused(id: u64) -> bool {
    id.is_multiple_of(50)
}

#[derive(Clone, Default)]
struct World {
    halts: bool,
    /// Every so many calls fail.
    faults: u64,
    calls: Arc<AtomicU64>,
    taken: Arc<Mutex<Vec<(String, u64)>>>,
    refusals: Arc<Mutex<BTreeMap<u64, u32>>>,
}

impl World {
    fn fail(&self) -> Result<(), ConnectorError> {
        let calls = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let error = ConnectorError { message: "as scripted".into(), fault: Fault::Endpoint, retry: Retry::Later };
        if self.faults > 0 && calls.is_multiple_of(self.faults) { Err(error) } else { Ok(()) }
    }
}

impl Connectors for World {
    fn open_source(
        &self,
        _: &Capture,
        _: &[&Collection],
        cursor: Option<&[u8]>,
        _: bool,
    ) -> Result<Box<dyn Source>, ConnectorError> {
        let next = cursor.map_or(1, |cursor| std::str::from_utf8(cursor).unwrap().parse().unwrap());
        Ok(Box::new(Lines { next, world: self.clone() }))
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
        Ok(Destination::Hook(Box::new(Inbox(self.clone()))))
    }
    fn open_lambdas(&self, _: &Catalog, _: &Collection, _: &Kept<'_>) -> Result<Box<dyn Lambdas>, LambdaError> {
        unreachable!("nothing is derived")
    }
}

struct Lines {
    next: u64,
    world: World,
}

impl Source for Lines {
    fn read(&mut self, batch: &mut Batch) -> Result<Progress, ConnectorError> {
        self.world.fail()?;
        if self.next > LINES {
            return Ok(Progress::Done);
        }
        batch.files.push((0, "items.ndjson".into(), self.next));
        for _ in 0..7.min(LINES + 1 - self.next) {
            let begin = batch.text.len();
            batch.text.extend_from_slice(line(self.next).as_bytes());
            batch.documents.push((0, begin..batch.text.len()));
            self.next += 1;
        }
        batch.cursor = Some(self.next.to_string().into_bytes());
        Ok(Progress::More)
    }
    fn halts_on_invalid(&self) -> bool {
        self.world.halts
    }
}

struct Inbox(World);

impl Hook for Inbox {
    fn encode(&self, _: usize, documents: &[&[u8]]) -> Vec<Request> {
        let body = |document: &&[u8]| format!("[\n{}\n]", std::str::from_utf8(document).unwrap());
        documents.iter().map(|document| Request { url: "http://inbox/".into(), body: body(document) }).collect()
    }
    fn send(&mut self, id: &str, request: &Request) -> Result<(), ConnectorError> {
        let body: Value = serde_json::from_str(&request.body).unwrap();
        let number = body[0]["id"].as_u64().unwrap();
        if is_refused(number) {
            *self.0.refusals.lock().unwrap().entry(number).or_default() += 1;
            let message = "the answer was 422".to_owned();
            return Err(ConnectorError { message, fault: Fault::User, retry: Retry::AFewTimes });
        }
        self.0.fail()?;
        self.0.taken.lock().unwrap().push((id.to_owned(), number));
        Ok(())
    }
}

/// Runs until settled, or halted, or for so many milliseconds; the last state, and the dead letters of a task.
fn run(directory: &Path, world: &World, random: u64, at_most_ms: Option<u64>) -> (Vec<Status>, Vec<Value>, Vec<Value>) {
    let clock = Arc::new(Leaps(AtomicU64::new(1_700_000_000_000_000 + random * 1_000_000_000_000)));
    let log = Arc::new(Embedded::open(journal::Options::new(directory, Arc::<Leaps>::clone(&clock))).unwrap());
    let shared: Arc<dyn Log> = Arc::<Embedded>::clone(&log);
    let connectors: Arc<dyn Connectors> = Arc::new(world.clone());
    let options = Options {
        tail: false,
        random,
        transaction_bytes_max: 1 << 10,
        transaction_age_ms_max: 5,
        ..Options::default()
    };
    let spill: Spill = Arc::new(|| Ok(Box::new(Cursor::new(Vec::new()))));
    let runtime = Runtime::start(&build(ITEMS), shared, &connectors, clock, &spill, options).unwrap();
    let at_most = at_most_ms.map_or(PATIENCE, Duration::from_millis);
    let begun = Instant::now();
    let halted = |status: &[Status]| status.iter().any(|task| matches!(task.state, State::Halted { .. }));
    while begun.elapsed() < at_most && !runtime.is_settled() && !halted(&runtime.status()) {
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(at_most_ms.is_some() || begun.elapsed() < PATIENCE, "{:?}", runtime.status());
    runtime.stop();
    let status = runtime.join();
    let letters = |task: &str| {
        let mut found = Vec::new();
        for head in log.heads(&format!("dead-letters/{task}/")) {
            let mut at = head.begin;
            while let Some(block) = log.read(&head.journal, at, 1 << 20).unwrap() {
                at = block.end();
                let lines = block.documents.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
                found.extend(lines.map(|line| serde_json::from_slice::<Value>(line).unwrap()));
            }
        }
        found
    };
    (status, letters("acme/files"), letters("acme/hook"))
}

#[test]
fn what_cannot_be_used_is_set_aside_once() {
    let directory = tempfile::tempdir().unwrap();
    let world = World { faults: 9, ..World::default() };
    for (n, ms) in [15, 40, 25].into_iter().enumerate() {
        run(directory.path(), &world, n as u64, Some(ms));
    }
    let (status, of_files, of_hook) = run(directory.path(), &world, 9, None);

    let places: Vec<&str> = of_files.iter().map(|letter| letter["place"].as_str().unwrap()).collect();
    let bad: Vec<u64> = (1..=LINES).filter(|n| is_bad(*n)).collect();
    let expected: Vec<String> = bad.iter().map(|n| format!("items.ndjson:{n}")).collect();
    assert_eq!(places, expected, "each once, in order");
    let mut ids = BTreeSet::new();
    for (letter, n) in of_files.iter().zip(bad) {
        assert_eq!(letter["collection"], "acme/items");
        assert!(ids.insert(letter["_meta"]["uuid"].as_str().unwrap()), "{letter}");
        let reason = letter["reason"].as_str().unwrap();
        match n % 10 {
            3 => assert!(letter["text"] == line(n) && reason.contains("not a JSON document"), "{letter}"),
            _ => {
                assert_eq!(letter["document"], serde_json::from_str::<Value>(&line(n)).unwrap());
                assert!(reason.contains("invalid"), "{letter}");
            }
        }
    }

    let refused: Vec<u64> = of_hook.iter().map(|letter| letter["document"][0]["id"].as_u64().unwrap()).collect();
    let good = || (1..=LINES).filter(|n| !is_bad(*n)).map(id);
    assert_eq!(refused, good().filter(|id| is_refused(*id)).collect::<Vec<_>>());
    assert!(
        of_hook.iter().all(|letter| letter["reason"] == "the answer was 422" && letter["place"] == "http://inbox/")
    );
    assert!(world.refusals.lock().unwrap().values().all(|times| *times >= 10), "refused once is not refused for good");
    let taken = world.taken.lock().unwrap();
    let mut first: Vec<u64> = Vec::new();
    let mut by_id = BTreeMap::new();
    for (id, number) in taken.iter() {
        assert_eq!(*by_id.entry(id.clone()).or_insert(*number), *number, "an id is of one request");
        if !first.contains(number) {
            first.push(*number);
        }
    }
    let expected: Vec<u64> = good().filter(|id| !is_refused(*id)).collect();
    assert_eq!(first, expected, "first taken in the order of arrival");

    for task in &status {
        assert!(!matches!(task.state, State::Halted { .. }), "{task:?}");
    }
    let told = status.iter().filter(|task| task.counts.set_aside > 0);
    for task in told {
        assert_eq!(task.notes.len(), 1, "{task:?}");
        assert!(task.notes[0].contains(&format!("dead-letters/{}", task.name)), "{task:?}");
    }
}

#[test]
fn or_halts_the_capture_where_that_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let world = World { halts: true, ..World::default() };
    let (status, of_files, _) = run(directory.path(), &world, 1, None);
    let capture = status.iter().find(|task| task.kind == "capture").unwrap();
    let State::Halted { why } = &capture.state else { panic!("{capture:?}") };
    assert!(why.starts_with("items.ndjson:3: not a JSON document"), "{why}");
    assert!(of_files.is_empty());
}
