//! Reading captures and materializations: endpoints and their bindings.

use url::Url;

use super::{Object, RawSelector, Reader, Spanned, Word, quoted};
use crate::load::{Unread, unreadable};
use crate::{Endpoint, Kind, Member, Place, Tree};

/// How often a capture's source is asked again, unless the catalog says otherwise.
const INTERVAL_SECONDS_DEFAULT: u64 = 5 * 60;

/// An endpoint and its configuration with places.
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

pub(super) fn capture(member: &Member, reader: &mut Reader) -> RawCapture {
    const FIELDS: &[&str] =
        &["endpoint", "bindings", "interval", "shards", "autoDiscover", "expectPubId", "delete", "redactSalt"];
    let mut raw = RawCapture {
        name: member.name(),
        endpoint: None,
        bindings: Vec::new(),
        interval_seconds: INTERVAL_SECONDS_DEFAULT,
    };
    let Some(object) = reader.object(&member.value, "a capture", FIELDS) else {
        return raw;
    };
    let variants = [("airbyteSource", None), ("connector", None), ("ingest", Some("source-http-ingest"))];
    raw.endpoint = endpoint(object, &variants, reader);
    raw.bindings = bindings(object, reader).iter().filter_map(|tree| capture_binding(tree, reader)).collect();
    if let Some(seconds) = object.get("interval").and_then(|tree| reader.seconds(tree, "`interval`")) {
        raw.interval_seconds = seconds;
    }
    raw
}

pub(super) fn materialization(member: &Member, reader: &mut Reader) -> RawMaterialization {
    const FIELDS: &[&str] = &[
        "endpoint",
        "bindings",
        "shards",
        "expectPubId",
        "delete",
        "onIncompatibleSchemaChange",
        "source",
        "sourceCapture",
    ];
    let mut raw = RawMaterialization { name: member.name(), endpoint: None, bindings: Vec::new() };
    let Some(object) = reader.object(&member.value, "a materialization", FIELDS) else {
        return raw;
    };
    let variants = [
        ("flowSink", None),
        ("connector", None),
        ("sqlite", Some("materialize-sqlite")),
        ("postgres", Some("materialize-postgres")),
        ("webhook", Some("materialize-webhook")),
    ];
    raw.endpoint = endpoint(object, &variants, reader);
    raw.bindings = bindings(object, reader).iter().filter_map(|tree| binding(tree, reader)).collect();
    raw
}

/// The endpoint: one of these variants, each with an image, or with a configuration alone for a built-in connector.
fn endpoint(object: Object, variants: &[(&str, Option<&str>)], reader: &mut Reader) -> Option<RawEndpoint> {
    let tree = object.require("endpoint", reader)?;
    let names: Vec<&str> = variants.iter().map(|(name, _)| *name).collect();
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
        return raw_endpoint((*connector).to_owned(), one.key_place, config, one.key_place, reader);
    }
    let object = reader.object(&one.value, "an endpoint", &["image", "config"])?;
    let image = object.require("image", reader).and_then(|tree| reader.word(tree, "`image`"));
    let config = object.require("config", reader);
    let (image, config) = (image?, config?);
    let connector = connector_of(&image.value);
    if connector.is_empty() {
        reader.report.error("image-invalid", image.place, format!("`{}` names no image", image.value));
        return None;
    }
    raw_endpoint(connector.to_owned(), image.place, config, one.key_place, reader)
}

fn raw_endpoint(
    connector: String,
    connector_place: Place,
    config: &Tree,
    place: Place,
    reader: &mut Reader,
) -> Option<RawEndpoint> {
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
    let endpoint = Endpoint { connector, config: config.to_value(), base, place };
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

fn bindings<'t>(object: Object<'t>, reader: &mut Reader) -> &'t [Tree] {
    match object.require("bindings", reader) {
        Some(tree) => reader.list(tree, "`bindings`"),
        None => &[],
    }
}

fn capture_binding(tree: &Tree, reader: &mut Reader) -> Option<RawCaptureBinding> {
    let object = reader.object(tree, "a binding of a capture", &["resource", "target", "disable", "backfill"])?;
    if disabled(object, reader) {
        return None;
    }
    let resource = resource(object, reader);
    let target = object.require("target", reader).and_then(|tree| reader.word(tree, "`target`"));
    Some(RawCaptureBinding { place: tree.place, resource: resource?, target: target? })
}

fn binding(tree: &Tree, reader: &mut Reader) -> Option<RawBinding> {
    const FIELDS: &[&str] = &[
        "resource",
        "source",
        "partitions",
        "fields",
        "disable",
        "priority",
        "backfill",
        "onIncompatibleSchemaChange",
    ];
    let object = reader.object(tree, "a binding of a materialization", FIELDS)?;
    if disabled(object, reader) {
        return None;
    }
    let resource = resource(object, reader);
    let mut selector = reader.selector(object.get("partitions"));
    let source = object.require("source", reader).and_then(|tree| match &tree.kind {
        Kind::Object(_) => {
            let object = reader.object(tree, "a source", &["name", "partitions"])?;
            if object.get("partitions").is_some() {
                selector = reader.selector(object.get("partitions"));
            }
            object.require("name", reader).and_then(|tree| reader.word(tree, "`name`"))
        }
        _ => reader.word(tree, "`source`"),
    });
    let fields = fields(object.get("fields"), reader);
    Some(RawBinding { place: tree.place, resource: resource?, source: source?, selector, fields })
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

fn fields(tree: Option<&Tree>, reader: &mut Reader) -> RawFields {
    let mut raw = RawFields { include: Vec::new(), exclude: Vec::new(), recommended: true };
    let fields = ["include", "require", "exclude", "recommended"];
    let Some(object) = tree.and_then(|tree| reader.object(tree, "a field selection", &fields)) else {
        return raw;
    };
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
