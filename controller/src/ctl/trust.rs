//! How `cordonctl` knows the controller: by the site's CA and by nothing else.
//!
//! The controller sends its CA behind its own certificate. It is trusted when its SHA-256 is the
//! pinned one; then the certificate must be signed by it, be for a server, and carry the name that
//! only controllers have. The address that was dialled proves nothing and is not looked at.

use std::sync::Arc;

use cordon_proto::CONTROLLER_SERVER_NAME;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use sha2::{Digest as _, Sha256};

/// SHA-256 of the CA certificate's DER.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin([u8; 32]);

/// Why a pin cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// Not 64 hex digits.
    #[error(
        "{0:?} is no CA fingerprint: it has 64 hex digits, as `cordon-controller init` printed it"
    )]
    Fingerprint(String),
    /// Not a certificate.
    #[error("CA file holds no PEM certificate")]
    Pem(#[source] rustls::pki_types::pem::Error),
}

impl Pin {
    /// From hex digits; colons between them are fine.
    pub fn from_fingerprint(text: &str) -> Result<Self, PinError> {
        let digits: String = text.chars().filter(|c| *c != ':').collect();
        let mut pin = [0; 32];
        hex::decode_to_slice(digits.trim(), &mut pin)
            .map_err(|_| PinError::Fingerprint(text.to_owned()))?;
        Ok(Self(pin))
    }

    /// Of a CA certificate in PEM.
    pub fn from_pem(pem: &[u8]) -> Result<Self, PinError> {
        let certificate = CertificateDer::from_pem_slice(pem).map_err(PinError::Pem)?;
        Ok(Self::of(&certificate))
    }

    fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(Sha256::digest(certificate).into())
    }

    /// TLS 1.3 to the controller of this CA.
    pub fn client_config(self) -> ClientConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Verifier {
            pin: self,
            provider: Arc::clone(&provider),
        };
        ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("ring speaks TLS 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth()
    }
}

#[derive(Debug)]
struct Verifier {
    pin: Pin,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _dialled: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let pinned = intermediates.iter().find(|one| Pin::of(one) == self.pin);
        let pinned = pinned.ok_or(CertificateError::UnknownIssuer)?;
        let mut roots = RootCertStore::empty();
        roots.add(pinned.clone().into_owned())?;
        let name = ServerName::try_from(CONTROLLER_SERVER_NAME)
            .map_err(|_| CertificateError::NotValidForName)?;
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider))
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?
            .verify_server_cert(end_entity, &[], &name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::PeerIncompatible::ServerDoesNotSupportTls12Or13.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_read_with_and_without_colons() {
        let plain = "ab".repeat(32);
        let colons = ["AB"; 32].join(":");
        let pin = Pin::from_fingerprint(&plain).unwrap();
        assert_eq!(Pin::from_fingerprint(&colons).unwrap(), pin);
        for bad in ["", "abc", &"ab".repeat(31), &"zz".repeat(32)] {
            assert!(Pin::from_fingerprint(bad).is_err(), "{bad}");
        }
    }
}
