//! The program as a process: started, listened to, stopped or killed by its id, never left behind.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How long a start may take, on a machine that is busy with other tests.
const START: Duration = Duration::from_secs(30);

/// What a program said and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    /// The exit status.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

/// Runs `segtide` with these arguments in a directory to its end.
pub(crate) fn segtide(directory: &Path, arguments: &[&str]) -> Said {
    let output = command(directory, arguments).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

/// `segtide` with these arguments, undisturbed by the variables of whoever runs the tests.
fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_segtide"));
    command.current_dir(directory).args(arguments);
    undisturbed(&mut command);
    command
}

/// Lets a command be as for somebody who has set nothing, and sees no colours.
pub(crate) fn undisturbed(command: &mut Command) {
    let ours = std::env::vars_os().map(|(name, _)| name).filter(|name| name.to_string_lossy().starts_with("SEGTIDE_"));
    for name in ours.chain(["GITHUB_ACTIONS".into(), "FORCE_COLOR".into()]) {
        command.env_remove(name);
    }
    command.env("NO_COLOR", "1").env("LC_ALL", "C.UTF-8");
}

/// A running process. Dropping it kills it.
pub(crate) struct Process {
    child: Child,
    output: Arc<Output>,
}

/// The lines of both output streams, in the order they came.
#[derive(Default)]
struct Output {
    lines: Mutex<Vec<String>>,
    grew: Condvar,
}

impl Process {
    /// Starts `segtide` with these arguments in a directory.
    pub(crate) fn segtide(directory: &Path, arguments: &[&str]) -> Self {
        Self::start(&mut command(directory, arguments))
    }

    /// Starts `segtide develop` of a catalog file in a directory, with more arguments, and waits until it listens; also gives
    /// the port it listens on.
    pub(crate) fn develop(directory: &Path, source: &str, arguments: &[&str]) -> (Self, u16) {
        let mut process =
            Self::segtide(directory, &[&["develop", "--source", source, "--port", "0"], arguments].concat());
        let line = process.wait_for_line("Listening at:", START);
        let port = line.rsplit(':').next().unwrap().parse().unwrap();
        (process, port)
    }

    /// Starts any command.
    pub(crate) fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = Arc::new(Output::default());
        gather(child.stdout.take().unwrap(), output.clone());
        gather(child.stderr.take().unwrap(), output.clone());
        Self { child, output }
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has said so far.
    pub(crate) fn output(&self) -> String {
        self.output.lines.lock().unwrap().join("\n")
    }

    /// Waits for a line that contains `phrase`, and returns it; one that was said before counts.
    pub(crate) fn wait_for_line(&mut self, phrase: &str, timeout: Duration) -> String {
        let deadline = Instant::now() + timeout;
        let mut lines = self.output.lines.lock().unwrap();
        loop {
            if let Some(line) = lines.iter().find(|line| line.contains(phrase)) {
                return line.clone();
            }
            let ended = self.child.try_wait().unwrap();
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no line with {phrase:?} in {timeout:?}, but:\n{}", lines.join("\n"));
            // It may end without another line, so the wait is short; having ended, it may still have lines in the pipe.
            let (next, waited) = self.output.grew.wait_timeout(lines, left.min(Duration::from_millis(100))).unwrap();
            lines = next;
            if let Some(status) = ended
                && waited.timed_out()
            {
                panic!("it ended with {status} before a line with {phrase:?}:\n{}", lines.join("\n"));
            }
        }
    }

    /// Waits until it ends by itself.
    pub(crate) fn wait(&mut self, timeout: Duration) -> ExitStatus {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it still runs after {timeout:?}:\n{}", self.output());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends SIGTERM and waits until it ends.
    pub(crate) fn terminate(&mut self, timeout: Duration) -> ExitStatus {
        let sent = Command::new("sh").arg("-c").arg(format!("kill -TERM {}", self.id())).status().unwrap();
        assert!(sent.success(), "SIGTERM could not be sent");
        self.wait(timeout)
    }

    /// Kills it on the spot, as `kill -9` does; whether it was still running.
    pub(crate) fn kill_9(&mut self) -> bool {
        let running = self.child.try_wait().unwrap().is_none();
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        running
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }
}

fn gather(stream: impl Read + Send + 'static, output: Arc<Output>) {
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            output.lines.lock().unwrap().push(line);
            output.grew.notify_all();
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn shell(script: &str) -> Process {
        Process::start(Command::new("sh").arg("-c").arg(script))
    }

    #[test]
    fn lines_of_both_streams_are_heard() {
        let mut process = shell("echo one; echo two >&2; sleep 60");
        assert_eq!(process.wait_for_line("two", SOON), "two");
        assert_eq!(process.wait_for_line("on", SOON), "one");
        process.kill_9();
        assert!(!process.wait(SOON).success());
    }

    #[test]
    fn the_program_is_found() {
        assert!(Process::segtide(Path::new("/"), &["--version"]).wait(SOON).success());
    }

    #[test]
    fn sigterm_is_an_orderly_end() {
        let mut process = shell("trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.01; done");
        process.wait_for_line("ready", SOON);
        assert!(process.terminate(SOON).success());
        process.wait_for_line("bye", SOON);
    }

    #[test]
    #[should_panic(expected = "it ended with exit status: 3 before a line with \"ready\":\noops")]
    fn a_process_that_ends_early_is_not_waited_for() {
        shell("echo oops; exit 3").wait_for_line("ready", SOON);
    }
}
