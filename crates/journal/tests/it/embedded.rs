//! What the embedded log adds to the contract: files, recovery, one owner, damage, one sync for many.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use expect_test::expect;
use journal::{Delta, Embedded, KeyRange, Log, LogError, OpenError, Options, Piece};

use crate::support::{HOUR_US, MORNING_US, Place, append, commit, copy, delta, read_all};

pub(crate) fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// The lines of a fragment file, by an independent reader.
fn gunzip(path: &Path) -> Vec<u8> {
    let run = std::process::Command::new("gzip").arg("-dc").arg(path).output().unwrap();
    assert!(run.status.success());
    run.stdout
}

#[test]
fn after_a_graceful_stop_the_files_hold_everything() {
    let mut place = Place::new();
    place.options.fragment_bytes_max = 10_000;
    let log = place.open();
    let epoch = log.open("shard", KeyRange::ALL).unwrap().epoch;
    let mut expected = BTreeMap::<String, Vec<u8>>::new();
    for n in 0..300 {
        let journal = format!("acme/events/vendor={}%20x/pivot=00", n % 3);
        let line = format!("{{\"n\":{n},\"text\":\"{}\"}}\n", "e".repeat(n));
        expected.entry(journal.clone()).or_default().extend_from_slice(line.as_bytes());
        let mut delta = delta("shard", epoch, vec![append(&journal, line)]);
        delta.time_us = MORNING_US + HOUR_US * (n as u64 / 200);
        commit(&log, delta).unwrap();
    }
    log.close().unwrap();

    let root = place.options.directory.join("fragments");
    let mut found = BTreeMap::<String, Vec<u8>>::new();
    let mut hours = BTreeMap::<String, usize>::new();
    let mut by_begin: Vec<_> = files(&root).into_iter().collect();
    by_begin.sort_by_key(|path| path.file_name().unwrap().to_owned());
    for path in by_begin {
        let below = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        let (journal, rest) = below.split_once("/utc_date=").unwrap();
        let [date, hour, name]: [&str; 3] = rest.split('/').collect::<Vec<_>>().try_into().unwrap();
        assert_eq!(date, "2026-11-23");
        *hours.entry(hour.to_owned()).or_default() += 1;
        let documents = gunzip(&path);
        let all = found.entry(journal.to_owned()).or_default();
        let sum =
            std::process::Command::new("sh").arg("-c").arg("gzip -dc \"$0\" | sha1sum").arg(&path).output().unwrap();
        let sha1 = String::from_utf8(sum.stdout).unwrap()[..40].to_owned();
        assert_eq!(name, format!("{:016x}-{:016x}-{sha1}.gz", all.len(), all.len() + documents.len()));
        assert!(documents.len() <= 10_000 && documents.ends_with(b"\n"));
        all.extend(documents);
    }
    assert!(found == expected);
    assert_eq!(hours.keys().collect::<Vec<_>>(), ["utc_hour=07", "utc_hour=08"]);

    let log = place.open();
    for (journal, documents) in &expected {
        assert!(read_all(&log, journal, 777) == *documents, "{journal}");
    }
    let listed = log.fragments("acme/events/vendor=1").unwrap();
    assert!(listed.windows(2).all(|pair| pair[0].end == pair[1].begin));
    assert_eq!(listed.last().unwrap().end, expected["acme/events/vendor=1%20x/pivot=00"].len() as u64);
    assert!(listed.iter().all(|fragment| root.join(fragment.path()).is_file()));
}

#[test]
fn tails_become_fragments_by_age_and_reads_cross_over() {
    let place = Place::new();
    let log = place.open();
    let epoch = log.open("shard", KeyRange::ALL).unwrap().epoch;
    commit(&log, delta("shard", epoch, vec![append("a", "{\"n\":1}\n{\"n\":2}\n")])).unwrap();
    thread::sleep(Duration::from_millis(400));
    assert_eq!(log.fragments("").unwrap(), [], "time has not moved");
    place.clock.advance_ms(1500);
    let started = Instant::now();
    while log.fragments("").unwrap().is_empty() {
        assert!(started.elapsed() < Duration::from_secs(20));
        thread::sleep(Duration::from_millis(5));
    }
    commit(&log, delta("shard", epoch, vec![append("a", "{\"n\":3}\n")])).unwrap();
    for log in [log, place.open_again()] {
        assert_eq!(log.fragments("").unwrap().len(), 1);
        assert_eq!(read_all(&log, "a", 1), b"{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n");
        assert_eq!(log.read("a", 8, 100).unwrap().unwrap().documents, "{\"n\":2}\n");
        drop(log);
    }
}

