//! However often and wherever the keys of a task are divided anew, every document is processed once, in the order of its key.

use std::collections::BTreeMap;
use std::sync::Arc;

use catalog::Selector;
use journal::{Append, Delta, Embedded, KeyRange, Log, Options};
use proptest::prelude::*;

use super::{Read, Reader};
use crate::position::Position;
use crate::uuid::Stamper;

const KEYS: u64 = 13;
const JOURNALS: [&str; 3] = ["a/p=1/pivot=00", "a/p=2/pivot=00", "b/pivot=00"];

#[derive(Debug, Clone)]
enum Step {
    /// Stops all shards where they are, and starts others: so many of the same size, or cut at these places.
    Start(Result<u32, Vec<u32>>),
    /// One shard reads a little.
    Read(usize, usize),
    /// One shard commits what it has read.
    Commit(usize),
    /// One shard fails and starts again.
    Fail(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let cuts = prop::collection::btree_set(1..=u32::MAX, 0..4).prop_map(|cuts| cuts.into_iter().collect());
    prop_oneof![
        1 => (1..5u32).prop_map(|count| Step::Start(Ok(count))),
        1 => cuts.prop_map(|cuts| Step::Start(Err(cuts))),
        6 => (any::<usize>(), 1..900usize).prop_map(|(shard, bytes)| Step::Read(shard, bytes)),
        4 => any::<usize>().prop_map(Step::Commit),
        1 => any::<usize>().prop_map(Step::Fail),
    ]
}

/// What was processed, by key: reads and documents.
type Processed = BTreeMap<u64, Vec<(usize, u64)>>;

struct Shard {
    range: KeyRange,
    epoch: u64,
    reader: Reader,
    /// Read, and not committed.
    open: Vec<(u64, (usize, u64))>,
}

struct Still;

impl journal::Clock for Still {
    fn now_us(&self) -> u64 {
        0
    }
}

/// A log of documents in three journals, each of a key.
fn filled(documents: &[(usize, u64)]) -> (tempfile::TempDir, Arc<dyn Log>) {
    let memory = std::path::Path::new("/dev/shm");
    let directory = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    let log = Embedded::open(Options::new(directory.path(), Arc::new(Still))).unwrap();
    let epoch = log.open("source", KeyRange::ALL).unwrap().epoch;
    let mut stamper = Stamper::new(7);
    let mut appends: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
    for (n, (journal, key)) in documents.iter().enumerate() {
        let uuid = stamper.next(n as u64);
        let uuid = std::str::from_utf8(&uuid).unwrap();
        let line = format!("{{\"_meta\":{{\"uuid\":\"{uuid}\"}},\"key\":{key},\"n\":{n}}}\n");
        appends.entry(*journal).or_default().extend_from_slice(line.as_bytes());
    }
    let append = |(journal, documents): (usize, _)| Append { journal: JOURNALS[journal].to_owned(), documents };
    let appends = appends.into_iter().map(append).collect();
    log.commit(Delta { task: "source".into(), epoch, appends, ..Delta::default() }).wait().unwrap();
    (directory, Arc::new(log))
}

impl Shard {
    fn start(log: &Arc<dyn Log>, range: KeyRange) -> Self {
        let opened = log.open("task", range).unwrap();
        let read = |name: &str, collection: &str, priority| Read {
            name: name.to_owned(),
            collection: collection.to_owned(),
            selector: Selector::default(),
            key: Arc::from(["/key".parse().unwrap()]),
            priority,
            delay_seconds: 0,
        };
        let reads = vec![read("x", "a", 0), read("y", "b", 0), read("z", "b", 1)];
        let position = Position::decode(range, &opened.position).unwrap();
        Self {
            range,
            epoch: opened.epoch,
            reader: Reader::new(Arc::clone(log), reads, range, position, Arc::default()),
            open: Vec::new(),
        }
    }

    /// Whether there may be more.
    fn read(&mut self, bytes_max: usize) -> bool {
        let block = self.reader.next(0, bytes_max).unwrap();
        for super::Document { read, text, .. } in block.documents() {
            let value: serde_json::Value = serde_json::from_slice(text).unwrap();
            let key = value["key"].as_u64().unwrap();
            let mut packed = Vec::new();
            doc::pack_node(doc::Node::U64(key), &mut packed);
            assert!(self.range.contains(doc::hash(&packed)), "a key of another shard");
            self.open.push((key, (read, value["n"].as_u64().unwrap())));
        }
        block.more
    }

    fn commit(&mut self, log: &dyn Log, processed: &mut Processed) {
        let position = self.reader.position().encode();
        log.commit(Delta { task: "task".into(), epoch: self.epoch, position, ..Delta::default() }).wait().unwrap();
        self.open.drain(..).for_each(|(key, document)| processed.entry(key).or_default().push(document));
    }
}

fn start(log: &Arc<dyn Log>, how: &Result<u32, Vec<u32>>) -> Vec<Shard> {
    let ranges: Vec<KeyRange> = match how {
        Ok(count) => (0..*count).map(|n| KeyRange::nth(n, *count)).collect(),
        Err(cuts) => {
            let begins = [0].into_iter().chain(cuts.iter().copied());
            let ends = cuts.iter().map(|cut| cut - 1).chain([u32::MAX]);
            begins.zip(ends).map(|(begin, end)| KeyRange { begin, end }).collect()
        }
    };
    ranges.into_iter().map(|range| Shard::start(log, range)).collect()
}

/// Everything that is still to be read, to the end.
fn finish(log: &Arc<dyn Log>, shards: &mut [Shard], processed: &mut Processed) {
    for shard in shards {
        while shard.read(300) {}
        shard.commit(&**log, processed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn each_document_is_processed_once_in_the_order_of_its_key(
        documents in prop::collection::vec((0..3usize, 0..KEYS), 0..120),
        steps in prop::collection::vec(step(), 0..40),
        last in 1..4u32,
    ) {
        let (_directory, log) = filled(&documents);
        let mut straight = Processed::new();
        finish(&log, &mut start(&log, &Ok(1)), &mut straight);

        let (_directory, log) = filled(&documents);
        let mut processed = Processed::new();
        let mut shards = start(&log, &Ok(1));
        for step in steps {
            let count = shards.len();
            match step {
                Step::Start(how) => shards = start(&log, &how),
                Step::Read(shard, bytes) => drop(shards[shard % count].read(bytes)),
                Step::Commit(shard) => shards[shard % count].commit(&*log, &mut processed),
                Step::Fail(shard) => shards[shard % count] = Shard::start(&log, shards[shard % count].range),
            }
        }
        let mut shards = start(&log, &Ok(last));
        finish(&log, &mut shards, &mut processed);
        prop_assert_eq!(&processed, &straight);
        prop_assert_eq!(straight.values().map(Vec::len).sum::<usize>(), documents.iter().map(|(journal, _)| 1 + journal / 2).sum::<usize>());
        for shard in &shards {
            prop_assert!(shard.reader.position().is_even(), "all of it is read");
        }
    }
}
