//! A disk that runs full: what grows is refused, what drains goes on, and all of it resumes by itself.

use std::time::{Duration, Instant};

use journal::{Codec, Delta, Embedded, KeyRange, Log, LogError, Options, Piece, Template};
use testkit::Disk;

use crate::support::{HandClock, append, commit, delta, read_all};

const MIB: usize = 1 << 20;

fn options(disk: &Disk) -> Options {
    let mut options = Options::new(disk.path().join("data"), HandClock::new());
    // No fragments, so that the disk fills as it is told to.
    options.fragment_age_max_ms = u64::MAX;
    options.fragment_bytes_max = u64::MAX / 4;
    // And all of it is written once: nothing is packed, nor moved from the store's journal to its tables.
    options.store_bytes = 512 << 20;
    options.templates = [("a".to_owned(), Template { codec: Codec::None, ..Template::default() })].into();
    options
}

/// Document `n`, of about a mebibyte.
fn line(n: usize) -> String {
    format!("{{\"n\":{n},\"pad\":\"{}\"}}\n", char::from(b'a' + (n % 26) as u8).to_string().repeat(MIB))
}

fn lines(count: usize) -> String {
    (0..count).map(line).collect()
}

/// A delta that only moves on, as a webhook's does: an outbox entry put, another cleared, a position.
fn moves(epoch: u64, n: u64, bytes: usize) -> Delta {
    let outbox = vec![(n, vec![b'o'; bytes])];
    let outbox_clear = n.checked_sub(1).into_iter().collect();
    Delta { outbox, outbox_clear, position: Piece::whole(n.to_be_bytes()), ..delta("hook", epoch, Vec::new()) }
}