#[test]
fn large_appends_are_cut_between_documents_and_come_back_whole() {
    let mut place = Place::new();
    place.options.live_cache_bytes = 1000;
    place.options.fragment_age_max_ms = 60_000;
    let log = place.open();
    let epoch = log.open("shard", KeyRange::ALL).unwrap().epoch;
    let line = format!("{{\"x\":\"{}\"}}\n", "0123456789".repeat(30_000));
    let mut all = line.repeat(60);
    let huge = format!("[\"{}\"]\n", "h".repeat(9 << 20));
    all.push_str(&huge);
    assert_eq!(commit(&log, delta("shard", epoch, vec![append("a", &all)])).unwrap(), [all.len() as u64]);
    for _ in 0..2 {
        assert!(read_all(&log, "a", 1 << 20) == all.as_bytes());
        let last = (all.len() - huge.len()) as u64;
        assert!(log.read("a", last, 10).unwrap().unwrap().documents == huge.as_bytes());
        log.flush().unwrap();
    }
    assert_eq!(log.fragments("").unwrap().last().unwrap().end, all.len() as u64);
}

#[test]
fn a_copy_taken_at_any_moment_opens() {
    let mut place = Place::new();
    place.options.fragment_age_max_ms = 0;
    let log = Arc::new(place.open());
    let writer = log.clone();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = stop.clone();
    let writing = thread::spawn(move || {
        let epoch = writer.open("shard", KeyRange::ALL).unwrap().epoch;
        let mut n = 0;
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            let line = format!("{{\"n\":{n}}}\n");
            let position = Piece::whole(format!("{n}"));
            let appends = vec![append("a", &line), append("b", &line)];
            commit(&*writer, Delta { position, ..delta("shard", epoch, appends) }).unwrap();
            n += 1;
        }
    });
    for n in 0..6 {
        thread::sleep(Duration::from_millis(40));
        let before = log.heads("");
        let data = place.directory.path().join(format!("copy {n}"));
        copy(&place.options.directory, &data);
        // Copying is no snapshot: files are taken one after another. The newest journal of the store is taken last, as a
        // kill would see it, and fragments are only ever added.
        copy(&place.options.directory.join("fragments"), &data.join("fragments"));
        let options = Options::new(&data, place.options.clock.clone());
        let copied = match Embedded::open(options) {
            Ok(copied) => copied,
            // A table that was merged away while copying is the copy's fault.
            Err(OpenError::Unusable { .. }) => continue,
            Err(error) => panic!("{error}"),
        };
        for head in &before {
            let found = copied.heads(&head.journal)[0].end;
            assert!(found >= head.end, "{}: {found} < {}", head.journal, head.end);
        }
        let all = read_all(&copied, "a", 1000);
        let lines = all.iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(all, (0..lines).map(|n| format!("{{\"n\":{n}}}\n")).collect::<String>().into_bytes());
        assert_eq!(read_all(&copied, "b", 1000), all);
        if lines > 0 {
            assert_eq!(copied.open("shard", KeyRange::ALL).unwrap().position, Piece::whole(format!("{}", lines - 1)));
        }
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    writing.join().unwrap();
}

#[test]
fn one_process_owns_a_directory() {
    let place = Place::new();
    let log = place.open();
    assert_eq!(fs::metadata(&place.options.directory).unwrap().permissions().mode() & 0o777, 0o700);
    let refused = place.try_open().unwrap_err().to_string();
    let refused = refused.replace(place.directory.path().to_str().unwrap(), "/d");
    expect!["/d/data is in use by another segtide process"].assert_eq(&refused);
    drop(log);
    drop(place.open());
}

