//! How far a shard has come: an offset for each journal it reads, for each piece of its range of keys.
//!
//! Mostly there is one piece. There are more after a shard took keys over from several that had come to different places.
//! It then reads from the least of their offsets, and passes over what is for keys of a piece that is already further:
//!
//! ```text
//! the journal      0 ───────── 40 ───────── 70 ───────── 90
//! keys    to 7f…   │░░░░░░░░░░░│░ passed over│▓▓ processed▓│
//! keys from 80…    │░░░░░░░░░░░│▓▓ processed▓│▓▓ processed▓│
//!                    not read   begins here   one piece again
//! ```
//!
//! So each document is processed once for its key, however often ranges change, and as soon as all pieces have come to the
//! same place they are one.

use std::collections::BTreeMap;
use std::sync::Arc;

use journal::{KeyRange, Piece};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::shard::Failure;

/// The version of a stored position that is written, and the only one that is read.
const VERSION: u32 = 1;

/// How far each journal of each read has been processed, by read and journal name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Offsets(pub BTreeMap<String, BTreeMap<Arc<str>, u64>>);

/// The position of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Position {
    /// Divide the shard's range, in the order of the keys; never empty.
    pieces: Vec<(KeyRange, Offsets)>,
}

/// One piece as it is stored.
#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    offsets: Offsets,
}

impl Offsets {
    fn get(&self, read: &str, journal: &str) -> Option<u64> {
        self.0.get(read)?.get(journal).copied()
    }
}

impl Position {
    /// Where everything begins.
    pub(crate) fn begin(range: KeyRange) -> Self {
        Self { pieces: vec![(range, Offsets::default())] }
    }

    /// What was committed for keys of a range. Keys without a piece begin at the beginning.
    pub(crate) fn decode(range: KeyRange, stored: &[Piece]) -> Result<Self, Failure> {
        let unreadable = |why: String| Failure::never(format!("the stored position cannot be read: {why}"));
        let mut pieces = Vec::new();
        // Beyond 32 bits, to say that nothing is left.
        let mut next = u64::from(range.begin);
        let gap = |next: u64, begin: u64, pieces: &mut Vec<_>| {
            if let (Ok(begin), Ok(end)) = (u32::try_from(next), u32::try_from(begin.wrapping_sub(1)))
                && begin <= end
            {
                pieces.push((KeyRange { begin, end }, Offsets::default()));
            }
        };
        for piece in stored {
            let Stored { version, offsets } =
                serde_json::from_slice(&piece.position).map_err(|e| unreadable(e.to_string()))?;
            if version != VERSION {
                return Err(Failure::never(format!(
                    "the stored position has version {version}, this program reads version {VERSION}"
                )));
            }
            gap(next, piece.range.begin.into(), &mut pieces);
            pieces.push((piece.range, offsets));
            next = u64::from(piece.range.end) + 1;
        }
        gap(next, u64::from(range.end) + 1, &mut pieces);
        Ok(Self { pieces })
    }

    /// The position as it is committed.
    pub(crate) fn encode(&self) -> Vec<Piece> {
        let piece = |(range, offsets): &(KeyRange, Offsets)| {
            let stored = Stored { version: VERSION, offsets: offsets.clone() };
            let position = serde_json::to_vec(&stored).expect("positions have string keys");
            Piece { range: *range, position }
        };
        self.pieces.iter().map(piece).collect()
    }

    /// Whether it has come to the same place for all keys.
    pub(crate) fn is_even(&self) -> bool {
        self.pieces.len() == 1
    }

    /// The piece that a key of this hash is in; `None` outside the range.
    pub(crate) fn piece(&self, hash: u32) -> Option<usize> {
        let at = self.pieces.partition_point(|(range, _)| range.end < hash);
        self.pieces.get(at).filter(|(range, _)| range.contains(hash)).map(|_| at)
    }

    /// Where each piece begins to process a journal.
    pub(crate) fn floors(&self, read: &str, journal: &str) -> Vec<u64> {
        self.pieces.iter().map(|(_, offsets)| offsets.get(read, journal).unwrap_or(0)).collect()
    }

    /// The journals of a read that were read for all keys, and from where they have to be read on.
    pub(crate) fn begins(&self, read: &str) -> Vec<(Arc<str>, u64)> {
        let (_, first) = &self.pieces[0];
        let journals = first.0.get(read).into_iter().flatten();
        let least = |(journal, _): (&Arc<str>, _)| {
            let offsets = self.pieces.iter().map(|(_, offsets)| offsets.get(read, journal));
            // An absent offset is less than any other.
            Some((Arc::clone(journal), offsets.min()??))
        };
        journals.filter_map(least).collect()
    }

