//! What processes do, class by class: what their story tells of it, and whether it is judged again.
// Long because the table has a row for every class of events.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set up its case has failed"
)]

use std::net::SocketAddr;
use std::sync::Arc;

use cordon_behavior::event::{
    Closed, Container, Credentials, Direction, Dns, Event, EventBody, Exec, FileChange, FileOp,
    FileRates, Login, LoginMethod, Namespaces, Origin, ProcessKey, Protocol, Sensitivity,
    SocketFamily,
};
use cordon_behavior::story::{Connection, Story};
use cordon_behavior::{Behavior, Limits};

const SECOND: u64 = 1_000_000_000;

fn key(pid: u32) -> ProcessKey {
    ProcessKey {
        pid,
        start_ns: u64::from(pid),
    }
}

/// init, sshd, a shell of somebody who logged in, and a program below it.
const SSHD: u32 = 20;
const SHELL: u32 = 30;
const TOOL: u32 = 40;

struct Host {
    graph: Behavior,
    now: u64,
}

impl Host {
    fn new() -> Self {
        let mut host = Self {
            graph: Behavior::new(Limits::default()),
            now: SECOND,
        };
        host.exec(SSHD, 1, "/usr/sbin/sshd");
        host.exec(SHELL, SSHD, "/bin/bash");
        host.exec(TOOL, SHELL, "/usr/local/bin/tool");
        host
    }

    fn event(&self, process: ProcessKey, body: EventBody) -> Event {
        Event {
            mono_ns: self.now,
            wall_ns: 0,
            process,
            cgroup_id: 0,
            container: None,
            body,
        }
    }

    fn exec(&mut self, pid: u32, parent: u32, exe: &str) {
        let exec = Exec {
            parent: Some(key(parent)),
            exe: exe.to_owned(),
            login_uid: Some(1000),
            ..Exec::default()
        };
        self.by(pid, EventBody::Exec(Box::new(exec)));
    }

    /// Pids of who is judged again.
    fn by(&mut self, pid: u32, body: EventBody) -> Vec<u32> {
        self.of(key(pid), body)
    }

    fn of(&mut self, process: ProcessKey, body: EventBody) -> Vec<u32> {
        self.now += 1;
        let triggers = self.graph.apply(&self.event(process, body));
        triggers.iter().map(|trigger| trigger.process.pid).collect()
    }

    fn story(&self, pid: u32) -> Story {
        self.graph.story(key(pid)).unwrap()
    }
}

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

fn connect(address: &str) -> EventBody {
    let remote = at(address);
    EventBody::Connect { remote }
}

fn file(op: FileOp, path: &str, sensitivity: Sensitivity) -> EventBody {
    EventBody::File(Box::new(FileChange {
        op,
        path: path.to_owned(),
        to: None,
        sensitivity,
    }))
}

fn asks(name: &str) -> EventBody {
    EventBody::Dns(Box::new(Dns {
        name: name.to_owned(),
        ..Dns::default()
    }))
}

fn told(one: &Connection) -> (&str, &str, &str, u16) {
    (&one.direction, &one.protocol, &one.address, one.port)
}

