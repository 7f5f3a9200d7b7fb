//! `segtide webhook`: receives webhooks, as a destination to try things with. It answers after a delay, and shows how many
//! calls came and how many documents each had, which is what a slow destination changes.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::routing::any;

use crate::cli::Webhook;
use crate::http::Port;
use crate::output::{Exit, plural, say, tell};
use crate::signals::Asked;

/// Largest body that is received.
const BODY_BYTES_MAX: usize = 256 << 20;
/// How often it looks whether to end.
const TICK: Duration = Duration::from_millis(50);

/// A receiver of webhooks.
#[derive(Debug, Default)]
pub struct Inbox {
    calls: AtomicU64,
    documents: AtomicU64,
    delay: Duration,
    log: Option<Mutex<File>>,
    print: Print,
}

/// What is printed of a call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Print {
    /// Nothing.
    #[default]
    Nothing,
    /// One line.
    Line,
    /// The body.
    Body,
}

impl Inbox {
    /// An inbox that answers after `delay` and appends calls to `log`.
    pub fn new(delay: Duration, log: Option<&Path>, print: Print) -> anyhow::Result<Arc<Self>> {
        let open = |path: &Path| {
            let file = File::options().create(true).append(true).open(path);
            file.map(Mutex::new).with_context(|| format!("{} cannot be written", path.display()))
        };
        Ok(Arc::new(Self { delay, log: log.map(open).transpose()?, print, ..Self::default() }))
    }

    /// Calls and documents received.
    pub fn received(&self) -> (u64, u64) {
        (self.calls.load(Ordering::Relaxed), self.documents.load(Ordering::Relaxed))
    }

    /// The routes that receive: every path.
    pub fn routes(self: &Arc<Self>) -> Router {
        Router::new().fallback(any(receive)).with_state(Arc::clone(self))
    }

    fn keep(&self, id: &str, path: &str, body: &str) -> std::io::Result<()> {
        if let Some(log) = &self.log {
            let line = serde_json::json!({ "id": id, "path": path, "body": body });
            writeln!(log.lock().unwrap_or_else(PoisonError::into_inner), "{line}")?;
        }
        // One document per line, between the brackets' lines.
        let documents = body.lines().filter(|line| line.starts_with('{')).count() as u64;
        let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        self.documents.fetch_add(documents, Ordering::Relaxed);
        match self.print {
            Print::Nothing => {}
            Print::Line => say(&format!("call {call} to {path}: {}", plural(documents, "document"))),
            Print::Body => say(body),
        }
        Ok(())
    }
}

async fn receive(
    State(inbox): State<Arc<Inbox>>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> (StatusCode, &'static str) {
    let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else {
        return (StatusCode::PAYLOAD_TOO_LARGE, "too large\n");
    };
    let id = headers.get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or("");
    if inbox.keep(id, uri.path(), &String::from_utf8_lossy(&body)).is_err() {
        return (StatusCode::INSUFFICIENT_STORAGE, "the log cannot be written\n");
    }
    tokio::time::sleep(inbox.delay).await;
    (StatusCode::OK, "OK\n")
}

pub fn run(args: &Webhook) -> anyhow::Result<Exit> {
    let asked = Asked::listen().context("signals cannot be listened to")?;
    let print = if args.brief { Print::Line } else { Print::Body };
    let inbox = Inbox::new(args.delay, args.log.as_deref(), print)?;
    let port = Port::take(args.port)?;
    let number = port.number();
    let _server = port.serve(inbox.routes());
    let delay = humantime::format_duration(args.delay);
    tell(&format!("Receiving webhooks at http://localhost:{number} and answering after {delay}; Ctrl-C ends"));
    while !asked.is_set() {
        std::thread::sleep(TICK);
    }
    let (calls, documents) = inbox.received();
    let each = documents as f64 / calls.max(1) as f64;
    let (calls, documents) = (plural(calls, "call"), plural(documents, "document"));
    tell(&format!("{calls}, {documents}, {each:.1} documents a call"));
    Ok(Exit::Ok)
}
