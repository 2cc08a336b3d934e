//! Sessions of several lines, composed from single ones: somebody's day at a shell, a script, an intruder's visit.
//!
//! Lengths, looks around and ordinary lines are drawn alike for both labels; a benign session often stays with one
//! subject (twenty lines of hardening), because real scripts do.

use std::collections::BTreeMap;

use super::data::{Body, Item, Side};
use super::draw::Draw;

/// What everybody types first, whoever they are.
const LOOKS: [&str; 30] = [
    "id",
    "whoami",
    "uname -a",
    "w",
    "ls -la",
    "pwd",
    "cat /etc/passwd",
    "ps aux",
    "ifconfig",
    "ip a",
    "cat /proc/cpuinfo",
    "free -m",
    "df -h",
    "hostname",
    "exit",
    "cd /tmp",
    "cd",
    "ls",
    "history",
    "last",
    "env",
    "cat /etc/os-release",
    "which wget curl",
    "nproc",
    "uptime",
    "netstat -an",
    "crontab -l",
    "clear",
    "cd ~",
    "sudo -l",
];

/// Lines of one side, by label and subject.
pub struct Composer<'a> {
    hostile: Vec<&'a Item>,
    honest: Vec<&'a Item>,
    hostile_subjects: Vec<Vec<&'a Item>>,
    honest_subjects: Vec<Vec<&'a Item>>,
    hostile_blocks: Vec<&'a Item>,
    honest_blocks: Vec<&'a Item>,
}

impl<'a> Composer<'a> {
    /// From the single lines of `side`.
    pub fn new(items: &'a [Item], side: Side) -> Self {
        let lines = |malicious: bool| -> Vec<&'a Item> {
            items
                .iter()
                .filter(|item| item.side == side && item.malicious == malicious)
                .filter(|item| matches!(item.body, Body::Line(_) | Body::Ours(_)))
                .collect()
        };
        let (hostile, honest) = (lines(true), lines(false));
        Self {
            hostile_subjects: subjects(&hostile),
            honest_subjects: subjects(&honest),
            hostile,
            honest,
            hostile_blocks: blocks(items, side, true),
            honest_blocks: blocks(items, side, false),
        }
    }

    /// A session without an attack.
    pub fn honest(&self, draw: &mut Draw) -> Vec<String> {
        if !self.honest_blocks.is_empty() && draw.chance(0.6) {
            let stretches = *draw.one(&[1, 1, 2, 3]);
            return (0..stretches).flat_map(|_| self.stretch(draw)).collect();
        }
        let mut lines = looks(draw);
        let most = *draw.one(&[2, 4, 8, 20]);
        let wanted = draw.between(1, most) as usize;
        let subject = self
            .honest_subjects
            .get(draw.below(self.honest_subjects.len().max(1)));
        let faithful = if draw.chance(0.65) { 0.85 } else { 0.0 };
        for _ in 0..wanted {
            let line = match subject {
                Some(subject) if draw.chance(faithful) => draw.one(subject).text(draw),
                _ => self.ordinary(draw),
            };
            lines.extend(line);
        }
        dressed(lines, draw)
    }

    /// A session with an attack somewhere in it, and its technique.
    pub fn hostile(&self, draw: &mut Draw) -> (Vec<String>, Option<String>) {
        if !self.hostile_blocks.is_empty() && draw.chance(0.6) {
            return self.hidden(draw);
        }
        if self.hostile.is_empty() {
            return (Vec::new(), None);
        }
        let mut lines = looks(draw);
        if draw.chance(0.5) {
            let most = *draw.one(&[2, 5, 10]);
            lines.extend((0..draw.between(1, most)).filter_map(|_| self.ordinary(draw)));
        }
        let subject = match self
            .hostile_subjects
            .get(draw.below(self.hostile_subjects.len().max(1)))
        {
            Some(subject) if draw.chance(0.4) => subject,
            _ => &self.hostile,
        };
        let mut technique = None;
        for _ in 0..*draw.one(&[1, 1, 2, 3, 5]) {
            let item = *draw.one(subject);
            technique.clone_from(&item.technique);
            let at = draw.below(lines.len() + 1);
            if let Some(line) = item.text(draw) {
                lines.insert(at, line);
            }
        }
        (dressed(lines, draw), technique)
    }

    /// An attack of a pack in the middle of honest work: before it, after it, or neither.
    fn hidden(&self, draw: &mut Draw) -> (Vec<String>, Option<String>) {
        let item = *draw.one(&self.hostile_blocks);
        let mut lines = looks(draw);
        if draw.chance(0.5) {
            lines.extend(self.stretch(draw));
        }
        if let Body::Block(block) = &item.body {
            lines.extend(block.draw(draw));
        }
        if draw.chance(0.3) {
            lines.extend(self.stretch(draw));
        }
        (lines, item.technique.clone())
    }

    /// A stretch of honest work.
    fn stretch(&self, draw: &mut Draw) -> Vec<String> {
        let most = *draw.one(&[1, 3, 8, 30]);
        let item = (!self.honest_blocks.is_empty()).then(|| *draw.one(&self.honest_blocks));
        match item.map(|item| &item.body) {
            Some(Body::Block(block)) => block.stretch(most, draw),
            _ => self.ordinary(draw).into_iter().collect(),
        }
    }

    /// Our own lines more often than public ones: people administer hosts more than they try out options.
    fn ordinary(&self, draw: &mut Draw) -> Option<String> {
        if self.honest.is_empty() {
            return None;
        }
        let ours = self
            .honest_subjects
            .get(draw.below(self.honest_subjects.len().max(1)));
        match ours {
            Some(subject) if draw.chance(0.6) => draw.one(subject).text(draw),
            _ => draw.one(&self.honest).text(draw),
        }
    }
}

