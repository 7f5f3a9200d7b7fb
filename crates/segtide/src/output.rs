//! What a person sees: exit codes, messages, colours. Data goes to standard output, talk to standard error.

use std::borrow::Cow;
use std::io::{ErrorKind, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

use connectors::Level;
use indicatif::ProgressBar;
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
    /// What was asked for is not there.
    NotFound,
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
            Exit::NotFound => 5,
            // `EX_IOERR` of sysexits.h.
            Exit::Broken => 74,
        })
    }
}

/// What was asked for cannot be done as it was asked: another command line would do.
#[derive(Debug)]
pub struct Usage(pub String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// `EX_SOFTWARE` of sysexits.h.
const DEFECT: i32 = 70;

/// From now on a panic, which is a defect of this program, says so and ends it.
pub fn own_up_to_defects() {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        told(panic);
        // Without what `fail` needs, which may be what broke.
        let please = "segtide has a defect: please report what stands above; what was acknowledged is safe";
        let _ = writeln!(std::io::stderr(), "{please}");
        std::process::exit(DEFECT);
    }));
}

/// What is drawn below everything that is written.
static BELOW: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// From now on keeps a bar below what is written, or no longer does.
pub fn keep_below(bar: Option<ProgressBar>) {
    *BELOW.lock().unwrap_or_else(PoisonError::into_inner) = bar;
}

fn above(write: impl FnOnce()) {
    match &*BELOW.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// Whether a line of result could not be written, although somebody reads.
static LOST: AtomicBool = AtomicBool::new(false);

/// Writes a line of result.
pub fn say(line: &str) {
    above(|| {
        let mut out = std::io::stdout().lock();
        let line = if out.is_terminal() { harmless(line) } else { line.into() };
        // Nobody is left to tell when standard output is closed.
        if let Err(error) = writeln!(out, "{line}")
            && error.kind() != ErrorKind::BrokenPipe
        {
            LOST.store(true, Ordering::Relaxed);
        }
    });
}

/// Whether everything that was said is written.
pub fn is_written() -> bool {
    !LOST.load(Ordering::Relaxed)
}

/// Whether talk is written as JSON, for programs that keep logs.
static AS_JSON: AtomicBool = AtomicBool::new(false);
/// What matters less is not written.
static LEAST: AtomicU8 = AtomicU8::new(Level::Info as u8);
/// Whether only errors are.
static QUIET: AtomicBool = AtomicBool::new(false);

/// From now on talk is errors and nothing else.
pub fn keep_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

/// Whether it is.
pub fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// From now on talk is an object a line, `{time, level, message, task?}`, if so, and what matters less than `least` is left out.
pub fn keep_log(as_json: bool, least: Level) {
    AS_JSON.store(as_json, Ordering::Relaxed);
    LEAST.store(least as u8, Ordering::Relaxed);
}

/// Whether it is.
pub fn is_json() -> bool {
    AS_JSON.load(Ordering::Relaxed)
}

/// Writes a line of talk.
pub fn tell(line: &str) {
    log(Level::Info, None, line);
}

/// Writes an error.
pub fn fail(message: &str) {
    log(Level::Error, None, &format!("{} {message}", paint(Paint::Bad, "error:")));
}

/// Writes a line of talk that matters so much, and of which task it is.
pub fn log(level: Level, task: Option<&str>, line: &str) {
    let least = if is_quiet() { Level::Error as u8 } else { LEAST.load(Ordering::Relaxed) };
    if level as u8 >= least {
        let line = if is_json() { as_json(level, task, line).into() } else { harmless(line) };
        above(|| drop(writeln!(std::io::stderr().lock(), "{line}")));
    }
}

/// A text of which a terminal obeys nothing but colours, if there are any, whatever was quoted in it.
fn harmless(text: &str) -> Cow<'_, str> {
    let is_kept = |c: char| matches!(c, '\n' | '\t') || !c.is_control();
    if text.chars().all(is_kept) {
        return text.into();
    }
    let mut kept = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = if is_coloured() { colour_length(rest) } else { 0 };
        let (head, tail) = rest.split_at(length.max(c.len_utf8()));
        match length > 0 || is_kept(c) || (c == '\r' && tail.starts_with('\n')) {
            true => kept.push_str(head),
            false => kept.extend(c.escape_default()),
        }
        rest = tail;
    }
    kept.into()
}

