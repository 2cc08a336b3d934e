//! A model that a site vouches for: signed by its policy key, checked by its agents.

use ed25519_dalek::VerifyingKey;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::envelope::{Envelope, EnvelopeError, Signed};

/// File in the folder of a model: the signed [`ModelStatement`].
pub const SIGNATURE: &str = "signature.json";

/// Says that a model may judge on the hosts of a site. Its manifest names all other files by their hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelStatement {
    /// The site.
    pub site: String,
    /// The model's id, as verdicts name it.
    pub model: String,
    /// SHA-256 of `manifest.json`, hex.
    pub manifest_sha256: String,
    /// When it was signed.
    pub issued_at: Timestamp,
}

impl Signed for ModelStatement {
    const PAYLOAD_TYPE: &'static str = "application/vnd.cordon.model.v1+json";
}

/// Why a model is not vouched for.
#[derive(Debug, thiserror::Error)]
pub enum ModelStatementError {
    /// Signature, type or form.
    #[error("the model's signature is refused")]
    Envelope(#[from] EnvelopeError),
    /// Made for another site.
    #[error("the model is signed for site {found}, this host is in {wanted}")]
    Site {
        /// Site in the statement.
        found: String,
        /// Site of this host.
        wanted: String,
    },
    /// The signature is for other files.
    #[error(
        "the signature is for a manifest with sha256 {signed}, beside it lies one with {found}: sign the model again"
    )]
    OtherManifest {
        /// In the statement.
        signed: String,
        /// Of the manifest at hand.
        found: String,
    },
}

impl ModelStatement {
    /// For a model with this manifest.
    pub fn new(site: String, model: String, manifest: &[u8], issued_at: Timestamp) -> Self {
        Self {
            site,
            model,
            manifest_sha256: hex::encode(Sha256::digest(manifest)),
            issued_at,
        }
    }

    /// Checks signature, site and manifest.
    pub fn accept(
        envelope: &Envelope,
        key: &VerifyingKey,
        site: &str,
        manifest: &[u8],
    ) -> Result<Self, ModelStatementError> {
        let statement: Self = envelope.open(std::slice::from_ref(key))?;
        if statement.site != site {
            return Err(ModelStatementError::Site {
                found: statement.site,
                wanted: site.to_owned(),
            });
        }
        let found = hex::encode(Sha256::digest(manifest));
        if statement.manifest_sha256 != found {
            return Err(ModelStatementError::OtherManifest {
                signed: statement.manifest_sha256,
                found,
            });
        }
        Ok(statement)
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;
    use crate::envelope::sign;

    #[test]
    fn only_the_signed_manifest_of_the_own_site_is_vouched_for() {
        let key = SigningKey::from_bytes(&[3; 32]);
        let at = "2026-11-01T00:00:00Z".parse().unwrap();
        let statement = ModelStatement::new("hq".into(), "behavior-1@abc".into(), b"{}", at);
        let envelope = sign(&statement, &key);
        let accept = |key: &SigningKey, site: &str, manifest: &[u8]| {
            ModelStatement::accept(&envelope, &key.verifying_key(), site, manifest)
        };
        assert_eq!(accept(&key, "hq", b"{}").unwrap(), statement);
        let other = SigningKey::from_bytes(&[4; 32]);
        assert!(matches!(
            accept(&other, "hq", b"{}"),
            Err(ModelStatementError::Envelope(_))
        ));
        assert!(matches!(
            accept(&key, "branch", b"{}"),
            Err(ModelStatementError::Site { .. })
        ));
        assert!(matches!(
            accept(&key, "hq", b"{} "),
            Err(ModelStatementError::OtherManifest { .. })
        ));
    }
}
