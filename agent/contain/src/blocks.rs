//! Remote ends that are blocked for a time: milder than an isolation, and apart from it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use cordon_proto::id::HostId;
use cordon_proto::record::Probe;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::error::ContainError;
use crate::flows::{self, Doomed};
use crate::listing::{canonical, without_numbers};
use crate::probe::{ProbeTarget, prove};
use crate::rules::blocks::{self as rules, TABLE};
use crate::state::StateDir;
use crate::{chains, nft};

const FILE: &str = "blocks.json";
/// Most addresses that are blocked at once.
pub const MOST_BLOCKS: usize = 256;

/// An address that is blocked until a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// The remote end, in canonical form: a v4-mapped address travels as IPv4.
    pub address: IpAddr,
    /// When it can be reached again.
    pub until: Timestamp,
    /// The isolated host whose address it is; absent for a remote end of a process. One address may be blocked for both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<HostId>,
}

/// An isolated host of the fleet that is to be blocked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Which.
    pub host: HostId,
    /// Its addresses, in place of those blocked of it before.
    pub addresses: Vec<IpAddr>,
    /// When it can be reached again; later or sooner than before.
    pub until: Timestamp,
}

impl Block {
    fn is_over(&self, now: Timestamp) -> bool {
        self.until <= now
    }

    /// At least one: what is in force is never put in as "for ever".
    pub(crate) fn seconds_left(&self, now: Timestamp) -> u32 {
        let left = self.until.as_second().saturating_sub(now.as_second());
        u32::try_from(left).unwrap_or(u32::MAX).max(1)
    }
}

/// What came of blocking.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blocked {
    /// Those that were not blocked before.
    pub fresh: Vec<Block>,
    /// Those that are not blocked, because as many are already as can be.
    pub beyond: Vec<IpAddr>,
    /// The kernel lists the rules as they were put in, and every address.
    pub is_whole: bool,
    /// TCP connections that were ended.
    pub cut_sockets: usize,
    /// Conntrack entries that were deleted.
    pub cut_conntrack: usize,
    /// What could not be done beside the drop itself, in words.
    pub warnings: Vec<String>,
}

/// The file's content.
#[derive(Clone, Default, Serialize, Deserialize)]
struct OnDisk {
    blocks: Vec<Block>,
    /// As the kernel listed the rules after they went in; empty until then.
    #[serde(default)]
    rules_sha256: String,
}

/// The blocked remote ends of the network namespace that this process is in.
#[derive(Debug)]
pub struct Blocks {
    state: StateDir,
}

impl Blocks {
    /// Uses (and makes, where missing) `state_dir`.
    pub fn open(state_dir: &Path) -> Result<Self, ContainError> {
        let state = StateDir::open(state_dir)?;
        Ok(Self { state })
    }

    /// Those in force at `now`.
    pub fn in_force(&self, now: Timestamp) -> Result<Vec<Block>, ContainError> {
        Ok(self.read(now)?.blocks)
    }

