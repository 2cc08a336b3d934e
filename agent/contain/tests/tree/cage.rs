//! A PID namespace with a tree of processes in it, seen from outside.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cordon_behavior::event::ProcessKey;
use cordon_contain::Trees;
use tempfile::TempDir;

/// Starts the neighbour, then the tree, and stays.
const INIT: &str = "sleep 9999 & sh -c \"$0\" & wait; exec sleep 9999";
const LIMIT: Duration = Duration::from_secs(20);
const TICK_NS: u64 = 10_000_000;
/// Every process forks as often as it can.
const BOMB: &str = "while (1) { defined(fork) or select undef, undef, undef, 0.001 }";

pub struct Cage {
    unshare: Child,
    state: TempDir,
    namespace: String,
}

struct Seen {
    pid: u32,
    /// In the cage.
    inner: u32,
    line: String,
}

impl Cage {
    /// Runs `script` in a shell, and waits until the first two words of all that runs are these.
    pub fn new(script: &str, mut words: Vec<&str>) -> Self {
        let cage = Self::start(script);
        words.sort_unstable();
        cage.wait("the tree", |cage| {
            let seen = cage.seen();
            let mut found: Vec<String> = seen.iter().map(|one| start_of(&one.line)).collect();
            found.sort_unstable();
            found == words
        });
        cage
    }

    /// Processes that fork for ever, as many as the limit lets them. The limit is on a user that nobody else is.
    pub fn bomb(most: usize) -> Self {
        let uid = 60_000 + std::process::id() % 5_000;
        let cage = Self::start(&format!(
            "exec prlimit --nproc={most} setpriv --reuid={uid} --regid={uid} --clear-groups perl -e '{BOMB}'"
        ));
        cage.wait("the bomb", |cage| cage.living().len() == most);
        cage
    }

    fn start(script: &str) -> Self {
        let unshare = Command::new("unshare")
            .args(["--pid", "--fork", "--kill-child", "sh", "-c", INIT, script])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut cage = Self {
            unshare,
            state: tempfile::tempdir().unwrap(),
            namespace: String::new(),
        };
        let outside = namespace_of(std::process::id());
        cage.wait("the cage", |cage| {
            cage.first().is_some_and(|pid| namespace_of(pid) != outside)
        });
        cage.namespace = namespace_of(cage.init());
        cage
    }

    /// The neighbour plays the agent: a test is above the tree, and an agent would be spared with all below it.
    pub fn trees(&self) -> Trees {
        Trees::open(self.state(), self.neighbour().pid)
    }

    pub fn state(&self) -> &Path {
        self.state.path()
    }

    pub fn init(&self) -> u32 {
        self.first().unwrap()
    }

    fn first(&self) -> Option<u32> {
        let unshare = self.unshare.id();
        let children = fs::read_to_string(format!("/proc/{unshare}/task/{unshare}/children"));
        children.unwrap().trim().parse().ok()
    }

    /// The first process of the tree.
    pub fn root(&self) -> ProcessKey {
        self.numbered(3)
    }

    /// A process beside the tree.
    pub fn neighbour(&self) -> ProcessKey {
        self.numbered(2)
    }

    /// Everybody of the tree who runs or stands still.
    pub fn living(&self) -> BTreeSet<u32> {
        self.seen().iter().map(|one| one.pid).collect()
    }

    /// Those of them who stand still.
    pub fn standing(&self) -> BTreeSet<u32> {
        let mut living = self.living();
        living.retain(|pid| field(*pid, 3) == Some("T".to_owned()));
        living
    }

    pub fn wait_standing(&self, pids: &BTreeSet<u32>) {
        self.wait("the stop", |cage| cage.standing() == *pids);
    }

    /// The only process of the tree whose command line starts like this.
    pub fn one(&self, line: &str) -> ProcessKey {
        let mut seen = self.seen();
        seen.retain(|one| one.line.starts_with(line));
        assert_eq!(seen.len(), 1, "{line}");
        key_of(seen[0].pid)
    }

    /// Whether a process of the tree has a command line that starts like this.
    pub fn has(&self, line: &str) -> bool {
        self.seen().iter().any(|one| one.line.starts_with(line))
    }

    fn numbered(&self, inner: u32) -> ProcessKey {
        let all = self.everybody();
        key_of(all.iter().find(|one| one.inner == inner).unwrap().pid)
    }

    fn seen(&self) -> Vec<Seen> {
        let mut all = self.everybody();
        // Its first process and the neighbour.
        all.retain(|one| one.inner > 2);
        all
    }

    /// Everybody in the cage who has not ended.
    fn everybody(&self) -> Vec<Seen> {
        let pids = fs::read_dir("/proc").unwrap().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let inside = pids.filter(|pid| namespace_of(*pid) == self.namespace);
        inside.filter_map(Seen::read).collect()
    }

    fn wait(&self, what: &str, is_there: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !is_there(self) {
            let lines: Vec<String> = self.seen().into_iter().map(|one| one.line).collect();
            assert!(began.elapsed() < LIMIT, "{what} never came: {lines:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        // Its child, the first process of the cage, goes with it and takes all others along.
        self.unshare.kill().unwrap();
        self.unshare.wait().unwrap();
    }
}

impl Seen {
    fn read(pid: u32) -> Option<Self> {
        // Nobody may have asked yet for those who have.
        field(pid, 3).filter(|state| state != "Z" && state != "X")?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let pids = status.lines().find(|line| line.starts_with("NSpid:"))?;
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
        Some(Self {
            pid,
            inner: pids.split_whitespace().last()?.parse().ok()?,
            line: line.trim_end_matches('\0').replace('\0', " "),
        })
    }
}

fn start_of(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').take(2).collect();
    words.join(" ")
}

fn namespace_of(pid: u32) -> String {
    let link = fs::read_link(format!("/proc/{pid}/ns/pid"));
    link.map_or_else(
        |_| String::new(),
        |link| link.to_string_lossy().into_owned(),
    )
}

/// As the fallback sensor tells it.
pub fn key_of(pid: u32) -> ProcessKey {
    let ticks: u64 = field(pid, 22).unwrap().parse().unwrap();
    ProcessKey {
        pid,
        // Within the tick: the kernel's sensor tells nanoseconds.
        start_ns: ticks * TICK_NS + TICK_NS / 2,
    }
}

/// Another process that had the pid before.
pub fn before(key: ProcessKey) -> ProcessKey {
    ProcessKey {
        start_ns: key.start_ns - TICK_NS,
        ..key
    }
}

pub fn parent(pid: u32) -> u32 {
    field(pid, 4).unwrap().parse().unwrap()
}

pub fn exe(pid: u32) -> String {
    let link = fs::read_link(format!("/proc/{pid}/exe")).unwrap();
    link.to_str().unwrap().to_owned()
}

/// Field of `/proc/PID/stat` by its number in the manual.
fn field(pid: u32, number: usize) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let rest = stat.rsplit_once(") ")?.1;
    rest.split(' ').nth(number - 3).map(str::to_owned)
}
