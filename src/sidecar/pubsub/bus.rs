//! The in-memory pubsub component (`dapr/components-contrib:pubsub/in-memory`).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::RetryPolicy;
use crate::sidecar::lock::lock;
use crate::sidecar::stats::{Ledger, Receipt};

/// How many messages wait for one subscription; then publishing waits, as on the in-memory bus of daprd.
const QUEUE: usize = 1024;

/// A message as the broker has it.
#[derive(Clone, Debug)]
pub(in crate::sidecar) struct Message {
    pub(in crate::sidecar) data: Bytes,
    pub(in crate::sidecar) metadata: Arc<BTreeMap<String, String>>,
}

/// A message on its way to one subscription.
#[derive(Debug)]
pub(in crate::sidecar) struct Delivery {
    pub(super) message: Message,
    pub(super) receipt: Receipt,
}

#[derive(Debug)]
pub(in crate::sidecar) struct PubSub {
    pub(in crate::sidecar) name: String,
    pub(in crate::sidecar) inbound_retry: Option<RetryPolicy>,
    ledger: Ledger,
    subscribers: Mutex<Vec<Subscriber>>,
}

#[derive(Debug)]
struct Subscriber {
    topic: String,
    queue: mpsc::Sender<Delivery>,
}

// ===== impl PubSub =====

impl PubSub {
    pub(in crate::sidecar) fn new(name: String, inbound_retry: Option<RetryPolicy>, ledger: Ledger) -> Self {
        Self { name, inbound_retry, ledger, subscribers: Mutex::default() }
    }

    /// Hands the message to every subscription of `topic`. Waits for room in their queues. Nobody there: it is gone.
    pub(in crate::sidecar) async fn publish(&self, topic: &str, message: &Message) {
        let queues: Vec<_> = {
            let mut subscribers = lock(&self.subscribers);
            subscribers.retain(|subscriber| !subscriber.queue.is_closed());
            let interested = subscribers.iter().filter(|subscriber| subscriber.wants(topic));
            interested.map(|subscriber| subscriber.queue.clone()).collect()
        };
        for queue in queues {
            // Closed: its app has just stopped.
            if let Ok(permit) = queue.reserve().await {
                permit.send(Delivery { message: message.clone(), receipt: self.ledger.accept() });
            }
        }
    }

    /// The queue of a new subscription. It ends with the receiver.
    pub(in crate::sidecar) fn subscribe(&self, topic: &str) -> mpsc::Receiver<Delivery> {
        let (queue, deliveries) = mpsc::channel(QUEUE);
        let mut subscribers = lock(&self.subscribers);
        subscribers.retain(|subscriber| !subscriber.queue.is_closed());
        subscribers.push(Subscriber { topic: topic.to_owned(), queue });
        deliveries
    }
}

// ===== impl Subscriber =====

impl Subscriber {
    /// A trailing `*` stands for one or more characters.
    fn wants(&self, topic: &str) -> bool {
        let below = |prefix| topic.len() > str::len(prefix) && topic.starts_with(prefix);
        self.topic == topic || self.topic.strip_suffix('*').is_some_and(below)
    }
}
