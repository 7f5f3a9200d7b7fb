//! Stores of fragments by URL: `file:///…`, `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`.
//!
//! The libraries that know these protocols want an HTTP client of somebody's. Ours blocks the thread that asks, as everything
//! behind the commits does, so there is no second runtime and no second TLS. Nothing is tried again here: whoever asked does,
//! and says so.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::{ClientOptions, ObjectStore, ObjectStoreScheme, RetryConfig};
use url::Url;

use crate::fragment::FRAGMENT_BYTES_MAX;

/// How long a connection may take, and a whole request with its answer.
const CONNECT_MAX: Duration = Duration::from_secs(10);
const REQUEST_MAX: Duration = Duration::from_secs(120);
/// The longest answer: a packed fragment may be a little longer than its documents.
const ANSWER_BYTES_MAX: u64 = 2 * FRAGMENT_BYTES_MAX;

/// What a URL names.
pub(crate) enum Remote {
    /// A directory of this machine.
    Directory(PathBuf),
    /// A prefix of a bucket.
    Store(Arc<dyn ObjectStore>, String),
}

/// Whether a URL can name a store of fragments; says what is wrong otherwise. Reaches nothing.
pub fn check(url: &str) -> Result<(), String> {
    let (_, scheme, _) = parse(url)?;
    match scheme {
        ObjectStoreScheme::Local
        | ObjectStoreScheme::AmazonS3
        | ObjectStoreScheme::GoogleCloudStorage
        | ObjectStoreScheme::MicrosoftAzure => Ok(()),
        _ => Err(format!("{url} names no store of files that is known; write file:///…, s3://…, gs://… or az://…")),
    }
}

/// Opens the store of a URL. `credentials` are names and values as the clouds' own tools take them from the environment.
pub(crate) fn open(url: &str, credentials: &[(String, String)]) -> Result<Remote, String> {
    check(url)?;
    let (url, scheme, path) = parse(url)?;
    // A rule in one place: the writer and the readers back off, each in its way.
    let retry = RetryConfig { max_retries: 0, ..RetryConfig::default() };
    macro_rules! build {
        ($builder:ty) => {{
            let builder = <$builder>::new().with_url(url.to_string());
            let builder = credentials.iter().fold(builder, |builder, (key, value)| {
                match key.to_ascii_lowercase().parse() {
                    Ok(key) => builder.with_config(key, value),
                    // Other variables are for other programs.
                    Err(_) => builder,
                }
            });
            let store = builder.with_retry(retry).with_http_connector(Blocking).build();
            Arc::new(store.map_err(|error| error.to_string())?) as Arc<dyn ObjectStore>
        }};
    }
    let store = match scheme {
        ObjectStoreScheme::AmazonS3 => build!(AmazonS3Builder),
        ObjectStoreScheme::GoogleCloudStorage => build!(GoogleCloudStorageBuilder),
        ObjectStoreScheme::MicrosoftAzure => build!(MicrosoftAzureBuilder),
        _ => {
            let path = url.to_file_path().map_err(|()| format!("{url} names no directory"))?;
            return Ok(Remote::Directory(path));
        }
    };
    Ok(Remote::Store(store, path))
}

fn parse(text: &str) -> Result<(Url, ObjectStoreScheme, String), String> {
    let url = Url::parse(text).map_err(|error| format!("{text} is not a URL: {error}"))?;
    let (scheme, path) = ObjectStoreScheme::parse(&url).map_err(|error| format!("{text}: {error}"))?;
    let path = path.as_ref().to_owned();
    Ok((url, scheme, path))
}

/// Makes clients that block.
#[derive(Debug)]
struct Blocking;

impl HttpConnector for Blocking {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT_MAX))
            .timeout_global(Some(REQUEST_MAX))
            .build();
        Ok(HttpClient::new(Client(agent.into())))
    }
}

#[derive(Debug)]
struct Client(ureq::Agent);

#[async_trait::async_trait]
impl HttpService for Client {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let request = http::Request::from_parts(parts, body.as_ref());
        let answer = self.0.run(request).map_err(|error| failed(error, HttpErrorKind::Request))?;
        let (parts, mut body) = answer.into_parts();
        let body = body.with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        let body = body.map_err(|error| failed(error, HttpErrorKind::Interrupted))?;
        Ok(HttpResponse::from_parts(parts, Bytes::from(body).into()))
    }
}

fn failed(error: ureq::Error, otherwise: HttpErrorKind) -> HttpError {
    let kind = match &error {
        ureq::Error::Timeout(_) => HttpErrorKind::Timeout,
        ureq::Error::ConnectionFailed | ureq::Error::HostNotFound => HttpErrorKind::Connect,
        _ => otherwise,
    };
    HttpError::new(kind, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_name_a_store_are_known_from_others() {
        for url in ["file:///var/fragments/", "s3://bucket/a/b/", "gs://bucket", "az://container/a/"] {
            assert_eq!(check(url), Ok(()), "{url}");
        }
        for url in ["", "bucket/a", "memory:///", "http://localhost/a", "ftp://host/a"] {
            assert!(check(url).is_err(), "{url}");
        }
    }
}
