//! What a judgement needs.
//!
//! Something must be known that the judged process, or the judged text, is or does. Where it runs,
//! as whom and below whom is not enough: a kernel that hides a process's image and arguments still
//! shows those, and a model asked about them alone would answer for the surroundings.

use cordon_behavior::story::{Process, StdioKind, Story};
use cordon_model::Reads;
use cordon_proto::verdict::Reason;

/// Why something cannot be judged, in English and in Simplified Chinese.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Why(pub(crate) &'static str, pub(crate) &'static str);

impl From<Why> for Reason {
    fn from(why: Why) -> Self {
        Self {
            text: why.0.to_owned(),
            zh: why.1.to_owned(),
            weight: 0.0,
        }
    }
}

/// Why `story` cannot be judged by a model that reads `reads`, if it cannot.
pub(crate) fn lacking(story: &Story, reads: &Reads) -> Option<Why> {
    let texts = || story.command.iter().chain(&story.session);
    if texts().any(|text| !is_blank(text))
        || acts(story, reads)
        || story.process.as_ref().is_some_and(is_known)
    {
        return None;
    }
    Some(if story.process.is_some() {
        Why(
            "neither program nor arguments nor any act of the process that the model reads is known",
            "进程的程序、参数以及模型可读取的行为均未知",
        )
    } else {
        Why("the shell text is blank", "命令文本为空")
    })
}

fn acts(story: &Story, reads: &Reads) -> bool {
    !(story.children.is_empty()
        && reads.connections(story).next().is_none()
        && reads.dns(story).is_empty()
        && reads.files(story).is_empty()
        && (!reads.facts() || story.facts.is_empty()))
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
    use cordon_model::Section;

    use super::*;

    fn check(json: &str) -> bool {
        check_with(json, &Reads::everything())
    }

    fn check_with(json: &str, reads: &Reads) -> bool {
        lacking(&Story::from_json(json.as_bytes()).unwrap(), reads).is_none()
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

    #[test]
    fn what_the_model_does_not_read_is_not_enough() {
        let (first, all) = (
            Reads::new(vec![Section::ConnectionsOut]),
            Reads::everything(),
        );
        for acts in [
            r#""dns":["example.net"]"#,
            r#""files":[{"op":"write","path":"/etc/cron.d/x"}]"#,
            r#""connections":[{"direction":"in","protocol":"tcp","address":"192.0.2.1","port":1}]"#,
            r#""connections":[{"direction":"out","protocol":"udp","address":"192.0.2.1","port":1}]"#,
        ] {
            let json = format!(r#"{{"id":"x","process":{{}},{acts}}}"#);
            assert!(
                check_with(&json, &all) && !check_with(&json, &first),
                "{acts}"
            );
        }
    }
}
