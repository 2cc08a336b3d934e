//! One variant of a scenario, with every choice made.

use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{
    chain::{Chain, user},
    draw::Values,
    manifest::{Peer, Scenario},
    rng::Rng,
};

/// What a node is given, and how its recording is read.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The scenario.
    pub scenario: String,
    /// Which variant.
    pub variant: u32,
    /// Under which chain.
    pub chain: String,
    /// Fields that every line of this recording has.
    pub family: String,
    /// ATT&CK ids.
    pub technique: Vec<String>,
    /// The chain's and the work's records for the stand-in.
    pub records: Vec<u8>,
    /// Images that the node needs a stand-in for.
    pub stand_ins: Vec<String>,
    /// Addresses of the node.
    pub addresses: Vec<String>,
    /// Lines of the node's hosts file.
    pub hosts: String,
    /// Files of the node: path, content, executable.
    pub files: Vec<(String, String, bool)>,
    /// Set-up script.
    pub setup: String,
    /// The other side.
    pub peers: Value,
    /// What the recorder is told.
    pub orders: Value,
}

/// How the work is started, as the last record of the plan.
struct Work {
    exe: String,
    argv: Vec<String>,
    types: String,
    file: Option<(String, String)>,
}

impl Plan {
    /// Makes every choice of one variant.
    pub fn draw(scenario: &Scenario, chains: &[Chain], index: u32, seed: u64) -> Result<Self> {
        let mut rng = Rng::named(seed, &scenario.name, index);
        let chain = draw_chain(scenario, chains, &mut rng)
            .with_context(|| format!("{}: no chain runs as one of its users", scenario.name))?;
        let user_name = draw_user(scenario, chain, &mut rng);
        let (uid, home) = user(&user_name);
        let mut values = Values::draw(scenario, &mut rng);
        values.set("USER", &user_name);
        values.set("HOME", home);
        let drawn = rng
            .one(&scenario.run)
            .context("a scenario runs nothing")?
            .clone();
        let body = values.fill(drawn.trim())?;
        let shell = rng
            .one(&chain.shell)
            .context("a chain has no shell")?
            .clone();
        let work = work(scenario, &shell, &body, &values, &mut rng);
        let cwd = rng
            .one(&chain.cwd)
            .cloned()
            .unwrap_or_else(|| rng.pick(&["/", "/tmp", "@HOME@", "@HOME@"]).to_owned());
        let cwd = values.fill(&cwd.replace("USER", &user_name))?;
        let mut plan = Self {
            scenario: scenario.name.clone(),
            variant: index,
            chain: format!("{}/{shell}/{user_name}", chain.name),
            family: scenario.family.clone(),
            technique: scenario.techniques.clone(),
            records: Vec::new(),
            stand_ins: Vec::new(),
            addresses: ["PEER4", "PEER6", "PEER2", "SELF"]
                .iter()
                .map(|name| prefixed(values.get(name)))
                .collect(),
            hosts: format!(
                "127.0.0.1 localhost\n{} srv01\n{} {}\n",
                values.get("SELF"),
                values.get("PEER4"),
                values.get("HOST")
            ),
            files: Vec::new(),
            setup: values.fill(&scenario.setup)?,
            peers: peers(scenario, &values, &mut rng)?,
            orders: json!(null),
        };
        let depth = plan.chain_of(chain, &user_name, uid, &cwd, &work, &values, &mut rng);
        plan.orders = json!({
            "label": scenario.label.name(), "depth": depth, "whole": scenario.whole,
            "context": scenario.context, "typed": shell == "typed" || shell == "stdin",
            "linger_ms": scenario.linger_ms, "limit_ms": scenario.limit_ms,
            "init": rng.chance(50),
        });
        Ok(plan)
    }

