//! What tasks still need of the journals they read, so that a retention removes nothing else.
//!
//! A task needs what its last commit has not passed, wherever that commit is: after a crash it reads from there. A task that
//! has not yet learnt where it is needs everything.

use std::sync::{Mutex, PoisonError};

use crate::partition::{JournalFilter, prefix};
use crate::position::Offsets;
use crate::reader::Read;

/// How far a shard has committed. Told by the shard, read by [`crate::run`].
#[derive(Default)]
pub(crate) struct Progress(Mutex<Option<Committed>>);

/// A shard's reads, and its last commit.
pub(crate) struct Committed {
    /// The name of each read, the beginning of its journals' names, and which of them it means.
    reads: Vec<(String, String, JournalFilter)>,
    offsets: Offsets,
}

impl Progress {
    /// The shard has recovered: these are its reads, and there it goes on.
    pub(crate) fn recovered(&self, reads: &[Read], offsets: &Offsets) {
        let of = |read: &Read| (read.name.clone(), prefix(&read.collection), JournalFilter::of(&read.selector));
        let reads = reads.iter().map(of);
        let committed = Committed { reads: reads.collect(), offsets: offsets.clone() };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(committed);
    }

    /// It has committed up to here.
    pub(crate) fn committed(&self, offsets: Offsets) {
        if let Some(committed) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            committed.offsets = offsets;
        }
    }

    /// The least offset of a journal that begins at `begin` and ends at `end` which the shard needs.
    pub(crate) fn needs(&self, journal: &str, begin: u64, end: u64) -> u64 {
        let progress = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(committed) = &*progress else { return begin };
        let is_read = |prefix: &str, filter: &JournalFilter| journal.starts_with(prefix) && filter.matches(journal);
        let reads = committed.reads.iter().filter(|(_, prefix, filter)| is_read(prefix, filter));
        let offset = |name: &String| committed.offsets.0.get(name)?.get(journal).copied();
        // A journal it has not seen yet is read from its begin.
        reads.map(|(name, ..)| offset(name).unwrap_or(begin)).min().unwrap_or(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_committed_past_is_needed() {
        let read = |name: &str, collection: &str, vendor: Option<u32>| Read {
            name: name.into(),
            collection: collection.into(),
            selector: catalog::Selector {
                include: vendor.map(|vendor| ("vendor".into(), vec![vendor.into()])).into_iter().collect(),
                ..catalog::Selector::default()
            },
            key: std::sync::Arc::default(),
            priority: 0,
            delay_seconds: 0,
        };
        let at = |pairs: &[(&str, &str, u64)]| {
            let mut offsets = Offsets::default();
            for (read, journal, offset) in pairs {
                offsets.0.entry((*read).into()).or_default().insert((*journal).into(), *offset);
            }
            offsets
        };
        let progress = Progress::default();
        assert_eq!(progress.needs("a/pivot=00", 10, 99), 10, "it has not recovered");
        let reads = [read("x", "a", None), read("y", "a", Some(1)), read("z", "b", None)];
        progress.recovered(&reads, &at(&[("x", "a/vendor=1/pivot=00", 50), ("y", "a/vendor=1/pivot=00", 40)]));
        assert_eq!(progress.needs("a/vendor=1/pivot=00", 10, 99), 40, "the read that is least far");
        assert_eq!(progress.needs("a/vendor=2/pivot=00", 10, 99), 10, "seen by none yet");
        assert_eq!(progress.needs("ab/pivot=00", 10, 99), 99, "not read");
        let all =
            [("x", "a/vendor=1/pivot=00", 70), ("y", "a/vendor=1/pivot=00", 80), ("x", "a/vendor=2/pivot=00", 60)];
        progress.committed(at(&all));
        assert_eq!(progress.needs("a/vendor=1/pivot=00", 10, 99), 70);
        assert_eq!(progress.needs("a/vendor=2/pivot=00", 10, 99), 60, "only one of the reads means it");
    }
}
