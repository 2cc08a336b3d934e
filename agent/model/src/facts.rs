//! Typed facts of a story as numbers in about [0, 1]: what no text says.
//!
//! A fact is never a verdict: what it weighs, alone and together with others, is learned.

mod names;

use cordon_behavior::story::{FileOperation, Process, StdioKind, Story};

use crate::calibration::Form;
use crate::levels;
use crate::place;
use crate::reads::Reads;
use names::index_of;

pub use names::NAMES;

/// Length of the vector. Rows of the quantized network are multiples of 32.
pub const FACTS: usize = 128;

macro_rules! fact {
    ($name:literal) => {
        const { index_of($name) }
    };
}

/// The facts of what `reads` lets through of `story`. Work is bounded however large it is.
pub fn of(story: &Story, reads: &Reads) -> [f32; FACTS] {
    let mut vector = Vector::default();
    vector.set(fact!("has_process"), story.process.is_some());
    vector.set(fact!("has_command"), story.command.is_some());
    vector.set(fact!("has_session"), !story.session.is_empty());
    if let Some(own) = &story.process {
        process(own, &mut vector);
    }
    kin(story, &mut vector);
    connections(story, reads, &mut vector);
    files(reads.files(story), &mut vector);
    names(reads.dns(story), &mut vector);
    text(story, &mut vector);
    let levels = levels::of(story, reads);
    for (index, (level, (_, full))) in levels.iter().zip(&levels::LEVELS).enumerate() {
        vector.put(
            names::FIRST_LEVEL + index,
            f32::from(*level) / f32::from(*full),
        );
    }
    vector.0
}

/// The form of the story that `facts` are of.
pub fn form(facts: &[f32; FACTS]) -> Form {
    if facts[fact!("has_process")] > 0.5 {
        Form::Seen
    } else {
        Form::Text
    }
}

struct Vector([f32; FACTS]);

impl Default for Vector {
    fn default() -> Self {
        Self([0.0; FACTS])
    }
}

impl Vector {
    fn set(&mut self, index: usize, value: bool) {
        self.put(index, f32::from(u8::from(value)));
    }

    fn put(&mut self, index: usize, value: f32) {
        self.0[index] = value.clamp(0.0, 1.0);
    }

    /// Counts on a logarithmic scale: 0 is 0, `full` and more are 1.
    fn count(&mut self, index: usize, count: usize, full: f32) {
        self.put(index, (count as f32).ln_1p() / full.ln_1p());
    }
}

// These two lists are what the model was trained to read, so they change with a new artifact only. The list
// by which `cordon-behavior` joins processes to trees looks alike and may change at any time: it is another.

/// A command interpreter that people type into.
pub fn is_shell(exe: &str) -> bool {
    matches!(
        place::base(exe),
        "sh" | "bash"
            | "dash"
            | "ash"
            | "zsh"
            | "ksh"
            | "mksh"
            | "fish"
            | "csh"
            | "tcsh"
            | "rbash"
            | "busybox"
    )
}

/// A language runtime: runs code that no image on disk holds.
pub fn is_interpreter(exe: &str) -> bool {
    let name =
        place::base(exe).trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    matches!(
        name,
        "python"
            | "pypy"
            | "perl"
            | "ruby"
            | "php"
            | "node"
            | "nodejs"
            | "deno"
            | "bun"
            | "lua"
            | "luajit"
            | "tclsh"
            | "expect"
            | "awk"
            | "gawk"
            | "mawk"
            | "java"
            | "php-fpm"
            | "php-cgi"
            | "R"
            | "Rscript"
            | "guile"
    )
}

