//! YAML text to a [`Tree`]: built from parser events, so that depth and size are bounded before anything is built.
//!
//! Scalars are those of YAML 1.2's core schema, except that digits after a leading zero make a string (`0777`, a postcode).
//! There are no timestamps, and `yes` and `no` are strings.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};
use serde_json::Number;

use super::{Kind, Member, Tree};
use crate::diagnostic::Report;
use crate::{Place, SourceId};

/// How deep lists and objects may nest, aliases followed.
pub(super) const DEPTH_MAX: usize = 100;
/// How many values a file may hold, aliases expanded and each anchor's copy counted.
pub(super) const NODES_MAX: usize = 1_000_000;
/// How many bytes of strings a file may hold, counted likewise.
const TEXT_BYTES_MAX: usize = 64 << 20;

/// The text as a tree, as [`super::parse`] says.
pub(super) fn parse(source: SourceId, text: &str, report: &mut Report) -> Option<Tree> {
    let mut own = Report::default();
    let mut tree = read(source, text, &mut own);
    if tree.is_none()
        && let Some(text) = without_separating_tabs(text)
    {
        let mut second = Report::default();
        if let Some(read) = read(source, &text, &mut second) {
            (tree, own) = (Some(read), second);
        }
    }
    report.append(&mut own);
    tree
}

/// The text with spaces for the tabs between a `:` or `-` and what follows, which YAML allows and the parser does not; nothing
/// if there are none. Bytes stay where they are.
fn without_separating_tabs(text: &str) -> Option<String> {
    let mut found = false;
    let mut result = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let mut separates = false;
        let mut quoted = false;
        for c in line.chars() {
            quoted |= matches!(c, '"' | '\'' | '#');
            let is_tab = c == '\t' && separates && !quoted;
            found |= is_tab;
            result.push(if is_tab { ' ' } else { c });
            separates = matches!(c, ':' | '-') || separates && matches!(c, ' ' | '\t');
        }
    }
    found.then_some(result)
}

fn read(source: SourceId, text: &str, report: &mut Report) -> Option<Tree> {
    let skipped = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let mut builder = Builder {
        source,
        offsets: Offsets::new(text, skipped),
        report,
        open: Vec::new(),
        anchors: HashMap::new(),
        nodes: 0,
        text_bytes: 0,
        root: None,
        second: None,
    };
    for event in Parser::new_from_str(&text[skipped..]) {
        match event {
            Ok((event, span)) => builder.event(event, span)?,
            Err(error) => {
                let start = builder.offsets.byte(error.marker().index());
                let place = Place { source, start, end: start };
                builder.report.error("yaml-syntax", place, format!("this is not YAML: {}", error.info()));
                return None;
            }
        }
    }
    Some(builder.root.unwrap_or(Tree { kind: Kind::Null, place: Place::file(source) }))
}

/// From the parser's count of characters to bytes.
struct Offsets {
    skipped: u32,
    /// The byte of each character; empty if all are of one byte.
    bytes: Vec<u32>,
    len: u32,
}

impl Offsets {
    fn new(text: &str, skipped: usize) -> Offsets {
        let bytes = if text.is_ascii() {
            Vec::new()
        } else {
            text[skipped..].char_indices().map(|(at, _)| (at + skipped) as u32).collect()
        };
        Offsets { skipped: skipped as u32, bytes, len: text.len() as u32 }
    }

    fn byte(&self, index: usize) -> u32 {
        if self.bytes.is_empty() {
            (index as u32 + self.skipped).min(self.len)
        } else {
            self.bytes.get(index).copied().unwrap_or(self.len)
        }
    }
}

/// A list or an object whose end has not come yet.
struct Open {
    start: Place,
    anchor: usize,
    content: Content,
}

enum Content {
    Array(Vec<Tree>),
    Object {
        members: Vec<Member>,
        /// Each key, with where it first was.
        seen: HashMap<String, Place>,
        key: Option<(String, Place)>,
    },
}

/// What an alias stands for.
struct Anchored {
    tree: Tree,
    size: Size,
}

/// How much a tree holds.
#[derive(Clone, Copy, Default)]
struct Size {
    nodes: usize,
    text_bytes: usize,
    depth: usize,
}

