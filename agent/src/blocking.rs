//! Blocks the remote ends of malicious processes, and isolated hosts of the fleet, for a time, on a thread of its own: no
//! isolation waits for it.

mod ordered;
mod peers;
mod protected;

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cordon_behavior::story::Connection;
use cordon_contain::{Block, Blocked, Blocks, ContainError, ProbeTarget, monotonic_ns};
use cordon_proto::id::HostId;
use cordon_proto::policy::{Policy, Transport};
use cordon_proto::record::{BlockAct, BlockReport, RecordBody, SparedRemote, TamperReport};
use cordon_respond::block::Never;
use jiff::Timestamp;
use tokio::sync::oneshot;

use crate::host;
use crate::local::{Answer, reply};
use crate::recorder::Recorder;
use protected::Protected;

pub use ordered::RemoteOrder;
pub use peers::PeerJob;

const JOBS: usize = 64;
/// The table is looked at this often while anybody is blocked.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Remote ends to be blocked.
#[derive(Clone, Debug)]
pub struct BlockJob {
    /// Who, and how it is tried afterwards that they cannot be reached; each address once.
    pub remotes: Vec<ProbeTarget>,
    /// Who was left alone.
    pub spared: Vec<SparedRemote>,
    /// When they can be reached again.
    pub until: Timestamp,
    /// Name of the judged process's tree in records.
    pub name: String,
    /// Why.
    pub reason: String,
    /// Kernel's stamp of the judged event, nanoseconds of CLOCK_MONOTONIC.
    pub event_mono_ns: u64,
    /// Policy version that allows it.
    pub policy_version: u64,
}

enum Job {
    Block(Box<BlockJob>),
    BlockPeer(Box<PeerJob>, oneshot::Sender<Answer>),
    Obey(Box<RemoteOrder>, oneshot::Sender<Answer>),
    UnblockPeer {
        host: HostId,
        reason: String,
        to: oneshot::Sender<Answer>,
    },
    Unblock {
        address: IpAddr,
        reason: String,
        to: oneshot::Sender<Answer>,
    },
    /// Something is to be seen to that no job says.
    Look,
}

/// The way to the thread.
#[derive(Clone)]
pub struct Blocker {
    jobs: SyncSender<Job>,
    recorder: Recorder,
    in_force: Arc<Mutex<Vec<Block>>>,
    protected: Protected,
}

impl Blocker {
    /// Starts the thread, which puts back first what is on disk. It ends when every handle is gone.
    pub fn start(blocks: Blocks, recorder: Recorder) -> std::io::Result<Self> {
        let (jobs, queue) = sync_channel(JOBS);
        let in_force = Arc::new(Mutex::new(Vec::new()));
        let protected = Protected::default();
        let worker = Worker {
            blocks,
            recorder: recorder.clone(),
            in_force: Arc::clone(&in_force),
            protected: protected.clone(),
        };
        std::thread::Builder::new()
            .name("cordon-block".to_owned())
            .spawn(move || worker.run(&queue))?;
        Ok(Self {
            jobs,
            recorder,
            in_force,
            protected,
        })
    }

    /// Blocks those who are not blocked already. Never waits.
    pub fn block(&self, mut job: BlockJob) {
        let now = Timestamp::now();
        let known = self.in_force(now);
        let is_new = |remote: &ProbeTarget| {
            let address = remote.address.ip();
            known.iter().all(|block| block.address != address)
        };
        job.remotes.retain(is_new);
        if job.remotes.is_empty() {
            return;
        }
        let sent = self.jobs.try_send(Job::Block(Box::new(job)));
        if let Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) = sent
            && let Job::Block(job) = job
        {
            let why = "too much is to be blocked at once";
            tell(&self.recorder, failed(&job, why));
        }
    }

    /// Lets an address be reached again, and answers.
    pub fn unblock(&self, address: IpAddr, reason: String, to: oneshot::Sender<Answer>) {
        let job = Job::Unblock {
            address,
            reason,
            to,
        };
        self.ask(job);
    }

    /// Blocks an isolated host of the fleet, and answers.
    pub fn block_peer(&self, job: PeerJob, to: oneshot::Sender<Answer>) {
        self.ask(Job::BlockPeer(Box::new(job), to));
    }

    /// Lets an isolated host of the fleet be reached again, and answers.
    pub fn unblock_peer(&self, host: HostId, reason: String, to: oneshot::Sender<Answer>) {
        self.ask(Job::UnblockPeer { host, reason, to });
    }

    fn ask(&self, job: Job) {
        if let Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) =
            self.jobs.try_send(job)
            && let Job::Unblock { to, .. }
            | Job::BlockPeer(_, to)
            | Job::UnblockPeer { to, .. }
            | Job::Obey(_, to) = job
        {
            let detail = "too much is blocked and unblocked at once: ask again".to_owned();
            reply(to, Answer::Failed { detail });
        }
    }

    /// Who is blocked.
    pub fn in_force(&self, now: Timestamp) -> Vec<Block> {
        let in_force = self.in_force.lock();
        let mut blocks = in_force.unwrap_or_else(PoisonError::into_inner).clone();
        blocks.retain(|block| block.until > now);
        blocks
    }
}

