//! Places among the isolated hosts of a group, as agents ask for them in their sessions.
//!
//! Many hosts ask in the same moment: that is what the cap is for. Whoever asks while the database gives places is answered
//! with all the others by its next transaction, so the last of a thousand waits for two of them.

use std::sync::{Mutex, PoisonError};

use cordon_store::{PlaceAnswer, PlaceWanted};
use jiff::Timestamp;
use tokio::sync::oneshot;

use crate::Fleet;
use crate::failure::chain;

/// Who waits for a place.
#[derive(Default)]
pub(crate) struct Asking {
    waiting: Mutex<Vec<Waiting>>,
    /// Held by whoever answers.
    turn: tokio::sync::Mutex<()>,
}

type Waiting = (PlaceWanted, oneshot::Sender<PlaceAnswer>);

impl Asking {
    fn add(&self, waiting: Waiting) {
        let mut all = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(waiting);
    }

    fn take(&self) -> Vec<Waiting> {
        let mut all = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *all)
    }
}

impl Fleet {
    /// A place for a host, or who has them; `None`: the database failed, and its host acts without an answer.
    pub(crate) async fn place_for(&self, wanted: PlaceWanted) -> Option<PlaceAnswer> {
        let (answer, answered) = oneshot::channel();
        self.0.asking.add((wanted, answer));
        // On a task of its own: a session that ends meanwhile takes nobody else's answer with it.
        tokio::spawn(self.clone().answer_who_asks());
        answered.await.ok()
    }

    async fn answer_who_asks(self) {
        let _turn = self.0.asking.turn.lock().await;
        let (wanted, answers): (Vec<_>, Vec<_>) = self.0.asking.take().into_iter().unzip();
        if wanted.is_empty() {
            return;
        }
        match self.store().give_places(&wanted, Timestamp::now()).await {
            Ok(given) => {
                for (to, answer) in answers.into_iter().zip(given) {
                    // Whose session ended does not mind.
                    to.send(answer).ok();
                }
            }
            Err(error) => {
                let (error, hosts) = (chain(&error), wanted.len());
                tracing::error!(%error, hosts, "places not given: hosts isolate themselves without");
            }
        }
    }
}
