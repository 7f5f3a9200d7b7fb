//! The Airbyte protocol with a connector that does what a test tells it to: states, deaths, nonsense, and what it may use.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use catalog::Capture;
use connectors::{Builtin, Connector, Level, Surroundings};
use runtime::{Batch, ConnectorError, Fault, Progress, Retry, Source};
use serde_json::{Value, json};

use crate::fixture::{builtin, capture, collection, endpoint, texts};

/// The longest that anything here may take.
const PATIENCE: Duration = Duration::from_secs(60);
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/airbyte/connector.py");

/// What was said, by which level.
type Said = Arc<Mutex<Vec<(Level, String)>>>;

fn around() -> (Surroundings, Said) {
    let said = Said::default();
    let kept = Arc::clone(&said);
    let log = Arc::new(move |level, _: &str, text: &str| kept.lock().unwrap().push((level, text.to_owned())));
    let environment = ["PATH", "HOME"].into_iter().filter_map(|name| Some((name.into(), std::env::var_os(name)?)));
    (Surroundings { log, environment: environment.collect() }, said)
}

fn local(config: Value) -> Value {
    json!({"command": ["python3", SCRIPT], "config": config, "env": {"GIVEN": "1"}})
}

fn captures(config: Value, resources: &[Value]) -> Capture {
    capture(endpoint("local", "file:///tmp/catalog.flow.yaml", config), resources)
}

fn open_with(
    builtin: &Builtin,
    capture: &Capture,
    cursor: Option<&[u8]>,
    tail: bool,
) -> Result<Box<dyn Source>, ConnectorError> {
    let collection = collection("acme/numbers", &[]);
    let collections: Vec<_> = capture.bindings.iter().map(|_| &collection).collect();
    builtin.open_source(capture, &collections, cursor, tail)
}

/// Everything that one run gives: documents with their binding, and the last cursor; or how it fails.
struct Run {
    documents: Vec<(usize, Value)>,
    cursor: Option<Vec<u8>>,
    outcome: Result<(), ConnectorError>,
    said: Vec<(Level, String)>,
}

fn run(steps: Value, resources: &[Value], cursor: Option<&[u8]>) -> Run {
    run_local(local(json!({ "steps": steps })), resources, cursor)
}

fn run_local(config: Value, resources: &[Value], cursor: Option<&[u8]>) -> Run {
    let (around, said) = around();
    let builtin = builtin().with_surroundings(around);
    let mut source = open_with(&builtin, &captures(config, resources), cursor, false).unwrap();
    let (mut documents, mut last) = (Vec::new(), None);
    let begun = Instant::now();
    let outcome = loop {
        assert!(begun.elapsed() < PATIENCE, "it does not end");
        let mut batch = Batch::default();
        let progress = match source.read(&mut batch) {
            Ok(progress) => progress,
            Err(error) => break Err(error),
        };
        let bindings = batch.documents.iter().map(|(binding, _)| *binding);
        documents.extend(bindings.zip(texts(&batch).iter().map(|text| serde_json::from_str(text).unwrap())));
        last = batch.cursor.or(last);
        if progress == Progress::Done {
            break Ok(());
        }
    };
    drop(source);
    let said = said.lock().unwrap().clone();
    Run { documents, cursor: last, outcome, said }
}

fn numbers() -> [Value; 1] {
    [json!({"stream": "numbers"})]
}

/// A run of the runtime in small: what belongs together is kept together, or not at all; it ends by itself or after so many
/// commits, as in a crash.
fn committed(
    builtin: &Builtin,
    capture: &Capture,
    kept: &mut Vec<String>,
    cursor: &mut Option<Vec<u8>>,
    commits: usize,
) -> bool {
    let mut source = open_with(builtin, capture, cursor.as_deref(), false).unwrap();
    let mut open = (Vec::new(), None);
    let mut left = commits;
    let begun = Instant::now();
    while left > 0 {
        assert!(begun.elapsed() < PATIENCE, "it does not end");
        let mut batch = Batch::default();
        let Ok(progress) = source.read(&mut batch) else { return false };
        open.0.extend(texts(&batch));
        open.1 = batch.cursor.take().or(open.1);
        if batch.unfinished {
            continue;
        }
        if !open.0.is_empty() || open.1.is_some() {
            kept.append(&mut open.0);
            *cursor = open.1.take().or(cursor.take());
            left -= 1;
        }
        if progress == Progress::Done {
            return true;
        }
    }
    false
}

