//! Runs a site until it is told to stop.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use axum_server::tls_rustls::RustlsConfig;
use cordon_fleet::ca::{Authority, HOST_LIFETIME, ServerIdentity};
use cordon_fleet::{Fleet, Site};
use cordon_playbook::notify::Client;
use cordon_store::Store;
use ed25519_dalek::pkcs8::DecodePrivateKey as _;
use ed25519_dalek::{SigningKey, VerifyingKey};
use jiff::Timestamp;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

use crate::config::Config;
use crate::http::{App, router};
use crate::layout::{Layout, read_text};
use crate::notify::Notifier;

/// Requests get this long to finish.
const DRAIN: Duration = Duration::from_secs(5);
/// A client that sends its headers any slower is not served.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);

/// Serves the site in `data` until SIGTERM or SIGINT, or until a server fails.
pub async fn serve(data: &Path) -> Result<()> {
    let mut signals = Signals::listen()?;
    // Everything that can be wrong with the site is found here, before anybody is served.
    let site = ReadySite::open(&Layout::of(data)).await?;
    let store = site.fleet.store().clone();
    let stop = watch::Sender::new(false);
    let notifier = tokio::spawn(site.notifier.run());
    let mut servers = JoinSet::new();
    servers.spawn(serve_agents(
        site.fleet.clone(),
        site.grpc,
        site.identity,
        stop.subscribe(),
    ));
    servers.spawn(serve_console(
        site.fleet,
        site.https,
        site.tls,
        stop.subscribe(),
    ));

    let mut ended = tokio::select! {
        name = signals.next() => { tracing::info!(signal = name, "stopping"); Ok(()) }
        early = servers.join_next() => outcome(early).and(Err(anyhow!("a server ended by itself"))),
    };
    stop.send_replace(true);
    while let Some(last) = servers.join_next().await {
        ended = ended.and(outcome(Some(last)));
    }
    notifier.abort();
    store.close().await;
    tracing::info!("stopped");
    ended
}

fn outcome(ended: Option<Result<Result<()>, JoinError>>) -> Result<()> {
    match ended {
        Some(Ok(outcome)) => outcome,
        Some(Err(panic)) => Err(panic).context("a server broke off"),
        None => Ok(()),
    }
}

/// A site with its keys read, its database open and its ports bound.
struct ReadySite {
    fleet: Fleet,
    notifier: Notifier,
    identity: ServerIdentity,
    tls: ServerConfig,
    grpc: TcpListener,
    https: TcpListener,
}

impl ReadySite {
    async fn open(layout: &Layout) -> Result<Self> {
        let config = Config::read(&layout.config())?;
        let identity = ServerIdentity {
            certificate_pem: read_text(&layout.server_certificate())?,
            key_pem: read_text(&layout.server_key())?,
        };
        let tls = console_tls(&identity).context("cannot serve with keys/server.pem and .key")?;
        let site = read_site(layout, &config.site)?;
        let grpc = bind("agents", "grpc.listen", config.grpc_listen).await?;
        let https = bind("the console", "http.listen", config.http_listen).await?;
        let store = Store::open(&layout.database()).await?;
        let notifier = notifier(&store, config)?;
        Ok(Self {
            fleet: Fleet::new(store, site),
            notifier,
            identity,
            tls,
            grpc,
            https,
        })
    }
}

fn read_site(layout: &Layout, name: &str) -> Result<Site> {
    let (certificate, key) = (
        read_text(&layout.ca_certificate())?,
        read_text(&layout.ca_key())?,
    );
    let authority = Authority::from_pem(&certificate, &key)
        .context("cannot use the CA in keys/ca.pem and keys/ca.key")?;
    let order_key = SigningKey::from_pkcs8_pem(&read_text(&layout.order_key())?)
        .context("keys/order.key is not an Ed25519 key in PKCS#8 PEM")?;
    Ok(Site {
        name: name.to_owned(),
        authority,
        policy_key: public_key(&read_text(&layout.policy_public())?)
            .context("keys/policy.pub is not an Ed25519 public key in 64 hex digits")?,
        order_key,
        host_lifetime: HOST_LIFETIME,
    })
}

fn public_key(text: &str) -> Result<VerifyingKey> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text.trim(), &mut bytes)?;
    Ok(VerifyingKey::from_bytes(&bytes)?)
}

fn notifier(store: &Store, config: Config) -> Result<Notifier> {
    let trust = config.notify_ca.as_deref().map(read_text).transpose()?;
    let client = Client::new(trust.as_deref().map(str::as_bytes))?;
    Ok(Notifier::new(
        store.clone(),
        client,
        config.notify,
        config.public_url,
        Timestamp::now(),
    ))
}

async fn bind(whom: &str, setting: &str, address: SocketAddr) -> Result<TcpListener> {
    let failed = || {
        format!(
            "cannot listen on {address} for {whom}: end whatever uses it, or change {setting} in controller.toml"
        )
    };
    TcpListener::bind(address).await.with_context(failed)
}

/// TLS for browsers and `cordonctl`.
fn console_tls(identity: &ServerIdentity) -> Result<ServerConfig> {
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(identity.certificate_pem.as_bytes())
            .collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

async fn serve_agents(
    fleet: Fleet,
    listener: TcpListener,
    identity: ServerIdentity,
    stop: watch::Receiver<bool>,
) -> Result<()> {
    tracing::info!(address = %listener.local_addr()?, ca = fleet.ca_fingerprint(), "serving agents");
    fleet.serve(listener, &identity, stopped(stop)).await?;
    Ok(())
}

async fn serve_console(
    fleet: Fleet,
    listener: TcpListener,
    tls: ServerConfig,
    stop: watch::Receiver<bool>,
) -> Result<()> {
    tracing::info!(address = %listener.local_addr()?, "serving the console");
    let handle = axum_server::Handle::new();
    let tls = RustlsConfig::from_config(Arc::new(tls));
    let mut server = axum_server::from_tcp_rustls(listener.into_std()?, tls)?
        .handle(handle.clone())
        .first_request_timeout(HEADERS_WITHIN);
    let mut protocol = server.http_builder().http1();
    protocol.header_read_timeout(HEADERS_WITHIN);
    let service = router(&App::new(fleet)).into_make_service_with_connect_info::<SocketAddr>();
    let mut serving = std::pin::pin!(server.serve(service));
    tokio::select! {
        ended = &mut serving => return ended.context("the console's server failed"),
        () = stopped(stop) => handle.graceful_shutdown(Some(DRAIN)),
    }
    serving.await.context("the console's server failed")
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // No sender any more means the same.
    stop.wait_for(|stop| *stop).await.ok();
}

/// What a person or the service manager says to end the program.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
