//! The other hosts of a group block one of them that is isolated, where the group's policy says so: its own rules are
//! root's to remove, theirs are not.
//!
//! What is wanted is compared with what was last ordered, again and again: nothing is kept but the orders. A host is told
//! when it is online, anew before its time is over for as long as the other is isolated, and to stop when that one was
//! released by an order. One that says it is open without an order of ours is believed no further than that nobody is
//! told anew: whoever is root there can make it say so.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use cordon_proto::id::HostId;
use cordon_proto::order::{MOST_HOST_ADDRESSES, OrderState, Verb};
use cordon_proto::policy::BlockIsolated;
use cordon_proto::record::IsolationState;
use cordon_store::{Host, PeerOrder, StoreError};
use jiff::{SignedDuration, Timestamp};

use crate::failure::chain;
use crate::{Fleet, OrderRequest};

/// In whose name the orders are.
const WHO: &str = "controller";
/// A host that is online takes an order at once.
const LIFETIME: SignedDuration = SignedDuration::from_mins(5);
/// What failed is tried again after this long.
const AGAIN: SignedDuration = SignedDuration::from_mins(1);
/// Most orders of one pass; the next one comes within seconds.
const MOST_ORDERS: usize = 256;

/// What is known of one host.
#[derive(Clone, Debug)]
struct Known {
    id: HostId,
    name: String,
    group: String,
    /// What it says; endpoint text that reads as addresses.
    addresses: Vec<IpAddr>,
    /// Where it calls from.
    calls_from: Option<IpAddr>,
    online: bool,
    evicted: bool,
    standing: Standing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Isolated,
    /// Open, by an order of ours.
    Released,
    /// Open, by its own word.
    Open,
}

/// An order to be given.
#[derive(Debug, PartialEq, Eq)]
struct Due {
    host: HostId,
    verb: Verb,
    reason: String,
}

impl Fleet {
    /// One pass. What fails is logged, and tried again with the next.
    pub(crate) async fn tell_peers(&self) {
        match self.peers_due(Timestamp::now()).await {
            Ok(due) => {
                for order in due {
                    self.tell_peer(order).await;
                }
            }
            Err(error) => {
                tracing::error!(error = %chain(&error), "cannot look for isolated hosts to be blocked");
            }
        }
    }

    async fn tell_peer(&self, due: Due) {
        let (host, verb) = (due.host, due.verb.name());
        let request = OrderRequest {
            host,
            verb: due.verb,
            reason: due.reason,
            requested_by: WHO.to_owned(),
            lifetime: LIFETIME,
            undoes: None,
        };
        if let Err(error) = self.create_order(request).await {
            tracing::error!(%host, verb, error = %chain(&error), "a host is not told about an isolated one");
        }
    }

    async fn peers_due(&self, now: Timestamp) -> Result<Vec<Due>, StoreError> {
        let store = self.store();
        let told = store.peer_orders(now).await?;
        if told.is_empty() && !store.is_any_isolated().await? {
            return Ok(Vec::new());
        }
        let about: BTreeSet<HostId> = told.iter().map(|order| order.peer).collect();
        let mut known = Vec::new();
        for host in store.hosts().await? {
            let mut host = self.known(host);
            if about.contains(&host.id)
                && host.standing == Standing::Open
                && store.is_released_by_order(host.id).await?
            {
                host.standing = Standing::Released;
            }
            known.push(host);
        }
        let groups: BTreeSet<&str> = known.iter().map(|host| host.group.as_str()).collect();
        let mut bounds = BTreeMap::new();
        for group in groups {
            let policy = store.policy_for(group).await?;
            let says = policy.and_then(|row| row.policy.block_isolated);
            bounds.extend(says.map(|says| (group.to_owned(), says)));
        }
        Ok(plan(&known, &bounds, &told, now))
    }

    fn known(&self, host: Host) -> Known {
        use IsolationState::{Applied, Confirmed, Unproven};
        let live = self.live(host.id);
        let addresses = host.addresses.iter().filter_map(|text| text.parse().ok());
        let state = host.isolation.as_ref().map(|report| report.state);
        Known {
            addresses: addresses
                .map(|address: IpAddr| address.to_canonical())
                .collect(),
            calls_from: live
                .as_ref()
                .and_then(|live| live.peer)
                .map(|peer| peer.ip().to_canonical()),
            online: live.is_some_and(|live| live.online),
            evicted: host.evicted_at.is_some(),
            standing: match state {
                Some(Applied | Confirmed | Unproven) => Standing::Isolated,
                _ => Standing::Open,
            },
            id: host.id,
            name: host.name,
            group: host.group,
        }
    }
}

