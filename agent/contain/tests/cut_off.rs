//! Trees cut off the network: real processes in a cgroup and a network of the test's own, which it removes whatever
//! happens; what a crashed one left is removed by the next.
#![allow(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

mod lab;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use cordon_contain::{CutOff, Cuts, Tree};
use lab::wire;
use lab::{Lab, OUTSIDE4, OUTSIDE6, at};

/// Nobody's: the test is above its trees, and an agent would be spared with all below it.
const AGENT: u32 = 0x7fff_fff0;
/// Answers each line with `ok` or `no`. What it holds, it made before it was cut off. Its children end with it.
const DRIVER: &str = r#"
use Socket qw(:all); $| = 1; $SIG{PIPE} = "IGNORE"; my ($v4, $v6) = @ARGV;
sub to { my ($ip, $port) = @_; return $ip =~ /:/ ? pack_sockaddr_in6($port, inet_pton(AF_INET6, $ip)) : pack_sockaddr_in($port, inet_aton($ip)) }
sub made { my ($ip, $kind) = @_; socket(my $s, $ip =~ /:/ ? PF_INET6 : PF_INET, $kind, 0) or die; return $s }
<STDIN>;
my %old = map { $_ => made($_, SOCK_DGRAM) } $v4, $v6;
my $unused = made($v4, SOCK_STREAM);
my $stands = made($v4, SOCK_STREAM); connect($stands, to($v4, 4444)) or die;
sub child { my $maker = $$; my $pid = fork; return $pid if $pid; 1 while getppid() == $maker && !select(undef, undef, undef, 0.05); exit }
child(); print "ok\n";
while (<STDIN>) {
  chomp; my ($act, $ip) = split / /; my $done;
  if ($act eq "stands") { my $byte; $done = syswrite($stands, "x") && sysread($stands, $byte, 1) }
  elsif ($act eq "unused") { $done = connect($unused, to($v4, 4444)) }
  elsif ($act eq "connect") { my $s = made($ip, SOCK_STREAM); $done = connect($s, to($ip, 4444)) }
  elsif ($act eq "old") { $done = defined send($old{$ip}, "x", 0, to($ip, 53)) }
  elsif ($act eq "send") { $done = defined send(made($ip, SOCK_DGRAM), "x", 0, to($ip, 53)) }
  elsif ($act eq "fork") { $done = child() }
  print $done ? "ok\n" : "no\n";
}
"#;

/// A tree of two processes in a cgroup of its own.
struct Stage {
    lab: Lab,
    top: PathBuf,
    root: Child,
    say: ChildStdin,
    hear: BufReader<ChildStdout>,
}

