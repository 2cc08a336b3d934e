//! Whom the agent believes: exactly one CA, and of its certificates only the controller's.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use cordon_proto::CONTROLLER_SERVER_NAME;
use ed25519_dalek::pkcs8::EncodePrivateKey as _;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore,
    SignatureScheme,
};
use sha2::{Digest as _, Sha256};

use crate::identity::{self, Identity};

/// SHA-256 of a certificate's DER.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Of this certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(Sha256::digest(certificate).into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for Fingerprint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.replace(':', "");
        let bytes = hex::decode(digits).ok().and_then(|b| b.try_into().ok());
        let wrong = "wanted the 64 hex digits that `cordon-controller init` printed";
        bytes.map(Self).ok_or_else(|| wrong.to_owned())
    }
}

/// Why a controller is not believed.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// Another CA, or a stranger in between.
    #[error(
        "the controller's CA has fingerprint {found}, wanted {wanted}: check the fingerprint and the address; \
         if both are right, somebody is in between"
    )]
    WrongCa {
        /// Fingerprint of what was shown as the CA.
        found: String,
        /// What was asked for.
        wanted: Fingerprint,
    },
    /// What is kept as identity does not serve for TLS.
    #[error("identity does not serve for TLS ({0}): enroll again with --force")]
    Unusable(String),
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// For a host that has only a fingerprint yet.
pub fn by_fingerprint(wanted: Fingerprint) -> ClientConfig {
    let config = builder()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ByFingerprint {
            wanted,
            provider: provider(),
        }))
        .with_no_client_auth();
    with_http2(config)
}

/// For an enrolled host: trusts the CA of its identity and shows its own certificate.
pub fn by_identity(identity: &Identity) -> Result<ClientConfig, TrustError> {
    let unusable = |why: &dyn fmt::Display| TrustError::Unusable(why.to_string());
    let mut roots = RootCertStore::empty();
    for ca in identity::certificates(&identity.ca_pem).map_err(TrustError::Unusable)? {
        roots.add(ca).map_err(|error| unusable(&error))?;
    }
    let chain = identity::certificates(&identity.certificate_pem).map_err(TrustError::Unusable)?;
    let key = identity.key.to_pkcs8_der().map_err(|e| unusable(&e))?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()));
    builder()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map(with_http2)
        .map_err(|error| unusable(&error))
}

fn builder() -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .expect("ring has cipher suites for TLS 1.3")
}

fn with_http2(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

/// The name that the controller's certificate must have, whatever address it is reached by.
pub fn controller_name() -> ServerName<'static> {
    ServerName::try_from(CONTROLLER_SERVER_NAME).expect("the controller's name is a DNS name")
}

/// Believes a chain that ends in the CA with the wanted fingerprint.
#[derive(Debug)]
struct ByFingerprint {
    wanted: Fingerprint,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for ByFingerprint {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let is_wanted = |ca: &&CertificateDer<'_>| Fingerprint::of(ca) == self.wanted;
        let Some(ca) = intermediates.iter().find(is_wanted) else {
            return Err(self.wrong_ca(intermediates.last()));
        };
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone().into_owned())?;
        let provider = Arc::clone(&self.provider);
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

impl ByFingerprint {
    fn wrong_ca(&self, shown: Option<&CertificateDer<'_>>) -> rustls::Error {
        let found = shown.map_or("none, it sent none".to_owned(), |ca| {
            Fingerprint::of(ca).to_string()
        });
        let wanted = self.wanted;
        let why = OtherError(Arc::new(TrustError::WrongCa { found, wanted }));
        CertificateError::Other(why).into()
    }
}
