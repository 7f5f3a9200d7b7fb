//! The HTTP server: documents in, `POST /ingest`. Source: reference 5.3.
//!
//! It listens on loopback only, and only to requests that name a loopback host, so that no web page can talk to it through a
//! name of its own.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Context as _;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use runtime::{Ingest, IngestError, Ingested};
use tokio::net::TcpListener;

/// Largest body of a request.
const BODY_BYTES_MAX: usize = 64 << 20;
/// What a client is told to wait where too much is waiting, in seconds.
const RETRY_AFTER_SECONDS: u32 = 1;

/// A server that serves until it is dropped.
pub struct Server {
    runtime: Option<tokio::runtime::Runtime>,
}

impl Server {
    /// Serves routes on a port of loopback.
    pub fn start(port: u16, routes: Router) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("http")
            .enable_all()
            .build()
            .context("threads for the HTTP server cannot be started")?;
        let routes = routes.layer(middleware::from_fn(only_loopback));
        let v4 = runtime
            .block_on(TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))))
            .with_context(|| format!("port {port} cannot be used; choose another one with --port"))?;
        // Some clients try this one first for `localhost`; a machine without it does without.
        let v6 = runtime.block_on(TcpListener::bind(SocketAddr::from((Ipv6Addr::LOCALHOST, port)))).ok();
        for listener in std::iter::once(v4).chain(v6) {
            let routes = routes.clone();
            runtime.spawn(async move { axum::serve(listener, routes).await });
        }
        Ok(Self { runtime: Some(runtime) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The routes of ingestion.
pub fn ingestion(ingest: Ingest) -> Router {
    Router::new().route("/ingest", post(receive).put(receive)).with_state(ingest)
}

async fn only_loopback(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(name, _)| name),
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    if !matches!(name, "localhost" | "127.0.0.1" | "::1") {
        return refuse(StatusCode::MISDIRECTED_REQUEST, "this server answers to localhost only");
    }
    next.run(request).await
}

async fn receive(State(ingest): State<Ingest>, headers: HeaderMap, body: Body) -> Response {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    let media_type = content_type.split(';').next().unwrap_or("").trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send documents as Content-Type: application/json");
    }
    let body = match to_bytes(body, BODY_BYTES_MAX).await {
        Ok(body) => body,
        Err(_) => {
            let message = format!("the body is cut short, or larger than {} MiB", BODY_BYTES_MAX >> 20);
            return refuse(StatusCode::PAYLOAD_TOO_LARGE, &message);
        }
    };
    let (reply, outcome) = tokio::sync::oneshot::channel();
    ingest.submit(body.into(), Box::new(move |result| drop(reply.send(result))));
    match outcome.await {
        Ok(Ok(ingested)) => accepted(&ingested),
        Ok(Err(IngestError::Refused(why))) => refuse(StatusCode::BAD_REQUEST, &why),
        Ok(Err(error)) => unavailable(&error.to_string()),
        Err(_) => unavailable("it is stopping"),
    }
}

fn accepted(ingested: &Ingested) -> Response {
    // Clients of the original look for the revision of its key-value store; there is none here.
    let body = serde_json::json!({
        "Offsets": ingested.offsets,
        "Etcd": { "cluster_id": 0, "member_id": 0, "revision": 0, "raft_term": 0 },
    });
    ([(header::CONTENT_TYPE, "application/json")], format!("{body}\n")).into_response()
}

fn unavailable(why: &str) -> Response {
    let mut response = refuse(StatusCode::SERVICE_UNAVAILABLE, why);
    response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS.into());
    response
}

fn refuse(status: StatusCode, why: &str) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], format!("{why}\n")).into_response()
}
