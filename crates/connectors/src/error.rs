//! Errors of connectors: whose fault, and whether to try again.

use catalog::ConfigError;
use runtime::{ConnectorError, Fault, Retry};

/// The catalog or the data must change.
pub(crate) fn user(message: impl Into<String>) -> ConnectorError {
    ConnectorError { message: message.into(), fault: Fault::User, retry: Retry::Never }
}

/// The other side failed and may recover.
pub(crate) fn endpoint(message: impl Into<String>) -> ConnectorError {
    ConnectorError { message: message.into(), fault: Fault::Endpoint, retry: Retry::Later }
}

/// Another owner took over.
pub(crate) fn fenced(task: &str) -> ConnectorError {
    let message = format!("{task} is now run by another process, which took over its tables; this one stops");
    ConnectorError { message, fault: Fault::Fenced, retry: Retry::Never }
}

/// A configuration that was not checked before it was opened.
pub(crate) fn config(errors: Vec<ConfigError>) -> ConnectorError {
    user(errors.into_iter().map(|error| error.message).collect::<Vec<_>>().join("; "))
}