/// Each class of events that is of a process: what is done, who is judged again when it is done
/// first, and where in the story it stands. Done a second time nobody is.
#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn each_class_is_told_and_judged_again_once() {
    type Row = (&'static str, EventBody, &'static [u32], fn(&Story) -> bool);
    let rows: [Row; 17] = [
        (
            "connect",
            connect("203.0.113.9:443"),
            &[TOOL, SHELL],
            |story| told(&story.connections[0]) == ("out", "tcp", "203.0.113.9", 443),
        ),
        (
            "accept",
            EventBody::Accept {
                remote: at("[2001:db8::1]:9"),
                local_port: 80,
            },
            &[],
            |story| told(&story.connections[0]) == ("in", "tcp", "2001:db8::1", 80),
        ),
        (
            "listen",
            EventBody::Listen {
                local: at("[::]:4444"),
                protocol: Protocol::Tcp,
            },
            &[],
            |story| told(&story.connections[0]) == ("listen", "tcp", "::", 4444),
        ),
        (
            "udp",
            EventBody::Udp {
                remote: at("203.0.113.9:53"),
            },
            &[SHELL],
            |story| told(&story.connections[0]) == ("out", "udp", "203.0.113.9", 53),
        ),
        ("dns", asks("A.example.NET."), &[SHELL], |story| {
            story.dns == ["a.example.net"]
        }),
        (
            "file",
            file(FileOp::Write, "/etc/cron.d/x", Sensitivity::Watched),
            &[TOOL, SHELL],
            |story| story.files[0].op == "write" && story.files[0].sensitivity == "watched",
        ),
        (
            "file",
            file(FileOp::Read, "/etc/shadow", Sensitivity::Secret),
            &[TOOL, SHELL],
            |story| story.files[0].path == "/etc/shadow",
        ),
        (
            "file",
            file(FileOp::Read, "/etc/passwd", Sensitivity::Watched),
            &[],
            |story| story.files[0].op == "read",
        ),
        (
            "credential",
            EventBody::Credential(Box::new(Credentials {
                old_euid: Some(1000),
                euid: 0,
                old_capabilities: Some(0),
                capabilities: Some(1 << 21 | 1 << 50),
                ..Credentials::default()
            })),
            &[TOOL],
            |story| {
                let own = story.process.as_ref().unwrap();
                own.uid_raised.is_some_and(|raised| (raised.from, raised.to) == (1000, 0))
                    && own.capabilities_gained == ["CAP_SYS_ADMIN", "CAP_50"]
                    // As what it was executed stays as it was: the model was trained on that.
                    && own.euid == Some(0)
            },
        ),
        (
            "namespace",
            EventBody::Namespace {
                changed: Namespaces {
                    mnt: true,
                    net: true,
                    ..Namespaces::default()
                },
            },
            &[TOOL],
            |story| story.process.as_ref().unwrap().namespaces == ["mnt", "net"],
        ),
        (
            "ptrace",
            EventBody::Ptrace { target: key(SSHD) },
            &[TOOL],
            |story| story.facts.ptraced == ["/usr/sbin/sshd"],
        ),
        (
            "executable_memory",
            EventBody::ExecutableMemory {
                path: "//anon".to_owned(),
                writable: true,
            },
            &[TOOL],
            |story| story.facts.executable_memory == ["//anon"],
        ),
        (
            "module",
            EventBody::Module {
                name: "evil".to_owned(),
            },
            &[TOOL],
            |story| story.facts.modules == ["evil"],
        ),
        (
            "bpf",
            EventBody::Bpf {
                id: 7,
                name: "hide".to_owned(),
                program_type: "tracing".to_owned(),
            },
            &[TOOL],
            |story| story.facts.bpf == ["tracing:hide"],
        ),
        (
            "mount",
            EventBody::Mount {
                path: "/proc/7".to_owned(),
                attached: true,
                fs_type: "tmpfs".to_owned(),
            },
            &[],
            |story| story.facts.mounts[0].path == "/proc/7" && story.facts.mounts[0].attached,
        ),
        (
            "raw_socket",
            EventBody::RawSocket {
                family: SocketFamily::Packet,
                protocol: 3,
            },
            &[TOOL],
            |story| story.facts.raw_sockets == ["packet"],
        ),
        (
            "login",
            EventBody::Login(Box::new(Login {
                method: LoginMethod::Sudo,
                user: "root".to_owned(),
                success: true,
                ..Login::default()
            })),
            &[],
            |story| story.facts.logins[0].method == "sudo" && story.facts.logins[0].success,
        ),
    ];
    for (class, body, judged, is_told) in rows {
        let mut host = Host::new();
        assert_eq!(host.event(key(TOOL), body.clone()).class(), class);
        assert_eq!(host.by(TOOL, body.clone()), judged, "{class}: {body:?}");
        let story = host.story(TOOL);
        assert!(is_told(&story), "{class}: {story:?}");
        // A second later nothing that was put off hides in it.
        host.now += 2 * SECOND;
        assert_eq!(
            host.by(TOOL, body.clone()),
            [] as [u32; 0],
            "{class} again: {body:?}"
        );
        // All but what is of the very process is told of its shell too.
        if !matches!(class, "credential" | "namespace" | "login") {
            assert!(is_told(&host.story(SHELL)), "{class} in the shell's story");
        }
    }
}

