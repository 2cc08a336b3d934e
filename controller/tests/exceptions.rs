//! Exceptions that are proposed from what was detected: no further than they say, and not over what people called malicious.

mod reported;
mod site;

use std::fs;

use cordon_proto::id::HostId;
use cordon_rules::Exceptions;
use reported::{Reported, detections};
use serde_json::{Value, json};
use site::Site;

const SHA: &str = "abababababababababababababababababababababababababababababababab";

fn rclone(target: &str, uid: u32) -> Value {
    json!({"id": "1",
        "process": {"exe": "/usr/bin/rclone", "argv": ["rclone", "copy", "/srv", target], "uid": uid},
        "ancestors": [{"exe": "/opt/jobs/bin/scheduler", "argv": ["scheduler"]}],
        "dns": ["files.evil.example"]})
}

/// Two hosts of one group; the same job on both, another by hand, and shell text.
async fn fleet() -> (Site, HostId, Vec<(i64, String)>) {
    let mut site = Site::init();
    let mut reported = Reported::open(&site).await;
    let (one, two) = (
        reported.host("web\u{1b}[2J").await,
        reported.host("db").await,
    );
    let hash = json!({"exe_sha256": SHA});
    let nightly = rclone("s3:nightly", 998);
    reported.detection(one, "a:1:1", &nightly, &hash).await;
    reported.detection(two, "b:2:2", &nightly, &hash).await;
    let by_hand = rclone("s3:elsewhere", 0);
    reported.detection(one, "c:3:3", &by_hand, &hash).await;
    let text = json!({"id": "4", "command": "rclone copy /srv s3:x"});
    reported.detection(one, "d:4:4", &text, &json!({})).await;
    reported.close().await;
    site.serve();
    let mut found = detections(&site);
    found.reverse();
    (site, one, found)
}

fn propose<'a>(of: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let usual = [
        "exception",
        "propose",
        of,
        "--scope",
        "model",
        "--expires",
        "30d",
        "--reason",
        "copies at noon",
    ];
    [&usual[..], more].concat()
}

