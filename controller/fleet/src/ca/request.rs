//! A host's certificate request (PKCS#10). Only its key counts: who the host is, the controller says.

use ed25519_dalek::{Signature, VerifyingKey};
use rcgen::SubjectPublicKeyInfo;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::oid_registry::{OID_SIG_ED25519, Oid};
use x509_parser::prelude::FromDer as _;

/// A request is a few hundred bytes.
const MAX_PEM_BYTES: usize = 8192;
const LABEL: &str = "CERTIFICATE REQUEST";

/// Why a request was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Larger than any honest request.
    #[error("certificate request of {0} bytes is larger than {MAX_PEM_BYTES}")]
    TooLarge(usize),
    /// Not PKCS#10 in PEM.
    #[error("certificate request is not a PKCS#10 request in PEM")]
    Form,
    /// Another kind of key.
    #[error("certificate request must be for an Ed25519 key, signed with Ed25519")]
    KeyType,
    /// Whoever sent it has no such private key.
    #[error("certificate request is not signed by the key that it is for")]
    Signature,
}

/// A request whose sender holds the private key.
#[derive(Debug)]
pub struct HostRequest {
    public_key: [u8; 32],
    key_info: SubjectPublicKeyInfo,
}

impl HostRequest {
    /// Reads and checks a request. Its subject and extensions are not looked at.
    pub fn parse(pem: &str) -> Result<Self, RequestError> {
        if pem.len() > MAX_PEM_BYTES {
            return Err(RequestError::TooLarge(pem.len()));
        }
        let (_, block) =
            x509_parser::pem::parse_x509_pem(pem.as_bytes()).map_err(|_| RequestError::Form)?;
        if block.label != LABEL {
            return Err(RequestError::Form);
        }
        Self::from_der(&block.contents)
    }

    fn from_der(der: &[u8]) -> Result<Self, RequestError> {
        let (rest, request) =
            X509CertificationRequest::from_der(der).map_err(|_| RequestError::Form)?;
        if !rest.is_empty() {
            return Err(RequestError::Form);
        }
        let info = &request.certification_request_info;
        let key = &info.subject_pki;
        if !is_ed25519(&key.algorithm.algorithm)
            || !is_ed25519(&request.signature_algorithm.algorithm)
        {
            return Err(RequestError::KeyType);
        }
        let public_key: [u8; 32] = key
            .subject_public_key
            .data
            .as_ref()
            .try_into()
            .map_err(|_| RequestError::KeyType)?;
        verify(&public_key, info.raw, &request.signature_value.data)?;
        let key_info =
            SubjectPublicKeyInfo::from_der(key.raw).map_err(|_| RequestError::KeyType)?;
        Ok(Self {
            public_key,
            key_info,
        })
    }

    /// The raw public key.
    pub fn public_key(&self) -> &[u8; 32] {
        &self.public_key
    }

    pub(super) fn key_info(&self) -> &SubjectPublicKeyInfo {
        &self.key_info
    }
}

fn is_ed25519(oid: &Oid<'_>) -> bool {
    *oid == OID_SIG_ED25519
}

fn verify(key: &[u8; 32], message: &[u8], signature: &[u8]) -> Result<(), RequestError> {
    let key = VerifyingKey::from_bytes(key).map_err(|_| RequestError::KeyType)?;
    let signature = Signature::from_slice(signature).map_err(|_| RequestError::Signature)?;
    key.verify_strict(message, &signature)
        .map_err(|_| RequestError::Signature)
}
