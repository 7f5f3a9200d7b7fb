//! `source-http-ingest`: documents are pushed over HTTP, through the runtime's ingestion; nothing is pulled.

use std::time::Duration;

use catalog::{ConfigError, Endpoint};
use runtime::{Batch, ConnectorError, Progress, Source};
use serde_json::Value;

use crate::config::Fields;

const WAIT: Duration = Duration::from_secs(3600);

/// There is nothing to configure.
pub(crate) fn read_config(endpoint: &Endpoint) -> Result<(), Vec<ConfigError>> {
    let errors = Fields::config(&endpoint.config).finish();
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// Checks the resource of the n-th binding and returns its name, if it has one.
pub(crate) fn read_resource(n: usize, resource: &Value) -> Result<Option<String>, Vec<ConfigError>> {
    let mut fields = Fields::resource(n, resource);
    let name: Option<String> = fields.optional("name");
    let stream: Option<String> = fields.optional("stream");
    let errors = fields.finish();
    if errors.is_empty() { Ok(name.or(stream)) } else { Err(errors) }
}

/// A source that waits for ever, or has nothing.
pub(crate) struct Pushed {
    pub(crate) tail: bool,
}

impl Source for Pushed {
    fn read(&mut self, _: &mut Batch) -> Result<Progress, ConnectorError> {
        Ok(if self.tail { Progress::Wait(WAIT) } else { Progress::Done })
    }
}
