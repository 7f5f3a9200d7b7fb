//! `materialize-webhook`: each transaction's documents as the body of a POST.
//!
//! A receiver cannot take part in a transaction, so a request may arrive twice: its id and its bytes are then the same.

use std::io::{self, Read};
use std::time::Duration;

use catalog::{BindingRules, Collection, ConfigError, Constraint, Endpoint, Materialization};
use jiff::fmt::rfc2822;
use runtime::{ConnectorError, Fault, Hook, Request, Retry};
use serde_json::Value;
use ureq::Agent;
use ureq::http::{HeaderMap, StatusCode};
use url::Url;

use crate::config::{Fields, both};
use crate::error;

const BODY_BYTES_MAX: usize = 8 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const TOTAL_TIMEOUT: Duration = Duration::from_secs(30);
const ANSWER_BYTES_MAX: u64 = 64 << 10;
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// Returns the base address.
fn read_config(endpoint: &Endpoint) -> Result<Url, Vec<ConfigError>> {
    let mut fields = Fields::config(&endpoint.config);
    let older: Option<String> = fields.optional("endpoint");
    let (name, address) = match older {
        None => ("address", fields.required::<String>("address", "the URL to post to")),
        Some(older) => {
            if fields.optional::<String>("address").is_some() {
                fields.wrong("endpoint", "`endpoint` says again what `address` says", Some("keep `address`"));
            }
            ("endpoint", Some(older))
        }
    };
    let url = address.and_then(|address| match Url::parse(&address) {
        Ok(url) if !matches!(url.scheme(), "http" | "https") || url.host().is_none() => {
            fields.wrong(name, "this is not an HTTP URL", Some("write it as `https://host/path`"));
            None
        }
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            fields.wrong(name, "a URL is kept and shown, so it may hold no password", None);
            None
        }
        Ok(url) => Some(url),
        Err(reason) => {
            fields.wrong(name, format!("this is no URL: {reason}"), Some("write it as `https://host/path`"));
            None
        }
    });
    let errors = fields.finish();
    url.filter(|_| errors.is_empty()).ok_or(errors)
}

/// Returns the n-th binding's path below the address.
fn read_resource(n: usize, resource: &Value, base: Option<&Url>) -> Result<Option<Url>, Vec<ConfigError>> {
    let mut fields = Fields::resource(n, resource);
    let path: String = fields.optional("relativePath").unwrap_or_default();
    let joined = base.map(|base| (base, base.join(&path)));
    let url = match joined {
        // A path may lead to another place of the same server, and not to another server.
        Some((base, Ok(url)))
            if url.origin() == base.origin() && url.username().is_empty() && url.password().is_none() =>
        {
            Some(url)
        }
        Some((base, Ok(url))) => {
            let message = format!("this leads to {}, away from {base}", url.origin().ascii_serialization());
            fields.wrong("relativePath", message, Some("write it as `/path` or `path`"));
            None
        }
        Some((_, Err(reason))) => {
            fields.wrong("relativePath", format!("this is no path of a URL: {reason}"), None);
            None
        }
        None => None,
    };
    let errors = fields.finish();
    if errors.is_empty() { Ok(url) } else { Err(errors) }
}

/// Checks the configuration alone.
pub(crate) fn check_config(endpoint: &Endpoint) -> Result<(), Vec<ConfigError>> {
    read_config(endpoint).map(drop)
}

/// Checks the configuration and one binding's resource.
pub(crate) fn check(
    endpoint: &Endpoint,
    resource: &Value,
    collection: &Collection,
) -> Result<BindingRules, Vec<ConfigError>> {
    let base = read_config(endpoint);
    let url = read_resource(0, resource, base.as_ref().ok());
    let (_, url) = both(base, url)?;
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
    agent: Agent,
}

impl Webhook {
    /// Opens no connection yet.
    pub(crate) fn open(task: &Materialization) -> Result<Self, ConnectorError> {
        let base = read_config(&task.endpoint).map_err(error::config)?;
        let urls = task.bindings.iter().enumerate().map(|(n, binding)| {
            let url = read_resource(n, &binding.resource, Some(&base)).map_err(error::config)?;
            Ok(url.unwrap_or_else(|| base.clone()))
        });
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(TOTAL_TIMEOUT))
            .user_agent("segtide")
            .build();
        Ok(Self { urls: urls.collect::<Result<_, ConnectorError>>()?, agent: agent.into() })
    }
}

impl Hook for Webhook {
    fn encode(&self, binding: usize, documents: &[&[u8]]) -> Vec<Request> {
        let bodies = bodies(documents, BODY_BYTES_MAX);
        bodies.into_iter().map(|body| Request { url: self.urls[binding].to_string(), body }).collect()
    }

    fn send(&mut self, id: &str, request: &Request) -> Result<(), ConnectorError> {
        let sent = self
            .agent
            .post(&request.url)
            .header("content-type", "application/json")
            .header("webhook-id", id)
            .send(request.body.as_str());
        let mut response = sent.map_err(|reason| error::endpoint(format!("POST {}: {reason}", request.url)))?;
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

/// What an answer means.
fn judge(url: &str, status: StatusCode, headers: &HeaderMap) -> Result<(), ConnectorError> {
    let (fault, retry, advice) = match status.as_u16() {
        200..300 => return Ok(()),
        410 => (Fault::User, Retry::Never, "; the receiver wants no more, so take the binding out of the catalog"),
        429 | 503 => (Fault::Endpoint, retry_after(headers).map_or(Retry::Later, Retry::After), ""),
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
