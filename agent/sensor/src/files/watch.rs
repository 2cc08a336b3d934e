//! The marks on watched directories and secret files, and what their events mean.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cordon_behavior::event::FileOp;

use super::decode::{FileNotice, NamedFile};
use super::fanotify::{Group, Handle, by_descriptor, handle_of, inode_of, look, open_handle};
use super::filesystems::FileSystems;
use super::gauge::Gauge;
use super::meaning::{Facts, operations};
use super::plan::{DirPlan, MARKS, Plan};
use super::seen::Seen;
use super::tell::Tell;
use super::told::{Half, Told};
use crate::ebpf::SetIds;

/// An upper estimate of a mark's entry with its path and patterns; those of the tables are shared.
const ENTRY_BYTES: usize = 1024;
/// A directory is young for so long: what was done in it before it was marked may still be read.
const YOUNG_NS: u64 = 1_000_000_000;
const FILE_MASK: u64 = libc::FAN_OPEN | libc::FAN_ATTRIB;
const SET_ID_AGAIN_NS: u64 = 600_000_000_000;

/// A marked directory.
#[derive(Debug)]
struct Dir {
    path: PathBuf,
    plan: DirPlan,
    mask: u64,
    since_ns: u64,
    /// It is elsewhere, or what it is in is: its path is not its own until another plan says so.
    is_moved: bool,
}

/// The marks of one group.
pub(super) struct Watch {
    pub group: Group,
    dirs: HashMap<Handle, Dir>,
    files: HashMap<Handle, (PathBuf, Tell)>,
    set_id_told: Seen,
    /// Tells what a file that is gone was.
    pub set_ids: Option<SetIds>,
    /// When a directory was last marked that was not before.
    fresh_ns: u64,
    /// Something came or went that another plan would know of.
    pub is_stale: bool,
    pub gauge: Arc<Gauge>,
}

/// What a plan came to.
#[derive(Debug, Default)]
pub(super) struct Applied {
    /// Directories and files that were not marked before.
    pub fresh: usize,
    /// What could not be marked, with why.
    pub refused: Vec<String>,
}

impl Watch {
    pub(super) fn new(group: Group) -> Self {
        Self {
            group,
            dirs: HashMap::new(),
            files: HashMap::new(),
            set_id_told: Seen::new("set-id files told", SET_ID_AGAIN_NS),
            set_ids: None,
            fresh_ns: 0,
            is_stale: false,
            gauge: Gauge::new("watched files", ENTRY_BYTES, 2 * MARKS),
        }
    }

    /// Brings the marks to what the plan says.
    pub(super) fn apply(&mut self, plan: Plan, systems: &FileSystems, now_ns: u64) -> Applied {
        let mut applied = Applied::default();
        let mut old = std::mem::take(&mut self.dirs);
        for (path, plan) in plan.dirs {
            match self.mark_dir(&path, plan, &mut old, now_ns) {
                Ok(is_fresh) => applied.fresh += usize::from(is_fresh),
                Err(error) => refuse(&mut applied, &path, &error),
            }
        }
        let mut old_files = std::mem::take(&mut self.files);
        for (path, tell) in plan.files {
            match self.mark_file(&path, tell, &mut old_files) {
                Ok(is_fresh) => applied.fresh += usize::from(is_fresh),
                Err(error) => refuse(&mut applied, &path, &error),
            }
        }
        for (handle, dir) in old {
            self.forget(&handle, dir.mask, systems);
        }
        for handle in old_files.into_keys() {
            self.forget(&handle, FILE_MASK, systems);
        }
        self.gauge.set(self.dirs.len() + self.files.len());
        self.gauge.evicted(plan.refused);
        applied
    }

    fn mark_dir(
        &mut self,
        path: &Path,
        plan: DirPlan,
        old: &mut HashMap<Handle, Dir>,
        now_ns: u64,
    ) -> io::Result<bool> {
        let file = look(path, true)?;
        let handle = handle_of(&file)?;
        // Two paths can lead to one directory: the first names it.
        if let Some(known) = self.dirs.get_mut(&handle) {
            known.plan.all |= plan.all;
            known.plan.names.extend(plan.names);
            known.plan.waits.extend(plan.waits);
            let mask = known.plan.mask();
            let more = mask & !std::mem::replace(&mut known.mask, mask);
            self.add(more, &file)?;
            return Ok(false);
        }
        let mask = plan.mask();
        let before = old.remove(&handle);
        let had = before.as_ref().map_or(0, |dir| dir.mask);
        self.add(mask & !had, &file)?;
        self.remove(had & !mask, &file);
        let dir = Dir {
            path: path.to_owned(),
            plan,
            mask,
            since_ns: before.as_ref().map_or(now_ns, |dir| dir.since_ns),
            is_moved: false,
        };
        self.fresh_ns = self.fresh_ns.max(dir.since_ns);
        self.dirs.insert(handle, dir);
        Ok(before.is_none())
    }

