//! `source-file`: documents from files below a directory, and from standard input.
//!
//! A file holds a JSON document a line, JSON documents in arrays or one after another, or rows of columns; it may be packed with
//! gzip or Zstandard. It is known by its device and inode, so it may be renamed and grow. The cursor holds for every file how far
//! its documents have been taken, in unpacked bytes, and a checksum of how it begins: a file that is cut short or replaced is a
//! new file, one that was edited in place is refused. Files are read in the order of their names. When they may still grow,
//! a last document that may go on waits; otherwise it is taken when the end is reached.

mod glob;
mod input;
mod list;
mod pipe;
mod split;
mod standard;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use catalog::{ConfigError, Endpoint};
use runtime::rows::Fields as Columns;
use runtime::{Batch, ConnectorError, Progress, Source};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::Fields;
use crate::error;
use crate::path::local_path;
use glob::Glob;
use input::{Input, Packing};
use list::{Listed, list};
use pipe::Pipe;
use split::{Format, Place, Target};
pub(crate) use standard::StandardInput;

/// The fields of a configuration.
pub(crate) const CONFIG_FIELDS: &[&str] = &["root", "follow", "onInvalid"];
/// The fields of a resource; those behind the second are for other connectors, and as good as used.
pub(crate) const RESOURCE_FIELDS: &[&str] = &["stream", "format", "syncMode", "namespace", "cursorField", "primaryKey"];

const CHUNK_BYTES: u64 = 256 << 10;
const DOCUMENT_BYTES_MAX: usize = 16 << 20;
const HEAD_BYTES_MAX: u64 = 4 << 10;
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// The stream that is standard input.
const STANDARD_INPUT: &str = "-";

/// Where the files are, and what to do about documents that are refused.
pub(crate) struct Config {
    root: PathBuf,
    halts_on_invalid: bool,
    follow: bool,
}

/// Reads the configuration.
pub(crate) fn read_config(endpoint: &Endpoint) -> Result<Config, Vec<ConfigError>> {
    let mut fields = Fields::config(&endpoint.config, CONFIG_FIELDS);
    let root: Option<String> = fields.optional("root");
    let path = match local_path(&endpoint.base, root.as_deref().unwrap_or(".")) {
        Ok(path) => Some(path),
        Err(reason) => {
            fields.wrong("root", reason, None);
            None
        }
    };
    let halts_on_invalid = fields.halts_on_invalid();
    let follow = fields.optional("follow").unwrap_or(true);
    let errors = fields.finish();
    path.filter(|_| errors.is_empty()).map(|root| Config { root, halts_on_invalid, follow }).ok_or(errors)
}

/// What a binding names.
pub(crate) struct Stream {
    /// A file name, maybe with wildcards, or [`STANDARD_INPUT`].
    pub(crate) name: String,
    glob: Glob,
    /// What its files hold, where their names are not to say it.
    format: Option<Format>,
}

/// Checks the resource of the n-th binding.
pub(crate) fn read_resource(n: usize, resource: &Value) -> Result<Stream, Vec<ConfigError>> {
    let mut fields = Fields::resource(n, resource, RESOURCE_FIELDS);
    let stream: Option<String> = fields
        .required("stream", "a file below the root, a pattern such as `**/*.ndjson.gz`, or `-` for standard input");
    let format: Option<String> = fields.optional("format");
    let glob = stream.as_deref().and_then(Glob::new);
    if stream.is_some() && glob.is_none() {
        let hint = "a relative path without empty, `.` and `..` components; `*`, `?` and `**` are wildcards";
        fields.wrong("stream", "this names nothing below the root", Some(hint));
    }
    let named = |name: &String| Format::NAMES.iter().find(|(known, _)| known == name).map(|(_, format)| *format);
    if format.as_ref().is_some_and(|name| named(name).is_none()) {
        let hint = "there are `lines`, `json`, `csv` and `tsv`; without it the name of the file says";
        fields.wrong("format", "there is no such format", Some(hint));
    }
    let errors = fields.finish();
    match (stream, glob) {
        (Some(name), Some(glob)) if errors.is_empty() => {
            Ok(Stream { name, glob, format: format.as_ref().and_then(named) })
        }
        _ => Err(errors),
    }
}

