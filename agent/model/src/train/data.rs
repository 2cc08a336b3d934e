//! What a model is trained and measured on: sources, their labels, and which side of which split they are on.
//!
//! Whole sources are left out, and whole scenario families of recordings: a score on the source that was trained on
//! says nothing.

mod context;
mod own;
mod recorded;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cordon_behavior::story::Story;

use super::draw::Draw;
use super::packs::{self, Block};
use super::recording::Recording;
use super::{TrainError, dress, recording, scrub, shell, vary};
use crate::artifact::sha256;
use crate::hash;
use context::{is_context, is_shell};
use own::{PACKS, pack_side};
use recorded::{carries, leaf, recorded_side};

/// Which side an item is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// Fitted.
    Train,
    /// Calibration and thresholds.
    Calibrate,
    /// Reported.
    Test,
}

/// Something that stories are made of.
pub enum Body {
    /// A shell line of public text.
    Line(String),
    /// Lines of one script.
    Script(Vec<String>),
    /// A line of ours with holes.
    Ours(&'static str),
    /// A session, script or line of a pack of ours.
    Block(Block),
    /// A recorded story.
    Story(Box<Story>),
}

/// One item.
pub struct Item {
    /// What it is.
    pub body: Body,
    /// Its label.
    pub malicious: bool,
    /// Its technique, when known.
    pub technique: Option<String>,
    /// Where it is from, as reported.
    pub source: String,
    /// What a line of ours is about.
    pub subject: Option<&'static str>,
    /// Its side.
    pub side: Side,
}

/// All items, and the hash of every file that was read.
#[derive(Default)]
pub struct Data {
    /// In the order of files.
    pub items: Vec<Item>,
    /// File name to SHA-256.
    pub hashes: BTreeMap<String, String>,
}

/// Benign lines taken of the two largest files.
const TLDR: usize = 12_000;
const NL2BASH: usize = 4_000;
/// Stories of one recorded scenario that are kept: a loop must not outweigh everything else.
const PER_SCENARIO: usize = 160;
/// Stories of one run that is kept apart: they are much alike, and one way of working must not decide a threshold.
const PER_RUN_APART: usize = 3;

impl Item {
    /// A fresh story of it.
    pub fn story(&self, draw: &mut Draw) -> Option<Story> {
        match &self.body {
            Body::Line(text) => {
                let fresh = scrub::line(text, draw);
                shell::commands(&fresh)?;
                dress::line(&vary::text(fresh, draw), draw)
            }
            Body::Script(lines) => {
                let lines: Vec<String> = lines.iter().map(|line| scrub::line(line, draw)).collect();
                dress::session(&lines, draw)
            }
            Body::Ours(text) => {
                let filled = draw.fill(text);
                dress::line(&vary::text(filled, draw), draw)
            }
            Body::Block(block) if block.line().is_some() => {
                let text = block.draw(draw).join("\n");
                dress::line(&vary::text(text, draw), draw)
            }
            Body::Block(block) => dress::session(&block.draw(draw), draw),
            Body::Story(story) if self.side == Side::Train => Some(vary::story(story, draw)),
            Body::Story(story) => Some((**story).clone()),
        }
    }

    /// How many choices a text of ours leaves open.
    pub fn alternatives(&self) -> usize {
        match &self.body {
            Body::Ours(text) => text.matches('¦').count(),
            Body::Block(block) => block.choices(),
            _ => 0,
        }
    }

    /// The same text, without forms and ancestry: one line of a session.
    pub fn text(&self, draw: &mut Draw) -> Option<String> {
        match &self.body {
            Body::Line(text) => Some(scrub::line(text, draw)),
            Body::Ours(text) => Some(draw.fill(text)),
            Body::Script(_) | Body::Block(_) | Body::Story(_) => None,
        }
    }
}

/// What a run that the report alone sees is reported as: `recorded:FAMILY`, or `runs:FAMILY` where others are fitted.
pub fn reported_as(family: &str, variant: u32) -> Option<String> {
    let (side, name) = recorded_side(family, variant);
    (side == Side::Test).then_some(name)
}

/// Reads everything.
pub fn load(corpus: &Path, recordings: &Path, draw: &mut Draw) -> Result<Data, TrainError> {
    let mut data = Data::default();
    data.public(corpus, draw)?;
    data.ours();
    data.packs()?;
    data.recorded(recordings, draw)?;
    Ok(data)
}

impl Data {
    /// What is in this repository: no public text.
    pub fn own(recordings: &Path, draw: &mut Draw) -> Result<Self, TrainError> {
        let mut data = Self::default();
        data.ours();
        data.packs()?;
        data.recorded(recordings, draw)?;
        Ok(data)
    }

