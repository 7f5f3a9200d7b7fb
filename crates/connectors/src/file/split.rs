//! The documents in a file's bytes, which come in pieces: a line each, JSON values wherever they stand, or rows of columns.
//!
//! Each function is given the bytes from the first one that was not taken, adds the documents that are whole to a batch, and says
//! how many bytes those take. What is left is given again, with more behind it.

use std::io::{self, Read};

use doc::Arena;
use runtime::Batch;
use runtime::rows::{Fields, Header, ends_in_quotes};
use serde::{Deserialize, Serialize};

/// How a file holds documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// A JSON document a line.
    Lines,
    /// JSON documents with white space between them, or in arrays.
    Json,
    /// Rows of columns with this separator; the first one names fields of the collection.
    Rows(u8),
}

impl Format {
    /// The formats as a binding may name them.
    pub(super) const NAMES: [(&str, Format); 4] =
        [("lines", Format::Lines), ("json", Format::Json), ("csv", Format::Rows(b',')), ("tsv", Format::Rows(b'\t'))];

    /// What a file of this name holds, without the ending of what it is packed with.
    pub(super) fn of(name: &str) -> Self {
        let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
        let named = Self::NAMES.iter().find(|(name, _)| ending.eq_ignore_ascii_case(name));
        named.map_or(Format::Lines, |(_, format)| *format)
    }
}

/// Where in a file a reader is, between two documents.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// Bytes taken, unpacked.
    pub(super) offset: u64,
    /// Lines that ended in them.
    pub(super) lines: u64,
    /// Whether it is within an array whose elements are documents.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) inside: bool,
    /// The names of the columns, once they are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) header: Option<Vec<String>>,
}

/// Where documents go.
pub(super) struct Target<'b> {
    pub(super) batch: &'b mut Batch,
    /// The capture's binding, and what columns may name.
    pub(super) binding: usize,
    pub(super) columns: &'b Fields,
    /// The file they are from.
    pub(super) file: &'b str,
}

impl Target<'_> {
    fn add(&mut self, text: &[u8], line: u64) {
        self.batch.add_place(self.file, line);
        let begin = self.batch.text.len();
        self.batch.text.extend_from_slice(text);
        self.batch.documents.push((self.binding, begin..self.batch.text.len()));
    }
}

/// Takes what is whole; all of it where these are the `last` bytes. An error says why the file cannot be read on.
pub(super) fn take(
    format: Format,
    bytes: &[u8],
    last: bool,
    place: &mut Place,
    into: &mut Target<'_>,
) -> Result<usize, String> {
    let before = place.offset;
    match format {
        Format::Lines => lines(bytes, last, place, into),
        Format::Json => json(bytes, last, place, into),
        Format::Rows(separator) => rows(separator, bytes, last, place, into)?,
    }
    Ok((place.offset - before) as usize)
}

fn lines(bytes: &[u8], last: bool, place: &mut Place, into: &mut Target<'_>) {
    let mut begin = 0;
    let ends = memchr::memchr_iter(b'\n', bytes).map(|newline| newline + 1);
    for end in ends.chain(last.then_some(bytes.len())).filter(|end| *end > 0) {
        if end == begin {
            break;
        }
        place.lines += 1;
        if !bytes[begin..end].trim_ascii().is_empty() {
            into.add(&bytes[begin..end], place.lines);
        }
        begin = end;
    }
    place.offset += begin as u64;
}

fn json(bytes: &[u8], last: bool, place: &mut Place, into: &mut Target<'_>) {
    let mut at = 0;
    let mut inside = place.inside;
    let mut taken = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => at += 1,
            b',' | b']' if inside => {
                inside = byte == b',';
                at += 1;
            }
            b'[' if !inside => {
                inside = true;
                at += 1;
            }
            _ => {
                let Some(end) = value_end(&bytes[at..]).or(last.then_some(bytes.len() - at)) else { break };
                let line = place.lines + newlines(&bytes[taken..at]) + 1;
                into.add(&bytes[at..at + end], line);
                place.lines += newlines(&bytes[taken..at + end]);
                at += end;
                taken = at;
                place.inside = inside;
            }
        }
    }
    place.offset += taken as u64;
}

fn newlines(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

/// Where the value ends that the bytes begin with, valid or not; `None` where it may go on.
fn value_end(bytes: &[u8]) -> Option<usize> {
    let first = *bytes.first()?;
    match first {
        b'{' | b'[' | b'"' => {}
        b'}' | b']' | b',' => return Some(1),
        _ => return bytes.iter().position(|byte| b" \t\r\n,{}[]\"".contains(byte)),
    }
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for (n, byte) in bytes.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => depth += 1,
            b'}' | b']' if !quoted => depth -= 1,
            _ => {}
        }
        if depth == 0 && !quoted {
            return Some(n + 1);
        }
    }
    None
}

/// Bytes behind which more may come.
struct Part<'b>(&'b [u8]);

impl Read for Part<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.0.read(into)
    }
}

fn rows(separator: u8, bytes: &[u8], last: bool, place: &mut Place, into: &mut Target<'_>) -> Result<(), String> {
    let input: Box<dyn Read + '_> = if last { Box::new(bytes) } else { Box::new(Part(bytes)) };
    let mut reader =
        csv::ReaderBuilder::new().delimiter(separator).has_headers(false).flexible(true).from_reader(input);
    let columns = into.columns;
    let understand = |names: &[String]| columns.header(names.iter().map(String::as_str));
    let mut header: Option<Header> = place.header.as_deref().map(understand).transpose()?;
    let begin = place.offset;
    let mut taken = 0;
    let arena = Arena::new();
    let mut record = csv::ByteRecord::new();
    // The only other error is that of a part that ended.
    while let Ok(true) = reader.read_byte_record(&mut record) {
        // Its position is before the line feed of the row above and before empty lines.
        let at = record.position().map_or(0, csv::Position::byte) as usize;
        let at = at + bytes[at..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let line = place.lines + newlines(&bytes[taken..at]) + 1;
        let end = reader.position().byte() as usize;
        let row: Result<Vec<&str>, String> = match end == bytes.len() && ends_in_quotes(&bytes[at..end], separator) {
            true => Err("a quote is not closed".to_owned()),
            false => record.iter().map(text).collect(),
        };
        match &header {
            None => {
                let names: Vec<String> = row?.into_iter().map(str::to_owned).collect();
                header = Some(understand(&names)?);
                place.header = Some(names);
            }
            Some(header) => match row.and_then(|row| header.document(&arena, row.as_slice())) {
                Ok(document) => {
                    let mut text = Vec::new();
                    doc::write(document, &mut text);
                    into.add(&text, line);
                }
                Err(why) => {
                    into.batch.refused.push((into.batch.documents.len(), why));
                    let row: Vec<_> = record.iter().map(String::from_utf8_lossy).collect();
                    into.add(row.join(&char::from(separator).to_string()).as_bytes(), line);
                }
            },
        }
        place.lines += newlines(&bytes[taken..end]);
        place.offset = begin + end as u64;
        taken = end;
    }
    Ok(())
}

fn text(cell: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(cell).map_err(|_| "the row is not UTF-8".to_owned())
}
