//! Why a rule does not count.

use crate::problem::ProblemKind;

/// A reason, and whose fault it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) kind: ProblemKind,
    /// From 1; 0: the rule's own line.
    pub(crate) line: usize,
    pub(crate) why: String,
}

impl Refusal {
    pub(crate) fn at(mut self, line: usize) -> Self {
        if self.line == 0 {
            self.line = line;
        }
        self
    }
}

pub(crate) fn broken(why: impl Into<String>) -> Refusal {
    Refusal {
        kind: ProblemKind::Broken,
        line: 0,
        why: why.into(),
    }
}

pub(crate) fn unsupported(why: impl Into<String>) -> Refusal {
    Refusal {
        kind: ProblemKind::Unsupported,
        line: 0,
        why: why.into(),
    }
}
