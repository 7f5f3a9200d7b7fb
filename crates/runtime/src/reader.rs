//! Reads the documents of several collections as one stream: higher priorities first, then by clock.
//!
//! Each [`Read`] follows the journals of one collection. What is ready is merged by (priority, clock + delay, read),
//! so that documents published at different places are processed in the order they were published in, and a long backlog of
//! one journal interleaves with another's as it would have live. Within a journal order is always kept. Source: reference 4.3.
//!
//! A shard that has only some of the keys reads everything and passes over what is for others.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use catalog::Selector;
use doc::{Arena, Pointer};
use foldhash::{HashMap, HashMapExt};
use journal::failpoint::defect;
use journal::{Head, KeyRange, Log, LogError};

use crate::partition::{JournalFilter, prefix};
use crate::position::{Offsets, Position};
use crate::uuid::{DocClock, clock_of_line};

/// How much of each journal is held in memory while it waits to be merged: its share of what the reader may hold …
const READ_BYTES_MIN: usize = 4 << 10;
/// … within these bounds.
const READ_BYTES_MAX: usize = 256 << 10;

/// One collection to read.
#[derive(Debug)]
pub(crate) struct Read {
    /// Names the read in positions: must stay the same from run to run.
    pub name: String,
    /// The collection.
    pub collection: String,
    /// Which of its documents.
    pub selector: Selector,
    /// The locations whose values say which shard a document is for.
    pub key: Arc<[Pointer]>,
    /// Ready documents of a higher priority go first.
    pub priority: u32,
    /// How long after they were published documents are ready.
    pub delay_seconds: u64,
}

/// Where a document of a [`Block`] is.
#[derive(Debug, Clone)]
struct Sourced {
    /// Index of the read.
    read: usize,
    /// Which run it is in, and where.
    run: usize,
    range: Range<usize>,
    is_fresh: bool,
}

/// A document as it was read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Document<'b> {
    /// Index of the read.
    pub read: usize,
    /// Its text, as the log has it but for the line's end.
    pub text: &'b [u8],
    /// Whether it was published since the catalog started to run, and so is valid by its collection's schema.
    pub is_fresh: bool,
}

/// What there was to read.
#[derive(Debug, Default)]
pub(crate) struct Block {
    /// In order.
    documents: Vec<Sourced>,
    /// The text they are in. Others share it, and counting a run costs less than counting each document of it.
    runs: Vec<Bytes>,
    /// The sum of the documents' lengths.
    pub bytes: usize,
    /// Bytes of documents that are for others, or were processed by a former owner of their keys.
    pub passed_bytes: usize,
    /// Whether more is ready now.
    pub more: bool,
    /// When the next document that waits for its delay is ready, in microseconds since 1970.
    pub ready_at_us: Option<u64>,
}

impl Block {
    /// How many documents there are.
    pub(crate) fn len(&self) -> usize {
        self.documents.len()
    }

    /// The documents in order.
    pub(crate) fn documents(&self) -> impl Iterator<Item = Document<'_>> {
        self.documents.iter().map(|Sourced { read, run, range, is_fresh }| {
            let text = &self.runs[*run][range.clone()];
            Document { read: *read, text: text.strip_suffix(b"\n").unwrap_or(text), is_fresh: *is_fresh }
        })
    }

    /// The documents in order, each with its newline.
    pub(crate) fn lines(&self) -> impl Iterator<Item = Bytes> {
        self.documents.iter().map(|document| self.runs[document.run].slice(document.range.clone()))
    }
}

/// Merges reads. Bounded: holds one block per journal.
pub(crate) struct Reader {
    log: Arc<dyn Log>,
    reads: Vec<State>,
    /// Where it began.
    from: Position,
    started: Arc<Ends>,
    /// Whether the shard has all keys, and has come to the same place for all of them: then nothing is passed over.
    is_whole: bool,
    /// What it holds of all journals.
    bytes_max: usize,
    scratch: Scratch,
}

/// Memory for looking at keys.
struct Scratch {
    arena: Arena,
    packed: Vec<u8>,
}

struct State {
    read: Read,
    prefix: String,
    filter: JournalFilter,
    cursors: Vec<Cursor>,
    /// The cursor of each journal.
    places: HashMap<Arc<str>, usize>,
}

