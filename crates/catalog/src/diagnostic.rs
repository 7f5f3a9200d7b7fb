//! Mistakes as data: what, where, and what to do about it. How they are shown is not decided here.

use crate::Place;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The catalog cannot run.
    Error,
    /// It can run, though not as its author may think.
    Warning,
}

/// One mistake in a catalog.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    /// Its kind, a name of [`SLUGS`] that stays the same between versions.
    pub slug: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, one line in plain words.
    pub message: String,
    /// Where.
    pub place: Place,
    /// Other places that matter, each with a few words.
    pub related: Vec<(Place, String)>,
    /// What to do.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// Adds what to do.
    pub(crate) fn hint(&mut self, hint: impl Into<String>) -> &mut Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds another place that matters.
    pub(crate) fn related(&mut self, place: Place, words: impl Into<String>) -> &mut Self {
        self.related.push((place, words.into()));
        self
    }
}

/// The mistakes found so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    list: Vec<Diagnostic>,
}

impl Report {
    /// Adds an error.
    pub(crate) fn error(&mut self, slug: &'static str, place: Place, message: impl Into<String>) -> &mut Diagnostic {
        self.add(Severity::Error, slug, place, message.into())
    }

    /// Adds a warning.
    pub(crate) fn warning(&mut self, slug: &'static str, place: Place, message: impl Into<String>) -> &mut Diagnostic {
        self.add(Severity::Warning, slug, place, message.into())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Moves another report's mistakes here.
    pub(crate) fn append(&mut self, other: &mut Report) {
        self.list.append(&mut other.list);
    }

    /// All of them in the order of their places, each once.
    pub(crate) fn into_sorted(mut self) -> Vec<Diagnostic> {
        self.list.sort_by(|a, b| (a.place, a.slug, &a.message).cmp(&(b.place, b.slug, &b.message)));
        self.list.dedup_by(|a, b| (a.place, a.slug, &a.message) == (b.place, b.slug, &b.message));
        self.list
    }

    fn add(&mut self, severity: Severity, slug: &'static str, place: Place, message: String) -> &mut Diagnostic {
        debug_assert!(SLUGS.iter().any(|(known, _)| *known == slug), "{slug} is not in the table of slugs");
        self.list.push(Diagnostic { slug, severity, message, place, related: Vec::new(), hint: None });
        self.list.last_mut().expect("one was just pushed")
    }
}

/// Every kind of mistake and what it means, sorted.
pub const SLUGS: &[(&str, &str)] = &[
    ("yaml-alias", "an alias stands inside of what it names"),
    ("yaml-documents", "a file holds more than one document"),
    ("yaml-duplicate-key", "a key is repeated in an object"),
    ("yaml-key", "a key is a list or an object"),
    ("yaml-merge", "a merge key names something that is not an object"),
    ("yaml-number", "a number that JSON cannot hold"),
    ("yaml-syntax", "a file is not YAML"),
    ("yaml-too-deep", "lists and objects nest too deeply"),
    ("yaml-too-large", "a file holds too many values"),
];

/// The known name that an unknown one may have been meant to be: the nearest by optimal string alignment, at most four edits
/// away and sharing more than it differs.
pub(crate) fn nearest<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let length = name.chars().count();
    known
        .into_iter()
        .map(|candidate| (strsim::osa_distance(name, candidate), candidate))
        .filter(|&(distance, candidate)| distance <= EDITS_MAX && distance < length.max(candidate.chars().count()))
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many edits away a suggested name may be.
const EDITS_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_names() {
        let known = ["acme/orders", "acme/order", "x"];
        assert_eq!(nearest("acme/ordres", known), Some("acme/orders"));
        assert_eq!(nearest("acme/Orde", known), Some("acme/order"));
        assert_eq!(nearest("other/thing", known), None);
        assert_eq!(nearest("y", known), None);
    }

    #[test]
    fn the_table_is_sorted() {
        assert!(SLUGS.is_sorted_by(|a, b| a.0 < b.0));
    }
}
