//! Reads the body of a request: within bounds of size, time and memory, unpacked if it is packed.

use std::io::{self, Read};
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::http::{HeaderMap, StatusCode, header};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{Refusal, refuse};

/// Largest body, packed or unpacked.
pub const BODY_BYTES_MAX: usize = 64 << 20;
/// Largest body of a request that is signed: it has to be read to learn who sent it.
pub const SIGNED_BODY_BYTES_MAX: usize = 1 << 20;
/// Bytes of bodies that are being read, in units of a kibibyte.
const READING_KIB_MAX: usize = 192 << 10;
/// How long a request waits until there is room for its body, and a body for its last byte.
const ROOM_TIME_MAX: Duration = Duration::from_secs(5);
const BODY_TIME_MAX: Duration = Duration::from_secs(60);
/// A body that unpacks to more than this must not grow by more than this factor.
const FREE_BYTES: usize = 1 << 20;
const RATIO_MAX: usize = 100;
/// The largest window of Zstandard, as a power of two: 8 MiB.
const WINDOW_LOG_MAX: u32 = 23;

/// Room for bodies that are being read.
#[derive(Debug)]
pub struct Room(Semaphore);

impl Default for Room {
    fn default() -> Self {
        Self(Semaphore::new(READING_KIB_MAX))
    }
}

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    None,
    Gzip,
    Zstandard,
}

impl Room {
    /// Reads a body of at most `bytes_max`, as it came. The permit is to be kept for as long as the bytes are.
    pub async fn read(&self, body: Body, bytes_max: usize) -> Result<(Vec<u8>, SemaphorePermit<'_>), Refusal> {
        // A body that says its length is refused before it is sent.
        let hint = body.size_hint();
        if hint.lower() > bytes_max as u64 {
            return Err(too_large(bytes_max));
        }
        let bytes = hint.exact().map_or(bytes_max, |bytes| usize::try_from(bytes).unwrap_or(bytes_max));
        let permits = u32::try_from(bytes.div_ceil(1 << 10).max(1)).unwrap_or(u32::MAX);
        let permit = tokio::time::timeout(ROOM_TIME_MAX, self.0.acquire_many(permits)).await;
        let Ok(Ok(permit)) = permit else {
            return Err(refuse(StatusCode::TOO_MANY_REQUESTS, "too many requests are being read; try again"));
        };
        match tokio::time::timeout(BODY_TIME_MAX, axum::body::to_bytes(body, bytes_max)).await {
            Ok(Ok(bytes)) => Ok((bytes.into(), permit)),
            // A body that was cut short has nobody left to read the answer.
            Ok(Err(_)) => Err(too_large(bytes_max)),
            Err(_) => Err(refuse(StatusCode::REQUEST_TIMEOUT, "the body took more than a minute to arrive")),
        }
    }
}

/// Unpacks a body as its `Content-Encoding` says.
pub async fn unpack(headers: &HeaderMap, body: Vec<u8>) -> Result<Vec<u8>, Refusal> {
    let encoding = headers.get(header::CONTENT_ENCODING).map_or("", |v| v.to_str().unwrap_or("?")).trim();
    let packing = match encoding.to_ascii_lowercase().as_str() {
        "" | "identity" => Packing::None,
        "gzip" | "x-gzip" => Packing::Gzip,
        "zstd" => Packing::Zstandard,
        _ => {
            let why = "this Content-Encoding is not known here; there are gzip and zstd";
            return Err(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
        }
    };
    if packing == Packing::None {
        return Ok(body);
    }
    let unpacked = tokio::task::spawn_blocking(move || match packing {
        Packing::None => Ok(body),
        Packing::Gzip => bounded(flate2::read::MultiGzDecoder::new(&*body), body.len()),
        Packing::Zstandard => {
            let mut decoder = zstd::stream::read::Decoder::new(&*body)?;
            decoder.window_log_max(WINDOW_LOG_MAX)?;
            bounded(decoder, body.len())
        }
    });
    match unpacked.await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(error)) if error.kind() == io::ErrorKind::FileTooLarge => {
            Err(refuse(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()))
        }
        Ok(Err(error)) => Err(refuse(StatusCode::BAD_REQUEST, format!("the body cannot be unpacked: {error}"))),
        Err(_) => Err(refuse(StatusCode::BAD_REQUEST, "the body cannot be unpacked")),
    }
}

/// All that there is to read, as long as it stays within the bounds of an unpacked body.
fn bounded(reader: impl Read, packed_bytes: usize) -> io::Result<Vec<u8>> {
    let bytes_max = BODY_BYTES_MAX.min(packed_bytes.saturating_mul(RATIO_MAX).max(FREE_BYTES));
    let mut unpacked = Vec::new();
    reader.take(bytes_max as u64 + 1).read_to_end(&mut unpacked)?;
    if unpacked.len() > bytes_max {
        let why = match bytes_max {
            BODY_BYTES_MAX => format!("the body unpacks to more than {} MiB", BODY_BYTES_MAX >> 20),
            _ => format!("the body unpacks to more than {RATIO_MAX} times its size"),
        };
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    Ok(unpacked)
}

fn too_large(bytes_max: usize) -> Refusal {
    let message = format!("the body is larger than {} MiB; send the documents in several requests", bytes_max >> 20);
    refuse(StatusCode::PAYLOAD_TOO_LARGE, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_unpacks_to_too_much_is_refused_early() {
        let zeros = |bytes| io::repeat(0).take(bytes);
        assert_eq!(bounded(zeros(1 << 20), 10).unwrap().len(), 1 << 20);
        let error = bounded(io::repeat(0), 20_000).unwrap_err();
        assert_eq!(error.to_string(), "the body unpacks to more than 100 times its size");
        let error = bounded(io::repeat(0), 64 << 20).unwrap_err();
        assert_eq!(error.to_string(), "the body unpacks to more than 64 MiB");
    }
}
