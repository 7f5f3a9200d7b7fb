//! Reading the configuration and resources of `materialize-webhook`.

use std::collections::BTreeMap;

use catalog::{ConfigError, Endpoint};
use serde_json::Value;
use ureq::http::{HeaderName, HeaderValue};
use url::{Host, Url};

use super::address::Allowed;
use super::signature::Secret;
use crate::config::Fields;

/// The fields of a configuration.
pub(crate) const CONFIG_FIELDS: &[&str] = &["address", "endpoint", "headers", "signingSecrets", "allowPrivate"];
/// The fields of a resource.
pub(crate) const RESOURCE_FIELDS: &[&str] = &["relativePath"];

/// The one that signs, and another one while receivers change from one to the other.
const SECRETS_MAX: usize = 2;
const HEADERS_MAX: usize = 32;
const ALLOWED_MAX: usize = 64;

/// Headers that are ours to set, or speak of the connection and not of the request.
const HEADERS_OURS: [&str; 16] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "webhook-id",
    "webhook-signature",
    "webhook-timestamp",
];

/// Where requests go, and with what. Values of headers and secrets are never shown.
pub(super) struct Config {
    pub(super) url: Url,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) secrets: Vec<Secret>,
    pub(super) allowed: Allowed,
}

impl Config {
    pub(super) fn read(endpoint: &Endpoint) -> Result<Self, Vec<ConfigError>> {
        let mut fields = Fields::config(&endpoint.config, CONFIG_FIELDS);
        let url = read_url(&mut fields);
        let headers = read_headers(&mut fields);
        let secrets = read_secrets(&mut fields);
        // Catalogs are run where they are developed, and nowhere else so far.
        let mut allowed = Allowed::new(true);
        let listed = fields.list("allowPrivate");
        if listed.len() > ALLOWED_MAX {
            fields.wrong("allowPrivate", format!("there may be {ALLOWED_MAX} at most"), None);
        }
        for text in listed.iter().take(ALLOWED_MAX) {
            if let Err(reason) = allowed.list(text) {
                let hint = "such as `10.1.0.0/16`, `10.1.2.3` or `hooks.internal`";
                fields.wrong("allowPrivate", format!("`{}`: {reason}", text.escape_debug()), Some(hint));
            }
        }
        let address = url.as_ref().and_then(|(_, url)| match url.host() {
            Some(Host::Ipv4(address)) => Some(address.into()),
            Some(Host::Ipv6(address)) => Some(address.into()),
            _ => None,
        });
        if let (Some((name, url)), Some(address)) = (&url, address)
            && !allowed.allows(url.host_str().unwrap_or_default(), address)
        {
            let message = format!("{address} is no address of the public internet");
            fields.wrong(name, message, Some("if it is meant, list it in `allowPrivate`"));
        }
        let errors = fields.finish();
        match url {
            Some((_, url)) if errors.is_empty() => Ok(Self { url, headers, secrets, allowed }),
            _ => Err(errors),
        }
    }
}

/// The base address, and the name it was given by.
fn read_url(fields: &mut Fields<'_>) -> Option<(&'static str, Url)> {
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
    url.map(|url| (name, url))
}

/// Headers that every request has besides ours.
fn read_headers(fields: &mut Fields<'_>) -> Vec<(HeaderName, HeaderValue)> {
    let given: BTreeMap<String, String> = fields.optional("headers").unwrap_or_default();
    if given.len() > HEADERS_MAX {
        fields.wrong("headers", format!("there may be {HEADERS_MAX} at most"), None);
    }
    let mut headers = Vec::new();
    for (name, value) in given.iter().take(HEADERS_MAX) {
        let shown = name.escape_debug();
        let Ok(parsed) = HeaderName::from_bytes(name.as_bytes()) else {
            fields.wrong("headers", format!("`{shown}` is no name of a header"), None);
            continue;
        };
        if HEADERS_OURS.contains(&parsed.as_str()) {
            fields.wrong("headers", format!("`{shown}` cannot be set"), Some("it is set by the program"));
            continue;
        }
        match HeaderValue::from_str(value) {
            Ok(mut value) => {
                value.set_sensitive(true);
                headers.push((parsed, value));
            }
            Err(_) => {
                let hint = "a value is one line of visible ASCII characters";
                fields.wrong("headers", format!("the value of `{shown}` cannot be sent"), Some(hint));
            }
        }
    }
    headers
}

/// Secrets that requests are signed with.
fn read_secrets(fields: &mut Fields<'_>) -> Vec<Secret> {
    let given = fields.list("signingSecrets");
    if given.len() > SECRETS_MAX {
        let hint = "the present one, and the next or former one while receivers change";
        fields.wrong("signingSecrets", format!("there may be {SECRETS_MAX} at most"), Some(hint));
    }
    let mut secrets = Vec::new();
    for (n, text) in given.iter().take(SECRETS_MAX).enumerate() {
        match Secret::read(text) {
            Ok(secret) => secrets.push(secret),
            Err(reason) => {
                let hint = "`whsec_` and 24 to 64 random bytes in base64";
                fields.wrong("signingSecrets", format!("number {}: {reason}", n + 1), Some(hint));
            }
        }
    }
    secrets
}

/// Returns the n-th binding's path below the address.
pub(super) fn read_resource(n: usize, resource: &Value, base: Option<&Url>) -> Result<Option<Url>, Vec<ConfigError>> {
    let mut fields = Fields::resource(n, resource, RESOURCE_FIELDS);
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
