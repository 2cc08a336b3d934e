//! Helpers of several tests.
#![allow(dead_code, reason = "each test file uses its own part")]
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use cordon_agent::identity::{self, Identity};
use cordon_proto::id::HostId;
use cordon_proto::policy::Audience;
use ed25519_dalek::{SigningKey, VerifyingKey};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, PKCS_ED25519,
};

/// The agent's program.
pub const AGENT: &str = env!("CARGO_BIN_EXE_cordon-agent");

/// The committed model.
pub fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("model/artifact")
}

/// Runs the agent with `stdin` and collects what it says.
pub fn agent(arguments: &[&str], stdin: &[u8]) -> Output {
    let mut child = Command::new(AGENT)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let bytes = stdin.to_vec();
    // A program that ends early does not read it all.
    let writer = std::thread::spawn(move || drop(input.write_all(&bytes)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

/// What it said on stderr, trimmed.
pub fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

/// A CA with its certificates.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate.
    pub certificate: rcgen::Certificate,
}

impl Ca {
    /// A fresh one.
    pub fn new() -> Self {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "test CA");
        let certificate = params.self_signed(&key).unwrap();
        Self {
            issuer: Issuer::new(params, key),
            certificate,
        }
    }

    /// A server's certificate for `name`.
    pub fn server(&self, name: &str, expired: bool) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        if expired {
            params.not_before = rcgen::date_time_ymd(2001, 1, 1);
            params.not_after = rcgen::date_time_ymd(2002, 1, 1);
        }
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    /// A host's identity.
    pub fn identity(&self, controller: &str, policy_key: VerifyingKey) -> Identity {
        let key = identity::generate_key();
        let request = identity::request_pem(&key).unwrap();
        let mut request = CertificateSigningRequestParams::from_pem(&request).unwrap();
        request.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate_pem = request.signed_by(&self.issuer).unwrap().pem();
        Identity {
            host: HostId::generate(),
            audience: Audience {
                site: "test".into(),
                group: "servers".into(),
            },
            controller: controller.into(),
            validity: identity::check_certificate(&certificate_pem, &key).unwrap(),
            key,
            policy_key,
            certificate_pem,
            ca_pem: self.certificate.pem(),
        }
    }
}

/// A key by number.
pub fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}
