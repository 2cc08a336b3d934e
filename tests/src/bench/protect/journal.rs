//! The journal of a boot that is over, `--output=short-unix`: when systemd began to stop the agent, and when it had.

use anyhow::{Context as _, Result, ensure};

const BEGINS: &str = ": Stopping cordon-agent.service";
const ENDS: &str = ": Stopped cordon-agent.service";
const BY_ITSELF: &str = ": cordon-agent.service: Deactivated successfully.";

/// Seconds that the last stop took. One that systemd had to end by SIGKILL is an error.
pub fn last_stop(log: &str) -> Result<f64> {
    let lines: Vec<&str> = log.lines().collect();
    let begin = lines.iter().rposition(|line| line.contains(BEGINS));
    let stop = &lines[begin.context("the agent was not stopped in that boot")?..];
    let end = stop.iter().find(|line| line.contains(ENDS));
    let end = end.context("its stop had no end in that boot")?;
    let by_itself = stop.iter().any(|line| line.contains(BY_ITSELF));
    ensure!(by_itself, "it did not end by itself");
    Ok(seconds(end)? - seconds(stop[0])?)
}

fn seconds(line: &str) -> Result<f64> {
    let stamp = line.split_whitespace().next().unwrap_or_default();
    stamp.parse().with_context(|| format!("no time: {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KILLED: &str = "\
        1764192520.5 ep1 systemd[1]: Stopping cordon-agent.service - Cordon endpoint agent...\n\
        1764192535.6 ep1 systemd[1]: cordon-agent.service: State 'stop-sigterm' timed out. Killing.\n\
        1764192535.9 ep1 systemd[1]: cordon-agent.service: Failed with result 'timeout'.\n\
        1764192536.0 ep1 systemd[1]: Stopped cordon-agent.service - Cordon endpoint agent.\n";
    const HEEDED: &str = "\
        1764192560.25 ep1 systemd[1]: Stopping cordon-agent.service - Cordon endpoint agent...\n\
        1764192561.10 ep1 cordon-agent[571]: the agent ends\n\
        1764192561.50 ep1 systemd[1]: cordon-agent.service: Deactivated successfully.\n\
        1764192561.75 ep1 systemd[1]: Stopped cordon-agent.service - Cordon endpoint agent.\n";

    #[test]
    fn the_last_stop_counts_and_one_by_sigkill_is_none() {
        let both = [KILLED, HEEDED].concat();
        assert!((last_stop(&both).unwrap() - 1.5).abs() < 1e-6);
        let why = |log: &str| last_stop(log).unwrap_err().to_string();
        assert_eq!(why(KILLED), "it did not end by itself");
        assert_eq!(why(""), "the agent was not stopped in that boot");
        let cut = &HEEDED[..HEEDED.rfind("1764192561.75").unwrap()];
        assert_eq!(why(cut), "its stop had no end in that boot");
    }
}