#[test]
fn an_image_is_told_with_all_that_is_known_of_it() {
    let mut host = Host::new();
    let container = Container {
        id: "0123456789ab".to_owned(),
        runtime: "podman".to_owned(),
        image: "shop:3".to_owned(),
    };
    let exec = Exec {
        exe: "/usr/bin/python3".to_owned(),
        script: "/srv/a.py".to_owned(),
        env: vec!["LD_PRELOAD".to_owned()],
        gid: 5,
        egid: 6,
        uid: u32::MAX,
        login_uid: Some(1000),
        session: Some(3),
        argv_truncated: true,
        by_descriptor: true,
        namespaces: Namespaces {
            user: true,
            ..Namespaces::default()
        },
        origin: Origin {
            package: Some(String::new()),
            first_seen: Some(true),
            world_writable: Some(false),
        },
        ..Exec::default()
    };
    let mut event = host.event(key(50), EventBody::Exec(Box::new(exec)));
    event.container = Some(Arc::new(container.clone()));
    host.graph.apply(&event);
    host.by(50, EventBody::Fork { child: key(51) });
    let own = host.story(50).process.unwrap();
    assert_eq!(
        (own.script.as_str(), own.env.as_slice()),
        ("/srv/a.py", &["LD_PRELOAD".to_owned()][..])
    );
    assert_eq!(
        (own.gid, own.egid, own.login_uid, own.session),
        (Some(5), Some(6), Some(1000), Some(3))
    );
    assert_eq!(
        (own.package.as_deref(), own.first_seen, own.world_writable),
        (Some(""), Some(true), Some(false))
    );
    assert!(own.argv_truncated && own.by_descriptor);
    assert_eq!((own.uid, own.euid), (None, Some(0)));
    assert_eq!(own.namespaces, ["user"]);
    assert_eq!(own.container.as_ref(), Some(&container));
    assert_eq!(host.story(51).process.unwrap().container, Some(container));
}

#[test]
fn an_end_adds_its_bytes_to_the_connection_however_they_arrive() {
    let closed = |lasted_ns| {
        EventBody::Close(Box::new(Closed {
            remote: at("203.0.113.9:443"),
            local_port: 50_000,
            direction: Direction::Out,
            sent: 1000,
            received: 20,
            lasted_ns,
        }))
    };
    let mut host = Host::new();
    host.by(TOOL, connect("203.0.113.9:443"));
    host.now += 3_000_000;
    assert!(host.by(TOOL, closed(3_000_000)).is_empty());
    host.by(TOOL, connect("203.0.113.9:443"));
    host.by(TOOL, closed(0));
    let story = host.story(TOOL);
    let [one] = story.connections.as_slice() else {
        panic!("{:?}", story.connections);
    };
    assert_eq!(
        (one.times, one.sent, one.received, one.lasted_ms),
        (Some(2), Some(2000), Some(40), Some(3))
    );

    // One that began before the sensor did is a connection too.
    assert_eq!(host.by(SHELL, closed(0)), [SHELL]);
    assert_eq!(host.story(SHELL).connections[0].sent, Some(3000));
}

