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
    /// Whether it says that the catalog would run as something else than it is: a warning for those who test it, and no less
    /// than an error for those who run it.
    pub fn forbids_running(&self) -> bool {
        FORBID_RUNNING.contains(&self.slug)
    }

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

/// The slug of what leaves a task out.
pub(crate) const OMISSION: &str = "connector-unknown";
/// The slug of a name that may be a slip of a known one.
pub(crate) const MISSPELT: &str = "config-misspelt";
/// The slug of a schema that is elsewhere.
pub(crate) const ELSEWHERE: &str = "schema-elsewhere";
/// The slugs of what may be tested and not run.
const FORBID_RUNNING: [&str; 3] = [OMISSION, MISSPELT, ELSEWHERE];

/// The mistakes found so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    list: Vec<Diagnostic>,
    /// How many were found when it was full.
    lost: usize,
    /// The last warning that was found when it was full.
    spare: Option<Diagnostic>,
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

    fn add(&mut self, severity: Severity, slug: &'static str, place: Place, message: String) -> &mut Diagnostic {
        debug_assert!(SLUGS.iter().any(|(known, _)| *known == slug), "{slug} is not in the table of slugs");
        let diagnostic = Diagnostic { slug, severity, message, place, related: Vec::new(), hint: None };
        if self.list.len() >= FOUND_MAX {
            self.lost += 1;
            // That there are errors must never be lost.
            if severity == Severity::Warning {
                return self.spare.insert(diagnostic);
            }
            self.list.pop();
        }
        self.list.push(diagnostic);
        self.list.last_mut().expect("one was just pushed")
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Moves another report's mistakes here.
    pub(crate) fn append(&mut self, other: &mut Report) {
        self.list.append(&mut other.list);
        self.lost += std::mem::take(&mut other.lost);
    }

    /// The first of them in the order of their places, each once, and how many more there are. Errors come before warnings
    /// where not all can stay.
    pub(crate) fn into_sorted(mut self) -> (Vec<Diagnostic>, usize) {
        self.list.sort_by(|a, b| (a.place, a.slug, &a.message).cmp(&(b.place, b.slug, &b.message)));
        self.list.dedup_by(|a, b| (a.place, a.slug, &a.message) == (b.place, b.slug, &b.message));
        let more = self.list.len().saturating_sub(DIAGNOSTICS_MAX);
        if more > 0 {
            self.list.sort_by_key(|diagnostic| diagnostic.severity == Severity::Warning);
            self.list.truncate(DIAGNOSTICS_MAX);
            self.list.sort_by_key(|diagnostic| diagnostic.place);
        }
        for diagnostic in &mut self.list {
            let related = diagnostic.related.iter_mut().map(|(_, words)| words);
            related.chain(&mut diagnostic.hint).chain([&mut diagnostic.message]).for_each(shorten);
        }
        (self.list, more + self.lost)
    }
}

/// Cuts what nobody will read: a name may be as long as a file.
fn shorten(text: &mut String) {
    if text.len() > MESSAGE_BYTES_MAX {
        text.truncate(text.floor_char_boundary(MESSAGE_BYTES_MAX));
        text.push('…');
    }
}

/// How long a message may be.
const MESSAGE_BYTES_MAX: usize = 2 << 10;

/// How many mistakes are told of; of the others only how many there are.
const DIAGNOSTICS_MAX: usize = 200;
/// How many mistakes are kept while a catalog builds.
const FOUND_MAX: usize = 10_000;