/// Would catch documents that come without their state, or a state without its documents: whoever dies, each comes once.
#[test]
fn each_record_once_however_often_either_side_dies() {
    let builtin = builtin().with_surroundings(around().0);
    // The second has states so far apart that what belongs together is handed over in parts.
    for (count, every, pad, die) in [(300, 7, 0, 120), (120, 40, 60_000, 100)] {
        let (mut kept, mut cursor, mut runs) = (Vec::new(), None, 0);
        loop {
            runs += 1;
            assert!(runs < 100);
            let config = json!({"count": count, "every": every, "pad": pad, "die": die});
            let capture = captures(local(config), &numbers());
            if committed(&builtin, &capture, &mut kept, &mut cursor, runs % 3 + 1) {
                break;
            }
        }
        assert!(runs > 1, "nobody died");
        let kept: Vec<u64> =
            kept.iter().map(|text| serde_json::from_str::<Value>(text).unwrap()["n"].as_u64().unwrap()).collect();
        assert!(kept.iter().copied().eq(0..count), "{count} every {every}: {kept:?}");
    }
}

#[test]
fn states_of_every_kind_come_back_as_they_were() {
    let stream = |name: &str, n: u64| json!({"type": "STATE", "state": {"type": "STREAM", "stream": {"stream_descriptor": {"name": name}, "stream_state": {"n": n}}}});
    let global = json!({"type": "STATE", "state": {"type": "GLOBAL", "global": {"shared_state": {"x": 1}, "stream_states": []}}});
    for (messages, expected) in [
        (vec![json!({"type": "STATE", "state": {"data": {"n": 1}}})], json!({"n": 1})),
        (
            vec![
                json!({"type": "STATE", "state": {"data": {"n": 1, "m": 1}}}),
                json!({"type": "STATE", "state": {"data": {"n": 2, "m": null}, "estuary.dev/merge": true}}),
            ],
            json!({"n": 2}),
        ),
        (
            vec![stream("a", 1), stream("b", 1), stream("a", 2)],
            json!([stream("a", 2)["state"], stream("b", 1)["state"]]),
        ),
        (vec![global.clone()], json!([global["state"]])),
    ] {
        let steps: Vec<Value> = messages.into_iter().map(|message| json!({"say": message})).collect();
        let first = run(json!(steps), &numbers(), None);
        first.outcome.unwrap();
        let second = run(json!([{"echo": 1}]), &numbers(), first.cursor.as_deref());
        assert_eq!(second.documents[0].1["state"], expected);
    }
}

#[test]
fn what_is_no_message_is_talk_and_what_is_half_a_message_is_a_mistake() {
    let other = json!({"stream": "numbers", "namespace": "other", "syncMode": "full_refresh"});
    let said = run(
        json!([
            {"raw": "\n  \nhello \u{1b}[31m\n[1, 2]\n"},
            {"say": {"type": "LOG", "log": {"level": "WARN", "message": "careful"}}},
            {"say": {"type": "TRACE", "trace": {"type": "ESTIMATE", "estimate": {}}}},
            {"say": {"type": "SOMETHING_NEW", "x": 1}},
            {"say": {"type": "CONTROL", "control": {"type": "CONNECTOR_CONFIG"}}},
            {"stderr": "a line of its standard error"},
            {"say": {"type": "RECORD", "record": {"stream": "numbers", "namespace": "other", "data": {"n": 1}}}},
            {"say": {"type": "RECORD", "record": {"stream": "unwanted", "data": {"n": 2}}}},
            {"say": {"type": "RECORD", "record": {"stream": "unwanted", "data": {"n": 3}}}},
            {"raw": "{\"type\":\"RECORD\",\"record\":{\"stream\":\"num\\u0062ers\",\"data\":{\"n\": 4}}}"}
        ]),
        &[other, json!({"stream": "numbers"})],
        None,
    );
    said.outcome.unwrap();
    assert_eq!(
        said.documents,
        [(0, json!({"n": 1})), (1, json!({"n": 4}))],
        "the last one has no newline and no state"
    );
    assert_eq!(said.cursor, None);
    for expected in [
        (Level::Info, "hello \\u{1b}[31m"),
        (Level::Info, "[1, 2]"),
        (Level::Warn, "careful"),
        (Level::Info, "a line of its standard error"),
        (Level::Warn, "the connector changed its configuration, which is not kept"),
        (Level::Warn, "the connector sends records of the stream \"unwanted\", which no binding wants"),
    ] {
        let times = said.said.iter().filter(|(level, text)| (*level, text.as_str()) == expected).count();
        assert_eq!(times, 1, "{expected:?} in {:?}", said.said);
    }

    for message in [
        json!({"type": "RECORD", "record": {"data": {}}}),
        json!({"type": "RECORD"}),
        json!({"type": "STATE"}),
        json!({"type": "STATE", "state": {"type": "STREAM"}}),
    ] {
        let error = run(json!([{"say": message}]), &numbers(), None).outcome.unwrap_err();
        assert_eq!((error.fault, error.retry), (Fault::Endpoint, Retry::Later), "{message}: {error}");
    }
}

