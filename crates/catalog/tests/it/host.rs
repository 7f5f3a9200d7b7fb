//! A small world around a build: files in memory, and a host that knows three connectors.

use std::collections::BTreeMap;
use std::path::Path;

use catalog::{
    BindingRules, Collection, ConfigAt, ConfigError, Constraint, Endpoint, Fetch, FetchError, Host, Lambda, Module,
    ModuleError, SqlError, Text, Transform, Unused,
};
use doc::Types;
use serde_json::Value;
use url::Url;

/// Files by name, all in `file:///w/`.
#[derive(Clone)]
pub(crate) struct Memory(pub(crate) BTreeMap<String, String>);

impl Memory {
    /// The golden catalog.
    pub(crate) fn golden() -> Memory {
        Memory::of("golden")
    }

    /// The files of a folder of these tests.
    pub(crate) fn of(folder: &str) -> Memory {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it").join(folder);
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let files = entries.map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read_to_string(path).unwrap())
        });
        Memory(files.collect())
    }

    /// Builds `catalog.yaml`.
    pub(crate) fn build(&self) -> catalog::Built {
        self.build_at("catalog.yaml")
    }

    /// Builds a file.
    pub(crate) fn build_at(&self, name: &str) -> catalog::Built {
        catalog::build(&Url::parse("file:///w/").unwrap().join(name).unwrap(), self, &Shop)
    }
}

impl Fetch for Memory {
    fn fetch(&self, url: &Url) -> Result<String, FetchError> {
        assert_eq!(url.fragment(), None);
        if url.scheme() != "file" {
            return Err(FetchError::Scheme(url.scheme().to_owned()));
        }
        let name = url.path().strip_prefix("/w/").ok_or(FetchError::Missing)?;
        self.0.get(name).cloned().ok_or(FetchError::Missing)
    }
}

/// Knows an HTTP capture, SQLite tables and webhooks; looks for methods by name.
pub(crate) struct Shop;

fn error(at: ConfigAt, message: &str) -> ConfigError {
    ConfigError { at, message: message.to_owned(), hint: None }
}

/// Demands that a property be a string.
fn one_string(value: &Value, name: &str, at: &dyn Fn(String) -> ConfigAt) -> Vec<ConfigError> {
    let mut errors = Vec::new();
    match &value[name] {
        Value::String(_) => {}
        Value::Null => errors.push(error(at(String::new()), &format!("`{name}` is missing"))),
        _ => errors.push(error(at(format!("/{name}")), &format!("`{name}` must be a string"))),
    }
    errors
}

