//! `GET /api/v1/documents/<collection>`: the documents of a collection, a line each; with `follow=true` also those to come.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use catalog::Selector;
use runtime::Tail;
use tokio::sync::mpsc;

use super::ingest::Api;
use super::{Refusal, refuse};

/// Those who read at the same time.
const READERS_MAX: usize = 16;
/// Blocks of documents that wait to be sent to a reader.
const BLOCKS_MAX: usize = 4;
/// How often a reader that follows is looked after, whether it is still there.
const LOOK: Duration = Duration::from_millis(500);

/// Counts readers.
#[derive(Debug, Default)]
pub struct Readers(AtomicUsize);

struct Reading(Arc<Api>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.readers.0.fetch_sub(1, Ordering::AcqRel);
    }
}

pub async fn documents(
    State(api): State<Arc<Api>>,
    Path(collection): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let set_aside = collection.split('/').next() == Some(runtime::DEAD_LETTERS);
    if !set_aside && !api.collections.iter().any(|(name, _)| *name == collection) {
        let meant = catalog::nearest(&collection, api.collections.iter().map(|(name, _)| name.as_str()));
        let meant = meant.map(|name| format!("; did you mean {name}?")).unwrap_or_default();
        return Err(refuse(StatusCode::NOT_FOUND, format!("the catalog has no collection of this name{meant}")));
    }
    let (mut follow, mut selector) = (false, Selector::default());
    for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        match (&*name, value.split_once('=')) {
            ("follow", _) => follow = value == "true",
            ("partition", Some((field, value))) => include(&mut selector, field, value),
            _ => return Err(refuse(StatusCode::BAD_REQUEST, "there are `follow=true` and `partition=field=value`")),
        }
    }
    let reading = Reading(Arc::clone(&api));
    if api.readers.0.fetch_add(1, Ordering::AcqRel) >= READERS_MAX {
        return Err(refuse(StatusCode::TOO_MANY_REQUESTS, "too many are reading; try again"));
    }
    let mut tail = Tail::new(Arc::clone(&api.log), &collection, selector);
    let (blocks, mut sent) = mpsc::channel::<Result<Bytes, std::io::Error>>(BLOCKS_MAX);
    let work = move || {
        let _reading = reading;
        loop {
            let documents = match tail.read() {
                Ok(documents) => documents,
                Err(error) => return drop(blocks.blocking_send(Err(std::io::Error::other(error)))),
            };
            match documents.is_empty() {
                true if !follow || blocks.is_closed() => return,
                true => tail.wait(LOOK),
                false => {
                    let block = documents.concat();
                    if blocks.blocking_send(Ok(block.into())).is_err() {
                        return;
                    }
                }
            }
        }
    };
    if std::thread::Builder::new().name("read".into()).spawn(work).is_err() {
        return Err(refuse(StatusCode::SERVICE_UNAVAILABLE, "a thread cannot be started"));
    }
    let stream = futures_util::stream::poll_fn(move |context| sent.poll_recv(context));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(stream)).into_response())
}

/// Adds a partition to those that are selected. A value that is JSON is that value, anything else is text.
pub fn include(selector: &mut Selector, field: &str, value: &str) {
    let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
    match selector.include.iter_mut().find(|(name, _)| name == field) {
        Some((_, values)) => values.push(value),
        None => selector.include.push((field.to_owned(), vec![value])),
    }
}
