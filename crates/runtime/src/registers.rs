//! The registers of one derivation's shard: a cache over what the log holds, and what the open transaction changed.
//!
//! A register is kept as JSON text. It is looked up and parsed once per block of source documents that touches it, however many
//! do, and written once. Sources: reference 4.2.
//!
//! The cache has two generations. What is touched goes to the young one; when that has grown to its half of the memory it
//! becomes the old one, and what was old and not touched since is dropped. Only what the log has is dropped: not what the
//! open transaction changed, nor what the one before it did, which may still be in flight.

use std::sync::Arc;

use bytes::Bytes;
use doc::{Arena, Node, Schema};
use foldhash::HashMap;
use journal::LogError;

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

pub(crate) struct Registers {
    schema: Arc<Schema>,
    initial: Vec<u8>,
    bytes_max: usize,
    young: Generation,
    old: Generation,
    /// Keys changed by the open transaction, and what its registers take.
    changed: Vec<Vec<u8>>,
    changed_bytes: usize,
    /// Text of the registers that the last block touched.
    touched_bytes: usize,
    /// The number of the open transaction.
    transaction: u64,
    /// The number of the last block.
    block: u64,
}

/// The first transaction; registers never changed were so in the zeroth, which is not in flight any more.
const FIRST_TRANSACTION: u64 = 2;

#[derive(Default)]
struct Generation {
    registers: HashMap<Vec<u8>, Cached>,
    bytes: usize,
}

struct Cached {
    /// `None`: the store has none, so it is initial.
    json: Option<Bytes>,
    /// The transaction that changed it last.
    changed_in: u64,
    /// The block that touched it last, and its slot there.
    block: u64,
    slot: usize,
}

impl Cached {
    fn bytes(&self, key: &[u8]) -> usize {
        key.len() + self.json.as_ref().map_or(0, Bytes::len) + ENTRY_BYTES
    }
}

impl Generation {
    fn insert(&mut self, key: Vec<u8>, cached: Cached) {
        self.bytes += cached.bytes(&key);
        self.registers.insert(key, cached);
    }

    /// Changes one that is there.
    fn replace(&mut self, key: &[u8], change: impl FnOnce(&mut Cached)) {
        let cached = self.registers.get_mut(key).expect("it is there");
        let before = cached.bytes(key);
        change(cached);
        self.bytes = self.bytes - before + cached.bytes(key);
    }

    fn remove(&mut self, key: &[u8]) -> Option<(Vec<u8>, Cached)> {
        let (key, cached) = self.registers.remove_entry(key)?;
        self.bytes -= cached.bytes(&key);
        Some((key, cached))
    }
}

/// The registers one block of documents touches, as nodes in the block's arena.
pub(crate) struct Touched<'a>(Vec<Register<'a>>);

/// One of them.
struct Register<'a> {
    key: &'a [u8],
    value: Node<'a>,
    is_changed: bool,
    /// Whether it is known to be valid: one that the store had may be of another schema.
    is_valid: bool,
}

