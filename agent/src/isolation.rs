//! The isolation of this host: the state machine of [`cordon_respond`] with hands.

mod lease;

use std::net::SocketAddr;
use std::time::Instant;

use cordon_contain::{Applied, Health, IsolationSpec, ProbeTarget, Recovered};
use cordon_proto::policy::WithoutProof;
use cordon_proto::record::{IsolationReport, IsolationState, ReleaseChallenge, TamperReport};
use cordon_respond::isolation::{Effect, Input, Intent, Machine, Persisted, State};
use jiff::Timestamp;

use crate::hands::{Ends, Hands, Job, Outcome, ProbeJob};
use crate::proposals::clocks;
use lease::anchor_of;
pub use lease::{Lease, keep_time};

/// Why an isolation is over whose release a restart finished.
pub const INTERRUPTED_RELEASE: &str = "release interrupted by a restart";

/// What a start has to report of how it found the isolation.
pub fn found_tampered(recovered: &Recovered) -> Option<TamperReport> {
    let (what, repaired) = match recovered {
        Recovered::Open | Recovered::Adopted(_) | Recovered::Released(_) => return None,
        Recovered::Reapplied(..) => ("the isolation was not whole in the kernel".to_owned(), true),
        Recovered::FromKernel(_) => ("the isolation's state file was gone".to_owned(), true),
        Recovered::ShutUnknown { why } => (why.clone(), true),
        Recovered::OpenDamaged { why } => {
            let what = format!("the isolation's state file was damaged, the host is open: {why}");
            (what, false)
        }
    };
    Some(TamperReport {
        what,
        repaired,
        micros: 0,
        by: None,
    })
}

/// What a step led to, for the records.
#[derive(Debug, Default)]
pub struct News {
    /// Changes of the isolation, in order.
    pub reports: Vec<IsolationReport>,
    /// An interference that was mended, or not.
    pub tamper: Option<TamperReport>,
}

/// Why and how to isolate, beside the intent.
#[derive(Debug, Default)]
pub struct Circumstances {
    /// What stays reachable.
    pub ends: Ends,
    /// What must be out of reach, for the proof; the controller without the mark always is.
    pub forbidden: Vec<ProbeTarget>,
    /// Whether the controller answers now.
    pub controller_is_reachable: bool,
}

/// The isolation of this host.
pub struct Isolation {
    machine: Machine,
    hands: Hands,
    circumstances: Circumstances,
    /// Drops so far: a proof counts only for the rules that it was asked for.
    generation: u64,
    /// Since when the rules are known to be damaged.
    damage: Option<(Health, Instant)>,
    latest: Option<IsolationReport>,
    /// What opens it without the controller.
    release: Option<ReleaseChallenge>,
}

impl Isolation {
    /// Takes up what a restart found; `found` is in the kernel already.
    pub fn restart(found: Option<&IsolationSpec>, hands: Hands, now: Timestamp) -> Self {
        let persisted = found.map(|spec| Persisted {
            intent: intent_of(spec),
            releasing: false,
            anchor: anchor_of(spec),
        });
        let (machine, effects) = Machine::restart(persisted, clocks(now));
        let mut isolation = Self {
            machine,
            hands,
            circumstances: Circumstances::default(),
            generation: 0,
            damage: None,
            latest: None,
            release: None,
        };
        let reports = isolation.carry_out(effects);
        debug_assert!(reports.is_empty(), "a restart has nothing to report yet");
        isolation
    }

    /// Where it stands.
    pub fn state(&self) -> &State {
        self.machine.state()
    }

    /// The isolation in force or under way.
    pub fn intent(&self) -> Option<&Intent> {
        self.machine.intent()
    }

    /// What time it is for an isolation: [`Machine::time`]. `now` is the wall clock's.
    pub fn time(&self, now: Timestamp) -> Timestamp {
        self.machine.time(clocks(now))
    }

    /// Nothing is dropped and nothing is under way.
    pub fn is_open(&self) -> bool {
        self.machine.is_open()
    }

    /// The last thing said of the isolation in force; `None` when the host is open.
    pub fn latest(&self) -> Option<&IsolationReport> {
        self.latest.as_ref()
    }

