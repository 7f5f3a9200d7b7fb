//! Turns combined documents into appends: each gets its UUID and goes to its partition's journal.

use catalog::Collection;
use doc::{Arena, Combiner};
use foldhash::HashMap;
use journal::{Append, Log};

use crate::partition::{PARTITIONS_MAX, Partitions, prefix};
use crate::shard::Failure;
use crate::uuid::Stamper;

/// Told of a document that no partition can hold, and why; may give it an identity. An error stops the publishing.
pub(crate) type Unplaced<'a> = &'a mut dyn FnMut(&mut Stamper, &[u8], String) -> Result<(), Failure>;

/// Publishes the documents of one collection.
#[derive(Debug)]
pub(crate) struct Publisher {
    collection: String,
    partitions: Partitions,
    /// Journals met so far; the open append of each, while one is being made.
    journals: HashMap<String, Option<usize>>,
    /// Those that what is being published met first.
    new: Vec<String>,
    arena: Arena,
}

impl Publisher {
    pub(crate) fn new(collection: &Collection, log: &dyn Log) -> Self {
        let heads = log.heads(&prefix(&collection.name));
        Self {
            collection: collection.name.clone(),
            partitions: Partitions::of(collection),
            journals: heads.into_iter().map(|head| (head.journal.to_string(), None)).collect(),
            new: Vec::new(),
            arena: Arena::new(),
        }
    }

    /// Drains a combiner, in the order documents arrived in, into `appends`; how many documents. What no partition can hold goes
    /// to `unplaced` with the reason. After an error nothing was published, whatever `appends` has.
    pub(crate) fn publish(
        &mut self,
        combiner: &mut Combiner,
        stamper: &mut Stamper,
        now_us: u64,
        appends: &mut Vec<Append>,
        unplaced: Unplaced<'_>,
    ) -> Result<u64, Failure> {
        let begin = appends.len();
        let published = self.drain(combiner, stamper, now_us, appends, unplaced);
        for append in &appends[begin..] {
            self.journals.insert(append.journal.clone(), None);
        }
        for journal in self.new.drain(..).filter(|_| published.is_err()) {
            self.journals.remove(&journal);
        }
        published
    }

    fn drain(
        &mut self,
        combiner: &mut Combiner,
        stamper: &mut Stamper,
        now_us: u64,
        appends: &mut Vec<Append>,
        unplaced: Unplaced<'_>,
    ) -> Result<u64, Failure> {
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
                if let Err(why) = self.partitions.journal(document, &mut name) {
                    let why = format!("a document of {} cannot be stored: {why}", self.collection);
                    unplaced(stamper, drained.document, why)?;
                    continue;
                }
            }
            let known = self.journals.len();
            let at = match self.journals.get_mut(&name) {
                Some(at) => *at.get_or_insert_with(|| open(appends, &name)),
                None if known >= PARTITIONS_MAX => {
                    let why = format!(
                        "{} has {PARTITIONS_MAX} partitions already and a document needs one more, {name}: \
                         partition by a field of fewer values",
                        self.collection
                    );
                    unplaced(stamper, drained.document, why)?;
                    continue;
                }
                None => {
                    let at = open(appends, &name);
                    self.journals.insert(name.clone(), Some(at));
                    self.new.push(name.clone());
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
        Ok(count)
    }
}

fn open(appends: &mut Vec<Append>, journal: &str) -> usize {
    appends.push(Append { journal: journal.to_owned(), documents: Vec::new() });
    appends.len() - 1
}
