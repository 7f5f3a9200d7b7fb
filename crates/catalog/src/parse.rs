//! Strict reading of catalog files: trees in, raw definitions out, every unknown field and wrong type reported with its place.
//!
//! Raw definitions are complete in syntax only. What a name refers to and what a schema proves is for `build`.

mod collection;
pub(crate) mod definitions;
mod derivation;
mod endpoint;
mod named_endpoint;
mod storage;
mod test;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::Url;

pub(crate) use collection::{RawCollection, RawProjection};
pub(crate) use derivation::{RawDerivation, RawLambda, RawRegister, RawShuffle, RawTransform, RawUsing};
pub(crate) use endpoint::{RawBinding, RawCapture, RawCaptureBinding, RawEndpoint, RawMaterialization};
pub(crate) use named_endpoint::NamedUse;
pub(crate) use test::{RawStep, RawTest};

use crate::diagnostic::{Report, nearest};
use crate::load::{Library, Unread, unreadable};
use crate::tree::escaped;
use crate::{Kind, Member, Period, Place, Tree};
use definitions::{fields_hint, fields_of, is_since_2023, shown};

/// Longer strings are not shown in messages.
const SHOWN_BYTES_MAX: usize = 40;
/// What files that a catalog imports or holds may be.
const CONTENT_TYPES: [&str; 6] =
    ["catalog", "jsonschema", "typescriptmodule", "npmpackage", "config", "documentsfixture"];

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Spanned<T> {
    pub(crate) value: T,
    pub(crate) place: Place,
}

/// A string and where it stands.
pub(crate) type Word = Spanned<String>;

/// Which documents are meant, as written.
#[derive(Debug, Default)]
pub(crate) struct RawSelector {
    pub(crate) include: Vec<(Word, Vec<Tree>)>,
    pub(crate) exclude: Vec<(Word, Vec<Tree>)>,
    pub(crate) period: Period,
}

/// A name that a selector, a transform or a step reads from, and which partitions of it.
#[derive(Default)]
pub(crate) struct RawSource<'t> {
    pub(crate) name: Option<Word>,
    pub(crate) schema: Option<&'t Tree>,
    pub(crate) selector: RawSelector,
}

/// What one catalog file defines.
#[derive(Default)]
pub(crate) struct RawCatalog {
    /// Other catalog files.
    pub(crate) imports: Vec<Spanned<Url>>,
    pub(crate) collections: Vec<RawCollection>,
    pub(crate) captures: Vec<RawCapture>,
    pub(crate) materializations: Vec<RawMaterialization>,
    pub(crate) tests: Vec<RawTest>,
    pub(crate) storage: Vec<crate::StorageMapping>,
    /// Endpoints with a name of their own, and the captures and materializations that use them by it.
    pub(crate) endpoints: Vec<(Word, Option<RawEndpoint>)>,
    pub(crate) named_captures: Vec<NamedUse<RawCaptureBinding>>,
    pub(crate) named_materializations: Vec<NamedUse<RawBinding>>,
    /// Whether it may define more collections than could be read.
    pub(crate) incomplete: bool,
    /// Whether it has a field that there is since 2023.
    pub(crate) modern: bool,
}

/// Reads a catalog file whose merge keys are expanded. An empty file is an empty catalog.
pub(crate) fn catalog(tree: &Tree, reader: &mut Reader) -> RawCatalog {
    let mut raw = RawCatalog::default();
    if tree.is_null() {
        return raw;
    }
    let Some(object) = reader.object(tree, "a catalog") else {
        raw.incomplete = true;
        return raw;
    };
    if let Some(resources) = object.get("resources") {
        reader.map(resources, "`resources`").iter().for_each(|member| reader.resource(member));
    }
    if let Some(packages) = object.get("npmDependencies") {
        reader.npm(packages, object.key_place("npmDependencies"));
    }
    if let Some(tree) = object.get("storageMappings") {
        raw.storage = storage::mappings(tree, reader);
    }
    if let Some(imports) = object.get("import") {
        raw.imports = reader.list(imports, "`import`").iter().filter_map(|item| reader.import(item)).collect();
    }
    if let Some(tree) = object.get("collections") {
        let entities = reader.entities(tree, "collections");
        raw.incomplete = match &tree.kind {
            Kind::Object(_) => false,
            Kind::Array(items) => entities.len() < items.len(),
            _ => true,
        };
        raw.collections = entities.iter().map(|entity| collection::read(entity, reader)).collect();
    }
    if let Some(map) = object.get("endpoints") {
        let members = reader.map(map, "`endpoints`");
        raw.endpoints = members.iter().map(|m| (m.name(), endpoint::named(&m.value, reader))).collect();
    }
    if let Some(tree) = object.get("captures") {
        let (named, plain) = named_endpoint::split(tree);
        raw.named_captures = named.into_iter().filter_map(|item| named_endpoint::capture(item, reader)).collect();
        let entities = reader.entities(&plain, "captures");
        raw.captures = entities.iter().map(|entity| endpoint::capture(entity, reader)).collect();
    }
    if let Some(tree) = object.get("materializations") {
        let (named, plain) = named_endpoint::split(tree);
        let named = named.into_iter().filter_map(|item| named_endpoint::materialization(item, reader));
        raw.named_materializations = named.collect();
        let entities = reader.entities(&plain, "materializations");
        raw.materializations = entities.iter().map(|entity| endpoint::materialization(entity, reader)).collect();
    }
    if let Some(map) = object.get("tests") {
        raw.tests = reader.map(map, "`tests`").iter().map(|member| test::read(member, reader)).collect();
    }
    raw.modern = reader.modern;
    raw
}