impl Host for Shop {
    fn check_capture(&self, endpoint: &Endpoint, resources: &[&Value]) -> Result<(), Vec<ConfigError>> {
        if endpoint.connector != "source-http-ingest" {
            return Err(vec![error(ConfigAt::Connector, &format!("there is no connector `{}`", endpoint.connector))]);
        }
        let errors: Vec<_> = resources
            .iter()
            .enumerate()
            .flat_map(|(n, resource)| one_string(resource, "name", &|pointer| ConfigAt::Resource(n, pointer)))
            .collect();
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    fn check_endpoint(&self, endpoint: &Endpoint) -> Result<(), Vec<ConfigError>> {
        let config = match endpoint.connector.as_str() {
            "materialize-sqlite" => "path",
            "materialize-webhook" => "address",
            other => return Err(vec![error(ConfigAt::Connector, &format!("there is no connector `{other}`"))]),
        };
        let errors = one_string(&endpoint.config, config, &ConfigAt::Config);
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    fn unused(&self, endpoint: &Endpoint, resources: &[&Value]) -> Vec<Unused> {
        let (config, resource) = match endpoint.connector.as_str() {
            "materialize-sqlite" => ("path", "table"),
            "materialize-webhook" => ("address", "relativePath"),
            "source-http-ingest" => ("", "name"),
            _ => return Vec::new(),
        };
        let unused = |value: &Value, known: &'static str, at: &dyn Fn(String) -> ConfigAt| -> Vec<Unused> {
            let keys: Vec<&String> = value.as_object().unwrap().keys().filter(|key| *key != known).collect();
            let slip = |key: &str| (key[..1] == known[..1]).then_some(known);
            let unused = |key: &&String| Unused { at: at(format!("/{key}")), name: (*key).clone(), near: slip(key) };
            keys.iter().map(unused).collect()
        };
        let mut all = unused(&endpoint.config, config, &ConfigAt::Config);
        for (n, value) in resources.iter().enumerate() {
            all.extend(unused(value, resource, &|pointer| ConfigAt::Resource(n, pointer)));
        }
        all
    }

    fn check_binding(
        &self,
        endpoint: &Endpoint,
        resource: &Value,
        collection: &Collection,
    ) -> Result<BindingRules, Vec<ConfigError>> {
        let mut errors = self.check_endpoint(endpoint).err().unwrap_or_default();
        if let [ConfigError { at: ConfigAt::Connector, .. }] = errors[..] {
            return Err(errors);
        }
        let name = if endpoint.connector == "materialize-sqlite" { "table" } else { "relativePath" };
        errors.extend(one_string(resource, name, &|pointer| ConfigAt::Resource(0, pointer)));
        if !errors.is_empty() {
            return Err(errors);
        }
        let sql = name == "table";
        let constraints = collection.projections.iter().map(|projection| {
            let types = projection.types.without(Types::NULL);
            if projection.pointer.is_root() {
                (Constraint::LocationRequired, "the document is kept whole")
            } else if !sql {
                (Constraint::Forbidden, "only whole documents are sent")
            } else if projection.field == "open" {
                (Constraint::Unsatisfiable, "it was kept before, with another type")
            } else if projection.field == "orders" {
                (Constraint::FieldRequired, "the table has it")
            } else if projection.key {
                (Constraint::LocationRequired, "it is part of the key")
            } else {
                match types.names().count() {
                    1 if types.intersect(Types::ARRAY.union(Types::OBJECT)).is_empty() => {
                        (Constraint::LocationRecommended, "it is a scalar")
                    }
                    1 => (Constraint::Optional, "it is not a scalar"),
                    _ => (Constraint::Forbidden, "it has more than one type"),
                }
            }
        });
        Ok(BindingRules {
            path: vec![resource[name].as_str().unwrap().to_owned()],
            delta_updates: !sql,
            constraints: constraints.collect(),
        })
    }

    fn check_module(&self, module: &Module, methods: &[&str]) -> Result<(), Vec<ModuleError>> {
        let text = &module.text.text;
        let hint = |hint: String| Some(hint);
        let Some(at) = text.find(&format!("class {} ", module.class)) else {
            let message = format!("there is no class `{}`", module.class);
            return Err(vec![ModuleError {
                range: 0..0,
                message,
                hint: hint(format!("export class {}", module.class)),
            }]);
        };
        let missing = methods
            .iter()
            .filter(|method| !text.contains(&format!("{method}(")) && !text.contains(&format!("{method}'(")));
        let errors: Vec<_> = missing
            .map(|method| ModuleError {
                range: at..at + 5,
                message: format!("there is no method `{method}`"),
                hint: None,
            })
            .collect();
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// Finds parameters that are the name of no field.
    fn check_sql(&self, _: &[Text], transforms: &[(&Transform, &Collection)]) -> Result<(), Vec<SqlError>> {
        let mut errors = Vec::new();
        for (transform, source) in transforms {
            let Some(Lambda::Sql(text)) = &transform.publish else { continue };
            for (at, _) in text.text.match_indices('$') {
                let name = &text.text[at + 1..];
                let name = &name[..name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len())];
                if source.projection(name).is_none() {
                    let (range, message) = (at..at + 1 + name.len(), format!("there is no field `{name}`"));
                    errors.push(SqlError { text: text.clone(), error: ModuleError { range, message, hint: None } });
                }
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

/// A shop that takes any configuration; what has a `table` is SQL.
pub(crate) struct AnyConnector;

impl Host for AnyConnector {
    fn check_capture(&self, _: &Endpoint, _: &[&Value]) -> Result<(), Vec<ConfigError>> {
        Ok(())
    }

    fn check_binding(
        &self,
        endpoint: &Endpoint,
        resource: &Value,
        collection: &Collection,
    ) -> Result<BindingRules, Vec<ConfigError>> {
        let mut endpoint = endpoint.clone();
        let (connector, config, name) = match resource.get("table") {
            Some(_) => ("materialize-sqlite", serde_json::json!({ "path": "x" }), "table"),
            None => ("materialize-webhook", serde_json::json!({ "address": "x" }), "relativePath"),
        };
        endpoint.connector = connector.to_owned();
        endpoint.config = config;
        let name_of = resource.get(name).cloned().unwrap_or_else(|| Value::String(String::new()));
        Shop.check_binding(&endpoint, &serde_json::json!({ name: name_of }), collection)
    }

    fn check_module(&self, module: &Module, methods: &[&str]) -> Result<(), Vec<ModuleError>> {
        Shop.check_module(module, methods)
    }
}
