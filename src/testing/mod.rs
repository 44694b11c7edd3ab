//! Spans and metrics recorded in memory, and assertions on them that explain themselves.
//!
//! A [`SpanRecorder`] collects the finished spans of any number of services of one process. What a request should look
//! like is then stated as a tree; when the recorded spans differ, the panic shows both trees and names the first
//! difference.
//!
//! ```
//! use opentelemetry::trace::{Span, SpanKind, TraceContextExt, Tracer, TracerProvider};
//! use opentelemetry::{Context, KeyValue};
//! use tower_dapr::testing::{SpanRecorder, span};
//!
//! let recorder = SpanRecorder::new();
//! let tracer = recorder.provider("order").tracer("my app");
//!
//! // What layers do around your handlers and clients, done by hand.
//! let server = tracer.span_builder("POST /orders").with_kind(SpanKind::Server).start(&tracer);
//! let context = Context::new().with_span(server);
//! let mut publish =
//!     tracer.span_builder("publish orders").with_kind(SpanKind::Producer).start_with_context(&tracer, &context);
//! publish.set_attribute(KeyValue::new("dapr.component.name", "pubsub"));
//! publish.end();
//! context.span().end();
//!
//! recorder.expect(
//!     span("POST /orders")
//!         .server()
//!         .service("order")
//!         .children([span("publish orders").producer().attribute("dapr.component.name", "pubsub")]),
//! );
//! ```
//!
//! # What is compared
//!
//! What was stated: the name always, and kind, service, attributes, status and links if the tree says so. The number of
//! children is exact unless [`at_least`](SpanTree::at_least), their order is free unless [`in_order`](SpanTree::in_order).
//! Beside that no span may be an orphan (its parent is neither recorded nor remote) and ids must be unique.
//!
//! # To look at it
//!
//! [`Trace::render`] draws a trace as a waterfall for a terminal, [`Trace::outline`] as a tree without ids and times,
//! which is the same in every run.
//!
//! # Metrics
//!
//! A [`MetricRecorder`] reads instruments by name: see there for an example.

mod check;
mod metric;
mod outline;
mod recorder;
mod span;
mod trace;
mod tree;
mod waterfall;

pub use self::{
    check::Mismatch,
    metric::{HistogramPoint, MetricRecorder, NumberPoint},
    recorder::{RecorderExporter, SpanRecorder},
    span::RecordedSpan,
    trace::Trace,
    tree::{SpanTree, roots, span},
};
