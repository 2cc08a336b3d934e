//! Isolate, verify, repair, release: the acts, in the order that leaves no half state.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cordon_proto::id::IsolationId;
use cordon_proto::record::Probe;

use crate::clock::monotonic_ns;
use crate::error::ContainError;
use crate::flows::{self, Doomed};
use crate::listing::Listing;
use crate::outcome::{Applied, Health, Opened, Recovered};
use crate::probe::{ProbeTarget, prove};
use crate::rules::{self, Parts, Surroundings};
use crate::spec::IsolationSpec;
use crate::state::{OnDisk, Phase, StateDir};
use crate::surroundings::{devices, local_addresses, surroundings};
use crate::{chains, nft};

/// How often all rules are tried before it is taken for certain that the kernel does not know a part of them.
const LOOKS: u32 = 3;

/// The isolation of the network namespace that this process is in.
#[derive(Debug)]
pub struct Containment {
    state: StateDir,
    mark: u32,
    /// What went in and could not be written down: newer than what the disk says of this isolation.
    unwritten: Mutex<Option<OnDisk>>,
}

impl Containment {
    /// Uses (and makes, where missing) `state_dir`; `mark` is on the agent's own sockets.
    pub fn open(state_dir: &Path, mark: u32) -> Result<Self, ContainError> {
        let state = StateDir::open(state_dir)?;
        state.keep_spares();
        Ok(Self {
            state,
            mark,
            unwritten: Mutex::default(),
        })
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
        let before = self.read().ok().flatten();
        let mut state = OnDisk::intended(spec.clone());
        // The same isolation with a longer lease: what the kernel holds is still its own.
        if let Some(before) = before.filter(|before| before.spec.id == spec.id) {
            state.rules_sha256 = before.rules_sha256;
            state.parts = before.parts;
        }
        self.state.write(&state)
    }

