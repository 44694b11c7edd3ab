use opentelemetry::{
    Context, ContextGuard, KeyValue,
    trace::{Status, TraceContextExt},
};

use crate::{
    classify::{Outcome, Protocol, Side, code_name},
    observe::{Call, End, Recording},
    semconv::{self, method_of_path},
};

/// One span, from its start to its end.
#[derive(Debug)]
pub struct TraceRecording {
    context: Context,
    side: Side,
    /// A server's path that stands in no table: if the router does not know it either, it may be anything.
    unknown_method: Option<String>,
    error_messages: bool,
}

impl TraceRecording {
    pub(super) fn new(context: Context, side: Side, call: &Call<'_>, error_messages: bool) -> Self {
        let is_unknown = side == Side::Server
            && call.protocol == Protocol::Grpc
            && call.rpc.is_none()
            && context.span().is_recording();
        let unknown_method =
            is_unknown.then(|| method_of_path(call.request.uri.path()).unwrap_or(semconv::OTHER).to_owned());
        Self { context, side, unknown_method, error_messages }
    }

    fn record(self, outcome: &Outcome) {
        let span = self.context.span();
        if let Some(status) = outcome.http_status().filter(|_| outcome.protocol() == Protocol::Http) {
            span.set_attribute(KeyValue::new(semconv::HTTP_STATUS, i64::from(status.as_u16())));
        }
        if let Some(code) = outcome.grpc_code() {
            span.set_attribute(KeyValue::new(semconv::RPC_STATUS, code_name(code)));
            if let (tonic::Code::Unimplemented, Some(method)) = (code, self.unknown_method) {
                span.update_name("grpc");
                span.set_attribute(KeyValue::new(semconv::RPC_METHOD, semconv::OTHER));
                span.set_attribute(KeyValue::new(semconv::RPC_METHOD_ORIGINAL, method));
            }
        }
        if let Some(error_type) = outcome.error_type() {
            span.set_attribute(KeyValue::new(semconv::ERROR_TYPE, error_type));
            let message = outcome.grpc_message().filter(|_| self.error_messages);
            span.set_status(Status::error(message.map(printable).unwrap_or_default()));
        }
    }
}

impl Recording for TraceRecording {
    type Scope = ContextGuard;

    fn enter(&self) -> ContextGuard {
        self.context.clone().attach()
    }

    fn end(self, end: &End<'_>) {
        let context = self.context.clone();
        if context.span().is_recording() {
            self.record(end.outcome);
        }
        context.span().end();
    }
}

impl TraceRecording {
    /// The side that is recorded.
    #[must_use]
    pub fn side(&self) -> Side {
        self.side
    }
}

/// A message as one line of text: it comes from outside.
fn printable(message: &str) -> String {
    message.chars().map(|c| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c }).collect()
}
