//! What readers see: the journals, their heads and their tails, moved only by whole commits.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::layout::{BlockKey, JournalRecord};
use crate::fragment::Sum;
use crate::log::{Head, LogError};

/// All journals as of the last commit.
pub(crate) struct Journals {
    by_name: RwLock<BTreeMap<Arc<str>, Journal>>,
    /// Starts at one, so that a follower that has seen nothing never waits.
    commits: Mutex<u64>,
    committed: Condvar,
}

/// One journal. Blocks of the tail are in the store; what is before them is in fragments.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    pub(crate) id: u64,
    pub(crate) begin: u64,
    pub(crate) end: u64,
    pub(crate) tail: VecDeque<TailBlock>,
    pub(crate) tail_bytes: u64,
    /// Where the next fragment ends, once that is planned.
    pub(crate) next_end: Option<u64>,
    /// What is before here no reader needs, as far as we were told.
    pub(crate) released: u64,
}

/// A block of a tail, without its documents.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TailBlock {
    pub(crate) key: BlockKey,
    /// When this process learnt of it, by its clock.
    pub(crate) arrived_us: u64,
    /// The SHA-1 of the documents from this offset up to the block's end, where it is known.
    pub(crate) sum: Option<(u64, Sum)>,
}

/// Where documents are.
pub(crate) enum Place {
    /// At the end: there are none yet.
    End,
    /// In this block of the tail of the journal with this id.
    Tail(u64, BlockKey),
    /// In a fragment of the journal with this id.
    Fragment(u64),
}

/// What a group of commits did, for readers.
#[derive(Default)]
pub(crate) struct Changes {
    /// Blocks behind the ends of journals, in order.
    pub(crate) appended: Vec<(Arc<str>, TailBlock)>,
    /// Where next fragments end.
    pub(crate) planned: Vec<(Arc<str>, u64)>,
    /// The number of first blocks of a tail that are in a fragment now, which was the planned one.
    pub(crate) moved: Vec<(Arc<str>, usize)>,
    /// Where journals begin now, after fragments were removed.
    pub(crate) expired: Vec<(Arc<str>, u64)>,
    /// The number of deltas.
    pub(crate) deltas: u64,
}

impl Journal {
    pub(crate) fn new(record: JournalRecord) -> Journal {
        let JournalRecord { id, begin, end } = record;
        Journal { id, begin, end, tail: VecDeque::new(), tail_bytes: 0, next_end: None, released: begin }
    }

    /// Adds a block behind the end.
    pub(crate) fn push(&mut self, block: TailBlock) {
        self.end = block.key.end();
        self.tail_bytes += u64::from(block.key.len);
        self.tail.push_back(block);
    }

    /// The first blocks of the tail that are the planned fragment.
    pub(crate) fn planned(&self) -> impl Iterator<Item = &TailBlock> {
        self.tail.iter().take_while(|block| self.next_end.is_some_and(|end| block.key.end() <= end))
    }

    /// Where the tail begins, which is where the fragments end.
    pub(crate) fn tail_begin(&self) -> u64 {
        self.tail.front().map_or(self.end, |block| block.key.begin)
    }
}

impl Journals {
    pub(crate) fn new(recovered: BTreeMap<Arc<str>, Journal>) -> Journals {
        Journals { by_name: RwLock::new(recovered), commits: Mutex::new(1), committed: Condvar::new() }
    }