    /// Puts the rules of the isolation on disk into the kernel by one transaction, and cuts flows.
    pub fn apply(&self, id: IsolationId) -> Result<Applied, ContainError> {
        let _lock = self.state.lock()?;
        match self.read()? {
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
    /// That a release has begun is on disk first: cut short anywhere, it is finished at the next start. A disk that takes
    /// nothing keeps nobody in: see [`Opened::still_on_disk`].
    pub fn release(&self) -> Result<Opened, ContainError> {
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
        match self.read()? {
            None => Ok(Health::Missing),
            Some(state) => health(&state),
        }
    }

    /// Applies the isolation on disk again if the kernel's rules are not whole. `None`: nothing to do.
    pub fn repair(&self) -> Result<Option<Applied>, ContainError> {
        let _lock = self.state.lock()?;
        let Some(state) = self.read()?.filter(|s| s.phase == Phase::Shut) else {
            return Ok(None);
        };
        match health(&state)? {
            Health::Whole => Ok(None),
            _ => self.put_in(state).map(Some),
        }
    }

    /// At a start: finishes what was cut short, and re-adopts what is in force. Leases are the
    /// caller's: it knows the time.
    pub fn recover(&self) -> Result<Recovered, ContainError> {
        let _lock = self.state.lock()?;
        match self.read() {
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

    /// The isolation on disk, with what is known better here.
    fn read(&self) -> Result<Option<OnDisk>, ContainError> {
        let on_disk = self.state.read()?;
        let unwritten = self.unwritten();
        Ok(on_disk.map(|state| match &*unwritten {
            Some(newer) if newer.spec.id == state.spec.id => state.with_rules_of(newer),
            _ => state,
        }))
    }

    fn unwritten(&self) -> MutexGuard<'_, Option<OnDisk>> {
        self.unwritten
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn adopt(&self, state: OnDisk) -> Result<Recovered, ContainError> {
        let spec = state.spec.clone();
        Ok(match health(&state)? {
            Health::Whole => Recovered::Adopted(spec),
            _ => Recovered::Reapplied(spec, self.put_in(state)?),
        })
    }

    /// The rule for a state file that is gone or damaged: with a table in the kernel the host stays
    /// shut, without one it is open; either way it is reported, and a damaged file is kept.
    fn read_from_kernel(&self, damage: Option<String>) -> Result<Recovered, ContainError> {
        let why =
            |damage: Option<String>| damage.unwrap_or_else(|| "the state file is gone".into());
        let listing = match Listing::read() {
            Err(ContainError::NftOutput { .. }) => {
                return Ok(Recovered::ShutUnknown { why: why(damage) });
            }
            listing => listing?,
        };
        if !listing.inet && !listing.netdev && !listing.bridge {
            let Some(why) = damage else {
                return Ok(Recovered::Open);
            };
            self.state.set_aside()?;
            return Ok(Recovered::OpenDamaged { why });
        }
        let Some(spec) = listing.spec() else {
            return Ok(Recovered::ShutUnknown { why: why(damage) });
        };
        self.state.set_aside()?;
        // Applied again, because nobody can say any more whether these rules are the ones applied.
        self.state.write(&OnDisk::intended(spec.clone()))?;
        self.put_in(OnDisk::intended(spec.clone()))?;
        Ok(Recovered::FromKernel(spec))
    }

    fn put_in(&self, mut state: OnDisk) -> Result<Applied, ContainError> {
        let mut warnings = Vec::new();
        let (parts, devices) = self.transact(&state.spec, &mut warnings)?;
        state.parts = parts;
        let dropped_at_mono_ns = monotonic_ns();
        let controllers: Vec<_> = state.spec.controller_ends().collect();
        let cut = flows::cut(&Doomed::AllBut {
            mark: self.mark,
            local: &local_addresses()?,
            controllers: &controllers,
        });
        warnings.extend(cut.failures);
        let rules_sha256 = Listing::read()?.sha256;
        state.rules_sha256 = Some(rules_sha256.clone());
        let Parts { egress, bridge } = parts;
        // The intent is on disk, so nothing is undone by a disk that takes no more.
        let unwritten = self.state.write(&state).err();
        if let Some(error) = &unwritten {
            let why = error.in_full();
            warnings.push(format!("the rules are in, but not noted on disk: {why}"));
        }
        *self.unwritten() = unwritten.map(|_| state);
        self.state.keep_spares();
        Ok(Applied {
            rules_sha256,
            dropped_at_mono_ns,
            egress,
            bridge,
            devices,
            cut_sockets: cut.sockets,
            cut_conntrack: cut.conntrack,
            warnings,
        })
    }

    /// What went in, and for which devices.
    fn transact(
        &self,
        spec: &IsolationSpec,
        warnings: &mut Vec<String>,
    ) -> Result<(Parts, BTreeSet<String>), ContainError> {
        let put_in = |parts, around: &Surroundings| {
            let batch = rules::isolate(
                spec,
                self.mark,
                around,
                parts,
                &chains::tables(rules::TABLE)?,
            );
            nft::apply(&batch, "isolate")
        };
        let mut around = surroundings()?;
        for _ in 0..LOOKS {
            match put_in(Parts::ALL, &around) {
                Err(ContainError::NftRefused { .. }) => {}
                other => return other.map(|()| (Parts::ALL, around.devices)),
            }
            // A device or a table may have gone between the look and the transaction, and whoever makes devices come
            // and go must not get rid of all egress chains by it: only those that are in every look are named.
            let seen = surroundings()?.devices;
            around.devices.retain(|device| seen.contains(device));
        }
        let (parts, missing) = most_parts(|parts| put_in(parts, &around))?;
        warnings.extend(missing);
        Ok((parts, around.devices))
    }

    fn take_out(&self, state: Option<OnDisk>) -> Result<Opened, ContainError> {
        let is_marked = match &state {
            Some(state) if state.phase == Phase::Shut => {
                self.state.write(&state.clone().releasing()).is_ok()
            }
            _ => true,
        };
        remove_tables(LOOKS)?;
        *self.unwritten() = None;
        let forgotten = self.state.forget();
        self.state.keep_spares();
        Ok(Opened {
            spec: state.map(|state| state.spec),
            // A start that finds the mark finishes the release.
            still_on_disk: forgotten.err().filter(|_| !is_marked),
        })
    }
}

/// Nothing of ours in the kernel needs no `nft` to come out.
fn remove_tables(looks: u32) -> Result<(), ContainError> {
    let there = chains::tables(rules::TABLE)?;
    if there.is_empty() {
        return Ok(());
    }
    match nft::apply(&rules::open(&there), "open the host") {
        // A table may have gone between the look and the transaction.
        Err(ContainError::NftRefused { .. }) if looks > 1 => remove_tables(looks - 1),
        outcome => outcome,
    }
}

/// Whether this host can be isolated: `nft` is there, the rights are, and the kernel takes the rules.
/// The kernel checks them and throws them away. Says in words what it does not take, and what that leaves open.
pub fn supported() -> Result<Vec<String>, ContainError> {
    let spec = IsolationSpec {
        id: IsolationId::generate(),
        reason: "check".into(),
        tree: None,
        started_at: jiff::Timestamp::UNIX_EPOCH,
        lease_expires_at: None,
        controllers: vec![([192, 0, 2, 1], 7443).into()],
        allow: Vec::new(),
        policy_version: 0,
        moment: None,
    };
    let around = surroundings()?;
    let check = |parts| {
        let batch = rules::isolate(&spec, 1, &around, parts, &chains::tables(rules::TABLE)?);
        nft::check(&batch, "check the isolation rules")
    };
    most_parts(check).map(|(_, missing)| missing)
}

/// Acts with as many parts as the kernel takes; says what is missing.
fn most_parts(
    act: impl Fn(Parts) -> Result<(), ContainError>,
) -> Result<(Parts, Vec<String>), ContainError> {
    let refusal = match act(Parts::ALL) {
        Err(refusal @ ContainError::NftRefused { .. }) => refusal,
        other => return other.map(|()| (Parts::ALL, Vec::new())),
    };
    for parts in Parts::FEWER {
        match act(parts) {
            Err(ContainError::NftRefused { .. }) => {}
            other => return other.map(|()| (parts, parts.missing(&refusal))),
        }
    }
    Err(refusal)
}

fn health(state: &OnDisk) -> Result<Health, ContainError> {
    let Some(applied) = &state.rules_sha256 else {
        return Ok(Health::Missing);
    };
    let listing = match Listing::read() {
        // Ours is in a form that `nft` knew when it went in.
        Err(ContainError::NftOutput { .. }) => return Ok(Health::Altered),
        listing => listing?,
    };
    if !listing.inet || listing.netdev != state.parts.egress || listing.bridge != state.parts.bridge
    {
        return Ok(Health::Missing);
    }
    if *applied != listing.sha256 {
        return Ok(Health::Altered);
    }
    let uncovered = devices()?
        .into_iter()
        .find(|device| state.parts.egress && !listing.guarded.contains(device));
    Ok(uncovered.map_or(Health::Whole, |device| Health::Uncovered { device }))
}
