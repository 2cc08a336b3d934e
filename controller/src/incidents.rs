//! From stored facts to what people read. Nothing is decided here: the analyst words and ranks.

use cordon_analyst::{
    ApprovalFact, DetectionFact, HostFacts, IncidentFacts, IsolationFact, StopFact, Text, WriteUp,
    write_up,
};
use cordon_proto::record::{IsolationReport, IsolationState};
use cordon_store::{AnalystVerdict, Incident, IncidentStatus, IsolationRow};

use crate::http::dto::{
    self, AnalystVerdictView, DetectionView, HostName, IncidentRow, IncidentText, IncidentTexts,
    MeasureView,
};

/// The analyst's words on an incident.
pub fn worded(incident: &Incident) -> WriteUp {
    write_up(&facts(incident))
}

fn facts(incident: &Incident) -> IncidentFacts {
    let detections = incident.detections.iter().map(|row| DetectionFact {
        at: row.at,
        detection: row.detection.clone(),
    });
    let isolations = incident.isolations.iter();
    let isolations = isolations
        .chain(in_force_already(incident))
        .map(|row| IsolationFact {
            at: row.at,
            report: row.report.clone(),
        });
    let stops = incident.stops.iter().map(|row| StopFact {
        at: row.at,
        report: row.report.clone(),
    });
    let approvals = incident.approvals.iter().map(|row| ApprovalFact {
        at: row.at,
        report: row.report.clone(),
    });
    IncidentFacts {
        host: HostFacts {
            id: incident.host.id,
            name: incident.host.name.clone(),
            group: incident.group.clone(),
        },
        detections: detections.collect(),
        isolations: isolations.collect(),
        stops: stops.collect(),
        approvals: approvals.collect(),
        opened_at: incident.opened_at,
    }
}

/// The isolation that the host is under for another reason: what happens there now happens on a host
/// that is cut off.
fn in_force_already(incident: &Incident) -> Option<&IsolationRow> {
    use IsolationState::{Applied, Confirmed, Unproven};
    let newest = incident.host_isolation.as_ref()?;
    let known = |row: &IsolationRow| row.report.id == newest.report.id;
    let shut = matches!(newest.report.state, Applied | Confirmed | Unproven);
    (shut && !incident.isolations.iter().any(known)).then_some(newest)
}

/// The incident's newest isolation report by the host's clock; of two at once, the one that came last.
pub fn isolation(incident: &Incident) -> Option<&IsolationReport> {
    let newest = incident.isolations.iter().max_by_key(|row| row.at);
    newest.map(|row| &row.report)
}

/// Whether it is known what came of the measures: an isolation that is neither proved nor given up
/// yet is still under way.
pub fn is_settled(incident: &Incident) -> bool {
    isolation(incident).is_some_and(|report| report.state != IsolationState::Applied)
}

/// Whether something that was proposed waits for an answer: nobody is told late who could still answer.
pub fn is_asked(incident: &Incident) -> bool {
    let mut proposed = incident
        .detections
        .iter()
        .filter_map(|row| row.detection.proposal.as_ref());
    let has_ended = |id| {
        incident
            .approvals
            .iter()
            .any(|row| row.report.proposal == id)
    };
    proposed.any(|proposal| !has_ended(proposal.id))
}

/// As lists show it.
pub fn row(incident: &Incident) -> IncidentRow {
    row_with(incident, &worded(incident))
}

/// With its evidence.
pub fn whole(incident: Incident) -> dto::Incident {
    let words = worded(&incident);
    let row = row_with(&incident, &words);
    let said = incident.analyst_verdicts;
    let detections = incident.detections.into_iter().map(|row| DetectionView {
        key: row.key,
        at: row.at,
        detection: row.detection,
        // Newest first, as in the store.
        analyst_verdict: said
            .iter()
            .find(|said| said.covers(row.key))
            .cloned()
            .map(AnalystVerdictView::from),
    });
    dto::Incident {
        row,
        detections: detections.collect(),
        measures: words.measures.into_iter().map(MeasureView::from).collect(),
        analyst_verdicts: said.into_iter().map(AnalystVerdictView::from).collect(),
    }
}

fn row_with(incident: &Incident, words: &WriteUp) -> IncidentRow {
    IncidentRow {
        id: incident.id,
        host: HostName::from(incident.host.clone()),
        opened_at: incident.opened_at,
        updated_at: incident.updated_at,
        status: match incident.status {
            IncidentStatus::Open => "open".to_owned(),
            IncidentStatus::Closed => "closed".to_owned(),
        },
        severity: words.severity,
        title: words.en.title.clone(),
        summary: words.en.summary.clone(),
        techniques: techniques(incident),
        tree: Some(incident.tree.clone()),
        score: score(incident),
        isolation: isolation(incident).cloned(),
        text: IncidentTexts {
            en: text(&words.en),
            zh: text(&words.zh),
        },
        analyst_verdict: said_of_all(incident).cloned().map(AnalystVerdictView::from),
    }
}

/// What was last said of the incident as a whole.
fn said_of_all(incident: &Incident) -> Option<&AnalystVerdict> {
    let mut said = incident.analyst_verdicts.iter();
    said.find(|said| said.detection.is_none())
}

fn text(text: &Text) -> IncidentText {
    IncidentText {
        title: text.title.clone(),
        summary: text.summary.clone(),
        risk: text.risk.clone(),
        advice: text.advice.clone(),
    }
}

/// Of all detections, in the order in which they were first named.
fn techniques(incident: &Incident) -> Vec<String> {
    let mut named: Vec<String> = Vec::new();
    let detections = incident.detections.iter();
    for id in detections.flat_map(|row| &row.detection.verdict.techniques) {
        if !named.contains(id) {
            named.push(id.clone());
        }
    }
    named
}

fn score(incident: &Incident) -> Option<f32> {
    let scores = incident
        .detections
        .iter()
        .map(|row| row.detection.verdict.score);
    scores
        .filter(|score| score.is_finite())
        .max_by(f32::total_cmp)
}
