//! The registers of one derivation's shard: a cache over what the log holds, and what the open transaction changed.
//!
//! A register is kept as JSON text. It is looked up and parsed once per block of source documents that touches it, however many
//! do, and written once; cache and log share the text. Sources: reference 4.2.
//!
//! The cache has two generations. What is touched goes to the young one; when that has grown to its half of the memory it
//! becomes the old one, and what was old and not touched since is dropped. Only what the log has is dropped: not what the
//! open transaction changed, nor what the one before it did, which may still be in flight.

use std::sync::Arc;

use bytes::Bytes;
use doc::{Arena, Node, Schema};
use foldhash::fast::RandomState;
use indexmap::IndexMap;
use journal::{LogError, Register};

use crate::seen::Seen;
use crate::shard::Failure;

/// What registers are loaded from.
pub(crate) trait RegisterStore {
    /// Registers as last committed, in the order of the keys.
    fn get(&self, keys: &[&[u8]]) -> Result<Vec<Option<Bytes>>, LogError>;
}

/// What an entry costs beside its key and text: its place in the table, and two allocations.
const ENTRY_BYTES: usize = 128;
/// The part of its memory that a transaction may change before it has to close; the one in flight has as much.
const CHANGED_PARTS: usize = 4;
/// The part of its memory that says which keys were dropped.
const DROPPED_PARTS: usize = 16;

pub(crate) struct Registers {
    schema: Arc<Schema>,
    initial: Vec<u8>,
    bytes_max: usize,
    young: Generation,
    old: Generation,
    /// What the open transaction changed, where it is. An entry that moved is here again.
    changed: Vec<Place>,
    changed_bytes: usize,
    /// What was dropped; `None` where the store may have more than that.
    dropped: Option<Seen>,
    /// Text of the registers that the last block touched.
    touched_bytes: usize,
    /// The number of the open transaction.
    transaction: u64,
    /// The number of the last block.
    block: u64,
}

/// The first transaction; registers never changed were so in the zeroth, which is not in flight any more.
const FIRST_TRANSACTION: u64 = 2;

/// Entries keep their places until all go.
#[derive(Default)]
struct Generation {
    number: u64,
    registers: IndexMap<Arc<[u8]>, Cached, RandomState>,
    bytes: usize,
}

/// Where an entry is.
#[derive(Clone, Copy)]
struct Place {
    generation: u64,
    at: usize,
}

#[derive(Clone)]
struct Cached {
    /// `None`: the store has none, so it is initial.
    json: Option<Arc<[u8]>>,
    /// The transaction that changed it last.
    changed_in: u64,
    /// The block that touched it last, and its slot there.
    block: u64,
    slot: usize,
    /// It is in the young generation now.
    moved: bool,
}

impl Cached {
    fn bytes(&self, key: &[u8]) -> usize {
        key.len() + self.json.as_ref().map_or(0, |json| json.len()) + ENTRY_BYTES
    }
}

impl Generation {
    /// Adds one that is not there; where it is.
    fn insert(&mut self, key: Arc<[u8]>, cached: Cached) -> usize {
        self.bytes += cached.bytes(&key);
        self.registers.insert_full(key, cached).0
    }

    fn set(&mut self, at: usize, json: Option<Arc<[u8]>>) {
        let (key, cached) = self.registers.get_index_mut(at).expect("entries keep their places");
        let before = cached.bytes(key);
        cached.json = json;
        self.bytes = self.bytes - before + cached.bytes(key);
    }
}

/// The registers one block of documents touches, as nodes in the block's arena.
pub(crate) struct Touched<'a>(Vec<Loaded<'a>>);

/// One of them.
struct Loaded<'a> {
    /// Where it is in the young generation.
    at: usize,
    value: Node<'a>,
    is_changed: bool,
    /// Whether it is known to be valid: one that the store had may be of another schema.
    is_valid: bool,
}