#[test]
fn failures_say_what_failed_and_whose_fault_it_is() {
    let trace = |kind: &str| json!({"say": {"type": "TRACE", "trace": {"type": "ERROR", "error": {"message": "no such host", "failure_type": kind}}}});
    for (steps, message, retry) in [
        (
            json!([{"exit": 3}]),
            "the connector failed: it ended with exit status: 3; what it said is in the log",
            Retry::Later,
        ),
        (json!([trace("system_error"), {"exit": 1}]), "the connector failed: no such host", Retry::Later),
        (json!([trace("config_error"), {"exit": 1}]), "the connector failed: no such host", Retry::AFewTimes),
        (json!([trace("transient_error")]), "the connector failed: no such host", Retry::Later),
    ] {
        let error = run(steps, &numbers(), None).outcome.unwrap_err();
        assert_eq!((error.message.as_str(), error.retry), (message, retry));
    }
    let error = run_local(json!({"command": ["./no-such-program"]}), &numbers(), None).outcome.unwrap_err();
    assert!(error.message.starts_with("the connector `./no-such-program` cannot be started: No such file"), "{error}");
    let error = run(json!([]), &[json!({"stream": "letters"})], None).outcome.unwrap_err();
    assert_eq!(error.message, "the connector has no stream \"letters\"; it has numbers, other/numbers");
}

/// What came with its state before the connector died is kept, and what did not is not.
#[test]
fn what_has_a_state_is_kept_before_a_failure_is_told() {
    let state = json!({"say": {"type": "STATE", "state": {"data": 1}}});
    let run = run(json!([{"record": {"n": 1}}, state, {"record": {"n": 2}}, {"exit": 1}]), &numbers(), None);
    assert_eq!(run.documents, [(0, json!({"n": 1}))]);
    assert!(run.cursor.is_some() && run.outcome.is_err());
}

#[test]
fn a_connector_gets_what_it_needs_and_nothing_else() {
    let echoed = run(json!([{"echo": 1}]), &numbers(), None);
    echoed.outcome.unwrap();
    let document = &echoed.documents[0].1;
    let names: Vec<&str> = document["environment"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    // Some machines start Python through a script that adds names of its own; ours are Cargo's.
    assert!(names.contains(&"GIVEN") && !names.iter().any(|name| name.starts_with("CARGO")), "{names:?}");
    assert!(std::env::vars().any(|(name, _)| name.starts_with("CARGO")));
    assert_eq!((document["mode"].as_str(), document["directory"].as_str()), (Some("0o600"), Some("/tmp")));
    assert!(!Path::new(document["config"].as_str().unwrap()).exists(), "its configuration is left behind");
    let stream = &document["catalog"]["streams"][0];
    assert_eq!(stream["sync_mode"], "incremental");
    assert_eq!(stream["cursor_field"], json!(["n"]));
    assert_eq!(stream["primary_key"], json!([["n"], ["a", "b/c"]]));
}

#[test]
fn lines_memory_and_records_without_a_state_are_bounded() {
    let error = run(json!([{"records": {"count": 1, "pad": 17 << 20}}]), &numbers(), None).outcome.unwrap_err();
    assert!(error.message.ends_with("it wrote a line of more than 16 MiB"), "{error}");

    let mut config = local(json!({"steps": [{"allocate": 400}, {"record": {"n": 1}}]}));
    config["memoryMiB"] = json!(200);
    let bounded = run_local(config, &numbers(), None);
    assert!(bounded.outcome.is_err() && bounded.documents.is_empty());
    assert!(bounded.said.iter().any(|(_, text)| text.contains("MemoryError")), "{:?}", bounded.said);

    let builtin = builtin().with_surroundings(around().0);
    let config = local(json!({"steps": [{"records": {"count": 80, "pad": 1 << 20}}]}));
    let mut source = open_with(&builtin, &captures(config, &numbers()), None, false).unwrap();
    let (mut open, mut most, mut commits) = (0, 0, 0);
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < PATIENCE, "it does not end");
        let mut batch = Batch::default();
        let progress = source.read(&mut batch).unwrap();
        open += batch.text.len();
        most = most.max(open);
        if !batch.unfinished {
            commits += usize::from(open > 0);
            open = 0;
        }
        if progress == Progress::Done {
            break;
        }
    }
    assert!(most > 60 << 20 && most < 70 << 20, "{most}");
    assert_eq!(commits, 2, "once at the bound, once at the end");
}

