//! From raw definitions to specs: names resolve, schemas compile, keys exist, connectors and modules agree. Never stops at
//! the first mistake: what depends on something broken is left out in silence, all else is checked.

mod collection;
mod derivation;
mod imports;
mod materialization;
mod named_endpoint;
mod schema;
mod test;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use doc::{Schema, Shape, Types};
use serde_json::Value;
use url::Url;

use crate::diagnostic::{MISSPELT, OMISSION, Report, nearest};
use crate::load::{Library, Unread, unreadable};
use crate::names::{self, Form};
use crate::parse::{self, RawCapture, RawCatalog, RawEndpoint, RawSelector, Reader, Word};
use crate::tree;
use crate::typescript::{self, Generated};
use crate::{
    Capture, CaptureBinding, Catalog, Collection, ConfigAt, ConfigError, Diagnostic, Fetch, Host, Place, Selector,
    Severity, Tree, Unused,
};

/// A catalog and what is wrong with it.
#[derive(Debug)]
pub struct Built {
    /// What could be built. It may be run only if [`Built::is_sound`].
    pub catalog: Catalog,
    /// The mistakes, in the order of their places; the first 200, errors before warnings.
    pub diagnostics: Vec<Diagnostic>,
    /// How many more there are.
    pub more: usize,
}

impl Built {
    /// Whether there are no errors; there may be warnings.
    pub fn is_sound(&self) -> bool {
        self.diagnostics.iter().all(|diagnostic| diagnostic.severity != Severity::Error)
    }

    /// Whether it is sound and all that it says can be run.
    pub fn is_whole(&self) -> bool {
        self.is_sound() && !self.diagnostics.iter().any(Diagnostic::forbids_running)
    }
}

/// Builds the catalog at `root`, an absolute URL, and all that it imports.
pub fn build(root: &Url, fetch: &dyn Fetch, host: &dyn Host) -> Built {
    build_and(root, fetch, host, |_, _| ()).0
}

/// Builds a catalog, and the TypeScript types for what of it could be built.
pub fn types(root: &Url, fetch: &dyn Fetch, host: &dyn Host) -> (Built, Vec<Generated>) {
    let (built, anchors) = build_and(root, fetch, host, |build, catalogs| build.anchors(catalogs));
    let files = typescript::files(&built.catalog, &anchors);
    (built, files)
}

/// Builds a catalog, and looks at the build, given the URLs of the catalog files, before it is forgotten.
fn build_and<T>(
    root: &Url,
    fetch: &dyn Fetch,
    host: &dyn Host,
    look: impl FnOnce(&mut Build, &HashSet<Url>) -> T,
) -> (Built, T) {
    let library = Library::new(fetch);
    let mut report = Report::default();
    let (mut files, complete) = read_catalogs(root, &library, &mut report);
    named_endpoint::give_tasks(&mut files, complete, &mut report);
    let modern = files.iter().any(|file| file.raw.modern);
    let catalogs: HashSet<Url> = files.iter().map(|file| file.url.clone()).collect();
    // The last of several for one prefix, as the last of several values for a key.
    let mappings = files.iter().flat_map(|file| &file.raw.storage);
    let storage: BTreeMap<_, _> = mappings.map(|mapping| (mapping.prefix.clone(), mapping.clone())).collect();
    let storage = storage.into_values().collect();
    let mut build = Build {
        library: &library,
        host,
        report,
        complete,
        modern,
        schemas: HashMap::new(),
        names: BTreeMap::new(),
        collections: BTreeMap::new(),
        read_urls: HashMap::new(),
    };
    let (captures, materializations, tests) = build.catalog(files);
    let seen = look(&mut build, &catalogs);
    let Build { mut report, collections, .. } = build;
    let (sources, mut broken) = library.close();
    report.append(&mut broken);
    let collections = collections.into_values().collect();
    let catalog = Catalog { sources, collections, captures, materializations, tests, storage };
    let (diagnostics, more) = report.into_sorted();
    (Built { catalog, diagnostics, more }, seen)
}

/// A catalog file and what it defines.
struct File {
    url: Url,
    raw: RawCatalog,
}

