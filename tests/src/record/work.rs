//! How the work of a variant is started: the last record of its plan.

use super::{draw::Values, manifest::Scenario, rng::Rng};

/// One process and what it is given.
pub struct Work {
    /// Its image.
    pub exe: String,
    /// Its arguments.
    pub argv: Vec<String>,
    /// What is typed into it.
    pub types: String,
    /// Scripts that it needs: path and content.
    pub files: Vec<(String, String)>,
}

/// What a text becomes before somebody starts it.
struct Text<'a> {
    line: String,
    /// The shell that can run it.
    shell: &'static str,
    needs_bash: bool,
    /// Where a script of it would be.
    path: String,
    /// The script that the line calls, when it is not shell.
    script: Option<(String, String)>,
    values: &'a Values,
}

impl Work {
    /// Makes the choices of how `body` is started by `shell` (see `chains.toml`).
    pub fn draw(
        scenario: &Scenario,
        shell: &str,
        body: &str,
        values: &Values,
        rng: &mut Rng,
    ) -> Self {
        let text = Text::draw(scenario, body, values, rng);
        match shell {
            "sh-c" if text.needs_bash => {
                let wrapped = format!("bash -c {}", quoted(&text.line));
                text.work("/bin/sh", &["sh", "-c", &wrapped])
            }
            "sh-c" => text.inline("/bin/sh", "-c"),
            "bash-c" => text.inline("/bin/bash", "-c"),
            "bash-lc" => text.inline("/bin/bash", "-lc"),
            "typed" => {
                let types = format!("{}\nexit", text.line);
                Self {
                    types,
                    ..text.work("/bin/bash", &["-bash"])
                }
            }
            "stdin" => Self {
                types: text.line.clone(),
                ..text.work("/bin/bash", &["bash", "-s"])
            },
            "line" => Self {
                types: text.line.clone(),
                ..text.work("line", &[])
            },
            "maintainer" => text.maintainer(),
            "exec" => text.executed(),
            _ => text.handed(rng),
        }
    }
}

impl<'a> Text<'a> {
    fn draw(scenario: &Scenario, body: &str, values: &'a Values, rng: &mut Rng) -> Self {
        let python = scenario.lang == "python";
        let path = neutral_path(values, rng);
        let needs_bash = needs_bash(body);
        let plain = scenario.lang == "sh" || (!python && rng.chance(30) && !needs_bash);
        let shell = if plain && !needs_bash && scenario.lang != "bash" {
            "/bin/sh"
        } else {
            "/bin/bash"
        };
        let (line, script) = if python {
            python_line(body, &path, rng)
        } else {
            (body.to_owned(), None)
        };
        Self {
            line,
            shell,
            needs_bash,
            path,
            script,
            values,
        }
    }

    fn work(&self, exe: &str, argv: &[&str]) -> Work {
        Work {
            exe: exe.to_owned(),
            argv: argv.iter().map(|word| (*word).to_owned()).collect(),
            types: String::new(),
            files: self.script.iter().cloned().collect(),
        }
    }

    fn inline(&self, exe: &str, option: &str) -> Work {
        let name = exe.rsplit('/').next().unwrap_or(exe);
        self.work(exe, &[name, option, &self.line])
    }

    /// A script that the kernel starts by its first line.
    fn executed(&self) -> Work {
        if let Some((script, _)) = &self.script {
            return self.work(script, &[script]);
        }
        let mut work = self.work(&self.path, &[&self.path]);
        work.files.push((
            self.path.clone(),
            format!("#!{}\n{}\n", self.shell, self.line),
        ));
        work
    }

    /// A script that an interpreter is given.
    fn handed(&self, rng: &mut Rng) -> Work {
        if let Some((script, _)) = &self.script {
            return self.work("/usr/bin/python3", &["python3", script]);
        }
        let name = self.shell.trim_start_matches("/bin/");
        let strict = rng.chance(30);
        let argv: &[&str] = if strict {
            &[name, "-e", &self.path]
        } else {
            &[name, &self.path]
        };
        let mut work = self.work(self.shell, argv);
        work.files
            .push((self.path.clone(), format!("{}\n", self.line)));
        work
    }

    /// A package's script, as dpkg calls it.
    fn maintainer(&self) -> Work {
        let package = self.values.get("NAME").trim_start_matches('.');
        let path = format!("/var/lib/dpkg/info/{package}.postinst");
        let mut work = self.work(&path, &[&path, "configure", "1.4.2-1"]);
        work.files
            .push((path, format!("#!{}\n{}\n", self.shell, self.line)));
        work
    }
}

/// Python runs as a file or from the command line; a shell starts it unless the script is executed itself.
fn python_line(body: &str, path: &str, rng: &mut Rng) -> (String, Option<(String, String)>) {
    if rng.chance(50) && body.len() < 3000 {
        return (format!("python3 -c {}", quoted(body)), None);
    }
    let script = format!("{}.py", path.trim_end_matches(".sh"));
    let content = format!("#!/usr/bin/python3\n{body}\n");
    let line = if rng.chance(30) {
        script.clone()
    } else {
        format!("python3 {script}")
    };
    (line, Some((script, content)))
}

/// Shell-quoted in single quotes.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A path that says nothing about who wrote the script.
fn neutral_path(values: &Values, rng: &mut Rng) -> String {
    const DIRS: &[&str] = &[
        "/root",
        "/opt/app",
        "/tmp",
        "/tmp/.cache",
        "/var/tmp",
        "/usr/local/bin",
        "/srv/www",
        "/dev/shm",
        "@HOME@",
    ];
    let dir = rng.pick(DIRS).replace("@HOME@", values.get("HOME"));
    let dir = if values.get("USER") != "root" && dir == "/root" {
        "/tmp".to_owned()
    } else {
        dir
    };
    format!(
        "{dir}/{}{}",
        values.get("NAME"),
        rng.pick(&["", ".sh", ".sh", "1"])
    )
}

/// Whether a text is more than POSIX shell.
fn needs_bash(text: &str) -> bool {
    [
        "/dev/tcp", "/dev/udp", "[[", "<(", "&>", ">&", "coproc", "((", "{1..", "$'", "read -t",
        "exec -a", "<<<", "RANDOM",
    ]
    .iter()
    .any(|mark| text.contains(mark))
}
