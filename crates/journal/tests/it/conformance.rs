//! What every log promises. Each case is given a fresh log; an implementation passes when all of [`CASES`] do.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use journal::{Delta, KeyRange, Log, LogError, Piece};

use crate::support::{Place, append, commit, delta, read_all};

type Case = (&'static str, fn(Arc<dyn Log>));

const CASES: &[Case] = &[
    ("a journal is created by its first append", creation),
    ("offsets count bytes and ends come back in order", offsets),
    ("a read begins at any document and ends behind one", boundaries),
    ("offsets that are none are refused", no_such_offset),
    ("heads are listed by prefix, sorted", prefixes),
    ("readers see all of a delta's appends or none", atomicity),
    ("deltas of a shard commit in order without waiting for each other", order),
    ("shards share journals, each delta in one piece", sharing),
    ("a later owner fences the former one", fencing),
    ("whoever never opened a shard cannot commit to it", never_opened),
    ("registers are put, replaced, deleted, and belong to their shard", registers),
    ("the last of two deltas in flight wins", registers_in_flight),
    ("positions and outboxes come back when a shard is opened", position_and_outbox),
    ("parts of one task commit beside each other", parts),
    ("a later owner of any of its keys fences a part", fencing_of_parts),
    ("what changes hands keeps its position, and registers and outbox stay", changing_hands),
    ("a position outside its range is refused", positions_elsewhere),
    ("what breaks the rules is refused, and so is what comes behind it", refusals),
    ("followers wake up on commits and only then", following),
];

#[test]
fn embedded_keeps_the_contract() {
    for (name, case) in CASES {
        let place = Place::new();
        eprintln!("case: {name}");
        case(Arc::new(place.open()));
    }
}

/// The same while every tail goes to fragments at once.
#[test]
fn embedded_keeps_the_contract_while_writing_fragments() {
    for (name, case) in CASES {
        let mut place = Place::new();
        place.options.fragment_age_max_ms = 0;
        place.options.live_cache_bytes = 0;
        eprintln!("case: {name}");
        case(Arc::new(place.open()));
    }
}

fn ends(log: &dyn Log, prefix: &str) -> Vec<(String, u64)> {
    log.heads(prefix).into_iter().map(|head| (head.journal.to_string(), head.end)).collect()
}

fn creation(log: Arc<dyn Log>) {
    assert_eq!(log.heads(""), []);
    assert!(log.read("a/pivot=00", 0, 100).unwrap().is_none());
    let epoch = log.open("shard", KeyRange::ALL).unwrap().epoch;
    commit(&*log, delta("shard", epoch, vec![append("a/pivot=00", "{}\n")])).unwrap();
    let heads = log.heads("");
    assert_eq!((heads.len(), &*heads[0].journal, heads[0].begin, heads[0].end), (1, "a/pivot=00", 0, 3));
}

fn offsets(log: Arc<dyn Log>) {
    let epoch = log.open("shard", KeyRange::ALL).unwrap().epoch;
    let appends = vec![append("b", "{\"n\":1}\n{\"n\":2}\n"), append("a", "{}\n")];
    assert_eq!(commit(&*log, delta("shard", epoch, appends)).unwrap(), [16, 3]);
    assert_eq!(commit(&*log, delta("shard", epoch, vec![append("a", "[]\n")])).unwrap(), [6]);
    assert_eq!(commit(&*log, delta("shard", epoch, vec![])).unwrap(), [0_u64; 0]);
    assert_eq!(read_all(&*log, "a", 100), b"{}\n[]\n");
    assert_eq!(read_all(&*log, "b", 100), b"{\"n\":1}\n{\"n\":2}\n");
}

fn boundaries(log: Arc<dyn Log>) {
    let epoch = log.open("shard", KeyRange::ALL).unwrap().epoch;
    let documents: Vec<String> = (0..40).map(|n| format!("{{\"n\":\"{}\"}}\n", "x".repeat(n * n % 23))).collect();
    for block in documents.chunks(7) {
        commit(&*log, delta("shard", epoch, vec![append("a", block.concat())])).unwrap();
    }
    let whole = documents.concat();
    for max_bytes in [0, 1, 10, 64, 1000, usize::MAX] {
        assert_eq!(read_all(&*log, "a", max_bytes), whole.as_bytes(), "in runs of {max_bytes}");
    }
    let mut begin = 0;
    for document in &documents {
        let block = log.read("a", begin, 1).unwrap().unwrap();
        assert_eq!((block.begin, &block.documents[..]), (begin, document.as_bytes()));
        begin = block.end();
    }
}

fn no_such_offset(log: Arc<dyn Log>) {
    let epoch = log.open("shard", KeyRange::ALL).unwrap().epoch;
    commit(&*log, delta("shard", epoch, vec![append("a", "{\"n\":1}\n{\"n\":2}\n")])).unwrap();
    for (journal, offset) in [("a", 1), ("a", 7), ("a", 9), ("a", 15), ("a", 17), ("a", u64::MAX), ("b", 1)] {
        let refused = log.read(journal, offset, 100).unwrap_err();
        assert!(matches!(refused, LogError::NoSuchOffset { .. }), "{journal} {offset}: {refused}");
    }
    assert!(log.read("a", 16, 100).unwrap().is_none());
}

fn prefixes(log: Arc<dyn Log>) {
    let epoch = log.open("shard", KeyRange::ALL).unwrap().epoch;
    let names = ["b/x=2/pivot=00", "a/pivot=00", "b/x=1/pivot=00", "bb/pivot=00", "b/pivot=00"];
    commit(&*log, delta("shard", epoch, names.map(|name| append(name, "{}\n")).into())).unwrap();
    let listed = |prefix| log.heads(prefix).into_iter().map(|head| head.journal.to_string()).collect::<Vec<_>>();
    assert_eq!(listed("b/"), ["b/pivot=00", "b/x=1/pivot=00", "b/x=2/pivot=00"]);
    assert_eq!(listed("").len(), 5);
    assert_eq!(listed("c"), [""; 0]);
}

fn atomicity(log: Arc<dyn Log>) {
    let writer = log.clone();
    let writes = thread::spawn(move || {
        let epoch = writer.open("shard", KeyRange::ALL).unwrap().epoch;
        for _ in 0..150 {
            let appends = ["a/1", "a/2", "a/3"].map(|name| append(name, "{\"all\":true}\n"));
            commit(&*writer, delta("shard", epoch, appends.into())).unwrap();
        }
    });
    let mut seen = 0;
    while seen < 150 * 13 {
        let heads = ends(&*log, "a/");
        assert!(heads.is_empty() || heads.len() == 3, "{heads:?}");
        assert!(heads.iter().all(|head| head.1 == heads[0].1), "{heads:?}");
        if let Some((journal, end)) = heads.first().filter(|head| head.1 > seen) {
            assert_eq!(log.read(journal, end - 13, 100).unwrap().unwrap().documents, "{\"all\":true}\n");
            seen = *end;
        }
    }
    writes.join().unwrap();
}

fn order(log: Arc<dyn Log>) {
    let epoch = log.open("shard", KeyRange::ALL).unwrap().epoch;
    let line = |n| format!("{{\"n\":{n:04}}}\n");
    let tickets: Vec<_> = (0..200).map(|n| log.commit(delta("shard", epoch, vec![append("a", line(n))]))).collect();
    let ends: Vec<u64> = tickets.into_iter().map(|ticket| ticket.wait().unwrap()[0]).collect();
    assert_eq!(ends, (1..=200).map(|n| n * 11).collect::<Vec<_>>());
    assert_eq!(read_all(&*log, "a", 50), (0..200).map(line).collect::<String>().as_bytes());
}

fn sharing(log: Arc<dyn Log>) {
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let log = log.clone();
            thread::spawn(move || {
                let shard = format!("shard {writer}");
                let epoch = log.open(&shard, KeyRange::ALL).unwrap().epoch;
                for n in 0..30 {
                    let pair = format!("{{\"w\":{writer},\"n\":{n},\"p\":1}}\n{{\"w\":{writer},\"n\":{n},\"p\":2}}\n");
                    let end = commit(&*log, delta(&shard, epoch, vec![append("a", &pair)])).unwrap()[0];
                    let block = log.read("a", end - pair.len() as u64, pair.len()).unwrap().unwrap();
                    assert_eq!(block.documents, pair.as_bytes());
                }
            })
        })
        .collect();
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    let all = String::from_utf8(read_all(&*log, "a", 1000)).unwrap();
    for writer in 0..4 {
        let start = format!("{{\"w\":{writer},");
        let own: String = all.lines().filter(|line| line.starts_with(&start)).map(|line| format!("{line}\n")).collect();
        let expected: String =
            (0..30).flat_map(|n| [1, 2].map(|p| format!("{{\"w\":{writer},\"n\":{n},\"p\":{p}}}\n"))).collect();
        assert_eq!(own, expected);
    }
}