impl Size {
    fn of(tree: &Tree) -> Size {
        let mut size = Size { nodes: 1, text_bytes: 0, depth: 0 };
        let mut add = |child: &Tree| {
            let inner = Size::of(child);
            size.nodes += inner.nodes;
            size.text_bytes += inner.text_bytes;
            size.depth = size.depth.max(inner.depth + 1);
        };
        match &tree.kind {
            Kind::Array(items) => items.iter().for_each(add),
            Kind::Object(members) => {
                members.iter().for_each(|member| add(&member.value));
                size.text_bytes += members.iter().map(|member| member.key.len()).sum::<usize>();
            }
            Kind::String(text) => size.text_bytes += text.len(),
            _ => {}
        }
        size
    }
}

struct Builder<'r> {
    source: SourceId,
    offsets: Offsets,
    report: &'r mut Report,
    open: Vec<Open>,
    anchors: HashMap<usize, Anchored>,
    nodes: usize,
    text_bytes: usize,
    root: Option<Tree>,
    /// Where a second document begins.
    second: Option<Place>,
}

impl Builder<'_> {
    /// Takes one event; nothing if the text is not to be read further, which has been reported.
    fn event(&mut self, event: Event<'_>, span: Span) -> Option<()> {
        let place = self.place(span);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                if self.wants_key() {
                    let size = Size { nodes: 1, text_bytes: text.len(), depth: 0 };
                    self.charge(size, place)?;
                    if anchor > 0 {
                        let tree = Tree { kind: Kind::String(text.to_string()), place };
                        self.anchors.insert(anchor, Anchored { tree, size });
                    }
                    self.key(text.into_owned(), place);
                    return Some(());
                }
                let tree = Tree { kind: self.scalar(text, style, tag.as_deref(), place)?, place };
                self.charge(Size::of(&tree), place)?;
                self.value(tree, anchor)
            }
            Event::SequenceStart(anchor, _) => self.start(place, anchor, Content::Array(Vec::new())),
            Event::MappingStart(anchor, _) => {
                let content = Content::Object { members: Vec::new(), seen: HashMap::new(), key: None };
                self.start(place, anchor, content)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let open = self.open.pop().expect("the parser balances starts and ends");
                let last = match &open.content {
                    Content::Array(items) => items.last().map(|item| item.place.end),
                    Content::Object { members, .. } => members.last().map(|member| member.value.place.end),
                };
                // A block has no closing mark: it ends with its last value, unless that is an alias' definition elsewhere.
                let end = if place.start < place.end { place.end } else { last.unwrap_or(open.start.end) };
                let place = Place { end: end.max(open.start.end), ..open.start };
                let kind = match open.content {
                    Content::Array(items) => Kind::Array(items),
                    Content::Object { members, .. } => Kind::Object(members),
                };
                self.value(Tree { kind, place }, open.anchor)
            }
            Event::Alias(id) => {
                let Some(anchored) = self.anchors.get(&id) else {
                    self.report.error("yaml-alias", place, "this alias stands inside of what it names".to_owned());
                    return None;
                };
                let size = anchored.size;
                if self.wants_key() {
                    let Kind::String(text) = &anchored.tree.kind else {
                        return self.refuse_key(place);
                    };
                    let text = text.clone();
                    self.charge(size, place)?;
                    self.key(text, place);
                    return Some(());
                }
                if self.open.len() + size.depth > DEPTH_MAX {
                    return self.refuse_depth(place);
                }
                self.charge(size, place)?;
                let kind = self.anchors[&id].tree.kind.clone();
                self.value(Tree { kind, place }, 0)
            }
            Event::DocumentStart(_) if self.root.is_some() => {
                self.second = Some(place);
                Some(())
            }
            _ => Some(()),
        }
    }

    fn place(&self, span: Span) -> Place {
        let start = self.offsets.byte(span.start.index());
        let end = self.offsets.byte(span.end.index()).max(start);
        Place { source: self.source, start, end }
    }

    fn wants_key(&self) -> bool {
        matches!(self.open.last(), Some(Open { content: Content::Object { key: None, .. }, .. }))
    }

    fn key(&mut self, text: String, place: Place) {
        if let Some(Open { content: Content::Object { key, .. }, .. }) = self.open.last_mut() {
            *key = Some((text, place));
        }
    }

    fn start(&mut self, place: Place, anchor: usize, content: Content) -> Option<()> {
        if self.wants_key() {
            return self.refuse_key(place);
        }
        if self.open.len() >= DEPTH_MAX {
            return self.refuse_depth(place);
        }
        self.charge(Size { nodes: 1, ..Size::default() }, place)?;
        self.open.push(Open { start: place, anchor, content });
        Some(())
    }

    fn value(&mut self, tree: Tree, anchor: usize) -> Option<()> {
        if anchor > 0 {
            let size = Size::of(&tree);
            self.charge(size, tree.place)?;
            self.anchors.insert(anchor, Anchored { tree: tree.clone(), size });
        }
        match self.open.last_mut() {
            // A separator at the end of a file begins an empty document.
            None if self.second.is_some() && tree.is_null() => {}
            None => match self.second {
                Some(place) => {
                    let message = "a second document begins here, and a file holds one".to_owned();
                    self.report.error("yaml-documents", place, message).hint("move it to a file of its own");
                    return None;
                }
                None => self.root = Some(tree),
            },
            Some(Open { content: Content::Array(items), .. }) => items.push(tree),
            Some(Open { content: Content::Object { members, seen, key }, .. }) => {
                let (key, key_place) = key.take().expect("a value follows a key");
                if let Some(&first) = seen.get(&key) {
                    let message = format!("the key `{key}` is repeated");
                    self.report.error("yaml-duplicate-key", key_place, message).related(first, "it is first here");
                } else {
                    seen.insert(key.clone(), key_place);
                    members.push(Member { key, key_place, value: tree });
                }
            }
        }
        Some(())
    }

    fn charge(&mut self, size: Size, place: Place) -> Option<()> {
        self.nodes += size.nodes;
        self.text_bytes += size.text_bytes;
        if self.nodes <= NODES_MAX && self.text_bytes <= TEXT_BYTES_MAX {
            return Some(());
        }
        let message = format!("the file holds more than {NODES_MAX} values or {} MiB of text", TEXT_BYTES_MAX >> 20);
        self.report.error("yaml-too-large", place, message).hint("aliases count as often as they are used");
        None
    }

    fn refuse_depth(&mut self, place: Place) -> Option<()> {
        let message = format!("lists and objects nest deeper than {DEPTH_MAX} levels");
        self.report.error("yaml-too-deep", place, message);
        None
    }

    fn refuse_key(&mut self, place: Place) -> Option<()> {
        self.report.error("yaml-key", place, "a key must be a string".to_owned());
        None
    }

    fn scalar(&mut self, text: Cow<'_, str>, style: ScalarStyle, tag: Option<&Tag>, place: Place) -> Option<Kind> {
        let string = tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
        if style != ScalarStyle::Plain || string {
            return Some(Kind::String(text.into_owned()));
        }
        if let ".inf" | ".Inf" | ".INF" | "+.inf" | "-.inf" | "-.Inf" | "-.INF" | ".nan" | ".NaN" | ".NAN" = &*text {
            self.report.error("yaml-number", place, format!("JSON has no number `{text}`"));
            return Some(Kind::Null);
        }
        Some(match &*text {
            "" | "~" | "null" | "Null" | "NULL" => Kind::Null,
            "true" | "True" | "TRUE" => Kind::Bool(true),
            "false" | "False" | "FALSE" => Kind::Bool(false),
            _ => match number(&text) {
                Some(number) => Kind::Number(number),
                None => Kind::String(text.into_owned()),
            },
        })
    }
}

