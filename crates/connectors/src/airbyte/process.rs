//! A connector's process: what it is told, what it says, and what it may use.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, kill_process_group, prlimit, waitid};
use serde_json::Value;
use tempfile::TempDir;

use crate::surroundings::{Level, Surroundings, printable};

/// Longest line, and so largest document.
pub(super) const LINE_BYTES_MAX: usize = 16 << 20;
const READ_BYTES: usize = 256 << 10;
/// Memory of one process of a connector, unless its configuration says otherwise.
pub(super) const MEMORY_MIB: u64 = 2048;
/// How long it may take to end once it is asked to.
const END_TIME_MAX: Duration = Duration::from_secs(2);
/// Longest line of its standard error that is passed on.
const SAID_BYTES_MAX: u64 = 64 << 10;

/// How a connector is run.
#[derive(Debug, Clone)]
pub(super) struct Program {
    pub(super) how: How,
    /// What it is given besides.
    pub(super) environment: BTreeMap<String, String>,
    /// Where it is run: what relative paths in the command are relative to.
    pub(super) directory: PathBuf,
    pub(super) memory_mib: u64,
}

/// What is started.
#[derive(Debug, Clone)]
pub(super) enum How {
    /// A command of this machine.
    Command(Vec<String>),
    /// An image, with Docker.
    Image(String),
}

/// A file that a connector is given.
#[derive(Debug)]
pub(super) struct Given<'v> {
    pub(super) flag: &'static str,
    pub(super) value: &'v Value,
}

/// A running connector. It ends with this.
pub(super) struct Process {
    child: Child,
    stdout: ChildStdout,
    /// What was read and not taken.
    buffer: Vec<u8>,
    /// Bytes of it that were taken.
    taken: usize,
    ended: bool,
    /// How the process ended, once that is known.
    status: Option<ExitStatus>,
    /// Holds its configuration; goes away with it.
    _files: TempDir,
}

/// What a process has to say at a moment.
pub(super) enum Heard {
    /// Whole lines may be waiting.
    Something,
    /// Nothing, for as long as was waited.
    Nothing,
    /// It ended: well, or else how.
    End(Result<(), String>),
}

impl Program {
    /// Starts it with a command of the protocol; what it writes to its standard error goes to the log.
    pub(super) fn start(
        &self,
        command: &str,
        given: &[Given<'_>],
        name: &str,
        around: &Surroundings,
    ) -> io::Result<Process> {
        let files = tempfile::Builder::new().prefix("segtide-").tempdir()?;
        let seen = match &self.how {
            How::Command(_) => files.path().to_owned(),
            How::Image(_) => PathBuf::from("/segtide"),
        };
        let mut arguments = vec![command.to_owned()];
        for Given { flag, value } in given {
            let file = format!("{flag}.json");
            write_private(&files.path().join(&file), &serde_json::to_vec(value)?)?;
            arguments.push(format!("--{flag}"));
            arguments.push(seen.join(&file).to_string_lossy().into_owned());
        }
        let mut started = match &self.how {
            How::Command(words) => {
                let (program, rest) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
                let mut started = Command::new(in_directory(program, &self.directory));
                started.args(rest).envs(&self.environment);
                started
            }
            How::Image(image) => {
                let mut started = Command::new("docker");
                started.args(["run", "--rm", "--init", "--interactive", "--memory", &format!("{}m", self.memory_mib)]);
                started.arg("--volume").arg(format!("{}:/segtide:ro", files.path().display()));
                for (name, value) in &self.environment {
                    started.arg("--env").arg(format!("{name}={value}"));
                }
                started.arg(image);
                started
            }
        };
        // Of our environment it gets what it needs to be found and to speak; the rest is ours.
        let given: Vec<_> = started.get_envs().filter_map(|(n, v)| Some((n.to_owned(), v?.to_owned()))).collect();
        started.env_clear().envs(around.environment.iter().cloned()).envs(given);
        started.args(arguments).current_dir(&self.directory).process_group(0);
        let mut child = started.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        if let (How::Command(_), Some(pid)) = (&self.how, Pid::from_raw(child.id().cast_signed())) {
            // Its own processes inherit it. Where it has ended already there is nothing to bound.
            let bytes = Some(self.memory_mib << 20);
            let _ = prlimit(Some(pid), Resource::Data, Rlimit { current: bytes, maximum: bytes });
        }
        let missing = || io::Error::other("its output cannot be read");
        let stdout = child.stdout.take().ok_or_else(missing)?;
        let stderr = child.stderr.take().ok_or_else(missing)?;
        let (log, name) = (Arc::clone(&around.log), name.to_owned());
        std::thread::Builder::new().name(format!("{name} stderr")).spawn(move || {
            let mut said = BufReader::new(stderr);
            let mut line = Vec::new();
            while matches!(said.by_ref().take(SAID_BYTES_MAX).read_until(b'\n', &mut line), Ok(bytes) if bytes > 0) {
                log(Level::Info, &name, &printable(&String::from_utf8_lossy(&line)));
                line.clear();
            }
        })?;
        Ok(Process { child, stdout, buffer: Vec::new(), taken: 0, ended: false, status: None, _files: files })
    }
}

/// A program by a relative path is found from the catalog; by a bare name, as a shell would.
fn in_directory(program: &str, directory: &Path) -> PathBuf {
    if program.contains('/') { directory.join(program) } else { PathBuf::from(program) }
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)
}

