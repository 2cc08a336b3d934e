//! Orders about processes, remote ends and files: their form, and what undoes them.

use super::Verb;
use crate::id::OrderId;
use crate::policy::{MAX_BLOCK_SECONDS, is_plain};

/// Names of the verbs that take a step against an attack. Each counts against a policy's `caps.ordered_per_hour`.
pub const STEPS: [&str; 5] = [
    "kill_tree",
    "freeze_tree",
    "cut_off",
    "block_remote",
    "quarantine_file",
];

/// Which verb undoes which. Nothing undoes a kill.
pub const UNDOS: [(&str, &str); 4] = [
    ("freeze_tree", "thaw_tree"),
    ("cut_off", "rejoin"),
    ("block_remote", "unblock_remote"),
    ("quarantine_file", "restore_file"),
];

/// Longest path of a file.
const MAX_PATH_BYTES: usize = 4095;

/// What is wrong with how an order is written, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Form(String);

/// How a host names the file that it took by this order.
pub fn held_of(order: OrderId) -> String {
    order.0.simple().to_string()
}

impl Verb {
    /// It takes a step against an attack, and is capped.
    pub fn is_step(&self) -> bool {
        STEPS.contains(&self.name())
    }

    /// What undoes it when it was done by the order `id`; `None` where nothing does.
    pub fn undo(&self, id: OrderId) -> Option<Self> {
        Some(match self {
            Self::Isolate { .. } => Self::Release,
            Self::FreezeTree { process } => Self::ThawTree {
                process: process.clone(),
            },
            Self::CutOff { process } => Self::Rejoin {
                process: process.clone(),
            },
            Self::BlockRemote { address, .. } => Self::UnblockRemote { address: *address },
            Self::QuarantineFile { .. } => Self::RestoreFile { held: held_of(id) },
            // The controller blocks an isolated host for as long as it is isolated: releasing it ends that.
            Self::BlockHost { .. }
            | Self::Release
            | Self::UnblockHost { .. }
            | Self::Approve { .. }
            | Self::Refuse { .. }
            | Self::KillTree { .. }
            | Self::ThawTree { .. }
            | Self::Rejoin { .. }
            | Self::UnblockRemote { .. }
            | Self::RestoreFile { .. } => return None,
        })
    }

    /// What it is about, for people: a process, an address, a file. Empty when it is the host.
    pub fn subject(&self) -> String {
        match self {
            Self::KillTree { process }
            | Self::FreezeTree { process }
            | Self::ThawTree { process }
            | Self::CutOff { process }
            | Self::Rejoin { process } => process.to_string(),
            Self::BlockRemote { address, seconds } => format!("{address} for {seconds} s"),
            Self::UnblockRemote { address } => address.to_string(),
            Self::QuarantineFile { path, .. } => path.clone(),
            Self::RestoreFile { held } => held.clone(),
            Self::BlockHost { peer, .. } | Self::UnblockHost { peer } => peer.to_string(),
            Self::Approve { proposal } | Self::Refuse { proposal } => proposal.to_string(),
            Self::Isolate { .. } | Self::Release => String::new(),
        }
    }

    /// Whether it is written as it must be; whoever signs it and whoever obeys it asks the same.
    pub fn check(&self) -> Result<(), Form> {
        match self {
            Self::BlockRemote { seconds, .. } if !(1..=MAX_BLOCK_SECONDS).contains(seconds) => {
                Err(Form(format!(
                    "{seconds} seconds are not between 1 and {MAX_BLOCK_SECONDS}"
                )))
            }
            Self::QuarantineFile { path, sha256 } => {
                if !is_plain(path) || path.len() > MAX_PATH_BYTES {
                    return Err(Form(format!(
                        "{path:?} is no path of a file: wanted an absolute one without //, . and .., of at most {MAX_PATH_BYTES} bytes"
                    )));
                }
                let is_digest = |text: &String| is_hex(text, 64);
                if sha256.as_ref().is_some_and(|text| !is_digest(text)) {
                    return Err(Form(
                        "sha256 wants 64 hexadecimal digits in lower case".into(),
                    ));
                }
                Ok(())
            }
            Self::RestoreFile { held } if !is_hex(held, 32) => Err(Form(
                "held wants the 32 hexadecimal digits that the report of the quarantine has".into(),
            )),
            _ => Ok(()),
        }
    }
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const PROCESS: &str = "0f3c9a1e:412:3210000000";