/// Reads values of one file and reports what is wrong with them.
pub(crate) struct Reader<'a, 'f> {
    pub(crate) library: &'a Library<'f>,
    pub(crate) report: &'a mut Report,
    /// What references in the file are relative to.
    pub(crate) file: &'a Url,
    /// Whether a field was read that there is since 2023.
    pub(crate) modern: bool,
}

/// Something with a name: a member of a map, or an item of a list with the field `name`, as the first catalogs had it.
pub(crate) struct Entity<'t> {
    pub(crate) name: Word,
    pub(crate) value: &'t Tree,
    /// Its JSON pointer in the file.
    pub(crate) at: String,
    /// Whether it is an item of a list.
    listed: bool,
}

/// An object whose fields are all known.
#[derive(Clone, Copy)]
pub(crate) struct Object<'t> {
    what: &'static str,
    place: Place,
    members: &'t [Member],
}

impl<'t> Object<'t> {
    /// The value of an optional field; `null` is as good as absent.
    pub(crate) fn get(&self, name: &str) -> Option<&'t Tree> {
        self.members.iter().find(|member| member.key == name).map(|member| &member.value).filter(|tree| !tree.is_null())
    }

    /// Where a field's key stands.
    pub(crate) fn key_place(&self, name: &str) -> Place {
        self.members.iter().find(|member| member.key == name).map_or(self.place, |member| member.key_place)
    }

    /// The value of a field that must be there.
    pub(crate) fn require(&self, name: &str, reader: &mut Reader) -> Option<&'t Tree> {
        let found = self.get(name);
        if found.is_none() {
            let place = Place { end: self.place.end.min(self.key_place(name).end), ..self.key_place(name) };
            reader.report.error("field-missing", place, format!("{} must have `{name}`", self.what));
        }
        found
    }
}

impl Reader<'_, '_> {
    /// An object of this kind, with the fields that the kind has.
    pub(crate) fn object<'t>(&mut self, tree: &'t Tree, what: &'static str) -> Option<Object<'t>> {
        self.object_and(tree, what, None)
    }

    /// An object of this kind that may have one more field.
    fn object_and<'t>(&mut self, tree: &'t Tree, what: &'static str, more: Option<&str>) -> Option<Object<'t>> {
        let fields = fields_of(what);
        let Kind::Object(members) = &tree.kind else {
            self.wrong(tree, shown(what), "an object");
            return None;
        };
        self.modern |= members.iter().any(|member| is_since_2023(what, &member.key));
        let what = shown(what);
        let known = |key: &str| fields.contains(&key) || more == Some(key);
        for member in members.iter().filter(|member| !known(&member.key)) {
            // Extensions are anyone's.
            if member.key.starts_with("x-") {
                continue;
            }
            let message = format!("{what} has no field `{}`", member.key);
            let error = self.report.error("field-unknown", member.key_place, message);
            match nearest(&member.key, fields.iter().copied()) {
                Some(name) => error.hint(format!("did you mean `{name}`?")),
                None => error.hint(fields_hint(fields)),
            };
        }
        Some(Object { what, place: tree.place, members })
    }

    /// The object of an entity.
    pub(crate) fn definition<'t>(&mut self, entity: &Entity<'t>, what: &'static str) -> Option<Object<'t>> {
        self.object_and(entity.value, what, entity.listed.then_some("name"))
    }