/// A plain scalar as a number, if it is one.
fn number(text: &str) -> Option<Number> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if let Some(digits) = text.strip_prefix("0x") {
        return u64::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+')).map(Number::from);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return u64::from_str_radix(digits, 8).ok().filter(|_| !digits.starts_with('+')).map(Number::from);
    }
    if !unsigned.bytes().any(|byte| byte.is_ascii_digit())
        || !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
    {
        return None;
    }
    if unsigned.len() > 1 && unsigned.starts_with('0') && unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    if let Ok(value) = text.parse::<u64>() {
        return Some(value.into());
    }
    if let Ok(value) = text.parse::<i64>() {
        return Some(value.into());
    }
    Number::from_f64(text.parse().ok()?)
}

/// Replaces merge keys, `<<: *anchor` or a list of them, by what they name. Keys of the object itself win, then the
/// earlier of the list.
pub(crate) fn expand_merges(tree: &mut Tree, report: &mut Report) {
    match &mut tree.kind {
        Kind::Array(items) => items.iter_mut().for_each(|item| expand_merges(item, report)),
        Kind::Object(members) => {
            members.iter_mut().for_each(|member| expand_merges(&mut member.value, report));
            let Some(at) = members.iter().position(|member| member.key == "<<") else {
                return;
            };
            let merged = members.remove(at).value;
            let place = merged.place;
            let parts = match merged.kind {
                Kind::Array(items) => items,
                kind => vec![Tree { kind, place }],
            };
            let mut keys: HashSet<String> = members.iter().map(|member| member.key.clone()).collect();
            for part in parts {
                let Kind::Object(more) = part.kind else {
                    let message = format!("`<<` merges objects, and this is {}", part.describe());
                    report.error("yaml-merge", part.place, message).hint("write `<<: *anchor` or `<<: [*one, *two]`");
                    continue;
                };
                members.extend(more.into_iter().filter(|member| keys.insert(member.key.clone())));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use url::Url;

    use super::*;
    use crate::Sources;

    fn parsed(text: &str) -> Result<serde_json::Value, String> {
        let mut sources = Sources::default();
        let url = Url::parse("file:///w/a.yaml").unwrap();
        match Tree::from_yaml(&mut sources, url, text) {
            Ok(mut tree) => {
                let mut report = Report::default();
                expand_merges(&mut tree, &mut report);
                assert!(report.is_empty());
                Ok(tree.to_value())
            }
            Err(list) => {
                let at = sources.locate(list[0].place);
                Err(format!("{}:{} {}", at.line, at.column, list[0].slug))
            }
        }
    }

    #[test]
    fn scalars() {
        let cases = [
            ("18446744073709551615", json!(18446744073709551615u64)),
            ("-9223372036854775808", json!(i64::MIN)),
            ("18446744073709551616", json!(18446744073709551616f64)),
            ("+5", json!(5)),
            ("0x1F", json!(31)),
            ("0o17", json!(15)),
            ("0777", json!("0777")),
            ("1_000", json!("1_000")),
            ("1e3", json!(1000.0)),
            (".5", json!(0.5)),
            ("-1.25", json!(-1.25)),
            ("1e999", json!("1e999")),
            ("yes", json!("yes")),
            ("on", json!("on")),
            ("inf", json!("inf")),
            ("True", json!(true)),
            ("~", json!(null)),
            ("", json!(null)),
            ("'5'", json!("5")),
            ("!!str 5", json!("5")),
            ("2021-01-16T12:34:56Z", json!("2021-01-16T12:34:56Z")),
            ("11111111-2222-3333-4444-000000000000", json!("11111111-2222-3333-4444-000000000000")),
            ("{ path: ../../examples.db?_journal=WAL }", json!({"path": "../../examples.db?_journal=WAL"})),
            ("? \"long name\"\n: - ingest: 1\n", json!({"long name": [{"ingest": 1}]})),
            ("{55: 1, true: 2}", json!({"55": 1, "true": 2})),
            ("a: CREATE\n  TABLE;\n", json!({"a": "CREATE TABLE;"})),
            (
                "migrations: [CREATE TABLE a (\n  x INT,  -- é\n  y INT\n);]",
                json!({"migrations": ["CREATE TABLE a ( x INT", "-- é y INT );"]}),
            ),
            ("{ ? \"a b\" : 1, ? c : 2 }", json!({"a b": 1, "c": 2})),
            ("? a b\n: 1\n? c\n", json!({"a b": 1, "c": null})),
            ("a: # 🦀 é\n  - x # ü\n", json!({"a": ["x"]})),
            ("---\na: 1\n...\n", json!({"a": 1})),
            ("a: 1\n---\n", json!({"a": 1})),
            ("%YAML 1.2\n---\na: 1\n", json!({"a": 1})),
            ("# nothing\n", json!(null)),
            ("\u{feff}a:\r\n  - b\r\n", json!({"a": ["b"]})),
            ("a:\t1\nb:\t\t[\t2,\t3 ]\t\n", json!({"a": 1, "b": [2, 3]})),
            ("{\n\t\"a\":\n\t\t\"\\ud83d\\ude00\"\n}", json!({"a": "😀"})),
            ("sql: >-\n  SELECT\n  1\nraw: |\n  a\n   b\n", json!({"sql": "SELECT 1", "raw": "a\n b\n"})),
            ("a: [x, 'y'': z', \"\\x41\\u00e9\"]", json!({"a": ["x", "y': z", "Aé"]})),
            ("a: &x\n  - 1\nb: *x\n? *x2\n: 1\n".split("? *x2").next().unwrap(), json!({"a": [1], "b": [1]})),
            ("a: !!int \"5\"\nb: !custom x\n", json!({"a": "5", "b": "x"})),
        ];
        for (text, expected) in cases {
            assert_eq!(parsed(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn anchors_and_merges() {
        let text = "a: &x {p: 1, q: 2}\nb: {<<: *x, q: 3}\nc: &x {p: 9}\nd: *x\ne: {<<: [*x, {q: 4, p: 5}], r: 6}\n";
        let expected = json!({
            "a": {"p": 1, "q": 2}, "b": {"p": 1, "q": 3}, "c": {"p": 9}, "d": {"p": 9}, "e": {"p": 9, "q": 4, "r": 6},
        });
        assert_eq!(parsed(text), Ok(expected));
        assert_eq!(
            parsed("- ingest: &r {a: [1]}\n- ingest: *r\n"),
            Ok(json!([{"ingest": {"a": [1]}}, {"ingest": {"a": [1]}}]))
        );
        assert_eq!(parsed("&k key: 1\nother: {*k : 2}\n"), Ok(json!({"key": 1, "other": {"key": 2}})));
    }

    #[test]
    fn refusals() {
        let bomb: String = (0..40)
            .fold("a0: &a0 [x, x]\n".to_owned(), |text, n| text + &format!("a{}: &a{} [*a{n}, *a{n}]\n", n + 1, n + 1));
        let wide = format!("a: &a '{}'\nb: [{}]\n", "x".repeat(1 << 20), "*a, ".repeat(100));
        let block: String = (0..5_000).map(|n| format!("{}-\n", " ".repeat(n))).collect();
        let chain: String = (0..30)
            .fold("a0: &a0 x\n".to_owned(), |text, n| text + &format!("a{}: &a{} [[[[[*a{n}]]]]]\n", n + 1, n + 1));
        let cases = [
            ("a: [1\nb: 2", "2:2 yaml-syntax"),
            ("a: 1\nb: 2\na: 3\n", "3:1 yaml-duplicate-key"),
            ("é: {[x]: 1}", "1:5 yaml-key"),
            ("a: .inf", "1:4 yaml-number"),
            ("a: 1\n---\nb: 2\n", "2:1 yaml-documents"),
            ("a: &x [*x]", "1:8 yaml-alias"),
            ("a: *x", "1:4 yaml-syntax"),
            (&bomb, "17:6 yaml-too-large"),
            (&wide, "2:249 yaml-too-large"),
            (&block, "101:101 yaml-too-deep"),
            (&chain, "21:16 yaml-too-deep"),
        ];
        for (text, expected) in cases {
            assert_eq!(parsed(text), Err(expected.to_owned()), "{:.80}", text);
        }
        assert!(parsed(&"[".repeat(5_000)).is_err());
        assert!(parsed(&"{a: ".repeat(5_000)).is_err());
    }

    #[test]
    fn places() {
        for text in ["\u{feff}é: {a: [1, xy]}\r\nb:\r\n  c: z\r\n", "\u{feff}e: {a: [1, xy]}\nb:\n  c: z\n"] {
            let mut sources = Sources::default();
            let tree = Tree::from_yaml(&mut sources, Url::parse("file:///w/a.yaml").unwrap(), text).unwrap();
            let first = &tree.as_object().unwrap()[0].key;
            let shown = |pointer: &str| {
                let place = tree.place_at(pointer);
                &text[place.start as usize..place.end as usize]
            };
            assert_eq!(shown(&format!("/{first}/a/1")), "xy");
            assert_eq!(shown(&format!("/{first}/a")), "[1, xy]");
            assert_eq!(shown(&format!("/{first}/none/deeper")), "{a: [1, xy]}");
            assert_eq!(shown("/b/c"), "z");
            assert_eq!(shown("/b"), "c: z");
        }
    }
}