fn process(own: &Process, vector: &mut Vector) {
    let stdio = [own.stdin, own.stdout, own.stderr];
    let is = |index: usize, kind: StdioKind| stdio[index] == kind;
    vector.set(fact!("stdin_socket"), is(0, StdioKind::Socket));
    vector.set(fact!("stdout_socket"), is(1, StdioKind::Socket));
    vector.set(fact!("stderr_socket"), is(2, StdioKind::Socket));
    vector.set(
        fact!("stdio_all_socket"),
        stdio.iter().all(|kind| *kind == StdioKind::Socket),
    );
    vector.set(fact!("stdin_tty"), is(0, StdioKind::Tty));
    vector.set(fact!("stdout_tty"), is(1, StdioKind::Tty));
    vector.set(fact!("stdin_pipe"), is(0, StdioKind::Pipe));
    vector.set(fact!("stdout_pipe"), is(1, StdioKind::Pipe));
    vector.set(fact!("stdin_null"), is(0, StdioKind::Null));
    vector.set(fact!("stdin_unix"), is(0, StdioKind::UnixSocket));
    vector.set(
        fact!("stdio_unknown"),
        stdio.iter().all(|kind| *kind == StdioKind::Unknown),
    );
    vector.set(fact!("tty"), own.tty == Some(true));
    vector.set(fact!("deleted_exe"), own.deleted_exe);
    vector.set(fact!("memfd"), own.memfd);
    vector.set(fact!("uid_root"), own.uid == Some(0));
    vector.set(
        fact!("uid_service"),
        own.uid.is_some_and(|uid| matches!(uid, 1..1000 | 65_534)),
    );
    vector.set(
        fact!("uid_person"),
        own.uid.is_some_and(|uid| uid >= 1000 && uid != 65_534),
    );
    vector.set(
        fact!("euid_raised"),
        own.euid == Some(0) && own.uid.is_some_and(|uid| uid != 0),
    );
    vector.set(
        fact!("exe_world_writable"),
        place::is_world_writable(&own.exe),
    );
    vector.set(fact!("exe_hidden"), place::base(&own.exe).starts_with('.'));
    vector.set(fact!("exe_home"), place::is_home(&own.exe));
    let shell = is_shell(&own.exe);
    vector.set(fact!("shell"), shell);
    vector.set(fact!("interpreter"), is_interpreter(&own.exe));
    let asks = |option: &str| {
        own.argv
            .iter()
            .skip(1)
            .take(4)
            .any(|argument| argument == option)
    };
    vector.set(
        fact!("shell_interactive"),
        shell && (own.argv.len() <= 1 || asks("-i")),
    );
    vector.set(
        fact!("shell_on_socket"),
        shell && stdio.contains(&StdioKind::Socket),
    );
    let inline = ["-c", "-e", "-r", "-E"].iter().any(|option| asks(option));
    vector.set(
        fact!("inline_code"),
        inline && (shell || is_interpreter(&own.exe)),
    );
    let longest = own.argv.iter().take(64).map(String::len).max().unwrap_or(0);
    vector.count(fact!("longest_argument"), longest, 4096.0);
}

fn kin(story: &Story, vector: &mut Vector) {
    let near = || story.ancestors.iter().take(3);
    vector.set(
        fact!("parent_interpreter"),
        near().take(1).any(|kin| is_interpreter(&kin.exe)),
    );
    vector.set(
        fact!("near_interpreter"),
        near().any(|kin| is_interpreter(&kin.exe)),
    );
    vector.set(
        fact!("ancestor_world_writable"),
        near().any(|kin| place::is_world_writable(&kin.exe)),
    );
    let mut children = story.children.iter().take(64);
    vector.set(fact!("child_shell"), children.any(|kin| is_shell(&kin.exe)));
    vector.count(fact!("children"), story.children.len(), 64.0);
}

