//! Both groups with all their marks, kept as the configuration, the accounts and the mounts want them.

use std::io;
use std::time::{Duration, Instant};

use super::allowance::Allowance;
use super::fanotify::Group;
use super::filesystems::FileSystems;
use super::mounts::{FileSystem, Mounts};
use super::plan::Plan;
use super::wanted;
use super::watch::Watch;
use crate::{Coverage, FilesConfig, clock};

/// What the counting group is told of. Not of directories: they are not files.
const COUNTED: u64 = libc::FAN_CREATE | libc::FAN_CLOSE_WRITE | libc::FAN_RENAME | libc::FAN_DELETE;
/// Handles and names (Linux 5.9), also those of what was made, removed or renamed (5.17). Without a
/// bound on marks but the plan's: the kernel's would be shared with every other program of root.
const FLAGS: u32 = libc::FAN_REPORT_DFID_NAME_TARGET | libc::FAN_UNLIMITED_MARKS;
/// Between two looks for mounts in namespaces of others, unless a look takes too long for that.
const ROUND: Duration = Duration::from_secs(5);
/// A round may take one part in this of one core.
const SHARE: u32 = 500;
/// Most plans in a row while directories come up as others are marked.
const PLANS: usize = 8;
/// How many refused paths a coverage row names.
const NAMED: usize = 3;

const SOURCE: &str = "fanotify";
const GIVE_RIGHTS: &str =
    "run on Linux 5.17 or newer, as root or with CAP_SYS_ADMIN in the first user namespace";
const GIVE_HANDLES: &str = "give CAP_DAC_READ_SEARCH";
const NO_SET_IDS: &str =
    "set-id rights on a file that is removed before it was looked at are missed";
const GIVE_SET_IDS: &str = "run on Linux 6.13 or newer with eBPF";
/// Its identities of files have no inode number that is known here.
const NO_SET_IDS_ON_ZFS: &str =
    "set-id rights on a file of ZFS that is removed before it was looked at are missed";
const GIVE_OVERLAYS: &str = "run on Linux 6.6 or newer: there overlays are watched too";
const NOT_BELOW: &str = "what is written to files on overlays, those of containers, is not seen, only what is made, \
    renamed and removed: this kernel does not tell it of the file systems below them";

/// The groups and what is marked.
pub(super) struct Marks {
    config: FilesConfig,
    pub watch: Watch,
    pub counting: Group,
    pub systems: FileSystems,
    mounts: Mounts,
    /// Wanted paths that could not be marked, with why.
    refused: Vec<String>,
    plans: Allowance,
    looks: Allowance,
    round_at: Instant,
    are_mounts_stale: bool,
}

impl Marks {
    /// Marks everything; what happens from here on is recorded.
    pub(super) fn new(config: FilesConfig) -> io::Result<Self> {
        let now = Instant::now();
        let mut marks = Self {
            config,
            watch: Watch::new(Group::open(FLAGS)?),
            counting: Group::open(FLAGS)?,
            systems: FileSystems::new(),
            mounts: Mounts::default(),
            refused: Vec::new(),
            plans: Allowance::new(),
            looks: Allowance::new(),
            round_at: now,
            are_mounts_stale: true,
        };
        marks.look_for_mounts();
        marks.plan();
        Ok(marks)
    }

    pub(super) fn mounts_changed(&mut self) {
        self.are_mounts_stale = true;
    }

    /// Makes another plan if one is due.
    pub(super) fn plan_if_due(&mut self) {
        if self.watch.is_stale && self.plans.free_at() <= Instant::now() {
            self.plan();
        }
    }

    /// Looks for mounts if that is due.
    pub(super) fn look_if_due(&mut self) {
        let now = Instant::now();
        if self.round_at <= now || (self.are_mounts_stale && self.looks.free_at() <= now) {
            self.look_for_mounts();
        }
    }

    /// When the next of that is due.
    pub(super) fn due_at(&self) -> Instant {
        let plan_at = self.watch.is_stale.then(|| self.plans.free_at());
        let look_at = self.are_mounts_stale.then(|| self.looks.free_at());
        let sooner = plan_at.into_iter().chain(look_at);
        sooner.fold(self.round_at, Instant::min)
    }

    /// Marks what is wanted as the file systems are now, again while new directories come up.
    fn plan(&mut self) {
        let (watch, refused) = (&mut self.watch, &mut self.refused);
        self.plans.spend(|| {
            for _ in 0..PLANS {
                watch.is_stale = false;
                let plan = Plan::of(&wanted::all(&self.config), &self.mounts);
                let applied = watch.apply(plan, &self.systems, clock::mono_ns());
                *refused = applied.refused;
                if applied.fresh == 0 {
                    break;
                }
            }
        });
    }