fn fencing(log: Arc<dyn Log>) {
    let former = log.open("shard", KeyRange::ALL).unwrap().epoch;
    commit(&*log, delta("shard", former, vec![append("a", "1\n")])).unwrap();
    let ticket = log.commit(delta("shard", former, vec![append("a", "2\n")]));
    let later = log.open("shard", KeyRange::ALL).unwrap().epoch;
    assert!(later > former);
    assert_eq!(ticket.wait().unwrap(), [4], "submitted before the fence");
    for _ in 0..2 {
        let refused = commit(&*log, delta("shard", former, vec![append("a", "3\n")])).unwrap_err();
        assert!(matches!(&refused, LogError::Fenced { task } if task == "shard"), "{refused}");
    }
    assert_eq!(commit(&*log, delta("shard", later, vec![append("a", "4\n")])).unwrap(), [6]);
    assert_eq!(read_all(&*log, "a", 100), b"1\n2\n4\n");
    assert_eq!(log.open("other", KeyRange::ALL).unwrap().position, []);
}

fn never_opened(log: Arc<dyn Log>) {
    for epoch in [0, 1, u64::MAX] {
        assert!(matches!(commit(&*log, delta("shard", epoch, vec![])), Err(LogError::Fenced { .. })));
    }
    log.open("shard", KeyRange::ALL).unwrap();
    assert!(matches!(commit(&*log, delta("shard", u64::MAX, vec![])), Err(LogError::Fenced { .. })));
}

