//! Who is at the other end: from the TLS client certificate to a host that may speak.

use std::net::SocketAddr;

use cordon_proto::id::HostId;
use cordon_store::{Host, HostKey};
use ed25519_dalek::VerifyingKey;
use jiff::Timestamp;
use tonic::{Request, Status};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry::OID_SIG_ED25519;

use crate::failure::status;
use crate::{Fleet, bounds};

/// What a host certificate says. TLS has checked its signature and its time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct HostName {
    pub site: String,
    pub host: HostId,
    pub public_key: [u8; 32],
    pub not_after: Timestamp,
}

impl HostName {
    /// Reads a certificate; none when it is not one for a host.
    pub(crate) fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
        let (site, host) = spiffe_host(&certificate)?;
        let key = certificate.public_key();
        if key.algorithm.algorithm != OID_SIG_ED25519 {
            return None;
        }
        let not_after = certificate.validity().not_after.timestamp();
        Some(Self {
            site,
            host,
            public_key: key.subject_public_key.data.as_ref().try_into().ok()?,
            not_after: Timestamp::from_second(not_after).ok()?,
        })
    }
}

/// Site and host of the one URI name.
fn spiffe_host(certificate: &X509Certificate<'_>) -> Option<(String, HostId)> {
    let names = certificate.subject_alternative_name().ok()??;
    let [GeneralName::URI(uri)] = names.value.general_names.as_slice() else {
        return None;
    };
    let (site, host) = uri.strip_prefix("spiffe://")?.split_once("/host/")?;
    Some((site.to_owned(), host.parse().ok()?))
}

/// A host that may speak.
pub(crate) struct Peer {
    pub host: Host,
    pub address: Option<SocketAddr>,
    pub not_after: Timestamp,
    keys: Vec<HostKey>,
}

impl Peer {
    /// Every key that the host ever had: a receipt may have waited on its disk while it renewed.
    pub(crate) fn receipt_keys(&self) -> Vec<VerifyingKey> {
        let key = |key: &HostKey| VerifyingKey::from_bytes(&key.public_key).ok();
        self.keys.iter().filter_map(key).collect()
    }
}

impl Fleet {
    /// The host that a request comes from, or why it may not speak.
    pub(crate) async fn peer<T>(
        &self,
        request: &Request<T>,
        now: Timestamp,
    ) -> Result<Peer, Status> {
        let address = request.remote_addr();
        let certificates = request.peer_certs();
        let Some(leaf) = certificates.as_ref().and_then(|all| all.first()) else {
            return Err(Status::unauthenticated(
                "this service wants a host certificate; enrol the host first",
            ));
        };
        let Some(name) = HostName::read(leaf) else {
            return Err(Status::unauthenticated(
                "the client certificate is not one of a Cordon host",
            ));
        };
        let refused = self.admit(&name, now).await;
        if let Err(status) = &refused {
            tracing::warn!(host = %name.host, ?address, reason = status.message(), "host refused");
        }
        let (host, keys) = refused?;
        Ok(Peer {
            host,
            address,
            not_after: name.not_after,
            keys,
        })
    }

    async fn admit(&self, name: &HostName, now: Timestamp) -> Result<(Host, Vec<HostKey>), Status> {
        if name.site != self.site_name() {
            return Err(Status::permission_denied(format!(
                "the certificate is for site {}, this is site {}",
                bounds::text(&name.site),
                self.site_name()
            )));
        }
        if name.not_after <= now {
            return Err(Status::unauthenticated(format!(
                "the host certificate expired at {}; enrol the host again",
                name.not_after
            )));
        }
        let host = self.store().host(name.host).await.map_err(|e| status(&e))?;
        let Some(host) = host else {
            return Err(Status::permission_denied(format!(
                "host {} is not enrolled here; enrol it again",
                name.host
            )));
        };
        if let Some(at) = host.evicted_at {
            return Err(Status::permission_denied(format!(
                "host {} was evicted at {at}; enrol it again",
                name.host
            )));
        }
        let keys = self.store().present_key(name.host, &name.public_key, now);
        let Some(keys) = keys.await.map_err(|e| status(&e))? else {
            return Err(Status::permission_denied(format!(
                "the certificate's key is not in use by host {}",
                name.host
            )));
        };
        Ok((host, keys))
    }
}