fn connections(story: &Story, reads: &Reads, vector: &mut Vector) {
    let mut remotes: Vec<&str> = Vec::new();
    for connection in reads.connections(story).take(256) {
        if connection.direction == "in" {
            vector.set(fact!("in_any"), true);
            continue;
        }
        match connection.address.parse().map_or("", place::address) {
            "@private" | "@linklocal" => vector.set(fact!("out_private"), true),
            "@loopback" | "@any" => vector.set(fact!("out_loopback"), true),
            "" => {}
            _ => vector.set(fact!("out_public"), true),
        }
        match place::port(connection.port) {
            ":high" => vector.set(fact!("out_high_port"), true),
            ":http" | ":https" => vector.set(fact!("out_web_port"), true),
            _ => vector.set(fact!("out_low_port"), true),
        }
        if !remotes.contains(&connection.address.as_str()) {
            remotes.push(&connection.address);
        }
    }
    vector.count(fact!("remotes"), remotes.len(), 64.0);
    vector.count(
        fact!("connections"),
        reads.connections(story).count(),
        256.0,
    );
}

fn files(files: &[FileOperation], vector: &mut Vector) {
    let first = || files.iter().take(4096);
    let count = |op: &str| first().filter(|file| file.op == op).count();
    vector.count(fact!("written"), count("write") + count("create"), 1024.0);
    vector.count(fact!("renamed"), count("rename"), 1024.0);
    vector.count(fact!("unlinked"), count("unlink"), 1024.0);
    vector.count(fact!("read"), count("read"), 1024.0);
    vector.count(fact!("chmod"), count("chmod"), 64.0);
    let mut changed = first().filter(|file| file.op != "read");
    vector.set(
        fact!("written_etc"),
        changed.clone().any(|file| file.path.starts_with("/etc/")),
    );
    vector.set(
        fact!("written_dot"),
        changed.any(|file| place::is_home(&file.path) && file.path.contains("/.")),
    );
}

fn names(names: &[String], vector: &mut Vector) {
    vector.count(fact!("dns"), names.len(), 64.0);
    let labels = names
        .iter()
        .take(64)
        .flat_map(|name| name.split('.').take(16));
    vector.put(
        fact!("dns_longest_label"),
        labels.map(str::len).max().unwrap_or(0) as f32 / 63.0,
    );
}

fn text(story: &Story, vector: &mut Vector) {
    let argv = story
        .process
        .iter()
        .flat_map(|own| own.argv.iter().take(64));
    let (mut length, mut symbols) = (0usize, 0usize);
    for part in argv
        .chain(story.command.iter())
        .chain(story.session.iter().take(64))
    {
        let bytes = &part.as_bytes()[..part.len().min(4096)];
        length += bytes.len();
        symbols += bytes
            .iter()
            .filter(|byte| byte.is_ascii_punctuation())
            .count();
    }
    vector.count(fact!("text_length"), length, 8192.0);
    vector.put(
        fact!("text_symbols"),
        2.0 * symbols as f32 / length.max(1) as f32,
    );
    vector.count(fact!("lines"), story.session.len(), 64.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact(story: &Story, name: &str) -> f32 {
        of(story, &Reads::everything())[NAMES.iter().position(|known| *known == name).unwrap()]
    }

    #[test]
    fn a_fact_has_the_place_that_its_name_has_on_the_list() {
        for (index, name) in NAMES.iter().enumerate() {
            assert_eq!(index_of(name), index, "{name}");
        }
    }

    #[test]
    fn a_shell_on_a_socket_is_a_fact_and_its_address_is_not() {
        let json = |address: &str| {
            format!(
                r#"{{"id":"f","process":{{"exe":"/bin/sh","argv":["sh","-i"],"stdin":"socket"}},
                "connections":[{{"direction":"out","protocol":"tcp","address":"{address}","port":9001}}]}}"#
            )
        };
        let story = Story::from_json(json("198.51.100.7").as_bytes()).unwrap();
        let other = Story::from_json(json("203.0.113.77").as_bytes()).unwrap();
        assert!(fact(&story, "shell_on_socket") > 0.99);
        assert!(fact(&story, "out_high_port") > 0.99);
        let bits = |story: &Story| of(story, &Reads::everything()).map(f32::to_bits);
        assert_eq!(bits(&story), bits(&other));
    }
}
