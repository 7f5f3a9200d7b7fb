//! The field story: a process is killed between any two instructions, and the next one must find everything it answered
//! for, nothing torn, in order.
//!
//! The test binary runs itself again as a writer. The writer commits to two journals, a register and a position in each
//! delta, and prints the number of each delta once it is durable. It is killed at a random moment; what it printed is what
//! must be there. The data directory goes through many such lives.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use journal::{Append, Delta, Embedded, KeyRange, Log, Options, Piece};

use crate::embedded::files;
use crate::support::{HandClock, MORNING_US, append, commit, copy, delta, read_all};

const DIRECTORY: &str = "JOURNAL_CRASH_DIRECTORY";
const LIVES: u32 = 12;

/// The count of commits that a writer left as its position.
fn count(position: &[Piece]) -> u64 {
    position.first().map_or(0, |piece| u64::from_be_bytes(piece.position.as_slice().try_into().unwrap()))
}

fn options(directory: &Path) -> Options {
    let mut options = Options::new(directory, HandClock::new());
    // Fragments all the time, so that some kills fall between the steps of writing one.
    options.fragment_bytes_max = 64 << 10;
    options.fragment_age_max_ms = 0;
    options
}

fn line(n: u64, part: u8) -> String {
    format!("{{\"n\":{n},\"part\":{part},\"pad\":\"{}\"}}\n", "z".repeat((n * 37 % 900) as usize))
}

fn write(log: &Embedded, mut acknowledge: impl FnMut(u64)) {
    let opened = log.open("writer", KeyRange::ALL).unwrap();
    let mut next = count(&opened.position);
    loop {
        // Several in flight, as shards have them.
        let tickets: Vec<_> = (next..next + 3)
            .map(|n| {
                log.commit(Delta {
                    task: "writer".to_owned(),
                    epoch: opened.epoch,
                    time_us: MORNING_US,
                    appends: [1, 2]
                        .map(|part| Append { journal: format!("c/part={part}"), documents: line(n, part).into() })
                        .into(),
                    registers: vec![(b"n".as_slice().into(), Some(n.to_be_bytes().as_slice().into()))],
                    position: Piece::whole((n + 1).to_be_bytes()),
                    ..Delta::default()
                })
            })
            .collect();
        for ticket in tickets {
            ticket.wait().unwrap();
            acknowledge(next);
            next += 1;
        }
    }
}

/// What is there must be deltas `0..n` whole, for some `n`; returns it.
fn check(directory: &Path) -> u64 {
    let log = Embedded::open(options(directory)).unwrap();
    let position = log.open("writer", KeyRange::ALL).unwrap().position;
    let count = count(&position);
    for part in [1, 2] {
        let expected: String = (0..count).map(|n| line(n, part)).collect();
        let found = read_all(&log, &format!("c/part={part}"), 1 << 20);
        assert!(found == expected.as_bytes(), "part {part} has {} bytes, not {}", found.len(), expected.len());
    }
    // Whoever reads the files without the index must find each document once.
    log.flush().unwrap();
    let root = directory.join("fragments");
    let mut indexed: Vec<_> = log.fragments("").unwrap().iter().map(|fragment| root.join(fragment.path())).collect();
    indexed.sort();
    assert_eq!(files(&root), indexed);
    if count > 0 {
        let register = log.registers("writer", &[b"n"]).unwrap().remove(0).unwrap();
        assert_eq!(register, (count - 1).to_be_bytes()[..]);
    }
    count
}

#[test]
fn killed_at_any_moment() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let mut acknowledged = 0;
    let seed = std::process::id();
    for life in 0..LIVES {
        let mut writer = Command::new(std::env::current_exe().unwrap())
            .args(["crash::writer", "--exact", "--ignored", "--nocapture"])
            .env(DIRECTORY, &data)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(writer.stdout.take().unwrap());
        let reader = std::thread::spawn(move || {
            lines.lines().map_while(Result::ok).filter_map(|line| line.strip_prefix("ack ")?.parse::<u64>().ok()).max()
        });
        // Also within the first milliseconds, where recovery is.
        std::thread::sleep(Duration::from_millis(u64::from((seed ^ life).wrapping_mul(2_654_435_761) % 400)));
        writer.kill().unwrap();
        writer.wait().unwrap();
        acknowledged = reader.join().unwrap().map_or(acknowledged, |last| last + 1);
        let found = check(&data);
        assert!(found >= acknowledged, "life {life} answered for {acknowledged}, {found} are there");
        acknowledged = found;
    }
    assert!(acknowledged > 0, "no writer lived long enough");
}

/// Not a test: the process that [`killed_at_any_moment`] kills.
#[test]
#[ignore = "runs until killed"]
fn writer() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let log = Embedded::open(options(Path::new(&directory))).unwrap();
    let mut out = std::io::stdout();
    write(&log, |n| {
        writeln!(out, "ack {n}").unwrap();
        out.flush().unwrap();
    });
}