#[test]
fn directories_of_others_and_of_other_versions_are_refused_and_left_alone() {
    let place = Place::new();
    fs::create_dir(&place.options.directory).unwrap();
    fs::write(place.options.directory.join("letter.txt"), "dear").unwrap();
    let shown = |error: OpenError| error.to_string().replace(place.directory.path().to_str().unwrap(), "/d");
    expect!["/d/data holds other files and is not a data directory of segtide; name an empty or a new directory"]
        .assert_eq(&shown(place.try_open().unwrap_err()));
    assert_eq!(files(&place.options.directory).len(), 1);

    fs::remove_file(place.options.directory.join("letter.txt")).unwrap();
    drop(place.open());
    let format = place.options.directory.join("format");
    assert_eq!(fs::read_to_string(&format).unwrap(), "segtide data directory, format 3\n");
    fs::write(&format, "segtide data directory, format 12\n").unwrap();
    expect!["/d/data has format 12, and this segtide reads format 3; open it with the version that wrote it"]
        .assert_eq(&shown(place.try_open().unwrap_err()));
}

#[test]
fn a_creation_cut_short_starts_over() {
    let place = Place::new();
    drop(place.open());
    fs::remove_file(place.options.directory.join("format")).unwrap();
    drop(place.open());
    fs::remove_file(place.options.directory.join("format")).unwrap();
    fs::remove_file(place.options.directory.join("store/version")).unwrap();
    fs::rename(place.options.directory.join("store"), place.options.directory.join("store.new")).unwrap();
    drop(place.open());
}

