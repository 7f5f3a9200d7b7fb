//! What the binary comes with: captures (generator, files, pushed documents) and endpoints (SQLite, PostgreSQL, webhooks).
//!
//! One file per connector. Each reads its configuration in one place, for the build ([`check_capture`], [`check_binding`])
//! and for the run ([`Builtin`]) alike. To add a connector, add its file and its name to the lists here.
//!
//! This crate never sees a journal or the inside of a checkpoint.

mod airbyte;
mod config;
mod error;
mod file;
mod generator;
mod ingest;
mod path;
mod postgres;
mod reach;
mod sql;
mod sqlite;
mod surroundings;
mod webhook;

use std::fmt;
use std::sync::Arc;

use catalog::{BindingRules, Capture, Collection, ConfigAt, ConfigError, Endpoint, Materialization, Unused};
use runtime::{ConnectorError, Destination, KeyRange, Source, rows};
use serde_json::Value;

pub use airbyte::{Connector, Discovered, check_source};
pub use ingest::Senders;
pub use reach::reach;
pub use surroundings::{Level, Log, Surroundings};

/// The captures there are.
pub const CAPTURES: [&str; 3] = ["event-generator", "source-file", "source-http-ingest"];
/// The endpoints of materializations there are.
pub const MATERIALIZATIONS: [&str; 3] = ["materialize-postgres", "materialize-sqlite", "materialize-webhook"];

