//! `segtide discover`: a catalog of the streams that a connector has.
//!
//! In two steps, since only the connector knows what it has to be told: the first writes its configuration with defaults and
//! what they mean, the second asks with it. Source: reference 8.1.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use connectors::{Connector, Discovered, Level};
use serde_json::{Map, Value, json};

use crate::cli::Discover;
use crate::host;
use crate::output::{self, Exit, fail, plural, tell};
use crate::rows::{Cell, Rows};
use crate::secrets::{self, Missing};
use crate::yaml::{self, word};

/// Objects within a schema that are laid out; what is deeper is in one line.
const SCHEMA_LEVELS: usize = 2;

pub fn run(args: &Discover) -> anyhow::Result<Exit> {
    let directory = args.directory.canonicalize();
    let directory = directory.with_context(|| format!("{} cannot be used", args.directory.display()))?;
    let connector = match &args.image {
        Some(image) => Connector::image(image.clone(), directory.clone(), host::surroundings()),
        None => Connector::command(args.command.clone(), directory.clone(), host::surroundings()),
    };
    let name = name_of(args);
    let (config_file, catalog_file) = (format!("discover-{name}.config.yaml"), format!("discover-{name}.flow.yaml"));
    let config_path = directory.join(&config_file);
    if !config_path.exists() {
        let spec = match quietly(|| connector.spec()) {
            Ok(spec) => spec,
            Err(why) => return failed(&why),
        };
        write(&config_path, &stub(&spec))?;
        tell(&format!("{config_file} is what the connector asks for; fill it in and run the same again."));
        return Ok(Exit::Ok);
    }
    let mut config = match read(&config_path) {
        Ok(config) => config,
        Err(why) => return failed(&why),
    };
    secrets::allow_commands(args.allow_exec);
    if let Err(errors) = secrets::fill_in(&mut config, &directory, Missing::Refuse) {
        let why =
            errors.into_iter().map(|error| [Some(error.message), error.hint].into_iter().flatten().collect::<Vec<_>>());
        let why: Vec<String> = why.map(|said| said.join("; ")).collect();
        return failed(&format!("{config_file}: {}", why.join("\n")));
    }
    if let Err(why) = quietly(|| connector.check(&config)) {
        return failed(&format!("the connector does not work with {config_file}: {why}"));
    }
    let streams = match quietly(|| connector.discover(&config)) {
        Ok(streams) => streams,
        Err(why) => return failed(&why),
    };
    if streams.is_empty() {
        return failed("the connector has no streams with this configuration");
    }
    let catalog_path = directory.join(&catalog_file);
    anyhow::ensure!(!catalog_path.exists(), "{catalog_file} is there already; move it away to have it written anew");
    write(&catalog_path, &catalog(args, &name, &config_file, &streams))?;
    let mut rows = Rows::new(args.output.format());
    for Discovered { namespace, name, key, incremental, .. } in &streams {
        let mode = if *incremental { "incremental" } else { "full_refresh" };
        let row =
            [("stream", json!(name)), ("namespace", json!(namespace)), ("key", json!(key)), ("sync", json!(mode))];
        rows.row(&row, || {
            let cells = [("stream", name.clone()), ("key", key.join(" ")), ("sync", mode.to_owned())];
            cells.map(|(heading, text)| Cell(heading.into(), text, None)).into()
        })?;
    }
    rows.end()?;
    let without_keys: Vec<&str> = streams.iter().filter(|s| s.key.is_empty()).map(|s| s.name.as_str()).collect();
    tell(&format!("{catalog_file} has {}.", plural(streams.len() as u64, "stream")));
    if !without_keys.is_empty() {
        tell(&format!("The connector names no key of {}; look for `key: []` in it.", without_keys.join(", ")));
    }
    tell(&format!("Next: segtide check --source {catalog_file} && segtide develop --source {catalog_file}"));
    Ok(Exit::Ok)
}

/// Asks a connector. What it says of how well it goes is of no use here.
fn quietly<T>(ask: impl FnOnce() -> T) -> T {
    output::keep_log(false, Level::Warn);
    let answer = ask();
    output::keep_log(false, Level::Info);
    answer
}

fn failed(why: &str) -> anyhow::Result<Exit> {
    fail(why);
    Ok(Exit::Failed)
}

/// The last part of an image's name, or the connector's program.
fn name_of(args: &Discover) -> String {
    let named = args.image.clone().unwrap_or_else(|| {
        let words = args.command.iter().filter(|word| !word.starts_with('-'));
        let interpreters = ["python", "python3", "node", "sh", "bash", "java"];
        let program = words.clone().find(|word| !interpreters.contains(&last(word))).or(words.clone().next());
        let program = program.map_or("connector", |word| last(word));
        program.rsplit_once('.').map_or(program, |(stem, _)| stem).to_owned()
    });
    let named = named.split('@').next().unwrap_or_default().to_owned();
    let named = last(&named).split(':').next().unwrap_or_default();
    let named: String = named.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' }).collect();
    if named.is_empty() { "connector".to_owned() } else { named }
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))
}

