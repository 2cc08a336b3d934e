//! The trust between agents and controller: who may join, who is who, what flows down and what is
//! believed of what comes up. No SQL (that is `cordon-store`), no files (that is the controller).
//!
//! # API
//!
//! | what | calls |
//! |---|---|
//! | set up a site | [`ca::Authority::generate`], [`ca::Authority::server_identity`]; all keys and certificates as PEM |
//! | serve agents | [`Fleet::new`] with a [`Site`], then [`Fleet::serve`] on a bound listener until `shutdown`: both gRPC services over TLS 1.3, expiry of orders, flushing of signs of life |
//! | who is there | [`Fleet::live`] answers a [`LiveHost`] with online, last heard, heartbeat |
//! | join tokens | [`Fleet::create_join_token`] |
//! | orders | [`Fleet::create_order`], [`Fleet::create_order_beyond_cap`], [`Fleet::wait_final`] |
//! | policies | [`Fleet::push_policy`] |
//! | hosts | [`Fleet::evict`] |
//!
//! Everything done here for somebody is in the store's audit log already: join tokens, enrolments
//! and their refusals, renewals, orders, policies, evictions, a second session with one identity,
//! forged receipts. Callers audit only what they add (sign-ins, reads of sensitive data).
//!
//! Lists and histories are read from the [`cordon_store::Store`] directly.
//!
//! The server certificate can be made anew at each start: agents pin the CA, not it.
#![forbid(unsafe_code)]

pub mod ca;

mod bounds;
mod enroll;
mod failure;
mod live;
mod order;
mod pace;
mod peer;
mod peers;
mod place;
mod policy;
mod serve;
mod session;
mod throttle;
mod tls;

use std::sync::{Arc, Mutex};

use cordon_proto::id::HostId;
use cordon_store::{JoinToken, NewJoinToken, SecretHash, Store, StoreError};
use ed25519_dalek::{SigningKey, VerifyingKey};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, watch};

pub use live::LiveHost;
pub use order::{ORDER_LIFETIME, OrderError, OrderRequest, undo_of};
pub use policy::PushError;
pub use serve::ServeError;
pub use session::{MAX_BATCH_RECORDS, MAX_MESSAGE_BYTES};
pub use tls::TlsError;

use live::Live;
use throttle::Throttle;

/// Who the controller is, and the keys it holds.
pub struct Site {
    /// Name of the site: in every certificate and policy. See [`ca::check_site_name`].
    pub name: String,
    /// Signs host certificates.
    pub authority: ca::Authority,
    /// Policies must be signed with its other half, which need not be on this machine.
    pub policy_key: VerifyingKey,
    /// Signs orders; the policies say for which verbs.
    pub order_key: SigningKey,
    /// Validity of host certificates; [`ca::HOST_LIFETIME`] unless there is a reason.
    pub host_lifetime: SignedDuration,
}

/// The fleet of one site. Cloning shares it.
#[derive(Clone)]
pub struct Fleet(Arc<Inner>);

struct Inner {
    site: Site,
    store: Store,
    live: Live,
    throttle: Mutex<Throttle>,
    asking: place::Asking,
    /// Something was heard that the isolated hosts' peers may have to be told.
    peers: Notify,
    /// Turns true once: sessions finish what they hold and end.
    draining: watch::Sender<bool>,
}

impl Fleet {
    /// A fleet on this database. Nothing listens until [`Fleet::serve`].
    pub fn new(store: Store, site: Site) -> Self {
        Self(Arc::new(Inner {
            site,
            store,
            live: Live::default(),
            throttle: Mutex::default(),
            asking: place::Asking::default(),
            peers: Notify::new(),
            draining: watch::Sender::new(false),
        }))
    }

    /// The database.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// Name of the site.
    pub fn site_name(&self) -> &str {
        &self.0.site.name
    }

    /// SHA-256 of the CA certificate's DER, hex: what agents pin at enrolment.
    pub fn ca_fingerprint(&self) -> String {
        self.0.site.authority.fingerprint()
    }

    /// What is known of a host's session; none when it was not heard since the controller started.
    pub fn live(&self, host: HostId) -> Option<LiveHost> {
        self.0.live.get(host)
    }

    /// Makes a join token of 192 random bits. It is shown once: the database keeps its hash.
    pub async fn create_join_token(
        &self,
        group: &str,
        uses: u32,
        lifetime: SignedDuration,
        who: &str,
    ) -> Result<(String, JoinToken), StoreError> {
        let token = hex::encode(rand::random::<[u8; 24]>());
        let now = Timestamp::now();
        let new = NewJoinToken {
            hash: SecretHash::of(&token),
            group: group.to_owned(),
            uses,
            expires_at: now.saturating_add(lifetime).unwrap_or(Timestamp::MAX),
            created_by: who.to_owned(),
        };
        let listed = self.store().add_join_token(&new, now).await?;
        let target = format!(
            "join token {} for group {group}, {uses} uses, until {}",
            listed.name, listed.expires_at
        );
        self.audit(who, "token.create", &target).await;
        Ok((token, listed))
    }

    /// Turns a host out: its session ends now, and it must enrol again.
    pub async fn evict(&self, host: HostId, who: &str) -> Result<(), StoreError> {
        self.store().evict_host(host, Timestamp::now()).await?;
        self.0.live.evict(host);
        self.audit(who, "host.evict", &format!("host {host}")).await;
        Ok(())
    }

    /// Writes the audit log. What it speaks of has happened; that it could not be written is
    /// logged, and stops nothing.
    async fn audit(&self, who: &str, what: &str, target: &str) {
        let written = self
            .store()
            .append_audit(who, what, target, Timestamp::now());
        if let Err(error) = written.await {
            tracing::error!(who, what, target, error = %failure::chain(&error), "audit log not written");
        }
    }
}
