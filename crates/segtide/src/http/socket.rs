//! Documents in, by WebSocket: frames of JSON documents or of rows, each transaction answered with its offsets. A client that
//! wants the answers waits for them before it closes. Source: reference 5.3.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::StatusCode;
use axum::response::Response;
use runtime::{Format, Ingest, IngestError, Posted, To};
use serde_json::json;
use tokio::sync::Semaphore;

use super::ingest::{receipt, submit};
use super::{Refusal, refuse};
use crate::memory::Shares;

/// Largest frame, and most text of one transaction before its last frame.
const FRAME_BYTES_MAX: usize = 1 << 20;
const TRANSACTION_BYTES_MAX: usize = 1 << 20;
/// What a connection may take: a frame as it arrives, and the text of a transaction. What is handed over counts as a request.
const SOCKET_BYTES_MAX: usize = FRAME_BYTES_MAX + TRANSACTION_BYTES_MAX + FRAME_BYTES_MAX;
/// How long a connection may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(3600);
/// How long to wait where too much is waiting.
const BUSY_WAIT: Duration = Duration::from_millis(100);

const PROTOCOLS: [(&str, Format); 3] =
    [("json/v1", Format::Sequence), ("csv/v1", Format::Rows(b',')), ("tsv/v1", Format::Rows(b'\t'))];

/// Room for connections, each with a frame and a transaction in memory.
#[derive(Debug)]
pub struct Sockets(Arc<Semaphore>);

impl Sockets {
    /// Room for as many as would take half of what bodies may.
    pub fn new(shares: &Shares) -> Self {
        Self(Arc::new(Semaphore::new((shares.bodies / 2 / SOCKET_BYTES_MAX).max(1))))
    }
}

/// Accepts a connection that speaks one of the protocols.
pub fn open(
    upgrade: WebSocketUpgrade,
    sockets: &Sockets,
    ingest: Ingest,
    collection: String,
    scope: Option<Arc<[String]>>,
) -> Result<Response, Refusal> {
    let upgrade = upgrade.protocols(PROTOCOLS.map(|(name, _)| name)).max_message_size(FRAME_BYTES_MAX);
    let chosen = upgrade.selected_protocol().and_then(|name| name.to_str().ok());
    let Some((_, format)) = PROTOCOLS.into_iter().find(|(name, _)| Some(*name) == chosen) else {
        let why = "name one of these as Sec-WebSocket-Protocol: json/v1, csv/v1, tsv/v1";
        return Err(refuse(StatusCode::BAD_REQUEST, why));
    };
    let Ok(permit) = Arc::clone(&sockets.0).try_acquire_owned() else {
        return Err(refuse(
            StatusCode::TOO_MANY_REQUESTS,
            "too many WebSockets are open; try again, or post documents",
        ));
    };
    Ok(upgrade.on_upgrade(move |socket| async move {
        let _permit = permit;
        let connection = Connection {
            socket,
            ingest,
            to: To::Collection(collection, format),
            scope,
            header: None,
            frames: 0,
            processed: 0,
        };
        connection.run().await;
    }))
}

struct Connection {
    socket: WebSocket,
    ingest: Ingest,
    to: To,
    scope: Option<Arc<[String]>>,
    /// The line that names the columns, with its end.
    header: Option<String>,
    frames: u64,
    /// Documents that are durable.
    processed: u64,
}

/// What came of waiting for a frame.
enum Next {
    Text(String),
    /// Nothing is there now.
    Nothing,
    /// The client has closed, or is gone. Nothing can be sent to it any more.
    Closed,
    Wrong(String),
}

impl Connection {
    async fn run(mut self) {
        loop {
            // Whatever is there already goes into one transaction.
            let mut text = String::new();
            let mut next = self.next(SILENCE_MAX).await;
            while let Next::Text(frame) = next {
                self.add(&mut text, &frame);
                next = match text.len() < TRANSACTION_BYTES_MAX {
                    true => self.next(Duration::ZERO).await,
                    false => Next::Nothing,
                };
            }
            if let Next::Wrong(why) = next {
                return self.fail(why).await;
            }
            if !text.is_empty()
                && let Err(why) = self.commit(text).await
            {
                return self.fail(why).await;
            }
            if let Next::Closed = next {
                // The rest of the closing handshake.
                while let Some(Ok(_)) = self.socket.recv().await {}
                return;
            }
        }
    }

    async fn next(&mut self, wait: Duration) -> Next {
        loop {
            let Ok(message) = tokio::time::timeout(wait, self.socket.recv()).await else {
                return if wait == SILENCE_MAX {
                    Next::Wrong("nothing was sent for an hour".into())
                } else {
                    Next::Nothing
                };
            };
            match message {
                Some(Ok(Message::Text(text))) => {
                    self.frames += 1;
                    return Next::Text(text.to_string());
                }
                Some(Ok(Message::Binary(_))) => {
                    self.frames += 1;
                    return Next::Wrong("documents are sent as text, and this frame is binary".into());
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Next::Closed,
            }
        }
    }

    /// Adds a frame to the text of a transaction, behind the header where there is one.
    fn add(&mut self, text: &mut String, frame: &str) {
        let To::Collection(_, Format::Rows(_)) = self.to else {
            text.push_str(frame);
            text.push('\n');
            return;
        };
        let rows = match &self.header {
            Some(_) => frame,
            None => {
                let (header, rows) = frame.split_once('\n').unwrap_or((frame, ""));
                self.header = Some(format!("{}\n", header.trim_end_matches('\r')));
                rows
            }
        };
        if text.is_empty() {
            text.push_str(self.header.as_deref().unwrap_or_default());
        }
        text.push_str(rows);
        if !rows.is_empty() && !rows.ends_with('\n') {
            text.push('\n');
        }
    }

    async fn commit(&mut self, text: String) -> Result<(), String> {
        let posted = |text| Posted { text, to: self.to.clone(), scope: self.scope.clone(), key: None };
        let ingested = loop {
            match submit(&self.ingest, posted(text.clone().into_bytes())).await {
                // The client's socket fills up meanwhile, so it waits as well.
                Err(IngestError::Busy) => tokio::time::sleep(BUSY_WAIT).await,
                other => break other.map_err(|e| e.to_string())?,
            }
        };
        self.processed += ingested.received;
        let mut answer = receipt(&ingested);
        answer["Processed"] = self.processed.into();
        // A client that is gone cannot be told; its documents are kept all the same.
        let _ = self.socket.send(Message::Text(answer.to_string().into())).await;
        Ok(())
    }

    async fn fail(mut self, why: String) {
        let answer = json!({ "Error": why, "ApproximateFrame": self.frames });
        let _ = self.socket.send(Message::Text(answer.to_string().into())).await;
        let frame = CloseFrame { code: close_code::PROTOCOL, reason: "error".into() };
        let _ = self.socket.send(Message::Close(Some(frame))).await;
        while let Some(Ok(_)) = self.socket.recv().await {}
    }
}
