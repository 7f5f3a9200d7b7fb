//! The bytes in the store: keys and values, each record with its version. Integers are big-endian, so keys sort by them.
//!
//! ```text
//! state      'j' name                     1 │ id u64 │ begin u64 │ end u64                    a journal and its head
//!            't' task                     1 │ id u64 │ epoch u64                              a task, and the last epoch given
//!            'p' id │ begin u32           1 │ end u32 │ pieces                                a range of a task's keys, and its
//!                                                                                              position
//!            'o' id │ sequence u64        an outbox entry, as the task wrote it
//!            'f' id │ begin u64           3 │ end u64 │ time u64 │ file bytes u64 │ last u64 │ codec u8 │ sha1[20]
//!                                         │ sha256[32] │ URL of its store                    a fragment of the index
//!            'd' id │ begin u64           the same                                           one whose file is to be deleted
//!            'n' id                       1 │ end u64                                          where the fragment ends that
//!                                                                                              is next, once it is planned
//! registers  hash u32 │ id │ key          the register, as the task wrote it
//! blocks     id │ begin u64 │ codec u8 │ length u32 │ time u64 │ crc32 u32                    documents, nothing else
//! ```
//!
//! A register's key begins with the hash of what follows, so that its first bytes tell it from others: the store compares keys
//! many times for each register, and those of one task begin alike.
//!
//! A piece of a position is `begin u32 │ end u32 │ length u32 │ position`: the keys, and the bytes that the shard wrote for them.
//!
//! A block's header is its key: readers find it without the documents. They are stored as they were appended, or packed already as
//! the part of a fragment that they become; the length is theirs in any case. The checksum is CRC-32 (IEEE) over the key before it
//! and what is stored, so that it also notices a block in a wrong place. A codec is 0 for gzip, 1 for none, 2 for Zstandard; once
//! there was none for blocks but a version, which was 1.

use crate::fragment::{Codec, FragmentInfo, Sum};
use crate::keys::{KeyRange, Part, Piece};

const RECORD_VERSION: u8 = 1;
/// Version 1 of a fragment's record ended with its SHA-1; up to version 2 its file was one gzip member or Zstandard frame.
const FRAGMENT_VERSION: u8 = 3;

pub(crate) const JOURNAL: u8 = b'j';
pub(crate) const TASK: u8 = b't';
const PART: u8 = b'p';
const OUTBOX: u8 = b'o';
const FRAGMENT: u8 = b'f';
const NEXT: u8 = b'n';
pub(crate) const DOOMED: u8 = b'd';
const HOUR_US: u64 = 3_600_000_000;

/// The length of a part's record before its pieces, and of a piece before its position.
const PART_BYTES: usize = 5;
const PIECE_BYTES: usize = 12;

/// The length of a block's key.
const BLOCK_KEY_BYTES: usize = 33;

/// A journal as the store holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct JournalRecord {
    pub(crate) id: u64,
    pub(crate) begin: u64,
    pub(crate) end: u64,
}

/// A task as the store holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TaskRecord {
    pub(crate) id: u64,
    /// The last one given to an owner.
    pub(crate) epoch: u64,
}

/// What a block's key says about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockKey {
    pub(crate) journal: u64,
    pub(crate) begin: u64,
    pub(crate) len: u32,
    pub(crate) time_us: u64,
    /// How the documents are packed in the store.
    pub(crate) codec: Codec,
    pub(crate) crc: u32,
}

/// What cannot be read, and why.
pub(crate) type Malformed = String;

impl JournalRecord {
    pub(crate) fn encode(self) -> Vec<u8> {
        record(&[self.id, self.begin, self.end])
    }

    pub(crate) fn decode(value: &[u8]) -> Result<JournalRecord, Malformed> {
        let [id, begin, end] = fields(value)?;
        Ok(JournalRecord { id, begin, end })
    }
}

impl TaskRecord {
    pub(crate) fn encode(self) -> Vec<u8> {
        record(&[self.id, self.epoch])
    }

    pub(crate) fn decode(value: &[u8]) -> Result<TaskRecord, Malformed> {
        let [id, epoch] = fields(value)?;
        Ok(TaskRecord { id, epoch })
    }
}

impl BlockKey {
    /// The key of `len` bytes of documents, which begin at `begin`, were appended at `time_us` and are `stored` so.
    pub(crate) fn of(journal: u64, begin: u64, len: usize, time_us: u64, codec: Codec, stored: &[u8]) -> BlockKey {
        let len = u32::try_from(len).expect("blocks are cut far below 4 GiB");
        let mut key = BlockKey { journal, begin, len, time_us, codec, crc: 0 };
        key.crc = key.sum(stored);
        key
    }

