//! What words are for: a table of classes beside the hashed words, so that what was learnt of one downloader is known
//! of the next.
//!
//! A class is never a verdict: what it weighs, alone and next to others, is learned. Most of the words are tools and
//! places that honest work needs; some classes (`guess`, `mine`, `tunnel`, `evade`) are mostly what intruders bring.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::artifact::sha256;

/// Rows of the embedding table that are kept for classes.
pub const CLASSES: u32 = 64;
/// Classes of a word, at most.
pub const PER_WORD: usize = 2;

const TEXT: &str = include_str!("lexicon.txt");

static TABLE: LazyLock<HashMap<&'static str, [Option<u8>; PER_WORD]>> = LazyLock::new(|| {
    let mut table: HashMap<&str, [Option<u8>; PER_WORD]> = HashMap::new();
    for (class, (_, words)) in classes().enumerate() {
        for word in words.split_whitespace() {
            let known = table.entry(word).or_default();
            if let Some(free) = known.iter_mut().find(|one| one.is_none()) {
                *free = Some(class as u8);
            }
        }
    }
    table
});

/// SHA-256 of the table, comments aside: a model reads no other than the one that it was fitted with.
pub fn hash() -> String {
    let table: Vec<String> = classes()
        .map(|(class, words)| format!("{class}: {words}\n"))
        .collect();
    sha256(table.concat().as_bytes())
}

fn classes() -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = TEXT.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once(": "))
}

/// The classes of a piece of normalised text, below [`CLASSES`].
pub fn of(piece: &str) -> impl Iterator<Item = u32> {
    let known = TABLE.get(piece).copied().unwrap_or_default();
    known.into_iter().flatten().map(u32::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text;

    #[test]
    fn each_word_is_a_piece_of_text_as_the_network_reads_it() {
        assert!(classes().count() <= CLASSES as usize);
        let mut strange = Vec::new();
        for word in classes().flat_map(|(_, words)| words.split_whitespace()) {
            let mut found = false;
            text::pieces(&written(word), &mut |piece| {
                found |= piece == word;
                true
            });
            if !found {
                strange.push(word);
            }
        }
        assert!(strange.is_empty(), "no text has these pieces: {strange:?}");
    }

    /// A text that has the piece `word`: of a path's first folders a piece is made with a file below them only.
    fn written(word: &str) -> String {
        let word = word.replace('#', "1");
        match word.split_once('/') {
            _ if word == "@metadata" => "169.254.169.254".to_owned(),
            None => word,
            Some(("", "dev/tcp" | "dev/udp")) => format!("{word}/192.0.2.1/80"),
            Some(("" | "~", _)) => format!("{word}/x"),
            Some(_) => format!("/{word}/x"),
        }
    }

    #[test]
    fn a_word_has_all_its_classes_and_an_unknown_one_none() {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for (_, words) in classes() {
            words
                .split_whitespace()
                .for_each(|word| *counts.entry(word).or_default() += 1);
        }
        for (word, count) in counts {
            assert_eq!(of(word).count(), count, "{word} is in more than {PER_WORD}");
        }
        assert_eq!(
            of("curl").collect::<Vec<_>>(),
            of("wget").collect::<Vec<_>>()
        );
        assert_eq!(of("qwxz").count(), 0);
    }
}