/// What the cursor keeps: for each stream, the files seen.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cursor {
    streams: BTreeMap<String, Vec<Seen>>,
}

/// A file, and how far it was read.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Seen {
    /// Its name below the root when it was last read.
    name: String,
    device: u64,
    inode: u64,
    /// How long the file was then.
    size: u64,
    /// How far its documents were taken.
    #[serde(flatten)]
    place: Place,
    /// How the file begins: so many bytes, with this CRC-32; of those that were taken, but of a packed file as it is.
    head_bytes: u64,
    head_crc: u32,
    /// The length at which everything in it was taken.
    whole: Option<u64>,
    /// The length at which the rest was found to be an unfinished line; not kept.
    #[serde(skip)]
    waits: Option<u64>,
}

impl Seen {
    fn is(&self, file: &Listed) -> bool {
        self.device == file.device && self.inode == file.inode
    }
}

/// A file being read.
struct Open {
    stream: usize,
    seen: usize,
    size: u64,
    format: Format,
    bytes: Bytes,
    /// What was read and not taken: the beginning of a document.
    rest: Vec<u8>,
}

/// What came of a file.
enum Read {
    /// Something, and there may be more.
    More,
    /// Nothing yet.
    Idle,
    /// Its end.
    Ended,
}

/// Where bytes come from.
enum Bytes {
    File(Input),
    Pipe(Pipe),
}

impl Bytes {
    /// Adds the next bytes from an offset on; whether it ended with them.
    fn read(&mut self, offset: u64, into: &mut Vec<u8>) -> io::Result<bool> {
        match self {
            Bytes::File(input) => {
                let bytes = input.by_ref().take(CHUNK_BYTES).read_to_end(into)?;
                Ok((bytes as u64) < CHUNK_BYTES)
            }
            Bytes::Pipe(pipe) => pipe.read(offset, CHUNK_BYTES as usize, POLL_INTERVAL, into),
        }
    }
}

/// What is to be read.
pub(crate) struct Reading {
    /// For which capture.
    pub(crate) capture: String,
    pub(crate) streams: Vec<Stream>,
    /// For each stream, what columns may name.
    pub(crate) columns: Vec<Columns>,
    /// Whether files are read on as they grow.
    pub(crate) tail: bool,
    pub(crate) input: Arc<StandardInput>,
}

/// A running capture of files.
pub(crate) struct Files {
    config: Config,
    reading: Reading,
    seen: Vec<Vec<Seen>>,
    open: Option<Open>,
    /// Files with something new, by stream; the next one last.
    queue: Vec<(usize, Listed)>,
    listed: bool,
}

impl Files {
    /// Goes on after the cursor. The root must exist, and so must every file that is named without wildcards.
    pub(crate) fn open(config: Config, mut reading: Reading, cursor: Option<&[u8]>) -> Result<Self, ConnectorError> {
        let root = config.root.canonicalize().map_err(|reason| {
            error::user(format!("the directory {} cannot be read: {reason}", config.root.display()))
        })?;
        let mut cursor: Cursor = match cursor {
            None => Cursor::default(),
            Some(text) => serde_json::from_slice(text)
                .map_err(|reason| error::user(format!("the cursor of the files cannot be read: {reason}")))?,
        };
        let seen =
            reading.streams.iter().map(|stream| cursor.streams.remove(&stream.name).unwrap_or_default()).collect();
        reading.tail &= config.follow;
        let config = Config { root, ..config };
        let mut files = Self { config, reading, seen, open: None, queue: Vec::new(), listed: false };
        files.look()?;
        Ok(files)
    }

    /// Looks for files with something new in them.
    fn look(&mut self) -> Result<(), ConnectorError> {
        for (n, stream) in self.reading.streams.iter().enumerate().rev() {
            let files = match stream.name == STANDARD_INPUT {
                true => self.reading.input.open(&self.reading.capture).map(|opened| vec![opened.listed]),
                false => list(&self.config.root, &stream.name, &stream.glob),
            };
            let files = match files {
                // Once seen, a file may go away for a while, as when logs are rotated.
                Err(_) if self.listed && stream.glob.is_literal() => Vec::new(),
                files => files?,
            };
            let seen = &mut self.seen[n];
            seen.retain(|seen| files.iter().any(|file| seen.is(file)));
            let new = files.into_iter().rev().filter(|file| {
                let known = seen.iter().find(|seen| seen.is(file));
                !known.is_some_and(|seen| seen.whole == Some(file.size) || seen.waits == Some(file.size))
            });
            self.queue.extend(new.map(|file| (n, file)));
        }
        self.listed = true;
        Ok(())
    }

