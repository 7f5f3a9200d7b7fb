//! Rules of names, and which names may stand side by side.

use crate::diagnostic::Report;
use crate::parse::Word;

/// What a name is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Tokens with single slashes between: `acme/orders`.
    Path,
    /// One token, no slash.
    Token,
    /// Anything but nothing: names of tests.
    Free,
}

/// Letters and digits of any script, `-`, `_` and `.`.
fn is_token_char(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '_' | '.')
}

/// What is wrong with a name, if anything: the first piece of it that cannot be there.
fn invalid(name: &str, form: Form) -> Option<&str> {
    let bad_char = |slash: bool| name.find(|c: char| !(is_token_char(c) || slash && c == '/'));
    match form {
        Form::Free => None,
        Form::Token => bad_char(false).map(|at| &name[at..]),
        Form::Path => {
            if let Some(at) = bad_char(true) {
                return Some(&name[at..]);
            }
            if name.starts_with('/') {
                return Some("/");
            }
            name.find("//").map(|at| &name[at..]).or_else(|| name.ends_with('/').then_some("/"))
        }
    }
}

/// `a collection`, `an endpoint`.
fn a(what: &str) -> String {
    let article = if what.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {what}")
}

/// What is kept beside collections, and no collection may be named like or lie below: documents that were set aside.
const RESERVED: &str = "dead-letters";

/// Checks one name; `what` is `collection` and the like.
pub(crate) fn check(what: &str, name: &Word, form: Form, report: &mut Report) {
    if name.value.is_empty() {
        report.error("name-empty", name.place, format!("the name of {} cannot be empty", a(what)));
    } else if let Some(rest) = invalid(&name.value, form) {
        let message = format!("`{}` cannot be the name of a {what}: `{rest}` is not allowed there", name.value);
        let hint = match form {
            Form::Token => "use letters, digits, `-`, `_` and `.`",
            _ => "use letters, digits, `-`, `_` and `.`, with single slashes between parts",
        };
        report.error("name-invalid", name.place, message).hint(hint);
    } else if what == "collection"
        && name.value.split('/').next().is_some_and(|part| part.eq_ignore_ascii_case(RESERVED))
    {
        let message = format!("`{}` cannot be the name of a collection: `{RESERVED}` is reserved", name.value);
        report.error("name-invalid", name.place, message).hint("documents that cannot be used are set aside there");
    }
}

/// Checks that no two of these names are the same but for case, and with `prefixes` that none is a parent of another, as
/// `a/b` is of `a/b/c`. Says of each whether it is the first of its name.
pub(crate) fn check_distinct(what: &str, names: &[&Word], prefixes: bool, report: &mut Report) -> Vec<bool> {
    let mut order: Vec<(String, usize)> =
        names.iter().enumerate().map(|(at, name)| (name.value.to_lowercase(), at)).collect();
    // A slash sorts before all else, so that children follow their parent at once.
    order.sort_by(|a, b| a.0.split('/').cmp(b.0.split('/')).then(a.1.cmp(&b.1)));
    let mut first = vec![true; names.len()];
    let mut parents: Vec<&(String, usize)> = Vec::new();
    for entry in &order {
        let name = names[entry.1];
        while parents.last().is_some_and(|parent| {
            let rest = entry.0.strip_prefix(parent.0.as_str());
            !rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }) {
            parents.pop();
        }
        if let Some(parent) = parents.last() {
            let other = names[parent.1];
            if parent.0 == entry.0 {
                first[entry.1] = false;
                let message = if other.value == name.value {
                    format!("there is more than one {what} `{}`", name.value)
                } else {
                    format!("{what} `{}` is named like `{}`, but for case", name.value, other.value)
                };
                report.error("name-duplicate", name.place, message).related(other.place, "it is first defined here");
                continue;
            }
            if !prefixes {
                parents.push(entry);
                continue;
            }
            let message = format!("{what} `{}` cannot be below {what} `{}`", name.value, other.value);
            report
                .error("name-prefix", name.place, message)
                .related(other.place, "which is defined here")
                .hint(format!("rename one of them: no {what} may be a folder of others"));
        }
        parents.push(entry);
    }
    first
}

/// The class or method name for a name of the catalog: other characters than letters and digits are dropped, and the letter
/// after is upper-cased; so is the first where `upper`.
pub(crate) fn camel_case(name: &str, upper: bool) -> String {
    let mut result = String::with_capacity(name.len());
    let mut raise = upper;
    for c in name.chars() {
        if !c.is_alphanumeric() {
            raise = true;
        } else if raise {
            result.extend(c.to_uppercase());
            raise = false;
        } else {
            result.push(c);
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Place, Sources};

    #[test]
    fn forms() {
        let cases = [
            ("acme/orders", Form::Path, None),
            ("été/2.0_x-y", Form::Path, None),
            ("/acme", Form::Path, Some("/")),
            ("acme/", Form::Path, Some("/")),
            ("a//b", Form::Path, Some("//b")),
            ("a b", Form::Path, Some(" b")),
            ("a/b", Form::Token, Some("/b")),
            ("a.b", Form::Token, None),
            ("a test, in words", Form::Free, None),
        ];
        for (name, form, expected) in cases {
            assert_eq!(invalid(name, form), expected, "{name}");
        }
    }

    #[test]
    fn camel_cases() {
        let cases = [
            ("examples/segment/toggles", true, "ExamplesSegmentToggles"),
            ("patterns/sums-db", true, "PatternsSumsDb"),
            ("examples/ais/vessel_movements", true, "ExamplesAisVesselMovements"),
            ("examples/shopping/cartUpdatesWithProducts", true, "ExamplesShoppingCartUpdatesWithProducts"),
            ("fromSegmentation", false, "fromSegmentation"),
            ("from-ints", false, "fromInts"),
            ("publishLHS", false, "publishLHS"),
        ];
        for (name, upper, expected) in cases {
            assert_eq!(camel_case(name, upper), expected);
        }
    }

    #[test]
    fn distinct_names() {
        let mut sources = Sources::default();
        let source = sources.add("file:///w/a".parse().unwrap(), "".into());
        let check = |names: &[&str]| {
            let words: Vec<Word> = (0u32..)
                .zip(names)
                .map(|(at, name)| Word { value: (*name).to_owned(), place: Place { source, start: at, end: at } })
                .collect();
            let mut report = Report::default();
            check_distinct("collection", &words.iter().collect::<Vec<_>>(), true, &mut report);
            let (list, _) = report.into_sorted();
            list.iter().map(|d| (d.slug, d.place.start, d.related[0].0.start)).collect::<Vec<_>>()
        };
        assert_eq!(check(&["foo/bar", "foo/bark", "foo"]), [("name-prefix", 0, 2), ("name-prefix", 1, 2)]);
        assert_eq!(check(&["foo/bar", "foo/bark", "foo-x/y"]), []);
        assert_eq!(check(&["a/b/c", "a/b-c", "A/b"]), [("name-prefix", 0, 2)]);
        assert_eq!(check(&["a", "b", "a", "B"]), [("name-duplicate", 2, 0), ("name-duplicate", 3, 1)]);
    }
}
