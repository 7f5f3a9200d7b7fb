//! What a person sees: exit codes, messages, colours. Results go to standard output, talk to standard error.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use journal::Clock as _;

use crate::clock::SystemClock;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All is well.
    Ok,
    /// What was to be checked is not right: a test failed, a catalog has mistakes, a task halted.
    Failed,
    /// The arguments are wrong.
    Usage,
    /// The catalog cannot be run.
    Invalid,
    /// A file, port or directory could not be used.
    Unreachable,
    /// The data directory could not be written while a catalog ran.
    Broken,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(match exit {
            Exit::Ok => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Invalid => 3,
            Exit::Unreachable => 4,
            // `EX_IOERR` of sysexits.h.
            Exit::Broken => 74,
        })
    }
}

/// Writes a line of result.
pub fn say(line: &str) {
    // Nobody is left to tell when standard output is closed.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Whether talk is written as JSON, for programs that keep logs.
static AS_JSON: AtomicBool = AtomicBool::new(false);

/// From now on talk is JSON, an object a line: `{time, message}`.
pub fn talk_as_json() {
    AS_JSON.store(true, Ordering::Relaxed);
}

/// Writes a line of talk.
pub fn tell(line: &str) {
    let mut out = std::io::stderr().lock();
    let _ = match AS_JSON.load(Ordering::Relaxed) {
        false => writeln!(out, "{line}"),
        true => {
            let now = i64::try_from(SystemClock.now_us()).unwrap_or(i64::MAX);
            let time = jiff::Timestamp::from_microsecond(now).unwrap_or_default().to_string();
            writeln!(out, "{}", serde_json::json!({ "time": time, "message": line }))
        }
    };
}

/// Writes an error.
pub fn fail(message: &str) {
    tell(&format!("{} {message}", paint(Paint::Bad, "error:")));
}

/// Whether output may be coloured: `NO_COLOR`, then `FORCE_COLOR`, then whether it goes to a terminal.
pub fn is_coloured() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if AS_JSON.load(Ordering::Relaxed) {
        return false;
    }
    let both = std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
    !is_set("NO_COLOR") && (is_set("FORCE_COLOR") || both)
}

/// Roles of text.
#[derive(Debug, Clone, Copy)]
pub enum Paint {
    /// It went well.
    Good,
    /// It did not.
    Bad,
    /// A place or an aside.
    Dim,
}

/// Colours text, where output is coloured.
pub fn paint(role: Paint, text: &str) -> String {
    let code = match role {
        Paint::Good => 32,
        Paint::Bad => 31,
        Paint::Dim => 2,
    };
    match is_coloured() {
        true => format!("\x1b[{code}m{text}\x1b[0m"),
        false => text.to_owned(),
    }
}

/// Text as it is: a [`paint`] without colours.
pub fn plain(_: Paint, text: &str) -> String {
    text.to_owned()
}

/// `1 event`, `2 events`.
pub fn plural(count: impl TryInto<u64>, noun: &str) -> String {
    // What does not fit is many.
    match count.try_into().unwrap_or(u64::MAX) {
        1 => format!("1 {noun}"),
        count => format!("{count} {noun}s"),
    }
}

/// A size as people read it.
pub fn bytes(count: u64) -> String {
    let unit = |size: u64, name: &str| format!("{:.1} {name}", count as f64 / size as f64);
    match count {
        0..1_024 => format!("{count} B"),
        1_024..1_048_576 => unit(1 << 10, "KiB"),
        1_048_576..1_073_741_824 => unit(1 << 20, "MiB"),
        _ => unit(1 << 30, "GiB"),
    }
}
