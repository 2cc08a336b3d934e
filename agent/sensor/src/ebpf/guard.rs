//! What is done to the agent from outside: signals, and its programs and variables in the kernel.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use libbpf_rs::query::LinkTypeInfo;
use libbpf_rs::{Link, MapCore, MapFlags, MapHandle, ProgramInput};

use super::network::Network;
use super::shared::Shared;
use super::skel::SensorSkel;
use crate::SensorError;

/// `SIGNAL_NOTES` and `struct signal_note` of `bpf/guard.h`.
const NOTES: u64 = 16;
const NOTE_BYTES: usize = 576;
const EXE_AT: usize = 64;

/// A signal that somebody sent the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignalNote {
    /// When, of CLOCK_MONOTONIC.
    pub mono_ns: u64,
    /// Number of the signal.
    pub signal: i32,
    /// Pid of who sent it, as the sensor's scope sees it; 0 for one who is out of its sight.
    pub pid: u32,
    /// His real uid.
    pub uid: u32,
    /// Path of his image, from his own root; his name where the path is not known.
    pub exe: String,
    /// The kernel sent it, for want of memory or on behalf of a BPF program; he happened to run then.
    pub is_kernel: bool,
}

/// Something of the sensor's that was altered in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tampering {
    /// What.
    pub what: String,
    /// It is as it was.
    pub repaired: bool,
}

/// What the kernel tells of who meddles with the agent, and where it is kept.
#[derive(Debug)]
pub struct Guard {
    notes: MapHandle,
    seen: u64,
    altered: Altered,
    pin: Option<PathBuf>,
}

/// What was found altered and is not told yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Altered(Arc<Mutex<Vec<Tampering>>>);

/// As many different things can be altered.
const MOST_ALTERED: usize = 64;

impl Altered {
    fn add(&self, what: String, repaired: bool) {
        tracing::warn!(what, repaired, "altered in the kernel");
        let mut altered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if altered.len() < MOST_ALTERED {
            altered.push(Tampering { what, repaired });
        }
    }
}

impl Guard {
    /// From now on signals to this process are noted. `None` where the kernel does not let them.
    pub(super) fn of(skel: &SensorSkel<'_>, altered: &Altered) -> Option<Self> {
        skel.links.on_agent_signal.as_ref()?;
        guard_this_process(skel)?;
        Some(Self {
            notes: MapHandle::try_from(&skel.maps.signal_notes).ok()?,
            seen: 0,
            altered: altered.clone(),
            pin: None,
        })
    }

    /// Signals since the last call, in their order; of more than sixteen the last ones.
    pub fn signals(&mut self) -> Vec<SignalNote> {
        // One look costs one call: nearly always there is nothing.
        if read(&self.notes, self.seen % NOTES).is_none_or(|(number, _)| number <= self.seen) {
            return Vec::new();
        }
        let mut news = all(&self.notes);
        news.retain(|(number, _)| *number > self.seen);
        self.seen = news.last().map_or(self.seen, |(number, _)| *number);
        news.into_iter().map(|(_, note)| note).collect()
    }

    /// What was found altered since the last call.
    pub fn tampering(&mut self) -> Vec<Tampering> {
        let altered = self.altered.0.lock();
        std::mem::take(&mut altered.unwrap_or_else(PoisonError::into_inner))
    }

    /// Keeps the notes at this path of a BPF file system until [`Self::forget`], whatever becomes of this process.
    pub fn keep_at(&mut self, path: &Path) -> Result<(), SensorError> {
        let pinned = self.notes.pin(path);
        pinned.map_err(|source| SensorError::Ebpf {
            act: "keep what is noted of signals",
            source,
        })?;
        self.pin = Some(path.to_owned());
        Ok(())
    }

    /// Nobody is to be told any more.
    pub fn forget(&mut self) {
        if let Some(path) = self.pin.take()
            && let Err(error) = self.notes.unpin(&path)
        {
            tracing::warn!(%error, path = %path.display(), "notes of signals stay in the kernel");
        }
    }
}

/// The signals that a [`Guard`] of before kept at this path and did not forget. They are forgotten now.
pub fn signals_left_at(path: &Path) -> Vec<SignalNote> {
    let Ok(mut notes) = MapHandle::from_pinned_path(path) else {
        return Vec::new();
    };
    let is_ours = notes.key_size() == 4 && notes.value_size() as usize == NOTE_BYTES;
    let left = if is_ours { all(&notes) } else { Vec::new() };
    if let Err(error) = notes.unpin(path) {
        tracing::warn!(%error, path = %path.display(), "notes of signals stay in the kernel");
    }
    left.into_iter().map(|(_, note)| note).collect()
}

/// The programs' word for who the agent is.
fn guard_this_process(skel: &SensorSkel<'_>) -> Option<()> {
    let done = skel.progs.on_guard.test_run(ProgramInput::default());
    if let Err(error) = &done {
        tracing::warn!(%error, "signals to the agent are not noted");
    }
    done.ok().map(drop)
}

