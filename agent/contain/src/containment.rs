//! Isolate, verify, repair, release: the acts, in the order that leaves no half state.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use cordon_proto::id::IsolationId;
use cordon_proto::record::Probe;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::if_nameindex;

use crate::clock::monotonic_ns;
use crate::error::ContainError;
use crate::listing::Listing;
use crate::probe::{ProbeTarget, prove};
use crate::rules::{self, Surroundings};
use crate::spec::IsolationSpec;
use crate::state::{OnDisk, Phase, StateDir};
use crate::{chains, flows, nft};

/// Number of the loopback device in every network namespace (LOOPBACK_IFINDEX, linux/net/loopback.c).
const LOOPBACK_INDEX: u32 = 1;

/// The isolation of the network namespace that this process is in.
#[derive(Debug)]
pub struct Containment {
    state: StateDir,
    mark: u32,
}

/// Rules in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// SHA-256 of the rules as the kernel lists them, hex.
    pub rules_sha256: String,
    /// CLOCK_MONOTONIC when the transaction was through, nanoseconds: the latest moment at which the
    /// last packet can have left.
    pub dropped_at_mono_ns: u64,
    /// Raw and packet sockets are stopped too (`netdev` egress; Linux 5.16 and later).
    pub egress: bool,
    /// TCP connections that were ended.
    pub cut_sockets: usize,
    /// Conntrack entries that were deleted.
    pub cut_conntrack: usize,
    /// What could not be done beside the drop itself, in words.
    pub warnings: Vec<String>,
}

/// The kernel's rules against those that were applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Exactly what was applied, on every device.
    Whole,
    /// A table is gone, or nothing was applied yet.
    Missing,
    /// The tables are there and differ.
    Altered,
    /// A device appeared that raw senders could use.
    Uncovered {
        /// Its name.
        device: String,
    },
}

/// What a start found, and what was done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recovered {
    /// Nothing on disk, nothing in the kernel.
    Open,
    /// On disk and whole in the kernel.
    Adopted(IsolationSpec),
    /// On disk, and not or not wholly in the kernel: applied again.
    Reapplied(IsolationSpec, Applied),
    /// A release was cut short: finished.
    Released(IsolationSpec),
    /// The file was gone or damaged; the kernel's table says what it said, and the file is back.
    FromKernel(IsolationSpec),
    /// The file was gone or damaged, and the kernel's table does not say what isolation it is: left
    /// shut. A release opens it.
    ShutUnknown {
        /// What is wrong.
        why: String,
    },
    /// The file was damaged and the kernel has no table: open. The file is kept beside.
    OpenDamaged {
        /// What is wrong.
        why: String,
    },
}

impl Containment {
    /// Uses (and makes, where missing) `state_dir`; `mark` is on the agent's own sockets.
    pub fn open(state_dir: &Path, mark: u32) -> Result<Self, ContainError> {
        let state = StateDir::open(state_dir)?;
        Ok(Self { state, mark })
    }

    /// Writes intent and lease to disk, then drops, then cuts what was open. Again is harmless.
    pub fn isolate(&self, spec: &IsolationSpec) -> Result<Applied, ContainError> {
        self.intend(spec)?;
        self.apply(spec.id)
    }

    /// Writes intent and lease to disk. Nothing is dropped by this.
    pub fn intend(&self, spec: &IsolationSpec) -> Result<(), ContainError> {
        if spec.controllers.is_empty() && spec.lease_expires_at.is_none() {
            return Err(ContainError::NoWayBack);
        }
        let _lock = self.state.lock()?;
        let before = self.state.read().ok().flatten();
        let mut state = OnDisk::intended(spec.clone());
        // The same isolation with a longer lease: what the kernel holds is still its own.
        if let Some(before) = before.filter(|before| before.spec.id == spec.id) {
            state.rules_sha256 = before.rules_sha256;
            state.egress = before.egress;
        }
        self.state.write(&state)
    }

    /// Puts the rules of the isolation on disk into the kernel by one transaction, and cuts flows.
    pub fn apply(&self, id: IsolationId) -> Result<Applied, ContainError> {
        let _lock = self.state.lock()?;
        let on_disk = self.state.read()?;
        match on_disk {
            Some(state) if state.spec.id == id && state.phase == Phase::Shut => self.put_in(state),
            _ => Err(ContainError::NotIntended(id)),
        }
    }

