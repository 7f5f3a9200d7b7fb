//! Turns combined documents into appends: each gets its UUID and goes to its partition's journal.

use std::collections::hash_map::Entry;

use catalog::Collection;
use doc::{Arena, Combiner};
use foldhash::HashMap;
use journal::{Append, Log};

use crate::partition::{PARTITIONS_MAX, Partitions, prefix};
use crate::shard::Failure;
use crate::uuid::Stamper;

/// Publishes the documents of one collection.
#[derive(Debug)]
pub(crate) struct Publisher {
    collection: String,
    partitions: Partitions,
    /// Journals met so far; the open append of each, while one is being made.
    journals: HashMap<String, Option<usize>>,
    arena: Arena,
}

impl Publisher {
    pub(crate) fn new(collection: &Collection, log: &dyn Log) -> Self {
        let heads = log.heads(&prefix(&collection.name));
        Self {
            collection: collection.name.clone(),
            partitions: Partitions::of(collection),
            journals: heads.into_iter().map(|head| (head.journal.to_string(), None)).collect(),
            arena: Arena::new(),
        }
    }

    /// Drains a combiner, in the order documents arrived in, into `appends`; how many documents.
    pub(crate) fn publish(
        &mut self,
        combiner: &mut Combiner,
        stamper: &mut Stamper,
        now_us: u64,
        appends: &mut Vec<Append>,
    ) -> Result<u64, Failure> {
        let begin = appends.len();
        let mut name = String::new();
        let mut count = 0;
        for drained in combiner.drain_by_arrival() {
            if name.is_empty() || !self.partitions.is_single() {
                self.arena.reset();
                let document = match self.partitions.is_single() {
                    true => doc::Node::Null,
                    false => doc::parse(&self.arena, drained.document).map_err(|e| {
                        Failure::never(format!("a combined document of {} cannot be read: {e}", self.collection))
                    })?,
                };
                self.partitions.journal(document, &mut name).map_err(|why| {
                    Failure::never(format!("a document of {} cannot be stored: {why}", self.collection))
                })?;
            }
            let known = self.journals.len();
            let at = match self.journals.get_mut(&name) {
                Some(at) => *at.get_or_insert_with(|| open(appends, &name)),
                None if known >= PARTITIONS_MAX => {
                    return Err(Failure::never(format!(
                        "{} has {PARTITIONS_MAX} partitions already and a document needs one more, {name}: \
                         partition by a field of fewer values",
                        self.collection
                    )));
                }
                None => {
                    let at = open(appends, &name);
                    self.journals.insert(name.clone(), Some(at));
                    at
                }
            };
            let uuid = stamper.next(now_us);
            let uuid = std::str::from_utf8(&uuid).expect("hexadecimal digits and dashes");
            let documents = &mut appends[at].documents;
            doc::stamp(drained.document, uuid, documents);
            documents.push(b'\n');
            count += 1;
        }
        for append in &appends[begin..] {
            if let Entry::Occupied(mut entry) = self.journals.entry(append.journal.clone()) {
                entry.insert(None);
            }
        }
        Ok(count)
    }
}

fn open(appends: &mut Vec<Append>, journal: &str) -> usize {
    appends.push(Append { journal: journal.to_owned(), documents: Vec::new() });
    appends.len() - 1
}
