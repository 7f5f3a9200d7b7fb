//! One fragment: an immutable file of a journal's documents, named by what it holds.
//!
//! ```text
//! <journal>/utc_date=2026-11-23/utc_hour=07/0000000000000000-00000000000004d2-da39…0709.gz
//!                                           begin            end (exclusive)  SHA-1 of the uncompressed documents
//! ```
//!
//! Offsets are hexadecimal and count uncompressed bytes. The hour is that of the fragment's first append. The ending says how
//! the file is packed: `.gz`, `.zst`, or `.raw` for not at all. It is one gzip member or Zstandard frame behind another, which
//! tools read as one.

use std::io::{self, Read, Write};

use flate2::read::MultiGzDecoder;
use flate2::{Compression, GzBuilder};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use sha1::{Digest, Sha1};
use sha2::Sha256;

/// Level 1 deflates at about twice the speed of level 3; where a file's size matters more, it can be packed again later.
const DEFLATE_LEVEL: u32 = 1;
/// The same reasoning.
const ZSTANDARD_LEVEL: i32 = 1;
/// The largest fragment, in bytes of documents, unless a single document is larger: readers unpack it whole.
pub(crate) const FRAGMENT_BYTES_MAX: u64 = 64 << 20;
/// The longest component of a path that file systems take.
const COMPONENT_BYTES_MAX: usize = 255;
/// Leaves room in a path for the root before it, and the date, hour and file name behind it.
const JOURNAL_BYTES_MAX: usize = 2048;
const HOUR_US: u64 = 3_600_000_000;

/// SHA-1 of a fragment's uncompressed documents.
pub(crate) type Sum = [u8; 20];

/// How a fragment's file is packed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Codec {
    /// gzip.
    #[default]
    Gzip,
    /// Not at all.
    None,
    /// Zstandard.
    Zstandard,
}

impl Codec {
    /// The ending of file names.
    pub(crate) fn ending(self) -> &'static str {
        match self {
            Codec::Gzip => ".gz",
            Codec::None => ".raw",
            Codec::Zstandard => ".zst",
        }
    }

    pub(crate) fn to_byte(self) -> u8 {
        match self {
            Codec::Gzip => 0,
            Codec::None => 1,
            Codec::Zstandard => 2,
        }
    }

    pub(crate) fn from_byte(byte: u8) -> Option<Codec> {
        [Codec::Gzip, Codec::None, Codec::Zstandard].into_iter().find(|codec| codec.to_byte() == byte)
    }
}

/// A fragment of a journal as the index knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FragmentInfo {
    /// The journal it belongs to.
    pub journal: String,
    /// Offset of its first byte.
    pub begin: u64,
    /// Offset behind its last byte.
    pub end: u64,
    /// When its first documents were appended, in microseconds since 1970 UTC.
    pub time_us: u64,
    /// SHA-1 of the uncompressed documents.
    pub sha1: [u8; 20],
    /// Size of the file in bytes.
    pub file_bytes: u64,
    /// When its last documents were appended; the end of the hour where that was not recorded.
    pub last_us: u64,
    /// How the file is packed.
    pub codec: Codec,
    /// SHA-256 of the file; `None` where that was not recorded.
    pub sha256: Option<[u8; 32]>,
    /// The URL of the store it is kept in; empty for that of the data directory.
    pub store: String,
}

impl FragmentInfo {
    /// Where the file is, below the root of the fragments.
    pub fn path(&self) -> String {
        let time = utc(self.time_us).expect("an append whose time has no date is never committed");
        let mut path = format!(
            "{}/utc_date={}/utc_hour={:02}/{:016x}-{:016x}-",
            self.journal,
            time.date(),
            time.hour(),
            self.begin,
            self.end
        );
        path.push_str(&hex(&self.sha1));
        path.push_str(self.codec.ending());
        path
    }

