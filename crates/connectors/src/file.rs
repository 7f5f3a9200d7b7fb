//! `source-file`: JSON documents, one a line, from files below a directory, plain or `.gz`.
//!
//! A file is known by its device and inode, so it may be renamed and grow. The cursor holds for every file how far its
//! lines have been taken, in uncompressed bytes, and a checksum of how it begins: a file that is cut short or replaced is a
//! new file, one that was edited in place is refused. Files are read in the order of their names. When they may still grow,
//! a last line without its newline waits; otherwise it is taken when the end is reached.

mod glob;
mod list;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use catalog::{ConfigError, Endpoint};
use flate2::bufread::MultiGzDecoder;
use runtime::{Batch, ConnectorError, Progress, Source};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::Fields;
use crate::error;
use crate::path::local_path;
use glob::Glob;
use list::{Listed, list};

/// The fields of a configuration.
pub(crate) const CONFIG_FIELDS: &[&str] = &["root", "onInvalid"];
/// The fields of a resource; those behind the first are for other connectors, and as good as used.
pub(crate) const RESOURCE_FIELDS: &[&str] = &["stream", "syncMode", "namespace", "cursorField", "primaryKey"];

const CHUNK_BYTES: u64 = 256 << 10;
const LINE_BYTES_MAX: usize = 16 << 20;
const HEAD_BYTES_MAX: u64 = 4 << 10;
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Where the files are, and what to do about documents that are refused.
pub(crate) struct Config {
    root: PathBuf,
    halts_on_invalid: bool,
}

/// Reads the configuration.
pub(crate) fn read_config(endpoint: &Endpoint) -> Result<Config, Vec<ConfigError>> {
    let mut fields = Fields::config(&endpoint.config, CONFIG_FIELDS);
    let root: Option<String> = fields.required("root", "the directory the files are in, relative to this catalog file");
    let path = root.and_then(|root| match local_path(&endpoint.base, &root) {
        Ok(path) => Some(path),
        Err(reason) => {
            fields.wrong("root", reason, None);
            None
        }
    });
    let halts_on_invalid = fields.halts_on_invalid();
    let errors = fields.finish();
    path.filter(|_| errors.is_empty()).map(|root| Config { root, halts_on_invalid }).ok_or(errors)
}

/// Checks the resource of the n-th binding and returns its stream: a file name, maybe with wildcards.
pub(crate) fn read_resource(n: usize, resource: &Value) -> Result<String, Vec<ConfigError>> {
    let mut fields = Fields::resource(n, resource, RESOURCE_FIELDS);
    let stream: Option<String> =
        fields.required("stream", "a file below the root, or a pattern such as `**/*.ndjson.gz`");
    if stream.as_ref().is_some_and(|stream| Glob::new(stream).is_none()) {
        let hint = "a relative path without empty, `.` and `..` components; `*`, `?` and `**` are wildcards";
        fields.wrong("stream", "this names nothing below the root", Some(hint));
    }
    let errors = fields.finish();
    stream.filter(|_| errors.is_empty()).ok_or(errors)
}

/// What the cursor keeps: for each stream, the files seen.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cursor {
    streams: BTreeMap<String, Vec<Seen>>,
}

/// A file, and how far it was read.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seen {
    /// Its name below the root when it was last read.
    name: String,
    device: u64,
    inode: u64,
    /// How long the file was then.
    size: u64,
    /// Uncompressed bytes taken: whole lines.
    offset: u64,
    /// Lines taken.
    lines: u64,
    /// How the file begins: so many bytes, with this CRC-32.
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
    input: Box<dyn Read + Send>,
    /// The beginning of a line of which the rest has not been read.
    carry: Vec<u8>,
}

/// A running capture of files.
pub(crate) struct Files {
    root: PathBuf,
    halts_on_invalid: bool,
    tail: bool,
    streams: Vec<(String, Glob)>,
    seen: Vec<Vec<Seen>>,
    open: Option<Open>,
    /// Files with something new, by stream; the next one last.
    queue: Vec<(usize, Listed)>,
    listed: bool,
}