    /// The entities of a field of the catalog: a map by name, or a list of objects with `name`.
    fn entities<'t>(&mut self, tree: &'t Tree, field: &str) -> Vec<Entity<'t>> {
        let Kind::Array(items) = &tree.kind else {
            let members = self.map(tree, &format!("`{field}`")).iter();
            let entity = |member: &'t Member| Entity {
                name: member.name(),
                value: &member.value,
                at: below(&format!("/{field}"), &member.key),
                listed: false,
            };
            return members.map(entity).collect();
        };
        let mut entities = Vec::new();
        for (at, value) in items.iter().enumerate() {
            let Some(name) = value.get("name") else {
                if value.as_object().is_none() {
                    self.wrong(value, &format!("an item of `{field}`"), "an object");
                    continue;
                }
                let message = format!("an item of `{field}` must have `name`");
                let place = Place { end: value.place.start, ..value.place };
                self.report.error("field-missing", place, message).hint(format!("or write `{field}` as a map by name"));
                continue;
            };
            if let Some(name) = self.word(name, "`name`") {
                entities.push(Entity { name, value, at: format!("/{field}/{at}"), listed: true });
            }
        }
        entities
    }

    /// A name, or an object of this kind with a name and partitions.
    pub(crate) fn source<'t>(&mut self, tree: &'t Tree, what: &'static str) -> RawSource<'t> {
        let Kind::Object(_) = &tree.kind else {
            return RawSource { name: self.word(tree, what), ..RawSource::default() };
        };
        let Some(object) = self.object(tree, what) else {
            return RawSource::default();
        };
        let name = object.require("name", self).and_then(|tree| self.word(tree, "`name`"));
        let mut selector = self.selector(object.get("partitions"));
        if let Some(us) = object.get("notBefore").and_then(|tree| self.moment_us(tree, "`notBefore`")) {
            selector.period.not_before_us = us;
        }
        if let Some(us) = object.get("notAfter").and_then(|tree| self.moment_us(tree, "`notAfter`")) {
            selector.period.not_after_us = us;
        }
        RawSource { name, schema: object.get("schema"), selector }
    }

    /// The same where partitions may also stand beside the source, as they did before it could have any.
    pub(crate) fn source_beside<'t>(
        &mut self,
        tree: &'t Tree,
        what: &'static str,
        partitions: Option<&Tree>,
    ) -> RawSource<'t> {
        let mut source = self.source(tree, what);
        if partitions.is_some() && tree.get("partitions").is_none() {
            source.selector = RawSelector { period: source.selector.period, ..self.selector(partitions) };
        }
        source
    }

    /// Packages are never installed.
    pub(crate) fn npm(&mut self, packages: &Tree, place: Place) {
        if !self.map(packages, "`npmDependencies`").is_empty() {
            self.ignored(place, "`npmDependencies`")
                .hint("lambdas have only their own module: copy into it what they need");
        }
    }

    /// Warns that something has no effect.
    pub(crate) fn ignored(&mut self, place: Place, what: &str) -> &mut crate::Diagnostic {
        self.report.warning("ignored", place, format!("{what} has no effect here"))
    }

    /// An object whose keys are names of the author's choice; empty if it is something else, or `null`.
    pub(crate) fn map<'t>(&mut self, tree: &'t Tree, what: &str) -> &'t [Member] {
        match &tree.kind {
            Kind::Object(members) => members,
            Kind::Null => &[],
            _ => {
                self.wrong(tree, what, "an object");
                &[]
            }
        }
    }

    /// A list; empty if it is something else.
    pub(crate) fn list<'t>(&mut self, tree: &'t Tree, what: &str) -> &'t [Tree] {
        match &tree.kind {
            Kind::Array(items) => items,
            _ => {
                self.wrong(tree, what, "a list");
                &[]
            }
        }
    }

    pub(crate) fn word(&mut self, tree: &Tree, what: &str) -> Option<Word> {
        match &tree.kind {
            Kind::String(text) => Some(Spanned { value: text.clone(), place: tree.place }),
            _ => {
                self.wrong(tree, what, "a string");
                None
            }
        }
    }

    /// A list of strings.
    pub(crate) fn words(&mut self, tree: &Tree, what: &str, item: &str) -> Vec<Word> {
        self.list(tree, what).iter().filter_map(|tree| self.word(tree, item)).collect()
    }

    pub(crate) fn boolean(&mut self, tree: &Tree, what: &str) -> Option<bool> {
        match &tree.kind {
            Kind::Bool(value) => Some(*value),
            _ => {
                self.wrong(tree, what, "a boolean");
                None
            }
        }
    }

    pub(crate) fn unsigned(&mut self, tree: &Tree, what: &str) -> Option<u32> {
        let value = match &tree.kind {
            Kind::Number(number) => number.as_u64().and_then(|value| u32::try_from(value).ok()),
            _ => None,
        };
        if value.is_none() {
            self.wrong(tree, what, "an integer from 0 to 4294967295");
        }
        value
    }

    /// A duration in whole seconds.
    pub(crate) fn seconds(&mut self, tree: &Tree, what: &str) -> Option<u64> {
        let word = self.word(tree, what)?;
        match humantime::parse_duration(&word.value) {
            Ok(duration) => Some(duration.as_secs()),
            Err(error) => {
                let message = format!("`{}` is not a duration: {error}", word.value);
                self.report
                    .error("duration-invalid", word.place, message)
                    .hint("write `90s`, `15m`, `48 hours` or `1day`");
                None
            }
        }
    }

    /// A date with its time, as RFC 3339 has it, in microseconds since 1970 UTC.
    fn moment_us(&mut self, tree: &Tree, what: &str) -> Option<u64> {
        let word = self.word(tree, what)?;
        let us = moment_us(&word.value);
        if us.is_none() {
            let message = format!("`{}` is not a date with its time", word.value);
            self.report.error("date-invalid", word.place, message).hint("write `2023-05-01T00:00:00Z`");
        }
        us
    }

    /// A reference to a file, relative to this one.
    pub(crate) fn url(&mut self, word: &Word) -> Option<Spanned<Url>> {
        match self.file.join(&word.value) {
            Ok(url) => Some(Spanned { value: url, place: word.place }),
            Err(error) => {
                let message = format!("`{}` is not a URL: {error}", word.value);
                self.report.error("url-invalid", word.place, message);
                None
            }
        }
    }

    /// A schema: a URL, or one written here, at this pointer of the file.
    pub(crate) fn schema(&mut self, tree: &Tree, pointer: &str) -> Option<Spanned<Url>> {
        match &tree.kind {
            Kind::String(text) => self.url(&Spanned { value: text.clone(), place: tree.place }),
            Kind::Object(_) | Kind::Bool(_) => {
                Some(Spanned { value: self.library.inline(self.file, pointer, tree), place: tree.place })
            }
            _ => {
                self.wrong(tree, "a schema", "a URL, an object or a boolean");
                None
            }
        }
    }

    /// A list of JSON pointers, not looked into yet.
    pub(crate) fn key(&mut self, tree: &Tree, what: &str) -> Option<Spanned<Vec<Word>>> {
        let value = self.words(tree, what, "a JSON pointer");
        // One that is broken throughout has been reported, and is not an empty one.
        let empty = tree.as_array().is_some_and(<[Tree]>::is_empty);
        (empty || !value.is_empty()).then_some(Spanned { value, place: tree.place })
    }

    /// A selector of partitions.
    pub(crate) fn selector(&mut self, tree: Option<&Tree>) -> RawSelector {
        let Some(object) = tree.and_then(|tree| self.object(tree, "a partition selector")) else {
            return RawSelector::default();
        };
        let mut side = |name: &str| {
            let Some(tree) = object.get(name) else {
                return Vec::new();
            };
            let members = self.map(tree, "a list of values by field").iter();
            let fields = members.map(|member| {
                let values = self.list(&member.value, "the values of a field").to_vec();
                (Spanned { value: member.key.clone(), place: member.key_place }, values)
            });
            fields.collect()
        };
        RawSelector { include: side("include"), exclude: side("exclude"), period: Period::default() }
    }

    pub(crate) fn unsupported(&mut self, place: Place, what: &str) -> &mut crate::Diagnostic {
        self.report.error("unsupported", place, format!("{what} is not supported"))
    }

    pub(crate) fn wrong(&mut self, tree: &Tree, what: &str, expected: &str) {
        let found = match &tree.kind {
            Kind::Number(number) => format!("the number {number}"),
            Kind::Bool(value) => format!("`{value}`"),
            Kind::String(text) if text.len() <= SHOWN_BYTES_MAX && !text.contains('\n') => {
                format!("the string `{text}`")
            }
            _ => tree.describe().to_owned(),
        };
        let message = format!("{what} must be {expected}, and this is {found}");
        self.report.error("wrong-type", tree.place, message);
    }

    /// An item of `import`; nothing if it is no catalog.
    fn import(&mut self, tree: &Tree) -> Option<Spanned<Url>> {
        let mut kind = "catalog".to_owned();
        let url = match &tree.kind {
            Kind::Object(_) => {
                let object = self.object(tree, "an import")?;
                let url = object.require("url", self)?;
                if let Some(tree) = object.get("contentType") {
                    kind = self.content_type(tree)?;
                }
                url
            }
            _ => tree,
        };
        let word = self.word(url, "an import")?;
        let url = self.url(&word)?;
        if url.value.fragment().is_some() {
            let message = format!("an import is a whole file, and `{}` has a fragment", word.value);
            self.report.error("import-fragment", word.place, message).hint("leave out `#` and what follows");
            return None;
        }
        let read = match kind.as_str() {
            "catalog" => return Some(url),
            // Schemas may refer to it by its `$id`.
            "jsonschema" => self.library.document(&url.value).map(drop),
            _ => self.library.file(&url.value).map(drop).map_err(Unread::Fetch),
        };
        if let Err(Unread::Fetch(error)) = read {
            unreadable(self.library, self.report, url.place, &url.value, &error);
        }
        None
    }

    /// A kind of content, in lower case and without `_`.
    fn content_type(&mut self, tree: &Tree) -> Option<String> {
        let kind = self.word(tree, "`contentType`")?;
        let plain = kind.value.to_lowercase().replace('_', "");
        if !CONTENT_TYPES.contains(&plain.as_str()) {
            let message = format!("`{}` is not a kind of content", kind.value);
            let hint = "use `CATALOG`, `JSON_SCHEMA`, `TYPESCRIPT_MODULE`, `CONFIG` or `DOCUMENTS_FIXTURE`";
            self.report.error("content-type-unknown", kind.place, message).hint(hint);
            return None;
        }
        Some(plain)
    }

    /// A file that the catalog holds inside, as one that was bundled does: Base64 of its text, or JSON.
    fn resource(&mut self, member: &Member) {
        let Some(object) = self.object(&member.value, "an inlined resource") else { return };
        let url = self.url(&member.name());
        if let Some(kind) = object.get("contentType") {
            self.content_type(kind);
        }
        let (Some(content), Some(url)) = (object.require("content", self), url) else { return };
        let text = match &content.kind {
            Kind::String(text) => {
                let bytes = STANDARD.decode(text.replace(char::is_whitespace, "")).ok();
                bytes.and_then(|bytes| String::from_utf8(bytes).ok())
            }
            _ => Some(content.to_value().to_string()),
        };
        match text {
            Some(text) => self.library.inlined(&url.value, text),
            None => {
                let message = format!("the content of `{}` is not Base64 of a text", member.key);
                let error = self.report.error("resource-content", content.place, message);
                error.hint("encode the file with Base64, or keep it as a file of its own");
            }
        }
    }
}

