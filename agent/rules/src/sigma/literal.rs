//! All fixed texts of all rules, found in one pass over a field however many there are.
//!
//! One Aho-Corasick automaton a field. It reads letters without their case; where a rule wants the case, the found
//! place is compared once more. What was found is a set of bits, and rules are evaluated on those alone.

use std::collections::HashMap;

use aho_corasick::AhoCorasick;

use super::field::{FIELDS, Field};

/// Where in the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    Anywhere,
    Start,
    End,
    Whole,
}

/// A text at a place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Literal {
    pub(crate) text: String,
    pub(crate) place: Place,
    pub(crate) cased: bool,
}

/// Number of a literal: its bit.
pub(crate) type Bit = u32;

/// Which literals were found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bits(Vec<u64>);

impl Bits {
    pub(crate) fn has(&self, bit: Bit) -> bool {
        let word = self.0.get(bit as usize / 64).copied().unwrap_or(0);
        word >> (bit % 64) & 1 == 1
    }

    /// Those that were found, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Bit> + '_ {
        let words = (0..).zip(&self.0);
        words.flat_map(|(at, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                let bit = (rest != 0).then(|| at * 64 + rest.trailing_zeros());
                rest &= rest.wrapping_sub(1);
                bit
            })
        })
    }

    fn set(&mut self, bit: Bit) {
        self.0[bit as usize / 64] |= 1 << (bit % 64);
    }
}

#[cfg(test)]
impl FromIterator<Bit> for Bits {
    fn from_iter<I: IntoIterator<Item = Bit>>(found: I) -> Self {
        let mut bits = Self(vec![0; 8]);
        found.into_iter().for_each(|bit| bits.set(bit));
        bits
    }
}

/// Most regular expressions that are compiled for one set, those of rules that are refused in the end too: each
/// costs up to milliseconds.
const MOST_PATTERNS: usize = 1000;

/// Gathers literals, each once, and counts what they are the cheap way around.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    bits: HashMap<(Field, Literal), Bit>,
    patterns: usize,
}

impl Collector {
    pub(crate) fn bit(&mut self, field: Field, mut literal: Literal) -> Bit {
        if !literal.cased {
            literal.text.make_ascii_lowercase();
        }
        let next = self.bits.len() as Bit;
        *self.bits.entry((field, literal)).or_insert(next)
    }

    /// Whether one more regular expression may be compiled; it counts.
    pub(crate) fn may_compile(&mut self) -> bool {
        self.patterns += 1;
        self.patterns <= MOST_PATTERNS
    }

    pub(crate) fn len(&self) -> usize {
        self.bits.len()
    }

    /// Bytes of each literal's text, by its bit.
    pub(crate) fn lengths(&self) -> Vec<usize> {
        let mut lengths = vec![0; self.bits.len()];
        for ((_, literal), bit) in &self.bits {
            lengths[*bit as usize] = literal.text.len();
        }
        lengths
    }

    /// The automata; the reason where they would be too large.
    pub(crate) fn finish(self) -> Result<Literals, String> {
        let words = self.bits.len().div_ceil(64);
        let mut fields: Vec<Vec<(Literal, Bit)>> = vec![Vec::new(); FIELDS];
        for ((field, literal), bit) in self.bits {
            fields[field as usize].push((literal, bit));
        }
        let fields = fields.into_iter().map(Automaton::new);
        Ok(Literals {
            words,
            fields: fields.collect::<Result<_, _>>()?,
        })
    }
}

/// Finds literals.
#[derive(Debug, Default)]
pub(crate) struct Literals {
    words: usize,
    fields: Vec<Option<Automaton>>,
}

#[derive(Debug)]
struct Automaton {
    search: AhoCorasick,
    /// What each pattern of the search stands for.
    wants: Vec<Vec<(Literal, Bit)>>,
}

impl Literals {
    pub(crate) fn none(&self) -> Bits {
        Bits(vec![0; self.words])
    }

    /// Adds what `text` has of the literals for `field`.
    pub(crate) fn find(&self, field: Field, text: &str, bits: &mut Bits) {
        if let Some(Some(automaton)) = self.fields.get(field as usize) {
            automaton.find(text, bits);
        }
    }
}

impl Automaton {
    fn new(literals: Vec<(Literal, Bit)>) -> Result<Option<Self>, String> {
        if literals.is_empty() {
            return Ok(None);
        }
        let mut places: HashMap<String, usize> = HashMap::new();
        let mut wants: Vec<Vec<(Literal, Bit)>> = Vec::new();
        let mut patterns = Vec::new();
        for (literal, bit) in literals {
            let key = literal.text.to_ascii_lowercase();
            let at = *places.entry(key.clone()).or_insert_with(|| {
                patterns.push(key);
                wants.push(Vec::new());
                patterns.len() - 1
            });
            wants[at].push((literal, bit));
        }
        let search = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .build(&patterns)
            .map_err(|error| error.to_string())?;
        Ok(Some(Self { search, wants }))
    }

    fn find(&self, text: &str, bits: &mut Bits) {
        for found in self.search.find_overlapping_iter(text) {
            let is_start = found.start() == 0;
            let is_end = found.end() == text.len();
            for (literal, bit) in &self.wants[found.pattern().as_usize()] {
                let is_there = match literal.place {
                    Place::Anywhere => true,
                    Place::Start => is_start,
                    Place::End => is_end,
                    Place::Whole => is_start && is_end,
                };
                if is_there && (!literal.cased || text[found.range()] == literal.text) {
                    bits.set(*bit);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_is_found_at_its_place() {
        let mut collector = Collector::default();
        let mut bit = |text: &str, place, cased| {
            let text = text.to_owned();
            collector.bit(Field::Image, Literal { text, place, cased })
        };
        let end = bit("/Bash", Place::End, false);
        let start = bit("/usr", Place::Start, false);
        let inside = bit("a", Place::Anywhere, false);
        let whole = bit("/usr/bin/bash", Place::Whole, false);
        let cased = bit("BASH", Place::Anywhere, true);
        assert_eq!(bit("/bash", Place::End, false), end);
        let literals = collector.finish().unwrap();
        let found = |text: &str| {
            let mut bits = literals.none();
            literals.find(Field::Image, text, &mut bits);
            literals.find(Field::CommandLine, "/usr/bin/bash", &mut bits);
            [end, start, inside, whole, cased].map(|bit| bits.has(bit))
        };
        assert_eq!(found("/usr/bin/bash"), [true, true, true, true, false]);
        assert_eq!(found("/opt/BASH/x"), [false, false, true, false, true]);
        assert_eq!(found(""), [false; 5]);
    }
}
