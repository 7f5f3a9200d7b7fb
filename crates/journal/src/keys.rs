//! Who answers for which keys: ranges of key hashes, the positions that hold in them, and how they change hands.
//!
//! The parts of a task divide all keys among them, without gaps or overlaps, at any time:
//!
//! ```text
//! two parts          │ 0 ──────── at 70 ──────── 7f… │ 80… ─────── at 40 ──────── ff… │
//! one takes over all │ 0 ──── pieces: at 70 to 7f…, at 40 from 80… ───────────── ff… │
//! and goes on        │ 0 ────────────────────── at 90 ───────────────────────── ff… │
//! three take over    │ 0 ───── at 90 ───── 55… │ 56… ── at 90 ── aa… │ ab… ─ at 90 ─ │
//! ```
//!
//! What a position means is its writer's business; here it is bytes that hold for every key of their range.

use std::fmt;

/// A range of key hashes, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyRange {
    /// The first hash.
    pub begin: u32,
    /// The last hash, not below the first.
    pub end: u32,
}

/// A position, and the keys it holds for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The keys.
    pub range: KeyRange,
    /// The position, as its writer wrote it.
    pub position: Vec<u8>,
}

/// What one owner at a time answers for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The keys.
    pub range: KeyRange,
    /// Positions within the range, disjoint and in order. Nothing was ever committed for keys that none of them holds.
    pub pieces: Vec<Piece>,
}

impl KeyRange {
    /// All keys.
    pub const ALL: KeyRange = KeyRange { begin: 0, end: u32::MAX };

    /// The n-th of `count` ranges of the same size, which divide all keys.
    pub fn nth(n: u32, count: u32) -> KeyRange {
        debug_assert!(n < count, "there is no range {n} of {count}");
        let begin = |n: u32| u64::from(n) * (1 << 32) / u64::from(count);
        let within = "below 2^32, as n is below count";
        KeyRange { begin: u32::try_from(begin(n)).expect(within), end: u32::try_from(begin(n + 1) - 1).expect(within) }
    }

    /// Whether a key of this hash is in it.
    pub fn contains(&self, hash: u32) -> bool {
        (self.begin..=self.end).contains(&hash)
    }

    /// The hashes that are in both.
    pub fn intersect(&self, other: KeyRange) -> Option<KeyRange> {
        let (begin, end) = (self.begin.max(other.begin), self.end.min(other.end));
        (begin <= end).then_some(KeyRange { begin, end })
    }

    /// What is left of it outside `other`: before, and behind.
    fn outside(&self, other: KeyRange) -> impl Iterator<Item = KeyRange> {
        let before = other.begin.checked_sub(1).and_then(|end| self.intersect(KeyRange { begin: 0, end }));
        let behind = other.end.checked_add(1).and_then(|begin| self.intersect(KeyRange { begin, end: u32::MAX }));
        before.into_iter().chain(behind)
    }
}

impl fmt::Display for KeyRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{:08x}", self.begin, self.end)
    }
}

impl Piece {
    /// One position for all keys.
    pub fn whole(position: impl Into<Vec<u8>>) -> Vec<Piece> {
        vec![Piece { range: KeyRange::ALL, position: position.into() }]
    }
}

/// Joins neighbours of the same position.
fn join(pieces: impl Iterator<Item = Piece>) -> Vec<Piece> {
    let mut joined: Vec<Piece> = Vec::new();
    for piece in pieces {
        match joined.last_mut() {
            Some(last)
                if last.range.end.checked_add(1) == Some(piece.range.begin) && last.position == piece.position =>
            {
                last.range.end = piece.range.end;
            }
            _ => joined.push(piece),
        }
    }
    joined
}