    fn steps() -> Vec<Verb> {
        let process = || PROCESS.parse().unwrap();
        let address = "203.0.113.9".parse().unwrap();
        vec![
            Verb::KillTree { process: process() },
            Verb::FreezeTree { process: process() },
            Verb::CutOff { process: process() },
            Verb::BlockRemote {
                address,
                seconds: 60,
            },
            Verb::QuarantineFile {
                path: "/tmp/x".into(),
                sha256: Some("a".repeat(64)),
            },
        ]
    }

    #[test]
    fn steps_and_undos_are_the_verbs_that_are_listed() {
        let id = OrderId::generate();
        let names: Vec<&str> = steps().iter().map(Verb::name).collect();
        assert_eq!(names, STEPS);
        for step in steps() {
            assert!(step.is_step());
            let undo = step.undo(id);
            let listed = UNDOS.iter().find(|(verb, _)| *verb == step.name());
            assert_eq!(undo.as_ref().map(Verb::name), listed.map(|(_, undo)| *undo));
            if let Some(undo) = undo {
                assert!(!undo.is_step() && undo.undo(id).is_none());
                assert_eq!(undo.check(), Ok(()));
            }
        }
    }

    #[test]
    fn golden_steps_v1() {
        let mut json: Vec<serde_json::Value> = steps().iter().map(|verb| json!(verb)).collect();
        let id: OrderId = "01890000-0000-7000-8000-000000000001".parse().unwrap();
        json.extend(
            steps()
                .iter()
                .filter_map(|verb| Some(json!(verb.undo(id)?))),
        );
        let wanted = json!([
            {"verb": "kill_tree", "process": PROCESS},
            {"verb": "freeze_tree", "process": PROCESS},
            {"verb": "cut_off", "process": PROCESS},
            {"verb": "block_remote", "address": "203.0.113.9", "seconds": 60},
            {"verb": "quarantine_file", "path": "/tmp/x", "sha256": "a".repeat(64)},
            {"verb": "thaw_tree", "process": PROCESS},
            {"verb": "rejoin", "process": PROCESS},
            {"verb": "unblock_remote", "address": "203.0.113.9"},
            {"verb": "restore_file", "held": "01890000000070008000000000000001"},
        ]);
        assert_eq!(serde_json::Value::from(json.clone()), wanted);
        for one in json {
            let read: Verb = serde_json::from_value(one.clone()).unwrap();
            assert_eq!(json!(read), one);
            let mut widened = one;
            widened["shell"] = "id".into();
            assert!(serde_json::from_value::<Verb>(widened).is_err());
        }
    }

    #[test]
    fn what_is_not_written_as_it_must_be_is_no_order() {
        let file = |path: &str, sha256: Option<&str>| Verb::QuarantineFile {
            path: path.into(),
            sha256: sha256.map(Into::into),
        };
        let block = |seconds| Verb::BlockRemote {
            address: "203.0.113.9".parse().unwrap(),
            seconds,
        };
        let held = |held: &str| Verb::RestoreFile { held: held.into() };
        for bad in [
            block(0),
            block(MAX_BLOCK_SECONDS + 1),
            file("", None),
            file("tmp/x", None),
            file("/tmp/../etc/passwd", None),
            file("/tmp//x", None),
            file("/tmp/x\0y", None),
            file(&format!("/{}", "x".repeat(MAX_PATH_BYTES)), None),
            file("/tmp/x", Some("ab")),
            file("/tmp/x", Some(&"A".repeat(64))),
            held(""),
            held("../../../../etc/cron.d/x"),
            held(&"0".repeat(33)),
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
        for good in [block(1), block(MAX_BLOCK_SECONDS), file("/tmp/x y", None)] {
            assert_eq!(good.check(), Ok(()));
        }
        for json in [
            json!({"verb": "kill_tree", "process": "412"}),
            json!({"verb": "kill_tree", "pid": 412}),
            json!({"verb": "block_remote", "address": "example.net", "seconds": 60}),
            json!({"verb": "block_remote", "address": "203.0.113.0/24", "seconds": 60}),
        ] {
            assert!(
                serde_json::from_value::<Verb>(json.clone()).is_err(),
                "{json}"
            );
        }
    }
}
