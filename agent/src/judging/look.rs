//! From a trigger to a verdict: at once where that takes no time, else when its turn comes.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use cordon_behavior::Trigger;
use cordon_behavior::story::Story;
use cordon_judge::{Around, Cascade, StoryPrint, Told, TreeRisk};
use cordon_proto::verdict::VerdictKind;
use cordon_sensor::{ProcessKey, mono_ns};
use jiff::Timestamp;

use super::{Bench, Closed, Digest, Hurry, Judged};

/// Somebody's place in the queue.
pub(super) struct Waits {
    trigger: Trigger,
    /// CLOCK_MONOTONIC nanoseconds.
    since_ns: u64,
}

/// What the judge is asked.
struct Asked {
    story: Story,
    print: StoryPrint,
    around: Around,
    digest: Option<Digest>,
}

impl Bench {
    /// Answers what takes no time; what needs the network waits for its turn.
    pub(super) fn look(&mut self, trigger: Trigger, hurry: Hurry) -> Result<(), Closed> {
        if hurry == Hurry::Sensor && self.wants_hash() {
            self.left.push_back(trigger);
            return Ok(());
        }
        let Some(story) = self.behavior.story(trigger.process) else {
            return Ok(());
        };
        let Some(asked) = self.ask(&trigger, story) else {
            return Ok(());
        };
        let Some(judge) = &mut self.judge else {
            return Ok(());
        };
        let (began, excepted) = (Instant::now(), judge.excepted());
        let thresholds = *self.thresholds.borrow();
        match judge.judge_quickly(&asked.story, asked.print, thresholds, &asked.around) {
            Ok(mut told) => {
                told.verdict.micros = began.elapsed().as_micros() as u64;
                let is_excepted = judge.excepted() > excepted;
                self.conclude(&trigger, asked, told, is_excepted)
            }
            Err(risk) => {
                self.wait(trigger, risk + asked.around.tree.log_odds);
                Ok(())
            }
        }
    }

    /// What the gate takes for an attack comes first, and the more so in a tree with signs.
    fn wait(&mut self, trigger: Trigger, risk: f32) {
        let process = trigger.process;
        let waits = Waits {
            trigger,
            since_ns: mono_ns(),
        };
        if self.waiting.put(process, risk, waits).is_some() {
            self.counts.shed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How long until the next one that waits may be judged; `None` when nobody waits.
    pub(super) fn next_in(&mut self) -> Option<Duration> {
        let (risk, now_ns) = (self.waiting.next_risk()?, mono_ns());
        let wait_ns = self.budget.wait_ns(risk, now_ns);
        if wait_ns > 0 {
            self.short_ns = now_ns;
        }
        Some(Duration::from_nanos(wait_ns))
    }

    /// Judges the riskiest story that waits, as it is now.
    pub(super) fn judge_next(&mut self) -> Result<(), Closed> {
        let Some(next) = self.waiting.pop() else {
            return Ok(());
        };
        let Waits { trigger, since_ns } = next.value;
        let Some(story) = self.behavior.story(trigger.process) else {
            self.counts.shed.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        };
        if since_ns <= self.short_ns {
            self.counts.caught_up.fetch_add(1, Ordering::Relaxed);
        }
        let Some(asked) = self.ask(&trigger, story) else {
            return Ok(());
        };
        let Some(judge) = &mut self.judge else {
            return Ok(());
        };
        let (began, excepted) = (Instant::now(), judge.excepted());
        let thresholds = *self.thresholds.borrow();
        let mut told = judge.judge_printed(&asked.story, asked.print, thresholds, &asked.around);
        let is_excepted = judge.excepted() > excepted;
        let took = began.elapsed();
        told.verdict.micros = took.as_micros() as u64;
        self.budget.spend(took.as_nanos() as u64);
        self.conclude(&trigger, asked, told, is_excepted)
    }

    fn wants_hash(&self) -> bool {
        self.judge.as_ref().is_some_and(Cascade::wants_hashes)
    }

    /// `None` when it was answered already, or nobody could judge it.
    fn ask(&self, trigger: &Trigger, story: Story) -> Option<Asked> {
        let wants_hash = self.wants_hash();
        let Some(judge) = &self.judge else {
            self.counts.unjudged.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        let digest = wants_hash.then(|| self.digest(trigger.process, &story));
        let found = digest.as_ref().and_then(|digest| digest.as_ref().ok());
        let mut around = Around {
            now: Timestamp::now(),
            sha256: found.copied(),
            tree: TreeRisk::default(),
        };
        // A story that did not grow in what is read was answered already.
        let print = judge.fingerprint(&story, &around);
        if self.last_judged.get(&trigger.process) == Some(&print) {
            self.time(trigger);
            return None;
        }
        let tree = self.tree_of(trigger.process);
        around.tree = self.risks.of(
            &tree,
            trigger.process,
            print.number(),
            trigger.cause_mono_ns,
        );
        Some(Asked {
            story,
            print,
            around,
            digest,
        })
    }

    fn tree_of(&self, process: ProcessKey) -> ProcessKey {
        self.behavior.tree_root(process).unwrap_or(process)
    }

    fn conclude(
        &mut self,
        trigger: &Trigger,
        asked: Asked,
        told: Told,
        is_excepted: bool,
    ) -> Result<(), Closed> {
        self.time(trigger);
        self.last_judged.put(trigger.process, asked.print);
        self.counts.judged.fetch_add(1, Ordering::Relaxed);
        let Told { verdict, alone } = told;
        if is_excepted {
            let reasons = verdict.reasons.iter();
            let notes: Vec<&str> = reasons.map(|note| note.text.as_str()).collect();
            tracing::info!(story = %verdict.id, ?notes, "excepted");
        }
        let thresholds = *self.thresholds.borrow();
        let (process, tree) = (trigger.process, self.tree_of(trigger.process));
        if let Some(alone) = alone {
            let (print, now_ns) = (asked.print.number(), trigger.cause_mono_ns);
            self.risks.add(tree, process, print, alone, now_ns);
        }
        if verdict.verdict < VerdictKind::Suspicious {
            return Ok(());
        }
        let judged = Judged {
            process,
            tree,
            below: self.behavior.living_below(trigger.process),
            story: asked.story,
            verdict,
            cause_mono_ns: trigger.cause_mono_ns,
        };
        self.tell(judged, thresholds, (asked.around, asked.digest))
    }
}
