//! A lambda that returns its source returns any document as it was.

use doc::{Arena, Field, Node};
use script::{Engine, Limits};

use crate::method;

/// A stream of numbers from a seed (splitmix64).
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn string<'a>(&mut self, arena: &'a Arena) -> &'a str {
        const PARTS: &[&str] = &[
            "a",
            "Z",
            "0",
            " ",
            "\"",
            "\\",
            "/",
            "\u{0}",
            "\u{1f}",
            "\n",
            "\t",
            "é",
            "ß",
            "\u{2028}",
            "\u{ffff}",
            "😀",
            "\u{10ffff}",
            "__proto__",
            "constructor",
            "toJSON",
            "length",
            "\u{7f}",
            "中",
            "\u{feff}",
        ];
        let parts = (0..self.below(5)).map(|_| PARTS[self.below(PARTS.len() as u64) as usize]);
        arena.alloc_str(&parts.collect::<Vec<_>>().concat())
    }

    fn node<'a>(&mut self, arena: &'a Arena, depth: u64) -> Node<'a> {
        match self.below(if depth == 0 { 8 } else { 11 }) {
            0 => Node::Null,
            1 => Node::Bool(self.below(2) == 0),
            2 => Node::U64(self.next() >> (11 + self.below(53))),
            3 => Node::I64(-1 - (self.next() >> (11 + self.below(53))) as i64),
            4 => Node::U64(self.below(100)),
            5 => {
                // Integral ones from 2^53 to 1e21 are left out: JavaScript writes them as integers of rounded digits.
                let f = f64::from_bits(self.next());
                let rounded = f.fract() == 0.0 && (9e15..1e21).contains(&f.abs());
                Node::F64(if f.is_finite() && !rounded { f } else { 0.5 })
            }
            6 | 7 => Node::Str(self.string(arena)),
            8 => {
                let items: Vec<_> = (0..self.below(4)).map(|_| self.node(arena, depth - 1)).collect();
                Node::array(arena, &items)
            }
            _ => {
                let mut fields: Vec<Field<'a>> = Vec::new();
                for _ in 0..self.below(5) {
                    let name = self.string(arena);
                    if fields.iter().all(|f| f.name != name) {
                        fields.push(Field { name, value: self.node(arena, depth - 1) });
                    }
                }
                Node::object(arena, fields)
            }
        }
    }
}

#[test]
fn identity() {
    let mut engine =
        Engine::open("module.ts", &method("return [source];"), "T", &["m"], None, Limits::default()).unwrap();
    let mut numbers = Numbers(7);
    for _ in 0..20 {
        let arena = Arena::new();
        let sources: Vec<Node<'_>> = (0..200).map(|_| numbers.node(&arena, 4)).collect();
        let returned = engine.call(&arena, "m", sources.iter().map(|s| [*s])).unwrap();
        assert_eq!(returned.documents.len(), sources.len());
        for (source, got) in sources.iter().zip(&returned.documents) {
            assert!(doc::compare(*source, *got).is_eq(), "{}\n{}", source.to_json(), got.to_json());
        }
    }
}
