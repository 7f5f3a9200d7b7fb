//! Documents kept in memory, bounded in bytes, oldest out first.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::log::Block;

/// Runs of documents by journal id and begin offset.
pub(crate) struct Cache {
    bytes_max: usize,
    bytes: usize,
    runs: BTreeMap<(u64, u64), Bytes>,
    /// Keys in the order they came; some are of runs that are no longer there.
    order: VecDeque<(u64, u64)>,
}

impl Cache {
    pub(crate) fn new(bytes_max: usize) -> Cache {
        Cache {
            bytes_max,
            bytes: 0,
            runs: BTreeMap::new(),
            order: VecDeque::new(),
        }
    }

    /// Takes a run in, and drops the oldest ones until the bound is met; a run above the bound is not kept.
    pub(crate) fn insert(&mut self, journal: u64, begin: u64, documents: Bytes) {
        if documents.len() > self.bytes_max {
            return;
        }
        // A run inside the new one would hide it from `get`.
        let end = begin + documents.len() as u64;
        let inside: Vec<_> = self
            .runs
            .range((journal, begin)..(journal, end))
            .map(|(key, _)| *key)
            .collect();
        for key in inside {
            self.remove(key);
        }
        self.bytes += documents.len();
        self.runs.insert((journal, begin), documents);
        self.order.push_back((journal, begin));
        while self.bytes > self.bytes_max {
            let oldest = self
                .order
                .pop_front()
                .expect("every run has its key in the order");
            self.remove(oldest);
        }
        if self.order.len() > 2 * self.runs.len() + 64 {
            let runs = &self.runs;
            self.order.retain(|key| runs.contains_key(key));
        }
    }

    /// The run that holds the byte at `offset`.
    pub(crate) fn get(&self, journal: u64, offset: u64) -> Option<Block> {
        let (&(_, begin), documents) = self
            .runs
            .range((journal, 0)..=(journal, offset))
            .next_back()?;
        let block = Block {
            begin,
            documents: documents.clone(),
        };
        (offset < block.end()).then_some(block)
    }

    fn remove(&mut self, key: (u64, u64)) {
        if let Some(documents) = self.runs.remove(&key) {
            self.bytes -= documents.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first_and_wider_runs_replace_narrower_ones() {
        let mut cache = Cache::new(20);
        cache.insert(1, 0, Bytes::from_static(b"0123456789"));
        cache.insert(1, 10, Bytes::from_static(b"abcde"));
        assert_eq!(cache.get(1, 9).unwrap().begin, 0);
        assert_eq!(cache.get(1, 10).unwrap().documents, "abcde");
        assert!(cache.get(1, 15).is_none());
        assert!(cache.get(2, 0).is_none());
        cache.insert(2, 0, Bytes::from_static(b"ABCDEF"));
        assert!(cache.get(1, 0).is_none(), "21 bytes are one too many");
        assert_eq!(cache.bytes, 11);
        cache.insert(1, 5, Bytes::from_static(b"56789abcdefg"));
        assert_eq!(cache.get(1, 12).unwrap().begin, 5);
        assert_eq!(cache.bytes, 18);
        cache.insert(3, 0, Bytes::from_static(b"far too long for this cache"));
        assert_eq!(cache.bytes, 18);
    }
}
