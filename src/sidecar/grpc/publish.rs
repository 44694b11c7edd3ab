//! The publish rpcs (`dapr/dapr:pkg/api/grpc/grpc.go`).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use dapr::dapr::proto::runtime::v1::{BulkPublishRequest, BulkPublishResponse, PublishEventRequest};
use tonic::{Code, Request, Response, Status};

use super::status::Rich;
use super::wire::Caller;
use crate::sidecar::app::App;
use crate::sidecar::pubsub::{Envelope, Message, PubSub, Publication, is_raw};
use crate::sidecar::spans::OpenSpan;
use crate::sidecar::trace;

type Metadata = HashMap<String, String>;

pub(in crate::sidecar) async fn publish(
    app: &Arc<App>,
    request: Request<PublishEventRequest>,
) -> Result<Response<()>, Status> {
    let context = Context::of(&request);
    let request = request.into_inner();
    let target = Target::find(app, &request.pubsub_name, &request.topic, &request.metadata)?;
    let message = if target.raw {
        let mut metadata: BTreeMap<_, _> = request.metadata.into_iter().collect();
        // The HTTP API of daprd does not.
        if !context.is_http {
            metadata.insert("traceid".to_owned(), context.trace);
            metadata.insert("tracestate".to_owned(), String::new());
        }
        Message::new(request.data.into(), metadata)
    } else {
        let data = target.envelope(app, &request.data_content_type, &request.data, &request.metadata, &context)?;
        Message::new(data, request.metadata.into_iter().collect())
    };
    target.pubsub.publish(&request.topic, &message).await;
    Ok(Response::new(()))
}

/// # Errors
/// When there is no such pubsub, no topic, or metadata that cannot be read.
pub(in crate::sidecar) fn check(app: &App, pubsub: &str, topic: &str, metadata: &Metadata) -> Result<(), Status> {
    Target::find(app, pubsub, topic, metadata).map(drop)
}

pub(in crate::sidecar) async fn publish_bulk(
    app: &Arc<App>,
    request: Request<BulkPublishRequest>,
) -> Result<Response<BulkPublishResponse>, Status> {
    let context = Context::of(&request);
    let request = request.into_inner();
    let target = Target::find(app, &request.pubsub_name, &request.topic, &request.metadata)?;
    let mut ids = HashSet::new();
    let mut messages = Vec::with_capacity(request.entries.len());
    for entry in request.entries {
        if entry.entry_id.is_empty() || !ids.insert(entry.entry_id) {
            return Err(target.bad_entry(app));
        }
        // Only an entry with metadata of its own gets that of the request.
        let mut metadata = if entry.metadata.is_empty() { Metadata::new() } else { request.metadata.clone() };
        metadata.extend(entry.metadata);
        let data = if target.raw {
            entry.event.into()
        } else {
            target.envelope(app, &entry.content_type, &entry.event, &metadata, &context.of_entry(app))?
        };
        messages.push(Message::new(data, metadata.into_iter().collect()));
    }
    for message in &messages {
        target.pubsub.publish(&request.topic, message).await;
    }
    Ok(Response::new(BulkPublishResponse::default()))
}

/// Where a valid publish call goes.
struct Target<'a> {
    pubsub: Arc<PubSub>,
    topic: &'a str,
    raw: bool,
}

// ===== impl Target =====

impl<'a> Target<'a> {
    fn find(app: &App, name: &str, topic: &'a str, metadata: &Metadata) -> Result<Self, Status> {
        let invalid = |message: String| {
            let error = Rich::new(Code::InvalidArgument, message.clone());
            error.resource("pubsub", name, &message).metadata(metadata.clone())
        };
        if name.is_empty() {
            return Err(invalid("pubsub name is empty".to_owned()).reason("DAPR_PUBSUB_NAME_EMPTY"));
        }
        let Some(pubsub) = app.hub.pubsubs.get(name).cloned() else {
            let refusal = Rich::new(Code::InvalidArgument, format!("pubsub {name} is not found"));
            return Err(refusal.reason("DAPR_PUBSUB_NOT_FOUND"));
        };
        if topic.is_empty() {
            return Err(invalid(format!("topic is empty in pubsub {name}")).reason("DAPR_PUBSUB_TOPIC_NAME_EMPTY"));
        }
        let raw = is_raw(metadata.get("rawPayload")).map_err(|reason| {
            let message = format!("failed deserializing metadata. Error: {reason}");
            invalid(message).reason("DAPR_PUBSUB_METADATA_DESERIALIZATION")
        })?;
        Ok(Self { pubsub, topic, raw })
    }

    fn envelope(
        &self,
        app: &App,
        content_type: &str,
        data: &[u8],
        metadata: &Metadata,
        context: &Context,
    ) -> Result<Bytes, Status> {
        let (pubsub, topic) = (self.pubsub.name.as_str(), self.topic);
        let publication = Publication {
            app_id: &app.id,
            pubsub,
            topic,
            content_type,
            data,
            metadata,
            trace: &context.trace,
            trace_state: &context.trace_state,
        };
        let envelope = Envelope::create(&publication, &app.hub.clock).map_err(|error| {
            let message = "cannot create cloudevent";
            Rich::new(Code::InvalidArgument, message)
                .resource("pubsub", pubsub, message)
                .metadata([("appID", app.id.clone()), ("error", error.to_string())])
                .reason("DAPR_PUBSUB_CLOUD_EVENT_CREATION")
        })?;
        Ok(envelope.to_bytes())
    }

    fn bad_entry(&self, app: &App) -> Status {
        let (pubsub, topic) = (self.pubsub.name.as_str(), self.topic);
        let error = "entryId is duplicated or not present for entry";
        let message = format!("error marshaling events to bytes for topic {topic} pubsub {pubsub}. error: {error}");
        Rich::new(Code::InvalidArgument, message.clone())
            .resource("pubsub", pubsub, &message)
            .metadata([("appID", app.id.as_str()), ("error", error)])
            .reason("DAPR_PUBSUB_MARSHAL_EVENTS")
    }
}

/// What is known of the caller; empty where it says nothing.
struct Context {
    trace: String,
    trace_state: String,
    is_http: bool,
    span: Option<Arc<OpenSpan>>,
}

// ===== impl Context =====

impl Context {
    fn of<R>(request: &Request<R>) -> Self {
        let caller = request.extensions().get::<Caller>().cloned().unwrap_or_default();
        let trace_state = caller.trace_state.filter(|_| caller.trace.is_some()).unwrap_or_default();
        Self { trace: trace::text(caller.trace), trace_state, is_http: caller.is_http, span: caller.span }
    }

    /// That of an entry of a bulk, which has a span of its own.
    fn of_entry(&self, app: &App) -> Self {
        let suffix = if self.is_http { "" } else { "/" };
        let span = self.span.as_ref().and_then(|span| span.start_entry(&app.spans, suffix));
        let trace = span.map_or_else(|| self.trace.clone(), |span| trace::text(span.context()));
        Self { trace, trace_state: self.trace_state.clone(), is_http: self.is_http, span: None }
    }
}