struct Cursor {
    journal: Arc<str>,
    /// Offset of the next document.
    next: u64,
    /// The journal's end when it was last looked at.
    end: u64,
    /// Text, of which what is from `at` on is still to be handed out; `next` is its offset.
    loaded: Bytes,
    at: usize,
    /// Where the next document ends in it.
    line_end: usize,
    /// Which run of the block being made `loaded` is, if it is one.
    run: Option<usize>,
    /// For each piece of the position where the reader began, the first offset that is to be processed.
    floors: Vec<u64>,
    /// Where the journal ended when the catalog started to run.
    fresh_from: u64,
}

/// Where journals ended when the catalog started to run; others were empty.
pub(crate) type Ends = HashMap<Arc<str>, u64>;

impl Reader {
    /// A reader of the documents of a range of keys that goes on from a position; what it does not mention is read from its
    /// begin.
    pub(crate) fn new(
        log: Arc<dyn Log>,
        reads: Vec<Read>,
        range: KeyRange,
        from: Position,
        started: Arc<Ends>,
    ) -> Self {
        let state = |read: Read| {
            let mut state = State {
                prefix: prefix(&read.collection),
                filter: JournalFilter::of(&read.selector),
                cursors: Vec::new(),
                places: HashMap::new(),
                read,
            };
            for (journal, next) in from.begins(&state.read.name) {
                state.cursor(&from, &started, &journal, next);
            }
            state
        };
        let reads = reads.into_iter().map(state).collect();
        let is_whole = range == KeyRange::ALL && from.is_even();
        let scratch = Scratch { arena: Arena::new(), packed: Vec::new() };
        Self { log, reads, from, started, is_whole, bytes_max: READ_BYTES_MAX, scratch }
    }

    /// The same, holding about so many bytes of all journals together.
    pub(crate) fn holding(self, bytes_max: usize) -> Self {
        Self { bytes_max, ..self }
    }

    /// The next documents that are ready at `now_us`: about `bytes_max` at most, at least one if there is any.
    pub(crate) fn next(&mut self, now_us: u64, bytes_max: usize) -> Result<Block, LogError> {
        let share = self.look()?;
        self.reads.iter_mut().flat_map(|state| &mut state.cursors).for_each(|cursor| cursor.run = None);
        let mut heap = BinaryHeap::new();
        for (read, state) in self.reads.iter().enumerate() {
            heap.extend((0..state.cursors.len()).filter_map(|cursor| state.turn(read, cursor)).map(Reverse));
        }
        let mut block = Block::default();
        while let Some(mut top) = heap.peek_mut() {
            let Reverse(turn) = &*top;
            if turn.ready_us > now_us {
                block.ready_at_us = Some(block.ready_at_us.map_or(turn.ready_us, |at| at.min(turn.ready_us)));
                PeekMut::pop(top);
                continue;
            }
            if block.bytes + block.passed_bytes >= bytes_max {
                block.more = true;
                break;
            }
            let (read, at) = (turn.read, turn.cursor);
            let state = &mut self.reads[read];
            let cursor = &mut state.cursors[at];
            let (offset, range) = (cursor.next, cursor.at..cursor.line_end);
            let is_mine = state.read.selector.period.holds(turn.published_us)
                && (self.is_whole || defect("range-ignored") || {
                    let hash = self.scratch.hash(&state.read, &cursor.loaded[range.clone()])?;
                    self.from.piece(hash).is_some_and(|piece| offset >= cursor.floors[piece])
                });
            if is_mine {
                let run = *cursor.run.get_or_insert_with(|| {
                    block.runs.push(cursor.loaded.clone());
                    block.runs.len() - 1
                });
                block.bytes += range.len();
                block.documents.push(Sourced { read, run, range, is_fresh: offset >= cursor.fresh_from });
            } else {
                block.passed_bytes += range.len();
            }
            cursor.advance();
            if cursor.is_spent() && cursor.next < cursor.end {
                cursor.load(&*self.log, share)?;
            }
            match state.turn(read, at) {
                Some(turn) => *top = Reverse(turn),
                None => drop(PeekMut::pop(top)),
            }
        }
        Ok(block)
    }

