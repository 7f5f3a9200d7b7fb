//! The HTTP server: a port, who may talk to it, and what is served there.
//!
//! On loopback it listens only to requests that name a loopback host, so that no web page can talk to it through a name of
//! its own. Elsewhere it is whoever asks that has to prove who they are (`access`).

mod access;
mod body;
mod docs;
mod ingest;
mod read;
mod socket;
mod status;

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Context as _;
use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;

pub use access::Access;
pub use body::Room;
pub use ingest::{Api, Served, routes};
pub use read::include;
pub use socket::Sockets;

/// A port that is taken and not yet served: connections wait.
///
/// It is taken before anything is started, so that a port that cannot be had stops a run before it has done something.
pub struct Port {
    runtime: tokio::runtime::Runtime,
    listeners: Vec<TcpListener>,
    number: u16,
    is_loopback: bool,
}

/// A server that serves until it is dropped.
pub struct Server {
    runtime: Option<tokio::runtime::Runtime>,
}

impl Port {
    /// Takes a port of loopback; zero stands for any that is free.
    pub fn take(number: u16) -> anyhow::Result<Self> {
        let mut port = Self::take_at(IpAddr::V4(Ipv4Addr::LOCALHOST), number)?;
        // Some clients try this one first for `localhost`; a machine without it does without.
        let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, port.number));
        port.listeners.extend(port.runtime.block_on(TcpListener::bind(v6)));
        Ok(port)
    }

    /// Takes a port of one address of this machine.
    pub fn take_at(address: IpAddr, number: u16) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("http")
            .enable_all()
            .build()
            .context("threads for the HTTP server cannot be started")?;
        let bound = runtime.block_on(TcpListener::bind(SocketAddr::from((address, number))));
        let listener = bound.map_err(|error| match error.kind() {
            ErrorKind::AddrInUse => {
                anyhow::anyhow!("port {number} is in use by another program; choose another one with --port")
            }
            _ => anyhow::anyhow!("port {number} cannot be used: {error}; choose another one with --port"),
        })?;
        let number = listener.local_addr().context("the port cannot be used")?.port();
        Ok(Self { listeners: vec![listener], runtime, number, is_loopback: address.is_loopback() })
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// Serves routes on it.
    pub fn serve(self, routes: Router) -> Server {
        let routes = match self.is_loopback {
            true => routes.layer(middleware::from_fn(only_loopback)),
            false => routes,
        };
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

async fn only_loopback(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(name, _)| name),
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    if !matches!(name, "localhost" | "127.0.0.1" | "::1") {
        return refuse(StatusCode::MISDIRECTED_REQUEST, "this server answers to localhost only").into_response();
    }
    next.run(request).await
}

/// What a client is told to wait where something cannot be done now, in seconds.
const RETRY_AFTER_SECONDS: u32 = 1;

/// An answer that says why not, in plain text.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    why: String,
}

fn refuse(status: StatusCode, why: impl Into<String>) -> Refusal {
    Refusal { status, why: why.into() }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let plain = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
        let mut response = (self.status, plain, format!("{}\n", self.why)).into_response();
        match self.status {
            StatusCode::UNAUTHORIZED => {
                response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS.into());
            }
            _ => {}
        }
        response
    }
}