/// Makes `range` one part: what overlaps it gives up what it has of it, with the positions it left there, and keeps the rest.
/// `former` divides all keys, in order, or is empty where nobody ever answered for any. Returns the part of the range, and
/// what is left of those that overlapped it; all others stay as they are.
pub fn take_over(former: &[Part], range: KeyRange) -> (Part, Vec<Part>) {
    let nobody = [Part { range: KeyRange::ALL, pieces: Vec::new() }];
    let former = if former.is_empty() { &nobody } else { former };
    let overlapping = || former.iter().filter(|part| part.range.intersect(range).is_some());
    let within = |pieces: &[Piece], range: KeyRange| {
        let clip =
            |piece: &Piece| Some(Piece { range: piece.range.intersect(range)?, position: piece.position.clone() });
        pieces.iter().filter_map(clip).collect::<Vec<_>>()
    };
    let pieces = overlapping().flat_map(|part| within(&part.pieces, range));
    let left = overlapping().flat_map(|part| {
        let left = part.range.outside(range);
        left.map(|range| Part { range, pieces: within(&part.pieces, range) })
    });
    (Part { range, pieces: join(pieces) }, left.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(begin: u32, end: u32) -> KeyRange {
        KeyRange { begin, end }
    }

    #[test]
    fn ranges_divide_all_keys() {
        assert_eq!(KeyRange::nth(0, 1), KeyRange::ALL);
        assert_eq!([0, 1].map(|n| KeyRange::nth(n, 2)), [range(0, 0x7fff_ffff), range(0x8000_0000, u32::MAX)]);
        for count in 1..70 {
            let ranges: Vec<_> = (0..count).map(|n| KeyRange::nth(n, count)).collect();
            assert_eq!((ranges[0].begin, ranges[ranges.len() - 1].end), (0, u32::MAX));
            assert!(ranges.windows(2).all(|pair| pair[0].end + 1 == pair[1].begin), "{ranges:?}");
        }
    }

    /// A bound where neighbours meet often, and at the ends of all keys.
    fn bound() -> impl Strategy<Value = u32> {
        prop_oneof![
            (0..4u32).prop_map(|n| n << 30),
            (1..4u32).prop_map(|n| (n << 30) - 1),
            Just(u32::MAX),
            any::<u32>()
        ]
    }

    proptest! {
        /// Against a model that knows the owner and position of each of the keys looked at.
        #[test]
        fn parts_divide_all_keys_and_every_key_keeps_its_position(
            steps in prop::collection::vec((bound(), bound(), any::<bool>()), 1..20),
            mut keys in prop::collection::vec(any::<u32>(), 8),
        ) {
            keys.extend(steps.iter().flat_map(|(a, b, _)| [*a, *b, a.saturating_add(1), b.saturating_sub(1)]));
            let mut positions: Vec<Option<Vec<u8>>> = vec![None; keys.len()];
            let mut parts: Vec<Part> = Vec::new();
            for (n, (a, b, commits)) in steps.into_iter().enumerate() {
                let taken = range(a.min(b), a.max(b));
                let (mut part, left) = take_over(&parts, taken);
                prop_assert_eq!(part.range, taken);
                if commits {
                    let position = vec![n as u8];
                    part.pieces = vec![Piece { range: taken, position: position.clone() }];
                    for (key, at) in keys.iter().zip(&mut positions).filter(|(key, _)| taken.contains(**key)) {
                        let _ = key;
                        *at = Some(position.clone());
                    }
                }
                parts.retain(|part| part.range.intersect(taken).is_none());
                parts.push(part);
                parts.extend(left);
                parts.sort_by_key(|part| part.range);
                prop_assert_eq!((parts[0].range.begin, parts[parts.len() - 1].range.end), (0, u32::MAX));
                prop_assert!(parts.windows(2).all(|pair| pair[0].range.end + 1 == pair[1].range.begin));
                for (key, position) in keys.iter().zip(&positions) {
                    let part = parts.iter().find(|part| part.range.contains(*key)).unwrap();
                    let found: Vec<_> = part.pieces.iter().filter(|piece| piece.range.contains(*key)).collect();
                    prop_assert_eq!(found.iter().map(|piece| &piece.position).collect::<Vec<_>>(), position.iter().collect::<Vec<_>>());
                    prop_assert!(part.pieces.iter().all(|piece| part.range.intersect(piece.range) == Some(piece.range)));
                }
            }
        }
    }

    #[test]
    fn what_was_divided_without_a_commit_is_one_again() {
        let whole = [Part { range: KeyRange::ALL, pieces: Piece::whole(b"p") }];
        let (first, rest) = take_over(&whole, range(0, 99));
        let parts: Vec<_> = [first].into_iter().chain(rest).collect();
        assert_eq!(parts.iter().map(|part| part.range).collect::<Vec<_>>(), [range(0, 99), range(100, u32::MAX)]);
        assert_eq!(take_over(&parts, KeyRange::ALL), (whole[0].clone(), Vec::new()));
    }
}
