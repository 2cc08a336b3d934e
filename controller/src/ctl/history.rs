//! The stored detections, newest first, page by page: no more than a page is in memory.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;

use super::CtlError;
use super::args::HistoryArgs;
use super::client::{Client, read};
use crate::http::dto::StoredDetection;

/// Detections that are asked for at once.
const PAGE: u32 = 200;

/// Which part of history, and how much of it at most.
#[derive(Clone, Debug, Default)]
pub(super) struct Bounds {
    /// Only what people labelled.
    pub labelled: bool,
    /// Nothing that came before.
    pub since: Option<Timestamp>,
    /// At most so many detections.
    pub most: Option<u64>,
    /// For at most so long.
    pub time: Option<Duration>,
}

/// What was walked through.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Walked {
    /// So many detections.
    pub stories: u64,
    /// When the oldest of them came.
    pub oldest: Option<Timestamp>,
    /// When the newest came.
    pub newest: Option<Timestamp>,
    /// Why there may be older ones that were not looked at.
    pub cut: Option<String>,
}

/// Shows each detection to `each`, until there are no more, or a bound is met.
pub(super) async fn walk(
    client: &Client<'_>,
    bounds: &Bounds,
    each: impl FnMut(StoredDetection) -> Result<(), CtlError>,
) -> Result<Walked, CtlError> {
    let walked = walk_pages(client, bounds, each).await;
    progress("");
    walked
}

async fn walk_pages(
    client: &Client<'_>,
    bounds: &Bounds,
    mut each: impl FnMut(StoredDetection) -> Result<(), CtlError>,
) -> Result<Walked, CtlError> {
    let started = Instant::now();
    let mut walked = Walked::default();
    let mut before = None;
    loop {
        let page = page(client, bounds.labelled, before).await?;
        let Some(last) = page.last() else {
            return Ok(walked);
        };
        before = Some(last.seen.key);
        for row in page {
            let came = row.received_at;
            if bounds.since.is_some_and(|since| came < since) {
                return Ok(walked);
            }
            walked.cut = bounds.met(walked.stories, started.elapsed());
            if walked.cut.is_some() {
                return Ok(walked);
            }
            walked.stories += 1;
            walked.newest = walked.newest.max(Some(came));
            walked.oldest = Some(walked.oldest.map_or(came, |oldest| oldest.min(came)));
            each(row)?;
        }
        progress(&format!("{} stories", walked.stories));
    }
}

async fn page(
    client: &Client<'_>,
    labelled: bool,
    before: Option<i64>,
) -> Result<Vec<StoredDetection>, CtlError> {
    let mut path = format!("/detections?labelled={labelled}&limit={PAGE}");
    if let Some(before) = before {
        path = format!("{path}&before={before}");
    }
    let json = client.get(&path).await?;
    read("/detections", &json)
}

impl Bounds {
    /// As the command line has them.
    pub fn of(args: &HistoryArgs) -> Self {
        Self {
            labelled: false,
            since: Some(args.since),
            most: Some(args.most),
            time: Some(args.time_limit),
        }
    }

    fn met(&self, stories: u64, took: Duration) -> Option<String> {
        if self.most.is_some_and(|most| stories >= most) {
            return Some(format!(
                "{stories} stories are as many as --most lets be tried"
            ));
        }
        let time = self.time.filter(|time| took >= *time)?;
        Some(format!(
            "{} s are over, as --time-limit has it",
            time.as_secs()
        ))
    }
}

/// For people at a terminal: a script's log stays free of it, and a terminal that went away is no reason to end.
fn progress(words: &str) {
    let mut out = std::io::stderr();
    if out.is_terminal() {
        drop(write!(out, "\r\x1b[K{words}"));
    }
}
