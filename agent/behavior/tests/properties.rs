//! Whatever the events are, the graph stays within its bytes and every question gets an answer; and
//! the order in which a process's doings arrive does not change its story.

use std::net::SocketAddr;
use std::sync::Arc;

use cordon_behavior::event::{
    Closed, Container, Credentials, Direction, Dns, Event, EventBody, Exec, FileChange, FileOp,
    FileRates, Login, LoginMethod, Namespaces, Origin, ProcessKey, Protocol, Sensitivity,
    SocketFamily,
};
use cordon_behavior::{Behavior, Limits};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

fn any_key() -> impl Strategy<Value = ProcessKey> {
    (0u32..40, 0u64..6).prop_map(|(pid, start_ns)| ProcessKey { pid, start_ns })
}

fn any_exec() -> impl Strategy<Value = EventBody> {
    (
        option::of(any_key()),
        ".{0,60}",
        vec(".{0,300}", 0..60),
        (
            any::<bool>(),
            ".{0,2000}",
            vec(".{0,40}", 0..9),
            option::of(".{0,40}"),
        ),
        any::<Option<u32>>(),
    )
        .prop_map(
            |(parent, exe, argv, (snapshot, script, env, package), login_uid)| {
                EventBody::Exec(Box::new(Exec {
                    parent,
                    exe,
                    argv,
                    script,
                    env,
                    login_uid,
                    snapshot,
                    origin: Origin {
                        package,
                        ..Origin::default()
                    },
                    ..Exec::default()
                }))
            },
        )
}

fn any_end() -> impl Strategy<Value = SocketAddr> {
    prop_oneof![
        (any::<[u8; 4]>(), any::<u16>()).prop_map(SocketAddr::from),
        (any::<[u16; 8]>(), any::<u16>()).prop_map(SocketAddr::from),
        // A few that come again.
        (0u8..3, 1u16..3).prop_map(|(last, port)| SocketAddr::from(([203, 0, 113, last], port))),
        (1u16..20).prop_map(|port| SocketAddr::from(([127, 0, 0, 1], port))),
    ]
}

fn any_protocol() -> impl Strategy<Value = Protocol> {
    select(vec![Protocol::Tcp, Protocol::Udp])
}

fn any_close() -> impl Strategy<Value = EventBody> {
    let direction = select(vec![Direction::Out, Direction::In]);
    (any_end(), any::<u16>(), direction, any::<(u64, u64, u64)>()).prop_map(
        |(remote, local_port, direction, (sent, received, lasted_ns))| {
            EventBody::Close(Box::new(Closed {
                remote,
                local_port,
                direction,
                sent,
                received,
                lasted_ns,
            }))
        },
    )
}

fn any_flow() -> impl Strategy<Value = EventBody> {
    prop_oneof![
        any_end().prop_map(|remote| EventBody::Connect { remote }),
        (any_end(), any::<u16>())
            .prop_map(|(remote, local_port)| EventBody::Accept { remote, local_port }),
        any_close(),
        (any_end(), any_protocol())
            .prop_map(|(local, protocol)| EventBody::Listen { local, protocol }),
        any_end().prop_map(|remote| EventBody::Udp { remote }),
        ".{0,400}".prop_map(|name| EventBody::Dns(Box::new(Dns {
            name,
            ..Dns::default()
        }))),
        (
            select(vec![
                SocketFamily::Raw4,
                SocketFamily::Raw6,
                SocketFamily::Packet
            ]),
            any::<u16>()
        )
            .prop_map(|(family, protocol)| EventBody::RawSocket { family, protocol }),
    ]
}

fn any_file() -> impl Strategy<Value = EventBody> {
    use FileOp::{Chmod, Create, Link, Read, Rename, Unlink, Write};
    use Sensitivity::{Decoy, Secret, Watched};
    let op = select(vec![Create, Write, Rename, Unlink, Link, Chmod, Read]);
    let why = select(vec![Watched, Secret, Decoy]);
    (op, ".{0,900}", option::of(".{0,900}"), why).prop_map(|(op, path, to, sensitivity)| {
        EventBody::File(Box::new(FileChange {
            op,
            path,
            to,
            sensitivity,
        }))
    })
}

