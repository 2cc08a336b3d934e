//! What a typing mistake gets: an answer at once, before anything is installed or built.

use std::process::{Command, Output};

fn xtask(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    // Without a path nothing can be started, so nothing can be hidden behind a long build.
    let command = command.args(arguments).env("PATH", "/nonexistent");
    command.output().expect("xtask starts")
}

#[test]
fn help_names_every_command() {
    for arguments in [&["help"][..], &["--help"], &["-h"], &[]] {
        let output = xtask(arguments);
        assert!(output.status.success());
        let text = String::from_utf8_lossy(&output.stdout);
        for command in [
            "demo", "test", "lint", "tidy", "fuzz", "lab", "setup", "record", "train", "bench",
        ] {
            assert!(
                text.contains(&format!("\n  {command} ")),
                "{command}: {text}"
            );
        }
    }
}

#[test]
fn a_mistake_is_named_and_changes_nothing() {
    for (arguments, said) in [
        (
            &["dmeo"][..],
            "no command \"dmeo\"; `cargo xtask help` lists them",
        ),
        (
            &["demo", "--onec"],
            "xtask demo: does not know \"--onec\", only --once --json",
        ),
        (
            &["setup", "--tests"],
            "xtask setup: does not know \"--tests\", only --test",
        ),
        (
            &["bench"],
            "xtask bench: needs a name: contain, judge, sensor",
        ),
        (
            &["bench", "senser"],
            "xtask bench: knows no \"senser\", only contain, judge, sensor",
        ),
        (
            &["bench", "sensor", "--profile", "fast"],
            "xtask bench: --profile is release or dev, not \"fast\"",
        ),
        (
            &["bench", "sensor", "--json"],
            "xtask bench: --json needs a value",
        ),
        (&["test", "agent"], "xtask test: takes no \"agent\""),
        (&["tidy", "--fix"], "xtask tidy: takes no \"--fix\""),
        (
            &["fuzz", "nothing"],
            "xtask fuzz: does not know \"nothing\"",
        ),
        (
            &["fuzz", "--seconds", "x"],
            "xtask fuzz: --seconds takes a number",
        ),
    ] {
        let output = xtask(arguments);
        assert!(!output.status.success(), "{arguments:?}");
        assert!(output.stdout.is_empty());
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains(said), "{text}");
    }
}
