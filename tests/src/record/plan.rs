//! One variant of a scenario, with every choice made.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{
    chain::{Chain, user},
    draw::Values,
    manifest::Scenario,
    peers::peers,
    rng::Rng,
    work::Work,
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

impl Plan {
    /// Makes every choice of one variant.
    pub fn draw(scenario: &Scenario, chains: &[Chain], index: u32, seed: u64) -> Result<Self> {
        let mut rng = Rng::named(seed, &scenario.name, index);
        let chain = draw_chain(scenario, chains, &mut rng)
            .with_context(|| format!("{}: no chain runs as one of its users", scenario.name))?;
        let user_name = draw_user(scenario, chain, &mut rng);
        let (uid, home) = user(&user_name);
        let mut values = Values::draw(scenario, chain, &mut rng);
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
        let work = Work::draw(scenario, &shell, &body, &values, &mut rng);
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
            setup: format!("{}\n{}", chain.setup, values.fill(&scenario.setup)?),
            peers: peers(scenario, &values, &mut rng)?,
            orders: json!(null),
        };
        let decoys: Vec<String> = scenario
            .decoys
            .iter()
            .map(|path| values.fill(path))
            .collect::<Result<_>>()?;
        let depth = plan.chain_of(chain, &user_name, uid, &cwd, &work, &values, &mut rng);
        plan.orders = json!({
            "label": scenario.label.name(), "depth": depth, "whole": scenario.whole,
            "context": scenario.context, "decoys": decoys,
            // What such a work's root is, is not yet what somebody makes it do.
            "typed": shell == "typed" || shell == "stdin" || (!chain.server.is_empty() && chain.depth == 0),
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
        for (path, text) in &work.files {
            self.files.push((path.clone(), text.clone(), true));
        }
        if !chain.server.is_empty() {
            let owner = if chain.owner.is_empty() {
                uid
            } else {
                user(&chain.owner).0
            };
            self.record(&chain.server[0], owner, "/", "null", "", &chain.server);
            let typed = work.exe == "typed";
            let lines: Vec<&str> = if typed {
                work.types.lines().collect()
            } else {
                work.types.split("\n---\n").collect()
            };
            self.caller(json!({
                "mode": chain.caller, "address": values.get("SELF"), "port": chain.port,
                "lines": lines, "typed": typed, "pace": 0.3, "user": user_name,
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
            let port = values.unused_port(1100, 9000, rng);
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
        let is_named = scenario.chains.contains(&chain.name);
        // Of a peer and a server on the same port the second could not start.
        let port = chain.port.to_string();
        let is_taken = scenario.listened().any(|listened| listened == port);
        !is_taken
            && (is_named || (scenario.chains.is_empty() && !chain.only_named))
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