    /// From where on some key still needs each journal; one that is not mentioned is needed from its begin.
    pub(crate) fn least(&self) -> Offsets {
        let (_, first) = &self.pieces[0];
        Offsets(first.0.keys().map(|read| (read.clone(), self.begins(read).into_iter().collect())).collect())
    }

    /// The position once everything up to `reached` is processed. What is no longer read is forgotten.
    pub(crate) fn advanced(&self, reached: &Offsets) -> Self {
        let mut pieces: Vec<(KeyRange, Offsets)> = Vec::new();
        for (range, offsets) in &self.pieces {
            let mut offsets = offsets.clone();
            offsets.0.retain(|read, _| reached.0.contains_key(read));
            for (read, journals) in &reached.0 {
                let known = offsets.0.entry(read.clone()).or_default();
                for (journal, offset) in journals {
                    let known = known.entry(Arc::clone(journal)).or_default();
                    *known = (*known).max(*offset);
                }
            }
            match pieces.last_mut() {
                Some((last, same)) if *same == offsets => last.end = range.end,
                _ => pieces.push((*range, offsets)),
            }
        }
        Self { pieces }
    }
}

/// A table's row for the keys of one shard, and its checkpoint; `None` until one is committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointRow {
    /// The keys.
    pub range: KeyRange,
    /// What [`crate::Table::commit`] was given.
    pub checkpoint: Option<String>,
}

/// A piece of a position in a checkpoint.
#[derive(Serialize, Deserialize)]
struct Entry<'a> {
    #[serde(with = "keys")]
    keys: KeyRange,
    #[serde(borrow)]
    position: &'a RawValue,
}

/// A position as a table's checkpoint: a JSON array of its pieces.
pub(crate) fn to_checkpoint(position: &[Piece]) -> String {
    let entry = |piece: &Piece| -> serde_json::Result<(KeyRange, Box<RawValue>)> {
        Ok((piece.range, serde_json::from_slice(&piece.position)?))
    };
    let entries: Vec<_> = position.iter().map(entry).collect::<Result<_, _>>().expect("positions are JSON");
    let entries: Vec<_> = entries.iter().map(|(keys, position)| Entry { keys: *keys, position }).collect();
    serde_json::to_string(&entries).expect("positions are JSON")
}

/// The position that a table's checkpoint holds.
pub(crate) fn from_checkpoint(checkpoint: &str) -> Result<Vec<Piece>, String> {
    let entries: Vec<Entry<'_>> = serde_json::from_str(checkpoint)
        .map_err(|e| format!("the table's checkpoint was written by another version of this program: {e}"))?;
    let piece = |entry: Entry<'_>| Piece { range: entry.keys, position: entry.position.get().as_bytes().to_vec() };
    Ok(entries.into_iter().map(piece).collect())
}

/// Makes a range of keys one row: the row of the range, which takes over the checkpoints that those overlapping it left for
/// its keys, and further rows with what is left of them. `former` are all rows of the materialization, in the order of the
/// keys. An error is a checkpoint that cannot be read.
pub fn take_over(former: &[CheckpointRow], range: KeyRange) -> Result<(CheckpointRow, Vec<CheckpointRow>), String> {
    let part = |row: &CheckpointRow| {
        let pieces = row.checkpoint.as_deref().map(from_checkpoint).transpose()?.unwrap_or_default();
        Ok(journal::Part { range: row.range, pieces })
    };
    let parts = former.iter().map(part).collect::<Result<Vec<_>, String>>()?;
    let row = |part: journal::Part| CheckpointRow {
        range: part.range,
        checkpoint: (!part.pieces.is_empty()).then(|| to_checkpoint(&part.pieces)),
    };
    let (part, left) = journal::take_over(&parts, range);
    Ok((row(part), left.into_iter().map(row).collect()))
}

