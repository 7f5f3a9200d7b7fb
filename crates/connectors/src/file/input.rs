//! What files are read through: unpacked, counted, and from any place on.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;

/// The largest window of Zstandard, as a power of two: 8 MiB.
const WINDOW_LOG_MAX: u32 = 23;

/// How a file is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    None,
    Gzip,
    Zstandard,
}

impl Packing {
    /// What the name of a file says of it, and the name without that.
    pub(super) fn of(name: &str) -> (Self, &str) {
        for (ending, packing) in [(".gz", Self::Gzip), (".zst", Self::Zstandard)] {
            if let Some(name) = name.strip_suffix(ending) {
                return (packing, name);
            }
        }
        (Self::None, name)
    }
}

/// The unpacked bytes of a file.
pub(super) struct Input {
    unpacked: Box<dyn Read + Send>,
    /// Bytes of the file itself that were read.
    passed: Arc<AtomicU64>,
}

impl Input {
    /// Reads on after so many unpacked bytes. A packed file is unpacked from its beginning: nothing else says where a line of it
    /// is. `UnexpectedEof` where it has fewer.
    pub(super) fn open(mut file: File, packing: Packing, offset: u64) -> io::Result<Self> {
        let begin = if packing == Packing::None { offset } else { 0 };
        file.seek(SeekFrom::Start(begin))?;
        let passed = Arc::new(AtomicU64::new(begin));
        let counted = Counted { file, passed: Arc::clone(&passed) };
        let mut unpacked: Box<dyn Read + Send> = match packing {
            Packing::None => Box::new(counted),
            Packing::Gzip => Box::new(MultiGzDecoder::new(BufReader::new(counted))),
            Packing::Zstandard => {
                let mut decoder = zstd::stream::read::Decoder::new(counted)?;
                decoder.window_log_max(WINDOW_LOG_MAX)?;
                Box::new(decoder)
            }
        };
        if packing != Packing::None && io::copy(&mut unpacked.by_ref().take(offset), &mut io::sink())? < offset {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Self { unpacked, passed })
    }

    /// Bytes of the file, as it is, that were read.
    pub(super) fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }
}

impl Read for Input {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.unpacked.read(into)
    }
}

struct Counted {
    file: File,
    passed: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let bytes = self.file.read(into)?;
        self.passed.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(bytes)
    }
}