impl Stage {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let mount = cgroup2();
        sweep(&mount);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let top = mount.join(format!("cordon-test-{}-{number}", std::process::id()));
        fs::create_dir(&top).unwrap();
        fs::create_dir(top.join("work")).unwrap();
        let lab = Lab::new();
        let mut root = lab.host.run(|| {
            Command::new("perl")
                .args(["-e", DRIVER, OUTSIDE4, OUTSIDE6])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        });
        fs::write(top.join("work/cgroup.procs"), root.id().to_string()).unwrap();
        let say = root.stdin.take().unwrap();
        let hear = BufReader::new(root.stdout.take().unwrap());
        let mut stage = Self {
            lab,
            top,
            root,
            say,
            hear,
        };
        assert!(stage.ask("begin"));
        stage
    }

    fn ask(&mut self, line: &str) -> bool {
        writeln!(self.say, "{line}").unwrap();
        let mut answer = String::new();
        self.hear.read_line(&mut answer).unwrap();
        assert!(
            ["ok\n", "no\n"].contains(&answer.as_str()),
            "{line}: {answer:?}"
        );
        answer == "ok\n"
    }

    /// What the tree can do of these, and each is told at once.
    fn can(&mut self) -> Vec<String> {
        let acts = ["connect", "old", "send"];
        let ways = acts.map(|act| [OUTSIDE4, OUTSIDE6].map(|ip| format!("{act} {ip}")));
        let ways = ways.into_iter().flatten();
        ways.filter(|way| {
            let began = Instant::now();
            let can = self.ask(way);
            assert!(began.elapsed() < Duration::from_secs(2), "{way} took long");
            can
        })
        .collect()
    }

    fn tree(&self, protected: &[&str]) -> Tree {
        let protected = protected.iter().map(|&path| path.to_owned()).collect();
        Tree::of_pid(self.root.id(), protected).unwrap()
    }

    /// Runs `job` on the host with its cuts.
    fn cuts<T: Send + 'static>(&self, job: impl FnOnce(&Cuts) -> T + Send + 'static) -> T {
        let (state, top) = (self.lab.state.path().to_owned(), self.top.clone());
        self.lab
            .host
            .run(move || job(&Cuts::open_below(&state, AGENT, &top).unwrap()))
    }

    fn cut_off(&self) -> CutOff {
        let tree = self.tree(&[]);
        self.cuts(move |cuts| cuts.cut_off(&tree).unwrap())
    }

    fn is_clean(&self) -> bool {
        !self.top.join("cordon_cut").exists()
            && !self.lab.ruleset().contains("cordon")
            && !self.lab.state.path().join("cut_off.json").exists()
    }

    fn cgroup(&self) -> String {
        let path = format!("/proc/{}/cgroup", self.root.id());
        let lines = fs::read_to_string(path).unwrap();
        let line = lines.lines().find(|line| line.starts_with("0::")).unwrap();
        line.rsplit('/').next().unwrap().to_owned()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        drop(self.root.kill());
        drop(self.root.wait());
        // The children notice within a moment; then the cgroups can go.
        let gone = || clear(&self.top).is_ok();
        assert!(lab::eventually(Duration::from_secs(10), gone) || std::thread::panicking());
    }
}

fn cgroup2() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = mounts.lines().find(|line| line.contains(" - cgroup2 "));
    PathBuf::from(line.unwrap().split(' ').nth(4).unwrap())
}

fn clear(top: &Path) -> std::io::Result<()> {
    for below in ["cordon_cut", "work"] {
        let below = top.join(below);
        if below.exists() {
            fs::remove_dir(below)?;
        }
    }
    fs::remove_dir(top)
}

/// Takes away what a test left that was killed.
fn sweep(mount: &Path) {
    for entry in fs::read_dir(mount).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        let pid = name
            .strip_prefix("cordon-test-")
            .and_then(|rest| rest.split('-').next());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            drop(clear(&entry.path()));
        }
    }
}

#[test]
fn a_tree_is_cut_off_with_its_sockets_and_forks_and_let_back() {
    let mut stage = Stage::new();
    assert_eq!(stage.can().len(), 6);
    assert!(stage.ask("stands"));
    let done = stage.cut_off();
    assert!(
        done.stopped.is_whole && done.warnings.is_empty(),
        "{done:?}"
    );
    assert_eq!(done.stopped.processes.len(), 2);
    assert!(done.cut_sockets > 0);
    let found: Vec<(bool, bool)> = done
        .probes
        .iter()
        .map(|p| (p.reached, p.expected))
        .collect();
    assert_eq!(
        found,
        [(true, true), (true, true), (false, false), (false, false)]
    );

    assert_eq!(stage.can(), [""; 0]);
    assert!(!stage.ask("stands") && !stage.ask("unused"));
    assert!(stage.ask("fork"));
    assert_eq!(stage.cuts(Cuts::count), 3, "a fork is born inside");
    // The rest of the host.
    for address in [OUTSIDE4, OUTSIDE6] {
        let reaches = stage
            .lab
            .host
            .run(move || wire::tcp(at(address, 4444), None, 0).is_some());
        assert!(reaches, "{address}");
    }
    // Again: nobody is new, and all is still proved.
    let again = stage.cut_off();
    assert!(
        again.stopped.is_whole && again.stopped.processes.is_empty(),
        "{again:?}"
    );

    let back = stage.cuts(|cuts| cuts.rejoin().unwrap());
    assert!(back.is_whole && back.survivors.is_empty(), "{back:?}");
    assert_eq!((back.processes.len(), stage.cgroup().as_str()), (3, "work"));
    // Each old socket says first that it was ended, and then serves again.
    stage.can();
    assert_eq!(stage.can().len(), 6);
    assert!(stage.is_clean());
    assert!(
        stage
            .cuts(|cuts| cuts.rejoin().unwrap())
            .processes
            .is_empty()
    );
}

