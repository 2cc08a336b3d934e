//! From wanted paths to directories and files to mark, as the file systems are now.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::mounts::Mounts;
use super::pattern::{has_star, matches};
use super::tell::Tell;
use super::wanted::{Name, Wanted};

/// Most directories and most files that are marked: the kernel keeps each in memory.
pub(super) const MARKS: usize = 4096;
/// Most names that one star finds.
const STAR: usize = 64;
/// Most entries of a directory that are looked at for a star.
const ENTRIES: usize = 4096;

/// What a directory is marked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct DirPlan {
    /// Everything in it.
    pub all: Tell,
    /// These names in it.
    pub names: Vec<(Name, Tell)>,
    /// Names whose coming makes another plan.
    pub waits: Vec<Name>,
}

/// What to mark.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub dirs: BTreeMap<PathBuf, DirPlan>,
    /// Files whose reads are told.
    pub files: BTreeMap<PathBuf, Tell>,
    /// Wanted, but over the bound.
    pub refused: u64,
}

impl DirPlan {
    /// Why something with this name in it is told.
    pub(super) fn tell(&self, name: &[u8]) -> Tell {
        let mut tell = self.all;
        for (pattern, reason) in &self.names {
            if matches(pattern, name) {
                tell |= *reason;
            }
        }
        tell
    }

    /// Whether this name's coming or going makes another plan.
    pub(super) fn is_waited_for(&self, name: &[u8]) -> bool {
        self.waits.iter().any(|pattern| matches(pattern, name))
            || self.names.iter().any(|(pattern, _)| matches(pattern, name))
    }

    /// `FAN_*` bits to mark the directory with.
    pub(super) fn mask(&self) -> u64 {
        // Gone or moved, it stands for its path no longer.
        let mut mask = libc::FAN_DELETE_SELF | libc::FAN_MOVE_SELF | libc::FAN_ONDIR;
        let mut any = self.all;
        for (_, tell) in &self.names {
            any |= *tell;
        }
        if !self.waits.is_empty() || any.is_of_changes() {
            mask |= libc::FAN_CREATE | libc::FAN_RENAME;
        }
        if any.is_of_changes() {
            mask |= libc::FAN_DELETE | libc::FAN_CLOSE_WRITE;
        }
        if !any.is_empty() {
            mask |= libc::FAN_ATTRIB | libc::FAN_EVENT_ON_CHILD;
        }
        if self.all.is_of_reads() {
            mask |= libc::FAN_OPEN;
        }
        mask
    }
}

impl Plan {
    pub(super) fn of(wanted: &[Wanted], mounts: &Mounts) -> Self {
        let mut walk = Walk {
            plan: Self::default(),
            mounts,
            kinds: HashMap::new(),
        };
        for one in wanted {
            walk.add(one);
        }
        walk.plan
    }

    fn dir(&mut self, path: &Path) -> Option<&mut DirPlan> {
        if self.dirs.len() >= MARKS && !self.dirs.contains_key(path) {
            self.refused += 1;
            return None;
        }
        Some(self.dirs.entry(path.to_owned()).or_default())
    }

    fn file(&mut self, path: &Path, tell: Tell) {
        if self.files.len() >= MARKS && !self.files.contains_key(path) {
            self.refused += 1;
            return;
        }
        *self.files.entry(path.to_owned()).or_default() |= tell;
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Dir,
    File,
    /// Absent, a device, or not to be touched.
    Nothing,
}

struct Walk<'a> {
    plan: Plan,
    mounts: &'a Mounts,
    /// Many wanted paths share their way.
    kinds: HashMap<PathBuf, Kind>,
}

impl Walk<'_> {
    fn add(&mut self, wanted: &Wanted) {
        if self.kind(&wanted.base, true) == Kind::Dir {
            return self.down(&wanted.base, 0, wanted);
        }
        // Watch for the base itself, from what there is of its parents.
        if let Some(wanted) = wanted.whole() {
            self.down(Path::new("/"), 0, &wanted);
        }
    }

    fn down(&mut self, dir: &Path, depth: usize, wanted: &Wanted) {
        let Some(part) = wanted.parts.get(depth) else {
            return;
        };
        if depth + 1 == wanted.parts.len() {
            return self.last(dir, wanted);
        }
        let Some(plan) = self.plan.dir(dir) else {
            return;
        };
        if has_star(part) {
            push_new(&mut plan.waits, part.clone());
        }
        for next in found(dir, part) {
            if self.kind(&next, wanted.follow) == Kind::Dir {
                self.down(&next, depth + 1, wanted);
            } else if let Some(plan) = self.plan.dir(dir) {
                push_new(&mut plan.waits, part.clone());
            }
        }
    }

    /// The watched name itself: changes to it are seen from its directory, and where it is a directory
    /// also those in it.
    fn last(&mut self, dir: &Path, wanted: &Wanted) {
        let (Some(part), tell) = (wanted.parts.last(), wanted.tell) else {
            return;
        };
        let mut are_dirs = true;
        for path in found(dir, part) {
            let kind = self.kind(&path, wanted.follow);
            are_dirs &= kind == Kind::Dir;
            match kind {
                Kind::Dir => {
                    if let Some(plan) = self.plan.dir(&path) {
                        plan.all |= tell;
                    }
                }
                Kind::File if tell.is_of_reads() => self.plan.file(&path, tell),
                _ => {}
            }
        }
        let is_of_content = tell == Tell::SET_ID;
        if is_of_content && are_dirs {
            return;
        }
        match self.plan.dir(dir) {
            Some(plan) if is_of_content => push_new(&mut plan.waits, part.clone()),
            Some(plan) => add_name(&mut plan.names, part.clone(), tell),
            None => {}
        }
    }

    fn kind(&mut self, path: &Path, follow: bool) -> Kind {
        if let Some(kind) = self.kinds.get(path) {
            return *kind;
        }
        let kind = if self.mounts.is_quiet(path) {
            look_at(path, follow)
        } else {
            Kind::Nothing
        };
        self.kinds.insert(path.to_owned(), kind);
        kind
    }
}

