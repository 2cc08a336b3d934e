//! From the kernel's stamp of the exec that the model called malicious to the last packet out of the host.

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::attack::{Attack, end_all};
use super::packets::{Packet, mono_ns, real_of_mono_ns};
use super::stage::{HOST, LIMIT, OUTSIDE, Rules, Stage, millis, told_ns};
use super::{Bench, Goal, Report, add_times};
use crate::record::Rng;
use crate::wait;

/// An attack that is still at large then was not judged malicious.
const AT_LARGE: Duration = Duration::from_secs(8);
/// Runs whose records are read together: the controller tells a thousand at a time.
const BATCH: usize = 40;
const RECORDS: &str = "1000";
/// After an outage the agent and its connection come back in their own time.
const RECORDS_LIMIT: Duration = Duration::from_mins(5);

/// A story that is judged often is put off by up to a second. One that is judged after the host was opened isolates it
/// again, for what the attack did before its end.
const PUT_OFF: Duration = Duration::from_millis(1100);
const MOST_AGAIN: usize = 10;
/// Before the last packet.
const SHORTLY_NS: i64 = 50_000_000;

/// One attack and the silence after it.
struct Run {
    /// From its begin until the host was open again, CLOCK_MONOTONIC nanoseconds.
    began_ns: i64,
    ended_ns: i64,
    /// From CLOCK_MONOTONIC to CLOCK_REALTIME, the least of before and after: no time is made shorter by it.
    to_real_ns: i64,
    /// Arrival of the last packet, CLOCK_REALTIME nanoseconds.
    last_ns: i64,
    /// The longest pause between two packets shortly before: the last one may have been this much earlier than the drop.
    longest_gap_ns: i64,
    isolated_again: usize,
}

/// What one contained attack took, milliseconds.
struct Contained {
    exec_to_last_packet: f64,
    judging: f64,
    /// By the agent's own account.
    told_by_agent: Option<f64>,
    longest_gap: f64,
    isolated_again: usize,
    /// The story was a program's start: it had neither made a process nor called anybody.
    is_judged_at_exec: bool,
}

/// With the controller within reach.
pub fn reachable(bench: &mut Bench, report: &mut Report) -> Result<()> {
    measure(bench, report, "reachable", |_| Ok(()), |_| Ok(()))
}

/// With the controller's cable pulled. Records are read when it is back.
pub fn unreachable(bench: &mut Bench, report: &mut Report) -> Result<()> {
    let cut = |stage: &Stage| stage.fleet.lab().cut("controller");
    let mend = |stage: &Stage| stage.fleet.lab().mend("controller");
    measure(bench, report, "unreachable", cut, mend)
}

fn measure(
    bench: &Bench,
    report: &mut Report,
    name: &str,
    before: impl Fn(&Stage) -> Result<()>,
    after: impl Fn(&Stage) -> Result<()>,
) -> Result<()> {
    let mut contained = Vec::new();
    let mut rng = Rng::named(bench.seed, name, 0);
    let mut left = bench.size.attacks;
    while left > 0 {
        let now = left.min(BATCH);
        left -= now;
        before(&bench.stage)?;
        let runs: Result<Vec<Option<Run>>> = (0..now).map(|_| attack(bench, &mut rng)).collect();
        after(&bench.stage)?;
        let runs: Vec<Run> = runs?.into_iter().flatten().collect();
        contained.extend(read_records(&bench.stage, &runs)?);
        bench.narrator.note(&format!("{name}: {left} attacks left"));
    }
    add_rows(bench, report, name, &contained);
    Ok(())
}

fn attack(bench: &Bench, rng: &mut Rng) -> Result<Option<Run>> {
    let stage = &bench.stage;
    let (host, outside) = (stage.host()?, stage.fleet.node(OUTSIDE)?);
    let attack = Attack::draw(rng, outside);
    stage.forget();
    let (offset_ns, began_ns) = (real_of_mono_ns()?, mono_ns()?);
    let held = attack.begin(outside, host)?;
    let is_shut = stage.is_shut_within(AT_LARGE);
    // Before the host is opened: what is left of an attack would go on.
    end_all(host)?;
    drop(held);
    if !is_shut {
        let text = &attack.text;
        bench
            .narrator
            .note(&format!("not judged malicious: {text}"));
        return Ok(None);
    }
    let last_ns = stage.out.last_ns();
    let longest_gap_ns = longest_gap(&stage.out.take(), last_ns);
    let isolated_again = open(stage)?;
    Ok(Some(Run {
        began_ns,
        ended_ns: mono_ns()?,
        to_real_ns: offset_ns.min(real_of_mono_ns()?),
        last_ns,
        longest_gap_ns,
        isolated_again,
    }))
}

/// Opens the host until it stays open; answers how often it was isolated again.
fn open(stage: &Stage) -> Result<usize> {
    for again in 0..MOST_AGAIN {
        stage.release()?;
        thread::sleep(PUT_OFF);
        if Rules::read(stage.host()?)?.is_none() {
            stage.wait_open(LIMIT)?;
            return Ok(again);
        }
    }
    bail!("the host is isolated again and again")
}

