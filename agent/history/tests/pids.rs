//! Which process a pid means, and that no log makes a history hold more than it may.

use cordon_behavior::event::{EventBody, ProcessKey};
use cordon_history::{Format, History, Item};
use proptest::prelude::*;

fn executed(time_ms: u64, serial: u64, pid: u32, parent: u32) -> String {
    let (s, ms) = (time_ms / 1000, time_ms % 1000);
    let stamp = format!("msg=audit({s}.{ms:03}:{serial}):");
    format!(
        "type=SYSCALL {stamp} arch=c000003e syscall=59 success=yes exit=0 ppid={parent} pid={pid} uid=0 exe=\"/bin/x\"\n\
         type=EXECVE {stamp} argc=1 a0=\"x\"\n\
         type=PROCTITLE {stamp} proctitle=\"x\"\n"
    )
}

fn ended(time_ms: u64, serial: u64, pid: u32, parent: u32) -> String {
    let (s, ms) = (time_ms / 1000, time_ms % 1000);
    format!(
        "type=SYSCALL msg=audit({s}.{ms:03}:{serial}): arch=c000003e syscall=231 a0=0 ppid={parent} pid={pid} uid=0 exe=\"/bin/x\"\n"
    )
}

fn events(log: &str) -> Vec<(ProcessKey, EventBody)> {
    let mut history = History::new(Some(Format::Audit));
    let mut items = Vec::new();
    for line in log.lines() {
        history.line(line.as_bytes(), &mut items).expect(line);
    }
    history.end(&mut items);
    let event = |item| match item {
        Item::Event(event) => (event.process, event.body),
        other => panic!("{other:?}"),
    };
    items.into_iter().map(event).collect()
}

/// The keys of those that executed something.
fn keys(log: &str) -> Vec<ProcessKey> {
    let executed = |(key, body)| matches!(body, EventBody::Exec(_)).then_some(key);
    events(log).into_iter().filter_map(executed).collect()
}

#[test]
fn a_second_image_of_a_process_is_the_same_process() {
    let log = executed(1_000, 1, 50, 10) + &executed(2_000, 2, 50, 10);
    let keys = keys(&log);
    assert_eq!(keys[0], keys[1]);
}

#[test]
fn a_pid_with_another_parent_is_another_process_unless_it_was_orphaned() {
    let log = executed(1_000, 1, 50, 10) + &executed(2_000, 2, 50, 11) + &executed(3_000, 3, 50, 1);
    let keys = keys(&log);
    assert_ne!(keys[0], keys[1]);
    assert_eq!(keys[1], keys[2]);
}

#[test]
fn a_pid_after_its_end_or_after_long_silence_is_another_process() {
    let log = executed(1_000, 1, 50, 10)
        + &ended(1_500, 2, 50, 10)
        + &executed(1_600, 3, 50, 10)
        + &executed(700_000, 4, 50, 10);
    let keys = keys(&log);
    assert_ne!(keys[0], keys[1]);
    assert_ne!(keys[1], keys[2]);
}

#[test]
fn what_is_logged_late_is_told_in_its_place() {
    let log = executed(5_000, 2, 51, 50) + &executed(4_000, 1, 50, 10);
    let pids: Vec<u32> = keys(&log).iter().map(|key| key.pid).collect();
    assert_eq!(pids, [50, 51]);
}

/// An event whose end is not in the log is told when two seconds of the log have passed.
#[test]
fn events_do_not_wait_for_an_end_for_ever() {
    let open = ended(1_000, 1, 50, 10);
    let mut history = History::new(Some(Format::Audit));
    let mut items = Vec::new();
    let mut all = open;
    for second in 2..8 {
        all += &executed(second * 1_000, second, 60 + second as u32, 10);
    }
    for line in all.lines() {
        history.line(line.as_bytes(), &mut items).expect(line);
    }
    assert!(!items.is_empty());
}

/// Ten thousand events of which none ends, each with long arguments, then as many pids.
#[test]
fn open_events_are_bounded() {
    let mut history = History::new(Some(Format::Audit));
    let mut items = Vec::new();
    let long = "41".repeat(20_000);
    for serial in 0..10_000 {
        let line = format!("type=EXECVE msg=audit(1.000:{serial}): argc=1 a0={long}");
        history
            .line(line.as_bytes(), &mut items)
            .expect("it is whole");
    }
    assert!(items.is_empty());
    let held = std::fs::read_to_string("/proc/self/statm").expect("statm is there");
    let pages: u64 = held
        .split(' ')
        .nth(1)
        .and_then(|word| word.parse().ok())
        .unwrap_or(u64::MAX);
    assert!(pages * 4096 < 100 << 20, "{pages} pages are held");
}

fn format() -> impl Strategy<Value = Option<Format>> {
    prop::option::of(prop::sample::select(&Format::ALL[..]))
}

/// Words that decoders know, so that random lines get past their first checks.
fn words() -> impl Strategy<Value = String> {
    const WORDS: &[&str] = &[
        "type=",
        "SYSCALL ",
        "EXECVE ",
        "PATH ",
        "SOCKADDR ",
        "msg=audit(",
        "1.5:9",
        "): ",
        "pid=",
        "a0=",
        "[0]=",
        "\"",
        "'",
        "\u{1d}",
        "=",
        " ",
        "7",
        "41",
        "<Event>",
        "</Event>",
        "<EventID>",
        "<Data Name=\"ProcessId\">",
        "</Data>",
        "&#x0;",
        "&lt;",
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"class_uid\":",
        "\"process\":",
        "\"pid\":",
        "\"ID\":",
        "\"SYSCALL\":",
        "null",
        "1007",
        "\"time\":",
        "saddr=0200",
        "proctitle=",
        "nametype=CREATE",
    ];
    let word = prop_oneof![
        4 => prop::sample::select(WORDS).prop_map(str::to_owned),
        1 => any::<String>(),
    ];
    prop::collection::vec(word, 0..40).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn no_lines_make_a_decoder_panic(format in format(), lines in prop::collection::vec(words(), 0..8)) {
        let mut history = History::new(format);
        let mut items = Vec::new();
        for line in &lines {
            // Whether it is damage or not is up to the line.
            drop(history.line(line.as_bytes(), &mut items));
        }
        history.end(&mut items);
    }
}