#[tokio::test]
async fn a_proposal_is_the_narrowest_that_fits_and_says_what_it_would_have_matched() {
    let (site, host, found) = fleet().await;
    let told = site.ctl(&propose(&found[0].1, &[]));
    let exception = &told["exception"];
    let wanted = json!({
        "exe": "/usr/bin/rclone", "argv": ["rclone", "copy", "/srv", "s3:nightly"], "sha256": SHA,
        "uid": 998, "parent": "/opt/jobs/bin/scheduler", "host": host,
    });
    assert_eq!(exception["when"], wanted);
    assert_eq!(
        (&exception["scope"], &exception["author"]),
        (&json!("model"), &json!("token:local"))
    );
    assert_eq!(
        (&told["holds"]["stories"], &told["holds"]["hosts"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(told["holds"]["examples"][0]["detection"], found[0].0);
    assert_eq!(told["history"]["stories"], 4);
    assert_eq!(
        (&told["file"], &told["unknown"]),
        (&Value::Null, &json!([]))
    );

    let stories = |more: &[&str]| {
        let number = found[0].0.to_string();
        let told = site.ctl(&propose(&number, more));
        (
            told["holds"]["stories"].as_u64().unwrap(),
            told["exception"]["when"].clone(),
        )
    };
    let (held, when) = stories(&["--on", "group"]);
    assert_eq!((held, &when["group"]), (2, &json!("servers")));
    let (held, when) = stories(&["--on", "site", "--without", "argv,uid"]);
    assert_eq!(held, 3);
    assert_eq!(
        when.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["exe", "parent", "sha256"]
    );
    let (held, _) = stories(&["--without", "exe,parent"]);
    assert_eq!(held, 1);
    // Its own story is tried however short the history is.
    assert_eq!(stories(&["--most", "1"]).0, 1);
}

#[tokio::test]
async fn what_cannot_be_excepted_is_refused_with_the_reason() {
    let (site, _, found) = fleet().await;
    let refused = |of: &str, more: &[&str]| site.ctl_fails(&propose(of, more));
    let text = found[3].0.to_string();
    let (code, words) = refused(&text, &[]);
    assert_eq!(code, 2);
    assert!(words.contains("shell text"), "{words}");
    let (code, words) = refused(&found[0].1, &["--without", "exe,sha256"]);
    assert_eq!(code, 2);
    assert!(words.contains("neither exe nor sha256"), "{words}");
    for (nothing, code, why) in [
        ("999", 4, "no detection 999"),
        ("x", 2, "neither an incident"),
        (
            "00000000-0000-7000-8000-000000000000",
            4,
            "nothing was detected",
        ),
    ] {
        let (found, words) = refused(nothing, &[]);
        assert_eq!(found, code, "{words}");
        assert!(words.contains(why), "{words}");
    }
    let scoped = |scope: &str, expires: &str| {
        let arguments = [
            "exception",
            "propose",
            &found[0].1,
            "--scope",
            scope,
            "--expires",
            expires,
            "--reason",
            "x",
        ];
        site.ctl_fails(&arguments)
    };
    for (scope, expires, wanted) in [
        ("rule:none-such", "30d", "no rule \"none-such\""),
        ("ioc:203.0.113.9", "30d", "not in this story"),
        ("ioc:10.0.0.0/4", "30d", "10.0.0.0/4"),
        ("everything", "30d", "model, rule:ID or ioc:INDICATOR"),
        ("model", "400d", "366 days"),
        ("model", "2020-01-01", "expires must be after created"),
    ] {
        let (code, words) = scoped(scope, expires);
        assert_eq!(code, 2, "{words}");
        assert!(words.contains(wanted), "{scope}: {words}");
    }
}

#[tokio::test]
async fn an_indicator_and_a_rule_of_the_site_are_excepted_only_where_they_matched() {
    let (site, _, found) = fleet().await;
    let rule = site.file(
        "own.yml",
        "title: Copies away\nid: own-1\nlevel: high\nlogsource: {product: linux, category: process_creation}\n\
         detection:\n  s:\n    Image|endswith: /rclone\n    CommandLine|contains: nightly\n  condition: s\n",
    );
    let scoped = |of: &str, scope: &str, more: &[&str]| {
        let usual = [
            "exception",
            "propose",
            of,
            "--scope",
            scope,
            "--expires",
            "30d",
            "--reason",
            "x",
            "--on",
            "site",
            "--without",
            "argv,uid,parent,sha256",
        ];
        [&usual[..], more]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let run = |arguments: Vec<String>| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        site.ctl(&arguments)
    };
    let rules = rule.to_str().unwrap();
    let told = run(scoped(&found[0].1, "rule:own-1", &["--rules", rules]));
    assert_eq!(told["exception"]["scope"], json!({"rule": "own-1"}));
    // The same program by hand did not match the rule, so nothing of it would have been hidden.
    assert_eq!(told["holds"]["stories"], 2);
    let told = run(scoped(&found[0].1, "ioc:*.Evil[.]example", &[]));
    assert_eq!(
        told["exception"]["scope"],
        json!({"ioc": "*.Evil[.]example"})
    );
    assert_eq!(told["holds"]["stories"], 3);
    let number = found[2].0.to_string();
    let elsewhere = scoped(&number, "rule:own-1", &["--rules", rules]);
    let elsewhere: Vec<&str> = elsewhere.iter().map(String::as_str).collect();
    let (_, words) = site.ctl_fails(&elsewhere);
    assert!(words.contains("rule own-1 is not in this story"), "{words}");
}

#[tokio::test]
async fn what_people_called_malicious_is_not_hidden_by_accident() {
    let (site, _, found) = fleet().await;
    let say = |of: &str, label: &str| {
        site.ctl(&["incidents", "verdict", of, label, "--reason", "looked at"]);
    };
    say(&found[1].1, "--malicious");
    let file = site.data().join("exceptions.json");
    let out = file.to_str().unwrap();
    let wide = ["--on", "group", "--out", out];
    let (code, words) = site.ctl_fails(&propose(&found[0].1, &wide));
    assert_eq!(code, 8);
    assert!(
        words.contains("1 stories that people called malicious"),
        "{words}"
    );
    assert!(
        words.contains("db") && words.contains(&found[1].1),
        "{words}"
    );
    assert!(!file.exists());
    // On its own host it hides nothing of the kind.
    site.ctl(&propose(&found[0].1, &["--out", out]));
    let forced = site.ctl(&propose(&found[0].1, &[&wide[..], &["--force"]].concat()));
    assert_eq!(forced["hides"]["stories"], 1);
    assert_eq!(forced["holds"]["malicious"], 1);
    let listed = site.ctl(&["exception", "list", out]);
    assert_eq!(listed["exceptions"].as_array().unwrap().len(), 2);
    // Its own story, too, however old.
    say(&found[0].1, "--malicious");
    let (code, _) = site.ctl_fails(&propose(&found[0].1, &["--most", "1"]));
    assert_eq!(code, 8);
}

#[tokio::test]
async fn what_is_written_an_agent_reads_and_a_file_with_a_mistake_stays_as_it_is() {
    let (site, host, found) = fleet().await;
    let file = site.data().join("exceptions.json");
    let out = file.to_str().unwrap();
    let hostile = "'\u{1b}[2J\u{202e}\",\"when\":{}}\n<script>";
    let told = site.ctl(&propose(
        &found[0].1,
        &["--out", out, "--author", "kim@example.net\u{1b}[31m"],
    ));
    let more = [
        "exception",
        "propose",
        &found[2].1,
        "--scope",
        "model",
        "--expires",
        "2h",
        "--reason",
        hostile,
        "--out",
        out,
    ];
    site.ctl(&more);
    let bytes = fs::read(&file).unwrap();
    let mut read = Exceptions::default();
    read.file("exceptions.json", &bytes);
    assert_eq!(read.problems(), &[]);
    assert_eq!(read.list().len(), 2);
    assert_eq!(json!(read.list()[0].form()), told["exception"]);
    assert_eq!(read.list()[1].form().reason, hostile);

    let again = site.ctl_fails(&propose(&found[0].1, &["--out", out]));
    assert_eq!(again.0, 1);
    assert!(
        again.1.contains("there is one of this id already"),
        "{}",
        again.1
    );
    assert_eq!(fs::read(&file).unwrap(), bytes);
    let good = site.ctl(&["exception", "check", out]);
    assert_eq!((&good["exceptions"], &good["over"]), (&json!(2), &json!(0)));
    let shown = site::program("cordonctl", &["exception", "list", out])
        .output()
        .unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(
        shown.contains("in force") && shown.contains(&host.to_string()),
        "{shown}"
    );
    assert!(!shown.contains(['\u{1b}', '\u{202e}']), "{shown}");
    assert_eq!(shown.lines().count(), 3, "{shown}");

    let broken = site.file(
        "broken.json",
        r#"{"version":1,"exceptions":[{"id":"x","scope":"all"}]}"#,
    );
    let path = broken.to_str().unwrap();
    for command in [
        &["exception", "check", path][..],
        &["exception", "list", path],
    ] {
        let out = site.try_ctl(command);
        assert_eq!(out.status.code(), Some(1));
        let told: Value = serde_json::from_slice(&out.stdout).unwrap();
        assert_eq!(told["problems"][0]["kind"], "broken");
        assert_eq!(told["problems"][0]["name"], "x");
    }
    let before = fs::read(&broken).unwrap();
    let (code, words) = site.ctl_fails(&propose(&found[0].1, &["--out", path]));
    assert_eq!(code, 1);
    assert!(words.contains("broken.json"), "{words}");
    assert_eq!(fs::read(&broken).unwrap(), before);
}