    /// Calls `look` with all journals as of one instant.
    pub(crate) fn with<R>(&self, look: impl FnOnce(&BTreeMap<Arc<str>, Journal>) -> R) -> R {
        look(&self.by_name.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes what was found on disk for the truth, after a commit whose outcome was unknown.
    pub(crate) fn replace(&self, recovered: BTreeMap<Arc<str>, Journal>) {
        *self.by_name.write().unwrap_or_else(PoisonError::into_inner) = recovered;
        *self.commits.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.committed.notify_all();
    }

    /// A journal and how it is recorded in the store.
    pub(crate) fn record(&self, name: &str) -> Option<(Arc<str>, JournalRecord)> {
        self.with(|journals| {
            let (name, &Journal { id, begin, end, .. }) = journals.get_key_value(name)?;
            Some((name.clone(), JournalRecord { id, begin, end }))
        })
    }

    /// Makes changes that are durable visible, all at once; the bytes in the longest tail that grew.
    pub(crate) fn publish(&self, changes: Changes) -> u64 {
        let mut longest = 0;
        let mut journals = self.by_name.write().unwrap_or_else(PoisonError::into_inner);
        for (name, block) in changes.appended {
            let id = block.key.journal;
            let fresh = || Journal::new(JournalRecord { id, begin: 0, end: 0 });
            let journal = journals.entry(name).or_insert_with(fresh);
            journal.push(block);
            longest = longest.max(journal.tail_bytes);
        }
        for (name, end) in changes.planned {
            journals.get_mut(&name).expect("only committed blocks are planned for").next_end = Some(end);
        }
        for (name, count) in changes.moved {
            let journal = journals.get_mut(&name).expect("only committed blocks move");
            let moved: u64 = journal.tail.drain(..count).map(|block| u64::from(block.key.len)).sum();
            journal.tail_bytes -= moved;
            journal.next_end = None;
        }
        for (name, begin) in changes.expired {
            journals.get_mut(&name).expect("only committed fragments are removed").begin = begin;
        }
        drop(journals);
        if changes.deltas > 0 {
            *self.commits.lock().unwrap_or_else(PoisonError::into_inner) += changes.deltas;
            self.committed.notify_all();
        }
        longest
    }

    /// Notes that no reader needs what is before `offset`.
    pub(crate) fn release(&self, name: &str, offset: u64) {
        if let Some(journal) = self.by_name.write().unwrap_or_else(PoisonError::into_inner).get_mut(name) {
            journal.released = offset;
        }
    }

    pub(crate) fn follow(&self, seen: u64, timeout: Duration) -> u64 {
        // A timeout beyond what the clock can count is no timeout in practice.
        let deadline = Instant::now().checked_add(timeout);
        let mut commits = self.commits.lock().unwrap_or_else(PoisonError::into_inner);
        while *commits <= seen {
            let left = deadline.map_or(timeout, |deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                break;
            }
            commits = self.committed.wait_timeout(commits, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        *commits
    }

    pub(crate) fn heads(&self, prefix: &str) -> Vec<Head> {
        self.with(|journals| {
            with_prefix(journals, prefix)
                .map(|(name, journal)| Head { journal: name.clone(), begin: journal.begin, end: journal.end })
                .collect()
        })
    }

    /// Where the documents at `offset` are.
    pub(crate) fn place(&self, name: &str, offset: u64) -> Result<Place, LogError> {
        self.with(|journals| {
            let nothing = || LogError::NoSuchOffset { journal: name.to_owned(), offset };
            let Some(journal) = journals.get(name) else {
                return if offset == 0 { Ok(Place::End) } else { Err(nothing()) };
            };
            if offset < journal.begin || offset > journal.end {
                return Err(nothing());
            }
            if offset == journal.end {
                return Ok(Place::End);
            }
            if offset < journal.tail_begin() {
                return Ok(Place::Fragment(journal.id));
            }
            let after = journal.tail.partition_point(|block| block.key.begin <= offset);
            Ok(Place::Tail(journal.id, journal.tail[after - 1].key))
        })
    }
}

/// The journals whose names start with `prefix`.
pub(crate) fn with_prefix<'a>(
    journals: &'a BTreeMap<Arc<str>, Journal>,
    prefix: &'a str,
) -> impl Iterator<Item = (&'a Arc<str>, &'a Journal)> {
    use std::ops::Bound;
    journals
        .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
        .take_while(move |(name, _)| name.starts_with(prefix))
}
