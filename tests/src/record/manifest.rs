//! The scenario files, read and checked.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::chain::Chain;

/// What a scenario is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Label {
    /// A harmless simulation of an attack.
    Attack,
    /// Legitimate work.
    Benign,
}

impl Label {
    /// As written in recordings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Attack => "attack",
            Self::Benign => "benign",
        }
    }
}

/// One scenario: a text to run with its variables, and who is on the other side.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Unique name.
    pub name: String,
    /// Group that training leaves out as a whole.
    pub family: String,
    /// Attack or benign.
    pub label: Label,
    /// ATT&CK technique ids; empty for benign work.
    #[serde(default)]
    pub techniques: Vec<String>,
    /// The scenario of the other label that looks most alike.
    #[serde(default)]
    pub twin: Option<String>,
    /// `bash`, `sh` or `python`.
    #[serde(default = "bash")]
    pub lang: String,
    /// How many variants are recorded.
    #[serde(default = "eight")]
    pub variants: u32,
    /// Chains it may start under; all when empty.
    #[serde(default)]
    pub chains: Vec<String>,
    /// Users it may run as; the chain's when empty.
    #[serde(default)]
    pub users: Vec<String>,
    /// The texts: a variant runs one of them.
    pub run: Vec<String>,
    /// Run before the recorder starts, as root.
    #[serde(default)]
    pub setup: String,
    /// The other side: named peers with their arguments, see `plan`.
    #[serde(default)]
    pub peers: Vec<Peer>,
    /// Values of `@NAME@` in the texts.
    #[serde(default)]
    pub vars: BTreeMap<String, Vec<String>>,
    /// Every process below the root carries the attack, plain tools too (`id` in a reverse shell).
    #[serde(default)]
    pub whole: bool,
    /// Images (file names) that are context in this scenario beside the usual plain tools, also where it is `whole`.
    #[serde(default)]
    pub context: Vec<String>,
    /// Files of which every touch is told, as an administrator would lay them among the documents.
    #[serde(default)]
    pub decoys: Vec<String>,
    /// Programs without which the scenario says nothing: where one is missing it is left out, and that is said.
    #[serde(default)]
    pub needs: Vec<String>,
    /// How long to record after the root process ended, milliseconds.
    #[serde(default = "linger")]
    pub linger_ms: u64,
    /// How long at most, milliseconds.
    #[serde(default = "limit")]
    pub limit_ms: u64,
}

/// Somebody on the other side.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// `shell`, `sink`, `web`, `dns`, `udp`, `dial`, `request`, `sql`, `redis`, `sshd` or `login`.
    pub mode: String,
    /// Defaults to `@PEER@`.
    #[serde(default)]
    pub address: Option<String>,
    /// Defaults to `@PORT@`.
    #[serde(default)]
    pub port: Option<String>,
    /// Lines to type, or the name of a pool as `@hands-on@`.
    #[serde(default)]
    pub lines: Vec<String>,
    /// Seconds between lines.
    #[serde(default)]
    pub pace: Option<f64>,
    /// What `sink` answers.
    #[serde(default)]
    pub answer: Option<String>,
    /// What `web` serves: path to content.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// `shell`, `sink` and `web` speak TLS.
    #[serde(default)]
    pub tls: bool,
    /// Calls that `dial` makes.
    #[serde(default)]
    pub times: Option<u32>,
}

fn bash() -> String {
    "bash".to_owned()
}

fn eight() -> u32 {
    8
}

fn linger() -> u64 {
    300
}

fn limit() -> u64 {
    10_000
}

impl Scenario {
    /// The ports, as written, that its peers listen on whatever is drawn.
    pub fn listened(&self) -> impl Iterator<Item = &str> {
        let listens = |peer: &&Peer| {
            matches!(
                peer.mode.as_str(),
                "shell" | "sink" | "web" | "dns" | "udp" | "sshd"
            )
        };
        let ports = self.peers.iter().filter(listens);
        ports
            .filter_map(|peer| peer.port.as_deref())
            .filter(|port| !port.contains('@'))
    }

