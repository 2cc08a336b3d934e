//! Which rules are worth evaluating: most rules can only hold where one of a few texts was found, and most events have
//! none of them.

use std::collections::HashMap;

use super::Rule;
use super::expr::Expr;
use super::field::Category;
use super::literal::{Bit, Bits, Collector};

/// Rules by what must have been found for them to hold.
#[derive(Debug, Default)]
pub(crate) struct Triggers {
    /// Rules that may hold whatever was found.
    always: HashMap<Category, Vec<usize>>,
    /// By literal, the rules that need it or one of some others.
    by_bit: HashMap<Bit, Vec<usize>>,
}

impl Triggers {
    /// Of rules whose literals are all in `literals`.
    pub(crate) fn new(rules: &[Rule], literals: &Collector) -> Self {
        let lengths = literals.lengths();
        let mut triggers = Self::default();
        for (at, rule) in rules.iter().enumerate() {
            match needed(&rule.expr, &lengths) {
                None => triggers.always.entry(rule.category).or_default().push(at),
                Some(bits) => {
                    for bit in bits {
                        triggers.by_bit.entry(bit).or_default().push(at);
                    }
                }
            }
        }
        triggers
    }

    /// Rules of `category` that `found` does not rule out, in their order, each once.
    pub(crate) fn candidates(
        &self,
        category: Category,
        found: &Bits,
        rules: &[Rule],
    ) -> Vec<usize> {
        let triggered = found
            .iter()
            .filter_map(|bit| self.by_bit.get(&bit))
            .flatten();
        let mut all: Vec<usize> = triggered
            .copied()
            .filter(|at| rules[*at].category == category)
            .collect();
        all.extend(self.always.get(&category).into_iter().flatten());
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// Literals of which at least one must be found for `expr` to hold; `None` where it can hold without any. `lengths` of
/// their texts, by bit: of several choices the one whose shortest text is longest is found least often.
fn needed(expr: &Expr, lengths: &[usize]) -> Option<Vec<Bit>> {
    let shortest = |bits: &Vec<Bit>| bits.iter().map(|bit| lengths[*bit as usize]).min();
    match expr {
        Expr::Literal(bit) => Some(vec![*bit]),
        Expr::All(parts) => {
            let choices = parts.iter().filter_map(|part| needed(part, lengths));
            choices.max_by_key(|bits| (shortest(bits), std::cmp::Reverse(bits.len())))
        }
        Expr::Any(parts) => any(parts, 1, lengths),
        Expr::AtLeast(least, parts) => any(parts, *least, lengths),
        Expr::Pattern(..)
        | Expr::Net(..)
        | Expr::Number(..)
        | Expr::Present(_)
        | Expr::Absent(_)
        | Expr::Empty(_)
        | Expr::Not(_) => None,
    }
}

/// Of `least` parts that hold one needs something, unless as many can hold without.
fn any(parts: &[Expr], least: usize, lengths: &[usize]) -> Option<Vec<Bit>> {
    let needs: Vec<Vec<Bit>> = parts
        .iter()
        .filter_map(|part| needed(part, lengths))
        .collect();
    let without = parts.len() - needs.len();
    (without < least).then(|| needs.concat())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::expr::Scene;
    use super::super::field::{FIELDS, Field};
    use super::*;

    const LITERALS: u32 = 70;

    fn expr() -> impl Strategy<Value = Expr> {
        let leaf = prop_oneof![
            4 => (0..LITERALS).prop_map(Expr::Literal),
            1 => Just(()).prop_map(|()| Expr::Present(Field::Image)),
            1 => Just(()).prop_map(|()| Expr::Absent(Field::Image)),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            let parts = proptest::collection::vec(inner.clone(), 1..5);
            prop_oneof![
                parts.clone().prop_map(Expr::All),
                parts.clone().prop_map(Expr::Any),
                (1..4_usize, parts).prop_map(|(least, parts)| Expr::AtLeast(least, parts)),
                inner.prop_map(|part| Expr::Not(Box::new(part))),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_holds_was_triggered(
            expr in expr(),
            found in proptest::collection::btree_set(0..LITERALS, 0..8),
            has_image: bool,
        ) {
            let lengths: Vec<usize> = (0..LITERALS as usize).map(|bit| bit % 7).collect();
            let mut fields = [None; FIELDS];
            fields[Field::Image as usize] = has_image.then_some("/bin/true");
            let bits: Bits = found.iter().copied().collect();
            let holds = expr.holds(&Scene { fields, bits });
            let needed = needed(&expr, &lengths);
            let is_triggered = needed.is_none_or(|bits| bits.iter().any(|bit| found.contains(bit)));
            prop_assert!(!holds || is_triggered);
        }

        #[test]
        fn set_bits_are_told(found in proptest::collection::btree_set(0..500_u32, 0..40)) {
            let bits: Bits = found.iter().copied().collect();
            prop_assert_eq!(bits.iter().collect::<Vec<_>>(), Vec::from_iter(found));
        }
    }
}
