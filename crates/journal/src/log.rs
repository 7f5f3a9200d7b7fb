//! The door to durability: what a log promises to the tasks above it, whatever it is made of.
//!
//! A shard owns a range of a task's keys and commits one [`Delta`] at a time: documents appended to journals, registers and
//! outbox of the task, and the position that explains them all. A delta is applied whole or not at all, and once
//! [`Commit::wait`] returns it survives the machine losing power. The position travels inside the delta and nowhere else.
//! Readers only ever see what was committed. A commit whose outcome is unknown makes the log unusable until it is opened
//! again, which looks.
//!
//! What is remembered belongs to the task, and only the position to the shard. So when ranges change from one run to the
//! next, positions change hands and nothing else moves.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::keys::{KeyRange, Piece};

/// A range of a task's keys, opened for writing: what the last committed deltas left behind.
#[derive(Debug)]
pub struct Opened {
    /// Names this owner among all that the task ever had; a later owner of any of its keys gets a larger one and fences it.
    pub epoch: u64,
    /// The positions of the last committed deltas, one for each former owner of keys of the range, in the order of the keys.
    /// Nothing was ever committed for keys that none of them holds.
    pub position: Vec<Piece>,
    /// What is still in the task's outbox, in the order of its sequence numbers.
    pub outbox: Vec<(u64, Vec<u8>)>,
}

/// A key, and its value; `None` where it has none any more. Whoever commits it may go on sharing it.
pub type Register = (Arc<[u8]>, Option<Arc<[u8]>>);

/// Everything one transaction of a shard makes durable.
#[derive(Debug, Default)]
pub struct Delta {
    /// The task, as it was opened.
    pub task: String,
    /// The epoch [`Opened`] gave to the shard that commits.
    pub epoch: u64,
    /// When the documents were published, in microseconds since 1970 UTC; names the hour of the fragments they go to.
    pub time_us: u64,
    /// Documents, at most one entry per journal.
    pub appends: Vec<Append>,
    /// Registers of the task to put (`Some`) or delete (`None`), by key.
    pub registers: Vec<Register>,
    /// Outbox entries to add, by sequence number.
    pub outbox: Vec<(u64, Vec<u8>)>,
    /// Outbox entries to clear.
    pub outbox_clear: Vec<u64>,
    /// The position that explains the rest, in pieces for keys of the shard's range, disjoint and in order; it takes the
    /// place of the former one whole. Empty leaves the former one.
    pub position: Vec<Piece>,
}

/// Documents for the end of one journal.
#[derive(Debug)]
pub struct Append {
    /// `<collection>/<field>=<value>/…/pivot=00`; created by its first append.
    pub journal: String,
    /// Newline-terminated JSON documents; at least one.
    pub documents: Vec<u8>,
}

/// A run of committed documents of one journal.
#[derive(Debug, Clone)]
pub struct Block {
    /// Offset of the first byte.
    pub begin: u64,
    /// Newline-terminated JSON documents; starts and ends at document boundaries, never empty.
    pub documents: Bytes,
}

impl Block {
    /// Offset behind the last byte.
    pub fn end(&self) -> u64 {
        self.begin + self.documents.len() as u64
    }
}

/// One journal and how far it has been committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The journal's name.
    pub journal: Arc<str>,
    /// Offset of the first byte that is still kept.
    pub begin: u64,
    /// Offset behind the last committed byte.
    pub end: u64,
}

/// Why the log could not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// Another owner opened keys of this one after it.
    #[error("{task} is now run by another process; this one stops")]
    Fenced {
        /// The task.
        task: String,
    },
    /// There is no room: what grows is not taken in. The outcome of a commit that hears this is unknown. It passes by itself.
    #[error("{reason}")]
    Full {
        /// Where, and what to do.
        reason: String,
    },
    /// A write or sync failed; nothing is committed until the log is opened again.
    #[error("the data directory can no longer be written: {reason}")]
    Poisoned {
        /// What the store said first.
        reason: String,
    },
    /// The delta breaks a rule of its kind; nothing of it is committed, nor of the shard's later ones until it is opened.
    #[error("{what} cannot be committed: {reason}")]
    Refused {
        /// The journal or task.
        what: String,
        /// The rule.
        reason: String,
    },
    /// A fragment file could not be written; its documents are safe where they were, and it is tried again.
    #[error("{what} cannot be written: {reason}")]
    Unwritable {
        /// The file.
        what: String,
        /// What its store said.
        reason: String,
    },
    /// The bytes asked for are before the journal's begin, or past its end.
    #[error("{journal} holds no documents at offset {offset}")]
    NoSuchOffset {
        /// The journal.
        journal: String,
        /// The offset asked for.
        offset: u64,
    },
    /// Stored bytes do not match their checksum or cannot be decoded.
    #[error("{what} is damaged: {reason}")]
    Damaged {
        /// The file or journal range.
        what: String,
        /// Expected and actual.
        reason: String,
    },
    /// Reading failed.
    #[error("the data directory cannot be read: {reason}")]
    Unreadable {
        /// What the store said.
        reason: String,
    },
}

/// A commit under way.
pub trait Commit: Send {
    /// Blocks until the delta is durable (the end offset of each append, in the order of [`Delta::appends`]) or refused.
    fn wait(self: Box<Self>) -> Result<Vec<u64>, LogError>;
    /// Whether [`Commit::wait`] would return at once.
    fn is_done(&self) -> bool;
}

/// The log. Shared by all shards; every method may be called from any thread.
pub trait Log: Send + Sync {
    /// Takes over a range of a task's keys, fencing every owner of any of them. What such an owner had beyond the range
    /// keeps its position, and waits for the next one. So at every time the keys of a task are divided among ranges.
    fn open(&self, task: &str, range: KeyRange) -> Result<Opened, LogError>;

    /// Submits a delta. Deltas of one shard commit in the order submitted; a fenced epoch is refused, and behind a refused
    /// delta of a shard nothing of it is committed. Bounded: blocks while too many bytes are waiting to be committed.
    fn commit(&self, delta: Delta) -> Box<dyn Commit>;

    /// Whether there is room for more documents; [`LogError::Full`] or [`LogError::Poisoned`] where there is none. Deltas with
    /// appends or registers are refused then, others are not. Cheap: asked before each read of a source.
    fn room(&self) -> Result<(), LogError> {
        Ok(())
    }

    /// Says that no reader needs what a journal holds before `offset`, which replaces what was said before: what its retention
    /// allows may be removed. Of a journal nothing was said of, everything is needed.
    fn release(&self, _journal: &str, _offset: u64) {}

    /// Registers of a task as last committed, in the order of the keys.
    fn registers(&self, task: &str, keys: &[&[u8]]) -> Result<Vec<Option<Bytes>>, LogError>;

    /// The journals whose names start with `prefix`, sorted by name, as of one instant: all of a delta's appends or none.
    fn heads(&self, prefix: &str) -> Vec<Head>;

    /// Documents from `offset`, which must be a document boundary: a block of about `max_bytes` at most, but at least one
    /// document. `None` at the journal's end.
    fn read(&self, journal: &str, offset: u64, max_bytes: usize) -> Result<Option<Block>, LogError>;

    /// Blocks until something was committed after `seen`, or until `timeout`; returns the present count of commits, to be
    /// passed next time. Zero never waits for the first commit.
    fn follow(&self, seen: u64, timeout: Duration) -> u64;
}

/// Where a log learns the time. The program has one implementation; tests move theirs by hand.
pub trait Clock: Send + Sync {
    /// Microseconds since 1970 UTC. May jump either way.
    fn now_us(&self) -> u64;
}
