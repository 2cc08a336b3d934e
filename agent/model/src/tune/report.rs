//! What was tuned, by how much and by whom: for a program as JSON, for people in the model's card.

use std::fmt::Write as _;

use serde::Serialize;

use super::fit::Learned;
use super::labels::Counts;
use super::regression::Figures;
use super::{CAP, HOST_CAP};

/// What came of the labels of one host.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HostReport {
    /// Its name in the labels.
    pub host: String,
    /// Labels of it that were learned from.
    pub labels: usize,
    /// What each of them counted, 1 or less.
    pub weight: f64,
    /// How far they move a story of somebody else at most, log-odds.
    pub moves: f64,
}

impl HostReport {
    pub(super) fn new(host: &str) -> Self {
        Self {
            host: host.to_owned(),
            labels: 1,
            weight: 1.0,
            moves: 0.0,
        }
    }
}

/// What was tuned.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Id of the model before.
    pub from: String,
    /// Id of the new one.
    pub to: String,
    /// SHA-256 of the labels that count, hex.
    pub labels_sha256: String,
    /// How many labels there were.
    pub counts: Counts,
    /// What our own stories weighed together, in labels.
    pub own_weight: f64,
    /// Share of what was learned that our own stories allowed, 0 to 1.
    pub share: f64,
    /// What both offsets were moved by beside that, log-odds.
    pub lift: f64,
    /// How far any story moved at most, log-odds.
    pub furthest: f64,
    /// Our own stories, by the model before.
    pub before: Figures,
    /// The same by the new one.
    pub after: Figures,
    /// The labelled stories, by the model before.
    pub labels_before: Figures,
    /// The same by the new one.
    pub labels_after: Figures,
    /// By name.
    pub hosts: Vec<HostReport>,
}

impl Report {
    /// What of `learned` is tried, and `lift` beside it.
    pub(super) fn lift(&mut self, learned: &Learned, lift: f64) {
        self.lift = lift;
        self.furthest = learned.furthest * self.share + lift.abs();
        self.hosts.clone_from(&learned.hosts);
        for host in &mut self.hosts {
            host.moves = host.moves * self.share + lift.abs();
        }
    }

    /// One line for the manifest.
    pub(super) fn in_short(&self) -> String {
        let Counts {
            malicious, benign, ..
        } = self.counts;
        let hosts = self.hosts.len();
        let furthest = self.furthest;
        format!(
            "{malicious} malicious and {benign} benign labels of {hosts} hosts, at most {furthest:.2} log-odds"
        )
    }

    /// A chapter for the card.
    pub(super) fn card(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        self.write_card(&mut text).ok();
        text
    }

    fn write_card(&self, text: &mut String) -> std::fmt::Result {
        let counts = self.counts;
        writeln!(text, "\n## Tuned on site\n")?;
        writeln!(
            text,
            "Written by `cordon-agent tune`. The last layer and the offsets of the calibration are the site's; thresholds and all else are those of {}, and what is said above was measured with it.\n",
            self.from
        )?;
        writeln!(text, "| what | value |\n|---|---|")?;
        for (what, value) in [
            ("SHA-256 of the labels", self.labels_sha256.clone()),
            (
                "learned from, malicious and benign",
                format!("{}, {}", counts.malicious, counts.benign),
            ),
            (
                "said again, disputed, answered by the gate",
                format!(
                    "{}, {}, {}",
                    counts.repeated, counts.contradicted, counts.by_gate
                ),
            ),
            ("analysts", counts.analysts.to_string()),
            (
                "weight of our own stories, in labels",
                format!("{:.0}", self.own_weight),
            ),
            (
                "share of what was learned that our own stories allow",
                format!("{:.1}", self.share),
            ),
            (
                "what both offsets were moved by beside that, log-odds",
                format!("{:.2}", self.lift),
            ),
            (
                "furthest that a story moved, of at most, log-odds",
                format!("{:.2}, {CAP}", self.furthest),
            ),
        ] {
            writeln!(text, "| {what} | {value} |")?;
        }
        writeln!(
            text,
            "\n| stories | attacks | found | malicious | benign | mistaken | malicious |\n|---|---|---|---|---|---|---|"
        )?;
        for (name, figures) in [
            ("ours, before", self.before),
            ("ours, after", self.after),
            ("labelled, before", self.labels_before),
            ("labelled, after", self.labels_after),
        ] {
            let Figures {
                attacks,
                found,
                found_malicious,
                benign,
                mistaken,
                mistaken_malicious,
            } = figures;
            writeln!(
                text,
                "| {name} | {attacks} | {found} | {found_malicious} | {benign} | {mistaken} | {mistaken_malicious} |"
            )?;
        }
        writeln!(
            text,
            "\n| host | labels | each counts | moves others by at most, of {HOST_CAP} |\n|---|---|---|---|"
        )?;
        for host in &self.hosts {
            let HostReport {
                host,
                labels,
                weight,
                moves,
            } = host;
            writeln!(text, "| {host} | {labels} | {weight:.2} | {moves:.2} |")?;
        }
        Ok(())
    }
}