fn set(shard: &str, epoch: u64, registers: &[(&str, Option<&str>)]) -> Delta {
    let register =
        |(key, value): &(&str, Option<&str>)| (key.as_bytes().into(), value.map(|value| value.as_bytes().into()));
    let registers = registers.iter().map(register).collect();
    Delta { registers, ..delta(shard, epoch, vec![]) }
}

fn get(log: &dyn Log, shard: &str, keys: &[&str]) -> Vec<Option<String>> {
    let keys: Vec<&[u8]> = keys.iter().map(|key| key.as_bytes()).collect();
    let values = log.registers(shard, &keys).unwrap();
    values.into_iter().map(|value| value.map(|value| String::from_utf8(value.to_vec()).unwrap())).collect()
}

fn registers(log: Arc<dyn Log>) {
    assert_eq!(get(&*log, "one", &["a"]), [None]);
    let one = log.open("one", KeyRange::ALL).unwrap().epoch;
    let two = log.open("two", KeyRange::ALL).unwrap().epoch;
    commit(&*log, set("one", one, &[("b", Some("1")), ("a", Some("2")), ("", Some("3")), ("c", Some(""))])).unwrap();
    commit(&*log, set("two", two, &[("a", Some("9"))])).unwrap();
    let some = |value: &str| Some(value.to_owned());
    assert_eq!(
        get(&*log, "one", &["a", "x", "b", "a", "", "c"]),
        [some("2"), None, some("1"), some("2"), some("3"), some("")]
    );
    assert_eq!(get(&*log, "two", &["a", "b"]), [some("9"), None]);
    commit(&*log, set("one", one, &[("a", None), ("b", Some("7")), ("never", None)])).unwrap();
    assert_eq!(get(&*log, "one", &["a", "b", "never"]), [None, some("7"), None]);
    assert_eq!(get(&*log, "two", &["a"]), [some("9")]);
    assert_eq!(get(&*log, "two", &[]), []);
}

