//! What is said of a line that gives nothing.

use cordon_history::{Damage, Format, History};

/// One line of each format that gives nothing, and what is said of it.
#[test]
fn damage_is_named() {
    for (format, line, said) in [
        (
            None,
            "hello",
            "not a line of any known format: give --format",
        ),
        (
            Some(Format::Stories),
            r#"{"id":"x"}"#,
            "story has none of process, command, session: give at least one",
        ),
        (
            Some(Format::Events),
            "[]",
            "not an event: invalid length 0, expected struct Event with 6 elements at line 1 column 2",
        ),
        (
            Some(Format::Audit),
            "type=SYSCALL msg=audit(1.5:",
            "audit(TIME:SERIAL) is missing",
        ),
        (Some(Format::Audit), "hello", "type= is missing"),
        (
            Some(Format::Audit),
            "type=SYSCALL msg=audit(x:9): pid=1",
            "audit() is no TIME:SERIAL: \"x:9\"",
        ),
        (
            Some(Format::Audit),
            "type=SYSCALL msg=audit(1.5:9): arch=c000003e syscall=59 success=yes",
            "pid= is missing",
        ),
        (
            Some(Format::Audit),
            "type=SYSCALL msg=audit(1.5:9): pid=-1 syscall=59",
            "pid is no number: \"-1\"",
        ),
        (
            Some(Format::Audit),
            "type=EXECVE msg=audit(1.5:9): argc=1 a0=6Z",
            "a0 is no hexadecimal text: \"6Z\"",
        ),
        (
            Some(Format::Laurel),
            r#"{"ID":"x","SYSCALL":{}}"#,
            "ID is no TIME:SERIAL: \"x\"",
        ),
        (
            Some(Format::Sysmon),
            "<Event><System><EventID>1</EventID>",
            "</Event> is missing",
        ),
        (
            Some(Format::Sysmon),
            "<Event><System></Event>",
            "not a Sysmon event: ill-formed document: expected `</System>`, but `</Event>` was found",
        ),
        (
            Some(Format::Sysmon),
            "<Event><EventID>x</EventID></Event>",
            "EventID is no number: \"x\"",
        ),
        (
            Some(Format::Sysmon),
            "<Event><EventID>5</EventID></Event>",
            "ProcessId is no number: \"\"",
        ),
        (Some(Format::Ocsf), "{}", "class_uid is missing"),
        (
            Some(Format::Ocsf),
            r#"{"class_uid":1007,"activity_id":1,"process":{"pid":7}}"#,
            "time is missing",
        ),
        (
            Some(Format::Ocsf),
            r#"{"class_uid":1007,"activity_id":1,"time":1}"#,
            "process is missing",
        ),
    ] {
        let mut history = History::new(format);
        let damage = history.line(line.as_bytes(), &mut Vec::new());
        let damage = damage.expect_err(line);
        assert_eq!(damage.to_string(), said, "{line}");
        assert!(matches!(damage, Damage::Unrecognised) == format.is_none());
    }
}

#[test]
fn nothing_is_taken_for_a_format_that_it_is_not() {
    for line in ["", "{", "{}", "type=", "<Event", r#"{"kind":"exec"}"#] {
        assert_eq!(Format::of_line(line.as_bytes()), None, "{line}");
    }
    for format in Format::ALL {
        assert_eq!(format.name().parse(), Ok(format));
    }
    let unknown = "evtx".parse::<Format>().expect_err("it is not read");
    assert!(
        unknown
            .to_string()
            .contains("stories, events, audit, laurel, sysmon, ocsf")
    );
}