/// The orders that are due. `told` has each host's newest order about each other.
fn plan(
    hosts: &[Known],
    bounds: &BTreeMap<String, BlockIsolated>,
    told: &[PeerOrder],
    now: Timestamp,
) -> Vec<Due> {
    let told: BTreeMap<(HostId, HostId), &PeerOrder> = told
        .iter()
        .map(|order| ((order.host, order.peer), order))
        .collect();
    // Most hosts of a fleet are neither: each is looked at beside every other only where there is something to say.
    let spoken_of: BTreeSet<HostId> = told.keys().map(|(_, peer)| *peer).collect();
    let is_matter = |host: &&Known| {
        !host.evicted && (host.standing == Standing::Isolated || spoken_of.contains(&host.id))
    };
    let mut due = Vec::new();
    for about in hosts.iter().filter(is_matter) {
        let bounds = bounds
            .get(&about.group)
            .filter(|_| about.standing == Standing::Isolated);
        let addresses = bounds.map_or_else(Vec::new, |_| own_addresses(about, hosts));
        let listening = hosts.iter().filter(|host| host.online && !host.evicted);
        for host in listening.filter(|host| host.id != about.id) {
            let last = told.get(&(host.id, about.id)).copied();
            let verb = match bounds {
                Some(bounds) if host.group == about.group => {
                    block(about, &addresses, *bounds, last, now)
                }
                _ => unblock(about, last, now),
            };
            due.extend(verb.map(|verb| Due {
                host: host.id,
                reason: reason(&verb, about),
                verb,
            }));
        }
    }
    due.truncate(MOST_ORDERS);
    due
}

/// What a host says are its addresses, but for those that another one has too or calls from: it must not have others cut
/// off by its word.
fn own_addresses(about: &Known, hosts: &[Known]) -> Vec<IpAddr> {
    let others: BTreeSet<IpAddr> = hosts
        .iter()
        .filter(|host| host.id != about.id && !host.evicted)
        .flat_map(|host| host.addresses.iter().copied().chain(host.calls_from))
        .collect();
    let mut own: Vec<IpAddr> = Vec::new();
    for address in about.calls_from.iter().chain(&about.addresses) {
        if !others.contains(address) && !own.contains(address) && is_of_one_host(*address) {
            own.push(*address);
        }
    }
    own.truncate(MOST_HOST_ADDRESSES);
    own.sort();
    own
}

/// Link-local ones are each link's own: the hosts would leave them alone.
fn is_of_one_host(address: IpAddr) -> bool {
    let is_of_link = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !(is_of_link || address.is_loopback() || address.is_unspecified() || address.is_multicast())
}

fn block(
    about: &Known,
    addresses: &[IpAddr],
    bounds: BlockIsolated,
    last: Option<&PeerOrder>,
    now: Timestamp,
) -> Option<Verb> {
    let verb = Verb::BlockHost {
        peer: about.id,
        addresses: addresses.to_vec(),
        seconds: bounds.seconds,
    };
    let is_due = match last {
        None => true,
        Some(last) if last.verb == verb => match progress(last, now) {
            Progress::UnderWay => false,
            Progress::Done => half_over(last, now),
            Progress::Failed => true,
        },
        Some(last) => progress(last, now) != Progress::UnderWay,
    };
    (is_due && !addresses.is_empty()).then_some(verb)
}

fn unblock(about: &Known, last: Option<&PeerOrder>, now: Timestamp) -> Option<Verb> {
    let last = last?;
    let is_due = match (last.until(), progress(last, now)) {
        (_, Progress::UnderWay) => false,
        // An isolated host in whose group blocking is not wanted any more is let be as well.
        (Some(until), _) => until > now && (about.standing != Standing::Open),
        (None, progress) => progress == Progress::Failed,
    };
    is_due.then_some(Verb::UnblockHost { peer: about.id })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// Wait.
    UnderWay,
    Done,
    /// And long enough ago to try again.
    Failed,
}

fn progress(order: &PeerOrder, now: Timestamp) -> Progress {
    let is_long_ago = order.issued_at.checked_add(AGAIN).is_ok_and(|at| at <= now);
    let is_lost = order
        .issued_at
        .checked_add(LIFETIME)
        .is_ok_and(|at| at <= now);
    match order.state {
        OrderState::Done => Progress::Done,
        OrderState::Queued | OrderState::Delivered | OrderState::Started if !is_lost => {
            Progress::UnderWay
        }
        _ if is_long_ago => Progress::Failed,
        _ => Progress::UnderWay,
    }
}

fn half_over(order: &PeerOrder, now: Timestamp) -> bool {
    order.until().is_none_or(|until| {
        let left = until.duration_since(now);
        let whole = until.duration_since(order.issued_at);
        left <= whole / 2
    })
}

fn reason(verb: &Verb, about: &Known) -> String {
    let name: String = about.name.chars().take(64).collect();
    match verb {
        Verb::UnblockHost { .. } => format!("host {name:?} is not blocked any more"),
        _ => format!("host {name:?} is isolated"),
    }
}

#[cfg(test)]
mod tests;
