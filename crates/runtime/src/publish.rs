//! Where documents are published to: combined by key, then turned into appends, each with its UUID to its partition's journal.

use std::sync::Arc;

use catalog::{Catalog, Collection};
use doc::{Arena, CombineError, Combiner, Node};
use foldhash::HashMap;
use journal::{Append, Log};

use crate::partition::{PARTITIONS_MAX, Partitions, prefix};
use crate::shard::{Context, Failure};
use crate::uuid::Stamper;

/// Why a document cannot be published.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unpublishable {
    /// It, or what it becomes with those of its key, is not valid.
    #[error(transparent)]
    Combine(#[from] CombineError),
    /// It has no partition.
    #[error("the document cannot be stored: {0}")]
    Partition(String),
}

/// Told of a document that no partition can hold, and why; may give it an identity. An error stops the publishing.
pub(crate) type Unplaced<'u> = dyn FnMut(&mut Stamper, &[u8], Unpublishable) -> Result<(), Failure> + 'u;

/// A collection that documents are published to.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) collection: String,
    combiner: Combiner,
    journals: Journals,
    /// For each key of the combiner, the journal of its document; `None` where it became one that no partition can hold.
    places: Vec<Option<usize>>,
    arena: Arena,
}

/// The journals of a collection.
#[derive(Debug)]
struct Journals {
    partitions: Partitions,
    met: Vec<Met>,
    /// How many of them something was published to.
    published: usize,
    /// Where in `met` a name is.
    by_name: HashMap<String, usize>,
    /// Where in `met` the journal of packed partition values is.
    by_values: HashMap<Vec<u8>, usize>,
    /// Where in `met` the journal is of a collection without partitions. It need not be the first: there may be those of partitions
    /// that the collection had once.
    only: Option<usize>,
    packed: Vec<u8>,
}

/// A journal that is known.
#[derive(Debug)]
struct Met {
    name: String,
    /// The append to it, while one is being made.
    append: Option<usize>,
    /// How long the last one was.
    bytes: usize,
}

impl Met {
    fn new(name: String) -> Self {
        Self { name, append: None, bytes: 0 }
    }
}

/// Where a document goes to.
enum Place {
    /// To this one of the journals met so far.
    Met(usize),
    /// To the journal of this name.
    Named(String),
}

impl Target {
    pub(crate) fn new(context: &Context, catalog: &Catalog, collection: &str) -> Result<Self, Failure> {
        let spec = catalog
            .collection(collection)
            .ok_or_else(|| Failure::never(format!("collection {collection} is not in the catalog")))?;
        Ok(Self {
            collection: collection.to_owned(),
            combiner: Combiner::new(Arc::clone(&spec.schema), Arc::clone(&spec.key)),
            journals: Journals::new(spec, &*context.log),
            places: Vec::new(),
            arena: Arena::new(),
        })
    }