/// Reads the root and whatever it imports, each file once; says whether all of them could be read.
fn read_catalogs(root: &Url, library: &Library, report: &mut Report) -> (Vec<File>, bool) {
    let mut files = Vec::new();
    let mut complete = true;
    let mut seen = HashSet::from([root.clone()]);
    // Each with the place that imports it; nothing imports the root.
    let mut queue: VecDeque<(Url, Option<Place>)> = VecDeque::from([(root.clone(), None)]);
    while let Some((url, importer)) = queue.pop_front() {
        let document = match library.document(&url) {
            Ok(document) => document,
            Err(unread) => {
                complete = false;
                if let Unread::Fetch(error) = unread {
                    let place = importer.unwrap_or_else(|| Place::file(library.missing(&url)));
                    unreadable(library, report, place, &url, &error);
                }
                continue;
            }
        };
        let mut tree = (*document.tree).clone();
        tree::expand_merges(&mut tree, report);
        let raw = parse::catalog(&tree, &mut Reader { library, report, file: &url, modern: false });
        complete &= !raw.incomplete;
        let imports = raw.imports.iter().filter(|import| seen.insert(import.value.clone()));
        queue.extend(imports.map(|import| (import.value.clone(), Some(import.place))));
        files.push(File { url, raw });
    }
    (files, complete)
}

/// What a build knows so far.
struct Build<'a, 'f> {
    library: &'a Library<'f>,
    host: &'a dyn Host,
    report: Report,
    /// Whether all catalog files could be read; if not, nobody knows which names are not defined.
    complete: bool,
    /// Whether it has a spelling of 2023 or later, by which parts of keys may be null.
    modern: bool,
    /// Each schema, compiled once, with the one that collections are written by where they are read by it; `None` if it is
    /// broken.
    schemas: HashMap<(Url, Option<Url>), Option<Arc<Schema>>>,
    /// Every collection that is defined, well or badly, and where.
    names: BTreeMap<String, Place>,
    /// Those that could be built.
    collections: BTreeMap<String, Collection>,
    /// Of each of those, the schema it is read by.
    read_urls: HashMap<String, Url>,
}

/// Everything but collections.
type Tasks = (Vec<Capture>, Vec<crate::Materialization>, Vec<crate::Test>);

impl Build<'_, '_> {
    fn catalog(&mut self, files: Vec<File>) -> Tasks {
        let collections: Vec<_> =
            files.iter().flat_map(|file| file.raw.collections.iter().map(move |raw| (&file.url, raw))).collect();
        let words: Vec<&Word> = collections.iter().map(|(_, raw)| &raw.name).collect();
        let first = self.names("collection", &words, Form::Path);
        // Those too that are no good: that they are is said of them, and not of who refers to them.
        for (_, raw) in &collections {
            self.names.entry(raw.name.value.clone()).or_insert(raw.name.place);
        }
        for ((_, raw), _) in collections.iter().zip(&first).filter(|(_, first)| **first) {
            if let Some(built) = self.collection(raw) {
                self.collections.insert(built.name.clone(), built);
            }
        }
        let mut derivations = Vec::new();
        for ((url, raw), _) in collections.iter().zip(&first).filter(|(_, first)| **first) {
            if let Some(derivation) = &raw.derivation {
                derivations.push((&raw.name.value, self.derivation(url, &raw.name.value, derivation)));
            }
        }
        let derived: HashSet<&str> = derivations.iter().map(|(name, _)| name.as_str()).collect();
        for (name, derivation) in derivations {
            if let Some(collection) = self.collections.get_mut(name) {
                collection.derivation = derivation;
            }
        }

        let raw: Vec<_> = files.iter().flat_map(|file| &file.raw.captures).collect();
        let first = self.names("capture", &raw.iter().map(|raw| &raw.name).collect::<Vec<_>>(), Form::Path);
        let of_first = raw.into_iter().zip(first).filter(|(_, first)| *first);
        let mut captures: Vec<_> = of_first.filter_map(|(raw, _)| self.capture(raw, &derived)).collect();
        captures.sort_by(|a, b| a.name.cmp(&b.name));

        let raw: Vec<_> = files.iter().flat_map(|file| &file.raw.materializations).collect();
        let first = self.names("materialization", &raw.iter().map(|raw| &raw.name).collect::<Vec<_>>(), Form::Path);
        let of_first = raw.into_iter().zip(first).filter(|(_, first)| *first);
        let mut materializations: Vec<_> = of_first.filter_map(|(raw, _)| self.materialization(raw)).collect();
        materializations.sort_by(|a, b| a.name.cmp(&b.name));

        let mut files = files;
        files.sort_by(|a, b| a.url.cmp(&b.url));
        let mut raw: Vec<_> = files.iter().map(|file| file.raw.tests.iter().collect::<Vec<_>>()).collect();
        raw.iter_mut().for_each(|tests| tests.sort_by(|a, b| a.name.value.cmp(&b.name.value)));
        let raw = raw.concat();
        let first = self.names("test", &raw.iter().map(|raw| &raw.name).collect::<Vec<_>>(), Form::Free);
        let of_first = raw.into_iter().zip(first).filter(|(_, first)| *first);
        let tests = of_first.map(|(raw, _)| self.test(raw)).collect();
        (captures, materializations, tests)
    }