/// A third of all sessions are scripts.
fn dressed(lines: Vec<String>, draw: &mut Draw) -> Vec<String> {
    if draw.chance(0.35) {
        script(lines, draw)
    } else {
        lines
    }
}

/// Lines as a script has them: with variables, tests, loops and functions around them.
pub fn script(lines: Vec<String>, draw: &mut Draw) -> Vec<String> {
    let mut script = Vec::new();
    for _ in 0..draw.below(4) {
        script.push(filled(&HEADS, draw));
    }
    for line in lines {
        let test = filled(&TESTS, draw);
        match draw.below(9) {
            0 => script.extend([
                format!("if {test}; then"),
                format!("    {line}"),
                "fi".to_owned(),
            ]),
            1 => script.extend([
                format!("if {test}; then"),
                format!("  {}", filled(&HEADS, draw)),
                "else".to_owned(),
                format!("  {line}"),
                "fi".to_owned(),
            ]),
            2 => script.extend([filled(&LOOPS, draw), format!("\t{line}"), "done".to_owned()]),
            3 => {
                let name = draw.word().replace('-', "_");
                script.extend([
                    format!("{name}() {{"),
                    format!("  {line}"),
                    "}".to_owned(),
                    name,
                ]);
            }
            4 => script.extend([
                "case \"$1\" in".to_owned(),
                filled(&CASES, draw),
                format!("    {line}"),
                "    ;;".to_owned(),
                "esac".to_owned(),
            ]),
            5 => script.push(format!("{line} || exit 1")),
            6 => script.extend([filled(&HEADS, draw), line]),
            _ => script.push(line),
        }
    }
    if draw.chance(0.4) {
        script.push("exit 0".to_owned());
    }
    script
}

fn filled(choices: &[&str], draw: &mut Draw) -> String {
    let choice = draw.pick(choices).to_owned();
    draw.fill(&choice)
}

const HEADS: [&str; 16] = [
    "#!/bin/sh",
    "#!/bin/bash",
    "set -e",
    "set -euo pipefail",
    "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
    "{w}=$1",
    "dir=$(dirname \"$0\")",
    "{w}=\"{w}\"",
    "umask 022",
    "echo \"{w}...\"",
    "tmp=$(mktemp)",
    "cd \"$dir\" || exit 1",
    "export {w}",
    "[ -f /etc/default/{w} ] && . /etc/default/{w}",
    "trap 'rm -f \"$tmp\"' EXIT",
    "{w}=/var/lib/{w}",
];
const TESTS: [&str; 14] = [
    "[ \"$1\" = configure ]",
    "[ -d /run/systemd/system ]",
    "[ -x /usr/bin/{w} ]",
    "[ ! -f {f} ]",
    "[ \"$(id -u)\" -ne 0 ]",
    "command -v {w} >/dev/null 2>&1",
    "grep -q {w} {f}",
    "test $# -eq 0",
    "[ -n \"${w}\" ]",
    "getent passwd {w} >/dev/null",
    "[ \"$1\" = purge ] && [ -d {f} ]",
    "[ -e {f} ]",
    "which {w} >/dev/null",
    "[ $? -ne 0 ]",
];
const LOOPS: [&str; 6] = [
    "for f in \"$@\"; do",
    "for {w} in {w} {w}; do",
    "for i in $(seq 1 3); do",
    "while read -r {w}; do",
    "for d in /etc/{w} /var/{w}; do",
    "while [ $# -gt 0 ]; do",
];
const CASES: [&str; 6] = [
    "  configure)",
    "  start)",
    "  stop|restart)",
    "  {w})",
    "  purge|remove)",
    "  *)",
];

fn blocks(items: &[Item], side: Side, malicious: bool) -> Vec<&Item> {
    let wanted = |item: &&Item| item.side == side && item.malicious == malicious;
    let blocks = items.iter().filter(wanted);
    blocks
        .filter(|item| matches!(item.body, Body::Block(_)))
        .collect()
}

fn subjects<'a>(lines: &[&'a Item]) -> Vec<Vec<&'a Item>> {
    let mut by_subject: BTreeMap<&str, Vec<&Item>> = BTreeMap::new();
    for item in lines {
        if let Some(subject) = item.subject {
            by_subject.entry(subject).or_default().push(item);
        }
    }
    by_subject.into_values().collect()
}

fn looks(draw: &mut Draw) -> Vec<String> {
    if draw.chance(0.5) {
        return Vec::new();
    }
    (0..draw.between(1, 6))
        .map(|_| draw.pick(&LOOKS).to_owned())
        .collect()
}
