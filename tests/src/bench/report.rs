//! The result: rows of what was measured, what was wanted, and whether that holds.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

/// What every bench may be told.
#[derive(Clone, Debug, clap::Args)]
pub struct Run {
    /// Write the result to this file, as one JSON object.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// A short run: counts are true, times mean nothing and have no goals.
    #[arg(long)]
    pub quick: bool,
    /// How the programs beside this one were built; it is written into the result.
    #[arg(long, default_value = "dev")]
    pub profile: String,
}

/// What is wanted of a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// At most this.
    AtMost(f64),
    /// Less than this.
    Below(f64),
    /// Exactly this.
    Exactly(f64),
    /// At least this.
    AtLeast(f64),
    /// Nothing: it is there to compare with.
    None,
}

impl Goal {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::Below(most) => value < most,
            Self::Exactly(wanted) => (value - wanted).abs() < f64::EPSILON,
            Self::AtLeast(least) => value >= least,
            Self::None => true,
        }
    }
}

impl std::fmt::Display for Goal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (sign, value) = match self {
            Self::AtMost(value) => ("<=", value),
            Self::Below(value) => ("<", value),
            Self::Exactly(value) => ("=", value),
            Self::AtLeast(value) => (">=", value),
            Self::None => return f.write_str("none"),
        };
        write!(f, "{sign} {}", shown(*value))
    }
}

/// One measured value.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// What.
    pub metric: String,
    /// How much; `None` when it could not be measured.
    pub value: Option<f64>,
    /// In what.
    pub unit: String,
    /// What is wanted; `none` where it is there to compare with.
    pub goal: String,
    /// Whether it is as wanted. What was not measured is not.
    pub holds: bool,
    /// Why it was not measured.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub why: Option<String>,
}

/// On what it was measured.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Machine {
    /// Kernel release.
    pub kernel: String,
    /// Distribution.
    pub os: String,
    /// Processor.
    pub cpu: String,
    /// How many.
    pub cpus: usize,
    /// Memory, bytes.
    pub memory_bytes: u64,
    /// Mean number of waiting processes over the minute before; the closer to 0, the better the numbers.
    pub load_before: f64,
}

impl Machine {
    /// Asks the system.
    pub fn read() -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key));
            let value = line.map(|rest| rest.trim_start_matches([' ', '\t', ':', '=']));
            value.unwrap_or("unknown").trim_matches('"').to_owned()
        };
        let memory = field(&text("/proc/meminfo"), "MemTotal");
        let memory = memory
            .split_whitespace()
            .next()
            .and_then(|kib| kib.parse::<u64>().ok());
        let load = text("/proc/loadavg");
        let load = load
            .split_whitespace()
            .next()
            .and_then(|mean| mean.parse().ok());
        Self {
            kernel: text("/proc/sys/kernel/osrelease").trim().to_owned(),
            os: field(&text("/etc/os-release"), "PRETTY_NAME"),
            cpu: field(&text("/proc/cpuinfo"), "model name"),
            cpus: std::thread::available_parallelism().map_or(0, usize::from),
            memory_bytes: memory.unwrap_or(0) << 10,
            load_before: load.unwrap_or(0.0),
        }
    }
}

/// All of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Which bench.
    pub bench: String,
    /// How the programs were built: `release` or `dev`.
    pub profile: String,
    /// A short run, whose times mean nothing.
    pub quick: bool,
    /// On what.
    pub machine: Machine,
    /// What came out.
    pub rows: Vec<Row>,
}

impl Report {
    /// Nothing measured yet.
    pub fn new(bench: &str, profile: &str, quick: bool) -> Self {
        Self {
            bench: bench.to_owned(),
            profile: profile.to_owned(),
            quick,
            machine: Machine::read(),
            rows: Vec::new(),
        }
    }

