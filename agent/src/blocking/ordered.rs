//! Remote ends that an order names.

use std::net::IpAddr;

use cordon_contain::{Blocked, ContainError};
use cordon_proto::record::{BlockAct, BlockReport};
use jiff::Timestamp;
use tokio::sync::oneshot;

use super::peers::by_datagram;
use super::{Blocker, Job, Worker, by_hand, tell};
use crate::local::{Answer, reply};
use crate::ordered::By;

/// A remote end that an order names.
#[derive(Clone, Debug)]
pub struct RemoteOrder {
    /// Who.
    pub address: IpAddr,
    /// Until when nothing passes; `None`: it can be reached again.
    pub until: Option<Timestamp>,
    /// Who ordered it.
    pub by: By,
}

impl Blocker {
    /// Blocks or unblocks, and answers when it is known what came of it. Never waits.
    pub fn obey(&self, order: RemoteOrder, to: oneshot::Sender<Answer>) {
        self.ask(Job::Obey(Box::new(order), to));
    }
}

impl Worker {
    pub(super) fn obey(&self, order: &RemoteOrder, to: oneshot::Sender<Answer>) {
        let address = order.address.to_canonical();
        let done = match order.until {
            Some(until) => self.block_ordered(order, address, until),
            None => self.unblock_ordered(order, address),
        };
        let answer = done.unwrap_or_else(|error| Answer::Failed {
            detail: crate::chain(&error),
        });
        // Whoever asks next is told how it is now.
        self.note();
        reply(to, answer);
    }

    fn block_ordered(
        &self,
        order: &RemoteOrder,
        address: IpAddr,
        until: Timestamp,
    ) -> Result<Answer, ContainError> {
        let now = Timestamp::now();
        if until <= now {
            return Ok(Answer::Done {
                detail: format!("{address} was to be blocked until {until}, which is over"),
                isolation: None,
            });
        }
        let blocked = self.blocks.block_for(address, until, now)?;
        if !blocked.beyond.is_empty() {
            let detail = "not blocked: as many addresses are already as can be; `cordonctl unblock-remote` ends one".to_owned();
            return Ok(Answer::Failed { detail });
        }
        Ok(self.blocked(order, address, &blocked))
    }

    /// A block that goes on as it was is no news for the records.
    fn blocked(&self, order: &RemoteOrder, address: IpAddr, blocked: &Blocked) -> Answer {
        for warning in &blocked.warnings {
            tracing::warn!(%warning, "a remote end is blocked");
        }
        let probes = self.blocks.prove(&by_datagram(&[address]));
        let proved = blocked.is_whole && probes.iter().all(|probe| !probe.reached);
        let tried: Vec<&str> = probes.iter().map(|probe| probe.target.as_str()).collect();
        let tried = tried.join(", ");
        let until = blocked.fresh.first().map(|block| block.until);
        let said = match until {
            Some(until) => format!(
                "{address} is blocked until {until}, {} connections ended",
                blocked.cut_sockets
            ),
            None => format!("{address} was blocked already, for as long or longer"),
        };
        if until.is_some() {
            tell(
                &self.recorder,
                BlockReport {
                    until,
                    cut: blocked.cut_sockets as u64,
                    probes,
                    proved,
                    ..report(order, BlockAct::Blocked, address)
                },
            );
        }
        if proved {
            Answer::Done {
                detail: format!("{said}; the kernel lists it, and {tried} was refused"),
                isolation: None,
            }
        } else {
            Answer::Failed {
                detail: format!(
                    "{said}, but {tried} could be reached, or the kernel does not list it: isolate the host"
                ),
            }
        }
    }

    fn unblock_ordered(
        &self,
        order: &RemoteOrder,
        address: IpAddr,
    ) -> Result<Answer, ContainError> {
        let now = Timestamp::now();
        let was_blocked = self.blocks.unblock_remote(address, now)?;
        let proved = !self.blocks.repair(now)?;
        if was_blocked {
            let report = BlockReport {
                proved,
                ..report(order, BlockAct::Unblocked, address)
            };
            tell(&self.recorder, report);
        }
        let in_force = self.blocks.in_force(now)?;
        let is_of_peer = in_force.iter().any(|block| block.address == address);
        let detail = match (is_of_peer, was_blocked) {
            (true, _) => format!(
                "{address} is blocked as an isolated host's, which goes on: releasing that host ends it"
            ),
            (false, true) => format!("{address} can be reached again"),
            (false, false) => format!("{address} was not blocked"),
        };
        Ok(Answer::Done {
            detail,
            isolation: None,
        })
    }
}

fn report(order: &RemoteOrder, act: BlockAct, address: IpAddr) -> BlockReport {
    BlockReport {
        policy_version: order.by.policy_version,
        ordered: Some(order.by.ordered.clone()),
        ..by_hand(act, &order.by.reason, vec![address])
    }
}
