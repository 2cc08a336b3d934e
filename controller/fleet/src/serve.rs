//! Serving agents until told to stop.

use std::future::Future;
use std::time::Duration;

use cordon_proto::pb::enrollment_server::EnrollmentServer;
use cordon_proto::pb::fleet_server::FleetServer;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;

use crate::Fleet;
use crate::ca::ServerIdentity;
use crate::enroll::EnrollmentService;
use crate::failure::chain;
use crate::session::{MAX_MESSAGE_BYTES, SessionService};
use crate::tls::{TlsError, accept, server_config};

/// A line that is silent for this long is asked, and given up after as long again.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// An agent has one session and perhaps a renewal.
const STREAMS_PER_CONNECTION: u32 = 16;
/// Sessions get this long to finish what they hold.
const DRAIN_LIMIT: Duration = Duration::from_secs(8);
const EXPIRY_EVERY: Duration = Duration::from_secs(2);
const PEERS_EVERY: Duration = Duration::from_secs(2);
const FLUSH_EVERY: Duration = Duration::from_secs(30);

/// Why serving ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// No usable certificate.
    #[error("cannot set up TLS for agents")]
    Tls(#[from] TlsError),
    /// The transport failed.
    #[error("the agents' server failed")]
    Transport(#[from] tonic::transport::Error),
}

impl Fleet {
    /// Serves agents on `listener` until `shutdown`, then lets sessions finish what they hold.
    pub async fn serve(
        &self,
        listener: TcpListener,
        identity: &ServerIdentity,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), ServeError> {
        let config = server_config(&self.0.site.authority, identity)?;
        let incoming = ReceiverStream::new(accept(listener, config));
        let mut draining = self.0.draining.subscribe();
        let stopped = async move {
            // The sender lives as long as the fleet.
            draining.wait_for(|draining| *draining).await.ok();
        };
        let sessions = SessionService(self.clone());
        let serving = Server::builder()
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE))
            .max_concurrent_streams(STREAMS_PER_CONNECTION)
            .add_service(EnrollmentServer::new(EnrollmentService(self.clone())))
            .add_service(FleetServer::new(sessions).max_decoding_message_size(MAX_MESSAGE_BYTES))
            .serve_with_incoming_shutdown(incoming, stopped);
        let mut serving = std::pin::pin!(serving);
        tokio::select! {
            ended = &mut serving => return Ok(ended?),
            () = self.keep_house() => {}
            () = self.keep_peers() => {}
            () = shutdown => {}
        }
        self.0.draining.send_replace(true);
        if let Ok(ended) = timeout(DRAIN_LIMIT, serving).await {
            ended?;
        } else {
            tracing::warn!("some sessions did not end in time");
        }
        self.flush_seen().await;
        Ok(())
    }

    /// Ends overdue orders and flushes signs of life, for ever.
    async fn keep_house(&self) {
        let (mut expiry, mut flush) = (interval(EXPIRY_EVERY), interval(FLUSH_EVERY));
        expiry.set_missed_tick_behavior(MissedTickBehavior::Delay);
        flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = expiry.tick() => self.expire_orders().await,
                _ = flush.tick() => self.flush_seen().await,
            }
        }
    }

    /// Tells the peers of isolated hosts, for ever: when something was heard, and for those who come online.
    async fn keep_peers(&self) {
        let mut passes = interval(PEERS_EVERY);
        passes.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = passes.tick() => {}
                () = self.0.peers.notified() => {}
            }
            self.tell_peers().await;
        }
    }

    async fn expire_orders(&self) {
        match self.store().expire_orders(Timestamp::now()).await {
            Ok(expired) => {
                for order in expired {
                    tracing::info!(%order, "order expired");
                }
            }
            Err(error) => tracing::error!(error = %chain(&error), "orders not expired"),
        }
    }

    async fn flush_seen(&self) {
        let seen = self.0.live.unflushed();
        match self.store().note_seen(&seen).await {
            Ok(()) => self.0.live.flushed(&seen),
            Err(error) => tracing::error!(error = %chain(&error), "signs of life not flushed"),
        }
    }
}