    pub(crate) fn end(&self) -> u64 {
        self.begin + u64::from(self.len)
    }

    pub(crate) fn encode(&self) -> [u8; BLOCK_KEY_BYTES] {
        let mut key = [0; BLOCK_KEY_BYTES];
        key[..8].copy_from_slice(&self.journal.to_be_bytes());
        key[8..16].copy_from_slice(&self.begin.to_be_bytes());
        key[16] = self.codec.to_byte();
        key[17..21].copy_from_slice(&self.len.to_be_bytes());
        key[21..29].copy_from_slice(&self.time_us.to_be_bytes());
        key[29..].copy_from_slice(&self.crc.to_be_bytes());
        key
    }

    pub(crate) fn decode(key: &[u8]) -> Result<BlockKey, Malformed> {
        let key: &[u8; BLOCK_KEY_BYTES] =
            key.try_into().map_err(|_| format!("a block's key has {} bytes, not {BLOCK_KEY_BYTES}", key.len()))?;
        let codec = Codec::from_byte(key[16]).ok_or_else(|| unknown(key[16]))?;
        Ok(BlockKey {
            journal: u64_at(key, 0),
            begin: u64_at(key, 8),
            len: u32_at(key, 17),
            time_us: u64_at(key, 21),
            codec,
            crc: u32_at(key, 29),
        })
    }

    /// Checks that this is what the key was made for.
    pub(crate) fn verify(&self, stored: &[u8]) -> Result<(), Malformed> {
        if self.codec == Codec::None && stored.len() != self.len as usize {
            return Err(format!("expected {} bytes, found {}", self.len, stored.len()));
        }
        let actual = self.sum(stored);
        if actual != self.crc {
            return Err(format!("expected CRC-32 {:08x}, found {actual:08x}", self.crc));
        }
        Ok(())
    }

    fn sum(&self, stored: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.encode()[..29]);
        hasher.update(stored);
        hasher.finalize()
    }
}

/// The key of a journal or task record.
pub(crate) fn name_key(tag: u8, name: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + name.len());
    key.push(tag);
    key.extend_from_slice(name.as_bytes());
    key
}

/// What the keys of all parts of a task start with.
pub(crate) fn part_prefix(task: u64) -> [u8; 9] {
    id_key(PART, task)
}

/// The key of a part.
pub(crate) fn part_key(task: u64, range: KeyRange) -> Vec<u8> {
    [&id_key(PART, task)[..], &range.begin.to_be_bytes()].concat()
}

/// The value of a part.
pub(crate) fn encode_part(range: KeyRange, pieces: &[Piece]) -> Vec<u8> {
    let positions: usize = pieces.iter().map(|piece| PIECE_BYTES + piece.position.len()).sum();
    let mut value = Vec::with_capacity(PART_BYTES + positions);
    value.push(RECORD_VERSION);
    value.extend_from_slice(&range.end.to_be_bytes());
    for Piece { range, position } in pieces {
        let len = u32::try_from(position.len()).expect("longer positions are refused");
        [range.begin, range.end, len].iter().for_each(|field| value.extend_from_slice(&field.to_be_bytes()));
        value.extend_from_slice(position);
    }
    value
}

pub(crate) fn decode_part(key: &[u8], value: &[u8]) -> Result<Part, Malformed> {
    let begin = key.last_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes)).ok_or("a part's key is cut short")?;
    let cut = || "a part's record is cut short".to_owned();
    let (header, mut rest) = value.split_at_checked(PART_BYTES).ok_or_else(cut)?;
    if header[0] != RECORD_VERSION {
        return Err(format!("a record has version {}, not {RECORD_VERSION}", header[0]));
    }
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let (header, behind) = rest.split_at_checked(PIECE_BYTES).ok_or_else(cut)?;
        let (position, behind) = behind.split_at_checked(u32_at(header, 8) as usize).ok_or_else(cut)?;
        let range = KeyRange { begin: u32_at(header, 0), end: u32_at(header, 4) };
        pieces.push(Piece { range, position: position.to_vec() });
        rest = behind;
    }
    Ok(Part { range: KeyRange { begin, end: u32_at(header, 1) }, pieces })
}

/// Writes the key of a register.
pub(crate) fn register_key(task: u64, key: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&task.to_be_bytes());
    out.extend_from_slice(key);
    let hash = (xxhash_rust::xxh3::xxh3_64(&out[4..]) >> 32) as u32;
    out[..4].copy_from_slice(&hash.to_be_bytes());
}

