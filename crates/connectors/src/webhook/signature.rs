//! Signatures of requests, as Standard Webhooks has them: HMAC-SHA-256 of id, time and body, in `webhook-signature`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

const PREFIX: &str = "whsec_";
/// A secret has so many bytes at least …
const BYTES_MIN: usize = 24;
/// … and so many at most.
const BYTES_MAX: usize = 64;

/// A secret that the receiver has, too. Never shown.
#[derive(Clone)]
pub(super) struct Secret(Vec<u8>);

impl Secret {
    /// Reads `whsec_` and base64. An error does not show it.
    pub(super) fn read(text: &str) -> Result<Self, &'static str> {
        let encoded = text.strip_prefix(PREFIX).ok_or("a secret begins with `whsec_`")?;
        let bytes = STANDARD.decode(encoded).map_err(|_| "what follows `whsec_` is not base64")?;
        match bytes.len() {
            BYTES_MIN..=BYTES_MAX => Ok(Self(bytes)),
            _ => Err("a secret has 24 to 64 bytes"),
        }
    }
}

/// The value of `webhook-signature`: one signature for each secret.
pub(super) fn sign(secrets: &[Secret], id: &str, timestamp: u64, body: &str) -> String {
    let signature = |secret: &Secret| {
        let mut mac = Hmac::<Sha256>::new_from_slice(&secret.0).expect("keys may have any length");
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body.as_bytes());
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    };
    secrets.iter().map(signature).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_the_standard() {
        // The example of the specification.
        let secret = Secret::read("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let (id, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", "{\"test\": 2432232314}");
        let signed = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(sign(std::slice::from_ref(&secret), id, 1_614_265_330, body), signed);
        let other = Secret::read(&format!("whsec_{}", STANDARD.encode([7; 24]))).unwrap();
        let both = sign(&[secret, other.clone()], id, 1_614_265_330, body);
        assert_eq!(both, format!("{signed} {}", sign(&[other], id, 1_614_265_330, body)));
    }

    #[test]
    fn secrets_that_are_none() {
        let long = format!("whsec_{}", STANDARD.encode([7; 65]));
        for wrong in ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAAA", "whsec_!!", &long] {
            assert!(Secret::read(wrong).is_err(), "{wrong}");
        }
    }
}
