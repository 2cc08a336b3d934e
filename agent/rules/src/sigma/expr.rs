//! A rule as it is evaluated.

use std::net::IpAddr;

use regex::bytes::Regex;

use super::condition::Condition;
use super::field::{FIELDS, Field};
use super::literal::{Bit, Bits};
use crate::ioc::Net;
use crate::problem::cut;

/// Most bytes of a field that a regular expression is run over: it takes time in proportion.
const MOST_SEARCHED: usize = 64 * 1024;

/// An event's fields; absent ones match nothing.
pub(crate) type Fields<'a> = [Option<&'a str>; FIELDS];

/// What is known of an event.
pub(crate) struct Scene<'a> {
    pub(crate) fields: Fields<'a>,
    pub(crate) bits: Bits,
}

/// Something that holds of an event, or does not.
#[derive(Debug)]
pub(crate) enum Expr {
    Literal(Bit),
    Pattern(Field, Box<Regex>),
    Net(Field, Net),
    Number(Field, Order, i64),
    Present(Field),
    Absent(Field),
    Empty(Field),
    All(Vec<Expr>),
    Any(Vec<Expr>),
    AtLeast(usize, Vec<Expr>),
    Not(Box<Expr>),
}

/// How a number compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Expr {
    pub(crate) fn holds(&self, scene: &Scene<'_>) -> bool {
        let of = |field: &Field| scene.fields[*field as usize];
        match self {
            Self::Literal(bit) => scene.bits.has(*bit),
            Self::Pattern(field, regex) => {
                of(field).is_some_and(|text| regex.is_match(cut(text, MOST_SEARCHED).as_bytes()))
            }
            Self::Net(field, net) => {
                let address = of(field).and_then(|text| text.parse::<IpAddr>().ok());
                address.is_some_and(|address| net.contains(address))
            }
            Self::Number(field, order, number) => {
                let found = of(field).and_then(|text| text.parse::<i64>().ok());
                found.is_some_and(|found| order.holds(found, *number))
            }
            Self::Present(field) => of(field).is_some(),
            Self::Absent(field) => of(field).is_none(),
            Self::Empty(field) => of(field).is_some_and(str::is_empty),
            Self::All(parts) => parts.iter().all(|part| part.holds(scene)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(scene)),
            Self::AtLeast(least, parts) => {
                let mut held = parts.iter().filter(|part| part.holds(scene));
                held.by_ref().take(*least).count() == *least
            }
            Self::Not(part) => !part.holds(scene),
        }
    }

    /// `condition` with `selections` in the place of their numbers; a selection that is named twice is
    /// made twice.
    pub(crate) fn of(
        condition: &Condition,
        selections: &mut dyn FnMut(usize) -> Result<Self, super::refuse::Refusal>,
    ) -> Result<Self, super::refuse::Refusal> {
        Ok(match condition {
            Condition::Selection(at) => selections(*at)?,
            Condition::All(parts) => Self::All(every(parts, selections)?).ordered(),
            Condition::Any(parts) => Self::Any(every(parts, selections)?).ordered(),
            Condition::AtLeast(least, meant) => {
                let parts = meant.iter().map(|at| selections(*at));
                let parts = parts.collect::<Result<Vec<_>, _>>()?;
                let one = *least == 1;
                let all = *least == parts.len();
                match (one, all) {
                    (_, true) => Self::All(parts),
                    (true, _) => Self::Any(parts),
                    _ => Self::AtLeast(*least, parts),
                }
                .ordered()
            }
            Condition::Not(inner) => Self::Not(Box::new(Self::of(inner, selections)?)),
        })
    }

    /// What is cheap first.
    pub(crate) fn ordered(mut self) -> Self {
        if let Self::All(parts) | Self::Any(parts) | Self::AtLeast(_, parts) = &mut self {
            parts.sort_by_cached_key(Self::cost);
        }
        self
    }

    fn cost(&self) -> usize {
        match self {
            Self::Literal(_) | Self::Present(_) | Self::Absent(_) | Self::Empty(_) => 1,
            Self::Net(..) | Self::Number(..) => 20,
            Self::Pattern(..) => 500,
            Self::All(parts) | Self::Any(parts) | Self::AtLeast(_, parts) => {
                parts.iter().map(Self::cost).sum()
            }
            Self::Not(part) => part.cost(),
        }
    }

    /// How many nodes it has.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::All(parts) | Self::Any(parts) | Self::AtLeast(_, parts) => {
                1 + parts.iter().map(Self::size).sum::<usize>()
            }
            Self::Not(part) => part.size(),
            _ => 1,
        }
    }
}

fn every(
    parts: &[Condition],
    selections: &mut dyn FnMut(usize) -> Result<Expr, super::refuse::Refusal>,
) -> Result<Vec<Expr>, super::refuse::Refusal> {
    let parts = parts.iter().map(|part| Expr::of(part, selections));
    parts.collect()
}

impl Order {
    fn holds(self, found: i64, wanted: i64) -> bool {
        match self {
            Self::Less => found < wanted,
            Self::LessOrEqual => found <= wanted,
            Self::Greater => found > wanted,
            Self::GreaterOrEqual => found >= wanted,
        }
    }
}
