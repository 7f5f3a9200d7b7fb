//! Standard input where it is a pipe or a terminal: bytes that come once.
//!
//! They are kept until the documents in them are committed, so that a task that starts again in the same process reads them again.
//! Nothing can bring them back once the process is gone: another run begins with what it is given.

use std::fs::File;
use std::io::{self, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bytes that are kept; the writer waits meanwhile.
const KEPT_BYTES_MAX: usize = 64 << 20;
const READ_BYTES: usize = 64 << 10;

/// What came through a pipe and is not committed. Cheap to clone.
#[derive(Clone)]
pub(super) struct Pipe(Arc<Shared>);

#[derive(Default)]
struct Shared {
    kept: Mutex<Kept>,
    changed: Condvar,
}

#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    /// The offset of the first one.
    begin: u64,
    end: Option<io::Result<()>>,
}

impl Pipe {
    /// Begins to read.
    pub(super) fn open(file: File) -> io::Result<Self> {
        let pipe = Self(Arc::default());
        let shared = Arc::clone(&pipe.0);
        std::thread::Builder::new().name("standard input".into()).spawn(move || shared.fill(file))?;
        Ok(pipe)
    }

    /// Appends up to so many bytes from an offset on, which was not forgotten; waits no longer than `wait` where there are none.
    /// Whether the pipe has ended with them.
    pub(super) fn read(&self, offset: u64, max: usize, wait: Duration, into: &mut Vec<u8>) -> io::Result<bool> {
        let at = |kept: &Kept| offset.saturating_sub(kept.begin) as usize;
        let idle = |kept: &mut Kept| kept.end.is_none() && at(kept) >= kept.bytes.len();
        let kept = self.0.changed.wait_timeout_while(self.0.lock(), wait, idle);
        let kept = kept.unwrap_or_else(PoisonError::into_inner).0;
        let begin = at(&kept).min(kept.bytes.len());
        let end = kept.bytes.len().min(begin + max);
        into.extend_from_slice(&kept.bytes[begin..end]);
        match &kept.end {
            Some(ended) if end == kept.bytes.len() => match ended {
                Ok(()) => Ok(true),
                Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
            },
            _ => Ok(false),
        }
    }

    /// Forgets what is before an offset.
    pub(super) fn forget(&self, offset: u64) {
        let mut kept = self.0.lock();
        let bytes = (offset.saturating_sub(kept.begin) as usize).min(kept.bytes.len());
        kept.bytes.drain(..bytes);
        kept.begin += bytes as u64;
        drop(kept);
        self.0.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fill(&self, mut file: File) {
        let mut bytes = vec![0; READ_BYTES];
        loop {
            let read = file.read(&mut bytes);
            let mut kept = self.lock();
            match read {
                Ok(count) if count > 0 => kept.bytes.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                end => kept.end = Some(end.map(|_| ())),
            }
            let ended = kept.end.is_some();
            self.changed.notify_all();
            let full = |kept: &mut Kept| kept.bytes.len() >= KEPT_BYTES_MAX;
            drop(self.changed.wait_while(kept, full));
            if ended {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::os::unix::net::UnixStream;

    const WAIT: Duration = Duration::from_secs(30);

    #[test]
    fn what_is_not_forgotten_can_be_read_again_and_no_more_is_kept() {
        let (mut writer, reader) = UnixStream::pair().unwrap();
        let pipe = Pipe::open(File::from(std::os::fd::OwnedFd::from(reader))).unwrap();
        let read = |offset, max| {
            let mut bytes = Vec::new();
            let ended = pipe.read(offset, max, WAIT, &mut bytes).unwrap();
            (String::from_utf8(bytes).unwrap(), ended)
        };
        writer.write_all(b"abcdef").unwrap();
        assert_eq!(read(0, 3), ("abc".into(), false));
        assert_eq!(read(1, 3), ("bcd".into(), false));
        pipe.forget(2);
        assert_eq!(read(2, 2), ("cd".into(), false));
        let written = std::thread::spawn(move || {
            let block = vec![b'x'; 1 << 20];
            (0..66).for_each(|_| writer.write_all(&block).unwrap());
        });
        let kept = || pipe.0.lock().bytes.len();
        let begun = std::time::Instant::now();
        while kept() < KEPT_BYTES_MAX {
            assert!(begun.elapsed() < WAIT);
            std::thread::yield_now();
        }
        assert!(!written.is_finished() && kept() <= KEPT_BYTES_MAX + READ_BYTES, "the writer waits");
        let mut offset = 2;
        loop {
            let mut bytes = Vec::new();
            let ended = pipe.read(offset, 1 << 20, WAIT, &mut bytes).unwrap();
            offset += bytes.len() as u64;
            pipe.forget(offset);
            if ended {
                break;
            }
        }
        written.join().unwrap();
        assert_eq!(offset, 6 + (66 << 20));
    }
}