pub(crate) fn outbox_prefix(task: u64) -> [u8; 9] {
    id_key(OUTBOX, task)
}

pub(crate) fn outbox_key(task: u64, sequence: u64) -> [u8; 17] {
    pair_key(OUTBOX, task, sequence)
}

/// The sequence number in an outbox key.
pub(crate) fn outbox_sequence(key: &[u8]) -> Result<u64, Malformed> {
    key.last_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes)).ok_or_else(|| "an outbox key is cut short".to_owned())
}

pub(crate) fn fragment_key(journal: u64, begin: u64) -> [u8; 17] {
    pair_key(FRAGMENT, journal, begin)
}

/// The key of where a journal's next fragment ends.
pub(crate) fn next_key(journal: u64) -> [u8; 9] {
    id_key(NEXT, journal)
}

pub(crate) fn encode_next(end: u64) -> Vec<u8> {
    record(&[end])
}

pub(crate) fn decode_next(value: &[u8]) -> Result<u64, Malformed> {
    let [end] = fields(value)?;
    Ok(end)
}

/// The key of a fragment that is out of the index, while its file may still be there.
pub(crate) fn doomed_key(journal: u64, begin: u64) -> [u8; 17] {
    pair_key(DOOMED, journal, begin)
}

/// The id of the journal in a fragment's key.
pub(crate) fn fragment_journal(key: &[u8]) -> Result<u64, Malformed> {
    if key.len() != 17 {
        return Err(format!("a fragment's key has {} bytes, not 17", key.len()));
    }
    Ok(u64_at(key, 1))
}

/// The value of a fragment in the index.
pub(crate) fn encode_fragment(info: &FragmentInfo) -> Vec<u8> {
    let mut value = record(&[info.end, info.time_us, info.file_bytes, info.last_us]);
    value[0] = FRAGMENT_VERSION;
    value.push(info.codec.to_byte());
    value.extend_from_slice(&info.sha1);
    // Only fragments of version 1 have none, and they are not written again.
    value.extend_from_slice(&info.sha256.unwrap_or_default());
    value.extend_from_slice(info.store.as_bytes());
    value
}

pub(crate) fn decode_fragment(journal: &str, key: &[u8], value: &[u8]) -> Result<FragmentInfo, Malformed> {
    let short = || "a fragment's record is cut short".to_owned();
    let begin = u64::from_be_bytes(*key.last_chunk::<8>().ok_or("a fragment's key is cut short")?);
    if value.first() == Some(&RECORD_VERSION) {
        let (numbers, sha1) = value.split_last_chunk::<20>().ok_or_else(short)?;
        let [end, time_us, file_bytes] = fields(numbers)?;
        return Ok(FragmentInfo {
            journal: journal.to_owned(),
            begin,
            end,
            time_us,
            sha1: *sha1,
            file_bytes,
            last_us: (time_us / HOUR_US).saturating_add(1).saturating_mul(HOUR_US),
            codec: Codec::Gzip,
            sha256: None,
            store: String::new(),
        });
    }
    let (&[version], rest) = value.split_first_chunk::<1>().ok_or_else(short)?;
    if !(2..=FRAGMENT_VERSION).contains(&version) {
        return Err(format!("a fragment's record has version {version}, not {FRAGMENT_VERSION} or one before"));
    }
    let (numbers, rest) = rest.split_first_chunk::<32>().ok_or_else(short)?;
    let (&[codec], rest) = rest.split_first_chunk::<1>().ok_or_else(short)?;
    let (sha1, rest): (&Sum, _) = rest.split_first_chunk::<20>().ok_or_else(short)?;
    let (sha256, store) = rest.split_first_chunk::<32>().ok_or_else(short)?;
    Ok(FragmentInfo {
        journal: journal.to_owned(),
        begin,
        end: u64_at(numbers, 0),
        time_us: u64_at(numbers, 8),
        sha1: *sha1,
        file_bytes: u64_at(numbers, 16),
        last_us: u64_at(numbers, 24),
        codec: Codec::from_byte(codec).ok_or_else(|| unknown(codec))?,
        sha256: Some(*sha256),
        store: String::from_utf8(store.to_vec()).map_err(|_| "the store of a fragment is not a text".to_owned())?,
    })
}

fn unknown(codec: u8) -> Malformed {
    format!("documents are packed in an unknown way, {codec}")
}

fn id_key(tag: u8, id: u64) -> [u8; 9] {
    let mut key = [tag; 9];
    key[1..].copy_from_slice(&id.to_be_bytes());
    key
}