    /// Whether `--only` selects it.
    pub fn matches(&self, only: Option<&str>) -> bool {
        only.is_none_or(|start| self.name.starts_with(start) || self.family.starts_with(start))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    scenario: Vec<Scenario>,
    #[serde(default)]
    chain: Vec<Chain>,
}

/// All scenarios and chains.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// In the order of files and of entries.
    pub scenarios: Vec<Scenario>,
    /// Lineages to start under.
    pub chains: Vec<Chain>,
}

impl Manifest {
    /// Reads every `*.toml` of a directory.
    pub fn load(dir: &Path) -> Result<Self> {
        let mut paths: Vec<_> = std::fs::read_dir(dir)
            .with_context(|| {
                format!(
                    "list {}: name the scenarios with --scenarios",
                    dir.display()
                )
            })?
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .filter(|path| {
                path.extension()
                    .is_some_and(|extension| extension == "toml")
            })
            .collect();
        paths.sort();
        let mut manifest = Self {
            scenarios: Vec::new(),
            chains: Vec::new(),
        };
        for path in paths {
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("read {}", path.display()))?;
            let file: File =
                toml::from_str(&text).with_context(|| format!("parse {}", path.display()))?;
            manifest.scenarios.extend(file.scenario);
            manifest.chains.extend(file.chain);
        }
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<()> {
        let mut names = BTreeSet::new();
        for scenario in &self.scenarios {
            ensure!(
                names.insert(&scenario.name),
                "two scenarios are named {}",
                scenario.name
            );
            ensure!(!scenario.run.is_empty(), "{} runs nothing", scenario.name);
            never_recorded(scenario)?;
        }
        for scenario in &self.scenarios {
            if let Some(twin) = &scenario.twin {
                ensure!(
                    names.contains(twin),
                    "{} has an unknown twin {twin}",
                    scenario.name
                );
            }
            for chain in &scenario.chains {
                ensure!(
                    self.chains.iter().any(|known| known.name == *chain),
                    "{} has an unknown chain {chain}",
                    scenario.name
                );
            }
        }
        Ok(())
    }
}

/// The demo and an end-to-end test attack in ways that the model must never have seen.
fn never_recorded(scenario: &Scenario) -> Result<()> {
    let peer_lines = scenario.peers.iter().flat_map(|peer| &peer.lines);
    for text in scenario
        .run
        .iter()
        .chain(peer_lines)
        .chain(scenario.vars.values().flatten())
    {
        for word in ["perl", "s_client", "/inet/", "telnet"] {
            if text.contains(word) {
                bail!("{} uses {word}, which recordings leave out", scenario.name);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")).unwrap()
    }

    #[test]
    fn every_attack_has_a_benign_twin() {
        let manifest = manifest();
        let label_of = |name: &str| {
            manifest
                .scenarios
                .iter()
                .find(|other| other.name == name)
                .map(|other| other.label)
        };
        for scenario in manifest
            .scenarios
            .iter()
            .filter(|scenario| scenario.label == Label::Attack)
        {
            let twin = scenario.twin.as_deref().and_then(label_of);
            assert_eq!(twin, Some(Label::Benign), "{}", scenario.name);
            assert!(!scenario.techniques.is_empty(), "{}", scenario.name);
        }
    }

    #[test]
    fn there_is_more_honest_work_than_attacks() {
        let manifest = manifest();
        let (mut attacks, mut benign) = (0, 0);
        for scenario in &manifest.scenarios {
            match scenario.label {
                Label::Attack => attacks += 1,
                Label::Benign => benign += 1,
            }
        }
        assert!(
            benign >= attacks,
            "{benign} benign scenarios beside {attacks} attacks"
        );
    }

    #[test]
    fn what_the_demo_attacks_with_is_refused() {
        let mut scenario = manifest().scenarios[0].clone();
        scenario.run = vec!["perl -e 1".to_owned()];
        assert!(never_recorded(&scenario).is_err());
    }
}