fn registers_in_flight(log: Arc<dyn Log>) {
    let epoch = log.open("shard", KeyRange::ALL).unwrap().epoch;
    let values: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    let tickets: Vec<_> = values
        .iter()
        .enumerate()
        .map(|(n, value)| {
            let other = (n % 2 == 0).then_some(value.as_str());
            let position = Piece::whole(value.as_bytes());
            let registers = set("shard", epoch, &[("k", Some(value)), ("sometimes", other)]);
            log.commit(Delta { position, ..registers })
        })
        .collect();
    tickets.into_iter().for_each(|ticket| drop(ticket.wait().unwrap()));
    assert_eq!(get(&*log, "shard", &["k", "sometimes"]), [Some("99".to_owned()), None]);
    assert_eq!(log.open("shard", KeyRange::ALL).unwrap().position, Piece::whole(b"99"));
}

fn position_and_outbox(log: Arc<dyn Log>) {
    let opened = log.open("shard", KeyRange::ALL).unwrap();
    assert!(opened.position.is_empty() && opened.outbox.is_empty());
    let outbox = vec![(300, b"c".to_vec()), (2, b"b".to_vec()), (1, b"a".to_vec())];
    commit(&*log, Delta { position: Piece::whole(b"p1"), outbox, ..delta("shard", opened.epoch, vec![]) }).unwrap();
    commit(&*log, Delta { outbox_clear: vec![1, 77], ..delta("shard", opened.epoch, vec![]) }).unwrap();
    let other = log.open("shard/0", KeyRange::ALL).unwrap();
    assert!(other.position.is_empty() && other.outbox.is_empty());
    let again = log.open("shard", KeyRange::ALL).unwrap();
    assert_eq!(again.position, Piece::whole(b"p1"), "a delta without a position leaves it");
    assert_eq!(again.outbox, [(2, b"b".to_vec()), (300, b"c".to_vec())]);
    commit(&*log, Delta { position: Piece::whole([]), ..delta("shard", again.epoch, vec![]) }).unwrap();
    assert_eq!(log.open("shard", KeyRange::ALL).unwrap().position, Piece::whole([]));
}

const HALVES: [KeyRange; 2] = [KeyRange { begin: 0, end: 0x7fff_ffff }, KeyRange { begin: 0x8000_0000, end: u32::MAX }];

fn range(begin: u32, end: u32) -> KeyRange {
    KeyRange { begin, end }
}

fn piece(range: KeyRange, position: &str) -> Piece {
    Piece { range, position: position.as_bytes().to_vec() }
}

/// A delta that moves the position of a whole range.
fn at(epoch: u64, range: KeyRange, position: &str) -> Delta {
    Delta { position: vec![piece(range, position)], ..delta("task", epoch, vec![]) }
}

