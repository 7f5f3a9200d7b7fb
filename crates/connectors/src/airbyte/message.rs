//! The messages of the Airbyte protocol, a JSON object a line.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::surroundings::Level;

/// What a connector says in a line.
#[derive(Debug)]
pub(super) enum Message<'m> {
    /// A document of a stream, as JSON.
    Record { namespace: Option<Cow<'m, str>>, stream: Cow<'m, str>, data: &'m str },
    /// Where it goes on after the records so far.
    State(Value),
    /// What it has to tell.
    Log(Level, String),
    /// What it needs to be configured.
    Spec(Value),
    /// Whether its configuration works, and if not, why.
    Status(Result<(), String>),
    /// The streams it has.
    Catalog(Vec<Stream>),
    /// Why it is about to fail.
    Failure(Failed),
    /// Its configuration has changed.
    Configured,
    /// Anything else.
    Other,
}

/// A stream that a connector has.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Stream {
    pub(super) name: String,
    #[serde(default)]
    pub(super) namespace: Option<String>,
    #[serde(default)]
    pub(super) json_schema: Value,
    #[serde(default)]
    pub(super) supported_sync_modes: Option<Vec<String>>,
    #[serde(default)]
    pub(super) default_cursor_field: Option<Vec<String>>,
    #[serde(default)]
    pub(super) source_defined_primary_key: Option<Vec<Vec<String>>>,
    /// All of it, as it was given.
    #[serde(skip)]
    pub(super) whole: Value,
}

/// Why a connector fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failed {
    pub(super) message: String,
    /// Whether its configuration is to blame.
    pub(super) of_config: bool,
}

#[derive(Deserialize)]
struct Line<'m> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'m, str>,
    #[serde(borrow)]
    record: Option<Record<'m>>,
    state: Option<Value>,
    log: Option<Log>,
    spec: Option<Value>,
    #[serde(rename = "connectionStatus")]
    status: Option<Status>,
    catalog: Option<Catalog>,
    trace: Option<Trace>,
}

#[derive(Deserialize)]
struct Record<'m> {
    #[serde(borrow)]
    stream: Cow<'m, str>,
    #[serde(borrow)]
    namespace: Option<Cow<'m, str>>,
    #[serde(borrow)]
    data: &'m RawValue,
}

#[derive(Deserialize)]
struct Log {
    #[serde(default)]
    level: String,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct Status {
    status: String,
    message: Option<String>,
}

#[derive(Deserialize)]
struct Catalog {
    streams: Vec<Value>,
}

#[derive(Deserialize)]
struct Trace {
    error: Option<TraceError>,
}

#[derive(Deserialize)]
struct TraceError {
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    internal_message: Option<String>,
    #[serde(default)]
    failure_type: Option<String>,
}

/// Reads a line. What is no message at all is something that the connector, or a library of it, prints.
pub(super) fn read(line: &[u8]) -> Result<Message<'_>, String> {
    let Ok(line) = serde_json::from_slice::<Line<'_>>(line) else {
        // A message of a known type that is not as it should be must not be taken for talk: it may be a document.
        #[derive(Deserialize)]
        struct Typed {
            #[serde(rename = "type")]
            kind: String,
        }
        return match serde_json::from_slice::<Typed>(line) {
            Ok(Typed { kind }) => {
                Err(format!("a message of type {} is not as the protocol has it", kind.escape_debug()))
            }
            Err(_) => Ok(Message::Log(Level::Info, String::from_utf8_lossy(line).into_owned())),
        };
    };
    let kind = line.kind;
    let missing = |field: &str| format!("a message of type {} has no `{field}`", kind.escape_debug());
    Ok(match &*kind {
        "RECORD" => {
            let Record { stream, namespace, data } = line.record.ok_or_else(|| missing("record"))?;
            Message::Record { namespace, stream, data: data.get() }
        }
        "STATE" => Message::State(line.state.ok_or_else(|| missing("state"))?),
        "LOG" => {
            let log = line.log.ok_or_else(|| missing("log"))?;
            let level = match log.level.to_ascii_uppercase().as_str() {
                "FATAL" | "ERROR" => Level::Error,
                "WARN" | "WARNING" => Level::Warn,
                "DEBUG" | "TRACE" => Level::Debug,
                _ => Level::Info,
            };
            Message::Log(level, log.message)
        }
        "SPEC" => Message::Spec(line.spec.ok_or_else(|| missing("spec"))?),
        "CONNECTION_STATUS" => {
            let status = line.status.ok_or_else(|| missing("connectionStatus"))?;
            Message::Status(match status.status.as_str() {
                "SUCCEEDED" => Ok(()),
                _ => Err(status.message.unwrap_or_else(|| "it does not say why".to_owned())),
            })
        }
        "CATALOG" => {
            let catalog = line.catalog.ok_or_else(|| missing("catalog"))?;
            let stream = |whole: Value| {
                let stream =
                    Stream::deserialize(&whole).map_err(|e| format!("a stream of the catalog cannot be read: {e}"));
                Ok(Stream { whole, ..stream? })
            };
            Message::Catalog(catalog.streams.into_iter().map(stream).collect::<Result<_, String>>()?)
        }
        "TRACE" => match line.trace.and_then(|trace| trace.error) {
            Some(TraceError { message, internal_message, failure_type }) => Message::Failure(Failed {
                message: message.or(internal_message).unwrap_or_else(|| "it does not say why".to_owned()),
                of_config: failure_type.is_some_and(|kind| kind == "config_error"),
            }),
            None => Message::Other,
        },
        "CONTROL" => Message::Configured,
        _ => Message::Other,
    })
}
