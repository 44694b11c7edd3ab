use std::{collections::HashMap, fmt, sync::Arc, time::SystemTime};

use opentelemetry::trace::{SpanId, TraceId};

use super::{
    check::{self, Mismatch},
    outline,
    span::RecordedSpan,
    tree::SpanTree,
    waterfall,
};

/// The spans of one trace, arranged as a tree.
///
/// `Display` is [`render`](Self::render).
///
/// ```
/// use opentelemetry::trace::{Tracer, TracerProvider};
/// use tower_dapr::testing::SpanRecorder;
///
/// let recorder = SpanRecorder::new();
/// let tracer = recorder.provider("order").tracer("my app");
/// tracer.in_span("checkout", |_| {
///     tracer.in_span("reserve", |_| ());
///     tracer.in_span("charge", |_| ());
/// });
///
/// let trace = &recorder.traces()[0];
/// assert_eq!(
///     trace.outline(),
///     "checkout (internal, order)\n\
///      ├─ charge (internal, order)\n\
///      └─ reserve (internal, order)\n"
/// );
/// println!("{}", trace.render());
/// ```
#[derive(Clone)]
pub struct Trace {
    id: TraceId,
    /// All recorded spans: a link may point into another trace.
    recorded: Arc<[RecordedSpan]>,
    /// The spans of this trace, in the order of their start.
    nodes: Vec<Node>,
}

#[derive(Clone)]
struct Node {
    /// Where in `recorded` the span is.
    span: usize,
    /// Where in `nodes` its parent is, if that was recorded.
    parent: Option<usize>,
    /// Where in `nodes` its children are, in the order of their start.
    children: Vec<usize>,
}

// ===== impl Trace =====

impl Trace {
    /// Arranges the spans at these places of `recorded`, which are of one trace.
    pub(super) fn new(id: TraceId, recorded: Arc<[RecordedSpan]>, mut spans: Vec<usize>) -> Self {
        spans.sort_by_key(|at| recorded[*at].start());
        let by_id: HashMap<SpanId, usize> =
            spans.iter().enumerate().rev().map(|(node, at)| (recorded[*at].span_id(), node)).collect();
        let parent = |span: usize| by_id.get(&recorded[span].parent_span_id()?).copied();
        let mut nodes: Vec<_> =
            spans.into_iter().map(|span| Node { span, parent: parent(span), children: Vec::new() }).collect();
        for node in 0..nodes.len() {
            if let Some(parent) = nodes[node].parent {
                nodes[parent].children.push(node);
            }
        }
        Self { id, recorded, nodes }
    }

    /// The id that its spans share.
    pub fn trace_id(&self) -> TraceId {
        self.id
    }

    /// Was no span of it recorded?
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The spans, in the order in which they started.
    pub fn spans(&self) -> impl Iterator<Item = &RecordedSpan> {
        (0..self.nodes.len()).map(|node| self.span_at(node))
    }

    /// The first span of this name.
    pub fn span(&self, name: &str) -> Option<&RecordedSpan> {
        self.spans().find(|span| span.name() == name)
    }

    /// Draws the trace for a terminal: one line a span, with its place in the tree, kind, service, component
    /// (`dapr.component.name`), start and duration as numbers and as a bar, and its error.
    pub fn render(&self) -> String {
        waterfall::render(self)
    }

    /// Draws the tree alone: name, kind, service, component, links and errors, but no ids and times.
    ///
    /// The same spans give the same text in every run: siblings are ordered by their text, not by their start.
    pub fn outline(&self) -> String {
        outline::of_trace(self, &[outline::COMPONENT])
    }

    /// Asserts that the trace looks like this.
    ///
    /// # Panics
    ///
    /// If it does not, with both trees and the first difference: see [`check`](Self::check).
    #[track_caller]
    #[allow(clippy::needless_pass_by_value, reason = "a tree is written where it is expected")]
    pub fn expect(&self, tree: SpanTree) {
        if let Err(mismatch) = self.check(&tree) {
            panic!("{mismatch}");
        }
    }

    /// Does the trace look like this? See the [module docs](crate::testing) for what is compared.
    ///
    /// # Errors
    ///
    /// If it has another number of roots than the tree, if a span differs from what was stated, if a child is missing or
    /// too many, if a span's parent was neither recorded nor remote, or if two spans have the same id.
    pub fn check(&self, tree: &SpanTree) -> Result<(), Mismatch> {
        check::check(self, tree)
    }

    /// When the first of its spans started.
    pub(super) fn start(&self) -> Option<SystemTime> {
        self.spans().map(RecordedSpan::start).min()
    }

    pub(super) fn span_at(&self, node: usize) -> &RecordedSpan {
        &self.recorded[self.nodes[node].span]
    }

    pub(super) fn roots(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|node| self.nodes[*node].parent.is_none()).collect()
    }

    pub(super) fn children(&self, node: usize) -> &[usize] {
        &self.nodes[node].children
    }

    /// The names of the spans that a span links to; of one that was not recorded, its ids.
    pub(super) fn link_names(&self, span: &RecordedSpan) -> Vec<String> {
        let name = |link: &opentelemetry::trace::Link| {
            let (trace_id, span_id) = (link.span_context.trace_id(), link.span_context.span_id());
            let to = self.recorded.iter().find(|to| to.span_id() == span_id && to.trace_id() == trace_id);
            to.map_or_else(|| format!("{trace_id}/{span_id}, not recorded"), |to| to.name().to_owned())
        };
        span.links().iter().map(name).collect()
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render())
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace").field("id", &self.id).field("spans", &self.nodes.len()).finish()
    }
}
