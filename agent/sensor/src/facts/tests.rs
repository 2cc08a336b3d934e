//! Facts as events get them. The loader runs for real where a test needs its answers.

use std::time::Instant;

use cordon_behavior::event::{FileIdentity, Namespaces};
use proptest::prelude::*;

use super::*;

fn event(pid: u32, body: EventBody) -> Event {
    Event {
        mono_ns: 1,
        wall_ns: 1,
        process: ProcessKey {
            pid,
            start_ns: u64::from(pid),
        },
        cgroup_id: 7,
        container: None,
        body,
    }
}

fn exec(exe: &str) -> Exec {
    Exec {
        exe: exe.to_owned(),
        identity: std::fs::metadata(exe).ok().map(|facts| identity_of(&facts)),
        ..Exec::default()
    }
}

fn body(exec: Exec) -> EventBody {
    EventBody::Exec(Box::new(exec))
}

fn enriched(facts: &mut Facts, mut event: Event) -> Event {
    facts.enrich(&mut event);
    event
}

fn package(facts: &mut Facts, event: Event) -> Option<String> {
    match enriched(facts, event).body {
        EventBody::Exec(exec) => exec.origin.package,
        _ => None,
    }
}

/// With this machine's packages, and no loader.
fn of_this_machine() -> Facts {
    let mut facts = Facts {
        index: Arc::new(Index::load(Layout::of_host())),
        ..Facts::default()
    };
    facts.containers.put_cgroup(7, Place::Host);
    facts
}

#[test]
fn this_machines_package_owns_its_shell_under_both_names() {
    let mut facts = of_this_machine();
    let owner = std::process::Command::new("dpkg")
        .args(["-S", "/bin/dash", "/usr/bin/dash"])
        .output()
        .unwrap();
    assert!(
        String::from_utf8_lossy(&owner.stdout).starts_with("dash:"),
        "{owner:?}"
    );
    for path in ["/bin/dash", "/usr/bin/dash"] {
        assert_eq!(facts.index.owner(path), Owner::Package("dash"), "{path}");
        assert_eq!(
            package(&mut facts, event(2, body(exec(path)))).as_deref(),
            Some("dash")
        );
    }
    assert_eq!(facts.index.owner("/usr/bin/no-such-program"), Owner::Nobody);
}

#[test]
fn a_path_that_no_package_owns_is_not_known_while_the_databases_change() {
    let mut facts = of_this_machine();
    let unowned = || event(2, body(exec("/tmp/no-such-program")));
    // Without a desk nobody tells of changes.
    assert_eq!(package(&mut facts, unowned()), None);
    let (desk, _woken) = Desk::new().unwrap();
    facts.desk = Some(Arc::new(desk));
    facts.desk.as_ref().unwrap().set_stale(false);
    assert_eq!(package(&mut facts, unowned()).as_deref(), Some(""));
    facts.desk.as_ref().unwrap().set_stale(true);
    assert_eq!(package(&mut facts, unowned()), None);
}

#[test]
fn who_sees_other_files_has_no_owner_of_this_host() {
    let mut facts = of_this_machine();
    let (desk, woken) = Desk::new().unwrap();
    let desk = Arc::new(desk);
    facts.desk = Some(Arc::clone(&desk));
    let namespaces = Namespaces {
        mnt: true,
        ..Namespaces::default()
    };
    let mut image = exec("/usr/bin/dash");
    image.namespaces = namespaces;
    assert_eq!(package(&mut facts, event(2, body(image))), None);
    let child = ProcessKey {
        pid: 3,
        start_ns: 3,
    };
    enriched(&mut facts, event(2, EventBody::Fork { child }));
    assert_eq!(
        package(&mut facts, event(3, body(exec("/usr/bin/dash")))),
        None,
        "its child"
    );
    let asked = desk.asked(&woken);
    assert!(
        asked.len() == 1 && matches!(asked[0], Ask::Same { .. }),
        "{asked:?}"
    );
    enriched(&mut facts, event(3, EventBody::Exit { code: 0, signal: 0 }));
    assert_eq!(
        package(&mut facts, event(3, body(exec("/usr/bin/dash")))).as_deref(),
        Some("dash"),
        "another with its pid"
    );
}

