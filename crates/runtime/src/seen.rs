//! Keys that were seen, in bounded memory: never says no of one that was, and the fuller it is, the more often yes of another (a
//! Bloom filter). What is new to a store need not be looked for there.

use xxhash_rust::xxh3::xxh3_64;

/// A set of keys.
#[derive(Debug)]
pub(crate) struct Seen(Vec<u64>);

impl Seen {
    /// An empty set that takes about so many bytes; with ten bits a key it is wrong about two keys in a hundred.
    pub(crate) fn new(bytes: usize) -> Self {
        Self(vec![0; (bytes / 8).max(1)])
    }

    /// The places of a key's bits.
    fn bits(&self, key: &[u8]) -> [usize; 3] {
        let (hash, bits) = (xxh3_64(key), self.0.len() as u64 * 64);
        let step = hash >> 32 | 1;
        [hash, hash.wrapping_add(step), hash.wrapping_add(step.wrapping_mul(2))].map(|bit| (bit % bits) as usize)
    }

    pub(crate) fn insert(&mut self, key: &[u8]) {
        self.bits(key).into_iter().for_each(|bit| self.0[bit / 64] |= 1 << (bit % 64));
    }

    /// Whether a key may have been inserted.
    pub(crate) fn may_contain(&self, key: &[u8]) -> bool {
        self.bits(key).into_iter().all(|bit| self.0[bit / 64] >> (bit % 64) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_known_and_little_else() {
        let keys: Vec<[u8; 4]> = (0..20_000u32).map(u32::to_be_bytes).collect();
        for bytes in [0, 100, 12_500] {
            let mut seen = Seen::new(bytes);
            keys[..10_000].iter().for_each(|key| seen.insert(key));
            assert!(keys[..10_000].iter().all(|key| seen.may_contain(key)), "{bytes}");
            let wrong = keys[10_000..].iter().filter(|key| seen.may_contain(*key)).count();
            assert!(bytes < 12_500 || wrong < 400, "{wrong} of 10,000");
        }
    }
}
