//! The spans that daprd makes when it has a tracing configuration (`dapr/dapr:pkg/diagnostics`): names, kinds, parents and
//! attributes are its own, and no example of how to name spans.

use std::any::Any;
use std::fmt;

use dapr::dapr::proto::runtime::v1::{
    BulkPublishRequest, DeleteStateRequest, GetSecretRequest, GetStateRequest, InvokeBindingRequest,
    InvokeServiceRequest, PublishEventRequest, SaveStateRequest,
};
use http::{HeaderMap, StatusCode};
use opentelemetry::trace::{SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt as _, Tracer, TracerProvider};
use opentelemetry::{Context, InstrumentationScope, KeyValue};

use super::headers::API_TOKEN;
use crate::propagation::TraceParent;
use crate::spans::SpanSource;

/// The name by which daprd's spans are known.
const SCOPE: &str = "dapr-diagnostics";
/// Between sidecars; here it is no call, but it has its span.
const CALL_LOCAL: &str = "/dapr.proto.internals.v1.ServiceInvocation/CallLocalStream";

/// Where the spans of a sidecar go: nowhere, or to the given provider.
#[derive(Clone, Debug, Default)]
pub(super) struct Spans(Option<SpanSource>);

/// A span that has begun. Dropping it ends it.
pub(super) struct OpenSpan {
    cx: Context,
    /// The path of the call that it stands for.
    api: String,
}

// ===== impl Spans =====

impl Spans {
    pub(super) fn of<P>(provider: &P) -> Self
    where
        P: TracerProvider,
        P::Tracer: Send + Sync + 'static,
        <P::Tracer as Tracer>::Span: Send + Sync + 'static,
    {
        Self(Some(SpanSource::of_scope(provider, InstrumentationScope::builder(SCOPE).build())))
    }

    /// `None` when nothing listens.
    pub(super) fn start(&self, name: &str, kind: SpanKind, parent: Option<TraceParent>) -> Option<OpenSpan> {
        let start = self.0.as_ref()?.get()?;
        let parent = parent
            .map_or_else(Context::new, |parent| Context::new().with_remote_span_context(SpanContext::from(parent)));
        let cx = start(SpanBuilder::from_name(name.to_owned()).with_kind(kind), &parent);
        Some(OpenSpan { cx, api: name.to_owned() })
    }

    /// A call of the gRPC API.
    pub(super) fn start_rpc(&self, path: &str, headers: &HeaderMap, parent: Option<TraceParent>) -> Option<OpenSpan> {
        let span = self.start(path, SpanKind::Client, parent)?;
        span.set_prefixed(headers);
        span.set("dapr.api", path);
        span.set("dapr.protocol", "grpc");
        Some(span)
    }

    /// What another sidecar asked this one to call its app for.
    pub(super) fn start_local(&self, app: &str, method: &str, parent: Option<TraceParent>) -> Option<OpenSpan> {
        let span = self.start(&format!("CallLocal/{app}/{method}"), SpanKind::Server, parent)?;
        span.set("dapr.api", CALL_LOCAL);
        span.set("dapr.protocol", "grpc");
        span.set("dapr.invoke_method", method);
        span.set("rpc.service", "ServiceInvocation");
        Some(span)
    }

    /// The delivery of an event, below the span that its envelope names.
    pub(super) fn start_delivery(&self, topic: &str, envelope_trace: Option<&str>) -> Option<OpenSpan> {
        let parent = TraceParent::parse(envelope_trace?.as_bytes()).ok();
        let span = self.start(&format!("pubsub/{topic}"), SpanKind::Client, parent)?;
        span.set_messaging(topic);
        Some(span)
    }

    /// What an input binding has to tell.
    pub(super) fn start_binding(&self, name: &str, target: &str) -> Option<OpenSpan> {
        let span = self.start(&format!("bindings/{name}"), SpanKind::Client, None)?;
        for (key, value) in
            [("db.name", name), ("rpc.service", "Dapr"), ("db.system", "bindings"), ("db.connection_string", target)]
        {
            span.set(key, value);
        }
        Some(span)
    }
}