fn parts(log: Arc<dyn Log>) {
    let [one, two] = HALVES.map(|half| log.open("task", half).unwrap());
    assert!(one.epoch != two.epoch && one.position.is_empty() && two.position.is_empty());
    let tickets = [
        log.commit(Delta { appends: vec![append("a", "1\n")], ..at(one.epoch, HALVES[0], "one") }),
        log.commit(Delta { appends: vec![append("a", "2\n")], ..at(two.epoch, HALVES[1], "two") }),
        log.commit(Delta { appends: vec![append("a", "3\n")], ..delta("task", one.epoch, vec![]) }),
    ];
    assert_eq!(tickets.map(|ticket| ticket.wait().unwrap()), [[2], [4], [6]]);
    // A refusal is of one part only.
    let refused = commit(&*log, delta("task", one.epoch, vec![append("a", "")]));
    assert!(matches!(refused, Err(LogError::Refused { .. })));
    assert!(matches!(commit(&*log, at(one.epoch, HALVES[0], "later")), Err(LogError::Refused { .. })), "a hole");
    commit(&*log, at(two.epoch, HALVES[1], "later")).unwrap();
    assert_eq!(log.open("task", HALVES[0]).unwrap().position, [piece(HALVES[0], "one")]);
    commit(&*log, at(two.epoch, HALVES[1], "later still")).unwrap();
}

fn fencing_of_parts(log: Arc<dyn Log>) {
    let whole = log.open("task", KeyRange::ALL).unwrap();
    let one = log.open("task", HALVES[0]).unwrap();
    let is_fenced = |epoch, range| matches!(commit(&*log, at(epoch, range, "x")), Err(LogError::Fenced { .. }));
    assert!(is_fenced(whole.epoch, KeyRange::ALL), "half of it is another's");
    let two = log.open("task", HALVES[1]).unwrap();
    commit(&*log, at(one.epoch, HALVES[0], "1")).unwrap();
    let ticket = log.commit(at(two.epoch, HALVES[1], "2"));
    let edge = log.open("task", range(0x7fff_ffff, 0x7fff_ffff)).unwrap();
    ticket.wait().unwrap();
    assert_eq!(edge.position, [piece(range(0x7fff_ffff, 0x7fff_ffff), "1")]);
    assert!(is_fenced(one.epoch, HALVES[0]), "one key of it is another's");
    commit(&*log, at(two.epoch, HALVES[1], "3")).unwrap();
    let whole = log.open("task", KeyRange::ALL).unwrap();
    assert_eq!(whole.position, [piece(HALVES[0], "1"), piece(HALVES[1], "3")]);
    assert!(is_fenced(edge.epoch, range(0x7fff_ffff, 0x7fff_ffff)) && is_fenced(two.epoch, HALVES[1]));
    commit(&*log, at(whole.epoch, KeyRange::ALL, "4")).unwrap();
    assert!([one.epoch, two.epoch, edge.epoch, whole.epoch].is_sorted_by(|former, later| former < later));
    assert!(matches!(log.open("task", range(1, 0)), Err(LogError::Refused { .. })));
}

fn changing_hands(log: Arc<dyn Log>) {
    let whole = log.open("task", KeyRange::ALL).unwrap();
    let first = Delta { outbox: vec![(1, b"request".to_vec())], ..set("task", whole.epoch, &[("r", Some("1"))]) };
    commit(&*log, Delta { position: Piece::whole(b"10"), ..first }).unwrap();
    let [one, two] = HALVES.map(|half| log.open("task", half).unwrap());
    assert_eq!([&one.position, &two.position], HALVES.map(|half| vec![piece(half, "10")]).each_ref());
    assert_eq!(one.outbox, [(1, b"request".to_vec())]);
    commit(&*log, at(one.epoch, HALVES[0], "70")).unwrap();
    let more = Delta { position: vec![piece(HALVES[1], "40")], ..set("task", two.epoch, &[("r", Some("2"))]) };
    commit(&*log, more).unwrap();

    let whole = log.open("task", KeyRange::ALL).unwrap();
    assert_eq!(whole.position, [piece(HALVES[0], "70"), piece(HALVES[1], "40")]);
    assert_eq!(get(&*log, "task", &["r"]), [Some("2".to_owned())]);
    // It leaves a position that is still in pieces.
    let uneven = vec![piece(range(0, 0x7fff_ffff), "70"), piece(range(0x8000_0000, 0x8fff_ffff), "50")];
    commit(&*log, Delta { position: uneven, ..delta("task", whole.epoch, vec![]) }).unwrap();
    let middle = log.open("task", range(0x4000_0000, 0x9fff_ffff)).unwrap();
    let expected = [piece(range(0x4000_0000, 0x7fff_ffff), "70"), piece(range(0x8000_0000, 0x8fff_ffff), "50")];
    assert_eq!(middle.position, expected, "and nothing behind what was committed");
    commit(&*log, at(middle.epoch, range(0x4000_0000, 0x9fff_ffff), "80")).unwrap();
    let whole = log.open("task", KeyRange::ALL).unwrap();
    let expected = [piece(range(0, 0x3fff_ffff), "70"), piece(range(0x4000_0000, 0x9fff_ffff), "80")];
    assert_eq!(whole.position, expected);
}

