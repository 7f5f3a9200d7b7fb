//! Reads the documents of several collections as one stream: higher priorities first, then by clock.
//!
//! Each [`Read`] follows the journals of one collection. What is ready is merged by (priority, clock + delay, journal, read),
//! so that documents published at different places are processed in the order they were published in, and a long backlog of
//! one journal interleaves with another's as it would have live. Within a journal order is always kept. Source: reference 4.3.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use bytes::Bytes;
use catalog::Selector;
use journal::{Log, LogError};
use serde::{Deserialize, Serialize};

use crate::partition::{JournalFilter, prefix};
use crate::uuid::{DocClock, clock_of_line};

/// How much of a journal is held in memory while it waits to be merged.
const READ_BYTES_MAX: usize = 256 << 10;

/// One collection to read.
#[derive(Debug)]
pub(crate) struct Read {
    /// Names the read in positions: must stay the same from run to run.
    pub name: String,
    /// The collection.
    pub collection: String,
    /// Which of its partitions.
    pub selector: Selector,
    /// Ready documents of a higher priority go first.
    pub priority: u32,
    /// How long after they were published documents are ready.
    pub delay_seconds: u64,
}

/// How far each journal of each read has been processed, by read and journal name. This is what checkpoints hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Offsets(pub BTreeMap<String, BTreeMap<Arc<str>, u64>>);

/// A document as it was read.
#[derive(Debug, Clone)]
pub(crate) struct Sourced {
    /// Index of the read.
    pub read: usize,
    /// Its text.
    pub text: Bytes,
}

/// What there was to read.
#[derive(Debug, Default)]
pub(crate) struct Block {
    /// Documents in order.
    pub documents: Vec<Sourced>,
    /// The sum of their lengths.
    pub bytes: usize,
    /// Whether more is ready now.
    pub more: bool,
    /// When the next document that waits for its delay is ready, in microseconds since 1970.
    pub ready_at_us: Option<u64>,
}

/// Merges reads. Bounded: holds one block per journal.
pub(crate) struct Reader {
    log: Arc<dyn Log>,
    reads: Vec<State>,
}

struct State {
    read: Read,
    prefix: String,
    filter: JournalFilter,
    cursors: BTreeMap<Arc<str>, Cursor>,
}

#[derive(Default)]
struct Cursor {
    /// Offset of the next document.
    next: u64,
    /// The journal's end when it was last looked at.
    end: u64,
    /// Text from `next` on.
    loaded: Bytes,
}

impl Reader {
    /// A reader that goes on from `offsets`; what they do not mention is read from its begin.
    pub(crate) fn new(log: Arc<dyn Log>, reads: Vec<Read>, offsets: &Offsets) -> Self {
        let reads = reads.into_iter().map(|read| {
            let known = offsets.0.get(&read.name).into_iter().flatten();
            let cursors =
                known.map(|(journal, next)| (Arc::clone(journal), Cursor { next: *next, ..Cursor::default() }));
            State {
                prefix: prefix(&read.collection),
                filter: JournalFilter::of(&read.selector),
                cursors: cursors.collect(),
                read,
            }
        });
        Self { log, reads: reads.collect() }
    }

    /// The next documents that are ready at `now_us`: about `bytes_max` at most, at least one if there is any.
    pub(crate) fn next(&mut self, now_us: u64, bytes_max: usize) -> Result<Block, LogError> {
        self.look()?;
        let mut heap = BinaryHeap::new();
        for (index, state) in self.reads.iter().enumerate() {
            for (journal, cursor) in &state.cursors {
                if !cursor.loaded.is_empty() {
                    heap.push(Reverse(state.turn(index, journal, cursor)));
                }
            }
        }
        let mut block = Block::default();
        while let Some(Reverse(turn)) = heap.pop() {
            if turn.ready_us > now_us {
                block.ready_at_us = Some(block.ready_at_us.map_or(turn.ready_us, |at| at.min(turn.ready_us)));
                continue;
            }
            if block.bytes >= bytes_max {
                block.more = true;
                break;
            }
            let state = &mut self.reads[turn.read];
            let cursor = state.cursors.get_mut(&turn.journal).expect("turns are made of cursors");
            // While this journal is first it needs no comparing: runs of one journal are the common case.
            loop {
                let text = cursor.take();
                block.bytes += text.len();
                block.documents.push(Sourced { read: turn.read, text });
                if cursor.loaded.is_empty() && cursor.next < cursor.end {
                    cursor.load(&*self.log, &turn.journal)?;
                }
                if cursor.loaded.is_empty() || heap.peek().is_some() || block.bytes >= bytes_max {
                    break;
                }
                if state.read.delay_seconds > 0 {
                    break;
                }
            }
            if !cursor.loaded.is_empty() {
                let cursor = &self.reads[turn.read].cursors[&turn.journal];
                heap.push(Reverse(self.reads[turn.read].turn(turn.read, &turn.journal, cursor)));
            }
        }
        Ok(block)
    }