impl Files {
    /// Goes on after the cursor. The root must exist, and so must every file that is named without wildcards.
    pub(crate) fn open(
        config: Config,
        streams: Vec<String>,
        cursor: Option<&[u8]>,
        tail: bool,
    ) -> Result<Self, ConnectorError> {
        let Config { root, halts_on_invalid } = config;
        let root = root
            .canonicalize()
            .map_err(|reason| error::user(format!("the directory {} cannot be read: {reason}", root.display())))?;
        let mut cursor: Cursor = match cursor {
            None => Cursor::default(),
            Some(text) => serde_json::from_slice(text)
                .map_err(|reason| error::user(format!("the cursor of the files cannot be read: {reason}")))?,
        };
        let seen = streams.iter().map(|stream| cursor.streams.remove(stream).unwrap_or_default()).collect();
        let globs = streams.into_iter().map(|stream| {
            let glob =
                Glob::new(&stream).ok_or_else(|| error::user(format!("{stream:?} names nothing below the root")))?;
            Ok((stream, glob))
        });
        let streams = globs.collect::<Result<_, ConnectorError>>()?;
        let mut files =
            Self { root, halts_on_invalid, tail, streams, seen, open: None, queue: Vec::new(), listed: false };
        files.look()?;
        Ok(files)
    }

    /// Looks for files with something new in them.
    fn look(&mut self) -> Result<(), ConnectorError> {
        for (stream, (name, glob)) in self.streams.iter().enumerate().rev() {
            let files = match list(&self.root, name, glob) {
                // Once seen, a file may go away for a while, as when logs are rotated.
                Err(_) if self.listed && glob.is_literal() => Vec::new(),
                files => files?,
            };
            let seen = &mut self.seen[stream];
            seen.retain(|seen| files.iter().any(|file| seen.is(file)));
            let new = files.into_iter().rev().filter(|file| {
                let known = seen.iter().find(|seen| seen.is(file));
                !known.is_some_and(|seen| seen.whole == Some(file.size) || seen.waits == Some(file.size))
            });
            self.queue.extend(new.map(|file| (stream, file)));
        }
        self.listed = true;
        Ok(())
    }

    /// Opens a file where its lines were last taken to.
    fn open_file(&mut self, stream: usize, listed: &Listed) -> Result<Open, ConnectorError> {
        let shown = self.root.join(&listed.name);
        let failed = |reason: io::Error| error::endpoint(format!("{} cannot be read: {reason}", shown.display()));
        let mut file = File::open(&listed.path).map_err(failed)?;
        let stat = file.metadata().map_err(failed)?;
        if !stat.is_file() || (stat.dev(), stat.ino()) != (listed.device, listed.inode) {
            return Err(error::endpoint(format!("{} was exchanged while it was being opened", shown.display())));
        }
        let size = stat.len();
        let packed = listed.name.ends_with(".gz");

        let all = &mut self.seen[stream];
        let at = all.iter().position(|seen| seen.is(listed)).unwrap_or_else(|| {
            all.push(Seen::default());
            all.len() - 1
        });
        let seen = &mut all[at];
        let cut = if packed { size < seen.size } else { size < seen.offset };
        let same = !cut && head(&mut file, seen.head_bytes).map_err(failed)? == (seen.head_bytes, seen.head_crc);
        if !same && !cut && seen.name == listed.name {
            return Err(error::user(format!(
                "{} was edited in place after it had been read; lines may only be added to it. Give the new content a new \
                 file",
                shown.display()
            )));
        }
        if !same {
            *seen = Seen::default();
        }
        let (head_bytes, head_crc) = head(&mut file, HEAD_BYTES_MAX).map_err(failed)?;
        *seen = Seen {
            name: listed.name.clone(),
            device: listed.device,
            inode: listed.inode,
            size,
            head_bytes,
            head_crc,
            whole: None,
            waits: None,
            ..*seen
        };

        let offset = seen.offset;
        file.seek(SeekFrom::Start(if packed { 0 } else { offset })).map_err(failed)?;
        let mut input: Box<dyn Read + Send> =
            if packed { Box::new(MultiGzDecoder::new(BufReader::new(file))) } else { Box::new(file) };
        if packed {
            let skipped = io::copy(&mut input.by_ref().take(offset), &mut io::sink()).map_err(failed)?;
            if skipped < offset {
                let message = format!("{} is shorter than what was read of it before", shown.display());
                return Err(error::user(message));
            }
        }
        Ok(Open { stream, seen: at, size, input, carry: Vec::new() })
    }