    /// Opens a file where its documents were last taken to.
    fn open_file(&mut self, stream: usize, listed: &Listed) -> Result<Open, ConnectorError> {
        let all = &mut self.seen[stream];
        let at = all.iter().position(|seen| seen.is(listed)).unwrap_or_else(|| {
            all.push(Seen::default());
            all.len() - 1
        });
        let seen = &mut all[at];
        let (packing, name) = match listed.path {
            Some(_) => Packing::of(&listed.name),
            None => (Packing::None, ""),
        };
        let format = self.reading.streams[stream].format.unwrap_or_else(|| Format::of(name));
        let open = |size, bytes| Open { stream, seen: at, size, format, bytes, rest: Vec::new() };
        if listed.path.is_none()
            && let Some(pipe) = self.reading.input.open(&self.reading.capture)?.pipe
        {
            seen.name.clone_from(&listed.name);
            seen.inode = listed.inode;
            return Ok(open(listed.size, Bytes::Pipe(pipe)));
        }

        let shown = listed
            .path
            .as_ref()
            .map_or(listed.name.clone(), |_| self.config.root.join(&listed.name).display().to_string());
        let failed = |reason: io::Error| error::endpoint(format!("{shown} cannot be read: {reason}"));
        let mut file = listed.path.as_ref().map_or_else(|| self.reading.input.file(), File::open).map_err(failed)?;
        let stat = file.metadata().map_err(failed)?;
        if !stat.is_file() || (stat.dev(), stat.ino()) != (listed.device, listed.inode) {
            return Err(error::endpoint(format!("{shown} was exchanged while it was being opened")));
        }
        let size = stat.len();
        let packed = packing != Packing::None;
        let cut = if packed { size < seen.size } else { size < seen.place.offset };
        let same = !cut && head(&mut file, seen.head_bytes).map_err(failed)? == (seen.head_bytes, seen.head_crc);
        if !same && !cut && seen.name == listed.name {
            return Err(error::user(format!(
                "{shown} was edited in place after it had been read; it may only grow. Give the new content a new file"
            )));
        }
        if !same {
            *seen = Seen::default();
        }
        let (head_bytes, head_crc) = match packed {
            true => head(&mut file, HEAD_BYTES_MAX).map_err(failed)?,
            false => (seen.head_bytes, seen.head_crc),
        };
        *seen = Seen {
            name: listed.name.clone(),
            device: listed.device,
            inode: listed.inode,
            size,
            place: std::mem::take(&mut seen.place),
            head_bytes,
            head_crc,
            whole: None,
            waits: None,
        };
        let input = Input::open(file, packing, seen.place.offset).map_err(|reason| match reason.kind() {
            io::ErrorKind::UnexpectedEof => error::user(format!("{shown} is shorter than what was read of it before")),
            _ => failed(reason),
        })?;
        Ok(open(size, Bytes::File(input)))
    }

    fn cursor(&self) -> Vec<u8> {
        let streams = self.reading.streams.iter().zip(&self.seen);
        let streams = streams.map(|(stream, seen)| (stream.name.clone(), seen.clone())).collect();
        serde_json::to_vec(&Cursor { streams }).expect("names and numbers are JSON")
    }