#[test]
fn a_rhythm_is_seen_in_one_process_and_in_a_loop_of_many() {
    let mut host = Host::new();
    let mut judged = Vec::new();
    for _ in 0..10 {
        host.now += 60 * SECOND;
        judged.push(host.by(TOOL, connect("203.0.113.9:443")).len());
    }
    assert_eq!(
        judged,
        [2, 0, 0, 0, 2, 0, 0, 0, 0, 2],
        "new, five times, ten times"
    );
    let [beacon] = host.story(TOOL).facts.beacons.try_into().unwrap();
    assert_eq!((beacon.times, beacon.every_ms), (10, 60_000));
    assert!(beacon.variation < 0.01, "{}", beacon.variation);

    let mut host = Host::new();
    for child in 100..106 {
        host.now += 30 * SECOND + u64::from(child % 2) * SECOND;
        host.by(SHELL, EventBody::Fork { child: key(child) });
        host.exec(child, SHELL, "/usr/bin/curl");
        host.by(child, connect("[2001:db8::7]:8443"));
        host.by(child, EventBody::Exit { code: 0, signal: 0 });
    }
    let [beacon] = host.story(SHELL).facts.beacons.try_into().unwrap();
    assert_eq!((beacon.times, beacon.every_ms / 1000), (6, 30));
    assert!(
        (0.001..0.05).contains(&beacon.variation),
        "{}",
        beacon.variation
    );
    assert!(
        host.story(105).facts.beacons.is_empty(),
        "one of them has none"
    );
}

#[test]
fn files_changed_by_a_loops_children_add_up_in_its_shell() {
    let mut host = Host::new();
    let mut judged = Vec::new();
    for child in 100..400 {
        host.now += SECOND / 50;
        host.by(SHELL, EventBody::Fork { child: key(child) });
        host.exec(child, SHELL, "/usr/bin/openssl");
        let rates = FileRates {
            interval_ns: 4_000_000,
            written: 1,
            created: 1,
            unlinked: 1,
            directories: 1,
            entropy: Some(7.9),
            samples: 2,
            ..FileRates::default()
        };
        judged.extend(host.by(child, EventBody::FileRates(Box::new(rates))));
        host.by(child, EventBody::Exit { code: 0, signal: 0 });
    }
    let rates = host.story(SHELL).facts.file_rates.unwrap();
    assert_eq!(
        (rates.written, rates.created, rates.unlinked),
        (300, 300, 300)
    );
    assert!(
        (90.0..=102.0).contains(&rates.per_second),
        "{}",
        rates.per_second
    );
    assert!(
        rates
            .entropy
            .is_some_and(|entropy| (7.8..8.0).contains(&entropy))
    );
    // Each doubling from the floor on, not each of three hundred.
    assert_eq!(judged, [SHELL; 5]);
    // The session's server is another tree.
    assert!(host.story(SSHD).facts.file_rates.is_none());
}

#[test]
fn a_debuggers_own_child_is_no_reason_to_judge_it() {
    let mut host = Host::new();
    assert!(
        host.by(SHELL, EventBody::Ptrace { target: key(TOOL) })
            .is_empty()
    );
    assert_eq!(host.story(SHELL).facts.ptraced, ["/usr/local/bin/tool"]);
}

#[test]
fn a_busy_process_is_judged_four_times_a_second_and_once_more_when_the_second_is_over() {
    let mut host = Host::new();
    let server = 60;
    host.exec(server, 1, "/usr/bin/server");
    let began = host.now;
    let mut judged = 0;
    for port in 1..=1000 {
        judged += host
            .by(server, connect(&format!("203.0.113.9:{port}")))
            .len();
    }
    assert_eq!(judged, 4);
    assert!(host.graph.is_waiting());
    assert!(host.graph.due(began + SECOND - 1).is_empty());
    let due = host.graph.due(began + SECOND + 10);
    assert_eq!(due.len(), 1);
    // Since when it waits: the fifth connection.
    assert_eq!(due[0].cause_mono_ns, began + 5);
    assert!(!host.graph.is_waiting());

    // An exec does not wait, and what is due comes up with anybody's next event.
    for port in 1001..=1010 {
        host.by(server, connect(&format!("203.0.113.9:{port}")));
    }
    host.exec(server, 1, "/usr/bin/server");
    host.now += 2 * SECOND;
    assert_eq!(
        host.by(TOOL, EventBody::Exit { code: 0, signal: 0 }),
        [server]
    );
}

