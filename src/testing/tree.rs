use std::fmt;

use opentelemetry::{Value, trace::SpanKind};

use super::outline;

/// What a span and the spans below it should look like. Begins with [`span`] or [`roots`].
///
/// See the [module docs](crate::testing) for an example, and for what is compared. `Display` draws the tree.
#[derive(Clone, Debug)]
#[must_use = "a tree does nothing until it is compared"]
pub struct SpanTree {
    /// `None`: stands for the trace itself, its children are the roots.
    pub(super) name: Option<String>,
    pub(super) kind: Option<SpanKind>,
    pub(super) service: Option<String>,
    pub(super) attributes: Vec<(String, Option<Value>)>,
    pub(super) is_error: Option<bool>,
    pub(super) links: Vec<String>,
    pub(super) children: Vec<SpanTree>,
    pub(super) at_least: bool,
    pub(super) in_order: bool,
}

/// A span of this name, without children.
pub fn span(name: impl Into<String>) -> SpanTree {
    SpanTree::new(Some(name.into()), [])
}

/// A trace of several roots: spans whose parent is remote and was not recorded here, for example because it is daprd's.
///
/// ```
/// use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, Tracer, TracerProvider};
/// use opentelemetry::Context;
/// use tower_dapr::testing::{SpanRecorder, roots, span};
///
/// let recorder = SpanRecorder::new();
/// let (id, sidecar) = (TraceId::from_bytes([1; 16]), SpanId::from_bytes([2; 8]));
/// let sidecar = SpanContext::new(id, sidecar, TraceFlags::SAMPLED, true, Default::default());
/// let parent = Context::new().with_remote_span_context(sidecar);
/// for service in ["order", "shipping"] {
///     drop(recorder.provider(service).tracer("my app").start_with_context("POST /events", &parent));
/// }
/// recorder.expect(roots([
///     span("POST /events").service("order"),
///     span("POST /events").service("shipping"),
/// ]));
/// ```
pub fn roots(roots: impl IntoIterator<Item = SpanTree>) -> SpanTree {
    SpanTree::new(None, roots)
}

// ===== impl SpanTree =====

impl SpanTree {
    fn new(name: Option<String>, children: impl IntoIterator<Item = SpanTree>) -> Self {
        Self {
            name,
            kind: None,
            service: None,
            attributes: Vec::new(),
            is_error: None,
            links: Vec::new(),
            children: children.into_iter().collect(),
            at_least: false,
            in_order: false,
        }
    }

    /// States the kind. Defaults to any.
    pub fn kind(mut self, kind: SpanKind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// States the kind: the receiving side of a call.
    pub fn server(self) -> Self {
        self.kind(SpanKind::Server)
    }

    /// States the kind: the calling side of a call.
    pub fn client(self) -> Self {
        self.kind(SpanKind::Client)
    }

    /// States the kind: a message is sent.
    pub fn producer(self) -> Self {
        self.kind(SpanKind::Producer)
    }

    /// States the kind: a message is processed.
    pub fn consumer(self) -> Self {
        self.kind(SpanKind::Consumer)
    }

    /// States the kind: work within a service.
    pub fn internal(self) -> Self {
        self.kind(SpanKind::Internal)
    }

    /// States the service. Defaults to any.
    pub fn service(mut self, service: impl Into<String>) -> Self {
        self.service = Some(service.into());
        self
    }

    /// States an attribute: value and type must be equal (`"200"` is not `200`). Other attributes may be there too.
    pub fn attribute(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.attributes.push((key.into(), Some(value.into())));
        self
    }

    /// States that an attribute is not there.
    pub fn without_attribute(mut self, key: impl Into<String>) -> Self {
        self.attributes.push((key.into(), None));
        self
    }

    /// States that the status is an error. Defaults to any status.
    pub fn error(mut self) -> Self {
        self.is_error = Some(true);
        self
    }

    /// States that the status is not an error. Defaults to any status.
    pub fn no_error(mut self) -> Self {
        self.is_error = Some(false);
        self
    }

    /// States a link to a span of this name, in this or another recorded trace. Other links may be there too; stated
    /// twice it must be there twice.
    pub fn linked_to(mut self, name: impl Into<String>) -> Self {
        self.links.push(name.into());
        self
    }

    /// Adds children.
    pub fn children(mut self, children: impl IntoIterator<Item = SpanTree>) -> Self {
        self.children.extend(children);
        self
    }

    /// Adds one child.
    pub fn child(mut self, child: SpanTree) -> Self {
        self.children.push(child);
        self
    }

    /// Allows more children than stated. Says nothing about the children's children.
    pub fn at_least(mut self) -> Self {
        self.at_least = true;
        self
    }

    /// States that the children started in the order in which they stand here.
    pub fn in_order(mut self) -> Self {
        self.in_order = true;
        self
    }
}

impl fmt::Display for SpanTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&outline::of_tree(self))
    }
}
