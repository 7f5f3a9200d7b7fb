//! Reads the body of a request: within bounds of size, time and memory, unpacked if it is packed.

use std::io::{self, Read};
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::http::{HeaderMap, StatusCode, header};
use tokio::sync::{Semaphore, SemaphorePermit};

use journal::failpoint::defect;

use super::{Refusal, refuse};
use crate::memory::Shares;

/// Largest body, packed or unpacked, however much memory there is.
const BODY_BYTES_MAX: usize = 64 << 20;
/// Largest body of a request that is signed: it has to be read to learn who sent it.
const SIGNED_BODY_BYTES_MAX: usize = 1 << 20;
/// How long a request waits until there is room for its body, and a body for its last byte.
const ROOM_TIME_MAX: Duration = Duration::from_secs(5);
const BODY_TIME_MAX: Duration = Duration::from_secs(60);
/// A body that unpacks to more than this must not grow by more than this factor.
const FREE_BYTES: usize = 1 << 20;
const RATIO_MAX: usize = 100;
/// The largest window of Zstandard, as a power of two: 8 MiB.
const WINDOW_LOG_MAX: u32 = 23;

/// A body of this size or less does not wait behind larger ones, whose senders may be slow.
const SMALL_BYTES_MAX: usize = 256 << 10;

/// Room for bodies, in units of a kibibyte.
#[derive(Debug)]
pub struct Room {
    small: Semaphore,
    large: Semaphore,
    /// The largest body, packed or unpacked.
    body_bytes_max: usize,
}

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    None,
    Gzip,
    Zstandard,
}

impl Room {
    /// Room for as much as bodies may take.
    pub fn new(shares: &Shares) -> Self {
        let kib = if defect("unbounded-queue") { Semaphore::MAX_PERMITS } else { shares.bodies >> 10 };
        let body_bytes_max = shares.body.min(BODY_BYTES_MAX);
        Self { small: Semaphore::new(kib / 4), large: Semaphore::new(kib - kib / 4), body_bytes_max }
    }

    /// Reads a body, as it came. The permit is to be kept for as long as the bytes are.
    pub async fn read(&self, body: Body, is_signed: bool) -> Result<(Vec<u8>, SemaphorePermit<'_>), Refusal> {
        let bytes_max = if is_signed { SIGNED_BODY_BYTES_MAX } else { self.body_bytes_max };
        // A body that says its length is refused before it is sent.
        let hint = body.size_hint();
        if hint.lower() > bytes_max as u64 {
            return Err(too_large(bytes_max));
        }
        let bytes = hint.exact().map_or(bytes_max, |bytes| usize::try_from(bytes).unwrap_or(bytes_max));
        let permits = u32::try_from(bytes.div_ceil(1 << 10).max(1)).unwrap_or(u32::MAX);
        let room = if bytes <= SMALL_BYTES_MAX { &self.small } else { &self.large };
        let permit = tokio::time::timeout(ROOM_TIME_MAX, room.acquire_many(permits)).await;
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

    /// Unpacks a body as its `Content-Encoding` says.
    pub async fn unpack(&self, headers: &HeaderMap, body: Vec<u8>) -> Result<Vec<u8>, Refusal> {
        let bytes_max = self.body_bytes_max;
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
            Packing::Gzip => bounded(flate2::read::MultiGzDecoder::new(&*body), body.len(), bytes_max),
            Packing::Zstandard => {
                let mut decoder = zstd::stream::read::Decoder::new(&*body)?;
                decoder.window_log_max(WINDOW_LOG_MAX)?;
                bounded(decoder, body.len(), bytes_max)
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
}

/// All that there is to read, as long as it stays within the bounds of an unpacked body.
fn bounded(reader: impl Read, packed_bytes: usize, body_bytes_max: usize) -> io::Result<Vec<u8>> {
    let bytes_max = body_bytes_max.min(packed_bytes.saturating_mul(RATIO_MAX).max(FREE_BYTES));
    let mut unpacked = Vec::new();
    reader.take(bytes_max as u64 + 1).read_to_end(&mut unpacked)?;
    if unpacked.len() > bytes_max {
        let why = match bytes_max == body_bytes_max {
            true => format!("the body unpacks to more than {} MiB", bytes_max >> 20),
            false => format!("the body unpacks to more than {RATIO_MAX} times its size"),
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
        assert_eq!(bounded(zeros(1 << 20), 10, BODY_BYTES_MAX).unwrap().len(), 1 << 20);
        let error = bounded(io::repeat(0), 20_000, BODY_BYTES_MAX).unwrap_err();
        assert_eq!(error.to_string(), "the body unpacks to more than 100 times its size");
        let error = bounded(io::repeat(0), 64 << 20, BODY_BYTES_MAX).unwrap_err();
        assert_eq!(error.to_string(), "the body unpacks to more than 64 MiB");
    }
}