fn any_rates() -> impl Strategy<Value = EventBody> {
    let entropy = prop_oneof![
        Just(None),
        any::<f32>().prop_map(Some),
        (0f32..8.0).prop_map(Some)
    ];
    (any::<(u64, u32, u32, u32, u32, u16, u32, u32)>(), entropy).prop_map(|(numbers, entropy)| {
        let (interval_ns, written, created, renamed, unlinked, directories, samples, encrypted) =
            numbers;
        EventBody::FileRates(Box::new(FileRates {
            interval_ns,
            written,
            created,
            renamed,
            unlinked,
            directories,
            entropy,
            samples,
            encrypted,
        }))
    })
}

fn any_gain() -> impl Strategy<Value = EventBody> {
    let login = (".{0,400}", ".{0,400}", any::<(Option<u32>, bool)>());
    prop_oneof![
        any::<(Option<u32>, u32, Option<u64>, Option<u64>)>().prop_map(
            |(old_euid, euid, old_capabilities, capabilities)| {
                EventBody::Credential(Box::new(Credentials {
                    old_euid,
                    euid: euid % 2,
                    old_capabilities,
                    capabilities,
                    ..Credentials::default()
                }))
            }
        ),
        any::<(bool, bool)>().prop_map(|(mnt, user)| EventBody::Namespace {
            changed: Namespaces {
                mnt,
                user,
                ..Namespaces::default()
            },
        }),
        login.prop_map(|(user, from, (uid, success))| {
            let method = LoginMethod::Ssh;
            EventBody::Login(Box::new(Login {
                method,
                user,
                uid,
                from,
                tty: String::new(),
                success,
            }))
        }),
        any_key().prop_map(|target| EventBody::Ptrace { target }),
    ]
}

fn any_mark() -> impl Strategy<Value = EventBody> {
    prop_oneof![
        (".{0,900}", any::<bool>())
            .prop_map(|(path, writable)| EventBody::ExecutableMemory { path, writable }),
        ".{0,300}".prop_map(|name| EventBody::Module { name }),
        (any::<u32>(), ".{0,300}", ".{0,300}").prop_map(|(id, name, program_type)| {
            EventBody::Bpf {
                id,
                name,
                program_type,
            }
        }),
        (".{0,900}", any::<bool>(), ".{0,300}").prop_map(|(path, attached, fs_type)| {
            EventBody::Mount {
                path,
                attached,
                fs_type,
            }
        }),
    ]
}

fn any_notice() -> impl Strategy<Value = EventBody> {
    prop_oneof![
        (any::<u64>(), ".{0,300}", any::<bool>())
            .prop_map(|(id, path, created)| EventBody::Cgroup { id, path, created }),
        any::<(u64, bool, u64)>().prop_map(|(cgroup, started, dropped)| EventBody::Throttle {
            cgroup,
            started,
            dropped,
        }),
        (".{0,300}", any::<u64>()).prop_map(|(source, count)| EventBody::Loss { source, count }),
    ]
}

/// What a process does that has no beginning and no end.
fn any_doing() -> impl Strategy<Value = EventBody> {
    prop_oneof![6 => any_flow(), 2 => any_file(), 1 => any_rates(), 2 => any_gain(), 2 => any_mark()]
}

fn any_body() -> impl Strategy<Value = EventBody> {
    prop_oneof![
        3 => any_exec(),
        3 => any_key().prop_map(|child| EventBody::Fork { child }),
        1 => Just(EventBody::Exit { code: 0, signal: 0 }),
        6 => any_doing(),
        1 => any_notice(),
    ]
}

fn any_container() -> impl Strategy<Value = Option<Arc<Container>>> {
    option::of((0..3u8, ".{0,600}").prop_map(|(id, image)| {
        Arc::new(Container {
            id: id.to_string(),
            runtime: "docker".to_owned(),
            image,
        })
    }))
}

