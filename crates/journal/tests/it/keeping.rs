//! How fragments are kept: packed how, for how long, in which store; and whether all of it is as it was written.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use journal::{Codec, Embedded, KeyRange, Log, LogError, OpenError, Options, Template, verify};
use testkit::{Bucket, Fault};

use crate::embedded::files;
use crate::support::{HOUR_US, MORNING_US, Place, append, commit, delta, read_all};

fn soon(mut is: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is() {
        assert!(started.elapsed() < Duration::from_secs(30), "it never came about");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Commits a line for each hour to a journal, from the morning on, and writes each to a fragment of its own.
fn write_hours(log: &Embedded, journal: &str, hours: u64) -> Vec<u8> {
    let epoch = log.open("shard", KeyRange::ALL).unwrap().epoch;
    let mut all = Vec::new();
    for n in 0..hours {
        let line = format!("{{\"n\":{n:04},\"text\":\"{}\"}}\n", "x".repeat(100));
        all.extend_from_slice(line.as_bytes());
        let mut delta = delta("shard", epoch, vec![append(journal, line)]);
        delta.time_us = MORNING_US + n * HOUR_US;
        commit(log, delta).unwrap();
    }
    log.flush().unwrap();
    all
}

fn findings(options: &Options) -> Vec<String> {
    let found = verify(options).unwrap().findings;
    found.into_iter().map(|finding| format!("{}: {}", finding.what, finding.reason)).collect()
}

#[test]
fn each_codec_is_written_read_and_verified() {
    for (codec, ending) in [(Codec::Gzip, ".gz"), (Codec::None, ".raw"), (Codec::Zstandard, ".zst")] {
        let mut place = Place::new();
        place.options.templates = [("a/".to_owned(), Template { codec, ..Template::default() })].into();
        let log = place.open();
        let all = write_hours(&log, "a/pivot=00", 3);
        drop(log);
        let paths = files(&place.options.directory.join("fragments"));
        assert!(paths.len() == 3 && paths.iter().all(|path| path.to_str().unwrap().ends_with(ending)), "{paths:?}");
        // What they were written by does not matter to readers.
        place.options.templates.clear();
        assert!(read_all(&place.open(), "a/pivot=00", 1000) == all);
        assert_eq!(findings(&place.options), Vec::<String>::new());
    }
}

/// Would catch a retention that goes by age alone, or by readers alone, and one that forgets files over a restart.
#[test]
fn a_retention_removes_what_is_old_and_read() {
    let mut place = Place::new();
    let two_hours = Template { retention_ms: Some(2 * HOUR_US / 1000), ..Template::default() };
    place.options.templates = [("a/".to_owned(), two_hours)].into();
    let log = place.open();
    let all = write_hours(&log, "a/pivot=00", 5);
    let kept = write_hours(&log, "b/pivot=00", 5);
    let len = all.len() as u64 / 5;
    let begin = |log: &Embedded| log.heads("a/")[0].begin;
    let root = place.options.directory.join("fragments");

    // Four hours after the first: two of them are two hours old, and nobody said what is needed.
    place.clock.advance_ms(4 * HOUR_US / 1000);
    log.flush().unwrap();
    assert_eq!(begin(&log), 0);
    // A reader is past the first, and in the midst of the second.
    log.release("a/pivot=00", 2 * len - 1);
    log.release("b/pivot=00", kept.len() as u64);
    soon(|| begin(&log) == len);
    // All are past all: only those that are old go.
    log.release("a/pivot=00", 5 * len);
    soon(|| begin(&log) == 3 * len);
    soon(|| files(&root.join("a")).len() == 2);
    assert!(matches!(log.read("a/pivot=00", 0, 100), Err(LogError::NoSuchOffset { .. })));
    assert!(
        log.read("a/pivot=00", 3 * len, 1000).unwrap().unwrap().documents == all[3 * len as usize..4 * len as usize]
    );
    assert!(read_all(&log, "b/pivot=00", 1000) == kept, "without a retention it is kept for ever");
    drop(log);

    let log = place.open();
    assert_eq!(begin(&log), 3 * len);
    // What a former process was told is not known any more.
    place.clock.advance_ms(100 * HOUR_US / 1000);
    log.flush().unwrap();
    assert_eq!(begin(&log), 3 * len);
    drop(log);
    assert_eq!(findings(&place.options), Vec::<String>::new());
}

fn in_bucket(place: &mut Place, bucket: &Bucket) {
    place.options.store = Some("s3://bucket/flow/".to_owned());
    place.options.credentials = bucket.credentials();
}

#[test]
fn a_bucket_that_fails_in_every_way_loses_and_doubles_nothing() {
    // Each way comes at another request; those of reading are among them.
    let script = |n: usize, _: &str| match n {
        0 | 6 => Fault::Status(500),
        1 | 9 => Fault::Status(503),
        2 | 5 => Fault::AnswerLost,
        4 => Fault::Status(429),
        _ => Fault::None,
    };
    let bucket = Bucket::start(script);
    let mut place = Place::new();
    in_bucket(&mut place, &bucket);
    let log = place.open();
    let epoch = log.open("shard", KeyRange::ALL).unwrap().epoch;
    let mut all = Vec::new();
    for n in 0..6 {
        let line = format!("{{\"n\":{n}}}\n");
        all.extend_from_slice(line.as_bytes());
        let delta = delta("shard", epoch, vec![append("a/pivot=00", line)]);
        commit(&log, delta).unwrap();
        // A flush tries at once, whatever came of the last attempt.
        soon(|| log.flush().is_ok());
    }
    assert!(log.stats().fragment_failures >= 4, "{:?}", log.stats());
    drop(log);
    let objects = bucket.objects();
    assert_eq!(objects.len(), 6, "{:?}", objects.keys());
    assert!(objects.keys().all(|key| key.starts_with("flow/a/pivot=00/utc_date=2026-11-23/utc_hour=07/0")));
    assert_eq!(files(&place.options.directory.join("fragments")).len(), 0);

    // Fragments know where they are, also when new ones go elsewhere.
    place.options.store = None;
    let log = place.open();
    let mut found = Vec::new();
    soon(|| match log.read("a/pivot=00", found.len() as u64, 1000) {
        Ok(Some(block)) => {
            found.extend_from_slice(&block.documents);
            false
        }
        Ok(None) => true,
        Err(LogError::Unreadable { .. }) => false,
        Err(error) => panic!("{error}"),
    });
    assert!(found == all);
    drop(log);
    assert_eq!(findings(&place.options), Vec::<String>::new());
    bucket.put("flow/a/pivot=00/letter.txt", b"dear");
    assert_eq!(
        findings(&place.options),
        ["file s3://bucket/flow/a/pivot=00/letter.txt: nothing explains it; it has 4 bytes"]
    );
}

#[test]
fn another_object_of_a_fragments_name_is_not_taken_for_it() {
    let bucket = Bucket::start(|_, _| Fault::None);
    let place = Place::new();
    let log = place.open();
    let all = write_hours(&log, "a/pivot=00", 1);
    let path = log.fragments("").unwrap()[0].path();
    drop(log);

    let mut place = Place::new();
    in_bucket(&mut place, &bucket);
    bucket.put(&format!("flow/{path}"), b"something else");
    let log = place.open();
    let epoch = log.open("shard", KeyRange::ALL).unwrap().epoch;
    commit(&log, delta("shard", epoch, vec![append("a/pivot=00", &all)])).unwrap();
    let LogError::Unwritable { reason, .. } = log.flush().unwrap_err() else { panic!() };
    assert!(reason.starts_with("another file of its name is there"), "{reason}");
    assert!(read_all(&log, "a/pivot=00", 1000) == all, "the tail has it");
}

#[test]
fn documents_stay_while_a_bucket_is_away() {
    let away = Arc::new(AtomicBool::new(true));
    let is_away = Arc::clone(&away);
    let bucket = Bucket::start(move |_, _| match is_away.load(Ordering::SeqCst) {
        true => Fault::Status(503),
        false => Fault::None,
    });
    let mut place = Place::new();
    in_bucket(&mut place, &bucket);
    let log = place.open();
    let epoch = log.open("shard", KeyRange::ALL).unwrap().epoch;
    for n in 0..50 {
        commit(&log, delta("shard", epoch, vec![append("a/pivot=00", format!("{{\"n\":{n}}}\n"))])).unwrap();
        log.flush().unwrap_err();
    }
    drop(log);
    let log = place.open();
    let all: String = (0..50).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    assert!(read_all(&log, "a/pivot=00", 1000) == all.as_bytes());
    away.store(false, Ordering::SeqCst);
    log.flush().unwrap();
    // The fragment that was planned first, and one of all that came meanwhile.
    assert_eq!(bucket.objects().len(), 2);
    assert!(read_all(&log, "a/pivot=00", 1000) == all.as_bytes());
}

/// Every damage is found and named, and what is not damaged is not.
#[test]
fn verify_names_what_is_wrong() {
    let place = Place::new();
    let log = place.open();
    let all = write_hours(&log, "a/pivot=00", 4);
    let len = all.len() as u64 / 4;
    let epoch = log.open("shard", KeyRange::ALL).unwrap().epoch;
    commit(&log, delta("shard", epoch, vec![append("b/pivot=00", "{\"tail\":1}\n")])).unwrap();
    assert!(matches!(verify(&place.options), Err(OpenError::InUse { .. })));
    drop(log);
    let sound = verify(&place.options).unwrap();
    assert_eq!((sound.fragments, sound.blocks, sound.block_bytes), (4, 1, 11));
    assert_eq!(sound.findings, []);

    let paths = files(&place.options.directory.join("fragments"));
    let contents: Vec<_> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    let restore = || {
        for (path, content) in paths.iter().zip(&contents) {
            fs::write(path, content).unwrap();
        }
    };
    let name = |n: usize| paths[n].file_name().unwrap().to_str().unwrap().to_owned();
    let expect = |expected: &[(&str, &str)]| {
        let found = findings(&place.options);
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, (what, reason)) in found.iter().zip(expected) {
            assert!(found.contains(what) && found.contains(reason), "{found}: {what}, {reason}");
        }
        restore();
    };
    // Each bit of a file is under its sum, also those that unpacking ignores.
    for at in [0, 4, 9, 20, contents[1].len() - 1] {
        let mut damaged = contents[1].clone();
        damaged[at] ^= 1;
        fs::write(&paths[1], damaged).unwrap();
        expect(&[(&name(1), "SHA-256")]);
    }
    fs::write(&paths[2], b"").unwrap();
    expect(&[(&name(2), "found 0")]);
    fs::remove_file(&paths[0]).unwrap();
    expect(&[(&name(0), "missing")]);
    fs::write(&paths[0], &contents[3]).unwrap();
    fs::write(&paths[3], &contents[0]).unwrap();
    expect(&[(&name(0), "expected"), (&name(3), "expected")]);
    let extra = paths[0].with_file_name("0000000000000000-0000000000000001-0.gz");
    fs::write(&extra, b"x").unwrap();
    expect(&[("0000000000000000-0000000000000001-0.gz", "nothing explains it")]);
    assert!(extra.exists(), "it is named and not removed");
    assert_eq!(len * 4, all.len() as u64);
}
