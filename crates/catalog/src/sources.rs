//! The texts a catalog was read from, and places in them.

use std::sync::Arc;

use url::Url;

/// Which text, in the order they were first read: the root is the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(u32);

/// A range of bytes in one text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The text.
    pub source: SourceId,
    /// The first byte.
    pub start: u32,
    /// The byte after the last.
    pub end: u32,
}

impl Place {
    /// The beginning of a text: what is said of a file as a whole.
    pub fn file(source: SourceId) -> Place {
        Place { source, start: 0, end: 0 }
    }
}

/// One text.
#[derive(Debug)]
pub struct Source {
    /// Where it was read from.
    pub url: Url,
    /// What was read; empty if it could not be.
    pub text: Arc<str>,
    lines: Vec<u32>,
}

/// A place as people read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The path of the file, relative where it lies under the directory that messages are relative to; else its URL.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

/// All texts of a catalog.
#[derive(Debug, Default)]
pub struct Sources {
    list: Vec<Source>,
    directory: Option<Url>,
}

impl Sources {
    /// Makes [`Sources::locate`] give paths relative to this directory, a URL that ends in `/`. Before, it is the directory
    /// of the first text.
    pub fn relative_to(&mut self, directory: Url) {
        self.directory = Some(directory);
    }

    /// The text of this number. An id of other `Sources` may give another text or panic.
    pub fn get(&self, id: SourceId) -> &Source {
        &self.list[id.0 as usize]
    }

    /// All texts, in the order they were read.
    pub fn iter(&self) -> impl Iterator<Item = &Source> {
        self.list.iter()
    }

    /// File, line and column of a place.
    pub fn locate(&self, place: Place) -> Location {
        let source = self.get(place.source);
        let start = (place.start as usize).min(source.text.len());
        let line = source.lines.partition_point(|&begin| begin as usize <= start);
        let begin = source.lines[line - 1] as usize;
        let column = source.text.get(begin..start).map_or(0, |before| before.chars().count()) + 1;
        Location { file: self.display(&source.url), line, column }
    }

    /// A URL as messages show it.
    pub fn display(&self, url: &Url) -> String {
        let own;
        let directory = match &self.directory {
            Some(directory) => Some(directory),
            None => {
                own = self.list.first().and_then(|root| root.url.join(".").ok());
                own.as_ref()
            }
        };
        if url.scheme() != "file" {
            return url.to_string();
        }
        let relative = directory.and_then(|directory| directory.make_relative(url)).filter(|path| !path.is_empty());
        let path = relative.unwrap_or_else(|| url.path().to_owned());
        percent_decoded(&path)
    }

    pub(crate) fn add(&mut self, url: Url, text: Arc<str>) -> SourceId {
        let id = SourceId(self.list.len() as u32);
        let breaks = text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n').map(|(at, _)| at as u32 + 1);
        let lines = std::iter::once(0).chain(breaks).collect();
        self.list.push(Source { url, text, lines });
        id
    }
}

/// Text without percent escapes; as it is where they do not make text.
pub(crate) fn percent_decoded(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = match (first, tail) {
            (b'%', [high, low, ..]) => {
                let digit = |byte: &u8| (*byte as char).to_digit(16);
                digit(high).zip(digit(low)).map(|(high, low)| (high * 16 + low) as u8)
            }
            _ => None,
        };
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locates_by_line_and_character() {
        let mut sources = Sources::default();
        let url = Url::parse("file:///w/a%20b.yaml").unwrap();
        let source = sources.add(url, "a: é x\n\nb: 1\n".into());
        let at = |start| {
            let location = sources.locate(Place { source, start, end: start });
            (location.file, location.line, location.column)
        };
        assert_eq!(at(0), ("a b.yaml".to_owned(), 1, 1));
        assert_eq!(at(6), ("a b.yaml".to_owned(), 1, 6));
        assert_eq!(at(8), ("a b.yaml".to_owned(), 2, 1));
        assert_eq!(at(9), ("a b.yaml".to_owned(), 3, 1));
        assert_eq!(at(99), ("a b.yaml".to_owned(), 4, 1));
    }
}
