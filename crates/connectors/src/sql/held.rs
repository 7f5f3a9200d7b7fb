//! The fences this process has held, so that it does not take back what another process took from it.
//!
//! Whoever opens a table fences its former owner, which is right when a process starts and wrong when one wakes up: it was
//! paused, another one went on in its place, its session is gone, and it opens the table again. It is told by the nonce in the
//! row of checkpoints: after its first opening a process only goes on where it finds a nonce of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use runtime::KeyRange;

/// Nonces that are remembered for a range of keys. More than one, for a commit whose answer was lost may have been one, and so
/// that a database put back to where it was an hour ago is still ours.
const NONCES_MAX: usize = 1_000;

/// Nonces by materialization and range.
type Nonces = HashMap<(String, KeyRange), Vec<String>>;

/// What a process has held. Shared by all its tables.
#[derive(Clone, Default)]
pub(crate) struct Held(Arc<Mutex<Nonces>>);

impl Held {
    /// Whether somebody else has the range now, though this process had it: its row is gone or has another's nonce. A
    /// materialization without any rows was forgotten by hand, and is nobody's.
    pub(crate) fn is_lost(&self, task: &str, range: KeyRange, rows: &[(KeyRange, String)]) -> bool {
        let held = self.lock();
        let Some(nonces) = held.get(&(task.to_owned(), range)) else { return false };
        let ours = |(at, nonce): &(KeyRange, String)| *at == range && nonces.contains(nonce);
        !rows.is_empty() && !rows.iter().any(ours)
    }

    /// The range is this process's by this nonce, if the transaction that says so commits.
    pub(crate) fn hold(&self, task: &str, range: KeyRange, nonce: &str) {
        let mut held = self.lock();
        let nonces = held.entry((task.to_owned(), range)).or_default();
        if nonces.len() == NONCES_MAX {
            nonces.remove(0);
        }
        nonces.push(nonce.to_owned());
    }

    fn lock(&self) -> MutexGuard<'_, Nonces> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
