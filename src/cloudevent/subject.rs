use http::Extensions;
use opentelemetry::trace::SpanContext;

use crate::{
    event::{Batch, CloudEvent},
    propagation::creation_context,
};

/// The decoded events of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Subject<'a> {
    One(&'a CloudEvent),
    Many(&'a Batch),
}

impl<'a> Subject<'a> {
    pub(crate) fn of(extensions: &'a Extensions) -> Option<Self> {
        match extensions.get() {
            Some(event) => Some(Self::One(event)),
            None => extensions.get().map(Self::Many),
        }
    }

    /// The bulk delivery, which wants an answer for each entry.
    pub(super) fn bulk(self) -> Option<&'a Batch> {
        match self {
            Self::Many(batch) if batch.is_bulk() => Some(batch),
            _ => None,
        }
    }

    pub(super) fn count(self) -> u64 {
        match self {
            Self::One(_) => 1,
            Self::Many(batch) => batch.events().count() as u64,
        }
    }

    /// Where the events were created.
    pub(super) fn creation_contexts(self) -> Vec<SpanContext> {
        let of = |event: &CloudEvent| creation_context(event.trace_parent(), event.trace_id(), event.trace_state());
        match self {
            Self::One(event) => of(event).into_iter().collect(),
            Self::Many(batch) => batch.events().filter_map(of).collect(),
        }
    }

    /// What is the same for all events.
    pub(super) fn common(self, attribute: impl Fn(&'a CloudEvent) -> Option<&'a str>) -> Option<&'a str> {
        match self {
            Self::One(event) => attribute(event),
            Self::Many(batch) => {
                let mut all = batch.events().map(attribute);
                let first = all.next()?;
                if all.all(|other| other == first) { first } else { None }
            }
        }
    }
}
