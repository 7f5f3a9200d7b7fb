//! Requests that were taken already, by the keys their senders gave them. Source: guarantee C3.
//!
//! A key is remembered for a day, and for as long as it is among the last million. What is remembered commits with the
//! documents of its request, as registers of the ingestion: one by the key, which says what was answered, and one by a place
//! in a ring, which says whose turn it is to be forgotten.

use std::collections::BTreeMap;

use journal::{Log, LogError};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use super::posted::Posted;
use crate::connector::Changes;

/// Keys that are remembered.
const KEYS_MAX: u64 = 1_000_000;
/// For how long.
const AGE_MAX_US: u64 = 24 * 3600 * 1_000_000;

/// A key, and what was sent under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Keyed {
    key: u128,
    digest: u128,
}

impl Keyed {
    /// The key of a request, where it has one. Senders of different scope do not share keys.
    pub(super) fn of(posted: &Posted) -> Option<Keyed> {
        let key = posted.key.as_ref()?;
        let scope = posted.scope.as_ref().map(|scope| scope.join("\n")).unwrap_or_default();
        let digest = [&posted.text, format!("\n{:?}", posted.to).as_bytes()].concat();
        Some(Keyed { key: xxh3_128(format!("{scope}\n\n{key}").as_bytes()), digest: xxh3_128(&digest) })
    }

    /// Whether both have the same key.
    pub(super) fn has_key_of(&self, other: &Keyed) -> bool {
        self.key == other.key
    }
}

/// What is remembered of a request.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Taken {
    /// Format version.
    version: u32,
    /// Its place among all that had keys.
    sequence: u64,
    at_us: u64,
    /// What was sent, in hexadecimal.
    digest: String,
    /// Documents in it.
    pub received: u64,
    /// Documents that were kept of it.
    pub documents: u64,
    /// The journals that they went to.
    pub journals: Vec<String>,
}

const TAKEN_VERSION: u32 = 1;

/// What is known of a key.
pub(super) enum Found {
    /// Nothing, or nothing any more.
    New,
    /// The same request was taken.
    Same(Taken),
    /// Another request was.
    Other,
}

/// What a transaction remembers.
#[derive(Debug)]
pub(super) struct Keys {
    next: u64,
    /// Registers to put or delete with the open transaction.
    changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl Keys {
    /// Goes on after a position that was committed.
    pub(super) fn new(position: Option<&[u8]>) -> Result<Keys, String> {
        let next = match position {
            None => 0,
            Some(bytes) => {
                let position: Position = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
                if position.version != TAKEN_VERSION {
                    return Err(format!("it has version {}, this program reads {TAKEN_VERSION}", position.version));
                }
                position.next
            }
        };
        Ok(Keys { next, changes: BTreeMap::new() })
    }

    /// Looks for a key among what was committed.
    pub(super) fn find(&self, log: &dyn Log, task: &str, keyed: Keyed, now_us: u64) -> Result<Found, LogError> {
        let register = log.registers(task, &[&by_key(keyed.key)])?.pop().flatten();
        let taken = register.and_then(|bytes| serde_json::from_slice::<Taken>(&bytes).ok());
        Ok(match taken {
            Some(taken) if now_us.saturating_sub(taken.at_us) >= AGE_MAX_US => Found::New,
            Some(taken) if taken.digest == hexadecimal(keyed.digest) => Found::Same(taken),
            Some(_) => Found::Other,
            None => Found::New,
        })
    }

    /// Remembers a request with the open transaction, and forgets the one whose place it takes.
    pub(super) fn remember(
        &mut self,
        log: &dyn Log,
        task: &str,
        keyed: Keyed,
        (received, documents, journals): (u64, u64, Vec<String>),
        now_us: u64,
    ) -> Result<(), LogError> {
        let sequence = self.next;
        let place = by_place(sequence);
        let former = match self.changes.get(&place) {
            Some(former) => former.clone(),
            None => log.registers(task, &[&place])?.pop().flatten().map(|bytes| bytes.to_vec()),
        };
        if let Some(former) = former.and_then(|bytes| bytes.try_into().ok()).map(u128::from_be_bytes) {
            let key = by_key(former);
            let register = match self.changes.get(&key) {
                Some(changed) => changed.clone(),
                None => log.registers(task, &[&key])?.pop().flatten().map(|bytes| bytes.to_vec()),
            };
            // A key that was used again since has a later place.
            let taken = register.and_then(|bytes| serde_json::from_slice::<Taken>(&bytes).ok());
            if taken.is_some_and(|taken| taken.sequence + KEYS_MAX <= sequence) {
                self.changes.insert(key, None);
            }
        }
        let digest = hexadecimal(keyed.digest);
        let taken = Taken { version: TAKEN_VERSION, sequence, at_us: now_us, digest, received, documents, journals };
        let taken = serde_json::to_vec(&taken).expect("texts and numbers are JSON");
        self.changes.insert(place, Some(keyed.key.to_be_bytes().to_vec()));
        self.changes.insert(by_key(keyed.key), Some(taken));
        self.next += 1;
        Ok(())
    }

    /// What is to be committed with the transaction, and the position that explains it; nothing where no request had a key.
    pub(super) fn drain(&mut self) -> (Changes, Option<Vec<u8>>) {
        if self.changes.is_empty() {
            return (Vec::new(), None);
        }
        let position = Position { version: TAKEN_VERSION, next: self.next };
        let position = serde_json::to_vec(&position).expect("numbers are JSON");
        let changes = std::mem::take(&mut self.changes).into_iter();
        (changes.map(|(key, value)| (key.into(), value.map(Into::into))).collect(), Some(position))
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Position {
    version: u32,
    next: u64,
}

fn by_key(key: u128) -> Vec<u8> {
    [b"k".as_slice(), &key.to_be_bytes()].concat()
}

fn by_place(sequence: u64) -> Vec<u8> {
    [b"n".as_slice(), &(sequence % KEYS_MAX).to_be_bytes()].concat()
}

fn hexadecimal(digest: u128) -> String {
    format!("{digest:032x}")
}
