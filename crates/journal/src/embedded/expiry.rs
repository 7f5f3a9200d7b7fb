//! Retention: fragments that are old enough, and that every reader is past, go.
//!
//! ```text
//! 1  one batch: fragment out of the index, begin of the journal behind it, a note that its file is to go
//! 2  the file is deleted
//! 3  one batch: the note goes
//! ```
//!
//! So a file that the index does not know is explained by a note, or by nobody; one that nobody explains is never deleted.

use std::sync::Arc;

use super::Shared;
use super::commit::{Request, stopped};
use crate::fragment::FragmentInfo;
use crate::log::LogError;
use crate::template::Policies;

/// Fragments that are removed in one batch.
const REMOVED_MAX: usize = 256;

/// What is left to do of it.
pub(crate) struct Expiry {
    /// Whether notes may be there.
    has_notes: bool,
    /// Whether any journal has a retention.
    expires: bool,
}

impl Expiry {
    /// A former process may have left notes.
    pub(crate) fn new(policies: &Policies) -> Expiry {
        Expiry { has_notes: true, expires: policies.expire() }
    }

    /// Removes what is due.
    pub(crate) fn turn(&mut self, shared: &Shared) -> Result<(), LogError> {
        if self.expires {
            self.has_notes |= doom(shared)?;
        }
        if self.has_notes {
            delete(shared)?;
            self.has_notes = false;
        }
        Ok(())
    }
}

/// Takes what is due out of the index; whether anything was.
fn doom(shared: &Shared) -> Result<bool, LogError> {
    let now_us = shared.clock.now_us();
    // Journals with fragments that nobody needs.
    let released: Vec<(Arc<str>, u64, u64)> = shared.journals.with(|journals| {
        let released = journals.iter().filter(|(_, journal)| journal.released > journal.begin);
        released.map(|(name, journal)| (name.clone(), journal.id, journal.released)).collect()
    });
    let mut any = false;
    for (name, id, needed) in released {
        let Some(retention_us) = shared.policies.of(&name).retention_us else { continue };
        let is_due =
            |fragment: &FragmentInfo| fragment.end <= needed && fragment.last_us.saturating_add(retention_us) <= now_us;
        loop {
            let fragments = shared.store.first_fragments(&name, id, REMOVED_MAX)?;
            let due: Vec<_> = fragments.into_iter().take_while(is_due).collect();
            if due.is_empty() {
                break;
            }
            any = true;
            let more = due.len() == REMOVED_MAX;
            ask(shared, |done| Request::Expire { journal: name.clone(), id, fragments: due, done })?;
            if !more {
                break;
            }
        }
    }
    Ok(any)
}

/// Deletes the files there are notes of, then the notes.
fn delete(shared: &Shared) -> Result<(), LogError> {
    let names: rustc_hash::FxHashMap<u64, Arc<str>> =
        shared.journals.with(|journals| journals.iter().map(|(name, journal)| (journal.id, name.clone())).collect());
    let doomed = shared.store.doomed(|id| names.get(&id).map(|name| name.to_string()))?;
    for chunk in doomed.chunks(REMOVED_MAX) {
        for (_, fragment) in chunk {
            let what = format!("fragment {}{}", fragment.store, fragment.path());
            shared.files.delete(fragment).map_err(|reason| LogError::Unwritable { what, reason })?;
        }
        let keys = chunk.iter().map(|(id, fragment)| (*id, fragment.begin)).collect();
        ask(shared, |done| Request::Forget { keys, done })?;
    }
    Ok(())
}

fn ask(
    shared: &Shared,
    request: impl FnOnce(crossbeam_channel::Sender<Result<(), LogError>>) -> Request,
) -> Result<(), LogError> {
    let (done, answer) = crossbeam_channel::bounded(1);
    shared.queue.push(request(done));
    answer.recv().unwrap_or_else(|_| Err(stopped()))
}