/// How well a packet's arrival tells that packets could pass, nanoseconds.
fn longest_gap(packets: &[Packet], last_ns: i64) -> i64 {
    let times = packets.iter().map(|packet| packet.at_ns);
    let mut times: Vec<i64> = times.filter(|at| last_ns - at <= SHORTLY_NS).collect();
    times.sort_unstable();
    let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
    gaps.max().unwrap_or(SHORTLY_NS)
}

/// Waits until the controller has a record of each, which it may have had to wait for.
fn read_records(stage: &Stage, runs: &[Run]) -> Result<Vec<Contained>> {
    wait::until("the records of all runs", RECORDS_LIMIT, || {
        let events = stage
            .fleet
            .ctl(&["events", "--host", HOST, "--limit", RECORDS])?;
        let events = events.as_array().context("events are no list")?;
        let all = runs.iter().map(|run| read_record(run, events));
        all.collect::<Result<_>>().map(Some)
    })
}

fn read_record(run: &Run, events: &[Value]) -> Result<Contained> {
    let of_kind = |kind: &'static str| events.iter().filter(move |event| event["kind"] == kind);
    let stamp = |event: &Value| event["body"]["event_mono_ns"].as_i64().unwrap_or(0);
    let detection = of_kind("detection")
        .filter(|event| event["body"]["decision"] == "isolate")
        .filter(|event| (run.began_ns..=run.ended_ns).contains(&stamp(event)))
        .min_by_key(|event| stamp(event))
        .context("an isolation has no detection")?;
    let body = &detection["body"];
    let taken_ns = run.last_ns - stamp(detection) - run.to_real_ns;
    ensure!(
        taken_ns > 0,
        "the last packet arrived {} ms before the exec",
        -millis(taken_ns)
    );
    let at_ns = told_ns(detection, "at")?;
    let end_ns = run.ended_ns + run.to_real_ns;
    let applied = of_kind("isolation")
        .filter(|event| event["body"]["state"] == "applied")
        .filter(|event| event["body"]["tree"] == body["tree"])
        .filter_map(|event| Some((told_ns(event, "at").ok()?, event)))
        .filter(|(at, _)| (at_ns..=end_ns).contains(at))
        .min_by_key(|(at, _)| *at);
    let drop_micros = applied.and_then(|(_, event)| event["body"]["event_to_drop_micros"].as_f64());
    let story = &body["story"];
    let list = |field: &str| story[field].as_array().map_or(&[][..], Vec::as_slice);
    // What came into the web server is known of all that it made.
    let has_called = list("connections")
        .iter()
        .any(|one| one["direction"] == "out");
    Ok(Contained {
        exec_to_last_packet: millis(taken_ns),
        judging: body["verdict"]["micros"].as_f64().context("no micros")? / 1000.0,
        told_by_agent: drop_micros.map(|micros| micros / 1000.0),
        longest_gap: millis(run.longest_gap_ns),
        isolated_again: run.isolated_again,
        is_judged_at_exec: list("children").is_empty() && !has_called,
    })
}

fn add_rows(bench: &Bench, report: &mut Report, name: &str, contained: &[Contained]) {
    let mut count = |row: &str, goal: Goal, value: usize| {
        let row = format!("{name}_{row}");
        report.add(&row, "attacks", goal, Ok(value as f64));
    };
    count("attacks", Goal::None, bench.size.attacks);
    let not_judged = bench.size.attacks - contained.len();
    count("attacks_not_judged", Goal::None, not_judged);
    let at_exec = contained.iter().filter(|one| one.is_judged_at_exec);
    count("attacks_judged_at_exec", Goal::None, at_exec.count());
    let again = contained.iter().map(|one| one.isolated_again).sum();
    count("attacks_isolated_again", Goal::Exactly(0.0), again);
    let each = |of: fn(&Contained) -> f64| contained.iter().map(of).collect::<Vec<_>>();
    let goals = [
        bench.timed(Goal::AtMost(20.0)),
        bench.timed(Goal::AtMost(100.0)),
    ];
    let taken = each(|one| one.exec_to_last_packet);
    add_times(
        report,
        &format!("{name}_exec_to_last_packet"),
        &taken,
        goals,
    );
    let compare = [Goal::None; 2];
    let gaps = each(|one| one.longest_gap);
    add_times(report, &format!("{name}_longest_gap"), &gaps, compare);
    add_times(
        report,
        &format!("{name}_judging"),
        &each(|one| one.judging),
        compare,
    );
    let share: f64 = each(|one| one.judging).iter().sum::<f64>() / taken.iter().sum::<f64>();
    report.add(
        &format!("{name}_judging_share"),
        "ratio",
        Goal::None,
        Ok(share),
    );
    let told: Vec<f64> = contained
        .iter()
        .filter_map(|one| one.told_by_agent)
        .collect();
    add_times(report, &format!("{name}_told_by_agent"), &told, compare);
}