    /// The shapes of the `$anchor`s in schema files that can be names of types.
    fn anchors(&mut self, catalogs: &HashSet<Url>) -> BTreeMap<String, Shape> {
        let mut found = BTreeMap::new();
        for (url, document) in self.library.documents() {
            if !catalogs.contains(&url) {
                typescript::anchors(&url, &document.tree, &mut found);
            }
        }
        let library = self.library;
        let documents = |url: &Url| library.document(url).ok().map(|document| document.value);
        let compiled = found.into_iter().filter_map(|(name, url)| {
            // What is wrong with a schema that is used has been reported.
            Some((name, Schema::compile(&url, &documents).ok()?.shape().clone()))
        });
        compiled.collect()
    }

    /// Checks names of one kind of thing; says of each whether it is the first of its name.
    fn names(&mut self, what: &str, words: &[&Word], form: Form) -> Vec<bool> {
        for word in words {
            names::check(what, word, form, &mut self.report);
        }
        names::check_distinct(what, words, form != Form::Free, &mut self.report)
    }

    /// The collection of this name. Reports a name that is not defined; is silent of one that could not be built.
    fn resolve(&mut self, name: &Word, referrer: &str) -> Option<&Collection> {
        if self.complete && !self.names.contains_key(&name.value) {
            let message = format!("collection `{}`, which {referrer} refers to, is not defined", name.value);
            let found = nearest(&name.value, self.names.keys().map(String::as_str));
            let error = self.report.error("collection-unknown", name.place, message);
            match found {
                Some(found) => {
                    error.hint(format!("did you mean `{found}`?"));
                    error.related(self.names[found], format!("`{found}` is defined here"));
                }
                None => {
                    error.hint("define it, or `import` the file that does");
                }
            }
        }
        self.collections.get(&name.value)
    }

    fn capture(&mut self, raw: &RawCapture, derived: &HashSet<&str>) -> Option<Capture> {
        let name = &raw.name.value;
        let mut bindings = Vec::new();
        let mut first: Vec<(&Value, Place)> = Vec::new();
        let resources: Vec<Value> = raw.bindings.iter().map(|binding| binding.resource.to_value()).collect();
        for (binding, resource) in raw.bindings.iter().zip(&resources) {
            let known = self.resolve(&binding.target, &format!("capture `{name}`")).is_some();
            if derived.contains(binding.target.value.as_str()) {
                let message = format!("`{}` is derived, and a capture cannot add to it", binding.target.value);
                let place = self.names[&binding.target.value];
                let error = self.report.error("capture-into-derivation", binding.target.place, message);
                error
                    .related(place, "it is defined here")
                    .hint("capture into a collection of its own, and derive from that");
                continue;
            }
            if let Some((_, place)) = first.iter().find(|(other, _)| *other == resource) {
                let message = "another binding captures the same resource";
                self.report.error("resource-duplicate", binding.resource.place, message).related(*place, "it is here");
            }
            first.push((resource, binding.resource.place));
            if known {
                bindings.push(CaptureBinding {
                    resource: resource.clone(),
                    target: binding.target.value.clone(),
                    place: binding.place,
                });
            }
        }
        let endpoint = raw.endpoint.as_ref()?;
        let values: Vec<&Value> = resources.iter().collect();
        let trees: Vec<&Tree> = raw.bindings.iter().map(|binding| &binding.resource).collect();
        self.unused(endpoint, &values, &trees);
        if let Err(errors) = self.host.check_capture(&endpoint.endpoint, &values)
            && !self.config_errors(&format!("capture `{name}`"), endpoint, &trees, errors)
        {
            return None;
        }
        Some(Capture {
            name: name.clone(),
            endpoint: endpoint.endpoint.clone(),
            bindings,
            interval_seconds: raw.interval_seconds,
            place: raw.name.place,
        })
    }

