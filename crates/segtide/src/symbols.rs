//! What is drawn rather than written, in Unicode or, where nobody could read that, in ASCII.

use std::io::IsTerminal as _;

/// One set of symbols.
#[derive(Debug, PartialEq, Eq)]
pub struct Symbols {
    /// It is as it should be.
    pub good: &'static str,
    /// It is not.
    pub bad: &'static str,
    /// A test has passed, and has failed.
    pub passed: &'static str,
    pub failed: &'static str,
    /// Something was cut off here.
    pub cut: &'static str,
    /// A bar: what is done, where it is, what is left.
    pub bar: &'static str,
    /// What turns while something goes on, and how it stands at the end; `None` as it usually does.
    pub spinner: Option<&'static str>,
}

const UNICODE: Symbols =
    Symbols { good: "✓", bad: "✗", passed: "✔️", failed: "❌", cut: "…", bar: "━╸─", spinner: None };
const ASCII: Symbols =
    Symbols { good: "+", bad: "x", passed: "ok", failed: "FAILED", cut: "~", bar: "#>-", spinner: Some("-\\|/ ") };

/// The symbols to use.
pub fn symbols() -> &'static Symbols {
    let variable = |name: &str| std::env::var(name).ok();
    chosen(&variable, std::io::stdout().is_terminal() || std::io::stderr().is_terminal())
}

/// What the locale says decides. Where there is none, a terminal is trusted with ASCII only; files and programs take what is
/// usual.
fn chosen(variable: &dyn Fn(&str) -> Option<String>, is_terminal: bool) -> &'static Symbols {
    let names = ["LC_ALL", "LC_CTYPE", "LANG"];
    let locale = names.into_iter().find_map(|name| variable(name).filter(|value| !value.is_empty()));
    let is_unicode = match locale {
        Some(locale) => locale.to_lowercase().replace('-', "").contains("utf8"),
        None => !is_terminal,
    };
    if is_unicode { &UNICODE } else { &ASCII }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locale_says_which() {
        for (set, is_terminal, expected) in [
            (&[("LANG", "C.UTF-8")][..], true, &UNICODE),
            (&[("LANG", "de_DE.utf8")], true, &UNICODE),
            (&[("LANG", "C")], false, &ASCII),
            (&[("LANG", "de_DE.ISO-8859-1")], false, &ASCII),
            (&[("LANG", "C.UTF-8"), ("LC_CTYPE", "POSIX")], true, &ASCII),
            (&[("LANG", "C"), ("LC_ALL", "en_US.UTF-8")], true, &UNICODE),
            (&[("LC_ALL", ""), ("LANG", "C.UTF-8")], true, &UNICODE),
            (&[], true, &ASCII),
            (&[], false, &UNICODE),
        ] {
            let variable = |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, to)| (*to).to_owned());
            assert_eq!(chosen(&variable, is_terminal), expected, "{set:?} {is_terminal}");
        }
    }

    #[test]
    fn ascii_is() {
        let Symbols { good, bad, passed, failed, cut, bar, spinner } = ASCII;
        assert!([good, bad, passed, failed, cut, bar, spinner.unwrap()].iter().all(|symbol| symbol.is_ascii()));
    }
}