impl Registers {
    /// Registers of a schema, whose cache takes about so many bytes.
    pub(crate) fn new(schema: Arc<Schema>, initial: &str, bytes_max: usize) -> Self {
        Self {
            schema,
            initial: initial.as_bytes().to_vec(),
            bytes_max,
            young: Generation::default(),
            old: Generation::default(),
            changed: Vec::new(),
            changed_bytes: 0,
            touched_bytes: 0,
            transaction: FIRST_TRANSACTION,
            block: 0,
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        (self.young, self.old) = Default::default();
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
        let mut registers = Vec::with_capacity(keys.len());
        let mut slots = Vec::with_capacity(keys.len());
        let mut missing: Vec<(&[u8], usize)> = Vec::new();
        for key in keys {
            let next = registers.len();
            if let Some(cached) = self.young.registers.get_mut(*key) {
                if cached.block == self.block {
                    slots.push(cached.slot);
                    continue;
                }
                (cached.block, cached.slot) = (self.block, next);
                registers.push((*key, cached.json.clone(), cached.changed_in));
            } else if let Some((owned, cached)) = self.old.remove(key) {
                registers.push((*key, cached.json.clone(), cached.changed_in));
                self.young.insert(owned, Cached { block: self.block, slot: next, ..cached });
            } else {
                missing.push((*key, next));
                registers.push((*key, None, 0));
                // What the store has follows; should it fail, the shard starts anew, and so does all this.
                let cached = Cached { json: None, changed_in: 0, block: self.block, slot: next };
                self.young.insert(key.to_vec(), cached);
            }
            slots.push(next);
        }
        let sought: Vec<&[u8]> = missing.iter().map(|(key, _)| *key).collect();
        for ((key, slot), json) in missing.into_iter().zip(store.get(&sought)?) {
            if json.is_some() {
                self.young.replace(key, |cached| cached.json = json.clone());
                registers[slot].1 = json;
            }
        }
        self.touched_bytes = 0;
        let touched = registers.into_iter().map(|(key, stored, changed_in)| {
            // The text may leave the cache while nodes point into it, so the block has a copy of its own.
            let json = arena.alloc_slice_copy(stored.as_deref().unwrap_or(&self.initial));
            self.touched_bytes += json.len();
            let value = doc::parse(arena, json)
                .map_err(|e| Failure::never(format!("a stored register cannot be read: {e}")))?;
            Ok(Register { key, value, is_changed: false, is_valid: stored.is_none() || changed_in > 0 })
        });
        Ok((Touched(touched.collect::<Result<_, Failure>>()?), slots))
    }

    /// Makes the young the old, and drops of the old what the log has.
    fn age(&mut self) {
        let young = std::mem::take(&mut self.young);
        for (key, cached) in std::mem::replace(&mut self.old, young).registers {
            if cached.changed_in + 1 >= self.transaction {
                self.young.insert(key, cached);
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
        *register = Register { value: reduced, is_changed: true, is_valid: true, ..*register };
        Ok(())
    }

    /// Keeps what a block changed, for the transaction.
    pub(crate) fn keep(&mut self, touched: Touched<'_>) {
        let mut json = Vec::new();
        let transaction = self.transaction;
        for Register { key, value, .. } in touched.0.into_iter().filter(|register| register.is_changed) {
            json.clear();
            doc::write(value, &mut json);
            let (changed, changed_bytes) = (&mut self.changed, &mut self.changed_bytes);
            self.young.replace(key, |cached| {
                if cached.changed_in == transaction {
                    *changed_bytes -= cached.bytes(key);
                } else {
                    changed.push(key.to_vec());
                }
                cached.json = Some(Bytes::copy_from_slice(&json));
                cached.changed_in = transaction;
                *changed_bytes += cached.bytes(key);
            });
        }
    }

    /// What the transaction changed, to be committed. Nothing else of the shard may be in flight.
    pub(crate) fn drain(&mut self) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        self.transaction += 1;
        self.changed_bytes = 0;
        let mut puts = Vec::with_capacity(self.changed.len());
        for key in self.changed.drain(..) {
            let cached = self.young.registers.get(&key).or_else(|| self.old.registers.get(&key));
            let json = &cached.expect("changed registers are cached").json;
            puts.push((key, json.as_ref().map(|json| json.to_vec())));
        }
        puts
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
        in_flight: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    }

    impl RegisterStore for Store {
        fn get(&self, keys: &[&[u8]]) -> Result<Vec<Option<Bytes>>, LogError> {
            Ok(keys.iter().map(|key| self.committed.borrow().get(*key).cloned()).collect())
        }
    }

    impl Store {
        fn commit(&mut self, next: Vec<(Vec<u8>, Option<Vec<u8>>)>) {
            for (key, json) in std::mem::replace(&mut self.in_flight, next) {
                self.committed.borrow_mut().insert(key, json.unwrap().into());
            }
        }
    }

    fn sums(bytes_max: usize) -> Registers {
        let schema = Arc::new(serde_json::json!({"type": "integer", "reduce": {"strategy": "sum"}}));
        let schema = Schema::compile(&"test:/schema".parse().unwrap(), &|_| Some(Arc::clone(&schema))).unwrap();
        Registers::new(Arc::new(schema), "0", bytes_max)
    }

    proptest! {
        /// Whatever is dropped in between, each update counts once.
        #[test]
        fn registers_are_what_was_added_to_them(
            blocks in prop::collection::vec((prop::collection::vec((0u8..40, 1u64..9), 1..8), any::<bool>()), 1..60),
            bytes_max in prop::sample::select(vec![0, 300, 1_000, 4_000, 1 << 20]),
        ) {
            let (mut registers, mut store, mut model) = (sums(bytes_max), Store::default(), [0u64; 40]);
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
        let (mut registers, mut store) = (sums(100_000), Store::default());
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
