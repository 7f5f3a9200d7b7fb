//! Documents in, by HTTP: `POST /ingest` for any collections, `POST /ingest/<collection>` for one. Source: reference 5.3,
//! guarantees C1 to C3.

use std::sync::{Arc, PoisonError, RwLock};

use axum::body::Body;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{FromRef, Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Router, extract::FromRequestParts as _, extract::Request};
use journal::Log;
use journal::failpoint::durable_point;
use runtime::{Format, Ingest, IngestError, Ingested, Monitor, Posted, To};

use super::access::{Access, Shown};
use super::body::Room;
use super::read::{self, Readers};
use super::{Refusal, Sockets, docs, refuse, socket, status};
use crate::data::VERSION_PATH;

/// Longest `Idempotency-Key`, in bytes.
const KEY_BYTES_MAX: usize = 255;

/// What the server needs of a running catalog.
pub struct Api {
    pub ingest: Ingest,
    pub access: Access,
    pub monitor: Monitor,
    pub log: Arc<dyn Log>,
    /// All collections, and whether documents may be posted to them.
    pub collections: Vec<(String, bool)>,
    /// Counts how often the catalog was exchanged for another version of it, from one.
    pub version: u64,
    /// The run's name.
    pub run: String,
    pub room: Room,
    pub readers: Readers,
    pub sockets: Sockets,
}

/// The running catalog that is served, which another version of it may take the place of.
#[derive(Clone)]
pub struct Served(Arc<RwLock<Arc<Api>>>);

impl Served {
    /// Serves one.
    pub fn new(api: Arc<Api>) -> Self {
        Self(Arc::new(RwLock::new(api)))
    }

    /// Serves another one from now on.
    pub fn replace(&self, api: Arc<Api>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = api;
    }
}

