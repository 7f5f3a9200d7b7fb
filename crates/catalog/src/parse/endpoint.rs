//! Reading captures and materializations: endpoints and their bindings.

use url::Url;

use super::{Entity, Object, RawSelector, Reader, Spanned, Word, quoted};
use crate::load::{Unread, unreadable};
use crate::{Endpoint, Kind, Member, Place, Tree};

/// How often a capture's source is asked again, unless the catalog says otherwise.
const INTERVAL_SECONDS_DEFAULT: u64 = 5 * 60;

/// An endpoint and its configuration with places.
#[derive(Clone)]
pub(crate) struct RawEndpoint {
    pub(crate) endpoint: Endpoint,
    pub(crate) config: Tree,
    /// Where the connector is named.
    pub(crate) connector_place: Place,
}

/// A capture as written.
pub(crate) struct RawCapture {
    pub(crate) name: Word,
    pub(crate) endpoint: Option<RawEndpoint>,
    pub(crate) bindings: Vec<RawCaptureBinding>,
    pub(crate) interval_seconds: u64,
}

pub(crate) struct RawCaptureBinding {
    pub(crate) place: Place,
    pub(crate) resource: Tree,
    pub(crate) target: Word,
}

/// A materialization as written.
pub(crate) struct RawMaterialization {
    pub(crate) name: Word,
    pub(crate) endpoint: Option<RawEndpoint>,
    pub(crate) bindings: Vec<RawBinding>,
}

pub(crate) struct RawBinding {
    pub(crate) place: Place,
    pub(crate) resource: Tree,
    pub(crate) source: Word,
    pub(crate) selector: RawSelector,
    pub(crate) fields: RawFields,
}

/// Which fields an author wants.
pub(crate) struct RawFields {
    pub(crate) include: Vec<Word>,
    pub(crate) exclude: Vec<Word>,
    pub(crate) recommended: bool,
}

/// A kind of endpoint, and the connector it means where that is not told by an image.
type Variant = (&'static str, Option<&'static str>);

/// What a capture reads from. Kinds that no connector serves are known as well: catalogs that have them can be tested.
const CAPTURE_VARIANTS: &[Variant] = &[
    ("airbyteSource", None),
    ("connector", None),
    ("ingest", Some("source-http-ingest")),
    ("local", Some("local")),
    ("remote", Some("remote")),
    ("s3", Some("source-s3")),
    ("gcs", Some("source-gcs")),
    ("kinesis", Some("source-kinesis")),
    ("kafka", Some("source-kafka")),
];
/// Those that hints name.
const SERVED: &[&str] =
    &["source-http-ingest", "local", "materialize-sqlite", "materialize-postgres", "materialize-webhook"];
/// What a materialization writes to.
const MATERIALIZATION_VARIANTS: &[Variant] = &[
    ("flowSink", None),
    ("connector", None),
    ("sqlite", Some("materialize-sqlite")),
    ("postgres", Some("materialize-postgres")),
    ("webhook", Some("materialize-webhook")),
    ("snowflake", Some("materialize-snowflake")),
    ("bigquery", Some("materialize-bigquery")),
    ("dekaf", Some("dekaf")),
    ("local", Some("local")),
    ("remote", Some("remote")),
];

pub(super) fn capture(entity: &Entity, reader: &mut Reader) -> RawCapture {
    let mut raw = RawCapture {
        name: entity.name.clone(),
        endpoint: None,
        bindings: Vec::new(),
        interval_seconds: INTERVAL_SECONDS_DEFAULT,
    };
    let Some(object) = reader.definition(entity, "a capture") else {
        return raw;
    };
    raw.endpoint = object.require("endpoint", reader).and_then(|tree| endpoint(tree, &[CAPTURE_VARIANTS], reader));
    raw.bindings = bindings(object, reader).iter().filter_map(|tree| capture_binding(tree, reader)).collect();
    if let Some(seconds) = object.get("interval").and_then(|tree| reader.seconds(tree, "`interval`")) {
        raw.interval_seconds = seconds;
    }
    raw
}

impl RawCapture {
    /// The capture of one binding.
    pub(crate) fn of(name: Word, endpoint: Option<RawEndpoint>, binding: RawCaptureBinding) -> RawCapture {
        RawCapture { name, endpoint, bindings: vec![binding], interval_seconds: INTERVAL_SECONDS_DEFAULT }
    }
}

