//! The HTTP server: documents in, `POST /ingest`. Source: reference 5.3.
//!
//! It listens on loopback only, and only to requests that name a loopback host, so that no web page can talk to it through a
//! name of its own.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Context as _;
use axum::Router;
use axum::body::{Body, HttpBody as _, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use journal::failpoint::durable_point;
use runtime::{Ingest, IngestError, Ingested};
use tokio::net::TcpListener;

/// Largest body of a request.
const BODY_BYTES_MAX: usize = 64 << 20;
/// What a client is told to wait where too much is waiting, in seconds.
const RETRY_AFTER_SECONDS: u32 = 1;

/// A port of loopback that is taken and not yet served: connections wait.
///
/// It is taken before anything is started, so that a port that cannot be had stops a run before it has done something.
pub struct Port {
    runtime: tokio::runtime::Runtime,
    listeners: Vec<TcpListener>,
    number: u16,
}

/// A server that serves until it is dropped.
pub struct Server {
    runtime: Option<tokio::runtime::Runtime>,
}

impl Port {
    /// Takes a port; zero stands for any that is free.
    pub fn take(number: u16) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("http")
            .enable_all()
            .build()
            .context("threads for the HTTP server cannot be started")?;
        let bind = |address: IpAddr, number| runtime.block_on(TcpListener::bind(SocketAddr::from((address, number))));
        let v4 = bind(Ipv4Addr::LOCALHOST.into(), number).map_err(|error| match error.kind() {
            ErrorKind::AddrInUse => {
                anyhow::anyhow!("port {number} is in use by another program; choose another one with --port")
            }
            _ => anyhow::anyhow!("port {number} cannot be used: {error}; choose another one with --port"),
        })?;
        let number = v4.local_addr().context("the port cannot be used")?.port();
        // Some clients try this one first for `localhost`; a machine without it does without.
        let v6 = bind(Ipv6Addr::LOCALHOST.into(), number).ok();
        Ok(Self { listeners: std::iter::once(v4).chain(v6).collect(), runtime, number })
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// Serves routes on it.
    pub fn serve(self, routes: Router) -> Server {
        let routes = routes.layer(middleware::from_fn(only_loopback));
        for listener in self.listeners {
            let routes = routes.clone();
            self.runtime.spawn(async move { axum::serve(listener, routes).await });
        }
        Server { runtime: Some(self.runtime) }
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
    let elsewhere = |status| async move { refuse(status, "documents are taken by POST at /ingest") };
    Router::new()
        .route("/ingest", post(receive).put(receive))
        .fallback(move || elsewhere(StatusCode::NOT_FOUND))
        .method_not_allowed_fallback(move || elsewhere(StatusCode::METHOD_NOT_ALLOWED))
        .with_state(ingest)
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
    let too_large = || {
        let message =
            format!("the body is larger than {} MiB; send the documents in several requests", BODY_BYTES_MAX >> 20);
        refuse(StatusCode::PAYLOAD_TOO_LARGE, &message)
    };
    // A body that says its length is refused before it is sent.
    if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
        return too_large();
    }
    // A body that was cut short has nobody left to read the answer.
    let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else { return too_large() };
    durable_point("http.body");
    let (reply, outcome) = tokio::sync::oneshot::channel();
    ingest.submit(body.into(), Box::new(move |result| drop(reply.send(result))));
    match outcome.await {
        Ok(Ok(ingested)) => {
            durable_point("http.before_answer");
            accepted(&ingested)
        }
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