/// What this process was told to be, and looks whether that holds.
pub(super) struct Watch {
    agent: u32,
    altered: Altered,
}

impl Watch {
    pub(super) fn new(shared: Shared<'_>, altered: Altered) -> Self {
        Self {
            agent: shared.agent(),
            altered,
        }
    }

    /// Looks whether what was loaded is still in place, and puts it back. A tracepoint's program nobody can take off
    /// while its link is held; those of cgroups root can, and variables he can write.
    pub(super) fn check(&self, skel: &SensorSkel<'_>, network: &mut Network, shared: Shared<'_>) {
        for (hook, repaired) in network.mend(skel) {
            let what = format!("the sensor's program on {hook} was taken off the cgroup2 root");
            self.altered.add(what, repaired);
        }
        if self.agent != 0 && shared.agent() != self.agent {
            let what = "a variable of the sensor's programs in the kernel was altered".to_owned();
            let repaired = guard_this_process(skel).is_some() && shared.agent() == self.agent;
            self.altered.add(what, repaired);
        }
    }
}

/// Somebody has taken its program off, and the descriptor leads nowhere.
pub(super) fn is_detached(link: &Link) -> bool {
    let info = link.info().map(|info| info.info);
    matches!(info, Ok(LinkTypeInfo::Cgroup(cgroup)) if cgroup.cgroup_id == 0)
}

/// Oldest first.
fn all(notes: &MapHandle) -> Vec<(u64, SignalNote)> {
    let mut all: Vec<_> = (0..NOTES).filter_map(|index| read(notes, index)).collect();
    all.sort_by_key(|(number, _)| *number);
    all
}

fn read(notes: &MapHandle, index: u64) -> Option<(u64, SignalNote)> {
    let key = (index as u32).to_ne_bytes();
    decode(&notes.lookup(&key, MapFlags::ANY).ok()??)
}

/// `struct signal_note`; `None` where nothing was noted.
fn decode(bytes: &[u8]) -> Option<(u64, SignalNote)> {
    let bytes: &[u8; NOTE_BYTES] = bytes.try_into().ok()?;
    let long = |at: usize| u64::from_ne_bytes(*bytes[at..].first_chunk().expect("it is inside"));
    let short = |at: usize| u32::from_ne_bytes(*bytes[at..].first_chunk().expect("it is inside"));
    let number = long(0);
    if number == 0 {
        return None;
    }
    let exe_bytes = (short(44) as usize).min(NOTE_BYTES - EXE_AT);
    let note = SignalNote {
        mono_ns: long(8),
        pid: short(16),
        uid: short(32),
        signal: short(36) as i32,
        is_kernel: short(40) != 0,
        exe: path(&bytes[EXE_AT..EXE_AT + exe_bytes]).unwrap_or_else(|| name(&bytes[48..EXE_AT])),
    };
    Some((number, note))
}

/// From names, leaf first, each with a NUL.
fn path(text: &[u8]) -> Option<String> {
    let names = text.strip_suffix(b"\0")?.split(|byte| *byte == 0);
    let names: Vec<_> = names.map(String::from_utf8_lossy).collect();
    let mut path = String::new();
    for name in names.iter().rev() {
        path.push('/');
        path.push_str(name);
    }
    Some(path)
}

fn name(text: &[u8]) -> String {
    let name = text.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn note(exe: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; NOTE_BYTES];
        bytes[..8].copy_from_slice(&3_u64.to_ne_bytes());
        bytes[8..16].copy_from_slice(&9_u64.to_ne_bytes());
        bytes[16..20].copy_from_slice(&7_u32.to_ne_bytes());
        bytes[36..40].copy_from_slice(&9_u32.to_ne_bytes());
        bytes[44..48].copy_from_slice(&(exe.len() as u32).to_ne_bytes());
        bytes[48..52].copy_from_slice(b"kill");
        bytes[EXE_AT..EXE_AT + exe.len()].copy_from_slice(exe);
        bytes
    }

    #[test]
    fn a_note_is_read_with_the_senders_path_or_else_his_name() {
        let (number, read) = decode(&note(b"kill\0bin\0usr\0")).unwrap();
        assert_eq!(number, 3);
        assert_eq!((read.signal, read.pid, read.mono_ns), (9, 7, 9));
        assert_eq!(read.exe, "/usr/bin/kill");
        assert_eq!(decode(&note(b"")).unwrap().1.exe, "kill");
        assert_eq!(decode(&vec![0; NOTE_BYTES]), None);
        assert_eq!(decode(&note(b"")[1..]), None);
    }

    proptest! {
        #[test]
        fn whatever_a_table_holds_is_read(bytes in prop::collection::vec(any::<u8>(), NOTE_BYTES)) {
            decode(&bytes);
        }
    }
}
