//! The documents of a collection for whoever looks on from outside: what is there, and what is committed from then on.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use catalog::Selector;
use journal::{KeyRange, Log, LogError};

use crate::position::Position;
use crate::reader::{Read, Reader};

/// Documents given at once, in bytes of text.
const BLOCK_BYTES: usize = 256 << 10;

/// Follows one collection, over all its partitions or some, by the order its documents were published in.
pub struct Tail {
    log: Arc<dyn Log>,
    reader: Reader,
    seen: u64,
}

impl Tail {
    /// Begins with the first document that is kept.
    pub fn new(log: Arc<dyn Log>, collection: &str, selector: Selector) -> Self {
        let read = Read {
            name: "tail".to_owned(),
            collection: collection.to_owned(),
            selector,
            key: Arc::from([]),
            priority: 0,
            delay_seconds: 0,
        };
        Self {
            reader: Reader::new(
                Arc::clone(&log),
                vec![read],
                KeyRange::ALL,
                Position::begin(KeyRange::ALL),
                Arc::default(),
            ),
            log,
            seen: 0,
        }
    }

    /// The next documents that are committed, each with its newline; none where there are no more for now.
    pub fn read(&mut self) -> Result<Vec<Bytes>, LogError> {
        self.seen = self.log.follow(0, Duration::ZERO);
        let block = self.reader.next(u64::MAX, BLOCK_BYTES)?;
        Ok(block.lines().collect())
    }

    /// Waits until something was committed that was not there when it was last asked, or for so long.
    pub fn wait(&self, timeout: Duration) {
        self.log.follow(self.seen, timeout);
    }
}