/// Commits documents from `n` on until they are refused for want of room; the number of the refused one.
fn fill(log: &Embedded, mut n: usize) -> usize {
    let epoch = log.open("source", KeyRange::ALL).unwrap().epoch;
    loop {
        match commit(log, delta("source", epoch, vec![append("a", line(n))])) {
            Ok(_) => n += 1,
            Err(LogError::Full { reason }) => {
                assert!(reason.contains("make room there"), "{reason}");
                // Nothing behind a refused delta is committed, also if it would fit.
                let small = commit(log, delta("source", epoch, vec![append("a", "{}\n")])).unwrap_err();
                assert!(matches!(small, LogError::Full { .. }), "{small}");
                return n;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Waits until something succeeds; the log tries by itself about once a second.
fn soon<T>(mut attempt: impl FnMut() -> Result<T, LogError>) -> T {
    let started = Instant::now();
    loop {
        match attempt() {
            Ok(done) => return done,
            Err(error) => assert!(started.elapsed() < Duration::from_secs(30), "{error}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_nearly_full_disk_takes_nothing_in_and_lets_the_rest_drain() {
    let Some(disk) = Disk::mount(64 << 20, 10_000) else { return };
    let log = Embedded::open(options(&disk)).unwrap();
    log.room().unwrap();
    let hook = log.open("hook", KeyRange::ALL).unwrap().epoch;
    let count = fill(&log, 0);
    assert!(count > 30, "{count}");
    let _filler = disk.fill(2 << 20);
    assert!(matches!(log.room(), Err(LogError::Full { .. })));
    // Registers grow as well.
    let epoch = log.open("derivation", KeyRange::ALL).unwrap().epoch;
    let registers = vec![(b"key".as_slice().into(), Some(b"value".as_slice().into()))];
    let refused = commit(&log, Delta { registers, ..delta("derivation", epoch, Vec::new()) }).unwrap_err();
    assert!(matches!(refused, LogError::Full { .. }), "{refused}");

    for n in 0..100 {
        commit(&log, moves(hook, n, 1000)).unwrap();
    }
    assert!(read_all(&log, "a", 8 * MIB) == lines(count).as_bytes());

    // So it does after a restart.
    drop(log);
    let log = Embedded::open(options(&disk)).unwrap();
    let opened = log.open("hook", KeyRange::ALL).unwrap();
    assert_eq!(opened.outbox.len(), 1);
    commit(&log, moves(opened.epoch, 100, 1000)).unwrap();
    assert_eq!(fill(&log, count), count, "nothing was taken in");
    assert!(read_all(&log, "a", 8 * MIB) == lines(count).as_bytes());
}

#[test]
fn room_for_documents_comes_back_by_itself() {
    let Some(disk) = Disk::mount(64 << 20, 10_000) else { return };
    let log = Embedded::open(options(&disk)).unwrap();
    let filler = disk.fill(20 << 20);
    let count = fill(&log, 0);
    assert!(count < 20, "{count}");
    drop(filler);
    log.room().unwrap();
    let more = fill(&log, count);
    assert!(more > count + 20, "{count} and then {more}");
    assert!(read_all(&log, "a", 8 * MIB) == lines(more).as_bytes());
}

/// Would catch a log that is poisoned for good, or whose memory and disk disagree afterwards.
#[test]
fn the_store_itself_meets_a_full_disk_and_goes_on() {
    let Some(disk) = Disk::mount(64 << 20, 10_000) else { return };
    let log = Embedded::open(options(&disk)).unwrap();
    let source = log.open("source", KeyRange::ALL).unwrap().epoch;
    let hook = log.open("hook", KeyRange::ALL).unwrap().epoch;
    commit(&log, delta("source", source, vec![append("a", line(0))])).unwrap();
    // Another program takes everything.
    let filler = disk.fill(0);
    let mut n = 0;
    let failed = loop {
        match commit(&log, moves(hook, n, 200_000)) {
            Ok(_) => n += 1,
            Err(error) => break error,
        }
        assert!(n < 1000, "the disk never filled");
    };
    assert!(matches!(failed, LogError::Full { .. }), "{failed}");
    assert!(read_all(&log, "a", 8 * MIB) == line(0).as_bytes(), "what is committed can be read");

    // What was put aside is enough for destinations to drain.
    let opened = soon(|| log.open("hook", KeyRange::ALL));
    let position = opened
        .position
        .first()
        .map_or(0, |piece| u64::from_be_bytes(piece.position.as_slice().try_into().unwrap()) + 1);
    assert!(position == n || position == n + 1, "{position} and {n}: the outcome of the last one is unknown");
    for n in position..position + 20 {
        commit(&log, moves(opened.epoch, n, 1000)).unwrap();
    }
    // The former owners of shards are fenced: what they had in flight may or may not be there.
    assert!(commit(&log, delta("source", source, Vec::new())).is_err());
    assert!(matches!(log.room(), Err(LogError::Full { .. })));

    // It is as full when the program starts.
    drop(log);
    let log = Embedded::open(options(&disk)).unwrap();
    assert!(read_all(&log, "a", 8 * MIB) == line(0).as_bytes());
    assert!(log.room().is_err());

    drop(filler);
    let source = soon(|| log.open("source", KeyRange::ALL)).epoch;
    log.room().unwrap();
    commit(&log, delta("source", source, vec![append("a", line(1))])).unwrap();
    assert!(read_all(&log, "a", 8 * MIB) == lines(2).as_bytes());
    log.close().unwrap();
}

#[test]
fn files_run_out_as_bytes_do() {
    let Some(disk) = Disk::mount(256 << 20, 120) else { return };
    let log = Embedded::open(options(&disk)).unwrap();
    log.room().unwrap();
    let many = disk.path().join("many");
    std::fs::create_dir(&many).unwrap();
    (0..).map(|n| std::fs::write(many.join(n.to_string()), "")).take_while(Result::is_ok).count();
    let LogError::Full { reason } = log.room().unwrap_err() else { panic!() };
    assert!(reason.contains("more files"), "{reason}");
    std::fs::remove_dir_all(many).unwrap();
    log.room().unwrap();
}
