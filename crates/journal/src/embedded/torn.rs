//! What a power cut may leave of the store's own journal, and what it may not.
//!
//! Every batch is synced before it is answered for, so only the last batch of the newest file can be torn: some of its
//! pages written and others not. The store refuses to open some of such files, and in others it takes bad bytes *anywhere*
//! for the end, which would forget acknowledged batches behind a flipped bit. So the files are looked at before the store
//! is opened: a bad end is cut, bad bytes before a good batch are damage, and damage changes nothing on disk.
//!
//! ```text
//! batch  01 │ items u32 │ sequence u64 ║ item* ║ 03 │ xxh3-64 of the items u64 │ 'F' 'J' 'L' 03
//! item   02 │ kind u8 │ compression u8 │ keyspace u64 │ key length u16 │ value length u32 │ stored length u32 │ key │ value
//! clear  04 │ keyspace u64
//! ```
//!
//! Numbers are little-endian. This is format 3 of the store, which it checks itself; files end in zeros, being preallocated.
//!
//! The sum leaves the sequence number out, and the store takes the batch with the larger one for the newer: so they are held
//! to grow, over all files. What stays unseen is a number that became larger in the last batch, which does no harm, and one that
//! became smaller in the first batch of the oldest file.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use crate::directory::OpenError;
use crate::failpoint::{defect, durable_point};

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
const TRAILER: &[u8] = b"FJL\x03";
/// No store lives to see so many batches.
const SEQUENCE_MAX: u64 = 1 << 48;

/// Checks the journal files in the store's directory and cuts a torn end; returns the number of bytes cut.
///
/// What the newest file holds is then written once more, in place, and synced: where a sync failed, its pages may be read
/// and yet never have reached the disk, and no later sync would say so.
pub(crate) fn mend(store: &Path) -> Result<u64, OpenError> {
    let mut files: Vec<(u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(store).map_err(|error| OpenError::unusable(store, error))? {
        let path = entry.map_err(|error| OpenError::unusable(store, error))?.path();
        let number = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".jnl")?.parse().ok());
        files.extend(number.map(|number| (number, path)));
    }
    files.sort();
    let newest = files.len().saturating_sub(1);
    let (mut cut, mut sequence) = (0, None);
    for (n, (_, path)) in files.iter().enumerate() {
        let bytes = fs::read(path).map_err(|error| OpenError::unusable(path, error))?;
        match look(&bytes, &mut sequence) {
            End::Whole { at } if n == newest => {
                rewrite(path, &bytes[..at], None).map_err(|error| OpenError::unusable(path, error))?;
            }
            End::Whole { .. } => {}
            End::Torn { at } if n == newest => {
                durable_point("boot.before_cut");
                cut = (bytes.len() - at) as u64;
                rewrite(path, &bytes[..at], Some(at as u64)).map_err(|error| OpenError::unusable(path, error))?;
            }
            End::Torn { at } | End::Damaged { at } => {
                return Err(OpenError::Damaged {
                    what: path.display().to_string(),
                    reason: format!(
                        "the batch at byte {at} does not match its checksum, and committed batches follow it"
                    ),
                });
            }
            End::Disordered { at } => {
                return Err(OpenError::Damaged {
                    what: path.display().to_string(),
                    reason: format!("the batch at byte {at}, or the one before it, has another number than it had"),
                });
            }
        }
    }
    Ok(cut)
}

/// Makes durable what a file begins with, and where it ends, if that changes.
fn rewrite(path: &Path, bytes: &[u8], len: Option<u64>) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    if let Some(len) = len {
        file.set_len(len)?;
    }
    file.write_all_at(bytes, 0)?;
    file.sync_all()
}

/// How a journal file ends.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// In whole batches up to here, then zeros.
    Whole { at: usize },
    /// In bytes that are no batch, with no batch behind them.
    Torn { at: usize },
    /// Bytes that are no batch, and batches behind them.
    Damaged { at: usize },
    /// In a whole batch, which a write that was cut off never leaves, whose number does not grow.
    Disordered { at: usize },
}

/// Looks at a file, whose batches come behind the one that is `last`.
fn look(bytes: &[u8], last: &mut Option<u64>) -> End {
    let mut at = 0;
    while let Some((len, sequence)) = batch(&bytes[at..]) {
        if sequence >= SEQUENCE_MAX || last.is_some_and(|last| sequence <= last) {
            return End::Disordered { at };
        }
        *last = Some(sequence);
        at += len;
    }
    let rest = &bytes[at..];
    if rest.iter().all(|byte| *byte == 0) {
        return End::Whole { at };
    }
    let later = !defect("damage-is-a-torn-end")
        && memchr::memchr_iter(START, rest).any(|start| start > 0 && batch(&rest[start..]).is_some());
    if later { End::Damaged { at } } else { End::Torn { at } }
}

