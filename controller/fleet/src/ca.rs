//! The site's certificate authority.
//!
//! The CA and server keys are ECDSA P-256, because browsers that open the console know no Ed25519
//! certificates; host keys are Ed25519, because a host signs its receipts with the same key.
//! Clocks are wrong in the field: every certificate begins a day before it is made.

mod request;

use std::net::IpAddr;

use cordon_proto::CONTROLLER_SERVER_NAME;
use cordon_proto::id::HostId;
use cordon_store::CertificateFacts;
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

pub use request::{HostRequest, RequestError};

/// Validity of the CA.
pub const AUTHORITY_LIFETIME: SignedDuration = SignedDuration::from_hours(24 * 3652);
/// Validity of a server certificate. Long: a controller that runs on must not lock its agents out.
pub const SERVER_LIFETIME: SignedDuration = SignedDuration::from_hours(24 * 820);
/// Validity of a host certificate, unless configured.
pub const HOST_LIFETIME: SignedDuration = SignedDuration::from_hours(24 * 7);
const BACKDATED: SignedDuration = SignedDuration::from_hours(24);

/// Why a certificate could not be made or a key could not be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A site is named in URIs.
    #[error("site name {0:?} must be 1 to 63 of the characters a-z 0-9 . - _")]
    SiteName(String),
    /// Not a name that a certificate can hold.
    #[error("{name:?} cannot be in a certificate")]
    Name {
        /// The name.
        name: String,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// The PEM is not what it should be.
    #[error("cannot read the {what}")]
    Read {
        /// Which file.
        what: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Key and certificate of different authorities.
    #[error("the CA key does not belong to the CA certificate")]
    Mismatch,
    /// The signing library refused.
    #[error("cannot make the {what}")]
    Make {
        /// Which key or certificate.
        what: &'static str,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// A time outside what certificates can say.
    #[error("the certificate's validity is out of range")]
    Validity,
}

/// Whether a site can have this name: 1 to 63 of `a-z 0-9 . - _`, as SPIFFE wants trust domains.
pub fn check_site_name(name: &str) -> Result<(), AuthorityError> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_".contains(&b);
    if (1..=63).contains(&name.len()) && name.bytes().all(fits) {
        return Ok(());
    }
    Err(AuthorityError::SiteName(name.to_owned()))
}

/// A server's certificate and key.
pub struct ServerIdentity {
    /// Its certificate, then the CA's, PEM.
    pub certificate_pem: String,
    /// Its private key, PKCS#8 PEM.
    pub key_pem: String,
}

/// A certificate for a host.
#[derive(Debug)]
pub struct HostCertificate {
    /// The certificate, then the CA's, PEM.
    pub certificate_pem: String,
    /// Serial number and end.
    pub facts: CertificateFacts,
}

/// The CA: its certificate and its private key.
pub struct Authority {
    certificate_pem: String,
    certificate_der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes the CA of a new site.
    pub fn generate(site: &str, now: Timestamp) -> Result<Self, AuthorityError> {
        check_site_name(site)?;
        let key = new_key("CA key")?;
        let mut params = params(&format!("Cordon CA of {site}"), now, AUTHORITY_LIFETIME)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let made = params.self_signed(&key).map_err(make("CA certificate"))?;
        Self::from_pem(&made.pem(), &key.serialize_pem())
    }

    /// Reads what [`Self::certificate_pem`] and [`Self::key_pem`] gave.
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> Result<Self, AuthorityError> {
        let key = KeyPair::from_pem(key_pem).map_err(|e| read("CA key", e))?;
        let der = CertificateDer::from_pem_slice(certificate_pem.as_bytes())
            .map_err(|e| read("CA certificate", e))?;
        if !belongs(&der, &key)? {
            return Err(AuthorityError::Mismatch);
        }
        let issuer = Issuer::from_ca_cert_der(&der, key).map_err(|e| read("CA certificate", e))?;
        Ok(Self {
            certificate_pem: certificate_pem.to_owned(),
            certificate_der: der,
            issuer,
        })
    }

    /// The CA's certificate.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The CA's private key, PKCS#8. Whoever reads it can be any host.
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// SHA-256 of the certificate's DER, hex.
    pub fn fingerprint(&self) -> String {
        hex::encode(Sha256::digest(&self.certificate_der))
    }

    pub(crate) fn certificate_der(&self) -> &CertificateDer<'static> {
        &self.certificate_der
    }

    /// Makes a server certificate with a new key. Agents check for [`CONTROLLER_SERVER_NAME`];
    /// addresses and names are for browsers.
    pub fn server_identity(
        &self,
        addresses: &[IpAddr],
        names: &[String],
        now: Timestamp,
    ) -> Result<ServerIdentity, AuthorityError> {
        let key = new_key("server key")?;
        let mut params = params("Cordon controller", now, SERVER_LIFETIME)?;
        params.subject_alt_names = server_names(addresses, names)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let made = params
            .signed_by(&key, &self.issuer)
            .map_err(make("server certificate"))?;
        Ok(ServerIdentity {
            certificate_pem: made.pem() + &self.certificate_pem,
            key_pem: key.serialize_pem(),
        })
    }

    /// Signs a host's key. Of the request only the key counts.
    pub fn sign_host(
        &self,
        site: &str,
        host: HostId,
        request: &HostRequest,
        now: Timestamp,
        lifetime: SignedDuration,
    ) -> Result<HostCertificate, AuthorityError> {
        let mut params = params(&format!("Cordon host {host}"), now, lifetime)?;
        let uri = host_uri(site, host);
        let name = uri.as_str().try_into();
        params.subject_alt_names = vec![SanType::URI(name.map_err(bad_name(&uri))?)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let facts = CertificateFacts {
            serial: params
                .serial_number
                .as_ref()
                .map(|serial| hex::encode(serial.to_bytes()))
                .unwrap_or_default(),
            not_after: now
                .checked_add(lifetime)
                .map_err(|_| AuthorityError::Validity)?,
        };
        let made = params
            .signed_by(request.key_info(), &self.issuer)
            .map_err(make("host certificate"))?;
        Ok(HostCertificate {
            certificate_pem: made.pem() + &self.certificate_pem,
            facts,
        })
    }
}

/// A host's SPIFFE id.
pub fn host_uri(site: &str, host: HostId) -> String {
    format!("spiffe://{site}/host/{host}")
}

fn belongs(certificate: &CertificateDer<'_>, key: &KeyPair) -> Result<bool, AuthorityError> {
    let (_, parsed) =
        x509_parser::parse_x509_certificate(certificate).map_err(|e| read("CA certificate", e))?;
    let public = &parsed.public_key().subject_public_key.data;
    Ok(public.as_ref() == key.public_key_raw())
}

fn server_names(addresses: &[IpAddr], names: &[String]) -> Result<Vec<SanType>, AuthorityError> {
    let mut dns = vec![CONTROLLER_SERVER_NAME.to_owned()];
    for name in names {
        if !dns.contains(name) {
            dns.push(name.clone());
        }
    }
    let mut all = Vec::with_capacity(dns.len() + addresses.len());
    for name in dns {
        let valid = name.as_str().try_into();
        all.push(SanType::DnsName(valid.map_err(bad_name(&name))?));
    }
    all.extend(addresses.iter().copied().map(SanType::IpAddress));
    Ok(all)
}

/// What all our certificates have in common.
fn params(
    name: &str,
    now: Timestamp,
    lifetime: SignedDuration,
) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = moment(now.checked_sub(BACKDATED))?;
    params.not_after = moment(now.checked_add(lifetime))?;
    params.serial_number = Some(serial());
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn moment(at: Result<Timestamp, jiff::Error>) -> Result<OffsetDateTime, AuthorityError> {
    let at = at.map_err(|_| AuthorityError::Validity)?;
    OffsetDateTime::from_unix_timestamp(at.as_second()).map_err(|_| AuthorityError::Validity)
}

/// Random and positive, as RFC 5280 wants it.
fn serial() -> SerialNumber {
    let mut bytes = rand::random::<[u8; 16]>();
    bytes[0] = bytes[0] & 0x7f | 0x40;
    SerialNumber::from(bytes.to_vec())
}

fn new_key(what: &'static str) -> Result<KeyPair, AuthorityError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(make(what))
}

fn make(what: &'static str) -> impl Fn(rcgen::Error) -> AuthorityError {
    move |source| AuthorityError::Make { what, source }
}

fn read(
    what: &'static str,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> AuthorityError {
    AuthorityError::Read {
        what,
        source: source.into(),
    }
}

fn bad_name(name: &str) -> impl FnOnce(rcgen::Error) -> AuthorityError {
    let name = name.to_owned();
    move |source| AuthorityError::Name { name, source }
}
