//! This program as a catalog sees it: the connectors and the script engine, put together.

use catalog::{
    BindingRules, Capture, Collection, ConfigError, Endpoint, Host, Materialization, Module, ModuleError,
};
use runtime::{ConnectorError, Connectors, Destination, LambdaError, Lambdas, Source};
use serde_json::Value;

/// The built-in connectors and lambdas.
#[derive(Debug, Clone, Copy)]
pub struct Program;

impl Host for Program {
    fn check_capture(&self, endpoint: &Endpoint, resources: &[&Value]) -> Result<(), Vec<ConfigError>> {
        connectors::check_capture(endpoint, resources)
    }

    fn check_binding(
        &self,
        endpoint: &Endpoint,
        resource: &Value,
        collection: &Collection,
    ) -> Result<BindingRules, Vec<ConfigError>> {
        connectors::check_binding(endpoint, resource, collection)
    }

    fn check_module(&self, module: &Module, methods: &[&str]) -> Result<(), Vec<ModuleError>> {
        script::check(module, methods)
    }
}

impl Connectors for Program {
    fn open_source(
        &self,
        capture: &Capture,
        cursor: Option<&[u8]>,
        tail: bool,
    ) -> Result<Box<dyn Source>, ConnectorError> {
        connectors::open_source(capture, cursor, tail)
    }

    fn open_destination(
        &self,
        materialization: &Materialization,
        collections: &[&Collection],
    ) -> Result<Destination, ConnectorError> {
        connectors::open_destination(materialization, collections)
    }

    fn open_lambdas(&self, collection: &Collection) -> Result<Box<dyn Lambdas>, LambdaError> {
        script::open(collection)
    }
}
