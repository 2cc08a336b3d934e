//! Whom the agent believes, tried against real TLS servers.
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;

use cordon_agent::trust::{Fingerprint, by_fingerprint, by_identity};
use cordon_agent::uplink::connect;
use cordon_proto::CONTROLLER_SERVER_NAME;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, ServerConfig};
use support::{Ca, key};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Serves one certificate until the test ends.
async fn serve(ca: &Ca, name: &str, expired: bool) -> SocketAddr {
    let (certificate, key) = ca.server(name, expired);
    let chain = vec![certificate.der().clone(), ca.certificate.der().clone()];
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A client that does not believe us ends the handshake.
            drop(acceptor.accept(stream).await);
        }
    });
    address
}

async fn refusal(address: SocketAddr, config: ClientConfig) -> String {
    let refused = connect(&[address], config).await.unwrap_err();
    cordon_agent::chain(&refused)
}

fn fingerprint(ca: &Ca) -> Fingerprint {
    Fingerprint::of(ca.certificate.der())
}

#[tokio::test]
async fn the_right_ca_and_name_are_believed() {
    let ca = Ca::new();
    let address = serve(&ca, CONTROLLER_SERVER_NAME, false).await;
    connect(&[address], by_fingerprint(fingerprint(&ca)))
        .await
        .unwrap();
    let identity = ca.identity("localhost:1", key(1).verifying_key());
    connect(&[address], by_identity(&identity).unwrap())
        .await
        .unwrap();
}

#[tokio::test]
async fn another_ca_is_named_with_both_fingerprints() {
    let (ca, other) = (Ca::new(), Ca::new());
    let address = serve(&other, CONTROLLER_SERVER_NAME, false).await;
    let why = refusal(address, by_fingerprint(fingerprint(&ca))).await;
    assert!(why.contains(&fingerprint(&ca).to_string()), "{why}");
    assert!(why.contains(&fingerprint(&other).to_string()), "{why}");
    let identity = ca.identity("localhost:1", key(1).verifying_key());
    let why = refusal(address, by_identity(&identity).unwrap()).await;
    assert!(
        why.contains("not by the CA that this host is enrolled with"),
        "{why}"
    );
}

/// Every host has a certificate by the same CA; none of them may pass for the controller.
#[tokio::test]
async fn the_right_ca_with_another_name_is_refused() {
    let ca = Ca::new();
    let address = serve(&ca, "host.cordon.internal", false).await;
    let why = refusal(address, by_fingerprint(fingerprint(&ca))).await;
    assert!(why.contains("is not a controller's"), "{why}");
}

#[tokio::test]
async fn an_expired_certificate_is_refused_with_a_hint_at_the_clock() {
    let ca = Ca::new();
    let address = serve(&ca, CONTROLLER_SERVER_NAME, true).await;
    let why = refusal(address, by_fingerprint(fingerprint(&ca))).await;
    assert!(why.contains("expired") && why.contains("clock"), "{why}");
}

#[tokio::test]
async fn somebody_who_does_not_speak_tls_is_not_the_controller() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"SSH-2.0-OpenSSH\r\n")
            .await
            .unwrap();
    });
    let why = refusal(address, by_fingerprint(fingerprint(&Ca::new()))).await;
    assert!(
        why.contains("is this the controller's agent port?"),
        "{why}"
    );
}

#[test]
fn an_identity_is_kept_whole_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let ca = Ca::new();
    let identity = ca.identity("controller:7443", key(1).verifying_key());
    identity.save(dir.path()).unwrap();
    let path = dir.path().join("identity.json");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let read = cordon_agent::identity::Identity::load(dir.path()).unwrap();
    assert_eq!(read.host, identity.host);
    assert_eq!(read.key.to_bytes(), identity.key.to_bytes());
    assert_eq!(read.validity, identity.validity);

    let json = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, &json[..json.len() / 2]).unwrap();
    let damaged = cordon_agent::identity::Identity::load(dir.path()).unwrap_err();
    assert!(
        damaged.to_string().contains("enroll again with --force"),
        "{damaged}"
    );
}
