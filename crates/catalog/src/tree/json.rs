//! JSON text to a [`Tree`]. YAML reads nearly all JSON, but not `"\ud83d\ude00"`, and not as fast.

use std::collections::HashSet;

use super::yaml::{DEPTH_MAX, NODES_MAX};
use super::{Kind, Member, Tree};
use crate::{Place, SourceId};

/// The text as a tree; nothing where it is not JSON, or not what a file may hold: YAML's reader then says why.
pub(crate) fn parse(source: SourceId, text: &str) -> Option<Tree> {
    let at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let mut reader = Reader { source, text, at, nodes: 0 };
    let tree = reader.value(0)?;
    reader.blank();
    (reader.at == text.len()).then_some(tree)
}

/// Whether a text looks like JSON.
pub(crate) fn is_likely(text: &str) -> bool {
    text.trim_start_matches('\u{feff}').trim_start().starts_with(['{', '['])
}

struct Reader<'t> {
    source: SourceId,
    text: &'t str,
    at: usize,
    nodes: usize,
}

impl Reader<'_> {
    fn blank(&mut self) {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest.iter().take_while(|byte| b" \t\r\n".contains(byte)).count();
    }

    fn next(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Whether this byte comes next; skips it.
    fn skip(&mut self, byte: u8) -> bool {
        self.blank();
        let found = self.next() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn place(&self, start: usize) -> Place {
        Place { source: self.source, start: start as u32, end: self.at as u32 }
    }

    fn value(&mut self, depth: usize) -> Option<Tree> {
        self.blank();
        self.nodes += 1;
        if depth > DEPTH_MAX || self.nodes > NODES_MAX {
            return None;
        }
        let start = self.at;
        let kind = match self.next()? {
            b'{' => Kind::Object(self.members(depth)?),
            b'[' => Kind::Array(self.items(depth)?),
            b'"' => Kind::String(self.string()?),
            _ => self.scalar()?,
        };
        Some(Tree { kind, place: self.place(start) })
    }

    fn members(&mut self, depth: usize) -> Option<Vec<Member>> {
        self.at += 1;
        let mut members: Vec<Member> = Vec::new();
        let mut keys = HashSet::new();
        if self.skip(b'}') {
            return Some(members);
        }
        loop {
            self.blank();
            let start = self.at;
            let key = self.string()?;
            let key_place = self.place(start);
            let distinct = keys.insert(key.clone());
            if !distinct || !self.skip(b':') {
                return None;
            }
            members.push(Member { key, key_place, value: self.value(depth + 1)? });
            if self.skip(b'}') {
                return Some(members);
            }
            if !self.skip(b',') {
                return None;
            }
        }
    }

    fn items(&mut self, depth: usize) -> Option<Vec<Tree>> {
        self.at += 1;
        let mut items = Vec::new();
        if self.skip(b']') {
            return Some(items);
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.skip(b']') {
                return Some(items);
            }
            if !self.skip(b',') {
                return None;
            }
        }
    }

    fn string(&mut self) -> Option<String> {
        let rest = &self.text.as_bytes()[self.at..];
        if rest.first() != Some(&b'"') {
            return None;
        }
        let mut end = 1;
        while *rest.get(end)? != b'"' {
            end += if rest[end] == b'\\' { 2 } else { 1 };
        }
        let text = self.text.get(self.at..=self.at + end)?;
        self.at += end + 1;
        serde_json::from_str(text).ok()
    }

    fn scalar(&mut self) -> Option<Kind> {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c))).unwrap_or(rest.len());
        self.at += end;
        Some(match &rest[..end] {
            "null" => Kind::Null,
            "true" => Kind::Bool(true),
            "false" => Kind::Bool(false),
            number => Kind::Number(serde_json::from_str(number).ok()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Sources;

    fn read(text: &str) -> Option<Tree> {
        let mut sources = Sources::default();
        parse(sources.add("file:///w/a.json".parse().unwrap(), text.into()), text)
    }

    #[test]
    fn reads_json() {
        let text = "\u{feff} {\"a\\u00e9\": [1, -2.5e3, \"\\ud83d\\ude00\\\"\", true, null, {}, []],\r\n\t\"b\": {\"c\": 18446744073709551615}} ";
        let tree = read(text).unwrap();
        let expected = json!({"aé": [1, -2500.0, "😀\"", true, null, {}, []], "b": {"c": u64::MAX}});
        assert_eq!(tree.to_value(), expected);
        let place = tree.place_at("/b/c");
        assert_eq!(&text[place.start as usize..place.end as usize], "18446744073709551615");
    }

    #[test]
    fn leaves_all_else_to_yaml() {
        let deep = "[".repeat(5_000) + &"]".repeat(5_000);
        for text in ["", "{", "{a: 1}", "[1,]", "{\"a\": 1, \"a\": 2}", "[1] x", "\"\\", "[01]", "[\"é]", "tru", &deep]
        {
            assert!(read(text).is_none(), "{text:.40}");
        }
    }
}