    /// Warns of what a connector does not use of a task's configuration and of its bindings' resources.
    fn unused(&mut self, endpoint: &RawEndpoint, values: &[&Value], resources: &[&Tree]) {
        for Unused { at, name, near } in self.host.unused(&endpoint.endpoint, values) {
            let place = config_place(&at, endpoint, resources);
            let message = format!("`{}` does not use `{}`", endpoint.endpoint.connector, name.escape_debug());
            match near {
                Some(near) => {
                    self.report.warning(MISSPELT, place, message).hint(format!("did you mean `{near}`?"));
                }
                None => {
                    self.report.warning("config-unused", place, message);
                }
            }
        }
    }

    /// Reports what a connector says of a task's configuration, each mistake where its value stands; says whether there is
    /// such a connector.
    fn config_errors(
        &mut self,
        task: &str,
        endpoint: &RawEndpoint,
        resources: &[&Tree],
        errors: Vec<ConfigError>,
    ) -> bool {
        let mut known = true;
        for ConfigError { at, message, hint } in errors {
            let place = config_place(&at, endpoint, resources);
            let slug = match at {
                ConfigAt::Connector => {
                    known = false;
                    let message = format!("{message}, so {task} is left out");
                    self.report.warning(OMISSION, place, message).hint = hint;
                    continue;
                }
                ConfigAt::Config(_) => "config-invalid",
                ConfigAt::Resource(..) => "resource-invalid",
            };
            self.report.error(slug, place, message).hint = hint;
        }
        known
    }

    /// Checks a selector against the partitions of a collection.
    fn selector(&mut self, raw: &RawSelector, collection: &str) -> Selector {
        let mut side = |fields: &[(Word, Vec<Tree>)]| -> Vec<(String, Vec<Value>)> {
            let checked = fields.iter().filter_map(|(field, values)| {
                let collection = self.collections.get(collection)?;
                check_partition(field, collection, values, &mut self.report)
            });
            checked.collect()
        };
        Selector { include: side(&raw.include), exclude: side(&raw.exclude), period: raw.period }
    }
}

/// Where a value of a configuration stands, or of the resource of one of these bindings.
fn config_place(at: &ConfigAt, endpoint: &RawEndpoint, resources: &[&Tree]) -> Place {
    match at {
        ConfigAt::Connector => endpoint.connector_place,
        ConfigAt::Config(pointer) => endpoint.config.place_at(pointer),
        ConfigAt::Resource(n, pointer) => {
            resources.get(*n).map_or(endpoint.endpoint.place, |tree| tree.place_at(pointer))
        }
    }
}

fn check_partition(
    field: &Word,
    collection: &Collection,
    values: &[Tree],
    report: &mut Report,
) -> Option<(String, Vec<Value>)> {
    let partitions: Vec<&str> = collection.partitions().map(|projection| projection.field.as_str()).collect();
    let Some(projection) = collection.projection(&field.value) else {
        let message = format!("`{}` is not a field of collection `{}`", field.value, collection.name);
        let error = report.error("selector-field-unknown", field.place, message);
        suggest(error, &field.value, &partitions, "it has no partitions");
        return None;
    };
    if !projection.partition {
        let message = format!("collection `{}` is not partitioned by `{}`", collection.name, field.value);
        let error = report.error("selector-not-partition", field.place, message);
        suggest(error, &field.value, &partitions, "add `partition: true` to its projection");
        return None;
    }
    let mut checked = Vec::new();
    for tree in values {
        let value = tree.to_value();
        if Types::of(&value).intersect(projection.types).is_empty() {
            let message = format!("`{}` is never {}: its types are {}", field.value, tree.describe(), projection.types);
            report.error("selector-type", tree.place, message);
        } else if value.as_str() == Some("") {
            let message = format!("`{}` cannot be selected by an empty string", field.value);
            report.error("selector-empty-string", tree.place, message);
        } else {
            checked.push(value);
        }
    }
    Some((field.value.clone(), checked))
}

/// Hints at the nearest of some names, or lists them.
fn suggest(error: &mut Diagnostic, name: &str, known: &[&str], none: &str) {
    let hint = match nearest(name, known.iter().copied()) {
        Some(near) if near != name => format!("did you mean `{near}`?"),
        _ if known.is_empty() => none.to_owned(),
        _ => format!("use one of {}", parse::quoted(known)),
    };
    error.hint(hint);
}