    /// Reports say from now on that this opens the host. `Some`: what was reported last said otherwise, and is to be
    /// reported again like this.
    pub fn show(&mut self, release: Option<ReleaseChallenge>) -> Option<IsolationReport> {
        self.release = release;
        let latest = self.latest.as_mut().filter(|latest| is_shut(latest))?;
        if latest.release == self.release {
            return None;
        }
        latest.release.clone_from(&self.release);
        Some(latest.clone())
    }

    /// Cuts the host off, or lengthens the lease when it is.
    pub fn isolate(
        &mut self,
        intent: Intent,
        circumstances: Circumstances,
        now: Timestamp,
    ) -> News {
        if self.is_open() {
            self.circumstances = circumstances;
        }
        self.step(Input::Isolate(intent), now)
    }

    /// Opens the host.
    pub fn release(&mut self, reason: &str, now: Timestamp) -> News {
        self.step(Input::Release(reason.to_owned()), now)
    }

    /// Time passed.
    pub fn tick(&mut self, now: Timestamp) -> News {
        self.step(Input::Tick, now)
    }

    /// A job came back.
    pub fn came_back(&mut self, outcome: Outcome, now: Timestamp) -> News {
        match outcome {
            Outcome::Step(input @ Input::DropFailed(_)) => {
                let tamper = self.mended(false);
                self.with_tamper(input, tamper, now)
            }
            Outcome::Step(input) => self.step(input, now),
            Outcome::Dropped(applied) => self.dropped(applied, now),
            Outcome::Damaged { health, noticed } => self.damaged(health, noticed, now),
            Outcome::Moved { device } => self.moved(&device),
            Outcome::Probed {
                generation,
                evidence,
            } if generation == self.generation => self.step(Input::Probed(evidence), now),
            Outcome::Probed { .. } => News::default(),
        }
    }

    fn dropped(&mut self, applied: Applied, now: Timestamp) -> News {
        tracing::info!(
            egress = applied.egress,
            bridge = applied.bridge,
            cut_sockets = applied.cut_sockets,
            cut_conntrack = applied.cut_conntrack,
            warnings = ?applied.warnings,
            "the isolation's rules are in the kernel"
        );
        self.generation += 1;
        let tamper = self.mended(true);
        let input = Input::Dropped {
            rules_sha256: applied.rules_sha256,
            dropped_at_mono_ns: applied.dropped_at_mono_ns,
        };
        self.with_tamper(input, tamper, now)
    }

    /// Only in a host that is shut is it an interference; else the rules are just coming or going.
    fn damaged(&mut self, health: Health, noticed: Instant, now: Timestamp) -> News {
        if !matches!(self.state(), State::Shut(shut) if !shut.rules_sha256.is_empty()) {
            return News::default();
        }
        tracing::warn!(
            ?health,
            "the isolation's rules were changed, putting them back"
        );
        self.damage.get_or_insert((health, noticed));
        self.step(Input::Tampered, now)
    }

    /// Where it is now, no rule of this host's holds; when it comes back it is covered like one that appears.
    fn moved(&self, device: &str) -> News {
        if !matches!(self.state(), State::Shut(_)) {
            return News::default();
        }
        let what = format!(
            "network device {device} was moved into another network namespace: what leaves by it there is not stopped"
        );
        tracing::warn!(what, "the isolation was interfered with");
        News {
            tamper: Some(TamperReport {
                what,
                repaired: false,
                micros: 0,
                by: None,
            }),
            ..News::default()
        }
    }

    fn mended(&mut self, repaired: bool) -> Option<TamperReport> {
        let (health, noticed) = self.damage.take()?;
        Some(TamperReport {
            what: what_happened(&health),
            repaired,
            micros: noticed.elapsed().as_micros() as u64,
            by: None,
        })
    }

    fn with_tamper(&mut self, input: Input, tamper: Option<TamperReport>, now: Timestamp) -> News {
        News {
            tamper,
            ..self.step(input, now)
        }
    }

    fn step(&mut self, input: Input, now: Timestamp) -> News {
        let effects = self.machine.step(input, clocks(now));
        let reports = self.carry_out(effects);
        if let Some(last) = reports.last() {
            self.latest = Some(last.clone());
        }
        if self.is_open() {
            self.latest = None;
            self.release = None;
            self.damage = None;
        }
        News {
            reports,
            tamper: None,
        }
    }