    /// Writes the records; answers how many forks below the recorder's child the work is.
    #[expect(
        clippy::too_many_arguments,
        reason = "the choices of one variant, used once"
    )]
    fn chain_of(
        &mut self,
        chain: &Chain,
        user_name: &str,
        uid: u32,
        cwd: &str,
        work: &Work,
        values: &Values,
        rng: &mut Rng,
    ) -> u32 {
        if let Some((path, text)) = &work.file {
            self.files.push((path.clone(), text.clone(), true));
        }
        if !chain.server.is_empty() {
            self.record(&chain.server[0], uid, "/", "null", "", &chain.server);
            let typed = work.exe == "typed";
            let lines: Vec<&str> = if typed {
                work.types.lines().collect()
            } else {
                vec![&work.types]
            };
            self.caller(json!({
                "mode": chain.caller, "address": values.get("SELF"), "port": chain.port,
                "lines": lines, "typed": typed, "pace": 0.3,
            }));
            return 1 + chain.depth;
        }
        for link in &chain.links {
            let [exe, owner, stdio, argv @ ..] = link.as_slice() else {
                continue;
            };
            let owner = if owner == "USER" { uid } else { user(owner).0 };
            let argv: Vec<String> = argv
                .iter()
                .map(|text| {
                    text.replace("USER", user_name)
                        .replace("PACKAGE", values.get("NAME"))
                })
                .collect();
            self.record(exe, owner, "/", stdio, "", &argv);
            self.stand_ins.push(exe.clone());
        }
        let mut stdio = rng
            .one(&chain.stdio)
            .cloned()
            .unwrap_or_else(|| "null".to_owned());
        if work.exe == "/bin/bash" && work.argv == ["-bash"] {
            "tty".clone_into(&mut stdio);
        } else if !work.types.is_empty() && stdio != "unix" {
            "pipe".clone_into(&mut stdio);
        }
        if stdio == "inet" {
            let port = rng.between(1100, 9000);
            stdio = format!("inet:{port}");
            self.caller(json!({"mode": "dial", "address": values.get("SELF"), "port": port, "lines": ["status", ""], "pace": 0.5}));
        }
        self.record(&work.exe, uid, cwd, &stdio, &work.types, &work.argv);
        1 + chain.links.len() as u32
    }

    fn record(
        &mut self,
        exe: &str,
        uid: u32,
        cwd: &str,
        stdio: &str,
        types: &str,
        argv: &[String],
    ) {
        let mut fields = vec![
            exe.to_owned(),
            uid.to_string(),
            cwd.to_owned(),
            stdio.to_owned(),
            types.to_owned(),
        ];
        fields.extend_from_slice(argv);
        self.records
            .extend_from_slice(fields.join("\x1f").as_bytes());
        self.records.push(0);
    }

    fn caller(&mut self, peer: Value) {
        if let Some(peers) = self.peers.as_array_mut() {
            peers.push(peer);
        }
    }
}

fn prefixed(address: &str) -> String {
    format!("{address}/{}", if address.contains(':') { 128 } else { 32 })
}

fn draw_chain<'a>(scenario: &Scenario, chains: &'a [Chain], rng: &mut Rng) -> Option<&'a Chain> {
    let fits = |chain: &&Chain| {
        (scenario.chains.is_empty() || scenario.chains.contains(&chain.name))
            && (scenario.users.is_empty()
                || chain.users.iter().any(|name| scenario.users.contains(name)))
    };
    let fitting: Vec<&Chain> = chains.iter().filter(fits).collect();
    let total: u32 = fitting.iter().map(|chain| chain.weight).sum();
    let mut at = rng.below(total as usize) as u32;
    for chain in fitting {
        if at < chain.weight {
            return Some(chain);
        }
        at -= chain.weight;
    }
    None
}

