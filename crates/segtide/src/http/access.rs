//! Who may post documents, and to which collections.
//!
//! A capture of pushed documents may list bearer tokens, by their digests, and secrets that its senders sign with. Where any
//! capture does, every request has to show one of them; it may then write to that capture's collections and to no others.
//! Where none does, only this machine is let in.

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode, header};
use catalog::Catalog;
use connectors::Senders;
use journal::Clock as _;

use super::{Refusal, refuse};
use crate::clock::SystemClock;

/// The captures that say who may send, each with its collections.
#[derive(Debug)]
pub struct Access {
    captures: Vec<(Senders, Arc<[String]>)>,
    /// Whether a request that shows nothing is let in.
    open: bool,
}

/// What a request has to show for.
pub enum Shown<'a> {
    /// It is let in, to these collections; to all where there is no list.
    In(Option<Arc<[String]>>),
    /// Its body has to be read first, to see whether it is signed.
    Signed(Signature<'a>),
}

/// A signature that a request shows, by its headers.
pub struct Signature<'a> {
    access: &'a Access,
    id: String,
    timestamp: String,
    signatures: String,
}

impl Access {
    /// The access that a catalog gives. `open` lets requests in that show nothing, as long as no capture asks for more.
    pub fn of(catalog: &Catalog, open: bool) -> Access {
        let capture = |capture: &catalog::Capture| {
            let senders = Senders::of(&capture.endpoint)?;
            Some((senders, capture.bindings.iter().map(|b| b.target.clone()).collect()))
        };
        let captures: Vec<_> = catalog.captures.iter().filter_map(capture).collect();
        Access { open: open && captures.is_empty(), captures }
    }

    /// Whether anybody could be let in.
    pub fn is_closed(&self) -> bool {
        !self.open && self.captures.is_empty()
    }

    /// What a request shows in its headers, before its body is read.
    pub fn look<'a>(&'a self, headers: &HeaderMap) -> Result<Shown<'a>, Refusal> {
        if self.open {
            return Ok(Shown::In(None));
        }
        let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(str::trim);
        if let Some(token) = text(header::AUTHORIZATION.as_str()).and_then(|v| v.split_once(' ')) {
            let bearer = token.0.eq_ignore_ascii_case("bearer").then(|| token.1.trim());
            let known = |token: &str| self.captures.iter().find(|(senders, _)| senders.knows_token(token));
            return match bearer.and_then(known) {
                Some((_, collections)) => Ok(Shown::In(Some(Arc::clone(collections)))),
                None => Err(unknown("this token is not known")),
            };
        }
        match (text("webhook-id"), text("webhook-timestamp"), text("webhook-signature")) {
            (Some(id), Some(timestamp), Some(signatures)) => {
                let seconds = SystemClock.now_us() / 1_000_000;
                if !Senders::is_recent(timestamp, seconds) {
                    return Err(unknown("the signature's timestamp is not of the last or next five minutes"));
                }
                let (id, timestamp, signatures) = (id.into(), timestamp.into(), signatures.into());
                Ok(Shown::Signed(Signature { access: self, id, timestamp, signatures }))
            }
            _ => Err(unknown("show a token as `Authorization: Bearer …`, or sign the request")),
        }
    }
}

impl Signature<'_> {
    /// Whether the body, as it came, is signed by somebody known; the collections it may go to, and the request's name.
    pub fn check(self, body: &[u8]) -> Result<(Arc<[String]>, String), Refusal> {
        let signed = |(senders, _): &&(Senders, Arc<[String]>)| {
            senders.knows_signature(&self.id, &self.timestamp, body, &self.signatures)
        };
        match self.access.captures.iter().find(signed) {
            Some((_, collections)) => Ok((Arc::clone(collections), self.id)),
            None => Err(unknown("the signature is not that of a known secret over this body")),
        }
    }
}

fn unknown(why: &str) -> Refusal {
    refuse(StatusCode::UNAUTHORIZED, why)
}