/// Each step is another agent's: nothing of it is in a process.
#[test]
fn whatever_is_done_to_it_is_put_back() {
    let mut stage = Stage::new();
    stage.cut_off();
    let work = stage.top.join("work/cgroup.procs").display().to_string();
    let move_out = format!("echo {} > {work}", stage.root.id());
    for damage in [
        "nft flush ruleset",
        "nft delete table inet cordon_cut",
        "nft insert rule inet cordon_cut output accept",
        "nft flush chain inet cordon_cut input",
        &move_out,
    ] {
        stage.lab.host.sh(damage);
        assert!(stage.cuts(|cuts| cuts.repair().unwrap()), "{damage}");
        assert!(!stage.cuts(|cuts| cuts.repair().unwrap()), "{damage}");
        assert_eq!(stage.can(), [""; 0], "{damage}");
    }
    // Nothing is kept for those who have ended.
    stage.root.kill().unwrap();
    stage.root.wait().unwrap();
    let is_over = || {
        stage.cuts(|cuts| cuts.repair().unwrap());
        stage.is_clean()
    };
    assert!(lab::eventually(Duration::from_secs(10), is_over));
}

#[test]
fn who_must_not_be_touched_is_not_and_nothing_is_left_of_the_try() {
    let mut stage = Stage::new();
    let perl = fs::read_link(format!("/proc/{}/exe", stage.root.id())).unwrap();
    let tree = stage.tree(&[perl.to_str().unwrap()]);
    let done = stage.cuts(move |cuts| cuts.cut_off(&tree).unwrap());
    let whys: Vec<&str> = done
        .stopped
        .spared
        .iter()
        .map(|one| one.why.as_str())
        .collect();
    assert_eq!(whys, ["protected by the policy"; 2]);
    assert!(done.stopped.processes.is_empty() && stage.is_clean());
    let first = Tree::of_pid(1, Vec::new()).unwrap();
    let done = stage.cuts(move |cuts| cuts.cut_off(&first).unwrap());
    assert_eq!(
        done.stopped.spared[0].why,
        "the first process of the system"
    );
    assert!(stage.is_clean());
    assert_eq!(stage.can().len(), 6);
    assert!(Tree::of_pid(u32::MAX, Vec::new()).is_none());
    fs::write(stage.lab.state.path().join("cut_off.json"), "{").unwrap();
    let tree = stage.tree(&[]);
    let refused = stage.cuts(move |cuts| cuts.cut_off(&tree).map(drop));
    assert!(refused.unwrap_err().to_string().contains("is damaged"));
    assert_eq!(stage.can().len(), 6);
}

#[test]
fn one_tree_is_let_back_with_its_forks_and_no_other_is() {
    let mut stage = Stage::new();
    stage.cut_off();
    assert!(stage.ask("fork"));
    let mut stranger = stage.tree(&[]);
    stranger.root.start_ns += 1_000_000_000;
    let back = stage.cuts(move |cuts| cuts.rejoin_tree(&stranger).unwrap());
    assert!(back.is_whole && back.processes.is_empty(), "{back:?}");
    assert_eq!(stage.can(), [""; 0]);
    assert!(!stage.cuts(|cuts| cuts.repair().unwrap()));
    let tree = stage.tree(&[]);
    let back = stage.cuts(move |cuts| cuts.rejoin_tree(&tree).unwrap());
    assert!(back.is_whole && back.survivors.is_empty(), "{back:?}");
    assert_eq!((back.processes.len(), stage.cgroup().as_str()), (3, "work"));
    stage.can();
    assert_eq!(stage.can().len(), 6);
    assert!(stage.is_clean());
}