    fn carry_out(&mut self, effects: Vec<Effect>) -> Vec<IsolationReport> {
        let mut reports = Vec::new();
        for effect in effects {
            match effect {
                Effect::Persist(intent) => self.hands.job(Job::Persist {
                    intent,
                    ends: self.circumstances.ends.clone(),
                    clocks: self.machine.anchor(),
                }),
                Effect::Drop(intent) => self.hands.job(Job::Drop(intent)),
                Effect::Probe(_) => self.hands.probe(ProbeJob {
                    generation: self.generation,
                    forbidden: self.circumstances.forbidden.clone(),
                    controller_was_reachable: self.circumstances.controller_is_reachable,
                }),
                Effect::Open(_) => self.hands.job(Job::Open),
                Effect::Report(report) => reports.push(self.with_challenge(report)),
            }
        }
        reports
    }

    /// A host that is open, or being opened, has nothing to be answered.
    fn with_challenge(&self, report: IsolationReport) -> IsolationReport {
        let release = self.release.clone().filter(|_| is_shut(&report));
        IsolationReport { release, ..report }
    }
}

fn is_shut(report: &IsolationReport) -> bool {
    use IsolationState::{Applied, Confirmed, Unproven};
    matches!(report.state, Applied | Confirmed | Unproven)
}

/// In words.
pub fn what_happened(health: &Health) -> String {
    match health {
        Health::Missing => "an nftables table of the isolation was gone".to_owned(),
        Health::Altered => "an nftables table of the isolation was altered".to_owned(),
        Health::Uncovered { device } => {
            format!("network device {device} appeared and was not covered")
        }
        Health::Whole => "nothing".to_owned(),
    }
}

/// An isolation found on disk. What the disk does not know is chosen so that nothing opens by it: a
/// re-adopted isolation is not rolled back.
fn intent_of(spec: &IsolationSpec) -> Intent {
    Intent {
        id: spec.id,
        reason: spec.reason.clone(),
        tree: spec.tree.clone(),
        started_at: spec.started_at,
        lease_expires_at: spec.lease_expires_at,
        policy_version: spec.policy_version,
        without_proof: WithoutProof::StayShut,
        event_mono_ns: None,
    }
}

/// Remote ends of a story that must be out of reach once the host is cut off.
///
/// Left out: what stays reachable by rule (loopback, this host's own addresses, the policy's list) and
/// the controller, which is probed anyway.
pub fn forbidden_ends(
    connections: &[cordon_behavior::story::Connection],
    ends: &Ends,
    own: &[std::net::IpAddr],
) -> Vec<ProbeTarget> {
    const MOST: usize = 4;
    // The probe is a TCP connection: a UDP peer's port says nothing to it.
    let outbound = connections
        .iter()
        .rev()
        .filter(|c| c.direction == "out" && c.protocol == "tcp");
    let parsed = outbound.filter_map(|c| Some(SocketAddr::new(c.address.parse().ok()?, c.port)));
    let mut found: Vec<ProbeTarget> = Vec::new();
    for address in parsed {
        let ip = address.ip();
        let is_reachable = ip.is_loopback()
            || ip.is_unspecified()
            || own.contains(&ip)
            || ends.controllers.iter().any(|end| end.ip() == ip)
            || ends.allow.iter().any(|rule| rule.address == ip);
        let target = ProbeTarget {
            address,
            transport: cordon_proto::policy::Transport::Tcp,
        };
        if !is_reachable && !found.contains(&target) {
            found.push(target);
        }
    }
    found.truncate(MOST);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use cordon_behavior::story::Connection;

    #[test]
    fn only_ends_that_the_isolation_forbids_are_probed() {
        let out = |address: &str, port| Connection {
            direction: "out".into(),
            protocol: "tcp".into(),
            address: address.into(),
            port,
            ..Connection::default()
        };
        let datagram = Connection {
            protocol: "udp".into(),
            ..out("203.0.113.53", 53)
        };
        let connections = [
            datagram,
            out("127.0.0.1", 80),
            out("203.0.113.9", 4444),
            out("203.0.113.9", 4444),
            out("192.0.2.5", 22),
            out("198.51.100.1", 7443),
        ];
        let ends = Ends {
            controllers: vec!["198.51.100.1:7443".parse().unwrap()],
            allow: Vec::new(),
        };
        let own = ["192.0.2.5".parse().unwrap()];
        let found = forbidden_ends(&connections, &ends, &own);
        let addresses: Vec<_> = found.iter().map(|t| t.address.to_string()).collect();
        assert_eq!(addresses, ["203.0.113.9:4444"]);
    }
}
