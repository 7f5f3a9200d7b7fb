//! `materialize-webhook`: each transaction's documents as the body of a POST.
//!
//! A receiver cannot take part in a transaction, so a request may arrive twice: its id and its bytes are then the same. Its
//! time, and with it its signature, are those of the attempt, as receivers refuse what is old.

mod address;
mod config;
mod signature;

use std::io::{self, Read};
use std::time::Duration;

use catalog::{BindingRules, Collection, ConfigError, Constraint, Endpoint, Materialization};
use jiff::fmt::rfc2822;
use runtime::{ConnectorError, Fault, Hook, Request, Retry};
use serde_json::Value;
use ureq::Agent;
use ureq::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::DefaultConnector;
use url::Url;

use crate::config::both;
use crate::error;
use crate::generator::Clock;
use address::{Guard, NotAllowed};
pub(crate) use config::{CONFIG_FIELDS, RESOURCE_FIELDS};
use config::{Config, read_resource};
use signature::{Secret, sign};

const BODY_BYTES_MAX: usize = 8 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const TOTAL_TIMEOUT: Duration = Duration::from_secs(30);
const ANSWER_BYTES_MAX: u64 = 64 << 10;
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// Checks the configuration alone.
pub(crate) fn check_config(endpoint: &Endpoint) -> Result<(), Vec<ConfigError>> {
    Config::read(endpoint).map(drop)
}

/// Checks the configuration and one binding's resource.
pub(crate) fn check(
    endpoint: &Endpoint,
    resource: &Value,
    collection: &Collection,
) -> Result<BindingRules, Vec<ConfigError>> {
    let config = Config::read(endpoint);
    let url = read_resource(0, resource, config.as_ref().ok().map(|config| &config.url));
    let (_, url) = both(config, url)?;
    let constraints = collection.projections.iter().map(|projection| {
        if projection.pointer.is_root() {
            (Constraint::LocationRequired, "the document is what is sent")
        } else {
            (Constraint::Forbidden, "only whole documents are sent")
        }
    });
    Ok(BindingRules {
        path: url.into_iter().map(String::from).collect(),
        delta_updates: true,
        constraints: constraints.collect(),
    })
}

/// The requests of one materialization.
pub(crate) struct Webhook {
    urls: Vec<Url>,
    headers: Vec<(HeaderName, HeaderValue)>,
    secrets: Vec<Secret>,
    clock: Clock,
    agent: Agent,
}

impl Webhook {
    /// Opens no connection yet.
    pub(crate) fn open(task: &Materialization, clock: Clock) -> Result<Self, ConnectorError> {
        let Config { url: base, headers, secrets, allowed } = Config::read(&task.endpoint).map_err(error::config)?;
        let urls = task.bindings.iter().enumerate().map(|(n, binding)| {
            let url = read_resource(n, &binding.resource, Some(&base)).map_err(error::config)?;
            Ok(url.unwrap_or_else(|| base.clone()))
        });
        let agent_config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(TOTAL_TIMEOUT))
            .user_agent("segtide")
            .build();
        let guard = Guard { allowed, names: DefaultResolver::default() };
        let agent = Agent::with_parts(agent_config, DefaultConnector::default(), guard);
        Ok(Self { urls: urls.collect::<Result<_, ConnectorError>>()?, headers, secrets, clock, agent })
    }
}

impl Hook for Webhook {
    fn encode(&self, binding: usize, documents: &[&[u8]]) -> Vec<Request> {
        let bodies = bodies(documents, BODY_BYTES_MAX);
        bodies.into_iter().map(|body| Request { url: self.urls[binding].to_string(), body }).collect()
    }