#[test]
fn decoys_and_secrets_outlast_what_is_merely_watched() {
    let mut host = Host::new();
    host.by(TOOL, file(FileOp::Read, "/root/decoy", Sensitivity::Decoy));
    host.by(TOOL, file(FileOp::Read, "/etc/shadow", Sensitivity::Secret));
    for index in 0..1000 {
        host.by(
            TOOL,
            file(
                FileOp::Write,
                &format!("/etc/x{index}"),
                Sensitivity::Watched,
            ),
        );
    }
    let paths: Vec<String> = host
        .story(TOOL)
        .files
        .into_iter()
        .map(|file| file.path)
        .collect();
    assert_eq!(paths.len(), Limits::default().files);
    assert_eq!(
        (paths[0].as_str(), paths[1].as_str()),
        ("/root/decoy", "/etc/shadow")
    );
    assert_eq!(paths.last().map(String::as_str), Some("/etc/x999"));
}

#[test]
fn a_flood_of_one_kind_displaces_no_other_kind() {
    let mut host = Host::new();
    host.by(TOOL, connect("203.0.113.9:4444"));
    for port in 1..1000 {
        let remote = at(&format!("198.51.100.7:{port}"));
        host.by(TOOL, EventBody::Udp { remote });
        host.by(
            TOOL,
            EventBody::Accept {
                remote,
                local_port: port,
            },
        );
        let local = at(&format!("0.0.0.0:{port}"));
        host.by(
            TOOL,
            EventBody::Listen {
                local,
                protocol: Protocol::Tcp,
            },
        );
        host.by(TOOL, connect(&format!("127.0.0.1:{port}")));
    }
    let story = host.story(TOOL);
    let is_there = |story: &Story| story.connections.iter().any(|one| one.port == 4444);
    assert!(is_there(&story));
    let child = 70;
    host.by(TOOL, EventBody::Fork { child: key(child) });
    host.exec(child, TOOL, "/bin/sh");
    let lent = |protocol: &str, direction: &str| {
        let story = host.story(child);
        let all = story.connections.iter();
        all.filter(|one| one.protocol == protocol && one.direction == direction)
            .count()
    };
    assert_eq!(
        (lent("udp", "out"), lent("tcp", "in"), lent("tcp", "listen")),
        (4, 4, 4)
    );
}

#[test]
fn a_login_that_nobody_known_made_is_told_of_those_who_logged_in_by_it() {
    let mut host = Host::new();
    let login = |user: &str, uid, success| {
        EventBody::Login(Box::new(Login {
            method: LoginMethod::Ssh,
            user: user.to_owned(),
            uid: Some(uid),
            from: "198.51.100.4".to_owned(),
            tty: String::new(),
            success,
        }))
    };
    for _ in 0..3 {
        host.of(ProcessKey::NONE, login("ann", 1000, false));
    }
    host.of(ProcessKey::NONE, login("ann", 1000, true));
    host.of(ProcessKey::NONE, login("bob", 1001, true));
    let logins = host.story(TOOL).facts.logins;
    let told: Vec<_> = logins
        .iter()
        .map(|one| (one.user.as_str(), one.success, one.times))
        .collect();
    assert_eq!(told, [("ann", false, 3), ("ann", true, 1)]);

    // What is in the lineage is nearer.
    host.by(SSHD, login("carol", 1002, true));
    assert_eq!(host.story(TOOL).facts.logins[0].user, "carol");
    let bytes = host.graph.bytes();
    host.graph.forget_exited(24 * 60 * 60 * SECOND);
    assert!(host.graph.bytes() < bytes);
}

#[test]
fn a_pid_alone_means_who_has_it_now_and_nobody_means_nobody() {
    let mut host = Host::new();
    let pid_only = |pid| ProcessKey { pid, start_ns: 0 };
    let write = file(FileOp::Write, "/etc/x", Sensitivity::Watched);
    assert_eq!(host.of(pid_only(TOOL), write.clone()), [TOOL, SHELL]);
    assert_eq!(host.story(TOOL).files.len(), 1);
    let known = host.graph.len();
    assert!(host.of(pid_only(999), write.clone()).is_empty());
    assert!(host.of(ProcessKey::NONE, write).is_empty());
    let late = EventBody::FileRates(Box::default());
    assert!(
        host.by(999, late).is_empty(),
        "told after the end of who is forgotten"
    );
    assert_eq!(host.graph.len(), known);
}
