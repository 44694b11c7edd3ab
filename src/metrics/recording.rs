use std::sync::{Arc, OnceLock};

use axum::extract::MatchedPath;
use http::header::CONTENT_LENGTH;
use opentelemetry::KeyValue;
use tonic::Code;

use super::{bulk, key::Key, series::CallResult, shared::Shared};
use crate::{
    classify::{Protocol, Side},
    intern::Name,
    observe::{Call, End, Recording, RequestWatch, ResponseHead},
    rpc::{Names, Streaming},
    semconv::method_of_path,
};

/// What is measured of one exchange.
#[derive(Debug)]
pub struct MetricsRecording {
    shared: Arc<Shared>,
    key: Key,
    /// Where the kind of call stands in the table.
    at: Option<usize>,
    /// Counted as active, to be taken back.
    is_active: bool,
    /// A server's path that stands in no table: known to be a method only once the router did not refuse it.
    unproven_method: Option<String>,
    /// The names in a stream's first message, once it has passed.
    late: Option<Late>,
    /// Of a publish.
    messages: u64,
    request_size: Option<u64>,
    response_size: u64,
    /// The user's own.
    attributes: Vec<KeyValue>,
}

type Late = Arc<OnceLock<(Option<String>, Option<String>)>>;

// ===== impl MetricsRecording =====

impl MetricsRecording {
    pub(super) fn new(shared: &Arc<Shared>, call: &Call<'_>) -> Self {
        // The user's code first: if it panics, nothing has been counted yet.
        let attributes = shared.settings.request_attributes.as_ref().map_or_else(Vec::new, |hook| hook(call.request));
        let key = Key::of(shared, call);
        let is_http = call.protocol == Protocol::Http;
        let is_active = is_http && shared.side() == Side::Server;
        if is_active {
            shared.add_active(&key, 1);
        }
        let is_unproven = shared.side() == Side::Server && !is_http && call.rpc.is_none() && key.parts.method.is_none();
        let is_late = shared.side() == Side::Client
            && call.rpc.is_some_and(|rpc| rpc.streaming() != Streaming::Unary && !rpc.component_field().is_empty())
            && call.names.component.is_none();
        Self {
            at: shared.find(&key),
            is_active,
            unproven_method: method_of_path(call.uri().path()).filter(|_| is_unproven).map(str::to_owned),
            late: is_late.then(Late::default),
            messages: if key.is_publish() { bulk::messages(call.rpc, call.first_message) } else { 0 },
            request_size: if is_http && shared.settings.body_sizes { content_length(call) } else { None },
            response_size: 0,
            attributes,
            key,
            shared: shared.clone(),
        }
    }

    /// Something became known about the call that it is measured by.
    fn change(&mut self, change: impl FnOnce(&Shared, &mut Key)) {
        change(&self.shared, &mut self.key);
        self.at = self.shared.find(&self.key);
    }

    fn learn_method(&mut self, code: Option<Code>) {
        let Some(method) = self.unproven_method.take() else { return };
        // What a router says about a method that it does not know, or a layer in front of it about any.
        let is_proof = !matches!(
            code,
            Some(
                Code::Unimplemented
                    | Code::Unauthenticated
                    | Code::PermissionDenied
                    | Code::ResourceExhausted
                    | Code::Unavailable
                    | Code::DeadlineExceeded
                    | Code::Cancelled
            )
        );
        self.change(|shared, key| {
            key.parts.method = Some(if is_proof { shared.methods.number(&method, "") } else { Name::OTHER });
        });
    }

    fn learn_names(&mut self) {
        let Some(late) = self.late.take() else { return };
        if let Some((component, destination)) = late.get() {
            let names = Names { component: component.as_deref(), destination: destination.as_deref() };
            self.change(|shared, key| key.set_names(shared, &names));
        }
    }
}

impl Recording for MetricsRecording {
    type Scope = ();

    fn enter(&self) {}

    fn head(&mut self, head: &ResponseHead<'_>) {
        // A layer outside of the router is told by `RouteLayer` inside of it.
        if self.key.parts.route.is_none()
            && self.is_active
            && let Some(route) = head.extensions.get::<MatchedPath>()
        {
            self.change(|shared, key| key.parts.route = Some(shared.routes.number(route.as_str(), "")));
        }
    }

    fn data(&mut self, bytes: usize) {
        self.response_size = self.response_size.saturating_add(bytes as u64);
    }

    fn watch_request(&mut self) -> Option<RequestWatch> {
        let (late, rpc) = (self.late.clone()?, self.key.rpc?);
        Some(Box::new(move |data| {
            late.get_or_init(|| {
                let names = Names::read(rpc, data);
                (names.component.map(str::to_owned), names.destination.map(str::to_owned))
            });
        }))
    }

    fn end(mut self, end: &End<'_>) {
        self.learn_method(end.outcome.grpc_code());
        self.learn_names();
        let (shared, seconds) = (&self.shared, end.elapsed.as_secs_f64());
        let result = CallResult::of(end.outcome);
        shared.with_series(&self.key, self.at, |series| {
            series.with(result, shared, |series| {
                if self.attributes.is_empty() {
                    series.record(seconds, self.messages);
                } else {
                    let attributes = [&series.attributes[..], &self.attributes].concat();
                    series.record_with(shared, seconds, self.messages, &attributes);
                }
                if shared.settings.body_sizes && self.key.parts.protocol == Protocol::Http {
                    shared.record_sizes(series, self.request_size, self.response_size);
                }
            });
        });
    }
}

/// However it is dropped: what was counted as active is not any more.
impl Drop for MetricsRecording {
    fn drop(&mut self) {
        if self.is_active {
            self.shared.add_active(&self.key, -1);
        }
    }
}

/// The body's length as the request says it.
fn content_length(call: &Call<'_>) -> Option<u64> {
    call.request.headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
