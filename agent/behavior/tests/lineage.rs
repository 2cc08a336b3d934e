//! Stories of processes whose lineage was cut, reused or changed under them.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set up its case has failed"
)]

use std::net::SocketAddr;

use cordon_behavior::event::{Event, EventBody, Exec, ProcessKey};
use cordon_behavior::story::{StdioKind, Story};
use cordon_behavior::{Behavior, Limits, Trigger};

struct Machine {
    graph: Behavior,
    now: u64,
}

fn key(pid: u32, start_ns: u64) -> ProcessKey {
    ProcessKey { pid, start_ns }
}

impl Machine {
    fn new() -> Self {
        Self {
            graph: Behavior::new(Limits::default()),
            now: 1000,
        }
    }

    fn send(&mut self, process: ProcessKey, body: EventBody) -> Vec<Trigger> {
        self.now += 1;
        self.graph.apply(&Event {
            mono_ns: self.now,
            wall_ns: 0,
            process,
            cgroup_id: 0,
            container: None,
            body,
        })
    }

    fn exec(&mut self, process: ProcessKey, exe: &str) -> Vec<Trigger> {
        self.image(process, None, exe, false)
    }

    fn image(
        &mut self,
        process: ProcessKey,
        parent: Option<ProcessKey>,
        exe: &str,
        snapshot: bool,
    ) -> Vec<Trigger> {
        let exec = Exec {
            parent,
            exe: exe.to_owned(),
            argv: vec![exe.to_owned()],
            argv_truncated: false,
            cwd: "/".to_owned(),
            uid: 33,
            euid: 33,
            tty: false,
            stdio: [StdioKind::Socket; 3],
            deleted_exe: false,
            memfd: false,
            snapshot,
            ..Exec::default()
        };
        self.send(process, EventBody::Exec(Box::new(exec)))
    }

    fn fork(&mut self, process: ProcessKey, child: ProcessKey) {
        self.send(process, EventBody::Fork { child });
    }

    fn exit(&mut self, process: ProcessKey) {
        self.send(process, EventBody::Exit { code: 0, signal: 0 });
    }

    fn connect(&mut self, process: ProcessKey, remote: &str) -> Vec<ProcessKey> {
        let remote: SocketAddr = remote.parse().unwrap();
        let triggers = self.send(process, EventBody::Connect { remote });
        triggers.iter().map(|trigger| trigger.process).collect()
    }

    fn story(&self, process: ProcessKey) -> Story {
        self.graph.story(process).unwrap()
    }
}

fn ancestors(story: &Story) -> Vec<&str> {
    story.ancestors.iter().map(|one| one.exe.as_str()).collect()
}

fn addresses(story: &Story) -> Vec<&str> {
    story
        .connections
        .iter()
        .map(|one| one.address.as_str())
        .collect()
}

#[test]
fn connection_then_exec_in_the_same_process_is_in_the_shells_story() {
    let mut machine = Machine::new();
    let (bash, perl) = (key(10, 1), key(11, 2));
    machine.exec(bash, "/bin/bash");
    machine.fork(bash, perl);
    machine.exec(perl, "/usr/bin/perl");
    assert_eq!(machine.connect(perl, "203.0.113.9:4444"), [perl, bash]);
    assert_eq!(machine.exec(perl, "/bin/sh").len(), 1);
    let story = machine.story(perl);
    assert_eq!(story.process.as_ref().unwrap().exe, "/bin/sh");
    assert_eq!(ancestors(&story), ["/usr/bin/perl", "/bin/bash"]);
    assert_eq!(addresses(&story), ["203.0.113.9"]);
}

#[test]
fn connection_then_fork_then_exec_is_in_the_childs_story() {
    let mut machine = Machine::new();
    let (python, shell, id) = (key(10, 1), key(11, 2), key(12, 3));
    machine.exec(python, "/usr/bin/python3");
    machine.connect(python, "203.0.113.9:4444");
    machine.fork(python, shell);
    machine.exec(shell, "/bin/sh");
    assert_eq!(addresses(&machine.story(shell)), ["203.0.113.9"]);
    machine.fork(shell, id);
    machine.exec(id, "/usr/bin/id");
    assert_eq!(addresses(&machine.story(id)), ["203.0.113.9"]);
    assert_eq!(machine.story(shell).children[0].exe, "/usr/bin/id");
}

#[test]
fn a_late_connection_of_a_relay_judges_the_shell_beside_it_again() {
    let mut machine = Machine::new();
    let (shell, relay) = (key(10, 1), key(11, 2));
    machine.exec(shell, "/bin/sh");
    machine.fork(shell, relay);
    machine.exec(relay, "/usr/bin/nc");
    assert_eq!(machine.connect(relay, "[2001:db8::1]:443"), [relay, shell]);
    assert_eq!(addresses(&machine.story(shell)), ["2001:db8::1"]);
    assert_eq!(machine.connect(relay, "[2001:db8::1]:443"), []);
}

#[test]
fn loopback_is_kept_but_judges_nothing() {
    let mut machine = Machine::new();
    let process = key(10, 1);
    machine.exec(process, "/usr/bin/psql");
    for port in 1..100 {
        assert_eq!(machine.connect(process, &format!("127.0.0.1:{port}")), []);
    }
    assert_eq!(machine.story(process).connections.len(), 8);
}

