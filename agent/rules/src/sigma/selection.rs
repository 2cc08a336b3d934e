//! A selection: which values its fields must have.

use regex::bytes::RegexBuilder;

use super::expr::{Expr, Order};
use super::field::{Category, Field};
use super::literal::{Collector, Literal, Place};
use super::needs;
use super::refuse::{Refusal, broken, unsupported};
use super::text::{Encoding, Token, encoded, glob, tokens};
use crate::ioc::Net;
use crate::problem::quoted;
use crate::yaml::{Node, Value};

const MOST_VALUES: usize = 2000;
const MOST_VALUE_BYTES: usize = 4096;
/// Bytes of a compiled expression, and of the states that it may keep while it searches.
const PATTERN_BYTES: usize = 128 * 1024;

/// Makes selections of one rule.
pub(crate) struct Reader<'a> {
    pub(crate) category: Category,
    pub(crate) literals: &'a mut Collector,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Equals,
    Place(Place),
    Regex,
    Cidr,
    Exists,
    Order(Order),
}

/// What a field's modifiers ask for.
struct How {
    mode: Mode,
    all: bool,
    cased: bool,
    encoding: Option<Encoding>,
    flags: String,
}

impl Reader<'_> {
    /// A map is all of its fields, a list of maps any of them.
    pub(crate) fn selection(&mut self, node: &Node) -> Result<Expr, Refusal> {
        match &node.value {
            Value::Map(entries) if !entries.is_empty() => {
                let parts = entries.iter().map(|(key, value)| self.item(key, value));
                let parts = parts.collect::<Result<Vec<_>, _>>()?;
                Ok(Expr::All(parts).ordered())
            }
            Value::List(items) if !items.is_empty() => {
                let parts = items.iter().map(|item| match &item.value {
                    Value::Map(_) => self.selection(item),
                    _ => Err(keywords().at(item.line)),
                });
                Ok(Expr::Any(parts.collect::<Result<Vec<_>, _>>()?).ordered())
            }
            Value::Scalar { .. } if !node.value.is_null() => Err(keywords().at(node.line)),
            _ => Err(broken("a selection is empty").at(node.line)),
        }
    }

    fn item(&mut self, key: &str, value: &Node) -> Result<Expr, Refusal> {
        let mut words = key.split('|');
        let name = words.next().unwrap_or_default();
        let made = self
            .field(name)
            .and_then(|field| Ok((field, how(words)?)))
            .and_then(|(field, how)| self.values(field, &how, value));
        made.map_err(|refusal| refusal.at(value.line))
    }

    fn field(&self, name: &str) -> Result<Field, Refusal> {
        let Some(field) = Field::named(name) else {
            return Err(unsupported(format!(
                "no story has a field {}",
                quoted(name)
            )));
        };
        if field.is_in(self.category) {
            return Ok(field);
        }
        Err(unsupported(format!(
            "no event of this rule's category has a field {}",
            field.name()
        )))
    }

    fn values(&mut self, field: Field, how: &How, node: &Node) -> Result<Expr, Refusal> {
        let items = node.items();
        if items.is_empty() {
            return Err(broken(format!("{} has no values", field.name())));
        }
        if items.len() > MOST_VALUES {
            return Err(broken(format!(
                "{} has more than {MOST_VALUES} values",
                field.name()
            )));
        }
        let mut parts = Vec::with_capacity(items.len());
        for item in items {
            parts.push(
                self.value(field, how, item)
                    .map_err(|why| why.at(item.line))?,
            );
        }
        let whole = match (parts.len(), how.all) {
            (1, _) => parts.remove(0),
            (_, true) => Expr::All(parts),
            (_, false) => Expr::Any(parts),
        };
        Ok(whole.ordered())
    }

    fn value(&mut self, field: Field, how: &How, node: &Node) -> Result<Expr, Refusal> {
        let Value::Scalar { text, .. } = &node.value else {
            return Err(broken(format!(
                "a value of {} is no single text",
                field.name()
            )));
        };
        if text.len() > MOST_VALUE_BYTES {
            return Err(broken(format!(
                "a value has more than {MOST_VALUE_BYTES} bytes"
            )));
        }
        if node.value.is_null() {
            return match how.mode {
                Mode::Equals => Ok(Expr::Absent(field)),
                _ => Err(broken(
                    "null with a modifier: only FIELD: null has a meaning",
                )),
            };
        }
        match how.mode {
            Mode::Equals => self.text(field, how, text, Place::Whole),
            Mode::Place(place) => self.text(field, how, text, place),
            Mode::Regex => self.regex(field, &how.flags, text),
            Mode::Cidr => Net::parse(text)
                .map(|net| Expr::Net(field, net))
                .map_err(|why| broken(format!("{}: {why}", quoted(text)))),
            Mode::Exists => match text.as_str() {
                "true" | "True" | "yes" => Ok(Expr::Present(field)),
                "false" | "False" | "no" => Ok(Expr::Absent(field)),
                _ => Err(broken("exists: wanted true or false")),
            },
            Mode::Order(order) => text
                .parse()
                .map(|number| Expr::Number(field, order, number))
                .map_err(|_| broken(format!("{} is no whole number", quoted(text)))),
        }
    }

    fn text(&mut self, field: Field, how: &How, text: &str, place: Place) -> Result<Expr, Refusal> {
        match how.encoding {
            None => self.wildcard(field, how, &tokens(text), place),
            Some(encoding) => {
                let forms = encoded(encoding, text)?;
                let parts = forms.into_iter().map(|form| {
                    let literal = Literal {
                        text: form,
                        place,
                        cased: true,
                    };
                    Expr::Literal(self.literals.bit(field, literal))
                });
                Ok(Expr::Any(parts.collect()))
            }
        }
    }

    fn wildcard(
        &mut self,
        field: Field,
        how: &How,
        tokens: &[Token],
        place: Place,
    ) -> Result<Expr, Refusal> {
        let (open_start, open_end) = match place {
            Place::Anywhere => (true, true),
            Place::Start => (false, true),
            Place::End => (true, false),
            Place::Whole => (false, false),
        };
        let (open_start, tokens) = match tokens {
            [Token::Star, rest @ ..] => (true, rest),
            _ => (open_start, tokens),
        };
        let (open_end, tokens) = match tokens {
            [rest @ .., Token::Star] => (true, rest),
            _ => (open_end, tokens),
        };
        let place = match (open_start, open_end) {
            (true, true) => Place::Anywhere,
            (false, true) => Place::Start,
            (true, false) => Place::End,
            (false, false) => Place::Whole,
        };
        match tokens {
            [] if place == Place::Whole => Ok(Expr::Empty(field)),
            [] => Ok(Expr::Present(field)),
            [Token::Text(text)] => {
                let literal = Literal {
                    text: text.clone(),
                    place,
                    cased: how.cased,
                };
                Ok(Expr::Literal(self.literals.bit(field, literal)))
            }
            tokens => {
                let pattern = glob(tokens, open_start, open_end);
                self.regex(field, if how.cased { "s" } else { "si" }, &pattern)
            }
        }
    }

    /// Classes and case are those of ASCII, as for all other texts; it is quicker by far. Where a text must be
    /// there for the expression to match, that is looked at first.
    fn regex(&mut self, field: Field, flags: &str, text: &str) -> Result<Expr, Refusal> {
        if !self.literals.may_compile() {
            return Err(broken("the set is full: 1000 regular expressions"));
        }
        let built = RegexBuilder::new(text)
            .unicode(false)
            .case_insensitive(flags.contains('i'))
            .multi_line(flags.contains('m'))
            .dot_matches_new_line(flags.contains('s'))
            .size_limit(PATTERN_BYTES)
            .dfa_size_limit(PATTERN_BYTES)
            .nest_limit(50)
            .build();
        let regex = built.map_err(|error| cannot_read(text, &error))?;
        let pattern = Expr::Pattern(field, Box::new(regex));
        let Some(texts) = needs::texts(text, flags) else {
            return Ok(pattern);
        };
        let literals = texts.into_iter().map(|text| {
            let literal = Literal {
                text,
                place: Place::Anywhere,
                cased: false,
            };
            Expr::Literal(self.literals.bit(field, literal))
        });
        Ok(Expr::All(vec![Expr::Any(literals.collect()), pattern]))
    }
}

