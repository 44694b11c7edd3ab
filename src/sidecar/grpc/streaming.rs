//! Streaming subscriptions (`dapr/dapr:pkg/api/grpc/subscribe.go`).

use std::sync::Arc;

use dapr::dapr::proto::runtime::v1::subscribe_topic_events_request_alpha1::SubscribeTopicEventsRequestType;
use dapr::dapr::proto::runtime::v1::subscribe_topic_events_response_alpha1::SubscribeTopicEventsResponseType;
use dapr::dapr::proto::runtime::v1::{
    SubscribeTopicEventsRequestAlpha1, SubscribeTopicEventsRequestInitialAlpha1, SubscribeTopicEventsResponseAlpha1,
    SubscribeTopicEventsResponseInitialAlpha1,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};

use super::service::BoxStream;
use super::status::Rich;
use crate::sidecar::app::App;
use crate::sidecar::lock::lock;
use crate::sidecar::pubsub::{EventStream, PubSub, Sink, Subscription, Worker};
use crate::sidecar::spans::Spans;

type Event = SubscribeTopicEventsResponseAlpha1;

/// Says that it is there, then sends an event at a time, and takes the verdicts, until the client goes.
pub(super) async fn subscribe(
    app: &Arc<App>,
    request: Request<Streaming<SubscribeTopicEventsRequestAlpha1>>,
) -> Result<Response<BoxStream<Event>>, Status> {
    let requests = request.into_inner();
    let (sender, responses) = mpsc::channel(1);
    let owner = Arc::clone(app);
    // The answer begins before the client's first message: it may wait for the one to send the other.
    app.tasks.spawn(async move {
        if let Err(status) = serve(&owner, requests, &sender).await {
            // Nobody there to be told.
            let _ = sender.send(Err(status)).await;
        }
    });
    Ok(Response::new(Box::pin(ReceiverStream::new(responses))))
}

async fn serve(
    app: &Arc<App>,
    mut requests: Streaming<SubscribeTopicEventsRequestAlpha1>,
    sender: &mpsc::Sender<Result<Event, Status>>,
) -> Result<(), Status> {
    let first = requests.message().await?.ok_or_else(|| Status::unknown("EOF"))?;
    let (pubsub, subscription) = subscription(app, first)?;
    let stream = Arc::new(EventStream::new(sender.clone()));
    let deliveries = pubsub.subscribe(&subscription.topic);
    let listed = Listed::new(app, &subscription);
    let initial = SubscribeTopicEventsResponseType::InitialResponse(SubscribeTopicEventsResponseInitialAlpha1 {});
    let initial = Event { subscribe_topic_events_response_type: Some(initial) };
    sender.send(Ok(initial)).await.map_err(|_| Status::cancelled("the client has gone"))?;

    let sink = Sink::Stream(Arc::clone(&stream));
    // daprd begins a span for each event here too, and never ends it.
    let worker = Worker { subscription, pubsub, sink, spans: Spans::default(), clock: app.hub.clock };
    let done = tokio::select! {
        () = worker.run(deliveries) => Ok(()),
        () = sender.closed() => Ok(()),
        done = verdicts(requests, &stream) => done,
    };
    drop(listed);
    done
}

/// Until the client closes its half, which ends the subscription.
async fn verdicts(
    mut requests: Streaming<SubscribeTopicEventsRequestAlpha1>,
    stream: &EventStream,
) -> Result<(), Status> {
    while let Some(request) = requests.message().await? {
        match request.subscribe_topic_events_request_type {
            Some(SubscribeTopicEventsRequestType::EventProcessed(processed)) => {
                stream.processed(&processed.id, processed.status.map(|status| status.status).unwrap_or_default());
            }
            Some(SubscribeTopicEventsRequestType::InitialRequest(_)) | None => {
                return Err(Status::unknown("duplicate initial request received"));
            }
        }
    }
    Ok(())
}

fn subscription(app: &App, first: SubscribeTopicEventsRequestAlpha1) -> Result<(Arc<PubSub>, Subscription), Status> {
    let Some(SubscribeTopicEventsRequestType::InitialRequest(initial)) = first.subscribe_topic_events_request_type
    else {
        return Err(Status::unknown("initial request is required"));
    };
    let SubscribeTopicEventsRequestInitialAlpha1 { pubsub_name, topic, metadata, dead_letter_topic } = initial;
    for (name, text) in [("pubsubName", &pubsub_name), ("topic", &topic)] {
        if text.is_empty() {
            return Err(Status::unknown(format!("{name} is required")));
        }
    }
    let pubsub = app.hub.pubsubs.get(&pubsub_name).cloned().ok_or_else(|| {
        Rich::new(Code::InvalidArgument, format!("pubsub {pubsub_name} is not found")).reason("DAPR_PUBSUB_NOT_FOUND")
    })?;
    let metadata = metadata.into_iter().collect();
    Ok((pubsub, Subscription::streaming(pubsub_name, topic, metadata, dead_letter_topic)))
}

/// The subscription stands in the metadata as long as this lives.
struct Listed {
    app: Arc<App>,
    pubsub: String,
    topic: String,
}

// ===== impl Listed =====

impl Listed {
    fn new(app: &Arc<App>, subscription: &Subscription) -> Self {
        lock(&app.subscriptions).push(subscription.clone());
        Self { app: Arc::clone(app), pubsub: subscription.pubsub.clone(), topic: subscription.topic.clone() }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut subscriptions = lock(&self.app.subscriptions);
        let same = |one: &Subscription| {
            one.kind == dapr::dapr::proto::runtime::v1::PubsubSubscriptionType::Streaming
                && one.pubsub == self.pubsub
                && one.topic == self.topic
        };
        if let Some(index) = subscriptions.iter().position(same) {
            subscriptions.remove(index);
        }
    }
}
