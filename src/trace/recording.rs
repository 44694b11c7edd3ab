use std::sync::Arc;

use axum::extract::MatchedPath;
use opentelemetry::{
    Context, ContextGuard, KeyValue,
    trace::{Status, TraceContextExt},
};
use tracing::span::EnteredSpan;

use super::{console, layer::Settings, messages::Messages, start};
use crate::{
    classify::{Outcome, Protocol, Side, code_name},
    observe::{Call, End, Recording, RequestWatch, ResponseHead},
    rpc::{Names, Rpc, Streaming},
    semconv::{self, method_of_path},
};

/// One span, from its start to its end.
#[derive(Debug)]
pub struct TraceRecording {
    settings: Arc<Settings>,
    /// `None` if nothing listens and only `tracing` is told.
    context: Option<Context>,
    /// Does the span keep what it is told?
    is_recording: bool,
    protocol: Protocol,
    /// A recording moves with the future and the body: what most calls do not have is not carried along.
    rare: Option<Box<Rare>>,
}

#[derive(Debug)]
struct Rare {
    /// A server's HTTP method, while its route is not known.
    routeless: Option<&'static str>,
    /// A server's path that stands in no table: until the answer proves that it is a method, it may be anything.
    unknown_method: Option<String>,
    /// A stream to Dapr whose first message is still to come.
    nameless: Option<&'static Rpc>,
    messages: Option<Messages>,
    /// How much data is passing.
    frame: usize,
    console: Option<tracing::Span>,
}

/// The span is current while this lives.
#[derive(Debug)]
pub struct TraceScope {
    // Left in this order.
    _console: Option<EnteredSpan>,
    _context: Option<ContextGuard>,
}

// ===== impl TraceRecording =====

impl TraceRecording {
    pub(super) fn new(
        settings: &Arc<Settings>,
        context: Option<Context>,
        is_recording: bool,
        console: Option<tracing::Span>,
        call: &Call<'_>,
    ) -> Self {
        let rare = Rare::of(settings, is_recording, console, call);
        Self { settings: settings.clone(), context, is_recording, protocol: call.protocol, rare }
    }

    /// The side that is recorded.
    #[must_use]
    pub fn side(&self) -> Side {
        self.settings.side
    }

    fn take_unknown_method(&mut self) -> Option<String> {
        self.rare.as_mut()?.unknown_method.take()
    }

    fn record(&mut self, context: &Context, outcome: &Outcome) {
        let span = context.span();
        // Set in one go: each goes through the span's lock.
        let mut attributes = [const { None }; 4];
        match outcome.grpc_code() {
            Some(code) => {
                attributes[0] = Some(KeyValue::new(semconv::RPC_STATUS, code_name(code)));
                if let Some(method) = self.take_unknown_method() {
                    // Each key once: the SDK would keep both values.
                    if outcome.proves_method() && self.settings.learn_method(&method) {
                        if self.settings.span_name.is_none() {
                            span.update_name(method.clone());
                        }
                        attributes[1] = Some(KeyValue::new(semconv::RPC_METHOD, method));
                    } else {
                        attributes[1] = Some(KeyValue::new(semconv::RPC_METHOD, semconv::OTHER));
                        attributes[2] = Some(KeyValue::new(semconv::RPC_METHOD_ORIGINAL, method));
                    }
                }
            }
            None => {
                let status = outcome.http_status();
                attributes[0] = status.map(|status| KeyValue::new(semconv::HTTP_STATUS, i64::from(status.as_u16())));
            }
        }
        let error_type = outcome.error_type();
        attributes[3] = error_type.map(|error_type| KeyValue::new(semconv::ERROR_TYPE, error_type));
        span.set_attributes(attributes.into_iter().flatten());
        if error_type.is_some() {
            let message = outcome.grpc_message().filter(|_| self.settings.error_messages);
            span.set_status(Status::error(message.map(printable).unwrap_or_default()));
        }
    }
}

// ===== impl Rare =====

