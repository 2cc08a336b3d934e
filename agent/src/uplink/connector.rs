//! A TLS connection to the controller, on a socket that isolation lets through.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Once;
use std::time::Duration;

use cordon_proto::AGENT_SOCKET_MARK;
use hyper_util::rt::TokioIo;
use nix::sys::socket::{setsockopt, sockopt};
use rustls::{AlertDescription, CertificateError, ClientConfig, OtherError};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use crate::trust;

const TCP_LIMIT: Duration = Duration::from_secs(4);
const TLS_LIMIT: Duration = Duration::from_secs(10);
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody answers.
    #[error("cannot reach the controller at {address}: check address, port and firewall")]
    Tcp {
        /// The last address tried.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Somebody answers who is not believed, or who does not believe us.
    #[error("no TLS session with {address}: {why}")]
    Tls {
        /// Who.
        address: SocketAddr,
        /// What is wrong, and the remedy.
        why: String,
    },
    /// There is no address to try.
    #[error("the controller has no address")]
    NoAddress,
}

/// Connects to the first address that answers.
pub async fn connect(
    addresses: &[SocketAddr],
    config: ClientConfig,
) -> Result<TlsStream<TcpStream>, ConnectError> {
    let connector = TlsConnector::from(Arc::new(config));
    let mut last = ConnectError::NoAddress;
    for address in addresses {
        match tcp(*address).await {
            Ok(stream) => return tls(&connector, stream, *address).await,
            Err(source) => {
                last = ConnectError::Tcp {
                    address: *address,
                    source,
                };
            }
        }
    }
    Err(last)
}

async fn tcp(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    mark(&socket);
    let stream = timeout(TCP_LIMIT, socket.connect(address)).await??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Without the mark the line to the controller does not survive an isolation; without the right to set it
/// there can be no isolation either.
fn mark(socket: &TcpSocket) {
    static WARNED: Once = Once::new();
    if let Err(error) = setsockopt(socket, sockopt::Mark, &AGENT_SOCKET_MARK) {
        WARNED.call_once(|| {
            tracing::warn!(%error, "the agent's sockets are not marked (needs root or CAP_NET_ADMIN)");
        });
    }
}

async fn tls(
    connector: &TlsConnector,
    stream: TcpStream,
    address: SocketAddr,
) -> Result<TlsStream<TcpStream>, ConnectError> {
    let handshake = connector.connect(trust::controller_name(), stream);
    let why = match timeout(TLS_LIMIT, handshake).await {
        Ok(Ok(stream)) => return Ok(stream),
        Ok(Err(error)) => explain(&error),
        Err(_) => "it does not answer in TLS: is this the controller's agent port?".to_owned(),
    };
    Err(ConnectError::Tls { address, why })
}

/// What is wrong, and the remedy, in words.
pub(crate) fn explain(error: &io::Error) -> String {
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(problem)) => explain_certificate(problem),
        Some(rustls::Error::AlertReceived(alert)) => explain_alert(*alert),
        Some(other) => format!("{other}; is this the controller's agent port?"),
        None => error.to_string(),
    }
}

fn explain_certificate(problem: &CertificateError) -> String {
    use CertificateError as E;
    match problem {
        E::Expired | E::ExpiredContext { .. } => {
            "the controller's certificate expired: renew it on the controller, and check this host's clock"
                .to_owned()
        }
        E::NotValidYet | E::NotValidYetContext { .. } => {
            "the controller's certificate is not valid yet: check this host's clock".to_owned()
        }
        E::UnknownIssuer | E::BadSignature => {
            "its certificate is not by the CA that this host is enrolled with: check the address".to_owned()
        }
        E::NotValidForName | E::NotValidForNameContext { .. } | E::InvalidPurpose
        | E::InvalidPurposeContext { .. } => {
            "its certificate is by the right CA, but is not a controller's: check the address".to_owned()
        }
        E::Other(OtherError(why)) => why.to_string(),
        other => format!("its certificate is refused ({other})"),
    }
}

fn explain_alert(alert: AlertDescription) -> String {
    use AlertDescription as A;
    match alert {
        A::CertificateExpired => {
            "the controller says that this host's certificate expired: enroll again with a join token and --force"
        }
        A::CertificateRevoked | A::AccessDenied | A::BadCertificate | A::UnknownCA
        | A::CertificateUnknown => {
            "the controller refuses this host's certificate: enroll again with a join token and --force"
        }
        A::NoApplicationProtocol => {
            "it does not speak gRPC there: is this the controller's agent port, and not the console's?"
        }
        other => return format!("the controller ended the handshake ({other:?})"),
    }
    .to_owned()
}

/// HTTP/2 on a connection that is there already. When it breaks, the channel is done for.
pub async fn channel(stream: TlsStream<TcpStream>) -> Result<Channel, tonic::transport::Error> {
    let mut once = Some(stream);
    // The scheme is that of the bytes on this connection, which are decrypted already.
    Endpoint::from_static("http://controller.cordon.internal")
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .connect_with_connector(service_fn(move |_: Uri| {
            let stream = once.take().map(TokioIo::new);
            async move { stream.ok_or_else(|| io::Error::other("the connection is over")) }
        }))
        .await
}
