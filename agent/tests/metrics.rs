//! What the judging thread tells of itself.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use cordon_agent::judging::{self, Counts};
use cordon_agent::metrics::CacheStatus;
use cordon_behavior::event::FileIdentity;
use cordon_judge::{Judge, Options};
use cordon_model::Model;
use cordon_sensor::{Event, EventBody, Exec, ProcessKey, mono_ns};
use tokio::sync::watch;

const DEADLINE: Duration = Duration::from_secs(20);

fn exec(pid: u32, argument: &str) -> Event {
    let exec = Exec {
        exe: "/usr/bin/ls".to_owned(),
        argv: vec!["ls".to_owned(), argument.to_owned()],
        identity: Some(FileIdentity::default()),
        ..Exec::default()
    };
    Event {
        mono_ns: mono_ns(),
        wall_ns: 0,
        process: ProcessKey { pid, start_ns: 1 },
        cgroup_id: 0,
        container: None,
        body: EventBody::Exec(Box::new(exec)),
    }
}

fn loss() -> Event {
    let body = EventBody::Loss {
        source: "ring/exec".to_owned(),
        count: 3,
    };
    Event {
        body,
        ..exec(0, "")
    }
}

#[test]
fn stories_are_timed_and_caches_tell_how_full_they_are() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("model/artifact");
    let model = Arc::new(Model::load(&model).unwrap());
    let counts = Arc::new(Counts::default());
    let (_judge_by, thresholds) = watch::channel(None);
    let (out, _findings) = judging::channel();
    let judge = Judge::new(model, Options::default());
    let intake = judging::start(Some(judge.into()), 100, thresholds, &counts, out).unwrap();
    for pid in 1..=200 {
        intake.take(exec(pid, "-l"));
        // The sensor counts what it lost; to the judge it is nothing.
        intake.take(loss());
    }
    let end = Instant::now() + DEADLINE;
    // The gauges are told last of all.
    while counts.caches()[2].entries < 200 {
        assert!(Instant::now() < end, "{:?}", counts.caches());
        std::thread::yield_now();
    }
    assert_eq!(counts.judged.load(Ordering::Relaxed), 200);
    assert_eq!(counts.overflowed.load(Ordering::Relaxed), 0);
    let lag = counts.lag.summary();
    assert_eq!(lag.count, 200);
    assert!(
        lag.p50_us <= lag.p99_us && lag.p99_us <= lag.max_us,
        "{lag:?}"
    );
    // Nothing was bad enough to be hashed, or to be held against its tree, and nothing waits any more.
    let is_used = |cache: &CacheStatus| {
        let unused = ["digests", "quiet_stories", "tree_risks", "waiting_stories"];
        !unused.contains(&cache.name.as_str())
    };
    for cache in counts.caches().into_iter().filter(is_used) {
        assert!(cache.entries > 0 && cache.bytes > 0, "{cache:?}");
        assert!(cache.bytes <= cache.limit_bytes, "{cache:?}");
    }
    // 200 processes that say the same word for word are one verdict.
    assert_eq!(counts.caches()[1].entries, 1);
}
