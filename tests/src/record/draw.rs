//! Addresses, ports, names and paths of one variant, and their place in the scenario's texts.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};

use super::{chain::Chain, manifest::Scenario, rng::Rng};

/// The values that `@NAME@` stands for.
#[derive(Clone, Debug, Default)]
pub struct Values {
    named: BTreeMap<String, String>,
    /// Ports that somebody listens on, or may: none is drawn twice, else one of the two could not start.
    ports: BTreeSet<String>,
}

const PORTS: &[&str] = &[
    "443", "80", "53", "8080", "8443", "4444", "9001", "1337", "5555", "3000", "8000", "9090",
    "5000",
];
const PLACES: &[&str] = &[
    "/tmp",
    "/dev/shm",
    "/var/tmp",
    "/tmp/.cache",
    "/run/lock",
    "/opt/app",
    "/usr/local/lib/app",
];
const OPEN_PLACES: &[&str] = &["/tmp", "/dev/shm", "/var/tmp", "/tmp/.cache"];
const NAMES: &[&str] = &[
    "sync", "update", "agent", "run", "worker", "u", "job", "x", "cache", "helper", "node", "app",
    "build", "init", "backup", "check", "service", "data", "report", "task",
];
const DOMAINS: &[&str] = &[
    "files.acme-tools.net",
    "cdn.northbridge.io",
    "updates.kestrel.dev",
    "api.lumen-data.com",
    "pkg.harbor.lan",
    "repo.internal",
    "metrics.corp.lan",
    "static.brightfox.org",
    "mirror.debian-pool.net",
    "hub.orchard.cloud",
];

impl Values {
    /// Draws the usual ones and the scenario's own, for work that starts under `chain`.
    pub fn draw(scenario: &Scenario, chain: &Chain, rng: &mut Rng) -> Self {
        let mut ports: BTreeSet<String> = scenario.listened().map(str::to_owned).collect();
        ports.insert(chain.port.to_string());
        let mut values = BTreeMap::new();
        let mut set = |name: &str, value: String| values.insert(name.to_owned(), value);
        let peer4 = address4(rng);
        let peer6 = address6(rng);
        set(
            "PEER",
            if rng.chance(12) {
                peer6.clone()
            } else {
                peer4.clone()
            },
        );
        set("PEER4", peer4);
        set("PEER6", peer6);
        set("PEER2", address4(rng));
        set(
            "SELF",
            format!(
                "10.{}.{}.{}",
                rng.below(256),
                rng.below(256),
                rng.between(2, 250)
            ),
        );
        set("HOST", rng.pick(DOMAINS).to_owned());
        for name in ["PORT", "PORT2", "PORT3"] {
            set(name, free_port(&mut ports, rng));
        }
        set("TMP", rng.pick(OPEN_PLACES).to_owned());
        for name in ["NAME", "NAME2"] {
            let word = rng.word(6);
            let drawn = match rng.below(4) {
                0 => word,
                1 => format!(".{}", rng.pick(NAMES)),
                2 => format!("{}-{word}", rng.pick(NAMES)),
                _ => rng.pick(NAMES).to_owned(),
            };
            set(
                name,
                if name == "NAME2" {
                    format!("{drawn}2")
                } else {
                    drawn
                },
            );
        }
        set("PLACE", rng.pick(PLACES).to_owned());
        set("N", rng.between(2, 5).to_string());
        set(
            "WAIT",
            rng.pick(&["0.2", "0.4", "0.7", "1", "1.3"]).to_owned(),
        );
        set("WORD", rng.word(8));
        let drawn: BTreeSet<String> = ["PORT", "PORT2", "PORT3"]
            .iter()
            .filter_map(|name| values.get(*name).cloned())
            .chain([chain.port.to_string()])
            .collect();
        for (name, choices) in &scenario.vars {
            let free: Vec<&String> = choices
                .iter()
                .filter(|choice| !drawn.contains(*choice))
                .collect();
            if let Some(choice) = rng.one(&free).copied().or(choices.first()) {
                ports.insert(choice.clone());
                values.insert(name.clone(), choice.clone());
            }
        }
        Self {
            named: values,
            ports,
        }
    }

