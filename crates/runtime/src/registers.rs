//! The registers of one derivation's shard: a cache over what the log holds, and what the open transaction changed.
//!
//! A register is kept as JSON text. It is parsed once per block of source documents that touches it, however many do, and
//! written once. Sources: reference 4.2.

use std::sync::Arc;

use bytes::Bytes;
use doc::{Arena, Node, Schema};
use foldhash::{HashMap, HashMapExt};
use journal::LogError;

use crate::shard::Failure;

/// What registers are loaded from.
pub(crate) trait RegisterStore {
    /// Registers as last committed, in the order of the keys.
    fn get(&self, keys: &[&[u8]]) -> Result<Vec<Option<Bytes>>, LogError>;
}

/// The cache is emptied of what is committed when it holds more than this.
const CACHE_BYTES_MAX: usize = 256 << 20;
/// What an entry costs beside its key and text.
const ENTRY_BYTES: usize = 96;

pub(crate) struct Registers {
    schema: Arc<Schema>,
    initial: Vec<u8>,
    cache: HashMap<Vec<u8>, Cached>,
    cache_bytes: usize,
    /// Keys changed since the last drain.
    dirty: Vec<Vec<u8>>,
}

struct Cached {
    /// `None`: the store has none, so it is initial.
    json: Option<Bytes>,
    dirty: bool,
}

/// The registers one block of documents touches, as nodes in the block's arena.
pub(crate) struct Touched<'a> {
    slots: HashMap<&'a [u8], usize>,
    registers: Vec<(&'a [u8], Node<'a>, bool)>,
}

impl Registers {
    pub(crate) fn new(schema: Arc<Schema>, initial: &str) -> Self {
        Self { schema, initial: initial.as_bytes().to_vec(), cache: HashMap::new(), cache_bytes: 0, dirty: Vec::new() }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.cache.clear();
        self.dirty.clear();
        self.cache_bytes = 0;
    }

    /// Loads the registers of these keys; the n-th key's slot is the n-th of the list returned.
    pub(crate) fn touch<'a>(
        &mut self,
        arena: &'a Arena,
        store: &dyn RegisterStore,
        keys: &[&'a [u8]],
    ) -> Result<(Touched<'a>, Vec<usize>), Failure> {
        let mut touched = Touched { slots: HashMap::new(), registers: Vec::new() };
        let mut slots = Vec::with_capacity(keys.len());
        let mut missing = Vec::new();
        for key in keys {
            let next = touched.registers.len();
            let slot = *touched.slots.entry(key).or_insert(next);
            if slot == next {
                touched.registers.push((key, Node::Null, false));
                if !self.cache.contains_key(*key) {
                    missing.push(*key);
                }
            }
            slots.push(slot);
        }
        for (key, json) in missing.iter().zip(store.get(&missing)?) {
            self.cache_bytes += key.len() + json.as_ref().map_or(0, Bytes::len) + ENTRY_BYTES;
            self.cache.insert(key.to_vec(), Cached { json, dirty: false });
        }
        for (key, node, _) in &mut touched.registers {
            let json = self.cache.get(*key).and_then(|cached| cached.json.as_deref()).unwrap_or(&self.initial);
            // The text may leave the cache while nodes point into it, so the block has a copy of its own.
            let json = arena.alloc_slice_copy(json);
            *node = doc::parse(arena, json)
                .map_err(|e| Failure::never(format!("a stored register cannot be read: {e}")))?;
        }
        Ok((touched, slots))
    }

    /// Reduces a delta into a register.
    pub(crate) fn update<'a>(
        &self,
        arena: &'a Arena,
        touched: &mut Touched<'a>,
        slot: usize,
        delta: Node<'a>,
    ) -> Result<(), Failure> {
        let (_, node, changed) = &mut touched.registers[slot];
        self.schema.validate(delta).map_err(|e| Failure::never(format!("a register update is invalid: {e}")))?;
        let reduced = self
            .schema
            .reduce(arena, Some(*node), delta, true)
            .map_err(|e| Failure::never(format!("a register cannot be reduced: {e}")))?
            .unwrap_or(Node::Null);
        self.schema.validate(reduced).map_err(|e| Failure::never(format!("the reduced register is invalid: {e}")))?;
        *node = reduced;
        *changed = true;
        Ok(())
    }

    /// Keeps what a block changed, for the transaction.
    pub(crate) fn keep(&mut self, touched: Touched<'_>) {
        for (key, node, _) in touched.registers.into_iter().filter(|(.., changed)| *changed) {
            let mut json = Vec::new();
            doc::write(node, &mut json);
            let cached = self.cache.get_mut(key).expect("touched registers are cached");
            self.cache_bytes += json.len();
            self.cache_bytes -= cached.json.as_ref().map_or(0, Bytes::len);
            cached.json = Some(Bytes::from(json));
            if !std::mem::replace(&mut cached.dirty, true) {
                self.dirty.push(key.to_vec());
            }
        }
    }

    /// What the transaction changed, to be committed. Nothing else of the shard may be in flight.
    pub(crate) fn drain(&mut self) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        if self.cache_bytes > CACHE_BYTES_MAX {
            self.cache.retain(|_, cached| cached.dirty);
            let size = |(key, cached): (&Vec<u8>, &Cached)| {
                key.len() + cached.json.as_ref().map_or(0, Bytes::len) + ENTRY_BYTES
            };
            self.cache_bytes = self.cache.iter().map(size).sum();
        }
        let mut puts = Vec::with_capacity(self.dirty.len());
        for key in self.dirty.drain(..) {
            let cached = self.cache.get_mut(&key).expect("dirty registers are cached");
            cached.dirty = false;
            puts.push((key, cached.json.as_ref().map(|json| json.to_vec())));
        }
        puts
    }
}

impl<'a> Touched<'a> {
    /// A register's present value.
    pub(crate) fn get(&self, slot: usize) -> Node<'a> {
        self.registers[slot].1
    }
}
