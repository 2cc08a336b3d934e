//! Tells people: one card for each incident and channel, from the store's outbox.
//!
//! A reconciler: woken by every committed change and by the outbox's own clock, it looks at what is
//! there and does what is due. It holds no state that a restart would lose.

use std::collections::BTreeMap;
use std::time::Duration;

use cordon_playbook::notify::{Card, Client, NotifyError, Retry, send};
use cordon_store::{Incident, Notification, Store, StoreError};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

use crate::config::NotifyChannel;
use crate::http::problem::chain;
use crate::incidents::{is_asked, is_settled, worded};

/// How long a card waits for a measure to be proved or given up.
const PATIENCE: SignedDuration = SignedDuration::from_secs(5);
/// Incidents of this long before the start are told too, if they were not: the controller may have
/// stopped between committing one and queueing its cards.
const LOOK_BACK: SignedDuration = SignedDuration::from_hours(1);
/// A card that could not be delivered for this long is given up.
const GIVE_UP: SignedDuration = SignedDuration::from_hours(24);
/// Changes come in bursts: they are looked at together.
const GATHER: Duration = Duration::from_millis(100);
/// Without any change and without any due card.
const IDLE: Duration = Duration::from_mins(1);
/// When the database fails.
const AFTER_TROUBLE: Duration = Duration::from_secs(5);
const AT_ONCE: u32 = 100;

/// Cards to channels.
pub struct Notifier {
    store: Store,
    client: Client,
    channels: BTreeMap<String, NotifyChannel>,
    public_url: String,
    since: Timestamp,
}

impl Notifier {
    /// For these channels. `public_url` is the console as people reach it.
    pub fn new(
        store: Store,
        client: Client,
        channels: Vec<NotifyChannel>,
        public_url: String,
        now: Timestamp,
    ) -> Self {
        let named = channels.into_iter().map(|one| (name(&one), one));
        Self {
            store,
            client,
            channels: named.collect(),
            public_url,
            since: now.saturating_sub(LOOK_BACK).unwrap_or(Timestamp::MIN),
        }
    }

    /// Tells whatever is to be told, for ever.
    pub async fn run(self) {
        let mut changes = self.store.changes();
        loop {
            changes.mark_unchanged();
            if let Err(error) = self.reconcile().await {
                tracing::error!(error = chain(&error), "cannot work on notifications");
                tokio::time::sleep(AFTER_TROUBLE).await;
            }
            let idle = self.idle(Timestamp::now()).await;
            tokio::select! {
                more = changes.changed() => if more.is_err() { return },
                () = tokio::time::sleep(idle) => {}
            }
            tokio::time::sleep(GATHER).await;
        }
    }

    /// Until the next card is due.
    async fn idle(&self, now: Timestamp) -> Duration {
        let Ok(Some(next)) = self.store.next_notification_at().await else {
            return IDLE;
        };
        let left = Duration::try_from(next.duration_since(now)).unwrap_or_default();
        left.min(IDLE)
    }

    async fn reconcile(&self) -> Result<(), StoreError> {
        let now = Timestamp::now();
        let due = now + PATIENCE;
        for channel in self.channels.keys() {
            self.store
                .queue_notifications(channel, self.since, due)
                .await?;
        }
        let mut ready = Vec::new();
        for notification in self.store.due_notifications(due, AT_ONCE).await? {
            let incident = self.store.incident(notification.incident).await?;
            match incident {
                Some(incident) if is_due(&notification, &incident, now) => {
                    ready.push((notification, incident));
                }
                _ => {}
            }
        }
        // The most urgent first: a channel's pace may not let all of them through at once.
        ready.sort_by_cached_key(|(_, incident)| std::cmp::Reverse(worded(incident).severity));
        for (notification, incident) in ready {
            self.tell(&notification, &incident, now).await?;
        }
        Ok(())
    }

    async fn tell(
        &self,
        notification: &Notification,
        incident: &Incident,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let Some(to) = self.channels.get(&notification.channel) else {
            let gone = "the channel is no longer in controller.toml";
            return self
                .store
                .notification_failed(notification, gone, None)
                .await;
        };
        let card = self.card(notification, incident, to);
        match send(&self.client, &to.channel, &card, now).await {
            Ok(()) => {
                tracing::info!(incident = %incident.id, channel = notification.channel, "card sent");
                self.store.notification_sent(notification, now).await
            }
            Err(error) => self.failed(notification, incident, &error, now).await,
        }
    }

    fn card(&self, notification: &Notification, incident: &Incident, to: &NotifyChannel) -> Card {
        let again = match notification.again {
            0 => String::new(),
            again => format!(":{again}"),
        };
        let id = format!("{}:{}{again}", incident.id, notification.key);
        let incident_id = incident.id.to_string();
        let link = format!("{}/#/incidents/{incident_id}", self.public_url);
        let words = worded(incident);
        let at = incident.updated_at;
        let host = &incident.host.name;
        Card::new(&id, &incident_id, host, at, to.language, &words).with_link(&link)
    }

    async fn failed(
        &self,
        notification: &Notification,
        incident: &Incident,
        error: &NotifyError,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let next = match error.retry(notification.attempts.saturating_add(1), rand::random()) {
            Retry::After(wait) if now.duration_since(incident.made_at) < GIVE_UP => {
                Some(now + wait)
            }
            Retry::After(_) | Retry::Never => None,
        };
        let (text, channel) = (chain(error), &notification.channel);
        if let Some(next) = next {
            tracing::warn!(channel, %next, error = text, "card not delivered yet");
        } else {
            tracing::error!(channel, error = text, "card given up");
        }
        self.store
            .notification_failed(notification, &text, next)
            .await
    }
}

/// A card waits for its time. Its first try comes earlier when the measures are known.
fn is_due(notification: &Notification, incident: &Incident, now: Timestamp) -> bool {
    let at_its_time = notification.next_try_at.is_some_and(|at| at <= now);
    at_its_time || (notification.attempts == 0 && (is_settled(incident) || is_asked(incident)))
}

/// The channel in the database and in logs: kind, host and a fingerprint. No secret.
fn name(to: &NotifyChannel) -> String {
    let digest = Sha256::digest(to.channel.url.as_bytes());
    let kind = match to.channel.kind {
        cordon_playbook::notify::Kind::Webhook => "webhook",
        cordon_playbook::notify::Kind::Feishu => "feishu",
    };
    format!("{kind}:{}:{}", to.channel.host(), hex::encode(&digest[..6]))
}