/// The path of a name, or of everything there that a pattern finds.
fn found(dir: &Path, part: &str) -> Vec<PathBuf> {
    if has_star(part) {
        listed(dir, part)
    } else {
        vec![dir.join(part)]
    }
}

fn listed(dir: &Path, pattern: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    entries
        .take(ENTRIES)
        .filter_map(|entry| Some(entry.ok()?.file_name()))
        .filter(|name| matches(pattern, name.as_encoded_bytes()))
        .take(STAR)
        .map(|name| dir.join(name))
        .collect()
}

fn look_at(path: &Path, follow: bool) -> Kind {
    let facts = if follow {
        std::fs::metadata(path)
    } else {
        std::fs::symlink_metadata(path)
    };
    match facts {
        Ok(facts) if facts.is_dir() => Kind::Dir,
        Ok(facts) if facts.is_file() => Kind::File,
        _ => Kind::Nothing,
    }
}

fn push_new(list: &mut Vec<Name>, name: Name) {
    if !list.contains(&name) {
        list.push(name);
    }
}

fn add_name(names: &mut Vec<(Name, Tell)>, name: Name, tell: Tell) {
    match names.iter_mut().find(|(known, _)| *known == name) {
        Some((_, reason)) => *reason |= tell,
        None => names.push((name, tell)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FilesConfig;
    use crate::files::wanted;

    fn plan(root: &Path, kind: Tell, paths: &[&str]) -> Plan {
        let paths = paths.iter().map(|path| root.join(path)).collect();
        let mut config = FilesConfig {
            defaults: false,
            ..FilesConfig::default()
        };
        if kind == Tell::SECRET {
            config.secrets = paths;
        } else {
            config.watched = paths;
        }
        Plan::of(&wanted::all(&config), &Mounts::read())
    }

    #[test]
    fn a_path_that_is_not_there_is_waited_for_from_the_nearest_that_is() {
        let root = tempfile::tempdir().unwrap();
        let before = plan(root.path(), Tell::WATCHED, &["a/b/c"]);
        assert_eq!(before.dirs[root.path()].waits, ["a"]);
        std::fs::create_dir_all(root.path().join("a/b/c")).unwrap();
        let after = plan(root.path(), Tell::WATCHED, &["a/b/c"]);
        assert!(after.dirs[root.path()].waits.is_empty());
        assert_eq!(after.dirs[&root.path().join("a/b/c")].all, Tell::WATCHED);
        assert_eq!(after.dirs[&root.path().join("a/b")].names[0].0, "c");
    }

    #[test]
    fn secrets_are_marked_themselves_and_stars_are_looked_up() {
        let root = tempfile::tempdir().unwrap();
        for name in ["x.key", "y.key", "z.pub"] {
            std::fs::write(root.path().join(name), "x").unwrap();
        }
        let plan = plan(root.path(), Tell::SECRET, &["*.key", "z.key"]);
        let files: Vec<&PathBuf> = plan.files.keys().collect();
        assert_eq!(
            files,
            [&root.path().join("x.key"), &root.path().join("y.key")]
        );
        let dir = &plan.dirs[root.path()];
        assert!(dir.tell(b"new.key").has(Tell::SECRET) && dir.tell(b"z.pub").is_empty());
        assert!(dir.mask() & libc::FAN_OPEN == 0);
    }

    #[test]
    fn below_a_home_no_link_is_followed() {
        let root = tempfile::tempdir().unwrap();
        let away = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(away.path(), root.path().join(".ssh")).unwrap();
        let wanted = Wanted {
            base: root.path().to_owned(),
            parts: vec![".ssh".into(), "id_rsa".into()],
            tell: Tell::SECRET,
            follow: false,
        };
        let plan = Plan::of(&[wanted], &Mounts::read());
        assert!(!plan.dirs.contains_key(&root.path().join(".ssh")));
        assert_eq!(plan.dirs[root.path()].waits, [".ssh"]);
    }
}