/// A configuration as it was filled in.
fn read(path: &Path) -> Result<Value, String> {
    let shown = path.display();
    let text = fs::read_to_string(path).map_err(|reason| format!("{shown} cannot be read: {reason}"))?;
    let url = url::Url::from_file_path(path).map_err(|()| format!("{shown} is no path"))?;
    let tree = catalog::Tree::from_yaml(&mut catalog::Sources::default(), url, &text);
    let wrong =
        |found: Vec<catalog::Diagnostic>| found.into_iter().next().map(|first| first.message).unwrap_or_default();
    Ok(tree.map_err(|found| format!("{shown}: {}", wrong(found)))?.to_value())
}

/// A configuration with every property that a schema has, in the order it asks for.
fn stub(spec: &Value) -> String {
    let mut text =
        String::from("# What the connector asks for. Secrets may be references: ${env:NAME}, ${file:PATH}.\n");
    properties(spec, "", &mut text);
    text
}

fn properties(schema: &Value, indent: &str, text: &mut String) {
    let none = Map::new();
    let known = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
    let required = |name: &str| {
        let list = schema.get("required").and_then(Value::as_array);
        list.is_some_and(|list| list.iter().any(|item| item == name))
    };
    let mut ordered: Vec<_> = known.iter().collect();
    ordered.sort_by_key(|(_, property)| property.get("order").and_then(Value::as_u64).unwrap_or(u64::MAX));
    if ordered.is_empty() {
        text.push_str(&format!("{indent}{{}}\n"));
    }
    for (name, property) in ordered {
        let said = ["description", "title"].iter().find_map(|name| property.get(name).and_then(Value::as_str));
        for line in said.unwrap_or_default().split_whitespace().collect::<Vec<_>>().chunks(16) {
            text.push_str(&format!("{indent}# {}\n", line.join(" ")));
        }
        let kinds = match property.get("type") {
            Some(Value::String(kind)) => vec![kind.clone()],
            Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        let asked = if required(name) { " (required)" } else { "" };
        text.push_str(&format!("{indent}# [{}]{asked}\n", kinds.join(", ")));
        let name = word(name);
        if kinds == ["object"] && property.get("properties").is_some() {
            text.push_str(&format!("{indent}{name}:\n"));
            properties(property, &format!("{indent}  "), text);
            continue;
        }
        let first = property.get("enum").and_then(|values| values.get(0));
        let value =
            property.get("default").or(first).cloned().unwrap_or_else(|| match kinds.first().map(String::as_str) {
                Some("integer" | "number") => json!(0),
                Some("boolean") => json!(false),
                Some("array") => json!([]),
                Some("object") => json!({}),
                _ => json!(""),
            });
        text.push_str(&format!("{indent}{name}: {value}\n"));
    }
}

/// The catalog, as YAML: collections with the schemas of the streams, and the capture.
fn catalog(args: &Discover, name: &str, config_file: &str, streams: &[Discovered]) -> String {
    let mut text = String::from("collections:\n");
    let mut bindings = String::new();
    for stream in streams {
        let qualified = match &stream.namespace {
            Some(namespace) => format!("{namespace}/{}", stream.name),
            None => stream.name.clone(),
        };
        let allowed = |c: char| if c.is_alphanumeric() || "-_./".contains(c) { c } else { '_' };
        let collection = word(&format!("{}/{}", args.prefix, qualified.chars().map(allowed).collect::<String>()));
        text.push_str(&format!("  {collection}:\n"));
        let schema = keyed(&stream.schema, &stream.key);
        text.push_str(&format!("    schema:\n{}", yaml::block(&schema, "      ", SCHEMA_LEVELS)));
        if stream.key.is_empty() {
            text.push_str("    # The connector names no key: choose the fields that tell its documents apart.\n");
        }
        text.push_str(&format!("    key: {}\n", json!(stream.key)));
        let mut resource = json!({ "stream": stream.name });
        if let Some(namespace) = &stream.namespace {
            resource["namespace"] = json!(namespace);
        }
        resource["syncMode"] = json!(if stream.incremental { "incremental" } else { "full_refresh" });
        bindings.push_str(&format!("      - resource: {resource}\n        target: {collection}\n"));
    }
    let endpoint = match &args.image {
        Some(image) => format!("      connector:\n        image: {}\n        config: {config_file}\n", json!(image)),
        None => format!("      local:\n        command: {}\n        config: {config_file}\n", json!(args.command)),
    };
    text + &format!(
        "\ncaptures:\n  {}:\n    endpoint:\n{endpoint}    bindings:\n{bindings}",
        word(&format!("{}/{name}", args.prefix))
    )
}

/// The schema of a stream in which its key must be there, and is not null.
fn keyed(schema: &Value, key: &[String]) -> Value {
    let mut schema = schema.clone();
    let Some(object) = schema.as_object_mut() else { return schema };
    // Not every connector names a dialect that is known here, and none needs one.
    object.remove("$schema");
    object.entry("type").or_insert_with(|| json!("object"));
    for name in key.iter().map(|pointer| &pointer[1..]).filter(|name| !name.contains(['/', '~'])) {
        let required = object.entry("required").or_insert_with(|| json!([]));
        if let Some(required) = required.as_array_mut()
            && !required.contains(&json!(name))
        {
            required.push(json!(name));
        }
        let kinds = object.get_mut("properties").and_then(|properties| properties.get_mut(name)?.get_mut("type"));
        if let Some(kinds) = kinds.and_then(Value::as_array_mut) {
            kinds.retain(|kind| kind != "null");
        }
    }
    schema
}