    fn send(&mut self, id: &str, request: &Request) -> Result<(), ConnectorError> {
        let timestamp = (self.clock)() / 1_000_000;
        let mut post = self
            .agent
            .post(&request.url)
            .header("content-type", "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp);
        if !self.secrets.is_empty() {
            post = post.header("webhook-signature", sign(&self.secrets, id, timestamp, &request.body));
        }
        for (name, value) in &self.headers {
            post = post.header(name, value);
        }
        let sent = post.send(request.body.as_str());
        let mut response = sent.map_err(|reason| unsent(&request.url, &reason))?;
        // An answer that was read to its end leaves the connection for the next request.
        let body = response.body_mut().as_reader();
        io::copy(&mut body.take(ANSWER_BYTES_MAX), &mut io::sink()).ok();
        judge(&request.url, response.status(), response.headers())
    }
}

/// Arrays of documents, a line each, of so many bytes at most unless one document has more.
fn bodies(documents: &[&[u8]], bytes_max: usize) -> Vec<String> {
    const END: &[u8] = b"\n]";
    let mut bodies = Vec::new();
    let mut rest = documents;
    while !rest.is_empty() {
        let mut bytes = END.len();
        let more = rest.iter().take_while(|document| {
            let first = bytes == END.len();
            bytes += 2 + document.len();
            first || bytes <= bytes_max
        });
        let (chunk, after) = rest.split_at(more.count());
        rest = after;
        let mut body = Vec::with_capacity(chunk.iter().map(|document| document.len() + 2).sum::<usize>() + END.len());
        for (n, document) in chunk.iter().enumerate() {
            body.extend_from_slice(if n == 0 { b"[\n" } else { b",\n" });
            body.extend_from_slice(document);
        }
        body.extend_from_slice(END);
        bodies.push(String::from_utf8(body).expect("JSON is text"));
    }
    bodies
}

/// Why there was no answer.
fn unsent(url: &str, reason: &ureq::Error) -> ConnectorError {
    match reason {
        // The name may mean another address later.
        ureq::Error::Other(other) if other.is::<NotAllowed>() => {
            ConnectorError { message: format!("POST {url}: {other}"), fault: Fault::User, retry: Retry::Later }
        }
        ureq::Error::Io(io) if io.kind() == io::ErrorKind::ConnectionRefused => {
            error::endpoint(format!("POST {url}: nothing listens there; start what receives it"))
        }
        _ => error::endpoint(format!("POST {url}: {reason}")),
    }
}

/// What an answer means.
fn judge(url: &str, status: StatusCode, headers: &HeaderMap) -> Result<(), ConnectorError> {
    let (fault, retry, advice) = match status.as_u16() {
        200..300 => return Ok(()),
        410 => (Fault::User, Retry::Never, "; the receiver wants no more, so take the binding out of the catalog"),
        429 | 503 => (Fault::Endpoint, retry_after(headers).map_or(Retry::Later, Retry::After), ""),
        // Asked at a bad time.
        408 | 425 => (Fault::Endpoint, Retry::Later, ""),
        400..500 => (Fault::User, Retry::AFewTimes, ""),
        300..400 => (Fault::User, Retry::Later, "; redirects are not followed, so give the final address"),
        _ => (Fault::Endpoint, Retry::Later, ""),
    };
    Err(ConnectorError { message: format!("POST {url}: the answer was {status}{advice}"), fault, retry })
}

/// How long `Retry-After` says to wait. A date counts from the answer's own `Date`, so no clocks are compared.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("retry-after")?.to_str().ok()?.trim();
    let seconds = match text.parse::<u64>() {
        Ok(seconds) => seconds,
        Err(_) => {
            let until = rfc2822::parse(text).ok()?;
            let from = rfc2822::parse(headers.get("date")?.to_str().ok()?).ok()?;
            u64::try_from(until.timestamp().as_second() - from.timestamp().as_second()).unwrap_or(0)
        }
    };
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_split_between_documents() {
        let documents: [&[u8]; 3] = [br#"{"a":1}"#, br#"{"a":2}"#, br#"{"a":3}"#];
        let whole = "[\n{\"a\":1},\n{\"a\":2},\n{\"a\":3}\n]";
        assert_eq!(bodies(&documents, whole.len()), [whole]);
        assert_eq!(bodies(&documents, whole.len() - 1), ["[\n{\"a\":1},\n{\"a\":2}\n]", "[\n{\"a\":3}\n]"]);
        assert_eq!(bodies(&documents, 1).len(), 3);
        assert!(bodies(&[], 1).is_empty());
    }

    #[test]
    fn waiting_is_bounded() {
        let headers = |pairs: &[(&'static str, &str)]| {
            pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect::<HeaderMap>()
        };
        let date = ("date", "Wed, 21 Oct 2015 07:28:00 GMT");
        for (pairs, seconds) in [
            (&[("retry-after", "7")][..], Some(7)),
            (&[("retry-after", "99999999")], Some(3600)),
            (&[("retry-after", "Wed, 21 Oct 2015 07:28:30 GMT"), date], Some(30)),
            (&[("retry-after", "Wed, 21 Oct 2015 07:27:30 GMT"), date], Some(0)),
            (&[("retry-after", "Wed, 21 Oct 2015 07:28:30 GMT")], None),
            (&[("retry-after", "soon")], None),
            (&[], None),
        ] {
            assert_eq!(retry_after(&headers(pairs)), seconds.map(Duration::from_secs), "{pairs:?}");
        }
    }
}
