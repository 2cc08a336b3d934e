//! A host that wants to isolate itself asks for one of its group's places.

use cordon_proto::id::IsolationId;
use cordon_proto::pb::controller_message::Body as Reply;
use cordon_proto::pb::{Place, PlaceWanted as Wanted};
use cordon_store::{HostRef, PlaceAnswer, PlaceWanted};
use tokio::sync::mpsc;
use tonic::Status;

use super::{End, Session};
use crate::bounds;

/// Of those who have the places, so many are named.
const NAMED: usize = 4;

impl Session<'_> {
    /// Takes a question to [`Self::answer_places`]. An agent asks again only when it gave the last one up: what is asked
    /// while two wait gets no answer.
    pub(super) fn wants_place(
        &self,
        wanted: &Wanted,
        asked: &mpsc::Sender<IsolationId>,
    ) -> Result<(), Status> {
        let isolation = wanted.isolation_id.parse();
        let isolation = isolation
            .map_err(|_| Status::invalid_argument("a place is wanted for no isolation"))?;
        if asked.try_send(isolation).is_err() {
            tracing::warn!(host = %self.host, "the host asks for places faster than they are given");
        }
        Ok(())
    }

    /// Answers one question after the other, for as long as the session lasts.
    pub(super) async fn answer_places(&self, mut asked: mpsc::Receiver<IsolationId>) -> End {
        while let Some(isolation) = asked.recv().await {
            if let Err(end) = self.answer_place(isolation).await {
                return end;
            }
        }
        // The reading ended, and says how.
        std::future::pending().await
    }

    async fn answer_place(&self, isolation: IsolationId) -> Result<(), End> {
        let host = self.host;
        let wanted = PlaceWanted { host, isolation };
        let Some(answer) = self.fleet.place_for(wanted).await else {
            return Ok(());
        };
        let taken: &[HostRef] = match &answer {
            PlaceAnswer::Granted => &[],
            PlaceAnswer::Refused(taken) => taken,
        };
        let granted = answer == PlaceAnswer::Granted;
        tracing::info!(%host, %isolation, granted, taken = taken.len(), "place among isolated hosts");
        let name = |host: &HostRef| bounds::text(&host.name);
        self.reply(Reply::Place(Place {
            isolation_id: isolation.to_string(),
            granted,
            taken: u32::try_from(taken.len()).unwrap_or(u32::MAX),
            taken_by: taken.iter().take(NAMED).map(name).collect(),
        }))
        .await
    }
}
