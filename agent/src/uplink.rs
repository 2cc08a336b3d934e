//! The session with the controller: connects, tells, listens, and begins again when it ends.
//!
//! Nothing in the agent waits for it. What it sends is in the outbox; what it hears goes to the engine.

mod backoff;
mod connector;
mod pace;
mod session;
mod window;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cordon_proto::id::IsolationId;
use cordon_proto::pb;
use cordon_proto::pb::fleet_client::FleetClient;
use cordon_proto::record::IsolationReport;
use cordon_respond::Place;
use cordon_spool::Spool;
use jiff::Timestamp;
use tokio::sync::{Notify, mpsc, watch};
use tonic::transport::Channel;

pub use backoff::Backoff;
pub use connector::{ConnectError, channel, connect};
pub use pace::Pace;
pub use window::Window;

use crate::host::HostFacts;
use crate::identity::{self, Identity};
use crate::pins::{Pins, ResolveError};
use crate::trust::{self, TrustError};
use crate::vitals::Vitals;

/// A session of at least this length was a good one: the next failure starts with a short pause.
const HEALTHY: Duration = Duration::from_secs(10);
/// Longest pause while the host is isolated: somebody waits for it.
const ISOLATED_CEILING: Duration = Duration::from_secs(5);
const RENEW_LIMIT: Duration = Duration::from_secs(30);
/// After a renewal that failed.
const RENEW_RETRY: Duration = Duration::from_hours(1);

/// What the controller says.
#[derive(Debug)]
pub enum Downlink {
    /// A policy's envelope, JSON.
    Policy(Vec<u8>),
    /// An order's envelope, JSON.
    Order(Vec<u8>),
    /// Whether this host has a place for an isolation, or who has them.
    Place(IsolationId, Place),
}

