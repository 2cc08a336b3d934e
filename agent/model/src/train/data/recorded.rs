//! Which recordings carry their label by themselves, and which side each is on.

use std::collections::BTreeSet;

use cordon_behavior::story::Story;

use super::Side;
use crate::train::recording::Recording;

/// Families whose single commands are judged by what is above them: an intruder's shell.
const TELLING_LINEAGE: [&str; 8] = [
    "bound-shell",
    "covert-shell",
    "hidden-image",
    "interpreter-shell",
    "listening-shell",
    "native-shell",
    "remote-shell",
    "web-shell",
];

/// The arguments of a process that made and reached nothing, numbers taken out.
pub(super) fn leaf(story: &Story) -> Option<String> {
    let own = story.process.as_ref()?;
    let quiet = story.children.is_empty() && story.connections.is_empty();
    let words = own.argv.join(" ");
    (quiet && !words.is_empty()).then(|| words.chars().filter(|c| !c.is_ascii_digit()).collect())
}

/// A single command that honest work runs too is no attack by itself, whatever it was a part of.
pub(super) fn carries(one: &Recording, honest: &BTreeSet<String>) -> bool {
    TELLING_LINEAGE.contains(&one.family.as_str())
        || leaf(&one.story).is_none_or(|words| !honest.contains(&words))
}

/// Families that only the report sees, and families that only calibration sees: of both labels, and among them
/// the benign work that is most often mistaken.
const TEST_FAMILIES: [&str; 92] = [
    "archive-work",
    "bare-hands-responses",
    "bare-hands-voyages",
    "benchmark-remediation",
    "bootstrap-scripts",
    "bound-shell",
    "campaign-scripts",
    "carried-orders",
    "carried-upkeep",
    "catalogues-turned",
    "conftest-runs",
    "daemon-scriptlets",
    "daily-looks",
    "debs-with-passengers",
    "evasion",
    "evidence-kits",
    "first-looks",
    "fleet-agents",
    "hook-deliveries",
    "hook-voyages",
    "hooked-backups",
    "host-farewells",
    "hotfix-nights",
    "immutable-settings",
    "inner-sweeps",
    "interpreter-plants",
    "interpreter-settings",
    "library-choice",
    "library-swaps",
    "live-forensics",
    "module-payloads",
    "name-probes",
    "named-orders",
    "obeying-pages",
    "odd-carriage",
    "odd-transfers",
    "package-triggers",
    "parcelled-backups",
    "parcelled-exits",
    "password-nights",
    "planted-scriptlets",
    "playbook-runs",
    "port-forwards",
    "pulled-catalogues",
    "quayside-packages",
    "rare-downloads",
    "rare-mirrors",
    "rare-seats",
    "rare-settings",
    "reachability-checks",
    "regained-access",
    "release-signing",
    "release-upgrades",
    "remote-dumps",
    "reporting-pages",
    "resource-theft",
    "returned-disks",
    "rolling-restarts",
    "sealed-delivery",
    "secret-hunts",
    "secret-scans",
    "self-extracting",
    "short-ransoms",
    "small-deb-lifecycles",
    "spoiled-headers",
    "stamped-headers",
    "store-intrusion",
    "store-work",
    "stowed-agents",
    "swapping-lifts",
    "system-lifts",
    "table-client-reports",
    "table-client-runs",
    "token-borrowing",
    "token-renewals",
    "tool-handles",
    "tool-scripting",
    "toolchain-installs",
    "tree-encryption",
    "tree-packing",
    "troubleshooting",
    "tunnel-tenants",
    "tunnel-tools",
    "turned-converters",
    "veiled-scripts",
    "vendor-agents",
    "version-control",
    "view-tuning",
    "view-veils",
    "web-folder-checks",
    "whole-host-audits",
    "working-converters",
];
const CALIBRATION_FAMILIES: [&str; 49] = [
    "backups-that-take",
    "berthed-services",
    "berthed-shells",
    "blinded-watch-rules",
    "cluster-upgrades",
    "converge-agents",
    "converted-shares",
    "database",
    "debugging",
    "device-rules",
    "dump-rotation",
    "fleet-copies",
    "granted-scripts",
    "hidden-image",
    "hop-copies",
    "hot-reloads",
    "inner-bridges",
    "inner-pivots",
    "kept-copies",
    "kept-rights",
    "lateral",
    "led-through-lines",
    "led-to-work-lines",
    "listening-shell",
    "loose-rights",
    "odd-place-backups",
    "odd-porters",
    "offsite",
    "ordered-rooms",
    "page-config-losses",
    "page-config-uses",
    "process-disguise",
    "process-titles",
    "proved-backups",
    "quieted-hosts",
    "response-clockjobs",
    "rewritten-shares",
    "robbed-copies",
    "runner-enrolment",
    "scheduled",
    "small-listeners",
    "staged-exfiltration",
    "table-server-jobs",
    "table-server-voyages",
    "turned-clockjobs",
    "usual-porters",
    "watch-rule-layings",
    "watched-drops",
    "weak-script-climbs",
];

/// The side of a recording and what it is reported as. The last runs of a family that is trained on are kept apart:
/// they tell less than a family left out, and have work that no other family has.
pub(super) fn recorded_side(family: &str, variant: u32) -> (Side, String) {
    let left_out = format!("recorded:{family}");
    let runs = format!("runs:{family}");
    if TEST_FAMILIES.contains(&family) {
        (Side::Test, left_out)
    } else if CALIBRATION_FAMILIES.contains(&family) {
        (Side::Calibrate, left_out)
    } else {
        match variant % 10 {
            8 => (Side::Calibrate, runs),
            9 => (Side::Test, runs),
            _ => (Side::Train, left_out),
        }
    }
}