pub(super) fn materialization(entity: &Entity, reader: &mut Reader) -> RawMaterialization {
    let mut raw = RawMaterialization { name: entity.name.clone(), endpoint: None, bindings: Vec::new() };
    let Some(object) = reader.definition(entity, "a materialization") else {
        return raw;
    };
    let endpoint_tree = object.require("endpoint", reader);
    raw.endpoint = endpoint_tree.and_then(|tree| endpoint(tree, &[MATERIALIZATION_VARIANTS], reader));
    raw.bindings = bindings(object, reader).iter().filter_map(|tree| binding(tree, reader)).collect();
    raw
}

/// An endpoint that captures and materializations refer to by name.
pub(super) fn named(tree: &Tree, reader: &mut Reader) -> Option<RawEndpoint> {
    endpoint(tree, &[CAPTURE_VARIANTS, MATERIALIZATION_VARIANTS], reader)
}

/// The endpoint: one of these variants, each with an image, or with a configuration alone for a built-in connector.
fn endpoint(tree: &Tree, variants: &[&[Variant]], reader: &mut Reader) -> Option<RawEndpoint> {
    let variants: Vec<Variant> = variants.concat();
    let served = |(_, connector): &&Variant| connector.is_none_or(|name| SERVED.contains(&name));
    let mut names: Vec<&str> = variants.iter().filter(served).map(|(name, _)| *name).collect();
    names.dedup();
    let one = match reader.map(tree, "`endpoint`") {
        [one] => one,
        [] if !matches!(tree.kind, Kind::Object(_)) => return None,
        _ => {
            let message = format!("an endpoint is one of {}", quoted(&names));
            reader.report.error("endpoint-count", tree.place, message);
            return None;
        }
    };
    let Some((_, builtin)) = variants.iter().find(|(name, _)| *name == one.key) else {
        let message = format!("`{}` is not a kind of endpoint here", one.key);
        let hint = format!("use one of {}", quoted(&names));
        reader.report.error("endpoint-unknown", one.key_place, message).hint(hint);
        return None;
    };
    if let Some(connector) = builtin {
        let empty = Tree { kind: Kind::Object(Vec::new()), place: one.key_place };
        let config = if one.value.is_null() { &empty } else { &one.value };
        let config = if one.key == "local" { with_config(config, reader)? } else { config.clone() };
        let named = Named { connector: (*connector).to_owned(), image: None, place: one.key_place };
        return raw_endpoint(named, &config, one.key_place, reader);
    }
    let object = reader.object(&one.value, "an endpoint with an image")?;
    let image = object.require("image", reader).and_then(|tree| reader.word(tree, "`image`"));
    let config = object.require("config", reader);
    let (image, config) = (image?, config?);
    let connector = connector_of(&image.value);
    if connector.is_empty() {
        reader.report.error("image-invalid", image.place, format!("`{}` names no image", image.value));
        return None;
    }
    let named = Named { connector: connector.to_owned(), place: image.place, image: Some(image.value) };
    raw_endpoint(named, config, one.key_place, reader)
}

/// How an endpoint names its connector.
struct Named {
    connector: String,
    image: Option<String>,
    place: Place,
}

/// A command's endpoint, with the file that its `config` may be the URL of.
fn with_config(tree: &Tree, reader: &mut Reader) -> Option<Tree> {
    let mut tree = tree.clone();
    if let Kind::Object(members) = &mut tree.kind
        && let Some(config) = members.iter_mut().find(|member| member.key == "config")
        && let Kind::String(text) = &config.value.kind
    {
        let url = reader.url(&Spanned { value: text.clone(), place: config.value.place })?;
        config.value = read_file(&url, reader)?;
    }
    Some(tree)
}

fn raw_endpoint(named: Named, config: &Tree, place: Place, reader: &mut Reader) -> Option<RawEndpoint> {
    let (config, base) = match &config.kind {
        Kind::String(text) => {
            let url = reader.url(&Spanned { value: text.clone(), place: config.place })?;
            (read_file(&url, reader)?, url.value)
        }
        _ => (config.clone(), reader.file.clone()),
    };
    if config.as_object().is_none() {
        reader.wrong(&config, "a configuration", "an object or the URL of a file");
        return None;
    }
    let Named { connector, image, place: connector_place } = named;
    let endpoint = Endpoint { connector, image, config: config.to_value(), base, place };
    Some(RawEndpoint { endpoint, config, connector_place })
}

