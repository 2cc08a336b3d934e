//! Every rule that comes with Cordon matches its story and not the harmless one beside it.
//!
//! The table is `embedded.txt`: `= TITLE`, then stories, `+` that it must match and `-` that it must not. A story
//! is a list of words parted by ` @@ `: `exe PATH`, `args ARGUMENTS`, `parent PATH`, `pargs ARGUMENTS`, `text
//! LINE`, `conn DIRECTION PROTOCOL ADDRESS PORT`, `dns NAME`, `file OPERATION PATH`, and so on, as `word` reads.
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

use std::collections::{BTreeMap, BTreeSet};

use cordon_behavior::event::Container;
use cordon_behavior::story::{
    Connection, FileOperation, FileRates, Process, Relative, StdioKind, Story,
};
use cordon_rules::{Level, RuleSet, RuleSetBuilder};

const TABLE: &str = include_str!("embedded.txt");

fn set() -> RuleSet {
    RuleSetBuilder::new().embedded().build()
}

fn arguments(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

fn story(text: &str) -> Story {
    let mut story = Story {
        id: "table".to_owned(),
        ..Story::default()
    };
    let mut process = Process::default();
    let mut parent = Relative::default();
    for part in text.split(" @@ ") {
        let (name, value) = part.split_once(' ').unwrap_or((part, ""));
        word(name, value, &mut story, &mut process, &mut parent);
    }
    if process != Process::default() {
        story.process = Some(process);
    }
    if parent != Relative::default() {
        story.ancestors.push(parent);
    }
    story
}

fn word(name: &str, value: &str, story: &mut Story, process: &mut Process, parent: &mut Relative) {
    match name {
        "exe" => value.clone_into(&mut process.exe),
        "args" => process.argv = arguments(value),
        "uid" => process.uid = value.parse().ok(),
        "parent" => value.clone_into(&mut parent.exe),
        "pargs" => parent.argv = arguments(value),
        "text" => story.command = Some(value.to_owned()),
        "socket" => (process.stdin, process.stdout) = (StdioKind::Socket, StdioKind::Socket),
        "memfd" => process.memfd = true,
        "deleted" => process.deleted_exe = true,
        "env" => process.env.push(value.to_owned()),
        "dns" => story.dns.push(value.to_owned()),
        "encrypted" => {
            story.facts.file_rates = Some(FileRates {
                written: 400,
                unlinked: 400,
                encrypted: value.parse().unwrap(),
                ..FileRates::default()
            });
        }
        "container" => {
            process.container = Some(Container {
                id: "c".repeat(64),
                ..Container::default()
            });
        }
        "conn" => {
            let words: Vec<&str> = value.split(' ').collect();
            let [direction, protocol, address, port] = words[..] else {
                panic!("{value}");
            };
            story.connections.push(Connection {
                direction: direction.to_owned(),
                protocol: protocol.to_owned(),
                address: address.to_owned(),
                port: port.parse().unwrap(),
                ..Connection::default()
            });
        }
        "file" => {
            let (op, path) = value.split_once(' ').unwrap();
            story.files.push(FileOperation {
                op: op.to_owned(),
                path: path.to_owned(),
                ..FileOperation::default()
            });
        }
        _ => panic!("no such word: {name}"),
    }
}

#[test]
fn every_rule_is_whole_and_says_what_it_must() {
    let set = set();
    assert_eq!(set.problems(), &[], "{:#?}", set.problems());
    assert!(set.rules().len() >= 60, "{}", set.rules().len());
    let mut titles = BTreeSet::new();
    for rule in set.rules() {
        assert!(titles.insert(&rule.title), "two rules {:?}", rule.title);
        assert_eq!(rule.id.len(), 36, "{}: {}", rule.title, rule.id);
        assert!(!rule.techniques.is_empty(), "{}", rule.title);
        assert!(rule.level > Level::Informational, "{}", rule.title);
    }
}

#[test]
fn every_rule_matches_its_attack_and_not_the_work_beside_it() {
    let set = set();
    let mut rows: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
    let mut title = "";
    let mut wrong = Vec::new();
    for line in TABLE.lines().filter(|line| !line.is_empty()) {
        let (mark, text) = line.split_once(' ').unwrap();
        if mark == "=" {
            title = text;
            rows.entry(title).or_default();
            continue;
        }
        let wanted = mark == "+";
        rows.entry(title).or_default()[usize::from(wanted)] += 1;
        let story = story(text);
        let matches = set.matches(&story);
        let is_found = matches.found.iter().any(|found| found.rule.title == title);
        if is_found != wanted {
            wrong.push(format!("{title}: wanted {wanted}: {text}"));
        }
        let worst = matches
            .found
            .first()
            .map(|found| (found.rule.level, &found.rule.title));
        if !wanted && worst.is_some_and(|(level, _)| level >= Level::High) {
            wrong.push(format!("harmless, and {worst:?}: {text}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for rule in set.rules() {
        let [misses, hits] = rows.remove(rule.title.as_str()).unwrap_or_default();
        assert!(hits > 0 && misses > 0, "{} has no rows", rule.title);
    }
    assert!(rows.is_empty(), "rows of no rule: {rows:?}");
}

#[test]
fn every_tactic_that_a_host_shows_has_rules() {
    let mut tactics = BTreeSet::new();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("rules");
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(
            text.lines()
                .filter(|line| line.starts_with("falsepositives"))
                .count()
                > 0
        );
        let tags = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("- attack."));
        tactics.extend(tags.filter(|tag| !tag.starts_with("t1")).map(str::to_owned));
    }
    for tactic in [
        "initial-access",
        "execution",
        "persistence",
        "privilege-escalation",
        "defense-evasion",
        "credential-access",
        "discovery",
        "lateral-movement",
        "collection",
        "command-and-control",
        "exfiltration",
        "impact",
    ] {
        assert!(
            tactics.contains(tactic),
            "{tactic} is missing in {tactics:?}"
        );
    }
}
