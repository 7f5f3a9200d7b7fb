//! Rows of data, as people and programs want them: each command gives its rows to [`Rows`], whatever they are printed as.
//!
//! A row is a JSON object. Programs get what it says, as it was written; people get a table, whose cells can be said otherwise.
//! Nothing in a row can move a cursor or pass for something else: what a terminal would obey is written as an escape.

use std::collections::BTreeSet;
use std::io::{self, BufWriter, ErrorKind, IsTerminal as _, Write};

use anyhow::Context as _;
use ratatui::crossterm::terminal;
use ratatui::text::Span;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::output::{Paint, paint, tell};
use crate::symbols::symbols;
use crate::yaml;

/// How rows are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people
    #[value(alias = "text")]
    Table,
    /// An array of objects
    Json,
    /// An object a line
    #[value(alias = "jsonl")]
    Ndjson,
    /// For spreadsheets: a line of names, then the rows
    Csv,
    /// A list of objects
    Yaml,
}

impl Format {
    /// A table on a terminal, an object a line elsewhere.
    pub fn usual() -> Self {
        if io::stdout().is_terminal() { Self::Table } else { Self::Ndjson }
    }
}

/// Whoever read the output has gone. Nothing is wrong, and nothing is left to do.
#[derive(Debug)]
pub struct Closed;

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("standard output is closed")
    }
}

impl std::error::Error for Closed {}

/// One cell of a table: what stands above it, what it says, and in which colour.
#[derive(Debug)]
pub struct Cell(pub String, pub String, pub Option<Paint>);

/// From so many rows it follows which columns there are, and how wide; from fewer where they are as large as this.
const HELD_MAX: usize = 1000;
const HELD_BYTES_MAX: usize = 8 << 20;
/// So many columns that come too late are told of.
const LATE_MAX: usize = 20;
/// What is longer than this in a document is cut, but in the last column.
const CELL_WIDTH_MAX: usize = 60;
/// Between two columns.
const GAP: &str = "  ";
/// Objects within a row that are laid out in YAML.
const YAML_LEVELS: usize = 8;
/// What is told of a document besides what it says: last where there are columns.
const META: &str = "_meta";

/// Prints rows.
pub struct Rows {
    format: Format,
    out: Box<dyn Write>,
    /// Lines fit in so many characters, and cells but the last one in so many.
    width: usize,
    cell_width: usize,
    held: Vec<Vec<Cell>>,
    held_bytes: usize,
    held_max: usize,
    columns: Option<Vec<Column>>,
    count: u64,
    /// Columns that came too late.
    late: BTreeSet<String>,
}

#[derive(Debug)]
struct Column {
    name: String,
    width: usize,
    /// Numbers stand to the right.
    right: bool,
}

impl Rows {
    /// To standard output.
    pub fn new(format: Format) -> Self {
        let width = match io::stdout().is_terminal() {
            true => terminal::size().map_or(usize::MAX, |(width, _)| width.into()),
            false => usize::MAX,
        };
        Self::to(format, Box::new(BufWriter::new(io::stdout().lock())), width)
    }

    fn to(format: Format, out: Box<dyn Write>, width: usize) -> Self {
        let late = BTreeSet::new();
        let cell_width = CELL_WIDTH_MAX;
        Self {
            format,
            out,
            width,
            cell_width,
            held: Vec::new(),
            held_bytes: 0,
            held_max: HELD_MAX,
            columns: None,
            count: 0,
            late,
        }
    }

    /// The same where rows come as things happen: the first says which columns there are.
    pub fn following(self) -> Self {
        Self { held_max: 1, ..self }
    }

    /// Prints a row, which is the text of a JSON object, and its newline perhaps. An error may be [`Closed`].
    pub fn text(&mut self, row: &[u8]) -> anyhow::Result<()> {
        self.put(row.trim_ascii_end(), |row| Ok(fields(row)?.into_iter().map(cell).collect()))
    }

