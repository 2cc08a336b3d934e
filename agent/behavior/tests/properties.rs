//! Whatever the events are, the graph stays within its bytes and every question gets an answer.

use std::net::SocketAddr;

use cordon_behavior::event::{Event, EventBody, Exec, ProcessKey};
use cordon_behavior::story::StdioKind;
use cordon_behavior::{Behavior, Limits};
use proptest::prelude::*;

fn any_key() -> impl Strategy<Value = ProcessKey> {
    (1u32..40, 0u64..6).prop_map(|(pid, start_ns)| ProcessKey { pid, start_ns })
}

fn any_exec() -> impl Strategy<Value = EventBody> {
    (
        proptest::option::of(any_key()),
        ".{0,60}",
        proptest::collection::vec(".{0,300}", 0..60),
        any::<bool>(),
    )
        .prop_map(|(parent, exe, argv, snapshot)| {
            EventBody::Exec(Box::new(Exec {
                parent,
                exe,
                argv,
                argv_truncated: false,
                cwd: "/tmp".to_owned(),
                uid: 0,
                euid: 0,
                tty: false,
                stdio: [StdioKind::Null; 3],
                deleted_exe: false,
                memfd: false,
                snapshot,
                ..Exec::default()
            }))
        })
}

fn any_remote() -> impl Strategy<Value = SocketAddr> {
    (any::<[u8; 4]>(), any::<u16>()).prop_map(SocketAddr::from)
}

fn any_body() -> impl Strategy<Value = EventBody> {
    prop_oneof![
        3 => any_exec(),
        3 => any_key().prop_map(|child| EventBody::Fork { child }),
        1 => Just(EventBody::Exit { code: 0, signal: 0 }),
        2 => any_remote().prop_map(|remote| EventBody::Connect { remote }),
        1 => (any_remote(), any::<u16>())
            .prop_map(|(remote, local_port)| EventBody::Accept { remote, local_port }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn bytes_stay_within_the_limit_and_stories_within_theirs(
        events in proptest::collection::vec((any_key(), any_body()), 1..400),
    ) {
        let limits = Limits { bytes: Limits::LEAST_BYTES, ..Limits::default() };
        let mut graph = Behavior::new(limits);
        for (mono_ns, (process, body)) in events.into_iter().enumerate() {
            let event = Event { mono_ns: mono_ns as u64, wall_ns: 0, process, cgroup_id: 0, container: None, body };
            let triggers = graph.apply(&event);
            prop_assert!(triggers.len() <= 8);
            prop_assert!(graph.bytes() <= limits.bytes);
            for process in triggers.iter().map(|trigger| trigger.process).chain([process]) {
                if let Some(story) = graph.story(process) {
                    prop_assert!(story.ancestors.len() <= limits.ancestors);
                    prop_assert!(story.children.len() <= limits.children);
                    prop_assert!(story.connections.len() <= limits.connections + limits.loopback);
                }
            }
        }
        // Forgetting everything gives every byte back: nothing was counted twice or not at all.
        let unbounded_now = u64::MAX;
        for pid in 1..40 {
            for start_ns in 0..6 {
                let process = ProcessKey { pid, start_ns };
                graph.apply(&Event {
                    mono_ns: 1, wall_ns: 0, process, cgroup_id: 0,
                    container: None,
                    body: EventBody::Exit { code: 0, signal: 0 },
                });
            }
        }
        for _ in 0..8 {
            graph.forget_exited(unbounded_now);
        }
        prop_assert_eq!(graph.len(), 0);
        prop_assert_eq!(graph.bytes(), 0);
    }
}
