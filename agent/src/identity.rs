//! Who this host is: key, certificate, CA, and the key that policies must be signed with.
//!
//! One file, replaced whole and readable by its owner only, so that an identity is never half there.

use std::path::{Path, PathBuf};

use cordon_proto::id::HostId;
use cordon_proto::policy::Audience;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _};
use ed25519_dalek::{SigningKey, VerifyingKey};
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};
use x509_parser::parse_x509_certificate;

use crate::durable::{self, DiskError};

const VERSION: u32 = 1;
const FILE: &str = "identity.json";
const MAX_BYTES: u64 = 1 << 20;

/// A host's identity.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Names the host.
    pub host: HostId,
    /// Site and group, as policies are addressed.
    pub audience: Audience,
    /// The controller, `HOST:PORT`.
    pub controller: String,
    /// Signs receipts, and proves the host in TLS.
    pub key: SigningKey,
    /// Signs policies.
    pub policy_key: VerifyingKey,
    /// The host's certificate, then the CA, PEM.
    pub certificate_pem: String,
    /// The pinned CA, PEM.
    pub ca_pem: String,
    /// When the certificate begins and ends to be good.
    pub validity: Validity,
}

/// From when to when a certificate is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// First moment.
    pub from: Timestamp,
    /// Last moment.
    pub until: Timestamp,
}

impl Validity {
    /// When to ask for the next certificate.
    pub fn half_life(&self) -> Timestamp {
        let half = (self.until.as_second() - self.from.as_second()) / 2;
        Timestamp::from_second(self.from.as_second() + half).unwrap_or(self.until)
    }
}

/// Why there is no usable identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Not enrolled.
    #[error(
        "this host is not enrolled ({0} does not exist): run `cordon-agent enroll` with a join token"
    )]
    NotEnrolled(PathBuf),
    /// The file cannot be read or written.
    #[error("identity: {0}")]
    Disk(#[from] DiskError),
    /// The file is there and not an identity.
    #[error("identity {path} is damaged: {why}; enroll again with --force", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OnDisk {
    version: u32,
    host: HostId,
    site: String,
    group: String,
    controller: String,
    key_pem: String,
    policy_key: [u8; 32],
    certificate_pem: String,
    ca_pem: String,
}

/// Where the identity lies.
pub fn path(state_dir: &Path) -> PathBuf {
    state_dir.join(FILE)
}

impl Identity {
    /// Reads the identity.
    pub fn load(state_dir: &Path) -> Result<Self, IdentityError> {
        let path = path(state_dir);
        let Some(bytes) = durable::read(&path, MAX_BYTES)? else {
            return Err(IdentityError::NotEnrolled(path));
        };
        let read = serde_json::from_slice(&bytes).map_err(|error| error.to_string());
        read.and_then(Self::from_disk)
            .map_err(|why| IdentityError::Damaged { path, why })
    }

    /// Writes it, durably and whole.
    pub fn save(&self, state_dir: &Path) -> Result<(), IdentityError> {
        let on_disk = OnDisk {
            version: VERSION,
            host: self.host,
            site: self.audience.site.clone(),
            group: self.audience.group.clone(),
            controller: self.controller.clone(),
            key_pem: key_pem(&self.key),
            policy_key: self.policy_key.to_bytes(),
            certificate_pem: self.certificate_pem.clone(),
            ca_pem: self.ca_pem.clone(),
        };
        let json = serde_json::to_vec_pretty(&on_disk).expect("identities have string keys only");
        durable::make_folder(state_dir)?;
        Ok(durable::replace(&path(state_dir), &json)?)
    }

    fn from_disk(read: OnDisk) -> Result<Self, String> {
        if read.version != VERSION {
            return Err(format!("version {} is not {VERSION}", read.version));
        }
        let key = SigningKey::from_pkcs8_pem(&read.key_pem).map_err(|error| error.to_string())?;
        let validity = check_certificate(&read.certificate_pem, &key)?;
        Ok(Self {
            host: read.host,
            audience: Audience {
                site: read.site,
                group: read.group,
            },
            controller: read.controller,
            policy_key: VerifyingKey::from_bytes(&read.policy_key).map_err(|e| e.to_string())?,
            key,
            validity,
            certificate_pem: read.certificate_pem,
            ca_pem: read.ca_pem,
        })
    }
}

/// A fresh key; it never leaves this host.
pub fn generate_key() -> SigningKey {
    SigningKey::from_bytes(&rand::random())
}

/// PKCS#8 in PEM.
pub fn key_pem(key: &SigningKey) -> String {
    let pem = key.to_pkcs8_pem(ed25519_dalek::pkcs8::spki::der::pem::LineEnding::LF);
    pem.expect("an Ed25519 key has a PKCS#8 form").to_string()
}

/// A certificate request for `key`, PEM. The controller sets the subject.
pub fn request_pem(key: &SigningKey) -> Result<String, rcgen::Error> {
    let pair = rcgen::KeyPair::from_pem(&key_pem(key))?;
    rcgen::CertificateParams::default()
        .serialize_request(&pair)?
        .pem()
}

/// All certificates of a PEM text.
pub fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    let found = read.map_err(|error| format!("certificate is not PEM: {error}"))?;
    if found.is_empty() {
        return Err("there is no certificate in it".to_owned());
    }
    Ok(found)
}

/// That the first certificate is for `key`, and how long it is good.
pub fn check_certificate(pem: &str, key: &SigningKey) -> Result<Validity, String> {
    let chain = certificates(pem)?;
    let (_, certificate) =
        parse_x509_certificate(&chain[0]).map_err(|error| format!("certificate: {error}"))?;
    let public = &certificate.public_key().subject_public_key.data;
    if public.as_ref() != key.verifying_key().as_bytes() {
        return Err("the certificate is for another key".to_owned());
    }
    let moment = |seconds| Timestamp::from_second(seconds).map_err(|error| error.to_string());
    Ok(Validity {
        from: moment(certificate.validity().not_before.timestamp())?,
        until: moment(certificate.validity().not_after.timestamp())?,
    })
}