impl Member {
    /// The key as a name.
    pub(crate) fn name(&self) -> Word {
        Spanned { value: self.key.clone(), place: self.key_place }
    }
}

/// The moment of an RFC 3339 text, in microseconds since 1970 UTC, and none before.
fn moment_us(text: &str) -> Option<u64> {
    let (local, offset_minutes) = match text.strip_suffix(['Z', 'z']) {
        Some(local) => (local, 0),
        None => {
            let (local, offset) = text.split_at_checked(text.len().checked_sub("+00:00".len())?)?;
            let (hours, minutes) = offset.get(1..)?.split_once(':')?;
            let minutes = hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok()?;
            (local, if offset.starts_with('-') { -minutes } else { minutes })
        }
    };
    let moment = humantime::parse_rfc3339(&format!("{}Z", local.replace(['t', ' '], "T"))).ok()?;
    let epoch = humantime::parse_rfc3339("1970-01-01T00:00:00Z").ok()?;
    let us = moment.duration_since(epoch).ok()?.as_micros();
    u64::try_from(us).ok()?.checked_add_signed(-offset_minutes * 60_000_000)
}

/// The pointer below `parent` to `token`.
fn below(parent: &str, token: &str) -> String {
    format!("{parent}/{}", escaped(token))
}

/// Names as a hint lists them.
pub(crate) fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::moment_us;

    #[test]
    fn moments() {
        let noon = Some(1_682_942_400_000_000);
        let cases = [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2023-05-01T12:00:00Z", noon),
            ("2023-05-01t12:00:00z", noon),
            ("2023-05-01 12:00:00Z", noon),
            ("2023-05-01T14:30:00+02:30", noon),
            ("2023-05-01T07:00:00-05:00", noon),
            ("2023-05-01T12:00:00.25Z", noon.map(|us| us + 250_000)),
            ("2023-05-01T12:00:00", None),
            ("2023-05-01", None),
            ("", None),
            ("é", None),
        ];
        for (text, expected) in cases {
            assert_eq!(moment_us(text), expected, "{text}");
        }
    }
}