/// The length of the batch that `bytes` begin with, if they do, and its number.
fn batch(bytes: &[u8]) -> Option<(usize, u64)> {
    let mut reader = Reader { bytes, at: 0 };
    if reader.u8()? != START {
        return None;
    }
    let items = u32::from_le_bytes(*reader.take::<4>()?);
    let sequence = u64::from_le_bytes(*reader.take::<8>()?);
    let begin = reader.at;
    for _ in 0..items {
        match reader.u8()? {
            ITEM => {
                reader.skip(2 + 8)?;
                let key = u16::from_le_bytes(*reader.take::<2>()?);
                reader.skip(4)?;
                let stored = u32::from_le_bytes(*reader.take::<4>()?);
                reader.skip(key as usize + stored as usize)?;
            }
            CLEAR => reader.skip(8)?,
            _ => return None,
        }
    }
    let end = reader.at;
    if reader.u8()? != END {
        return None;
    }
    let sum = u64::from_le_bytes(*reader.take::<8>()?);
    (reader.take::<4>()? == TRAILER && sum == xxh3_64(&bytes[begin..end])).then_some((reader.at, sequence))
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let taken = self.bytes.get(self.at..)?.first_chunk::<N>()?;
        self.at += N;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        Some(self.take::<1>()?[0])
    }

    fn skip(&mut self, len: usize) -> Option<()> {
        self.at = self.at.checked_add(len)?;
        (self.at <= self.bytes.len()).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The journal of a real store after three batches, and where each ends.
    fn journal() -> (Vec<u8>, Vec<usize>) {
        let directory = tempfile::tempdir().unwrap();
        let database = fjall::Database::builder(directory.path())
            .journal_compression(fjall::CompressionType::None)
            .open()
            .unwrap();
        let keyspace = database.keyspace("a", fjall::KeyspaceCreateOptions::default).unwrap();
        for n in 0..3u8 {
            let mut batch = database.batch().durability(Some(fjall::PersistMode::SyncData));
            batch.insert(&keyspace, [n], vec![n; 60]);
            batch.remove(&keyspace, [n, n]);
            batch.commit().unwrap();
        }
        let bytes = fs::read(directory.path().join("0.jnl")).unwrap();
        let mut ends = Vec::new();
        let mut at = 0;
        while let Some((len, _)) = batch(&bytes[at..]) {
            at += len;
            ends.push(at);
        }
        (bytes[..at + 100].to_vec(), ends)
    }

    #[test]
    fn only_the_last_batch_may_be_torn() {
        let (bytes, ends) = journal();
        assert_eq!(ends.len(), 3);
        let look = |bytes: &[u8]| look(bytes, &mut None);
        assert_eq!(look(&bytes), End::Whole { at: ends[2] });
        for at in 0..ends[2] {
            let start = ends.iter().copied().rfind(|end| *end <= at).unwrap_or(0);
            let next = ends.iter().copied().find(|end| *end > at).filter(|next| *next < ends[2]);
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                let looked = look(&flipped);
                match (at - start, start) {
                    // The number of a batch is outside its checksum. In the first batch a smaller one is not seen, nor a larger
                    // one in the last; between them one that does not fit.
                    (5..13, _) => {
                        let unseen = End::Whole { at: ends[2] };
                        let seen = [Some(start), next].into_iter().flatten().map(|at| End::Disordered { at });
                        let is_seen = seen.into_iter().any(|seen| seen == looked);
                        assert!(is_seen || (looked == unseen && (next.is_none() || start == 0)), "bit {bit} at {at}");
                    }
                    (_, start) if start == ends[1] => assert_eq!(looked, End::Torn { at: start }, "bit {bit} at {at}"),
                    (_, start) => assert_eq!(looked, End::Damaged { at: start }, "bit {bit} at {at}"),
                }
            }
            let expected = if at == start { End::Whole { at } } else { End::Torn { at: start } };
            assert_eq!(look(&bytes[..at]), expected, "shortened to {at}");
            let torn = [&bytes[..at], &vec![0; 4096][..]].concat();
            let looked = look(&torn);
            // A batch whose last bytes are zeros is whole without them.
            assert!(looked == expected || matches!(looked, End::Whole { .. }), "cut at {at}: {looked:?}");
        }
    }
}
