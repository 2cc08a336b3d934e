//! The `condition` of a rule: which selections must match, and how.

use super::refuse::{Refusal, broken, unsupported};
use crate::problem::quoted;
use crate::wildcard::fits;

const MOST_BYTES: usize = 4096;
const DEEPEST: usize = 64;

/// A condition; a number is the selection's place in the rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    Selection(usize),
    All(Vec<Condition>),
    Any(Vec<Condition>),
    /// At least so many of these selections.
    AtLeast(usize, Vec<usize>),
    Not(Box<Condition>),
}

/// Reads `text`; `names` are the rule's selections.
///
/// A pattern that no selection has (`all of nothing_*`) is a mistake: read as logic, it would match
/// always or never.
pub(crate) fn read(text: &str, names: &[&str]) -> Result<Condition, Refusal> {
    if text.len() > MOST_BYTES {
        return Err(broken("the condition has more than 4096 bytes"));
    }
    if text.contains('|') {
        return Err(unsupported(
            "the condition counts over several events (|): Cordon matches one story at a time",
        ));
    }
    let mut reader = Reader {
        words: words(text)?,
        at: 0,
        depth: 0,
        names,
    };
    let condition = reader.any()?;
    match reader.peek() {
        None => Ok(condition),
        Some(word) => Err(broken(format!(
            "the condition goes on with {}, wanted and, or, or its end",
            quoted(word)
        ))),
    }
}

fn words(text: &str) -> Result<Vec<&str>, Refusal> {
    let (mut words, mut rest) = (Vec::new(), text.trim_start());
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '*' | '.');
        let length = match first {
            '(' | ')' => 1,
            _ => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
        };
        if length == 0 {
            let what = quoted(&first.to_string());
            return Err(broken(format!("the condition has {what}")));
        }
        words.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    Ok(words)
}

struct Reader<'a> {
    words: Vec<&'a str>,
    at: usize,
    depth: usize,
    names: &'a [&'a str],
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.words.get(self.at).copied()
    }

    fn takes(&mut self, word: &str) -> bool {
        let is_next = self
            .peek()
            .is_some_and(|next| next.eq_ignore_ascii_case(word));
        self.at += usize::from(is_next);
        is_next
    }

    fn any(&mut self) -> Result<Condition, Refusal> {
        let mut parts = vec![self.all()?];
        while self.takes("or") {
            parts.push(self.all()?);
        }
        Ok(one_or(parts, Condition::Any))
    }

    fn all(&mut self) -> Result<Condition, Refusal> {
        let mut parts = vec![self.not()?];
        while self.takes("and") {
            parts.push(self.not()?);
        }
        Ok(one_or(parts, Condition::All))
    }

    fn not(&mut self) -> Result<Condition, Refusal> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(broken("the condition is nested deeper than 64"));
        }
        let condition = if self.takes("not") {
            Condition::Not(Box::new(self.not()?))
        } else if self.takes("(") {
            let inner = self.any()?;
            if !self.takes(")") {
                return Err(broken("the condition lacks a closing parenthesis"));
            }
            inner
        } else {
            self.selections()?
        };
        self.depth -= 1;
        Ok(condition)
    }

    /// `selection`, `1 of them`, `all of filter_*`.
    fn selections(&mut self) -> Result<Condition, Refusal> {
        let Some(word) = self.peek() else {
            return Err(broken("the condition ends where a selection is wanted"));
        };
        self.at += 1;
        if self.takes("of") {
            return self.of(word);
        }
        let at = self.names.iter().position(|name| *name == word);
        at.map(Condition::Selection).ok_or_else(|| {
            broken(format!(
                "the condition names {}, which is no selection",
                quoted(word)
            ))
        })
    }

    fn of(&mut self, quantity: &str) -> Result<Condition, Refusal> {
        let Some(pattern) = self.peek() else {
            return Err(broken("the condition ends after \"of\""));
        };
        self.at += 1;
        let is_meant = |name: &str| {
            if pattern.eq_ignore_ascii_case("them") {
                !name.starts_with('_')
            } else {
                fits(pattern, name)
            }
        };
        let places = 0..self.names.len();
        let meant: Vec<usize> = places.filter(|at| is_meant(self.names[*at])).collect();
        if meant.is_empty() {
            return Err(broken(format!("no selection is named {}", quoted(pattern))));
        }
        let least = match quantity {
            "all" => meant.len(),
            "any" => 1,
            number => number
                .parse()
                .ok()
                .filter(|number| *number > 0)
                .ok_or_else(|| {
                    broken(format!(
                        "{} of: wanted a number, any or all",
                        quoted(number)
                    ))
                })?,
        };
        if least > meant.len() {
            return Err(broken(format!(
                "{least} of {}, and there are fewer",
                quoted(pattern)
            )));
        }
        Ok(Condition::AtLeast(least, meant))
    }
}

fn one_or(mut parts: Vec<Condition>, several: fn(Vec<Condition>) -> Condition) -> Condition {
    if parts.len() == 1 {
        return parts.remove(0);
    }
    several(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &[&str] = &["selection", "filter_a", "filter_b", "_hidden"];

    fn check(text: &str) -> Result<Condition, String> {
        read(text, NAMES).map_err(|refusal| refusal.why)
    }

    #[test]
    fn and_binds_more_than_or_and_not_most() {
        use Condition::{All, Any, AtLeast, Not, Selection};
        assert_eq!(check("selection").unwrap(), Selection(0));
        assert_eq!(
            check("selection and not 1 of filter_* or _hidden").unwrap(),
            Any(vec![
                All(vec![Selection(0), Not(Box::new(AtLeast(1, vec![1, 2])))]),
                Selection(3)
            ])
        );
        assert_eq!(check("all of them").unwrap(), AtLeast(3, vec![0, 1, 2]));
        assert_eq!(
            check("NOT (selection OR filter_a)").unwrap(),
            Not(Box::new(Any(vec![Selection(0), Selection(1)])))
        );
    }

    #[test]
    fn mistakes_are_told() {
        for (text, wanted) in [
            ("", "ends"),
            ("selection and", "ends"),
            ("selecton", "no selection"),
            ("all of nothing_*", "no selection is named"),
            ("9 of filter_*", "fewer"),
            ("0 of filter_*", "number"),
            ("(selection", "parenthesis"),
            ("selection filter_a", "goes on"),
            ("selection & filter_a", "\"&\""),
            ("selection | count() > 5", "several events"),
            (&"not ".repeat(10_000), "4096"),
            (&format!("{}selection", "not ".repeat(500)), "deeper"),
            (&format!("{}selection", "(".repeat(4000)), "deeper"),
        ] {
            let why = check(text).unwrap_err();
            assert!(why.contains(wanted), "{text:.40}: {why}");
        }
    }
}
