//! What the restore unit does between the boot and the daemon, as a program in a network namespace of its own.
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

mod support;

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cordon_contain::{Containment, IsolationSpec, Moment, boottime_ns};
use cordon_proto::AGENT_SOCKET_MARK;
use cordon_proto::id::IsolationId;
use jiff::{SignedDuration, Timestamp};
use support::AGENT;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(20);

/// `restore --watch` on an isolation with this lease, after it has said that the rules are in.
struct Watch {
    base: TempDir,
    child: Child,
    /// A process that is in its network namespace.
    inside: u32,
}

impl Watch {
    fn begin(lease: SignedDuration) -> Self {
        let base = tempfile::tempdir().unwrap();
        let root = base.path().display();
        let settings = format!("state_dir = '{root}/state'\nrun_dir = '{root}/run'\n");
        fs::write(base.path().join("agent.toml"), settings).unwrap();
        let began = Timestamp::now();
        let spec = IsolationSpec {
            id: IsolationId::generate(),
            reason: "drill".into(),
            tree: None,
            started_at: began,
            lease_expires_at: Some(began + lease),
            controllers: vec!["192.0.2.1:7443".parse().unwrap()],
            allow: Vec::new(),
            policy_version: 1,
            moment: Moment::of_this_boot(boottime_ns(), began),
        };
        let state = base.path().join("state");
        let containment = Containment::open(&state, AGENT_SOCKET_MARK).unwrap();
        containment.intend(&spec).unwrap();
        let socket = base.path().join("notify");
        let systemd = UnixDatagram::bind(&socket).unwrap();
        systemd.set_read_timeout(Some(LIMIT)).unwrap();
        let child = Command::new("unshare")
            .args(["--net", AGENT, "restore", "--watch", "--config"])
            .arg(base.path().join("agent.toml"))
            .env("NOTIFY_SOCKET", &socket)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let inside = child.id();
        let watch = Self {
            base,
            child,
            inside,
        };
        let mut said = [0; 64];
        let n = systemd.recv(&mut said).unwrap();
        assert_eq!(&said[..n], b"READY=1");
        assert!(watch.rules().contains("inet cordon"));
        watch
    }

    /// Runs in its network namespace; says what it printed.
    fn inside(&self, command: &[&str]) -> String {
        let output = Command::new("nsenter")
            .args(["--net", "--target", &self.inside.to_string(), "--"])
            .args(command)
            .output()
            .unwrap();
        assert!(output.status.success(), "{command:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn rules(&self) -> String {
        self.inside(&["nft", "list", "ruleset"])
    }

    fn wait_for(&self, what: &str, condition: impl Fn(&str) -> bool) {
        let end = Instant::now() + LIMIT;
        while !condition(&self.rules()) {
            assert!(Instant::now() < end, "{what} never came: {}", self.rules());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// By itself, and well.
    fn wait_for_its_end(&mut self) {
        let end = Instant::now() + LIMIT;
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None => assert!(Instant::now() < end, "it never ends"),
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        assert!(status.success(), "{status}");
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Of a failed test; one that has ended is not there to be killed.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn it_says_when_the_rules_are_in_and_covers_what_comes_later_until_the_host_is_opened() {
    let mut watch = Watch::begin(SignedDuration::from_hours(1));
    watch.inside(&[
        "ip", "link", "add", "late0", "type", "veth", "peer", "name", "late1",
    ]);
    watch.wait_for("an egress chain", |rules| {
        rules.contains("device \"late0\"")
    });
    watch.inside(&["nft", "flush", "ruleset"]);
    watch.wait_for("the rules", |rules| rules.contains("inet cordon"));
    let config = watch.base.path().join("agent.toml");
    let release = [
        "release",
        "--reason",
        "done",
        "--config",
        config.to_str().unwrap(),
    ];
    watch.inside(&[&[AGENT][..], &release].concat());
    watch.wait_for_its_end();
}

#[test]
fn a_daemon_that_never_starts_keeps_nobody_in_beyond_the_lease() {
    let mut watch = Watch::begin(SignedDuration::from_secs(4));
    // It holds the namespace, so that there is something to look at when the watch has ended.
    let mut holder = Command::new("nsenter")
        .args(["--net", "--target", &watch.child.id().to_string()])
        .args(["sleep", "60"])
        .spawn()
        .unwrap();
    watch.inside = holder.id();
    watch.wait_for("the end of the lease", |rules| !rules.contains("cordon"));
    holder.kill().unwrap();
    holder.wait().unwrap();
    watch.wait_for_its_end();
    assert!(!watch.base.path().join("state/isolation.json").exists());
}
