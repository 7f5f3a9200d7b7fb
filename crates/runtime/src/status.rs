//! What a task is doing, for people: its state, what it has to tell, and counts that only rise.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Different things that a task may tell of.
const NOTES_MAX: usize = 16;

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

/// The counts of one shard, updated by it and read by anyone.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub documents_in: AtomicU64,
    pub bytes_in: AtomicU64,
    pub documents_out: AtomicU64,
    pub bytes_out: AtomicU64,
    pub transactions: AtomicU64,
    lag_bytes: AtomicU64,
    /// What of the lag of a derivation does not wait for a delay.
    pub ready_bytes: AtomicU64,
    waiting_since_us: AtomicU64,
    failures: AtomicU64,
    set_aside: AtomicU64,
    /// The count of commits at which the shard last had nothing to do, plus one; zero while it is busy.
    pub idle_at: AtomicU64,
    /// Whether the task has been opened, or could not be.
    pub opened: AtomicBool,
    /// Since when the shard has been back-pressured, in microseconds since 1970; zero while it is not.
    pub pressed_since_us: AtomicU64,
    state: Mutex<Option<State>>,
    notes: Mutex<Vec<String>>,
}

impl Counters {
    pub(crate) fn set_state(&self, state: State) {
        *self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(state);
    }

    /// Counts what went out.
    pub(crate) fn went_out(&self, documents: u64, bytes: u64) {
        self.documents_out.fetch_add(documents, Ordering::Relaxed);
        self.bytes_out.fetch_add(bytes, Ordering::Relaxed);
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

    /// Takes note of what waits to be read: how many bytes, and since when the first of them.
    pub(crate) fn waits(&self, bytes: u64, since_us: Option<u64>) {
        self.lag_bytes.store(bytes, Ordering::Relaxed);
        self.waiting_since_us.store(since_us.unwrap_or(0), Ordering::Relaxed);
    }

    /// Counts an attempt that failed.
    pub(crate) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts documents that were set aside.
    pub(crate) fn set_aside(&self, documents: u64) {
        self.set_aside.fetch_add(documents, Ordering::Relaxed);
    }

    /// Keeps what people should know, once.
    pub(crate) fn note(&self, note: String) {
        let mut notes = self.notes.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if notes.len() < NOTES_MAX && !notes.contains(&note) {
            notes.push(note);
        }
    }

    pub(crate) fn notes(&self) -> Vec<String> {
        self.notes.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    pub(crate) fn counts(&self) -> Counts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            documents_in: get(&self.documents_in),
            bytes_in: get(&self.bytes_in),
            documents_out: get(&self.documents_out),
            bytes_out: get(&self.bytes_out),
            transactions: get(&self.transactions),
            lag_bytes: get(&self.lag_bytes),
            waiting_since_us: Some(get(&self.waiting_since_us)).filter(|us| *us > 0),
            failures: get(&self.failures),
            set_aside: get(&self.set_aside),
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
    /// Among how many shards its keys are divided.
    pub shards: usize,
    /// What it is doing.
    pub state: State,
    /// What it has done since it started.
    pub counts: Counts,
    /// What people should know of it, each thing once; where shards are several, a new one may come before those known.
    pub notes: Vec<String>,
}

impl Status {
    /// A task, by its shards: as bad as the worst of them.
    pub(crate) fn of(kind: &'static str, name: &str, shards: &[Arc<Counters>]) -> Self {
        let rank = |state: &State| match state {
            State::Stopped => (0, 0),
            State::Running => (1, 0),
            State::BackPressured { .. } => (2, 0),
            State::Retrying { attempts, .. } => (3, *attempts),
            State::Halted { .. } => (4, 0),
        };
        let state = shards.iter().map(|shard| shard.state(kind)).max_by_key(rank).unwrap_or(State::Stopped);
        let counts = shards.iter().map(|shard| shard.counts()).fold(Counts::default(), |sum, shard| Counts {
            documents_in: sum.documents_in + shard.documents_in,
            bytes_in: sum.bytes_in + shard.bytes_in,
            documents_out: sum.documents_out + shard.documents_out,
            bytes_out: sum.bytes_out + shard.bytes_out,
            transactions: sum.transactions + shard.transactions,
            // Every shard reads the same journals.
            lag_bytes: sum.lag_bytes.max(shard.lag_bytes),
            waiting_since_us: sum.waiting_since_us.into_iter().chain(shard.waiting_since_us).min(),
            failures: sum.failures + shard.failures,
            set_aside: sum.set_aside + shard.set_aside,
        });
        let mut notes: Vec<String> = Vec::new();
        for note in shards.iter().flat_map(|shard| shard.notes()) {
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
        Self { kind, name: name.to_owned(), shards: shards.len(), state, counts, notes }
    }
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
    /// Their bytes.
    pub bytes_out: u64,
    /// Transactions committed.
    pub transactions: u64,
    /// Bytes that wait to be read.
    pub lag_bytes: u64,
    /// When the oldest of them was published, in microseconds since 1970, where that is known.
    pub waiting_since_us: Option<u64>,
    /// Attempts that failed.
    pub failures: u64,
    /// Documents that could not be used and were set aside.
    pub set_aside: u64,
}

impl Counts {
    /// How many documents wait to be read, were they as large as those read so far; `None` where none was read.
    pub fn lag_documents(&self) -> Option<u64> {
        let waiting = u128::from(self.lag_bytes) * u128::from(self.documents_in);
        let waiting = waiting.checked_div(self.bytes_in.into())?;
        Some(u64::try_from(waiting).unwrap_or(u64::MAX).max(u64::from(self.lag_bytes > 0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_several_shards_say_is_said_once() {
        let shards: Vec<Arc<Counters>> = (0..2).map(|_| Arc::new(Counters::default())).collect();
        for (shard, note) in [(0, "b"), (1, "b"), (1, "c"), (0, "a"), (0, "b")] {
            shards[shard].note(note.to_owned());
        }
        assert_eq!(Status::of("materialization", "a/b", &shards).notes, ["b", "a", "c"]);
    }

    #[test]
    fn a_task_is_the_sum_of_its_shards_and_as_bad_as_the_worst() {
        let halted = || State::Halted { why: "bad".into() };
        let retrying = |attempts| State::Retrying { since_us: 1, why: "busy".into(), attempts };
        for (states, expected) in [
            (vec![State::Running], State::Running),
            (vec![State::Stopped, State::Running], State::Running),
            (vec![State::Stopped, State::Stopped], State::Stopped),
            (vec![retrying(3), State::Running, retrying(2)], retrying(3)),
            (vec![State::Running, halted(), retrying(9), State::Stopped], halted()),
        ] {
            let shards: Vec<Arc<Counters>> = states.iter().map(|_| Arc::default()).collect();
            for (shard, state) in shards.iter().zip(&states) {
                shard.set_state(state.clone());
                shard.documents_in.store(5, Ordering::Relaxed);
                shard.waits(7, Some(9));
            }
            let status = Status::of("derivation", "a/b", &shards);
            assert_eq!(status.state, expected, "{states:?}");
            assert_eq!(status.counts.documents_in, 5 * states.len() as u64);
            assert_eq!((status.counts.lag_bytes, status.counts.waiting_since_us), (7, Some(9)));
            assert_eq!(status.shards, states.len());
        }
    }
}