    fn mark_file(
        &mut self,
        path: &Path,
        tell: Tell,
        old: &mut HashMap<Handle, (PathBuf, Tell)>,
    ) -> io::Result<bool> {
        let file = look(path, true)?;
        let handle = handle_of(&file)?;
        let is_fresh = old.remove(&handle).is_none();
        if is_fresh {
            self.add(FILE_MASK, &file)?;
        }
        self.files
            .entry(handle)
            .or_insert((path.to_owned(), tell))
            .1 |= tell;
        Ok(is_fresh)
    }

    fn add(&self, mask: u64, file: &OwnedFd) -> io::Result<()> {
        if mask == 0 {
            return Ok(());
        }
        self.group.mark_open(libc::FAN_MARK_ADD, mask, file)
    }

    /// A mark that cannot be removed makes events that are read and dropped, no more.
    fn remove(&self, mask: u64, file: &OwnedFd) {
        if mask == 0 {
            return;
        }
        if let Err(error) = self.group.mark_open(libc::FAN_MARK_REMOVE, mask, file) {
            tracing::debug!(%error, "cannot remove a file mark");
        }
    }

    /// Takes the mark off what is no longer where it was, if it still is anywhere.
    fn forget(&self, handle: &Handle, mask: u64, systems: &FileSystems) {
        let Some(root) = systems.open(handle) else {
            return;
        };
        if let Ok(file) = open_handle(&root, handle, libc::O_PATH | libc::O_CLOEXEC) {
            self.remove(mask, &file);
        }
    }

    /// Whether events of before may be about a directory that was marked since.
    pub(super) fn has_young(&self, now_ns: u64) -> bool {
        now_ns.saturating_sub(self.fresh_ns) < YOUNG_NS
    }

    pub(super) fn is_young(&self, dir: &[u8], now_ns: u64) -> bool {
        self.dirs.get(dir).is_some_and(|dir| dir.is_young(now_ns))
    }

    pub(super) fn set_id_gauge(&self) -> Arc<Gauge> {
        self.set_id_told.gauge.clone()
    }

    /// What an event means, and whether it makes another plan.
    pub(super) fn read(&mut self, notice: &FileNotice<'_>, now_ns: u64, told: &mut Vec<Told>) {
        let before = told.len();
        self.take_up(notice, now_ns, told);
        let places = [notice.at, notice.to];
        let is_young = |place: &NamedFile<'_>| self.is_young(place.dir, now_ns);
        if told.len() > before && places.iter().flatten().any(is_young) {
            told[before..]
                .iter_mut()
                .for_each(|one| one.is_young = true);
        }
    }

    fn take_up(&mut self, notice: &FileNotice<'_>, now_ns: u64, told: &mut Vec<Told>) {
        let has = |bits| notice.mask & bits != 0;
        if has(libc::FAN_Q_OVERFLOW | libc::FAN_MOVE_SELF | libc::FAN_DELETE_SELF) {
            self.is_stale = true;
        }
        if has(libc::FAN_MOVE_SELF) {
            self.moved(notice);
        }
        if has(libc::FAN_RENAME) {
            self.rename(notice, now_ns, told);
            return;
        }
        let Some(at) = notice.at.filter(|at| !at.name.is_empty()) else {
            return self.by_file(notice, told);
        };
        let Some(dir) = self.dir(at.dir) else {
            return self.by_file(notice, told);
        };
        let comes_or_goes = has(libc::FAN_CREATE | libc::FAN_DELETE);
        let is_accounts = has(libc::FAN_CLOSE_WRITE) && at.name == b"passwd";
        let is_stale = (comes_or_goes && dir.plan.is_waited_for(at.name)) || is_accounts;
        let tell = dir.tell(at.name, notice.mask);
        let path = dir.path_of(at.name);
        self.is_stale |= is_stale;
        if !tell.is_empty() {
            self.changes(notice, &path, tell, now_ns, told);
        }
    }

    /// What is in a directory that was moved goes with it.
    fn moved(&mut self, notice: &FileNotice<'_>) {
        let itself = notice.at.map(|at| at.dir).or(notice.file);
        let Some(path) = itself.and_then(|dir| Some(self.dirs.get(dir)?.path.clone())) else {
            return;
        };
        for dir in self.dirs.values_mut() {
            dir.is_moved |= dir.path.starts_with(&path);
        }
    }

    fn dir(&self, handle: &[u8]) -> Option<&Dir> {
        self.dirs.get(handle).filter(|dir| !dir.is_moved)
    }

    fn changes(
        &mut self,
        notice: &FileNotice<'_>,
        path: &Path,
        tell: Tell,
        now_ns: u64,
        told: &mut Vec<Told>,
    ) {
        let metadata = std::fs::symlink_metadata(path).ok();
        let mut facts = Facts::of(metadata.as_ref());
        if !facts.exists && notice.mask & libc::FAN_ATTRIB != 0 {
            facts.is_set_id = self.was_set_id(notice);
        }
        for op in operations(notice.mask, tell, facts) {
            // A process that goes on to change times or owner is not told again.
            let is_old = op == FileOp::Chmod
                && facts.is_set_id
                && !self.set_id_told.is_new((notice.pid, path), now_ns);
            if !is_old {
                told.push(Told::new(notice.pid, op, path, None, tell));
            }
        }
    }

