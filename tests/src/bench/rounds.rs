//! The fixed workload under each tool, in alternating rounds.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, anyhow};

use super::generate::Made;
use super::process::{cpu_of, settle};
use super::report::{Goal, Report, median};
use super::tool::{Running, TOOLS, Tool};
use super::work::Load;
use super::{Bench, count, counters};

/// What one tool did in one round.
#[derive(Clone, Debug)]
struct Round {
    made: Made,
    tool_cpu: f64,
    lost: u64,
    /// Programs that the tool told of, where that can be counted.
    told: Option<u64>,
    /// Changes of files that the agent told of.
    files: u64,
}

/// A tool that failed once is not asked again; its rows say why.
type Rounds = BTreeMap<Tool, Result<Vec<Round>, String>>;

/// Runs the rounds and adds their rows.
pub fn run(bench: &Bench, report: &mut Report) {
    let size = &bench.size;
    let mut rounds: Rounds = TOOLS.map(|tool| (tool, Ok(Vec::new()))).into();
    for number in 0..size.rounds {
        // Another order each time, so that nobody always follows the same one.
        for at in 0..TOOLS.len() {
            let tool = TOOLS[(at + number) % TOOLS.len()];
            let Some(Ok(done)) = rounds.get_mut(&tool) else {
                continue;
            };
            bench
                .narrator
                .note(&format!("round {}: {}", number + 1, tool.name()));
            match round(bench, tool, number) {
                Ok(round) => done.push(round),
                Err(error) => {
                    bench.narrator.note(&format!("{}: {error:#}", tool.name()));
                    rounds.insert(tool, Err(format!("{error:#}")));
                }
            }
        }
    }
    costs(&rounds, bench, report);
    slowdowns(&rounds, bench, report);
    told(&rounds, report);
}

fn round(bench: &Bench, tool: Tool, number: usize) -> Result<Round> {
    let run = format!("{}-{}-{number}", bench.run, tool.name());
    let running = tool.start(&bench.site, &bench.place)?;
    let before = counters(&running)?;
    let costs = running.costs();
    let cpu = cpu_of(&costs)?;
    let made = bench.place.generate(&run, bench.size.work)?;
    settle(&costs)?;
    let tool_cpu = cpu_of(&costs)?.saturating_sub(cpu).as_secs_f64();
    let after = counters(&running)?;
    let told = match &running {
        Running::Cordon(_) => Some(count(&after, "exec") - count(&before, "exec")),
        Running::Auditd(auditd) => Some(auditd.programs_logged(&run)?),
        _ => None,
    };
    running.stop()?;
    Ok(Round {
        made,
        tool_cpu,
        lost: super::lost(&after) - super::lost(&before),
        told,
        files: count(&after, "file") - count(&before, "file"),
    })
}

fn of(rounds: &Rounds, tool: Tool) -> Result<&[Round]> {
    match rounds.get(&tool) {
        Some(Ok(done)) => Ok(done),
        Some(Err(why)) => Err(anyhow!("{why}")),
        None => Err(anyhow!("{} was not measured", tool.name())),
    }
}

fn costs(rounds: &Rounds, bench: &Bench, report: &mut Report) {
    let Load {
        execs,
        connects,
        files,
        ..
    } = bench.size.work;
    bench.narrator.note(&format!(
        "a round: {execs} programs, {connects} connections, {files} files"
    ));
    for tool in TOOLS.into_iter().filter(|tool| *tool != Tool::Nothing) {
        let name = tool.name();
        let cpu = of(rounds, tool)
            .and_then(|done| median(&done.iter().map(|round| round.tool_cpu).collect::<Vec<_>>()));
        let (goal, ratio_goal) = if tool == Tool::Cordon {
            (Goal::Below(0.35), Goal::AtMost(1.0))
        } else {
            (Goal::None, Goal::None)
        };
        report.add(&format!("{name}_cpu"), "s", bench.timed(goal), cpu);
        if tool != Tool::Auditd {
            let ratio = paired(rounds, tool, Tool::Auditd, |round| round.tool_cpu);
            let metric = match tool {
                Tool::Cordon => "tool_cpu_ratio_to_auditd".to_owned(),
                _ => format!("{name}_cpu_ratio_to_auditd"),
            };
            report.add(&metric, "ratio", bench.timed(ratio_goal), ratio);
        }
    }
}

/// Median over the rounds of one tool's value by the other's of the same round.
fn paired(rounds: &Rounds, tool: Tool, base: Tool, value: impl Fn(&Round) -> f64) -> Result<f64> {
    let (ours, theirs) = (of(rounds, tool)?, of(rounds, base)?);
    let ratios = ours.iter().zip(theirs);
    let ratios: Vec<f64> = ratios
        .map(|(one, other)| value(one) / value(other))
        .collect();
    median(&ratios)
}

fn slowdowns(rounds: &Rounds, bench: &Bench, report: &mut Report) {
    let wall = |round: &Round| round.made.seconds;
    let cpu = |round: &Round| round.made.cpu_seconds;
    for tool in TOOLS.into_iter().filter(|tool| *tool != Tool::Nothing) {
        let name = tool.name();
        let slower = paired(rounds, tool, Tool::Nothing, wall).map(percent);
        let goal = match tool {
            Tool::Cordon => Goal::Below(5.0),
            _ => Goal::None,
        };
        let metric = format!("{name}_workload_slowdown");
        report.add(&metric, "%", bench.timed(goal), slower);
        let dearer = paired(rounds, tool, Tool::Nothing, cpu).map(percent);
        let metric = format!("{name}_workload_cpu_increase");
        report.add(&metric, "%", Goal::None, dearer);
    }
    let against = paired(rounds, Tool::Cordon, Tool::Auditd, wall);
    report.add(
        "workload_time_ratio_to_auditd",
        "ratio",
        bench.timed(Goal::Below(1.0)),
        against,
    );
}

fn percent(ratio: f64) -> f64 {
    (ratio - 1.0) * 100.0
}

fn told(rounds: &Rounds, report: &mut Report) {
    let share = |tool| -> Result<f64> {
        let done = of(rounds, tool)?;
        let made: u64 = done.iter().map(|round| round.made.execs).sum();
        let told: Option<u64> = done.iter().map(|round| round.told).sum();
        let told = told.context("this tool does not tell them apart")?;
        Ok(told as f64 / made as f64)
    };
    report.add(
        "cordon_daemon_execs_of_made",
        "ratio",
        Goal::AtLeast(1.0),
        share(Tool::Cordon),
    );
    report.add(
        "auditd_execs_of_made",
        "ratio",
        Goal::None,
        share(Tool::Auditd),
    );
    let files = of(rounds, Tool::Cordon).map(|done| {
        let made: u64 = done.iter().map(|round| round.made.files).sum();
        done.iter().map(|round| round.files).sum::<u64>() as f64 / made as f64
    });
    report.add("cordon_file_events_of_made", "a file", Goal::None, files);
    let lost = of(rounds, Tool::Cordon)
        .map(|done| done.iter().map(|round| round.lost).sum::<u64>() as f64);
    report.add("cordon_events_lost", "events", Goal::Exactly(0.0), lost);
}