    fn cursor(&self) -> Vec<u8> {
        let streams = self.streams.iter().zip(&self.seen);
        let streams = streams.map(|((name, _), seen)| (name.clone(), seen.clone())).collect();
        serde_json::to_vec(&Cursor { streams }).expect("names and numbers are JSON")
    }
}

impl Source for Files {
    fn halts_on_invalid(&self) -> bool {
        self.halts_on_invalid
    }

    fn read(&mut self, batch: &mut Batch) -> Result<Progress, ConnectorError> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => {
                if self.queue.is_empty() && (self.tail || !self.listed) {
                    self.look()?;
                }
                match self.queue.pop() {
                    Some((stream, file)) => self.open_file(stream, &file)?,
                    None if self.tail => return Ok(Progress::Wait(POLL_INTERVAL)),
                    None => return Ok(Progress::Done),
                }
            }
        };
        let seen = &mut self.seen[open.stream][open.seen];

        let begin = batch.text.len();
        batch.text.append(&mut open.carry);
        let ended = match open.input.by_ref().take(CHUNK_BYTES).read_to_end(&mut batch.text) {
            Ok(bytes) => (bytes as u64) < CHUNK_BYTES,
            // A compressed file that is still being written ends in the middle.
            Err(reason) if reason.kind() == io::ErrorKind::UnexpectedEof && self.tail => true,
            Err(reason) => return Err(error::endpoint(format!("{} cannot be read: {reason}", seen.name))),
        };
        let end = match batch.text[begin..].iter().rposition(|byte| *byte == b'\n') {
            _ if ended && !self.tail => batch.text.len(),
            Some(newline) => begin + newline + 1,
            None => begin,
        };
        if batch.text.len() - end > LINE_BYTES_MAX {
            let (name, line) = (&seen.name, seen.lines + 1);
            return Err(error::user(format!("{name}:{line} is longer than {LINE_BYTES_MAX} bytes")));
        }
        open.carry.extend_from_slice(&batch.text[end..]);
        batch.text.truncate(end);

        take_lines(batch, begin, open.stream, seen);
        seen.offset += (end - begin) as u64;
        if ended {
            let settled = Some(open.size);
            if open.carry.is_empty() { seen.whole = settled } else { seen.waits = settled }
        }
        if end > begin || ended {
            batch.cursor = Some(self.cursor());
        }
        if !ended {
            self.open = Some(open);
        }
        Ok(Progress::More)
    }
}

/// Adds the lines from `begin` on as documents of the binding. Blank ones are none.
fn take_lines(batch: &mut Batch, begin: usize, binding: usize, seen: &mut Seen) {
    let mut start = begin;
    let mut run = false;
    while start < batch.text.len() {
        let line = &batch.text[start..];
        let length = line.iter().position(|byte| *byte == b'\n').map_or(line.len(), |newline| newline + 1);
        seen.lines += 1;
        if line[..length].trim_ascii().is_empty() {
            run = false;
        } else {
            if !run {
                batch.files.push((batch.documents.len(), seen.name.clone(), seen.lines));
                run = true;
            }
            batch.documents.push((binding, start..start + length));
        }
        start += length;
    }
}

/// Checksum of the first bytes, at most so many; and how many there were.
fn head(file: &mut File, bytes_max: u64) -> io::Result<(u64, u32)> {
    file.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    file.by_ref().take(bytes_max).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64, crc32fast::hash(&bytes)))
}
