//! The agent is killed at random moments of isolating and opening: what the host is then, and how soon the controller
//! knows it rightly once the agent runs again.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::Value;

use super::attack::processes_of;
use super::orders::{isolate, release};
use super::packets::real_ns;
use super::stage::{HOST, LIMIT, Rules, SILENCE, Stage, told_ns};
use super::{Bench, Goal, Report, add_times};
use crate::bench::report::median;
use crate::record::Rng;
use crate::wait;

/// How long an open host may take to let a packet of every sender through, on a busy machine.
const OPEN_LIMIT: Duration = Duration::from_secs(5);
/// How long the controller may take to know.
const VIEW_GOAL: f64 = 5000.0;
/// Orders whose time is taken, to know when a kill falls into them.
const TRIES: usize = 5;
/// A kill falls between these shares of the usual time from the command to its effect, in percent.
const EARLIEST: u32 = 40;
const LATEST: u32 = 160;

/// What a host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Open,
    Shut,
    /// Rules that are not the isolation's, or packets that say otherwise than the rules.
    Neither,
}

/// One kill.
struct Killed {
    /// What the agent left.
    left: Standing,
    /// From the restart until the order was settled and the controller's view right, milliseconds; `None`: never.
    right_after: Option<f64>,
    is_order_done: bool,
}

/// The usual times from the command to its effect.
struct Usual {
    isolate: Duration,
    release: Duration,
}

/// Kills many times.
pub fn run(bench: &mut Bench, report: &mut Report) -> Result<()> {
    let usual = usual(&bench.stage)?;
    isolate(&bench.stage)?;
    let whole = Rules::read(bench.stage.host()?)?.context("an isolated host has no rules")?;
    let mut rng = Rng::named(bench.seed, "kills", 0);
    let mut all = Vec::new();
    for _ in 0..bench.size.kills {
        all.push(kill(bench, &mut rng, &usual, &whole)?);
    }
    if Rules::read(bench.stage.host()?)?.is_some() {
        bench.stage.release()?;
    }
    add_rows(bench, report, &all);
    Ok(())
}

fn usual(stage: &Stage) -> Result<Usual> {
    let (mut shut, mut open) = (Vec::new(), Vec::new());
    for _ in 0..TRIES {
        shut.push(isolate(stage)?.after_command);
        open.push(release(stage)?.after_command);
    }
    let middle =
        |times: &[f64]| Ok::<_, anyhow::Error>(Duration::from_secs_f64(median(times)? / 1000.0));
    Ok(Usual {
        isolate: middle(&shut)?,
        release: middle(&open)?,
    })
}

fn kill(bench: &mut Bench, rng: &mut Rng, usual: &Usual, whole: &Rules) -> Result<Killed> {
    let stage = &mut bench.stage;
    let (verb, usual) = match Rules::read(stage.host()?)? {
        Some(_) => ("release", usual.release),
        None => ("isolate", usual.isolate),
    };
    let moment = usual * rng.between(EARLIEST, LATEST) / 100;
    let agent = stage.fleet.take_agent(HOST)?;
    let fleet = &stage.fleet;
    let order = thread::scope(|scope| {
        let ordering = scope.spawn(|| fleet.ctl(&[verb, HOST, "--reason", "bench"]));
        thread::sleep(moment);
        agent.kill()?;
        let order = ordering.join();
        order.map_err(|_| anyhow!("the thread that gave an order panicked"))?
    })?;
    let order = order["id"].as_str().context("an order has no id")?;
    let left = standing(stage, whole)?;
    if left == Standing::Neither {
        let rules = Rules::read(stage.host()?)?;
        bench.narrator.note(&format!(
            "killed {moment:?} into {verb}: neither open nor shut: {rules:?}"
        ));
    }
    let (began, began_ns) = (Instant::now(), real_ns()?);
    stage.fleet.start_agent(HOST)?;
    let right = wait::until("the controller's right view", LIMIT, || {
        right_view(stage, order, began_ns)
    });
    if let Err(error) = &right {
        bench
            .narrator
            .note(&format!("killed {moment:?} into {verb}: {error:#}"));
    }
    let settled = right.ok();
    Ok(Killed {
        left,
        is_order_done: settled
            .as_ref()
            .is_some_and(|order| order["state"] == "done"),
        right_after: settled.map(|_| began.elapsed().as_secs_f64() * 1000.0),
    })
}

/// What the kernel does, by its rules and by packets, when what the agent had begun there has ended.
fn standing(stage: &Stage, whole: &Rules) -> Result<Standing> {
    let host = stage.host()?;
    wait::until("end of nft", LIMIT, || {
        let name = |pid: i32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let mut names = processes_of(host)?.into_iter().map(name);
        Ok(names.all(|name| name.trim() != "nft").then_some(()))
    })?;
    let rules = Rules::read(host)?;
    if rules.is_none() {
        let is_open = stage.wait_open(OPEN_LIMIT).is_ok();
        return Ok(if is_open {
            Standing::Open
        } else {
            Standing::Neither
        });
    }
    stage.forget();
    thread::sleep(SILENCE);
    let is_shut = stage.out.take().is_empty() && stage.inward.take().is_empty();
    let is_whole = rules.as_ref() == Some(whole);
    Ok(if is_shut && is_whole {
        Standing::Shut
    } else {
        Standing::Neither
    })
}

/// The order when it is settled, the host was heard since `since_ns`, and what the controller says of it is what the
/// kernel does.
fn right_view(stage: &Stage, order: &str, since_ns: i64) -> Result<Option<Value>> {
    let order = stage.fleet.ctl(&["order", order])?;
    let is_settled = matches!(
        order["state"].as_str(),
        Some("done" | "failed" | "refused" | "expired")
    );
    let host = stage.fleet.host(HOST)?;
    let is_heard = host["online"] == true && told_ns(&host, "last_seen_at")? >= since_ns;
    let told = host["isolation"]["state"].as_str();
    let is_told_shut = matches!(told, Some("applied" | "confirmed" | "unproven"));
    let is_shut = Rules::read(stage.host()?)?.is_some();
    ensure!(
        is_settled && is_heard && is_told_shut == is_shut,
        "order {}, host online {}, said to be {}, shut {is_shut}",
        order["state"],
        host["online"],
        host["isolation"]["state"]
    );
    Ok(Some(order))
}

fn add_rows(bench: &Bench, report: &mut Report, all: &[Killed]) {
    let count = |is: &dyn Fn(&Killed) -> bool| Ok(all.iter().filter(|one| is(one)).count() as f64);
    let mut add = |row: &str, goal, value| report.add(&format!("kill_{row}"), "kills", goal, value);
    add(
        "left_open",
        Goal::None,
        count(&|one| one.left == Standing::Open),
    );
    add(
        "left_shut",
        Goal::None,
        count(&|one| one.left == Standing::Shut),
    );
    let neither = count(&|one| one.left == Standing::Neither);
    add("left_neither_open_nor_shut", Goal::Exactly(0.0), neither);
    add(
        "orders_not_done",
        Goal::None,
        count(&|one| !one.is_order_done),
    );
    let is_late = |one: &Killed| one.right_after.is_none_or(|after| after > VIEW_GOAL);
    let goal = bench.timed(Goal::Exactly(0.0));
    add("view_wrong_after_5_s", goal, count(&is_late));
    let never = count(&|one| one.right_after.is_none());
    add("view_never_right", Goal::Exactly(0.0), never);
    let after: Vec<f64> = all.iter().filter_map(|one| one.right_after).collect();
    add_times(report, "restart_to_right_view", &after, [Goal::None; 2]);
}