/// A range of keys as text: `00000000-7fffffff`.
mod keys {
    use journal::KeyRange;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(range: &KeyRange, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(range)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<KeyRange, D::Error> {
        let text = <&str>::deserialize(from)?;
        let range = text.split_once('-').and_then(|(begin, end)| {
            let hex = |text| u32::from_str_radix(text, 16).ok();
            Some(KeyRange { begin: hex(begin)?, end: hex(end)? })
        });
        range.ok_or_else(|| D::Error::custom(format!("{text:?} is no range of keys")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(begin: u32, end: u32) -> KeyRange {
        KeyRange { begin, end }
    }

    fn offsets(journals: &[(&str, u64)]) -> Offsets {
        let journals = journals.iter().map(|(name, offset)| (Arc::from(*name), *offset)).collect();
        Offsets([("read".to_owned(), journals)].into())
    }

    #[test]
    fn keys_without_a_piece_begin_at_the_beginning() {
        let done = offsets(&[("a", 7)]);
        let stored = Position { pieces: vec![(range(10, 19), done.clone()), (range(30, 39), done.clone())] }.encode();
        let nothing = Offsets::default();
        for (whole, expected) in [
            (range(10, 39), vec![(range(10, 19), &done), (range(20, 29), &nothing), (range(30, 39), &done)]),
            (
                KeyRange::ALL,
                vec![
                    (range(0, 9), &nothing),
                    (range(10, 19), &done),
                    (range(20, 29), &nothing),
                    (range(30, 39), &done),
                    (range(40, u32::MAX), &nothing),
                ],
            ),
        ] {
            let expected = expected.into_iter().map(|(range, offsets)| (range, offsets.clone())).collect();
            assert_eq!(Position::decode(whole, &stored).unwrap(), Position { pieces: expected });
        }
        for range in [KeyRange::ALL, range(5, 5), range(0, 0), range(u32::MAX, u32::MAX)] {
            let position = Position::decode(range, &[]).unwrap();
            assert_eq!(position.pieces, [(range, Offsets::default())]);
            assert_eq!(Position::decode(range, &position.encode()).unwrap(), position);
        }
    }

    #[test]
    fn pieces_that_have_come_to_the_same_place_are_one() {
        let uneven = Position {
            pieces: vec![
                (range(0, 9), offsets(&[("a", 70), ("b", 5)])),
                (range(10, 19), offsets(&[("a", 40)])),
                (range(20, 29), offsets(&[("a", 40), ("b", 5)])),
            ],
        };
        assert_eq!(uneven.begins("read"), [(Arc::from("a"), 40)], "b was not read for all keys");
        assert_eq!((uneven.floors("read", "a"), uneven.floors("read", "b")), (vec![70, 40, 40], vec![5, 0, 5]));
        assert_eq!([0, 9, 10, 29, 30].map(|hash| uneven.piece(hash)), [Some(0), Some(0), Some(1), Some(2), None]);
        assert_eq!(uneven.advanced(&offsets(&[])), uneven);
        let nearly = uneven.advanced(&offsets(&[("a", 60), ("b", 5)]));
        let expected =
            [(range(0, 9), offsets(&[("a", 70), ("b", 5)])), (range(10, 29), offsets(&[("a", 60), ("b", 5)]))];
        assert_eq!(nearly.pieces, expected);
        let even = nearly.advanced(&offsets(&[("a", 71), ("b", 5)]));
        assert_eq!(even.pieces, [(range(0, 29), offsets(&[("a", 71), ("b", 5)]))]);
        assert!(even.is_even());
        let other = Offsets([("other".to_owned(), BTreeMap::new())].into());
        assert_eq!(even.advanced(&other).pieces, [(range(0, 29), other)], "reads that are gone are forgotten");
    }

    #[test]
    fn checkpoints_change_hands() {
        let checkpoint = |pieces: &[(KeyRange, Offsets)]| to_checkpoint(&Position { pieces: pieces.to_vec() }.encode());
        let halves = [range(0, 0x7fff_ffff), range(0x8000_0000, u32::MAX)];
        let (one, two) = (offsets(&[("a", 70)]), offsets(&[("a", 40)]));
        let rows = [
            CheckpointRow { range: halves[0], checkpoint: Some(checkpoint(&[(halves[0], one.clone())])) },
            CheckpointRow { range: halves[1], checkpoint: Some(checkpoint(&[(halves[1], two.clone())])) },
        ];
        let (whole, left) = take_over(&rows, KeyRange::ALL).unwrap();
        let text = r#"[{"keys":"00000000-7fffffff","position":{"version":1,"offsets":{"read":{"a":70}}}},{"keys":"80000000-ffffffff","position":{"version":1,"offsets":{"read":{"a":40}}}}]"#;
        assert_eq!((whole.checkpoint.as_deref(), left), (Some(text), vec![]));
        let (edge, left) = take_over(&[whole], range(0x7fff_0000, 0x7fff_ffff)).unwrap();
        assert_eq!(edge.checkpoint, Some(checkpoint(&[(edge.range, one)])));
        assert_eq!(left.iter().map(|row| row.range).collect::<Vec<_>>(), [range(0, 0x7ffe_ffff), halves[1]]);
        assert_eq!(left[1].checkpoint, rows[1].checkpoint);

        let (first, left) = take_over(&[], halves[0]).unwrap();
        let never = |range| CheckpointRow { range, checkpoint: None };
        assert_eq!((first, left), (never(halves[0]), vec![never(halves[1])]));
        let former =
            CheckpointRow { range: KeyRange::ALL, checkpoint: Some(r#"{"version":1,"offsets":{}}"#.to_owned()) };
        assert!(take_over(&[former], KeyRange::ALL).unwrap_err().contains("another version"));
    }
}