#[test]
fn lineage_outlives_the_parent() {
    let mut machine = Machine::new();
    let (web, shell, child) = (key(10, 1), key(11, 2), key(12, 3));
    machine.exec(web, "/usr/sbin/nginx");
    machine.fork(web, shell);
    machine.exec(shell, "/bin/sh");
    machine.fork(shell, child);
    machine.exit(shell);
    machine.graph.forget_exited(2000);
    // The kernel says init by now: what was seen at the fork is the better answer.
    machine.image(child, Some(key(1, 0)), "/usr/bin/curl", false);
    assert_eq!(
        ancestors(&machine.story(child)),
        ["/bin/sh", "/usr/sbin/nginx"]
    );
}

#[test]
fn a_reused_pid_inherits_nothing() {
    let mut machine = Machine::new();
    let (old, new) = (key(10, 1), key(10, 50));
    machine.exec(old, "/usr/bin/perl");
    machine.connect(old, "203.0.113.9:4444");
    machine.exec(new, "/bin/ls");
    let story = machine.story(new);
    assert!(story.connections.is_empty() && story.ancestors.is_empty());
    assert_eq!(machine.graph.living(10), Some(new));
    assert_ne!(machine.graph.tree_root(old), machine.graph.tree_root(new));
}

#[test]
fn ended_processes_are_forgotten_when_their_time_is_over() {
    let mut machine = Machine::new();
    let (shell, child) = (key(10, 1), key(11, 2));
    machine.exec(shell, "/bin/sh");
    machine.fork(shell, child);
    machine.exec(child, "/bin/ls");
    machine.exit(child);
    machine.graph.forget_exited(machine.now);
    assert_eq!(machine.graph.len(), 2);
    machine
        .graph
        .forget_exited(machine.now + Limits::default().keep_ended_ns + 1);
    assert_eq!(machine.graph.len(), 1);
    assert!(machine.story(shell).children.is_empty());
}

#[test]
fn snapshot_judges_nothing_and_yields_to_what_was_seen_live() {
    let mut machine = Machine::new();
    let process = key(10, 1);
    assert!(machine.image(process, None, "/bin/old", true).is_empty());
    machine.exec(process, "/bin/new");
    assert!(machine.image(process, None, "/bin/old", true).is_empty());
    assert_eq!(machine.story(process).process.unwrap().exe, "/bin/new");
}

#[test]
fn a_connection_from_before_the_sensor_is_told_and_judges_nothing() {
    let mut machine = Machine::new();
    let shell = key(10, 1);
    machine.image(shell, None, "/bin/sh", true);
    machine.now -= 1;
    assert!(machine.connect(shell, "203.0.113.9:4444").is_empty());
    assert_eq!(addresses(&machine.story(shell)), ["203.0.113.9"]);
    assert_eq!(machine.connect(shell, "203.0.113.9:4445"), [shell]);
}

#[test]
fn a_tree_ends_below_what_starts_sessions() {
    let mut machine = Machine::new();
    let (init, sshd, shell, child) = (key(1, 0), key(5, 1), key(10, 2), key(11, 3));
    machine.exec(init, "/usr/lib/systemd/systemd");
    machine.fork(init, sshd);
    machine.exec(sshd, "/usr/sbin/sshd");
    machine.fork(sshd, shell);
    machine.exec(shell, "/bin/bash");
    machine.fork(shell, child);
    machine.exec(child, "/usr/bin/curl");
    machine.exit(shell);
    assert_eq!(machine.graph.tree_root(child), Some(shell));
    assert_eq!(machine.graph.tree_root(sshd), Some(sshd));
}

#[test]
fn a_fork_storm_forgets_the_storm_and_keeps_the_living() {
    let mut machine = Machine::new();
    let shell = key(10, 1);
    machine.exec(shell, "/bin/sh");
    for index in 0..60_000u64 {
        let child = key(100 + (index % 30_000) as u32, 100 + index);
        machine.fork(shell, child);
        machine.exec(child, "/bin/true");
        machine.exit(child);
    }
    assert!(machine.graph.bytes() <= Limits::default().bytes);
    let story = machine.story(shell);
    assert_eq!(story.children.len(), 16);
    assert!(machine.graph.len() > 1000);
}

#[test]
fn processes_of_one_start_time_are_not_each_others_parents() {
    let mut machine = Machine::new();
    let (one, two, three) = (key(10, 5), key(11, 5), key(12, 5));
    machine.fork(one, two);
    machine.fork(two, three);
    machine.image(one, Some(three), "/bin/sh", false);
    assert_eq!(machine.graph.parent(three), Some(two));
    assert_eq!(machine.graph.parent(two), Some(one));
    assert_eq!(machine.graph.parent(one), None);

    for process in [one, two, three] {
        machine.send(process, EventBody::Exit { code: 0, signal: 0 });
    }
    // A whole lineage goes, youngest first.
    machine.graph.forget_exited(u64::MAX);
    assert!(machine.graph.is_empty());
}

#[test]
fn whoever_descends_is_known_over_the_end_of_those_between() {
    let mut machine = Machine::new();
    let [root, middle, daemon, below, other] = [10, 11, 12, 13, 14].map(|pid| key(pid, pid.into()));
    machine.exec(root, "/bin/sh");
    for (maker, child) in [(root, middle), (middle, daemon), (daemon, below)] {
        machine.send(maker, EventBody::Fork { child });
    }
    machine.exec(other, "/bin/sh");
    machine.send(middle, EventBody::Exit { code: 0, signal: 0 });
    let mut living = machine.graph.living_below(root);
    living.sort();
    assert_eq!(living, [daemon, below]);
    assert_eq!(machine.graph.living_below(below), []);
    assert_eq!(machine.graph.living_below(key(99, 99)), []);
    // The root's own end changes nothing for those below.
    machine.send(root, EventBody::Exit { code: 0, signal: 0 });
    assert_eq!(machine.graph.living_below(root).len(), 2);
}