    /// The isolation that is wanted, from disk. A damaged file reads as none here: [`Self::recover`]
    /// says more.
    pub fn current(&self) -> Option<IsolationSpec> {
        let state = self.state.read().ok().flatten()?;
        (state.phase == Phase::Shut).then_some(state.spec)
    }

    /// Removes rules, then state. Says what was released; releasing an open host is harmless.
    ///
    /// That a release has begun is on disk first: cut short anywhere, it is finished at the next start.
    pub fn release(&self) -> Result<Option<IsolationSpec>, ContainError> {
        let _lock = self.state.lock()?;
        match self.state.read() {
            Ok(state) => self.take_out(state),
            // Whatever the file says, the host is to be opened.
            Err(ContainError::Damaged { .. }) => self.take_out(None),
            Err(error) => Err(error),
        }
    }

    /// Compares the kernel's rules with those that were applied.
    pub fn verify(&self) -> Result<Health, ContainError> {
        let _lock = self.state.lock()?;
        match self.state.read()? {
            None => Ok(Health::Missing),
            Some(state) => health(&state, &Listing::read()?),
        }
    }

    /// Applies the isolation on disk again if the kernel's rules are not whole. `None`: nothing to do.
    pub fn repair(&self) -> Result<Option<Applied>, ContainError> {
        let _lock = self.state.lock()?;
        let Some(state) = self.state.read()?.filter(|s| s.phase == Phase::Shut) else {
            return Ok(None);
        };
        match health(&state, &Listing::read()?)? {
            Health::Whole => Ok(None),
            _ => self.put_in(state).map(Some),
        }
    }

    /// At a start: finishes what was cut short, and re-adopts what is in force. Leases are the
    /// caller's: it knows the time.
    pub fn recover(&self) -> Result<Recovered, ContainError> {
        let _lock = self.state.lock()?;
        match self.state.read() {
            Ok(Some(state)) if state.phase == Phase::Releasing => {
                let spec = state.spec.clone();
                self.take_out(Some(state))?;
                Ok(Recovered::Released(spec))
            }
            Ok(Some(state)) => self.adopt(state),
            Ok(None) => self.read_from_kernel(None),
            Err(ContainError::Damaged { why, .. }) => self.read_from_kernel(Some(why)),
            Err(error) => Err(error),
        }
    }

    /// Probes: each controller with and without the agent's mark, each of `forbidden` without.
    /// Blocks for about 200 ms, at most 1.5 s.
    pub fn prove(&self, spec: &IsolationSpec, forbidden: &[ProbeTarget]) -> Vec<Probe> {
        prove(self.mark, &spec.controllers, forbidden)
    }

    fn adopt(&self, state: OnDisk) -> Result<Recovered, ContainError> {
        let spec = state.spec.clone();
        Ok(match health(&state, &Listing::read()?)? {
            Health::Whole => Recovered::Adopted(spec),
            _ => Recovered::Reapplied(spec, self.put_in(state)?),
        })
    }

    /// The rule for a state file that is gone or damaged: with a table in the kernel the host stays
    /// shut, without one it is open; either way it is reported, and a damaged file is kept.
    fn read_from_kernel(&self, damage: Option<String>) -> Result<Recovered, ContainError> {
        let listing = Listing::read()?;
        if !listing.inet && !listing.netdev {
            let Some(why) = damage else {
                return Ok(Recovered::Open);
            };
            self.state.set_aside()?;
            return Ok(Recovered::OpenDamaged { why });
        }
        let why = damage.unwrap_or_else(|| "the state file is gone".into());
        let Some(spec) = listing.spec() else {
            return Ok(Recovered::ShutUnknown { why });
        };
        self.state.set_aside()?;
        // Applied again, because nobody can say any more whether these rules are the ones applied.
        self.state.write(&OnDisk::intended(spec.clone()))?;
        self.put_in(OnDisk::intended(spec.clone()))?;
        Ok(Recovered::FromKernel(spec))
    }

    fn put_in(&self, mut state: OnDisk) -> Result<Applied, ContainError> {
        let mut warnings = Vec::new();
        let around = surroundings()?;
        state.egress = self.transact(&state.spec, &around, &mut warnings)?;
        let dropped_at_mono_ns = monotonic_ns();
        let controllers: Vec<_> = state.spec.controller_ends().collect();
        let cut = flows::cut(self.mark, &local_addresses()?, &controllers);
        warnings.extend(cut.failures);
        let rules_sha256 = Listing::read()?.sha256;
        state.rules_sha256 = Some(rules_sha256.clone());
        self.state.write(&state)?;
        Ok(Applied {
            rules_sha256,
            dropped_at_mono_ns,
            egress: state.egress,
            cut_sockets: cut.sockets,
            cut_conntrack: cut.conntrack,
            warnings,
        })
    }

