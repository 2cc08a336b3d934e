//! The same work in other clothes: less of it seen, other surroundings, another way of writing it. Applied alike to
//! both labels, so that none of it can become the answer.

use cordon_behavior::story::{StdioKind, Story};

use super::draw::Draw;
use super::dress;
use crate::facts::is_shell;

/// A recorded story as another sensor, another host or a moment earlier might have shown it.
pub fn story(recorded: &Story, draw: &mut Draw) -> Story {
    if let Some(text) = inline(recorded)
        && draw.chance(0.2)
    {
        return text_only(text, draw);
    }
    let mut story = recorded.clone();
    lineage(&mut story, draw);
    if draw.chance(0.1) {
        let most = draw.below(4);
        story.children.truncate(most);
    }
    for connection in &mut story.connections {
        if draw.chance(0.5) {
            connection.address = draw.address();
        }
    }
    let Some(own) = &mut story.process else {
        return story;
    };
    if draw.chance(0.12) {
        [own.stdin, own.stdout, own.stderr] = [StdioKind::Unknown; 3];
        own.tty = None;
    }
    if draw.chance(0.12) {
        (own.uid, own.euid) = (None, None);
    }
    if draw.chance(0.25) {
        draw.pick(&[
            "",
            "/",
            "/root",
            "/home/ann",
            "/tmp",
            "/srv/app",
            "/var/www/html",
        ])
        .clone_into(&mut own.cwd);
    }
    story
}

/// What a shell was told to run, when its arguments say it.
fn inline(story: &Story) -> Option<&str> {
    let own = story.process.as_ref()?;
    let [_, option, text, ..] = own.argv.as_slice() else {
        return None;
    };
    let runs_text = matches!(option.as_str(), "-c" | "-lc" | "-ec");
    (runs_text && is_shell(&own.exe) && text.len() > 12).then_some(text)
}

fn text_only(text: &str, draw: &mut Draw) -> Story {
    if draw.chance(0.5) {
        let session = text
            .split("; ")
            .flat_map(str::lines)
            .map(str::to_owned)
            .collect();
        return Story {
            session,
            ..Story::default()
        };
    }
    Story {
        command: Some(text.to_owned()),
        ..Story::default()
    }
}

/// Nothing above, only the nearest, or another host's daemons above the nearest.
fn lineage(story: &mut Story, draw: &mut Draw) {
    let form = draw.unit();
    if form < 0.08 {
        story.ancestors.clear();
    } else if form < 0.2 {
        let keep = 1 + draw.below(3);
        story.ancestors.truncate(keep);
    } else if form < 0.3 && story.ancestors.len() > 2 {
        story.ancestors.truncate(2);
        story.ancestors.extend(dress::drawn_lineage(draw));
    }
}

/// A line as somebody else would have typed it.
pub fn text(mut line: String, draw: &mut Draw) -> String {
    if draw.chance(0.08) && line.starts_with(|c: char| c.is_ascii_lowercase()) {
        line.insert_str(
            0,
            draw.pick(&["sudo ", "sudo -n ", "nohup ", "time ", "LC_ALL=C ", "nice "]),
        );
    }
    if draw.chance(0.1) && !line.ends_with('&') {
        line.push_str(draw.pick(&[
            " 2>/dev/null",
            " || true",
            " >/dev/null 2>&1",
            " && echo done",
            " | tee -a out.log",
            "; echo $?",
        ]));
    }
    if draw.chance(0.15) {
        let joint = draw.pick(&["; ", "\n", " && "]);
        line = line.replace("; ", joint);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::shell;

    #[test]
    fn a_varied_line_is_still_shell() {
        let mut draw = Draw::new(2);
        for _ in 0..200 {
            let line = text("cd /srv; make; ls -l".to_owned(), &mut draw);
            assert!(shell::commands(&line).is_some(), "{line}");
        }
    }

    #[test]
    fn a_varied_story_keeps_what_was_done() {
        let json = br#"{"id":"v","process":{"exe":"/bin/sh","argv":["sh","-c","tar czf /tmp/a.tgz /etc"],"stdin":"pipe"},
            "ancestors":[{"exe":"/usr/sbin/cron","argv":["cron"]}]}"#;
        let recorded = Story::from_json(json).unwrap();
        let mut draw = Draw::new(4);
        for _ in 0..100 {
            let fresh = story(&recorded, &mut draw);
            let told = serde_json::to_string(&fresh).unwrap();
            assert!(told.contains("tar czf"), "{told}");
        }
    }
}