fn pair_key(tag: u8, id: u64, number: u64) -> [u8; 17] {
    let mut key = [tag; 17];
    key[1..9].copy_from_slice(&id.to_be_bytes());
    key[9..].copy_from_slice(&number.to_be_bytes());
    key
}

fn record(fields: &[u64]) -> Vec<u8> {
    let mut value = Vec::with_capacity(1 + 8 * fields.len() + 20);
    value.push(RECORD_VERSION);
    fields.iter().for_each(|field| value.extend_from_slice(&field.to_be_bytes()));
    value
}

fn fields<const N: usize>(value: &[u8]) -> Result<[u64; N], Malformed> {
    match value.split_first() {
        Some((&RECORD_VERSION, fields)) if fields.len() == 8 * N => Ok(std::array::from_fn(|n| u64_at(fields, 8 * n))),
        Some((&RECORD_VERSION, fields)) => Err(format!("a record has {} bytes, not {}", fields.len(), 8 * N)),
        Some((version, _)) => Err(format!("a record has version {version}, not {RECORD_VERSION}")),
        None => Err("a record is empty".to_owned()),
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_and_unknown_versions_are_named() {
        let journal = JournalRecord { id: 3, begin: 0, end: u64::MAX };
        assert_eq!(JournalRecord::decode(&journal.encode()), Ok(journal));
        let mut value = TaskRecord { id: 1, epoch: 2 }.encode();
        value[0] = 9;
        assert_eq!(TaskRecord::decode(&value), Err("a record has version 9, not 1".to_owned()));
        let info = FragmentInfo {
            journal: "a".to_owned(),
            begin: 5,
            end: 9,
            time_us: 1,
            sha1: [7; 20],
            file_bytes: 30,
            last_us: 2,
            codec: Codec::Zstandard,
            sha256: Some([9; 32]),
            store: "s3://bucket/a/".to_owned(),
        };
        let key = fragment_key(1, 5);
        let mut value = encode_fragment(&info);
        assert_eq!(decode_fragment("a", &key, &value), Ok(info.clone()));
        assert!(decode_fragment("a", &key, &value[..80]).is_err());
        value[0] = 2;
        assert_eq!(decode_fragment("a", &key, &value), Ok(info.clone()), "a file of one member");
        value[0] = 4;
        let refused = Err("a fragment's record has version 4, not 3 or one before".to_owned());
        assert_eq!(decode_fragment("a", &key, &value), refused);
        let mut first = record(&[9, 1, 30]);
        first.extend([7; 20]);
        let old = FragmentInfo { last_us: HOUR_US, codec: Codec::Gzip, sha256: None, store: String::new(), ..info };
        assert_eq!(decode_fragment("a", &key, &first), Ok(old), "the former version is read");
    }

    #[test]
    fn a_part_comes_back_with_its_pieces() {
        let range = |begin, end| KeyRange { begin, end };
        let piece = |begin, end, position: &[u8]| Piece { range: range(begin, end), position: position.to_vec() };
        for pieces in [vec![], vec![piece(5, 9, b"")], vec![piece(5, 6, b"one"), piece(8, 9, b"two")]] {
            let part = Part { range: range(5, 9), pieces };
            let key = part_key(3, part.range);
            let mut value = encode_part(part.range, &part.pieces);
            assert_eq!(decode_part(&key, &value), Ok(part.clone()));
            value.push(0);
            assert!(decode_part(&key, &value).is_err(), "{part:?}");
            value[0] = 9;
            assert_eq!(decode_part(&key, &value), Err("a record has version 9, not 1".to_owned()));
        }
    }

    #[test]
    fn a_block_is_known_by_its_key() {
        for codec in [Codec::Gzip, Codec::Zstandard] {
            let key = BlockKey::of(1, 100, 9, 7, codec, b"packed");
            assert_eq!(BlockKey::decode(&key.encode()), Ok(key));
            assert_eq!((key.end(), key.verify(b"packed")), (109, Ok(())));
            assert!(BlockKey { codec: Codec::None, len: 6, ..key }.verify(b"packed").is_err(), "packed another way");
        }
        let key = BlockKey::of(1, 100, 3, 7, Codec::None, b"{}\n");
        assert_eq!(BlockKey::decode(&key.encode()), Ok(key));
        assert_eq!(key.end(), 103);
        assert_eq!(key.verify(b"{}\n"), Ok(()));
        assert!(key.verify(b"{}\r").unwrap_err().contains("CRC-32"));
        assert!(key.verify(b"{} \n").unwrap_err().contains("expected 3 bytes"));
        let elsewhere = BlockKey { begin: 103, ..key };
        assert!(elsewhere.verify(b"{}\n").is_err(), "right bytes, wrong place");
    }
}
