//! TLS for agents: 1.3 only, our own acceptor.
//!
//! tonic's own TLS also speaks 1.2, resumes sessions (which would skip the check of an expired
//! certificate), and says nothing when a handshake fails. Here a refused certificate is a line in
//! the log with the peer and the reason, and a TLS alert that names it at the other end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::ca::{Authority, ServerIdentity};

const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// Handshakes at once: a herd of agents waits in the kernel's queue, not in our memory.
const HANDSHAKES: usize = 256;
/// After `accept` failed, for example for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why there is no TLS to serve with.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The server's PEM files.
    #[error("cannot read the server's {what}")]
    Read {
        /// Certificate or key.
        what: &'static str,
        /// Why.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// The CA cannot check clients.
    #[error("cannot check client certificates with this CA")]
    Verifier(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Key and certificate do not fit together.
    #[error("cannot serve with this certificate and key")]
    Identity(#[source] rustls::Error),
}

/// What the gRPC port speaks: a client certificate may be absent; one that is there must be good.
pub(crate) fn server_config(
    authority: &Authority,
    identity: &ServerIdentity,
) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier_error =
        |error: Box<dyn std::error::Error + Send + Sync>| TlsError::Verifier(error);
    let mut roots = RootCertStore::empty();
    roots
        .add(authority.certificate_der().clone())
        .map_err(|e| verifier_error(e.into()))?;
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider))
        .allow_unauthenticated()
        .build()
        .map_err(|e| verifier_error(e.into()))?;
    let (chain, key) = read(identity)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Identity)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(TlsError::Identity)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    // No resumption: every connection proves its certificate anew.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

type Chain = Vec<CertificateDer<'static>>;

fn read(identity: &ServerIdentity) -> Result<(Chain, PrivateKeyDer<'static>), TlsError> {
    let certificates = CertificateDer::pem_slice_iter(identity.certificate_pem.as_bytes());
    let chain = certificates.collect::<Result<Chain, _>>();
    let chain = chain.map_err(|source| TlsError::Read {
        what: "certificate",
        source,
    })?;
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes());
    let key = key.map_err(|source| TlsError::Read {
        what: "key",
        source,
    })?;
    Ok((chain, key))
}

/// Connections whose handshake succeeded.
pub(crate) type Incoming = mpsc::Receiver<std::io::Result<TlsStream<TcpStream>>>;

/// Accepts connections for as long as somebody receives them.
pub(crate) fn accept(listener: TcpListener, config: ServerConfig) -> Incoming {
    let (ready, incoming) = mpsc::channel(HANDSHAKES);
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        tokio::select! {
            () = accept_all(&listener, &acceptor, &ready) => {}
            () = ready.closed() => {}
        }
    });
    incoming
}

type Ready = mpsc::Sender<std::io::Result<TlsStream<TcpStream>>>;

async fn accept_all(listener: &TcpListener, acceptor: &TlsAcceptor, ready: &Ready) {
    let turns = Arc::new(Semaphore::new(HANDSHAKES));
    loop {
        // The semaphore is never closed.
        let Ok(turn) = Arc::clone(&turns).acquire_owned().await else {
            return;
        };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (acceptor, ready) = (acceptor.clone(), ready.clone());
        tokio::spawn(async move {
            let connection = handshake(&acceptor, stream, peer).await;
            drop(turn);
            if let Some(connection) = connection {
                // Nobody receives any more: the server is going away.
                ready.send(Ok(connection)).await.ok();
            }
        });
    }
}

async fn handshake(
    acceptor: &TlsAcceptor,
    stream: TcpStream,
    peer: SocketAddr,
) -> Option<TlsStream<TcpStream>> {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "cannot set TCP_NODELAY");
    }
    match timeout(HANDSHAKE_LIMIT, acceptor.accept(stream)).await {
        Ok(Ok(connection)) => Some(connection),
        Ok(Err(error)) => {
            tracing::warn!(%peer, %error, "TLS handshake refused");
            None
        }
        Err(_) => {
            tracing::warn!(%peer, "TLS handshake took too long");
            None
        }
    }
}
