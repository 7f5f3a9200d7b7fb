//! What connectors that are programs of others find around them: an environment, and a log for what they have to say.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::sync::Arc;

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Of use to who looks for a mistake in the connector.
    Debug,
    /// What it is doing.
    Info,
    /// Something may be wrong.
    Warn,
    /// Something is.
    Error,
}

/// Takes a line: which capture it is of, and what it says.
pub type Log = Arc<dyn Fn(Level, &str, &str) + Send + Sync>;

/// What connectors that are programs of others find around them.
#[derive(Clone)]
pub struct Surroundings {
    /// Takes what they say.
    pub log: Log,
    /// Their environment.
    pub environment: Vec<(OsString, OsString)>,
}

impl Default for Surroundings {
    fn default() -> Self {
        Self { log: Arc::new(|_, _, _| {}), environment: Vec::new() }
    }
}

/// Longest line that is passed on, in bytes.
const LINE_BYTES_MAX: usize = 4 << 10;

/// A line that can be shown: cut where it is long, and without what moves a terminal's cursor.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::new();
    for c in text.trim_end().chars() {
        if shown.len() >= LINE_BYTES_MAX {
            shown.push('…');
            break;
        }
        match c {
            '\t' | '\n' => shown.push(' '),
            c if c.is_control() => {
                let _ = write!(shown, "{}", c.escape_default());
            }
            c => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn lines_cannot_move_the_cursor() {
        assert_eq!(printable("a\tb\u{1b}[2Jc\r\nd\n"), "a b\\u{1b}[2Jc\\r d");
        assert_eq!(printable(&"é".repeat(5000)).chars().count(), (4 << 10) / 2 + 1);
    }
}