    fn look_for_mounts(&mut self) {
        let began_ns = clock::thread_ns();
        self.looks.spend(|| {
            if std::mem::take(&mut self.are_mounts_stale) {
                self.mounts = Mounts::read();
                self.watch.is_stale = true;
            }
            let (counting, mounts) = (&self.counting, &self.mounts);
            self.systems.refresh(counting, COUNTED, mounts);
        });
        // What it took of a core: on a busy machine it waits for longer than it works.
        let spent = Duration::from_nanos(clock::thread_ns().saturating_sub(began_ns));
        self.round_at = Instant::now() + ROUND.max(SHARE * spent);
    }

    /// What is seen with these marks.
    pub(super) fn coverage(&self) -> Vec<Coverage> {
        vec![self.of_files(), self.of_rates()]
    }

    fn of_files(&self) -> Coverage {
        let mut lacks = Lacks::default();
        if self.watch.set_ids.is_none() {
            lacks.add(NO_SET_IDS.to_owned(), Some(GIVE_SET_IDS));
        } else if has_zfs(&self.mounts.local) {
            lacks.add(NO_SET_IDS_ON_ZFS.to_owned(), None);
        }
        if !self.refused.is_empty() {
            // An overlay may be among them.
            let remedy = (!self.systems.tells_below_overlays).then_some(GIVE_OVERLAYS);
            lacks.add(format!("cannot watch {}", some_of(&self.refused)), remedy);
        }
        lacks.row("file")
    }

    fn of_rates(&self) -> Coverage {
        let class = "file_rates";
        let refused = &self.systems.refused;
        let why = (!refused.is_empty()).then(|| format!("cannot watch {}", some_of(refused)));
        if self.systems.is_empty() {
            let why = why.unwrap_or_else(|| "no local file system is in reach".to_owned());
            return Coverage::missing(class, SOURCE, why, Some(GIVE_RIGHTS));
        }
        let mut lacks = Lacks::default();
        if let Some(why) = why {
            lacks.add(why, None);
        }
        let closed = self.systems.without_samples();
        if !closed.is_empty() {
            let why = format!("no entropy of files on {}", some_of(&closed));
            lacks.add(why, Some(GIVE_HANDLES));
        }
        if !self.systems.tells_below_overlays {
            lacks.add(NOT_BELOW.to_owned(), Some(GIVE_OVERLAYS));
        }
        lacks.row(class)
    }
}

/// What a class lacks, and what would mend each of it.
#[derive(Default)]
struct Lacks {
    why: Vec<String>,
    remedies: Vec<&'static str>,
}

impl Lacks {
    fn add(&mut self, why: String, remedy: Option<&'static str>) {
        self.why.push(why);
        self.remedies.extend(remedy);
    }

    fn row(self, class: &'static str) -> Coverage {
        if self.why.is_empty() {
            return Coverage::full(class, SOURCE);
        }
        let remedy = (!self.remedies.is_empty()).then(|| self.remedies.join("; ").into());
        Coverage {
            remedy,
            ..Coverage::part(class, SOURCE, self.why.join("; "), None)
        }
    }
}

/// The rows of a host where no group can be had.
pub(super) fn refused(error: &io::Error) -> Vec<Coverage> {
    let why = match error.raw_os_error() {
        Some(libc::EPERM) => {
            "fanotify tells who did it only to holders of CAP_SYS_ADMIN".to_owned()
        }
        Some(libc::EINVAL) => "this kernel's fanotify does not name renamed files".to_owned(),
        Some(libc::ENOSYS) => "this kernel has no fanotify".to_owned(),
        _ => format!("cannot make a fanotify group: {error}"),
    };
    ["file", "file_rates"]
        .map(|class| Coverage::missing(class, SOURCE, why.clone(), Some(GIVE_RIGHTS)))
        .into()
}

fn has_zfs(systems: &[FileSystem]) -> bool {
    systems.iter().any(|system| system.kind == "zfs")
}

fn some_of(all: &[String]) -> String {
    let named = all[..all.len().min(NAMED)].join(", ");
    match all.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_remedy_is_told() {
        let mut lacks = Lacks::default();
        lacks.add("one".to_owned(), Some("mend one"));
        lacks.add("two".to_owned(), None);
        lacks.add("three".to_owned(), Some("mend three"));
        let row = lacks.row("file");
        assert_eq!(row.why.as_deref(), Some("one; two; three"));
        assert_eq!(row.remedy.as_deref(), Some("mend one; mend three"));
        assert_eq!(Lacks::default().row("file"), Coverage::full("file", SOURCE));
    }

    #[test]
    fn only_zfs_is_told_of() {
        let of = |kind: &str| FileSystem {
            device: "0:40".to_owned(),
            kind: kind.to_owned(),
            at: "/tank".into(),
            lost_upper: None,
        };
        assert!(has_zfs(&[of("ext4"), of("zfs")]));
        assert!(!has_zfs(&[of("ext4"), of("xfs")]));
    }
}