/// Every kind of mistake and what it means, sorted.
pub const SLUGS: &[(&str, &str)] = &[
    ("capture-into-derivation", "a capture adds to a collection that is derived"),
    ("collection-unknown", "a collection is referred to and not defined"),
    ("config-invalid", "a connector does not accept its configuration"),
    (
        "config-misspelt",
        "a field of a configuration or resource is almost one that its connector uses: not to be run so",
    ),
    ("config-unused", "a connector does not use a field of its configuration or of a binding's resource"),
    ("connector-unknown", "there is no such connector: the task is left out, so the catalog can be tested and not run"),
    ("content-type-unknown", "an import has a content type that there is not"),
    ("date-invalid", "a date cannot be read"),
    ("derivation-conflict", "a collection has both spellings of a derivation"),
    ("derivation-language", "a derivation names no language, or several"),
    ("duration-invalid", "a duration cannot be read"),
    ("endpoint-count", "an endpoint is none or several of its kinds"),
    ("endpoint-not-defined", "an endpoint is referred to by name and not defined"),
    ("endpoint-unknown", "there is no such kind of endpoint"),
    ("field-both", "a field is both included and excluded"),
    ("field-forbidden", "a field is included that the connector cannot keep"),
    ("field-missing", "a definition lacks a field it must have"),
    ("field-not-found", "an included or excluded field is not a projection of the collection"),
    ("field-required", "a field is excluded that the connector must keep"),
    ("field-unknown", "a definition has a field that means nothing"),
    ("field-unsatisfiable", "the connector must keep a field and cannot"),
    ("file-missing", "a file is referred to and does not exist"),
    ("file-unreadable", "a file is referred to and cannot be read"),
    ("ignored", "a feature of the language that has no effect here"),
    ("image-invalid", "an image names nothing"),
    ("import-fragment", "an import has a fragment"),
    ("ingest-invalid", "a test ingests a document that is not valid"),
    ("key-empty", "a collection has an empty key"),
    ("key-may-be-absent", "a part of a key may be absent from documents"),
    ("key-never-exists", "a part of a key can never exist"),
    ("key-reduce", "a part of a key has a reduction"),
    ("key-type", "a part of a key may be of a type that keys cannot have"),
    ("key-unknown", "the schema says nothing of a part of a key"),
    ("lambda-mixed", "some lambdas of a derivation are written in the catalog, and others in its module"),
    ("lambda-unknown", "a lambda is in a language that there is not"),
    ("location-impossible", "a projection's location can never exist"),
    ("location-required", "no field of a location is kept, and the connector needs one"),
    ("location-unknown", "the schema says nothing of a projection's location"),
    ("module-invalid", "a module is broken, or lacks a class or a method"),
    ("module-missing", "the module of a derivation does not exist"),
    ("name-duplicate", "two things of a kind have the same name"),
    ("name-empty", "a name is empty"),
    ("name-invalid", "a name has a character it cannot have"),
    ("name-prefix", "a name is below the name of another thing of its kind"),
    ("pointer-invalid", "a text is not a JSON pointer"),
    ("projection-canonical", "a projection takes the name of another location"),
    ("reduce-invalid", "`reduce` is not an object with a strategy"),
    ("reduce-key-invalid", "the key of a reduction is not a list of JSON pointers"),
    ("reduce-option-invalid", "an option of a reduction has a value it cannot have"),
    ("reduce-option-unknown", "a reduction has an option that means nothing"),
    ("reduce-parent-missing", "a location reduces and its parent does not"),
    ("reduce-set-property", "a `set` has a property other than its three"),
    ("reduce-strategy-unknown", "there is no such reduction strategy"),
    ("reduce-type-mismatch", "a location may be of a type that its strategy cannot reduce"),
    ("register-initial", "the initial register is not valid"),
    ("resource-content", "an inlined resource is not Base64 of a text"),
    ("resource-duplicate", "two bindings have the same resource"),
    ("resource-invalid", "a connector does not accept a binding's resource"),
    ("schema-circular", "a schema refers to itself for the same value, which says nothing of it"),
    ("schema-conflict", "a collection has `schema` besides `readSchema` or `writeSchema`"),
    ("schema-default-invalid", "a default is not valid by the schema it stands in"),
    ("schema-elsewhere", "a schema refers to one on the web, which is not read: it can be tested and not run"),
    ("schema-fragment-not-found", "a schema reference leads nowhere within its file"),
    ("schema-impossible", "a location must exist and no value is valid there"),
    ("schema-invalid", "a schema breaks the rules of JSON Schema"),
    ("schema-not-found", "a schema is referred to by a name that nothing has"),
    ("schema-not-object", "a collection's schema allows more than objects"),
    ("schema-pattern-invalid", "a regular expression of a schema is broken"),
    ("schema-reference-invalid", "a schema reference is not a URL"),
    ("schema-type-unknown", "a schema names a type that there is not"),
    ("selector-empty-string", "a partition is selected by an empty string"),
    ("selector-field-unknown", "a selector names something that is not a field"),
    ("selector-not-partition", "a selector names a field that is not a partition"),
    ("selector-type", "a partition is selected by a value it never has"),
    ("shuffle-empty", "a shuffle key is empty"),
    ("shuffle-redundant", "a shuffle key is the source's own key"),
    ("shuffle-types", "transforms shuffle by keys of different types"),
    ("source-schema-redundant", "a source schema is the collection's own"),
    ("sql-invalid", "a migration or a lambda is not SQL, or asks for what is not there"),
    ("step-count", "a test step is not exactly one of its kinds"),
    ("test-empty", "a test has no steps"),
    ("transform-no-lambda", "a transform has no lambda"),
    ("unsupported", "a feature of the language that is not supported"),
    ("url-invalid", "a reference is not a URL"),
    ("verify-order", "a test verifies documents out of the order of their keys"),
    ("wrong-type", "a value is of the wrong type"),
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
pub fn nearest<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let length = name.chars().count();
    if length > NAME_CHARS_MAX {
        return None;
    }
    known
        .into_iter()
        .filter(|candidate| candidate.chars().count().abs_diff(length) <= EDITS_MAX)
        .map(|candidate| (strsim::osa_distance(name, candidate), candidate))
        .filter(|&(distance, candidate)| distance <= EDITS_MAX && distance < length.max(candidate.chars().count()))
        .min()
        .map(|(_, candidate)| candidate)
}

/// For longer names nothing is suggested.
const NAME_CHARS_MAX: usize = 200;
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