impl Process {
    /// Waits no longer than this for it to say something or to end.
    pub(super) fn listen(&mut self, wait: Duration) -> io::Result<Heard> {
        if self.ended {
            // Its output is closed; it may still be about to end.
            let begun = Instant::now();
            loop {
                if let Some(status) = self.end()? {
                    let how = if status.success() { Ok(()) } else { Err(status.to_string()) };
                    return Ok(Heard::End(how));
                }
                if begun.elapsed() >= wait {
                    return Ok(Heard::Nothing);
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(wait.subsec_nanos()) };
        let mut fds = [PollFd::new(&self.stdout, PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {
                // One that ended may have left others that hold its output open.
                self.end()?;
                return Ok(Heard::Nothing);
            }
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        self.buffer.drain(..self.taken);
        self.taken = 0;
        let before = self.buffer.len();
        self.buffer.resize(before + READ_BYTES, 0);
        let read = self.stdout.read(&mut self.buffer[before..]);
        self.buffer.truncate(before + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => {
                self.ended = true;
                // A last line need not be ended.
                if !self.buffer.is_empty() {
                    self.buffer.push(b'\n');
                }
                Ok(Heard::Something)
            }
            Ok(_) if memchr::memchr(b'\n', &self.buffer).is_none() && self.buffer.len() > LINE_BYTES_MAX => {
                Err(io::Error::other(format!("it wrote a line of more than {} MiB", LINE_BYTES_MAX >> 20)))
            }
            Ok(_) => Ok(Heard::Something),
            Err(error) => Err(error),
        }
    }

    /// The next whole line that was heard. Blank ones are none.
    pub(super) fn line(&mut self) -> Option<&[u8]> {
        loop {
            let begin = self.taken;
            let length = memchr::memchr(b'\n', &self.buffer[begin..])?;
            self.taken = begin + length + 1;
            if !self.buffer[begin..begin + length].trim_ascii().is_empty() {
                return Some(&self.buffer[begin..begin + length]);
            }
        }
    }

    fn pid(&self) -> Option<Pid> {
        Pid::from_raw(self.child.id().cast_signed())
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.pid() {
            let _ = kill_process_group(group, signal);
        }
    }

    /// How it ended, if it did; what it left running ends with it.
    fn end(&mut self) -> io::Result<Option<ExitStatus>> {
        if self.status.is_some() {
            return Ok(self.status);
        }
        let Some(pid) = self.pid() else { return Ok(None) };
        // As long as it is not waited for, its number is nobody else's.
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        if waitid(WaitId::Pid(pid), look)?.is_some() {
            self.signal(Signal::KILL);
            self.status = Some(self.child.wait()?);
        }
        Ok(self.status)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.end(), Ok(None)) {
            self.signal(Signal::TERM);
            let begun = Instant::now();
            while begun.elapsed() < END_TIME_MAX && matches!(self.end(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        if self.status.is_none() {
            self.signal(Signal::KILL);
            let _ = self.child.wait();
        }
    }
}