/// A file of plain YAML or JSON.
pub(super) fn read_file(url: &Spanned<Url>, reader: &mut Reader) -> Option<Tree> {
    match reader.library.document(&url.value) {
        Ok(document) => Some((*document.tree).clone()),
        Err(Unread::Broken) => None,
        Err(Unread::Fetch(error)) => {
            unreadable(reader.library, reader.report, url.place, &url.value, &error);
            None
        }
    }
}

/// The last component of an image's name, without tag or digest.
fn connector_of(image: &str) -> &str {
    let name = image.split_once('@').map_or(image, |(name, _)| name);
    let last = name.rsplit('/').next().unwrap_or(name);
    last.split(':').next().unwrap_or(last)
}

/// The bindings; a materialization that takes them from a capture need not list any.
fn bindings<'t>(object: Object<'t>, reader: &mut Reader) -> &'t [Tree] {
    if object.get("bindings").is_none() && (object.get("source").is_some() || object.get("sourceCapture").is_some()) {
        return &[];
    }
    match object.require("bindings", reader) {
        Some(tree) => reader.list(tree, "`bindings`"),
        None => &[],
    }
}

fn capture_binding(tree: &Tree, reader: &mut Reader) -> Option<RawCaptureBinding> {
    let object = reader.object(tree, "a binding of a capture")?;
    if disabled(object, reader) {
        return None;
    }
    let resource = resource(object, reader);
    let target = object.require("target", reader).and_then(|tree| reader.word(tree, "`target`"));
    Some(RawCaptureBinding { place: tree.place, resource: resource?, target: target? })
}

fn binding(tree: &Tree, reader: &mut Reader) -> Option<RawBinding> {
    let object = reader.object(tree, "a binding of a materialization")?;
    if disabled(object, reader) {
        return None;
    }
    let resource = resource(object, reader);
    let (source, selector) = binding_source(object, reader);
    let fields = fields(object.get("fields"), reader);
    Some(RawBinding { place: tree.place, resource: resource?, source: source?, selector, fields })
}

/// The collection of a binding and which documents of it.
pub(super) fn binding_source(object: Object, reader: &mut Reader) -> (Option<Word>, RawSelector) {
    let Some(tree) = object.require("source", reader) else { return (None, RawSelector::default()) };
    let source = reader.source_beside(tree, "a source", object.get("partitions"));
    (source.name, source.selector)
}

fn disabled(object: Object, reader: &mut Reader) -> bool {
    object.get("disable").and_then(|tree| reader.boolean(tree, "`disable`")) == Some(true)
}

fn resource(object: Object, reader: &mut Reader) -> Option<Tree> {
    let tree = object.require("resource", reader)?;
    if tree.as_object().is_none() {
        reader.wrong(tree, "a resource", "an object");
        return None;
    }
    Some(tree.clone())
}

pub(super) fn fields(tree: Option<&Tree>, reader: &mut Reader) -> RawFields {
    let mut raw = RawFields { include: Vec::new(), exclude: Vec::new(), recommended: true };
    let Some(object) = tree.and_then(|tree| reader.object(tree, "a field selection")) else {
        return raw;
    };
    if object.get("groupBy").is_some() {
        reader.ignored(object.key_place("groupBy"), "`groupBy`");
    }
    for name in ["include", "require"] {
        if let Some(tree) = object.get(name) {
            raw.include.extend(reader.map(tree, "the included fields").iter().map(Member::name));
        }
    }
    if let Some(tree) = object.get("exclude") {
        raw.exclude = reader.words(tree, "`exclude`", "a field");
    }
    match object.get("recommended") {
        // Later catalogs give a depth; any but zero recommends.
        Some(Tree { kind: Kind::Number(depth), .. }) => raw.recommended = depth.as_u64() != Some(0),
        Some(tree) => raw.recommended = reader.boolean(tree, "`recommended`").unwrap_or(true),
        None => {}
    }
    raw
}

#[cfg(test)]
mod tests {
    use super::connector_of;

    #[test]
    fn connectors_of_images() {
        let cases = [
            ("ghcr.io/x/materialize-sqlite:v1", "materialize-sqlite"),
            ("source-http-ingest", "source-http-ingest"),
            ("localhost:5000/x/source-file", "source-file"),
            ("x/y@sha256:00ff", "y"),
            ("x/", ""),
        ];
        for (image, expected) in cases {
            assert_eq!(connector_of(image), expected, "{image}");
        }
    }
}
