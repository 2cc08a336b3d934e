//! What a judgement needs.
//!
//! Something must be known that the judged process, or the judged text, is or does. Where it runs,
//! as whom and below whom is not enough: a kernel that hides a process's image and arguments still
//! shows those, and a model asked about them alone would answer for the surroundings.

use cordon_behavior::story::{Process, StdioKind, Story};

/// Why `story` cannot be judged, if it cannot.
pub(crate) fn lacking(story: &Story) -> Option<&'static str> {
    let texts = || story.command.iter().chain(&story.session);
    if texts().any(|text| !is_blank(text))
        || acts(story)
        || story.process.as_ref().is_some_and(is_known)
    {
        return None;
    }
    Some(if story.process.is_some() {
        "neither program nor arguments nor any act of the process is known"
    } else {
        "the shell text is blank"
    })
}

fn acts(story: &Story) -> bool {
    !(story.children.is_empty()
        && story.connections.is_empty()
        && story.dns.is_empty()
        && story.files.is_empty())
}

fn is_known(process: &Process) -> bool {
    let stdio = [process.stdin, process.stdout, process.stderr];
    !is_blank(&process.exe)
        || process.argv.iter().any(|argument| !is_blank(argument))
        || process.deleted_exe
        || process.memfd
        || stdio.iter().any(|kind| *kind != StdioKind::Unknown)
}

fn is_blank(text: &str) -> bool {
    text.chars().all(|c| c.is_whitespace() || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str) -> bool {
        lacking(&Story::from_json(json.as_bytes()).unwrap()).is_none()
    }

    #[test]
    fn blank_text_and_a_nameless_process_are_not_evaluable() {
        assert!(!check(r#"{"id":"x","command":" \t\n\u0000"}"#));
        assert!(!check(r#"{"id":"x","session":["","  "]}"#));
        assert!(!check(
            r#"{"id":"x","process":{"argv":["",""],"cwd":"/","uid":0},"ancestors":[{"exe":"/bin/sh"}]}"#
        ));
    }

    #[test]
    fn one_known_thing_is_enough() {
        assert!(check(r#"{"id":"x","command":"ls"}"#));
        assert!(check(r#"{"id":"x","process":{"exe":"/bin/ls"}}"#));
        assert!(check(r#"{"id":"x","process":{"memfd":true}}"#));
        assert!(check(r#"{"id":"x","process":{"stdin":"socket"}}"#));
        assert!(check(r#"{"id":"x","process":{},"dns":["example.net"]}"#));
    }
}
