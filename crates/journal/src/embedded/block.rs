//! Blocks on their way into the log: cut out of what is appended, packed, and summed for the fragment that they become.
//!
//! Large blocks are packed on the thread that submits them. So they are packed once, are written packed to the store's journal
//! and tables, and are put together as the file of their fragment. Small ones are packed with their fragment, better and in one go.

use rustc_hash::FxHashMap;
use sha1::{Digest, Sha1};

use super::layout::BlockKey;
use crate::fragment::{self, Codec, Sum};
use crate::log::{Append, Delta};
use crate::template::{Policies, Policy};

/// Appends are cut into blocks of about this size, so that readers never take much more into memory than they want.
const BLOCK_BYTES_MAX: usize = 4 << 20;
/// Smaller blocks are not packed before their fragment is made.
const PACKED_BYTES_MIN: usize = 64 << 10;

/// The documents of a block as they are stored.
pub(crate) struct Packed {
    pub(crate) codec: Codec,
    /// `None` where they are as they were appended.
    pub(crate) stored: Option<Vec<u8>>,
}

/// Packs the blocks of a delta, in their order.
pub(crate) fn pack(delta: &Delta, policies: &Policies) -> Vec<Packed> {
    let mut packed = Vec::new();
    for Append { journal, documents } in &delta.appends {
        let codec = policies.of(journal).codec;
        packed.extend(blocks(documents).map(|block| match codec {
            Codec::Gzip | Codec::Zstandard if block.len() >= PACKED_BYTES_MIN => {
                Packed { codec, stored: Some(fragment::pack(block, codec)) }
            }
            _ => Packed { codec: Codec::None, stored: None },
        }));
    }
    packed
}

/// Sums of documents since the begin of the fragment that comes next, of each journal, by its id. They begin where a fragment
/// will if its size ends the one before; where a plan ends it elsewhere, nothing is known of the one behind it.
#[derive(Default)]
pub(crate) struct Sums(FxHashMap<u64, Summed>);

struct Summed {
    begin: u64,
    end: u64,
    /// When its first documents were appended.
    first_us: u64,
    sum: Sha1,
}

impl Sums {
    /// Adds a block that is appended; from where the sum is, up to the block's end, and the sum.
    pub(crate) fn add(&mut self, policy: &Policy, block: &BlockKey, documents: &[u8]) -> (u64, Sum) {
        let begin = || Summed { begin: block.begin, end: block.begin, first_us: block.time_us, sum: Sha1::new() };
        let summed = self.0.entry(block.journal).or_insert_with(begin);
        if summed.end != block.begin || !policy.has_room(summed.first_us, summed.end - summed.begin, block) {
            *summed = begin();
        }
        summed.sum.update(documents);
        summed.end = block.end();
        (summed.begin, summed.sum.clone().finalize().into())
    }

    /// A journal's next fragment ends at `end`; what follows is of another one.
    pub(crate) fn plan(&mut self, journal: u64, end: u64) {
        if self.0.get(&journal).is_some_and(|summed| summed.begin != end) {
            self.0.remove(&journal);
        }
    }

    /// Forgets everything, as what was appended may not be what is there.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

/// Cuts documents into blocks between documents.
pub(crate) fn blocks(mut documents: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let len = run_len(documents, BLOCK_BYTES_MAX);
        let (block, rest) = documents.split_at(len);
        documents = rest;
        (len > 0).then_some(block)
    })
}

/// The length of the longest run of whole documents within `bytes_max`, but of one at least.
pub(crate) fn run_len(documents: &[u8], bytes_max: usize) -> usize {
    if documents.len() <= bytes_max {
        return documents.len();
    }
    let (within, beyond) = documents.split_at(bytes_max);
    match memchr::memrchr(b'\n', within) {
        Some(at) => at + 1,
        None => memchr::memchr(b'\n', beyond).map_or(documents.len(), |at| bytes_max + at + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_end_between_documents() {
        let documents = b"aa\nbbbb\nc\n";
        let lens: Vec<_> = (0..12).map(|max| run_len(documents, max)).collect();
        assert_eq!(lens, [3, 3, 3, 3, 3, 3, 3, 3, 8, 8, 10, 10]);
        assert_eq!(run_len(b"", 5), 0);
    }
}