    /// Blocks `addresses` until `until`: on disk first, then by one transaction, then their flows are cut. One that is
    /// blocked already stays so until its own time is over.
    pub fn block(
        &self,
        addresses: &[IpAddr],
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Blocked, ContainError> {
        self.block_until(addresses, until, now, false)
    }

    /// The same for one address that somebody asks for: one that is blocked already goes on being so until the later of the
    /// two times, and is among the fresh ones when that is later than before.
    pub fn block_for(
        &self,
        address: IpAddr,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Blocked, ContainError> {
        self.block_until(&[address], until, now, true)
    }

    fn block_until(
        &self,
        addresses: &[IpAddr],
        until: Timestamp,
        now: Timestamp,
        lengthens: bool,
    ) -> Result<Blocked, ContainError> {
        let _lock = self.state.lock()?;
        let before = self.read(now)?;
        let mut state = before.clone();
        let mut blocked = Blocked::default();
        for address in addresses.iter().map(IpAddr::to_canonical) {
            let block = Block {
                address,
                until,
                peer: None,
            };
            let is_full = state.blocks.len() == MOST_BLOCKS;
            let is_it = |known: &&mut Block| known.peer.is_none() && known.address == address;
            match state.blocks.iter_mut().find(is_it) {
                Some(known) if lengthens && known.until < until => known.until = until,
                Some(_) => continue,
                None if is_full => {
                    blocked.beyond.push(address);
                    continue;
                }
                None => state.blocks.push(block.clone()),
            }
            blocked.fresh.push(block);
        }
        self.enforce(&before, &mut state, &mut blocked, now)?;
        Ok(blocked)
    }

    /// Blocks a host of the fleet, or goes on blocking it until another time. Nothing is done when `most` others are
    /// blocked already.
    pub fn block_peer(
        &self,
        peer: &Peer,
        most: usize,
        now: Timestamp,
    ) -> Result<Blocked, ContainError> {
        let _lock = self.state.lock()?;
        let before = self.read(now)?;
        let mut state = before.clone();
        state.blocks.retain(|block| block.peer != Some(peer.host));
        let others: BTreeSet<HostId> = state.blocks.iter().filter_map(|block| block.peer).collect();
        let addresses: BTreeSet<IpAddr> = peer.addresses.iter().map(IpAddr::to_canonical).collect();
        let mut blocked = Blocked::default();
        if others.len() >= most || state.blocks.len() + addresses.len() > MOST_BLOCKS {
            blocked.beyond = addresses.into_iter().collect();
            return Ok(blocked);
        }
        for address in addresses {
            let block = Block {
                address,
                until: peer.until,
                peer: Some(peer.host),
            };
            if before.blocks.iter().all(|known| known.address != address) {
                blocked.fresh.push(block.clone());
            }
            state.blocks.push(block);
        }
        self.enforce(&before, &mut state, &mut blocked, now)?;
        Ok(blocked)
    }

    /// Lets an address be reached again, whoever's it is; false when it was not blocked.
    pub fn unblock(&self, address: IpAddr, now: Timestamp) -> Result<bool, ContainError> {
        let address = address.to_canonical();
        let ended = self.end(|block| block.address == address, now)?;
        Ok(!ended.is_empty())
    }

    /// The same as far as it is not an isolated host of the fleet's.
    pub fn unblock_remote(&self, address: IpAddr, now: Timestamp) -> Result<bool, ContainError> {
        let address = address.to_canonical();
        let is_it = |block: &Block| block.peer.is_none() && block.address == address;
        Ok(!self.end(is_it, now)?.is_empty())
    }

    /// Lets a host of the fleet be reached again, as far as nothing else blocks its addresses; those that were blocked of it.
    pub fn unblock_peer(&self, host: HostId, now: Timestamp) -> Result<Vec<IpAddr>, ContainError> {
        self.end(|block| block.peer == Some(host), now)
    }

    fn end(
        &self,
        is_over: impl Fn(&Block) -> bool,
        now: Timestamp,
    ) -> Result<Vec<IpAddr>, ContainError> {
        let _lock = self.state.lock()?;
        let mut state = self.read(now)?;
        let ended: Vec<Block> = state
            .blocks
            .extract_if(.., |block| is_over(block))
            .collect();
        if !ended.is_empty() {
            self.put_in(&mut state, now)?;
        }
        Ok(ended.into_iter().map(|block| block.address).collect())
    }

    /// Puts `state` in where it is another than `before`, and cuts the flows of those that are fresh.
    fn enforce(
        &self,
        before: &OnDisk,
        state: &mut OnDisk,
        blocked: &mut Blocked,
        now: Timestamp,
    ) -> Result<(), ContainError> {
        if state.blocks != before.blocks
            && let Err(error) = self.put_in(state, now)
        {
            // Nobody is to be listed as blocked who is not.
            self.keep(before)?;
            return Err(error);
        }
        if !blocked.fresh.is_empty() {
            let doomed: BTreeSet<IpAddr> = blocked.fresh.iter().map(|b| b.address).collect();
            let cut = flows::cut(&Doomed::With(&doomed));
            blocked.cut_sockets = cut.sockets;
            blocked.cut_conntrack = cut.conntrack;
            blocked.warnings = cut.failures;
        }
        blocked.is_whole = is_whole(state, now)?;
        Ok(())
    }

    /// Puts back what is on disk and not in the kernel, and takes out what is over. True when anything had to be done.
    pub fn repair(&self, now: Timestamp) -> Result<bool, ContainError> {
        let _lock = self.state.lock()?;
        let mut state = self.read(now)?;
        let is_as_wanted = if state.blocks.is_empty() {
            chains::tables(TABLE)?.is_empty()
        } else {
            is_whole(&state, now)?
        };
        if !is_as_wanted {
            self.put_in(&mut state, now)?;
        }
        Ok(!is_as_wanted)
    }

    /// Tries to reach `targets`, which must not be reached. Blocks for about 200 ms.
    pub fn prove(&self, targets: &[ProbeTarget]) -> Vec<Probe> {
        prove(0, &[], targets)
    }

    /// What is over is left out.
    fn read(&self, now: Timestamp) -> Result<OnDisk, ContainError> {
        let mut state: OnDisk = self.state.read_file(FILE)?.unwrap_or_default();
        state.blocks.retain(|block| !block.is_over(now));
        Ok(state)
    }

    fn put_in(&self, state: &mut OnDisk, now: Timestamp) -> Result<(), ContainError> {
        state.rules_sha256.clear();
        self.state.write_file(FILE, state)?;
        let is_there = !chains::tables(TABLE)?.is_empty();
        if is_there || !state.blocks.is_empty() {
            let batch = rules::replace(&state.blocks, is_there, now);
            nft::apply(&batch, "block remote ends")?;
        }
        if !state.blocks.is_empty() {
            state.rules_sha256 = Listing::read()?.rules_sha256;
        }
        self.keep(state)
    }

    fn keep(&self, state: &OnDisk) -> Result<(), ContainError> {
        if state.blocks.is_empty() {
            self.state.remove_file(FILE)
        } else {
            self.state.write_file(FILE, state)
        }
    }
}

fn is_whole(state: &OnDisk, now: Timestamp) -> Result<bool, ContainError> {
    let listing = match Listing::read() {
        Err(ContainError::NftOutput { .. }) => return Ok(false),
        listing => listing?,
    };
    // The kernel may be a second ahead with one that is about to be over.
    let is_listed =
        |block: &Block| block.seconds_left(now) <= 1 || listing.addresses.contains(&block.address);
    Ok(!state.rules_sha256.is_empty()
        && state.rules_sha256 == listing.rules_sha256
        && state.blocks.iter().all(is_listed))
}

/// The table as the kernel lists it.
#[derive(Default)]
struct Listing {
    /// Of chains, rules and sets, their elements left out.
    rules_sha256: String,
    addresses: BTreeSet<IpAddr>,
}

impl Listing {
    fn read() -> Result<Self, ContainError> {
        let Some(json) = nft::list_table("inet", TABLE)? else {
            return Ok(Self::default());
        };
        let mut listed: Value =
            serde_json::from_slice(&json).map_err(|source| ContainError::NftOutput {
                table: TABLE,
                source,
            })?;
        let mut hash = Sha256::new();
        let mut addresses = BTreeSet::new();
        let objects = listed["nftables"].as_array_mut();
        for object in objects.into_iter().flatten() {
            if object.get("metainfo").is_some() {
                continue;
            }
            if let Some(set) = object.get_mut("set").and_then(Value::as_object_mut)
                && let Some(Value::Array(elements)) = set.remove("elem")
            {
                addresses.extend(elements.iter().filter_map(address));
            }
            hash.update(canonical(&without_numbers(object.take())));
            hash.update(b"\n");
        }
        Ok(Self {
            rules_sha256: hex::encode(hash.finalize()),
            addresses,
        })
    }
}

/// With a timeout an element is an object, without one it is its value.
fn address(element: &Value) -> Option<IpAddr> {
    let value = element["elem"]["val"].as_str().or(element.as_str());
    value?.parse().ok()
}