/// What the uplink tells of the engine's state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Presence {
    /// 0 when there is none.
    pub policy_version: u64,
    /// SHA-256 of the policy's envelope; empty when there is none.
    pub policy_sha256: String,
    /// Anything is dropped, or about to be.
    pub isolated: bool,
    /// What was last reported of the isolation.
    pub isolation: Option<IsolationReport>,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum UplinkError {
    /// The controller's name.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The way to it.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// What is kept as identity.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// This host's certificate.
    #[error(
        "this host's certificate expired at {0}: check the clock, or enroll again with a join token and --force"
    )]
    Expired(Timestamp),
    /// HTTP/2 did not come about.
    #[error("the controller does not speak HTTP/2 on that port: check the address")]
    Http(#[source] tonic::transport::Error),
    /// The controller said no, or the connection broke.
    #[error("the session ended: {}", status.message())]
    Session {
        /// What it said.
        status: Box<tonic::Status>,
    },
    /// The controller closed the stream.
    #[error("the controller closed the session")]
    Closed,
    /// Records were sent and not acknowledged.
    #[error("the controller did not acknowledge anything for {} s", .0.as_secs())]
    Silent(Duration),
    /// The outbox.
    #[error("the outbox cannot be read")]
    Spool(#[from] cordon_spool::SpoolError),
    /// The next session begins with a new certificate.
    #[error("this host's certificate is at half life: beginning a new session to renew it")]
    RenewalDue,
    /// The daemon stops.
    #[error("the agent is stopping")]
    Stopping,
}

impl From<tonic::Status> for UplinkError {
    fn from(status: tonic::Status) -> Self {
        Self::Session {
            status: Box::new(status),
        }
    }
}

/// The uplink.
pub struct Uplink {
    /// Who this host is; its certificate is renewed here.
    pub identity: Identity,
    /// Where the identity lies.
    pub state_dir: PathBuf,
    /// The host.
    pub facts: HostFacts,
    /// The controller's addresses.
    pub pins: Arc<Pins>,
    /// The outbox.
    pub spool: Arc<Spool>,
    /// Told when something was put into the outbox.
    pub written: Arc<Notify>,
    /// The engine's state.
    pub presence: watch::Receiver<Presence>,
    /// The isolation for which the engine wants a place.
    pub places: watch::Receiver<Option<IsolationId>>,
    /// The way to the engine.
    pub downlink: mpsc::Sender<Downlink>,
    /// How the agent does.
    pub vitals: Arc<Vitals>,
    /// Between two signs of life.
    pub heartbeat: Duration,
}

impl Uplink {
    /// Runs until the engine is gone.
    pub async fn run(mut self) {
        let mut backoff = Backoff::default();
        loop {
            let began = Instant::now();
            let error = match self.session().await {
                Ok(()) | Err(UplinkError::Stopping) => return,
                Err(error) => crate::chain(&error),
            };
            tracing::warn!(%error, "no session with the controller");
            self.vitals.disconnected(error);
            if began.elapsed() >= HEALTHY {
                backoff = Backoff::default();
            }
            self.pause(&mut backoff).await;
        }
    }

    async fn session(&mut self) -> Result<(), UplinkError> {
        let until = self.identity.validity.until;
        if until <= Timestamp::now() {
            return Err(UplinkError::Expired(until));
        }
        let config = trust::by_identity(&self.identity)?;
        let stream = connect(&self.addresses().await?, config).await?;
        let channel = channel(stream).await.map_err(UplinkError::Http)?;
        self.renew_if_due(channel.clone()).await;
        session::run(self, channel).await
    }

    /// While the host is isolated nobody answers names; the addresses are those that were pinned.
    async fn addresses(&self) -> Result<Vec<std::net::SocketAddr>, ResolveError> {
        let known = self.pins.known();
        if self.presence.borrow().isolated && !known.is_empty() {
            return Ok(known);
        }
        self.pins.resolve().await
    }

    /// Waits, but not on when the host is cut off meanwhile.
    async fn pause(&mut self, backoff: &mut Backoff) {
        let pause = backoff.next(rand::random());
        let began = Instant::now();
        let isolated = |presence: &Presence| presence.isolated;
        let cut_off = async {
            // An error is the engine's end, which the next session notices.
            drop(self.presence.wait_for(isolated).await.map(drop));
            let left = ISOLATED_CEILING.min(pause).saturating_sub(began.elapsed());
            tokio::time::sleep(left).await;
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = cut_off => {}
        }
    }

    /// A session may outlive a certificate; the next one could then not begin.
    fn until_renewal(&self) -> Duration {
        let left = self
            .identity
            .validity
            .half_life()
            .duration_since(Timestamp::now());
        Duration::try_from(left).unwrap_or(RENEW_RETRY)
    }

    /// At half life; a failure is logged, the certificate at hand is still good.
    async fn renew_if_due(&mut self, channel: Channel) {
        if Timestamp::now() < self.identity.validity.half_life() {
            return;
        }
        let renewal = tokio::time::timeout(RENEW_LIMIT, self.renew(channel)).await;
        match renewal {
            Ok(Ok(())) => {
                tracing::info!(until = %self.identity.validity.until, "certificate renewed");
            }
            Ok(Err(why)) => tracing::warn!(%why, "certificate not renewed"),
            Err(_) => tracing::warn!("certificate not renewed: the controller took too long"),
        }
    }

    /// The key stays: receipts that are still in the outbox are checked with the certificate's key.
    async fn renew(&mut self, channel: Channel) -> Result<(), String> {
        let csr_pem = identity::request_pem(&self.identity.key).map_err(|e| e.to_string())?;
        let request = pb::RenewRequest { csr_pem };
        let answer = FleetClient::new(channel).renew(request).await;
        let answer = answer
            .map_err(|status| status.message().to_owned())?
            .into_inner();
        // The CA is the pinned one for the life of the identity, whatever the answer says.
        let validity = identity::check_certificate(&answer.certificate_pem, &self.identity.key)?;
        let renewed = Identity {
            certificate_pem: answer.certificate_pem,
            validity,
            ..self.identity.clone()
        };
        renewed
            .save(&self.state_dir)
            .map_err(|error| crate::chain(&error))?;
        self.identity = renewed;
        Ok(())
    }
}
