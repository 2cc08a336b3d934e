//! DSSE: the one signed envelope of Cordon.
//!
//! Policies, orders and receipts are JSON documents inside a Dead Simple Signing Envelope
//! (<https://github.com/secure-systems-lab/dsse>), signed with Ed25519 (RFC 8032). The signature is
//! over the bytes that travel, with the payload type bound in, so a receipt can never pass for an order.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Envelopes larger than this are refused before parsing.
pub const MAX_ENVELOPE_BYTES: usize = 1 << 20;

/// A document type that may travel in an envelope.
pub trait Signed: Serialize + DeserializeOwned {
    /// The DSSE payload type; unique for each document type.
    const PAYLOAD_TYPE: &'static str;
}

/// A DSSE envelope in its JSON form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Envelope {
    /// What the payload is, for example `application/vnd.cordon.policy+json`.
    pub payload_type: String,
    /// The document, base64.
    pub payload: String,
    /// At least one; an envelope is good when any of them is by the wanted key.
    pub signatures: Vec<EnvelopeSignature>,
}

/// One signature of an [`Envelope`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvelopeSignature {
    /// [`key_id`] of the signing key: a hint, never trusted.
    pub keyid: String,
    /// Ed25519 signature over the pre-authentication encoding, base64.
    pub sig: String,
}

/// Why an envelope was refused.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// More than [`MAX_ENVELOPE_BYTES`].
    #[error("envelope of {0} bytes is larger than the limit of {MAX_ENVELOPE_BYTES}")]
    TooLarge(usize),
    /// Not a DSSE envelope in JSON.
    #[error("envelope is not valid DSSE JSON")]
    Malformed(#[source] serde_json::Error),
    /// The payload or a signature is not base64.
    #[error("envelope field {field} is not base64")]
    Base64 {
        /// The field's name.
        field: &'static str,
        /// The decoder's complaint.
        #[source]
        source: base64::DecodeError,
    },
    /// A document of another kind.
    #[error("envelope holds {found}, wanted {wanted}")]
    WrongType {
        /// The type in the envelope.
        found: String,
        /// The type that was asked for.
        wanted: &'static str,
    },
    /// No signature by any trusted key.
    #[error("no valid signature by a trusted key (key ids in the envelope: {found})")]
    BadSignature {
        /// Key ids that the envelope names, separated by commas.
        found: String,
    },
    /// Signed, but not the document that its type promises.
    #[error("signed payload is not a valid {wanted}")]
    Payload {
        /// The payload type.
        wanted: &'static str,
        /// The parser's complaint.
        #[source]
        source: serde_json::Error,
    },
}

/// SHA-256 of the raw public key, hex: how a key is named everywhere.
pub fn key_id(key: &VerifyingKey) -> String {
    hex::encode(Sha256::digest(key.as_bytes()))
}

/// Signs `document` and returns the envelope.
pub fn sign<T: Signed>(document: &T, key: &SigningKey) -> Envelope {
    let payload = serde_json::to_vec(document).expect("signed documents have string keys only");
    let signature = key.sign(&pre_authentication_encoding(T::PAYLOAD_TYPE, &payload));
    Envelope {
        payload_type: T::PAYLOAD_TYPE.to_owned(),
        payload: BASE64.encode(payload),
        signatures: vec![EnvelopeSignature {
            keyid: key_id(&key.verifying_key()),
            sig: BASE64.encode(signature.to_bytes()),
        }],
    }
}

impl Envelope {
    /// Reads the JSON form. Says nothing about signatures.
    pub fn from_json(json: &[u8]) -> Result<Self, EnvelopeError> {
        if json.len() > MAX_ENVELOPE_BYTES {
            return Err(EnvelopeError::TooLarge(json.len()));
        }
        serde_json::from_slice(json).map_err(EnvelopeError::Malformed)
    }

