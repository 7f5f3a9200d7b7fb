//! Strings as JavaScript counts and orders them: in UTF-16 code units.

use std::cmp::Ordering;

use super::GiveUp;

/// The number of code units.
pub(super) fn length(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.encode_utf16().count() }
}

/// The text from one code unit to another; `Err` where that cuts a character in two.
pub(super) fn slice(text: &str, begin: usize, end: usize) -> Result<&str, GiveUp> {
    if begin >= end {
        return Ok("");
    }
    if text.is_ascii() {
        return text.get(begin..end).ok_or(GiveUp);
    }
    let begin = byte_of(text, begin)?;
    let end = byte_of(text, end)?;
    text.get(begin..end).ok_or(GiveUp)
}

/// The byte at which a code unit begins.
fn byte_of(text: &str, unit: usize) -> Result<usize, GiveUp> {
    let mut units = 0;
    for (at, c) in text.char_indices() {
        if units == unit {
            return Ok(at);
        }
        units += c.len_utf16();
    }
    if units == unit { Ok(text.len()) } else { Err(GiveUp) }
}

/// The order of code units, which is not that of characters above U+FFFF.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    if a.is_ascii() && b.is_ascii() { a.cmp(b) } else { a.encode_utf16().cmp(b.encode_utf16()) }
}

/// Without white space and ends of lines around it.
pub(super) fn trim(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// White space and ends of lines: what Unicode counts as such, without NEL, with the byte order mark.
pub(super) fn is_space(c: char) -> bool {
    c == '\u{feff}' || (c != '\u{85}' && c.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_units() {
        assert_eq!((length("aé😀"), length("abc")), (4, 3));
        assert_eq!(slice("aé😀b", 1, 4).ok(), Some("é😀"));
        assert!(slice("a😀b", 2, 4).is_err());
        assert_eq!(compare("\u{ffff}", "😀"), Ordering::Greater);
        assert_eq!(trim("\u{feff} \u{2028}a\u{85} "), "a\u{85}");
    }
}