    /// Adds a document behind those of its key. After an error everything is as it was.
    pub(crate) fn combine<'a>(&mut self, arena: &'a Arena, document: Node<'a>) -> Result<(), Unpublishable> {
        let place = self.journals.place(document)?;
        let (nth, reduced) = self.combiner.combine_right(arena, document)?;
        if nth == self.places.len() {
            self.places.push(Some(self.journals.meet(place)));
        } else {
            self.places[nth] = self.journals.place(reduced).ok().map(|place| self.journals.meet(place));
        }
        Ok(())
    }

    /// Memory that waiting documents take, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.combiner.bytes()
    }

    /// Forgets the documents that wait, and the journals that only they would have.
    pub(crate) fn clear(&mut self) {
        self.combiner.clear();
        self.places.clear();
        self.journals.forget();
    }

    /// Moves the documents that wait, in the order they came in, into `appends`; how many documents. What no partition can hold
    /// goes to `unplaced`. After an error nothing was published, whatever `appends` has.
    pub(crate) fn publish(
        &mut self,
        stamper: &mut Stamper,
        now_us: u64,
        appends: &mut Vec<Append>,
        unplaced: &mut Unplaced<'_>,
    ) -> Result<u64, Failure> {
        let begin = appends.len();
        let mut count = 0;
        // All of it, where it goes to one journal.
        let bytes = if self.journals.partitions.is_single() { self.combiner.bytes() } else { 0 };
        for (drained, place) in self.combiner.drain_by_arrival().zip(self.places.drain(..)) {
            let known = place.filter(|_| drained.single().is_some() || self.journals.partitions.is_single());
            for document in drained.documents() {
                let place = match known {
                    Some(place) => place,
                    // Of documents that are kept apart only the last one's place is known.
                    None => {
                        self.arena.reset();
                        let node =
                            doc::parse(&self.arena, document).expect("a combined document is JSON that we wrote");
                        match self.journals.place(node) {
                            Ok(place) => self.journals.meet(place),
                            Err(why) => {
                                unplaced(stamper, document, why)?;
                                continue;
                            }
                        }
                    }
                };
                let met = &mut self.journals.met[place];
                let at = *met.append.get_or_insert_with(|| {
                    let documents = Vec::with_capacity(bytes.max(met.bytes));
                    appends.push(Append { journal: met.name.clone(), documents });
                    appends.len() - 1
                });
                let uuid = stamper.next(now_us);
                let uuid = std::str::from_utf8(&uuid).expect("hexadecimal digits and dashes");
                let documents = &mut appends[at].documents;
                doc::stamp(document, uuid, documents);
                documents.push(b'\n');
                count += 1;
            }
        }
        for append in &appends[begin..] {
            let met = &mut self.journals.met[self.journals.by_name[&append.journal]];
            (met.append, met.bytes) = (None, append.documents.len());
        }
        self.journals.published = self.journals.met.len();
        Ok(count)
    }
}

impl Journals {
    fn new(collection: &Collection, log: &dyn Log) -> Self {
        let heads = log.heads(&prefix(&collection.name));
        let met: Vec<_> = heads.into_iter().map(|head| Met::new(head.journal.to_string())).collect();
        Self {
            partitions: Partitions::of(collection),
            by_name: met.iter().enumerate().map(|(at, met)| (met.name.clone(), at)).collect(),
            by_values: HashMap::default(),
            only: None,
            published: met.len(),
            met,
            packed: Vec::new(),
        }
    }

    /// Where a document goes to. Whatever becomes of it, nothing is remembered yet: it may be refused.
    fn place(&mut self, document: Node<'_>) -> Result<Place, Unpublishable> {
        if let Some(at) = self.only {
            return Ok(Place::Met(at));
        }
        self.packed.clear();
        self.partitions.pack(document, &mut self.packed);
        if let Some(at) = self.by_values.get(&self.packed) {
            return Ok(Place::Met(*at));
        }
        let mut name = String::new();
        self.partitions.journal(document, &mut name).map_err(Unpublishable::Partition)?;
        if !self.by_name.contains_key(&name) && self.met.len() >= PARTITIONS_MAX {
            return Err(Unpublishable::Partition(format!(
                "its collection has {PARTITIONS_MAX} partitions already and it needs one more, {name}: partition by a field \
                 of fewer values"
            )));
        }
        Ok(Place::Named(name))
    }

    /// Where in `met` the place is that was just looked for.
    fn meet(&mut self, place: Place) -> usize {
        let name = match place {
            Place::Met(at) => return at,
            Place::Named(name) => name,
        };
        let next = self.met.len();
        let at = *self.by_name.entry(name).or_insert_with_key(|name| {
            self.met.push(Met::new(name.clone()));
            next
        });
        if self.partitions.is_single() {
            self.only = Some(at);
        }
        // Different values may have the same name, such as 1 and "1"; bounded, for they come from documents.
        if self.by_values.len() >= 2 * PARTITIONS_MAX {
            self.by_values.clear();
        }
        self.by_values.insert(self.packed.clone(), at);
        at
    }

    /// Forgets the journals that nothing was published to.
    fn forget(&mut self) {
        for met in self.met.drain(self.published..) {
            self.by_name.remove(&met.name);
        }
        self.met.iter_mut().for_each(|met| met.append = None);
        self.by_values.retain(|_, at| *at < self.published);
        self.only = self.only.filter(|at| *at < self.published);
    }
}