// ===== impl OpenSpan =====

impl OpenSpan {
    /// What those get who come behind this span.
    pub(super) fn context(&self) -> Option<TraceParent> {
        TraceParent::try_from(self.cx.span().span_context()).ok()
    }

    /// The span of one entry of a bulk.
    pub(super) fn start_entry(&self, spans: &Spans, suffix: &str) -> Option<OpenSpan> {
        spans.start(&format!("{}{suffix}", self.api), SpanKind::Producer, self.context())
    }

    pub(super) fn set(&self, key: &'static str, value: &str) {
        self.cx.span().set_attribute(KeyValue::new(key, value.to_owned()));
    }

    /// Headers that begin with `dapr-` are attributes; the token is not, although daprd may export it.
    pub(super) fn set_prefixed(&self, headers: &HeaderMap) {
        for (name, value) in headers {
            let name = name.as_str();
            let is_shown = name.starts_with("dapr-") && !name.ends_with("-bin") && name != API_TOKEN;
            if let (true, Ok(value)) = (is_shown, value.to_str()) {
                self.cx.span().set_attribute(KeyValue::new(name.to_owned(), value.to_owned()));
            }
        }
    }

    pub(super) fn set_messaging(&self, topic: &str) {
        self.set("messaging.system", "pubsub");
        self.set("messaging.destination.name", topic);
    }

    pub(super) fn set_database(&self, block: &str, name: &str, statement: &str) {
        for (key, value) in
            [("db.system", block), ("db.connection_string", block), ("db.name", name), ("db.statement", statement)]
        {
            self.set(key, value);
        }
    }

    pub(super) fn set_invocation(&self, app: &str, method: &str) {
        self.set("rpc.service", "ServiceInvocation");
        self.set("net.peer.name", app);
        self.cx.span().update_name(format!("CallLocal/{app}/{method}"));
    }

    /// What daprd tells of a request; of those that it does not know, nothing.
    pub(super) fn describe(&self, request: &dyn Any) {
        let service = || self.set("rpc.service", "Dapr");
        let database = |block, name: &str| {
            service();
            self.set_database(block, name, &self.api);
        };
        if let Some(request) = request.downcast_ref::<InvokeServiceRequest>() {
            let method = request.message.as_ref().map(|message| message.method.as_str());
            self.set_invocation(&request.id, method.unwrap_or_default());
        } else if let Some(PublishEventRequest { topic, .. }) = request.downcast_ref() {
            service();
            self.set_messaging(topic);
        } else if let Some(BulkPublishRequest { topic, .. }) = request.downcast_ref() {
            service();
            self.set_messaging(topic);
        } else if let Some(InvokeBindingRequest { name, .. }) = request.downcast_ref() {
            database("bindings", name);
        } else if let Some(GetStateRequest { store_name, .. }) = request.downcast_ref() {
            database("state", store_name);
        } else if let Some(SaveStateRequest { store_name, .. }) = request.downcast_ref() {
            database("state", store_name);
        } else if let Some(DeleteStateRequest { store_name, .. }) = request.downcast_ref() {
            database("state", store_name);
        } else if let Some(GetSecretRequest { store_name, .. }) = request.downcast_ref() {
            database("secrets", store_name);
        }
    }

    pub(super) fn fail(&self, message: impl Into<String>) {
        self.cx.span().set_status(Status::error(message.into()));
    }

    /// An answer over HTTP.
    pub(super) fn answered(&self, status: StatusCode) {
        if status.as_u16() >= 400 {
            let text = status.canonical_reason().unwrap_or("Unknown");
            self.fail(format!("Code({}): {text}", status.as_u16()));
        }
    }

    /// An answer over gRPC, or why there is none.
    pub(super) fn ended<T>(&self, result: &Result<T, tonic::Status>) {
        if let Err(status) = result {
            self.fail(status.message());
        }
    }
}

impl Drop for OpenSpan {
    fn drop(&mut self) {
        self.cx.span().end();
    }
}

impl fmt::Debug for OpenSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenSpan").field("api", &self.api).finish_non_exhaustive()
    }
}