#[test]
fn a_container_is_on_every_event_of_its_cgroup() {
    let mut facts = of_this_machine();
    let id = "a".repeat(64);
    let path = format!("/system.slice/docker-{id}.scope");
    let made = |created| EventBody::Cgroup {
        id: 8,
        path: path.clone(),
        created,
    };
    enriched(&mut facts, event(1, made(true)));
    let inside = |body| Event {
        cgroup_id: 8,
        ..event(2, body)
    };
    let of = |event: Event| event.container.map(|container| container.id.clone());
    let exit = || EventBody::Exit { code: 0, signal: 0 };
    let run = enriched(&mut facts, inside(body(exec("/usr/bin/dash"))));
    assert!(matches!(&run.body, EventBody::Exec(exec) if exec.origin.package.is_none()));
    assert_eq!(of(run), Some(id.clone()));
    enriched(&mut facts, event(1, made(false)));
    assert_eq!(of(enriched(&mut facts, inside(exit()))), Some(id));
    assert_eq!(of(enriched(&mut facts, event(2, exit()))), None);
}

#[test]
fn an_image_is_first_seen_once() {
    let mut facts = of_this_machine();
    let young = Exec {
        exe: "/tmp/young".to_owned(),
        identity: Some(FileIdentity {
            // Set, because files get the time of the last tick.
            mtime_ns: u64::MAX,
            ..FileIdentity::default()
        }),
        ..Exec::default()
    };
    let first = |event: Event| match event.body {
        EventBody::Exec(exec) => exec.origin.first_seen,
        _ => None,
    };
    assert_eq!(
        first(enriched(&mut facts, event(2, body(young.clone())))),
        Some(true)
    );
    assert_eq!(
        first(enriched(&mut facts, event(2, body(young.clone())))),
        Some(false)
    );
    // Older than the set, and not known from before.
    assert_eq!(
        first(enriched(&mut facts, event(2, body(exec("/usr/bin/dash"))))),
        None
    );
    let unknown = Exec {
        identity: None,
        ..young
    };
    assert_eq!(first(enriched(&mut facts, event(2, body(unknown)))), None);
}

#[test]
fn the_loader_proves_an_image_elsewhere_and_finds_a_processs_container() {
    let mut facts = Facts::new(&SensorConfig::default());
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut image = exec("/usr/bin/dash");
    image.namespaces.mnt = true;
    // The first event asks; a later one has the answer.
    while package(&mut facts, event(2, body(image.clone()))).as_deref() != Some("dash") {
        assert!(Instant::now() < deadline, "no answer");
        std::thread::yield_now();
    }
    // A cgroup that nobody told of is asked for by a process in it.
    let own = ProcessKey {
        pid: std::process::id(),
        start_ns: 0,
    };
    let mut unknown = Event {
        process: own,
        cgroup_id: 99,
        ..event(1, body(image))
    };
    while !matches!(
        facts.containers.cgroup(99),
        Some(Place::Host | Place::Container(_))
    ) {
        assert!(Instant::now() < deadline, "no answer");
        facts.enrich(&mut unknown);
    }
}

#[test]
fn a_package_that_is_installed_later_is_known_soon() {
    let root = tempfile::tempdir().unwrap();
    let info = root.path().join("var/lib/dpkg/info");
    std::fs::create_dir_all(&info).unwrap();
    std::fs::write(info.join("first:amd64.list"), "/.\n/usr\n/usr/bin/first\n").unwrap();
    let mut facts = Facts::default();
    facts.containers.put_cgroup(7, Place::Host);
    let tick = Duration::from_millis(20);
    facts
        .start_loader(Layout::below(root.path()), tick)
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut wait = |path: &str, wanted: &str| {
        while package(&mut facts, event(2, body(exec(path)))).as_deref() != Some(wanted) {
            assert!(Instant::now() < deadline, "{path} is not of {wanted:?}");
            std::thread::yield_now();
        }
    };
    wait("/usr/bin/first", "first");
    wait("/usr/bin/second", "");
    std::fs::write(info.join("second.list"), "/usr/bin/second\n").unwrap();
    wait("/usr/bin/second", "second");
    std::fs::remove_file(info.join("first:amd64.list")).unwrap();
    wait("/usr/bin/first", "");
}