#[test]
fn nothing_it_started_outlives_it() {
    let state = json!({"say": {"type": "STATE", "state": {"data": 1}}});
    for steps in [json!([{"spawn": 1}, state, {"sleep": 1000}]), json!([{"spawn": 1}])] {
        let builtin = builtin().with_surroundings(around().0);
        let capture = captures(local(json!({ "steps": steps })), &numbers());
        let mut source = open_with(&builtin, &capture, None, true).unwrap();
        let begun = Instant::now();
        let pid = loop {
            assert!(begun.elapsed() < PATIENCE);
            let mut batch = Batch::default();
            source.read(&mut batch).unwrap();
            if let Some(text) = texts(&batch).first() {
                break serde_json::from_str::<Value>(text).unwrap()["pid"].as_u64().unwrap();
            }
        };
        drop(source);
        // What has ended has no command line, though nobody may have asked for its end yet.
        let runs = || std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty());
        while runs() {
            assert!(begun.elapsed() < PATIENCE, "{pid} still runs");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn it_runs_again_after_its_interval() {
    let builtin = builtin().with_surroundings(around().0);
    let mut capture = captures(local(json!({"steps": [{"record": {"n": 1}}]})), &numbers());
    capture.interval_seconds = 1;
    let mut source = open_with(&builtin, &capture, None, true).unwrap();
    let begun = Instant::now();
    let mut came = Vec::new();
    while came.len() < 2 {
        assert!(begun.elapsed() < PATIENCE);
        let mut batch = Batch::default();
        if let Progress::Wait(wait) = source.read(&mut batch).unwrap() {
            std::thread::sleep(wait.min(Duration::from_millis(50)));
        }
        came.extend(texts(&batch).iter().map(|_| begun.elapsed()));
    }
    assert!(came[1] - came[0] > Duration::from_millis(700), "{came:?}");
}

#[test]
fn a_connector_is_asked_what_it_needs_and_has() {
    let words = vec!["python3".to_owned(), SCRIPT.to_owned()];
    let connector = Connector::command(words, "/tmp".into(), around().0);
    assert_eq!(connector.spec().unwrap()["required"], json!(["count"]));
    assert_eq!(connector.check(&json!({})), Ok(()));
    assert_eq!(connector.check(&json!({"broken": "no"})), Err("no".to_owned()));
    let streams = connector.discover(&json!({})).unwrap();
    let shown: Vec<_> = streams.iter().map(|s| (s.name.as_str(), s.namespace.as_deref(), s.incremental)).collect();
    assert_eq!(shown, [("numbers", None, true), ("numbers", Some("other"), false)]);
    assert_eq!(streams[0].key, ["/n", "/a/b~1c"]);
    let nobody = Connector::command(vec!["./nobody".to_owned()], "/tmp".into(), around().0);
    assert!(nobody.spec().unwrap_err().contains("cannot be started"));
    let silent = Connector::command(vec!["true".to_owned()], "/tmp".into(), around().0);
    assert_eq!(silent.spec().unwrap_err(), "the connector failed: it does not say why");
}