    /// Reads the next bytes of a file.
    fn read_file(&mut self, open: &mut Open, batch: &mut Batch) -> Result<Read, ConnectorError> {
        let seen = &mut self.seen[open.stream][open.seen];
        let before = open.rest.len();
        let ended = match open.bytes.read(seen.place.offset + before as u64, &mut open.rest) {
            Ok(ended) => ended,
            // A packed file that is still being written ends in the middle.
            Err(reason) if reason.kind() == io::ErrorKind::UnexpectedEof && self.reading.tail => true,
            Err(reason) => return Err(error::endpoint(format!("{} cannot be read: {reason}", seen.name))),
        };
        let is_pipe = matches!(open.bytes, Bytes::Pipe(_));
        // Nothing can be added to a pipe that ended.
        let last = ended && (is_pipe || !self.reading.tail);
        let binding = open.stream;
        let mut target = Target { batch, binding, columns: &self.reading.columns[binding], file: &seen.name };
        let taken = split::take(open.format, &open.rest, last, &mut seen.place, &mut target);
        let taken = taken.map_err(|why| error::user(format!("{}: {why}", seen.name)))?;
        let plain = Packing::of(&seen.name).0 == Packing::None;
        if plain && seen.head_bytes < HEAD_BYTES_MAX && seen.head_bytes + taken as u64 == seen.place.offset {
            let more = taken.min((HEAD_BYTES_MAX - seen.head_bytes) as usize);
            let mut head = crc32fast::Hasher::new_with_initial(seen.head_crc);
            head.update(&open.rest[..more]);
            seen.head_bytes += more as u64;
            seen.head_crc = head.finalize();
        }
        open.rest.drain(..taken);
        if open.rest.len() > DOCUMENT_BYTES_MAX {
            let (name, line) = (&seen.name, seen.place.lines + 1);
            return Err(error::user(format!(
                "the document at {name}:{line} is longer than {DOCUMENT_BYTES_MAX} bytes"
            )));
        }
        if ended {
            let settled = Some(open.size);
            if last || open.rest.is_empty() { seen.whole = settled } else { seen.waits = settled }
        }
        if taken > 0 || ended {
            batch.cursor = Some(self.cursor());
        }
        Ok(match ended {
            true => Read::Ended,
            false if taken == 0 && open.rest.len() == before => Read::Idle,
            false => Read::More,
        })
    }
}

impl Source for Files {
    fn halts_on_invalid(&self) -> bool {
        self.config.halts_on_invalid
    }

    fn read(&mut self, batch: &mut Batch) -> Result<Progress, ConnectorError> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => {
                if self.queue.is_empty() && (self.reading.tail || !self.listed) {
                    self.look()?;
                }
                match self.queue.pop() {
                    Some((stream, file)) => self.open_file(stream, &file)?,
                    None if self.reading.tail => return Ok(Progress::Wait(POLL_INTERVAL)),
                    None => return Ok(Progress::Done),
                }
            }
        };
        match self.read_file(&mut open, batch)? {
            Read::More => self.open = Some(open),
            Read::Ended => {}
            Read::Idle => {
                // With `tail` others are looked at meanwhile: what is in a pipe is kept there.
                self.open = (!self.reading.tail).then_some(open);
                return Ok(Progress::Wait(Duration::ZERO));
            }
        }
        Ok(Progress::More)
    }

    fn committed(&mut self, cursor: &[u8]) {
        let cursor: Option<Cursor> = serde_json::from_slice(cursor).ok();
        let seen = cursor.as_ref().and_then(|cursor| cursor.streams.get(STANDARD_INPUT)?.first());
        if let Some(seen) = seen {
            self.reading.input.forget(seen.inode, seen.place.offset);
        }
    }

    fn remaining_bytes(&self) -> Option<u64> {
        let passed = |open: &Open| match &open.bytes {
            Bytes::File(input) => open.size.saturating_sub(input.passed()),
            Bytes::Pipe(_) => 0,
        };
        let waiting = |(stream, file): &(usize, Listed)| {
            let seen = self.seen[*stream].iter().find(|seen| seen.is(file));
            let packed = Packing::of(&file.name).0 != Packing::None;
            let taken = seen.filter(|_| !packed).map_or(0, |seen| seen.place.offset);
            file.size.saturating_sub(taken)
        };
        Some(self.open.as_ref().map_or(0, passed) + self.queue.iter().map(waiting).sum::<u64>())
    }
}

/// Checksum of the first bytes, at most so many; and how many there were.
fn head(file: &mut File, bytes_max: u64) -> io::Result<(u64, u32)> {
    file.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    file.by_ref().take(bytes_max).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64, crc32fast::hash(&bytes)))
}
