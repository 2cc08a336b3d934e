//! Somebody flushes the rules of an isolated host: what gets through until they are whole again.

use std::time::Duration;

use anyhow::Result;

use super::orders::{isolate, release};
use super::packets::{Packet, real_ns};
use super::stage::{Rules, Stage, millis, nft};
use super::{Bench, Goal, Report, add_times};
use crate::wait;

const BACK: Duration = Duration::from_secs(10);

/// One flush.
struct Flushed {
    /// From the start of the command to the last packet that got through, milliseconds; to the command's end, when none
    /// got through after it.
    taken: f64,
    packets: usize,
    is_whole: bool,
}

/// Flushes many times.
pub fn run(bench: &mut Bench, report: &mut Report) -> Result<()> {
    let stage = &bench.stage;
    isolate(stage)?;
    let whole = Rules::read(stage.host()?)?;
    let all: Result<Vec<Flushed>> = (0..bench.size.flushes)
        .map(|_| flush(stage, whole.as_ref()))
        .collect();
    let all = all?;
    release(stage)?;
    let taken: Vec<f64> = all.iter().map(|one| one.taken).collect();
    let goals = [Goal::None, bench.timed(Goal::AtMost(1000.0))];
    add_times(report, "flush_to_whole", &taken, goals);
    let not_whole = all.iter().filter(|one| !one.is_whole).count() as f64;
    report.add(
        "flush_not_whole_again",
        "flushes",
        Goal::Exactly(0.0),
        Ok(not_whole),
    );
    let packets = || all.iter().map(|one| one.packets);
    let (sum, most) = (packets().sum::<usize>(), packets().max().unwrap_or(0));
    report.add(
        "flush_packets_through",
        "packets",
        Goal::None,
        Ok(sum as f64),
    );
    report.add(
        "flush_packets_through_most",
        "packets",
        Goal::None,
        Ok(most as f64),
    );
    Ok(())
}

fn flush(stage: &Stage, whole: Option<&Rules>) -> Result<Flushed> {
    let host = stage.host()?;
    stage.forget();
    let began_ns = real_ns()?;
    nft(host, &["flush", "ruleset"])?;
    let flushed_ns = real_ns()?;
    let is_back = || {
        let is_shut = stage.is_shut_within(BACK);
        Ok((is_shut && Rules::read(host)?.as_ref() == whole).then_some(()))
    };
    let is_whole = wait::until("the rules again", BACK, is_back).is_ok();
    let packets: Vec<Packet> = [stage.out.take(), stage.inward.take()].concat();
    let last_ns = packets.iter().map(|packet| packet.at_ns).max();
    Ok(Flushed {
        taken: millis(last_ns.unwrap_or(0).max(flushed_ns) - began_ns),
        packets: packets.len(),
        is_whole,
    })
}