/// Checks a capture's configuration and the resources of its bindings, which must be of different streams.
pub fn check_capture(endpoint: &Endpoint, resources: &[&Value]) -> Result<(), Vec<ConfigError>> {
    type Read = fn(usize, &Value) -> Result<Option<String>, Vec<ConfigError>>;
    let (config, read): (_, Read) = match endpoint.connector.as_str() {
        "event-generator" => {
            (generator::Config::read(endpoint).err(), |n, resource| generator::read_resource(n, resource).map(Some))
        }
        "source-file" => {
            (file::read_config(endpoint).err(), |n, resource| file::read_resource(n, resource).map(|s| Some(s.name)))
        }
        "source-http-ingest" => (ingest::read_config(endpoint).err(), ingest::read_resource),
        "local" => (airbyte::read_config(endpoint).err(), |n, resource| {
            airbyte::read_resource(n, resource).map(|wanted| Some(wanted.shown()))
        }),
        unknown => match foreign(unknown, endpoint) {
            Ok(()) => (None, |n, resource| airbyte::read_resource(n, resource).map(|wanted| Some(wanted.shown()))),
            Err(error) => return Err(vec![error]),
        },
    };
    let mut errors = config.unwrap_or_default();
    let mut streams = Vec::new();
    for (n, resource) in resources.iter().enumerate() {
        match read(n, resource) {
            Ok(Some(stream)) if streams.contains(&stream) => errors.push(ConfigError {
                at: ConfigAt::Resource(n, String::new()),
                message: format!("another binding of this capture has the stream {stream:?} already"),
                hint: Some("derive a second collection from the first one instead".to_owned()),
            }),
            Ok(stream) => streams.extend(stream),
            Err(more) => errors.extend(more),
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// Checks a materialization's configuration alone.
pub fn check_endpoint(endpoint: &Endpoint) -> Result<(), Vec<ConfigError>> {
    match endpoint.connector.as_str() {
        "materialize-postgres" => postgres::check_config(endpoint),
        "materialize-sqlite" => sqlite::check_config(endpoint),
        "materialize-webhook" => webhook::check_config(endpoint),
        unknown => Err(vec![no_such(unknown, "materialization", &MATERIALIZATIONS)]),
    }
}

/// Checks a materialization's configuration and one binding's resource; says what may be done with each field of the
/// collection, in the order of [`Collection::projections`].
pub fn check_binding(
    endpoint: &Endpoint,
    resource: &Value,
    collection: &Collection,
) -> Result<BindingRules, Vec<ConfigError>> {
    match endpoint.connector.as_str() {
        "materialize-postgres" => postgres::check(endpoint, resource, collection),
        "materialize-sqlite" => sqlite::check(endpoint, resource, collection),
        "materialize-webhook" => webhook::check(endpoint, resource, collection),
        unknown => Err(vec![no_such(unknown, "materialization", &MATERIALIZATIONS)]),
    }
}

/// The fields of a configuration, and of the resources of bindings, that a connector does not use.
pub fn unused(endpoint: &Endpoint, resources: &[&Value]) -> Vec<Unused> {
    let (config, resource) = match endpoint.connector.as_str() {
        "event-generator" => (generator::CONFIG_FIELDS, generator::RESOURCE_FIELDS),
        "source-file" => (file::CONFIG_FIELDS, file::RESOURCE_FIELDS),
        "source-http-ingest" => (ingest::CONFIG_FIELDS, ingest::RESOURCE_FIELDS),
        "local" => (airbyte::CONFIG_FIELDS, airbyte::RESOURCE_FIELDS),
        "materialize-postgres" => (postgres::CONFIG_FIELDS, postgres::RESOURCE_FIELDS),
        "materialize-sqlite" => (sqlite::CONFIG_FIELDS, sqlite::RESOURCE_FIELDS),
        "materialize-webhook" => (webhook::CONFIG_FIELDS, webhook::RESOURCE_FIELDS),
        _ => return Vec::new(),
    };
    let mut unused = config::unused(&endpoint.config, None, config);
    for (n, value) in resources.iter().enumerate() {
        unused.extend(config::unused(value, Some(n), resource));
    }
    unused
}

/// Opens the connectors of this crate.
#[derive(Clone)]
pub struct Builtin {
    clock: generator::Clock,
    held: sql::Held,
    input: Arc<file::StandardInput>,
    around: Surroundings,
    cache_bytes: usize,
}

/// Memory for the pages of a database that is opened in this process.
const CACHE_BYTES: usize = 64 << 20;

impl fmt::Debug for Builtin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builtin").finish_non_exhaustive()
    }
}

impl Builtin {
    /// `now_us` is the time in microseconds since 1970 UTC; only generated events show it.
    pub fn new(now_us: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self {
            clock: Arc::new(now_us),
            held: sql::Held::default(),
            input: Arc::default(),
            around: Surroundings::default(),
            cache_bytes: CACHE_BYTES,
        }
    }

    /// The same with the process's standard input, for captures that name it.
    pub fn with_input(self, input: std::fs::File) -> Self {
        Self { input: Arc::new(file::StandardInput::new(input)), ..self }
    }

    /// The same with what programs of others find around them.
    pub fn with_surroundings(self, around: Surroundings) -> Self {
        Self { around, ..self }
    }

    /// The same with so much memory for the pages of each database that is opened in this process, in bytes.
    pub fn caching(self, cache_bytes: usize) -> Self {
        Self { cache_bytes, ..self }
    }

    /// Opens a capture's source, as [`runtime::Connectors::open_source`] says.
    pub fn open_source(
        &self,
        capture: &Capture,
        collections: &[&Collection],
        cursor: Option<&[u8]>,
        tail: bool,
    ) -> Result<Box<dyn Source>, ConnectorError> {
        let endpoint = &capture.endpoint;
        let resources = capture.bindings.iter().map(|binding| &binding.resource);
        match endpoint.connector.as_str() {
            "event-generator" => {
                let config = generator::Config::read(endpoint).map_err(error::config)?;
                let bindings = capture.bindings.len();
                Ok(Box::new(generator::Generator::open(config, bindings, cursor, tail, Arc::clone(&self.clock))?))
            }
            "source-file" => {
                let config = file::read_config(endpoint).map_err(error::config)?;
                let streams = resources.enumerate().map(|(n, resource)| file::read_resource(n, resource));
                let streams = streams.collect::<Result<_, _>>().map_err(error::config)?;
                let columns = collections.iter().map(|collection| rows::Fields::of(collection)).collect();
                let input = Arc::clone(&self.input);
                let reading = file::Reading { capture: capture.name.clone(), streams, columns, tail, input };
                Ok(Box::new(file::Files::open(config, reading, cursor)?))
            }
            "source-http-ingest" => Ok(Box::new(ingest::Pushed { tail })),
            unknown => {
                if unknown != "local" {
                    foreign(unknown, endpoint).map_err(|why| error::config(vec![why]))?;
                }
                let config = airbyte::read_config(endpoint).map_err(error::config)?;
                let wanted = resources.enumerate().map(|(n, resource)| airbyte::read_resource(n, resource));
                let wanted = wanted.collect::<Result<_, _>>().map_err(error::config)?;
                let around = self.around.clone();
                Ok(Box::new(airbyte::Airbyte::open(capture, config, wanted, cursor, tail, around)?))
            }
        }
    }

    /// Opens a materialization's destination, as [`runtime::Connectors::open_destination`] says.
    pub fn open_destination(
        &self,
        materialization: &Materialization,
        collections: &[&Collection],
        range: KeyRange,
    ) -> Result<Destination, ConnectorError> {
        match materialization.endpoint.connector.as_str() {
            "materialize-postgres" => {
                let table = postgres::Postgres::open(materialization, collections, range, &self.held)?;
                Ok(Destination::Table(Box::new(table)))
            }
            "materialize-sqlite" => {
                let table = sqlite::Sqlite::open(materialization, collections, range, &self.held, self.cache_bytes)?;
                Ok(Destination::Table(Box::new(table)))
            }
            "materialize-webhook" => {
                let hook = webhook::Webhook::open(materialization, Arc::clone(&self.clock))?;
                Ok(Destination::Hook(Box::new(hook)))
            }
            unknown => Err(error::config(vec![no_such(unknown, "materialization", &MATERIALIZATIONS)])),
        }
    }

    /// Whether a destination can be opened for parts of the keys, as [`runtime::Connectors::can_divide`] says.
    pub fn can_divide(&self, materialization: &Materialization) -> bool {
        match materialization.endpoint.connector.as_str() {
            "materialize-postgres" => true,
            "materialize-sqlite" => sqlite::can_divide(&materialization.endpoint),
            _ => false,
        }
    }
}

/// Whether a capture of a connector that is not one of ours can be run: one with an image, where Docker is.
fn foreign(unknown: &str, endpoint: &Endpoint) -> Result<(), ConfigError> {
    match &endpoint.image {
        Some(image) if config::nearest(unknown, CAPTURES.into_iter()).is_none() => airbyte::check_image(image),
        _ => Err(no_such(unknown, "capture", &CAPTURES)),
    }
}

fn no_such(unknown: &str, kind: &str, known: &[&str]) -> ConfigError {
    let near = config::nearest(unknown, known.iter().copied()).map(|near| format!("did you mean `{near}`? "));
    ConfigError {
        at: ConfigAt::Connector,
        message: format!("there is no {kind} connector `{}`", unknown.escape_debug()),
        hint: Some(format!("{}there are {}", near.unwrap_or_default(), config::list(known))),
    }
}