    /// Whether egress chains went in too.
    fn transact(
        &self,
        spec: &IsolationSpec,
        around: &Surroundings,
        warnings: &mut Vec<String>,
    ) -> Result<bool, ContainError> {
        const ACT: &str = "isolate";
        let full =
            |around: &Surroundings| nft::apply(&rules::isolate(spec, self.mark, around, true), ACT);
        match full(around) {
            Err(ContainError::NftRefused { .. }) => {}
            other => return other.map(|()| true),
        }
        // A device may have gone between the look and the transaction: look again, once.
        let around = surroundings()?;
        let Err(refusal) = full(&around) else {
            return Ok(true);
        };
        nft::apply(&rules::isolate(spec, self.mark, &around, false), ACT)?;
        warnings.push(format!(
            "raw and packet sockets are not stopped, this kernel takes no egress chains: {refusal}"
        ));
        Ok(false)
    }

    fn take_out(&self, state: Option<OnDisk>) -> Result<Option<IsolationSpec>, ContainError> {
        if let Some(state) = &state
            && state.phase != Phase::Releasing
        {
            self.state.write(&state.clone().releasing())?;
        }
        match nft::apply(&rules::open(), "open the host") {
            // Nothing of ours is in the kernel, so nothing has to be taken out of it.
            Err(ContainError::NftMissing) if !chains::any()? => {}
            outcome => outcome?,
        }
        self.state.forget()?;
        Ok(state.map(|state| state.spec))
    }
}

/// Whether this host can be isolated: `nft` is there, the rights are, and the kernel takes the rules.
/// The kernel checks them and throws them away.
pub fn supported() -> Result<(), ContainError> {
    let spec = IsolationSpec {
        id: IsolationId::generate(),
        reason: "check".into(),
        tree: None,
        started_at: jiff::Timestamp::UNIX_EPOCH,
        lease_expires_at: None,
        controllers: vec![([192, 0, 2, 1], 7443).into()],
        allow: Vec::new(),
        policy_version: 0,
    };
    let batch = rules::isolate(&spec, 1, &surroundings()?, true);
    nft::check(&batch, "check the isolation rules")
}

fn health(state: &OnDisk, listing: &Listing) -> Result<Health, ContainError> {
    let Some(applied) = &state.rules_sha256 else {
        return Ok(Health::Missing);
    };
    if !listing.inet || listing.netdev != state.egress {
        return Ok(Health::Missing);
    }
    if *applied != listing.sha256 {
        return Ok(Health::Altered);
    }
    let uncovered = devices()?
        .into_iter()
        .find(|device| state.egress && !listing.guarded.contains(device));
    Ok(uncovered.map_or(Health::Whole, |device| Health::Uncovered { device }))
}

fn surroundings() -> Result<Surroundings, ContainError> {
    Ok(Surroundings {
        devices: devices()?,
        subnets: subnets()?,
    })
}

fn devices() -> Result<BTreeSet<String>, ContainError> {
    let failed = ContainError::netlink("list network devices");
    let names = if_nameindex().map_err(failed)?;
    Ok(names
        .iter()
        .filter(|device| device.index() != LOOPBACK_INDEX)
        .map(|device| device.name().to_string_lossy().into_owned())
        .collect())
}

fn local_addresses() -> Result<BTreeSet<IpAddr>, ContainError> {
    let failed = ContainError::netlink("list own addresses");
    let addresses = getifaddrs().map_err(failed)?;
    Ok(addresses
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
        })
        .collect())
}

fn subnets() -> Result<BTreeSet<(Ipv4Addr, u8)>, ContainError> {
    let failed = ContainError::netlink("list own subnets");
    let addresses = getifaddrs().map_err(failed)?;
    Ok(addresses
        .filter_map(|interface| {
            let address = interface.address?.as_sockaddr_in()?.ip();
            let mask = u32::from(interface.netmask?.as_sockaddr_in()?.ip());
            let length = mask.leading_ones() as u8;
            let network = Ipv4Addr::from(u32::from(address) & mask);
            // A point-to-point address has no subnet, and "everywhere" is not one.
            (!address.is_loopback() && (1..32).contains(&length)).then_some((network, length))
        })
        .collect())
}
