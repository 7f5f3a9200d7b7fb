//! The generator against a clock moved by hand.

use std::time::Duration;

use connectors::Builtin;
use runtime::{Batch, Progress, Source};
use serde_json::{Value, json};
use testkit::Clock;

use crate::fixture::{capture, endpoint, read_all, texts};

const START_US: u64 = 1_626_987_600_000_000;

fn open(config: Value, cursor: Option<&[u8]>, tail: bool, clock: &Clock) -> Box<dyn Source> {
    let endpoint = endpoint("event-generator", "file:///a.yaml", config);
    let capture = capture(endpoint, &[json!({"stream": "segmentation-events"})]);
    let clock = clock.clone();
    Builtin::new(move || clock.now_us()).open_source(&capture, &[], cursor, tail).unwrap()
}

fn config(rate: u64, seed: Option<u64>) -> Value {
    json!({"maxEventsPerSecond": rate, "seed": seed, "segmentCardinality": 100, "userCardinality": 1000})
}

fn without_time(documents: &[String]) -> Vec<Value> {
    let parse = |text: &String| {
        let mut document: Value = serde_json::from_str(text).unwrap();
        document.as_object_mut().unwrap().remove("timestamp").unwrap();
        document
    };
    documents.iter().map(parse).collect()
}

#[test]
fn documents_are_events() {
    let clock = Clock::at(START_US);
    let (documents, _, end) = read_all(&mut *open(config(5000, Some(7)), None, false, &clock));
    assert_eq!((documents.len(), end), (5000, Progress::Done));
    for text in &documents {
        let document: Value = serde_json::from_str(text).unwrap();
        let id = document["event"].as_str().unwrap();
        assert!(id.len() == 36 && id.as_bytes()[14] == b'4' && b"89ab".contains(&id.as_bytes()[19]), "{id}");
        assert!(document["timestamp"].as_str().unwrap().starts_with("2021-07-22T21:00:0"), "{text}");
        let name = document["segment"]["name"].as_str().unwrap().strip_prefix("seg-").unwrap();
        let number = u64::from_str_radix(name, 16).unwrap();
        assert_eq!(name, format!("{number:X}"));
        assert!(number < 100);
        assert_eq!(document["segment"]["vendor"], 1 + number % 10);
        let user = document["user"].as_str().unwrap().strip_prefix("usr-").unwrap();
        assert!(user.len() == 6 && u64::from_str_radix(user, 16).unwrap() < 1000, "{user}");
        match document.get("remove") {
            None => assert!(document.get("value").is_none_or(Value::is_string)),
            remove => assert!(remove == Some(&json!(true)) && document.get("value").is_none()),
        }
    }
}

#[test]
fn a_restart_goes_on_with_the_same_events() {
    let clock = Clock::at(START_US);
    let (expected, ..) = read_all(&mut *open(config(2000, Some(7)), None, false, &clock));
    for seed in [Some(7), None] {
        let mut cursor = Some(br#"{"n":0,"seed":7}"#.to_vec());
        let mut documents = Vec::new();
        while documents.len() < expected.len() {
            let mut source = open(config(2000, seed), cursor.as_deref(), false, &clock);
            let mut batch = Batch::default();
            source.read(&mut batch).unwrap();
            documents.extend(texts(&batch));
            cursor = batch.cursor;
        }
        documents.truncate(expected.len());
        assert_eq!(without_time(&documents), without_time(&expected));
    }
    let (other, ..) = read_all(&mut *open(config(2000, Some(8)), Some(br#"{"n":9,"seed":7}"#), false, &clock));
    let (fresh, ..) = read_all(&mut *open(config(2000, Some(8)), None, false, &clock));
    assert_eq!(without_time(&other), without_time(&fresh), "a new seed begins anew");
}

#[test]
fn without_a_seed_one_is_drawn_and_kept() {
    let clock = Clock::at(START_US);
    let (one, cursor, _) = read_all(&mut *open(config(100, None), None, false, &clock));
    let (other, ..) = read_all(&mut *open(config(100, None), None, false, &clock));
    assert_ne!(without_time(&one), without_time(&other));
    let seed = serde_json::from_slice::<Value>(&cursor.unwrap()).unwrap()["seed"].as_u64();
    let (again, ..) = read_all(&mut *open(config(100, seed), None, false, &clock));
    assert_eq!(without_time(&one), without_time(&again));
}

#[test]
fn the_rate_is_kept() {
    for rate in [1, 3, 1000, 20_000] {
        let clock = Clock::at(START_US);
        let mut source = open(config(rate, Some(7)), None, true, &clock);
        let (mut made, mut largest) = (0, 0);
        for _ in 0..3000 {
            clock.advance(Duration::from_millis(1));
            loop {
                let mut batch = Batch::default();
                let progress = source.read(&mut batch).unwrap();
                made += batch.documents.len();
                largest = largest.max(batch.documents.len());
                match progress {
                    Progress::Wait(wait) => {
                        assert!(!wait.is_zero());
                        break;
                    }
                    progress => assert_eq!(progress, Progress::More),
                }
            }
        }
        let expected = 3 * rate as usize;
        assert!(made <= expected && made + 1 + expected / 100 >= expected, "{rate}/s: {made} of {expected}");
        assert!(largest <= 1 + rate as usize / 50, "{rate}/s: {largest} in one read");
    }
}

#[test]
fn a_clock_that_jumps_makes_neither_flood_nor_silence() {
    let clock = Clock::at(START_US);
    let mut source = open(config(1000, Some(7)), None, true, &clock);
    clock.advance(Duration::from_secs(3600));
    assert_eq!(read_all(&mut *source).0.len(), 1000, "one second is caught up with");
    clock.set(START_US / 2);
    read_all(&mut *source);
    clock.advance(Duration::from_millis(100));
    assert_eq!(read_all(&mut *source).0.len(), 100);
}