    /// Looks for new journals and new ends, and loads every cursor that has something and holds nothing, so that what is
    /// merged next can be compared with everything that was committed before this moment. Reads of one collection see it as
    /// of the same moment: what one of them cannot see yet, no other may overtake. Returns how much may be loaded of each
    /// journal.
    fn look(&mut self) -> Result<usize, LogError> {
        let journals: usize = self.reads.iter().map(|state| state.cursors.len()).sum();
        let share = (self.bytes_max / journals.max(1)).clamp(READ_BYTES_MIN, READ_BYTES_MAX);
        let mut seen: HashMap<String, Vec<Head>> = HashMap::new();
        for state in &mut self.reads {
            if !seen.contains_key(&state.prefix) {
                seen.insert(state.prefix.clone(), self.log.heads(&state.prefix));
            }
            for head in &seen[&state.prefix] {
                if !state.filter.matches(&head.journal) {
                    continue;
                }
                let cursor = state.cursor(&self.from, &self.started, &head.journal, head.begin);
                cursor.end = head.end;
                if cursor.is_spent() && cursor.next < cursor.end {
                    cursor.load(&*self.log, share)?;
                }
            }
        }
        Ok(share)
    }

    /// How far the documents handed out so far reach.
    pub(crate) fn position(&self) -> Position {
        let read = |state: &State| {
            let journals = state.cursors.iter().map(|cursor| (Arc::clone(&cursor.journal), cursor.next));
            (state.read.name.clone(), journals.collect())
        };
        self.from.advanced(&Offsets(self.reads.iter().map(read).collect()))
    }

    /// Bytes that are committed and not handed out, as far as the reader has looked.
    pub(crate) fn lag_bytes(&self) -> u64 {
        self.reads.iter().map(State::lag_bytes).sum()
    }

    /// Those of them that wait for no delay.
    pub(crate) fn ready_bytes(&self) -> u64 {
        self.reads.iter().filter(|state| state.read.delay_seconds == 0).map(State::lag_bytes).sum()
    }

    /// When the oldest of the documents was published that wait, in microseconds since 1970; `None` where none does.
    pub(crate) fn waiting_since_us(&self) -> Option<u64> {
        let cursors = self.reads.iter().flat_map(|state| &state.cursors).filter(|cursor| !cursor.is_spent());
        cursors.filter_map(|cursor| clock_of_line(cursor.line())).map(DocClock::us).min()
    }
}

impl State {
    fn lag_bytes(&self) -> u64 {
        self.cursors.iter().map(|cursor| cursor.end.saturating_sub(cursor.next)).sum()
    }

    /// The cursor of a journal; a new one starts at `begin`.
    fn cursor(&mut self, from: &Position, started: &Ends, journal: &Arc<str>, begin: u64) -> &mut Cursor {
        let at = match self.places.get(journal) {
            Some(at) => *at,
            None => {
                self.places.insert(Arc::clone(journal), self.cursors.len());
                self.cursors.push(Cursor {
                    journal: Arc::clone(journal),
                    next: begin,
                    end: begin,
                    loaded: Bytes::new(),
                    at: 0,
                    line_end: 0,
                    run: None,
                    floors: from.floors(&self.read.name, journal),
                    fresh_from: started.get(journal).copied().unwrap_or(0),
                });
                self.cursors.len() - 1
            }
        };
        &mut self.cursors[at]
    }

    /// When the next document of a cursor is to be read; `None` where there is none.
    fn turn(&self, read: usize, cursor: usize) -> Option<Turn> {
        let at = &self.cursors[cursor];
        if at.is_spent() {
            return None;
        }
        let clock = clock_of_line(at.line()).unwrap_or_default();
        let delay_us = self.read.delay_seconds.saturating_mul(1_000_000);
        Some(Turn {
            priority: Reverse(self.read.priority),
            adjusted: DocClock(clock.0.saturating_add(delay_us.saturating_mul(160))),
            read,
            cursor,
            ready_us: if delay_us == 0 { 0 } else { clock.us().saturating_add(delay_us) },
            published_us: clock.us(),
        })
    }
}