fn positions_elsewhere(log: Arc<dyn Log>) {
    let broken: [&[KeyRange]; 4] =
        [&[KeyRange::ALL], &[range(2, 1)], &[range(0, 5), range(5, 6)], &[range(3, 4), range(0, 1)]];
    for ranges in broken {
        let opened = log.open("task", HALVES[0]).unwrap();
        let position = ranges.iter().map(|range| piece(*range, "x")).collect();
        let refused = commit(&*log, Delta { position, ..delta("task", opened.epoch, vec![]) }).unwrap_err();
        assert!(matches!(refused, LogError::Refused { .. }), "{refused}");
    }
    assert_eq!(log.open("task", KeyRange::ALL).unwrap().position, []);
}

fn refusals(log: Arc<dyn Log>) {
    let broken = [
        append("a/../b", "{}\n"),
        append("", "{}\n"),
        append("a//b", "{}\n"),
        append(&"x".repeat(256), "{}\n"),
        append("nul\0", "{}\n"),
        append("a", ""),
        append("a", "{}"),
    ];
    for append_broken in broken {
        let epoch = log.open("shard", KeyRange::ALL).unwrap().epoch;
        let broken = Delta {
            position: Piece::whole(b"bad"),
            ..delta("shard", epoch, vec![append("fine", "{}\n"), append_broken])
        };
        let refused = commit(&*log, broken).unwrap_err();
        assert!(matches!(refused, LogError::Refused { .. }), "{refused}");
        let behind = commit(&*log, delta("shard", epoch, vec![append("fine", "{}\n")]));
        assert!(matches!(behind, Err(LogError::Refused { .. })), "a hole");
    }
    assert_eq!(log.heads(""), []);
    let opened = log.open("shard", KeyRange::ALL).unwrap();
    assert_eq!(opened.position, []);
    commit(&*log, delta("shard", opened.epoch, vec![append("fine", "{}\n")])).unwrap();
}

fn following(log: Arc<dyn Log>) {
    let long = Duration::from_secs(60);
    let seen = log.follow(0, long);
    let started = Instant::now();
    assert_eq!(log.follow(seen, Duration::from_millis(30)), seen);
    assert!(started.elapsed() >= Duration::from_millis(30));
    assert_eq!(log.follow(seen, Duration::ZERO), seen);
    let follower = log.clone();
    let woken = thread::spawn(move || {
        let now = follower.follow(seen, long);
        (now, ends(&*follower, "a"))
    });
    let epoch = log.open("shard", KeyRange::ALL).unwrap().epoch;
    commit(&*log, delta("shard", epoch, vec![append("a", "{}\n")])).unwrap();
    let (now, heads) = woken.join().unwrap();
    assert!(now > seen);
    assert_eq!(heads, [("a".to_owned(), 3)], "what woke it is there");
    assert!(log.follow(seen, long) > seen, "what was missed does not wait");
}
