//! From an order's signature at the controller to its effect on the host: the last packet, or the first one again.

use anyhow::{Result, ensure};
use serde_json::Value;

use super::packets::real_ns;
use super::stage::{HOST, LIMIT, Stage, millis, told_ns};
use super::{Bench, Goal, Report, add_times};
use crate::wait;

/// When an order had its effect, milliseconds.
pub struct Effect {
    /// After the controller signed it.
    pub after_order: f64,
    /// After the command that asked for it was started.
    pub after_command: f64,
}

/// Isolates and opens by order, many times.
pub fn run(bench: &mut Bench, report: &mut Report) -> Result<()> {
    let (mut shut, mut open) = (Vec::new(), Vec::new());
    for _ in 0..bench.size.orders {
        shut.push(isolate(&bench.stage)?.after_order);
        open.push(release(&bench.stage)?.after_order);
    }
    let goals = [Goal::None, bench.timed(Goal::AtMost(300.0))];
    add_times(report, "order_to_last_packet", &shut, goals);
    add_times(report, "order_to_first_packet", &open, goals);
    Ok(())
}

/// Isolates. The effect is the last packet, in or out.
pub fn isolate(stage: &Stage) -> Result<Effect> {
    let began_ns = real_ns()?;
    let order = order(stage, "isolate")?;
    ensure!(
        stage.is_shut_within(LIMIT),
        "the host is open after {order}"
    );
    let last_ns = stage.out.last_ns().max(stage.inward.last_ns());
    effect(&order, began_ns, last_ns)
}

/// Opens. The effect is the first packet out.
pub fn release(stage: &Stage) -> Result<Effect> {
    stage.forget();
    let began_ns = real_ns()?;
    let order = order(stage, "release")?;
    let first = || {
        Ok(stage
            .out
            .take()
            .into_iter()
            .map(|packet| packet.at_ns)
            .min())
    };
    let first_ns = wait::until("a packet from the opened host", LIMIT, first)?;
    stage.wait_open(LIMIT)?;
    effect(&order, began_ns, first_ns)
}

fn effect(order: &Value, began_ns: i64, effect_ns: i64) -> Result<Effect> {
    let order_ns = told_ns(order, "issued_at")?;
    ensure!(
        effect_ns > order_ns,
        "the effect came before the order: {order}"
    );
    Ok(Effect {
        after_order: millis(effect_ns - order_ns),
        after_command: millis(effect_ns - began_ns),
    })
}

/// Gives an order and waits for the host's word.
fn order(stage: &Stage, verb: &str) -> Result<Value> {
    let order = stage
        .fleet
        .ctl(&[verb, HOST, "--reason", "bench", "--wait"])?;
    ensure!(
        order["state"] == "done",
        "an order came to nothing: {order}"
    );
    Ok(order)
}
