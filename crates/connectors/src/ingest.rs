//! `source-http-ingest`: documents are pushed over HTTP, through the runtime's ingestion; nothing is pulled.
//!
//! Its configuration says who may push: bearer tokens, kept as digests, and secrets that senders sign with as Standard
//! Webhooks says. With neither, whoever reaches the server may.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use catalog::{ConfigError, Endpoint};
use hmac::{Hmac, KeyInit as _, Mac as _};
use runtime::{Batch, ConnectorError, Progress, Source};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::config::Fields;

/// The fields of a configuration.
pub(crate) const CONFIG_FIELDS: &[&str] = &["tokens", "secrets", "requireAuthToken"];
/// The fields of a resource.
pub(crate) const RESOURCE_FIELDS: &[&str] = &["name", "stream"];

const WAIT: Duration = Duration::from_secs(3600);
/// How a token's digest begins in the configuration.
const DIGEST_PREFIX: &str = "sha256:";
/// How a secret begins there.
const SECRET_PREFIX: &str = "whsec_";
/// How a signature begins in its header.
const SIGNATURE_PREFIX: &str = "v1,";
/// Signatures of one request that are looked at.
const SIGNATURES_MAX: usize = 8;
/// How far a signature's timestamp may be from now.
const TOLERANCE_SECONDS: u64 = 300;

/// Who may push documents to a capture.
#[derive(Clone, Default)]
pub struct Senders {
    tokens: Vec<[u8; 32]>,
    secrets: Vec<Vec<u8>>,
}

impl std::fmt::Debug for Senders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Senders").finish_non_exhaustive()
    }
}

impl Senders {
    /// Those of a capture, where it is one of pushed documents and names any.
    pub fn of(endpoint: &Endpoint) -> Option<Senders> {
        let senders = (endpoint.connector == "source-http-ingest").then(|| read_config(endpoint).ok()).flatten()?;
        (!senders.tokens.is_empty() || !senders.secrets.is_empty()).then_some(senders)
    }

    /// Whether a bearer token is one of theirs.
    pub fn knows_token(&self, token: &str) -> bool {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        // All are looked at, and each to its end, so that the time tells nothing.
        self.tokens.iter().fold(false, |known, token| known | is_same(token, &digest))
    }

    /// Whether one of the signatures, `v1,<base64>` with spaces between, is over this request by a secret of theirs.
    pub fn knows_signature(&self, id: &str, timestamp: &str, body: &[u8], signatures: &str) -> bool {
        let given = signatures.split_ascii_whitespace().take(SIGNATURES_MAX);
        let given: Vec<Vec<u8>> =
            given.filter_map(|one| STANDARD.decode(one.strip_prefix(SIGNATURE_PREFIX)?).ok()).collect();
        self.secrets.iter().any(|secret| {
            let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("a key may have any length");
            mac.update(format!("{id}.{timestamp}.").as_bytes());
            mac.update(body);
            given.iter().any(|signature| mac.clone().verify_slice(signature).is_ok())
        })
    }

    /// Whether a signature's timestamp, in seconds since 1970, is near to now.
    pub fn is_recent(timestamp: &str, now_seconds: u64) -> bool {
        timestamp.parse::<u64>().is_ok_and(|at| at.abs_diff(now_seconds) <= TOLERANCE_SECONDS)
    }
}

fn is_same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

/// Who may push.
pub(crate) fn read_config(endpoint: &Endpoint) -> Result<Senders, Vec<ConfigError>> {
    let mut fields = Fields::config(&endpoint.config, CONFIG_FIELDS);
    let mut senders = Senders::default();
    for digest in fields.list("tokens") {
        match digest.strip_prefix(DIGEST_PREFIX).and_then(hexadecimal) {
            Some(digest) => senders.tokens.push(digest),
            None => fields.wrong(
                "tokens",
                "a token is given by its digest, `sha256:` and 64 hexadecimal digits",
                Some("`printf %s TOKEN | sha256sum` gives it"),
            ),
        }
    }
    // As others spell it: the token itself.
    match fields.optional::<String>("requireAuthToken") {
        Some(token) if token.is_empty() => fields.wrong("requireAuthToken", "an empty token lets anyone in", None),
        Some(token) => senders.tokens.push(Sha256::digest(token.as_bytes()).into()),
        None => {}
    }
    for secret in fields.list("secrets") {
        match secret.strip_prefix(SECRET_PREFIX).and_then(|text| STANDARD.decode(text).ok()) {
            Some(secret) if secret.len() >= 16 => senders.secrets.push(secret),
            _ => fields.wrong(
                "secrets",
                "a secret is `whsec_` and the Base64 of 16 bytes or more",
                Some("`echo whsec_$(head -c 32 /dev/urandom | base64)` makes one"),
            ),
        }
    }
    let errors = fields.finish();
    if errors.is_empty() { Ok(senders) } else { Err(errors) }
}

fn hexadecimal(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let digits = text.is_ascii() && text.len() == 64;
    for (n, byte) in bytes.iter_mut().enumerate().filter(|_| digits) {
        *byte = u8::from_str_radix(&text[2 * n..2 * n + 2], 16).ok()?;
    }
    digits.then_some(bytes)
}

/// Checks the resource of the n-th binding and returns its name, if it has one.
pub(crate) fn read_resource(n: usize, resource: &Value) -> Result<Option<String>, Vec<ConfigError>> {
    let mut fields = Fields::resource(n, resource, RESOURCE_FIELDS);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_standard_webhooks() {
        // The example of the specification.
        let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let senders = Senders { secrets: vec![b"another".to_vec(), secret], ..Senders::default() };
        let (id, timestamp, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", br#"{"test": 2432232314}"#);
        let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        let forged = "v1,AAAASsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE0=";
        assert!(senders.knows_signature(id, timestamp, body, signature));
        assert!(senders.knows_signature(id, timestamp, body, &format!("{forged} v1a,x {signature}")));
        for (id, timestamp, body, signature) in [
            (id, timestamp, &b"{}"[..], signature),
            (id, "1614265331", &body[..], signature),
            ("msg_other", timestamp, &body[..], signature),
            (id, timestamp, &body[..], forged),
            (id, timestamp, &body[..], ""),
            (id, timestamp, &body[..], "v1,"),
        ] {
            assert!(!senders.knows_signature(id, timestamp, body, signature), "{id} {timestamp} {signature}");
        }
        assert!(Senders::is_recent("1000", 1300) && Senders::is_recent("1600", 1300));
        assert!(!Senders::is_recent("999", 1300) && !Senders::is_recent("-5", 0) && !Senders::is_recent("", 0));
    }

    #[test]
    fn a_token_may_be_given_as_it_is() {
        let read = |token: &str| {
            let config = serde_json::json!({ "requireAuthToken": token });
            let base: url::Url = "file:///catalog.yaml".parse().unwrap();
            let place = catalog::Tree::from_yaml(&mut catalog::Sources::default(), base.clone(), "{}").unwrap().place();
            read_config(&Endpoint { connector: "source-http-ingest".into(), image: None, config, base, place })
        };
        let senders = read("open sesame").unwrap();
        assert!(senders.knows_token("open sesame") && !senders.knows_token("open barley"));
        assert!(read("").is_err());
    }

    #[test]
    fn tokens_are_known_by_their_digest() {
        let digest: [u8; 32] = Sha256::digest(b"open sesame").into();
        let senders = Senders { tokens: vec![[0; 32], digest], ..Senders::default() };
        assert!(senders.knows_token("open sesame"));
        assert!(!senders.knows_token("open barley") && !senders.knows_token(""));
    }
}
