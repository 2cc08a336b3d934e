//! What commands at this machine ask.

use cordon_proto::record::RecordBody;
use jiff::Timestamp;

use super::{Engine, Parts};
use crate::local::{Answer, Question, Request, Status, reply};

impl Engine {
    pub(super) fn asked(&mut self, request: Request, now: Timestamp) {
        match request.question {
            Question::Status => {
                let status = Answer::Status(Box::new(self.status(now)));
                reply(request.answer, status);
            }
            Question::Isolate {
                reason,
                lease_seconds,
            } => self.isolate_locally(&reason, lease_seconds, request.answer, now),
            Question::Release { reason } => self.release_by_root(&reason, request.answer, now),
            Question::ReleaseBy { permit } => self.release_by_permit(&permit, request.answer, now),
            Question::Thaw { reason } => {
                let reason = format!("at the machine: {reason}");
                self.parts.stopper.thaw(reason, request.answer);
            }
            Question::CutOff { pid, reason } => {
                let reason = format!("at the machine: {reason}");
                let policy = self.parts.policy.policy();
                let protected =
                    policy.map_or_else(Vec::new, |policy| policy.protected_processes.clone());
                self.parts
                    .stopper
                    .cut_off(pid, protected, reason, request.answer);
            }
            Question::Quarantined { report } => {
                tracing::warn!(act = ?report.act, path = ?report.path, reason = ?report.reason, "file");
                self.parts.recorder.record(RecordBody::Quarantine(report));
                let detail = "reported".to_owned();
                let isolation = None;
                reply(request.answer, Answer::Done { detail, isolation });
            }
            Question::Rejoin { reason } => {
                let reason = format!("at the machine: {reason}");
                self.parts.stopper.rejoin(reason, request.answer);
            }
            Question::Stop {
                reason,
                code,
                removes,
            } => self.stop_asked(&reason, code.as_deref(), removes, request.answer, now),
            Question::Unblock { address, reason } => {
                let reason = format!("at the machine: {reason}");
                self.parts.blocker.unblock(address, reason, request.answer);
            }
        }
    }

    fn status(&self, now: Timestamp) -> Status {
        let Parts {
            identity,
            policy,
            isolation,
            proposals,
            stopper,
            blocker,
            vitals,
            recorder,
            ..
        } = &self.parts;
        let usage = vitals.usage();
        let spool = vitals.spool_stats();
        let events = vitals.events();
        Status {
            host: identity.host,
            site: identity.audience.site.clone(),
            group: identity.audience.group.clone(),
            controller: identity.controller.clone(),
            connected: vitals.is_connected(),
            last_uplink_error: vitals.uplink_error(),
            isolated: !isolation.is_open(),
            isolation: isolation.latest().cloned(),
            frozen: stopper.frozen(),
            cut_off: stopper.count_cut_off(),
            blocked: blocker.in_force(now),
            proposals: proposals.told(),
            policy_version: policy.version(),
            policy_stale_since: policy.stale_since(now),
            sensor_mode: vitals.sensor_mode(),
            events_seen: events.seen,
            events_lost: events.lost,
            events_by_class: vitals.events_by_class(),
            losses: vitals.losses(),
            stories_judged: vitals.stories_judged(),
            judge_lag: vitals.judge_lag(),
            judge_queue: vitals.judge_queue(),
            caches: vitals.caches(),
            model: vitals.model(),
            rules: vitals.rules(),
            spool_records: spool.records,
            spool_bytes: spool.bytes,
            certificate_until: identity.validity.until,
            rss_bytes: usage.rss_bytes,
            cpu_micros: usage.cpu_micros,
            threads: usage.threads,
            degraded: vitals
                .degraded()
                .into_iter()
                .chain(recorder.trouble())
                .collect(),
        }
    }
}