impl Registers {
    /// Registers of a schema, whose cache takes about so many bytes; `is_new` if the store has none.
    pub(crate) fn new(schema: Arc<Schema>, initial: &str, bytes_max: usize, is_new: bool) -> Self {
        Self {
            schema,
            initial: initial.as_bytes().to_vec(),
            bytes_max,
            young: Generation { number: 1, ..Generation::default() },
            old: Generation::default(),
            changed: Vec::new(),
            changed_bytes: 0,
            dropped: is_new.then(|| Seen::new(bytes_max / DROPPED_PARTS)),
            touched_bytes: 0,
            transaction: FIRST_TRANSACTION,
            block: 0,
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        (self.young.registers, self.young.bytes) = Default::default();
        (self.old.registers, self.old.bytes) = Default::default();
        self.changed.clear();
        self.changed_bytes = 0;
    }

    /// Whether the open transaction has changed as much as memory has room for.
    pub(crate) fn is_full(&self) -> bool {
        self.changed_bytes > self.bytes_max / CHANGED_PARTS
    }

    /// Text of the registers that the last block touched, in bytes.
    pub(crate) fn touched_bytes(&self) -> usize {
        self.touched_bytes
    }

    /// Loads the registers of these keys; the n-th key's slot is the n-th of the list returned.
    pub(crate) fn touch<'a>(
        &mut self,
        arena: &'a Arena,
        store: &dyn RegisterStore,
        keys: &[&'a [u8]],
    ) -> Result<(Touched<'a>, Vec<usize>), Failure> {
        if self.young.bytes > self.bytes_max / 2 {
            self.age();
        }
        self.block += 1;
        // Where each register is in the young generation.
        let mut places = Vec::with_capacity(keys.len());
        let mut slots = Vec::with_capacity(keys.len());
        let mut missing: Vec<(&[u8], usize)> = Vec::new();
        for key in keys {
            let next = places.len();
            let at = if let Some((at, _, cached)) = self.young.registers.get_full_mut(*key) {
                if cached.block == self.block {
                    slots.push(cached.slot);
                    continue;
                }
                (cached.block, cached.slot) = (self.block, next);
                at
            } else if let Some((key, cached)) = self.rejuvenate(key) {
                let cached = Cached { block: self.block, slot: next, ..cached };
                self.insert(key, cached)
            } else {
                // What the store has follows; should it fail, the shard starts anew, and so does all this.
                let cached = Cached { json: None, changed_in: 0, block: self.block, slot: next, moved: false };
                let at = self.young.insert((*key).into(), cached);
                if self.dropped.as_ref().is_none_or(|dropped| dropped.may_contain(key)) {
                    missing.push((*key, at));
                }
                at
            };
            slots.push(next);
            places.push(at);
        }
        if !missing.is_empty() {
            let sought: Vec<&[u8]> = missing.iter().map(|(key, _)| *key).collect();
            for ((_, at), json) in missing.into_iter().zip(store.get(&sought)?) {
                if let Some(json) = json {
                    self.young.set(at, Some((*json).into()));
                }
            }
        }
        self.touched_bytes = 0;
        let touched = places.into_iter().map(|at| {
            let Cached { json, changed_in, .. } = &self.young.registers[at];
            // The text may leave the cache while nodes point into it, so the block has a copy of its own.
            let text = arena.alloc_slice_copy(json.as_deref().unwrap_or(&self.initial));
            self.touched_bytes += text.len();
            let value = doc::parse(arena, text)
                .map_err(|e| Failure::never(format!("a stored register cannot be read: {e}")))?;
            Ok(Loaded { at, value, is_changed: false, is_valid: json.is_none() || *changed_in > 0 })
        });
        Ok((Touched(touched.collect::<Result<_, Failure>>()?), slots))
    }

    /// Takes an entry out of the old generation.
    fn rejuvenate(&mut self, key: &[u8]) -> Option<(Arc<[u8]>, Cached)> {
        let (_, key, cached) = self.old.registers.get_full_mut(key).filter(|(.., cached)| !cached.moved)?;
        let taken = cached.clone();
        *cached = Cached { json: None, moved: true, ..*cached };
        self.old.bytes -= taken.bytes(key);
        Some((Arc::clone(key), taken))
    }

    /// Adds an entry to the young generation.
    fn insert(&mut self, key: Arc<[u8]>, cached: Cached) -> usize {
        let is_changed = cached.changed_in == self.transaction;
        let at = self.young.insert(key, cached);
        if is_changed {
            self.changed.push(Place { generation: self.young.number, at });
        }
        at
    }

    /// Makes the young the old, and drops of the old what the log has.
    fn age(&mut self) {
        let number = self.young.number + 1;
        let young = std::mem::replace(&mut self.young, Generation { number, ..Generation::default() });
        for (key, cached) in std::mem::replace(&mut self.old, young).registers {
            if cached.moved {
                continue;
            }
            if cached.changed_in + 1 >= self.transaction {
                self.insert(key, cached);
            } else if let Some(dropped) = self.dropped.as_mut().filter(|_| cached.json.is_some()) {
                dropped.insert(&key);
            }
        }
    }

    /// Reduces a delta into a register.
    pub(crate) fn update<'a>(
        &self,
        arena: &'a Arena,
        touched: &mut Touched<'a>,
        slot: usize,
        delta: Node<'a>,
    ) -> Result<(), Failure> {
        let register = &mut touched.0[slot];
        self.schema.validate(delta).map_err(|e| Failure::never(format!("a register update is invalid: {e}")))?;
        let reduced = self
            .schema
            .reduce(arena, Some(register.value), delta, true)
            .map_err(|e| Failure::never(format!("a register cannot be reduced: {e}")))?
            .unwrap_or(Node::Null);
        if !(register.is_valid && self.schema.closed()) {
            let invalid = |e| Failure::never(format!("the reduced register is invalid: {e}"));
            self.schema.validate(reduced).map_err(invalid)?;
        }
        *register = Loaded { value: reduced, is_changed: true, is_valid: true, ..*register };
        Ok(())
    }