    /// Moves whole sources to the side that is reported.
    pub fn leave_out(&mut self, sources: &[String]) -> Result<(), TrainError> {
        for source in sources {
            let mut found = false;
            // Other runs of a family are that family too.
            let runs = source.replacen("recorded:", "runs:", 1);
            let is_of = |item: &&mut Item| item.source == *source || item.source == runs;
            for item in self.items.iter_mut().filter(is_of) {
                item.side = Side::Test;
                found = true;
            }
            if !found {
                return Err(TrainError::NoSource(source.clone()));
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path) -> Result<String, TrainError> {
        let bytes = std::fs::read(path).map_err(|source| TrainError::Read {
            path: path.to_owned(),
            source,
        })?;
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        self.hashes.insert(name, sha256(&bytes));
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn public(&mut self, corpus: &Path, draw: &mut Draw) -> Result<(), TrainError> {
        let ambiguous = self.file(&corpus.join("ambiguous.txt"))?;
        let benign: Vec<(&str, String)> = ["tldr", "nl2bash", "intercode", "dockerfiles"]
            .into_iter()
            .map(|name| Ok((name, self.file(&corpus.join(format!("{name}.txt")))?)))
            .collect::<Result<_, TrainError>>()?;
        let atomic = self.file(&corpus.join("atomic.tsv"))?;
        let scripts = self.file(&corpus.join("atomic-scripts.txt"))?;
        let stockpile = self.file(&corpus.join("stockpile.txt"))?;
        let slp = self.file(&corpus.join("slp.txt"))?;
        // A line that is on both sides teaches nothing.
        let mut both: BTreeSet<&str> = ambiguous.lines().collect();
        let known: BTreeSet<&str> = benign.iter().flat_map(|(_, text)| text.lines()).collect();
        let attacks = atomic
            .lines()
            .filter_map(|line| Some(line.split_once('\t')?.1));
        both.extend(
            attacks
                .chain(stockpile.lines())
                .chain(slp.lines())
                .filter(|line| known.contains(line)),
        );
        for (name, text) in &benign {
            let mut lines: Vec<&str> = text
                .lines()
                .filter(|line| is_shell(line) && !both.contains(line))
                .collect();
            draw.shuffle(&mut lines);
            lines.truncate(match *name {
                "tldr" => TLDR,
                "nl2bash" => NL2BASH,
                _ => usize::MAX,
            });
            for line in lines {
                // One source is never fitted: half of it calibrates, half is reported.
                let side = match (*name, hash::hash(5, line.as_bytes()) % 2) {
                    ("dockerfiles", 0) => Side::Calibrate,
                    ("dockerfiles", _) => Side::Test,
                    _ => Side::Train,
                };
                self.push(Body::Line(line.to_owned()), false, None, name, side);
            }
        }
        for line in atomic.lines() {
            if let Some((technique, line)) = line.split_once('\t')
                && !both.contains(line)
                && !is_context(line)
            {
                self.push(
                    Body::Line(line.to_owned()),
                    true,
                    Some(technique.to_owned()),
                    "atomic",
                    Side::Train,
                );
            }
        }
        for script in scripts.lines() {
            let lines: Vec<String> = script.split(" ; ").map(str::to_owned).collect();
            if lines
                .iter()
                .any(|line| !is_context(line) && !both.contains(line.as_str()))
            {
                self.push(Body::Script(lines), true, None, "atomic", Side::Train);
            }
        }
        for (name, text, side) in [
            ("stockpile", &stockpile, Side::Calibrate),
            ("slp", &slp, Side::Test),
        ] {
            for line in text
                .lines()
                .filter(|line| !both.contains(line) && !is_context(line))
            {
                self.push(Body::Line(line.to_owned()), true, None, name, side);
            }
        }
        Ok(())
    }

    fn ours(&mut self) {
        let (hostile, honest) = (
            include_str!("lines/hostile.tsv"),
            include_str!("lines/honest.tsv"),
        );
        for (name, text) in [("lines/hostile.tsv", hostile), ("lines/honest.tsv", honest)] {
            self.hashes.insert(name.to_owned(), sha256(text.as_bytes()));
        }
        for line in hostile.lines() {
            let mut parts = line.splitn(3, '\t');
            if let (Some(subject), Some(technique), Some(text)) =
                (parts.next(), parts.next(), parts.next())
            {
                self.our(subject, text, true, Some(technique.to_owned()));
            }
        }
        for line in honest.lines() {
            if let Some((subject, text)) = line.split_once('\t') {
                self.our(subject, text, false, None);
            }
        }
    }

    /// A tenth of our lines is kept for calibration, a tenth for the report.
    fn our(
        &mut self,
        subject: &'static str,
        text: &'static str,
        malicious: bool,
        technique: Option<String>,
    ) {
        let side = match hash::hash(7, text.as_bytes()) % 10 {
            0 => Side::Test,
            1 => Side::Calibrate,
            _ => Side::Train,
        };
        self.push(Body::Ours(text), malicious, technique, "ours", side);
        if let Some(item) = self.items.last_mut() {
            item.subject = Some(subject);
        }
    }

    fn packs(&mut self) -> Result<(), TrainError> {
        let mut all = Vec::new();
        for (name, text) in PACKS {
            self.hashes
                .insert(format!("packs/{name}.txt"), sha256(text.as_bytes()));
            let blocks = packs::parse(text).map_err(|why| TrainError::Pack { name, why })?;
            all.push((name, pack_side(name), blocks));
        }
        // Two hands wrote a few lines word for word alike: those are not fitted.
        let apart = all.iter().filter(|(_, side, _)| *side != Side::Train);
        let apart: BTreeSet<&str> = apart
            .flat_map(|(.., blocks)| blocks.iter().filter_map(Block::line))
            .collect();
        for (name, side, blocks) in all {
            let is_kept = |block: &Block| side != Side::Train || !block.has_any(&apart);
            for block in blocks.into_iter().filter(is_kept) {
                let (malicious, subject) = (block.malicious, block.subject);
                let technique = block.technique.map(str::to_owned);
                let source = format!("pack:{name}");
                self.push(Body::Block(block), malicious, technique, &source, side);
                if let Some(item) = self.items.last_mut() {
                    item.subject = Some(subject);
                }
            }
        }
        Ok(())
    }

    fn recorded(&mut self, dir: &Path, draw: &mut Draw) -> Result<(), TrainError> {
        let mut scenarios: BTreeMap<String, Vec<Recording>> = BTreeMap::new();
        let mut honest = BTreeSet::new();
        for path in recording::files(dir)? {
            let packed = std::fs::read(&path).map_err(|source| TrainError::Read {
                path: path.clone(),
                source,
            })?;
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            self.hashes.insert(name, sha256(&packed));
            for one in recording::parse(&path, &packed)? {
                if one.label == "benign" {
                    honest.extend(leaf(&one.story));
                }
                scenarios.entry(one.scenario.clone()).or_default().push(one);
            }
        }
        for mut stories in scenarios.into_values() {
            stories.retain(|one| {
                one.label == "benign" || one.label == "attack" && carries(one, &honest)
            });
            draw.shuffle(&mut stories);
            let mut told: BTreeMap<u32, usize> = BTreeMap::new();
            for one in stories.into_iter().take(PER_SCENARIO) {
                let (side, source) = recorded_side(&one.family, one.variant);
                let told = told.entry(one.variant).or_default();
                if side != Side::Train && *told == PER_RUN_APART {
                    continue;
                }
                *told += 1;
                let malicious = one.label == "attack";
                let technique = one.technique.into_iter().next().filter(|_| malicious);
                let body = Body::Story(Box::new(one.story));
                self.push(body, malicious, technique, &source, side);
            }
        }
        Ok(())
    }

    fn push(
        &mut self,
        body: Body,
        malicious: bool,
        technique: Option<String>,
        source: &str,
        side: Side,
    ) {
        self.items.push(Item {
            body,
            malicious,
            technique,
            source: source.to_owned(),
            subject: None,
            side,
        });
    }
}

#[cfg(test)]
mod tests;