/// Flips a bit in the middle of the first file whose name ends so.
fn damage(root: &Path, suffix: &str) -> PathBuf {
    let found = files(root).into_iter().find(|path| path.to_str().unwrap().ends_with(suffix));
    let path = found.unwrap_or_else(|| panic!("no {suffix} in {:?}", files(root)));
    let mut bytes = fs::read(&path).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[used / 2] ^= 4;
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn a_damaged_fragment_is_named_and_never_read() {
    let place = Place::new();
    let log = place.open();
    let epoch = log.open("shard", KeyRange::ALL).unwrap().epoch;
    let lines: String = (0..200).map(|n| format!("{{\"n\":{}}}\n", n * n * 7919)).collect();
    commit(&log, delta("shard", epoch, vec![append("a/pivot=00", &lines)])).unwrap();
    log.close().unwrap();
    let path = damage(&place.options.directory.join("fragments"), ".gz");
    let log = place.open();
    let LogError::Damaged { what, .. } = log.read("a/pivot=00", 0, 100).unwrap_err() else { panic!() };
    assert!(what.ends_with(path.file_name().unwrap().to_str().unwrap()), "{what}");
    fs::write(&path, []).unwrap();
    let file_bytes = log.fragments("").unwrap()[0].file_bytes;
    assert_eq!(reason(&log), format!("expected {file_bytes} bytes, found 0"));
    fs::remove_file(&path).unwrap();
    expect!["the file is missing"].assert_eq(&reason(&log));
    // The tail goes on.
    let epoch = log.open("shard", KeyRange::ALL).unwrap().epoch;
    commit(&log, delta("shard", epoch, vec![append("a/pivot=00", "{}\n")])).unwrap();
    assert_eq!(log.read("a/pivot=00", lines.len() as u64, 100).unwrap().unwrap().documents, "{}\n");
}

fn reason(log: &Embedded) -> String {
    let LogError::Damaged { reason, .. } = log.read("a/pivot=00", 0, 100).unwrap_err() else { panic!() };
    reason
}

#[test]
fn a_flipped_bit_before_committed_batches_refuses_to_open_and_changes_nothing() {
    let place = Place::new();
    let log = place.open();
    let epoch = log.open("shard", KeyRange::ALL).unwrap().epoch;
    for n in 0..50 {
        commit(&log, delta("shard", epoch, vec![append("a", format!("{{\"n\":{n}}}\n"))])).unwrap();
    }
    drop(log);
    let path = damage(&place.options.directory.join("store"), ".jnl");
    let bytes = fs::read(&path).unwrap();
    let Err(OpenError::Damaged { what, .. }) = place.try_open() else { panic!() };
    assert_eq!(what, path.to_str().unwrap());
    assert!(fs::read(&path).unwrap() == bytes);
}

/// However the newest file of the log is shortened, or whichever bit of it flips: what was committed before the place is there, or
/// the file is refused by name and stays as it is.
#[test]
fn a_damaged_log_is_refused_or_keeps_what_came_before() {
    let place = Place::new();
    let log = place.open();
    let epoch = log.open("shard", KeyRange::ALL).unwrap().epoch;
    let path = place.options.directory.join("store/0.jnl");
    let used = || fs::read(&path).unwrap().iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let ends: Vec<_> = (0..4)
        .map(|n| {
            commit(&log, delta("shard", epoch, vec![append("a", format!("{{\"n\":{n}}}\n"))])).unwrap();
            used()
        })
        .collect();
    drop(log);
    let bytes = fs::read(&path).unwrap()[..ends[3]].to_vec();
    let lines = |count: usize| (0..count).map(|n| format!("{{\"n\":{n}}}\n")).collect::<String>();
    // A prime, so that every kind of byte has its turn.
    for at in (ends[0]..ends[3]).step_by(11) {
        let whole = ends.iter().filter(|end| **end <= at).count();
        for flipped in [None, Some(1 << (at % 8))] {
            let other = Place::new();
            copy(&place.options.directory, &other.options.directory);
            let path = other.options.directory.join("store/0.jnl");
            let damaged = match flipped {
                None => bytes[..at].to_vec(),
                Some(bit) => [&bytes[..at], &[bytes[at] ^ bit], &bytes[at + 1..]].concat(),
            };
            fs::write(&path, &damaged).unwrap();
            match other.try_open() {
                Ok(log) => {
                    let found = String::from_utf8(read_all(&log, "a", 1000)).unwrap();
                    let kept = (whole..=4).any(|count| found == lines(count));
                    assert!(kept, "{flipped:?} at {at} left {found}");
                    assert!(flipped.is_none() || whole == 3 || found == lines(4), "{flipped:?} at {at} left {found}");
                }
                Err(OpenError::Damaged { what, .. }) => {
                    assert!(flipped.is_some(), "shortened to {at}");
                    assert_eq!(what, path.to_str().unwrap());
                    assert!(fs::read(&path).unwrap() == damaged, "{flipped:?} at {at} changed the file");
                }
                Err(error) => panic!("{flipped:?} at {at}: {error}"),
            }
        }
    }
}

#[test]
fn what_a_crash_left_of_a_fragment_is_replaced() {
    let place = Place::new();
    let log = place.open();
    let epoch = log.open("shard", KeyRange::ALL).unwrap().epoch;
    commit(&log, delta("shard", epoch, vec![append("a", "{\"n\":1}\n")])).unwrap();
    drop(log);
    // Its file, cut short, and the tail still there: learnt from a run of the same elsewhere.
    let other = Place::new();
    copy(&place.options.directory, &other.options.directory);
    other.open().close().unwrap();
    let written = files(&other.options.directory.join("fragments")).remove(0);
    let below = written.strip_prefix(&other.options.directory).unwrap();
    let left = place.options.directory.join(below);
    fs::create_dir_all(left.parent().unwrap()).unwrap();
    fs::write(&left, b"\x1f\x8b").unwrap();
    place.open().close().unwrap();
    assert_eq!(gunzip(&left), b"{\"n\":1}\n");
    assert_eq!(read_all(&place.open(), "a", 100), b"{\"n\":1}\n");
}

#[test]
fn fragments_that_cannot_be_written_stay_in_the_tail() {
    let mut place = Place::new();
    let root = place.directory.path().join("elsewhere");
    place.options.fragments = journal::Fragments::Directory(root.clone());
    let log = place.open();
    let epoch = log.open("shard", KeyRange::ALL).unwrap().epoch;
    commit(&log, delta("shard", epoch, vec![append("a/b", "{\"n\":1}\n")])).unwrap();
    // A file where a directory must go.
    fs::write(root.join("a"), "in the way").unwrap();
    assert!(matches!(log.flush(), Err(LogError::Unwritable { .. })));
    assert!(log.stats().fragment_failures > 0);
    commit(&log, delta("shard", epoch, vec![append("a/b", "{\"n\":2}\n")])).unwrap();
    fs::remove_file(root.join("a")).unwrap();
    log.flush().unwrap();
    // The one that was planned, then what came meanwhile.
    assert_eq!(log.fragments("").unwrap().len(), 2);
    assert_eq!(read_all(&log, "a/b", 100), b"{\"n\":1}\n{\"n\":2}\n");
}

#[test]
fn many_commits_share_a_sync() {
    const SHARDS: usize = 16;
    const EACH: usize = 60;
    let place = Place::new();
    let log = Arc::new(place.open());
    // Keeps the commit thread busy while the queue fills, also where syncs take no time.
    let epoch = log.open("first", KeyRange::ALL).unwrap().epoch;
    let first = log.commit(delta("first", epoch, vec![append("b", "{}\n".repeat(4 << 20))]));
    let before = log.stats();
    let shards: Vec<_> = (0..SHARDS)
        .map(|shard| {
            let log = log.clone();
            thread::spawn(move || {
                let shard = format!("shard {shard}");
                let epoch = log.open(&shard, KeyRange::ALL).unwrap().epoch;
                let submit = |_| log.commit(delta(&shard, epoch, vec![append("a", "{\"some\":\"document\"}\n")]));
                let tickets: Vec<_> = (0..EACH).map(submit).collect();
                tickets.into_iter().for_each(|ticket| drop(ticket.wait().unwrap()));
            })
        })
        .collect();
    shards.into_iter().for_each(|shard| shard.join().unwrap());
    let after = log.stats();
    first.wait().unwrap();
    assert!(after.commits - before.commits >= (SHARDS * EACH) as u64);
    let syncs = after.syncs - before.syncs;
    assert!(syncs * 3 < (SHARDS * EACH) as u64, "{syncs} syncs for {} commits", SHARDS * EACH);
}

#[test]
fn the_commit_queue_is_bounded_but_takes_a_larger_delta_alone() {
    let mut place = Place::new();
    place.options.commit_queue_bytes = 1000;
    let log = place.open();
    let epoch = log.open("shard", KeyRange::ALL).unwrap().epoch;
    let line = format!("\"{}\"\n", "b".repeat(700));
    let tickets: Vec<_> =
        (0..20).map(|n| log.commit(delta("shard", epoch, vec![append("a", line.repeat(1 + 10 * (n % 2)))]))).collect();
    tickets.into_iter().for_each(|ticket| drop(ticket.wait().unwrap()));
    assert_eq!(read_all(&log, "a", 5000).len(), line.len() * 120);
}

#[test]
fn recovery_is_quick_with_a_long_tail() {
    let mut place = Place::new();
    place.options.fragment_age_max_ms = u64::MAX;
    place.options.fragment_bytes_max = 1 << 40;
    place.options.read_cache_bytes = 0;
    let log = place.open();
    let epoch = log.open("shard", KeyRange::ALL).unwrap().epoch;
    let line = format!("{{\"x\":\"{}\"}}\n", "w".repeat(4000));
    let tickets: Vec<_> =
        (0..20_000).map(|n| log.commit(delta("shard", epoch, vec![append(&format!("j{}", n % 40), &line)]))).collect();
    tickets.into_iter().for_each(|ticket| drop(ticket.wait().unwrap()));
    drop(log);
    let started = Instant::now();
    let log = place.open();
    let took = started.elapsed();
    eprintln!("20,000 blocks, 80 MB of tail: recovered in {took:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(log.heads("").iter().all(|head| head.end == 500 * line.len() as u64));
}

#[test]
fn a_reader_lagging_in_the_tail_survives_its_move() {
    let mut place = Place::new();
    place.options.live_cache_bytes = 0;
    place.options.fragment_age_max_ms = 0;
    let log = Arc::new(place.open());
    let writer = log.clone();
    let writing = thread::spawn(move || {
        let epoch = writer.open("shard", KeyRange::ALL).unwrap().epoch;
        for n in 0..300 {
            commit(&*writer, delta("shard", epoch, vec![append("a", format!("{{\"n\":{n:05}}}\n"))])).unwrap();
        }
    });
    let mut offset = 0;
    while offset < 300 * 12 {
        match log.read("a", offset, 12).unwrap() {
            Some(block) => {
                assert_eq!(block.documents, format!("{{\"n\":{:05}}}\n", offset / 12).as_bytes());
                offset = block.end();
            }
            None => drop(log.follow(0, Duration::from_millis(1))),
        }
    }
    writing.join().unwrap();
}

impl Place {
    fn try_open(&self) -> Result<Embedded, OpenError> {
        Embedded::open(self.options.clone())
    }

    /// A second log over a copy, as after a kill.
    fn open_again(&self) -> Embedded {
        let data = self.directory.path().join("again");
        copy(&self.options.directory, &data);
        Embedded::open(Options { fragments: self.options.fragments.clone(), directory: data, ..self.options.clone() })
            .unwrap()
    }
}