impl FromRef<Served> for Arc<Api> {
    fn from_ref(served: &Served) -> Self {
        Arc::clone(&served.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Everything that is served of a running catalog.
pub fn routes(served: Served) -> Router {
    let elsewhere = |status| async move { refuse(status, "documents are taken by POST at /ingest; /docs says more") };
    Router::new()
        .route("/ingest", post(receive_named).put(receive_named))
        .route("/ingest/{*collection}", post(receive_one).put(receive_one).get(open_socket))
        .route("/api/v1/status", get(status::status))
        .route(VERSION_PATH, get(status::version))
        .route("/api/v1/documents/{*collection}", get(read::documents))
        .route("/metrics", get(status::metrics))
        .route("/healthz", get(status::healthz))
        .route("/readyz", get(status::readyz))
        .route("/openapi.json", get(docs::openapi))
        .route("/docs", get(docs::page))
        .fallback(move || elsewhere(StatusCode::NOT_FOUND))
        .method_not_allowed_fallback(move || elsewhere(StatusCode::METHOD_NOT_ALLOWED))
        .with_state(served)
}

async fn receive_named(State(api): State<Arc<Api>>, headers: HeaderMap, body: Body) -> Result<Response, Refusal> {
    if media_type(&headers) != "application/json" {
        return Err(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send documents as Content-Type: application/json"));
    }
    match receive(&api, &headers, body, To::Named).await? {
        Ok(ingested) => Ok(accepted(&ingested)),
        // Clients of the original know one status for all that is wrong with a request.
        Err(IngestError::Malformed(why) | IngestError::Unknown(why) | IngestError::Invalid(why)) => {
            Err(refuse(StatusCode::BAD_REQUEST, why))
        }
        Err(error) => Err(refused(&error)),
    }
}

async fn receive_one(
    State(api): State<Arc<Api>>,
    Path(collection): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let format = match media_type(&headers) {
        "application/json" => Format::Json,
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Format::Lines,
        "text/csv" => Format::Rows(b','),
        "text/tab-separated-values" => Format::Rows(b'\t'),
        _ => {
            let why = "send documents as Content-Type: application/json, application/x-ndjson, text/csv or \
                       text/tab-separated-values";
            return Err(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
        }
    };
    let taken = receive(&api, &headers, body, To::Collection(collection, format)).await?;
    taken.map(|ingested| accepted(&ingested)).map_err(|error| refused(&error))
}

/// Reads a request and sees it through. An answer of its own where it does not get so far.
async fn receive(api: &Api, headers: &HeaderMap, body: Body, to: To) -> Result<Result<Ingested, IngestError>, Refusal> {
    let shown = api.access.look(headers)?;
    if let Err(full) = api.ingest.room() {
        return Ok(Err(full));
    }
    let given = headers.get("idempotency-key").map(|key| key.to_str().map(str::to_owned));
    let given = match given {
        Some(Ok(key)) if (1..=KEY_BYTES_MAX).contains(&key.len()) => Some(key),
        None => None,
        Some(_) => {
            let why = format!("an Idempotency-Key has 1 to {KEY_BYTES_MAX} visible characters");
            return Err(refuse(StatusCode::BAD_REQUEST, why));
        }
    };
    let (body, _permit) = api.room.read(body, matches!(shown, Shown::Signed(_))).await?;
    let (scope, key) = match shown {
        Shown::In(scope) => (scope, given),
        Shown::Signed(signature) => {
            let (collections, id) = signature.check(&body)?;
            (Some(collections), given.or(Some(id)))
        }
    };
    let text = api.room.unpack(headers, body).await?;
    durable_point("http.body");
    Ok(submit(&api.ingest, Posted { text, to, scope, key }).await)
}

/// Hands documents over and waits for their commit.
pub async fn submit(ingest: &Ingest, posted: Posted) -> Result<Ingested, IngestError> {
    let (reply, outcome) = tokio::sync::oneshot::channel();
    ingest.submit(posted, Box::new(move |result| drop(reply.send(result))));
    outcome.await.unwrap_or_else(|_| Err(IngestError::Unavailable("it is stopping".into())))
}

async fn open_socket(
    State(api): State<Arc<Api>>,
    Path(collection): Path<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let (mut parts, _) = request.into_parts();
    let Shown::In(scope) = api.access.look(&parts.headers)? else {
        return Err(refuse(StatusCode::UNAUTHORIZED, "a WebSocket is opened with a token"));
    };
    if !is_same_origin(&parts.headers) {
        return Err(refuse(StatusCode::FORBIDDEN, "pages of another origin may not connect"));
    }
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &()).await;
    let why = "documents are taken by POST, or by a WebSocket";
    let upgrade = upgrade.map_err(|_| refuse(StatusCode::METHOD_NOT_ALLOWED, why))?;
    socket::open(upgrade, &api.sockets, api.ingest.clone(), collection, scope).await
}

/// Whether a request comes from no page, or from one that this server serves.
fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name: header::HeaderName| headers.get(name).map(|v| v.to_str().unwrap_or("?"));
    let Some(origin) = text(header::ORIGIN) else { return true };
    let host = text(header::HOST).unwrap_or("");
    origin.split_once("://").is_some_and(|(_, origin)| origin == host)
}

fn media_type(headers: &HeaderMap) -> &str {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    let media_type = content_type.split(';').next().unwrap_or("").trim();
    const KNOWN: [&str; 6] = [
        "application/json",
        "application/x-ndjson",
        "application/ndjson",
        "application/jsonl",
        "text/csv",
        "text/tab-separated-values",
    ];
    KNOWN.into_iter().find(|known| media_type.eq_ignore_ascii_case(known)).unwrap_or("")
}

/// The answer to documents that are durable.
fn accepted(ingested: &Ingested) -> Response {
    durable_point("http.before_answer");
    let mut response =
        ([(header::CONTENT_TYPE, "application/json")], format!("{}\n", receipt(ingested))).into_response();
    if ingested.repeated {
        response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
    }
    response
}

/// What a client is told of durable documents.
pub fn receipt(ingested: &Ingested) -> serde_json::Value {
    // Clients of the original look for the revision of its key-value store; there is none here.
    serde_json::json!({
        "Offsets": ingested.offsets,
        "Etcd": { "cluster_id": 0, "member_id": 0, "revision": 0, "raft_term": 0 },
    })
}

/// The answer to documents that were not kept.
fn refused(error: &IngestError) -> Refusal {
    let status = match error {
        IngestError::Malformed(_) => StatusCode::BAD_REQUEST,
        IngestError::Unknown(_) => StatusCode::NOT_FOUND,
        IngestError::Forbidden(_) => StatusCode::FORBIDDEN,
        IngestError::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
        IngestError::Conflict => StatusCode::CONFLICT,
        IngestError::Busy => StatusCode::TOO_MANY_REQUESTS,
        IngestError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    refuse(status, error.to_string())
}
