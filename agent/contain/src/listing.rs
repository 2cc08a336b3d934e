//! What the kernel says our tables are: a hash to compare, and the isolation that can be read from them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::error::ContainError;
use crate::rules::{EGRESS_ALLOW, TABLE};
use crate::spec::{Comment, IsolationSpec};
use crate::{chains, nft};

/// Our tables as listed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Listing {
    /// `inet cordon` is there.
    pub(crate) inet: bool,
    /// `netdev cordon` is there.
    pub(crate) netdev: bool,
    /// `bridge cordon` is there.
    pub(crate) bridge: bool,
    /// Hash of everything but what the kernel numbers or counts, and but the egress chains.
    pub(crate) sha256: String,
    /// Devices with a sound egress chain.
    pub(crate) guarded: BTreeSet<String>,
    comments: Vec<String>,
}

impl Listing {
    /// Asks the kernel.
    pub(crate) fn read() -> Result<Self, ContainError> {
        let mut objects = Vec::new();
        let inet = extend(&mut objects, "inet")?;
        let netdev = extend(&mut objects, "netdev")?;
        let bridge = extend(&mut objects, "bridge")?;
        let devices = if netdev {
            chains::devices()?
        } else {
            BTreeMap::new()
        };
        Ok(Self {
            inet,
            netdev,
            bridge,
            ..Self::of(objects, devices)
        })
    }

    /// `devices`: which egress chain hangs on which.
    fn of(objects: Vec<Value>, mut devices: BTreeMap<String, String>) -> Self {
        let mut egress: BTreeMap<String, Egress> = BTreeMap::new();
        let mut hash = Sha256::new();
        let mut comments = Vec::new();
        for object in objects {
            let object = without_numbers(object);
            if let Some(comment) = object["rule"]["comment"].as_str() {
                comments.push(comment.to_owned());
            }
            if is_egress_chain(&object["chain"]) {
                let name = object["chain"]["name"].as_str().unwrap_or_default();
                let chain = Egress::of(&object["chain"], devices.remove(name));
                egress.insert(name.to_owned(), chain);
            } else if let Some(chain) = chain_of(&object).and_then(|name| egress.get_mut(name)) {
                chain.rules.push(object["rule"]["expr"].clone());
            } else {
                hash.update(canonical(&object));
                hash.update(b"\n");
            }
        }
        Self {
            inet: false,
            netdev: false,
            bridge: false,
            sha256: hex::encode(hash.finalize()),
            guarded: egress.into_values().filter_map(Egress::guarded).collect(),
            comments,
        }
    }

    /// The isolation that the table's comments speak of, where they do.
    pub(crate) fn spec(&self) -> Option<IsolationSpec> {
        // `bridge cordon` alone does not know the ends: an isolation read from it would lose its controller.
        if !self.inet && !self.netdev {
            return None;
        }
        let parsed: Vec<Comment> = self
            .comments
            .iter()
            .filter_map(|text| Comment::parse(text))
            .collect();
        let mut spec = parsed.iter().find_map(|comment| match comment {
            Comment::Header {
                id,
                started_at,
                lease_expires_at,
            } => Some(IsolationSpec {
                id: *id,
                reason: String::new(),
                tree: None,
                started_at: *started_at,
                lease_expires_at: *lease_expires_at,
                controllers: Vec::new(),
                allow: Vec::new(),
                policy_version: 0,
                moment: None,
            }),
            _ => None,
        })?;
        for comment in parsed {
            match comment {
                Comment::Reason(reason) => spec.reason = reason,
                Comment::Policy(version) => spec.policy_version = version,
                // Every chain says it again.
                Comment::Controller(end) if !spec.controllers.contains(&end) => {
                    spec.controllers.push(end);
                }
                Comment::Allow(rule) if !spec.allow.contains(&rule) => spec.allow.push(rule),
                Comment::Header { .. } | Comment::Controller(_) | Comment::Allow(_) => {}
            }
        }
        Some(spec)
    }
}

/// An egress chain is compared by itself, because it comes and goes with its device.
struct Egress {
    device: Option<String>,
    sound: bool,
    rules: Vec<Value>,
}

impl Egress {
    fn of(chain: &Value, device: Option<String>) -> Self {
        Self {
            device,
            sound: chain["type"] == "filter" && chain["policy"] == "drop",
            rules: Vec::new(),
        }
    }

    fn guarded(self) -> Option<String> {
        let expected = [
            json!([{"jump": {"target": EGRESS_ALLOW}}]),
            json!([{"drop": null}]),
        ];
        self.device.filter(|_| self.sound && self.rules == expected)
    }
}

/// Appends what the table lists; says whether it is there.
fn extend(objects: &mut Vec<Value>, family: &'static str) -> Result<bool, ContainError> {
    let Some(json) = nft::list_table(family, TABLE)? else {
        return Ok(false);
    };
    let mut listed: Value =
        serde_json::from_slice(&json).map_err(|source| ContainError::NftOutput {
            table: TABLE,
            source,
        })?;
    if let Value::Array(listed) = listed["nftables"].take() {
        objects.extend(listed.into_iter().filter(|o| o.get("metainfo").is_none()));
    }
    Ok(true)
}

fn is_egress_chain(chain: &Value) -> bool {
    chain["family"] == "netdev" && chain["hook"] == "egress"
}

fn chain_of(object: &Value) -> Option<&str> {
    let rule = &object["rule"];
    (rule["family"] == "netdev")
        .then(|| rule["chain"].as_str())
        .flatten()
}

/// Handles and counters change without anybody changing a rule.
pub(crate) fn without_numbers(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.into_iter()
                .filter(|(key, _)| !matches!(key.as_str(), "handle" | "packets" | "bytes"))
                .map(|(key, value)| (key, without_numbers(value)))
                .collect::<Map<_, _>>(),
        ),
        Value::Array(items) => items.into_iter().map(without_numbers).collect(),
        other => other,
    }
}

/// JSON with sorted keys, whatever order the JSON library of this build keeps.
pub(crate) fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<&String, String> =
                map.iter().map(|(k, v)| (k, canonical(v))).collect();
            let fields: Vec<String> = sorted.iter().map(|(k, v)| format!("{k:?}:{v}")).collect();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(canonical).collect();
            format!("[{}]", items.join(","))
        }
        other => other.to_string(),
    }
}