    /// Adds what was measured, or why it was not.
    pub fn add(&mut self, metric: &str, unit: &str, goal: Goal, value: Result<f64>) {
        let row = Row {
            metric: metric.to_owned(),
            value: None,
            unit: unit.to_owned(),
            goal: goal.to_string(),
            holds: false,
            why: None,
        };
        self.rows.push(match value {
            Ok(value) if value.is_finite() => Row {
                value: Some(value),
                holds: goal.holds(value),
                ..row
            },
            Ok(_) => Row {
                why: Some("nothing to divide by".to_owned()),
                ..row
            },
            Err(error) => Row {
                why: Some(format!("{error:#}")),
                ..row
            },
        });
    }

    /// For a person.
    pub fn table(&self) -> String {
        let wide = |text: fn(&Row) -> usize| self.rows.iter().map(text).max().unwrap_or(0);
        let (metric, unit) = (wide(|row| row.metric.len()), wide(|row| row.unit.len()));
        let goal = wide(|row| row.goal.len());
        let mut lines = Vec::new();
        for row in &self.rows {
            let value = row.value.map_or("-".to_owned(), shown);
            let holds = match (row.goal.as_str(), row.holds, &row.why) {
                (_, _, Some(why)) => why.split('\n').next().unwrap_or_default(),
                ("none", ..) => "",
                (_, true, _) => "holds",
                (_, false, _) => "MISSED",
            };
            lines.push(format!(
                "{:metric$}  {value:>12} {:unit$}  {:goal$}  {holds}",
                row.metric, row.unit, row.goal
            ));
        }
        lines.join("\n")
    }

    /// Tells it to the user, and to `json` where that is wanted. Success: what was to hold, holds.
    pub fn conclude(&self, json: Option<&Path>) -> Result<ExitCode> {
        let table = self.table() + "\n";
        std::io::stdout().write_all(table.as_bytes())?;
        if let Some(path) = json {
            self.write(path)?;
        }
        let missed = self
            .rows
            .iter()
            .filter(|row| row.goal != "none" && !row.holds);
        let missed: Vec<&str> = missed.map(|row| row.metric.as_str()).collect();
        ensure!(
            missed.is_empty(),
            "{} of {} rows do not hold: {}",
            missed.len(),
            self.rows.len(),
            missed.join(", ")
        );
        Ok(ExitCode::SUCCESS)
    }

    /// For a program.
    fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

fn shown(value: f64) -> String {
    let digits = match value.abs() {
        size if size.fract().abs() < 1e-9 => 0,
        size if size >= 100.0 => 1,
        _ => 4,
    };
    format!("{value:.digits$}")
}

/// The middle one; of an even number, the mean of the two in the middle.
pub fn median(values: &[f64]) -> Result<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = sorted.get(middle).context("no round was measured")?;
    if sorted.len().is_multiple_of(2) {
        return Ok((sorted[middle - 1] + upper) / 2.0);
    }
    Ok(*upper)
}

/// The smallest value that at least this share of them lies below; of the whole, the greatest.
pub fn percentile(values: &[f64], share: f64) -> Result<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().context("nothing was measured")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_does_not_hold_and_says_why() {
        let mut report = Report::new("sensor", "dev", true);
        report.add("a", "s", Goal::AtMost(1.0), Ok(0.5));
        report.add("b", "s", Goal::AtMost(1.0), Ok(1.5));
        report.add("c", "s", Goal::None, Err(anyhow::anyhow!("not installed")));
        report.add("d", "ratio", Goal::Below(5.0), Ok(f64::NAN));
        let holds: Vec<bool> = report.rows.iter().map(|row| row.holds).collect();
        assert_eq!(holds, [true, false, false, false]);
        let json = serde_json::to_value(&report).expect("JSON");
        assert_eq!(json["rows"][0]["goal"], "<= 1");
        assert_eq!(json["rows"][2]["value"], serde_json::Value::Null);
        assert_eq!(json["rows"][2]["why"], "not installed");
        assert!(report.table().contains("MISSED"));
    }

    #[test]
    fn the_middle_of_an_even_number_is_between() {
        assert!((median(&[4.0, 1.0, 2.0]).expect("three") - 2.0).abs() < 1e-9);
        assert!((median(&[1.0, 2.0]).expect("two") - 1.5).abs() < 1e-9);
        assert!(median(&[]).is_err());
    }
}