    /// Prints a row of these members, of which people are to see these cells.
    pub fn row(&mut self, members: &[(&str, Value)], cells: impl FnOnce() -> Vec<Cell>) -> anyhow::Result<()> {
        if self.format == Format::Table {
            // What we say ourselves is all of use, however it has to be wrapped.
            (self.width, self.cell_width) = (usize::MAX, usize::MAX);
            return self.put(b"", |_| Ok(cells()));
        }
        let members = members.iter().map(|(name, value)| format!("{}:{value}", Value::from(*name)));
        self.text(format!("{{{}}}", members.collect::<Vec<_>>().join(",")).as_bytes())
    }

    fn put(&mut self, row: &[u8], cells: impl FnOnce(&[u8]) -> anyhow::Result<Vec<Cell>>) -> anyhow::Result<()> {
        self.count += 1;
        let first = self.count == 1;
        let written = match self.format {
            Format::Ndjson => self.out.write_all(row).and_then(|()| self.out.write_all(b"\n")),
            Format::Json => {
                let before: &[u8] = if first { b"[\n" } else { b",\n" };
                self.out.write_all(before).and_then(|()| self.out.write_all(row))
            }
            Format::Yaml => {
                let value: Value = serde_json::from_slice(row).context("a row is not JSON")?;
                let mut item = yaml::block(&value, "  ", YAML_LEVELS);
                item.replace_range(..1, "-");
                self.out.write_all(item.as_bytes())
            }
            Format::Table | Format::Csv => {
                self.held.push(cells(row)?);
                self.held_bytes += row.len();
                let has_room = self.held.len() < self.held_max && self.held_bytes < HELD_BYTES_MAX;
                if self.columns.is_none() && has_room {
                    return Ok(());
                }
                self.let_go()
            }
        };
        closed(written)
    }

    /// Lets whoever reads have all that was printed so far.
    pub fn flush(&mut self) -> anyhow::Result<()> {
        let written = self.out.flush();
        closed(written)
    }

    /// Ends the output.
    pub fn end(mut self) -> anyhow::Result<()> {
        let written = match (self.format, self.count) {
            (Format::Json, 0) => self.out.write_all(b"[]\n"),
            (Format::Json, _) => self.out.write_all(b"\n]\n"),
            (Format::Yaml, 0) => self.out.write_all(b"[]\n"),
            (Format::Table | Format::Csv, _) => self.let_go(),
            _ => Ok(()),
        };
        closed(written)?;
        self.flush()
    }

    /// Prints what is held, below a heading if nothing was printed yet.
    fn let_go(&mut self) -> io::Result<()> {
        let held = std::mem::take(&mut self.held);
        if held.is_empty() {
            return Ok(());
        }
        let is_new = self.columns.is_none();
        let columns = self.columns.take().unwrap_or_else(|| columns(&held, self.cell_width));
        if is_new {
            let names = columns.iter().map(|column| (column.name.as_str(), Some(Paint::Dim)));
            self.line(&columns, names.collect())?;
        }
        for row in &held {
            let find = |name: &str| row.iter().find(|Cell(known, ..)| known == name);
            let cells = columns.iter().map(|column| find(&column.name).map_or(("", None), |c| (c.1.as_str(), c.2)));
            self.line(&columns, cells.collect())?;
            for Cell(name, ..) in row.iter().filter(|Cell(name, ..)| columns.iter().all(|c| c.name != *name)) {
                if self.late.len() < LATE_MAX && self.late.insert(name.clone()) {
                    tell(&format!(
                        "{name:?} first came after the columns were chosen; only -o json, ndjson and yaml have it"
                    ));
                }
            }
        }
        self.columns = Some(columns);
        Ok(())
    }

    fn line(&mut self, columns: &[Column], cells: Vec<(&str, Option<Paint>)>) -> io::Result<()> {
        match self.format {
            Format::Csv => {
                let mut line = csv::Writer::from_writer(&mut self.out);
                line.write_record(cells.iter().map(|(text, _)| text))?;
                line.flush()
            }
            _ => writeln!(self.out, "{}", laid_out(columns, &cells, self.width)),
        }
    }
}

fn closed(written: io::Result<()>) -> anyhow::Result<()> {
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Closed.into()),
        written => written.context("standard output cannot be written"),
    }
}

