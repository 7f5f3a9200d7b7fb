//! This program as a catalog sees it: the connectors and the script engine, put together.

use std::path::PathBuf;

use catalog::{
    BindingRules, Capture, Catalog, Collection, ConfigError, Endpoint, Host, Materialization, Module, ModuleError,
    SqlError, Text, Transform, Unused,
};
use journal::Clock as _;
use runtime::{ConnectorError, Connectors, Destination, Kept, KeyRange, LambdaError, Lambdas, Source};
use serde_json::Value;

use crate::clock::SystemClock;
use crate::secrets::{Missing, resolve};

/// The built-in connectors and lambdas.
pub struct Program {
    connectors: connectors::Builtin,
    scratch: Option<PathBuf>,
    /// What is checked may be run elsewhere, where the values are that its configurations refer to.
    missing: Missing,
    /// Whether lambdas that need no script engine do without.
    native: bool,
}

impl Program {
    /// With the machine's clock, for connectors that make up timestamps. Databases of derivations are in memory.
    pub fn new(missing: Missing) -> Self {
        Self { connectors: connectors::Builtin::new(|| SystemClock.now_us()), scratch: None, missing, native: true }
    }

    /// One that runs a catalog, with databases of derivations as files of a directory, which nothing else may use.
    pub fn with_scratch(directory: PathBuf) -> Self {
        Self { scratch: Some(directory), ..Self::new(Missing::Refuse) }
    }

    /// The same with lambdas native where they can be, or all in the script engine.
    pub fn native_lambdas(self, native: bool) -> Self {
        Self { native, ..self }
    }
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
        cursor: Option<&[u8]>,
        tail: bool,
    ) -> Result<Box<dyn Source>, ConnectorError> {
        self.connectors.open_source(capture, cursor, tail)
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
        script::open(catalog, collection, self.scratch.as_deref(), self.native, kept)
    }
}
