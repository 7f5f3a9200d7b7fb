//! Documents in, by WebSocket: frames of JSON documents or of rows, each transaction answered with its offsets. A client that
//! wants the answers waits for them before it closes. Source: reference 5.3.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::StatusCode;
use axum::response::Response;
use runtime::{Format, Ingest, IngestError, Posted, To};
use serde_json::json;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

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
/// How long one may be silent although others want its place.
const SILENCE_UNDER_WANT_MAX: Duration = Duration::from_secs(5);
/// How long a client may take to hear that it is closed, and as long again to agree.
const CLOSING_MAX: Duration = Duration::from_secs(5);
/// How long to wait where too much is waiting.
const BUSY_WAIT: Duration = Duration::from_millis(100);

const PROTOCOLS: [(&str, Format); 3] =
    [("json/v1", Format::Sequence), ("csv/v1", Format::Rows(b',')), ("tsv/v1", Format::Rows(b'\t'))];

/// Room for connections, each with a frame and a transaction in memory. Where all of it is taken, a newcomer gets the place of
/// the one that has been silent for longest.
#[derive(Debug)]
pub struct Sockets {
    free: Arc<Semaphore>,
    taken: Mutex<Vec<Weak<Seat>>>,
}

/// The place of a connection.
#[derive(Debug)]
struct Seat {
    /// Since when its client has sent nothing, if that is waited for.
    silent_since: Mutex<Option<Instant>>,
    /// Another connection has its place.
    leave: Notify,
    _permit: OwnedSemaphorePermit,
}

impl Sockets {
    /// Room for as many as would take half of what bodies may.
    pub fn new(shares: &Shares) -> Self {
        Self::with_room((shares.bodies / 2 / SOCKET_BYTES_MAX).max(1))
    }

    fn with_room(connections: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(connections)), taken: Mutex::default() }
    }

    /// A place, if need be of one that has been silent; `None` where all of them have something to say.
    async fn seat(&self) -> Option<Arc<Seat>> {
        let permit = match Arc::clone(&self.free).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                self.dismiss(Instant::now())?;
                tokio::time::timeout(2 * CLOSING_MAX, Arc::clone(&self.free).acquire_owned()).await.ok()?.ok()?
            }
        };
        let seat = Arc::new(Seat { silent_since: Mutex::default(), leave: Notify::new(), _permit: permit });
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.retain(|seat| seat.strong_count() > 0);
        taken.push(Arc::downgrade(&seat));
        Some(seat)
    }

    /// Asks the connection to leave that has been silent for longest, if that is long enough.
    fn dismiss(&self, now: Instant) -> Option<()> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let seats = taken.iter().filter_map(Weak::upgrade);
        let silent = seats.filter_map(|seat| Some((seat.silent_since()?, seat)));
        let (since, seat) = silent.min_by_key(|(since, _)| *since)?;
        if now.saturating_duration_since(since) < SILENCE_UNDER_WANT_MAX {
            return None;
        }
        seat.note_silence(None);
        seat.leave.notify_one();
        Some(())
    }
}

impl Seat {
    fn silent_since(&self) -> Option<Instant> {
        *self.silent_since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_silence(&self, since: Option<Instant>) {
        *self.silent_since.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }
}

/// Accepts a connection that speaks one of the protocols.
pub async fn open(
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
    let Some(seat) = sockets.seat().await else {
        return Err(refuse(
            StatusCode::TOO_MANY_REQUESTS,
            "too many WebSockets are open; try again, or post documents",
        ));
    };
    Ok(upgrade.on_upgrade(move |socket| async move {
        let connection = Connection {
            socket,
            seat,
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
    seat: Arc<Seat>,
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
            let mut next = self.listen().await;
            while let Next::Text(frame) = next {
                self.add(&mut text, &frame);
                next = match text.len() < TRANSACTION_BYTES_MAX {
                    true => tokio::time::timeout(Duration::ZERO, self.next()).await.unwrap_or(Next::Nothing),
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
                return self.end().await;
            }
        }
    }

    /// Waits for a frame, for as long as a client may be silent.
    async fn listen(&mut self) -> Next {
        let seat = Arc::clone(&self.seat);
        seat.note_silence(Some(Instant::now()));
        let next = tokio::select! {
            next = tokio::time::timeout(SILENCE_MAX, self.next()) => {
                next.unwrap_or_else(|_| Next::Wrong("nothing was sent for an hour".into()))
            }
            () = seat.leave.notified() => {
                Next::Wrong("nothing was sent for a while, and another connection needs the place; open it again".into())
            }
        };
        seat.note_silence(None);
        next
    }

    async fn next(&mut self) -> Next {
        loop {
            match self.socket.recv().await {
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
        let frame = CloseFrame { code: close_code::PROTOCOL, reason: "error".into() };
        let farewell = [Message::Text(answer.to_string().into()), Message::Close(Some(frame))];
        let told = async {
            for message in farewell {
                let _ = self.socket.send(message).await;
            }
        };
        // A client that does not listen is not waited for.
        if tokio::time::timeout(CLOSING_MAX, told).await.is_ok() {
            self.end().await;
        }
    }

    /// The rest of the closing handshake.
    async fn end(mut self) {
        let agreed = async { while let Some(Ok(_)) = self.socket.recv().await {} };
        let _ = tokio::time::timeout(CLOSING_MAX, agreed).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_silent_for_longest_makes_room() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let sockets = Sockets::with_room(2);
            let [first, second] = [sockets.seat().await.unwrap(), sockets.seat().await.unwrap()];
            let now = Instant::now();
            let later = |seconds| now + SILENCE_UNDER_WANT_MAX + Duration::from_secs(seconds);
            assert_eq!(sockets.dismiss(later(9)), None, "both have something to say");
            first.note_silence(Some(now + Duration::from_secs(1)));
            second.note_silence(Some(now));
            assert_eq!(sockets.dismiss(later(0) - Duration::from_millis(1)), None, "neither was silent for long");
            assert_eq!(sockets.dismiss(later(9)), Some(()));
            second.leave.notified().await;
            assert_eq!(sockets.dismiss(later(9)), Some(()));
            first.leave.notified().await;
            assert_eq!(sockets.dismiss(later(9)), None, "nobody is asked twice");
            drop(second);
            assert!(sockets.seat().await.is_some());
        });
    }
}
