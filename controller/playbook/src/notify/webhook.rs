//! The generic webhook: Cordon's own JSON, signed when the channel has a secret.
//! The schema is frozen by a golden and documented in `docs/notifications.md`.

use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use reqwest::RequestBuilder;
use serde::Serialize;
use sha2::Sha256;

use super::Card;

const SCHEMA: &str = "cordon.notification.v1";

#[derive(Serialize)]
struct Notification<'a> {
    schema: &'static str,
    #[serde(flatten)]
    card: &'a Card,
}

/// The JSON document.
pub(super) fn body(card: &Card) -> Vec<u8> {
    let document = Notification {
        schema: SCHEMA,
        card,
    };
    serde_json::to_vec(&document).expect("cards have string keys only")
}

/// The time, and with a secret the signature over time and body.
pub(super) fn headers(
    request: RequestBuilder,
    body: &[u8],
    secret: Option<&str>,
    now: Timestamp,
) -> RequestBuilder {
    let timestamp = now.as_second().to_string();
    let request = request.header("x-cordon-timestamp", &timestamp);
    match secret {
        None => request,
        Some(secret) => request.header("x-cordon-signature", signature(secret, &timestamp, body)),
    }
}

/// `v1=` and HMAC-SHA256 of `timestamp.body` under the secret, hex. The time is inside, so that a
/// receiver can refuse a replay.
fn signature(secret: &str, timestamp: &str, body: &[u8]) -> String {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    format!("v1={}", hex::encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_is_that_of_another_implementation() {
        // printf '1800000000.{"a":1}' | openssl dgst -sha256 -hmac s3cret
        assert_eq!(
            signature("s3cret", "1800000000", br#"{"a":1}"#),
            "v1=476d445fc5d734bcaf69961f0de38cb8c2ec42450829655895ca5e064c0765c9"
        );
    }
}
