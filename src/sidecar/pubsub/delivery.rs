//! From the broker to the app (`dapr/dapr:pkg/runtime/subscription`).

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::bulk;
use super::bus::{Delivery, Message, PubSub};
use super::envelope::id_for_log;
use super::prepared::Prepared;
use super::sink::{Sink, Verdict};
use super::subscription::Subscription;
use crate::sidecar::clock::Clock;
use crate::sidecar::spans::{OpenSpan, Spans};
use crate::sidecar::stats::Outcome;

/// How long daprd tries to publish to a dead letter topic.
const DEAD_LETTER_BUDGET: Duration = Duration::from_secs(30);

/// Serves one subscription, until the sidecar or the stream ends.
#[derive(Debug)]
pub(in crate::sidecar) struct Worker {
    pub(in crate::sidecar) subscription: Subscription,
    pub(in crate::sidecar) pubsub: Arc<PubSub>,
    pub(in crate::sidecar) sink: Sink,
    pub(in crate::sidecar) spans: Spans,
    pub(in crate::sidecar) clock: Clock,
}

/// What is known about a message before the app has seen it.
pub(super) enum Checked {
    Ready(Box<Prepared>),
    Ended(Outcome),
}

// ===== impl Worker =====

impl Worker {
    /// One message after the other, or one bulk after the other.
    pub(in crate::sidecar) async fn run(self, mut deliveries: mpsc::Receiver<Delivery>) {
        if let (Some(settings), Sink::App(channel)) = (self.subscription.bulk, &self.sink) {
            let channel = Arc::clone(channel);
            return bulk::run(&self, settings, &channel, deliveries).await;
        }
        while let Some(Delivery { message, receipt }) = deliveries.recv().await {
            let outcome = match caught(self.handle(&message, || receipt.retried())).await {
                Some(outcome) => outcome,
                None => self.dead_letter(&message).await.unwrap_or(Outcome::Lost),
            };
            receipt.end(outcome);
        }
    }

    async fn handle(&self, message: &Message, retried: impl Fn()) -> Outcome {
        let event = match self.check(message).await {
            Checked::Ready(event) => event,
            Checked::Ended(outcome) => return outcome,
        };
        let (topic, id) = (&self.subscription.topic, id_for_log(&event.envelope));
        let rule = match self.subscription.route(&event.event) {
            Ok(Some(rule)) => rule,
            Ok(None) => {
                tracing::warn!(?topic, id, "no route for an event: dropped");
                return self.dead_letter(message).await.unwrap_or(Outcome::Dropped);
            }
            Err(reason) => {
                tracing::error!(?topic, id, reason, "an event cannot be routed");
                return self.dead_letter(message).await.unwrap_or(Outcome::Lost);
            }
        };
        let mut retries = 0;
        loop {
            let span = self.span(&event);
            let verdict = self.sink.attempt(&self.subscription, rule, &event, span.as_ref()).await;
            drop(span);
            match verdict {
                Verdict::Success => return Outcome::Delivered,
                Verdict::Ignore(reason) => {
                    tracing::warn!(?topic, id, reason, "event ignored");
                    return Outcome::Dropped;
                }
                Verdict::Drop(reason) => {
                    tracing::warn!(?topic, id, reason, "event dropped");
                    return self.dead_letter(message).await.unwrap_or(Outcome::Dropped);
                }
                Verdict::Retry(reason) => {
                    let Some(pause) = self.pause(retries) else {
                        tracing::error!(?topic, id, reason, retries, "event refused, and not sent again");
                        return self.dead_letter(message).await.unwrap_or(Outcome::Lost);
                    };
                    tracing::warn!(?topic, id, reason, retries, "event refused: sent again");
                    retries += 1;
                    retried();
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// The span of one attempt to deliver this.
    pub(super) fn span(&self, event: &Prepared) -> Option<OpenSpan> {
        self.spans.start_delivery(&self.subscription.topic, event.envelope.trace().as_deref())
    }

    /// What needs no app: a message that is no event, and an event that has expired.
    pub(super) async fn check(&self, message: &Message) -> Checked {
        let topic = &self.subscription.topic;
        match Prepared::new(&self.subscription, message) {
            Err(reason) => {
                tracing::error!(?topic, reason, "a message is not an event");
                Checked::Ended(self.dead_letter(message).await.unwrap_or(Outcome::Lost))
            }
            Ok(event) if event.envelope.has_expired(self.clock.now()) => {
                tracing::warn!(?topic, id = id_for_log(&event.envelope), "event expired: dropped");
                Checked::Ended(self.dead_letter(message).await.unwrap_or(Outcome::Dropped))
            }
            Ok(event) => Checked::Ready(Box::new(event)),
        }
    }

    /// How long to wait before the next attempt, if there is to be one.
    pub(super) fn pause(&self, retries: u32) -> Option<Duration> {
        self.pubsub.inbound_retry.and_then(|policy| policy.pause(retries))
    }

    /// `None` when there is no dead letter topic, or it does not take the message.
    pub(super) async fn dead_letter(&self, message: &Message) -> Option<Outcome> {
        let topic = self.subscription.dead_letter_topic.as_ref()?;
        match timeout(DEAD_LETTER_BUDGET, self.pubsub.publish(topic, message)).await {
            Ok(()) => Some(Outcome::DeadLettered),
            Err(_) => {
                tracing::error!(?topic, "the dead letter topic takes no more messages");
                None
            }
        }
    }
}

/// The end of a delivery, or `None` when it panicked: one bad event does not end a subscription.
pub(super) async fn caught<T>(delivery: impl Future<Output = T>) -> Option<T> {
    // What a panic leaves half done is dropped with the delivery.
    AssertUnwindSafe(delivery).catch_unwind().await.ok()
}

/// Metadata of a message as the broker keeps it.
impl Message {
    pub(in crate::sidecar) fn new(data: Bytes, metadata: BTreeMap<String, String>) -> Self {
        Self { data, metadata: Arc::new(metadata) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_delivery_that_panics_has_no_end() {
        let panics = async {
            tokio::task::yield_now().await;
            panic!("on purpose");
        };
        assert_eq!(caught::<()>(panics).await, None);
        assert_eq!(caught(std::future::ready(1)).await, Some(1));
    }
}