/// How long the change of colour is that a text begins with.
fn colour_length(text: &str) -> usize {
    let codes = text.strip_prefix("\x1b[").unwrap_or_default();
    let end = codes.find(|c: char| !c.is_ascii_digit() && c != ';');
    end.filter(|end| codes[*end..].starts_with('m')).map_or(0, |end| "\x1b[m".len() + end)
}

fn as_json(level: Level, task: Option<&str>, message: &str) -> String {
    let now = i64::try_from(SystemClock.now_us()).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_microsecond(now).unwrap_or_default().to_string();
    let level = match level {
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    };
    let mut line = serde_json::json!({ "time": time, "level": level, "message": message });
    if let Some(task) = task {
        line["task"] = task.into();
    }
    line.to_string()
}

/// When output is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Colour {
    /// On a terminal
    Auto,
    /// Also where it is written to a file
    Always,
    /// Nowhere
    Never,
}

/// What was asked for; `Auto` until then.
static COLOUR: AtomicU8 = AtomicU8::new(Colour::Auto as u8);

/// From now on colours output so.
pub fn colour(colour: Colour) {
    COLOUR.store(colour as u8, Ordering::Relaxed);
}

/// Whether the terminal only writes, and cannot be drawn on.
pub fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb")
}

/// Whether output may be coloured: `NO_COLOR`, then what was asked for, then `FORCE_COLOR`, then whether it goes to a terminal.
pub fn is_coloured() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if is_json() {
        return false;
    }
    let both = std::io::stdout().is_terminal() && std::io::stderr().is_terminal() && !is_dumb();
    let asked = COLOUR.load(Ordering::Relaxed);
    let never = is_set("NO_COLOR") || asked == Colour::Never as u8;
    !never && (asked == Colour::Always as u8 || is_set("FORCE_COLOR") || both)
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

/// A count as people read it: `1,234,567`.
pub fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut shown = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
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

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::{colour_length, harmless};

    #[test]
    fn a_terminal_obeys_nothing_that_is_quoted() {
        for (text, expected) in [
            ("plain\n\té 語\r\n", "plain\n\té 語\r\n"),
            ("a\rb", "a\\rb"),
            ("\x1b]0;title\x07", "\\u{1b}]0;title\\u{7}"),
            ("\u{9b}2J\u{7f}", "\\u{9b}2J\\u{7f}"),
        ] {
            assert_eq!(harmless(text), expected);
        }
        for (text, length) in
            [("\x1b[31mx", 5), ("\x1b[1;91m", 7), ("\x1b[0m", 4), ("\x1b[2J", 0), ("\x1b[31", 0), ("x", 0)]
        {
            assert_eq!(colour_length(text), length, "{text:?}");
        }
    }

    /// Would catch a defect that passes for a mistake of the user's, and one that nobody is asked to report. The hook ends the
    /// process, so the test runs itself once more.
    #[test]
    fn a_defect_ends_with_70_and_asks_for_a_report() {
        const AGAIN: &str = "SEGTIDE_TEST_OF_A_DEFECT";
        if std::env::var_os(AGAIN).is_some() {
            super::own_up_to_defects();
            std::thread::spawn(|| panic!("two and two are five")).join().ok();
        }
        let mut again = Command::new(std::env::current_exe().unwrap());
        let name = "output::tests::a_defect_ends_with_70_and_asks_for_a_report";
        let ended = again.args(["--exact", name, "--nocapture"]).env(AGAIN, "1").output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(70), "{said}");
        assert!(said.contains("two and two are five") && said.contains("please report what stands above"), "{said}");
    }
}