fn any_time() -> impl Strategy<Value = u64> {
    prop_oneof![9 => 0u64..20_000_000_000, 1 => any::<u64>()]
}

fn event(mono_ns: u64, process: ProcessKey, body: EventBody) -> Event {
    Event {
        mono_ns,
        wall_ns: 0,
        process,
        cgroup_id: 0,
        container: None,
        body,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bytes_stay_within_the_limit_and_stories_within_theirs(
        events in vec((any_time(), any_key(), any_body(), any_container()), 1..200),
    ) {
        let limits = Limits { bytes: Limits::LEAST_BYTES, ..Limits::default() };
        let mut graph = Behavior::new(limits);
        for (mono_ns, process, body, container) in events {
            let triggers = graph.apply(&Event { container, ..event(mono_ns, process, body) });
            prop_assert!(triggers.len() <= 8);
            prop_assert!(graph.bytes() <= limits.bytes);
            for process in triggers.iter().map(|trigger| trigger.process).chain([process]) {
                let Some(story) = graph.story(process) else { continue };
                prop_assert!(story.ancestors.len() <= limits.ancestors);
                prop_assert!(story.children.len() <= limits.children);
                let outside = limits.connections + limits.datagrams + limits.accepted;
                prop_assert!(story.connections.len() <= outside + 3 * limits.loopback + 2 * limits.listening);
                prop_assert!(story.dns.len() <= limits.names);
                prop_assert!(story.files.len() <= limits.files);
                prop_assert!(story.facts.beacons.len() <= limits.facts);
                prop_assert!(story.facts.mounts.len() <= limits.facts);
                prop_assert!(story.facts.logins.len() <= limits.facts);
                // One JSON form, whatever the numbers are.
                let line = serde_json::to_vec(&story).unwrap_or_default();
                prop_assert_eq!(cordon_behavior::story::Story::from_json(&line), Ok(story));
            }
        }
        // Forgetting everything gives every byte back: nothing was counted twice or not at all.
        for pid in 0..40 {
            for start_ns in 0..6 {
                graph.apply(&event(1, ProcessKey { pid, start_ns }, EventBody::Exit { code: 0, signal: 0 }));
            }
        }
        for _ in 0..8 {
            graph.forget_exited(u64::MAX);
        }
        prop_assert_eq!(graph.len(), 0);
        prop_assert_eq!(graph.bytes(), 0);
        prop_assert!(!graph.is_waiting());
    }

    /// Below the bounds of the lists; the rate of a second and a rhythm are of an order, and are
    /// left out.
    #[test]
    fn the_order_of_arrival_of_a_processs_doings_does_not_change_its_story(
        doings in vec(any_doing(), 1..8).prop_flat_map(|doings| {
            let timed: Vec<_> = (1u64..).zip(doings).collect();
            (Just(timed.clone()), Just(timed).prop_shuffle())
        }),
    ) {
        let told = |doings: Vec<(u64, EventBody)>| {
            let mut graph = Behavior::new(Limits::default());
            let process = ProcessKey { pid: 50, start_ns: 7 };
            let exec = Exec { exe: "/bin/x".to_owned(), ..Exec::default() };
            graph.apply(&event(1, process, EventBody::Exec(Box::new(exec))));
            for (second, mut body) in doings {
                if let EventBody::Close(end) = &mut body {
                    // No two things begin at one time: those stand in the order of arrival.
                    end.lasted_ns %= 900_000_000;
                }
                graph.apply(&event(second * 1_000_000_000, process, body));
            }
            let mut story = graph.story(process).unwrap_or_default();
            story.facts.beacons.clear();
            if let Some(rates) = &mut story.facts.file_rates {
                rates.per_second = 0.0;
                // A sum of floats is of an order too, in its last digits.
                rates.entropy = rates.entropy.map(|entropy| (entropy * 1e4).round());
            }
            story
        };
        let (in_order, shuffled) = doings;
        prop_assert_eq!(told(in_order), told(shuffled));
    }
}