impl Rare {
    fn of(
        settings: &Settings,
        is_recording: bool,
        console: Option<tracing::Span>,
        call: &Call<'_>,
    ) -> Option<Box<Self>> {
        if !is_recording && console.is_none() {
            return None;
        }
        let is_server = settings.side == Side::Server;
        let is_grpc = call.protocol == Protocol::Grpc;
        let is_unknown = is_recording && is_server && is_grpc && call.rpc.is_none();
        let is_routeless = is_recording && is_server && !is_grpc && call.route().is_none();
        let is_stream = |rpc: &&Rpc| rpc.streaming() != Streaming::Unary && !rpc.component_field().is_empty();
        let nameless =
            call.rpc.filter(is_stream).filter(|_| is_recording && !is_server && call.names.component.is_none());
        let has_messages = is_recording && is_grpc && settings.messages;
        let is_rare = is_unknown || is_routeless || nameless.is_some() || has_messages || console.is_some();
        is_rare.then(|| {
            Box::new(Self {
                routeless: semconv::known_method(call.method()).filter(|_| is_routeless),
                unknown_method: is_unknown
                    .then(|| method_of_path(call.uri().path()).unwrap_or(semconv::OTHER))
                    .filter(|method| !settings.is_known_method(method))
                    .map(str::to_owned),
                nameless,
                messages: has_messages.then(Messages::default),
                frame: 0,
                console,
            })
        })
    }
}

impl Recording for TraceRecording {
    type Scope = TraceScope;

    fn enter(&self) -> TraceScope {
        let context = self.context.as_ref().map(|context| context.clone().attach());
        let console = self.rare.as_ref().and_then(|rare| rare.console.as_ref());
        TraceScope { _console: console.map(|span| span.clone().entered()), _context: context }
    }

    fn head(&mut self, head: &ResponseHead<'_>) {
        let Some(context) = self.context.as_ref().filter(|_| self.is_recording) else { return };
        // A layer outside of the router is told by `RouteLayer` inside of it.
        let routeless = self.rare.as_ref().and_then(|rare| rare.routeless);
        if let Some((method, route)) =
            routeless.and_then(|method| Some((method, head.extensions.get::<MatchedPath>()?)))
        {
            let (name, route) = start::name_and_route(method, route.as_str());
            if self.settings.span_name.is_none() {
                context.span().update_name(name);
            }
            context.span().set_attribute(KeyValue::new(semconv::HTTP_ROUTE, route));
        }
        if self.protocol == Protocol::Http
            && self.settings.side == Side::Client
            && let Some(version) = semconv::protocol_version(head.version)
        {
            context.span().set_attribute(KeyValue::new(semconv::PROTOCOL_VERSION, version));
        }
        if !self.settings.response_headers.is_empty() {
            let is_grpc = self.protocol == Protocol::Grpc;
            context.span().set_attributes(self.settings.response_headers.read(head.headers, is_grpc));
        }
    }

    fn data(&mut self, bytes: usize) {
        if let Some(rare) = &mut self.rare {
            rare.frame = bytes;
        }
    }

    fn chunk(&mut self, chunk: &[u8]) {
        let (Some(rare), Some(context)) = (&mut self.rare, &self.context) else { return };
        let Some(messages) = &mut rare.messages else { return };
        if chunk.len() < rare.frame {
            messages.lose();
        }
        let direction = if self.settings.side == Side::Client { "RECEIVED" } else { "SENT" };
        messages.pass(chunk, |number, length| add_message(context, direction, number, length));
    }

    fn watch_request(&mut self) -> Option<RequestWatch> {
        let rare = self.rare.as_mut()?;
        let mut nameless = rare.nameless.take();
        let mut messages = rare.messages.is_some().then(Messages::default);
        if nameless.is_none() && messages.is_none() {
            return None;
        }
        let context = self.context.clone()?;
        let direction = if self.settings.side == Side::Client { "SENT" } else { "RECEIVED" };
        Some(Box::new(move |data| {
            if let Some(rpc) = nameless.take() {
                context.span().set_attributes(start::late_names(rpc, &Names::read(rpc, data)));
            }
            if let Some(messages) = &mut messages {
                messages.pass(data, |number, length| add_message(&context, direction, number, length));
            }
        }))
    }

    fn is_listening(&self) -> bool {
        self.is_recording || self.rare.is_some()
    }

    fn is_timed(&self) -> bool {
        false
    }

    fn end(mut self, end: &End<'_>) {
        if let Some(console) = self.rare.as_ref().and_then(|rare| rare.console.as_ref()) {
            console::record(console, end.outcome);
        }
        if !self.is_recording {
            return;
        }
        if let Some(context) = self.context.take() {
            self.record(&context, end.outcome);
            context.span().end();
        }
    }
}

fn add_message(context: &Context, direction: &'static str, number: i64, length: i64) {
    let attributes = vec![
        KeyValue::new("rpc.message.type", direction),
        KeyValue::new("rpc.message.id", number),
        KeyValue::new("rpc.message.compressed_size", length),
    ];
    context.span().add_event("rpc.message", attributes);
}

/// A message as one line of text: it comes from outside.
fn printable(message: &str) -> String {
    message.chars().map(|c| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c }).collect()
}