    /// Looks for new journals and new ends, and loads every cursor that has something and holds nothing, so that what is
    /// merged next can be compared with everything that was committed before this moment. Reads of one collection see it as
    /// of the same moment: what one of them cannot see yet, no other may overtake.
    fn look(&mut self) -> Result<(), LogError> {
        let mut seen: BTreeMap<String, Vec<journal::Head>> = BTreeMap::new();
        for state in &mut self.reads {
            if !seen.contains_key(&state.prefix) {
                seen.insert(state.prefix.clone(), self.log.heads(&state.prefix));
            }
            for head in &seen[&state.prefix] {
                if !state.filter.matches(&head.journal) {
                    continue;
                }
                let cursor = state
                    .cursors
                    .entry(Arc::clone(&head.journal))
                    .or_insert_with(|| Cursor { next: head.begin, ..Cursor::default() });
                cursor.end = head.end;
                if cursor.loaded.is_empty() && cursor.next < cursor.end {
                    cursor.load(&*self.log, &head.journal)?;
                }
            }
        }
        Ok(())
    }

    /// How far the documents handed out so far reach.
    pub(crate) fn offsets(&self) -> Offsets {
        let read = |state: &State| {
            let journals = state.cursors.iter().map(|(journal, cursor)| (Arc::clone(journal), cursor.next));
            (state.read.name.clone(), journals.collect())
        };
        Offsets(self.reads.iter().map(read).collect())
    }

    /// Bytes that are committed and not handed out, as far as the reader has looked.
    pub(crate) fn lag_bytes(&self) -> u64 {
        self.reads.iter().flat_map(|s| s.cursors.values()).map(|c| c.end.saturating_sub(c.next)).sum()
    }
}

impl State {
    fn turn(&self, index: usize, journal: &Arc<str>, cursor: &Cursor) -> Turn {
        let clock = clock_of_line(cursor.line()).unwrap_or_default();
        let delay_us = self.read.delay_seconds.saturating_mul(1_000_000);
        Turn {
            priority: Reverse(self.read.priority),
            adjusted: DocClock(clock.0.saturating_add(delay_us.saturating_mul(160))),
            journal: Arc::clone(journal),
            read: index,
            ready_us: if delay_us == 0 { 0 } else { clock.us().saturating_add(delay_us) },
        }
    }
}

impl Cursor {
    /// Loads what is next, up to the end that was looked at: what was committed since is not for this moment.
    fn load(&mut self, log: &dyn Log, journal: &str) -> Result<(), LogError> {
        if let Some(mut block) = log.read(journal, self.next, READ_BYTES_MAX)? {
            let until = usize::try_from(self.end - self.next).unwrap_or(usize::MAX);
            block.documents.truncate(until);
            self.loaded = block.documents;
        }
        Ok(())
    }

    /// The next document's text, its newline included.
    fn line(&self) -> &[u8] {
        &self.loaded[..line_len(&self.loaded)]
    }

    fn take(&mut self) -> Bytes {
        let text = self.loaded.split_to(line_len(&self.loaded));
        self.next += text.len() as u64;
        text
    }
}

fn line_len(text: &[u8]) -> usize {
    memchr::memchr(b'\n', text).map_or(text.len(), |at| at + 1)
}

/// Orders what is to be read next; the least goes first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    priority: Reverse<u32>,
    adjusted: DocClock,
    journal: Arc<str>,
    read: usize,
    ready_us: u64,
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use journal::{Block as Run, Commit, Delta, Head, Opened};

    use super::*;
    use crate::uuid::Stamper;

    /// A journal that somebody else appends to whenever it is looked at.
    struct Busy(Mutex<(Vec<u8>, Stamper, u64)>);

    impl Busy {
        fn grow(&self) -> Vec<u8> {
            let (text, stamper, count) = &mut *self.0.lock().unwrap();
            let uuid = stamper.next(1_609_459_200_000_000 + *count);
            let uuid = std::str::from_utf8(&uuid).unwrap();
            text.extend_from_slice(format!("{{\"_meta\":{{\"uuid\":\"{uuid}\"}},\"n\":{count}}}\n").as_bytes());
            *count += 1;
            text.clone()
        }
    }

    impl Log for Busy {
        fn open(&self, _: &str) -> Result<Opened, LogError> {
            unreachable!()
        }
        fn commit(&self, _: Delta) -> Box<dyn Commit> {
            unreachable!()
        }
        fn registers(&self, _: &str, _: &[&[u8]]) -> Result<Vec<Option<Bytes>>, LogError> {
            unreachable!()
        }
        fn heads(&self, prefix: &str) -> Vec<Head> {
            vec![Head { journal: format!("{prefix}pivot=00").into(), begin: 0, end: self.grow().len() as u64 }]
        }
        fn read(&self, _: &str, offset: u64, _: usize) -> Result<Option<Run>, LogError> {
            let documents = self.grow().split_off(offset as usize);
            Ok((!documents.is_empty()).then(|| Run { begin: offset, documents: documents.into() }))
        }
        fn follow(&self, seen: u64, _: Duration) -> u64 {
            seen
        }
    }

    #[test]
    fn no_read_of_a_collection_overtakes_another() {
        let log = Arc::new(Busy(Mutex::new((Vec::new(), Stamper::new(1), 0))));
        let read = |name: &str| Read {
            name: name.to_owned(),
            collection: "c".to_owned(),
            selector: Selector::default(),
            priority: 0,
            delay_seconds: 0,
        };
        let mut reader = Reader::new(log, vec![read("a"), read("b")], &Offsets::default());
        let mut taken = Vec::new();
        for _ in 0..20 {
            let block = reader.next(u64::MAX, 100).unwrap();
            taken.extend(block.documents.into_iter().map(|d| (clock_of_line(&d.text).unwrap(), d.read)));
        }
        assert!(taken.len() > 20, "only {} documents were read", taken.len());
        assert!(taken.is_sorted(), "{taken:?}");
    }
}