fn draw_user(scenario: &Scenario, chain: &Chain, rng: &mut Rng) -> String {
    let allowed: Vec<String> = chain
        .users
        .iter()
        .filter(|name| scenario.users.is_empty() || scenario.users.contains(name))
        .cloned()
        .collect();
    rng.one(&allowed)
        .cloned()
        .unwrap_or_else(|| "root".to_owned())
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

fn work(scenario: &Scenario, shell: &str, body: &str, values: &Values, rng: &mut Rng) -> Work {
    let python = scenario.lang == "python";
    let path = neutral_path(values, rng);
    let sh = if scenario.lang == "sh" || (!python && rng.chance(30) && !needs_bash(body)) {
        "/bin/sh"
    } else {
        "/bin/bash"
    };
    let strings = |words: &[&str]| {
        words
            .iter()
            .map(|word| (*word).to_owned())
            .collect::<Vec<_>>()
    };
    let mut file = None;
    // Python runs as a file or from the command line; a shell starts it unless the script is executed itself.
    let line = if python {
        if rng.chance(50) && body.len() < 3000 {
            format!("python3 -c {}", quoted(body))
        } else {
            let script = format!("{}.py", path.trim_end_matches(".sh"));
            file = Some((script.clone(), format!("#!/usr/bin/python3\n{body}\n")));
            if rng.chance(30) {
                script
            } else {
                format!("python3 {script}")
            }
        }
    } else {
        body.to_owned()
    };
    let shell_of = |flag: &str, program: &str| Work {
        exe: program.to_owned(),
        argv: strings(&[program.rsplit('/').next().unwrap_or(program), flag, &line]),
        types: String::new(),
        file: file.clone(),
    };
    let inner_shell = if needs_bash(body) || scenario.lang == "bash" {
        "/bin/bash"
    } else {
        sh
    };
    match shell {
        "sh-c" if inner_shell == "/bin/bash" && needs_bash(body) => {
            let wrapped = format!("bash -c {}", quoted(&line));
            Work {
                exe: "/bin/sh".to_owned(),
                argv: strings(&["sh", "-c", &wrapped]),
                types: String::new(),
                file,
            }
        }
        "sh-c" => shell_of("-c", "/bin/sh"),
        "bash-c" => shell_of("-c", "/bin/bash"),
        "bash-lc" => shell_of("-lc", "/bin/bash"),
        "typed" => Work {
            exe: "/bin/bash".to_owned(),
            argv: strings(&["-bash"]),
            types: format!("{line}\nexit"),
            file,
        },
        "stdin" => Work {
            exe: "/bin/bash".to_owned(),
            argv: strings(&["bash", "-s"]),
            types: line,
            file,
        },
        "line" => Work {
            exe: "line".to_owned(),
            argv: Vec::new(),
            types: line,
            file,
        },
        "maintainer" => maintainer(&line, inner_shell, values),
        "exec" | "file" if python && file.is_some() => {
            let script = file
                .as_ref()
                .map(|(path, _)| path.clone())
                .unwrap_or_default();
            if shell == "exec" {
                Work {
                    exe: script.clone(),
                    argv: vec![script],
                    types: String::new(),
                    file,
                }
            } else {
                Work {
                    exe: "/usr/bin/python3".to_owned(),
                    argv: strings(&["python3", &script]),
                    types: String::new(),
                    file,
                }
            }
        }
        "exec" => Work {
            exe: path.clone(),
            argv: vec![path.clone()],
            types: String::new(),
            file: Some((path, format!("#!{inner_shell}\n{line}\n"))),
        },
        _ => {
            let name = inner_shell.trim_start_matches("/bin/");
            let flags: &[&str] = if rng.chance(30) { &["-e"] } else { &[] };
            let mut argv = strings(&[name]);
            argv.extend(strings(flags));
            argv.push(path.clone());
            Work {
                exe: inner_shell.to_owned(),
                argv,
                types: String::new(),
                file: Some((path, format!("{line}\n"))),
            }
        }
    }
}

fn maintainer(line: &str, shell: &str, values: &Values) -> Work {
    let path = format!(
        "/var/lib/dpkg/info/{}.postinst",
        values.get("NAME").trim_start_matches('.')
    );
    Work {
        exe: path.clone(),
        argv: vec![path.clone(), "configure".to_owned(), "1.4.2-1".to_owned()],
        types: String::new(),
        file: Some((path, format!("#!{shell}\n{line}\n"))),
    }
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

fn peers(scenario: &Scenario, values: &Values, rng: &mut Rng) -> Result<Value> {
    let mut all = Vec::new();
    for peer in &scenario.peers {
        all.push(
            one_peer(peer, values, rng).with_context(|| format!("{}: a peer", scenario.name))?,
        );
    }
    Ok(Value::Array(all))
}

fn one_peer(peer: &Peer, values: &Values, rng: &mut Rng) -> Result<Value> {
    let port = values.fill(peer.port.as_deref().unwrap_or("@PORT@"))?;
    let port: u16 = port.parse().with_context(|| format!("port {port:?}"))?;
    let mut lines = Vec::new();
    for line in &peer.lines {
        match pool(line) {
            Some(pool) => {
                let count = rng.between(2, 6);
                lines.extend((0..count).map(|_| rng.pick(pool).to_owned()));
                lines.push("exit".to_owned());
            }
            None => lines.push(values.fill(line)?),
        }
    }
    let mut files = serde_json::Map::new();
    for (path, content) in &peer.files {
        files.insert(values.fill(path)?, Value::String(values.fill(content)?));
    }
    ensure!(port > 0, "port 0");
    let mut name = String::new();
    write!(name, "{}", peer.mode)?;
    Ok(json!({
        "mode": name,
        "address": values.fill(peer.address.as_deref().unwrap_or("@PEER@"))?,
        "port": port, "lines": lines, "files": files,
        "pace": peer.pace.unwrap_or_else(|| f64::from(rng.between(1, 7)) / 10.0),
        "answer": values.fill(peer.answer.as_deref().unwrap_or(""))?,
        "times": peer.times.unwrap_or(1),
    }))
}

/// What somebody types into a shell that was not given to them, and what an administrator types.
fn pool(name: &str) -> Option<&'static [&'static str]> {
    match name {
        "<hands-on>" => Some(&[
            "id",
            "whoami",
            "uname -a",
            "cat /etc/passwd",
            "ls -la /home",
            "w",
            "ip a",
            "ss -tnp",
            "ps aux",
            "hostname",
            "cat /etc/os-release",
            "find / -perm -4000 -type f 2>/dev/null | head",
            "ls -la /root",
            "env",
            "cat /etc/shadow",
            "cat ~/.bash_history",
            "ls -la /tmp /dev/shm",
            "cat /proc/1/cgroup",
            "df -h",
            "crontab -l",
            "python3 -c 'import pty; pty.spawn(\"/bin/bash\")'",
            "cat /root/.ssh/id_rsa",
            "which gcc curl wget python3",
            "mount",
            "cat /etc/crontab",
            "export HISTFILE=/dev/null",
            "pwd",
            "groups",
            "getent passwd",
            "last -n 5",
        ]),
        "<admin>" => Some(&[
            "uptime",
            "df -h",
            "free -m",
            "systemctl status nginx",
            "journalctl -n 20",
            "tail -n 20 /var/log/syslog",
            "ls -la /var/log",
            "ps aux",
            "dpkg -l | head",
            "cat /etc/os-release",
            "id",
            "w",
            "ss -ltn",
            "ip a",
            "hostname",
            "uname -a",
            "apt-cache policy curl",
            "date",
            "cat /etc/hosts",
            "du -sh /var/log",
            "whoami",
            "env",
            "pwd",
            "systemctl is-active cron",
            "last -n 5",
            "mount",
            "ls /etc/nginx 2>/dev/null",
            "grep -c . /etc/passwd",
        ]),
        _ => None,
    }
}
