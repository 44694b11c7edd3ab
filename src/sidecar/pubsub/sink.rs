//! Where an event goes, and what the receiver says to it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use dapr::dapr::proto::runtime::v1::topic_event_response::TopicEventResponseStatus;
use dapr::dapr::proto::runtime::v1::{
    SubscribeTopicEventsResponseAlpha1, TopicEventRequest, subscribe_topic_events_response_alpha1 as response,
};
use http::{Method, StatusCode};
use serde::Deserialize as _;
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};
use tonic::{Code, Status};

use super::prepared::Prepared;
use super::routing::Rule;
use super::subscription::Subscription;
use crate::sidecar::app_channel::AppChannel;
use crate::sidecar::lock::lock;
use crate::sidecar::spans::OpenSpan;

/// More than any verdict needs. What is longer is read as daprd reads what is no JSON: success.
pub(super) const MAX_ANSWER: usize = 4 << 20;

/// What the receiver's answer means.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    Success,
    Drop(String),
    /// Gone without a dead letter.
    Ignore(String),
    Retry(String),
}

/// Who gets the events of a subscription.
#[derive(Clone, Debug)]
pub(in crate::sidecar) enum Sink {
    App(Arc<AppChannel>),
    Stream(Arc<EventStream>),
}

/// A streaming subscription: events one way, their verdicts the other.
#[derive(Debug)]
pub(in crate::sidecar) struct EventStream {
    events: mpsc::Sender<Result<SubscribeTopicEventsResponseAlpha1, Status>>,
    pending: Mutex<HashMap<String, oneshot::Sender<i32>>>,
}

// ===== impl Sink =====

impl Sink {
    pub(super) async fn attempt(
        &self,
        subscription: &Subscription,
        rule: &Rule,
        event: &Prepared,
        span: Option<&OpenSpan>,
    ) -> Verdict {
        match self {
            Self::App(channel) if channel.is_grpc() => {
                let request = event.to_request(subscription, rule);
                let call = channel.call(request, event.metadata(span));
                let answer = channel.callback().on_topic_event(call).await;
                if let Some(span) = span {
                    span.ended(&answer);
                }
                match answer {
                    Ok(response) => Verdict::of_status(response.into_inner().status),
                    Err(status) if status.code() == Code::Unimplemented => {
                        Verdict::Ignore("the app has no OnTopicEvent".to_owned())
                    }
                    Err(status) => Verdict::Retry(format!("the app answered {:?}", status.code())),
                }
            }
            Self::App(channel) => attempt_http(channel, rule, event, span).await,
            Self::Stream(stream) => stream.attempt(event.to_request(subscription, rule)).await,
        }
    }
}

async fn attempt_http(channel: &AppChannel, rule: &Rule, event: &Prepared, span: Option<&OpenSpan>) -> Verdict {
    let sent = channel.send(Method::POST, rule.target.clone(), event.headers(span), event.body.clone()).await;
    if let Some(span) = span {
        match &sent {
            Ok(response) => span.answered(response.status()),
            Err(error) => span.fail(error.to_string()),
        }
    }
    let response = match sent {
        Ok(response) => response,
        Err(error) => return Verdict::Retry(error.to_string()),
    };
    match response.status() {
        StatusCode::NOT_FOUND => Verdict::Drop("the app answered 404".to_owned()),
        status if status.is_success() => {
            let body = AppChannel::read(response.into_body(), MAX_ANSWER).await;
            body.map_or(Verdict::Success, |body| Verdict::of_body(&body))
        }
        status => Verdict::Retry(format!("the app answered {}", status.as_u16())),
    }
}

// ===== impl EventStream =====

impl EventStream {
    pub(in crate::sidecar) fn new(events: mpsc::Sender<Result<SubscribeTopicEventsResponseAlpha1, Status>>) -> Self {
        Self { events, pending: Mutex::default() }
    }

    /// The client's verdict on the event of this id. An unknown id is of no meaning.
    pub(in crate::sidecar) fn processed(&self, id: &str, status: i32) {
        match lock(&self.pending).remove(id) {
            Some(pending) => _ = pending.send(status),
            None => tracing::error!(?id, "a verdict on an event that was not sent"),
        }
    }

    async fn attempt(&self, event: TopicEventRequest) -> Verdict {
        let (sender, verdict) = oneshot::channel();
        lock(&self.pending).insert(event.id.clone(), sender);
        let event = response::SubscribeTopicEventsResponseType::EventMessage(event);
        let event = SubscribeTopicEventsResponseAlpha1 { subscribe_topic_events_response_type: Some(event) };
        if self.events.send(Ok(event)).await.is_err() {
            return Verdict::Retry("the stream is closed".to_owned());
        }
        match verdict.await {
            Ok(status) => Verdict::of_status(status),
            Err(_) => Verdict::Retry("the stream is closed".to_owned()),
        }
    }
}

// ===== impl Verdict =====

impl Verdict {
    pub(super) fn of_status(status: i32) -> Self {
        match TopicEventResponseStatus::try_from(status) {
            Ok(TopicEventResponseStatus::Success) => Self::Success,
            Ok(TopicEventResponseStatus::Drop) => Self::Drop("the app answered DROP".to_owned()),
            Ok(TopicEventResponseStatus::Retry) => Self::Retry("the app answered RETRY".to_owned()),
            Err(_) => Self::Retry("the app answered an unknown status".to_owned()),
        }
    }

    pub(super) fn of_name(status: &str) -> Self {
        match status {
            "SUCCESS" => Self::Success,
            "RETRY" => Self::Retry("the app answered RETRY".to_owned()),
            "DROP" => Self::Drop("the app answered DROP".to_owned()),
            _ => Self::Retry("the app answered an unknown status".to_owned()),
        }
    }

    /// daprd decodes `{"status": ..}`; whatever it cannot decode is a success.
    fn of_body(body: &[u8]) -> Self {
        let object = Map::deserialize(&mut serde_json::Deserializer::from_slice(body)).unwrap_or_default();
        let named = |(key, _): &(&String, &Value)| key.eq_ignore_ascii_case("status");
        match object.iter().rfind(named).map(|(_, value)| value) {
            Some(Value::String(status)) if !status.is_empty() => Self::of_name(status),
            _ => Self::Success,
        }
    }
}