    /// Whether these bytes are the file's; says what is wrong otherwise.
    pub(crate) fn verify(&self, file: &[u8]) -> Result<(), String> {
        if file.len() as u64 != self.file_bytes {
            return Err(format!("expected {} bytes, found {}", self.file_bytes, file.len()));
        }
        let expected = self.sha256.as_ref().map(|sum| hex(sum));
        let found = self.sha256.is_some().then(|| hex(&Sha256::digest(file)));
        if expected != found {
            let (expected, found) = (expected.unwrap_or_default(), found.unwrap_or_default());
            return Err(format!("expected SHA-256 {expected}, found {found}"));
        }
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn utc(time_us: u64) -> Option<jiff::civil::DateTime> {
    let time = Timestamp::from_microsecond(i64::try_from(time_us).ok()?).ok()?;
    Some(TimeZone::UTC.to_datetime(time))
}

/// The hour an append belongs to; appends of different hours never share a fragment.
pub(crate) fn hour(time_us: u64) -> u64 {
    time_us / HOUR_US
}

/// Why documents can never be kept under this journal name and time, if so.
pub(crate) fn refusal(journal: &str, time_us: u64) -> Option<String> {
    if journal.len() > JOURNAL_BYTES_MAX {
        return Some(format!("its name has {} bytes, more than {JOURNAL_BYTES_MAX}", journal.len()));
    }
    for component in journal.split('/') {
        if matches!(component, "" | "." | "..") {
            return Some(format!("its name has the component \"{component}\""));
        }
        if component.len() > COMPONENT_BYTES_MAX {
            return Some(format!(
                "a component of its name has {} bytes, more than {COMPONENT_BYTES_MAX}",
                component.len()
            ));
        }
        if component.bytes().any(|byte| byte.is_ascii_control()) {
            return Some("its name has a control character".to_owned());
        }
    }
    utc(time_us).is_none().then(|| format!("there is no date at {time_us} microseconds since 1970"))
}

/// A member or frame that is being packed, or what is not packed at all.
enum Packing {
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
    None(Vec<u8>),
    Zstandard(zstd::Encoder<'static, Vec<u8>>),
}

impl Packing {
    /// Packs behind what is in `file`.
    fn behind(file: Vec<u8>, codec: Codec) -> Packing {
        match codec {
            // No time stamp: the same documents make the same file.
            Codec::Gzip => Packing::Gzip(GzBuilder::new().mtime(0).write(file, Compression::new(DEFLATE_LEVEL))),
            Codec::None => Packing::None(file),
            Codec::Zstandard => {
                Packing::Zstandard(zstd::Encoder::new(file, ZSTANDARD_LEVEL).expect("the level is one there is"))
            }
        }
    }

    fn push(&mut self, documents: &[u8]) {
        let written = match self {
            Packing::Gzip(file) => file.write_all(documents),
            Packing::None(file) => file.write_all(documents),
            Packing::Zstandard(file) => file.write_all(documents),
        };
        written.expect("a vector takes every write");
    }

    fn finish(self) -> Vec<u8> {
        let file = match self {
            Packing::Gzip(file) => file.finish(),
            Packing::None(file) => Ok(file),
            Packing::Zstandard(file) => file.finish(),
        };
        file.expect("a vector takes every write")
    }
}

/// Packs documents as a part of a fragment.
pub(crate) fn pack(documents: &[u8], codec: Codec) -> Vec<u8> {
    let mut packing = Packing::behind(Vec::with_capacity(documents.len() / 4), codec);
    packing.push(documents);
    packing.finish()
}

/// Makes a fragment's file of its blocks as they come, so that only the packed bytes are held.
pub(crate) struct Packer {
    codec: Codec,
    file: Vec<u8>,
    /// What is packed together, behind what was in `file`.
    open: Option<Packing>,
}

impl Packer {
    pub(crate) fn new(codec: Codec) -> Packer {
        Packer { codec, file: Vec::new(), open: None }
    }

    /// Adds documents.
    pub(crate) fn push(&mut self, documents: &[u8]) {
        let Packer { codec, file, open } = self;
        open.get_or_insert_with(|| Packing::behind(std::mem::take(file), *codec)).push(documents);
    }

    /// Adds documents that are packed already, by this codec.
    pub(crate) fn push_packed(&mut self, packed: &[u8]) {
        if let Some(open) = self.open.take() {
            self.file = open.finish();
        }
        self.file.extend_from_slice(packed);
    }

    /// The file.
    pub(crate) fn finish(self) -> Vec<u8> {
        self.open.map_or(self.file, Packing::finish)
    }
}

/// SHA-256 of a file.
pub(crate) fn sha256(file: &[u8]) -> [u8; 32] {
    Sha256::digest(file).into()
}

/// Unpacks a file that must hold exactly `bytes` bytes of sum `sha1`; says what is wrong otherwise.
pub(crate) fn unpack(file: &[u8], codec: Codec, bytes: u64, sha1: &Sum) -> Result<Vec<u8>, String> {
    let documents = unpack_part(file, codec, bytes)?;
    let actual: Sum = Sha1::digest(&documents).into();
    if actual != *sha1 {
        return Err(format!("expected SHA-1 {}, found {}", hex(sha1), hex(&actual)));
    }
    Ok(documents)
}

/// Unpacks what must hold exactly `bytes` bytes; says what is wrong otherwise.
pub(crate) fn unpack_part(packed: &[u8], codec: Codec, bytes: u64) -> Result<Vec<u8>, String> {
    let expected = usize::try_from(bytes).map_err(|_| format!("{bytes} bytes do not fit into memory"))?;
    let mut documents = Vec::with_capacity(expected.min(FRAGMENT_BYTES_MAX as usize));
    // One byte more than expected is enough to know that there is too much, however far it would inflate.
    let inflated: io::Result<usize> = match codec {
        Codec::Gzip => MultiGzDecoder::new(packed).take(bytes + 1).read_to_end(&mut documents),
        Codec::None => packed.take(bytes + 1).read_to_end(&mut documents),
        Codec::Zstandard => {
            zstd::Decoder::with_buffer(packed).and_then(|packed| packed.take(bytes + 1).read_to_end(&mut documents))
        }
    };
    inflated.map_err(|error| format!("it cannot be unpacked: {error}"))?;
    if documents.len() != expected {
        return Err(format!("it holds other than the {bytes} bytes its name says"));
    }
    Ok(documents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_what_the_file_holds() {
        let info = FragmentInfo {
            journal: "a/b/vendor=3/pivot=00".to_owned(),
            begin: 0x1f,
            end: 0xabc_def0,
            time_us: 1_637_107_199_999_999,
            sha1: [0x0f; 20],
            file_bytes: 1,
            last_us: 0,
            codec: Codec::Gzip,
            sha256: None,
            store: String::new(),
        };
        assert_eq!(
            info.path(),
            "a/b/vendor=3/pivot=00/utc_date=2021-11-16/utc_hour=23/\
             000000000000001f-000000000abcdef0-0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f.gz"
        );
    }

    #[test]
    fn names_no_file_can_have_are_refused() {
        let long = "x".repeat(256);
        for name in ["", "/a", "a/", "a//b", "a/./b", "../a", "a/..", "a\0b", "a\nb", &long, &"y/".repeat(2000)] {
            assert!(refusal(name, 0).is_some(), "{name:?}");
        }
        for name in ["a", "a/b=%2E%2E/pivot=00", "a/b=c+d~e/…", &long[..255]] {
            assert_eq!(refusal(name, 0), None, "{name:?}");
        }
        assert!(refusal("a", u64::MAX).is_some());
    }

    #[test]
    fn what_was_packed_before_is_a_part_of_the_file() {
        for codec in [Codec::Gzip, Codec::None, Codec::Zstandard] {
            // Packed and not packed before, in any order.
            for packed in 0..16 {
                let (mut packer, mut expected) = (Packer::new(codec), Vec::new());
                for nth in 0..4 {
                    let documents = format!("{{\"a\":{nth}}}\n").repeat(1 + nth).into_bytes();
                    match packed & (1 << nth) {
                        0 => packer.push(&documents),
                        _ => packer.push_packed(&pack(&documents, codec)),
                    }
                    expected.extend(documents);
                }
                let file = packer.finish();
                let sum = Sha1::digest(&expected).into();
                assert_eq!(
                    unpack(&file, codec, expected.len() as u64, &sum).unwrap(),
                    expected,
                    "{codec:?} {packed:b}"
                );
            }
        }
    }

    #[test]
    fn what_is_packed_is_unpacked_and_any_change_is_noticed() {
        for codec in [Codec::Gzip, Codec::None, Codec::Zstandard] {
            let mut packer = Packer::new(codec);
            packer.push(b"{\"a\":1}\n");
            packer.push(b"{\"a\":2}\n");
            let file = packer.finish();
            let (bytes, sha1) = (16, Sha1::digest(b"{\"a\":1}\n{\"a\":2}\n").into());
            let unpack = |file: &[u8], bytes, sha1| unpack(file, codec, bytes, sha1);
            assert_eq!(unpack(&file, bytes, &sha1).unwrap(), b"{\"a\":1}\n{\"a\":2}\n");
            assert!(unpack(&file, bytes - 1, &sha1).is_err());
            assert!(unpack(&file, bytes + 1, &sha1).is_err());
            assert!(unpack(&file, bytes, &[0; 20]).is_err());
            for at in 0..file.len() {
                let mut damaged = file.clone();
                damaged[at] ^= 0x10;
                // Some bits of a header mean nothing; the documents are then unharmed.
                if let Ok(found) = unpack(&damaged, bytes, &sha1) {
                    assert_eq!(found, b"{\"a\":1}\n{\"a\":2}\n", "byte {at}");
                }
                assert!(unpack(&file[..at], bytes, &sha1).is_err(), "{codec:?} cut at {at}");
            }
        }
    }
}