/// A power cut tears the batch that was being written: any of its pages may be missing. A batch that was synced is whole.
#[test]
fn the_last_batch_torn_at_every_page() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let mut quiet = options(&data);
    quiet.fragment_age_max_ms = u64::MAX;
    quiet.fragment_bytes_max = u64::MAX / 4;
    let log = Embedded::open(quiet.clone()).unwrap();
    let epoch = log.open("writer", KeyRange::ALL).unwrap().epoch;
    commit(&log, delta("writer", epoch, vec![append("a", "{\"kept\":1}\n")])).unwrap();
    let before = directory.path().join("before");
    copy(&data, &before);
    let long = format!("{{\"long\":\"{}\"}}\n", "q".repeat(50_000));
    commit(&log, delta("writer", epoch, vec![append("a", &long), append("b", "{}\n")])).unwrap();
    let after = directory.path().join("after");
    copy(&data, &after);
    drop(log);

    let journal = |data: &Path| std::fs::read(data.join("store/0.jnl")).unwrap();
    let (mut old, new) = (journal(&before), journal(&after));
    // What is not yet allocated reads as zeros.
    old.resize(new.len(), 0);
    let changed: Vec<_> = old
        .chunks(4096)
        .zip(new.chunks(4096))
        .enumerate()
        .filter(|(_, (old, new))| old != new)
        .map(|(page, _)| page)
        .collect();
    assert!(changed.len() > 10);
    for (n, page) in changed.into_iter().enumerate() {
        let data = directory.path().join(format!("torn {n}"));
        copy(&after, &data);
        let mut torn = new.clone();
        let range = page * 4096..(page + 1) * 4096;
        let range = range.start..range.end.min(new.len());
        torn[range.clone()].copy_from_slice(&old[range]);
        std::fs::write(data.join("store/0.jnl"), torn).unwrap();
        let log = Embedded::open(Options { directory: data.clone(), ..quiet.clone() }).unwrap();
        assert!(log.stats().torn_bytes > 0);
        assert_eq!(read_all(&log, "a", 100), b"{\"kept\":1}\n");
        assert_eq!(log.heads("").len(), 1);
        let epoch = log.open("writer", KeyRange::ALL).unwrap().epoch;
        commit(&log, delta("writer", epoch, vec![append("a", "{\"next\":1}\n")])).unwrap();
        drop(log);
        let log = Embedded::open(Options { directory: data.clone(), ..quiet.clone() }).unwrap();
        assert_eq!(read_all(&log, "a", 100), b"{\"kept\":1}\n{\"next\":1}\n");
        drop(log);
        std::fs::remove_dir_all(data).unwrap();
    }
}

/// A write that fails for want of space: the file size limit stands in for a full disk.
#[test]
fn a_failed_write_poisons_until_reopened() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    // The limit is what the store preallocates for its journal, so the batch that crosses it fails halfway.
    let script = "ulimit -f $((64 * 1024)); trap '' XFSZ; exec \"$0\" \"$@\"";
    let run = Command::new("bash")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .args(["crash::limited_writer", "--exact", "--ignored", "--nocapture"])
        .env(DIRECTORY, &data)
        .output()
        .unwrap();
    let said = String::from_utf8(run.stdout).unwrap();
    assert!(run.status.success(), "{said}\n{}", String::from_utf8_lossy(&run.stderr));
    let acknowledged = said.lines().filter(|line| line.contains("ack")).count();
    assert!(said.contains("poisoned"), "{said}");
    assert!(acknowledged > 10, "{said}");
    let log = Embedded::open(options(&data)).unwrap();
    let end = log.heads("a")[0].end;
    assert_eq!(end, (acknowledged << 20) as u64, "what was refused is not there, what was answered for is");
    let epoch = log.open("writer", KeyRange::ALL).unwrap().epoch;
    commit(&log, delta("writer", epoch, vec![append("a", "{}\n")])).unwrap();
}

/// Not a test: the process that [`a_failed_write_poisons_until_reopened`] limits.
#[test]
#[ignore = "run with a file size limit"]
fn limited_writer() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let mut options = options(Path::new(&directory));
    options.fragment_age_max_ms = u64::MAX;
    options.fragment_bytes_max = u64::MAX / 4;
    let log = Embedded::open(options).unwrap();
    let epoch = log.open("writer", KeyRange::ALL).unwrap().epoch;
    let mut out = std::io::stdout();
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(60) {
        let mut megabyte = vec![b'm'; 1 << 20];
        *megabyte.last_mut().unwrap() = b'\n';
        match commit(&log, delta("writer", epoch, vec![append("a", megabyte)])) {
            Ok(_) => writeln!(out, "ack").unwrap(),
            Err(error) => {
                assert!(matches!(error, journal::LogError::Poisoned { .. }), "{error}");
                let again = commit(&log, delta("writer", epoch, vec![append("a", "{}\n")])).unwrap_err();
                assert!(matches!(again, journal::LogError::Poisoned { .. }), "{again}");
                assert!(matches!(log.open("writer", KeyRange::ALL), Err(journal::LogError::Poisoned { .. })));
                assert!(log.read("a", 0, 10).unwrap().is_some(), "what is committed can still be read");
                writeln!(out, "poisoned: {error}").unwrap();
                return;
            }
        }
    }
}
