//! What the controller is still to hear when the agent ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::sync::{mpsc, watch};

use crate::config::Config;
use crate::daemon;
use crate::host::HostFacts;
use crate::identity::Identity;
use crate::pins::Pins;
use crate::policy_store::PolicyStore;
use crate::uplink::{Presence, Uplink};
use crate::vitals::Vitals;

/// How long a controller that is there may take to have the last records of a daemon.
const DAEMON_LIMIT: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(20);
const DOWNLINK: usize = 16;

/// That it ends the controller is to hear now: what else waits in the outbox can wait for the next start.
pub async fn wait_for_delivery(vitals: &Vitals) {
    let until = Instant::now() + DAEMON_LIMIT;
    while vitals.is_connected() && vitals.spool_stats().records > 0 && Instant::now() < until {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Sends what waits in the outbox while no daemon does, for at most `limit`. Says how many records still wait.
pub fn deliver(config: &Config, limit: Duration) -> Result<u64> {
    let identity = Identity::load(&config.state_dir)?;
    let facts = HostFacts::read().context("cannot read the boot id: mount /proc")?;
    let spool = Arc::new(daemon::open_spool(config, &facts)?);
    let counts = Arc::default();
    let vitals = Arc::new(Vitals::new(
        counts,
        Arc::clone(&spool),
        config.spool_max_bytes,
    ));
    let policy = PolicyStore::load(&config.state_dir, &identity);
    let (presence, presence_seen) = watch::channel(Presence {
        policy_version: policy.version(),
        ..Presence::default()
    });
    let (down, downlink) = mpsc::channel(DOWNLINK);
    let uplink = Uplink {
        state_dir: config.state_dir.clone(),
        presence: presence_seen,
        // Nobody is there who would isolate the host.
        places: watch::channel(None).1,
        downlink: down,
        heartbeat: config.heartbeat,
        pins: Arc::new(Pins::load(&config.state_dir, &identity.controller)),
        identity,
        facts,
        spool: Arc::clone(&spool),
        written: Arc::default(),
        vitals,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let until = Instant::now() + limit;
    let sent = async {
        while spool.stats().records > 0 && Instant::now() < until {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    runtime.block_on(async {
        tokio::select! {
            () = sent => {}
            () = uplink.run() => {}
        }
    });
    // A session lasts as long as there is an engine to hear what comes down.
    drop((downlink, presence));
    Ok(spool.stats().records)
}
