//! Texts of which one must be there for a regular expression to match.
//!
//! A search for fixed texts costs next to nothing, an expression up to a thousand times as much. Whoever wants `curl`
//! before anything else need not be tried on a line without it.

use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, Hir, HirKind};

/// Shorter texts are everywhere.
const SHORTEST: usize = 2;
/// Most texts for one expression.
const MOST: usize = 64;

/// The texts, in lower case; `None` where there are none of any use.
pub(super) fn texts(pattern: &str, flags: &str) -> Option<Vec<String>> {
    let parsed = ParserBuilder::new()
        .utf8(false)
        .unicode(false)
        .case_insensitive(flags.contains('i'))
        .multi_line(flags.contains('m'))
        .dot_matches_new_line(flags.contains('s'))
        .nest_limit(50)
        .build()
        .parse(pattern);
    let mut texts = needed(&parsed.ok()?)?;
    texts.sort();
    texts.dedup();
    Some(texts)
}

/// How good a choice is: the shortest of its texts, and then how few they are.
fn worth(texts: &[String]) -> (usize, std::cmp::Reverse<usize>) {
    let shortest = texts.iter().map(String::len).min();
    (shortest.unwrap_or(0), std::cmp::Reverse(texts.len()))
}

fn needed(hir: &Hir) -> Option<Vec<String>> {
    let found = match hir.kind() {
        HirKind::Literal(literal) => vec![lower(&literal.0)?],
        HirKind::Capture(capture) => needed(&capture.sub)?,
        HirKind::Repetition(repetition) if repetition.min > 0 => needed(&repetition.sub)?,
        HirKind::Concat(parts) => of_row(parts)?,
        HirKind::Alternation(ways) => {
            let mut all = Vec::new();
            for way in ways {
                all.extend(needed(way)?);
            }
            all
        }
        _ => return None,
    };
    let is_useful = found.len() <= MOST && found.iter().all(|text| text.len() >= SHORTEST);
    is_useful.then_some(found)
}

/// The best of what its parts need. Letters of either case stand beside each other and are one text.
fn of_row(parts: &[Hir]) -> Option<Vec<String>> {
    let mut choices: Vec<Vec<String>> = Vec::new();
    let mut run = String::new();
    for part in parts {
        if let Some(more) = letters(part) {
            run.push_str(&more);
        } else {
            choices.push(vec![std::mem::take(&mut run)]);
            choices.extend(needed(part));
        }
    }
    choices.push(vec![run]);
    choices.into_iter().max_by_key(|texts| worth(texts))
}

/// A fixed text but for its case.
fn letters(hir: &Hir) -> Option<String> {
    match hir.kind() {
        HirKind::Literal(literal) => lower(&literal.0),
        HirKind::Class(Class::Bytes(class)) => {
            let bytes = class.iter().flat_map(|range| range.start()..=range.end());
            let bytes: Vec<u8> = bytes.take(3).collect();
            let [a, b] = bytes[..] else {
                return None;
            };
            let is_one = a.is_ascii_alphabetic() && a.eq_ignore_ascii_case(&b);
            is_one.then(|| char::from(a.to_ascii_lowercase()).to_string())
        }
        _ => None,
    }
}

fn lower(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    Some(text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, wanted: &[&str]) {
        let found = texts(pattern, "").unwrap_or_default();
        assert_eq!(found, wanted, "{pattern}");
    }

    #[test]
    fn the_longest_text_that_must_be_there() {
        check("curl", &["curl"]);
        check(r"\b(curl|wget)\s.*\|\s*sh\b", &["curl", "wget"]);
        check(r"a+.*/dev/(tcp|udp)/", &["/dev/"]);
        check(r"(curl)?x*", &[]);
        check(r"(curl|.*)", &[]);
        check(r"(curl|x)", &[]);
        check(r"(?i)StraTum\+tcp", &["stratum+tcp"]);
        check(r"(chmod\s+)+4755", &["chmod"]);
        check(r"[Aa]bc|[xy]bcd", &["abc", "bcd"]);
        check("[^a]", &[]);
        check(r"\xff\xfeabc", &[]);
    }
}
