//! Isolated hosts of the fleet: this host blocks them when the controller orders it and the policy lets it.

use std::net::IpAddr;

use cordon_contain::Peer;
use cordon_proto::id::{HostId, OrderId};
use cordon_proto::order::{MOST_HOST_ADDRESSES, Order};
use cordon_proto::policy::Policy;
use cordon_respond::block;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::oneshot;

use super::Engine;
use crate::blocking::{self, PeerJob};
use crate::local::Answer;
use crate::orders::{Fate, Goal};

impl Engine {
    pub(super) fn block_host(
        &mut self,
        order: &Order,
        host: HostId,
        addresses: &[IpAddr],
        seconds: u64,
        now: Timestamp,
    ) {
        let controllers = self.parts.pins.known();
        let own = self.parts.identity.host;
        let policy = self.parts.policy.policy();
        let job = policy
            .ok_or_else(|| "no policy is in force".to_owned())
            .and_then(|policy| {
                let never = blocking::never(policy, &controllers);
                job(policy, own, (host, addresses, seconds), &never, now)
            });
        if !self.begin(order, Goal::Elsewhere, None, now) {
            return;
        }
        match job {
            Ok(job) => {
                let job = PeerJob {
                    reason: order.reason.clone(),
                    ..job
                };
                let to = self.settles(order.id);
                self.parts.blocker.block_peer(job, to);
            }
            Err(why) => self.settled(order.id, Fate::Failed(why), now),
        }
    }

    pub(super) fn unblock_host(&mut self, order: &Order, host: HostId, now: Timestamp) {
        if self.begin(order, Goal::Elsewhere, None, now) {
            let to = self.settles(order.id);
            let reason = order.reason.clone();
            self.parts.blocker.unblock_peer(host, reason, to);
        }
    }

    /// An answer that settles an order.
    pub(super) fn settles(&self, order: OrderId) -> oneshot::Sender<Answer> {
        let (to, answered) = oneshot::channel();
        let settled = self.settling.clone();
        tokio::spawn(async move {
            let fate = match answered.await {
                Ok(Answer::Done { detail, .. }) => Fate::Done(detail),
                Ok(Answer::Failed { detail }) => Fate::Failed(detail),
                Ok(Answer::Status(_) | Answer::NeedsCode { .. }) | Err(_) => {
                    Fate::Failed("nobody did it".to_owned())
                }
            };
            // Fails only when the engine is gone: then the next start settles it.
            settled.send((order, fate)).await.ok();
        });
        to
    }
}

/// What is to be done, or why nothing is.
fn job(
    policy: &Policy,
    own: HostId,
    (host, addresses, seconds): (HostId, &[IpAddr], u64),
    never: &block::Never,
    now: Timestamp,
) -> Result<PeerJob, String> {
    let Some(bounds) = policy.block_isolated else {
        return Err("the policy in force does not let isolated hosts be blocked".to_owned());
    };
    if host == own {
        return Err("this is the host itself".to_owned());
    }
    let choice = block::choose(addresses.iter().copied(), never, MOST_HOST_ADDRESSES);
    if choice.block.is_empty() {
        let spared = choice.spared.iter();
        let spared: Vec<String> = spared
            .map(|one| format!("{} ({})", one.address, one.why))
            .collect();
        let whom = spared.join(", ");
        return Err(format!("none of its addresses may be blocked: {whom}"));
    }
    let lasts = i64::try_from(seconds.min(bounds.seconds)).unwrap_or(i64::MAX);
    let until = now.checked_add(SignedDuration::from_secs(lasts));
    Ok(PeerJob {
        peer: Peer {
            host,
            addresses: choice.block,
            until: until.unwrap_or(Timestamp::MAX),
        },
        spared: choice.spared,
        most: bounds.hosts as usize,
        reason: String::new(),
        policy_version: policy.version,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_an_isolated_host_says_to_have_is_spared_where_the_policy_protects_it() {
        let policy: Policy = serde_json::from_value(json!({
            "version": 7, "site": "hq", "group": "servers",
            "issued_at": "2026-11-01T00:00:00Z", "expires_at": "2027-11-01T00:00:00Z",
            "mode": "observe",
            "isolation": {"lease_seconds": 3600, "without_proof": "roll_back", "allow": []},
            "block_isolated": {"seconds": 600, "hosts": 4},
            "caps": {"isolations_per_hour": 0},
            "protected_processes": [], "protected_addresses": ["203.0.113.0/28", "2001:db8:20::/48"],
            "order_keys": [],
        }))
        .unwrap();
        let never = blocking::never(&policy, &[]);
        let [own, other] = [HostId::generate(), HostId::generate()];
        let job = |addresses: &[&str]| {
            let addresses: Vec<IpAddr> = addresses.iter().map(|a| a.parse().unwrap()).collect();
            let now = "2026-11-02T00:00:00Z".parse().unwrap();
            job(&policy, own, (other, &addresses, 600), &never, now)
        };
        let said = ["::ffff:203.0.113.15", "203.0.113.16", "2001:db8:20::9"];
        let done = job(&said).unwrap();
        assert_eq!(
            done.peer.addresses,
            ["203.0.113.16".parse::<IpAddr>().unwrap()]
        );
        let spared: Vec<&str> = done.spared.iter().map(|one| one.why.as_str()).collect();
        assert_eq!(
            spared,
            ["203.0.113.0/28", "2001:db8:20::/48"].map(|network| format!(
                "in {network}, on the policy's list of protected addresses"
            ))
        );
        let why = job(&["203.0.113.0"]).unwrap_err();
        assert!(why.contains("203.0.113.0 (in 203.0.113.0/28, on"), "{why}");
    }
}
