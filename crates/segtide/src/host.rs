//! This program as a catalog sees it: the connectors and the script engine, put together.

use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::Arc;

use catalog::{
    BindingRules, Capture, Catalog, Collection, ConfigError, Endpoint, Host, Materialization, Module, ModuleError,
    ModuleOutline, SqlError, Text, Transform, Unused,
};
use connectors::{Level, Surroundings};
use journal::Clock as _;
use runtime::{ConnectorError, Connectors, Destination, Kept, KeyRange, LambdaError, Lambdas, Source};
use serde_json::Value;

use script::Limits;

use crate::clock::SystemClock;
use crate::memory::Shares;
use crate::output;
use crate::secrets::{Missing, resolve};

/// The built-in connectors and lambdas.
#[derive(Clone)]
pub struct Program {
    connectors: connectors::Builtin,
    scratch: Option<PathBuf>,
    /// What is checked may be run elsewhere, where the values are that its configurations refer to.
    missing: Missing,
    /// Whether lambdas that need no script engine do without.
    native: bool,
    limits: Limits,
}

impl Program {
    /// With the machine's clock, for connectors that make up timestamps. Databases of derivations are in memory.
    pub fn new(missing: Missing) -> Self {
        let connectors = connectors::Builtin::new(|| SystemClock.now_us());
        Self { connectors, scratch: None, missing, native: true, limits: Limits::default() }
    }

    /// One that runs a catalog, with databases of derivations as files of a directory, which nothing else may use.
    pub fn with_scratch(directory: PathBuf) -> Self {
        Self { scratch: Some(directory), ..Self::new(Missing::Refuse) }
    }

    /// The same for connectors that are programs of others, which find around them what this process lets them.
    pub fn with_surroundings(self) -> Self {
        Self { connectors: self.connectors.with_surroundings(surroundings()), ..self }
    }

    /// The same with this process's standard input, for captures of it.
    pub fn with_input(self) -> Self {
        // Where it was closed there is none.
        match std::io::stdin().as_fd().try_clone_to_owned() {
            Ok(input) => Self { connectors: self.connectors.with_input(input.into()), ..self },
            Err(_) => self,
        }
    }

    /// The same with lambdas native where they can be, or all in the script engine.
    pub fn native_lambdas(self, native: bool) -> Self {
        Self { native, ..self }
    }

    /// The same with these shares of memory.
    pub fn within(self, shares: &Shares) -> Self {
        let limits = Limits { memory_bytes_max: shares.engine, ..self.limits };
        Self { connectors: self.connectors.caching(shares.pages), limits, ..self }
    }
}

/// What connectors find around them that are programs of others: our log, and of our environment what they need to be found, to
/// speak a language, and to find Docker. The rest may be secret.
pub fn surroundings() -> Surroundings {
    const NAMES: [&str; 8] = ["PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "DOCKER_HOST", "DOCKER_CONFIG"];
    let environment = NAMES.iter().filter_map(|name| Some((name.into(), std::env::var_os(name)?))).collect();
    let log = Arc::new(|level: Level, name: &str, text: &str| {
        let label = match level {
            Level::Warn => "warning: ",
            Level::Error => "error: ",
            Level::Debug | Level::Info => "",
        };
        output::log(level, Some(name), &format!("{label}{name}: {text}"));
    });
    Surroundings { log, environment }
}

impl Host for Program {
    fn check_capture(&self, endpoint: &Endpoint, resources: &[&Value]) -> Result<(), Vec<ConfigError>> {
        connectors::check_capture(&*resolve(endpoint, self.missing)?, resources)
    }

    fn check_endpoint(&self, endpoint: &Endpoint) -> Result<(), Vec<ConfigError>> {
        connectors::check_endpoint(&*resolve(endpoint, self.missing)?)
    }

    fn check_binding(
        &self,
        endpoint: &Endpoint,
        resource: &Value,
        collection: &Collection,
    ) -> Result<BindingRules, Vec<ConfigError>> {
        connectors::check_binding(&*resolve(endpoint, self.missing)?, resource, collection)
    }

    fn unused(&self, endpoint: &Endpoint, resources: &[&Value]) -> Vec<Unused> {
        connectors::unused(endpoint, resources)
    }

    fn read_module(&self, text: &Text) -> Result<ModuleOutline, Vec<ModuleError>> {
        script::read_module(text)
    }

    fn check_module(&self, module: &Module, methods: &[&str]) -> Result<(), Vec<ModuleError>> {
        script::check_module(module, methods)
    }

    fn check_sql(&self, migrations: &[Text], transforms: &[(&Transform, &Collection)]) -> Result<(), Vec<SqlError>> {
        script::check_sql(migrations, transforms)
    }
}

impl Connectors for Program {
    fn open_source(
        &self,
        capture: &Capture,
        collections: &[&Collection],
        cursor: Option<&[u8]>,
        tail: bool,
    ) -> Result<Box<dyn Source>, ConnectorError> {
        self.connectors.open_source(capture, collections, cursor, tail)
    }

    fn open_destination(
        &self,
        materialization: &Materialization,
        collections: &[&Collection],
        range: KeyRange,
    ) -> Result<Destination, ConnectorError> {
        self.connectors.open_destination(materialization, collections, range)
    }

    fn can_divide(&self, materialization: &Materialization) -> bool {
        self.connectors.can_divide(materialization)
    }

    fn open_lambdas(
        &self,
        catalog: &Catalog,
        collection: &Collection,
        kept: &Kept<'_>,
    ) -> Result<Box<dyn Lambdas>, LambdaError> {
        script::open(catalog, collection, self.scratch.as_deref(), self.native, self.limits, kept)
    }
}
