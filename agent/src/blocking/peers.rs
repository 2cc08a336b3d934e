//! Isolated hosts of the fleet: blocked as remote ends are, and asked for by an order.

use std::net::{IpAddr, SocketAddr};

use cordon_contain::{Blocked, Peer, ProbeTarget};
use cordon_proto::id::HostId;
use cordon_proto::policy::Transport;
use cordon_proto::record::{BlockAct, BlockReport, SparedRemote};
use jiff::Timestamp;
use tokio::sync::oneshot;

use super::{Worker, by_hand, tell};
use crate::local::{Answer, reply};

/// An isolated host of the fleet that is to be blocked.
#[derive(Clone, Debug)]
pub struct PeerJob {
    /// Who, by which addresses, until when.
    pub peer: Peer,
    /// Addresses of it that are left alone.
    pub spared: Vec<SparedRemote>,
    /// Most hosts that are blocked at once.
    pub most: usize,
    /// Why.
    pub reason: String,
    /// Policy version that allows it.
    pub policy_version: u64,
}

impl Worker {
    pub(super) fn block_peer(&self, job: &PeerJob, to: oneshot::Sender<Answer>) {
        let blocked = self
            .blocks
            .block_peer(&job.peer, job.most, Timestamp::now());
        let answer = match blocked {
            Ok(blocked) if !blocked.beyond.is_empty() => Answer::Failed {
                detail: format!(
                    "not blocked: {} hosts are already, or as many addresses as can be",
                    job.most
                ),
            },
            Ok(blocked) => self.peer_blocked(job, &blocked),
            Err(error) => Answer::Failed {
                detail: crate::chain(&error),
            },
        };
        self.note();
        reply(to, answer);
    }

    /// A block that only goes on is no news for the records.
    fn peer_blocked(&self, job: &PeerJob, blocked: &Blocked) -> Answer {
        for warning in &blocked.warnings {
            tracing::warn!(%warning, "a host is blocked");
        }
        let probes = self.blocks.prove(&by_datagram(&job.peer.addresses));
        let proved = blocked.is_whole && probes.iter().all(|probe| !probe.reached);
        let addresses = in_words(&job.peer.addresses);
        let (host, until) = (job.peer.host, job.peer.until);
        if !blocked.fresh.is_empty() {
            let report = BlockReport {
                peer: Some(host),
                until: Some(until),
                spared: job.spared.clone(),
                cut: blocked.cut_sockets as u64,
                probes,
                proved,
                policy_version: job.policy_version,
                ..by_hand(BlockAct::Blocked, &job.reason, job.peer.addresses.clone())
            };
            tell(&self.recorder, report);
        }
        if proved {
            Answer::Done {
                detail: format!("{addresses} blocked until {until}, with proof"),
                isolation: None,
            }
        } else {
            let detail = format!("{addresses} could be reached although they are blocked");
            Answer::Failed { detail }
        }
    }

    pub(super) fn unblock_peer(&self, host: HostId, reason: &str, to: oneshot::Sender<Answer>) {
        let now = Timestamp::now();
        let ended = self.blocks.unblock_peer(host, now);
        let ended = ended.and_then(|ended| Ok((ended, !self.blocks.repair(now)?)));
        let answer = match ended {
            Ok((ended, proved)) => {
                let detail = match ended.as_slice() {
                    [] => "it was not blocked".to_owned(),
                    ended => format!("{} can be reached again", in_words(ended)),
                };
                if !ended.is_empty() {
                    let report = BlockReport {
                        peer: Some(host),
                        proved,
                        ..by_hand(BlockAct::Unblocked, reason, ended)
                    };
                    tell(&self.recorder, report);
                }
                Answer::Done {
                    detail,
                    isolation: None,
                }
            }
            Err(error) => Answer::Failed {
                detail: crate::chain(&error),
            },
        };
        self.note();
        reply(to, answer);
    }
}

/// A datagram to the port that discards them: the kernel says at once that it is dropped, and nobody is waited for.
pub(super) fn by_datagram(addresses: &[IpAddr]) -> Vec<ProbeTarget> {
    const DISCARD: u16 = 9;
    let target = |address: &IpAddr| ProbeTarget {
        address: SocketAddr::new(*address, DISCARD),
        transport: Transport::Udp,
    };
    addresses.iter().map(target).collect()
}

fn in_words(addresses: &[IpAddr]) -> String {
    let addresses: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
    addresses.join(", ")
}