    /// Keeps what a block changed, for the transaction.
    pub(crate) fn keep(&mut self, touched: Touched<'_>) {
        let mut json = Vec::new();
        for Loaded { at, value, .. } in touched.0.into_iter().filter(|register| register.is_changed) {
            json.clear();
            doc::write(value, &mut json);
            let (key, cached) = self.young.registers.get_index_mut(at).expect("entries keep their places");
            if cached.changed_in == self.transaction {
                self.changed_bytes -= cached.bytes(key);
            } else {
                self.changed.push(Place { generation: self.young.number, at });
                cached.changed_in = self.transaction;
            }
            self.young.set(at, Some(json.as_slice().into()));
            let (key, cached) = self.young.registers.get_index(at).expect("entries keep their places");
            self.changed_bytes += cached.bytes(key);
        }
    }

    /// What the transaction changed, to be committed. Nothing else of the shard may be in flight.
    pub(crate) fn drain(&mut self) -> Vec<Register> {
        self.transaction += 1;
        self.changed_bytes = 0;
        let generations = [&self.young, &self.old];
        let found = self.changed.drain(..).filter_map(|Place { generation, at }| {
            // Where it is of a generation that is gone, it moved.
            let generation = generations.into_iter().find(|found| found.number == generation)?;
            let (key, cached) = generation.registers.get_index(at)?;
            (!cached.moved).then(|| (Arc::clone(key), cached.json.clone()))
        });
        found.collect()
    }
}

impl<'a> Touched<'a> {
    /// A register's present value.
    pub(crate) fn get(&self, slot: usize) -> Node<'a> {
        self.0[slot].value
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// What is committed, and what is in flight: committed when the next transaction closes.
    #[derive(Default)]
    struct Store {
        committed: RefCell<BTreeMap<Vec<u8>, Bytes>>,
        in_flight: Vec<Register>,
    }

    impl RegisterStore for Store {
        fn get(&self, keys: &[&[u8]]) -> Result<Vec<Option<Bytes>>, LogError> {
            Ok(keys.iter().map(|key| self.committed.borrow().get(*key).cloned()).collect())
        }
    }

    impl Store {
        fn commit(&mut self, next: Vec<Register>) {
            for (key, json) in std::mem::replace(&mut self.in_flight, next) {
                self.committed.borrow_mut().insert(key.to_vec(), Bytes::copy_from_slice(&json.unwrap()));
            }
        }
    }

    fn sums(bytes_max: usize, is_new: bool) -> Registers {
        let schema = Arc::new(serde_json::json!({"type": "integer", "reduce": {"strategy": "sum"}}));
        let schema = Schema::compile(&"test:/schema".parse().unwrap(), &|_| Some(Arc::clone(&schema))).unwrap();
        Registers::new(Arc::new(schema), "0", bytes_max, is_new)
    }

    proptest! {
        /// Whatever is dropped in between, each update counts once.
        #[test]
        fn registers_are_what_was_added_to_them(
            blocks in prop::collection::vec((prop::collection::vec((0u8..40, 1u64..9), 1..8), any::<bool>()), 1..60),
            bytes_max in prop::sample::select(vec![0, 300, 1_000, 4_000, 1 << 20]),
            is_new in any::<bool>(),
        ) {
            let (mut registers, mut store, mut model) = (sums(bytes_max, is_new), Store::default(), [0u64; 40]);
            for (updates, closes) in blocks {
                let arena = Arena::new();
                let keys: Vec<&[u8]> = updates.iter().map(|(key, _)| &*arena.alloc_slice_copy(&[*key])).collect();
                let (mut touched, slots) = registers.touch(&arena, &store, &keys).unwrap();
                for ((key, delta), slot) in updates.iter().zip(slots) {
                    prop_assert_eq!(touched.get(slot).to_json(), model[usize::from(*key)].to_string());
                    registers.update(&arena, &mut touched, slot, Node::U64(*delta)).unwrap();
                    model[usize::from(*key)] += delta;
                }
                registers.keep(touched);
                if closes {
                    store.commit(registers.drain());
                }
            }
            store.commit(registers.drain());
            store.commit(Vec::new());
            for (key, json) in store.committed.borrow().iter() {
                let expected = model[usize::from(key[0])].to_string();
                prop_assert_eq!(&json[..], expected.as_bytes());
            }
            prop_assert_eq!(store.committed.borrow().len(), model.iter().filter(|sum| **sum > 0).count());
        }
    }

    #[test]
    fn memory_follows_its_bound_and_not_the_number_of_keys() {
        let (mut registers, mut store) = (sums(100_000, true), Store::default());
        for block in 0..2_000u32 {
            let arena = Arena::new();
            let keys: Vec<&[u8]> =
                (0..10u32).map(|n| &*arena.alloc_slice_copy(&(block * 10 + n).to_be_bytes())).collect();
            let (mut touched, slots) = registers.touch(&arena, &store, &keys).unwrap();
            slots.iter().for_each(|slot| registers.update(&arena, &mut touched, *slot, Node::U64(1)).unwrap());
            registers.keep(touched);
            assert!(registers.young.bytes + registers.old.bytes < 130_000);
            if registers.is_full() {
                store.commit(registers.drain());
            }
        }
        assert!(store.committed.borrow().len() > 19_000);
    }
}