/// The columns of some rows, in the order they come up. But for the last one they are so wide at most.
fn columns(rows: &[Vec<Cell>], width_max: usize) -> Vec<Column> {
    let mut columns: Vec<Column> = Vec::new();
    for Cell(name, text, _) in rows.iter().flatten() {
        let width = width(&shown(text));
        let right = is_number(text);
        match columns.iter_mut().find(|column| column.name == *name) {
            Some(column) => {
                column.width = column.width.max(width);
                column.right &= right;
            }
            None => {
                let width = width.max(self::width(&shown(name)));
                columns.push(Column { name: name.clone(), width, right });
            }
        }
    }
    columns.sort_by_key(|column| column.name == META);
    if let Some((_, others)) = columns.split_last_mut() {
        others.iter_mut().for_each(|column| column.width = column.width.min(width_max));
    }
    columns
}

/// Whether a cell is a number, perhaps with a unit; or says nothing.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (number, unit) = digits.split_once(' ').unwrap_or((digits, ""));
    number.bytes().all(|byte| byte.is_ascii_digit() || b".,".contains(&byte))
        && unit.len() <= 3
        && unit.bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// A line of a table, cut where the terminal ends.
fn laid_out(columns: &[Column], cells: &[(&str, Option<Paint>)], room: usize) -> String {
    let (mut line, mut used) = (String::new(), 0);
    for (n, (column, (text, role))) in columns.iter().zip(cells).enumerate() {
        let gap = if n == 0 { "" } else { GAP };
        let left = room.saturating_sub(used + gap.len());
        if left == 0 {
            break;
        }
        let text = cut(&shown(text), column.width.min(left));
        let padding = " ".repeat(column.width.min(left).saturating_sub(width(&text)));
        let role = role.filter(|_| !text.is_empty());
        let painted = role.map_or_else(|| text.clone(), |role| paint(role, &text));
        let is_last = n + 1 == columns.len();
        line += gap;
        line += &match (column.right, is_last) {
            (true, _) => format!("{padding}{painted}"),
            (false, true) => painted,
            (false, false) => format!("{painted}{padding}"),
        };
        used += gap.len() + column.width;
    }
    line.truncate(line.trim_end().len());
    line
}

/// Text of which a terminal obeys nothing.
fn shown(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars() {
        let turns =
            matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
        match c.is_control() || turns {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    shown
}

/// How many columns of a terminal a text takes.
fn width(text: &str) -> usize {
    Span::raw(text).width()
}

/// As much of a text as has room.
fn cut(text: &str, room: usize) -> String {
    if width(text) <= room {
        return text.to_owned();
    }
    let mark = symbols().cut;
    let mut kept = String::new();
    for c in text.chars() {
        kept.push(c);
        if width(&kept) + width(mark) > room {
            kept.pop();
            break;
        }
    }
    kept + mark
}

/// The members of an object in the order they stand, their values as they are written.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        from.deserialize_map(Object)
    }
}

fn fields(row: &[u8]) -> anyhow::Result<Vec<(String, Box<RawValue>)>> {
    Ok(serde_json::from_slice::<Members>(row).context("a row is not a JSON object")?.0)
}