/// Whom no policy blocks, by what is known now.
pub fn never(policy: &Policy, controllers: &[SocketAddr]) -> Never {
    Never {
        controllers: controllers.iter().map(SocketAddr::ip).collect(),
        own: host::addresses(),
        allow: policy.isolation.allow.iter().map(|r| r.address).collect(),
        protected: policy.protected_addresses.clone(),
        resolvers: host::resolvers(),
    }
}

/// Whom the process and its descendants called, the latest first.
pub fn called(connections: &[Connection]) -> impl Iterator<Item = ProbeTarget> {
    let outbound = connections.iter().rev().filter(|c| c.direction == "out");
    outbound.filter_map(|connection| {
        let address: IpAddr = connection.address.parse().ok()?;
        Some(ProbeTarget {
            address: SocketAddr::new(address.to_canonical(), connection.port),
            transport: match connection.protocol.as_str() {
                "udp" => Transport::Udp,
                _ => Transport::Tcp,
            },
        })
    })
}

struct Worker {
    blocks: Blocks,
    recorder: Recorder,
    in_force: Arc<Mutex<Vec<Block>>>,
    protected: Protected,
}

impl Worker {
    fn run(&self, queue: &Receiver<Job>) {
        self.look(false);
        loop {
            match queue.recv_timeout(LOOK_AGAIN) {
                Ok(Job::Block(job)) => self.block(&job),
                Ok(Job::Unblock {
                    address,
                    reason,
                    to,
                }) => self.unblock(address, &reason, to),
                Ok(Job::BlockPeer(job, to)) => self.block_peer(&job, to),
                Ok(Job::Obey(order, to)) => self.obey(&order, to),
                Ok(Job::UnblockPeer { host, reason, to }) => self.unblock_peer(host, &reason, to),
                Ok(Job::Look) => {}
                Err(RecvTimeoutError::Timeout) => self.look(true),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.note();
            self.spare();
        }
    }

    /// Puts back what is not in the kernel. After a reboot nothing is, and nobody is to blame.
    fn look(&self, is_tampering: bool) {
        let repaired = self.blocks.repair(Timestamp::now());
        self.note();
        match repaired {
            Ok(true) if is_tampering && !lock(&self.in_force).is_empty() => {
                let what = "the nftables table of blocked remote ends was altered".to_owned();
                self.recorder.record(RecordBody::Tamper(TamperReport {
                    what,
                    repaired: true,
                    micros: 0,
                    by: None,
                }));
            }
            Ok(_) => {}
            Err(error) => {
                let why = crate::chain(&error);
                tracing::error!(%why, "blocked remote ends cannot be looked after");
            }
        }
    }

    fn block(&self, job: &BlockJob) {
        let addresses: Vec<IpAddr> = job.remotes.iter().map(|r| r.address.ip()).collect();
        match self.blocks.block(&addresses, job.until, Timestamp::now()) {
            Ok(blocked) if blocked.fresh.is_empty() && blocked.beyond.is_empty() => {}
            Ok(blocked) => {
                let took_ns = monotonic_ns().saturating_sub(job.event_mono_ns);
                tell(&self.recorder, self.proved(job, blocked, took_ns));
            }
            Err(error) => tell(&self.recorder, failed(job, &crate::chain(&error))),
        }
    }

    fn proved(&self, job: &BlockJob, blocked: Blocked, took_ns: u64) -> BlockReport {
        for warning in &blocked.warnings {
            tracing::warn!(%warning, "remote ends are blocked");
        }
        let addresses: Vec<IpAddr> = blocked.fresh.iter().map(|block| block.address).collect();
        let is_fresh = |remote: &&ProbeTarget| addresses.contains(&remote.address.ip());
        let targets: Vec<ProbeTarget> = job.remotes.iter().filter(is_fresh).copied().collect();
        let probes = self.blocks.prove(&targets);
        let beyond = blocked.beyond.into_iter().map(|address| SparedRemote {
            address,
            why: "as many are blocked already as can be at once".to_owned(),
        });
        BlockReport {
            proved: blocked.is_whole && probes.iter().all(|probe| !probe.reached),
            spared: job.spared.iter().cloned().chain(beyond).collect(),
            until: Some(job.until),
            cut: blocked.cut_sockets as u64,
            probes,
            event_to_block_micros: Some(took_ns / 1000),
            ..report(job, addresses)
        }
    }

    fn unblock(&self, address: IpAddr, reason: &str, to: oneshot::Sender<Answer>) {
        let (answer, report) = unblock(&self.blocks, address, reason);
        if let Some(report) = report {
            tell(&self.recorder, report);
        }
        // Whoever asks next is told how it is now.
        self.note();
        reply(to, answer);
    }

    fn note(&self) {
        match self.blocks.in_force(Timestamp::now()) {
            Ok(blocks) => *lock(&self.in_force) = blocks,
            Err(error) => {
                tracing::warn!(error = %crate::chain(&error), "cannot tell who is blocked");
            }
        }
    }
}

fn lock(blocks: &Mutex<Vec<Block>>) -> std::sync::MutexGuard<'_, Vec<Block>> {
    blocks.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets an address be reached again: what is answered, and what is recorded if anything was done.
pub fn unblock(blocks: &Blocks, address: IpAddr, reason: &str) -> (Answer, Option<BlockReport>) {
    let address = address.to_canonical();
    match try_unblock(blocks, address) {
        Ok(None) => {
            let detail = format!("{address} is not blocked: `cordon-agent status` lists who is");
            (Answer::Failed { detail }, None)
        }
        Ok(Some(proved)) => {
            let report = BlockReport {
                proved,
                ..by_hand(BlockAct::Unblocked, reason, vec![address])
            };
            let answer = Answer::Done {
                detail: format!("{address} can be reached again"),
                isolation: None,
            };
            (answer, Some(report))
        }
        Err(error) => {
            let detail = crate::chain(&error);
            (Answer::Failed { detail }, None)
        }
    }
}

/// `None`: it was not blocked. Else whether the kernel has what is wanted now.
fn try_unblock(blocks: &Blocks, address: IpAddr) -> Result<Option<bool>, ContainError> {
    let now = Timestamp::now();
    if !blocks.unblock(address, now)? {
        return Ok(None);
    }
    Ok(Some(!blocks.repair(now)?))
}

fn report(job: &BlockJob, addresses: Vec<IpAddr>) -> BlockReport {
    BlockReport {
        tree: Some(job.name.clone()),
        spared: job.spared.clone(),
        policy_version: job.policy_version,
        ..by_hand(BlockAct::Blocked, &job.reason, addresses)
    }
}

/// What is reported of an act that no verdict led to; not proved yet.
fn by_hand(act: BlockAct, reason: &str, addresses: Vec<IpAddr>) -> BlockReport {
    BlockReport {
        tree: None,
        peer: None,
        act,
        reason: reason.to_owned(),
        addresses,
        until: None,
        spared: Vec::new(),
        cut: 0,
        probes: Vec::new(),
        proved: false,
        event_to_block_micros: None,
        policy_version: 0,
        ordered: None,
    }
}

/// Nobody was blocked, and each is told with why.
fn failed(job: &BlockJob, why: &str) -> BlockReport {
    tracing::error!(%why, "remote ends could not be blocked");
    let unblocked = job.remotes.iter().map(|remote| SparedRemote {
        address: remote.address.ip(),
        why: format!("could not be blocked: {why}"),
    });
    BlockReport {
        spared: job.spared.iter().cloned().chain(unblocked).collect(),
        ..report(job, Vec::new())
    }
}

fn tell(recorder: &Recorder, report: BlockReport) {
    tracing::warn!(
        act = ?report.act, addresses = ?report.addresses, until = ?report.until, cut = report.cut,
        proved = report.proved, reason = %report.reason, "remote ends"
    );
    recorder.record(RecordBody::Block(Box::new(report)));
}

/// Who is blocked on a host, as far as this process may see; nobody where there is no state.
pub fn on_disk(state_dir: &Path) -> Vec<Block> {
    if !state_dir.exists() {
        return Vec::new();
    }
    let blocks = Blocks::open(state_dir).and_then(|blocks| blocks.in_force(Timestamp::now()));
    blocks.unwrap_or_default()
}
