//! One verdict of what the model, the tree, and the floor say: its score and its name always agree.

use cordon_proto::policy::Thresholds;
use cordon_proto::verdict::{Reason, Verdict, VerdictKind};

use crate::floor::Word;
use crate::risk::TreeRisk;

/// The score of what a rule or an indicator calls malicious; more where the thresholds ask for more.
const CERTAIN: f32 = 0.99;

/// Lets the tree have its say in the score. The name has it already, by the thresholds that the model was asked with;
/// what rounding may part is put together.
pub(crate) fn lean(verdict: &mut Verdict, tree: TreeRisk, thresholds: Thresholds) {
    if tree.log_odds == 0.0 || verdict.verdict == VerdictKind::NotEvaluable {
        return;
    }
    let alone = verdict.score;
    let with = tree.score(alone);
    verdict.score = match verdict.verdict {
        VerdictKind::Malicious => with.max(thresholds.malicious),
        VerdictKind::Suspicious => with
            .max(thresholds.suspicious)
            .min(below(thresholds.malicious)),
        _ => with.min(below(thresholds.suspicious)),
    };
    if verdict.verdict < VerdictKind::Suspicious || tree.log_odds < 0.0 {
        return;
    }
    let (signs, steps) = (tree.signs, tree.steps);
    verdict.reasons.push(Reason {
        text: format!(
            "{signs} of the last {steps} other steps of this process tree look like an attack too"
        ),
        zh: format!("该进程树最近的另外 {steps} 个步骤中有 {signs} 个也像攻击行为"),
        weight: (verdict.score - alone).clamp(0.0, 1.0),
    });
}

/// Makes `verdict` the worse one of itself and what the floor says.
///
/// The score follows the name: whoever compares it with the thresholds later must come to the same. The weight of what
/// decided is by how much it raised the score; what only adds to it has none.
pub(crate) fn add(verdict: &mut Verdict, word: Word, thresholds: Thresholds) {
    let mut lift = 0.0;
    if let Some(kind) = word.kind {
        let is_worse = kind >= verdict.verdict;
        if is_worse {
            let score = raised(verdict.score, kind, thresholds);
            lift = (score - verdict.score).clamp(0.0, 1.0);
            if verdict.verdict == VerdictKind::NotEvaluable {
                verdict.reasons.clear();
            }
            verdict.score = score;
            verdict.verdict = kind;
            verdict.stage = word.stage.unwrap_or(verdict.stage);
        }
        let others = std::mem::take(&mut verdict.techniques);
        let (first, then) = if is_worse {
            (word.techniques, others)
        } else {
            (others, word.techniques)
        };
        for id in first.into_iter().chain(then) {
            if !verdict.techniques.contains(&id) {
                verdict.techniques.push(id);
            }
        }
    }
    let decided = word.reasons.into_iter().map(|said| (said, lift));
    let noted = word.notes.into_iter().map(|said| (said, 0.0));
    let more = decided.chain(noted).map(|(said, weight)| Reason {
        text: said.text,
        zh: said.zh,
        weight,
    });
    verdict.reasons.extend(more);
    verdict
        .reasons
        .sort_by(|a, b| b.weight.total_cmp(&a.weight));
}

/// The least score that has the name `kind`, or `score` where that is more.
pub(crate) fn raised(score: f32, kind: VerdictKind, thresholds: Thresholds) -> f32 {
    let score = if score.is_finite() { score } else { 0.0 };
    match kind {
        VerdictKind::Malicious => score.max(CERTAIN).max(thresholds.malicious),
        // Where both thresholds are one there is no such score: rather too mild than an isolation.
        _ => score
            .max(thresholds.suspicious)
            .min(below(thresholds.malicious)),
    }
}

pub(crate) fn below(threshold: f32) -> f32 {
    threshold.next_down().max(0.0)
}