    /// Whether a file that is gone ran with its owner's or group's rights when this process changed it.
    fn was_set_id(&self, notice: &FileNotice<'_>) -> bool {
        let inode = notice.file.and_then(inode_of);
        let noted = |(notes, inode): (&SetIds, u64)| notes.changed_by(notice.pid, inode);
        self.set_ids.as_ref().zip(inode).is_some_and(noted)
    }

    /// An event of a secret file under a name that is not watched, or under none: another name of it
    /// was made, or used.
    fn by_file(&mut self, notice: &FileNotice<'_>, told: &mut Vec<Told>) {
        let Some((path, tell)) = notice.file.and_then(|file| self.files.get(file)) else {
            return;
        };
        if notice.mask & libc::FAN_OPEN != 0 {
            told.push(Told::new(notice.pid, FileOp::Read, path, None, *tell));
        }
        let is_linked = || Facts::of(std::fs::symlink_metadata(path).ok().as_ref()).is_linked;
        if notice.mask & libc::FAN_ATTRIB != 0 && notice.at.is_none() && is_linked() {
            told.push(Told::new(notice.pid, FileOp::Link, path, None, *tell));
        }
    }

    fn rename(&mut self, notice: &FileNotice<'_>, now_ns: u64, told: &mut Vec<Told>) {
        let (old, new) = (notice.at, notice.to);
        let (mut tell, mut is_stale) = (Tell::default(), false);
        for place in [old, new].into_iter().flatten() {
            if let Some(dir) = self.dir(place.dir) {
                is_stale |= dir.plan.is_waited_for(place.name);
                tell |= dir.plan.tell(place.name);
            }
        }
        self.is_stale |= is_stale;
        let path_of = |place: Option<NamedFile<'_>>| {
            let place = place?;
            Some(self.dir(place.dir)?.path_of(place.name))
        };
        let (from, to) = (path_of(old), path_of(new));
        let Some(path) = from
            .as_ref()
            .or(to.as_ref())
            .filter(|_| tell.is_of_changes())
        else {
            return;
        };
        let half = match (old, new) {
            (Some(place), None) => Some(Half::new(place, false)),
            (None, Some(place)) => Some(Half::new(place, true)),
            _ => None,
        };
        let mut one = Told::new(notice.pid, FileOp::Rename, path, to.as_deref(), tell);
        one.half = half;
        told.push(one);
        let set_id =
            to.filter(|to| Facts::of(std::fs::symlink_metadata(to).ok().as_ref()).is_set_id);
        if let Some(path) = set_id
            && self.set_id_told.is_new((notice.pid, &path), now_ns)
        {
            told.push(Told::new(notice.pid, FileOp::Chmod, &path, None, tell));
        }
    }

    /// The path of a name in whatever directory, asking the kernel for directories that are not
    /// marked. `None` when it is gone, or its file system opens nothing by handle.
    ///
    /// Inside another mount namespace the path is the one that this host has for it.
    pub(super) fn locate(&self, systems: &FileSystems, place: NamedFile<'_>) -> Option<PathBuf> {
        if let Some(dir) = self.dir(place.dir) {
            return Some(dir.path_of(place.name));
        }
        let root = systems.open(place.dir)?;
        let dir = open_handle(&root, place.dir, libc::O_PATH | libc::O_CLOEXEC).ok()?;
        let path = std::fs::read_link(by_descriptor(&dir)).ok()?;
        Some(path.join(os(place.name)))
    }
}

impl Dir {
    fn is_young(&self, now_ns: u64) -> bool {
        now_ns.saturating_sub(self.since_ns) < YOUNG_NS
    }

    fn path_of(&self, name: &[u8]) -> PathBuf {
        if name == b"." {
            return self.path.clone();
        }
        self.path.join(os(name))
    }

    /// Why an event of this name is told. Of the directory itself only a decoy's: listing a folder
    /// with secrets in it reads none.
    fn tell(&self, name: &[u8], mask: u64) -> Tell {
        if name != b"." {
            return self.plan.tell(name);
        }
        let is_touch = mask & (libc::FAN_OPEN | libc::FAN_ATTRIB) != 0;
        if is_touch && self.plan.all.has(Tell::DECOY) {
            Tell::DECOY
        } else {
            Tell::default()
        }
    }
}

fn os(name: &[u8]) -> &std::ffi::OsStr {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::OsStr::from_bytes(name)
}

fn refuse(applied: &mut Applied, path: &Path, error: &io::Error) {
    // Gone since the plan was made: another plan is due.
    if error.kind() != io::ErrorKind::NotFound {
        applied.refused.push(format!("{}: {error}", path.display()));
    }
}
