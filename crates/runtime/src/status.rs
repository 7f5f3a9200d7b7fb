//! What a task is doing, for people: its state, and counts that only rise.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A task's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It runs, or waits for something to do.
    Running,
    /// It waits for the commit before to end, and what is open is due: what it commits to is slower than what it reads.
    BackPressured {
        /// Since when, in microseconds since 1970.
        since_us: u64,
        /// What it waits for.
        why: String,
    },
    /// It failed and starts again by itself.
    Retrying {
        /// Since when, in microseconds since 1970.
        since_us: u64,
        /// Why.
        why: String,
        /// How often in a row.
        attempts: u32,
    },
    /// It failed and needs somebody.
    Halted {
        /// Why.
        why: String,
    },
    /// It has ended: it was stopped, or its source has.
    Stopped,
}

/// The counts of one task, updated by its shard and read by anyone.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub documents_in: AtomicU64,
    pub bytes_in: AtomicU64,
    pub documents_out: AtomicU64,
    pub transactions: AtomicU64,
    pub lag_bytes: AtomicU64,
    /// The count of commits at which the shard last had nothing to do, plus one; zero while it is busy.
    pub idle_at: AtomicU64,
    /// Whether the task has been opened, or could not be.
    pub opened: AtomicBool,
    /// Since when the shard has been back-pressured, in microseconds since 1970; zero while it is not.
    pub pressed_since_us: AtomicU64,
    state: Mutex<Option<State>>,
}

impl Counters {
    pub(crate) fn set_state(&self, state: State) {
        *self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(state);
    }

    /// The state of a task of this kind.
    pub(crate) fn state(&self, kind: &str) -> State {
        let state = self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
        match (state.unwrap_or(State::Running), self.pressed_since_us.load(Ordering::Relaxed)) {
            (State::Running, since_us) if since_us > 0 => {
                let what = if kind == "materialization" { "its destination" } else { "the data directory" };
                State::BackPressured { since_us, why: format!("{what} takes documents more slowly than they come") }
            }
            (state, _) => state,
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            documents_in: get(&self.documents_in),
            bytes_in: get(&self.bytes_in),
            documents_out: get(&self.documents_out),
            transactions: get(&self.transactions),
            lag_bytes: get(&self.lag_bytes),
        }
    }
}

/// A task at one moment.
#[derive(Debug, Clone)]
pub struct Status {
    /// `capture`, `derivation`, `materialization` or `ingestion`.
    pub kind: &'static str,
    /// The task's name.
    pub name: String,
    /// What it is doing.
    pub state: State,
    /// What it has done since it started.
    pub counts: Counts,
}

/// What a task has done since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Documents read.
    pub documents_in: u64,
    /// Their bytes.
    pub bytes_in: u64,
    /// Documents published, rows stored, or documents sent.
    pub documents_out: u64,
    /// Transactions committed.
    pub transactions: u64,
    /// Bytes that wait to be read.
    pub lag_bytes: u64,
}