    /// The JSON form.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("envelopes have string keys only")
    }

    /// SHA-256 of the JSON form, hex: names this envelope in logs and hellos.
    pub fn sha256(&self) -> String {
        hex::encode(Sha256::digest(self.to_json()))
    }

    /// Checks type and signature against `trusted`, then parses the document.
    pub fn open<T: Signed>(&self, trusted: &[VerifyingKey]) -> Result<T, EnvelopeError> {
        if self.payload_type != T::PAYLOAD_TYPE {
            return Err(EnvelopeError::WrongType {
                found: self.payload_type.clone(),
                wanted: T::PAYLOAD_TYPE,
            });
        }
        let payload = decode("payload", &self.payload)?;
        let message = pre_authentication_encoding(T::PAYLOAD_TYPE, &payload);
        if !self.is_signed_by_any(trusted, &message)? {
            let key_ids: Vec<&str> = self.signatures.iter().map(|s| s.keyid.as_str()).collect();
            return Err(EnvelopeError::BadSignature {
                found: key_ids.join(", "),
            });
        }
        serde_json::from_slice(&payload).map_err(|source| EnvelopeError::Payload {
            wanted: T::PAYLOAD_TYPE,
            source,
        })
    }

    fn is_signed_by_any(
        &self,
        trusted: &[VerifyingKey],
        message: &[u8],
    ) -> Result<bool, EnvelopeError> {
        for signature in &self.signatures {
            let bytes = decode("sig", &signature.sig)?;
            let Ok(parsed) = Signature::from_slice(&bytes) else {
                continue;
            };
            // Strict: refuses small-order keys and malleable signatures.
            if trusted
                .iter()
                .any(|key| key.verify_strict(message, &parsed).is_ok())
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn decode(field: &'static str, text: &str) -> Result<Vec<u8>, EnvelopeError> {
    BASE64
        .decode(text)
        .map_err(|source| EnvelopeError::Base64 { field, source })
}

/// PAE of the DSSE protocol, version 1.
fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut out = format!(
        "DSSEv1 {} {payload_type} {} ",
        payload_type.len(),
        payload.len()
    )
    .into_bytes();
    out.extend_from_slice(payload);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Note(String);
    impl Signed for Note {
        const PAYLOAD_TYPE: &'static str = "application/vnd.cordon.test-note+json";
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Other(String);
    impl Signed for Other {
        const PAYLOAD_TYPE: &'static str = "application/vnd.cordon.test-other+json";
    }

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    #[test]
    fn pre_authentication_encoding_matches_the_specification() {
        // The example of the DSSE protocol page.
        let encoded = pre_authentication_encoding("http://example.com/HelloWorld", b"hello world");
        assert_eq!(
            encoded,
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }

    #[test]
    fn golden_envelope_still_opens() {
        let envelope = sign(&Note("hello".into()), &key(7));
        insta::assert_json_snapshot!(envelope);
    }

    #[test]
    fn another_key_is_refused() {
        let envelope = sign(&Note("hello".into()), &key(1));
        let refused = envelope.open::<Note>(&[key(2).verifying_key()]);
        assert!(matches!(refused, Err(EnvelopeError::BadSignature { .. })));
    }

    #[test]
    fn another_type_is_refused_even_when_relabelled() {
        let mut envelope = sign(&Note("hello".into()), &key(1));
        let trusted = [key(1).verifying_key()];
        assert!(matches!(
            envelope.open::<Other>(&trusted),
            Err(EnvelopeError::WrongType { .. })
        ));
        envelope.payload_type = Other::PAYLOAD_TYPE.to_owned();
        assert!(matches!(
            envelope.open::<Other>(&trusted),
            Err(EnvelopeError::BadSignature { .. })
        ));
    }

    #[test]
    fn an_oversized_envelope_is_refused_before_parsing() {
        let refused = Envelope::from_json(&vec![b'['; MAX_ENVELOPE_BYTES + 1]);
        assert!(matches!(refused, Err(EnvelopeError::TooLarge(_))));
    }

    proptest! {
        #[test]
        fn any_flipped_payload_bit_is_refused(text in ".{0,64}", at in any::<prop::sample::Index>(), bit in 0..8u8) {
            let mut envelope = sign(&Note(text), &key(3));
            let mut payload = BASE64.decode(&envelope.payload).unwrap();
            let index = at.index(payload.len());
            payload[index] ^= 1 << bit;
            envelope.payload = BASE64.encode(payload);
            prop_assert!(envelope.open::<Note>(&[key(3).verifying_key()]).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
            if let Ok(envelope) = Envelope::from_json(&bytes) {
                let _opened = envelope.open::<Note>(&[key(3).verifying_key()]);
            }
        }
    }
}
