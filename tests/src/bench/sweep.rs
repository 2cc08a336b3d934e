//! Steady rates of starting programs, under the agent and under the audit daemon.

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::process::{cpu_of, memory, settle};
use super::report::{Goal, Report};
use super::tool::{Running, Tool};
use super::work::Load;
use super::{Bench, count, counters, lost};

/// Bytes in a megabyte.
pub const MB: f64 = 1e6;
/// Programs a second that one thread of the generator starts at most.
const A_THREAD: u64 = 400;

struct Point {
    /// CPU seconds a second.
    share: f64,
    reached: f64,
    before: Value,
    after: Value,
    made: u64,
}

/// Runs the sweep and adds its rows.
pub fn run(bench: &Bench, report: &mut Report) {
    let ours = with(
        bench,
        Tool::Cordon,
        |running, bench, report| {
            steady(running, bench, report);
        },
        report,
    );
    let theirs = with(bench, Tool::Auditd, |_, _, _| {}, report);
    for (at, rate) in bench.size.rates.iter().enumerate() {
        let point = |points: &Result<Vec<Point>>, value: fn(&Point) -> f64| match points {
            Ok(points) => points.get(at).map(value).context("not reached"),
            Err(error) => Err(anyhow::anyhow!("{error:#}")),
        };
        let share = |points| point(points, |point| point.share * 100.0);
        let unit = "% of a core";
        report.add(
            &format!("cordon_cpu_at_{rate}"),
            unit,
            Goal::None,
            share(&ours),
        );
        report.add(
            &format!("auditd_cpu_at_{rate}"),
            unit,
            Goal::None,
            share(&theirs),
        );
        let ratio = share(&ours).and_then(|one| Ok(one / share(&theirs)?));
        let goal = bench.timed(Goal::AtMost(1.0));
        report.add(
            &format!("cpu_ratio_to_auditd_at_{rate}"),
            "ratio",
            goal,
            ratio,
        );
        let gone = point(&ours, |point| {
            (lost(&point.after) - lost(&point.before)) as f64
        });
        report.add(
            &format!("cordon_lost_at_{rate}"),
            "events",
            Goal::Exactly(0.0),
            gone,
        );
        let told = point(&ours, |point| {
            let told = count(&point.after, "exec") - count(&point.before, "exec");
            told as f64 / point.made as f64
        });
        report.add(
            &format!("cordon_execs_of_made_at_{rate}"),
            "ratio",
            Goal::AtLeast(1.0),
            told,
        );
        let reached = point(&ours, |point| point.reached);
        report.add(
            &format!("reached_rate_at_{rate}"),
            "exec/s",
            Goal::None,
            reached,
        );
    }
}

fn with(
    bench: &Bench,
    tool: Tool,
    then: impl FnOnce(&Running, &Bench, &mut Report),
    report: &mut Report,
) -> Result<Vec<Point>> {
    let running = tool.start(&bench.site, &bench.place)?;
    let points = bench
        .size
        .rates
        .iter()
        .map(|rate| point(bench, tool, &running, *rate))
        .collect::<Result<Vec<Point>>>();
    then(&running, bench, report);
    running.stop()?;
    points
}

fn point(bench: &Bench, tool: Tool, running: &Running, rate: u64) -> Result<Point> {
    bench
        .narrator
        .note(&format!("{rate} exec/s under {}", tool.name()));
    let run = format!("{}-{}-at-{rate}", bench.run, tool.name());
    let before = counters(running)?;
    let costs = running.costs();
    let cpu = cpu_of(&costs)?;
    let load = Load {
        rate,
        seconds: bench.size.rate_seconds,
        threads: rate.div_ceil(A_THREAD),
        ..Load::default()
    };
    let made = bench.place.generate(&run, load)?;
    settle(&costs)?;
    let used = cpu_of(&costs)?.saturating_sub(cpu).as_secs_f64();
    Ok(Point {
        share: used / made.seconds,
        reached: made.execs as f64 / made.seconds,
        before,
        after: counters(running)?,
        made: made.execs,
    })
}

/// The agent after it has worked for a while: memory, and how fast stories reached the judge.
fn steady(running: &Running, bench: &Bench, report: &mut Report) {
    let Running::Cordon(agent) = running else {
        return;
    };
    let resident = memory(agent.pid()).map(|memory| memory.resident as f64 / MB);
    report.add(
        "rss_steady",
        "MB",
        bench.timed(Goal::AtMost(60.0)),
        resident,
    );
    // The whole way from the stamp to the drop has 20 and 100 ms; this is its first part.
    for (metric, key, most) in [
        ("stamp_to_judge_p50", "p50_us", 20.0),
        ("stamp_to_judge_p99", "p99_us", 100.0),
    ] {
        let lag = agent.status().and_then(|status| {
            let micros = status["judge_lag"][key].as_f64();
            Ok(micros.context("the agent does not tell its lag")? / 1000.0)
        });
        report.add(metric, "ms", bench.timed(Goal::AtMost(most)), lag);
    }
}