fn any_event() -> impl Strategy<Value = Event> {
    let key = (0..40_000u32).prop_map(|pid| ProcessKey {
        pid,
        start_ns: u64::from(pid),
    });
    let id = 0..40_000u64;
    let identity = id.clone().prop_map(|inode| FileIdentity {
        inode,
        ..FileIdentity::default()
    });
    let image = (
        identity,
        any::<bool>(),
        any::<bool>(),
        proptest::option::of(key.clone()),
    );
    let body = prop_oneof![
        key.clone().prop_map(|child| EventBody::Fork { child }),
        Just(EventBody::Exit { code: 0, signal: 0 }),
        any::<bool>().prop_map(|mnt| EventBody::Namespace {
            changed: Namespaces {
                mnt,
                ..Namespaces::default()
            }
        }),
        (id.clone(), any::<bool>(), any::<bool>()).prop_map(|(id, created, contained)| {
            let path = if contained {
                format!("/docker/{id:064x}")
            } else {
                format!("/user/{id}")
            };
            EventBody::Cgroup { id, path, created }
        }),
        image.prop_map(|(identity, mnt, snapshot, parent)| body(Exec {
            exe: "/usr/bin/dash".to_owned(),
            identity: Some(identity),
            namespaces: Namespaces {
                mnt,
                ..Namespaces::default()
            },
            snapshot,
            parent,
            ..Exec::default()
        })),
    ];
    (key, id, body).prop_map(|(process, cgroup_id, body)| Event {
        process,
        cgroup_id,
        ..event(1, body)
    })
}

fn assert_bounded(facts: &mut Facts) {
    for usage in facts.usage() {
        assert!(usage.bytes <= usage.limit_bytes, "{usage:?}");
    }
}

proptest! {
    #[test]
    fn no_sequence_of_events_passes_a_bound(events in proptest::collection::vec(any_event(), 1..300), by_process: bool) {
        let mut facts = Facts { by_process, ..Facts::default() };
        let (desk, _woken) = Desk::new().unwrap();
        facts.desk = Some(Arc::new(desk));
        for mut event in events {
            facts.enrich(&mut event);
        }
        assert_bounded(&mut facts);
    }
}

/// More of everything than there is room for.
#[test]
fn a_flood_of_cgroups_processes_and_questions_keeps_to_the_bounds() {
    let mut facts = Facts {
        by_process: true,
        ..Facts::default()
    };
    let (desk, _woken) = Desk::new().unwrap();
    facts.desk = Some(Arc::new(desk));
    for number in 0..100_000u32 {
        let made = EventBody::Cgroup {
            id: u64::from(number),
            path: format!("/docker/{number:064x}"),
            created: true,
        };
        enriched(&mut facts, event(1, made));
        let mut image = Exec {
            exe: "/x".to_owned(),
            ..Exec::default()
        };
        image.namespaces.mnt = true;
        image.identity = Some(FileIdentity {
            inode: u64::from(number),
            ..FileIdentity::default()
        });
        let run = Event {
            cgroup_id: 0,
            ..event(number + 2, body(image))
        };
        enriched(&mut facts, run);
    }
    assert_bounded(&mut facts);
    for usage in facts.usage() {
        assert_eq!(usage.evicted > 0, usage.name != "packages", "{usage:?}");
    }
}

/// Prints the price: `cargo test -p cordon-sensor --lib facts::tests::most -- --nocapture`.
#[test]
fn most_of_this_machines_programs_have_a_package() {
    let began = Instant::now();
    let mut facts = of_this_machine();
    let usage = facts.index.usage();
    let (paths, bytes) = (usage.entries, usage.bytes);
    eprintln!(
        "index of {paths} paths: {bytes} bytes, read in {:?}",
        began.elapsed()
    );
    let programs = std::fs::read_dir("/usr/bin").unwrap();
    let programs = programs.map(|entry| entry.unwrap().path().display().to_string());
    let events: Vec<Event> = programs.map(|path| event(2, body(exec(&path)))).collect();
    let mut copies: Vec<Event> = (0..50).flat_map(|_| events.clone()).collect();
    let began = Instant::now();
    for event in &mut copies {
        facts.enrich(event);
    }
    let nanoseconds = began.elapsed().as_nanos() / copies.len() as u128;
    eprintln!("{nanoseconds} ns for each of {} execs", copies.len());
    let has_package = |event: &&Event| matches!(&event.body, EventBody::Exec(exec) if exec.origin.package.is_some());
    let owned = copies.iter().filter(has_package).count();
    assert!(owned > copies.len() / 2, "{owned} of {}", copies.len());
}
