//! Waiting for an event with a deadline: the one place that sleeps.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const PAUSE: Duration = Duration::from_millis(25);

/// Asks `probe` until it answers `Some`, or fails after `limit` with the last obstacle.
/// An error of the probe is an obstacle, not the end: what is waited for may not be there yet.
pub fn until<T>(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        let obstacle = match probe() {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => "not yet".to_owned(),
            Err(error) => format!("{error:#}"),
        };
        if Instant::now() >= deadline {
            bail!("{what}: did not happen within {limit:?}; last answer: {obstacle}");
        }
        thread::sleep(PAUSE);
    }
}
