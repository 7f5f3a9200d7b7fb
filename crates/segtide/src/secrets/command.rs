//! Commands that say a secret, such as those of password stores: what they print, within limits of time and size, once for each
//! catalog that is read.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use super::Wrong;

/// The most that a command may print, in bytes.
const SAID_BYTES_MAX: u64 = 64 << 10;
/// How long it may take.
const TIME_MAX: Duration = Duration::from_secs(10);
/// What is repeated of its complaints, in characters.
const COMPLAINT_CHARS_MAX: usize = 200;
/// How often it is looked whether it has ended, once it has closed its output.
const LOOK: Duration = Duration::from_millis(5);

/// What commands have said, or how they failed, by folder and command; `None` where none may be run.
type Heard = Option<BTreeMap<(PathBuf, String), Result<String, String>>>;

static HEARD: Mutex<Heard> = Mutex::new(None);

/// From now on commands are run, or not; what they have said is forgotten.
pub fn allow(allowed: bool) {
    *HEARD.lock().unwrap_or_else(PoisonError::into_inner) = allowed.then(BTreeMap::new);
}

/// What a command says that is run in a folder, without the newline at its end.
pub fn said(command: &str, folder: &Path) -> Result<String, Wrong> {
    // One at a time: a store that asks for a passphrase asks once.
    let mut heard = HEARD.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(heard) = &mut *heard else {
        let message = "`${cmd:COMMAND}` would run a command, which a catalog may not by itself".to_owned();
        return Err((message, Some("if you trust it, say so with --allow-exec".to_owned())));
    };
    let said = heard.entry((folder.to_owned(), command.to_owned())).or_insert_with(|| run(command, folder, TIME_MAX));
    said.clone().map_err(|why| (format!("the command `{command}` {why}"), None))
}

/// Runs it; an error says what went wrong, and nothing of what it printed.
fn run(command: &str, folder: &Path, time_max: Duration) -> Result<String, String> {
    let until = Instant::now() + time_max;
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).current_dir(folder);
    shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = shell.spawn().map_err(|error| format!("cannot be started: {error}"))?;
    let ended = listen(&mut child, until);
    // Whatever it is doing, nobody waits for it any more.
    let _ = child.kill();
    let _ = child.wait();
    let too_long = || format!("takes longer than {}", humantime::format_duration(time_max));
    let (text, complaint, is_well) = ended.ok_or_else(too_long)?;
    if text.len() as u64 > SAID_BYTES_MAX {
        return Err(format!("says more than {SAID_BYTES_MAX} bytes"));
    }
    if !is_well {
        let complaint = String::from_utf8_lossy(&complaint);
        let last = complaint.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it does not say why");
        let last: String = last.chars().filter(|c| !c.is_control()).take(COMPLAINT_CHARS_MAX).collect();
        return Err(format!("failed: {last}"));
    }
    let text = String::from_utf8(text).map_err(|_| "says something that is not text in UTF-8".to_owned())?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

/// Both outputs of a process, a little more than is allowed at most, and whether it ended well; `None` if that takes too long.
fn listen(child: &mut Child, until: Instant) -> Option<(Vec<u8>, Vec<u8>, bool)> {
    fn gather(stream: Option<impl std::io::Read + Send + 'static>) -> mpsc::Receiver<Vec<u8>> {
        let (whole, received) = mpsc::channel();
        // A process that it left behind may keep the pipe open for ever, so nobody waits for this thread.
        std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stream.map(|stream| stream.take(SAID_BYTES_MAX + 1).read_to_end(&mut text));
            let _ = whole.send(text);
        });
        received
    }
    let left = || until.saturating_duration_since(Instant::now());
    let (out, err) = (gather(child.stdout.take()), gather(child.stderr.take()));
    let text = out.recv_timeout(left()).ok()?;
    if text.len() as u64 > SAID_BYTES_MAX {
        return Some((text, Vec::new(), false));
    }
    let complaint = err.recv_timeout(left()).ok()?;
    loop {
        match child.try_wait().ok()? {
            Some(status) => return Some((text, complaint, status.success())),
            None if left().is_zero() => return None,
            None => std::thread::sleep(LOOK),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_has_limits() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key"), "hunter2\n").unwrap();
        for (command, time_ms, expected) in [
            ("printf hunter2", 10_000, Ok("hunter2")),
            ("cat key", 10_000, Ok("hunter2")),
            ("printf 'a\\nb\\r\\n\\n'", 10_000, Ok("a\nb")),
            ("cat", 10_000, Ok("")),
            ("echo hunter2; echo 'no key\u{1b}[31m' >&2; exit 3", 10_000, Err("failed: no key[31m")),
            ("exit 1", 10_000, Err("failed: it does not say why")),
            ("printf '\\377'", 10_000, Err("says something that is not text in UTF-8")),
            ("cat /dev/zero", 10_000, Err("says more than 65536 bytes")),
            ("sleep 60", 100, Err("takes longer than 100ms")),
            ("exec >&-; exec 2>&-; sleep 60", 100, Err("takes longer than 100ms")),
        ] {
            let begun = Instant::now();
            let found = run(command, folder.path(), Duration::from_millis(time_ms));
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{command}");
            assert!(begun.elapsed() < Duration::from_secs(30), "{command}");
        }
    }
}