    /// A port from `low` to `high` that nothing of this variant has.
    pub fn unused_port(&self, low: u32, high: u32, rng: &mut Rng) -> u32 {
        loop {
            let port = rng.between(low, high);
            if !self.ports.contains(&port.to_string()) {
                return port;
            }
        }
    }

    /// One value; empty when there is none.
    pub fn get(&self, name: &str) -> &str {
        self.named.get(name).map_or("", String::as_str)
    }

    /// Adds or replaces one.
    pub fn set(&mut self, name: &str, value: &str) {
        self.named.insert(name.to_owned(), value.to_owned());
    }

    /// Replaces every `@NAME@`, also within values.
    pub fn fill(&self, text: &str) -> Result<String> {
        let mut filled = text.to_owned();
        for _ in 0..4 {
            for (name, value) in &self.named {
                let mark = format!("@{name}@");
                if filled.contains(&mark) {
                    filled = filled.replace(&mark, value);
                }
            }
        }
        ensure!(
            !has_mark(&filled),
            "unknown variable in {filled:?}: name it in [scenario.vars]"
        );
        Ok(filled)
    }
}

/// One of the usual ports or any other, not yet among `taken`, to which it is added.
fn free_port(taken: &mut BTreeSet<String>, rng: &mut Rng) -> String {
    loop {
        let port = if rng.chance(55) {
            rng.pick(PORTS).to_owned()
        } else {
            rng.between(1025, 64_000).to_string()
        };
        if taken.insert(port.clone()) {
            return port;
        }
    }
}

/// Whether a `@NAME@` in capitals is left.
fn has_mark(text: &str) -> bool {
    text.split('@').skip(1).step_by(1).any(|part| {
        part.len() > 1
            && part
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
    })
}

/// Private and public-looking addresses: all of them are on the node's own loopback device.
fn address4(rng: &mut Rng) -> String {
    let mut tail = || rng.between(1, 254);
    let (b, c, d) = (tail(), tail(), tail());
    match rng.below(8) {
        0 => format!("10.{b}.{c}.{d}"),
        1 => format!("192.168.{c}.{d}"),
        2 => format!("172.{}.{c}.{d}", 16 + b % 16),
        3 => format!("203.0.113.{d}"),
        4 => format!("198.51.100.{d}"),
        5 => format!("45.{b}.{c}.{d}"),
        6 => format!("185.{b}.{c}.{d}"),
        _ => format!("{}.{b}.{c}.{d}", 60 + c % 50),
    }
}

fn address6(rng: &mut Rng) -> String {
    let (a, b) = (rng.between(1, 0xffff), rng.between(1, 0xffff));
    match rng.below(3) {
        0 => format!("2001:db8:{a:x}::{b:x}"),
        1 => format!("fd00:{a:x}::{b:x}"),
        _ => format!("2a01:4f8:{a:x}:{b:x}::2"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{super::manifest::Manifest, *};

    #[test]
    fn no_port_of_a_variant_is_drawn_twice() {
        let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let manifest = Manifest::load(&scenarios).unwrap();
        let mut checked = 0;
        for scenario in &manifest.scenarios {
            for (index, chain) in manifest.chains.iter().enumerate() {
                let mut rng = Rng::named(1, &scenario.name, index as u32);
                let values = Values::draw(scenario, chain, &mut rng);
                let mut ports: Vec<String> = ["PORT", "PORT2", "PORT3"]
                    .iter()
                    .map(|name| values.get(name).to_owned())
                    .collect();
                ports.extend(scenario.listened().map(str::to_owned));
                ports.push(chain.port.to_string());
                ports.push(values.unused_port(1100, 1200, &mut rng).to_string());
                let drawn = ["PORT", "PORT2", "PORT3"].map(|name| values.get(name));
                for port in drawn {
                    let times = ports.iter().filter(|other| *other == port).count();
                    assert_eq!(times, 1, "{} under {}: {port}", scenario.name, chain.name);
                }
                checked += 1;
            }
        }
        assert!(checked > 1000, "only {checked} draws");
    }

    #[test]
    fn values_are_filled_in_also_within_values() {
        let mut values = Values::default();
        values.set("PATH", "/tmp/@NAME@");
        values.set("NAME", "x");
        assert_eq!(
            values.fill("run @PATH@ user@host").unwrap(),
            "run /tmp/x user@host"
        );
        assert!(values.fill("@NOBODY@").is_err());
    }
}