/// A member of a row as a cell: strings as they are, nothing for null, the rest as JSON.
fn cell((name, value): (String, Box<RawValue>)) -> Cell {
    let text = match value.get() {
        "null" => String::new(),
        text if text.starts_with('"') => serde_json::from_str(text).unwrap_or_default(),
        text => text.to_owned(),
    };
    Cell(name, text, None)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use expect_test::expect;

    use super::*;

    /// What was written.
    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn printed(format: Format, width: usize, held_max: usize, rows: &[&str]) -> String {
        let page = Page::default();
        let mut printer = Rows { held_max, ..Rows::to(format, Box::new(page.clone()), width) };
        rows.iter().for_each(|row| printer.text(row.as_bytes()).unwrap());
        printer.end().unwrap();
        let written = page.0.lock().unwrap().clone();
        String::from_utf8(written).unwrap()
    }

    const ROWS: [&str; 3] = [
        "{\"_meta\":{\"uuid\":\"u1\"},\"name\":\"Ada, \\\"the first\\\"\",\"count\":1.50}\n",
        "{\"name\":\"two\\nlines \\u001b[31mred\",\"count\":20,\"tags\":[\"a\",null]}",
        "{\"name\":null,\"more\":{\"is\":true}}",
    ];

    #[test]
    fn every_format_has_every_row() {
        let all = [Format::Table, Format::Csv, Format::Ndjson, Format::Json, Format::Yaml];
        let all = all.map(|format| format!("{format:?}:\n{}", printed(format, 80, HELD_MAX, &ROWS)));
        expect![[r#"
            Table:
            name                      count  tags        more         _meta
            Ada, "the first"           1.50                           {"uuid":"u1"}
            two\nlines \u{1b}[31mred     20  ["a",null]
                                                         {"is":true}
            Csv:
            name,count,tags,more,_meta
            "Ada, ""the first""",1.50,,,"{""uuid"":""u1""}"
            "two
            lines [31mred",20,"[""a"",null]",,
            ,,,"{""is"":true}",
            Ndjson:
            {"_meta":{"uuid":"u1"},"name":"Ada, \"the first\"","count":1.50}
            {"name":"two\nlines \u001b[31mred","count":20,"tags":["a",null]}
            {"name":null,"more":{"is":true}}
            Json:
            [
            {"_meta":{"uuid":"u1"},"name":"Ada, \"the first\"","count":1.50},
            {"name":"two\nlines \u001b[31mred","count":20,"tags":["a",null]},
            {"name":null,"more":{"is":true}}
            ]
            Yaml:
            - _meta:
                uuid: u1
              count: 1.5
              name: "Ada, \"the first\""
            - count: 20
              name: "two\nlines \u001b[31mred"
              tags: ["a",null]
            - more:
                is: true
              name: null
        "#]]
        .assert_eq(&all.concat());
    }

    #[test]
    fn nothing_is_something_to_programs() {
        let all = [Format::Table, Format::Csv, Format::Ndjson, Format::Json, Format::Yaml];
        assert_eq!(all.map(|format| printed(format, 80, HELD_MAX, &[])), ["", "", "", "[]\n", "[]\n"]);
    }

    #[test]
    fn a_table_fits_the_terminal() {
        let long = format!("{{\"a\":\"{}\",\"b\":\"wide 語語\",\"c\":1}}", "x".repeat(100));
        for width in [1, 5, 59, 60, 61, 62, 70, 76, 80] {
            let table = printed(Format::Table, width, HELD_MAX, &[&long, "{\"a\":\"y\",\"b\":\"z\",\"c\":2}"]);
            assert!(table.lines().all(|line| self::width(line) <= width), "{width}:\n{table}");
            assert_eq!(table.lines().count(), 3);
        }
    }

    /// Would catch rows that wait for others although they come as things happen.
    #[test]
    fn rows_that_come_by_and_by_are_printed_at_once() {
        let page = Page::default();
        let mut rows = Rows::to(Format::Csv, Box::new(page.clone()), 80).following();
        rows.text(br#"{"a":1}"#).unwrap();
        assert_eq!(*page.0.lock().unwrap(), b"a\n1\n");
        rows.text(br#"{"b":2}"#).unwrap();
        assert_eq!(*page.0.lock().unwrap(), b"a\n1\n\"\"\n");
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for row in ["1", "{", "[{}]"] {
            assert!(Rows::to(Format::Csv, Box::new(Page::default()), 80).text(row.as_bytes()).is_err(), "{row}");
        }
    }

    /// Would catch rows that are kept without end until there are enough of them.
    #[test]
    fn large_rows_are_not_kept() {
        let page = Page::default();
        let mut rows = Rows::to(Format::Table, Box::new(page.clone()), 80);
        let row = format!("{{\"a\":\"{}\"}}", "x".repeat(1 << 20));
        (0..7).for_each(|_| rows.text(row.as_bytes()).unwrap());
        assert!(page.0.lock().unwrap().is_empty());
        rows.text(row.as_bytes()).unwrap();
        assert!(!page.0.lock().unwrap().is_empty());
    }

    #[test]
    fn who_has_gone_is_told_from_what_has_failed() {
        let error = |kind: ErrorKind| closed(Err(kind.into())).unwrap_err();
        assert!(error(ErrorKind::BrokenPipe).is::<Closed>() && !error(ErrorKind::StorageFull).is::<Closed>());
    }
}