impl Cursor {
    /// Loads what is next, up to the end that was looked at: what was committed since is not for this moment.
    fn load(&mut self, log: &dyn Log, bytes_max: usize) -> Result<(), LogError> {
        if let Some(mut block) = log.read(&self.journal, self.next, bytes_max)? {
            block.documents.truncate(usize::try_from(self.end - self.next).unwrap_or(usize::MAX));
            (self.loaded, self.run, self.at) = (block.documents, None, 0);
            self.line_end = line_len(&self.loaded);
        }
        Ok(())
    }

    /// The next document, with its newline; empty where all that was loaded was handed out.
    fn line(&self) -> &[u8] {
        &self.loaded[self.at..self.line_end]
    }

    /// Whether all that was loaded was handed out.
    fn is_spent(&self) -> bool {
        self.at == self.loaded.len()
    }

    /// Goes to the next document.
    fn advance(&mut self) {
        self.next += (self.line_end - self.at) as u64;
        self.at = self.line_end;
        self.line_end += line_len(&self.loaded[self.at..]);
        if self.is_spent() {
            (self.loaded, self.at, self.line_end) = (Bytes::new(), 0, 0);
        }
    }
}

impl Scratch {
    /// The hash of a document's key.
    fn hash(&mut self, read: &Read, text: &[u8]) -> Result<u32, LogError> {
        self.arena.reset();
        self.packed.clear();
        let document = doc::parse(&self.arena, text).map_err(|e| LogError::Damaged {
            what: format!("a document of {}", read.collection),
            reason: e.to_string(),
        })?;
        doc::pack(document, &read.key, &mut self.packed);
        Ok(doc::hash(&self.packed))
    }
}

/// Length of the first document, its newline included.
fn line_len(text: &[u8]) -> usize {
    memchr::memchr(b'\n', text).map_or(text.len(), |at| at + 1)
}

/// Orders what is to be read next; the least goes first. Where clocks are equal, as when two reads share a journal, the
/// earlier read goes first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    priority: Reverse<u32>,
    adjusted: DocClock,
    read: usize,
    cursor: usize,
    ready_us: u64,
    published_us: u64,
}