fn keywords() -> Refusal {
    unsupported("a search for words in no field: a story has no raw line of a log")
}

fn how<'a>(words: impl Iterator<Item = &'a str>) -> Result<How, Refusal> {
    let mut how = How {
        mode: Mode::Equals,
        all: false,
        cased: false,
        encoding: None,
        flags: String::new(),
    };
    for word in words {
        let mode = match word {
            "contains" => Mode::Place(Place::Anywhere),
            "startswith" => Mode::Place(Place::Start),
            "endswith" => Mode::Place(Place::End),
            "re" => Mode::Regex,
            "cidr" => Mode::Cidr,
            "exists" => Mode::Exists,
            "lt" => Mode::Order(Order::Less),
            "lte" => Mode::Order(Order::LessOrEqual),
            "gt" => Mode::Order(Order::Greater),
            "gte" => Mode::Order(Order::GreaterOrEqual),
            other => {
                other_modifier(&mut how, other)?;
                continue;
            }
        };
        if how.mode != Mode::Equals {
            return Err(broken(format!(
                "modifier {word} beside another one of its kind"
            )));
        }
        how.mode = mode;
    }
    let takes_text = matches!(how.mode, Mode::Equals | Mode::Place(_));
    if (how.encoding.is_some() || how.cased) && !takes_text {
        return Err(broken("cased and base64 go with texts only"));
    }
    if !how.flags.is_empty() && how.mode != Mode::Regex {
        return Err(broken("i, m and s go with re only"));
    }
    Ok(how)
}

fn other_modifier(how: &mut How, word: &str) -> Result<(), Refusal> {
    match word {
        "all" => how.all = true,
        "cased" => how.cased = true,
        "base64" => how.encoding = Some(Encoding::Base64),
        "base64offset" => how.encoding = Some(Encoding::Base64Offset),
        "i" | "m" | "s" => how.flags.push_str(word),
        "windash" | "wide" | "utf16" | "utf16le" | "utf16be" | "expand" | "fieldref" | "neq"
        | "minute" | "hour" | "day" | "week" | "month" | "year" => {
            return Err(unsupported(format!("modifier {word}")));
        }
        _ => return Err(unsupported(format!("unknown modifier {}", quoted(word)))),
    }
    Ok(())
}

fn cannot_read(text: &str, error: &regex::Error) -> Refusal {
    let why = error.to_string();
    let last = why.lines().last().unwrap_or_default();
    let why = format!("regular expression {}: {last}", quoted(text));
    let is_foreign = ["look-around", "backreferences"];
    if is_foreign.iter().any(|what| last.contains(what)) {
        unsupported(why)
    } else {
        broken(why)
    }
}