#[cfg(test)]
mod histories;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uuid::Stamper;
    use std::sync::Mutex;
    use std::time::Duration;

    use journal::{Append, Block as Run, Commit, Delta, Embedded, Opened, Options};

    struct Still;

    impl journal::Clock for Still {
        fn now_us(&self) -> u64 {
            0
        }
    }

    /// A log that holds documents `n`, published at second `n`, in the journal given.
    fn log(documents: &[(&str, u64)]) -> (tempfile::TempDir, Arc<dyn Log>) {
        let directory = tempfile::tempdir().unwrap();
        let log = Embedded::open(Options::new(directory.path(), Arc::new(Still))).unwrap();
        let epoch = log.open("test", KeyRange::ALL).unwrap().epoch;
        for (journal, second) in documents {
            let uuid = Stamper::new(7).next(second * 1_000_000);
            let uuid = std::str::from_utf8(&uuid).unwrap();
            let text = format!("{{\"_meta\":{{\"uuid\":\"{uuid}\"}},\"n\":{second}}}\n");
            let append = Append { journal: (*journal).to_owned(), documents: text.into_bytes() };
            let delta = Delta { task: "test".into(), epoch, appends: vec![append], ..Delta::default() };
            log.commit(delta).wait().unwrap();
        }
        (directory, Arc::new(log))
    }

    fn start() -> Position {
        Position::begin(KeyRange::ALL)
    }

    fn read(name: &str, collection: &str) -> Read {
        Read {
            name: name.into(),
            collection: collection.into(),
            selector: Selector::default(),
            key: Arc::from(["/n".parse().unwrap()]),
            priority: 0,
            delay_seconds: 0,
        }
    }

    /// What is read, as `read:n`, in blocks of about so many bytes.
    fn drain(reader: &mut Reader, now_us: u64, bytes_max: usize) -> Vec<String> {
        let mut found = Vec::new();
        loop {
            let block = reader.next(now_us, bytes_max).unwrap();
            for Document { read, text, .. } in block.documents() {
                let value: serde_json::Value = serde_json::from_slice(text).unwrap();
                found.push(format!("{read}:{}", value["n"]));
            }
            if !block.more {
                return found;
            }
        }
    }

    const SCATTERED: &[(&str, u64)] = &[
        ("a/p=1/pivot=00", 1),
        ("a/p=2/pivot=00", 2),
        ("b/pivot=00", 3),
        ("a/p=1/pivot=00", 4),
        ("b/pivot=00", 5),
        ("a/p=2/pivot=00", 6),
    ];

    #[test]
    fn journals_and_reads_merge_by_clock_in_blocks_of_any_size() {
        let (_directory, log) = log(SCATTERED);
        for bytes_max in [1, 100, 250, 1 << 20] {
            let reads = vec![read("x", "a"), read("y", "b"), read("z", "b")];
            let mut reader = Reader::new(Arc::clone(&log), reads, KeyRange::ALL, start(), Arc::default());
            let found = drain(&mut reader, 0, bytes_max);
            assert_eq!(found, ["0:1", "0:2", "1:3", "2:3", "0:4", "1:5", "2:5", "0:6"], "{bytes_max}");
        }
    }

    #[test]
    fn a_higher_priority_goes_first() {
        let (_directory, log) = log(SCATTERED);
        let reads = vec![read("x", "a"), Read { priority: 1, ..read("y", "b") }];
        let mut reader = Reader::new(log, reads, KeyRange::ALL, start(), Arc::default());
        assert_eq!(drain(&mut reader, 0, 1), ["1:3", "1:5", "0:1", "0:2", "0:4", "0:6"]);
    }

    #[test]
    fn delayed_documents_wait_and_then_go_by_their_adjusted_clock() {
        let (_directory, log) = log(SCATTERED);
        let reads = vec![read("x", "a"), Read { delay_seconds: 10, ..read("y", "b") }];
        let mut reader = Reader::new(log, reads, KeyRange::ALL, start(), Arc::default());
        assert_eq!(drain(&mut reader, 6_000_000, 1 << 20), ["0:1", "0:2", "0:4", "0:6"]);
        let block = reader.next(12_999_999, 1 << 20).unwrap();
        assert!(block.len() == 0 && !block.more);
        assert_eq!(block.ready_at_us, Some(13_000_000));
        assert_eq!(drain(&mut reader, 14_000_000, 1 << 20), ["1:3"]);
        assert_eq!(drain(&mut reader, 15_000_000, 1 << 20), ["1:5"]);
    }

    #[test]
    fn a_reader_goes_on_where_offsets_say() {
        let (_directory, log) = log(SCATTERED);
        let reads = || vec![read("x", "a"), read("y", "b")];
        let whole =
            drain(&mut Reader::new(Arc::clone(&log), reads(), KeyRange::ALL, start(), Arc::default()), 0, 1 << 20);
        for taken in 0..=whole.len() {
            let mut reader = Reader::new(Arc::clone(&log), reads(), KeyRange::ALL, start(), Arc::default());
            let mut found = Vec::new();
            while found.len() < taken {
                let block = reader.next(0, 1).unwrap();
                found.extend(block.documents().map(|document| document.read));
            }
            let rest = drain(
                &mut Reader::new(Arc::clone(&log), reads(), KeyRange::ALL, reader.position(), Arc::default()),
                0,
                1 << 20,
            );
            assert_eq!(rest, whole[taken..]);
        }
    }

    #[test]
    fn selectors_leave_partitions_out() {
        let (_directory, log) = log(SCATTERED);
        let selector = Selector { include: vec![("p".into(), vec![2.into()])], ..Selector::default() };
        let mut reader =
            Reader::new(log, vec![Read { selector, ..read("x", "a") }], KeyRange::ALL, start(), Arc::default());
        assert_eq!(drain(&mut reader, 0, 1 << 20), ["0:2", "0:6"]);
    }

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
        fn open(&self, _: &str, _: KeyRange) -> Result<Opened, LogError> {
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
            key: Arc::from(["/n".parse().unwrap()]),
            priority: 0,
            delay_seconds: 0,
        };
        let mut reader = Reader::new(log, vec![read("a"), read("b")], KeyRange::ALL, start(), Arc::default());
        let mut taken = Vec::new();
        for _ in 0..20 {
            let block = reader.next(u64::MAX, 100).unwrap();
            taken.extend(block.documents().map(|document| (clock_of_line(document.text).unwrap(), document.read)));
        }
        assert!(taken.len() > 20, "only {} documents were read", taken.len());
        assert!(taken.is_sorted(), "{taken:?}");
    }
}
